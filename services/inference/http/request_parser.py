"""Requests out of the bytes of one connection: HTTP/1 as httptools reads it, within limits.

httptools (llhttp) is strict where two servers could read two things: bare line feeds, folded headers, two lengths, a length
beside chunks. What it lets pass is refused here: other versions, other transfer codings, chunks in HTTP/1.0, two Hosts, and
all that has no end, as it has no limits of its own. What a client costs grows with the bytes that it sends, and with nothing
else.
"""

import re
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from inference.request.context import RequestContext

# What the head of a request may have, in bytes and in number: gunicorn's own limits, and one for all of it together.
MOST_URL, MOST_FIELD, MOST_FIELDS, MOST_HEAD = 4094, 8190, 100, 64 * 1024
# Digits of a Content-Length: as many as 64 bits have. httptools takes any number of zeros in front, and Python does not.
MOST_DIGITS = 20
# What a body in chunks may have beside twice its content, in bytes: for their lines, extensions and trailers.
MOST_FRAMING = 64 * 1024
# Names of headers up to this length are remembered with what WSGI makes of them.
LONGEST_KNOWN = 50
# What Flask wants to know beside the request.
ABOUT_THE_SERVER = {
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.multithread": False,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
    "SCRIPT_NAME": "",
    "SERVER_NAME": "inference",
    "SERVER_PORT": "80",
}


_PATH = re.compile(rb"[/?#].*")


class MalformedRequest(Exception):
    """What came is a malformed request, or more than this server takes of one."""


class Request:
    """A request whose head has come."""

    __slots__ = ("closes", "content", "context", "environ", "held", "is_kept", "is_queued", "is_whole", "seen", "size")

    def __init__(self, environ: dict[str, Any], size: int, closes: bool) -> None:
        self.environ = environ
        """the request as WSGI describes it, without its body"""
        self.context: RequestContext
        """what is known of it, once the service has begun with it"""
        self.size = size
        """bytes of its body, -1 where it comes in chunks"""
        self.closes = closes
        """whether the client wants no other answer on this connection"""
        self.seen = 0
        """bytes of its body that have come"""
        self.content: bytes | bytearray = b""
        """what was kept of its body"""
        self.held = 0
        """bytes of its body that admission control counts"""
        self.is_kept = self.is_whole = self.is_queued = False


class Receiver(Protocol):
    """Who is told what has come."""

    def head_came(self, request: Request) -> None: ...

    def body_came(self, request: Request, piece: bytes) -> None: ...

    def request_came(self, request: Request) -> None: ...


class RequestReader:
    """Reads the requests of one connection; `address` is the client's."""

    def __init__(self, receiver: Receiver, address: str) -> None:
        self._receiver, self._address = receiver, address
        self._parser = HttpRequestParser(self)
        self._request: Request | None = None
        self._environ: dict[str, Any] = {}
        self._url, self._fields = b"", 0
        self._bytes, self._is_counting = 0, False
        self._is_at_end = True
        self.is_in_head = False
        """whether some of a head has come, and not all"""

    def close(self) -> None:
        """Let go of all that it holds: with its parser and its receiver it would live on until a search for garbage."""
        self._request = self._receiver = self._parser = None  # type: ignore[assignment]
        self._environ = {}

    def feed(self, data: memoryview) -> None:
        """Tell the receiver what these bytes are; raise MalformedRequest where they are malformed, or too many."""
        size = len(data)
        self._is_at_end = False
        while data:
            try:
                data = self._parse(data)
            except HttpParserError as error:
                raise (
                    error.__context__ or MalformedRequest(str(error))
                ) from None  # what a callback raised is its context
        self.is_in_head = self._request is None and not self._is_at_end
        self._count(size)

    def _parse(self, data: memoryview) -> memoryview:
        """Return what is left after an offer of another protocol."""
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as offer:
            self._pass_over_the_offer()
            return data[offer.args[0] :]
        return data[:0]

    def _count(self, size: int) -> None:
        """Bound a head, and what a body in chunks has beside its content.

        The bytes in which either began are not counted: how many of them belong to what was before it is not known.
        """
        if not self._is_counting:
            self._is_counting = True
            return
        self._bytes += size
        if self.is_in_head and self._bytes > MOST_HEAD:
            raise MalformedRequest(f"its head is over the limit of {MOST_HEAD} bytes")
        if (request := self._request) and request.size < 0 and self._bytes > 2 * request.seen + MOST_FRAMING:
            raise MalformedRequest(f"its chunks have {self._bytes} bytes for {request.seen} bytes of content")

    def _pass_over_the_offer(self) -> None:
        """Read what follows a head that offers another protocol as its body; httptools leaves it to that protocol.

        Java's own client offers HTTP/2 with the first request on each connection.
        """
        self._parser = HttpRequestParser(self)
        if (request := self._request) is None:
            return
        framing = b"Transfer-Encoding: chunked" if request.size < 0 else b"Content-Length: %d" % request.size
        self._parser.feed_data(b"POST / HTTP/1.1\r\n%s\r\n\r\n" % framing)

    # --- called by the parser ----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._is_at_end = False
        if self._request is None:
            self._environ, self._url, self._fields = {**ABOUT_THE_SERVER, "REMOTE_ADDR": self._address}, b"", 0
            self._bytes, self._is_counting = 0, False

    def on_url(self, url: bytes) -> None:
        if self._request is not None:  # the offer was passed over
            return
        self._url += url
        if len(self._url) > MOST_URL:
            raise MalformedRequest(f"its path is over the limit of {MOST_URL} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._request is not None:  # of a trailer
            return
        self._fields += 1
        if self._fields > MOST_FIELDS or len(name) + len(value) > MOST_FIELD:
            raise MalformedRequest(f"it has more than {MOST_FIELDS} headers, or one of more than {MOST_FIELD} bytes")
        environ, text = self._environ, value.decode("latin-1").strip(" \t")
        key = _known_key_of(name) if len(name) < LONGEST_KNOWN else _key_of(name)
        if key in environ:
            if key == "HTTP_HOST":
                raise MalformedRequest("it has two Hosts")
            text = f"{environ[key]},{text}"
        if key:
            environ[key] = text

    def on_headers_complete(self) -> None:
        if self._request is not None:  # the offer was passed over
            return
        environ, parser = self._environ, self._parser
        if (version := parser.get_http_version()) not in ("1.1", "1.0"):
            raise MalformedRequest(f"its version is HTTP/{version}")
        environ["REQUEST_METHOD"] = method = parser.get_method().decode("ascii")
        if method == "CONNECT":
            raise MalformedRequest("this is no proxy")
        environ["SERVER_PROTOCOL"] = f"HTTP/{version}"
        environ["PATH_INFO"], environ["QUERY_STRING"] = _path_of(self._url)
        if len(length := environ.get("CONTENT_LENGTH", "0")) > MOST_DIGITS:
            raise MalformedRequest(f"its Content-Length has more than {MOST_DIGITS} digits")
        size = int(length)
        if coding := environ.get("HTTP_TRANSFER_ENCODING"):
            if coding.lower() != "chunked" or version == "1.0":
                raise MalformedRequest(
                    f"its transfer coding is {coding[:50]!r} in HTTP/{version}; expected chunked in HTTP/1.1"
                )
            size = -1
        self._request = request = Request(environ, size, not parser.should_keep_alive())
        self._bytes, self._is_counting = 0, False
        self._receiver.head_came(request)

    def on_body(self, piece: bytes) -> None:
        request = self._request
        request.seen += len(piece)  # type: ignore[union-attr]
        self._receiver.body_came(request, piece)  # type: ignore[arg-type]

    def on_message_complete(self) -> None:
        if self._parser.should_upgrade() and self._request is not None and self._request.size:
            return  # its body comes after it
        request, self._request, self._is_at_end = self._request, None, True
        self._receiver.request_came(request)  # type: ignore[arg-type]


def _key_of(name: bytes) -> str:
    """Return a header's name as WSGI has it; empty where two names would become one."""
    text = name.decode("ascii").upper()
    if "_" in text:
        return ""
    text = text.replace("-", "_")
    return text if text in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{text}"


_known_key_of = lru_cache(1000)(_key_of)


def _path_of(url: bytes) -> tuple[str, str]:
    """Return path and query as WSGI has them: the path without percent signs, both as Latin-1."""
    if not url.startswith(b"/") and url != b"*":  # a whole address, whose host is not looked at
        found = _PATH.search(url.partition(b"://")[2])
        url = found[0] if found else b""
        url = url if url.startswith(b"/") else b"/" + url
    path, _, query = url.partition(b"#")[0].partition(b"?")
    return (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1"), query.decode("latin-1")
