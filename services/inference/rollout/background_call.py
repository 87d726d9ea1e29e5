"""Questions that may hang, asked in a thread that nobody has to wait for."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

# How long a look waits for the registry or the store, names that are resolved slowly included.
LOOK_SECONDS = 4.0

T = TypeVar("T")


def within(seconds: float, question: Callable[[], T]) -> T:
    """Return the answer to a question that may hang; raise TimeoutError where it is not there within `seconds`."""
    return aside(question).result(seconds)


def aside(question: Callable[[], T]) -> "Future[T]":
    """Ask in a thread; unlike an executor's, it keeps nothing from ending."""
    future: Future[T] = Future()

    def ask() -> None:
        try:
            future.set_result(question())
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    return future


class Repeated(Generic[T]):
    """A question that is asked again and again: while one hangs, no other is asked, until it is given up."""

    def __init__(self, question: Callable[[], T], give_up_seconds: float) -> None:
        self._question, self._give_up_seconds = question, give_up_seconds
        self._asked: Future[T] | None = None
        self._asked_at = float("-inf")

    def answer(self, seconds: float) -> T:
        """Return the answer; raise TimeoutError where it is not there within `seconds`."""
        is_given_up = time.monotonic() - self._asked_at >= self._give_up_seconds
        if self._asked is None or self._asked.done() or is_given_up:
            self._asked, self._asked_at = aside(self._question), time.monotonic()
        return self._asked.result(seconds)
