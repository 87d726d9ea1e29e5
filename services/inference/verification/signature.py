"""Whether a version's files are those that the trainer signed, as this very version, and what is said where they are not."""

from pathlib import Path

from contract import signature
from contract.errors import Refused
from contract.file_names import SIGNATURE

from inference.errors import ModelRefused
from inference.model.version import ModelVersion


def check_signature(folder: Path, version: ModelVersion, public_key: Path) -> dict[str, str]:
    """Return path → SHA-256 of a folder's files, all of them signed as this very version; raise ModelRefused."""
    if not (folder / SIGNATURE).is_file():
        raise without_signature(version)
    try:
        return signature.verify(folder, version.name, version.model_id, public_key)
    except Refused as error:
        raise ModelRefused(f"{error}; {_way_out(version)}") from error


def without_signature(version: ModelVersion) -> ModelRefused:
    """Return why a version without a signature is refused: one that had one, as the registry says, has lost it."""
    if version.signed_by:
        return ModelRefused(
            f"it has lost {SIGNATURE}: the registry says that it is signed with the key {version.signed_by}"
        )
    return ModelRefused(f"it is not signed; {_way_out(version)}")


def _way_out(version: ModelVersion) -> str:
    return (
        f"`docker compose run trainer adopt {version.version}` checks and signs a version "
        f"(without Docker: `make adopt VERSION={version.version}`)"
    )
