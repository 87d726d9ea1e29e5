"""The poller, as a worker sees it."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from inference.ipc.messages import FOR_WORKERS, ToPoller, ToWorker, received, send


class ControlClient:
    """A worker's end of the socket over which it is told what to serve."""

    def __init__(self, path: Path) -> None:
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(str(path))
        self._one_at_a_time = threading.Lock()

    def messages(self) -> Iterator[ToWorker]:
        """Yield what the poller says, until it is gone."""
        return received(self._connection, FOR_WORKERS)

    def answer(self, message: ToPoller) -> None:
        """Answer it; raise OSError where it is gone."""
        with self._one_at_a_time:
            send(self._connection, message)
