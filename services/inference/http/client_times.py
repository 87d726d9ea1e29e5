"""Until when a client has to do what it is to do now: each state of a connection has its seconds."""

import math

# How long a connection may be idle: longer than proxies keep theirs, so that it is they who close first.
IDLE_SECONDS = 75
# How long the head of a request may take from its first byte to its last.
HEAD_SECONDS = 10
# How long what a client that was turned away is still sending is read.
LINGER_SECONDS = 5


def seconds_of(body_seconds: float) -> dict[str, float]:
    """Return how long a client has in each state, where a body and the reading of an answer have so many seconds."""
    return {
        "idle": IDLE_SECONDS,
        "head": HEAD_SECONDS,
        "body": body_seconds,
        "needless": HEAD_SECONDS,
        "answering": math.inf,
        "unread": body_seconds,
        "closing": body_seconds,
        "lingering": LINGER_SECONDS,
    }


class ClientTimes:
    """The times of one connection, by the loop's clock."""

    __slots__ = ("_seconds", "deadline", "idle_since", "owing_since", "state")

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds = seconds
        self.state = ""
        self.deadline = math.inf
        """until when the client has to send something, or to read something"""
        self.idle_since = math.inf
        """since when it has had no whole head of a request; math.inf while it has something to do"""
        self.owing_since = math.inf
        """since when nothing has come of a body that is on its way; math.inf while none is"""

    @property
    def waiting_since(self) -> float:
        """Since when nothing has come of what the client is to send."""
        return min(self.idle_since, self.owing_since)

    def enter(self, state: str, now: float) -> None:
        """Give the client its time for another state."""
        if state not in ("idle", "head"):
            self.idle_since = math.inf
        elif self.state not in ("idle", "head"):
            self.idle_since = now
        self.state, self.deadline, self.owing_since = state, now + self._seconds[state], math.inf
