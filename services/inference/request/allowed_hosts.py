"""The names that this service answers to.

A web page of anywhere may send its visitor's browser to this port: under a name of its own that resolves to it (DNS
rebinding), and with a POST that needs no permission beforehand. The browser says in Host and Origin whose page it was.
Programs that send neither are let in, and so are pages of those origins that the settings name: they may read the answers, too
(CORS).
"""

import re
import socket
from typing import Any

from inference.errors import Forbidden

# How many accepted values of Host, and as many of Origin, are remembered; ports differ.
MOST_KNOWN = 1000
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:/@?#\s]+)(:\d{1,5})?")
# Pages come by HTTP; an extension or a file of the browser's has another scheme, or none.
_ORIGIN = re.compile(rf"https?://{_HOST.pattern}")
# What a page may send and read beside what every page may, and for how many seconds its browser need not ask again.
PREFLIGHT = [
    ("Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS"),
    (
        "Access-Control-Allow-Headers",
        "Authorization, X-API-Key, Content-Type, Content-Encoding, Inference-Header-Content-Length, X-Request-ID, X-Split-Key, "
        "traceparent, tracestate",
    ),
    ("Access-Control-Max-Age", "600"),
]
EXPOSED = (
    "Access-Control-Expose-Headers",
    "X-Model-Name, X-Model-Version, X-Request-ID, Retry-After, Inference-Header-Content-Length",
)


def own_addresses() -> frozenset[str]:
    """Return the addresses of this machine or container, as its own name has them: Prometheus asks each replica by its address."""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None)}
    except OSError:  # its name is nobody's
        return frozenset()
    return frozenset(f"[{address}]" if ":" in address else address for address in found)


class AllowedHosts:
    """Lets in what is addressed to one of these names, with any port, and pages of these origins; `*` is any of either."""

    def __init__(self, names: frozenset[str], origins: frozenset[str] = frozenset()) -> None:
        self._names, self.origins = names, origins
        self._hosts: set[str | None] = {None}
        self._origins: set[str | None] = {None, *origins}

    def check(self, host: str | None, origin: str | None) -> None:
        """Raise Forbidden where Host, or the Origin of a page that sends something, is a foreign one."""
        if host not in self._hosts:
            self._look("Host", host or "", _HOST, self._hosts)
        if origin not in self._origins and "*" not in self.origins:
            self._look("Origin", origin or "", _ORIGIN, self._origins)

    def _look(self, what: str, value: str, form: re.Pattern[str], known: set[str | None]) -> None:
        match = form.fullmatch(value.lower())
        if "*" not in self._names and (match is None or match[1] not in self._names):
            page = "; INFERENCE_CORS_ORIGINS lets pages of other origins in" if what == "Origin" else ""
            raise Forbidden(
                f"{what} is {value[:200]!r}, which is none of this service's names; INFERENCE_ALLOWED_HOSTS adds one{page}"
            )
        if len(known) < MOST_KNOWN:
            known.add(value)

    def permissions(self, environ: dict[str, Any]) -> list[tuple[str, str]]:
        """Return the headers that let a page of another origin read the answer, where it may; with no such origin, none."""
        origin = environ.get("HTTP_ORIGIN")
        if "*" in self.origins:
            found = [("Access-Control-Allow-Origin", "*")]
        elif origin in self.origins:
            found = [("Vary", "Origin"), ("Access-Control-Allow-Origin", origin)]
        else:
            return [("Vary", "Origin")] if self.origins else []
        is_preflight = environ.get("REQUEST_METHOD") == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
        return [*found, EXPOSED, *(PREFLIGHT if is_preflight else ())]
