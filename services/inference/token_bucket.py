"""So many of something in a second: what comes evenly passes, and of a burst a second's worth."""

import time
from collections.abc import Callable


class TokenBucket:
    """Holds at most a second's worth of tokens, and one at least where there are any at all; full at first."""

    __slots__ = ("_filled", "_left", "_most", "_now", "rate")

    def __init__(self, rate: float, now: Callable[[], float] = time.monotonic) -> None:
        self.rate, self._now = rate, now
        self._most = max(rate, 1.0) if rate > 0 else 0.0
        self._left, self._filled = self._most, now()

    def take(self) -> bool:
        """Take a token; False where none is left."""
        now = self._now()
        self._left = min(self._most, self._left + (now - self._filled) * self.rate)
        self._filled = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True

    def seconds_to_next(self) -> float:
        """Return how long it takes, from the last look on, until there is a token; the rate is not 0."""
        return max(0.0, (1.0 - self._left) / self.rate)
