"""One connection of a worker: what comes in is read within limits, and answered in the order in which it came.

- A read is 64 KB at most, and after a whole one the others have their turn: a client holds up nobody for longer than that.
- A request waits in the worker's line until those before it are answered (inference.request.admission), a large one for its thread.
- While something is unanswered no more than one further read is taken in; while an answer is unread, nothing. What becomes of
  what has come: inference.http.intake.
- A head has to be there within HEAD_SECONDS of its first byte, a body, and the reading of an answer, within
  INFERENCE_BODY_SECONDS; an idle connection is closed after IDLE_SECONDS (inference.http.client_times).
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Coroutine
from email.utils import formatdate
from typing import Any

from inference.http.application import Service
from inference.http.client_times import ClientTimes, seconds_of
from inference.http.connections import Connections
from inference.http.intake import Intake
from inference.http.request_parser import MalformedRequest, Request
from inference.model.pacing import TakesLong
from inference.request.admission import LARGE_BYTES, Line
from inference.request.answer import Answer, reason_of
from inference.request.checks import incomplete_body

READ_BYTES = 64 * 1024
# Answers that wait for one another where somebody observes what they say: a fraction of a millisecond.
MOST_HELD_BACK = 4
# Bytes of answers that wait for their client to read them before they count, and it gets no further one.
UNREAD_BYTES = 64 * 1024
GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"

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
        # How long a client has for what it is to do.
        self.seconds = seconds_of(service.settings.body_seconds)
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
        "_intake",
        "_is_in_line",
        "_is_lingering",
        "_is_lost",
        "_is_over",
        "_is_paused",
        "_is_reading",
        "_is_unread",
        "_owes_go_on",
        "_service",
        "_transport",
        "is_done",
        "requests",
        "times",
    )

    def __init__(self, clients: Clients) -> None:
        self._clients, self._service = clients, clients.service
        self._transport: asyncio.Transport
        self._intake: Intake
        self.requests: deque[Request | MalformedRequest] = deque()
        """what is to be answered, in its order"""
        self._aside: Request | None = None
        """who is being answered aside"""
        self.times = ClientTimes(clients.seconds)
        # It stands in line to be answered, and for what has come to be taken apart; nothing more is read of it; …
        self._is_in_line = self._is_reading = self._is_paused = self._is_unread = self._owes_go_on = False
        # Nothing that comes is read any more; the client sends nothing more; it is gone.
        self.is_done = self._is_over = self._is_lost = False
        # It has its last answer, and may read it.
        self._is_lingering = False

    # --- what the transport tells ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._transport.set_write_buffer_limits(UNREAD_BYTES, 0)
        address = transport.get_extra_info("peername")
        self._intake = Intake(self, self._service, address[0] if address else "")
        if self._clients.all.admit(self, self._clients.loop.time()):
            self._note_state()
        else:
            self._turn_away(self._service.too_many_connections(self._clients.all.limit))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._clients.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self.is_done:  # it is thrown away
            return
        had_some = bool(self.requests)
        self._intake.take(self._clients.bytes, nbytes)
        if had_some or self._intake.rest:
            self._pause()
            self._join_readers()
        elif nbytes == READ_BYTES:
            self._pause()
            self._clients.loop.call_soon(self._resume)
        self._note_state()

    def _join_readers(self) -> None:
        """Wait for the turn of what has come, unless there are requests to be answered first."""
        if self._intake.rest and not (self.requests or self._is_reading):
            self._is_reading = True
            self._clients.reading.join(self._take_rest)

    def _take_rest(self, _: float) -> None:
        self._is_reading = False
        if self.is_done or self.requests or self._is_unread:
            return
        self._intake.take_rest()
        if not (self.requests or self.is_done):
            self._go_on()
        self._note_state()

    def eof_received(self) -> bool:
        """Return whether there is something left to answer."""
        self._is_over = True
        if not self.is_done:
            self.end_reading(None)
        return bool(self.requests)

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
        self._is_lost = self.is_done = True
        self._clients.all.leave(self)
        self._service.admission.let_go(self)
        unanswered = [one for one in self.requests if isinstance(one, Request) and one is not self._aside]
        if self._intake.incoming and not self._intake.incoming.is_queued:
            unanswered.append(self._intake.incoming)
        for request in unanswered:
            self._service.admission.release(request.held)
            self._service.forget()
        self.requests.clear()
        self._intake.close()

    # --- what the intake tells ---------------------------------------------------------------------------------------

    def head_is_there(self) -> None:
        self._clients.all.prove(self)

    def go_on_with(self, request: Request) -> None:
        if request.context.refusal:
            request.closes = self._intake.is_last = True
            self.queue(request)
        elif self.requests:
            self._owes_go_on = True
        else:
            self._transport.write(GO_ON)

    def queue(self, request: Request) -> None:
        if request.is_whole:
            self._owes_go_on = False
        if not request.is_queued:
            request.is_queued = True
            self._append(request)

    def _append(self, one: Request | MalformedRequest) -> None:
        self.requests.append(one)
        self._join_line()

    def _join_line(self) -> None:
        """Wait for the turn of the first request, unless it has come, or the answer before it is still unread."""
        if self.requests and not (self._is_in_line or self._is_unread or self._aside):
            self._is_in_line = True
            self._clients.line.join(self._take_turn)

    def end_reading(self, error: MalformedRequest | None) -> None:
        """Read no further: the request is malformed, or the client has ended, or its time has."""
        self.is_done = True
        request, self._intake.incoming = self._intake.incoming, None
        if request:
            request.closes = True
            seconds = self._clients.seconds[self._state_of(request)]
            self._intake.give_up(request, incomplete_body(request.seen, request.size, str(error or ""), seconds))
            if request.is_queued and request not in self.requests:
                self._linger()
            self.queue(request)
        elif error and not self._intake.is_last:
            self._append(error)
        elif not self.requests:
            self._transport.close()
        elif isinstance(last := self.requests[-1], Request):
            last.closes = True

    # --- answers -----------------------------------------------------------------------------------------------------

    def _take_turn(self, waited: float) -> None:
        """Answer the first request, which has waited so many seconds for it."""
        self._is_in_line = False
        if self._is_lost:
            return
        request = self.requests[0]
        if isinstance(request, MalformedRequest):
            self.requests.clear()
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
        self.requests.popleft()
        closes = request.closes or self._clients.is_ending
        # A client would take a body for the beginning of the next answer.
        body = b"" if request.environ["REQUEST_METHOD"] == "HEAD" else answer.body
        self._write(answer, body, closes)
        if not closes:
            self._go_on()
        elif request.is_whole or self._is_over:
            self.is_done = True
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
        if self._owes_go_on and self._intake.incoming and not self.requests:
            self._owes_go_on = False
            self._transport.write(GO_ON)
        self._resume()
        self._note_state()

    def _turn_away(self, answer: Answer) -> None:
        self._write(answer, answer.body, closes=True)
        self._linger()

    def _linger(self) -> None:
        """Close when the client has seen its answer: what is closed with something unread is reset, and that may be lost."""
        self.is_done = self._is_lingering = True
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
            self._is_lost or self.requests or self._is_unread or (self._intake.rest and not self.is_done)
        ):
            self._is_paused = False
            self._transport.resume_reading()

    def _note_state(self) -> None:
        """Give the client its time to do what it is to do now."""
        state, times = self._state_now(), self.times
        if state != times.state:
            times.enter(state, self._clients.loop.time())
        if state in ("body", "needless"):
            times.owing_since = self._clients.loop.time()

    def _state_now(self) -> str:
        if self._is_unread:
            return "unread"
        if self.requests or (self._intake.rest and not self.is_done and not self._intake.incoming):
            return "answering"
        if self.is_done:
            return "lingering" if self._is_lingering else "closing"
        if self._intake.incoming:
            return self._state_of(self._intake.incoming)
        return "head" if self._intake.is_in_head else "idle"

    @staticmethod
    def _state_of(incoming: Request) -> str:
        """Return what is owed of a request whose body is on its way: one that nobody needs has less time."""
        return "body" if incoming.is_kept or incoming.context.refusal else "needless"

    def end_late(self) -> None:
        """End what the client has not ended in its time."""
        if self.times.state in ("body", "needless"):
            self.end_reading(None)
            self._note_state()
        elif self.times.state in ("unread", "closing", "lingering"):
            self._transport.abort()
        else:
            self.give_way()

    def give_up_answer(self) -> None:
        """Close at once; the client has not read its answer, and others need the room."""
        self._transport.abort()

    def give_way(self) -> None:
        """Close at once; nothing is being answered."""
        self.is_done, self._intake.rest = True, b""
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()
