"""gunicorn's worker: an event loop (uvloop) whose connections are answered by an inference.http.application.Service.

gunicorn starts, watches and ends the workers. Why this one: docs/decisions/worker-class.md. What happens on a connection: inference.http.connection.
"""

import asyncio
import logging
import os
import resource
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress

import uvloop
from gunicorn.workers.base import Worker

from inference.http.connection import Clients

# How long an idle connection is left open for a request that is on its way when the service ends.
LAST_CALL_SECONDS = 0.3
HEARTBEAT_SECONDS = 1.0
# What the kernel takes of an answer before its client reads it (it counts its own part as well, and allows twice as much). By
# itself it takes megabytes for each connection, which are the container's memory too.
SEND_BYTES = 128 * 1024
# Files that a worker has open beside its connections: its libraries, its log, the metrics, pipes.
OTHER_FILES = 100

log = logging.getLogger("inference")


class ServingWorker(Worker):  # type: ignore[misc]  # gunicorn has no types
    """Serves an inference.http.application.Service."""

    alive: bool
    _patience = 0.0
    """seconds that an end waits for what has begun"""

    def run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    def init_signals(self) -> None:
        super().init_signals()
        # gunicorn would be woken by it; the loop has a way of its own.
        signal.set_wakeup_fd(-1)

    async def _serve(self) -> None:
        self._patience = float(self.cfg.graceful_timeout)
        loop, told = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, told.set)
        for number in (signal.SIGINT, signal.SIGQUIT):  # Ctrl+C: without waiting for anybody
            loop.add_signal_handler(number, self._hurry, told)
        clients = Clients(self.wsgi, loop, connections_with_files(self.cfg.worker_connections))
        for one in self.sockets:
            one.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)  # connections have it from there
        backlog = self.cfg.backlog  # the loop listens once more, with another one by itself
        servers = [await loop.create_server(clients.connection, sock=one.sock, backlog=backlog) for one in self.sockets]
        while self.alive and not told.is_set():
            self.notify()
            self.wsgi.look_around()
            clients.all.sweep(loop.time())
            await _first_of(told, HEARTBEAT_SECONDS)
        self.alive = False
        await self._stop_listening(servers, clients)
        await self._end(clients)

    def _hurry(self, told: asyncio.Event) -> None:
        self._patience = 0.0
        told.set()

    async def _stop_listening(self, servers: list[asyncio.Server], clients: Clients) -> None:
        """Take no new connections but those that wait in the kernel: these would be reset."""
        waiting = [each for one in self.sockets for each in _accepted(one.sock)]
        for server in servers:
            server.close()
        loop = asyncio.get_running_loop()
        for each in waiting:
            await loop.connect_accepted_socket(clients.connection, each)

    async def _end(self, clients: Clients) -> None:
        """Wait until what has begun is answered, as long as it may take."""
        clients.is_ending = True
        loop = asyncio.get_running_loop()
        began = loop.time()
        while len(clients.all) and loop.time() - began < self._patience:
            self.notify()
            clients.all.sweep(loop.time())
            if loop.time() - began > LAST_CALL_SECONDS:
                clients.all.end_idle()
            await asyncio.sleep(0.02)
        self.wsgi.pass_on()

    def notify(self) -> None:
        super().notify()
        if self.ppid != os.getppid():
            self.log.warning("the process that started this worker is gone; it ends")
            self.alive = False


def _accepted(listening: socket.socket) -> Iterator[socket.socket]:
    """Accept all connections that are there already."""
    with suppress(OSError):  # there are no more, or no more files may be opened
        while True:
            yield listening.accept()[0]


def connections_with_files(connections: int) -> int:
    """Let this process open the files that so many connections need; return how many there may be."""
    # As many may be lingering that were turned away.
    needed = 2 * connections + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed:
        return connections
    soft = min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == needed:
        return connections
    possible = max(1, (soft - OTHER_FILES) // 2)
    log.warning(
        "a process may have %d files open, which is enough for %d connections and not for %d; "
        "lower INFERENCE_CONNECTIONS, or raise the limit (ulimit -n)",
        *(soft, possible, connections),
    )
    return possible


async def _first_of(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, or for so long."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
