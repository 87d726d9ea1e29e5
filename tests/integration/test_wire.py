"""What is no proper HTTP, sent to the running service byte by byte: refused in JSON, and the next one is served."""

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import searching
from tests.integration.conftest import Training
from tests.integration.places import CLASSES, SAMPLES

BODY = json.dumps({"instances": SAMPLES}).encode()
HEAD = b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def service(first: Training) -> Iterator[Any]:
    with first.place.inference() as service:
        service.answers("/ready")
        yield service


def exchange(url: str, sent: bytes) -> bytes:
    """Send the bytes, and no more after them; return all that comes back until the service closes."""
    address = urlparse(url)
    received = b""
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        # A service that has seen enough may close while the rest is on its way.
        with contextlib.suppress(ConnectionError):
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while chunk := connection.recv(65536):
                received += chunk
    return received


def assert_refused(received: bytes) -> None:
    """Check an answer: 4xx, in the service's own shape, without a look inside."""
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 4"), received
    assert set(json.loads(body)) >= {"error_code", "message"}
    assert b"Traceback" not in body
    assert b".py" not in body


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"Content-Length: abc\r\n\r\n" + BODY,
        HEAD + b"Content-Length: -1\r\n\r\n" + BODY,
        HEAD + b"Content-Length: +5\r\n\r\n" + BODY,
        HEAD + b"Content-Length: 1e3\r\n\r\n" + BODY,
        HEAD + b"Content-Length: 5, 6\r\n\r\n" + BODY,
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + BODY,
        HEAD + b"Content-Length: \r\n\r\n" + BODY,
        HEAD + b"Content-Length: 99999\r\n\r\n" + BODY,
        HEAD + b"Content-Length: 5\r\nConnection: close\r\n\r\n" + BODY,
        HEAD + b"Content-Length: 99999999999999999999\r\nConnection: close\r\n\r\n" + BODY,
        HEAD + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % len(BODY) + BODY,
        HEAD + b"Connection: close\r\n\r\n" + BODY,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nno chunk\r\n",
        HEAD + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"ins',
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        HEAD + b"X: " + b"y" * 20_000 + b"\r\n\r\n",
        HEAD + b"".join(b"X-%d: y\r\n" % i for i in range(500)) + b"\r\n",
        b"POST /" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /invocations HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"POST  /invocations\r\n\r\n",
        b"G\x00T / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /\xff%00%ff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET http://elsewhere/nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n",
        b"\r\n\r\n\r\n\r\nno request\r\n\r\n",
    ],
    ids=lambda sent: repr(sent.replace(HEAD, b"")[:40]),
)
def test_a_broken_request_is_refused_in_json(service: Any, sent: Any) -> None:
    assert_refused(exchange(service.url, sent))
    assert service.predict() == CLASSES


def test_a_whole_request_is_answered_though_the_client_has_stopped_sending(service: Any) -> None:
    sent = HEAD + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(BODY) + BODY
    assert exchange(service.url, sent).startswith(b"HTTP/1.1 200")


def test_a_client_that_leaves_in_the_middle_disturbs_nobody(service: Any) -> None:
    for sent in (b"", b"POST", HEAD, HEAD + b"Content-Length: 99\r\n\r\n{"):
        address = urlparse(service.url)
        with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
            connection.sendall(sent)
    assert service.predict() == CLASSES
    assert "Traceback" not in service.log


# A request with some of its bytes cut out or replaced.
BROKEN = st.builds(
    lambda at, length, put: (
        (whole := HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)[:at] + put + whole[at + length :]
    ),
    st.integers(0, 150),
    st.integers(0, 20),
    st.binary(max_size=20) | st.sampled_from([b"\r\n", b"\r\n\r\n", b": ", b" HTTP/1.1\r\n"]),
)


@pytest.mark.fuzz
def test_any_broken_request_is_survived(service: Any) -> None:
    """None is answered with a fault of the service; those that end before they are a request may go unanswered."""

    @searching(300)
    @given(BROKEN)
    def try_one(sent: bytes) -> None:
        received = exchange(service.url, sent)
        assert not received or received.startswith((b"HTTP/1.1 200", b"HTTP/1.1 4")), received
        assert b"HTTP/1.1 5" not in received

    try_one()
    assert service.predict() == CLASSES
    assert "Traceback" not in service.log
