"""Whether what has to run runs: containers that are missing, restart again and again, or were ended; jobs that failed."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from doctor.host.docker import HASH, Stack, docker
from doctor.records import FAIL, OK, WARN, Row

UP = "docker compose up -d --wait"
# Whose limit a service has that has none of its own name.
MEMORY = {
    **dict.fromkeys(("bootstrap", "reviewer", "schedule"), "TRAINER"),
    **{"watch": "MONITOR", "postgres-exporter": "POSTGRES_EXPORTER"},
}
# Whose limit is no setting: they do the same whatever the stack is used for.
FIXED = ("audit-log", "backup-figures")
# A container that began so lately, and not for the first time, is one that begins again and again.
LATELY_SECONDS = 60
MOST = 300
# How far back what the kernel has ended is asked for; the engine itself remembers some minutes.
EVENTS_SINCE = "10m"


@dataclass(frozen=True)
class Asked:
    """What Docker says of a container, by its id, when it is asked further."""

    last_words: Callable[[str], str]
    is_out_of_memory: Callable[[str], bool]
    """whether the kernel has ended it lately: a container that starts again has forgotten that itself"""


def look(stack: Stack, seconds: float) -> Iterator[Row]:
    """Yield a row for each container that is not well; of a stack that is down, one for all."""
    if not is_up(stack):
        yield Row("containers", FAIL, "none is there: the stack is down, or was never up", stack.up)
        return
    asked = Asked(_last_words(seconds), _is_out_of_memory(seconds))
    found = [row for name, service in stack.services.items() for row in _service(stack, name, service, asked)]
    runs = [name for name, service in stack.services.items() if service.get("restart") != "no"]
    yield from found or [Row("containers", OK, f"{', '.join(runs)} run and are healthy; the jobs are done")]


def is_up(stack: Stack) -> bool:
    """Tell whether `up` has made any container, and so the networks and volumes."""
    return bool(stack.containers)


def _service(stack: Stack, name: str, service: Mapping[str, Any], asked: Asked) -> Iterator[Row]:
    containers, is_job = stack.of(name), service.get("restart") == "no"
    # Of jobs that are done, `docker container prune` takes the containers: what they have made is looked at elsewhere.
    if not containers and not is_job:
        yield Row("containers", FAIL, f"{name} is not there", stack.up)
    for container in containers:
        row = (job if is_job else running)(name, container, asked, stack.up)
        if row is not None:
            yield row
        elif not is_job:
            yield from cut_off(stack, name, container)


def job(name: str, container: Mapping[str, Any], asked: Asked, up: str = UP) -> Row | None:
    """Return what is wrong with a job that should have ended well, None where it has, or is at it."""
    state = container["State"]
    if state["Running"] or (state["Status"] == "exited" and state["ExitCode"] == 0):
        return None
    if state["Status"] == "created":
        return Row("containers", FAIL, f"the job {name} was not run: what it waits for has failed", up)
    says = f"the job {name} failed with exit code {state['ExitCode']}: {asked.last_words(container['Id'])}"
    return Row("containers", FAIL, says, f"once the cause is gone: {up}")


def running(name: str, container: Mapping[str, Any], asked: Asked, up: str = UP) -> Row | None:
    """Return what is wrong with a container that should run, None where nothing is."""
    state, restarts = container["State"], container.get("RestartCount", 0)
    begins_again = state["Status"] == "restarting" or (restarts and state["Running"] and _age(state) < LATELY_SECONDS)
    if state.get("OOMKilled") or (begins_again and asked.is_out_of_memory(container["Id"])):
        return _out_of_memory(name, container["HostConfig"].get("Memory", 0) // 1024**2, up)
    if begins_again:
        says = f"{name} starts again and again ({restarts} times): {asked.last_words(container['Id'])}"
        return Row("containers", FAIL, says, f"once the cause is gone: {up}")
    if state["Status"] == "paused":
        return Row("containers", FAIL, f"{name} is paused", f"docker compose unpause {name}")
    if not state["Running"]:
        return Row("containers", FAIL, f"{name} is not running ({state['Status']}, exit code {state['ExitCode']})", up)
    return _health(name, state)


def cut_off(stack: Stack, name: str, container: Mapping[str, Any]) -> Iterator[Row]:
    """Yield a row for each network that a container should be in and is not: who else is in it does not see it there."""
    if container["Config"]["Labels"].get(HASH) not in (None, stack.hashes.get(name)):
        return  # it was made with other settings, which is said elsewhere
    there = container["NetworkSettings"].get("Networks", {})
    for network in stack.config["services"][name].get("networks") or ():
        if (called := stack.config["networks"][network]["name"]) not in there:
            one = container["Name"].lstrip("/")
            mend = f"docker network connect --alias {name} {called} {one}"
            yield Row(
                "containers", FAIL, f"{one} is not in the network {network}, so others do not reach it there", mend
            )


def _out_of_memory(name: str, limit: int, up: str) -> Row:
    """Return the row of a container of which the kernel has ended a process; `limit` in MB, 0 for none."""
    says = f"{name} was ended by the kernel for memory, of which it has"
    if not limit:
        return Row("containers", FAIL, f"{says} no limit: this machine's is used up", "docker stats --no-stream")
    return Row("containers", FAIL, f"{says} {limit:,} MB", more_memory(name, limit, up))


def more_memory(name: str, limit: int, up: str) -> str:
    """Return what gives a service twice the memory, nothing where no setting does; `limit` in MB."""
    if name in FIXED:
        return ""
    return f"{MEMORY.get(name, name.upper())}_MEMORY={2 * limit}m in .env, then {up}"


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


def _is_out_of_memory(seconds: float) -> Callable[[str], bool]:
    def said(container: str) -> bool:
        """Tell whether the kernel has ended a process of a container for memory."""
        of_it = ("--filter", f"container={container}", "--filter", "event=oom")
        return bool(docker("events", "--since", EVENTS_SINCE, "--until", "0s", *of_it, seconds=seconds).strip())

    return said
