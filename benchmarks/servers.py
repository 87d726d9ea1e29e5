"""The servers that are measured: how each is started, asked and read, on a port of 127.0.0.1."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import load
import onnxruntime
import requests
from served_models import ROOT, Trained, Workshop

PEERS = ROOT / "benchmarks" / "peers"
PEERS_ENVIRONMENT = ROOT / "build" / "peers"
NATIVE_PROGRAM = ROOT / "build" / "native"
START_SECONDS = 120


@dataclass(frozen=True)
class Kind:
    """A way to serve a model."""

    name: str
    command: Callable[[int, Trained, Path], list[str]]
    """of a port, a model, and a folder for its settings"""
    settings: Callable[[int, Trained], dict[str, str]]
    """what its environment has beside the workshop's"""
    ready: str
    question: Callable[[list[str], list[list[Any]]], Any]
    """columns and rows as the JSON that it takes"""
    answers: Callable[[Any], list[Any]]
    """the predictions in its answer"""
    path: str = "/invocations"
    is_empty: bool = False
    """whether it answers zeros"""
    engine: str | None = None
    """what its GET /version must name as its engine"""


@dataclass(frozen=True)
class Server:
    """A server that runs and is ready."""

    kind: Kind
    model: Trained
    port: int
    process: int
    start_seconds: float
    """from its command to its readiness"""
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def body(self, rows: list[list[Any]]) -> str:
        return json.dumps(self.kind.question(self.model.columns, rows))

    def check(self, size: int) -> None:
        """Raise AssertionError unless it answers so many rows as scikit-learn does, and with the engine it is to have."""
        rows, expected = self.model.question(size)
        headers = {"Content-Type": "application/json"}
        answer = requests.post(f"{self.url}{self.kind.path}", self.body(rows), headers=headers, timeout=30)
        answer.raise_for_status()
        if (found := self.kind.answers(answer.json())) != ([0] * size if self.kind.is_empty else expected):
            raise AssertionError(f"{self.kind.name} answers {found[:5]} for {expected[:5]}")
        if self.kind.engine:
            engine = requests.get(f"{self.url}/version", timeout=30).json()["model"]["engine"]["name"]
            if engine != self.kind.engine:
                raise AssertionError(f"{self.kind.name} is served by {engine}, not by {self.kind.engine}")

    def memory_mb(self, during: Callable[[], object]) -> tuple[float, float]:
        """Return the memory of the worker, which is the process that did most during the load, and of all processes."""
        worker, _, _ = self.computed(during)
        return load.pss_mb(worker), sum(map(load.pss_mb, _descendants(self.process)))

    def computed(self, during: Callable[[], object]) -> tuple[int, float, float]:
        """Return which process did most during the load, and its seconds in its own code and in the kernel's."""
        before = {pid: _seconds(pid) for pid in _descendants(self.process)}
        during()
        after = {pid: _seconds(pid) for pid in before}
        worker = max(before, key=lambda pid: sum(after[pid]) - sum(before[pid]))
        own, kernel = (then - now for then, now in zip(after[worker], before[worker], strict=True))
        return worker, own, kernel


def ours(engine: str, workers: int = 1) -> Kind:
    """Return our service: with the ONNX engine, or, as one that trusts more has no ONNX engine, with scikit-learn."""
    trust = {"onnx": "signed", "scikit-learn": "pickle"}[engine]
    return Kind(
        f"inference, {engine}" + (f", {workers} workers" if workers > 1 else ""),
        lambda port, model, folder: [sys.executable, "-m", "inference"],
        lambda port, model: {
            "INFERENCE_LISTEN_PORT": str(port),
            "INFERENCE_WORKERS": str(workers),
            "MODEL_NAME": model.name,
            "MODEL_TRUST": trust,
        },
        "/ready",
        lambda columns, rows: {"instances": rows},
        lambda answer: answer["predictions"],
        engine=engine,
    )


def empty_route(worker_class: str, *options: str) -> Kind:
    python = str(PEERS_ENVIRONMENT / "bin" / "python")
    command = [python, "-m", "gunicorn", f"--chdir={PEERS}", "--workers=1", f"--worker-class={worker_class}"]
    command += [*options, "--log-level=warning", "--no-control-socket"]
    return Kind(
        f"empty Flask route, {worker_class}",
        lambda port, model, folder: [*command, f"--bind=127.0.0.1:{port}", "floor:app"],
        lambda port, model: {},
        "/ready",
        lambda columns, rows: {"instances": rows},
        lambda answer: answer["predictions"],
        is_empty=True,
    )


def _mlflow_command(port: int, model: Trained, folder: Path) -> list[str]:
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(model.files)]
    return [*command, "--port", str(port), "--env-manager", "local", "--workers", "1"]


def _mlserver_command(port: int, model: Trained, folder: Path) -> list[str]:
    """Write its settings; without its pool of processes, one process does it all, which is faster."""
    ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    settings = {"host": "127.0.0.1", "debug": False, "parallel_workers": 0, **ports}
    (folder / "settings.json").write_text(json.dumps(settings))
    parameters = {"uri": str(model.estimator)}
    described = {"name": "peer", "implementation": "mlserver_sklearn.SKLearnModel", "parameters": parameters}
    (folder / "model-settings.json").write_text(json.dumps(described))
    return [str(PEERS_ENVIRONMENT / "bin" / "mlserver"), "start", str(folder)]


def _inference_request(columns: list[str], rows: list[list[Any]]) -> dict[str, Any]:
    """Return the Open Inference Protocol's question, the numbers in one flat list, which is the faster form."""
    numbers = [number for row in rows for number in row]
    return {"inputs": [{"name": "rows", "shape": [len(rows), len(columns)], "datatype": "FP64", "data": numbers}]}


def _bentoml_command(port: int, model: Trained, folder: Path) -> list[str]:
    command = [str(PEERS_ENVIRONMENT / "bin" / "bentoml"), "serve", "bento:Peer", "--working-dir", str(PEERS)]
    return [*command, "--host", "127.0.0.1", "--port", str(port)]


def _native_command(port: int, model: Trained, folder: Path) -> list[str]:
    (library,) = Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*")
    form = json.loads((model.files / "onnx_engine.json").read_text())["input"]
    onnx = str(model.files / "model.onnx")
    return [str(NATIVE_PROGRAM), str(port), onnx, str(library), form, str(len(model.columns))]


ONNX, NO_ONNX, TWO_WORKERS = ours("onnx"), ours("scikit-learn"), ours("onnx", workers=2)
GEVENT = empty_route("gevent")
# Each of gunicorn's worker classes that takes a WSGI application.
FLOORS = [
    empty_route("sync"),
    empty_route("gthread", "--threads=4"),
    GEVENT,
    empty_route("gevent_pywsgi"),
    empty_route("tornado"),
]
# What a compiled program answers with the same model on one core, by peers/native: the limit.
NATIVE = Kind(
    "native (Go, fasthttp, ONNX Runtime)",
    _native_command,
    lambda port, model: {},
    "/ready",
    lambda columns, rows: {"instances": rows},
    lambda answer: answer["predictions"],
)
MLFLOW = Kind(
    "mlflow models serve",
    _mlflow_command,
    lambda port, model: {},
    "/ping",
    # It refuses plain lists where the columns have names.
    lambda columns, rows: {"dataframe_split": {"columns": columns, "data": rows}},
    lambda answer: answer["predictions"],
)
MLSERVER = Kind(
    "MLServer",
    _mlserver_command,
    lambda port, model: {},
    "/v2/models/peer/ready",
    _inference_request,
    lambda answer: answer["outputs"][0]["data"],
    "/v2/models/peer/infer",
)
BENTOML = Kind(
    "BentoML",
    _bentoml_command,
    lambda port, model: {
        "PEER_MODEL": str(model.estimator),
        "BENTOML_HOME": str(model.folder),
        "BENTOML_DO_NOT_TRACK": "true",
    },
    "/readyz",
    lambda columns, rows: {"instances": rows},
    lambda answer: answer,
)


@contextlib.contextmanager
def running(kind: Kind, model: Trained, workshop: Workshop) -> Iterator[Server]:
    """Start a server, yield it when it is ready, and end all its processes with the block."""
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="server-", dir=workshop.folder))
    command, environ = kind.command(port, model, folder), workshop.environ(**kind.settings(port, model))
    if kind.engine is None:  # a peer finds nothing of ours
        environ.pop("PYTHONPATH")
    with open(folder / "log", "w") as log:
        start = time.monotonic()
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait(f"http://127.0.0.1:{port}{kind.ready}", process, folder / "log")
        yield Server(kind, model, port, process.pid, time.monotonic() - start, folder / "log")
    finally:
        _end(process)


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(requests.RequestException):
            if requests.get(url, timeout=5).status_code == 200:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"{url} does not answer 200:\n{log.read_text()[-3000:]}")
        time.sleep(0.02)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the process and those that it started, some of which lead sessions of their own."""
    births = {pid: _birth(pid) for pid in _descendants(process.pid)}
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=10)
    for pid, birth in births.items():
        if birth and birth == _birth(pid):  # still the one that was started here, not another of the same number
            os.kill(pid, signal.SIGKILL)
    process.wait()


def _birth(pid: int) -> str | None:
    """Return when a process was started, in the kernel's ticks; None where it has ended."""
    fields = _status(pid)
    return fields[19] if fields and fields[0] != "Z" else None


def _seconds(pid: int) -> tuple[float, float]:
    """Return how long a process has computed, in its own code and in the kernel's; 0 where it has ended."""
    fields, ticks = _status(pid), os.sysconf("SC_CLK_TCK")
    return (int(fields[11]) / ticks, int(fields[12]) / ticks) if fields else (0.0, 0.0)


def _status(pid: int) -> list[str]:
    """Return the kernel's words about a process after its name; none where it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _processes() -> list[tuple[int, int]]:
    """Return every process and its parent."""
    text = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return [(int(pid), int(parent)) for pid, parent in map(str.split, text.splitlines())]


def _descendants(pid: int) -> list[int]:
    """Return a process and all below it."""
    family = {pid}
    pairs = _processes()
    while more := {child for child, parent in pairs if parent in family} - family:
        family |= more
    return sorted(family)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]
