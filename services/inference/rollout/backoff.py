"""A version that could not be taken up, and when it is tried again."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from inference.model.version import ModelVersion
from inference.rollout.background_call import LOOK_SECONDS, within

# A version that was refused, or did not arrive, is tried again after these, longer each time.
FIRST_RETRY_SECONDS = 5.0
LAST_RETRY_SECONDS = 300.0
# One that a process did not survive, likewise: each try may cost the connections of a worker, or a restart.
FIRST_RETRY_AFTER_DEATH_SECONDS, LAST_RETRY_AFTER_DEATH_SECONDS = 60.0, 3600.0
# How long nobody is asked for what a refused version's files look like, once there was no answer: it may be a store that
# hangs, and the questions would pile up in front of it.
FINGERPRINT_PAUSE_SECONDS = 30.0


@dataclass(frozen=True)
class Failure:
    """A version that could not be taken up, why, and when it is tried again."""

    version: ModelVersion
    problem: str
    is_deadly: bool = False
    """whether a process did not survive it"""
    spares: bool = False
    """whether to leave it alone spares something that is served"""
    times: int = 1
    """how many there have been in a row, where the one before it is not known"""
    pause: float = 0.0
    due: float = 0.0
    fingerprint: str | None = None
    """what its files looked like from outside, where that is known: when it changes, they are worth another look"""

    def after(self, before: "Failure | None") -> "Failure":
        """Return it with its pause: twice that of the one before it, where that is about the same version.

        What is deadly is left alone for longer where that spares something: where nothing is served, there is nothing to be
        spared.
        """
        is_long = self.is_deadly and self.spares
        first = FIRST_RETRY_AFTER_DEATH_SECONDS if is_long else FIRST_RETRY_SECONDS
        last = LAST_RETRY_AFTER_DEATH_SECONDS if is_long else LAST_RETRY_SECONDS
        if before is None:
            pause, fingerprint = first * 2.0 ** (self.times - 1), None
        else:
            pause, fingerprint = max(first, 2 * before.pause), before.fingerprint
        pause = min(pause, last)
        return replace(self, pause=pause, due=time.monotonic() + pause, fingerprint=fingerprint)


class Backoff:
    """The last failure, until it is over; `fingerprint` returns a text that changes with a version's files, and may hang."""

    def __init__(self, fingerprint: Callable[[ModelVersion], str | None]) -> None:
        self._fingerprint = fingerprint
        self._fingerprint_due = float("-inf")
        self.failure: Failure | None = None

    def of(self, version: ModelVersion) -> Failure | None:
        """Return the last failure where it is about a version."""
        return self.failure if self.failure and self.failure.version == version else None

    def note(self, failure: Failure) -> None:
        """Note a failure and when the version is tried again."""
        self.failure = failure.after(self.of(failure.version))

    def note_files(self) -> None:
        """Note how the files of the version look that failed."""
        if self.failure is not None:
            self.failure = replace(self.failure, fingerprint=self._fingerprint_of(self.failure.version))

    def clear(self) -> None:
        """Note that there is nothing to be tried again."""
        self.failure = None

    def is_due(self, failure: Failure) -> bool:
        """Tell whether it is time for another try, or whether the files look otherwise than when it failed."""
        return time.monotonic() >= failure.due or self._has_changed(failure)

    def _has_changed(self, failure: Failure) -> bool:
        if time.monotonic() < self._fingerprint_due:
            return False
        fingerprint = self._fingerprint_of(failure.version)
        if fingerprint is None or fingerprint == failure.fingerprint:
            return False
        # Noted before they are fetched, so that a change in the middle of it is one more change.
        self.failure = replace(failure, fingerprint=fingerprint)
        return failure.fingerprint is not None or not failure.is_deadly

    def _fingerprint_of(self, version: ModelVersion) -> str | None:
        try:
            fingerprint = within(LOOK_SECONDS, lambda: self._fingerprint(version))
        except TimeoutError:
            fingerprint = None
        if fingerprint is None:
            self._fingerprint_due = time.monotonic() + FINGERPRINT_PAUSE_SECONDS
        return fingerprint
