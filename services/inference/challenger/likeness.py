"""Whether two versions say the same of a row: of classes the same one, of quantities what is about the same."""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from inference.model.model import Model


@dataclass
class _Spread:
    """The mean and the spread of quantities that come one after the other (Welford)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, values: np.ndarray) -> None:
        for value in values.ravel().tolist():
            self.count += 1
            step = value - self.mean
            self.mean += step / self.count
            self.squares += step * (value - self.mean)

    @property
    def deviation(self) -> float:
        return sqrt(self.squares / self.count) if self.count else 0.0


class Likeness:
    """What counts as alike for one model, by what it has been seen to answer."""

    def __init__(self, model: Model) -> None:
        self._has_classes, self._spread = model.classes is not None, _Spread()

    def unlike(self, ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        """Return of which rows the two say another thing: of quantities, what differs by more than the second vary among themselves."""
        found: np.ndarray
        if theirs.dtype.kind in "fiu" and not self._has_classes:
            ours, theirs = ours.astype(float), theirs.astype(float)
            self._spread.add(theirs[np.isfinite(theirs)])
            # So that one which is no number is unlike each that is.
            alike = (np.abs(ours - theirs) <= self._spread.deviation) | (np.isnan(ours) & np.isnan(theirs))
            found = np.asarray(~alike)
        else:
            found = np.asarray(ours != theirs)
        return np.asarray(found.reshape(len(found), -1).any(axis=1))
