"""An answer over HTTP, of as many bytes and within as much time as is allowed: whoever gives it may go on for ever."""

import time
from collections.abc import Iterator
from http.client import HTTPException
from urllib.request import urlopen

PIECE_BYTES = 256 * 1024
# What an answer that cannot be had, or is not what was asked for, may raise.
UNREADABLE = (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError, RecursionError)


def pieces(url: str, most: int, silence: float, until: float) -> Iterator[bytes]:
    """Yield an answer as it comes, of `most` bytes at most, until that time (time.monotonic) at most.

    `silence` is how many seconds may pass without a byte. Raises ValueError for an answer that is larger, and OSError for one
    that is late or ends before its Content-Length.
    """
    with urlopen(url, timeout=silence) as answer:
        expected = answer.headers.get("Content-Length")
        if expected is not None and int(expected) > most:
            raise ValueError(f"it has {int(expected)} bytes; expected at most {most}")
        found = 0
        while piece := answer.read1(PIECE_BYTES):
            found += len(piece)
            if found > most:
                raise ValueError(f"it goes on after {most} bytes")
            if time.monotonic() > until:
                raise OSError("it did not arrive in time")
            yield piece
    if expected is not None and found != int(expected):
        raise OSError(f"it ended after {found} of {int(expected)} bytes")


def content_of(url: str, most: int, seconds: float) -> bytes:
    """Return an answer's content, which is here within `seconds`; raise as `pieces` does."""
    return b"".join(pieces(url, most, seconds, time.monotonic() + seconds))
