"""The signature over a version's files: OpenSSF Model Signing with an elliptic-curve key, which its own tool verifies too.

The signed manifest is the only list of files that there is. A file that it does not list is not fetched, not read, and not
there; one that it lists is there with the content that was signed. Nothing is left out by its name.
"""

import base64
import contextlib
import json
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from contract import documents, limits
from contract.errors import Refused
from contract.file_names import IDENTITY, SIGNATURE

# Files and folders that are looked at: a location may be any folder of a machine.
MOST_ENTRIES = 10 * limits.MOST_FILES
# Of an error of the library's, which may quote all that it was given.
MOST_WORDS = 1000
# What identity.json says, beside whose files they are, where whoever signed has vouched for the code that loading them runs.
RUNS_CODE = "runs_code"
# What model.sig is made of: one signature over one list. Only that is handed to the library, which makes objects of whatever
# it is given: of 1 MB of empty log entries 1.7 GB.
ENVELOPE = {
    "mediaType": str,
    "verificationMaterial": {"publicKey": {"hint": str}, "tlogEntries": []},
    "dsseEnvelope": {"payload": str, "payloadType": str, "signatures": [{"sig": str, "keyid": str}]},
}


def library() -> ModuleType:
    """Import OpenSSF Model Signing without what it has for Sigstore's service, which no key of ours goes through.

    With it the import takes 0.42 s of processor time and 48 MB, without it 0.23 s and 33 MB.
    """
    of_sigstore = "model_signing._signing.sign_sigstore"
    sys.modules.setdefault(of_sigstore, ModuleType(of_sigstore))
    return import_module("model_signing")


def sign(folder: Path, model_name: str, model_id: str, key: Path, runs_code: bool = False) -> None:
    """Write identity.json and model.sig into a folder: all files in it are signed, and nothing of them is run.

    `key` is the private key's file, PEM; `runs_code` has the signature say that their code may be run.
    """
    (folder / SIGNATURE).unlink(missing_ok=True)
    (folder / IDENTITY).write_text(identity_text(model_name, model_id, runs_code))
    limits.check_listing({path: (folder / path).stat().st_size for path in files_in(folder)})
    config = library().signing.Config().use_elliptic_key_signer(private_key=key).set_hashing_config(_every_file())
    config.sign(folder, folder / SIGNATURE)


def identity_text(model_name: str, model_id: str, runs_code: bool = False) -> str:
    """Return the content of identity.json."""
    identity = {"model_name": model_name, "model_id": model_id} | ({RUNS_CODE: True} if runs_code else {})
    return json.dumps(identity) + "\n"


def listed(signature: Path, public_key: Path) -> dict[str, str]:
    """Return path → SHA-256 of the files that a signature's file lists, signed with the key's pair; raise Refused.

    So nothing has to be fetched, or be there, to know what the holder of the key has signed.
    """
    content = documents.read_bytes(signature.parent, signature.name, limits.PARSED[SIGNATURE])
    found = entries(content)
    if not _is_made_of(ENVELOPE, json.loads(content)):
        raise Refused("its signature cannot be read: it has more in it than one signature over one list of files")
    # The library's own check of the signature over the list alone; its public one wants all files as well.
    verifying = library().verifying
    from model_signing._signing.sign_sigstore_pb import Signature

    try:
        with contextlib.redirect_stdout(sys.stderr):  # it prints a warning for a hint that is empty
            verifier = verifying.Config().use_elliptic_key_verifier(public_key=public_key)._verifier
            manifest = verifier.verify(Signature.read(signature))
    except Exception as error:  # whatever the reason, what is not verified is not there
        raise Refused(f"its signature does not hold: {_last_line(error)}") from error
    if found != {one.identifier: one.digest.digest_hex for one in manifest.resource_descriptors()}:
        raise Refused("its signature does not hold: its list can be read in two ways")
    return found


def entries(signature: bytes) -> dict[str, str]:
    """Return path → SHA-256 of the files that a signature's content lists, within limits, not verified; raise Refused."""
    if len(signature) > limits.PARSED[SIGNATURE]:
        raise Refused(f"its signature has more than {limits.PARSED[SIGNATURE]} bytes")
    try:
        payload = base64.b64decode(json.loads(signature)["dsseEnvelope"]["payload"], validate=True)
        resources = json.loads(payload)["predicate"]["resources"]
        found = {resource["name"]: resource["digest"] for resource in resources}
        if len(found) != len(resources) or not all(isinstance(text, str) for pair in found.items() for text in pair):
            raise ValueError("a file is listed twice, or is no text")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refused(f"its signature cannot be read: {type(error).__name__}: {error!s:.200}") from error
    limits.check_listing(dict.fromkeys(found))
    if IDENTITY not in found or SIGNATURE in found:
        raise Refused(f"its signature does not list {IDENTITY}, or lists itself")
    return found


def _is_made_of(shape: Any, value: Any) -> bool:
    """Tell whether a JSON value has no other keys, no longer lists and no other types than a shape."""
    if isinstance(shape, dict):
        return isinstance(value, dict) and all(key in shape and _is_made_of(shape[key], value[key]) for key in value)
    if isinstance(shape, list):
        return isinstance(value, list) and len(value) <= len(shape) and all(map(_is_made_of, shape, value))
    return isinstance(value, shape)


def verify(folder: Path, model_name: str, model_id: str, public_key: Path) -> dict[str, str]:
    """Return path → SHA-256 of a folder's files, all of them signed as this very version; raise Refused.

    `public_key` is a PEM file. A file that is missing, changed, or there without being listed breaks the signature.
    """
    if not (folder / SIGNATURE).is_file():
        raise Refused("it is not signed")
    files = listed(folder / SIGNATURE, public_key)
    found = set(files_in(folder)) - {SIGNATURE}
    if found != set(files):
        wrong = ", ".join(sorted(found ^ set(files))[:5])
        raise Refused(
            f"its signature does not hold: the files that are there and those that are signed differ: {wrong}"
        )
    limits.check_listing({path: (folder / path).stat().st_size for path in files})
    _verify(folder, public_key)
    check_identity(documents.read_json(folder, IDENTITY), model_name, model_id)
    return files


def check_identity(identity: Any, model_name: str, model_id: str) -> None:
    """Raise Refused where what identity.json says is of another version than this one."""
    expected = {"model_name": model_name, "model_id": model_id}
    if identity not in (expected, {**expected, RUNS_CODE: True}):
        raise Refused(f"it is signed as {identity!s:.200}, not as {expected}")


def _verify(folder: Path, public_key: Path) -> None:
    try:
        config = (
            library()
            .verifying.Config()
            .use_elliptic_key_verifier(public_key=public_key)
            .set_hashing_config(_every_file())
        )
        with contextlib.redirect_stdout(sys.stderr):
            config.verify(folder, folder / SIGNATURE)
    except Exception as error:  # whatever the reason, what is not verified is not served
        raise Refused(f"its signature does not hold: {_last_line(error)}") from error


def _last_line(error: Exception) -> str:
    return f"{(str(error)[-MOST_WORDS:].strip().splitlines() or [type(error).__name__])[-1]:.300}"


def _every_file() -> Any:
    return (
        library().hashing.Config().use_file_serialization().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)
    )


def files_in(folder: Path) -> list[str]:
    """Return the path of each file below a folder, sorted; raise Refused where there is anything but files and folders."""
    found = []
    for count, path in enumerate(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise Refused(f"{path.relative_to(folder).as_posix()!r:.100} is neither a file nor a folder")
        if path.is_file():
            found.append(path.relative_to(folder))
        if len(found) > limits.MOST_FILES + 1 or count > MOST_ENTRIES:
            raise Refused(f"it has more than {limits.MOST_FILES} files")
    return [path.as_posix() for path in sorted(found)]


def own_file(name: Any, files: Iterable[str]) -> str:
    """Return the path of a file that a version's metadata files name; raise Refused unless it is one of the version's own."""
    if not isinstance(name, str) or name not in files:
        raise Refused(f"its file {name!r:.100} is not one of its own")
    return name


def sign_text(content: bytes, key: Path) -> str:
    """Return a signature over some bytes, Base64, with the private key in a PEM file."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise Refused(f"the key in {key} is none of an elliptic curve")
    return base64.b64encode(private.sign(content, ec.ECDSA(hashes.SHA256()))).decode()


def verify_text(content: bytes, signature: str, public_key: Path) -> None:
    """Raise Refused unless a signature over some bytes holds."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    public = serialization.load_pem_public_key(public_key.read_bytes())
    try:
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise ValueError("another kind of key")
        public.verify(base64.b64decode(signature, validate=True), content, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError) as error:
        raise Refused("its signature does not hold") from error
