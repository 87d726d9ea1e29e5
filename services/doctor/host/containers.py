"""Whether what has to run runs: containers that are missing, restart again and again, or were ended; jobs that failed."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from doctor.host.docker import Stack, docker
from doctor.records import FAIL, OK, WARN, Row

UP = "docker compose up -d --wait"
# Whose limit a service has that has none of its own name.
MEMORY = {"reviewer": "TRAINER"}
# A container that began so lately, and not for the first time, is one that begins again and again.
LATELY_SECONDS = 60
MOST = 300


def look(stack: Stack, seconds: float) -> Iterator[Row]:
    """Yield a row for each container that is not well; of a stack that is down, one for all."""
    if not is_up(stack):
        yield Row("containers", FAIL, "none is there: the stack is down, or was never up", stack.up)
        return
    last_words = _last_words(seconds)
    found = [row for name, service in stack.services.items() for row in _service(stack, name, service, last_words)]
    runs = [name for name, service in stack.services.items() if service.get("restart") != "no"]
    yield from found or [Row("containers", OK, f"{', '.join(runs)} run and are healthy; the jobs are done")]


def is_up(stack: Stack) -> bool:
    """Tell whether `up` has made any container, and so the networks and volumes."""
    return bool(stack.containers)


def _service(stack: Stack, name: str, service: Mapping[str, Any], last_words: Callable[[str], str]) -> Iterator[Row]:
    containers = stack.of(name)
    if not containers:
        yield Row("containers", FAIL, f"{name} is not there", stack.up)
    for container in containers:
        is_job = service.get("restart") == "no"
        row = (job if is_job else running)(name, container, last_words, stack.up)
        if row is not None:
            yield row


def job(name: str, container: Mapping[str, Any], last_words: Callable[[str], str], up: str = UP) -> Row | None:
    """Return what is wrong with a job that should have ended well, None where it has, or is at it."""
    state = container["State"]
    if state["Running"] or (state["Status"] == "exited" and state["ExitCode"] == 0):
        return None
    if state["Status"] == "created":
        return Row("containers", FAIL, f"the job {name} was not run: what it waits for has failed", up)
    says = f"the job {name} failed with exit code {state['ExitCode']}: {last_words(container['Id'])}"
    return Row("containers", FAIL, says, f"once the cause is gone: {up}")


def running(name: str, container: Mapping[str, Any], last_words: Callable[[str], str], up: str = UP) -> Row | None:
    """Return what is wrong with a container that should run, None where nothing is."""
    state, restarts = container["State"], container.get("RestartCount", 0)
    if state.get("OOMKilled"):
        limit = container["HostConfig"].get("Memory", 0) / 1024**2
        says = f"{name} was ended by the kernel for memory, of which it has {limit:,.0f} MB"
        return Row("containers", FAIL, says, f"a larger {MEMORY.get(name, name.upper())}_MEMORY in .env, then {up}")
    if state["Status"] == "restarting" or (restarts and state["Running"] and _age(state) < LATELY_SECONDS):
        says = f"{name} starts again and again ({restarts} times): {last_words(container['Id'])}"
        return Row("containers", FAIL, says, f"once the cause is gone: {up}")
    if state["Status"] == "paused":
        return Row("containers", FAIL, f"{name} is paused", f"docker compose unpause {name}")
    if not state["Running"]:
        return Row("containers", FAIL, f"{name} is not running ({state['Status']}, exit code {state['ExitCode']})", up)
    return _health(name, state)


def _health(name: str, state: Mapping[str, Any]) -> Row | None:
    health = state.get("Health", {})
    if health.get("Status") == "unhealthy":
        said = (health.get("Log") or [{}])[-1].get("Output", "").strip()[-MOST:] or "its health check says nothing"
        return Row(
            "containers", FAIL, f"{name} runs and is not healthy: {said}", f"docker compose logs --tail 20 {name}"
        )
    if health.get("Status") == "starting":
        return Row(
            "containers", WARN, f"{name} is starting; look again in a minute", f"docker compose logs --tail 20 {name}"
        )
    return None


def _age(state: Mapping[str, Any]) -> float:
    """Return for how many seconds a container has been running."""
    started = datetime.fromisoformat(state["StartedAt"][:19]).replace(tzinfo=timezone.utc)  # noqa: UP017
    return (datetime.now(timezone.utc) - started).total_seconds()  # noqa: UP017


def _last_words(seconds: float) -> Callable[[str], str]:
    def said(container: str) -> str:
        """Return the last line of a container's log; of a line of JSON its message."""
        # Both streams, in the order in which they were written.
        log = docker("logs", "--tail", "5", container, seconds=seconds, with_stderr=True)
        lines = [line.strip() for line in log.splitlines() if line.strip()] or ["its log is empty"]
        try:
            return str(json.loads(lines[-1])["message"])[:MOST]
        except (ValueError, KeyError, TypeError):
            return lines[-1][:MOST]

    return said
