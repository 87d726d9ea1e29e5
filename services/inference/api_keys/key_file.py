"""The file with the API keys: what its lines are, and how it is read and written.

    SHA-256 of the key, in hex   its name   its scopes   requests a second, or -   the day that it was made

A file that is there asks for keys, also where none is in it; one that says `off` asks for none. Blank lines, and those that begin
with #, say nothing. A key is 256 random bits: its digest tells nobody what it is, without a salt, and however fast it is computed.
"""

import errno
import os
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import NamedTuple

from inference.errors import KeysUnusable

PREDICT, LABELS, METRICS = SCOPES = ("predict", "labels", "metrics")
OFF = b"off"
NO_RATE = "-"
LEAST_RATE, MOST_RATE = 0.001, 1_000_000.0
# Some eight thousand keys.
MOST_BYTES = 1024 * 1024
_HEADING = (
    "# API keys of the prediction service (docs/api-keys.md): SHA-256, name, scopes, requests a second, made on\n"
)
_DIGEST, _NAME = re.compile(r"[0-9a-f]{64}"), re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class ApiKey(NamedTuple):
    """What is known of a key, which is not the key."""

    digest: bytes
    """its SHA-256"""
    name: str
    scopes: frozenset[str]
    rate: float | None
    """requests that it may make in a second, None where that is not limited"""
    made: str
    """the day, as YYYY-MM-DD"""


def check_name(name: str) -> str:
    """Return a key's name; raise KeysUnusable where it is none."""
    if not _NAME.fullmatch(name):
        raise KeysUnusable(
            f"the name is {name[:100]!r}; expected letters, digits, '.', '_' and '-', 63 at most, a letter or digit first"
        )
    return name


def check_scopes(text: str) -> frozenset[str]:
    """Return scopes that stand with commas between; raise KeysUnusable where there is none, or one that is not known."""
    if not (scopes := frozenset(text.split(","))) <= set(SCOPES):
        raise KeysUnusable(f"the scopes are {text[:100]!r}; expected some of {','.join(SCOPES)}, with commas between")
    return scopes


def check_rate(text: str) -> float | None:
    """Return a rate, None for none; raise KeysUnusable where it is no number within bounds."""
    if text == NO_RATE:
        return None
    with suppress(ValueError):
        if LEAST_RATE <= (rate := float(text)) <= MOST_RATE:
            return rate
    raise KeysUnusable(
        f"the rate is {text[:100]!r}; expected requests a second, from {LEAST_RATE:g} to {MOST_RATE:.0f}, or {NO_RATE}"
    )


def read(path: Path) -> bytes | None:
    """Return the file's content, None where there is no file; raise KeysUnusable where it cannot be read.

    Raises OSError where no file at all can be opened now, which says nothing of this one.
    """
    try:
        # What is no file, such as a pipe, must not keep anybody waiting.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise
        raise KeysUnusable(f"it cannot be read: {error.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise KeysUnusable("it is no file")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise KeysUnusable(f"it cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    if len(content) > MOST_BYTES:
        raise KeysUnusable(f"it is over the limit of {MOST_BYTES} bytes")
    return content


def parsed(content: bytes) -> list[ApiKey] | None:
    """Return the keys in a file's content, None where it says `off`.

    Raises KeysUnusable naming the first bad line by its number, and not by what it says: it may be a key.
    """
    if content.strip() == OFF:
        return None
    keys: list[ApiKey] = []
    seen: set[bytes | str] = set()
    for number, line in enumerate(content.splitlines(), 1):
        if not (words := line.split()) or words[0].startswith(b"#"):
            continue
        if (key := _parsed_line(words)) is None:
            raise KeysUnusable(f"line {number} is no key: expected SHA-256, name, scopes, rate and day")
        if key.name in seen or key.digest in seen:
            raise KeysUnusable(f"line {number} has a key, or a name, that stands above already")
        seen |= {key.name, key.digest}
        keys.append(key)
    return keys


def _parsed_line(words: list[bytes]) -> ApiKey | None:
    try:
        digest, name, scopes, rate, made = (word.decode("ascii") for word in words)
        date.fromisoformat(made)
        if not _DIGEST.fullmatch(digest):
            return None
        return ApiKey(bytes.fromhex(digest), check_name(name), check_scopes(scopes), check_rate(rate), made)
    except (ValueError, KeysUnusable):
        return None


def written(keys: Iterable[ApiKey]) -> bytes:
    """Return the content of a file with these keys."""
    lines = [
        f"{key.digest.hex()} {key.name} {','.join(sorted(key.scopes))} {shown_rate(key.rate)} {key.made}\n"
        for key in keys
    ]
    return "".join([_HEADING, *lines]).encode()


def shown_rate(rate: float | None) -> str:
    """Return a rate as the file and people have it."""
    return NO_RATE if rate is None else f"{rate:.12g}"


def replace(path: Path, content: bytes) -> None:
    """Put a file in the place of the one that is there, readable by its owner alone: a reader sees the one or the other."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
