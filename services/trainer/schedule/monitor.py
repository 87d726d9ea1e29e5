"""What the monitor says of the data, where there is one."""

import json
from dataclasses import dataclass

from contract.tracking.bounded_http import UNREADABLE, content_of

SECONDS = 5.0
MOST_BYTES = 1024**2


@dataclass(frozen=True)
class Verdict:
    """What the monitor said last."""

    answers: bool
    drift: bool | None = None
    """None where that is not known"""
    columns: tuple[str, ...] = ()


def ask(url: str) -> Verdict:
    """Return what GET `url`/status says; without an answer nothing is known."""
    try:
        said = json.loads(content_of(f"{url}/status", MOST_BYTES, SECONDS))
        drift, columns = said["drift"], said.get("columns") or []
        if drift not in (True, False, None):
            raise TypeError
        return Verdict(True, drift, tuple(str(column) for column in columns))
    except UNREADABLE:
        return Verdict(False)
