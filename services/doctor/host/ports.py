"""Whether the ports are ours or free, and whether other machines reach them."""

import errno
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from doctor.host.docker import Stack
from doctor.records import FAIL, OK, WARN, NotLookedAt, Row

SETTINGS = {
    "edge": "HTTPS_PORT",
    "mlflow": "MLFLOW_PORT",
    "inference": "INFERENCE_PORT",
    "proxy": "INFERENCE_PORT",
    "minio": "MINIO_CONSOLE_PORT",
    "sso": "SSO_PORT",
}
LOOPBACK = ("127.", "::1", "localhost")
# Of the edge's two ports in its container, the one of HTTP.
EDGE_HTTP = 8080


@dataclass(frozen=True)
class Port:
    """A port that a service is published on."""

    service: str
    address: str
    number: int
    target: int = 0
    """the port in the container"""

    def __str__(self) -> str:
        return f"{self.address}:{self.number}"

    @property
    def setting(self) -> str:
        """The setting that says its number."""
        return "HTTP_PORT" if self.target == EDGE_HTTP else SETTINGS.get(self.service, "another port")

    @property
    def is_loopback(self) -> bool:
        return self.address.startswith(LOOPBACK)

    @property
    def reached_at(self) -> str:
        """The address by which this machine itself reaches it."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.address, self.address)  # noqa: S104


def published(services: Mapping[str, Mapping[str, Any]]) -> list[Port]:
    """Return what the compose files publish."""
    return [
        Port(name, port.get("host_ip", "0.0.0.0"), int(port["published"]), port.get("target", 0))  # noqa: S104
        for name, service in services.items()
        for port in service.get("ports", [])
        if port.get("published")
    ]


def look(stack: Stack) -> Iterator[Row]:
    """Yield the rows of ports that are somebody else's, or open to others without their being meant to be."""
    ports = published(stack.services)
    ours = _ours(stack)
    taken = [port for port in ports if (port.service, port.number) not in ours and is_taken(port)]
    for port in taken:
        mend = f"{port.setting}={free_after(port)} in .env, then docker compose up -d --wait"
        yield Row("ports", FAIL, f"{port}, for {port.service}, is taken by another program or container", mend)
    opened = [port for port in ports if not port.is_loopback]
    names = _names(stack)
    if opened and all(f".{name}".endswith(".localhost") for name in names):
        login = "MLflow alone asks for a login" if stack.has_login else "nothing asks them for a login"
        says = (
            f"other machines reach {', '.join(dict.fromkeys(port.service for port in opened))}, and {login} "
            "(API keys close predictions); if that is meant, PUBLIC_HOST in .env is the name that they use"
        )
        yield Row("ports", WARN, says, "BIND_ADDRESS=127.0.0.1 in .env, then docker compose up -d --wait")
    elif not taken:
        reach = "this machine alone" if not opened else f"other machines too, as {', '.join(names)}"
        yield Row("ports", OK, f"{', '.join(f'{port.service} {port.number}' for port in ports)}; reached by {reach}")


def _names(stack: Stack) -> list[str]:
    """Return the names that people use; none where a setting cannot be used, which the row of names says."""
    try:
        found = (address.host for service in ("mlflow", "inference") for address in stack.addresses(service))
        return [*dict.fromkeys(found)]
    except NotLookedAt:
        return []


def _ours(stack: Stack) -> set[tuple[str, int]]:
    """Return service and port of what the stack's containers have."""
    return {
        (service, int(binding["HostPort"]))
        for service in stack.services
        for container in stack.of(service)
        for bindings in container["NetworkSettings"]["Ports"].values()
        for binding in bindings or []
    }


def is_taken(port: Port) -> bool:
    """Tell whether somebody listens on a port; one that may not be tried counts as free."""
    family = socket.AF_INET6 if ":" in port.reached_at else socket.AF_INET
    try:
        socket.create_server((port.address or port.reached_at, port.number), family=family).close()
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False


def free_after(port: Port) -> int:
    """Return a port near this one that nobody has."""
    near = (
        Port(port.service, port.address, number) for number in range(port.number + 1, min(port.number + 100, 65536))
    )
    return next((other.number for other in near if not is_taken(other)), port.number)
