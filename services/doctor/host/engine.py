"""Whether Docker is there, and new enough."""

import re
from collections.abc import Iterator

from doctor.host.docker import Failed, docker
from doctor.records import FAIL, OK, Row

# What compose.yaml takes: a health check's start_interval, and merge tags.
OLDEST = {"Docker Engine": (25, 0), "Compose": (2, 24)}
INSTALL = "update it: https://docs.docker.com/engine/install/"


def look(seconds: float) -> Iterator[Row]:
    """Yield the row of both versions."""
    try:
        engine = docker("version", "--format", "{{.Server.Version}}", seconds=seconds).strip()
    except Failed as error:
        mend = INSTALL if "no docker command" in str(error) else "sudo systemctl start docker"
        yield Row("engine", FAIL, f"the Docker engine cannot be used: {error}", mend)
        return
    try:
        compose = docker("compose", "version", "--short", seconds=seconds).strip()
    except Failed as error:
        yield Row("engine", FAIL, f"docker compose cannot be used: {error}", INSTALL)
        return
    yield judged({"Docker Engine": engine, "Compose": compose})


def judged(found: dict[str, str]) -> Row:
    """Return the row of versions such as 26.1.5+dfsg1 and v2.26.1."""
    numbers = {name: tuple(int(part) for part in re.findall(r"\d+", text)[:2]) for name, text in found.items()}
    for name, oldest in OLDEST.items():
        if numbers[name] < oldest:
            wanted = ".".join(map(str, oldest))
            return Row("engine", FAIL, f"{name} is {found[name]}; {wanted} is the oldest that works", INSTALL)
    return Row("engine", OK, ", ".join(f"{name} {text.lstrip('v')}" for name, text in found.items()))
