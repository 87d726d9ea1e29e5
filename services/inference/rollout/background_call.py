"""Questions that may hang, asked in a thread that nobody has to wait for."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

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
