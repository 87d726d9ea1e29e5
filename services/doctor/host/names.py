"""Whether MLflow and the prediction service answer as people address them: an API call, from this machine, under each name."""

import http.client
import json
from collections.abc import Iterator

from doctor.host.docker import Stack
from doctor.host.ports import Port, published
from doctor.records import FAIL, OK, Row

# /health of MLflow is answered also where it refuses every client for its Host header.
ASKED = {
    "mlflow": "/api/2.0/mlflow/experiments/search?max_results=1",
    "inference": "/version",
    "proxy": "/version",
}
# A service that asks for a login has answered.
ANSWERS = (200, 401)
UP = "docker compose up -d --wait"


def look(stack: Stack, seconds: float) -> Iterator[Row]:
    """Yield a row for each service that people address."""
    for port in published(stack.services):
        if port.service in ASKED:
            yield _service(port, names(port, stack.public_host), seconds)


def names(port: Port, public_host: str) -> list[str]:
    """Return the names that are promised, as the Host header has them."""
    found = [f"{name}:{port.number}" for name in ("localhost", "127.0.0.1", public_host)]
    return [*dict.fromkeys(found)]


def _service(port: Port, hosts: list[str], seconds: float) -> Row:
    for host in hosts:
        try:
            status, said = ask(port, host, seconds)
        except (OSError, http.client.HTTPException) as error:
            return Row(port.service, FAIL, f"nothing answers at {port}: {error or type(error).__name__}", UP)
        if status not in ANSWERS:
            return Row(
                port.service,
                FAIL,
                f"{port} answers {status} to the name {host}: {said}",
                _mend(status, host, port.service),
            )
    return Row(port.service, OK, f"answers as {', '.join(hosts)}")


def _mend(status: int, host: str, service: str) -> str:
    name = host.rpartition(":")[0]
    return f"PUBLIC_HOST={name} in .env, then {UP}" if status == 403 else f"docker compose logs --tail 20 {service}"


def ask(port: Port, host: str, seconds: float) -> tuple[int, str]:
    """Return status and words of an answer under a name; raise OSError, HTTPException."""
    connection = http.client.HTTPConnection(port.reached_at, port.number, timeout=seconds)
    try:
        connection.request("GET", ASKED[port.service], headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, _words(answer.read(2000).decode(errors="replace"))
    finally:
        connection.close()


def _words(content: str) -> str:
    try:
        found = json.loads(content)
        return str(found.get("message", found))[:200]
    except (ValueError, AttributeError):
        return content[:200].strip()
