"""The names that this service answers to.

A web page of anywhere may send its visitor's browser to this port: under a name of its own that resolves to it (DNS
rebinding), and with a POST that needs no permission beforehand. The browser says in Host and Origin whose page it was.
Programs that send neither are let in.
"""

import re

from inference.errors import Forbidden

# How many accepted values of Host, and as many of Origin, are remembered; ports differ.
MOST_KNOWN = 1000
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:/@?#\s]+)(:\d{1,5})?")
# Pages come by HTTP; an extension or a file of the browser's has another scheme, or none.
_ORIGIN = re.compile(rf"https?://{_HOST.pattern}")


class AllowedHosts:
    """Lets in what is addressed to one of these names, with any port; `*` is any name."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._hosts: set[str | None] = {None}
        self._origins: set[str | None] = {None}

    def check(self, host: str | None, origin: str | None) -> None:
        """Raise Forbidden where Host, or the Origin of a page that sends something, is a foreign one."""
        if host not in self._hosts:
            self._look("Host", host or "", _HOST, self._hosts)
        if origin not in self._origins:
            self._look("Origin", origin or "", _ORIGIN, self._origins)

    def _look(self, what: str, value: str, form: re.Pattern[str], known: set[str | None]) -> None:
        match = form.fullmatch(value.lower())
        if "*" not in self._names and (match is None or match[1] not in self._names):
            raise Forbidden(
                f"{what} is {value[:200]!r}, which is none of this service's names; INFERENCE_ALLOWED_HOSTS adds one"
            )
        if len(known) < MOST_KNOWN:
            known.add(value)
