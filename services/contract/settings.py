"""Settings: read from the environment, once, and told in a log.

A variable is left out or has a value, and is never empty by mistake.
"""

import re
import sys
from collections.abc import Mapping
from typing import Any, TypeVar

from contract.display import without_login

N = TypeVar("N", int, float)


class Reader:
    """Reads variables, and raises an error of the service's own that names the variable, its value and what is expected."""

    def __init__(self, environ: Mapping[str, str], error: type[Exception]) -> None:
        self._environ, self._error = environ, error

    def __contains__(self, name: str) -> bool:
        return name in self._environ

    def text(self, name: str, default: str) -> str:
        """Return a variable's text, or the default where it is left out."""
        value = self._environ.get(name, default).strip()
        if name in self and not value:
            raise self._error(f"{name} is empty; leave it out to use {default!r}")
        return value

    def uri(self, name: str, default: str) -> str:
        """Return an MLflow server's address, which may hold no login (it would stand in logs and answers), or a database's."""
        uri = self.text(name, default)
        # Not by contract.tracking's is_server: it would load urllib and ssl into each worker.
        if uri.startswith(("http://", "https://")):
            instead = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or ~/.mlflow/credentials (docs/login.md)"
            self.refuse_login(name, uri, instead)
        return uri

    def endpoint(self, name: str, instead: str) -> str:
        """Return an S3 store's address, which may hold no login: a key goes where `instead` says."""
        address = self._environ.get(name, "").strip()
        self.refuse_login(name, address, instead)
        if not re.match("https?://[^/?#]", address):
            raise self._error(f"{name} is {address!r}; expected http(s)://HOST[:PORT]")
        return address

    def refuse_login(self, name: str, address: str, instead: str) -> None:
        """Raise the error where an address has a login, which would stand in logs and answers; it goes where `instead` says."""
        if "@" in address:
            shown = without_login(address) if "://" in address else address.rpartition("@")[2]
            raise self._error(f"{name} has a name or a password before the @ in {shown!r}; they go into {instead}")

    def number(self, name: str, default: N, low: float | None, high: float) -> N:
        """Return a number of the default's type, from `low` (None: from anywhere) to `high`."""
        kind, text = type(default), self.text(name, str(default))
        least = -sys.float_info.max if low is None else low
        try:
            if least <= (value := kind(text)) <= high:
                return value
        except ValueError:
            pass  # as one that is out of range
        what, start = "a whole number" if kind is int else "a number", "" if low is None else f"from {low} "
        raise self._error(f"{name} is {text!r}; expected {what} {start}{'up to' if low is None else 'to'} {high}")

    def choice(self, name: str, default: str, *words: str) -> str:
        """Return one of two words or more."""
        if (text := self.text(name, default)) not in words:
            raise self._error(f"{name} is {text!r}; expected {(' or ' if len(words) == 2 else ', ').join(words)}")
        return text

    def names(self, name: str) -> frozenset[str]:
        """Return names that are separated by commas; empty is none of them."""
        return frozenset(part.strip() for part in self._environ.get(name, "").split(",") if part.strip())


def told(*settings: object) -> dict[str, Any]:
    """Return the settings in force that dataclasses have, for the log: of a URL not its login, of headers the names alone."""
    found = {name: _shown(value) for each in settings for name, value in vars(each).items() if value is not None}
    return {name: re.sub("=[^,]*", "=…", value) if name.endswith("headers") else value for name, value in found.items()}


def _shown(value: Any) -> Any:
    if type(value) in (int, float, bool):
        return value
    if isinstance(value, tuple):
        return [_shown(each) for each in value]
    text = ", ".join(sorted(value)) if isinstance(value, frozenset) else str(value)
    return without_login(text)
