"""A challenger, asked for the rows of a prediction that was logged, as the service would ask it; and Production, for its time."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inference.challenger.likeness import Likeness
from inference.model.model import Model
from inference.prediction_log.record import Record, Shadowed, Version, labels_of, packed_shadow
from inference.rows import Rows, of_checked
from inference.telemetry.metrics import SHADOW_SECONDS

# Of how many predictions Production is asked for one again, for what it takes: its time in the log is that of a whole request.
ONE_IN = 10


@dataclass
class Pair:
    """Two versions of a model that are asked the same."""

    model: str
    challenger: Model
    version: str
    """the challenger's"""
    champion: Model | None
    """what is in Production, None where it could not be loaded"""
    champion_version: str

    def __post_init__(self) -> None:
        self._likeness, self._count = Likeness(self.challenger), 0

    def between(self, version: Version) -> Shadowed:
        """Return what the answers beside those of a version are said to be."""
        return Shadowed(self.model, self.version, version.version, _plain(self.challenger.classes))

    def problem(self, version: Version) -> str:
        """Say why the challenger cannot be asked for what is kept of a version's predictions, empty where it can."""
        if any(model.description.params for model in (self.challenger, self.champion) if model is not None):
            return "params of requests, which change answers, are not in the prediction log"
        kept = {field.name for field in version.columns}
        lacking = [column.name for column in self.challenger.description.columns if column.name not in kept]
        names = ", ".join(map(repr, lacking))
        return f"it needs {names}, which is not in the prediction log (PREDICTION_LOG_OMIT)" if lacking else ""

    def answer(self, version: Version, record: Record) -> tuple[bytes, int]:
        """Return what the challenger answers to a prediction's rows, packed, and to how many of them another thing than was answered.

        Raises whatever the challenger does.
        """
        rows = self._rows(version, record)
        began = time.perf_counter()
        answer = self.challenger.answer(rows)
        seconds = time.perf_counter() - began
        SHADOW_SECONDS.labels(self.model, self.version).observe(seconds)
        theirs = self._production_seconds(version, rows) if self._count % ONE_IN == 0 else None
        self._count += 1
        assert answer.labels is not None  # noqa: S101 - it was asked for them
        unlike = int(self._likeness.unlike(answer.labels, np.asarray(labels_of(version, record))).sum())
        if self.challenger.classes is not None:
            answer = answer._replace(probabilities=self.challenger.probabilities(rows))
        return packed_shadow(record, seconds, theirs, answer), unlike

    def _rows(self, version: Version, record: Record) -> Rows:
        """Return the rows with the challenger's columns: Production took them, so it does, else it would not be its challenger."""
        names, columns = [field.name for field in version.columns], self.challenger.description.columns
        at, values = [names.index(column.name) for column in columns], record.values
        if isinstance(values, np.ndarray):
            return Rows(np.ascontiguousarray(values[:, at]), None)
        return of_checked(list(zip(*(values[j] for j in at), strict=True)), columns)

    def _production_seconds(self, version: Version, rows: Rows) -> float | None:
        """Return what Production takes for the same, None where it is another version that answered, or takes other columns."""
        if self.champion is None or version.version != self.champion_version:
            return None
        if _names(self.champion) != _names(self.challenger):
            return None
        began = time.perf_counter()
        self.champion.answer(rows)
        seconds = time.perf_counter() - began
        SHADOW_SECONDS.labels(self.model, self.champion_version).observe(seconds)
        return seconds


def _names(model: Model) -> list[str]:
    return [column.name for column in model.description.columns]


def _plain(classes: Sequence[object] | None) -> list[object] | None:
    return None if classes is None else list(np.asarray(classes).tolist())
