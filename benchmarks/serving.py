"""Measure the prediction service beside its peers, in one run on one machine: `make benchserving`.

Writes benchmarks/serving.md and benchmarks/serving.png. All servers have one worker, unless said, and are loaded in turns; a ratio is
to what was measured beside it in the same run. No Docker: SQLite, a folder, and wrk, on 127.0.0.1. The peers have an
environment of their own, build/peers, which is made where it is not there; one of them, the limit, is compiled where there are
go and gcc (peers/native).

python benchmarks/serving.py [--quick] [--services FOLDER]
    --quick     one round of two seconds beside two of the peers, into build/, and each ratio beside the one that is committed
    --services  the folder in which the service lies, where it is not this repository's
"""

import argparse
import contextlib
import datetime
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import load
import paced
from served_models import ROOT, Trained, Workshop
from servers import (
    BENTOML,
    FLOORS,
    GEVENT,
    MLFLOW,
    MLSERVER,
    NATIVE,
    NATIVE_PROGRAM,
    NO_ONNX,
    ONNX,
    PEERS,
    PEERS_ENVIRONMENT,
    TWO_WORKERS,
    Kind,
    Server,
    running,
)

STEPS = Path(__file__).with_name("steps.py")
WARM_UP_SECONDS = 1
MANY_ROWS = 1000
SLOW_CLIENTS = 300
SWAPS = 20
# From one swap to the next; what the new version's first requests take is counted to the swap for so long.
SWAP_SECONDS = 2.0
SETTLE_SECONDS = 0.2
CONNECTIONS = 8
CONNECTIONS_MANY_ROWS = 4


@dataclass(frozen=True)
class Pace:
    """How long it is measured."""

    rounds: int = 5
    seconds: float = 3
    paced_seconds: float = 8


QUICK = Pace(rounds=1, seconds=2, paced_seconds=3)


@dataclass(frozen=True)
class Goal:
    """What was to be reached, and what was."""

    what: str
    figure: float
    bound: float
    is_upper: bool = False
    """whether the bound is the most that is allowed, not the least"""

    def as_row(self) -> str:
        is_met = self.figure <= self.bound if self.is_upper else self.figure >= self.bound
        goal = f"{'at most' if self.is_upper else 'at least'} {self.bound:.3g}"
        return f"| {self.what} | {goal} | {self.figure:.2f} | {'met' if is_met else '**missed**'} |"


@dataclass
class Report:
    """What has been measured so far."""

    goals: list[Goal] = field(default_factory=list)
    sections: list[str] = field(default_factory=list)
    loads: dict[str, dict[str, load.Load]] = field(default_factory=dict)
    """by case and by server"""

    def add(self, section: str, *goals: Goal) -> None:
        self.goals.extend(goals)
        self.sections.append(section)
        print("\n".join(["", section, *(goal.as_row() for goal in goals), ""]), flush=True)

    def as_text(self, head: str) -> str:
        goals = "\n".join(goal.as_row() for goal in self.goals)
        table = f"## Goals\n\nAll are ratios.\n\n| what | goal | figure | |\n|---|---|---|---|\n{goals}\n"
        return "\n".join([head, table, "![requests per second](serving.png)\n", *self.sections])


def main() -> int:
    options = arguments()
    if shutil.which("wrk") is None:
        print("not on the PATH: wrk", file=sys.stderr)
        return 1
    make_peers_environment()
    peers = [GEVENT, MLFLOW] if options.quick else [*FLOORS, *[NATIVE] * make_native_peer(), MLSERVER, BENTOML, MLFLOW]
    report, pace, busy = Report(), QUICK if options.quick else Pace(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(Path(folder), options.services.resolve())
        say("training")
        iris, forest, mixed = workshop.iris(), workshop.forest(), workshop.mixed()
        boosted, dated = workshop.boosted(), workshop.dated()
        starts(report, pace, workshop, iris)
        on_iris(report, pace, workshop, iris, peers)
        one_row(report, pace, workshop, forest, "Random forest of 100 trees, 1 row", 25)
        one_row(report, pace, workshop, mixed, "One-hot and imputing, 1 row", 10)
        one_row(report, pace, workshop, boosted, "XGBoost, 100 rounds, 1 row", 25)
        dates_and_text(report, pace, workshop, dated)
        head = header(options.services.resolve(), pace, busy)
    results = ROOT / ("build" if options.quick else "benchmarks") / "serving.md"
    results.write_text(report.as_text(head))
    draw(report.loads, results.with_suffix(".png"))
    print(f"written: {results}")
    if options.quick:
        print(beside_committed(report.goals))
    return 0


def beside_committed(goals: list[Goal]) -> str:
    """Return each ratio beside the one that is committed; where it is a quarter worse, it is marked."""
    text = (ROOT / "benchmarks" / "serving.md").read_text()
    committed = {what: float(figure) for what, figure in re.findall(r"^\| (.+?) \| at .+? \| ([\d.]+) \|", text, re.M)}
    lines = []
    for goal in goals:
        if (before := committed.get(goal.what)) is not None:
            worse = (goal.figure / before if goal.is_upper else before / goal.figure) - 1
            lines.append(f"{goal.figure:8.2f} {before:8.2f} {'worse ' if worse > 0.25 else '      '}{goal.what}")
    return "\n".join([f"{'now':>8} {'before':>8}", *lines])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the prediction service beside its peers.")
    parser.add_argument("--quick", action="store_true", help="one round of two seconds, into build/")
    parser.add_argument("--services", type=Path, default=ROOT / "services", help="the folder in which the service lies")
    return parser.parse_args()


def say(text: str) -> None:
    print(f"{time.strftime('%T')} {text}", flush=True)


# --- the peers' environment, and what ran ---------------------------------------------------------------------------


def make_native_peer() -> bool:
    """Compile the native server; return whether that is possible here."""
    if lacking := [name for name in ("go", "gcc") if shutil.which(name) is None]:
        print(f"the native server is left out; not on the PATH: {', '.join(lacking)}", file=sys.stderr)
        return False
    say("the native server")
    NATIVE_PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    built = subprocess.run(
        ["go", "build", "-o", NATIVE_PROGRAM, "."], cwd=PEERS / "native", capture_output=True, text=True
    )
    if built.returncode:  # an older Go, for example
        print(f"the native server is left out; it does not compile: {built.stderr.strip()}", file=sys.stderr)
    return built.returncode == 0


def make_peers_environment() -> None:
    """Bring build/peers to what peers/requirements.txt says; a second or less where it is."""
    say("the peers' environment")
    uv, python = Path(sys.executable).with_name("uv"), PEERS_ENVIRONMENT / "bin" / "python"
    if not python.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, PEERS_ENVIRONMENT], check=True)
    lock = PEERS / "requirements.txt"
    subprocess.run([uv, "pip", "sync", "--quiet", "--require-hashes", "--python", python, lock], check=True)
    for package in ("scikit-learn", "flask", "gunicorn"):
        if (theirs := version_in_peers(package)) != (ours := version(package)):
            sys.exit(f"the peers have {package} {theirs}, this stack {ours}; change {PEERS / 'requirements.in'}")


def version_in_peers(package: str) -> str:
    code = f"from importlib.metadata import version; print(version({package!r}))"
    command = [str(PEERS_ENVIRONMENT / "bin" / "python"), "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def header(services: Path, pace: Pace, busy: float) -> str:
    """Say what was measured, when and where; `busy` is the machine's load before."""
    own = ("mlflow", "scikit-learn", "onnxruntime", "flask", "gunicorn", "uvloop", "httptools")
    beside = ("mlserver", "mlserver-sklearn", "bentoml", "gevent", "tornado")
    return (
        "# The prediction service, measured\n\n"
        f"{datetime.date.today()}, {commit(services)}, {os.cpu_count()} cores, {processor()}, load {busy:.1f} before, Python "
        f"{platform.python_version()}; {', '.join(f'{name} {version(name)}' for name in own)}; the peers' environment: "
        f"{', '.join(f'{name} {version_in_peers(name)}' for name in beside)}; wrk {wrk_version()}.\n"
        "`inference, scikit-learn` is the same version without its ONNX engine (MODEL_TRUST=pickle). "
        f"Made by `make benchserving`. One worker each, unless said, in turns, medians of {pace.rounds} rounds of {pace.seconds:.0f} "
        "seconds after a warm-up; each server's answers were held against scikit-learn's before. `mlflow models serve` gets "
        "`dataframe_split`, because it refuses plain lists for columns with names; MLServer gets the Open Inference "
        "Protocol and runs without its pool of processes, BentoML gets an array: the faster way of each. All run as they "
        "come, some with a log of their requests. The spread is from the slowest round to the fastest, as a part of the median: "
        "where it is above a tenth, others were using the machine.\n"
    )


def commit(services: Path) -> str:
    git = ["git", "-C", str(ROOT)]
    name = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    if services != ROOT / "services":
        return f"a copy of the service that is not commit {name}'s"
    is_changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "services"]).returncode
    return f"commit {name}{' with changes to services/' if is_changed else ''}"


def processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    return f"{found.group(1) if found else 'unknown'} ({platform.machine()})"


def wrk_version() -> str:
    return subprocess.run(["wrk", "--version"], capture_output=True, text=True).stdout.split()[1]


# --- loads in turns -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def side_by_side(kinds: list[Kind], model: Trained, workshop: Workshop) -> Iterator[list[Server]]:
    with contextlib.ExitStack() as stack:
        say(f"starting {len(kinds)} servers of {model.name}")
        yield [stack.enter_context(running(kind, model, workshop)) for kind in kinds]


def loaded(server: Server, size: int, connections: int, seconds: float, may_stall: bool = False) -> load.Load:
    """Let clients ask the server for the same rows, again and again."""
    body = server.body(server.model.question(size)[0])
    return load.closed(f"{server.url}{server.kind.path}", body, connections, seconds, may_stall)


def in_turns(servers: list[Server], size: int, connections: int, pace: Pace) -> dict[str, load.Load]:
    """Check each server's answers, warm it up, and return the medians of its rounds."""
    for server in servers:
        server.check(size)
        loaded(server, size, connections, WARM_UP_SECONDS)
    rounds: dict[str, list[load.Load]] = {server.kind.name: [] for server in servers}
    for number in range(pace.rounds):
        say(f"{servers[0].model.name}, {size} rows, round {number + 1} of {pace.rounds}")
        for server in servers:
            rounds[server.kind.name].append(loaded(server, size, connections, pace.seconds))
    return {name: load.Load.median(found) for name, found in rounds.items()}


def load_table(title: str, loads: dict[str, load.Load]) -> str:
    stock = loads[MLFLOW.name].rate
    rows = "\n".join(
        f"| {name} | {found.rate:.0f} | {found.spread:.0%} | {found.rate / stock:.1f} | {found.p50:.2f} | {found.p99:.2f} |"
        for name, found in loads.items()
    )
    columns = "| server | requests/s | spread | ratio | p50, ms | p99, ms |\n|---|---|---|---|---|---|"
    return f"## {title}\n\n{columns}\n{rows}\n"


def stock_goals(case: str, loads: dict[str, load.Load], least: float) -> list[Goal]:
    """Return the goals that count against `mlflow models serve`: with the ONNX engine, and without it."""
    stock = loads[MLFLOW.name].rate
    return [
        Goal(f"{case}: rate, to `mlflow models serve`", loads[ONNX.name].rate / stock, least),
        Goal(f"{case}, without the ONNX engine: rate, to `mlflow models serve`", loads[NO_ONNX.name].rate / stock, 3),
    ]


def best_floor(loads: dict[str, load.Load]) -> load.Load:
    return max((loads[kind.name] for kind in FLOORS if kind.name in loads), key=lambda found: found.rate)


# --- iris -----------------------------------------------------------------------------------------------------------


def on_iris(report: Report, pace: Pace, workshop: Workshop, iris: Trained, peers: list[Kind]) -> None:
    with side_by_side([ONNX, NO_ONNX, *peers], iris, workshop) as servers:
        one = one_flower(report, pace, servers)
        many_flowers(report, pace, servers)
    with running(ONNX, iris, workshop) as server:
        microseconds(report, pace, server, workshop)
        # At this rate the empty route has more to do than it can, and its latencies are those of its queue.
        with running(NATIVE if NATIVE in peers else GEVENT, iris, workshop) as beside:
            half_rate(report, pace, server, beside, one)
        workshop.train_again(iris)
        swaps(report, server, workshop, one)
        beside_slow_clients(report, pace, server)
    with running(TWO_WORKERS, iris, workshop) as server:
        window(report, server, workshop, one)


def one_flower(report: Report, pace: Pace, servers: list[Server]) -> load.Load:
    """Return what our service with the ONNX engine reached."""
    loads = report.loads["iris, 1 row"] = in_turns(servers, 1, CONNECTIONS, pace)
    mine, floor = loads[ONNX.name], best_floor(loads)
    report.add(
        load_table(f"Iris, 1 row, {CONNECTIONS} connections", loads),
        *stock_goals("Iris, 1 row", loads, 20),
        Goal("Iris, 1 row: rate, to the best empty route", mine.rate / floor.rate, 0.95),
        Goal("Iris, 1 row: p99, to that route's", mine.p99 / floor.p99, 1, is_upper=True),
    )
    return mine


def many_flowers(report: Report, pace: Pace, servers: list[Server]) -> None:
    loads = in_turns(servers, MANY_ROWS, CONNECTIONS_MANY_ROWS, pace)
    report.loads[f"iris, {MANY_ROWS} rows"] = loads
    case = f"Iris, {MANY_ROWS} rows"
    report.add(
        load_table(f"{case} in one request, {CONNECTIONS_MANY_ROWS} connections", loads),
        *stock_goals(case, loads, 30),
        Goal(f"{case}: rate, to the best empty route", loads[ONNX.name].rate / best_floor(loads).rate, 2),
    )


def one_row(report: Report, pace: Pace, workshop: Workshop, model: Trained, case: str, least: float) -> None:
    with side_by_side([ONNX, NO_ONNX, MLFLOW], model, workshop) as servers:
        loads = in_turns(servers, 1, CONNECTIONS, pace)
    report.add(load_table(f"{case}, {CONNECTIONS} connections", loads), *stock_goals(case, loads, least))


def dates_and_text(report: Report, pace: Pace, workshop: Workshop, model: Trained) -> None:
    """Measure what scikit-learn has to answer, for want of operators in ONNX."""
    case = "A date and free text, 1 row"
    with side_by_side([NO_ONNX, MLFLOW], model, workshop) as servers:
        loads = in_turns(servers, 1, CONNECTIONS, pace)
    goal = Goal(f"{case}: rate, to `mlflow models serve`", loads[NO_ONNX.name].rate / loads[MLFLOW.name].rate, 3)
    report.add(load_table(f"{case}, {CONNECTIONS} connections", loads), goal)


def half_rate(report: Report, pace: Pace, server: Server, beside: Server, top: load.Load) -> None:
    """Ask at half the top rate, on a schedule that does not wait for the server; and another server at the same rate."""
    rate = top.rate / 2
    say(f"half the top rate: {rate:.0f} requests/s")
    found: dict[str, list[dict[str, Any]]] = {server.kind.name: [], beside.kind.name: []}
    for _ in range(pace.rounds):
        for each in (server, beside):
            body = each.body(each.model.question(1)[0])
            found[each.kind.name].append(
                load.paced(each.port, each.kind.path, body, rate, CONNECTIONS, pace.paced_seconds)
            )
    names = ("p50_ms", "p99_ms", "max_ms", "late_p99_ms")
    figures = {kind: [statistics.median(one[name] for one in all_) for name in names] for kind, all_ in found.items()}
    rows = "\n".join(
        f"| {kind} | {p50:.2f} | {p99:.2f} | {p99 / p50:.1f} | {longest:.2f} | {late:.3f} |"
        for kind, (p50, p99, longest, late) in figures.items()
    )
    p50, p99, *_ = figures[server.kind.name]
    has_priority = all(one["has_priority"] for all_ in found.values() for one in all_)
    report.add(
        f"## Iris, 1 row, at half the top rate\n\n{rate:.0f} requests/s for {pace.paced_seconds:.0f} s, {CONNECTIONS} "
        "connections, on a fixed schedule; a latency counts from the time at which the request was due. The generator "
        f"{'comes' if has_priority else 'does not come'} before all others on the machine (SCHED_FIFO). The other "
        f"server is asked at the same rate: what it is late by is the machine's. Others on the machine took {load.lost(pace.paced_seconds):.1%} of the time of cores that had "
        "nothing to do but a loop, and what comes in meanwhile is late.\n\n"
        "| server | p50, ms | p99, ms | p99 to p50 | longest, ms | the generator's own lateness, p99, ms |\n"
        f"|---|---|---|---|---|---|\n{rows}\n",
        Goal("Half the top rate: p99, to p50", p99 / p50, 3, is_upper=True),
    )


def swaps(report: Report, server: Server, workshop: Workshop, top: load.Load) -> None:
    """Change the version again and again while clients ask at half the top rate."""
    moves, each = swapped(server, workshop, top.rate / 2)
    windows = windows_of(moves, each)
    during = [took for due, took, _ in each if any(start <= due <= end for start, end in windows)]
    between = [took for due, took, _ in each if not any(start <= due <= end for start, end in windows)]
    tails = [paced.percentile(latencies, 99) for latencies in (during, between)]
    reached = [end - start - SETTLE_SECONDS for start, end in windows]
    rows = "\n".join(
        f"| {what} | {len(latencies)} | {statistics.median(latencies):.2f} | {tail:.2f} | {max(latencies):.2f} |"
        for what, latencies, tail in zip(("during swaps", "between them"), (during, between), tails, strict=True)
    )
    report.add(
        f"## {SWAPS} changes of the version, at half the top rate\n\nDuring a swap is from the move of the alias until "
        f"{SETTLE_SECONDS * 1000:.0f} ms after the new version answers, which took {statistics.median(reached):.2f} s, and "
        f"{max(reached):.2f} s at most. No request failed.\n\n"
        f"| when | requests | p50, ms | p99, ms | longest, ms |\n|---|---|---|---|---|\n{rows}\n",
        Goal("Swaps: p99 during them, to that between them", tails[0] / tails[1], 2, is_upper=True),
        Goal("Swaps: seconds until the new version answers", max(reached), 2, is_upper=True),
    )


def window(report: Report, server: Server, workshop: Workshop, top: load.Load) -> None:
    """Say for how long two workers answer with different versions, as they say themselves and as clients see it."""
    moves, each = swapped(server, workshop, top.rate / 2)
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if '"window_ms"' in line]
    told = [line["window_ms"] for line in lines[-SWAPS:] if line["workers"] == 2]
    seen = []
    for moved, number in moves:
        answered = [(due + took / 1000, version) for due, took, version in each if moved < due < moved + SWAP_SECONDS]
        first = min(when for when, version in answered if version == number)
        seen.append(max(0.0, max(when for when, version in answered if version != number) - first) * 1000)
    if len(told) != SWAPS:
        raise AssertionError(
            f"{len(told)} of {SWAPS} changes were told by both workers:\n{server.log.read_text()[-3000:]}"
        )
    rows = "\n".join(
        f"| {what} | {statistics.median(values):.2f} | {max(values):.2f} |"
        for what, values in (("told by the workers", told), ("seen by the clients", seen))
    )
    report.add(
        f"## The window between two workers\n\n{SWAPS} changes of the version of two workers, at {top.rate / 2:.0f} "
        "requests/s. Told by the workers is from the first worker's change to the second's (`window_ms` in the log); seen by "
        "the clients is from the arrival of the first answer of the new version to that of the last one of the old, on other "
        "connections, answers that were on their way included.\n\n"
        f"| window | median, ms | longest, ms |\n|---|---|---|\n{rows}\n"
    )


def swapped(
    server: Server, workshop: Workshop, rate: float
) -> tuple[list[tuple[float, str]], list[tuple[float, float, str]]]:
    """Change the version while clients ask; return when it was moved to what, and what the generator says of each request."""
    say(f"{SWAPS} swaps, {server.kind.name}, at half the top rate")
    body, seconds = server.body(server.model.question(1)[0]), SWAPS * SWAP_SECONDS + 2
    with ThreadPoolExecutor(1) as clients:
        asked = clients.submit(load.paced, server.port, server.kind.path, body, rate, CONNECTIONS, seconds)
        time.sleep(1)
        moves = [swap(workshop, server, 2 - number % 2) for number in range(SWAPS)]
        return moves, asked.result()["each"]


def swap(workshop: Workshop, server: Server, number: int) -> tuple[float, str]:
    """Move the alias, and leave the service some time; return when it was moved, and to what."""
    start = time.monotonic()
    workshop.move_alias(server.model, number)
    time.sleep(SWAP_SECONDS)
    return start, str(number)


def windows_of(moves: list[tuple[float, str]], each: list[tuple[float, float, str]]) -> list[tuple[float, float]]:
    """Return from when until when each swap was: the move of the alias, and a little after the version's first answer."""
    firsts = [min(due for due, _, version in each if due > moved and version == number) for moved, number in moves]
    return [(moved, first + SETTLE_SECONDS) for (moved, _), first in zip(moves, firsts, strict=True)]


def beside_slow_clients(report: Report, pace: Pace, server: Server) -> None:
    """Load the service with and without clients that send a byte a second, in turns."""
    request = paced.post(server.port, server.kind.path, server.body(server.model.question(1)[0]).encode())
    alone, beside, hung_up = [], [], 0
    for number in range(pace.rounds):
        say(f"{SLOW_CLIENTS} slow clients, round {number + 1} of {pace.rounds}")
        alone.append(loaded(server, 1, CONNECTIONS, pace.seconds))
        slow = load.SlowClients(server.port, request, SLOW_CLIENTS)
        with slow.beside():
            time.sleep(1)  # each has sent a byte
            beside.append(loaded(server, 1, CONNECTIONS, pace.seconds, may_stall=True))
        hung_up += slow.hung_up
    without, among = load.Load.median(alone), load.Load.median(beside)
    report.add(
        f"## Iris, 1 row, beside {SLOW_CLIENTS} slow clients\n\nEach sends a byte a second of a valid request: half of them "
        f"from its first byte on, half its head at once and then the body. The service hung up {hung_up} times.\n\n"
        "| clients | requests/s | p50, ms | p99, ms |\n|---|---|---|---|\n"
        f"| {CONNECTIONS} | {without.rate:.0f} | {without.p50:.2f} | {without.p99:.2f} |\n"
        f"| {CONNECTIONS} beside {SLOW_CLIENTS} slow ones | {among.rate:.0f} | {among.p50:.2f} | {among.p99:.2f} |\n",
        Goal(f"{SLOW_CLIENTS} slow clients: rate, to that without them", among.rate / without.rate, 0.5),
        Goal(f"{SLOW_CLIENTS} slow clients: p99, to that without them", among.p99 / without.p99, 1.5, is_upper=True),
    )


# --- starting, and memory -------------------------------------------------------------------------------------------


def starts(report: Report, pace: Pace, workshop: Workshop, iris: Trained) -> None:
    """Start each server with no other beside it, which would share its memory, and load it a little."""
    kinds = [ONNX, NO_ONNX, MLFLOW]
    with running(ONNX, iris, workshop):
        say("the cache is filled")
    found: dict[str, list[tuple[float, float, float]]] = {kind.name: [] for kind in kinds}
    for number in range(pace.rounds):
        say(f"starts, round {number + 1} of {pace.rounds}")
        for kind in kinds:
            with running(kind, iris, workshop) as server:
                server.check(1)
                memory = server.memory_mb(partial(loaded, server, 1, CONNECTIONS, WARM_UP_SECONDS))
                found[kind.name].append((server.start_seconds, *memory))
    figures = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in found.items()}
    rows = "\n".join(
        f"| {name} | {start:.2f} | {worker:.0f} | {whole:.0f} |" for name, (start, worker, whole) in figures.items()
    )
    start, worker, _ = figures[MLFLOW.name]
    report.add(
        "## Start and memory (iris)\n\nFrom the command to the first 200 of `GET /ready`, or `GET /ping` of MLflow's, with "
        "the files on disk; the memory (PSS) after a second of load, with no other server beside it.\n\n"
        f"| server | start, s | worker, MB | all its processes, MB |\n|---|---|---|---|\n{rows}\n",
        Goal("Start, to `mlflow models serve`", figures[ONNX.name][0] / start, 1 / 5, is_upper=True),
        Goal("Memory of the worker, to `mlflow models serve`", figures[ONNX.name][1] / worker, 1 / 3, is_upper=True),
        Goal("Memory of the worker, without the ONNX engine", figures[NO_ONNX.name][1] / worker, 1, is_upper=True),
    )


# --- what is drawn --------------------------------------------------------------------------------------------------


def draw(loads: dict[str, dict[str, load.Load]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), dpi=110, layout="constrained")
    for axes, (case, found) in zip(figure.subplots(1, 2, sharey=True), loads.items(), strict=True):
        names = list(found)[::-1]
        colours = ["tab:blue" if name in (ONNX.name, NO_ONNX.name) else "lightgrey" for name in names]
        bars = axes.barh(names, [found[name].rate for name in names], color=colours)
        axes.bar_label(bars, fmt="%.0f", padding=2)
        axes.set(title=case, xlabel="requests/s")
        axes.margins(x=0.25)
    figure.savefig(path)


def microseconds(report: Report, pace: Pace, server: Server, workshop: Workshop) -> None:
    """Say where the time of one row goes: steps measured in one process, and what the worker needs under load beside them."""
    command = [sys.executable, str(STEPS), str(workshop.folder / "cache" / server.model.name)]
    result = subprocess.run(command, env=workshop.environ(), capture_output=True, text=True, check=True)
    steps = [(step, took) for step, took in json.loads(result.stdout)]
    say("what the worker needs for a request")
    loaded(server, 1, CONNECTIONS, WARM_UP_SECONDS)
    seconds, rates = pace.rounds * pace.seconds, []
    _, own, kernel = server.computed(lambda: rates.append(loaded(server, 1, CONNECTIONS, seconds).rate))
    total = 1e6 / rates[0]
    own, kernel = (1e6 * spent / (rates[0] * seconds) for spent in (own, kernel))
    steps += [
        ("the rest of its own code: event loop, sockets, colder caches", own - sum(took for _, took in steps)),
        ("the kernel: receive, send, wait for the next, loopback to the client", kernel),
        ("nothing to do, or others had the core", max(0.0, total - own - kernel)),
    ]
    rows = "\n".join(f"| {step} | {took:.1f} | {took / total:.0%} |" for step, took in steps)
    report.add(
        "## Where the microseconds go (iris, 1 row)\n\nThe first steps are the best of many rounds in one process, without a "
        "network (benchmarks/steps.py); the last three are what the worker's process needs for a request at the top rate, by "
        "the kernel's count of both. The steps' own few system calls count among its own code.\n\n"
        f"| step | µs | share |\n|---|---|---|\n{rows}\n| together | {total:.1f} | |\n"
    )


if __name__ == "__main__":
    sys.exit(main())
