"""The trainer's end of the signature (docs/model-contract.md): it holds the private key, and signs and verifies with it.

Anybody who reaches the tracking server can overwrite a version's files, so nothing beside them that is not signed
says anything.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from contract import signature
from contract.file_names import IDENTITY, SIGNATURE
from contract.tracking.rest import SIGNED_BY

from trainer.errors import SettingsError, VersionError, refusals


def sign(folder: Path, model_name: str, model_id: str, key: Path, runs_code: bool = False) -> None:
    """Write identity.json and model.sig into a model's folder; raise VersionError where it is too large to be served."""
    with refusals():
        signature.sign(folder, model_name, model_id, key, runs_code)


def verify(folder: Path, model_name: str, model_id: str, key: Path) -> dict[str, str]:
    """Return path → SHA-256 of a folder's files, all signed with this key's pair as this model; raise VersionError."""
    with refusals(), _public(key) as public:
        return signature.verify(folder, model_name, model_id, public)


def listed(folder: Path, key: Path) -> dict[str, str]:
    """Return path → SHA-256 of the files that a folder's model.sig lists, signed with this key's pair; raise VersionError."""
    with refusals(), _public(key) as public:
        return signature.listed(folder / SIGNATURE, public)


def verify_text(content: bytes, text: str, key: Path) -> None:
    """Raise VersionError unless a signature over some bytes was made with this key."""
    with refusals(), _public(key) as public:
        signature.verify_text(content, text, public)


def signed_before(folder: Path, model_name: str, model_id: str, key: Path) -> dict[str, str]:
    """Return path → SHA-256 of what a folder's model.sig says this key has signed as this very model; none where it has not.

    Whatever the other files are by now: those that were signed can be brought back.
    """
    try:
        found = listed(folder, key)
    except VersionError:
        return {}
    texts = (signature.identity_text(model_name, model_id, runs_code) for runs_code in (False, True))
    return found if found[IDENTITY] in {hashlib.sha256(text.encode()).hexdigest() for text in texts} else {}


@contextmanager
def _public(key: Path) -> Iterator[Path]:
    """Yield a file with the public key of a private one."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    private = load_pem_private_key(key.read_bytes(), password=None)
    with TemporaryDirectory() as parent:
        public = Path(parent, "signing-key.pub")
        public.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        yield public


def check_key(key: Path | None) -> None:
    """Raise SettingsError where there is a private key that cannot be read: found out before the work, not after it."""
    if key is None:
        return
    try:
        key.read_bytes()
        key_id(key)
    except OSError as error:
        what = str(key) if error.filename == str(key) else f"{key}: {error.filename}, which belongs to it,"
        raise SettingsError(
            f"SIGNING_KEY_FILE {what} cannot be read: {error.strerror}; the set-up makes it "
            "(`docker compose up`, or `make` without Docker). To train for a server, which takes no key, set MLFLOW_TRACKING_URI"
        ) from error


def tags(key: Path | None) -> dict[str, str]:
    """Return the tags of a version that was signed with a key, none without one."""
    return {} if key is None else {SIGNED_BY: key_id(key)}


def key_id(key: Path) -> str:
    """Return the key's short name, which the set-up wrote beside it."""
    return key.with_suffix(".id").read_text().strip()
