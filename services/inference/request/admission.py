"""Who is let in: what waits is bounded in number, in bytes and in time, and beyond that the answer comes at once.

A worker answers small requests one after the other, as they come. A large one would make all others wait, so it goes to a
thread, one at a time: what a worker needs in memory is then bounded, however many of them come.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from inference.errors import Overloaded
from inference.telemetry.metrics import QUEUE

T = TypeVar("T")

# A body up to this size is parsed and answered in less than 10 ms, or found out to be one that takes long (pacing.TakesLong).
LARGE_BYTES = 256 * 1024
# Large requests that wait for their turn, in one worker.
MOST_WAITING = 4
# How much longer than a small request a large one may wait: those before it take longer, too.
LARGE_PATIENCE = 10
# Bytes of bodies that one worker holds, in units of the largest body, before another large one is turned away.
MOST_BODIES = 4
# Bytes of bodies and of unread answers, in units of those, before answers that are unread are given up, the oldest first, and
# where there are none small requests are turned away too; and this at least.
MOST_HELD, LEAST_HELD = 2, 64 * 1024 * 1024
# How long an answer may be unread before it makes room for a body, where there is none.
UNREAD_SECONDS = 5.0
# How long requests are answered, and what has come is taken apart, before the network is looked at again: so much later at most
# is noticed what has come.
TURN_SECONDS = 0.002


Turn = Callable[[float], None]
"""what is done when its turn has come, for which it has waited so many seconds"""


class Line:
    """Those who wait for their turn, such as those whose request has come whole, one request each: first come, first served.

    All connections are read before the next answer is begun, so that each waits from the moment its request was there:
    neither what a client took to send it, nor what the worker was late before that, counts as the request's wait.
    """

    def __init__(
        self,
        call_soon: Callable[[Callable[[], None]], Any],
        now: Callable[[], float] = time.perf_counter,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        """`after` is done after those who have had their turn, before the next look at the network."""
        self._call_soon, self._now, self._after = call_soon, now, after
        self._waiting: deque[tuple[float, Turn]] = deque()
        self._is_called = False

    def join(self, turn: Turn) -> None:
        """Take a place behind all others."""
        self._waiting.append((self._now(), turn))
        if not self._is_called:
            self._is_called = True
            self._call_soon(self._advance)

    def _advance(self) -> None:
        """Let those in front have their turn, for a moment; the others after the next look at the network."""
        waiting, now = self._waiting, self._now()
        until = now + TURN_SECONDS
        try:
            while waiting and now < until:
                came, turn = waiting.popleft()
                turn(now - came)
                now = self._now()
        finally:
            try:
                self._after()
            finally:  # whatever went wrong for one of them, those behind have their turn
                if waiting:
                    self._call_soon(self._advance)
                else:
                    self._is_called = False


class Reader(Protocol):
    """Who has an answer to read."""

    def give_up_answer(self) -> None:
        """Close at once, with what is not read yet; nothing is counted of it any more."""


class Aside(Protocol):
    """Runs a function so that other requests go on meanwhile."""

    def __call__(self, function: Callable[..., T], *arguments: Any) -> Awaitable[T]: ...


class AdmissionControl:
    """Lets requests in, or raises Overloaded."""

    def __init__(
        self, queue_seconds: float, max_body_bytes: int, aside: Aside, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._queue_seconds, self._aside, self._now = queue_seconds, aside, now
        self._lane = asyncio.Lock()
        self._most_bytes = MOST_BODIES * max_body_bytes
        self._most_held = max(MOST_HELD * self._most_bytes, LEAST_HELD)
        self._bytes = 0
        self._unread: dict[Reader, tuple[int, float]] = {}
        """bytes of the answer that each has not read, and since when, the oldest first"""
        self._waiting = 0

    def enter(self, waited: float) -> None:
        """Raise Overloaded where a request has waited too many seconds for its turn, or too much waits to be read already."""
        if self._bytes > self._most_held:
            raise Overloaded("too many answers are not read yet; try again")
        if waited > self._queue_seconds:
            raise Overloaded(f"there is more to do than can be done within {self._queue_seconds:g} s; try again")

    def expect(self, size: int) -> None:
        """Raise Overloaded where there is no room for a body that is announced; it counts as it comes, as it may never come."""
        self._let_in(size, size > LARGE_BYTES)

    def hold(self, size: int, held: int = 0) -> None:
        """Count bytes of a body that have come; raise Overloaded where there are too many of them.

        `held` are those of the same body that are counted already.
        """
        self._let_in(size, held + size > LARGE_BYTES)
        self._bytes += size

    def _let_in(self, size: int, is_large: bool) -> None:
        limit = self._most_bytes if is_large else self._most_held
        if self._bytes + size > limit:
            self._make_room(limit - size, self._now() - UNREAD_SECONDS)
            if self._bytes + size > limit:
                raise Overloaded(f"too many {'large ' if is_large else ''}requests are on their way; try again")

    def keep(self, reader: Reader, size: int) -> None:
        """Count the bytes of an answer that its client has not read: there they are, whatever else there is.

        Where they are too many, those that have had theirs for longest are given up, so that others go on.
        """
        self._bytes += size
        now = self._now()
        self._make_room(self._most_held, now)
        self._unread[reader] = size, now

    def let_go(self, reader: Reader) -> None:
        """Count an answer no more, if it was counted."""
        if found := self._unread.pop(reader, None):
            self._bytes -= found[0]

    def _make_room(self, most: int, until: float) -> None:
        """Give up the oldest answers that are unread since then, or before, until no more bytes than that are held."""
        while self._bytes > most and self._unread:
            oldest, (_, since) = next(iter(self._unread.items()))
            if since > until:
                return
            self.let_go(oldest)
            oldest.give_up_answer()

    def release(self, size: int) -> None:
        """Count bytes no more."""
        self._bytes -= size

    async def run_aside(self, function: Callable[..., T], *arguments: Any, is_large: bool = True) -> T:
        """Run a function aside, one at a time; raise Overloaded where it would have to wait too long for that.

        Small requests that take long may wait in any number: their bodies need little memory.
        """
        await self._wait_for_lane(is_large)
        try:
            return await self._aside(function, *arguments)
        finally:
            self._lane.release()

    async def _wait_for_lane(self, is_large: bool) -> None:
        if is_large and self._waiting >= MOST_WAITING:
            raise Overloaded("too many large requests are waiting; try again")
        self._waiting += is_large
        QUEUE.inc()
        try:
            async with asyncio.timeout(LARGE_PATIENCE * self._queue_seconds):
                await self._lane.acquire()
        except TimeoutError:
            raise Overloaded("large requests take too long; try again, or send fewer rows at a time") from None
        finally:
            self._waiting -= is_large
            QUEUE.dec()
