"""Whether a version's files are those that the trainer signed, as this very version."""

import json
from pathlib import Path

from inference.errors import ModelRefused
from inference.registry import ModelVersion

# Part of the contract with the trainer (docs/model-contract.md).
IDENTITY = "identity.json"
SIGNATURE = "model.sig"


def check_signature(folder: Path, version: ModelVersion, public_key: Path) -> None:
    """Raise ModelRefused unless the folder is signed, whole, and signed as this very version."""
    # Half a second and 60 MB, which the one process that needs it pays, when it needs it.
    from model_signing import verifying

    way_out = (
        f"`docker compose run trainer adopt {version.version}` checks and signs a version "
        f"(without Docker: `make adopt VERSION={version.version}`)"
    )
    if not (folder / SIGNATURE).is_file():
        raise ModelRefused(f"it is not signed; {way_out}")
    try:
        verifying.Config().use_elliptic_key_verifier(public_key=public_key).verify(folder, folder / SIGNATURE)
    except Exception as error:  # whatever the reason, what is not verified is not served
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise ModelRefused(f"its signature does not hold: {reason}; {way_out}") from error
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
