"""gunicorn's gevent worker, fair to all connections, bounded in what it holds, and quick to end.

The choice and its figures: docs/serving.md. What is added to gunicorn's own:
- An answer leaves in one piece, without gunicorn's look at each of its headers: 20 of 90 microseconds.
- After each answer the other connections get their turn. A client that sends its next request at once would otherwise be
  answered again and again while the others wait for a tenth of a second.
- A connection beyond the limit is answered 503 at once, instead of waiting unseen.
- A request has a limited time to arrive, an answer to be read, and a connection to be idle.
- Where the service ends, what has begun is answered, idle connections are closed, and nothing waits for the clock.
- What is no HTTP is answered in the service's own error shape, and with 400: gunicorn writes HTML, and 501 for a transfer
  coding that it does not know; the mistake is the client's all the same.
"""

import contextlib
import os
import socket
import time
from email.utils import formatdate
from functools import partial
from typing import Any

import gevent
import gevent.socket
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.http import get_parser, wsgi
from gunicorn.http.errors import NoMoreData, ParseException
from gunicorn.workers.ggevent import GeventWorker

from inference.gate import LARGE_BYTES
from inference.service import reason_of

# How long a connection may be idle: longer than proxies keep theirs, so that it is they who close first.
IDLE_SECONDS = 75
# How long an idle connection is left open for a request that is on its way when the service ends.
LAST_CALL_SECONDS = 0.3
HEARTBEAT_SECONDS = 1.0
# How long what a client that was turned away is still sending is read.
LINGER_SECONDS = 5.0
# What is asked of a client's socket at a time: gunicorn's own 8 KB take a thousand rows in three pieces.
CHUNK_BYTES = 64 * 1024


class Connection:
    """A client, and until when it has to send something, or to read something."""

    __slots__ = ("deadline", "is_idle", "is_writing", "socket")

    def __init__(self, client: socket.socket) -> None:
        self.socket = client
        self.wait()

    def wait(self) -> None:
        self.is_idle, self.is_writing, self.deadline = True, False, time.monotonic() + IDLE_SECONDS

    def begin(self, seconds: float) -> None:
        """Give the client so long to send the rest of its request."""
        self.is_idle, self.deadline = False, time.monotonic() + seconds

    def write(self, seconds: float) -> None:
        """Give the client so long to read its answer."""
        self.is_writing, self.deadline = True, time.monotonic() + seconds

    def cut(self) -> None:
        """Let whoever reads from the client find that it is at its end; or whoever writes, that it is gone."""
        # On a socket of its own: gevent's would wake whoever waits with an error of its own.
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self.socket.fileno())) as same:
            same.shutdown(socket.SHUT_RDWR if self.is_writing else socket.SHUT_RD)
        self.deadline = float("inf")


def _keep_values(settings: Any) -> None:
    """Make gunicorn's settings plain attributes: a look-up of one goes through two functions otherwise, twenty a request."""
    for name, setting in settings.settings.items():
        if not hasattr(type(settings), name):
            object.__setattr__(settings, name, setting.get())


def _send(client: Any, content: bytes) -> None:
    """Send all of it; mostly it goes at once, and gevent's own sendall asks the kernel for the size of its buffer before."""
    if (sent := client.send(content)) < len(content):
        client.sendall(content[sent:])


class ServingWorker(GeventWorker):
    """Serves an inference.service.Service."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._open: set[Connection] = set()
        self._date = (0, "")
        _keep_values(self.cfg)

    def patch(self) -> None:
        """Wrap the listening sockets, and leave the rest of Python as it is.

        gunicorn's own worker makes all of Python's waiting gevent's. Here only clients are waited for by gevent; the
        keeper's thread, and what it imports and loads, are real ones.
        """
        self.sockets: list[Any] = [
            gevent.socket.socket(sock.FAMILY, socket.SOCK_STREAM, fileno=sock.sock.detach()) for sock in self.sockets
        ]

    def run(self) -> None:
        # Beyond the limit there is an answer, too; beyond twice the limit not even that.
        servers = [self._listen(sock, Pool(2 * self.worker_connections)) for sock in self.sockets]
        notified = 0.0
        while self.alive:
            if time.monotonic() - notified >= HEARTBEAT_SECONDS:
                self.notify()
                self._cut_late()
                notified = time.monotonic()
            gevent.sleep(0.1)
        for server in servers:
            server.close()
        self._end()

    def _listen(self, sock: Any, pool: Pool) -> StreamServer:
        sock.setblocking(1)
        server = StreamServer(sock, handle=partial(self.handle, sock), spawn=pool)
        if self.cfg.workers > 1:
            server.max_accept = 1  # leave some for the other workers
        server.start()
        return server

    def _cut_late(self) -> None:
        now = time.monotonic()
        for connection in list(self._open):
            if connection.deadline < now:
                connection.cut()

    def _end(self) -> None:
        """Wait until what has begun is answered, as long as it may take."""
        began = time.monotonic()
        while self._open and time.monotonic() - began < self.cfg.graceful_timeout:
            if time.monotonic() - began > LAST_CALL_SECONDS:
                for connection in [one for one in self._open if one.is_idle]:
                    connection.cut()
            self.notify()
            gevent.sleep(0.02)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        client.setblocking(1)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(client)
        try:
            if len(self._open) >= self.worker_connections:
                self._refuse(client, *self.wsgi.too_many_connections())
                return
            self._open.add(connection)
            self._converse(connection, listener.getsockname(), addr)
        except OSError as error:
            self.log.debug("a client left: %s", error)
        finally:
            self._open.discard(connection)
            client.close()

    def _converse(self, connection: Connection, listener_name: Any, addr: Any) -> None:
        client, parser, request = connection.socket, get_parser(self.cfg, connection.socket, addr), None
        parser.unreader.mxchunk = CHUNK_BYTES
        body_seconds = self.wsgi.settings.body_seconds
        try:
            while True:
                connection.wait()
                if (request := next(parser)) is None:
                    return
                connection.begin(body_seconds)
                self._answer(connection, request, listener_name, addr)
                gevent.sleep(0)
        except (StopIteration, NoMoreData):  # the client has no more, or was told to close
            return
        except ParseException as error:
            self._refuse(client, *self.wsgi.no_request(str(error)))
        except OSError:
            raise
        except Exception as error:
            self.handle_error(request, client, addr, error)

    def _answer(self, connection: Connection, request: Any, listener_name: Any, addr: Any) -> None:
        """Answer one request; raise StopIteration where the connection is to be closed after it."""
        client = connection.socket
        _, environ = wsgi.create(request, client, addr, listener_name, self.cfg)
        # gunicorn's own reads a kilobyte at a time, and copies what is left each time.
        environ["wsgi.input"] = request.body.reader
        status, body, headers, *_ = self.wsgi.answer(environ)
        if request.method == "HEAD":
            body = b""  # a client would take it for the beginning of the next answer
        closes = not self.alive or request.should_close()
        lines = [f"HTTP/1.1 {reason_of(status)}", f"Date: {self._http_date()}"]
        lines += [f"{name}: {value}" for name, value in headers]
        lines.append("Connection: close\r\n\r\n" if closes else "Connection: keep-alive\r\n\r\n")
        head = "\r\n".join(lines).encode("latin-1")
        connection.write(self.wsgi.settings.body_seconds)
        if len(body) <= LARGE_BYTES:
            _send(client, head + body)
        else:
            self._send_large(connection, head, body)
        if closes:
            raise StopIteration

    def _send_large(self, connection: Connection, head: bytes, body: bytes) -> None:
        """Send an answer that counts among what is held as long as the client leaves it unread."""
        with self.wsgi.gate.holding(len(body)):
            connection.socket.sendall(head)
            connection.socket.sendall(body)

    def _http_date(self) -> str:
        second = int(time.time())
        if self._date[0] != second:
            self._date = second, formatdate(second, usegmt=True)
        return self._date[1]

    def _refuse(self, client: Any, status: str, headers: list[tuple[str, str]], body: bytes) -> None:
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        client.settimeout(1)
        client.sendall(f"HTTP/1.1 {status}\r\n{head}Connection: close\r\n\r\n".encode("latin-1", "replace") + body)
        # A connection that is closed with something unread is reset, and the answer may be lost with it.
        client.shutdown(socket.SHUT_WR)
        until = time.monotonic() + LINGER_SECONDS
        with contextlib.suppress(OSError):
            while time.monotonic() < until and client.recv(1 << 16):
                pass

    def notify(self) -> None:
        self.tmp.notify()
        if self.ppid != os.getppid():
            self.log.warning("the process that started this worker is gone; it ends")
            self.alive = False
