"""`scripts/doctor`: what is seen from outside of the containers and, by a container of its own, from among them."""

import argparse
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
    repository = stack.setting("backup", "BACKUP_REPOSITORY") or "./backups"
    is_on_schedule = bool(stack.of("backup-schedule"))
    addressed = {port.service: partial(names.look, stack, port, patience) for port in names.addressed(stack)}
    return {
        "settings": partial(settings.look, stack),
        "images": partial(images.look, stack, patience),
        "ports": partial(ports.look, stack),
        "containers": partial(containers.look, stack, patience),
        "memory": partial(memory.look, stack, START_SECONDS),
        "packages": partial(packages.look, stack, START_SECONDS),
        **addressed,
        "backup": partial(backups.look, repository, "docker compose run --rm backup", is_on_schedule),
        "backup check": partial(backups.look_at_check, repository),
        "restore": partial(backups.look_at_restore, repository, backups.drill(stack.config["services"])),
        "stores and model": partial(_inside, stack, patience),
    }


def _inside(stack: docker.Stack, patience: float) -> Iterator[Row]:
    """Yield the rows of the container among the others; where the stack is down, starting one would change something."""
    if not containers.is_up(stack):
        raise NotLookedAt("the stack is down, or was never up")
    if not images.found([str(stack.config["services"]["doctor"]["image"])], patience):
        raise NotLookedAt("the image that looks at them is not built")
    run = ("compose", "--progress", "quiet", "run", "--rm", "--no-deps", "-T", "doctor")
    said = docker.docker(*run, "--patience", f"{patience:g}", seconds=START_SECONDS + patience)
    try:
        yield from of_json(said)
    except (ValueError, TypeError) as error:
        raise NotLookedAt(f"the image that looks at them is another one's: {said[-200:].strip()}") from error


def run() -> None:
    """Start as a script; a thread that still hangs is not waited for."""
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)
