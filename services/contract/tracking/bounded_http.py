"""An answer over HTTP, of as many bytes and within as much time as is allowed: whoever gives it may go on for ever.

A timeout of a socket starts anew with each byte. So a timer cuts the connection when the time for all of it is over: headers,
answers that come before the answer, what is between chunks and what comes after them included.
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from io import BytesIO
from typing import Any
from urllib import request
from urllib.error import HTTPError

PIECE_BYTES = 256 * 1024
# Of an answer that is an error.
MOST_ERROR_BYTES = 1024**2
# What an answer that cannot be had, or is not what was asked for, may raise.
UNREADABLE = (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError, RecursionError)


class TooLong(ValueError):
    """An answer has more bytes than it may have."""


def pieces(
    url: str | request.Request, most: int, silence: float, until: float, login: str | None = None
) -> Iterator[bytes]:
    """Yield an answer as it comes, of `most` bytes at most, until that time (time.monotonic) at most.

    `url` is what is asked for by GET, or a request with content of its own. `silence` is how many seconds may pass without a byte.
    `login` is an Authorization header for this very address: where it sends us elsewhere, that does not go along. Raises TooLong for an answer that is larger, HTTPError, with its
    content, for one that is an error, and OSError for one that is late or ends before its Content-Length.
    """
    found = 0
    with _answer(_asked(url, login), silence, until) as answer:
        expected = answer.headers.get("Content-Length")
        if expected is not None and int(expected) > most:
            raise TooLong(f"it has {int(expected)} bytes; expected at most {most}")
        while piece := answer.read1(PIECE_BYTES):
            found += len(piece)
            if found > most:
                raise TooLong(f"it goes on after {most} bytes")
            yield piece
    if expected is not None and found != int(expected):
        raise OSError(f"it ended after {found} of {int(expected)} bytes")


def content_of(url: str | request.Request, most: int, seconds: float, login: str | None = None) -> bytes:
    """Return an answer's content, which is here within `seconds`; `login` and what is raised are those of `pieces`."""
    return b"".join(pieces(url, most, seconds, time.monotonic() + seconds, login))


@contextmanager
def _answer(asked: request.Request, silence: float, until: float) -> Iterator[HTTPResponse]:
    """Give out an answer whose connections are cut when its time is over; raise OSError then, whatever came of it."""
    with _Cut(until) as cut:
        try:
            with _opener(cut).open(asked, timeout=silence) as answer:
                yield answer
        except HTTPError as error:
            content = b""
            with error, suppress(OSError, HTTPException):
                content = error.read(MOST_ERROR_BYTES)
            cut.check()
            raise HTTPError(error.url, error.code, error.reason, error.headers, BytesIO(content)) from None
        except (OSError, HTTPException):
            cut.check()
            raise
        cut.check()


def _asked(url: str | request.Request, login: str | None) -> request.Request:
    asked = request.Request(url) if isinstance(url, str) else url
    if login is not None:
        asked.add_unredirected_header("Authorization", login)
    return asked


class _Cut:
    """Cuts connections at a time (time.monotonic)."""

    def __init__(self, until: float) -> None:
        self._timer = threading.Timer(max(0.0, until - time.monotonic()), self._cut)
        self._timer.daemon = True
        self._connections: list[socket.socket] = []
        self._is_over = False
        self._changing = threading.Lock()

    def __enter__(self) -> "_Cut":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._changing:
            for connection in self._connections:
                connection.close()
            self._connections.clear()

    def check(self) -> None:
        """Raise OSError where the time is over."""
        if self._is_over:
            raise OSError("it did not arrive in time")

    def connect(self, *arguments: Any) -> socket.socket:
        """Return what socket.create_connection does, to be cut."""
        self.check()
        connection = socket.create_connection(*arguments)
        with self._changing:
            self._connections.append(connection.dup())  # TLS takes the other one apart
        if self._is_over:
            self._cut()
        return connection

    def _cut(self) -> None:
        with self._changing:
            self._is_over = True
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Connections(request.AbstractHTTPHandler):
    """Opens what is asked for by connections that are cut."""

    def __init__(self, cut: _Cut) -> None:
        super().__init__()
        self._connect = cut.connect

    def http_open(self, asked: request.Request) -> HTTPResponse:
        return self.do_open(self._made(HTTPConnection), asked)

    def https_open(self, asked: request.Request) -> HTTPResponse:
        return self.do_open(self._made(HTTPSConnection), asked, context=_tls())

    http_request = https_request = request.AbstractHTTPHandler.do_request_

    def _made(self, kind: type[HTTPConnection]) -> Callable[..., HTTPConnection]:
        def made(host: str, **options: Any) -> HTTPConnection:
            connection = kind(host, **options)
            connection._create_connection = self._connect  # type: ignore[attr-defined]
            return connection

        return made


def _opener(cut: _Cut) -> request.OpenerDirector:
    """Return what opens HTTP alone, where an answer sends it elsewhere too."""
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler(),
        request.UnknownHandler(),
        request.HTTPDefaultErrorHandler(),
        request.HTTPRedirectHandler(),
        request.HTTPErrorProcessor(),
        _Connections(cut),
    ):
        opener.add_handler(handler)
    return opener


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
