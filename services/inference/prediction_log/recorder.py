"""What a worker does for the prediction log: each prediction, or a share of them, goes into the spool before its answer goes.

They come as many at a time as the worker answers before it looks at the network again: the second of several costs a third of the first.

Nothing that is wrong with the spool keeps a prediction from being answered: it is counted, and tried again a second later.
"""

import logging
import time
import weakref
from hashlib import blake2b
from typing import Any

import msgspec
from contract.mlmodel.manifest import Description

from inference.errors import SpoolFull
from inference.model.deployment import Deployment
from inference.model.observation import Observation
from inference.prediction_log.record import Version, packed
from inference.prediction_log.segment import Segment
from inference.prediction_log.spool import Spool
from inference.settings import Settings
from inference.telemetry.metrics import NOT_KEPT

# How long nothing is tried where the spool takes nothing.
PAUSE_SECONDS = 1.0
# Why predictions may not be kept.
OMIT, FULL, UNWRITABLE = REASONS = ("omit", "full", "unwritable")

log = logging.getLogger("inference")


def is_chosen(request_id: str, share: float) -> bool:
    """Tell whether a request is among the share that is kept: the same in each worker and replica, and with a larger share still."""
    return int.from_bytes(blake2b(request_id.encode(), digest_size=8).digest(), "big") < share * 2**64


class _Version:
    """What is kept of one version's predictions: a segment is of one."""

    def __init__(self, deployment: Deployment, omit: frozenset[str]) -> None:
        # Not the deployment itself, so that a model that is served no more leaves the memory.
        self.deployment = weakref.ref(deployment)
        description = deployment.model.description
        self.kept = [j for j, c in enumerate(description.columns) if c.name not in omit] if omit else None
        self.told = msgspec.json.encode(Version.of(deployment, omit))
        self.lacking = lacking_of(description, omit)
        self.segment: Segment | None = None

    def close(self) -> None:
        if self.segment is not None:
            self.segment.close()
            self.segment = None


def _take_turns(one: Deployment | None, other: Deployment) -> bool:
    """Tell whether one is the challenger of the other."""
    if one is None:
        return False
    return (one.watch is not None and one.watch.champion is other) or (
        other.watch is not None and other.watch.champion is one
    )


def lacking_of(description: Description, omit: frozenset[str]) -> str:
    """Say which names of what is to be omitted a version lacks: a name that is mistyped must not let anything through."""
    names = sorted(omit - {column.name for column in description.columns})
    return f"PREDICTION_LOG_OMIT has {', '.join(map(repr, names))}, which the model lacks" if names else ""


class PredictionLog:
    """An observer that keeps predictions."""

    def __init__(self, share: float, omit: frozenset[str], spool: Spool) -> None:
        self._share, self._omit, self._spool = share, omit, spool
        self._version: _Version | None = None
        self._other: _Version | None = None
        self._reason, self._problem, self._again = "", "", 0.0

    @classmethod
    def of(cls, settings: Settings) -> "PredictionLog | None":
        """Return the log that the settings ask for, None where they ask for none."""
        if not settings.prediction_log:
            return None
        for reason in REASONS:  # from 0 on: of a counter that begins with what it counts, Prometheus sees no increase
            NOT_KEPT.labels(reason)
        spool = Spool(settings.prediction_log_dir, settings.prediction_log_spool_bytes)
        return cls(settings.prediction_log, settings.prediction_log_omit, spool)

    def __call__(self, *seen: Observation) -> None:
        if self._share < 1:
            seen = tuple(one for one in seen if is_chosen(one.request_id, self._share))
        version, now_ns = self._version, time.time_ns()
        parts: list[bytes | memoryview] = []
        size, count = 0, 0
        for one in seen:
            if version is None or version.deployment() is not one.deployment:
                self._append(version, parts, size, count)
                parts, size, count = [], 0, 0
                version = self._turn_to(one.deployment)
            try:
                more, content = packed(one, version.kept, now_ns)
            except Exception:  # whatever is in it costs no other
                log.exception("a prediction could not be kept")
                continue
            parts += content
            size += more
            count += 1
            now_ns += 1000  # as the store has it: of two with one id there is a first
        self._append(version, parts, size, count)

    def _append(self, version: _Version | None, parts: list[bytes | memoryview], size: int, count: int) -> None:
        """Append so many predictions, which are of one version."""
        if version is None or not count:
            return
        if self._reason == OMIT:
            NOT_KEPT.labels(self._reason).inc(count)
            return
        try:
            is_kept = version.segment is not None and version.segment.append(parts, size)
        except OSError:
            is_kept = False
        if not is_kept:
            self._append_to_another(version, parts, size, count)

    def told(self, served: Deployment | None) -> dict[str, Any]:
        """Return what GET /version says of the log."""
        lacking = served and lacking_of(served.model.description, self._omit)
        return {
            "share": self._share,
            "omit": sorted(self._omit),
            "problem": lacking or self._problem or None,
        }

    def _turn_to(self, deployment: Deployment) -> _Version:
        """Go on with another version: what is in Production and its challenger take turns, and each has its own segment."""
        known = [one for one in (self._version, self._other) if one]
        found = next((one for one in known if one.deployment() is deployment), None)
        if found is None:
            found, self._again = _Version(deployment, self._omit), 0.0
        self._other = next(
            (one for one in known if one is not found and _take_turns(one.deployment(), deployment)), None
        )
        for one in known:
            if one not in (found, self._other):
                one.close()
        self._version = found
        if found.lacking or self._reason == OMIT:
            self._say(OMIT if found.lacking else "", found.lacking)
        return found

    def _append_to_another(self, version: _Version, parts: list[bytes | memoryview], size: int, count: int) -> None:
        if (now := time.monotonic()) < self._again:
            NOT_KEPT.labels(self._reason).inc(count)
            return
        version.close()
        try:
            version.segment = self._spool.segment(version.told, size)
            version.segment.append(parts, size)
        except (SpoolFull, OSError) as error:
            self._say(FULL if isinstance(error, SpoolFull) else UNWRITABLE, str(error))
            self._again = now + PAUSE_SECONDS
            NOT_KEPT.labels(self._reason).inc(count)
            return
        self._say("", "")

    def _say(self, reason: str, problem: str) -> None:
        """Note why nothing is kept, and log it where it is news."""
        if reason != self._reason:
            if reason:
                log.error("the prediction log keeps nothing: %s", problem)
            else:
                log.info("the prediction log keeps predictions again")
        self._reason, self._problem = reason, problem
