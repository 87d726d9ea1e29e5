"""Who is let in: what waits is bounded in number, in bytes and in time, and beyond that the answer comes at once.

A worker answers small requests one after the other, as they come. A large one would make all others wait, so it goes to a
thread, one at a time: what a worker needs in memory is then bounded, however many of them come.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from inference.errors import Overloaded
from inference.metrics import QUEUE

T = TypeVar("T")

# A body up to this size is parsed and answered in less than 10 ms.
LARGE_BYTES = 256 * 1024
# Large requests that wait for their turn, in one worker.
MOST_WAITING = 4
# How much longer than a small request a large one may wait: those before it take longer, too.
LARGE_PATIENCE = 10
# Bytes of bodies that one worker holds, in units of the largest body, before another large one is turned away.
MOST_BODIES = 4


class Aside(Protocol):
    """Runs a function so that other requests go on meanwhile."""

    def __call__(self, function: Callable[..., T], *arguments: Any) -> T: ...


class Turn:
    """When the round of requests that is being answered began: those that are answered last have waited since then."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._began = now()
        self.source: Any = None
        """what calls `begin`"""

    def begin(self) -> None:
        """Note that all requests that have come by now are about to be answered, one after the other."""
        self._began = self._now()

    def waited(self) -> float:
        return self._now() - self._began


class Lane(Protocol):
    """Lets one in at a time."""

    def acquire(self, *, timeout: float) -> bool: ...

    def release(self) -> None: ...


class Gate:
    """Lets requests in, or raises Overloaded."""

    def __init__(
        self, turn: Turn | None, queue_seconds: float, max_body_bytes: int, aside: Aside, lane: Lane | None = None
    ) -> None:
        self._turn, self._queue_seconds, self._aside = turn, queue_seconds, aside
        self._lane = lane or threading.Semaphore()
        self._most_bytes = MOST_BODIES * max_body_bytes
        self._bytes = 0
        self._waiting = 0

    def enter(self) -> None:
        """Raise Overloaded where a request has waited too long for its turn."""
        if self._turn is not None and self._turn.waited() > self._queue_seconds:
            raise Overloaded(f"there is more to do than can be done within {self._queue_seconds:g} s; try again")

    def hold(self, size: int, held: int = 0) -> None:
        """Count bytes of a body that have come, or are about to; raise Overloaded where there are too many of them.

        `held` are those of the same body that are counted already.
        """
        if held + size > LARGE_BYTES and self._bytes + size > self._most_bytes:
            raise Overloaded("too many large requests are on their way; try again")
        self._bytes += size

    def release(self, size: int) -> None:
        """Count bytes no more."""
        self._bytes -= size

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Count the bytes of an answer while it is sent: there it is, whatever else there is."""
        self._bytes += size
        try:
            yield
        finally:
            self._bytes -= size

    def run(self, size: int, function: Callable[..., T], *arguments: Any) -> T:
        """Run a function on a body of that size: here and now, or aside, and after others, where it is large."""
        if size <= LARGE_BYTES:
            return function(*arguments)
        self._wait_for_lane()
        try:
            return self._aside(function, *arguments)
        finally:
            self._lane.release()

    def _wait_for_lane(self) -> None:
        if self._waiting >= MOST_WAITING:
            raise Overloaded("too many large requests are waiting; try again")
        self._waiting += 1
        QUEUE.inc()
        try:
            if not self._lane.acquire(timeout=LARGE_PATIENCE * self._queue_seconds):
                raise Overloaded("large requests take too long; try again, or send fewer rows at a time")
        finally:
            self._waiting -= 1
            QUEUE.dec()
