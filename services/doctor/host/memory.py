"""How much of its limit of memory each container uses: at the limit the kernel ends one of its processes."""

import json
from collections.abc import Iterator

from doctor.host.containers import more_memory
from doctor.host.docker import Stack, docker
from doctor.records import OK, WARN, Row

WARN_SHARE = 0.9


def look(stack: Stack, seconds: float) -> Iterator[Row]:
    """Yield a row for each container that is near its limit, or one that says how near the nearest is."""
    limits = {
        container["Id"]: (service, container["HostConfig"].get("Memory", 0) / 1024**2)
        for service in stack.services
        for container in stack.of(service)
        if container["State"]["Running"] and container["HostConfig"].get("Memory", 0)
    }
    if not limits:
        yield Row("memory", OK, "no container with a limit runs")
        return
    told = docker("stats", "--no-stream", "--no-trunc", "--format", "{{json .}}", *limits, seconds=seconds)
    found = {stats["ID"]: stats["MemPerc"].rstrip("%") for stats in map(json.loads, told.splitlines())}
    # Of one that has ended meanwhile there is no figure.
    used = sorted(((float(share) / 100, *limits[one]) for one, share in found.items() if share[0] != "-"), reverse=True)
    near = [one for one in used if one[0] >= WARN_SHARE]
    for share, service, limit in near:
        says = f"{_said(share, service, limit)}; at its limit the kernel ends a process of it"
        yield Row("memory", WARN, says, more_memory(service, round(limit), stack.up))
    if used and not near:
        yield Row("memory", OK, f"{_said(*used[0])}, the others less of theirs")


def _said(share: float, service: str, limit: float) -> str:
    return f"{service} uses {share * limit:,.0f} of its {limit:,.0f} MB ({share:.0%})"
