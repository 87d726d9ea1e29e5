"""The workers, as the poller sees them.

Pushing costs nothing while nothing happens, and reaches all workers within a millisecond of each other. A connection that
ends tells that its worker did, or to the worker that the service is at its end.
"""

import logging
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from inference.ipc.messages import FOR_POLLER, Load, Phase, Returned, Serve, Serving, ToPoller, ToWorker, received, send

log = logging.getLogger("inference")

Deliver = Callable[[list[ToWorker]], None]
"""sends messages to a worker, which from then on gets all that is told to everybody"""


@dataclass(frozen=True)
class NoAnswer:
    """A worker that has ended, or was not done in time: a version may be what ends it."""

    reason: str


Answer = ToPoller | NoAnswer
_Key = tuple[str, Phase, int]


def _key_of(question: Load | Serve) -> _Key:
    return question.deployment, question.phase, question.spec.id


class WorkerGroup:
    """The workers of this service."""

    def __init__(self, path: Path) -> None:
        self.on_return: Callable[[Returned], None] = lambda message: None
        """what is done where a worker has returned to Production by itself, in a thread of its own"""
        # Of each worker: which spec of a deployment it serves.
        self._serving: dict[socket.socket, dict[str, int]] = {}
        # What has been answered to that which is being asked.
        self._answers: dict[_Key, dict[socket.socket, Answer]] = {}
        self._changed = threading.Condition()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)

    def accept_workers(self, *catch_up: Callable[[Deliver], None]) -> None:
        """Let workers join from now on; each of `catch_up` tells them what they have to know of one deployment."""
        threading.Thread(target=self._accept, args=(catch_up,), name="workers", daemon=True).start()

    def wait_for(self, count: int, seconds: float) -> int:
        """Wait until so many workers are there, or for so long; return how many are."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._serving) >= count, seconds)
            return len(self._serving)

    def tell(self, message: ToWorker) -> None:
        """Send a message to all workers."""
        _send_each(self._all(), message)

    def ask(self, question: Load | Serve, seconds: float) -> list[Answer]:
        """Ask all workers to load or to serve a version, and return their answers.

        Of one that ends meanwhile, or has not answered within `seconds`, that is the answer.
        """
        asked, key = self._all(), _key_of(question)
        with self._changed:
            answers = self._answers[key] = {}
        _send_each(asked, question)
        with self._changed:
            self._changed.wait_for(lambda: all(one in answers or one not in self._serving for one in asked), seconds)
            del self._answers[key]
            return [answers.get(one) or self._silence(one, question.phase, seconds) for one in asked]

    def _silence(self, connection: socket.socket, phase: Phase, seconds: float) -> NoAnswer:
        late = f"a worker was not done within {seconds:.0f} s when it was to {phase} it"
        return NoAnswer(late if connection in self._serving else f"a worker ended when it was to {phase} it")

    def remind(self, question: Serve) -> int:
        """Ask those workers to serve a version that do not, and return how many they are."""
        name, id = question.deployment, question.spec.id
        with self._changed:
            behind = [one for one, serving in self._serving.items() if serving.get(name) != id]
        _send_each(behind, question)
        return len(behind)

    def _all(self) -> list[socket.socket]:
        with self._changed:
            return list(self._serving)

    def _accept(self, catch_up: Sequence[Callable[[Deliver], None]]) -> None:
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._converse, args=(connection, catch_up), daemon=True).start()

    def _converse(self, connection: socket.socket, catch_up: Sequence[Callable[[Deliver], None]]) -> None:
        def deliver(messages: list[ToWorker]) -> None:
            for message in messages:
                send(connection, message)
            with self._changed:
                self._serving.setdefault(connection, {})
                self._changed.notify_all()

        try:
            for tell in catch_up:
                tell(deliver)
            for message in received(connection, FOR_POLLER):
                self._take(connection, message)
        except OSError:
            log.info("a worker left before it was told what to serve")
        finally:
            with self._changed:
                self._serving.pop(connection, None)
                self._changed.notify_all()
            connection.close()

    def _take(self, connection: socket.socket, answer: ToPoller) -> None:
        if isinstance(answer, Returned):
            threading.Thread(target=self.on_return, args=(answer,), daemon=True).start()
            return
        with self._changed:
            if isinstance(answer, Serving):
                self._serving[connection][answer.deployment] = answer.spec_id
            if (answers := self._answers.get((answer.deployment, answer.phase, answer.spec_id))) is not None:
                answers[connection] = answer
            self._changed.notify_all()


def _send_each(connections: Iterable[socket.socket], message: ToWorker) -> None:
    for connection in connections:
        with suppress(OSError):  # its reader notices as well
            send(connection, message)
