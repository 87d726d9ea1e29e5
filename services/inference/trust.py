"""How far a version's files are trusted, before anything is loaded from them.

signed    files, registered model and model id carry the trainer's signature; only types that skops knows as harmless
skops     unsigned too, but only types that skops knows as harmless
pickle    anything: loading it runs whatever code is in it
"""

import json
import subprocess
import sys
from enum import StrEnum
from pathlib import Path

from inference.errors import ModelRefused
from inference.registry import ModelVersion

# Part of the contract with the trainer (docs/model-contract.md).
IDENTITY = "identity.json"
SIGNATURE = "model.sig"
VERIFY_SECONDS = 120


class Trust(StrEnum):
    """The setting MODEL_TRUST."""

    SIGNED = "signed"
    SKOPS = "skops"
    PICKLE = "pickle"


def check_signature(folder: Path, version: ModelVersion, public_key: Path) -> None:
    """Raise ModelRefused unless the folder is signed, whole, and signed as this very version."""
    way_out = (
        f"`docker compose run trainer adopt {version.version}` checks and signs a version "
        f"(without Docker: `make adopt VERSION={version.version}`)"
    )
    if not (folder / SIGNATURE).is_file():
        raise ModelRefused(f"it is not signed; {way_out}")
    command = [sys.executable, "-m", "inference.verify", str(public_key), str(folder)]
    try:
        check = subprocess.run(command, capture_output=True, text=True, timeout=VERIFY_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise ModelRefused(f"its signature could not be checked within {VERIFY_SECONDS} seconds") from error
    if check.returncode:
        reason = (check.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ModelRefused(f"its signature does not hold: {reason}; {way_out}")
    _check_identity(folder, version, way_out)


def _check_identity(folder: Path, version: ModelVersion, way_out: str) -> None:
    """The signed files must not be those of another version, copied here."""
    try:
        identity = json.loads((folder / IDENTITY).read_text())
    except (OSError, ValueError) as error:
        raise ModelRefused(f"it is signed without saying as what; {way_out}") from error
    expected = {"model_name": version.name, "model_id": version.model_id}
    if identity != expected:
        raise ModelRefused(f"it is signed as {identity}, not as {expected}; {way_out}")
