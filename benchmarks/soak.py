"""Let a stack work for an hour, with a little of all that it does, and see whether anything grows: `make soak`, `make soak ARGS=20`.

Writes benchmarks/soak.md and benchmarks/soak.png; the samples are in build/soak.jsonl. Ends with exit code 1 where anything grows
that should not, or an answer was wrong. Needs Docker, and root to read other processes' memory.
"""

import datetime
import http.client
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import requests
from held import LEVELS, STORED, STORES, look
from run import ROOT, has_stores, say
from scipy import stats

from tests.compose import BODY, LONG_RUNNING, SAMPLES, Stack, docker
from tests.steady import CLIENTS, LATE, Seen, steady_load

RATE = 4
"""requests in a second, of each client that keeps its connection"""
SAMPLE, TRAIN, MOVE, SCRAPE, BROWSE, STRANGE = 30, 150, 10, 5, 5, 0.5
"""seconds between two samples, trainings, moves of the alias, scrapes, look-ups in MLflow, and requests of many kinds"""
VERSIONS = 5
"""the newest versions, which have the alias in turn"""
SETTLED = 15
"""seconds after a training until what it has stored is counted"""
WARM_UP = 1 / 3
"""of the time, which does not count: caches and pools fill"""
LEAST_SHARE = 0.01
"""of its level, that something has to grow by to count"""
BOUNDS = {"write-ahead log": "up to Postgres's max_wal_size", "lines of /metrics": "up to 100 versions"}
"""what grows for a while as it is meant to"""


@dataclass
class Work:
    """What was done to the stack beside the steady load, and what went wrong."""

    done: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    trained: float = float("-inf")
    """when the last training began or ended"""
    is_training: bool = False
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def is_storing(self) -> bool:
        return self.is_training or time.monotonic() - self.trained < SETTLED


def main(minutes: str = "60") -> int:
    if shutil.which("docker") is None:
        print("not on the PATH: docker", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), f"mlflow-stack-soak-{os.getpid()}")
        try:
            stack.up()
            stack.compose("run", "--rm", "trainer", "train", "--no-promote", "--param", "C=0.5")
            with steady_load(stack, RATE) as seen, working(stack) as work:
                samples = list(sampled(stack, work, float(minutes) * 60))
        finally:
            stack.remove()
    (ROOT / "build" / "soak.json").write_text(json.dumps({"seen": vars(seen), "done": work.done, "wrong": work.wrong}))
    verdicts = [*levels(samples), *stores(samples)]
    draw(samples, ROOT / "benchmarks" / "soak.png")
    (ROOT / "benchmarks" / "soak.md").write_text(page(samples, seen, work, verdicts))
    return int(bool(seen.wrong or work.wrong or any(verdict.grows for verdict in verdicts)))


# --- the work --------------------------------------------------------------------------------------------------------


@contextmanager
def working(stack: Stack) -> Iterator[Work]:
    """Train, move the alias, scrape, browse and send requests of many kinds, each on its schedule, until the block ends."""
    work = Work()
    jobs: dict[str, tuple[float, Callable[[int], object]]] = {
        "trainings": (TRAIN, partial(train, stack, work)),
        "moves of the alias": (MOVE, partial(move, stack)),
        "scrapes of /metrics": (SCRAPE, lambda _: exposition(stack)),
        "look-ups in MLflow": (BROWSE, partial(browse, stack)),
        "requests of many kinds": (STRANGE, partial(strange, stack)),
    }
    threads = [threading.Thread(target=_repeat, args=(work, name, *job)) for name, job in jobs.items()]
    for thread in threads:
        thread.start()
    try:
        yield work
    finally:
        work.over.set()
        for thread in threads:
            thread.join()


def _repeat(work: Work, name: str, pause: float, job: Callable[[int], object]) -> None:
    number = 0
    while not work.over.wait(pause):
        try:
            job(number)
            work.done[name] += 1
        except (AssertionError, OSError, ValueError, http.client.HTTPException, subprocess.SubprocessError) as error:
            say(f"{name}: {error}")
            work.wrong[name] += 1
        number += 1


def train(stack: Stack, work: Work, number: int) -> None:
    work.is_training, work.trained = True, time.monotonic()
    try:
        stack.compose("run", "--rm", "trainer", "train", "--no-promote", "--param", f"C={0.6 + number / 100:.2f}")
    finally:
        work.is_training, work.trained = False, time.monotonic()


def move(stack: Stack, number: int) -> None:
    newest = sorted(stack.versions(), key=int)[-VERSIONS:]
    stack.set_alias(newest[number % len(newest)])


def exposition(stack: Stack) -> int:
    """Return how many lines the prediction service's metrics have."""
    answer = requests.get(f"{stack.url}/metrics", timeout=10)
    answer.raise_for_status()
    return len(answer.text.splitlines())


def browse(stack: Stack, number: int) -> None:
    """Ask for what the UI asks for."""
    if not has_stores(stack):
        raise AssertionError("MLflow lists no artifacts of the version in Production")
    stack.api("experiments/search", max_results=100)
    requests.get(stack.mlflow_url, timeout=10).raise_for_status()


def strange(stack: Stack, number: int) -> None:
    """Send a request on a connection of its own: good ones, some that are to be refused, one that is cut."""
    csv = (ROOT / "data" / "iris_dataset.csv").read_text().splitlines()[:20]
    table = "\n".join(line.rsplit(",", 2)[0] for line in csv)
    cases: list[tuple[int | None, str, str, str, str]] = [
        (200, "POST", "/invocations", "application/json", BODY),
        (200, "POST", "/invocations", "text/csv", table),
        (400, "POST", "/invocations", "application/json", BODY[:-3]),
        (404, "GET", "/nothing", "", ""),
        (200, "GET", "/", "", ""),
        (200, "POST", "/explain", "application/json", json.dumps({"instances": SAMPLES[:1]})),
        (None, "POST", "/invocations", "application/json", BODY),
    ]
    wanted, method, path, kind, body = cases[number % len(cases)]
    connection = http.client.HTTPConnection("127.0.0.1", int(stack.settings["INFERENCE_PORT"]), timeout=10)
    try:
        if wanted is None:
            length = {"Content-Type": kind, "Content-Length": str(len(body) + 100)}
            connection.request(method, path, body, length)
            return
        connection.request(method, path, body or None, {"Content-Type": kind} if kind else {})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != wanted:
            raise AssertionError(f"{method} {path}: {answer.status} {content[:200]!r}")
    finally:
        connection.close()


def sampled(stack: Stack, work: Work, seconds: float) -> Iterator[dict[str, Any]]:
    """Yield a sample now and then, and write each down."""
    ids = {service: stack.containers()[service]["Id"] for service in LONG_RUNNING}
    (ROOT / "build").mkdir(exist_ok=True)
    began = time.monotonic()
    with (ROOT / "build" / "soak.jsonl").open("w") as file:
        while (at := time.monotonic() - began) <= seconds:
            was_storing = work.is_storing
            found = look(ids)
            found[STORED]["lines of /metrics"] = exposition(stack)
            done = {"seconds": at, "trainings": work.done["trainings"], "storing": was_storing or work.is_storing}
            print(json.dumps(done | {"held": found}), file=file, flush=True)
            yield done | {"held": found}
            work.over.wait(max(0.0, began + (at // SAMPLE + 1) * SAMPLE - time.monotonic()))


# --- the verdicts ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """What became of one series after the warm-up."""

    panel: str
    name: str
    first: float
    last: float
    rate: float
    """of a level: how much it grows by in an hour; of a store: in an hour without trainings"""
    beside: float
    """of a level: the spread around the line; of a store: how much it grows by in a training"""
    grows: bool


def levels(samples: list[dict[str, Any]]) -> Iterator[Verdict]:
    """Yield a verdict on what has a level: it grows where a line through it rises by more than what is around the line."""
    counted = samples[int(len(samples) * WARM_UP) :]
    hours = np.array([sample["seconds"] for sample in counted]) / 3600
    for panel, name in series(counted, LEVELS):
        values = np.array([sample["held"][panel][name] for sample in counted], dtype=float)
        # By the median of all slopes between two points: a peak does not bend it.
        slope, intercept, low, _ = stats.theilslopes(values, hours)
        around = values - (intercept + slope * hours)
        noise = float(np.quantile(around, 0.95) - np.quantile(around, 0.05))
        rise = slope * (hours[-1] - hours[0])
        grows = low > 0 and rise > max(noise, LEAST_SHARE * float(np.median(values)))
        yield Verdict(panel, name, values[0], values[-1], float(slope), noise, bool(grows))


def stores(samples: list[dict[str, Any]]) -> Iterator[Verdict]:
    """Yield a verdict on what keeps what a training leaves: it grows where it does so beside trainings, too."""
    counted = samples[int(len(samples) * WARM_UP) :]
    pairs = list(pairwise(counted))
    is_training = [a["storing"] or b["storing"] or a["trainings"] != b["trainings"] for a, b in pairs]
    quiet = sum(b["seconds"] - a["seconds"] for (a, b), busy in zip(pairs, is_training, strict=True) if not busy) / 3600
    trainings = counted[-1]["trainings"] - counted[0]["trainings"]
    for panel, name in series(counted, STORES):
        steps = [b["held"][panel][name] - a["held"][panel][name] for a, b in pairs]
        beside = sum(step for step, busy in zip(steps, is_training, strict=True) if not busy)
        first, last = (counted[at]["held"][panel][name] for at in (0, -1))
        grows = bound(name) is None and beside > LEAST_SHARE * first
        per_training = (last - first - beside) / max(trainings, 1)
        yield Verdict(panel, name, first, last, beside / max(quiet, 1e-9), per_training, grows)


def bound(name: str) -> str | None:
    """Return what keeps a store from growing for ever, None for one that each training adds to."""
    return "rotated at 30 MB" if name.startswith("log of ") else BOUNDS.get(name)


def series(samples: list[dict[str, Any]], panels: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(panel, name) for panel in panels for name in samples[-1]["held"][panel]]


# --- the page --------------------------------------------------------------------------------------------------------


def page(samples: list[dict[str, Any]], seen: Seen, work: Work, verdicts: list[Verdict]) -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    wrong = "".join(f" Failed {name}: {count}." for name, count in work.wrong.items())
    wrong += "".join(f" Predictions that failed, {reason}: {count}." for reason, count in seen.reasons.items())
    grows = [f"{verdict.name} ({verdict.panel})" for verdict in verdicts if verdict.grows]
    return (
        "# Soak\n\nThis page shows whether anything of a stack grows as it works. Made by `make soak`.\n\n"
        f"{datetime.date.today()}, commit {commit}, {os.cpu_count()} cores, {platform.machine()}, Docker "
        f"{docker('version', '--format', '{{.Server.Version}}')}. {samples[-1]['seconds'] / 60:.0f} minutes: {CLIENTS} clients with "
        f"{CLIENTS * RATE} requests a second together: {seen.right:,} right predictions, {seen.wrong} wrong, {seen.failed} failed, "
        f"{seen.late} later than {LATE} s; and {', '.join(f'{count:,} {name}' for name, count in work.done.items())}.{wrong}\n\n"
        f"**{len(verdicts) - len(grows)} of {len(verdicts)} series do not grow. "
        f"{'Growing: ' + '; '.join(grows) if grows else 'None grows'}.**\n\n![all series over time](soak.png)\n\n"
        f"The first {WARM_UP:.0%} of the time does not count below: caches and pools fill.\n\n## What has a level\n\n"
        "*Slope* is the median of those between all pairs of samples; *noise* the spread (5 to 95 %) around that line. A series grows "
        f"where the line rises by more than the noise and by more than {LEAST_SHARE:.0%}. A slower growth is not seen. Memory is what "
        "the kernel cannot take back: pages of files are left out.\n\n"
        "| what | of | first | last | slope, an hour | noise | verdict |\n|---|---|---|---|---|---|---|\n"
        + "\n".join(line(verdict) for verdict in verdicts if verdict.panel in LEVELS)
        + "\n\n## What keeps what a training leaves\n\nA series grows where it does so beside trainings, too.\n\n"
        "| what | of | first | last | beside trainings, an hour | a training | verdict |\n|---|---|---|---|---|---|---|\n"
        + "\n".join(line(verdict) for verdict in verdicts if verdict.panel in STORES)
        + "\n"
    )


def line(verdict: Verdict) -> str:
    first, last, rate, beside = (
        f"{value:.4g}" for value in (verdict.first, verdict.last, verdict.rate, verdict.beside)
    )
    flat = "flat" if verdict.panel in LEVELS else bound(verdict.name) or "by trainings alone"
    word = "**grows**" if verdict.grows else flat
    return f"| {verdict.panel} | {verdict.name} | {first} | {last} | {rate} | {beside} | {word} |"


def draw(samples: list[dict[str, Any]], path: Path) -> None:
    """Draw all series over minutes, a panel for each kind."""
    from matplotlib.figure import Figure

    minutes = [sample["seconds"] / 60 for sample in samples]
    figure = Figure(figsize=(11, 8), dpi=100, layout="constrained")
    for axes, panel in zip(figure.subplots(3, 2, sharex=True).flat, (*LEVELS, *STORES), strict=True):
        for _, name in series(samples, (panel,)):
            axes.plot(minutes, [sample["held"][panel][name] for sample in samples], label=name, linewidth=1)
        axes.set(title=panel, ylim=(0, None))
        axes.axvline(minutes[-1] * WARM_UP, color="lightgrey", linestyle="--", linewidth=1)
        axes.legend(fontsize=7)
    figure.supxlabel("minutes")
    figure.savefig(path)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
