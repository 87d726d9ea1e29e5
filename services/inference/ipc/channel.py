"""How the process that follows the registry talks with the workers: lines of JSON over a Unix socket.

follower → worker
    {"load": OFFER}      load this version aside; answered by {"loaded": ID} or {"refused": ID, "to": "load", "reason": text}
    {"serve": OFFER}     answer requests with it from now on; answered by {"serving": ID, "at": nanoseconds} or {"refused": …}
    {"drop": ID}         let go of what was loaded aside
    {"state": STATE}     what there is to say about what is served
    {"note": STATE}      the same, as long as it is not known what is to be served

Pushing costs nothing while nothing happens, and reaches all workers within a millisecond of each other. A connection that
ends tells that its worker did, or to the worker that the service is at its end.
"""

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from inference.model.version import ModelVersion

log = logging.getLogger("inference")


@dataclass(frozen=True)
class Offer:
    """A version that workers are asked to load or to serve."""

    id: int
    folder: str
    version: ModelVersion
    metrics: dict[str, float]
    since: str
    """when it began to be served, ISO 8601 in UTC"""
    files: dict[str, str] = field(default_factory=dict)
    """path → SHA-256 of what was verified; nothing else is loaded"""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, content: dict[str, Any]) -> "Offer":
        return cls(**content | {"version": ModelVersion(**content["version"])})


@dataclass(frozen=True)
class State:
    """What there is to say about what is served."""

    problem: str | None
    """why the version behind the alias is not what is served, None where it is"""
    version: ModelVersion | None = None
    """the served version as the registry describes it now"""
    metrics: dict[str, float] | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, content: dict[str, Any]) -> "State":
        version = content["version"] and ModelVersion(**content["version"])
        return cls(content["problem"], version, content["metrics"])


def lines(connection: socket.socket) -> Iterator[dict[str, Any]]:
    """Yield messages until the other side is gone."""
    with suppress(OSError), connection.makefile("rb") as stream:
        for line in stream:
            yield json.loads(line)


def send(connection: socket.socket, message: dict[str, Any]) -> None:
    """Send a message; raise OSError where the other side is gone."""
    connection.sendall(json.dumps(message).encode() + b"\n")


Deliver = Callable[[list[dict[str, Any]]], None]
"""sends messages to a worker, which from then on gets all that is told to everybody"""


class Workers:
    """The workers of this service, as the follower sees them; `greet` says what one that joins has to know."""

    def __init__(self, path: Path, greet: Callable[[Deliver], None]) -> None:
        self._greet = greet
        self._connections: dict[socket.socket, int] = {}
        self._answers: dict[tuple[socket.socket, str, int], dict[str, Any]] = {}
        self._serving: dict[socket.socket, int] = {}
        self._changed = threading.Condition()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, name="workers", daemon=True).start()

    def wait_for(self, count: int, seconds: float) -> int:
        """Wait until so many workers are there, or for so long; return how many are."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._connections) >= count, seconds)
            return len(self._connections)

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message to all workers."""
        for connection in self._all():
            with suppress(OSError):  # its reader notices as well
                send(connection, message)

    def ask(self, what: str, offer: Offer, seconds: float) -> list[dict[str, Any]]:
        """Ask all workers to "load" or to "serve", and return their answers.

        One that ends meanwhile, or has not answered within `seconds`, counts as one that refuses, and the answer is marked
        with "ended": a version may be what ends it.
        """
        asked, id = self._all(), offer.id
        self.tell({what: offer.as_dict()})

        def is_answered() -> bool:
            return all((one, what, id) in self._answers or one not in self._connections for one in asked)

        with self._changed:
            self._changed.wait_for(is_answered, seconds)
            found = [self._answers.get((one, what, id)) or self._silence(one, what, id, seconds) for one in asked]
            self._answers.clear()
            return found

    def _silence(self, connection: socket.socket, what: str, id: int, seconds: float) -> dict[str, Any]:
        late = f"a worker was not done within {seconds:.0f} s when it was to {what} it"
        reason = late if connection in self._connections else f"a worker ended when it was to {what} it"
        return {"refused": id, "to": what, "reason": reason, "ended": True}

    def remind(self, offer: Offer) -> int:
        """Ask those workers to serve an offer that do not, and return how many they are."""
        with self._changed:
            behind = [one for one in self._connections if self._serving.get(one) != offer.id]
        for connection in behind:
            with suppress(OSError):
                send(connection, {"serve": offer.as_dict()})
        return len(behind)

    def _all(self) -> list[socket.socket]:
        with self._changed:
            return list(self._connections)

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        messages = lines(connection)
        pid = next(messages, {}).get("hello", 0)

        def deliver(greeting: list[dict[str, Any]]) -> None:
            for message in greeting:
                send(connection, message)
            with self._changed:
                self._connections[connection] = pid
                self._changed.notify_all()

        try:
            self._greet(deliver)
            for message in messages:
                self._take(connection, message)
        except OSError:
            log.info("worker %s left before it was greeted", pid)
        finally:
            with self._changed:
                self._connections.pop(connection, None)
                self._serving.pop(connection, None)
                self._changed.notify_all()
            connection.close()

    def _take(self, connection: socket.socket, message: dict[str, Any]) -> None:
        with self._changed:
            if "loaded" in message:
                self._answers[connection, "load", message["loaded"]] = message
            elif "serving" in message:
                self._answers[connection, "serve", message["serving"]] = message
                self._serving[connection] = message["serving"]
            else:
                self._answers[connection, message["to"], message["refused"]] = message
            self._changed.notify_all()


class Follower:
    """The follower, as a worker sees it."""

    def __init__(self, path: Path) -> None:
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(str(path))
        send(self._connection, {"hello": os.getpid()})

    def messages(self) -> Iterator[dict[str, Any]]:
        """Yield what it says, until it is gone."""
        return lines(self._connection)

    def loaded(self, offer: Offer) -> None:
        send(self._connection, {"loaded": offer.id})

    def serving(self, offer: Offer) -> None:
        send(self._connection, {"serving": offer.id, "at": time.monotonic_ns()})

    def refused(self, what: str, offer: Offer, reason: str) -> None:
        send(self._connection, {"refused": offer.id, "to": what, "reason": reason})
