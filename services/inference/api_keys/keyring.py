"""Who may ask: the API keys in force, out of a file that is read again when it changes.

A key is looked up by its SHA-256. How long a look-up takes may tell how far the digests of two keys are alike, and nobody can make
a key out of the first bytes of its digest: so nothing here has to take the same time whatever is asked.
"""

import binascii
import math
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Any

from inference.api_keys import key_file
from inference.api_keys.key_file import ApiKey
from inference.errors import Forbidden, KeysUnusable, ServiceUnavailable, TooManyRequests, Unauthorized
from inference.token_bucket import TokenBucket

# A longer one is none of ours, and is not hashed.
LONGEST_KEY = 200
# The file that is there while keys are asked for.
NOTE = "api-keys-are-on"
NONE_IN_IT = "there is no key in it; `scripts/api-key add NAME` makes one, and `scripts/api-key off` lets everybody in"
GONE = "it is gone; `scripts/api-key add NAME` makes another one, and `scripts/api-key off` lets everybody in"


class KnownKey:
    """A key in force, and what is left of its rate in this process."""

    __slots__ = ("_bucket", "key")

    def __init__(self, key: ApiKey, workers: int, now: Callable[[], float]) -> None:
        self.key = key
        self._bucket = None if key.rate is None else TokenBucket(key.rate / workers, now)

    def allow(self, scope: str) -> None:
        """Let a request in to what asks for a scope; raise Forbidden where the key has not this one, TooManyRequests beyond its rate."""
        key = self.key
        if scope not in key.scopes:
            raise Forbidden(
                f"the API key {key.name!r} has not the scope {scope}; it has {','.join(sorted(key.scopes))}"
            )
        if self._bucket and not self._bucket.take():
            seconds = max(1, math.ceil(self._bucket.seconds_to_next()))
            asked = key_file.shown_rate(key.rate)
            raise TooManyRequests(
                f"the API key {key.name!r} has used up its rate of {asked} requests a second", seconds
            )


class Keyring:
    """The keys of one process, of which each key's rate is divided among `workers`.

    That keys are asked for is noted in another folder as well, so that a file that is lost opens nothing, after a restart neither.
    """

    def __init__(
        self, path: Path | None, note_folder: Path, workers: int = 1, now: Callable[[], float] = monotonic
    ) -> None:
        self._path, self._note, self._workers, self._now = path, note_folder / NOTE, workers, now
        self._known: dict[bytes, KnownKey] = {}
        self._seen: tuple[bytes | None, str] | None = None
        self.is_on = False
        """whether keys are asked for"""
        self.problem = ""
        """why nobody is let in, empty where keys are"""
        self.look()

    def look(self) -> bool:
        """Read the file, and go by it from now on; tell whether anything is different."""
        if self._path is None or (found := self._read()) == self._seen:
            return False
        self._seen = found
        keys, problem = self._understood(*found)
        self.is_on = keys is not None
        self._remember()
        self.problem = problem and f"API keys cannot be checked, so nobody is let in: {self._path}: {problem}"
        self._take(keys or [])
        return True

    def _understood(self, content: bytes | None, problem: str) -> tuple[list[ApiKey] | None, str]:
        """Return the keys in force, None where none is asked for, and why nobody is let in."""
        if problem:
            return [], problem
        if content is None:  # one that was never there asks for nothing; one that is lost lets nobody in
            return ([], GONE) if self.is_on or self._note.exists() else (None, "")
        try:
            keys = key_file.parsed(content)
        except KeysUnusable as error:
            return [], str(error)
        return keys, NONE_IN_IT if keys == [] else ""

    def _remember(self) -> None:
        """Note whether keys are asked for; where there is no room for it, it is known as long as this process runs."""
        with suppress(OSError):
            if self.is_on:
                self._note.parent.mkdir(parents=True, exist_ok=True)
                self._note.touch()
            else:
                self._note.unlink(missing_ok=True)

    def _read(self) -> tuple[bytes | None, str]:
        """Return the file's content, None where there is none, and what is wrong with it.

        It is what was found last where this process can open no file: that many clients came is no reason to let nobody in.
        """
        try:
            return key_file.read(self._path), ""  # type: ignore[arg-type]
        except KeysUnusable as error:
            return None, str(error)
        except OSError as error:
            return self._seen or (None, f"it cannot be read: {error.strerror}")

    def _take(self, keys: list[ApiKey]) -> None:
        """Put these keys in force; one that was in force goes on with what is left of its rate."""
        before = self._known
        self._known = {
            key.digest: known
            if (known := before.get(key.digest)) and known.key == key
            else KnownKey(key, self._workers, self._now)
            for key in keys
        }

    def told(self) -> str:
        """Return in a sentence who is let in."""
        if self.problem or not self.is_on:
            return self.problem or "API keys are off: nothing asks for one"
        return f"API keys are on: {len(self._known)} in force"

    def identify(self, environ: dict[str, Any]) -> KnownKey:
        """Return the key of a request whose head WSGI describes, and take it out of that.

        Raises Unauthorized, and ServiceUnavailable where the keys are not known.
        """
        if self.problem:
            raise ServiceUnavailable("API keys cannot be checked now; GET /ready says why")
        given = _presented(environ)
        known = self._known.get(sha256(given).digest()) if 0 < len(given) <= LONGEST_KEY else None
        if known is None:
            raise _refusal(given, _is_page(environ))
        return known


def _presented(environ: dict[str, Any]) -> bytes:
    """Return the key that a request bears, empty for none, and take it out of what others see of the request."""
    own: str | None = environ.pop("HTTP_X_API_KEY", None)
    given: str = environ.pop("HTTP_AUTHORIZATION", "")
    if own is not None:
        return own.encode("latin-1", "replace")
    scheme, _, rest = given.partition(" ")
    text = rest.strip().encode("latin-1", "replace")
    if (scheme := scheme.lower()) == "bearer":
        return text
    return _password(text) if scheme == "basic" else b""


def _password(credentials: bytes) -> bytes:
    """Return the password of a Basic login, where a browser puts the key; the user's name says nothing."""
    if len(credentials) > 2 * LONGEST_KEY:
        return b""
    try:
        return binascii.a2b_base64(credentials).partition(b":")[2]
    except binascii.Error:
        return b""


def _refusal(given: bytes, is_page: bool) -> Unauthorized:
    said = "this API key is not known, or is revoked" if given else "this service asks for an API key"
    login = "; in a browser it is the password of the login, under any name" if is_page else ""
    return Unauthorized(f"{said}; send it as Authorization: Bearer KEY, or as X-API-Key{login}", is_page)


def _is_page(environ: dict[str, Any]) -> bool:
    """Tell whether a person's browser opens a page, and so can ask for a login; what a page's script asks is none."""
    return environ["REQUEST_METHOD"] in ("GET", "HEAD") and "text/html" in environ.get("HTTP_ACCEPT", "")
