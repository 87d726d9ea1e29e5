"""The names that this service answers to.

A web page of anywhere may send its visitor's browser to this port: under a name of its own that resolves to it (DNS
rebinding), and with a POST that needs no permission beforehand. The browser says in Host and Origin whose page it was.
Programs that send neither are let in.
"""

import re

from inference.errors import Forbidden

# How many accepted values of Host and Origin are remembered; ports differ.
MOST_KNOWN = 1000
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:/@?#\s]+)(:\d{1,5})?")


class AllowedHosts:
    """Lets in what is addressed to one of these names, with any port; `*` is any name."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._known: set[str | None] = {None}

    def check(self, host: str | None, origin: str | None) -> None:
        """Raise Forbidden where Host, or the Origin of a page that sends something, is a foreign one."""
        if host not in self._known:
            self._look("Host", host or "", host or "")
        if origin not in self._known:
            self._look("Origin", origin or "", (origin or "").partition("://")[2])

    def _look(self, what: str, value: str, address: str) -> None:
        match = _HOST.fullmatch(address.lower())
        if "*" not in self._names and (match is None or match[1] not in self._names):
            raise Forbidden(
                f"{what} is {value[:200]!r}, which is none of this service's names; INFERENCE_ALLOWED_HOSTS adds one"
            )
        if len(self._known) < MOST_KNOWN:
            self._known.add(value)
