"""A fuzzer against the running service: no answer is a fault of the service, and no process of it ends.

`make fuzz` sends 100,000 requests; a test run sends a few thousand of the same.
"""

import contextlib
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException, HTTPResponse
from typing import Any

import pytest

from tests.fuzzing import TIMES
from tests.integration.conftest import Training
from tests.integration.hostile_requests import Sent, requests
from tests.integration.places import CLASSES, Service

pytestmark = pytest.mark.fuzz

COUNT = 4000 * TIMES
AT_ONCE = 4
# After so many requests, one that is right must be answered right.
EVERY = 100
# What a client waits for bytes: longer than any limit of the service that what is sent here can meet.
PATIENCE = 20
# Refusals that a request may get without a fault of its own.
BUSY = 503


@pytest.fixture(scope="module")
def service(first: Training, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    place = first.place.copy(tmp_path_factory.mktemp("fuzz") / "place")
    with place.inference(INFERENCE_BODY_SECONDS="5", INFERENCE_LOG_RATE="0") as service:
        service.answers("/ready")
        yield service


class Client:
    """A connection that is opened again where the service has closed it."""

    def __init__(self, service: Service) -> None:
        host, port = service.url.removeprefix("http://").split(":")
        self._address = host, int(port)
        self._socket: socket.socket | None = None

    def status_of(self, sent: Sent) -> int | None:
        """Return the first answer's status, None where the service closed without one."""
        for _ in range(2):  # it may have closed the connection of the request before, as it may
            try:
                return self._exchange(sent)
            except (ConnectionError, HTTPException):
                self.close()
        return None

    def _exchange(self, sent: Sent) -> int:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, PATIENCE)
        with contextlib.suppress(BrokenPipeError):  # it may have answered already
            self._socket.sendall(sent.content)
        if not sent.is_whole:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
        answer = HTTPResponse(self._socket, method="HEAD" if sent.content.startswith(b"HEAD") else "POST")
        answer.begin()
        body = answer.read()
        if answer.getheader("Content-Type") == "application/json" and body:
            json.loads(body)
        if answer.will_close or not sent.is_whole:
            self.close()
        return answer.status

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def test_no_request_is_answered_with_a_fault_of_the_service_or_ends_a_process_of_it(service: Any) -> None:
    before = service.processes()
    share = COUNT // AT_ONCE

    def send(seed: int) -> dict[int | None, int]:
        client = Client(service)
        seen: dict[Any, Any] = {}
        for number, sent in enumerate(requests(seed, share)):
            status = client.status_of(sent)
            assert status is None or status < 500 or status == BUSY, f"{status} to {sent.content[:500]!r}"
            assert status is not None or not sent.is_whole, f"no answer to {sent.content[:500]!r}"
            seen[status] = seen.get(status, 0) + 1
            if number % EVERY == 0:
                assert service.predict() == CLASSES
        client.close()
        return seen

    with ThreadPoolExecutor(AT_ONCE) as clients:
        found = list(clients.map(send, range(AT_ONCE)))
    statuses = {status: sum(seen.get(status, 0) for seen in found) for status in {s for seen in found for s in seen}}
    print("answers by status:", statuses)
    assert statuses[200] > COUNT / 100  # else it is not the service that is tried, but its front door
    assert service.processes() == before
    assert "Traceback" not in service.log
