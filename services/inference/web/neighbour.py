"""What another part of the stack says of itself, where it is there: asked for aside, since predictions wait for nobody's answer."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from contract.tracking.bounded_http import UNREADABLE, content_of

AGAIN_SECONDS = 10.0
PATIENCE_SECONDS = 2.0
# Of an answer; it is a page of figures.
MOST_BYTES = 100_000


class Neighbour:
    """The JSON at an address, as it was some seconds ago: None where nobody answers, or nobody was asked yet."""

    def __init__(self, url: str, now: Callable[[], float] = time.monotonic) -> None:
        self._url, self._now = url, now
        self._due = -AGAIN_SECONDS
        self._said: dict[str, Any] | None = None

    def said(self) -> dict[str, Any] | None:
        """Return what is known; where that is some seconds old, it is asked for again meanwhile."""
        if self._url and self._now() >= self._due:
            self._due = self._now() + AGAIN_SECONDS
            threading.Thread(target=self.ask, name="neighbour", daemon=True).start()
        return self._said

    def ask(self) -> None:
        """Ask, and wait for the answer."""
        try:
            found = json.loads(content_of(self._url, MOST_BYTES, PATIENCE_SECONDS))
        except UNREADABLE:
            found = None
        self._said = found if isinstance(found, dict) else None
