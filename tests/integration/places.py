"""A folder with a registry of its own, and our processes on it, started as a person starts them."""

import contextlib
import functools
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from runpy import run_path
from typing import Any

import requests
from mlflow import MlflowClient
from setup.signing_key import key_id_of, new_private_key, public_key_of

from tests import forked
from tests.compose import free_ports

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data"
MODEL = "iris_logistic_regression"
SAMPLES = [[5.1, 3.5, 1.4, 0.2], [7.0, 3.2, 4.7, 1.4], [6.3, 3.3, 6.0, 2.5]]
CLASSES = [0, 1, 2]
NAMES = ["setosa", "versicolor", "virginica"]
TRAINER = Path(__file__).with_name("imports_of_the_trainer.py")
PUBLISHED = str(ROOT / "services" / "mlflow" / "published.py")
EMBEDDED = [sys.executable, str(ROOT / "scripts" / "embedded.py")]
OURS = (
    *(
        "MLFLOW_",
        "MODEL_",
        "INFERENCE_",
        "AUDIT_",
        "DATA_DIR",
        "MIN_TEST_ACCURACY",
        "PYTHONPATH",
        "API_KEYS_FILE",
        "USER",
    ),
)


def eventually(what: str, condition: Callable[[], Any], seconds: float = 120) -> Any:
    """Return the condition's first true value; fail naming `what` after `seconds`. No answer counts as false."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(requests.RequestException):
            if value := condition():
                return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def free_port() -> int:
    """Return a port that nobody listens on now."""
    return free_ports(1)[0]


def in_one_line(report: str) -> str:
    """Return a report in a frame without the frame and its line breaks."""
    return " ".join(report.replace("│", " ").split())


def write_permuted_iris(folder: Path) -> None:
    """Write the iris flowers under labels that say nothing of them."""
    header, *rows = (DATA / "iris_dataset.csv").read_text().splitlines()
    labels = [row.split(",")[4:] for row in rows]
    folder.mkdir()
    lines = [",".join([*row.split(",")[:4], *labels[7 * i % len(rows)]]) for i, row in enumerate(rows)]
    (folder / "iris_dataset.csv").write_text("\n".join([header, *lines, ""]))


class Process:
    """A process that was started for a test, alone in its process group."""

    def __init__(self, command: list[str], environ: Mapping[str, str], folder: Path, log: Path) -> None:
        self._log = log
        with open(log, "w") as stream:
            self._process = subprocess.Popen(
                command, env=environ, cwd=folder, stdout=stream, stderr=stream, start_new_session=True
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> int:
        """End it as Docker and init systems do, and return its exit code."""
        self._process.terminate()
        return self.wait()

    def interrupt(self) -> int:
        """End it as Ctrl-C does, which a terminal tells all processes of the group, and return its exit code."""
        os.killpg(self._process.pid, signal.SIGINT)
        return self.wait()

    def wait(self, seconds: float = 60) -> int:
        return self._process.wait(seconds)

    @property
    def has_left_processes(self) -> bool:
        """Tell whether any process of the group is still there."""
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def kill_what_is_left(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(60)


def children(pid: int) -> list[int]:
    """Return the ids of a process's children: /proc's own list of them leaves some out while another one ends."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            _, _, after_name = status.read_text().rpartition(")")
            _, parent, *_ = after_name.split()
            if int(parent) == pid:
                found.append(int(status.parent.name))
    return sorted(found)


def command_line(pid: int) -> list[str]:
    """Return a process's program and its arguments; nothing where it has just ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def has_ended(pid: int) -> bool:
    """Tell whether a process is gone, or ended and just not waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] in "ZX"
    except OSError:
        return True


def descendants(pid: int) -> list[int]:
    return [found for child in children(pid) for found in (child, *descendants(child))]


class Service(Process):
    """An HTTP service on a port of its own."""

    def __init__(self, command: list[str], environ: Mapping[str, str], folder: Path, log: Path, port: int) -> None:
        super().__init__(command, environ, folder, log)
        self.url = f"http://127.0.0.1:{port}"

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of JSON in its log."""
        return [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]

    def get(self, path: str) -> requests.Response:
        return requests.get(self.url + path, timeout=30)

    def post(self, path: str, body: object) -> requests.Response:
        return requests.post(self.url + path, json=body, timeout=30)

    def answers(self, path: str, status: int = 200) -> None:
        """Wait until GET answers with the status; fail with the log where the process ended before."""

        def answered() -> bool:
            assert self.is_running, self.log
            return self.get(path).status_code == status

        eventually(f"GET {path} is {status}", answered)

    def processes(self) -> list[int]:
        """Return the ids of all its processes but the one that verifies, which ends when there is nothing to verify."""
        family = [self._process.pid, *descendants(self._process.pid)]
        return [pid for pid in family if "inference.verification.verifier" not in command_line(pid)]

    def workers(self) -> list[int]:
        """Return the ids of the processes that answer requests."""
        gunicorn = children(self._process.pid)
        return [pid for parent in gunicorn for pid in children(parent)]

    def asker(self) -> int:
        """Return the id of the process that asks the challenger for what was logged."""
        (found,) = (pid for pid in children(self._process.pid) if "inference.shadow.process" in command_line(pid))
        return found

    def predict(self) -> list[int]:
        answer = self.post("/invocations", {"instances": SAMPLES})
        assert answer.status_code == 200, answer.text
        return answer.json()["predictions"]

    def serves(self, version: str) -> None:
        """Wait until the version is served by every worker: by all that answer twenty requests in a row."""

        def served() -> bool:
            models = [self.get("/version").json()["model"] for _ in range(20)]
            return all(model and model["version"] == version for model in models)

        eventually(f"version {version} is served", served)


@functools.cache
def keys() -> dict[str, str]:
    """Make the key pair that models are signed with, once, as the set-up does; return the settings that name it."""
    folder = Path(tempfile.mkdtemp(prefix="signing-keys-"))
    private, public = folder / "signing-key.pem", folder / "signing-key.pub"
    private.write_text(new_private_key())
    private.with_suffix(".id").write_text(key_id_of(private.read_text()))
    public.write_text(public_key_of(private.read_text()))
    return {"SIGNING_KEY_FILE": str(private), "VERIFYING_KEY_FILE": str(public)}


class Place:
    """A folder, the tracking URI of its registry, and a working directory in which nothing else is found."""

    def __init__(self, folder: Path, tracking_uri: str | None = None) -> None:
        self.folder = folder
        self.database = folder / "mlflow.db"
        self.tracking_uri = tracking_uri or f"sqlite:///{self.database}"
        self.work = folder / "work"
        self.temporary = folder / "tmp"
        self.work.mkdir(parents=True)
        self.temporary.mkdir()

    def environ(self, **settings: str) -> dict[str, str]:
        """Return this machine's environment without settings of ours, and with those of this place."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        return (
            kept
            | {
                "PYTHONPATH": str(ROOT / "services"),
                "PYTHONUNBUFFERED": "1",
                "TMPDIR": str(self.temporary),
                "MLFLOW_TRACKING_URI": self.tracking_uri,
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "MODEL_CACHE_DIR": str(self.folder / "cache"),
                "DATA_DIR": str(DATA),
                "API_KEYS_FILE": str(self.folder / "api-keys"),
                "COLUMNS": "100",
            }
            | keys()
            | settings
        )

    def run(self, *command: str, timeout: float = 180, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            command, env=self.environ(**settings), cwd=self.work, capture_output=True, text=True, timeout=timeout
        )

    def trainer(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "trainer", *arguments, **settings)  # type: ignore[arg-type]

    def forked(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run Python of ours, -c CODE or -m MODULE …, in a child of a process that has imported all that it needs."""
        environ = self.environ(**settings)
        return forked.python(*arguments, imports=TRAINER, environ=environ, folder=self.work)

    def command(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the trainer as `trainer` does, in a child of such a process."""
        return self.forked("-m", "trainer", *arguments, **settings)

    def start_trainer(self, *arguments: str, **settings: str) -> Process:
        command = [sys.executable, "-m", "trainer", *arguments]
        return Process(command, self.environ(**settings), self.work, self._new_log())

    @contextlib.contextmanager
    def inference(self, **settings: str) -> Iterator[Service]:
        """Start the inference service on a free port; what a test leaves of it is killed."""
        port = free_port()
        environ = self.environ(**{"INFERENCE_LISTEN_PORT": str(port), "MODEL_POLL_SECONDS": "0.2", **settings})
        service = Service([sys.executable, "-m", "inference"], environ, self.work, self._new_log(), port)
        try:
            yield service
        finally:
            service.kill_what_is_left()

    @contextlib.contextmanager
    def embedded(self, command: str, **settings: str) -> Iterator[Service]:
        """Start a service of scripts/embedded.py, ui or serve, on a free port; what is left of it is killed."""
        port = free_port()
        environ = self.environ(MLFLOW_PORT=str(port), INFERENCE_LISTEN_PORT=str(port), **settings)
        service = Service([*EMBEDDED, command], environ, self.work, self._new_log(), port)
        try:
            yield service
        finally:
            service.kill_what_is_left()

    def _new_log(self) -> Path:
        return self.folder / f"log-{len(list(self.folder.glob('log-*')))}"

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.tracking_uri)

    def move_alias(self, version: str) -> None:
        """Do what a person does in the MLflow UI."""
        self.client.set_registered_model_alias(MODEL, "Production", version)

    def registry(self) -> dict[str, Any]:
        """Return what the registry says now: the alias's version, and each version's stage and description."""
        # MLflow's client has versions as numbers on SQLite, and as text on a server.
        versions = {str(found.version): found for found in self.client.search_model_versions(f"name = '{MODEL}'")}
        return {
            "alias": str(self.client.get_model_version_by_alias(MODEL, "Production").version),
            "stages": {number: version.tags.get("stage") for number, version in versions.items()},
            "descriptions": {number: version.description for number, version in versions.items()},
        }

    def copy(self, folder: Path) -> "Place":
        """Return a place with a copy of the registry; its artifacts stay where they are."""
        place = Place(folder)
        shutil.copy(self.database, place.database)
        return place

    def copy_with_files(self, folder: Path) -> "Place":
        """Return a place with copies of the registry and of its artifacts, which may be deleted."""
        place = self.copy(folder)
        shutil.copytree(self.folder / "artifacts", place.folder / "artifacts")
        with contextlib.closing(sqlite3.connect(place.database)) as database, database:
            for table, column in run_path(str(ROOT / "scripts" / "embedded.py"))["ADDRESSES"]:
                change = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"  # noqa: S608 - names of our own
                database.execute(change, (self.folder.as_uri(), place.folder.as_uri()))
        return place

    def notebook(self, code: str) -> Any:
        """Run Python as a person's notebook does, with plain mlflow and none of our code; return the JSON it prints."""
        return json.loads(self.plain(code).stdout)

    def plain(self, code: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run Python as a person's notebook does, which must succeed."""
        environ = self.environ(PYTHONPATH="", **settings)
        result = forked.python("-c", code, *arguments, imports=forked.NOTEBOOK, environ=environ, folder=self.work)
        assert result.returncode == 0, result.stderr
        return result


@contextlib.contextmanager
def running_server(folder: Path, *options: str, **settings: str) -> Iterator[tuple[Place, Service]]:
    """Yield a place whose registry is a real `mlflow server`, as the stack has it; it ends with the block, and that server."""
    port = free_port()
    place = Place(folder / "place", f"http://127.0.0.1:{port}")
    command = [sys.executable, PUBLISHED, "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{place.database}", "--workers", "1", "--serve-artifacts"]
    command += ["--artifacts-destination", str(place.folder / "artifacts"), *options]
    environ = place.environ(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false", **settings)
    environ.pop("MLFLOW_TRACKING_URI")
    server = Service(command, environ, place.work, place.folder / "server.log", port)
    try:
        server.answers("/health")
        yield place, server
    finally:
        server.kill_what_is_left()
