"""What both sides rely on: the signed manifest is the only list of files, and what is parsed has limits."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from contract import documents, limits, signature
from contract.errors import Refused
from model_signing import hashing, signing
from model_signing._signing.sign_sigstore_pb import Signature
from setup.signing_key import new_private_key, public_key_of


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("keys")
    private, public = folder / "signing-key.pem", folder / "signing-key.pub"
    private.write_text(new_private_key())
    public.write_text(public_key_of(private.read_text()))
    return private, public


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "model.skops").write_bytes(b"an estimator")
    (folder / ".gitattributes").write_text("")
    (folder / "MLmodel").write_text("flavors: {}")
    return folder


@pytest.fixture
def signed(folder: Path, keys: tuple[Path, Path]) -> Path:
    signature.sign(folder, "flowers", "m-3", keys[0])
    return folder


def verify(folder: Any, keys: Any) -> Any:
    return signature.verify(folder, "flowers", "m-3", keys[1])


# --- the manifest is the only list ----------------------------------------------------------------------------------


def test_all_files_are_listed_whatever_they_are_called(signed: Path, keys: tuple[Path, Path]) -> None:
    files = {".git/model.skops", ".gitattributes", "MLmodel", "identity.json"}
    assert set(verify(signed, keys)) == files
    assert set(signature.entries((signed / "model.sig").read_bytes())) == files


@pytest.mark.parametrize("file", [".git/model.skops", ".gitattributes", "MLmodel", "identity.json"])
def test_a_changed_file_breaks_the_signature_whatever_it_is_called(
    signed: Path, keys: tuple[Path, Path], file: str
) -> None:
    (signed / file).write_bytes(b"another one")
    with pytest.raises(Refused, match="signature does not hold"):
        verify(signed, keys)


@pytest.mark.parametrize(
    "file", [".gitignore", ".git/config", ".github/x", "registered_model_meta", "extra.py", ".hidden"]
)
def test_a_file_that_is_not_listed_breaks_the_signature_whatever_it_is_called(
    signed: Path, keys: tuple[Path, Path], file: str
) -> None:
    (signed / file).parent.mkdir(exist_ok=True)
    (signed / file).write_text("")
    with pytest.raises(Refused, match=f"differ: {file}"):
        verify(signed, keys)


def test_of_many_files_that_are_not_listed_the_first_five_are_told(signed: Path, keys: tuple[Path, Path]) -> None:
    for name in "abcdefg":
        (signed / name).write_text("")
    with pytest.raises(Refused, match=r"differ: a, b, c, d, e$"):
        verify(signed, keys)


def test_a_folder_without_a_signature_is_not_signed(folder: Path, keys: tuple[Path, Path]) -> None:
    with pytest.raises(Refused, match=r"^it is not signed$"):
        verify(folder, keys)


def test_a_listed_file_that_is_missing_breaks_the_signature(signed: Path, keys: tuple[Path, Path]) -> None:
    (signed / ".git" / "model.skops").unlink()
    with pytest.raises(Refused, match=r"differ: \.git/model\.skops"):
        verify(signed, keys)


def test_what_the_public_tool_signed_without_its_git_files_is_not_taken_for_whole(
    folder: Path, keys: tuple[Path, Path]
) -> None:
    (folder / "identity.json").write_text(json.dumps({"model_name": "flowers", "model_id": "m-3"}))
    files = hashing.Config().set_ignored_paths(paths=["model.sig"])
    config = signing.Config().use_elliptic_key_signer(private_key=keys[0]).set_hashing_config(files)
    config.sign(folder, folder / "model.sig")
    with pytest.raises(Refused, match=r"differ: \.git/model\.skops, \.gitattributes"):
        verify(folder, keys)


@pytest.mark.parametrize("identity", [("flowers", "m-2"), ("trees", "m-3")])
def test_files_that_are_signed_as_another_version_are_refused(
    folder: Path, keys: tuple[Path, Path], identity: tuple[str, str]
) -> None:
    signature.sign(folder, *identity, keys[0])
    with pytest.raises(Refused, match="it is signed as"):
        verify(folder, keys)


def test_what_is_signed_anew_does_not_list_the_old_signature(signed: Path, keys: tuple[Path, Path]) -> None:
    signature.sign(signed, "flowers", "m-3", keys[0])
    assert "model.sig" not in verify(signed, keys)


def test_a_link_is_no_file_of_a_version(signed: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (signed / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(Refused, match="'link' is neither a file nor a folder"):
        verify(signed, keys)
    with pytest.raises(Refused, match="neither a file nor a folder"):
        signature.sign(signed, "flowers", "m-3", keys[0])


def test_a_pipe_is_no_file_of_a_version(signed: Path, keys: tuple[Path, Path]) -> None:
    os.mkfifo(signed / "pipe")
    with pytest.raises(Refused, match="'pipe' is neither a file nor a folder"):
        verify(signed, keys)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "nothing", None, ["MLmodel"], "./MLmodel", ""])
def test_a_path_that_a_paper_names_is_one_of_the_listed_files(name: list[str] | str | None) -> None:
    assert signature.own_file("MLmodel", ["MLmodel"]) == "MLmodel"
    with pytest.raises(Refused, match="is not one of its own"):
        signature.own_file(name, ["MLmodel"])


# --- a signature that is read before it is verified -----------------------------------------------------------------


def listing(resources: Any) -> bytes:
    payload = base64.b64encode(json.dumps({"predicate": {"resources": resources}}).encode()).decode()
    return json.dumps({"dsseEnvelope": {"payload": payload}}).encode()


def entry(name: Any, digest: str = "00") -> dict[str, Any]:
    return {"name": name, "digest": digest}


def test_the_files_of_a_signature_are_told_without_verifying_it() -> None:
    assert signature.entries(listing([entry("identity.json"), entry("a/b", "11")])) == {
        "identity.json": "00",
        "a/b": "11",
    }


@pytest.mark.parametrize(
    "path",
    ["../x", "a/../../x", "/etc/passwd", "a//b", "./a", "a/", "", "a\\b", "a\nb", "a\x1bb", "\u202ea", "x" * 401],
)
def test_a_listed_path_stays_below_the_folder_and_is_written_in_one_way_only(path: str) -> None:
    with pytest.raises(Refused, match="is no path of a version's file"):
        signature.entries(listing([entry("identity.json"), entry(path)]))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be read"),
        (b"{}", "its signature cannot be read: KeyError: 'dsseEnvelope'"),
        (b"[" * 100_000, "cannot be read"),
        (b'{"dsseEnvelope": {"payload": "?"}}', "cannot be read"),
        (b" " * (limits.MB + 1), "more than 1048576 bytes"),
        (listing([entry("identity.json")]).replace(b'"payload": "', b'"payload": "?'), "cannot be read"),
        (listing(None), "cannot be read"),
        (listing([entry("identity.json"), entry(["a"])]), "cannot be read"),
        (listing([entry("identity.json"), entry("a", {"of": "a"})]), "cannot be read"),  # type: ignore[arg-type]
        (listing([entry("identity.json"), entry("a"), entry("a")]), "listed twice"),
        (listing([entry("a")]), r"does not list identity\.json"),
        (listing([entry("identity.json"), entry("model.sig")]), "or lists itself"),
        (listing([entry("identity.json"), *(entry(f"f{i}") for i in range(500))]), "it has 501 files"),
    ],
)
def test_a_signature_that_is_none_is_refused_in_bounded_words(content: bytes, words: str) -> None:
    with pytest.raises(Refused, match=words) as refused:
        signature.entries(content)
    assert len(str(refused.value)) < 500


def test_a_signature_may_be_as_large_as_the_limit_says() -> None:
    content = listing([entry("identity.json")])
    assert signature.entries(content.ljust(limits.MB)) == {"identity.json": "00"}


# --- limits, known from a listing -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({f"f{i}": 1 for i in range(501)}, "it has 501 files; expected at most 500"),
        ({"model.sig": limits.MB + 1}, "'model.sig' has 1048577 bytes"),
        ({"MLmodel": 300 * limits.MB}, "'MLmodel' has"),
        ({"a": 3 * limits.GB, "b": 2 * limits.GB}, "its files have 5.0 GB; expected at most 4"),
        ({"a/../b": 1}, "is no path"),
        ({"a": 1, "a/b": 1}, "'a' is a file of it and a folder of others"),
        ({"a/b/c": 1, "a/b": None}, "'a/b' is a file of it and a folder of others"),
        ({"a/" + "é" * 128: 1}, "has a name of more than 255 bytes"),
    ],
)
def test_what_is_too_much_is_refused_by_its_listing(sizes: dict[Any, Any], words: str) -> None:
    with pytest.raises(Refused, match=words):
        limits.check_listing(sizes)


def test_what_a_version_of_two_thousand_columns_has_is_within_the_limits() -> None:
    sizes = {"MLmodel": 300_000, "golden_samples.json": limits.MB, "model.skops": limits.GB, "unknown": None}
    limits.check_listing(sizes)
    for name, size in {"MLmodel": 30_000_000, "golden_samples.json": 16 * limits.MB + 1, "model.skops": 2**32}.items():
        with pytest.raises(Refused, match="expected at most"):
            limits.check_listing({**sizes, name: size})


def test_names_that_begin_alike_and_are_as_long_as_a_folder_takes_are_allowed() -> None:
    sizes = {"a": 1, "ab/a": 1, "ab/b/c": 1, "é" * 127: 1}
    limits.check_listing(sizes)
    for name in ("a/b", "ab", "ab/b", "é" * 128):
        with pytest.raises(Refused):
            limits.check_listing({**sizes, name: 1})


def test_a_version_may_be_as_large_as_the_limits_say_and_no_larger() -> None:
    name = "x" * limits.MOST_NAME_BYTES
    longest = f"{name}/{'y' * (limits.MOST_PATH - len(name) - 1)}"
    limits.check_listing({**{f"file-{number}": None for number in range(limits.MOST_FILES - 1)}, longest: None})
    limits.check_listing({"model.sig": limits.MB, "a": 2 * limits.GB, "b": 2 * limits.GB - limits.MB, "c": None})
    for sizes in (
        {f"file-{number}": 1 for number in range(limits.MOST_FILES + 1)},
        {f"{longest}z": 1},
        {f"{name}x": 1},
        {"a": 2 * limits.GB, "b": 2 * limits.GB, "c": 1},
    ):
        with pytest.raises(Refused):
            limits.check_listing(sizes)


def test_a_folder_that_is_too_large_is_not_signed(
    folder: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MOST_FILES", 3)
    with pytest.raises(Refused, match="it has 4 files; expected at most 3"):
        signature.sign(folder, "flowers", "m-3", keys[0])
    assert not (folder / "model.sig").exists()


# --- documents ------------------------------------------------------------------------------------------------------

ALIASES = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (ALIASES + "metadata: {class_names: *a8}", "it has aliases"),
        ("a: " + "[" * 51 + "]" * 51, "nested deeper than 50 levels"),
        ("a: " + "[" * 100_000, "nested deeper than 50 levels"),
        ("a: [", "is not YAML"),
        ("- a list", "empty or no YAML mapping"),
        ("", "empty or no YAML mapping"),
        ("a: !!python/object/apply:os.system [true]", "is not YAML"),
        ("a: " + "x" * (2 * limits.MB), "has more than 2097152 bytes"),
        ("\ud800".encode("utf-16-le", "surrogatepass").decode("latin-1"), "MLmodel"),
    ],
)
def test_an_mlmodel_that_is_none_is_refused_in_bounded_words(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "MLmodel").write_text(content)
    with pytest.raises(Refused, match=words) as refused:
        documents.read_mlmodel(tmp_path)
    assert len(str(refused.value)) < 500


def test_a_missing_mlmodel_is_told(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no readable MLmodel file: its file MLmodel cannot be read: No such file"):
        documents.read_mlmodel(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000, "\x00"])
def test_json_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "onnx_engine.json").write_text(content)
    with pytest.raises(Refused, match=r"onnx_engine\.json is not JSON"):
        documents.read_json(tmp_path, "onnx_engine.json")


def test_json_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "identity.json").write_text(" " * 5000)
    with pytest.raises(Refused, match=r"identity\.json has more than 4096 bytes"):
        documents.read_json(tmp_path, "identity.json")


def test_a_list_that_somebody_else_has_signed_is_no_list(signed: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other.pub"
    other.write_text(public_key_of(new_private_key()))
    assert set(signature.listed(signed / "model.sig", keys[1])) == set(signature.files_in(signed)) - {"model.sig"}
    with pytest.raises(Refused, match="its signature does not hold"):
        signature.listed(signed / "model.sig", other)


def test_a_list_that_was_made_without_a_key_is_no_list(signed: Path, keys: tuple[Path, Path]) -> None:
    (signed / "model.sig").write_bytes(listing([entry("identity.json"), entry("big")]))
    assert set(signature.entries((signed / "model.sig").read_bytes())) == {"identity.json", "big"}
    with pytest.raises(Refused, match="its signature does not hold"):
        signature.listed(signed / "model.sig", keys[1])


def test_an_error_of_the_library_without_words_is_told_by_its_name(
    signed: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(path: Path) -> None:
        raise OverflowError

    monkeypatch.setattr(Signature, "read", fails)
    with pytest.raises(Refused, match=r"^its signature does not hold: OverflowError$"):
        signature.listed(signed / "model.sig", keys[1])


def test_a_list_that_the_library_reads_in_another_way_is_no_list(
    signed: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signature, "entries", lambda content: {"identity.json": "00"})
    with pytest.raises(Refused, match=r"^its signature does not hold: its list can be read in two ways$"):
        signature.listed(signed / "model.sig", keys[1])


MORE = {
    "log entries": lambda content: content["verificationMaterial"].update(tlogEntries=[{}] * 1000),
    "certificates": lambda content: content["verificationMaterial"].update(x509CertificateChain={"certificates": [{}]}),
    "two signatures": lambda content: content["dsseEnvelope"].update(
        signatures=content["dsseEnvelope"]["signatures"] * 2
    ),
    "another signature": lambda content: content.update(messageSignature={"messageDigest": {}}),
    "a signature of lists": lambda content: content["dsseEnvelope"].update(signatures=[{"sig": [[]]}]),
    "a list for a key": lambda content: content["verificationMaterial"].update(publicKey=[]),
}


@pytest.mark.parametrize("change", MORE.values(), ids=MORE)
def test_a_signature_with_more_in_it_than_one_over_one_list_is_refused_before_the_library_reads_it(
    signed: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    content = json.loads((signed / "model.sig").read_text())
    change(content)
    (signed / "model.sig").write_text(json.dumps(content))
    monkeypatch.setattr(Signature, "read", lambda path: pytest.fail("the library reads it"))
    with pytest.raises(Refused, match="it has more in it than one signature over one list of files"):
        signature.listed(signed / "model.sig", keys[1])


def test_a_warning_of_the_library_is_not_printed_among_answers(
    signed: Path, keys: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads((signed / "model.sig").read_text())
    content["verificationMaterial"]["publicKey"]["hint"] = ""
    (signed / "model.sig").write_text(json.dumps(content))
    signature.listed(signed / "model.sig", keys[1])
    verify(signed, keys)
    said = capsys.readouterr()
    assert (said.out, said.err.count("WARNING: ")) == ("", 3)
