"""Inject one fault after the other into a stack under steady load, and count what its clients notice: `make chaos`.

Writes benchmarks/reliability.md; `make chaos ARGS=replicas` injects those with that word in their name, and prints what they did;
`make chaos ARGS=list` prints all names. Ends with exit code 1 where a prediction was wrong, a fault was not recovered from, or
the stack did not do as it should. Needs Docker; takes half an hour. Its short form, two faults under the same load, is
`tests/stack/test_weather.py`, which `make test` and CI run.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path

import requests
from chaos import limits, network, processes, registry, replicas, trainings
from chaos.fault import Fault
from chaos.page import Row, line, page
from run import ROOT, has_stores, say

from tests.compose import Stack, eventually
from tests.steady import ready, steady_load

RECOVERY = 120
"""seconds after which a fault counts as not recovered from"""
QUIET = 2
"""seconds of load before and after each"""
TROUBLE = (AssertionError, OSError, requests.RequestException, subprocess.SubprocessError)
"""what a fault raises that could not be injected, or after which the stack did not do as it should"""


def main(*words: str) -> int:
    """Inject all faults, or those whose name has one of the words; only all of them are written down."""
    if words == ("list",):
        print(*(name for name, _ in chain(of_one_container(), replicas.faults())), sep="\n")
        return 0
    if shutil.which("docker") is None:
        print("not on the PATH: docker", file=sys.stderr)
        return 1
    load = os.getloadavg()[0]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), f"mlflow-stack-chaos-{os.getpid()}", MODEL_POLL_SECONDS="0.5")
        try:
            for fault in chosen(stack, words):
                rows.append(suffered(stack, fault))
                say(line(rows[-1]))
        finally:
            stack.remove()
    if not words:
        (ROOT / "benchmarks" / "reliability.md").write_text(page(rows, load))
    return int(not rows or any(row.seen.wrong or row.recovery is None or row.trouble for row in rows))


def of_one_container() -> Iterator[Fault]:
    """Yield each fault of the stack as compose.yaml has it."""
    for room in (processes, network, limits, registry, trainings):
        yield from room.faults()


def chosen(stack: Stack, words: tuple[str, ...]) -> Iterator[Fault]:
    """Yield the faults that are wanted, with the stack that they need running."""
    one, several = (
        [(name, inject) for name, inject in faults if not words or any(word in name for word in words)]
        for faults in (of_one_container(), replicas.faults())
    )
    if one or several:
        stack.up()
        registry.trained(stack)
    yield from one
    if several:
        replicas.start(stack)
    yield from several


def suffered(stack: Stack, fault: Fault) -> Row:
    """Inject a fault under load; whole is what takes requests and new versions, and has its stores."""
    name, inject = fault
    began, recovery, trouble = time.monotonic(), None, ""
    with steady_load(stack) as seen:
        time.sleep(QUIET)
        try:
            inject(stack)
        except TROUBLE as error:
            say(f"{name}: {error}")
            trouble = str(error)
            stack.compose("up", "--detach", "--wait", check=False)  # what it left must not meet the next one
        undone = time.monotonic()
        try:
            eventually("the stack is whole", partial(is_whole, stack), RECOVERY)
            recovery = time.monotonic() - undone
        except TROUBLE as error:
            say(f"{name}: {error}")
        time.sleep(QUIET)
    return Row(name, seen, time.monotonic() - began, recovery, trouble)


def is_whole(stack: Stack) -> bool:
    return ready(int(stack.settings["INFERENCE_PORT"])) == "ready" and bool(stack.alias()) and has_stores(stack)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
