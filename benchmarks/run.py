"""Measure the stack beside what people would run instead, in one run on one machine: `make bench`.

Writes benchmarks/results.md. A figure is a ratio to something measured beside it in the same run; single times on a
shared machine mean little. Needs Docker, root (to read other processes' memory) and wrk. Sends its load to 127.0.0.1.
"""

import datetime
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from tests.compose import CLASSES, SAMPLES, Stack, docker, eventually, free_ports  # noqa: E402

REPEATS = 3
LOAD_SECONDS = 8
CONNECTIONS = 8


def main() -> int:
    if missing := [tool for tool in ("docker", "wrk") if shutil.which(tool) is None]:
        print(f"not on the PATH: {', '.join(missing)}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), f"mlflow-stack-bench-{os.getpid()}", INFERENCE_WORKERS="1")
        try:
            sections = [measure(stack) for measure in (cold_start, memory, images, one_row, training)]
        finally:
            stack.remove()
    (ROOT / "benchmarks" / "results.md").write_text("\n".join([header(), *sections]))
    print(f"\nwritten: {ROOT / 'benchmarks' / 'results.md'}")
    return 0


def header() -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    peers = ", ".join(f"{name} {version(name)}" for name in ("mlflow", "scikit-learn", "flask", "gunicorn"))
    return (
        "# Current results\n\n"
        f"{datetime.date.today()}, commit {commit}, {os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()} for the peers, Docker {docker('version', '--format', '{{.Server.Version}}')}; {peers}.\n"
        "Made by `make bench`. Ratios are medians of figures taken in turns, in one run.\n"
    )


def say(text: str) -> None:
    print(f"{time.strftime('%T')} {text}", flush=True)


def seconds(action: Callable[[], object]) -> float:
    start = time.monotonic()
    action()
    return time.monotonic() - start


# --- from nothing to a prediction --------------------------------------------------------------------------------


def cold_start(stack: Stack) -> str:
    say("building the images")
    stack.compose("build")
    ours, theirs = [], []
    for number in range(REPEATS):
        say(f"cold start {number + 1} of {REPEATS}")
        stack.down("--volumes")
        ours.append(seconds(lambda: (stack.up(), stack.predict() == CLASSES or sys.exit("a wrong prediction"))))
        with stock_server() as (_, started):
            theirs.append(started)
    mine, stock = statistics.median(ours), statistics.median(theirs)
    rows = "\n".join(f"| {name} | {start:.1f} | {length:.1f} |" for name, start, length in timeline(stack))
    return (
        "## Cold start: fresh volumes, images built, until the first right prediction\n\n"
        "| what | seconds (median of 3) | ratio |\n|---|---|---|\n"
        f"| `docker compose up -d --wait` and a prediction | {mine:.1f} | {mine / stock:.2f} |\n"
        f"| stock `mlflow server` on SQLite until its API answers | {stock:.1f} | 1 |\n\n"
        "Goal: at most 3. Where the seconds go, in the last of the starts:\n\n"
        f"| container | starts after (s) | until done or healthy (s) |\n|---|---|---|\n{rows}\n"
    )


def timeline(stack: Stack) -> list[tuple[str, float, float]]:
    """Return (service, seconds after the first container's start, seconds until it was done or healthy)."""

    def moment(text: str) -> float:
        return datetime.datetime.fromisoformat(re.sub(r"\.(\d{6})\d*Z$", r".\1+00:00", text)).timestamp()

    found = []
    for name, container in stack.containers().items():
        state = container["State"]
        if checks := state.get("Health", {}).get("Log"):
            end = moment(next(check["End"] for check in checks if check["ExitCode"] == 0))
        else:
            end = moment(state["FinishedAt"])
        found.append((name, moment(state["StartedAt"]), end))
    first = min(start for _, start, _ in found)
    return [(name, start - first, end - start) for name, start, end in sorted(found, key=lambda row: row[1])]


@contextmanager
def stock_server() -> Iterator[tuple[int, float]]:
    """Run `mlflow server` as it comes; yield its process id and the seconds until its API answered."""
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(port)]
        command += [
            "--backend-store-uri",
            f"sqlite:///{folder}/mlflow.db",
            "--artifacts-destination",
            f"{folder}/artifacts",
        ]
        url = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search?max_results=1"
        with process(command, folder) as pid:
            took = seconds(lambda: eventually("stock MLflow answers", lambda: requests.get(url, timeout=5).ok, 180))
            yield pid, took


@contextmanager
def process(command: list[str], folder: str) -> Iterator[int]:
    """Run a command in a process group of its own, which is ended with the block."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"
    with open(Path(folder, "log"), "w") as log:
        running = subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log, start_new_session=True)
    try:
        yield running.pid
    finally:
        os.killpg(running.pid, signal.SIGTERM)
        try:
            running.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()


# --- memory --------------------------------------------------------------------------------------------------------


def memory(stack: Stack) -> str:
    say("memory")
    stack.up()
    usage = {}
    for name, container in stack.containers().items():
        if container["State"]["Running"]:
            pids = docker("top", container["Id"], "-o", "pid").split()[1:]
            usage[name] = sum(map(pss_mb, pids))
    with stock_server() as (pid, _):
        time.sleep(5)  # its other processes come after its first answer, and nothing tells when all are there
        group = subprocess.run(["ps", "-o", "pid=", "--sid", str(pid)], capture_output=True, text=True).stdout.split()
        stock = sum(map(pss_mb, group))
    total = sum(usage.values())
    rows = "\n".join(f"| {name} | {mb:.0f} |" for name, mb in usage.items())
    return (
        "## Memory, idle (PSS)\n\n| what | MB |\n|---|---|\n"
        f"{rows}\n| the whole stack | {total:.0f} |\n| stock `mlflow server` alone | {stock:.0f} |\n\n"
        f"Ratio {total / stock:.2f}; goal: below 0.5.\n"
    )


def pss_mb(pid: str) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:  # it has just ended
        return 0.0
    return int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1)) / 1024


# --- images --------------------------------------------------------------------------------------------------------


def images(stack: Stack) -> str:
    say("images")
    label = '{{index .Config.Labels "org.opencontainers.image.base.name"}}'
    base = size_mb(docker("image", "inspect", f"{stack.name}/inference", "--format", label))
    rows = []
    for name in ("setup", "mlflow", "trainer", "inference", "minio"):
        total = size_mb(f"{stack.name}/{name}")
        rows.append(f"| {name} | {total:.0f} | {'-' if name == 'minio' else f'{total - base:.0f}'} |")
    layers = docker("history", "--format", "{{.Size}}\t{{.CreatedBy}}", f"{stack.name}/inference").splitlines()
    costs = "\n".join(f"| {size} | `{by[:90]}` |" for size, by in (line.split("\t") for line in layers) if size != "0B")
    return (
        f"## Images (base: {base:.0f} MB)\n\n| image | MB | added to its base, MB |\n|---|---|---|\n"
        + "\n".join(rows)
        + f"\n\nGoal: inference adds at most 450 MB. Its layers:\n\n| size | made by |\n|---|---|\n{costs}\n"
    )


def size_mb(image: str) -> float:
    return int(docker("image", "inspect", image, "--format", "{{.Size}}")) / 1e6


# --- one row -------------------------------------------------------------------------------------------------------


def one_row(stack: Stack) -> str:
    say("one row")
    body = json.dumps({"instances": SAMPLES[:1]})
    columns = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
    records = json.dumps({"dataframe_split": {"columns": columns, "data": SAMPLES[:1]}})
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder, models_serve(stack, folder) as url:
        for _ in range(REPEATS):
            ours.append(rate(f"{stack.url}/invocations", body))
            theirs.append(rate(f"{url}/invocations", records))
    mine, stock = statistics.median(ours), statistics.median(theirs)
    return (
        f"## One row, {CONNECTIONS} connections, one worker each\n\n| server | requests/s | ratio |\n|---|---|---|\n"
        f"| inference, POST /invocations | {mine:.0f} | {mine / stock:.1f} |\n| mlflow models serve | {stock:.0f} | 1 |\n\n"
        "Goal: at least 5.\n"
    )


@contextmanager
def models_serve(stack: Stack, folder: str) -> Iterator[str]:
    """Serve the version in Production with MLflow's own server."""
    (port,) = free_ports(1)
    code = f"import mlflow; mlflow.artifacts.download_artifacts('models:/iris_logistic_regression/{stack.alias()}', dst_path={folder!r})"
    fetched = stack.notebook(code)
    if fetched.returncode:
        raise RuntimeError(fetched.stderr)
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", folder, "--port", str(port)]
    command += ["--env-manager", "local", "--workers", "1"]
    with process(command, folder):
        url = f"http://127.0.0.1:{port}"
        eventually("mlflow models serve answers", lambda: requests.get(f"{url}/ping", timeout=5).ok, 120)
        yield url


def rate(url: str, body: str) -> float:
    """Return requests per second; fail where an answer was an error."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\nwrk.body = [[{body}]]\n')
        script.flush()
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{LOAD_SECONDS}s", "-s", script.name, url]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise AssertionError(text)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))


# --- training ------------------------------------------------------------------------------------------------------


def training(stack: Stack) -> str:
    say("training")
    bare = (ROOT / "benchmarks" / "bare_training.py").read_text()
    inside = ["run", "--rm", "--no-deps", "--entrypoint", "python", "trainer", "-c", bare]
    ours, job, theirs = [], [], []
    for _ in range(REPEATS):
        ours.append(seconds(lambda: stack.compose("run", "--rm", "trainer")))
        job.append(seconds(lambda: stack.compose("run", "--rm", "--no-deps", "trainer")))
        theirs.append(seconds(lambda: stack.compose(*inside)))
    end_to_end, alone, script = (statistics.median(times) for times in (ours, job, theirs))
    return (
        "## Training, end to end\n\n| what | seconds (median of 3) | ratio |\n|---|---|---|\n"
        f"| `docker compose run trainer` | {end_to_end:.1f} | {end_to_end / script:.2f} |\n"
        f"| the same without looking after the services before it (`--no-deps`) | {alone:.1f} | {alone / script:.2f} |\n"
        f"| a bare script, same fit and logging, in the same image | {script:.1f} | 1 |\n\nGoal: at most 1.5.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
