"""Trainings that are killed, that run at once, and whose stack is taken down."""

import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from typing import IO

import requests
from chaos.fault import Fault, expect

from tests.compose import Stack, eventually

KILLED, STEPS, LATER = 10, (3, 4, 5), 0.15
"""trainings that are killed, in one of these steps each, and each so many seconds later in its step than the one before"""
PAIRS = 3
EXPERIMENT = "MLflow Workshop - Iris Classification"


def faults() -> Iterator[Fault]:
    """Yield them in the order in which they are injected."""
    yield "three trainings killed early", killed_early
    yield f"{KILLED} trainings killed in their steps {', '.join(map(str, STEPS))}; then one that is not", killed_late
    yield f"two trainings at once, {PAIRS} times", at_once
    yield "`down` during a training, then `up`", down_in_a_training


def killed_early(stack: Stack) -> None:
    for number, pause in enumerate((1, 2, 3)):
        name = f"{stack.name}-killed-{number}"
        with ThreadPoolExecutor(1) as pool:
            training = pool.submit(stack.compose, "run", "--rm", "--name", name, "trainer", check=False)
            time.sleep(pause)
            subprocess.run(["docker", "kill", name], capture_output=True)
            training.result()


def killed_late(stack: Stack) -> None:
    for number, step in enumerate(islice(cycle(STEPS), KILLED)):
        killed_in(stack, step, number * LATER)
    stack.compose("run", "--rm", "trainer")
    consistent(stack)


def killed_in(stack: Stack, step: int, later: float) -> None:
    """Kill a training so many seconds after it has said that it begins a step."""
    name = f"{stack.name}-killed"
    command = ["docker", "compose", "run", "--rm", "-T", "--name", name, "trainer"]
    with subprocess.Popen(
        command, cwd=stack.folder, env=stack.environ(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as training:
        said = reads_until(training.stdout, f"[{step}/")
        time.sleep(later)
        subprocess.run(["docker", "kill", name], capture_output=True)
    expect(said, f"no training says that it begins step {step}")


def reads_until(output: IO[str] | None, word: str) -> bool:
    return output is not None and any(word in line for line in output)


def at_once(stack: Stack) -> None:
    before = moves_by_others(stack)
    for _ in range(PAIRS):
        with ThreadPoolExecutor(2) as pool:
            for training in [pool.submit(stack.compose, "run", "--rm", "trainer") for _ in range(2)]:
                training.result()
    consistent(stack)
    expect(moves_by_others(stack) == before, "the history has a move by others that nobody made")


def moves_by_others(stack: Stack) -> int:
    """Return how many moves of the alias the history has that no command of ours made."""
    history = stack.compose("run", "--rm", "-T", "trainer", "history", "--json").stdout
    return sum(move["by"] == "others" for move in json.loads(history.splitlines()[-1]))


def consistent(stack: Stack) -> None:
    """Fail unless one version is in Production, by its alias as by its tag, and no run is left open."""
    tagged = [number for number, version in stack.versions().items() if version["tags"].get("stage") == "Production"]
    expect(tagged == [stack.alias()], f"Production is version {stack.alias()}; those with the tag: {tagged}")
    expect(not open_runs(stack), f"runs that are open: {open_runs(stack)}")


def open_runs(stack: Stack) -> list[str]:
    """Return the ids of the runs that MLflow has as running."""
    experiment = stack.api("experiments/get-by-name", experiment_name=EXPERIMENT)["experiment"]["experiment_id"]
    query = {"experiment_ids": [experiment], "filter": "attributes.status = 'RUNNING'"}
    answer = requests.post(f"{stack.mlflow_url}/api/2.0/mlflow/runs/search", json=query, timeout=10)
    return [run["info"]["run_id"] for run in answer.json().get("runs", [])]


def down_in_a_training(stack: Stack) -> None:
    """Take the stack down as a training has a run open: the next training closes it."""
    with stack.start("run", "--rm", "trainer", "train", "--no-promote") as training:
        eventually("its run is open", lambda: open_runs(stack))
        stack.down()
        stack.up()
        training.wait()
    stack.compose("run", "--rm", "trainer", "train", "--no-promote")
    consistent(stack)
