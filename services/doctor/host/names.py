"""Whether MLflow and the prediction service answer as people address them: an API call, from this machine, under each name."""

import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from doctor.host.docker import Stack
from doctor.host.ports import EDGE_HTTP, Port, published
from doctor.records import FAIL, OK, WARN, Row

# /health of MLflow is answered also where it refuses every client for its Host header.
ASKED = {
    "mlflow": "/api/2.0/mlflow/experiments/search?max_results=1",
    "inference": "/version",
}
# Whose port and names the proxy has.
BEHIND = {"proxy": "inference"}
# A service that asks for a login has answered.
ANSWERS = (200, 401)
UP = "docker compose up -d --wait"
KEY = "scripts/api-key add NAME"


def addressed(stack: Stack) -> list[Port]:
    """Return the ports that people address, one of each service."""
    return [
        port
        for port in published(stack.services)
        if BEHIND.get(port.service, port.service) in ASKED or (port.service == "edge" and port.target != EDGE_HTTP)
    ]


def look(stack: Stack, port: Port, seconds: float) -> Iterator[Row]:
    """Yield the row of a service that people address, under each of its names."""
    if port.service == "edge":
        asked = [(service, address.netloc) for service, address in stack.edge_addresses]
    else:
        service = BEHIND.get(port.service, port.service)
        asked = [(service, name) for name in names(port, stack, service)]
    with ThreadPoolExecutor() as pool:  # what hangs takes as long under all names as under one
        rows = list(pool.map(lambda one: _answered(port, one[0], one[1], seconds), asked))
    found = sorted(filter(None, rows), key=lambda row: row.status != FAIL)
    yield next(iter(found), Row(port.service, OK, f"answers as {', '.join(host for _, host in asked)}"))


def names(port: Port, stack: Stack, service: str) -> list[str]:
    """Return the names that are promised, as the Host header has them."""
    found = [f"{name}:{port.number}" for name in ("localhost", "127.0.0.1")]
    return [*dict.fromkeys([*found, *(address.netloc for address in stack.addresses(service))])]


def _answered(port: Port, service: str, host: str, seconds: float) -> Row | None:
    """Return what is wrong with a service's answer under a name, None where nothing is."""
    try:
        status, said = ask(port, service, host, seconds)
    except (OSError, http.client.HTTPException) as error:
        return Row(port.service, FAIL, f"nothing answers at {port}: {error or type(error).__name__}", UP)
    if status == 200 and service == "inference" and not port.is_loopback:
        return Row(port.service, WARN, f"answers as {host} whoever reaches it: predictions need no API key", KEY)
    if status in ANSWERS:
        return None
    return Row(port.service, FAIL, f"{port} answers {status} to the name {host}: {said}", _mend(status, host, service))


def _mend(status: int, host: str, service: str) -> str:
    name = _name(host)
    return f"PUBLIC_HOST={name} in .env, then {UP}" if status == 403 else f"docker compose logs --tail 20 {service}"


def _name(host: str) -> str:
    """Return a Host header without its port."""
    name, colon, number = host.rpartition(":")
    return name if colon and number.isdigit() else host


def ask(port: Port, service: str, host: str, seconds: float) -> tuple[int, str]:
    """Return status and words of a service's answer under a name, by HTTPS from the edge; raise OSError, HTTPException."""
    connection = http.client.HTTPConnection(port.reached_at, port.number, timeout=seconds)
    try:
        if port.service == "edge":
            connection.sock = _encrypted(port, _name(host), seconds)
        connection.request("GET", ASKED[service], headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, _words(answer.read(2000).decode(errors="replace"))
    finally:
        connection.close()


def _encrypted(port: Port, name: str, seconds: float) -> ssl.SSLSocket:
    """Return a connection to the edge under a name; who certifies it is for clients to say, and nothing secret is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without the authorities of this machine, of whom none is asked
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection((port.reached_at, port.number), seconds)
    try:
        return context.wrap_socket(plain, server_hostname=name)
    except BaseException:
        plain.close()
        raise


def _words(content: str) -> str:
    try:
        found = json.loads(content)
        return str(found.get("message", found))[:200]
    except (ValueError, AttributeError):
        return content[:200].strip()
