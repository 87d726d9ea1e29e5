"""One worker's connections: real sockets and the real event loop, in this process, without gunicorn."""

import asyncio
import gc
import gzip
import io
import json
import math
import os
import random
import resource
import signal
import socket
import struct
import sys
import weakref
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from http.client import HTTPResponse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop
from gunicorn.config import Config
from gunicorn.glogging import Logger
from inference.api_keys import key_file
from inference.api_keys.key_file import ApiKey
from inference.http.application import Service
from inference.http.client_times import HEAD_SECONDS, IDLE_SECONDS, LINGER_SECONDS
from inference.http.connection import READ_BYTES, Clients, Connection
from inference.http.gunicorn_worker import OTHER_FILES, ServingWorker, connections_with_files
from inference.http.intake import MOST_PIPELINED, Intake
from inference.http.request_parser import RequestReader
from inference.model.observation import Observation
from inference.request.admission import LARGE_BYTES, MOST_WAITING, AdmissionControl
from inference.request.context import RequestContext
from inference.settings import Settings
from inference.telemetry.log import RequestLog

from tests.unit.serving import SERVED, at_once, service_of

BODY = b'{"instances": [[1, 2]]}'
# A large body, whose answer is more than what the operating system keeps for a client that does not read it.
MANY_ROWS, SEND_BUFFER_BYTES = LARGE_BYTES // 8, 64 * 1024
MANY = json.dumps({"instances": [[2, 1]] * MANY_ROWS}).encode().ljust(2 * LARGE_BYTES)
PREDICTED = {"predictions": [0]}
BODY_SECONDS = 7.0


class Unclosed(io.BytesIO):
    """What was received, of which several answers are read one after the other."""

    def close(self) -> None:
        """Stay open for the next answer."""


class Running:
    """A worker's connections, which listen on a port of their own as long as a test lasts."""

    def __init__(self, clients: Clients, port: int) -> None:
        self.clients, self.port, self.service = clients, port, clients.service
        self.now = 0.0

    async def connect(self) -> "Client":
        return Client(*await asyncio.open_connection("127.0.0.1", self.port))

    async def is_quiet(self) -> None:
        """Wait until all is done that can be done, and nobody is there any more."""
        await eventually(lambda: not len(self.clients.all))

    def pass_time(self, seconds: float) -> None:
        """Do what a worker does each second, so much later."""
        self.now += seconds
        self.clients.all.sweep(self.clients.loop.time() + self.now)


class Client:
    """The other end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, content: bytes) -> None:
        self.writer.write(content)
        await self.writer.drain()

    async def received(self) -> bytes:
        """Return all that comes until the other side closes."""
        found = b""
        try:
            while piece := await self.reader.read(1 << 16):
                found += piece
        except ConnectionResetError:
            found += b"<reset>"
        self.writer.close()
        return found


async def eventually(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def served(settings: Settings | None = None, run: Any = at_once, version: Any = SERVED) -> Service:
    settings = settings or Settings(connections=2, body_seconds=BODY_SECONDS)
    return service_of(
        version, settings=settings, admission=AdmissionControl(settings.queue_seconds, settings.max_body_bytes, run)
    )


def running(
    test: Callable[[Running], Coroutine[Any, Any, Any]], service: Service | None = None, limit: int = 100
) -> Any:
    """Run a test beside a server; all connections have to be closed after it, and nothing may be held or in flight."""
    service = service or served()

    async def run() -> Any:
        clients = Clients(service, asyncio.get_running_loop(), limit)
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        server = await clients.loop.create_server(clients.connection, sock=listening)
        world = Running(clients, listening.getsockname()[1])
        async with asyncio.timeout(30):
            found = await test(world)
            await world.is_quiet()
        server.close()
        assert clients.service.admission._bytes == 0
        assert service.telemetry.metrics.in_flight == 0
        return found

    return uvloop.run(run())


def request(method: str = "POST", path: str = "/invocations", body: bytes = BODY, *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
    if not any(header.startswith("Transfer-Encoding") for header in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def exchange(sent: bytes, ends: bool = True, service: Service | None = None) -> bytes:
    """Send all there is, and no more after it unless `ends` is false; return all that comes back."""

    async def test(world: Running) -> bytes:
        client = await world.connect()
        await client.send(sent)
        if ends:
            client.writer.write_eof()
        return await client.received()

    return running(test, service)


def answers(sent: bytes, *methods: str, ends: bool = True) -> list[tuple[int, dict[str, str], bytes]]:
    """Return status, headers and body of each answer."""
    return answers_in(exchange(sent, ends), *methods)


def answers_in(content: bytes, *methods: str) -> list[tuple[int, dict[str, str], bytes]]:
    received = Unclosed(content)
    found: list[Any] = []
    while received.tell() < len(received.getvalue()):
        method = methods[len(found)] if len(found) < len(methods) else "POST"
        response = HTTPResponse(SimpleNamespace(makefile=lambda mode: received), method=method)  # type: ignore[arg-type]
        response.begin()
        found.append((response.status, dict(response.getheaders()), response.read()))
    return found


def test_requests_on_one_connection_are_answered_in_their_order() -> None:
    other = request(body=b'{"instances": [[2, 1]]}')
    first, second, third = answers(request() + other + request("GET", "/health", b"", "Connection: close"))
    assert [json.loads(body) for _, _, body in (first, second)] == [PREDICTED, {"predictions": [1]}]
    assert json.loads(third[2]) == {"status": "alive"}
    assert [headers["Connection"] for _, headers, _ in (first, second, third)] == ["keep-alive", "keep-alive", "close"]
    assert all("Date" in headers for _, headers, _ in (first, second, third))


def test_observers_see_what_was_predicted_for_which_rows_and_break_nothing() -> None:
    seen: list[Observation] = []

    def fails(*observations: Observation) -> None:
        raise RuntimeError("no room")

    service = service_of(SERVED, observers=(fails, lambda *found: seen.extend(found)))
    sent = request(path="/predict_names") + request(body=b"no JSON") + request("GET", "/health", b"") + request()
    statuses = [status for status, _, _ in answers_in(exchange(sent, service=service))]
    assert statuses == [200, 400, 200, 200]
    names, labels = seen
    assert (names.deployment, len(names.rows)) == (SERVED, 1)
    assert names.request_id != labels.request_id
    assert names.prediction.labels is None
    assert names.prediction.probabilities is not None
    assert names.prediction.probabilities.shape == (1, 2)
    assert (labels.prediction.labels is not None, labels.prediction.engine) == (True, "scikit-learn")
    assert 0 < labels.seconds < 30


@pytest.mark.parametrize("rows", [1, 20_000, MANY_ROWS])
def test_no_answer_leaves_before_observers_have_seen_what_it_says(rows: int) -> None:
    """Of one row several are answered at a time; of many, what is written is more than the loop holds back."""
    count, clients, seen = 4, list[socket.socket](), list[str]()
    came: dict[socket.socket, bytes] = {}
    unseen: list[int] = []

    def answered() -> int:
        for one in clients:
            with suppress(BlockingIOError):
                while piece := one.recv(1 << 20):
                    came[one] += piece
        return sum(content.count(b"HTTP/1.1 200") for content in came.values())

    def look(*observations: Observation) -> None:
        unseen.append(max(0, answered() - len(seen)))
        seen.extend(one.request_id for one in observations)

    async def test(world: Running) -> None:
        sent = request("POST", "/invocations", json.dumps({"instances": [[2, 1]] * rows}).encode()) * count
        for _ in range(3):
            one = socket.create_connection(("127.0.0.1", world.port))
            one.setblocking(False)
            clients.append(one)
            came[one] = b""
        sending = [asyncio.create_task(world.clients.loop.sock_sendall(one, sent)) for one in clients]
        await eventually(lambda: answered() == count * len(clients))
        await asyncio.gather(*sending)
        for one in clients:
            one.close()

    service = service_of(SERVED, observers=(look,))
    running(test, service)
    assert len(set(seen)) == count * 3
    assert not any(unseen)


def test_a_small_body_that_unpacks_to_a_large_one_is_read_aside() -> None:
    large, small = BODY + b" " * LARGE_BYTES, BODY
    aside: list[int] = []

    async def run(function: Any, context: Any) -> Any:
        aside.append(len(context.body))
        return function(context)

    bodies = [gzip.compress(large), gzip.compress(small), gzip.compress(b" " * 17 * 1024 * 1024), small]
    codings = ["Content-Encoding: gzip"] * 3 + ["X: y"]
    sent = b"".join(request("POST", "/invocations", *pair) for pair in zip(bodies, codings, strict=True))
    found = answers_in(exchange(sent, service=served(run=run)))
    assert [status for status, _, _ in found] == [200, 200, 413, 200]
    assert [json.loads(body) for status, _, body in found if status == 200] == [PREDICTED] * 3
    assert aside == [len(bodies[0]), len(bodies[2])]


def test_small_bodies_that_unpack_to_large_ones_wait_for_their_turn_in_no_larger_number() -> None:
    body = gzip.compress(BODY + b" " * LARGE_BYTES)

    async def test(world: Running) -> list[bytes]:
        clients = [await world.connect() for _ in range(MOST_WAITING + 3)]
        for client in clients:
            await client.send(request("POST", "/invocations", body, "Content-Encoding: gzip"))
        await eventually(lambda: world.service.telemetry.metrics.in_flight == MOST_WAITING + 1)
        released.set()
        for client in clients:
            client.writer.write_eof()
        return [await client.received() for client in clients]

    async def run(function: Any, context: Any) -> Any:
        await released.wait()
        return function(context)

    released = asyncio.Event()
    found = [answers_in(content)[0][0] for content in running(test, served(run=run))]
    assert sorted(found) == [200] * (MOST_WAITING + 1) + [503] * 2


def test_a_client_that_asks_to_close_is_answered_and_closed() -> None:
    ((status, headers, _),) = answers(request("POST", "/invocations", BODY, "Connection: close") + request())
    assert (status, headers["Connection"]) == (200, "close")


def test_a_worker_that_ends_answers_what_has_begun_and_closes() -> None:
    async def test(world: Running) -> bytes:
        world.clients.is_ending = True
        client = await world.connect()
        await client.send(request() + request())
        return await client.received()

    ((status, headers, _),) = answers_in(running(test))
    assert (status, headers["Connection"]) == (200, "close")


@pytest.mark.parametrize("path", ["/invocations", "/health", "/nothing"])
def test_an_answer_to_head_has_no_body_that_would_be_taken_for_the_next_answer(path: str) -> None:
    head, after = answers(request("HEAD", path, b"") + request(), "HEAD")
    assert head[2] == b""
    assert int(head[1]["Content-Length"]) > 0
    assert json.loads(after[2]) == PREDICTED


def test_options_are_told_without_a_body() -> None:
    options, after = answers(request("OPTIONS", body=b"") + request(), "OPTIONS")
    assert (options[0], options[1]["Allow"]) == (204, "OPTIONS, POST")
    assert after[0] == 200


def test_a_body_may_come_in_chunks() -> None:
    chunks = b"5\r\n" + BODY[:5] + b"\r\n12\r\n" + BODY[5:] + b"\r\n0\r\n\r\n"
    sent = request("POST", "/invocations", chunks, "Transfer-Encoding: chunked")
    assert [json.loads(body) for _, _, body in answers(sent + request())] == [PREDICTED, PREDICTED]


@pytest.mark.parametrize(
    "chunks", [b"zz\r\n", b"5\r\nabc", b"5\r\nhello!!", b"5\r\nhello\r\n0\r\nbad trailer\r\n\r\n"], ids=repr
)
def test_chunks_that_are_none_are_the_clients_mistake(chunks: bytes) -> None:
    sent = request("POST", "/invocations", chunks, "Transfer-Encoding: chunked")
    status, _, body = answers(sent)[0]
    assert (status, json.loads(body)["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize(
    "sent",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nContent-Length: " + b"0" * 5000 + b"\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: magic\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
    ids=lambda sent: repr(sent)[:50],
)
def test_a_malformed_request_is_a_400_like_all_others_and_the_end(sent: bytes) -> None:
    ((status, headers, body),) = answers(sent)
    assert (status, headers["Connection"], headers["X-Model-Version"]) == (400, "close", "7")
    assert json.loads(body)["message"].startswith("malformed request: ")


def test_a_client_that_leaves_in_the_middle_of_a_body_is_told_so() -> None:
    ((status, _, body),) = answers(request()[:-5])
    assert status == 400
    assert "the body ends after 18 of the 23 bytes it is said to have" in json.loads(body)["message"]


def test_a_client_that_says_nothing_gets_no_answer() -> None:
    assert answers(b"") == []


def test_a_client_may_wait_to_be_told_to_go_on() -> None:
    async def test(world: Running) -> bytes:
        client = await world.connect()
        head = request("POST", "/invocations", BODY, "Expect: 100-continue", "Connection: close").removesuffix(BODY)
        await client.send(head)
        assert await client.reader.readexactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(BODY)
        return await client.received()

    assert json.loads(answers_in(running(test))[0][2]) == PREDICTED


def test_a_client_is_told_to_go_on_after_the_answers_to_what_it_asked_before() -> None:
    async def test(world: Running) -> bytes:
        client = await world.connect()
        head = request("POST", "/invocations", BODY, "Expect: 100-continue", "Connection: close").removesuffix(BODY)
        await client.send(request() + head)
        first = await client.reader.readuntil(b"HTTP/1.1 100 Continue\r\n\r\n")
        await client.send(BODY)
        return first.removesuffix(b"HTTP/1.1 100 Continue\r\n\r\n") + await client.received()

    assert [json.loads(body) for _, _, body in answers_in(running(test))] == [PREDICTED, PREDICTED]


def test_a_client_that_has_sent_its_body_is_not_told_to_go_on() -> None:
    sent = request() + request("POST", "/invocations", BODY, "Expect: 100-continue") + request()
    assert [json.loads(body) for _, _, body in answers(sent)] == [PREDICTED] * 3


def test_a_client_that_waits_to_send_what_is_refused_is_told_so_instead() -> None:
    head = request("POST", "/invocations", b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 99999999")
    ((status, headers, _),) = answers(head, ends=False)
    assert (status, headers["Connection"]) == (413, "close")


# --- API keys ------------------------------------------------------------------------------------------------------


def asking_for_keys(folder: Path, **key: Any) -> Service:
    """Return a service that lets in who bears the key `sesame`."""
    keys = [ApiKey(sha256(b"sesame").digest(), "shop", frozenset(["predict"]), key.get("rate"), "2026-11-26")]
    (folder / "api-keys").write_bytes(key_file.written(keys))
    settings = Settings(api_keys_file=folder / "api-keys", cache_dir=folder, workers=1, body_seconds=BODY_SECONDS)
    return service_of(SERVED, settings=settings)


def test_each_request_of_a_connection_is_let_in_by_its_own_key(tmp_path: Path) -> None:
    keyed = request("POST", "/invocations", BODY, "X-API-Key: sesame")
    sent = keyed + request() + keyed + request("GET", "/version", b"") + request("GET", "/health", b"") + keyed
    found = answers_in(exchange(sent, service=asking_for_keys(tmp_path)))
    assert [status for status, _, _ in found] == [200, 401, 200, 401, 200, 200]


def test_a_key_that_is_revoked_between_two_requests_of_a_connection_is_refused(tmp_path: Path) -> None:
    keyed, service = request("POST", "/invocations", BODY, "Authorization: Bearer sesame"), asking_for_keys(tmp_path)

    async def test(world: Running) -> bytes:
        client = await world.connect()
        await client.send(keyed)
        first = await client.reader.readuntil(b"}")
        other = ApiKey(sha256(b"other").digest(), "other", frozenset(["predict"]), None, "2026-11-26")
        key_file.replace(tmp_path / "api-keys", key_file.written([other]))
        world.service.look_around()
        await client.send(keyed)
        client.writer.write_eof()
        return first + await client.received()

    assert [status for status, _, _ in answers_in(running(test, service))] == [200, 401]


@pytest.mark.parametrize("length", ["Content-Length: 99999999999", "Transfer-Encoding: chunked"])
def test_without_a_key_a_body_is_not_kept_and_a_long_one_not_waited_for(tmp_path: Path, length: str) -> None:
    service = asking_for_keys(tmp_path)

    async def test(world: Running) -> bytes:
        client = await world.connect()
        await client.send(f"POST /invocations HTTP/1.1\r\nHost: localhost\r\n{length}\r\n\r\n".encode())
        piece = b"x" * 65536
        if "chunked" in length:
            piece = b"10000\r\n" + piece + b"\r\n"
        for _ in range(LARGE_BYTES // 65536 + 1):
            await client.send(piece)
        found = await client.reader.readuntil(b"}")
        assert world.service.admission._bytes == 0
        client.writer.close()
        return found

    found = running(test, service)
    assert found.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert b"WWW-Authenticate: Bearer\r\n" in found


@pytest.mark.parametrize(("header", "status"), [("X: y", 401), ("X-API-Key: sesame", 429)])
def test_who_waits_to_send_what_no_key_lets_in_is_told_so_instead(tmp_path: Path, header: str, status: int) -> None:
    waits = request("POST", "/invocations", b"", "Expect: 100-continue", header).replace(b"Length: 0", b"Length: 9999")
    first = request("POST", "/invocations", BODY, "X-API-Key: sesame")
    found = answers_in(exchange(first + waits, ends=False, service=asking_for_keys(tmp_path, rate=0.01)))
    assert [(code, headers["Connection"]) for code, headers, _ in found] == [(200, "keep-alive"), (status, "close")]


def test_a_large_request_takes_one_of_its_keys_rate(tmp_path: Path) -> None:
    service = asking_for_keys(tmp_path, rate=2)
    service.telemetry.metrics._due = math.inf  # what is counted stays to be looked at
    large = request("POST", "/invocations", MANY, "X-API-Key: sesame")
    found = answers_in(exchange(large * 3, service=service))
    assert [status for status, _, _ in found] == [200, 200, 429]
    assert service.telemetry.metrics._keys == {("shop", "200"): 2, ("shop", "429"): 1}


def test_a_connection_too_many_is_told_so_at_once() -> None:
    async def test(world: Running) -> bytes:
        others = [await world.connect() for _ in range(2)]
        for other in others:
            await other.send(request()[:-1])
        await eventually(lambda: world.clients.all._silent == {} and len(world.clients.all) == 2)
        client = await world.connect()
        await client.send(request())
        received = await client.received()
        for other in others:
            await other.send(BODY[-1:])
            assert (await other.reader.read(1 << 16)).startswith(b"HTTP/1.1 200")
            other.writer.close()
        return received

    received = running(test, limit=2)
    assert received.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"Retry-After: 1\r\n" in received
    assert b"there are 2 connections already; try again" in received


def test_thousands_of_half_heads_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.http.connections.SILENT_SECONDS", 0.0)

    async def test(world: Running) -> None:
        others = [await world.connect() for _ in range(60)]
        for other in others:
            await other.send(b"GET /health HTTP/1.1\r\nHost: loc")
        for path in ("/health", "/ready", "/version"):
            client = await world.connect()
            await client.send(request("GET", path, b"", "Connection: close"))
            assert (await client.received()).startswith(b"HTTP/1.1 200")
        assert len(world.clients.all) <= 20
        for other in others:
            other.writer.close()

    running(test, limit=20)


def test_what_becomes_large_is_answered_aside_in_its_order_while_others_are_answered() -> None:
    asides: list[asyncio.Future[None]] = []

    async def waits(function: Any, *arguments: Any) -> Any:
        asides.append(asyncio.get_running_loop().create_future())
        await asides[-1]
        return function(*arguments)

    async def test(world: Running) -> bytes:
        client, other = await world.connect(), await world.connect()
        await client.send(request(body=MANY) + request("POST", "/invocations", BODY, "Connection: close"))
        await eventually(lambda: asides)
        await other.send(request("POST", "/invocations", BODY, "Connection: close"))
        assert (await other.received()).startswith(b"HTTP/1.1 200")
        asides[0].set_result(None)
        return await client.received()

    first, second = answers_in(running(test, served(run=waits)))
    assert json.loads(first[2]) == {"predictions": [1] * MANY_ROWS}
    assert json.loads(second[2]) == PREDICTED
    assert len(asides) == 1


@pytest.mark.parametrize("path", ["/invocations", "/predict_names", f"/v2/models/{SERVED.version.name}/infer"])
def test_a_small_request_whose_rows_take_long_is_answered_aside_and_others_meanwhile(path: str) -> None:
    asides: list[asyncio.Future[None]] = []

    async def waits(function: Any, *arguments: Any) -> Any:
        asides.append(asyncio.get_running_loop().create_future())
        await asides[-1]
        return function(*arguments)

    content: dict[str, Any] = {"instances": [[1, 2]] * 30}
    if path.endswith("/infer"):
        content = {"inputs": [{"name": "x", "shape": [30, 2], "datatype": "INT64", "data": [1, 2] * 30}]}
    long = request("POST", path, json.dumps(content).encode())

    async def test(world: Running) -> bytes:
        client, other = await world.connect(), await world.connect()
        await client.send(long + request("POST", "/invocations", BODY, "Connection: close"))
        await eventually(lambda: asides)
        await other.send(request("POST", "/invocations", BODY, "Connection: close"))
        assert (await other.received()).startswith(b"HTTP/1.1 200")
        asides[0].set_result(None)
        return await client.received()

    slow = replace(SERVED, model=replace(SERVED.model, row_seconds=(0.0, 0.001)))
    first, second = answers_in(running(test, served(run=waits, version=slow)))
    assert (first[0], first[2].count(b"0")) >= (200, 30)
    assert json.loads(second[2]) == PREDICTED
    assert len(asides) == 1


def test_a_small_body_that_takes_long_to_read_is_answered_aside() -> None:
    asides: list[Any] = []

    async def aside(function: Any, *arguments: Any) -> Any:
        asides.append(function)
        return function(*arguments)

    table = b"length,width\n" + b"1,2\n" * 50_000
    found = []
    for body in (table, table + b"1,x\n"):
        sent = request("POST", "/invocations", body).replace(b"application/json", b"text/csv")
        found += answers_in(exchange(sent, service=served(run=aside)))
    assert [status for status, _, _ in found] == [200, 400]
    assert json.loads(found[1][2])["where"] == "row 50001, 'width'"
    assert len(asides) == 2


def test_a_client_that_leaves_while_it_is_answered_aside_is_counted_until_that_has_ended() -> None:
    asides: list[asyncio.Future[None]] = []

    async def waits(function: Any, *arguments: Any) -> Any:
        asides.append(asyncio.get_running_loop().create_future())
        await asides[-1]
        return function(*arguments)

    async def test(world: Running) -> None:
        client = await world.connect()
        await client.send(request(body=MANY))
        await eventually(lambda: asides)
        (connection,) = await has(world)
        connection._transport.abort()
        await world.is_quiet()
        client.writer.close()
        assert world.service.admission._bytes == len(MANY)
        asides[0].set_result(None)
        await eventually(lambda: world.service.admission._bytes == 0)

    running(test, served(run=waits))


BODIES = {
    "whole": request(),
    "whole and large": request(body=b" " * 2 * LARGE_BYTES),
    "cut off": request()[:-5],
    "large and cut off": request(body=b" " * 2 * LARGE_BYTES)[:-5],
    "too large": request(body=b" " * 5 * LARGE_BYTES),
    "in chunks": request("POST", "/invocations", b"2\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    "in chunks, broken": request("POST", "/invocations", b"2\r\n{}\r\nno", "Transfer-Encoding: chunked"),
    "in chunks, cut off": request("POST", "/invocations", b"2\r\n{}\r\n4", "Transfer-Encoding: chunked"),
    "in chunks, too large": request(
        "POST",
        "/invocations",
        b"100000\r\n" + b" " * 0x100000 + b"\r\n" + b"30000\r\n" + b" " * 0x30000,
        "Transfer-Encoding: x",
    ).replace(b"Encoding: x", b"Encoding: chunked"),
    "to what takes none": request("POST", "/health", b"x" * 2 * LARGE_BYTES),
}


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("leaves", [False, True], ids=["ends", "leaves"])
def test_whatever_becomes_of_a_body_it_is_held_no_longer_than_its_request(kind: str, leaves: bool) -> None:
    """`running` looks whether anything is held."""

    async def test(world: Running) -> bytes:
        client = await world.connect()
        await client.send(BODIES[kind])
        if leaves:
            client.writer.transport.abort()
            return b""
        client.writer.write_eof()
        return await client.received()

    received = running(test, served(Settings(max_body_bytes=4 * LARGE_BYTES)))
    assert leaves or answers_in(received)[0][0] in (200, 400, 405, 413)


class Noting:
    """A service whose requests' bodies can be asked after."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.requests: list[weakref.ref[RequestContext]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._service, name)

    def answer(self, context: RequestContext) -> Any:
        self.requests.append(weakref.ref(context))
        return self._service.answer(context)

    async def answer_aside(self, context: RequestContext, is_large: bool) -> Any:
        self.requests.append(weakref.ref(context))
        return await self._service.answer_aside(context, is_large)


def test_a_fault_in_reading_is_an_answer_in_its_order_and_as_many_lines_in_the_log_as_requests_may_have(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Faulty(Noting):
        def wants_body(self, context: RequestContext) -> bool:
            if context.route.endpoint == "/predict_names":
                raise ZeroDivisionError("a fault")
            return self._service.wants_body(context)

    service: Any = Faulty(service_of(SERVED, log=RequestLog(2, os.open(os.devnull, os.O_WRONLY))))

    async def test(world: Running) -> list[bytes]:
        found = []
        for _ in range(9):
            client = await world.connect()
            await client.send(request() + request(path="/predict_names"))
            found.append(await client.received())
        return found

    for received in running(test, service):
        good, broken = answers_in(received)
        assert (good[0], broken[0], broken[1]["Connection"]) == (200, 400, "close")
    assert 0 < caplog.text.count("a fault") <= 2


@pytest.fixture
def no_garbage_collector() -> Iterator[None]:
    gc.collect()
    gc.freeze()  # what is there before is neither looked through again nor found
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_garbage_collector")
@pytest.mark.parametrize("body", [BODY, b" " * 2 * LARGE_BYTES], ids=["small", "large"])
def test_the_body_of_a_request_is_kept_no_longer_than_until_its_answer(body: Any) -> None:
    service: Any = Noting(served())

    async def test(world: Running) -> None:
        client = await world.connect()
        await client.send(request(body=body))
        await client.reader.readuntil(b"}")
        await eventually(lambda: [one() for one in service.requests] == [None])
        client.writer.close()

    running(test, service)


LEAVING = {
    "nothing": b"",
    "an answer": request(),
    "a refusal": request("GET"),
    "half a head": request()[:30],
    "half a body": request()[:-5],
    "half a large body": request(body=b" " * 2 * LARGE_BYTES)[:-5],
    "half a body that is refused": request("PUT")[:-5],
    "no HTTP": b"hello\r\n\r\n",
    "many requests": request() * 40,
}


@pytest.mark.usefixtures("no_garbage_collector")
@pytest.mark.parametrize("sent", LEAVING.values(), ids=LEAVING)
def test_of_a_connection_that_is_over_nothing_is_left_for_the_garbage_collector(sent: Any) -> None:
    async def test(world: Running) -> list[Any]:
        client = await world.connect()
        await client.send(sent)
        await eventually(lambda: len(world.clients.all))
        client.writer.write_eof()
        await client.received()
        await world.is_quiet()
        return [one for one in gc.get_objects() if type(one) in (Connection, Intake, RequestReader)]

    assert running(test) == []


def test_large_bodies_that_come_in_chunks_are_bounded_together_with_the_others() -> None:
    async def test(world: Running) -> bytes:
        admission, most = world.service.admission, world.service.admission._most_bytes
        admission.hold(most)
        client = await world.connect()
        await client.send(
            request(
                "POST", "/invocations", b"80000\r\n" + b" " * 0x80000, "Transfer-Encoding: chunked", "Connection: close"
            )
        )
        received = await client.reader.readuntil(b"try again")
        client.writer.close()
        admission.release(most)
        return received

    received = running(test)
    assert received.startswith(b"HTTP/1.1 503")
    assert b"too many large requests are on their way" in received


def test_what_is_refused_is_read_to_its_end_and_the_next_request_is_answered() -> None:
    first, second = answers(request(body=b" " * (17 << 20)) + request())
    assert first[0] == 413
    assert json.loads(second[2]) == PREDICTED


def test_a_read_is_bounded_and_after_a_whole_one_the_others_have_their_turn() -> None:
    async def test(world: Running) -> None:
        small, large = await world.connect(), await world.connect()
        await large.send(b"POST /health HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (100 * READ_BYTES))
        order: list[str] = []

        async def ask() -> None:
            await small.send(request("GET", "/health", b"", "Connection: close"))
            await small.received()
            order.append("small")

        async def upload() -> None:
            await large.send(b" " * 100 * READ_BYTES)
            large.writer.write_eof()
            await large.received()
            order.append("large")

        await asyncio.gather(upload(), ask())
        assert order == ["small", "large"]

    running(test)


def test_a_client_that_asks_again_and_again_lets_others_have_their_turn() -> None:
    async def test(world: Running) -> int:
        busy, other = await world.connect(), await world.connect()
        many = 200
        await busy.send(request("GET", "/health", b"") * many)
        await other.send(request("GET", "/health", b"", "Connection: close"))
        await other.received()
        received = b""
        while received.count(b'"alive"') < many:
            received += await busy.reader.read(1 << 16)
        busy.writer.close()
        return received.count(b'"alive"')

    assert running(test) == 200


def test_bodies_in_tiny_chunks_are_taken_apart_in_turns_and_others_are_answered_in_between() -> None:
    clients, tiny = 20, b"5\r\n     \r\n"
    body = BODY + b" " * (-len(BODY) % 5)
    first = b"".join(b"5\r\n%b\r\n" % body[start : start + 5] for start in range(0, len(body), 5))
    head = request("POST", "/invocations", b"", "Transfer-Encoding: chunked", "Connection: close")
    count = (READ_BYTES - len(head) - len(first)) // len(tiny)

    async def test(world: Running) -> list[bytes]:
        senders = [await world.connect() for _ in range(clients)]
        other = await world.connect()
        for sender in senders:  # all is in the kernel before the worker has a turn
            sender.writer.write(head + first + tiny * count)
        other.writer.write(request("GET", "/health", b"", "Connection: close"))
        assert b'"alive"' in await other.received()
        seen = world.service.admission._bytes
        assert seen < clients * 5 * count / 2, f"{seen} bytes were taken apart before anybody else had a turn"
        await eventually(lambda: world.service.admission._bytes >= clients * (len(body) + 5 * count))
        for sender in senders:
            await sender.send(b"0\r\n\r\n")
        return [await sender.received() for sender in senders]

    found = [answers_in(received) for received in running(test)]
    assert [(status, json.loads(content)) for ((status, _, content),) in found] == [(200, PREDICTED)] * clients


def test_a_body_in_chunks_has_its_time_however_often_some_of_it_comes() -> None:
    async def test(world: Running) -> bytes:
        client = await world.connect()
        await client.send(request("POST", "/invocations", b"", "Transfer-Encoding: chunked"))
        for count in range(1, 4):
            await client.send(b"5\r\n     \r\n")
            await eventually(lambda count=count: world.service.admission._bytes == 5 * count)  # type: ignore[misc]
            world.pass_time(BODY_SECONDS / 4)
        world.pass_time(BODY_SECONDS / 2)
        return await client.received()

    ((status, _, content),) = answers_in(running(test))
    assert status == 400
    assert b"took longer than 7 s" in content


class Watching:
    """A service beside which something is done at each answer."""

    def __init__(self, service: Service, beside: Callable[[], Any]) -> None:
        self._service, self._beside = service, beside

    def __getattr__(self, name: str) -> Any:
        return getattr(self._service, name)

    def answer(self, context: Any) -> Any:
        self._beside()
        return self._service.answer(context)


async def alive(client: Client, count: int) -> None:
    """Read so many answers of /health."""
    received = b""
    while received.count(b'"alive"') < count:
        received += await client.reader.read(1 << 16)
    client.writer.close()


@pytest.mark.parametrize("sent", [b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", request("GET", "/health", b"")])
def test_requests_that_come_all_at_once_are_taken_apart_a_few_at_a_time(sent: bytes) -> None:
    service: Service = served()
    in_flight: list[int] = []

    async def test(world: Running) -> None:
        client = await world.connect()
        await client.send(sent * 300)
        await alive(client, 300)

    running(test, Watching(service, lambda: in_flight.append(service.telemetry.metrics.in_flight)))  # type: ignore[arg-type]
    assert len(in_flight) == 300
    assert max(in_flight) <= MOST_PIPELINED


def test_whatever_comes_in_whatever_pieces_is_answered_in_its_order() -> None:
    chunks = b"4\r\n" + b"\r\n\r\n" + b"\r\n17\r\n" + BODY + b"\r\n0\r\n\r\n"
    chunked = request("POST", "/invocations", chunks, "Transfer-Encoding: chunked")
    kinds: list[tuple[bytes, Any]] = [
        (request(), PREDICTED),
        (request(body=b'{"instances": [[2, 1]]}' + b"\r\n" * 400), {"predictions": [1]}),
        (request("GET", "/health", b""), {"status": "alive"}),
        (b"GET /health HTTP/1.1\r\n\r\n", {"status": "alive"}),
        (chunked, PREDICTED),
    ]
    chance = random.Random(7)  # noqa: S311 - no secret

    async def test(world: Running) -> None:
        for _ in range(20):
            asked = chance.choices(kinds, k=chance.randrange(1, 40))
            sent = b"".join(content for content, _ in asked)
            client = await world.connect()
            while sent:
                size = chance.choice([1, 17, 300, 5000, 70000])
                await client.send(sent[:size])
                sent = sent[size:]
                await asyncio.sleep(0)
            client.writer.write_eof()
            found = answers_in(await client.received())
            assert [json.loads(body) for _, _, body in found] == [answer for _, answer in asked]

    running(test)


def test_requests_that_are_not_taken_apart_yet_are_something_to_do() -> None:
    """Those that have nothing to do are closed: not even where that comes between two parts of what has come."""
    worlds: list[Running] = []

    def end_idle() -> None:
        clients = worlds[0].clients
        clients.loop.call_soon(clients.all.end_idle)

    async def test(world: Running) -> None:
        worlds.append(world)
        client = await world.connect()
        await client.send(request("GET", "/health", b"") * 4 * MOST_PIPELINED)
        await alive(client, 4 * MOST_PIPELINED)

    running(test, Watching(served(), end_idle))  # type: ignore[arg-type]


def test_answers_are_counted_while_they_are_unread_however_small_each_is() -> None:
    async def test(world: Running) -> None:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            await world.clients.loop.sock_connect(client, ("127.0.0.1", world.port))
            await world.clients.loop.sock_sendall(client, request("GET", "/openapi.json", b"") * 300)
            (connection,) = await has(world)
            await eventually(lambda: connection.times.state == "unread")
            assert world.service.admission._bytes == connection._transport.get_write_buffer_size() > 0
            connection._transport.abort()

    running(test)


def test_a_prediction_is_refused_while_too_many_answers_are_unread_and_all_else_is_answered() -> None:
    async def test(world: Running) -> bytes:
        admission = world.service.admission
        slow: Any = object()
        admission.keep(slow, admission._most_held + 1)
        client = await world.connect()
        await client.send(request() + request("GET", "/health", b"", "Connection: close"))
        received = await client.received()
        admission.let_go(slow)
        return received

    refused, healthy = answers_in(running(test))
    assert (refused[0], json.loads(refused[2])["error_code"]) == (503, "RESOURCE_EXHAUSTED")
    assert healthy[0] == 200


@pytest.mark.parametrize("size", [LARGE_BYTES, 4 * LARGE_BYTES])
def test_a_body_counts_as_it_comes_and_not_as_it_is_announced(size: Any) -> None:
    async def test(world: Running) -> None:
        client = await world.connect()
        await client.send(request(body=b" " * size)[: -size + 10])
        await eventually(lambda: world.service.admission._bytes == 10)
        client.writer.close()

    running(test)


def test_large_bodies_that_are_announced_and_never_come_keep_no_other_out() -> None:
    large = request(body=b" " * 2 * LARGE_BYTES)

    async def test(world: Running) -> bytes:
        silent = [await world.connect() for _ in range(9)]
        for client in silent:
            await client.send(large[: -2 * LARGE_BYTES])
        await eventually(lambda: world.service.telemetry.metrics.in_flight == len(silent))
        asking = await world.connect()
        await asking.send(large)
        received = await asking.reader.readuntil(b"}")
        for client in [*silent, asking]:
            client.writer.close()
        return received

    assert b"503" not in running(test, served(Settings(max_body_bytes=2 * LARGE_BYTES)))[:30]


def kept_for(sent: bytes, *seconds: float) -> tuple[bool, bytes]:
    """Send some bytes and no more; return whether the connection is there after all these seconds, and what came back."""

    async def test(world: Running) -> tuple[bool, bytes]:
        client = await world.connect()
        await client.send(sent)
        (connection,) = await has(world)
        await eventually(lambda: not sent or connection.times.state != "idle")
        for part in seconds:
            world.pass_time(part)
            await asyncio.sleep(0)
        is_there = connection.times.state != "answering" and not connection.is_done
        if is_there:
            connection.give_way()
        return is_there, await client.received()

    found: tuple[bool, bytes] = running(test)
    return found


async def has(world: Running) -> list[Any]:
    await eventually(lambda: len(world.clients.all) == 1)
    return list(world.clients.all._open)


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        (b"", IDLE_SECONDS),
        (b"GE", HEAD_SECONDS),
        (request()[:50], HEAD_SECONDS),
        (request()[:-1], BODY_SECONDS),
        (request(path="/nope")[:-1], HEAD_SECONDS),
    ],
    ids=["nothing", "a method", "half a head", "half a body", "half a body that nobody needs"],
)
def test_a_client_has_so_long_for_what_it_is_to_send_and_no_longer(sent: bytes, seconds: float) -> None:
    assert kept_for(sent, seconds - 1) == (True, b"")
    is_there, received = kept_for(sent, seconds - 1, 2)
    assert not is_there
    if sent.endswith(BODY[:-1]):
        late = f"the body ends after 22 of the 23 bytes it is said to have, or took longer than {seconds:g} s"
        assert late.encode() in received or b" 404 " in received
    else:
        assert received == b""


def test_an_idle_connection_is_closed_after_a_while() -> None:
    async def test(world: Running) -> bytes:
        client = await world.connect()
        await client.send(request())
        received = await client.reader.readuntil(b"}")
        (connection,) = await has(world)
        await eventually(lambda: connection.times.state == "idle")
        world.pass_time(IDLE_SECONDS - 1)
        assert len(world.clients.all) == 1
        world.pass_time(2)
        return received + await client.received()

    assert running(test).startswith(b"HTTP/1.1 200")


def test_who_asked_once_and_sends_half_a_head_has_nothing_to_do_yet() -> None:
    async def test(world: Running) -> None:
        client = await world.connect()
        await client.send(request())
        await client.reader.readuntil(b"}")
        (connection,) = await has(world)
        await eventually(lambda: connection.times.state == "idle")
        since = connection.times.idle_since
        await client.send(b"POST /invoc")
        await eventually(lambda: connection.times.state == "head")
        assert connection.times.idle_since == since
        world.pass_time(HEAD_SECONDS + 1)
        assert await client.received() == b""

    running(test)


def test_a_client_that_does_not_read_its_answer_is_given_up_and_what_is_kept_for_it_with_it() -> None:
    async def test(world: Running) -> None:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            await world.clients.loop.sock_connect(client, ("127.0.0.1", world.port))
            await world.clients.loop.sock_sendall(client, request("POST", "/predict_names", MANY))
            (connection,) = await has(world)
            await eventually(lambda: connection.times.state == "unread")
            assert world.service.admission._bytes > LARGE_BYTES
            world.pass_time(BODY_SECONDS - 1)
            assert len(world.clients.all) == 1
            world.pass_time(2)
            await world.is_quiet()

    running(test)


async def unread(world: Running, sent: bytes) -> socket.socket:
    """Send a request and read nothing of its answer; return the client when it is counted."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    counted = world.service.admission._unread
    latest = [*counted][-1:]
    await world.clients.loop.sock_connect(client, ("127.0.0.1", world.port))
    await world.clients.loop.sock_sendall(client, sent)
    await eventually(lambda: [*counted][-1:] != latest)
    return client


@pytest.mark.parametrize("body", [BODY, b" " * 2 * LARGE_BYTES], ids=["small", "large"])
def test_those_that_do_not_read_their_answers_make_room_for_those_who_ask_next(
    monkeypatch: pytest.MonkeyPatch, body: Any
) -> None:
    monkeypatch.setattr("inference.request.admission.LEAST_HELD", 0)
    monkeypatch.setattr("inference.request.admission.UNREAD_SECONDS", 0.0)
    large = request("POST", "/predict_names", MANY)
    service = served(Settings(max_body_bytes=len(large), body_seconds=BODY_SECONDS))

    async def test(world: Running) -> bytes:
        slow = [await unread(world, large) for _ in range(3)]
        assert len(service.admission._unread) < len(slow)
        asking = await world.connect()
        await asking.send(request("POST", "/invocations", body, "Connection: close"))
        received = await asking.received()
        for client in slow:
            client.close()
        return received

    assert not running(test, service).startswith(b"HTTP/1.1 503")


def test_one_that_was_turned_away_may_read_why_for_a_while_and_no_longer() -> None:
    async def test(world: Running) -> bytes:
        client = await world.connect()
        await client.send(b"hello\r\n\r\n")
        received = await client.reader.readuntil(b"}")
        await client.send(b"more" * 1000)
        assert len(world.clients.all) == 1
        world.pass_time(LINGER_SECONDS + 1)
        await world.is_quiet()
        client.writer.close()
        return received

    assert running(test).startswith(b"HTTP/1.1 400")


def test_a_fault_in_an_answer_ends_its_connection_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    class Faulty:
        def __init__(self, service: Service) -> None:
            self._service = service

        def __getattr__(self, name: str) -> Any:
            return getattr(self._service, name)

        def answer(self, context: RequestContext) -> Any:
            answer = self._service.answer(context)
            if context.environ["PATH_INFO"] == "/ping":
                raise ZeroDivisionError("a fault")
            return answer

    async def test(world: Running) -> bytes:
        faulty, other = await world.connect(), await world.connect()
        await faulty.send(request("GET", "/ping", b""))
        assert await faulty.received() in (b"", b"<reset>")
        await other.send(request("GET", "/health", b"", "Connection: close"))
        return await other.received()

    assert running(test, Faulty(served())).startswith(b"HTTP/1.1 200")  # type: ignore[arg-type]
    assert "a fault" in caplog.text


@pytest.fixture
def worker() -> Iterator[ServingWorker]:
    config = Config()
    worker = ServingWorker(1, os.getppid(), [], SimpleNamespace(), 30, config, Logger(config))
    yield worker
    worker.tmp.close()


def test_a_worker_whose_parent_is_gone_ends(worker: ServingWorker) -> None:
    worker.notify()
    assert worker.alive
    worker.ppid = 0
    worker.notify()
    assert not worker.alive


def backlog_of(listening: socket.socket) -> int:
    """Return how many connections the kernel keeps until they are accepted: tcpi_sacked of TCP_INFO, where one listens."""
    return int(struct.unpack_from("7I", listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 8)[5])


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO is Linux's")
def test_as_many_connections_wait_in_the_kernel_as_gunicorn_has_asked_for(worker: ServingWorker) -> None:
    async def test() -> int:
        with socket.create_server(("127.0.0.1", 0), backlog=777) as listening:
            worker.cfg.set("backlog", 777)
            worker.wsgi, worker.sockets = served(), [SimpleNamespace(sock=listening)]
            serving = asyncio.create_task(worker._serve())
            client = Client(*await asyncio.open_connection(*listening.getsockname()))
            await client.send(request("GET", "/health", b"", "Connection: close"))
            assert (await client.received()).startswith(b"HTTP/1.1 200")
            found = backlog_of(listening)
            os.kill(os.getpid(), signal.SIGTERM)
            await serving
            return found

    assert uvloop.run(test()) == 777


def test_a_request_that_waits_in_the_kernel_when_the_worker_ends_is_answered(worker: ServingWorker) -> None:
    async def test() -> bytes:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            clients = Clients(served(), asyncio.get_running_loop(), 9)
            worker.sockets = [SimpleNamespace(sock=listening)]
            server = await clients.loop.create_server(clients.connection, sock=listening)
            # The kernel takes both, and the loop has had no moment to look.
            client = socket.create_connection(listening.getsockname())
            client.sendall(request("GET", "/health", b"", "Connection: close"))
            await worker._stop_listening([server], clients)
            client.setblocking(False)
            received = await clients.loop.sock_recv(client, 1 << 16)
            client.close()
            return bytes(received)

    assert uvloop.run(test()).startswith(b"HTTP/1.1 200")


@pytest.fixture
def few_files() -> Iterator[Any]:
    """Let this process open fewer files than it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_worker_may_open_the_files_that_its_connections_need(few_files: Any) -> None:
    assert connections_with_files(200) == 200
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (2 * 200 + OTHER_FILES, few_files)
    assert connections_with_files(100) == 100
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 2 * 200 + OTHER_FILES, "it is not lowered"


def test_where_it_may_not_there_are_fewer_connections_and_the_log_says_so(
    few_files: Any, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = few_files
    assert connections_with_files(wanted) == (few_files - OTHER_FILES) // 2
    assert f"a process may have {few_files} files open, which is enough for" in caplog.text
    assert f"and not for {wanted}; lower INFERENCE_CONNECTIONS" in caplog.text
