"""The health checks that wait: one try of Docker's asks until a service is ready, and tells what it was answered last."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.compose import free_ports
from tests.unit.compose_files import services_of

pytestmark = pytest.mark.unhurried

CHECKS = [("compose.yaml", "inference"), ("compose.scale.yaml", "proxy")]


@contextmanager
def answering(status: Callable[[int], int]) -> Iterator[int]:
    """Answer request after request with the status of its number, from 0; yield the port."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status(len(asked)))
            self.end_headers()
            asked.append(self.path)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def checked(file: str, service: str, port: int) -> subprocess.CompletedProcess[str]:
    """Run the health check of a service as Docker does, at another port."""
    command = [word.replace("$$", "$") for word in services_of(file)[service]["healthcheck"]["test"][1:]]
    return subprocess.run([word.replace("1235", str(port)) for word in command], capture_output=True, text=True)


@pytest.mark.parametrize(("file", "service"), CHECKS)
def test_a_service_that_is_ready_a_moment_later_is_well(file: str, service: str) -> None:
    with answering(lambda number: 503 if number < 2 else 200) as port:
        result = checked(file, service, port)
    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.parametrize(("file", "service"), CHECKS)
def test_one_that_stays_as_it_is_is_told_with_its_answer(file: str, service: str) -> None:
    with answering(lambda _: 503) as port:
        result = checked(file, service, port)
    assert (result.returncode, result.stdout) == (1, "GET /ready: HTTP/1.0 503 Service Unavailable\n")


@pytest.mark.parametrize(("file", "service"), CHECKS)
def test_one_that_does_not_listen_is_told(file: str, service: str) -> None:
    (port,) = free_ports(1)
    result = checked(file, service, port)
    assert (result.returncode, result.stdout) == (1, "GET /ready: no answer\n")
    assert "Connection refused" in result.stderr
