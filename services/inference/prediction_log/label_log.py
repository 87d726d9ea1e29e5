"""What a worker does with labels that come for predictions: they go into the spool before it is answered that they are taken."""

import threading

import msgspec

from inference.prediction_log.record import packed_labels
from inference.prediction_log.segment import LABELS, Segment
from inference.prediction_log.spool import Spool
from inference.settings import Settings

# Of one segment: labels are few, beside predictions.
SEGMENT_BYTES = 1024 * 1024


class LabelLog:
    """The labels of one model that one worker is sent; any of its threads may add some."""

    def __init__(self, spool: Spool) -> None:
        self._spool, self._model = spool, ""
        self._segment: Segment | None = None
        self._lock = threading.Lock()

    @classmethod
    def of(cls, settings: Settings) -> "LabelLog | None":
        """Return the log that the settings ask for, None where there are no predictions to label."""
        if not settings.prediction_log:
            return None
        spool = Spool(settings.prediction_log_dir, settings.prediction_log_spool_bytes, SEGMENT_BYTES, LABELS)
        return cls(spool)

    def append(self, model: str, request_ids: list[str], rows: list[int], labels: list[object], trusted: bool) -> None:
        """Keep labels, one for each id and row; raise SpoolFull, or OSError, where they cannot be kept."""
        size, parts = packed_labels(request_ids, rows, labels, trusted)
        with self._lock:
            if self._segment is not None and model == self._model and self._segment.append(parts, size):
                return
            if self._segment is not None:
                self._segment.close()
                self._segment = None
            self._segment, self._model = self._spool.segment(msgspec.json.encode(model), size), model
            self._segment.append(parts, size)
