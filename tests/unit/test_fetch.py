"""A version's files on their way here: from a made-up artifact proxy, from a folder, and by a made-up MLflow."""

import errno
import json
import os
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlparse

import pytest
from inference import fetch as fetching
from inference.errors import FetchFailed
from inference.fetch import fetch, outline
from inference.registry import ModelVersion

VERSION = ModelVersion("flowers", "3", "run", 1, "m-3", "")
SERVICES = Path(__file__).parents[2] / "services"
API = "/api/2.0/mlflow-artifacts/artifacts"


class Proxy(ThreadingHTTPServer):
    """Hands out `files` as MLflow's artifact proxy does; `faults` has what goes wrong with one of them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, str] = {}
        self.listed: list[dict] | None = None
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def listing(self, folder: str) -> list[dict]:
        """Return what is directly in a folder, as MLflow does."""
        if self.listed is not None:
            return self.listed
        found = {}
        for path, content in self.files.items():
            if path.startswith(f"{folder}/"):
                name, *more = path.removeprefix(f"{folder}/").split("/")
                size = {} if more else {"file_size": len(content)}
                found[name] = {"path": name, "is_dir": bool(more), **size}
        return list(found.values())


class Handler(BaseHTTPRequestHandler):
    server: Proxy

    def do_GET(self) -> None:
        where = urlparse(self.path)
        self.server.asked.append(unquote(where.path))
        if where.path == API:
            self.answer(json.dumps({"files": self.server.listing(parse_qs(where.query)["path"][0])}).encode())
        else:
            path = unquote(where.path).removeprefix(f"{API}/")
            self.answer(self.server.files.get(path), self.server.faults.get(PurePosixPath(path).name, ""))

    def answer(self, content: bytes | None, fault: str = "") -> None:
        if content is None or fault == "refused":
            self.send_error(404 if content is None else 500)
            return
        self.send_response(200)
        if fault == "cut short in chunks":
            self.send_header("Transfer-Encoding", "chunked")
            content = b"5\r\nhello\r\n"
        else:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:-1] if fault == "cut short" else content)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "partial"
    folder.mkdir()
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


FILES = {"MLmodel": b"flavors", "data/model.skops": b"\0" * 100_000, "data/deep/note": b"", "ümläut file": b"x"}
LOCATION = "mlflow-artifacts:/1/models/m-3/artifacts"


def put(proxy: Proxy, root: str = "1/models/m-3/artifacts") -> None:
    proxy.files = {f"{root}/{name}": content for name, content in FILES.items()}


# --- MLflow's artifact proxy ---------------------------------------------------------------------------------------


def test_all_files_behind_the_proxy_arrive_in_their_folders(proxy, folder):
    put(proxy)
    fetch(VERSION, LOCATION, proxy.url, folder)
    assert contents(folder) == FILES


def test_a_slash_at_the_end_of_the_tracking_uri_is_no_matter(proxy, folder):
    put(proxy)
    fetch(VERSION, LOCATION, f"{proxy.url}/", folder)
    assert contents(folder) == FILES


@pytest.mark.parametrize("root", ["my folder/m 3", "äpfel/ü", "a+b&c=d/50%"])
def test_a_location_may_have_blanks_umlauts_and_signs_in_it(proxy, folder, root):
    put(proxy, root)
    fetch(VERSION, f"mlflow-artifacts:/{root}", proxy.url, folder)
    assert contents(folder) == FILES


def test_a_location_may_name_the_host_of_the_proxy(proxy, folder):
    put(proxy)
    fetch(VERSION, "mlflow-artifacts://mlflow:5000/1/models/m-3/artifacts", proxy.url, folder)
    assert contents(folder) == FILES


@pytest.mark.parametrize("fault", ["cut short", "cut short in chunks", "refused"])
def test_a_file_that_does_not_arrive_whole_is_a_failure(proxy, folder, fault):
    put(proxy)
    proxy.faults["model.skops"] = fault
    with pytest.raises(FetchFailed, match=r"^models:/flowers/3 could not be fetched: "):
        fetch(VERSION, LOCATION, proxy.url, folder)


def test_a_file_that_is_cut_short_is_named_with_what_came_of_it(proxy, folder):
    put(proxy)
    proxy.faults["model.skops"] = "cut short"
    with pytest.raises(FetchFailed, match=r"model\.skops ended after 99999 of 100000 bytes"):
        fetch(VERSION, LOCATION, proxy.url, folder)


@pytest.mark.parametrize("name", ["..", "a/..", "../..", "", "/"])
def test_a_name_that_would_lead_out_of_the_folder_is_a_failure(proxy, folder, name):
    proxy.listed = [{"path": name, "is_dir": False}]
    with pytest.raises(FetchFailed, match="is no name of a file"):
        fetch(VERSION, LOCATION, proxy.url, folder)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "deep/passwd"])
def test_of_a_path_the_name_alone_decides_where_a_file_is_written(proxy, folder, name, tmp_path):
    proxy.listed = [{"path": name, "is_dir": False}]
    proxy.files["1/models/m-3/artifacts/passwd"] = b"harmless"
    fetch(VERSION, LOCATION, proxy.url, folder)
    assert contents(tmp_path) == {"partial/passwd": b"harmless"}


def test_a_version_without_files_is_a_failure_that_names_the_place(proxy, folder):
    with pytest.raises(FetchFailed, match=f"there is no file at {LOCATION}"):
        fetch(VERSION, LOCATION, proxy.url, folder)


@pytest.mark.parametrize("listing", [[{"is_dir": False}], [{"path": "a\0b"}]])
def test_a_listing_that_is_none_is_a_failure(proxy, folder, listing):
    proxy.listed = listing
    with pytest.raises(FetchFailed, match="could not be fetched"):
        fetch(VERSION, LOCATION, proxy.url, folder)


def test_a_proxy_that_is_gone_is_a_failure(proxy, folder):
    proxy.shutdown()
    proxy.server_close()
    with pytest.raises(FetchFailed, match=r"could not be fetched: .*refused"):
        fetch(VERSION, LOCATION, proxy.url, folder)


class FullDisk:
    """Opens files of which nothing can be written."""

    def __init__(self, error: int) -> None:
        self._error = error

    def __call__(self, *arguments: object) -> "FullDisk":
        return self

    def __enter__(self) -> "FullDisk":
        return self

    def __exit__(self, *arguments: object) -> None:
        """Let what was raised go on."""

    def write(self, content: bytes) -> None:
        raise OSError(self._error, os.strerror(self._error))


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_where_there_is_no_room_it_is_the_folder_that_fails_and_not_the_way(proxy, folder, monkeypatch, error):
    put(proxy)
    monkeypatch.setattr(fetching, "open", FullDisk(error), raising=False)
    with pytest.raises(OSError, match=os.strerror(error)) as failed:
        fetch(VERSION, LOCATION, proxy.url, folder)
    assert failed.value.errno == error


# --- a folder ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plain", "with a blank", "ümläut", "50% off", "what?", "number #1"])
@pytest.mark.parametrize("scheme", ["", "file:"])
def test_a_folder_is_copied(tmp_path, folder, name, scheme):
    source = tmp_path / name
    for file, content in FILES.items():
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        (source / file).write_bytes(content)
    fetch(VERSION, source.as_uri() if scheme else str(source), "sqlite:///mlflow.db", folder)
    assert contents(folder) == FILES


def test_a_folder_that_is_not_there_is_a_failure(tmp_path, folder):
    with pytest.raises(FetchFailed, match=r"models:/flowers/3 could not be fetched: .*nothing"):
        fetch(VERSION, str(tmp_path / "nothing"), "sqlite:///mlflow.db", folder)


def test_a_copy_that_finds_no_room_is_told_apart_from_one_that_fails(tmp_path, folder, monkeypatch):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "MLmodel").touch()

    def full(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    copytree = shutil.copytree
    monkeypatch.setattr(
        fetching.shutil, "copytree", lambda *names, **options: copytree(*names, copy_function=full, **options)
    )
    with pytest.raises(OSError, match="No space left on device"):
        fetch(VERSION, str(tmp_path / "source"), "sqlite:///mlflow.db", folder)


# --- MLflow's own client, in a process of its own ------------------------------------------------------------------

# Notes who asked and how, and leaves a file; fails where $BROKEN is set.
FAKE_MLFLOW = """
import os, pathlib, sys

def download_artifacts(artifact_uri, dst_path):
    if os.environ.get("BROKEN"):
        sys.exit("Traceback (most recent call last):\\n  ...\\n" + os.environ["BROKEN"])
    pathlib.Path(dst_path, "MLmodel").write_text(f"{artifact_uri} from {os.environ['MLFLOW_TRACKING_URI']}")
"""
BUCKET = "s3://bucket/1/models/m-3/artifacts"


@pytest.fixture
def _made_up_mlflow(tmp_path, monkeypatch):
    package = tmp_path / "packages" / "mlflow"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "artifacts.py").write_text(FAKE_MLFLOW)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(package.parent), str(SERVICES)]))


@pytest.mark.usefixtures("_made_up_mlflow")
def test_what_is_kept_elsewhere_comes_by_mlflows_own_client(folder):
    fetch(VERSION, BUCKET, "http://mlflow:5000", folder)
    assert contents(folder) == {"MLmodel": b"models:/flowers/3 from http://mlflow:5000"}


@pytest.mark.usefixtures("_made_up_mlflow")
def test_a_client_that_fails_is_told_in_its_last_words(folder, monkeypatch):
    monkeypatch.setenv("BROKEN", "OSError: connection reset by peer")
    with pytest.raises(FetchFailed) as failed:
        fetch(VERSION, BUCKET, "http://mlflow:5000", folder)
    assert str(failed.value) == "models:/flowers/3 could not be fetched: OSError: connection reset by peer"


@pytest.mark.usefixtures("_made_up_mlflow")
def test_a_client_that_finds_no_room_is_told_apart_from_one_that_fails(folder, monkeypatch):
    monkeypatch.setenv("BROKEN", "OSError: [Errno 28] No space left on device: 'model.skops'")
    with pytest.raises(OSError, match="No space left on device"):
        fetch(VERSION, BUCKET, "http://mlflow:5000", folder)


# --- what can be told without fetching them ------------------------------------------------------------------------

SIGNED = "1/models/m-3/artifacts/model.sig"


def outline_behind(proxy: Proxy) -> str | None:
    return outline(LOCATION, proxy.url)


def test_the_outline_of_files_that_stay_as_they_are_is_the_same_and_fetches_none_but_the_signature(proxy):
    put(proxy)
    proxy.files[SIGNED] = b"signed"
    assert outline_behind(proxy) == outline_behind(proxy)
    assert {path for path in proxy.asked if path != API} == {f"{API}/{SIGNED}"}


@pytest.mark.parametrize(
    "change",
    [
        lambda files: files.update({"1/models/m-3/artifacts/new": b""}),
        lambda files: files.pop("1/models/m-3/artifacts/MLmodel"),
        lambda files: files.update({"1/models/m-3/artifacts/data/model.skops": b"\0"}),
        lambda files: files.update({SIGNED: b"Signed"}),
        lambda files: files.pop(SIGNED),
    ],
    ids=["one more", "one less", "another size", "signed otherwise", "signed no more"],
)
def test_the_outline_changes_with_the_files(proxy, change):
    put(proxy)
    proxy.files[SIGNED] = b"signed"
    before = outline_behind(proxy)
    change(proxy.files)
    assert before is not None
    assert outline_behind(proxy) != before


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_the_outline_of_a_folder_changes_when_one_of_its_files_is_written_again(tmp_path, prefix):
    file = tmp_path / "data" / "model.skops"
    file.parent.mkdir()
    file.write_bytes(b"one")
    os.utime(file, ns=(1, 1))
    location = f"{prefix}{tmp_path}"
    before = outline(location, "sqlite:///mlflow.db")
    assert before == outline(location, "sqlite:///mlflow.db") is not None
    file.write_bytes(b"two")
    assert outline(location, "sqlite:///mlflow.db") != before


def test_what_cannot_be_told_has_no_outline(proxy):
    put(proxy)
    proxy.listed = [{"is_dir": False}]
    assert outline_behind(proxy) is None
    assert outline("s3://bucket/1/models/m-3/artifacts", proxy.url) is None
    proxy.shutdown()
    proxy.server_close()
    assert outline_behind(proxy) is None
