"""What has come on one connection: taken apart into requests, a few at a time, and of their bodies what somebody needs is kept.

- While some requests wait for their answers, what has come after them stays bytes.
- A body in chunks is taken apart in turns, a few kilobytes at a time: they may be thousands of chunks.
- A body that is refused is read to its end all the same, within bounds, and not kept: most clients see an answer only once
  they have sent their request.
"""

from collections import deque
from typing import Protocol

from inference.errors import RequestError
from inference.http.application import Service
from inference.http.request_parser import MalformedRequest, Request, RequestReader
from inference.request.admission import LARGE_BYTES

# Requests of one connection that wait for their answers; what has come after them is left as it came.
MOST_PIPELINED = 8
# Bytes of the shortest head there is, and of as many as may wait: what comes is taken apart on to the end of the head, or of the
# trailers, that begins within so many.
SHORTEST_HEAD, CHUNKS_BYTES = 18, 128
# How much of a body in chunks is taken apart in one turn: half a millisecond where each is a few bytes.
CHUNKS_AT_ONCE = 4096
# Up to this size it is counted how many heads may have come, which costs less than to feed them to the parser one by one.
FEW_BYTES = 2048
# How much of a body that is refused is read and thrown away before the connection is closed.
DISCARDED_BYTES = 256 * 1024 * 1024


class Owner(Protocol):
    """Whose requests these are."""

    requests: deque[Request | MalformedRequest]
    """what waits for its answer"""

    is_done: bool
    """whether nothing that comes is read any more"""

    def queue(self, request: Request) -> None:
        """Have a request answered once it is its turn; a second time nothing happens."""

    def go_on_with(self, request: Request) -> None:
        """Tell a client that waits for it that it may send its body, or that it need not."""

    def head_is_there(self) -> None:
        """Note that the head of a request has come."""

    def end_reading(self, error: MalformedRequest | None) -> None:
        """Read no further."""


class Intake:
    """Reads the requests of one connection."""

    __slots__ = ("_owner", "_reader", "_service", "incoming", "is_last", "rest")

    def __init__(self, owner: Owner, service: Service, address: str) -> None:
        self._owner, self._service = owner, service
        self._reader = RequestReader(self, address)
        self.rest = b""
        """what has come after the requests that wait, and is not taken apart yet"""
        self.incoming: Request | None = None
        """whose body is on its way"""
        self.is_last = False
        """whether the last request has come"""

    @property
    def is_in_head(self) -> bool:
        """Whether some of a head has come, and not all."""
        return self._reader.is_in_head

    def close(self) -> None:
        """Let go of all that it holds: with its reader and its owner it would live on until a search for garbage."""
        self.incoming, self.rest = None, b""
        self._reader.close()
        self._owner = None  # type: ignore[assignment]

    def take(self, data: bytearray, end: int) -> None:
        """Take apart so many bytes that have come, as far as there is room for the requests in them, and time."""
        if self._is_in_chunks():
            self.rest = bytes(data[:end])
        elif self._owner.requests or end > FEW_BYTES or data.count(b"\r\n\r\n", 0, end) > MOST_PIPELINED:
            self._take(data, end)
        else:
            self._feed(memoryview(data)[:end])

    def take_rest(self) -> None:
        """Go on with what was left, as far as that goes."""
        rest, self.rest = self.rest, b""
        self._take(rest, len(rest))

    def _is_in_chunks(self) -> bool:
        """Tell whether what comes next are chunks of a body, or trailers."""
        return self.incoming is not None and self.incoming.size < 0

    def _take(self, data: bytes | bytearray, end: int) -> None:
        view, start = memoryview(data), 0
        while start < end and not self._owner.is_done:
            if len(self._owner.requests) >= MOST_PIPELINED or (start >= CHUNKS_AT_ONCE and self._is_in_chunks()):
                self.rest = bytes(view[start:end])
                return
            stop = self._end_of_piece(data, start, end)
            self._feed(view[start:stop])
            start = stop

    def _feed(self, piece: memoryview) -> None:
        try:
            self._reader.feed(piece)
        except MalformedRequest as error:
            self._owner.end_reading(error)
        except Exception:
            self._service.note_fault("what came could not be read")
            self._owner.end_reading(MalformedRequest("the service failed to read it"))

    def _end_of_piece(self, data: bytes | bytearray, start: int, end: int) -> int:
        """Return how far to go before it is looked again how many requests there are."""
        if (one := self.incoming) and one.size > one.seen:
            return min(end, start + one.size - one.seen)  # no head begins in a body
        room = MOST_PIPELINED - len(self._owner.requests)
        if end - start <= FEW_BYTES and data.count(b"\r\n\r\n", start, end) <= room:
            return end
        if one:
            end = min(end, start + CHUNKS_AT_ONCE)
        least = CHUNKS_BYTES if one else SHORTEST_HEAD
        found = data.find(b"\r\n\r\n", start + least - 4, end)
        return end if found < 0 else found + 4

    # --- what the reader tells ---------------------------------------------------------------------------------------

    def head_came(self, request: Request) -> None:
        if self.is_last:
            raise MalformedRequest("it comes after the last one")
        self.incoming, self.is_last = request, request.closes
        self._owner.head_is_there()
        request.context = self._service.begin(request.environ)
        if request.size:
            self._prepare(request)

    def _prepare(self, request: Request) -> None:
        """Decide what becomes of a body before it comes."""
        try:
            request.is_kept = self._service.wants_body(request.context)
            if request.is_kept and request.size > LARGE_BYTES:
                self._service.admission.expect(request.size)
        except RequestError as error:
            self.give_up(request, error)
        environ = request.environ
        if environ.get("HTTP_EXPECT", "").lower() == "100-continue" and environ["SERVER_PROTOCOL"] != "HTTP/1.0":
            self._owner.go_on_with(request)

    def body_came(self, request: Request, piece: bytes) -> None:
        if request.is_kept:
            try:
                self._keep(request, piece)
            except RequestError as error:
                self.give_up(request, error)
        elif request.seen > DISCARDED_BYTES:
            raise MalformedRequest(f"more than {DISCARDED_BYTES} bytes of its body were thrown away")
        elif request.seen > LARGE_BYTES and (refusal := request.context.refusal) and refusal.is_early:
            self._owner.queue(request)

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

    def give_up(self, request: Request, error: RequestError) -> None:
        """Let go of a body: the answer is known."""
        request.context.refusal = request.context.refusal or error.alone()
        self._service.admission.release(request.held)
        request.is_kept, request.held, request.content = False, 0, b""

    def request_came(self, request: Request) -> None:
        self.incoming, request.is_whole = None, True
        self._owner.queue(request)
