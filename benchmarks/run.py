"""Measure the stack beside what people would run instead, in one run on one machine: `make bench`.

Writes benchmarks/results.md. A figure is a ratio to something measured beside it in the same run; single times on a
shared machine mean little. Needs Docker, and root to read other processes' memory. What one row takes, and a thousand, is
measured by serving.py.
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
from functools import partial
from importlib.metadata import version
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from tests.compose import CLASSES, Stack, docker, eventually, free_ports  # noqa: E402

REPEATS = 3
MOVES = 10


def main() -> int:
    if shutil.which("docker") is None:
        print("not on the PATH: docker", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), f"mlflow-stack-bench-{os.getpid()}")
        sections = []
        try:
            for part in (first_up, cold_start, memory, images, training, bad_days, replicas):
                sections.append(part(stack))
                print(f"\n{sections[-1]}", flush=True)
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


def works(stack: Stack) -> None:
    """Fail unless the stack predicts the samples' classes."""
    if stack.predict() != CLASSES:
        raise AssertionError("a wrong prediction")


# --- from nothing to a prediction --------------------------------------------------------------------------------


def first_up(stack: Stack) -> str:
    """Measure the first `up` of a clean clone; honest only where nothing of the builds is in the engine's cache."""
    title = "## The first `docker compose up -d --wait` of a clean clone, builds included\n\n"
    cached = docker("system", "df", "--format", "{{.Type}}\t{{.Size}}").split("Build Cache\t")[1].split()[0]
    if not re.fullmatch(r"[\d.]+k?B", cached):
        say("building the images, with what the engine has cached")
        stack.up()
        return (
            f"{title}Not measured: the engine's build cache holds {cached}; `docker builder prune --all` empties it.\n"
        )
    say("the first up, builds included")
    took = seconds(stack.up)
    works(stack)
    return f"{title}{took:.0f} s until predictions work; the base images were there, the packages came from a mirror nearby.\n"


def has_changes(stack: Stack, count: int) -> bool:
    return len(stack.changes()) == count


def up_and_works(stack: Stack) -> None:
    stack.up()
    works(stack)


def cold_start(stack: Stack) -> str:
    ours, theirs = [], []
    for number in range(REPEATS):
        say(f"cold start {number + 1} of {REPEATS}")
        stack.down("--volumes")
        took, fresh = watched(stack, lambda: up_and_works(stack))
        ours.append(took)
        with stock_server() as (_, started):
            theirs.append(started)
    mine, stock = statistics.median(ours), statistics.median(theirs)
    say("a second up, and one after down")
    again = seconds(stack.up)
    stack.down()
    kept, after_down = watched(stack, lambda: up_and_works(stack))
    return (
        "## Cold start: fresh volumes, images built, until the first right prediction\n\n"
        "| what | seconds (median of 3) | ratio |\n|---|---|---|\n"
        f"| `docker compose up -d --wait` and a prediction | {mine:.1f} | {mine / stock:.2f} |\n"
        f"| stock `mlflow server` on SQLite until its API answers | {stock:.1f} | 1 |\n"
        f"| a second `up` that finds nothing to do | {again:.1f} | {again / stock:.2f} |\n"
        f"| `up` and a prediction after `down`: volumes kept | {kept:.1f} | {kept / stock:.2f} |\n\n"
        "Goal of the first line: at most 3. Where the seconds go, in the last of those starts (before its first "
        f"container: builds that find nothing to do, networks, volumes):\n\n{drawn(fresh)}\n"
        f"And after `down`, where the set-up jobs find nothing to do:\n\n{drawn(after_down)}"
    )


def drawn(rows: list[tuple[str, float, float]]) -> str:
    """Return the timeline as a table with a bar per container, one block for each half second."""
    table = "| container | starts after (s) | until done or healthy (s) | |\n|---|---|---|---|\n"
    for name, start, length in rows:
        bar = "\N{NO-BREAK SPACE}" * round(start * 2) + "█" * max(1, round(length * 2))
        table += f"| {name} | {start:.1f} | {length:.1f} | `{bar}` |\n"
    return table


def watched(stack: Stack, action: Callable[[], object]) -> tuple[float, list[tuple[str, float, float]]]:
    """Return the action's seconds, and per service: its start after the first container's, and its time until done or healthy."""
    command = ["docker", "events", "--filter", "event=health_status", "--format", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
        took = seconds(action)
        watch.terminate()
        events = [json.loads(line) for line in watch.communicate()[0].splitlines()]
    # The first report of each container: later ones are those of a check that failed in between.
    healthy = {e["id"]: e["timeNano"] / 1e9 for e in reversed(events) if e["status"] == "health_status: healthy"}
    found = []
    for name, container in stack.containers().items():
        state = container["State"]
        end = healthy[container["Id"]] if state["Running"] else moment(state["FinishedAt"])
        found.append((name, moment(state["StartedAt"]), end))
    first = min(start for _, start, _ in found)
    return took, [(name, start - first, end - start) for name, start, end in sorted(found, key=lambda row: row[1])]


def moment(text: str) -> float:
    """Return a time as Docker writes it, with nanoseconds, or a log, as seconds since 1970."""
    return datetime.datetime.fromisoformat(re.sub(r"\.(\d{3,6})\d*Z$", r".\1+00:00", text)).timestamp()


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
        stock = settled(lambda: sum(map(pss_mb, session(pid))))
    total = sum(usage.values())
    rows = "\n".join(f"| {name} | {mb:.0f} |" for name, mb in usage.items())
    return (
        "## Memory, idle (PSS)\n\n| what | MB |\n|---|---|\n"
        f"{rows}\n| the whole stack | {total:.0f} |\n| stock `mlflow server` alone | {stock:.0f} |\n\n"
        f"Ratio {total / stock:.2f}; goal: below 0.5.\n"
    )


def settled(measure: Callable[[], float]) -> float:
    """Measure each second until it has not changed by more than 1 % for five; processes come after the first answer."""
    found = [measure()]

    def is_settled() -> bool:
        time.sleep(1)
        found.append(measure())
        return len(found) > 5 and max(found[-5:]) <= 1.01 * min(found[-5:])

    eventually("the memory does not change any more", is_settled, 120)
    return found[-1]


def session(pid: int) -> list[str]:
    """Return all processes of the session that the process leads."""
    return subprocess.run(["ps", "-o", "pid=", "--sid", str(pid)], capture_output=True, text=True).stdout.split()


def pss_mb(pid: str) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:  # it has just ended
        return 0.0
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024


# --- images --------------------------------------------------------------------------------------------------------


def images(stack: Stack) -> str:
    say("images")
    label = '{{index .Config.Labels "org.opencontainers.image.base.name"}}'
    base = size_mb(docker("image", "inspect", f"{stack.name}/inference", "--format", label))
    rows = []
    for name in ("setup", "mlflow", "trainer", "inference", "minio"):
        total = size_mb(f"{stack.name}/{name}")
        rows.append(f"| {name} | {total:.0f} | {'-' if name == 'minio' else f'{total - base:.0f}'} |")
    history = docker("history", "--no-trunc", "--format", "json", f"{stack.name}/inference").splitlines()
    layers = [(layer["Size"], layer["CreatedBy"].split("#")[0]) for layer in map(json.loads, history)]
    costs = "\n".join(f"| {size} | `{by[:90]}` |" for size, by in layers if size != "0B")
    return (
        f"## Images (base: {base:.0f} MB)\n\n| image | MB | added to its base, MB |\n|---|---|---|\n"
        + "\n".join(rows)
        + f"\n\nGoal: inference adds at most 450 MB. Its layers:\n\n| size | made by |\n|---|---|\n{costs}\n"
    )


def size_mb(image: str) -> float:
    return int(docker("image", "inspect", image, "--format", "{{.Size}}")) / 1e6


# --- what happens on a bad day -------------------------------------------------------------------------------------


def bad_days(stack: Stack) -> str:
    rows = [*stopping(stack), *recovering(stack), *promoting(stack), *unreachable(stack)]
    table = "\n".join(f"| {what} | {took:.1f} | {bound} |" for what, took, bound in rows)
    return f"## Bad days, once each\n\n| what | seconds | allowed |\n|---|---|---|\n{table}\n"


def stopping(stack: Stack) -> Iterator[tuple[str, float, str]]:
    """Stop each service by itself: how long it takes, and that none had to be killed."""
    say("stopping")
    stack.up()
    for service in ("inference", "mlflow", "minio", "postgres"):
        took = seconds(partial(stack.compose, "stop", service))
        state = stack.containers()[service]
        if state["State"]["ExitCode"] == 137:
            raise AssertionError(f"{service} was killed")
        yield f"`docker compose stop {service}`", took, f"{state['Config']['StopTimeout']}, then it is killed"
    stack.up()


def recovering(stack: Stack) -> Iterator[tuple[str, float, str]]:
    """Kill each store's and MLflow's first process, as a crash does; until MLflow answers from its stores again."""
    for service in ("postgres", "minio", "mlflow"):
        say(f"killing {service}")
        pid = stack.containers()[service]["State"]["Pid"]
        os.kill(pid, signal.SIGKILL)

        def recovered(service: str = service, pid: int = pid) -> bool:
            state = stack.containers()[service]["State"]
            return state["Running"] and state["Pid"] not in (0, pid) and has_stores(stack)

        took = seconds(partial(eventually, "the stack has recovered", recovered, 120))
        works(stack)
        yield f"{service} killed, until MLflow answers from its stores again", took, "recovers with no hand"


def has_stores(stack: Stack) -> bool:
    version = stack.versions()[stack.alias()]
    model = version["source"].removeprefix("models:/")
    return bool(stack.api(f"logged-models/{model}/artifacts/directories")["files"])


def promoting(stack: Stack) -> Iterator[tuple[str, float, str]]:
    """Take the alias away from a service that is created anew, and give it back: until it serves."""
    say("promoting")
    poll = "1"
    stack.write_env(MODEL_POLL_SECONDS=poll)
    stack.down("--volumes")
    stack.up()
    version = stack.alias()
    alias = {"name": "iris_logistic_regression", "alias": "Production"}
    requests.delete(f"{stack.mlflow_url}/api/2.0/mlflow/registered-models/alias", json=alias, timeout=10)
    stack.compose("rm", "--stop", "--force", "inference")
    docker("volume", "rm", f"{stack.name}_model-cache")
    stack.compose("up", "--detach", "--no-deps", "inference")
    eventually("inference is alive", lambda: requests.get(f"{stack.url}/health", timeout=5).ok)
    stack.set_alias(version)
    took = seconds(lambda: eventually("it serves", lambda: stack.predict() == CLASSES))
    yield f"the first promotion, until it is served (looking every {poll} s)", took, "seconds"


def unreachable(stack: Stack) -> Iterator[tuple[str, float, str]]:
    say("without MLflow")
    train = ("run", "--rm", "trainer")
    for service in ("mlflow", "minio"):
        stack.compose("stop", service)
        took = seconds(lambda: stack.compose(*train, check=False))
        yield f"a training without {service} ends with an error", took, "30" if service == "mlflow" else "-"
        stack.up()


# --- training ------------------------------------------------------------------------------------------------------


def training(stack: Stack) -> str:
    say("training")
    bare = (ROOT / "benchmarks" / "bare_training.py").read_text()
    inside = ["run", "--rm", "--entrypoint", "python", "trainer", "-c", bare]
    ours, theirs = [], []
    for _ in range(REPEATS):
        ours.append(seconds(lambda: stack.compose("run", "--rm", "trainer")))
        theirs.append(seconds(lambda: stack.compose(*inside)))
    end_to_end, script = statistics.median(ours), statistics.median(theirs)
    return (
        "## Training, end to end\n\n| what | seconds (median of 3) | ratio |\n|---|---|---|\n"
        f"| `docker compose run trainer` | {end_to_end:.1f} | {end_to_end / script:.2f} |\n"
        f"| a bare script, same fit and logging, in the same image | {script:.1f} | 1 |\n\nGoal: at most 1.5.\n"
    )


# --- several replicas ------------------------------------------------------------------------------------------------


def replicas(stack: Stack) -> str:
    """Move the alias behind three replicas, and see when all their workers serve the version."""
    say("three replicas")
    stack.write_env(COMPOSE_FILE="compose.yaml:compose.scale.yaml", MODEL_POLL_SECONDS="1")
    stack.up()
    current = stack.alias()
    stack.compose("run", "--rm", "trainer", "train", "--no-promote")
    other = max(stack.versions(), key=int)
    reached, apart, windows = [], [], []
    for number in range(MOVES):
        say(f"move {number + 1} of {MOVES}")
        before, moved = len(stack.changes()), time.time()
        stack.set_alias(current if number % 2 else other)
        eventually("all replicas have changed", partial(has_changes, stack, before + 3))
        changes = stack.changes()[before:]
        wanted = (current if number % 2 else other, 2)
        if any((change["version"], change["workers"]) != wanted for change in changes):
            raise AssertionError(f"not every worker of every replica has changed to version {wanted[0]}: {changes}")
        times = [moment(change["time"]) for change in changes]
        reached.append(max(times) - moved)
        apart.append(max(times) - min(times))
        windows += [change["window_ms"] / 1000 for change in changes]
    rows = "\n".join(
        f"| {what} | {statistics.median(values):.4g} | {max(values):.4g} |"
        for what, values in (
            ("from the move of the alias until every worker of every replica serves the version", reached),
            ("from the first replica's change to the last one's", apart),
            ("between the two workers of a replica", windows),
        )
    )
    return (
        f"## Three replicas of two workers, {MOVES} moves of the alias\n\n| what | median, s | longest, s |\n|---|---|---|\n"
        f"{rows}\n\nGoal of the first line: at most 2. Each replica looks once a second; the first move is to a version that "
        "was never fetched.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
