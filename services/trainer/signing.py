"""A served model is signed: its files, the registered model's name and the model's id, together.

Anybody who reaches the tracking server can overwrite a version's files, so nothing beside them that is not signed
says anything. The signature is OpenSSF Model Signing's, with an elliptic-curve key; its public tool verifies it too.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from trainer.errors import SettingsError, VersionError

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


def check_signature(folder: Path, model_name: str, model_id: str, key: Path) -> None:
    """Raise VersionError unless the folder is signed with this key's pair, whole, and as this model."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
    from model_signing import verifying

    if not (folder / SIGNATURE).is_file():
        raise VersionError("it is not signed; `adopt` checks and signs a version")
    private = load_pem_private_key(key.read_bytes(), password=None)
    with TemporaryDirectory() as parent:
        public = Path(parent, "signing-key.pub")
        public.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        try:
            verifying.Config().use_elliptic_key_verifier(public_key=public).verify(folder, folder / SIGNATURE)
        except Exception as error:  # whatever the reason, what is not verified is not served
            raise VersionError(f"its signature does not hold: {error}") from error
    identity = json.loads((folder / IDENTITY).read_text())
    if identity != {"model_name": model_name, "model_id": model_id}:
        raise VersionError(f"it is signed as {identity}, the files of another version")


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
