"""A version's files on their way here: from a made-up artifact proxy, from a folder, and by a made-up MLflow."""

import errno
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

import pytest
from contract.tracking import artifacts
from inference.errors import FetchFailed, ModelRefused
from inference.model.version import ModelVersion
from inference.rollout import download as fetching
from inference.rollout.download import fault_in, fetch, fingerprint, loss

VERSION = ModelVersion("flowers", "3", "run", 1, "m-3", "")
SERVICES = Path(__file__).parents[2] / "services"
API = "/api/2.0/mlflow-artifacts/artifacts"


class Proxy(ThreadingHTTPServer):
    """Hands out `files` as MLflow's artifact proxy does; `faults` has what goes wrong with one of them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, str] = {}
        self.listed: list[dict[str, Any]] | None = None
        self.asked: list[str] = []
        self.sizes: dict[str, int | None] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def listing(self, folder: str) -> list[dict[str, Any]]:
        """Return what is directly in a folder, as MLflow does."""
        if self.listed is not None:
            return self.listed
        found = {}
        for path, content in self.files.items():
            if path.startswith(f"{folder}/"):
                name, *more = path.removeprefix(f"{folder}/").split("/")
                size = {} if more else {"file_size": self.sizes.get(name, len(content))}
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
        if fault in ("cut short in chunks", "goes on"):
            self.send_header("Transfer-Encoding", "chunked")
            content = b"5\r\nhello\r\n" if fault == "cut short in chunks" else b"10000\r\n" + b"x" * 65536 + b"\r\n"
        else:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with suppress(OSError):  # a client that has enough is gone
            while fault == "goes on":
                self.wfile.write(content)
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
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "partial"
    folder.mkdir()
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


FILES = {"MLmodel": b"flavors", "data/model.skops": b"\0" * 100_000, "data/deep/note": b"", "ümläut file": b"x"}
ROOT = "1/models/m-3/artifacts"
LOCATION = f"mlflow-artifacts:/{ROOT}"


def put(proxy: Proxy, root: str = "1/models/m-3/artifacts") -> None:
    proxy.files = {f"{root}/{name}": content for name, content in FILES.items()}


# --- MLflow's artifact proxy ---------------------------------------------------------------------------------------


def test_all_files_behind_the_proxy_arrive_in_their_folders(proxy: Proxy, folder: Path) -> None:
    put(proxy)
    fetch(VERSION, LOCATION, proxy.url, folder)
    assert contents(folder) == FILES


def test_a_slash_at_the_end_of_the_tracking_uri_is_no_matter(proxy: Proxy, folder: Path) -> None:
    put(proxy)
    fetch(VERSION, LOCATION, f"{proxy.url}/", folder)
    assert contents(folder) == FILES


@pytest.mark.parametrize("root", ["my folder/m 3", "äpfel/ü", "a+b&c=d/50%"])
def test_a_location_may_have_blanks_umlauts_and_signs_in_it(proxy: Proxy, folder: Path, root: str) -> None:
    put(proxy, root)
    fetch(VERSION, f"mlflow-artifacts:/{root}", proxy.url, folder)
    assert contents(folder) == FILES


def test_a_location_may_name_the_host_of_the_proxy(proxy: Proxy, folder: Path) -> None:
    put(proxy)
    fetch(VERSION, f"mlflow-artifacts://127.0.0.1:{proxy.server_port}/{ROOT}", proxy.url, folder)
    assert contents(folder) == FILES


@pytest.mark.parametrize(
    "location",
    [
        *(f"mlflow-artifacts:{path}" for path in ("//mlflow:5000/1/x", "//evil.example/x", "//[x", "/", "")),
        *(
            f"mlflow-artifacts:/{path}"
            for path in ("a/../b", "./a", "a//b", "a/%2e%2e/b", "a?b", "a#b", "a\\b", "a\nb")
        ),
    ],
)
def test_a_location_that_another_client_would_read_elsewhere_is_not_asked(
    proxy: Proxy, folder: Path, location: str
) -> None:
    with pytest.raises(FetchFailed, match=r"only those behind its artifact proxy \(mlflow-artifacts:\)") as failed:
        fetch(VERSION, location, proxy.url, folder)
    assert str(failed.value).isprintable()
    assert proxy.asked == []


@pytest.mark.parametrize("fault", ["cut short", "cut short in chunks", "refused"])
def test_a_file_that_does_not_arrive_whole_is_a_failure(proxy: Proxy, folder: Path, fault: str) -> None:
    put(proxy)
    proxy.faults["model.skops"] = fault
    with pytest.raises(FetchFailed, match=r"^models:/flowers/3 could not be fetched: "):
        fetch(VERSION, LOCATION, proxy.url, folder)


def test_a_file_that_is_cut_short_is_named_with_what_came_of_it(proxy: Proxy, folder: Path) -> None:
    put(proxy)
    proxy.faults["model.skops"] = "cut short"
    with pytest.raises(FetchFailed, match=r"model\.skops: it ended after 99999 of 100000 bytes"):
        fetch(VERSION, LOCATION, proxy.url, folder)


@pytest.mark.parametrize("name", ["..", "a/..", "../..", "", "/"])
def test_a_name_that_would_lead_out_of_the_folder_is_refused(proxy: Proxy, folder: Path, name: str) -> None:
    proxy.listed = [{"path": name, "is_dir": False}]
    with pytest.raises(ModelRefused, match="is no path of a version's file"):
        fetch(VERSION, LOCATION, proxy.url, folder)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "deep/passwd"])
def test_of_a_path_the_name_alone_decides_where_a_file_is_written(
    proxy: Proxy, folder: Path, name: str, tmp_path: Path
) -> None:
    proxy.listed = [{"path": name, "is_dir": False}]
    proxy.files["1/models/m-3/artifacts/passwd"] = b"harmless"
    fetch(VERSION, LOCATION, proxy.url, folder)
    assert contents(tmp_path) == {"partial/passwd": b"harmless"}


def test_a_version_without_files_is_a_failure_that_names_the_place(proxy: Proxy, folder: Path) -> None:
    with pytest.raises(FetchFailed, match=f"there is no file at {LOCATION}"):
        fetch(VERSION, LOCATION, proxy.url, folder)


@pytest.mark.parametrize("listing", [[{"is_dir": False}], [3], 3, [{"path": "a", "file_size": -1}]])
def test_a_listing_that_is_none_is_a_failure(proxy: Proxy, folder: Path, listing: int | list[Any]) -> None:
    proxy.listed = listing  # type: ignore[assignment]
    with pytest.raises(FetchFailed, match="could not be fetched"):
        fetch(VERSION, LOCATION, proxy.url, folder)


def test_a_proxy_that_is_gone_is_a_failure(proxy: Proxy, folder: Path) -> None:
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
def test_where_there_is_no_room_it_is_the_folder_that_fails_and_not_the_way(
    proxy: Proxy, folder: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    put(proxy)
    monkeypatch.setattr(artifacts, "open", FullDisk(error), raising=False)
    with pytest.raises(OSError, match=os.strerror(error)) as failed:
        fetch(VERSION, LOCATION, proxy.url, folder)
    assert failed.value.errno == error


# --- a folder ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plain", "with a blank", "ümläut", "50% off", "what?", "number #1"])
@pytest.mark.parametrize("scheme", ["", "file:"])
def test_a_folder_is_copied(tmp_path: Path, folder: Path, name: str, scheme: str) -> None:
    source = tmp_path / name
    for file, content in FILES.items():
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        (source / file).write_bytes(content)
    fetch(VERSION, source.as_uri() if scheme else str(source), "sqlite:///mlflow.db", folder)
    assert contents(folder) == FILES


def test_a_folder_that_is_not_there_is_a_failure(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(FetchFailed, match=r"models:/flowers/3 could not be fetched: .*nothing"):
        fetch(VERSION, str(tmp_path / "nothing"), "sqlite:///mlflow.db", folder)


def test_a_copy_that_finds_no_room_is_told_apart_from_one_that_fails(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "MLmodel").write_text("flavors")
    monkeypatch.setattr(artifacts, "open", FullDisk(errno.ENOSPC), raising=False)
    with pytest.raises(OSError, match="No space left on device"):
        fetch(VERSION, str(tmp_path / "source"), "sqlite:///mlflow.db", folder)


@pytest.mark.parametrize("where", ["a file", "a folder"])
def test_a_folder_with_a_link_in_it_is_refused(tmp_path: Path, folder: Path, where: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("a secret")
    (source / "model").symlink_to(tmp_path / "secret" / ("key" if where == "a file" else ""))
    with pytest.raises(ModelRefused, match="'model' is neither a file nor a folder"):
        fetch(VERSION, str(source), "sqlite:///mlflow.db", folder)
    assert contents(folder) == {}


# --- too much ------------------------------------------------------------------------------------------------------


def refusal(proxy: Proxy, folder: Path) -> str:
    with pytest.raises(ModelRefused) as refused:
        fetch(VERSION, LOCATION, proxy.url, folder)
    return str(refused.value)


@pytest.mark.parametrize(
    ("name", "size", "said"),
    [
        ("model.sig", 300 * 1024**2, "its file 'model.sig' has 314572800 bytes; expected at most 1048576"),
        ("MLmodel", 2 * 1024**2 + 1, "its file 'MLmodel' has 2097153 bytes; expected at most 2097152"),
        ("model.skops", 5 * 1024**3, "its file 'model.skops' has 5368709120 bytes"),
    ],
)
def test_a_file_that_is_listed_as_larger_than_it_may_be_is_not_fetched(
    proxy: Proxy, folder: Path, name: str, size: int, said: str
) -> None:
    proxy.listed = [{"path": name, "is_dir": False, "file_size": size}]
    assert said in refusal(proxy, folder)
    assert proxy.asked == [API]


def test_files_that_are_too_large_together_are_not_fetched(proxy: Proxy, folder: Path) -> None:
    proxy.listed = [{"path": f"{n}.bin", "is_dir": False, "file_size": 2 * 1024**3} for n in range(3)]
    assert "its files have 6.0 GB; expected at most 4" in refusal(proxy, folder)


def test_more_files_than_a_version_may_have_are_not_fetched(proxy: Proxy, folder: Path) -> None:
    proxy.listed = [{"path": f"{n}", "is_dir": False, "file_size": 0} for n in range(501)]
    assert "it has more than 500 files" in refusal(proxy, folder)


@pytest.mark.parametrize("name", ["a\0b", "a\x1b[2Jb", "a\u202eb", "x" * 401])
def test_a_name_that_is_no_path_of_a_file_is_refused(proxy: Proxy, folder: Path, name: str) -> None:
    proxy.listed = [{"path": name, "is_dir": False, "file_size": 0}]
    assert "is no path of a version's file" in refusal(proxy, folder)


@pytest.mark.parametrize("size", [101 * 1024**2, None], ids=["too large", "of unknown size"])
def test_what_has_little_room_is_not_fetched_where_it_may_be_larger(
    proxy: Proxy, folder: Path, size: int | None
) -> None:
    proxy.listed = [{"path": "model.skops", "is_dir": False, "file_size": size}]
    with pytest.raises(
        FetchFailed, match=r"there is no room for models:/flowers/3: .* at most 100 MB are kept elsewhere"
    ):
        fetch(VERSION, LOCATION, proxy.url, folder, most=100 * 1024**2)
    assert proxy.asked == [API]


def test_what_fits_into_little_room_is_fetched(proxy: Proxy, folder: Path) -> None:
    put(proxy)
    fetch(VERSION, LOCATION, proxy.url, folder, most=sum(map(len, FILES.values())))
    assert contents(folder) == FILES


def test_what_only_mlflow_can_fetch_is_not_fetched_where_there_is_little_room(folder: Path) -> None:
    with pytest.raises(FetchFailed, match="there is no room for models:/flowers/3"):
        fetch(VERSION, "s3://bucket/1/models/m-3/artifacts", "sqlite:///mlflow.db", folder, most=100 * 1024**2)


def test_folders_without_end_are_left_when_it_is_too_much(proxy: Proxy, folder: Path) -> None:
    proxy.listed = [{"path": "deeper", "is_dir": True}]
    assert refusal(proxy, folder)
    assert len(proxy.asked) < 102


def test_a_listing_that_is_too_long_is_not_read(proxy: Proxy, folder: Path) -> None:
    proxy.listed = [{"path": "x" * 100, "is_dir": False}] * 20_000
    assert refusal(proxy, folder) == "the list of its files has more than 1048576 bytes"


def test_a_stream_that_goes_on_beyond_what_was_listed_is_cut(proxy: Proxy, folder: Path) -> None:
    put(proxy)
    proxy.faults["model.skops"] = "goes on"
    with pytest.raises(FetchFailed, match=r"model\.skops: it goes on after 100000 bytes"):
        fetch(VERSION, LOCATION, proxy.url, folder)
    assert (folder / "data" / "model.skops").stat().st_size <= 100_000


def test_a_stream_of_a_size_that_nobody_said_is_cut_where_its_limit_is(proxy: Proxy, folder: Path) -> None:
    put(proxy)
    proxy.sizes["MLmodel"], proxy.faults["MLmodel"] = None, "goes on"
    assert refusal(proxy, folder) == "its file MLmodel has more than 2097152 bytes"


def test_a_stream_that_drips_is_cut_when_its_time_is_over(
    proxy: Proxy, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(proxy)
    proxy.sizes["model.skops"], proxy.faults["model.skops"] = 4 * 1024**3, "goes on"
    proxy.files = {name: content for name, content in proxy.files.items() if name.endswith("skops")}
    monkeypatch.setattr(artifacts, "FETCH_SECONDS", -4096)
    with pytest.raises(FetchFailed, match=r"model\.skops: it did not arrive in time"):
        fetch(VERSION, LOCATION, proxy.url, folder)


def test_what_is_on_its_way_is_let_go_of_when_the_alias_has_moved(
    proxy: Proxy, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else who points it at a stream without end would keep the next version away for as long as that may take."""
    put(proxy)
    proxy.sizes["model.skops"], proxy.faults["model.skops"] = 3 * 1024**3, "goes on"
    monkeypatch.setattr(fetching, "WANTED_SECONDS", 0.0)
    answers = iter([True, True, False])
    with pytest.raises(FetchFailed, match="the alias has moved meanwhile"):
        fetch(VERSION, LOCATION, proxy.url, folder, is_wanted=lambda: next(answers, False))


# --- signed --------------------------------------------------------------------------------------------------------

SIGNED_FILES = {"MLmodel": b"flavors", "data/model.skops": b"estimator", "identity.json": b"{}"}
BESIDE = {".git/model.skops": b"another", ".gitignore": b"*", "registered_model_meta": b"", "extra": b"x" * 100}


def listing(path: Path) -> list[str]:
    """Read which files a signature of these tests lists."""
    return path.read_text().split()


def put_signed(proxy: Proxy) -> None:
    files = {**SIGNED_FILES, **BESIDE, "model.sig": " ".join(SIGNED_FILES).encode()}
    proxy.files = {f"{ROOT}/{name}": content for name, content in files.items()}


def test_of_a_signed_version_only_what_is_signed_is_fetched(proxy: Proxy, folder: Path) -> None:
    put_signed(proxy)
    fetch(VERSION, LOCATION, proxy.url, folder, listing)
    assert set(contents(folder)) == {*SIGNED_FILES, "model.sig"}
    assert not [path for path in proxy.asked if any(path.endswith(f"/{name}") for name in BESIDE)]


def test_of_a_signed_version_in_a_folder_only_what_is_signed_is_copied(tmp_path: Path, folder: Path) -> None:
    for name, content in {**SIGNED_FILES, **BESIDE, "model.sig": " ".join(SIGNED_FILES).encode()}.items():
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / name).write_bytes(content)
    fetch(VERSION, str(tmp_path / "source"), "sqlite:///mlflow.db", folder, listing)
    assert set(contents(folder)) == {*SIGNED_FILES, "model.sig"}


def test_nothing_is_fetched_of_what_a_signature_lists_that_is_refused(proxy: Proxy, folder: Path) -> None:
    put_signed(proxy)

    def refused(path: Path) -> list[str]:
        raise ModelRefused("its signature cannot be read")

    with pytest.raises(ModelRefused, match="its signature cannot be read"):
        fetch(VERSION, LOCATION, proxy.url, folder, refused)
    assert proxy.asked == [API, API, API, f"{API}/{ROOT}/model.sig"]


KNOWN_AS_SIGNED = replace(VERSION, signed_by="0123456789abcdef")


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (VERSION, "it is not signed; `docker compose run trainer adopt 3`"),
        (KNOWN_AS_SIGNED, "it has lost model.sig: the registry says that it is signed with the key 0123456789abcdef"),
    ],
)
def test_a_version_without_a_signature_is_not_fetched_and_one_that_had_one_has_lost_it(
    proxy: Proxy, folder: Path, version: ModelVersion, said: str
) -> None:
    put(proxy)
    with pytest.raises(ModelRefused) as refused:
        fetch(version, LOCATION, proxy.url, folder, listing)
    assert said in str(refused.value)
    assert ("adopt" in str(refused.value)) == (version is VERSION)
    assert set(proxy.asked) == {API}


def test_a_version_that_was_signed_and_has_no_files_has_lost_them(proxy: Proxy, folder: Path) -> None:
    with pytest.raises(FetchFailed, match="its files are gone from the artifact store"):
        fetch(KNOWN_AS_SIGNED, LOCATION, proxy.url, folder, listing)


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        (["MLmodel"], r"its files \['MLmodel'\] are gone from the artifact store"),
        (list(SIGNED_FILES), "its files are gone from the artifact store"),
    ],
)
def test_files_that_are_signed_and_not_there_are_lost(proxy: Proxy, folder: Path, gone: list[str], said: str) -> None:
    put_signed(proxy)
    for name in gone:
        del proxy.files[f"{ROOT}/{name}"]
    with pytest.raises(FetchFailed, match=said):
        fetch(VERSION, LOCATION, proxy.url, folder, listing)


# --- from where nothing is taken -----------------------------------------------------------------------------------


@pytest.mark.parametrize("location", ["file:///etc", "/etc", "s3://bucket/x", "http://inner/x", "dbfs:/x", ""])
def test_of_a_server_only_what_is_behind_its_proxy_is_fetched(proxy: Proxy, folder: Path, location: str) -> None:
    with pytest.raises(FetchFailed, match=r"only those behind its artifact proxy \(mlflow-artifacts:\) are fetched"):
        fetch(VERSION, location, proxy.url, folder)
    assert (contents(folder), proxy.asked, fingerprint(location, proxy.url)) == ({}, [], None)


def test_without_a_server_what_is_behind_its_proxy_is_refused_at_once_with_the_way_out(folder: Path) -> None:
    with pytest.raises(
        FetchFailed, match=r"MLFLOW_TRACKING_URI is sqlite:///mlflow\.db, which is none; set it to the ser"
    ):
        fetch(VERSION, LOCATION, "sqlite:///mlflow.db", folder)


# --- MLflow's own client, in a process of its own ------------------------------------------------------------------

# Notes who asked and how, and leaves a file; fails where $BROKEN is set.
FAKE_MLFLOW = """
import os, pathlib, sys

def download_artifacts(artifact_uri, dst_path):
    if os.environ.get("BROKEN"):
        sys.exit("Traceback (most recent call last):\\n  ...\\n" + os.environ["BROKEN"])
    for name in os.environ.get("MORE", "").split():
        path = pathlib.Path(dst_path, name)
        path.parent.mkdir(exist_ok=True)
        path.touch()
    pathlib.Path(dst_path, "MLmodel").write_text(f"{artifact_uri} from {os.environ['MLFLOW_TRACKING_URI']}")
"""
BUCKET = "s3://bucket/1/models/m-3/artifacts"


@pytest.fixture
def _made_up_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "packages" / "mlflow"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "artifacts.py").write_text(FAKE_MLFLOW)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(package.parent), str(SERVICES)]))


@pytest.mark.usefixtures("_made_up_mlflow")
def test_what_is_kept_elsewhere_comes_by_mlflows_own_client(folder: Path) -> None:
    fetch(VERSION, BUCKET, "sqlite:///mlflow.db", folder)
    assert contents(folder) == {"MLmodel": b"models:/flowers/3 from sqlite:///mlflow.db"}


@pytest.mark.usefixtures("_made_up_mlflow")
def test_a_client_that_fails_is_told_in_its_own_words(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKEN", "OSError: connection reset by peer")
    with pytest.raises(FetchFailed) as failed:
        fetch(VERSION, BUCKET, "sqlite:///mlflow.db", folder)
    assert str(failed.value) == "models:/flowers/3 could not be fetched: OSError: connection reset by peer"


@pytest.mark.usefixtures("_made_up_mlflow")
def test_a_client_that_finds_no_room_is_told_apart_from_one_that_fails(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKEN", "OSError: [Errno 28] No space left on device: 'model.skops'")
    with pytest.raises(OSError, match="No space left on device"):
        fetch(VERSION, BUCKET, "sqlite:///mlflow.db", folder)


@pytest.mark.usefixtures("_made_up_mlflow")
def test_of_what_the_client_brought_only_what_is_signed_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MORE", "model.sig registered_model_meta .git/model.skops")
    fetch(VERSION, BUCKET, "sqlite:///mlflow.db", folder, lambda path: ["MLmodel"])
    assert set(contents(folder)) == {"MLmodel", "model.sig"}


@pytest.mark.usefixtures("_made_up_mlflow")
def test_what_the_client_brought_is_held_against_the_limits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MORE", " ".join(f"file-{n}" for n in range(501)))
    with pytest.raises(ModelRefused, match="more than 500 files"):
        fetch(VERSION, BUCKET, "sqlite:///mlflow.db", folder)


ADVICE = """Traceback (most recent call last):
  File "fetch.py", line 1, in <module>
    download()
  File "mlflow.py", line 2, in download
    raise MlflowException(
mlflow.exceptions.MlflowException: When an mlflow-artifacts URI was supplied, the tracking URI must be an http URI, but it was sqlite:///x.
Perhaps you forgot to:
1. Start a server
2. Set the tracking URI programmatically by calling `mlflow.set_tracking_uri`
"""


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        (ADVICE, "mlflow.exceptions.MlflowException: When an mlflow-artifacts URI was supplied, the tracking"),
        (f"{ADVICE}\nDuring handling of the above exception, another exception occurred:\n\n{ADVICE}", "mlflow.exc"),
        ("Killed", "Killed"),
        ("a warning\nsh: not found", "sh: not found"),
        ("", "no reason given"),
        ("Traceback (most recent call last):\n", "no reason given"),
    ],
)
def test_an_error_of_many_lines_becomes_the_one_that_says_what_it_is(stderr: str, said: str) -> None:
    assert fault_in(stderr).startswith(said)
    assert len(fault_in(stderr).splitlines()) == 1


# --- what can be told without fetching them ------------------------------------------------------------------------

SIGNED = "1/models/m-3/artifacts/model.sig"


def fingerprint_behind(proxy: Proxy) -> str | None:
    return fingerprint(LOCATION, proxy.url)


def test_the_fingerprint_of_files_that_stay_as_they_are_is_the_same_and_fetches_none_but_the_signature(
    proxy: Proxy,
) -> None:
    put(proxy)
    proxy.files[SIGNED] = b"signed"
    assert fingerprint_behind(proxy) == fingerprint_behind(proxy)
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
def test_the_fingerprint_changes_with_the_files(proxy: Proxy, change: Callable[..., Any]) -> None:
    put(proxy)
    proxy.files[SIGNED] = b"signed"
    before = fingerprint_behind(proxy)
    change(proxy.files)
    assert before is not None
    assert fingerprint_behind(proxy) != before


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_the_fingerprint_of_a_folder_changes_when_one_of_its_files_is_written_again(
    tmp_path: Path, prefix: str
) -> None:
    file = tmp_path / "data" / "model.skops"
    file.parent.mkdir()
    file.write_bytes(b"one")
    os.utime(file, ns=(1, 1))
    location = f"{prefix}{tmp_path}"
    before = fingerprint(location, "sqlite:///mlflow.db")
    assert before == fingerprint(location, "sqlite:///mlflow.db") is not None
    file.write_bytes(b"two")
    assert fingerprint(location, "sqlite:///mlflow.db") != before


def test_what_cannot_be_told_has_no_fingerprint(proxy: Proxy) -> None:
    put(proxy)
    proxy.listed = [{"is_dir": False}]
    assert fingerprint_behind(proxy) is None
    assert fingerprint("s3://bucket/1/models/m-3/artifacts", proxy.url) is None
    proxy.shutdown()
    proxy.server_close()
    assert fingerprint_behind(proxy) is None


# --- what is gone of them ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ([], None),
        (["model.sig"], "it has lost model.sig"),
        (["MLmodel"], "its files ['MLmodel'] are gone from the artifact store"),
        (["model.sig", *SIGNED_FILES], "its files are gone from the artifact store"),
    ],
)
def test_what_is_gone_of_a_version_is_found_by_a_listing_alone(proxy: Proxy, gone: list[Any], said: str | None) -> None:
    put_signed(proxy)
    for name in gone:
        del proxy.files[f"{ROOT}/{name}"]
    assert loss(LOCATION, proxy.url, [*SIGNED_FILES, "model.sig"]) == said
    assert set(proxy.asked) == {API}


def test_a_folder_that_is_gone_is_a_loss(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").touch()
    assert loss(str(tmp_path), "sqlite:///mlflow.db", ["MLmodel"]) is None
    assert loss(str(tmp_path / "gone"), "sqlite:///mlflow.db", ["MLmodel"]) == (
        "its files are gone from the artifact store"
    )


def test_a_store_that_does_not_say_what_it_has_has_lost_nothing(proxy: Proxy) -> None:
    proxy.listed = [{"is_dir": False}]
    with pytest.raises(FetchFailed, match="does not say what it has"):
        loss(LOCATION, proxy.url, ["MLmodel"])
    proxy.shutdown()
    proxy.server_close()
    with pytest.raises(FetchFailed, match="does not say what it has"):
        loss(LOCATION, proxy.url, ["MLmodel"])
    with pytest.raises(FetchFailed, match="cannot be told"):
        loss(BUCKET, "sqlite:///mlflow.db", ["MLmodel"])
