"""What a worker does for the prediction log: each prediction, or a share of them, goes into the spool before its answer goes.

They come as many at a time as the worker answers before it looks at the network again: the second of several costs a third of the first.

Nothing that is wrong with the spool keeps a prediction from being answered: it is counted, and tried again a second later.
"""

import logging
import time
from hashlib import blake2b
from typing import Any

import msgspec
from contract.manifest import Description

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

log = logging.getLogger("inference")


def is_chosen(request_id: str, share: float) -> bool:
    """Tell whether a request is among the share that is kept: the same in each worker and replica, and with a larger share still."""
    return int.from_bytes(blake2b(request_id.encode(), digest_size=8).digest(), "big") < share * 2**64


class PredictionLog:
    """An observer that keeps predictions."""

    def __init__(self, share: float, omit: frozenset[str], spool: Spool) -> None:
        self._share, self._omit, self._spool = share, omit, spool
        self._deployment: Deployment | None = None
        self._version = b""
        self._kept: list[int] | None = None
        self._segment: Segment | None = None
        self._reason, self._problem, self._again = "", "", 0.0

    @classmethod
    def of(cls, settings: Settings) -> "PredictionLog | None":
        """Return the log that the settings ask for, None where they ask for none."""
        if not settings.prediction_log:
            return None
        spool = Spool(settings.prediction_log_dir, settings.prediction_log_spool_bytes)
        return cls(settings.prediction_log, settings.prediction_log_omit, spool)

    def __call__(self, *seen: Observation) -> None:
        if self._share < 1:
            seen = tuple(one for one in seen if is_chosen(one.request_id, self._share))
        parts: list[bytes | memoryview] = []
        now_ns, size, count = time.time_ns(), 0, 0
        for one in seen:
            if one.deployment is not self._deployment:
                self._append(parts, size, count)
                parts, size, count = [], 0, 0
                self._turn_to(one.deployment)
            try:
                more, content = packed(one, self._kept, now_ns)
            except Exception:  # whatever is in it costs no other
                log.exception("a prediction could not be kept")
                continue
            parts += content
            size += more
            count += 1
        self._append(parts, size, count)

    def _append(self, parts: list[bytes | memoryview], size: int, count: int) -> None:
        """Append so many predictions, which are of the version that it has turned to."""
        if not count:
            return
        if self._reason == "omit":
            NOT_KEPT.labels(self._reason).inc(count)
            return
        try:
            is_kept = self._segment is not None and self._segment.append(parts, size)
        except OSError:
            is_kept = False
        if not is_kept:
            self._append_to_another(parts, size, count)

    def told(self, served: Deployment | None) -> dict[str, Any]:
        """Return what GET /version says of the log."""
        lacking = served and self._lacking(served.model.description)
        return {
            "share": self._share,
            "omit": sorted(self._omit),
            "problem": lacking or self._problem or None,
        }

    def _lacking(self, description: Description) -> str:
        """Say which names of what is to be omitted a version lacks: a name that is mistyped must not let anything through."""
        names = sorted(self._omit - {column.name for column in description.columns})
        return f"PREDICTION_LOG_OMIT has {', '.join(map(repr, names))}, which the model lacks" if names else ""

    def _turn_to(self, deployment: Deployment) -> None:
        """Begin with another version: a segment is of one."""
        if self._segment is not None:
            self._segment.close()
        self._segment, self._again = None, 0.0
        self._deployment = deployment
        description = deployment.model.description
        self._kept = [j for j, c in enumerate(description.columns) if c.name not in self._omit] if self._omit else None
        self._version = msgspec.json.encode(Version.of(deployment, self._omit))
        lacking = self._lacking(description)
        self._say("omit" if lacking else "", lacking)

    def _append_to_another(self, parts: list[bytes | memoryview], size: int, count: int) -> None:
        if (now := time.monotonic()) < self._again:
            NOT_KEPT.labels(self._reason).inc(count)
            return
        if self._segment is not None:
            self._segment.close()
            self._segment = None
        try:
            self._segment = self._spool.segment(self._version, size)
            self._segment.append(parts, size)
        except (SpoolFull, OSError) as error:
            self._say("full" if isinstance(error, SpoolFull) else "unwritable", str(error))
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
