"""What counts as the same answer, for golden samples and for the proof of an ONNX engine: one rule for all who compare.

Labels are equal wherever the model itself is clear: where its two best classes are further apart than the tolerance.
Probabilities are within the tolerance. Values, a regression's, are within it in relation to what is predicted, and where
that is small to a scale: how far the predictions of ordinary rows spread. An ONNX engine that computes in float32 is exact to its
scale, and not to a value near zero that is the difference of two large ones.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Answers:
    """What a model answers to some rows."""

    labels: np.ndarray | None
    """labels or values, one per row; None where a version's golden samples have none"""
    probabilities: np.ndarray | None
    """shape (rows, classes), None where there are none"""

    @classmethod
    def of(cls, content: dict[str, Any]) -> "Answers":
        """Return the answers in golden_samples.json; raise ValueError where they are no table."""
        return cls(*(_array(content[name]) if name in content else None for name in ("predictions", "probabilities")))


def _array(values: Any) -> np.ndarray:
    array = np.asarray(values)
    # Of a text and a number beside it NumPy makes two texts.
    return np.array(values, dtype=object) if array.dtype.kind == "U" else array


@dataclass(frozen=True)
class Difference:
    """How far two answers are from one another."""

    labels: int = 0
    """how many differ where the model is clear"""
    largest: float = 0.0
    """the largest difference of a probability, or of a value in relation to its scale; infinite where there is no telling"""

    def fault(self, tolerance: float) -> str | None:
        """Say what is too far apart, None where they are the same."""
        if self.labels:
            return f"labels differ in {self.labels} rows"
        return (
            None if self.largest <= tolerance else f"an answer differs by {self.largest:.2g}, and may by {tolerance:g}"
        )


def difference(found: Answers, truth: Answers, tolerance: float, scale: float = 1.0) -> Difference:
    """Compare what a model answers with what is true of it: by its golden samples, or by the pipeline that it was made from."""
    if truth.probabilities is not None:
        likely, largest = truth.probabilities, _largest(found.probabilities, truth.probabilities, 1.0)
        clear = _clear(likely, tolerance)
        return Difference(_differing(found.labels, truth.labels, clear), largest)
    if truth.labels is None:
        return Difference()
    if truth.labels.dtype.kind == "f":
        return Difference(0, _largest(found.labels, truth.labels, np.maximum(np.abs(truth.labels), scale)))
    return Difference(_differing(found.labels, truth.labels, np.ones(len(truth.labels), dtype=bool)))


def scale_of(values: np.ndarray) -> float:
    """Return how far predictions of shape (rows,) spread: the median distance from their median, 1 where that is 0."""
    return float(np.median(np.abs(values - np.median(values)))) or 1.0


def _largest(found: np.ndarray | None, truth: np.ndarray, scale: Any) -> float:
    if found is None or found.shape != truth.shape:
        return float("inf")
    with np.errstate(all="ignore"):
        differences = np.abs(found - truth) / scale
    return float(differences.max(initial=0.0)) if np.isfinite(differences).all() else float("inf")


def _clear(likely: np.ndarray, tolerance: float) -> np.ndarray:
    """Tell for each row whether its two best classes are further apart than the tolerance."""
    best = np.sort(likely, axis=1)
    return best[:, -1] - best[:, -2] > tolerance if likely.shape[1] > 1 else np.ones(len(likely), dtype=bool)


def _differing(found: np.ndarray | None, truth: np.ndarray | None, clear: np.ndarray) -> int:
    if truth is None:
        return 0
    if found is None or found.shape != truth.shape:
        return len(truth)
    differ = found.astype(object) != truth.astype(object)
    return int((differ.reshape(len(truth), -1).any(axis=1) & clear).sum())
