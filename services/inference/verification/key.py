"""The key that signatures are checked with. When it becomes another one, the service ends, to be started anew with it.

What is served was checked with the key of its time: a version that the new key refuses must not go on until something
else happens to restart the service.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger("inference")


class KeyWatch:
    """Looks between two looks at the registry whether the key is another one, and calls `end` where it is."""

    def __init__(self, path: Path, end: Callable[[], None]) -> None:
        self._path, self._end = path, end
        self._known = self._read()

    def pause(self, seconds: float) -> None:
        """Sleep, and look at the key."""
        time.sleep(seconds)
        # At a first start the key comes after the service; one that is lost is generated again by the next set-up.
        if (found := self._read()) and found != self._known:
            known, self._known = self._known, found
            if known:
                log.warning(
                    "the key in %s is another one now: the service ends, to be started anew with it", self._path
                )
                self._end()

    def _read(self) -> bytes:
        try:
            return self._path.read_bytes()
        except OSError:
            return b""
