"""Ctrl-C and `docker stop`: work that is interrupted ends in order, and what is short and must be whole is not."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """A signal asked the process to end; no `except Exception` on the way takes it for a failure of its own."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number


def interrupt(number: int, _frame: FrameType | None = None) -> None:
    """End the process by an exception, so that files and runs are closed on the way."""
    raise Interrupted(number)


class Held:
    """A block at whose end the first signal that came meanwhile takes effect; only what it lets through ends at once.

    A signal counts once. Closing what is open must not be interrupted in its turn, and an exception raised by a signal
    can get lost where Python cannot pass it on (in a weak reference's callback, say): then it comes again at the end.
    """

    def __enter__(self) -> Self:
        self._received: int | None = None
        self._before: dict[int, Any] = {number: signal.signal(number, self._remember) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if error is None:
            self._interrupt_if_received()

    @contextmanager
    def let_through(self, at_once: bool) -> Iterator[Callable[[], None]]:
        """Let a signal end this block, also one that came before it: at once, or where the block calls what is yielded.

        `at_once` is not for a block that writes to a database of this process (SQLite): SQLAlchemy would be left within a
        transaction, for whose end all that follows waits.
        """
        if at_once:
            for number in SIGNALS:
                signal.signal(number, self._remember_and_interrupt)
        try:
            self._interrupt_if_received()
            yield self._interrupt_if_received
            self._interrupt_if_received()
        finally:
            for number in SIGNALS:
                signal.signal(number, self._remember)

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        self._received = self._received or number

    def _remember_and_interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._received is None:
            self._received = number
            interrupt(number, frame)

    def _interrupt_if_received(self) -> None:
        if self._received is not None:
            interrupt(self._received)
