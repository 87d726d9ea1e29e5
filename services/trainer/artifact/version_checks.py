"""What must hold of a version's files before they are signed, or put into Production by hand.

Each function raises Refused. None needs MLflow: a sandbox that checks a stranger's files has the less to import.
"""

import json
from collections.abc import Collection
from numbers import Integral
from pathlib import Path
from typing import Any

import pandas as pd
from contract import documents, limits
from contract.display import quoted
from contract.errors import Refused
from contract.signature import files_in, own_file
from contract.trust import TRUSTED_TYPES, load_skops

from trainer.artifact import golden_samples
from trainer.data.table import Column, Kind

# The column types of a signature that inference serves, and what they are here.
KINDS = {
    "double": Kind.NUMBER,
    "float": Kind.NUMBER,
    "long": Kind.NUMBER,
    "integer": Kind.NUMBER,
    "boolean": Kind.BOOLEAN,
    "string": Kind.TEXT,
}
NO_INTERFACE = (
    "it has no signature with named columns and no input example with them; log it with input_example=DATA_FRAME"
)


def check_servable(folder: Path, trusted: frozenset[str]) -> None:
    """Load the model without running code from its files; let it predict its input example and its golden rows."""
    estimator, columns, _ = tried(folder, trusted)
    golden_samples.check_golden(estimator, folder, columns)


def tried(folder: Path, trusted: frozenset[str]) -> tuple[Any, list[Column], pd.DataFrame]:
    """Return the estimator, its columns and its input example, which it has predicted.

    `trusted` are types that it may contain beside TRUSTED_TYPES: the setting MODEL_TRUSTED_TYPES.
    """
    description = documents.read_mlmodel(folder)
    columns = columns_of(description)
    example = _example(folder, description, columns)
    estimator = _load(folder, description, trusted)
    try:
        estimator.predict(example)
    except Exception as error:  # an estimator may fail in any way
        raise Refused(f"it does not predict its own input example: {type(error).__name__}: {error!s:.500}") from error
    return estimator, columns, example


def load(folder: Path, trusted: frozenset[str]) -> Any:
    """Return the estimator in a version's folder, without running code from it."""
    return _load(folder, documents.read_mlmodel(folder), trusted)


def interface_of(folder: Path) -> list[Column]:
    """Return the columns that a version takes, by its signature."""
    return columns_of(documents.read_mlmodel(folder))


def estimator_file(description: dict[str, Any], files: Collection[str]) -> str:
    """Return the path of the estimator's file, one of `files`, by a version's MLmodel."""
    flavors = description.get("flavors")
    if not isinstance(flavors, dict):
        raise Refused(f"its flavors are {quoted(flavors)}; expected a mapping")
    flavor = flavors.get("sklearn")
    if not isinstance(flavor, dict):
        raise Refused("it is no scikit-learn model; inference serves the sklearn flavor")
    if (form := flavor.get("serialization_format")) != "skops":
        raise Refused(
            f"it is stored as {_word(form)}, which runs code when it is loaded; log it with serialization_format='skops'"
        )
    return own_file(flavor.get("pickled_model"), files)


def example_file(description: dict[str, Any], files: Collection[str]) -> str:
    """Return the path of the input example, one of `files`, by a version's MLmodel."""
    info = description.get("saved_input_example_info")
    if not isinstance(info, dict) or "artifact_path" not in info:
        raise Refused(NO_INTERFACE)
    return own_file(info["artifact_path"], files)


def columns_of(description: dict[str, Any]) -> list[Column]:
    """Return the columns of a signature that inference serves."""
    try:
        inputs = json.loads(description["signature"]["inputs"])
        found = [(column["name"], column["type"], column.get("required", True)) for column in inputs]
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise Refused(NO_INTERFACE) from error
    if not all(isinstance(name, str) for name, _, _ in found) or len({name for name, _, _ in found}) < len(found):
        raise Refused("its columns have names that are no text, or the same one twice")
    if others := sorted({_word(kind) for _, kind, _ in found} - KINDS.keys()):
        raise Refused(f"its columns have the types {', '.join(others[:8])}; inference serves {', '.join(KINDS)}")
    return [Column(name, KINDS[kind], not required) for name, kind, required in found]


def check_class_names(description: dict[str, Any], estimator: Any) -> None:
    """Refuse names of the classes that are none, or too few."""
    metadata = description.get("metadata")
    names = metadata.get("class_names") if isinstance(metadata, dict) else None
    if names is None:
        return
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Refused(f"its class_names are {quoted(names)}; expected a list of texts")
    for label in getattr(estimator, "classes_", []):
        if not isinstance(label, Integral) or not 0 <= int(label) < len(names):
            raise Refused(f"its class_names do not name its class {quoted(label)}; expected one for each of 0, 1, …")


def _word(value: Any) -> str:
    return value if isinstance(value, str) and value.isidentifier() and len(value) < 50 else quoted(value)


def _load(folder: Path, description: dict[str, Any], trusted: frozenset[str]) -> Any:
    return load_skops(folder / estimator_file(description, files_in(folder)), TRUSTED_TYPES | trusted)


def _example(folder: Path, description: dict[str, Any], columns: list[Column]) -> pd.DataFrame:
    path = example_file(description, files_in(folder))
    example = documents.read_json(folder, path, limits.EXAMPLE_BYTES)
    try:
        return golden_samples.from_json(example["data"], columns)
    except (KeyError, TypeError, ValueError) as error:
        raise Refused(NO_INTERFACE) from error
