"""The id that a request has in answers, in the log and among the predictions that are kept."""

import os
import re
from collections.abc import Iterator

from inference.request.context import Environ

_REQUEST_ID = re.compile(r"[!-~]{1,128}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]*)?")


def new_ids() -> Iterator[str]:
    """Give one id after the other, which nobody can guess from another: with one, labels find an answer."""
    while True:
        block = os.urandom(16 * 256).hex()
        yield from (block[at : at + 32] for at in range(0, len(block), 32))


def request_id(environ: Environ, new: Iterator[str]) -> str:
    """Return the id that the request came with, that of its trace, or a new one."""
    if (given := environ.get("HTTP_X_REQUEST_ID")) and _REQUEST_ID.fullmatch(given):
        return str(given)
    if (trace := environ.get("HTTP_TRACEPARENT")) and (match := _TRACEPARENT.fullmatch(trace)):
        return match[1]
    return next(new)


def traceparent(environ: Environ) -> str | None:
    """Return where in a trace the request belongs, as it came; None where it does not say, or not as W3C has it."""
    trace: str | None = environ.get("HTTP_TRACEPARENT")
    return trace if trace and _TRACEPARENT.fullmatch(trace) else None
