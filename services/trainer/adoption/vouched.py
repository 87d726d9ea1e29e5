"""A version that runs code when it is loaded, signed as it is, because its owner vouches for it (`adopt --allow-code`).

Here is the key, so nothing of the version is loaded, asked or read here. Its owner is shown what it is; all its files are
signed, byte for byte, and the signature says that their code may be run.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from contract import documents
from contract.display import visible
from contract.errors import Refused
from contract.file_names import (
    BACKGROUND,
    FIGURES,
    FITTED_ROWS,
    GOLDEN,
    IDENTITY,
    MODEL_CARD,
    ONNX_RECORD,
    PROFILE,
    SCHEMA,
    SIGNATURE,
)
from contract.signature import files_in
from contract.version_files import digest_of

from trainer.adoption import code_examination, findings

# What the trainer and the service would take for the trainer's word: nobody vouches for these, and they are not signed.
WORD_OF_A_TRAINING = (GOLDEN, ONNX_RECORD, FIGURES, SCHEMA, PROFILE, BACKGROUND, MODEL_CARD, FITTED_ROWS)
REWRITTEN = (IDENTITY, SIGNATURE, "registered_model_meta")
MOST_LINES, MOST_CHARACTERS = 100, 20_000


def prepare(
    folder: Path, ask: Callable[[str], Any], tell: Callable[[str], None]
) -> tuple[dict[str, str], list[str], list[str]]:
    """Make the folder what is to be signed; raise Refused where it cannot be served.

    `ask` has a function look at the folder in a sandbox. Returns the SHA-256 of the version's own files by their paths, what
    was made beside them, and what is left out.
    """
    sha256 = {path: digest_of(folder / path) for path in files_in(folder)}
    for line in _lines(ask(f"{code_examination.__name__}:described")):
        tell(line)
    left_out = [path for path in sha256 if path in (*WORD_OF_A_TRAINING, *REWRITTEN)]
    for path in left_out:
        sha256.pop(path)
        (folder / path).unlink()
    made = _golden(folder, ask, tell)
    return sha256, made, [path for path in left_out if path not in (*made, *REWRITTEN)]


def _golden(folder: Path, ask: Callable[[str], Any], tell: Callable[[str], None]) -> list[str]:
    """Write golden samples where the model can be asked here; say why there are none where it cannot."""
    try:
        found = ask(f"{code_examination.__name__}:golden")
        golden = findings.golden_of(found) | {"tolerance": code_examination.TOLERANCE}
    except (Refused, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        tell(
            "It has no golden samples, by which the service would tell that it still answers alike: it could not be asked "
            f"here ({visible(str(error))}). The service has it predict its input example before it serves it"
        )
        return []
    documents.write_json(folder / GOLDEN, golden)
    count = len(golden["instances"])
    tell(f"It has golden samples: its answers to {count} row{'' if count == 1 else 's'} of its input example")
    return [GOLDEN]


def _lines(answer: Any) -> list[str]:
    """Return what is to be shown of a version; raise Refused for an answer of another shape."""
    if not isinstance(answer, list) or len(answer) > MOST_LINES or not all(isinstance(line, str) for line in answer):
        raise Refused("the check gave no answer that can be used")
    return [visible(line, MOST_CHARACTERS) for line in answer]
