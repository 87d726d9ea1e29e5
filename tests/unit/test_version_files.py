"""A version's files on their way to the trainer: where they may be, how much of them, and which."""

import errno
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

import pytest
from contract import limits
from contract.tracking import artifacts
from contract.tracking.artifacts import Folder, Proxy
from setup.signing_key import key_id_of, new_private_key
from trainer import memory
from trainer.artifact import signing, version_files
from trainer.commands import train
from trainer.errors import TrackingError, VersionError
from trainer.promotion.champion_challenger import contender
from trainer.tracking import registry, version_store
from trainer.tracking.version_store import place_at

from tests.unit.tables import people, written

VERSION = SimpleNamespace(version="3", source="models:/m-3", tags={}, run_id=None)
SERVER = "http://mlflow:5000"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "signing-key.pem"
    path.write_text(new_private_key())
    path.with_suffix(".id").write_text(key_id_of(path.read_text()))
    return path


# --- where they may be ----------------------------------------------------------------------------------------------


def test_behind_a_server_files_are_where_the_server_keeps_them() -> None:
    place = place_at("mlflow-artifacts:/1/models/m-3/artifacts", SERVER + "/")
    assert place == Proxy(f"{SERVER}/api/2.0/mlflow-artifacts/artifacts", "1/models/m-3/artifacts")


@pytest.mark.parametrize("server", [SERVER, "http://somebody:secret@mlflow:5000"])
def test_a_location_may_name_the_server_itself(server: str) -> None:
    place = place_at("mlflow-artifacts://mlflow:5000/1/models/m 3/50%", server)
    assert (place.location, isinstance(place, Proxy)) == ("mlflow-artifacts:/1/models/m 3/50%", True)


@pytest.mark.parametrize(
    "location",
    [
        *(
            "file:///data/x",
            "/data/x",
            "s3://bucket/x",
            "ftp://x/y",
            "http://evil.example/x",
            "runs:/r/x",
            "data/x",
            "",
        ),
        *(
            "mlflow-artifacts://evil.example/x",
            "mlflow-artifacts://mlflow/x",
            "mlflow-artifacts:/",
            "mlflow-artifacts:",
            "\x1b[2J",
            "dbfs:/x",
        ),
        *(
            f"mlflow-artifacts:{path}"
            for path in ("/a/../b", "/./a", "/a//b", "/a/%2e%2e/b", "/%00", "///%2fetc", "/a\\b")
        ),
        *(f"mlflow-artifacts:{path}" for path in ("/a?b", "/a#b", "/a\nb", "//[x")),
    ],
)
def test_behind_a_server_no_path_of_this_machine_and_no_other_store_is_read(location: str) -> None:
    with pytest.raises(VersionError, match=r"its files are at .*; expected mlflow-artifacts:/PATH") as refused:
        place_at(location, SERVER)
    assert str(refused.value).isprintable()


def test_with_a_database_files_are_in_a_folder() -> None:
    assert place_at("file:///embedded/a%20b", "sqlite:///x.db") == Folder(Path("/embedded/a b"))
    assert place_at("/embedded/x", "sqlite:///x.db") == Folder(Path("/embedded/x"))


@pytest.mark.parametrize("location", ["mlflow-artifacts:/1/models", "s3://bucket/x", "file://host/x", "file://[x"])
def test_what_a_database_alone_cannot_give_is_told_with_the_way_out(location: str) -> None:
    with pytest.raises(VersionError, match="start its tracking server and name it in MLFLOW_TRACKING_URI"):
        place_at(location, "sqlite:///x.db")


# --- how much of them, and which ------------------------------------------------------------------------------------


class FakeProxy:
    """MLflow's artifact proxy, as a stranger may have filled it: it lists and gives what it is told to."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.list: bytes | None = None
        """what is answered in place of a list of the files"""
        self.given: list[str] = []
        self.failures = 0
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlparse(self.path)
                if proxy.failures:
                    proxy.failures -= 1
                    self.send_error(503)
                elif "path" in (query := parse_qs(url.query)):
                    self._answer(proxy.listing(query["path"][0]))
                else:
                    path = unquote(url.path).partition("/root/")[2]
                    proxy.given.append(path)
                    self._answer(proxy.files[path]) if path in proxy.files else self.send_error(404)

            def _answer(self, content: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def listing(self, path: str) -> bytes:
        below = f"{path}/".removeprefix("root/")
        if self.list is not None:
            return self.list
        found = {}
        for name, content in self.files.items():
            if name.startswith(below):
                first, _, rest = name.removeprefix(below).partition("/")
                found[first] = {"path": first, "is_dir": bool(rest), "file_size": None if rest else len(content)}
        return json.dumps({"files": list(found.values())}).encode()

    def fill(self, folder: Path) -> None:
        self.files = {
            path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProxy]:
    fake = FakeProxy()
    monkeypatch.setattr(version_files, "place_of", lambda version: Proxy(fake.url, "root"))
    monkeypatch.setattr(version_store, "PAUSES", (0, 0))
    yield fake
    fake.server.shutdown()
    fake.server.server_close()


@pytest.fixture
def signed(proxy: FakeProxy, key: Path, tmp_path: Path) -> FakeProxy:
    """A signed version behind the proxy."""
    folder = tmp_path / "model"
    (folder / "a folder").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}")
    (folder / "a folder" / "modèl#?.skops").write_bytes(b"an estimator")
    signing.sign(folder, "flowers", "m-3", key)
    proxy.fill(folder)
    return proxy


def read(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_all_files_of_an_unsigned_version_come_whole_whatever_they_are_called(signed: FakeProxy) -> None:
    with version_files.unsigned(version_files.place_of(VERSION)) as folder:
        assert read(folder) == signed.files
    assert not folder.exists()


def test_of_a_signed_version_only_what_is_listed_is_fetched(signed: FakeProxy, key: Path) -> None:
    expected = dict(signed.files)
    signed.files |= {"schema.yaml": b"&a [*a]", ".git/config": b"", "code/evil.py": b"", "registered_model_meta": b""}
    with version_files.signed(VERSION, "flowers", key) as folder:
        assert read(folder) == expected
    assert sorted(signed.given) == sorted(expected)


@pytest.mark.parametrize("file", ["MLmodel", "identity.json", "model.sig"])
def test_what_was_changed_after_it_was_signed_is_not_handed_out(signed: FakeProxy, key: Path, file: str) -> None:
    signed.files[file] = signed.files[file].replace(b"l", b"m", 1)
    with pytest.raises(VersionError, match="signature"), version_files.signed(VERSION, "flowers", key):
        pytest.fail("it was handed out")


@pytest.mark.parametrize(
    ("name", "model_id"), [("trees", "m-3"), ("flowers", "m-4")], ids=["another model", "another version"]
)
def test_signed_files_of_another_version_are_not_handed_out(
    signed: FakeProxy, key: Path, name: str, model_id: str
) -> None:
    version = SimpleNamespace(version="3", source=f"models:/{model_id}", tags={})
    with pytest.raises(VersionError, match="it is signed as"), version_files.signed(version, name, key):
        pytest.fail("it was handed out")


def test_a_version_that_is_larger_than_its_share_of_the_memory_is_refused_before_any_of_it_is_fetched(
    signed: FakeProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "left", lambda: 1000)
    with pytest.raises(VersionError, match="TRAINER_MEMORY"):
        version_files.unsigned(version_files.place_of(VERSION)).__enter__()
    assert signed.given == []


def test_a_version_of_sizes_that_are_not_listed_is_refused_when_more_of_it_has_come_than_there_is_room_for(
    proxy: FakeProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "left", lambda: 4 * limits.MB)
    proxy.files = {"model.skops": b"x" * 3 * limits.MB, "next": b""}
    proxy.list = listing({"path": "model.skops"}, {"path": "next"})
    with pytest.raises(VersionError, match="there is room for 1 MB"):
        version_files.unsigned(version_files.place_of(VERSION)).__enter__()
    assert proxy.given == ["model.skops"]


def test_a_signed_file_that_is_gone_is_named(signed: FakeProxy, key: Path) -> None:
    del signed.files["MLmodel"]
    with pytest.raises(VersionError, match="MLmodel is signed, and is not there"):
        version_files.signed(VERSION, "flowers", key).__enter__()


def test_a_version_without_files_has_lost_them_and_one_without_a_signature_is_not_signed(
    proxy: FakeProxy, key: Path
) -> None:
    for fetched in (
        version_files.unsigned(version_files.place_of(VERSION)),
        version_files.signed(VERSION, "flowers", key),
    ):
        with pytest.raises(VersionError, match="its files are gone from the artifact store"):
            fetched.__enter__()
    proxy.files = {"MLmodel": b""}
    with pytest.raises(VersionError, match="it is not signed; `adopt` checks and signs a version"):
        version_files.signed(VERSION, "flowers", key).__enter__()


def listing(*files: dict[str, Any]) -> bytes:
    return json.dumps({"files": files}).encode()


LISTINGS = {
    "too long": (b" " * (limits.MB + 1), "the list of its files has more than 1048576 bytes"),
    "too many": (listing(*({"path": f"f{i}", "file_size": 1} for i in range(501))), "more than 500 files"),
    "too many folders": (listing(*({"path": f"f{i}", "is_dir": True} for i in range(501))), "more than 500 files"),
    "too large": (listing({"path": "a", "file_size": 5 * limits.GB}), "its file 'a' has"),
    "a large signature": (listing({"path": "model.sig", "file_size": 300 * limits.MB}), "its file 'model.sig' has"),
    "upwards": (listing({"path": "..", "file_size": 1}), "is no path of a version's file"),
    "upwards in a folder": (listing({"path": "..", "is_dir": True}), "is no path of a version's file"),
    "nothing": (listing({"path": "a/", "file_size": 1}), "is no path of a version's file"),
    "a name that no folder takes": (listing({"path": "é" * 128, "is_dir": True}), "has a name of more than 255 bytes"),
    "a control character": (listing({"path": "a\x1b[2J", "file_size": 1}), "is no path of a version's file"),
}


@pytest.mark.parametrize(("content", "words"), LISTINGS.values(), ids=LISTINGS)
def test_a_list_of_files_that_is_too_much_is_refused_before_one_is_fetched(
    proxy: FakeProxy, key: Path, content: bytes, words: str
) -> None:
    proxy.list = content
    for fetched in (
        version_files.unsigned(version_files.place_of(VERSION)),
        version_files.signed(VERSION, "flowers", key),
    ):
        with pytest.raises(VersionError, match=words) as refused:
            fetched.__enter__()
        assert str(refused.value).isprintable()
    assert proxy.given == []


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"files": [{}]}', b'{"files": [{"path": 3}]}', b"[" * 100_000])
def test_a_list_of_files_that_is_none_is_the_servers_fault(proxy: FakeProxy, content: bytes) -> None:
    proxy.list = content
    with pytest.raises(TrackingError, match=r"MLflow at http://127\.0\.0\.1:\d+ does not list the files"):
        version_files.unsigned(version_files.place_of(VERSION)).__enter__()


def test_a_file_that_is_longer_or_shorter_than_it_was_listed_with_is_not_taken(proxy: FakeProxy) -> None:
    proxy.files = {"MLmodel": b"12345"}
    for size, said in ((4, "; expected at most 4"), (6, ", and was listed with 6")):
        proxy.list = listing({"path": "MLmodel", "file_size": size})
        with pytest.raises(TrackingError, match=f"it has 5 bytes{said}"):
            version_files.unsigned(version_files.place_of(VERSION)).__enter__()


def test_a_file_whose_length_is_not_known_is_read_up_to_its_limit(proxy: FakeProxy) -> None:
    proxy.files = {"identity.json": b" " * 5000}
    proxy.list = listing({"path": "identity.json"})
    with pytest.raises(VersionError, match=r"its file identity\.json has more than 4096 bytes"):
        version_files.unsigned(version_files.place_of(VERSION)).__enter__()


LOST = {
    "all": ({}, "its files"),
    "its signature": ({"MLmodel": b""}, "its signature"),
    "nothing": ({"MLmodel": b"", "model.sig": b""}, None),
    "a sane size": (
        {"identity.json": b" " * 5000},
        "its files (its file 'identity.json' has 5000 bytes; expected at most 4096)",
    ),
}


@pytest.mark.parametrize(("files", "lost"), LOST.values(), ids=LOST)
def test_what_a_version_has_lost_is_told_by_its_listing_alone(proxy: FakeProxy, files: Any, lost: Any) -> None:
    proxy.files = files
    version = SimpleNamespace(version="3", source="models:/m-3", tags={"signed_by": "ours"})
    assert version_files.lost(version, "ours") == lost
    assert proxy.given == []


def test_a_version_that_is_nowhere_to_be_listed_has_lost_its_key_alone() -> None:
    version = SimpleNamespace(version="3", source="runs:/1/model", tags={"signed_by": "another"})
    assert version_files.lost(version, "ours") == "the key that it is signed with"


BY_FILES: dict[str, tuple[dict[str, bytes], str | None]] = {
    "all": ({}, "its files"),
    "its signature": ({"MLmodel": b"", "identity.json": b"{}"}, "its signature"),
    "nothing: it never was signed": ({"MLmodel": b""}, None),
    "what nobody can read": ({"MLmodel": b"", "model.sig": b"{"}, "its signature (its signature cannot be read: "),
}


@pytest.mark.parametrize(("files", "lost"), BY_FILES.values(), ids=BY_FILES)
def test_whether_a_champion_is_lost_its_files_and_their_signature_say_and_none_of_its_tags(
    proxy: FakeProxy, key: Path, files: dict[str, bytes], lost: str | None
) -> None:
    proxy.files = files
    for tags in ({}, {"signed_by": "another"}, {"signed_by": signing.key_id(key)}):
        version = SimpleNamespace(version="3", source="models:/m-3", tags=tags)
        found = version_files.lost_by_files(version, key)
        assert found == lost if lost is None else str(found).startswith(lost)


def test_a_champion_that_is_signed_by_this_key_is_not_lost_whatever_key_its_tag_names_and_one_of_another_key_is(
    signed: FakeProxy, key: Path, tmp_path: Path
) -> None:
    version = SimpleNamespace(version="3", source="models:/m-3", tags={"signed_by": "another"}, run_id=None)
    assert contender(version, "accuracy", key).lost is None
    another = tmp_path / "another-key.pem"
    another.write_text(new_private_key())
    assert "its signature (its signature does not hold" in str(contender(version, "accuracy", another).lost)


def test_a_signature_that_is_gone_is_not_called_one_that_never_was(proxy: FakeProxy, key: Path) -> None:
    proxy.files = {"MLmodel": b""}
    version = SimpleNamespace(version="3", source="models:/m-3", tags={"signed_by": "ours"})
    with pytest.raises(
        VersionError, match=r"its signature is gone: it was signed with the key 'ours'.*`adopt 3` checks"
    ):
        version_files.signed(version, "flowers", key).__enter__()


def test_files_that_a_server_does_not_list_are_not_lost_and_stop_no_training(
    proxy: FakeProxy, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.list = b"["
    monkeypatch.setattr(registry, "in_production", lambda name: VERSION)
    monkeypatch.setattr(registry, "recorded", lambda version: ({}, {}))
    table = train._conform(written(tmp_path, people()), "flowers", False, key)
    assert (
        f"version 3 of flowers could not be read, so its schema is not known: MLflow at {proxy.url} does"
        in table.remarks[-1]
    )
    assert contender(VERSION, "accuracy", key).lost is None


def test_a_machine_without_room_is_told_and_is_not_the_servers_fault(
    signed: FakeProxy, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(artifacts, "copy", full)
    for fetched in (
        version_files.unsigned(version_files.place_of(VERSION)),
        version_files.signed(VERSION, "flowers", key),
    ):
        with pytest.raises(VersionError, match=r"this machine has no room for its file .*TMPDIR .*TRAINER_MEMORY"):
            fetched.__enter__()


def test_a_file_that_goes_meanwhile_is_named(proxy: FakeProxy) -> None:
    proxy.list = listing({"path": "MLmodel", "file_size": 1})
    with pytest.raises(VersionError, match="its file MLmodel is not there any more"):
        version_files.unsigned(version_files.place_of(VERSION)).__enter__()


def test_a_server_that_fails_for_a_moment_is_asked_again_and_one_that_goes_on_failing_is_named(
    signed: FakeProxy,
) -> None:
    signed.failures = 2
    with version_files.unsigned(version_files.place_of(VERSION)) as folder:
        assert read(folder) == signed.files
    signed.failures = 3
    with pytest.raises(TrackingError, match="503"):
        version_files.unsigned(version_files.place_of(VERSION)).__enter__()


def test_a_link_in_a_folder_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").symlink_to("/etc/passwd")
    with pytest.raises(VersionError, match="'MLmodel' is neither a file nor a folder"):
        version_files.unsigned(Folder(tmp_path)).__enter__()


def test_a_version_that_does_not_point_at_a_logged_model_is_told() -> None:
    version = SimpleNamespace(version="5", source="runs:/1/model\x1b[2J")
    with pytest.raises(
        VersionError, match=r"version 5 points at 'runs:/1/model\\x1b\[2J'; log the model with MLflow 3"
    ):
        version_files.model_id_of(version)
