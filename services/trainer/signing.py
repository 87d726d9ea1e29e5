"""A served model is signed: its files, the registered model's name and the model's id, together.

Anybody who reaches the tracking server can overwrite a version's files, so nothing beside them that is not signed
says anything. The signature is OpenSSF Model Signing's, with an elliptic-curve key; its public tool verifies it too.
"""

import json
from pathlib import Path

from trainer.errors import SettingsError

# Part of the contract with inference (docs/model-contract.md).
IDENTITY = "identity.json"
SIGNATURE = "model.sig"
# MLflow adds this file when it downloads a registered version.
NOT_SIGNED = [SIGNATURE, "registered_model_meta"]


def sign(folder: Path, model_name: str, model_id: str, key: Path) -> None:
    """Write identity.json and model.sig into a model's folder."""
    from model_signing import hashing, signing

    folder = folder.resolve()  # what is not signed is named by absolute paths
    (folder / IDENTITY).write_text(json.dumps({"model_name": model_name, "model_id": model_id}) + "\n")
    files = hashing.Config().set_ignored_paths(paths=[folder / name for name in NOT_SIGNED])
    config = signing.Config().use_elliptic_key_signer(private_key=key).set_hashing_config(files)
    config.sign(folder, folder / SIGNATURE)


def check_key(key: Path) -> None:
    """Raise SettingsError where the private key cannot be read: found out before the work, not after it."""
    try:
        key.read_bytes()
        key_id(key)
    except OSError as error:
        raise SettingsError(
            f"SIGNING_KEY_FILE {key} cannot be read: {error.strerror}; the set-up makes it "
            "(`docker compose up`, or `make` without Docker)"
        ) from error


def key_id(key: Path) -> str:
    """Return the key's short name, which the set-up wrote beside it."""
    return key.with_suffix(".id").read_text().strip()
