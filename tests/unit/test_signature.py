"""Signed by the trainer, verified by inference: the two ends of the contract, held against each other."""

import hashlib
from pathlib import Path

import pytest
from contract.signature import sign
from inference.errors import ModelRefused
from inference.model.version import ModelVersion
from inference.verification.signature import check_signature
from model_signing import hashing, signing
from setup.signing_key import key_id_of, new_private_key, public_key_of
from trainer.artifact.signing import check_key, key_id, verify
from trainer.errors import SettingsError, VersionError

VERSION = ModelVersion("flowers", "3", "run", 1, "m-3", "")


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    private, public = tmp_path / "signing-key.pem", tmp_path / "signing-key.pub"
    private.write_text(new_private_key())
    private.with_suffix(".id").write_text(key_id_of(private.read_text()))
    public.write_text(public_key_of(private.read_text()))
    return private, public


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "more").mkdir(parents=True)
    (folder / "model.skops").write_bytes(b"an estimator")
    (folder / "MLmodel").write_text("flavors: {}")
    (folder / "more" / "note.txt").write_text("deep")
    return folder


def test_what_the_trainer_signs_holds_and_says_what_each_file_is(folder: Path, keys: tuple[Path, Path]) -> None:
    private, public = keys
    sign(folder, "flowers", "m-3", private)
    found = check_signature(folder, VERSION, public)
    assert set(found) == {"MLmodel", "identity.json", "model.skops", "more/note.txt"}
    assert found["model.skops"] == hashlib.sha256(b"an estimator").hexdigest()


@pytest.mark.parametrize("name", [".git/model.skops", ".gitignore", ".gitattributes", ".github/x"])
def test_no_file_is_left_out_of_the_signature_by_its_name(folder: Path, keys: tuple[Path, Path], name: str) -> None:
    private, public = keys
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("an estimator")
    sign(folder, "flowers", "m-3", private)
    assert name in check_signature(folder, VERSION, public)
    (folder / name).write_text("another estimator")
    with pytest.raises(ModelRefused, match="its signature does not hold"):
        check_signature(folder, VERSION, public)


@pytest.mark.parametrize("name", [".git/model.skops", ".gitignore", "registered_model_meta", "extra"])
def test_a_file_that_is_there_without_being_signed_breaks_the_signature_whatever_its_name(
    folder: Path, keys: tuple[Path, Path], name: str
) -> None:
    private, public = keys
    sign(folder, "flowers", "m-3", private)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("")
    with pytest.raises(ModelRefused, match=f"its signature does not hold: .*{name}"):
        check_signature(folder, VERSION, public)


def test_a_version_that_has_lost_its_signature_is_not_called_unsigned(folder: Path, keys: tuple[Path, Path]) -> None:
    known = ModelVersion("flowers", "3", "run", 1, "m-3", "0123456789abcdef")
    with pytest.raises(ModelRefused) as refused:
        check_signature(folder, known, keys[1])
    assert str(refused.value).startswith("it has lost model.sig")
    assert "adopt" not in str(refused.value)


@pytest.mark.parametrize("file", ["model.skops", "MLmodel", "more/note.txt", "identity.json"])
def test_the_trainer_refuses_what_was_changed_after_it_was_signed(
    folder: Path, keys: tuple[Path, Path], file: str
) -> None:
    private, _ = keys
    sign(folder, "flowers", "m-3", private)
    (folder / file).write_text("{}")
    with pytest.raises(VersionError, match="its signature does not hold"):
        verify(folder, "flowers", "m-3", private)


def test_an_unsigned_folder_is_refused_and_the_way_out_named(folder: Path, keys: tuple[Path, Path]) -> None:
    with pytest.raises(ModelRefused, match="it is not signed; `docker compose run trainer adopt 3`"):
        check_signature(folder, VERSION, keys[1])


@pytest.mark.parametrize("file", ["model.skops", "MLmodel", "more/note.txt", "identity.json"])
def test_one_changed_byte_is_refused(folder: Path, keys: tuple[Path, Path], file: str) -> None:
    private, public = keys
    sign(folder, "flowers", "m-3", private)
    content = bytearray((folder / file).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / file).write_bytes(content)
    with pytest.raises(ModelRefused, match=f"signature does not hold: .*{file.split('/')[-1]}"):
        check_signature(folder, VERSION, public)


@pytest.mark.parametrize("change", ["added", "removed"])
def test_a_file_added_or_removed_is_refused(folder: Path, keys: tuple[Path, Path], change: str) -> None:
    private, public = keys
    sign(folder, "flowers", "m-3", private)
    (folder / "extra").write_text("") if change == "added" else (folder / "MLmodel").unlink()
    with pytest.raises(ModelRefused, match="signature does not hold"):
        check_signature(folder, VERSION, public)


def test_another_key_is_refused(folder: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    sign(folder, "flowers", "m-3", keys[0])
    other = tmp_path / "other.pub"
    other.write_text(public_key_of(new_private_key()))
    with pytest.raises(ModelRefused, match="signature does not hold"):
        check_signature(folder, VERSION, other)


@pytest.mark.parametrize("signed_as", [("trees", "m-3"), ("flowers", "m-2")], ids=["other model", "older version"])
def test_signed_files_of_another_model_or_version_are_refused(
    folder: Path, keys: tuple[Path, Path], signed_as: tuple[str, str]
) -> None:
    private, public = keys
    sign(folder, *signed_as, private)
    with pytest.raises(ModelRefused, match="it is signed as"):
        check_signature(folder, VERSION, public)


@pytest.mark.parametrize("identity", [None, "", "{", "[]"])
def test_files_that_are_signed_with_the_public_tool_without_saying_as_what_are_refused(
    folder: Path, keys: tuple[Path, Path], identity: str | None
) -> None:
    private, public = keys
    if identity is not None:
        (folder / "identity.json").write_text(identity)
    files = hashing.Config().set_ignored_paths(paths=[folder / "model.sig"])
    config = signing.Config().use_elliptic_key_signer(private_key=private).set_hashing_config(files)
    config.sign(folder, folder / "model.sig")
    with pytest.raises(
        ModelRefused,
        match=r"its signature does not list identity\.json|its file identity\.json is not JSON|it is signed as \[\], not as",
    ):
        check_signature(folder, VERSION, public)


@pytest.mark.parametrize("signature", ["", "{}", "not JSON"])
def test_a_signature_that_is_none_is_refused(folder: Path, keys: tuple[Path, Path], signature: str) -> None:
    (folder / "model.sig").write_text(signature)
    with pytest.raises(ModelRefused, match=r"its signature cannot be read: .*adopt 3"):
        check_signature(folder, VERSION, keys[1])


def test_a_missing_public_key_refuses_rather_than_trusts(folder: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    sign(folder, "flowers", "m-3", keys[0])
    with pytest.raises(ModelRefused, match="signature does not hold"):
        check_signature(folder, VERSION, tmp_path / "not-there.pub")


def test_the_trainer_says_which_key_it_lacks_and_how_to_do_without(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"SIGNING_KEY_FILE .*key\.pem cannot be read: No such file.*set MLFLOW_TRACK"
    ):
        check_key(tmp_path / "key.pem")
    (tmp_path / "key.pem").touch()
    with pytest.raises(SettingsError, match=r"key\.pem: .*key\.id, which belongs to it, cannot be read: No such file"):
        check_key(tmp_path / "key.pem")


def test_the_id_of_a_key_is_short_and_its_own(keys: tuple[Path, Path]) -> None:
    assert len(key_id(keys[0])) == 16
    assert key_id_of(new_private_key()) != key_id(keys[0])
