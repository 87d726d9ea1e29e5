"""What the monitor says of the data, where there is one."""

import json
from dataclasses import dataclass
from http.client import HTTPException
from urllib.request import urlopen

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
        with urlopen(f"{url}/status", timeout=SECONDS) as answer:
            said = json.loads(answer.read(MOST_BYTES))
        drift, columns = said["drift"], said.get("columns") or []
        if drift not in (True, False, None):
            raise TypeError
        return Verdict(True, drift, tuple(str(column) for column in columns))
    except (OSError, HTTPException, ValueError, TypeError, KeyError, AttributeError):
        return Verdict(False)
