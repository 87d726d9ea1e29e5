"""`scripts/doctor`: what is seen from outside of the containers and, by a container of its own, from among them."""

import argparse
import math
import os
import sys
from collections.abc import Iterator, Mapping
from functools import partial

from doctor.host import backups, containers, docker, engine, images, memory, names, packages, ports, settings
from doctor.patience import exit_code, look_at_all
from doctor.records import FAIL, WARN, Look, NotLookedAt, Row
from doctor.report import as_json, of_json, text

# The container has to start first, which takes its time on a busy machine.
START_SECONDS = 10.0
_ELSE = Row("all else", WARN, "not looked at: that takes Docker")


def main(arguments: list[str]) -> int:
    """Look at everything, print it, and return 1 where anything failed."""
    options = parser("scripts/doctor").parse_args(arguments)
    patience, found = options.patience, list[docker.Stack]()
    reading = {"engine": partial(engine.look, patience), "settings": partial(_read, found, patience)}
    rows = look_at_all(reading, 2 * patience)
    if found:
        rows += look_at_all(_looks(found[0], patience), START_SECONDS + patience)
    elif rows[0].status == FAIL:  # the engine's
        rows = [rows[0], _ELSE]
    print(as_json(rows) if options.json else text(rows))
    return exit_code(rows)


def parser(program: str) -> argparse.ArgumentParser:
    """Return what reads the options that both doctors take."""
    whole = argparse.ArgumentParser(
        program, description="Look at everything that may be wrong, change nothing, and name the command that mends it."
    )
    whole.add_argument("--json", action="store_true", help="a JSON list of the rows: name, status, says, mend")
    whole.add_argument(
        "--patience",
        type=float,
        default=3.0,
        metavar="SECONDS",
        help="how long each row may take; more on a busy machine (default: 3)",
    )
    return whole


def _read(found: list[docker.Stack], patience: float) -> Iterator[Row]:
    """Add the stack that compose files and .env describe, or yield the row that says why it cannot be read."""
    try:
        found.append(docker.stack(patience))
    except docker.Failed as error:
        mend = "mend .env or the compose file that it names, then docker compose up -d --wait"
        yield Row("settings", FAIL, f"Compose cannot read them: {error}", mend)


def _looks(stack: docker.Stack, patience: float) -> Mapping[str, Look]:
    addressed = {port.service: partial(names.look, stack, port, patience) for port in names.addressed(stack)}
    return {
        "settings": partial(settings.look, stack),
        "images": partial(images.look, stack, patience),
        "ports": partial(ports.look, stack),
        "containers": partial(containers.look, stack, patience),
        "memory": partial(memory.look, stack, START_SECONDS),
        "packages": partial(packages.look, stack, START_SECONDS),
        **addressed,
        **_of_backups(stack, patience),
        "stores and model": partial(_inside, stack, patience),
    }


def _of_backups(stack: docker.Stack, patience: float) -> Mapping[str, Look]:
    repository = stack.setting("backup", "BACKUP_REPOSITORY") or "./backups"
    command, drill = "docker compose run --rm backup", backups.drill(stack.config["services"], repository)
    is_on_schedule = bool(stack.of("backup-schedule"))
    if backups.is_elsewhere(repository):
        told = partial(_told, stack, repository, patience)
        return {"backup": partial(backups.look_elsewhere, told, command, drill, is_on_schedule)}
    return {
        "backup": lambda: backups.look(backups.of_folder(repository), command, is_on_schedule),
        "backup check": lambda: backups.look_at_check(backups.of_folder(repository)),
        "restore": lambda: backups.look_at_restore(backups.of_folder(repository), drill),
    }


def _told(stack: docker.Stack, repository: str, patience: float) -> backups.Known:
    """Return what a container that has the password and a way out is told by another machine."""
    seconds = f"{math.ceil(patience)}"
    said = _said_by(stack, "backup-look", "told", seconds, patience=patience, builds=f"{backups.LIST} builds it")
    return backups.told(repository, stack.name, said)


def _inside(stack: docker.Stack, patience: float) -> Iterator[Row]:
    """Yield the rows of the container among the others."""
    said = _said_by(stack, "doctor", "--patience", f"{patience:g}", patience=patience)
    try:
        yield from of_json(said)
    except (ValueError, TypeError) as error:
        raise NotLookedAt(f"the image that looks at them is another one's: {said[-200:].strip()}") from error


def _said_by(stack: docker.Stack, service: str, *command: str, patience: float, builds: str = "") -> str:
    """Return what a container prints; raise NotLookedAt where the stack is down, since starting one would change something."""
    if not containers.is_up(stack):
        raise NotLookedAt("the stack is down, or was never up")
    if not images.found([str(stack.config["services"][service]["image"])], patience):
        raise NotLookedAt(f"the image that looks at them is not built{builds and f'; {builds}'}")
    run = ("compose", "--progress", "quiet", "run", "--rm", "--no-deps", "-T", service, *command)
    return docker.docker(*run, seconds=START_SECONDS + patience)


def run() -> None:
    """Start as a script; a thread that still hangs is not waited for."""
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)
