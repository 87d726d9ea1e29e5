"""Three replicas of the prediction service behind the proxy, and what happens to them."""

import subprocess
import time
from collections.abc import Iterator
from functools import partial

from chaos.fault import HOLD, Fault
from chaos.processes import changed
from chaos.registry import moves

from tests.compose import Stack, docker


def faults() -> Iterator[Fault]:
    """Yield them in the order in which they are injected."""
    yield "three replicas: kill -9 of one after the other", killed_in_turn
    yield "three replicas: kill -9 of all", lambda stack: killed(*of(stack, "inference"))
    yield f"three replicas: one frozen for {HOLD} s", one_frozen
    yield "three replicas: six moves of the alias in 12 s", partial(moves, count=6, pause=2)
    yield "three replicas: `scripts/roll`", roll
    yield (
        "three replicas: a plain `up` after a change of their log, and back",
        partial(changed, INFERENCE_LOG_RATE="20"),
    )
    yield "three replicas: kill -9 of the proxy", lambda stack: killed(of(stack, "proxy")[0])


def start(stack: Stack) -> None:
    """Have three replicas from here on."""
    stack.write_env(COMPOSE_FILE="compose.yaml:compose.scale.yaml")
    stack.up()


def of(stack: Stack, service: str) -> list[str]:
    """Return the ids of a service's containers."""
    return stack.compose("ps", "--quiet", service).stdout.split()


def killed_in_turn(stack: Stack) -> None:
    for replica in of(stack, "inference"):
        killed(replica)
        time.sleep(HOLD)


def killed(*containers: str) -> None:
    """Kill all in containers, the shells that do it included."""
    for container in containers:
        subprocess.run(["docker", "exec", container, "sh", "-c", "kill -9 -1"], capture_output=True)


def one_frozen(stack: Stack) -> None:
    replica = of(stack, "inference")[0]
    docker("pause", replica)
    time.sleep(HOLD)
    docker("unpause", replica)


def roll(stack: Stack) -> None:
    stack.script("roll")
