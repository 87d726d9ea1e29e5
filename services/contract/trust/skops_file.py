"""The estimator of a version: what may be in its skops file, and how it is loaded although the file is not trusted.

skops looks at types: none is built that is not known as harmless. That is not enough. A harmless type may open a file that
a row names, and compiled code indexes with the numbers that it was given. So it is loaded in four steps, each of which
refuses before the next one starts:

archive   the zip file by its directory, and the header of each array: names, sizes, shapes; nothing is unpacked
grammar   schema.json: the nodes that skops itself writes, how many and how deep, each with a type that belongs to it
(skops)   its own audit of the types, and the objects
state     each object: its class, its attributes, parameters that reach files, and what compiled code indexes with
"""

import io
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from contract.display import visible
from contract.errors import Refused
from contract.trust.trusted_types import BOOSTED_LIBRARIES, BOOSTED_TYPES, VOUCH

SHOWN = 8


def load_skops(source: bytes | Path, trusted: frozenset[str]) -> Any:
    """Return the estimator in a skops file; raise Refused where anything in it is not allowed, or it cannot be loaded.

    `trusted` are types, by their full names, that it may contain beside those that skops knows as harmless.
    """
    name = source.name if isinstance(source, Path) else "model.skops"
    try:
        # One open file for all steps: a name could mean another file at each of them.
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
            estimator = _load(file, trusted)
    except Refused:
        raise
    except Exception as error:  # a damaged file may fail in any way inside zip, JSON, NumPy or an estimator's own state
        raise Refused(f"its file {name} cannot be loaded: {type(error).__name__}: {visible(str(error))}") from error
    return estimator


def _load(file: Any, trusted: frozenset[str]) -> Any:
    # Importing these costs seconds, and most of what reads the contract loads no estimator.
    from skops.io import get_untrusted_types, load
    from skops.io.exceptions import UntrustedTypesFoundException

    from contract.trust import archive, grammar, state

    archive.check_directory(file)
    with ZipFile(file) as content:
        grammar.check(content, archive.Arrays(content))
    file.seek(0)
    try:
        estimator = load(file, trusted=sorted(trusted))
    except UntrustedTypesFoundException as error:
        file.seek(0)
        raise Refused(_not_trusted(get_untrusted_types(file=file), trusted)) from error
    state.check(estimator, trusted)
    return estimator


def _not_trusted(needed: list[str], trusted: frozenset[str]) -> str:
    unknown = [visible(name, 100) for name in needed if name not in trusted]
    shown = ", ".join(unknown[:SHOWN]) + (f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else "")
    told = f"it contains types that are not trusted: {shown}"
    if any(name in BOOSTED_TYPES or name.startswith(BOOSTED_LIBRARIES) for name in needed):
        return f"{told}. What XGBoost and LightGBM read of a file cannot be checked before: {VOUCH}"
    return f"{told}; MODEL_TRUSTED_TYPES names more of them; {VOUCH}"
