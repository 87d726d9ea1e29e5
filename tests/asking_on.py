"""Clients that ask on whatever is killed, and note which of their requests were answered: the log is held against that."""

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import requests

from tests.compose import SAMPLES

# In `make killing` as many as are asked for.
ROUNDS = int(os.environ.get("KILL_ROUNDS", "4"))
CLIENTS = 4
BODIES = [{"instances": SAMPLES[:1]}, {"instances": SAMPLES}]


class Clients:
    """What was answered, by request id: how many rows it had. An id is used once, answered or not."""

    def __init__(self, url: Callable[[], str], prefix: str = "r", pause: float = 0.0) -> None:
        """`pause` is how many seconds each waits after an answer."""
        self.answered: dict[str, int] = {}
        self._url, self._prefix, self._pause = url, prefix, pause
        self._over, self._numbers = threading.Event(), itertools.count()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def _ask(self) -> None:
        with requests.Session() as session:
            while not self._over.wait(self._pause):
                number = next(self._numbers)
                name, body = f"{self._prefix}{number}", BODIES[number % 2]
                try:
                    answer = session.post(
                        f"{self._url()}/invocations", json=body, headers={"X-Request-ID": name}, timeout=30
                    )
                    if answer.status_code == 200:
                        self.answered[name] = len(body["instances"])
                except requests.RequestException:
                    self._over.wait(0.02)  # it is asked under another name next

    @contextmanager
    def asking(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join()
