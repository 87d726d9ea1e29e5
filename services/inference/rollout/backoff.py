"""A version that could not be taken up, and when it is tried again."""

import time
from dataclasses import dataclass

from inference.model.version import ModelVersion

# A version that was refused, or did not arrive, is tried again after these, longer each time.
FIRST_RETRY_SECONDS = 5.0
LAST_RETRY_SECONDS = 300.0
# One that a process did not survive, likewise: each try may cost the connections of a worker, or a restart.
FIRST_RETRY_AFTER_DEATH_SECONDS, LAST_RETRY_AFTER_DEATH_SECONDS = 60.0, 3600.0


@dataclass(frozen=True)
class Failure:
    """A version that could not be taken up, why, and when it is tried again."""

    version: ModelVersion
    problem: str
    pause: float
    due: float
    outline: str | None = None
    """what its files looked like from outside, where that is known: when it changes, they are worth another look"""
    is_deadly: bool = False
    """whether a process did not survive it"""

    def is_about(self, version: ModelVersion) -> bool:
        return self.version == version


def failure_of(
    version: ModelVersion, problem: str, before: Failure | None, is_deadly: bool, spares: bool, times: int = 1
) -> Failure:
    """Return a failure whose pause is twice that of the one before it, where that is about the same version.

    `times` is how many there have been, where the one before it is not known. What `is_deadly` is left alone for longer where
    that `spares` something: where nothing is served, there is nothing to be spared.
    """
    first = FIRST_RETRY_AFTER_DEATH_SECONDS if is_deadly and spares else FIRST_RETRY_SECONDS
    last = LAST_RETRY_AFTER_DEATH_SECONDS if is_deadly and spares else LAST_RETRY_SECONDS
    if before is None or not before.is_about(version):
        pause, outline = first * 2.0 ** (times - 1), None
    else:
        pause, outline = max(first, 2 * before.pause), before.outline
    pause = min(pause, last)
    return Failure(version, problem, pause, time.monotonic() + pause, outline, is_deadly)
