"""The connections of one worker: how many there may be, who makes room for whom, and whose time is over."""

import math
from typing import Protocol

from inference.http.client_times import ClientTimes

# How long a connection is idle before it makes room for another one, where there are too many; and how long one that has
# sent no request yet, whose first one may be on its way.
SPARE_SECONDS = 5.0
SILENT_SECONDS = 1.0


class Member(Protocol):
    """A connection."""

    times: ClientTimes

    def give_way(self) -> None:
        """Close it at once."""

    def end_late(self) -> None:
        """End what has not ended by its deadline."""


class Connections:
    """The connections of one worker.

    Where there are as many as there may be, a new one takes the place of the oldest that has not sent the head of a request
    yet, or else of one that has been idle for a while, or has sent nothing of its body for as long: it costs nothing to open
    connections and to leave them so, and that is to keep nobody out who has a request.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._open: dict[Member, None] = {}
        self._silent: dict[Member, None] = {}
        self._turned_away: dict[Member, None] = {}
        self._spare: list[Member] = []

    def __len__(self) -> int:
        return len(self._open) + len(self._turned_away)

    def admit(self, one: Member, now: float) -> bool:
        """Let a new connection in, as long as there is room."""
        if len(self._open) >= self.limit and (other := self._dispensable(now)) is not None:
            self.leave(other)
            other.give_way()
        if len(self._open) >= self.limit:
            return False
        self._open[one] = self._silent[one] = None
        return True

    def _dispensable(self, now: float) -> Member | None:
        if (oldest := next(iter(self._silent), None)) and oldest.times.idle_since <= now - SILENT_SECONDS:
            return oldest
        while self._spare:
            one = self._spare.pop()
            if one in self._open and one.times.waiting_since < now - SPARE_SECONDS:
                return one
        return None

    def prove(self, one: Member) -> None:
        """Note that a connection has sent the head of a request."""
        self._silent.pop(one, None)

    def turn_away(self, one: Member) -> bool:
        """Keep one that was refused until it has read why, if there are not too many of those as well."""
        self.leave(one)
        if len(self._turned_away) >= self.limit:
            return False
        self._turned_away[one] = None
        return True

    def leave(self, one: Member) -> None:
        for group in (self._open, self._silent, self._turned_away):
            group.pop(one, None)

    def sweep(self, now: float) -> None:
        """End those whose time is over, and note who could make room; to be called about once in a second."""
        for one in [*self._open, *self._turned_away]:
            if one.times.deadline < now:
                one.end_late()
        spare = [one for one in self._open if one.times.waiting_since < now - SPARE_SECONDS]
        self._spare = sorted(spare, key=lambda one: one.times.waiting_since, reverse=True)

    def end_idle(self) -> None:
        """Close those that have nothing to do."""
        for one in [one for one in self._open if one.times.idle_since < math.inf]:
            one.give_way()
