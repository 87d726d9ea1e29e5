"""Whether Docker is there, new enough, can build, is of an architecture that images are built for, and keeps limits."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from doctor.host.docker import Failed, docker
from doctor.records import FAIL, OK, WARN, Row

# What compose.yaml takes: a health check's start_interval, and merge tags.
OLDEST = {"Docker Engine": (25, 0), "Compose": (2, 24)}
# As `docker info` names them: images are built and released for amd64 and arm64.
ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
LIMITS = {"MemoryLimit": "memory", "PidsLimit": "processes"}
START, INSTALL = "sudo systemctl start docker", "update it: https://docs.docker.com/engine/install/"
BUILDX = "install it: sudo apt-get install docker-buildx-plugin, or https://docs.docker.com/go/buildx/"
ELSEWHERE = "DOCKER_HOST=ssh://USER@HOST, of a machine that is amd64 or arm64"
DELEGATE = (
    "rootless: https://docs.docker.com/engine/security/rootless/tips/#limiting-resources; else boot with cgroup v2"
)


def look(seconds: float) -> Iterator[Row]:
    """Yield the rows of what Docker says of itself."""
    try:
        told = json.loads(docker("info", "--format", "{{json .}}", seconds=seconds))
    except Failed as error:
        mend = INSTALL if "no docker command" in str(error) else START
        yield Row("engine", FAIL, f"the Docker engine cannot be used: {error}", mend)
        return
    if errors := told.get("ServerErrors"):  # with which the command itself ends well
        yield Row("engine", FAIL, f"the Docker engine cannot be used: {errors[0]}", START)
        return
    yield from judged(told)


def judged(told: Mapping[str, Any]) -> Iterator[Row]:
    """Yield the rows of what `docker info` says: what is wrong, or that nothing is."""
    plugins = {plugin["Name"]: str(plugin["Version"]) for plugin in told["ClientInfo"]["Plugins"] or []}
    if "compose" not in plugins:
        yield Row("engine", FAIL, "docker compose cannot be used: there is no such plugin", INSTALL)
        return
    wrong = [*_too_old({"Docker Engine": told["ServerVersion"], "Compose": plugins["compose"]})]
    if "buildx" not in plugins:
        says = "there is no plugin buildx, and without it Compose builds no image of this stack"
        wrong.append(Row("engine", FAIL, says, BUILDX))
    if (architecture := ARCHITECTURES.get(told["Architecture"])) is None:
        says = f"its architecture is {told['Architecture']}, and images are built for amd64 and arm64 alone"
        wrong.append(Row("engine", WARN, says, ELSEWHERE))
    if missing := [what for name, what in LIMITS.items() if not told[name]]:
        says = f"it keeps no limit of {' and '.join(missing)} (cgroup v{told['CgroupVersion']}): one container may take all"
        wrong.append(Row("engine", WARN, says, DELEGATE))
    versions = f"Docker Engine {told['ServerVersion']}, Compose {_bare(plugins['compose'])}"
    says = f"{versions}, buildx {_bare(plugins.get('buildx', ''))}, {architecture}, cgroup v{told['CgroupVersion']}"
    yield from wrong or [Row("engine", OK, says)]


def _too_old(found: Mapping[str, str]) -> Iterator[Row]:
    """Yield a row for each version, such as 26.1.5+dfsg1 and v2.26.1, that is older than what works."""
    for name, text in found.items():
        if tuple(int(part) for part in re.findall(r"\d+", text)[:2]) < OLDEST[name]:
            wanted = ".".join(map(str, OLDEST[name]))
            yield Row("engine", FAIL, f"{name} is {text}; {wanted} is the oldest that works", INSTALL)


def _bare(version: str) -> str:
    return version.lstrip("v").partition("+")[0]
