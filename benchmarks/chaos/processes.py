"""Processes that are killed, frozen or restarted, containers that are stopped, and `up` and `down`."""

import time
from collections.abc import Iterator
from functools import partial

from chaos.fault import HOLD, Fault, held

from tests.compose import LONG_RUNNING, Stack, docker
from tests.faults import CHILD, init_killed, kill, paused, setting, stopped, worker

WORKERS = "$(child $(child $(child 1)))"
LONG_HOLD = 75
"""seconds: more than gunicorn lets a worker be silent, as when a machine was suspended"""
STALL = 1.2
"""seconds that workers get no processor: more than a request may wait"""


def faults() -> Iterator[Fault]:
    """Yield them in the order in which they are injected."""
    for service in LONG_RUNNING:
        yield f"kill -9 of all in {service}", partial(kill, service=service)
    yield "kill -9 of MLflow's server", partial(kill, service="mlflow", process="$(child 1)")
    yield (
        "kill -9 of a worker of inference",
        partial(kill, service="inference", process=worker()),
    )
    yield "kill -9 of gunicorn's master", partial(kill, service="inference", process="$(child $(child 1))")
    yield "kill -9 of the registry poller", partial(kill, service="inference", process="$(child 1)")
    yield "kill -9 of the init process of inference", partial(init_killed, service="inference")
    for service in LONG_RUNNING:
        yield f"{service} frozen for {HOLD} s", partial(frozen, service=service)
    yield f"inference frozen for {LONG_HOLD} s", partial(frozen, service="inference", seconds=LONG_HOLD)
    yield f"all workers of inference frozen for {STALL} s", workers_frozen
    for service in LONG_RUNNING:
        yield f"`restart {service}`", partial(restarted, service=service)
    yield f"mlflow and minio stopped for {HOLD} s", lambda stack: held(stopped(stack, "mlflow", "minio"))
    yield "the same, and inference restarted meanwhile", restarted_alone
    yield "`up` that finds nothing to do", lambda stack: stack.up()
    yield "`up` after a change of MLflow's memory, and back", partial(changed, MLFLOW_MEMORY="2100m")
    yield "`up` after a change of inference's log, and back", partial(changed, INFERENCE_LOG_RATE="20")
    yield "all killed, and started again in the wrong order", all_killed
    yield "all killed, then `up`", all_killed_and_up
    yield "`down`, then `up`", down_and_up


def frozen(stack: Stack, service: str, seconds: float = HOLD) -> None:
    held(paused(stack, service), seconds)


def workers_frozen(stack: Stack) -> None:
    stall = f"{CHILD}; workers={WORKERS}; kill -STOP $workers; sleep {STALL}; kill -CONT $workers"
    stack.compose("exec", "-T", "inference", "sh", "-c", stall)


def restarted(stack: Stack, service: str) -> None:
    stack.compose("restart", service)


def restarted_alone(stack: Stack) -> None:
    with stopped(stack, "mlflow", "minio"):
        stack.compose("restart", "inference")
        time.sleep(HOLD)


def changed(stack: Stack, **settings: str) -> None:
    with setting(stack, **settings):
        stack.up()
    stack.up()


def all_killed(stack: Stack) -> None:
    for container in reversed(_killed(stack)):
        docker("start", container)


def all_killed_and_up(stack: Stack) -> None:
    """Do as a machine that loses its power, and whoever starts the stack again."""
    _killed(stack)
    stack.up()


def _killed(stack: Stack) -> list[str]:
    containers = stack.containers()
    ids = [containers[service]["Id"] for service in LONG_RUNNING]
    docker("kill", *ids)
    return ids


def down_and_up(stack: Stack) -> None:
    stack.down()
    stack.up()
