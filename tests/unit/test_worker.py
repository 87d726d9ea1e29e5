"""One worker's connections: real sockets and gunicorn's own parser, in this process, without a server."""

import io
import json
import os
import socket
from http.client import HTTPResponse
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger
from inference.settings import Settings
from inference.worker import IDLE_SECONDS, Connection, ServingWorker

from tests.unit.serving import service_of
from tests.unit.test_app import SERVED

LISTENER = SimpleNamespace(getsockname=lambda: ("127.0.0.1", 1235))
BODY = b'{"instances": [[1, 2]]}'
PREDICTED = {"predictions": [0]}


class Unclosed(io.BytesIO):
    """What was received, of which several answers are read one after the other."""

    def close(self) -> None:
        """Stay open for the next answer."""


@pytest.fixture
def pair():
    """Both ends of a connection: the client's, and the service's."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname(), timeout=30)
        accepted, _ = server.accept()
    with client, accepted:
        yield client, accepted


@pytest.fixture
def worker():
    config = Config()
    config.set("worker_connections", 2)
    worker = ServingWorker(1, os.getppid(), [], SimpleNamespace(), 30, config, Logger(config))
    worker.wsgi = service_of(SERVED, settings=Settings(connections=2))
    yield worker
    worker.tmp.close()


def request(method: str = "POST", path: str = "/invocations", body: bytes = BODY, *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
    if not any(header.startswith("Transfer-Encoding") for header in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def answers(worker: ServingWorker, pair: Any, sent: bytes, *methods: str) -> list[tuple[int, dict[str, str], bytes]]:
    """Send all there is, let the worker answer, and return status, headers and body of each answer."""
    client, accepted = pair
    client.sendall(sent)
    client.shutdown(socket.SHUT_WR)
    worker.handle(LISTENER, accepted, ("192.0.2.1", 50000))
    received = Unclosed(b"".join(iter(lambda: client.recv(1 << 16), b"")))
    found = []
    while received.tell() < len(received.getvalue()):
        method = methods[len(found)] if len(found) < len(methods) else "POST"
        response = HTTPResponse(SimpleNamespace(makefile=lambda mode: received), method=method)
        response.begin()
        found.append((response.status, dict(response.getheaders()), response.read()))
    assert worker._open == set()
    return found


def test_requests_on_one_connection_are_answered_in_their_order(worker, pair):
    other = request(body=b'{"instances": [[2, 1]]}')
    first, second, third = answers(worker, pair, request() + other + request("GET", "/health", b""))
    assert [json.loads(body) for _, _, body in (first, second)] == [PREDICTED, {"predictions": [1]}]
    assert json.loads(third[2]) == {"status": "alive"}
    assert {headers["Connection"] for _, headers, _ in (first, second, third)} == {"keep-alive"}
    assert all("Date" in headers for _, headers, _ in (first, second, third))


def test_a_client_that_asks_to_close_is_answered_and_closed(worker, pair):
    ((status, headers, _),) = answers(
        worker, pair, request("POST", "/invocations", BODY, "Connection: close") + request()
    )
    assert (status, headers["Connection"]) == (200, "close")


def test_a_worker_that_ends_answers_what_has_begun_and_closes(worker, pair):
    worker.alive = False
    ((status, headers, _),) = answers(worker, pair, request() + request())
    assert (status, headers["Connection"]) == (200, "close")


@pytest.mark.parametrize("path", ["/invocations", "/health", "/nothing"])
def test_an_answer_to_head_has_no_body_that_would_be_taken_for_the_next_answer(worker, pair, path):
    head, after = answers(worker, pair, request("HEAD", path, b"") + request(), "HEAD")
    assert head[2] == b""
    assert int(head[1]["Content-Length"]) > 0
    assert json.loads(after[2]) == PREDICTED


def test_options_are_told_without_a_body(worker, pair):
    options, after = answers(worker, pair, request("OPTIONS", body=b"") + request(), "OPTIONS")
    assert (options[0], options[1]["Allow"]) == (204, "OPTIONS, POST")
    assert after[0] == 200


def test_a_body_may_come_in_chunks(worker, pair):
    chunks = b"5\r\n" + BODY[:5] + b"\r\n12\r\n" + BODY[5:] + b"\r\n0\r\n\r\n"
    sent = request("POST", "/invocations", chunks, "Transfer-Encoding: chunked")
    assert [json.loads(body) for _, _, body in answers(worker, pair, sent + request())] == [PREDICTED, PREDICTED]


@pytest.mark.parametrize(
    "chunks", [b"zz\r\n", b"5\r\nabc", b"5\r\nhello!!", b"5\r\nhello\r\n0\r\nbad trailer\r\n\r\n"], ids=repr
)
def test_chunks_that_are_none_are_the_clients_mistake(worker, pair, chunks):
    sent = request("POST", "/invocations", chunks, "Transfer-Encoding: chunked")
    status, _, body = answers(worker, pair, sent)[0]
    assert (status, json.loads(body)["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize(
    "sent",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: magic\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
    ids=lambda sent: repr(sent)[:50],
)
def test_what_is_no_http_is_a_400_like_all_others_and_the_end(worker, pair, sent):
    ((status, headers, body),) = answers(worker, pair, sent)
    assert (status, headers["Connection"], headers["X-Model-Version"]) == (400, "close", "7")
    assert "this is no HTTP request to answer" in json.loads(body)["message"]


def test_a_client_that_leaves_in_the_middle_of_a_body_is_told_so(worker, pair):
    ((status, _, body),) = answers(worker, pair, request()[:-5])
    assert status == 400
    assert "the body ends after 18 of the 23 bytes it is said to have" in json.loads(body)["message"]


def test_a_client_that_says_nothing_gets_no_answer(worker, pair):
    assert answers(worker, pair, b"") == []


def test_a_client_may_wait_to_be_told_to_go_on(worker, pair):
    client, accepted = pair
    client.sendall(request("POST", "/invocations", BODY, "Expect: 100-continue"))
    client.shutdown(socket.SHUT_WR)
    worker.handle(LISTENER, accepted, ("192.0.2.1", 50000))
    assert client.recv(1 << 16).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")


def test_a_connection_too_many_is_told_so_at_once(worker, pair):
    others = {Connection(pair[1]) for _ in range(2)}
    worker._open = set(others)
    client, accepted = pair
    client.sendall(request())
    client.shutdown(socket.SHUT_WR)
    worker.handle(LISTENER, accepted, ("192.0.2.1", 50000))
    received = b"".join(iter(lambda: client.recv(1 << 16), b""))
    assert received.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"Retry-After: 1\r\n" in received
    assert b"there are 2 connections already; try again" in received
    assert worker._open == others


def test_a_client_whose_time_is_over_is_cut_off_and_others_are_not(worker, pair):
    client, accepted = pair
    late = Connection(accepted)
    worker._open = {late}
    worker._cut_late()
    client.sendall(b"x")
    assert accepted.recv(1) == b"x"
    late.begin(-1)
    worker._cut_late()
    assert accepted.recv(1) == b""
    accepted.sendall(b"an answer can still be sent")
    assert client.recv(100) == b"an answer can still be sent"


def test_a_connection_waits_for_a_request_and_then_has_its_time_to_send_it(pair):
    connection = Connection(pair[1])
    began = connection.deadline - IDLE_SECONDS
    assert connection.is_idle
    connection.begin(5)
    assert not connection.is_idle
    assert began < connection.deadline < began + IDLE_SECONDS
    connection.wait()
    assert connection.is_idle
    assert connection.deadline >= began + IDLE_SECONDS


def test_a_worker_whose_parent_is_gone_ends(worker):
    worker.notify()
    assert worker.alive
    worker.ppid = 0
    worker.notify()
    assert not worker.alive
