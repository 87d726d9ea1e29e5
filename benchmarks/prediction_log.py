"""Measure what the prediction log costs, in one run on one machine: `make benchlog`.

Writes benchmarks/prediction-log.md. Two services of one worker each, one with PREDICTION_LOG=1, are loaded in turns; a ratio is to the
one without. Then the shipper is timed on what was left in the spool. No Docker: SQLite, folders, and wrk, on 127.0.0.1.
"""

import contextlib
import datetime
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import load
import pyarrow.dataset as ds
from served_models import ROOT, Trained, Workshop
from servers import ONNX, Kind, Server
from serving import CONNECTIONS, CONNECTIONS_MANY_ROWS, MANY_ROWS, Pace, commit, loaded, processor, say, side_by_side

PAGE = ROOT / "benchmarks" / "prediction-log.md"
PACE = Pace(rounds=9, seconds=3)
# Of the rate, what may be lost.
MOST = {1: 0.05, MANY_ROWS: 0.10}


def with_log(spool: Path) -> Kind:
    def settings(port: int, model: Trained) -> dict[str, str]:
        return ONNX.settings(port, model) | {"PREDICTION_LOG": "1", "PREDICTION_LOG_DIR": str(spool)}

    return replace(ONNX, name="with the log", settings=settings)


def main() -> int:
    if shutil.which("wrk") is None:
        print("not on the PATH: wrk", file=sys.stderr)
        return 1
    busy, rows = os.getloadavg()[0], []
    with tempfile.TemporaryDirectory() as folder:
        workshop, spool = Workshop(Path(folder), ROOT / "services"), Path(folder) / "spool"
        say("training")
        for model, title in ((workshop.iris(), "4 numbers"), (workshop.mixed(), "numbers and texts")):
            with side_by_side([replace(ONNX, name="without"), with_log(spool)], model, workshop) as servers:
                for size in MOST:
                    rows.append(case(servers, spool, title, size))
                    print(rows[-1], flush=True)
        shipping = shipped(workshop, spool, Path(folder) / "kept")
    PAGE.write_text(page(rows, shipping, busy))
    print(f"written: {PAGE}")
    return 0


@dataclass(frozen=True)
class Round:
    """What a worker did in a round."""

    rate: float
    """answers in a second"""
    cpu: float
    """microseconds of the processor for each"""


def measured(server: Server, size: int, connections: int) -> Round:
    loads: list[load.Load] = []
    _, own, kernel = server.computed(lambda: loads.append(loaded(server, size, connections, PACE.seconds)))
    return Round(loads[0].rate, (own + kernel) * 1e6 / (loads[0].rate * PACE.seconds))


def case(servers: list[Server], spool: Path, title: str, size: int) -> str:
    """Return a row of the table: a model, and so many rows in a request."""
    connections = CONNECTIONS if size == 1 else CONNECTIONS_MANY_ROWS
    for server in servers:
        server.check(size)
        loaded(server, size, connections, 1)
    rounds: list[list[Round]] = [[], []]
    for number in range(PACE.rounds):
        say(f"{title}, {size} rows, round {number + 1} of {PACE.rounds}")
        for server, found in zip(servers, rounds, strict=True):
            found.append(measured(server, size, connections))
            keep_last(spool)
    # Each beside its neighbour in time: what else the machine does takes from both.
    pairs = list(zip(*rounds, strict=True))
    lost = sorted(1 - bare.cpu / kept.cpu for bare, kept in pairs)
    by_clock, middle, most = median(1 - kept.rate / bare.rate for bare, kept in pairs), median(lost), MOST[size]
    figures = [
        f"{median(each.rate for each in found):.0f} | {median(each.cpu for each in found):.0f}" for found in rounds
    ]
    verdict = "met" if middle <= most else "**missed**"
    return (
        f"| {title}, {size} | {' | '.join(figures)} | {middle:.1%} ({lost[1]:.1%} to {lost[-2]:.1%}) | {by_clock:.1%} | "
        f"{most:.0%}, {verdict} |"
    )


def keep_last(spool: Path, segments: int = 6) -> None:
    """Delete what was left there, but for the last: what is shipped meanwhile is another matter, and disks are finite."""
    for path in sorted(spool.glob("*.segment"), key=lambda path: path.stat().st_mtime)[:-segments]:
        path.unlink()


@contextlib.contextmanager
def children_cpu() -> Iterator[list[float]]:
    """Note how many seconds the processes computed that ended in the block."""
    before, found = resource.getrusage(resource.RUSAGE_CHILDREN), [0.0]
    yield found
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found[0] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def shipped(workshop: Workshop, spool: Path, kept: Path) -> str:
    """Ship what is left, and say what it took."""
    say("shipping")
    command = [sys.executable, "-m", "inference.prediction_log.shipper", "--once"]
    environ = workshop.environ(PREDICTION_LOG_DIR=str(spool), PREDICTION_LOG_STORE=str(kept))
    with children_cpu() as idle:
        subprocess.run(command, env=environ | {"PREDICTION_LOG_DIR": str(spool.with_name("empty"))}, check=True)
    with children_cpu() as busy:
        subprocess.run(command, env=environ, check=True)
    files = list(kept.rglob("*.parquet"))
    count = sum(ds.dataset(file).count_rows() for file in files)
    requests = sum(len(set(ds.dataset(file).to_table(["request_id"])["request_id"].to_pylist())) for file in files)
    size, seconds = sum(file.stat().st_size for file in files), busy[0] - idle[0]
    return (
        f"The shipper took {seconds / count * 1e6:.2f} µs of the processor for each row ({count:,} rows of {requests:,} requests in "
        f"{seconds:.1f} s, beside {idle[0]:.1f} s for its start), and {size / count:.1f} bytes of Parquet; the rows are the same few again "
        "and again, so those of yours will take more room."
    )


def page(rows: list[str], shipping: str, busy: float) -> str:
    table = "\n".join(rows)
    wrk = re.search(r"\d[\w.-]*", subprocess.run(["wrk", "--version"], capture_output=True, text=True).stdout)
    return (
        "# The prediction log, measured\n\n"
        f"{datetime.date.today()}, {commit(ROOT / 'services')}, {os.cpu_count()} cores, {processor()}, load {busy:.1f} before, Python "
        f"{platform.python_version()}, wrk {wrk[0] if wrk else 'unknown'}. Made by `make benchlog`. One worker each, with its ONNX engine, in "
        f"turns, {PACE.rounds} rounds of {PACE.seconds:.0f} seconds after a warm-up. What is lost is the median of the rounds, each beside the "
        "one before it, with the second least and the second most: by the processor's time, which bounds what a worker answers, and by the "
        "clock, in which others that use the machine count, too.\n\n"
        "| model, rows in a request | requests/s without | µs each | with `PREDICTION_LOG=1` | µs each | lost, by µs | by the clock | allowed |\n"
        "|---|---|---|---|---|---|---|---|\n"
        f"{table}\n\n{shipping}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
