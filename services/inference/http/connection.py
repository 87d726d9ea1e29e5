"""One connection of a worker: what comes in is read within limits, and answered in the order in which it came.

- A read is 64 KB at most, and after a whole one the others have their turn: a client holds up nobody for longer than that.
- A request waits in the worker's line until those before it are answered (inference.request.admission), a large one for its thread.
- While something is unanswered no more than one further read is taken in; while an answer is unread, nothing. Of many requests
  in one read a few are taken apart at a time, the rest stays bytes until these are answered.
- A body in chunks is taken apart in turns, a few kilobytes at a time: they may be thousands of chunks.
- A head has to be there within HEAD_SECONDS of its first byte, a body, and the reading of an answer, within
  INFERENCE_BODY_SECONDS; an idle connection is closed after IDLE_SECONDS.
- A body that is refused is read to its end all the same, within bounds, and not kept: most clients see an answer only once
  they have sent their request.
"""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Coroutine
from email.utils import formatdate
from typing import Any

from inference.errors import RequestError
from inference.http.application import Service
from inference.http.connections import Connections
from inference.http.request_parser import MalformedRequest, Request, RequestReader
from inference.model.pacing import TakesLong
from inference.request.admission import LARGE_BYTES, Line
from inference.request.answer import Answer, reason_of
from inference.request.checks import incomplete_body

# How long a connection may be idle: longer than proxies keep theirs, so that it is they who close first.
IDLE_SECONDS = 75
# How long the head of a request may take from its first byte to its last.
HEAD_SECONDS = 10
# How long what a client that was turned away is still sending is read.
LINGER_SECONDS = 5
READ_BYTES = 64 * 1024
# Requests of one connection that wait for their answers; what has come after them is left as it came.
MOST_PIPELINED = 8
# Bytes of the shortest head there is, and of as many as may wait: what comes is taken apart on to the end of the head, or of the
# trailers, that begins within so many.
SHORTEST_HEAD, CHUNKS_BYTES = 18, 128
# Answers that wait for one another where somebody observes what they say: a fraction of a millisecond.
MOST_HELD_BACK = 4
# How much of a body in chunks is taken apart in one turn: half a millisecond where each is a few bytes.
CHUNKS_AT_ONCE = 4096
# Up to this size it is counted how many heads may have come, which costs less than to feed them to the parser one by one.
FEW_BYTES = 2048
# Bytes of answers that wait for their client to read them before they count, and it gets no further one.
UNREAD_BYTES = 64 * 1024
GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"
# How much of a body that is refused is read and thrown away before the connection is closed.
DISCARDED_BYTES = 256 * 1024 * 1024

log = logging.getLogger("inference")


class Clients:
    """What all connections of one worker share."""

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop, limit: int) -> None:
        self.service, self.loop = service, loop
        self.all = Connections(limit)
        self.line, self.reading = Line(loop.call_soon, after=self.let_go), Line(loop.call_soon)
        self._held_back: deque[tuple[Connection, Request, Answer]] = deque()
        # What is read is taken apart before anything else is read.
        self.bytes = bytearray(READ_BYTES)
        self.buffer = memoryview(self.bytes)
        self.is_ending = False
        body_seconds = service.settings.body_seconds
        # How long a client has for what it is to do.
        self.seconds = {
            "idle": IDLE_SECONDS,
            "head": HEAD_SECONDS,
            "body": body_seconds,
            "needless": HEAD_SECONDS,
            "answering": math.inf,
            "unread": body_seconds,
            "closing": body_seconds,
            "lingering": LINGER_SECONDS,
        }
        self._tasks: set[asyncio.Task[None]] = set()
        self._date = 0, ""

    def connection(self) -> "Connection":
        return Connection(self)

    def hold_back(self, connection: "Connection", request: Request, answer: Answer) -> None:
        """Let an answer go once observers have seen what it says; to show them several at once costs less."""
        self._held_back.append((connection, request, answer))
        if len(self._held_back) >= MOST_HELD_BACK:
            self.let_go()

    def let_go(self) -> None:
        """Send what was held back."""
        self.service.observations.show()
        while self._held_back:
            connection, request, answer = self._held_back.popleft()
            connection.send(request, answer)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside all else."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def http_date(self) -> str:
        second = int(time.time())
        if self._date[0] != second:
            self._date = second, formatdate(second, usegmt=True)
        return self._date[1]


class Connection(asyncio.BufferedProtocol):
    """A client."""

    __slots__ = (
        "_aside",
        "_clients",
        "_incoming",
        "_is_done",
        "_is_in_line",
        "_is_last",
        "_is_lingering",
        "_is_lost",
        "_is_over",
        "_is_paused",
        "_is_reading",
        "_is_unread",
        "_owes_go_on",
        "_reader",
        "_requests",
        "_rest",
        "_service",
        "_state",
        "_transport",
        "deadline",
        "idle_since",
        "owing_since",
    )

    def __init__(self, clients: Clients) -> None:
        self._clients, self._service = clients, clients.service
        self._transport: asyncio.Transport
        self._reader: RequestReader
        self._requests: deque[Request | MalformedRequest] = deque()
        """what is to be answered, in its order"""
        self._rest = b""
        """what has come after these, and is not taken apart yet"""
        self._incoming: Request | None = None
        """whose body is on its way"""
        self._aside: Request | None = None
        """who is being answered aside"""
        self._state, self.deadline, self.idle_since, self.owing_since = "", math.inf, math.inf, math.inf
        # It stands in line to be answered, and for what has come to be taken apart; nothing more is read of it; …
        self._is_in_line = self._is_reading = self._is_paused = self._is_unread = self._owes_go_on = False
        # The last request has come; nothing that comes is read any more; the client sends nothing more; it is gone.
        self._is_last = self._is_done = self._is_over = self._is_lost = False
        # It has its last answer, and may read it.
        self._is_lingering = False

    # --- what the transport tells ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._transport.set_write_buffer_limits(UNREAD_BYTES, 0)
        address = transport.get_extra_info("peername")
        self._reader = RequestReader(self, address[0] if address else "")
        if self._clients.all.admit(self, self._clients.loop.time()):
            self._note_state()
        else:
            self._turn_away(self._service.too_many_connections(self._clients.all.limit))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._clients.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._is_done:  # it is thrown away
            return
        had_some = bool(self._requests)
        if self._is_in_chunks():
            self._rest = bytes(self._clients.buffer[:nbytes])
        elif had_some or nbytes > FEW_BYTES or self._clients.bytes.count(b"\r\n\r\n", 0, nbytes) > MOST_PIPELINED:
            self._take(self._clients.bytes, nbytes)
        else:
            self._feed(self._clients.buffer[:nbytes])
        if had_some or self._rest:
            self._pause()
            self._join_readers()
        elif nbytes == READ_BYTES:
            self._pause()
            self._clients.loop.call_soon(self._resume)
        self._note_state()

    def _is_in_chunks(self) -> bool:
        """Tell whether what comes next are chunks of a body, or trailers."""
        return self._incoming is not None and self._incoming.size < 0

    def _take(self, data: bytes | bytearray, end: int) -> None:
        """Take apart what has come, as far as there is room for the requests in it, and time."""
        view, start = memoryview(data), 0
        while start < end and not self._is_done:
            if len(self._requests) >= MOST_PIPELINED or (start >= CHUNKS_AT_ONCE and self._is_in_chunks()):
                self._rest = bytes(view[start:end])
                return
            stop = self._end_of_piece(data, start, end)
            self._feed(view[start:stop])
            start = stop

    def _feed(self, piece: memoryview) -> None:
        try:
            self._reader.feed(piece)
        except MalformedRequest as error:
            self._end_reading(error)
        except Exception:
            self._service.note_fault("what came could not be read")
            self._end_reading(MalformedRequest("the service failed to read it"))

    def _end_of_piece(self, data: bytes | bytearray, start: int, end: int) -> int:
        """Return how far to go before it is looked again how many requests there are."""
        if (one := self._incoming) and one.size > one.seen:
            return min(end, start + one.size - one.seen)  # no head begins in a body
        if end - start <= FEW_BYTES and data.count(b"\r\n\r\n", start, end) <= MOST_PIPELINED - len(self._requests):
            return end
        if one:
            end = min(end, start + CHUNKS_AT_ONCE)
        least = CHUNKS_BYTES if one else SHORTEST_HEAD
        found = data.find(b"\r\n\r\n", start + least - 4, end)
        return end if found < 0 else found + 4

    def _join_readers(self) -> None:
        """Wait for the turn of what has come, unless there are requests to be answered first."""
        if self._rest and not (self._requests or self._is_reading):
            self._is_reading = True
            self._clients.reading.join(self._take_rest)

    def _take_rest(self, _: float) -> None:
        self._is_reading = False
        if self._is_done or self._requests or self._is_unread:
            return
        rest, self._rest = self._rest, b""
        self._take(rest, len(rest))
        if not (self._requests or self._is_done):
            self._go_on()
        self._note_state()

    def eof_received(self) -> bool:
        """Return whether there is something left to answer."""
        self._is_over = True
        if not self._is_done:
            self._end_reading(None)
        return bool(self._requests)

    def pause_writing(self) -> None:
        self._is_unread = True
        self._service.admission.keep(self, self._transport.get_write_buffer_size())
        self._pause()
        self._note_state()

    def resume_writing(self) -> None:
        self._is_unread = False
        self._service.admission.let_go(self)
        self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = self._is_done = True
        self._clients.all.leave(self)
        self._service.admission.let_go(self)
        unanswered = [one for one in self._requests if isinstance(one, Request) and one is not self._aside]
        if self._incoming and not self._incoming.is_queued:
            unanswered.append(self._incoming)
        for request in unanswered:
            self._service.admission.release(request.held)
            self._service.forget()
        self._requests.clear()
        self._incoming, self._rest = None, b""
        self._reader.close()

    # --- what the reader tells ---------------------------------------------------------------------------------------

    def head_came(self, request: Request) -> None:
        if self._is_last:
            raise MalformedRequest("it comes after the last one")
        self._incoming, self._is_last = request, request.closes
        self._clients.all.prove(self)
        request.context = self._service.begin(request.environ)
        if request.size:
            self._prepare(request)

    def _prepare(self, request: Request) -> None:
        """Decide what becomes of a body before it comes."""
        environ = request.environ
        try:
            request.is_kept = self._service.wants_body(request.context)
            if request.is_kept and request.size > LARGE_BYTES:
                self._service.admission.expect(request.size)
        except RequestError as error:
            self._give_up(request, error)
        if environ.get("HTTP_EXPECT", "").lower() != "100-continue" or environ["SERVER_PROTOCOL"] == "HTTP/1.0":
            return
        if request.context.refusal:
            request.closes = self._is_last = True
            self._queue(request)
        elif self._requests:
            self._owes_go_on = True
        else:
            self._transport.write(GO_ON)

    def body_came(self, request: Request, piece: bytes) -> None:
        if request.is_kept:
            try:
                self._keep(request, piece)
            except RequestError as error:
                self._give_up(request, error)
        elif request.seen > DISCARDED_BYTES:
            raise MalformedRequest(f"more than {DISCARDED_BYTES} bytes of its body were thrown away")
        elif request.seen > LARGE_BYTES and _is_early(request):
            self._queue(request)

    def _keep(self, request: Request, piece: bytes) -> None:
        if request.size < 0:
            self._service.checks.check_size(request.seen)
        self._service.admission.hold(len(piece), request.held)
        request.held += len(piece)
        if not request.content:
            request.content = piece
        elif isinstance(request.content, bytes):
            request.content = bytearray(request.content)
            request.content += piece
        else:
            request.content += piece

    def _give_up(self, request: Request, error: RequestError) -> None:
        """Let go of a body: the answer is known."""
        request.context.refusal = request.context.refusal or error.alone()
        self._service.admission.release(request.held)
        request.is_kept, request.held, request.content = False, 0, b""

    def request_came(self, request: Request) -> None:
        self._incoming, self._owes_go_on, request.is_whole = None, False, True
        self._queue(request)

    def _queue(self, request: Request) -> None:
        if not request.is_queued:
            request.is_queued = True
            self._append(request)

    def _append(self, one: Request | MalformedRequest) -> None:
        self._requests.append(one)
        self._join_line()

    def _join_line(self) -> None:
        """Wait for the turn of the first request, unless it has come, or the answer before it is still unread."""
        if self._requests and not (self._is_in_line or self._is_unread or self._aside):
            self._is_in_line = True
            self._clients.line.join(self._take_turn)

    def _end_reading(self, error: MalformedRequest | None) -> None:
        """Read no further: the request is malformed, or the client has ended, or its time has."""
        self._is_done = True
        request, self._incoming = self._incoming, None
        if request:
            request.closes = True
            seconds = self._clients.seconds[self._state_of(request)]
            self._give_up(request, incomplete_body(request.seen, request.size, str(error or ""), seconds))
            if request.is_queued and request not in self._requests:
                self._linger()
            self._queue(request)
        elif error and not self._is_last:
            self._append(error)
        elif not self._requests:
            self._transport.close()
        elif isinstance(last := self._requests[-1], Request):
            last.closes = True

    # --- answers -----------------------------------------------------------------------------------------------------

    def _take_turn(self, waited: float) -> None:
        """Answer the first request, which has waited so many seconds for it."""
        self._is_in_line = False
        if self._is_lost:
            return
        request = self._requests[0]
        if isinstance(request, MalformedRequest):
            self._requests.clear()
            self._turn_away(self._service.malformed_request(str(request)))
            return
        request.context.waited, request.context.body = waited, bytes(request.content)
        is_large, request.content = len(request.content) > LARGE_BYTES, b""
        if is_large:
            self._begin_aside(request, is_large)
            return
        try:
            answer = self._service.answer(request.context)
        except TakesLong:
            # Of a compressed body, what it unpacks to needs the memory.
            self._begin_aside(request, is_large="HTTP_CONTENT_ENCODING" in request.environ)
        except Exception:
            self._fail(request)
        else:
            if answer.seen is None:
                self.send(request, answer)
            else:
                self._clients.hold_back(self, request, answer)

    def _begin_aside(self, request: Request, is_large: bool) -> None:
        self._aside = request
        self._clients.start(self._answer_aside(request, is_large))

    async def _answer_aside(self, request: Request, is_large: bool) -> None:
        try:
            answer = await self._service.answer_aside(request.context, is_large)
        except Exception:
            self._fail(request)
        else:
            self._service.observations.show()
            self.send(request, answer)

    def _fail(self, request: Request) -> None:
        """Close after a fault that the service itself has not made an answer of."""
        log.exception("%s %s failed", request.environ["REQUEST_METHOD"], request.environ["PATH_INFO"])
        request.context.body = b""
        self._aside = request  # which is not to be given up a second time
        self._service.admission.release(request.held)
        self._transport.abort()

    def send(self, request: Request, answer: Answer) -> None:
        """Send the answer to the first request."""
        self._aside = None
        self._service.admission.release(request.held)
        request.context.body = b""
        if self._is_lost:
            return
        self._requests.popleft()
        closes = request.closes or self._clients.is_ending
        # A client would take a body for the beginning of the next answer.
        body = b"" if request.environ["REQUEST_METHOD"] == "HEAD" else answer.body
        self._write(answer, body, closes)
        if not closes:
            self._go_on()
        elif request.is_whole or self._is_over:
            self._is_done = True
            self._transport.close()
            self._note_state()
        else:
            self._linger()

    def _write(self, answer: Answer, body: bytes, closes: bool) -> None:
        lines = [f"HTTP/1.1 {reason_of(answer.status)}\r\nDate: {self._clients.http_date()}"]
        lines += [f"{name}: {value}" for name, value in answer.headers]
        lines.append("Connection: close\r\n\r\n" if closes else "Connection: keep-alive\r\n\r\n")
        head = "\r\n".join(lines).encode("latin-1", "replace")
        if len(body) <= LARGE_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.writelines([head, body])

    def _go_on(self) -> None:
        """Go on to the next request."""
        self._join_line()
        self._join_readers()
        if self._owes_go_on and self._incoming and not self._requests:
            self._owes_go_on = False
            self._transport.write(GO_ON)
        self._resume()
        self._note_state()

    def _turn_away(self, answer: Answer) -> None:
        self._write(answer, answer.body, closes=True)
        self._linger()

    def _linger(self) -> None:
        """Close when the client has seen its answer: what is closed with something unread is reset, and that may be lost."""
        self._is_done = self._is_lingering = True
        if self._is_over or not self._clients.all.turn_away(self):
            self._transport.close()
        else:
            self._transport.write_eof()
            self._resume()
        self._note_state()

    # --- in time -----------------------------------------------------------------------------------------------------

    def _pause(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._is_paused and not (
            self._is_lost or self._requests or self._is_unread or (self._rest and not self._is_done)
        ):
            self._is_paused = False
            self._transport.resume_reading()

    def _note_state(self) -> None:
        """Give the client its time to do what it is to do now."""
        state = self._state_now()
        if state != self._state:
            now = self._clients.loop.time()
            if state not in ("idle", "head"):
                self.idle_since = math.inf
            elif self._state not in ("idle", "head"):
                self.idle_since = now
            self._state, self.deadline, self.owing_since = state, now + self._clients.seconds[state], math.inf
        if state in ("body", "needless"):
            self.owing_since = self._clients.loop.time()

    def _state_now(self) -> str:
        if self._is_unread:
            return "unread"
        if self._requests or (self._rest and not self._is_done and not self._incoming):
            return "answering"
        if self._is_done:
            return "lingering" if self._is_lingering else "closing"
        if self._incoming:
            return self._state_of(self._incoming)
        return "head" if self._reader.is_in_head else "idle"

    @staticmethod
    def _state_of(incoming: Request) -> str:
        """Return what is owed of a request whose body is on its way: one that nobody needs has less time."""
        return "body" if incoming.is_kept or incoming.context.refusal else "needless"

    def end_late(self) -> None:
        """End what the client has not ended in its time."""
        if self._state in ("body", "needless"):
            self._end_reading(None)
            self._note_state()
        elif self._state in ("unread", "closing", "lingering"):
            self._transport.abort()
        else:
            self.give_way()

    def give_up_answer(self) -> None:
        """Close at once; the client has not read its answer, and others need the room."""
        self._transport.abort()

    def give_way(self) -> None:
        """Close at once; nothing is being answered."""
        self._is_done, self._rest = True, b""
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()


def _is_early(request: Request) -> bool:
    """Tell whether a request is answered before all of its body has come."""
    refusal = request.context.refusal
    return refusal is not None and refusal.is_early
