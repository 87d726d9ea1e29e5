"""The metrics by which versions are judged, under scikit-learn's names, of rows that count differently.

scikit-learn, which has all of them, is not where this runs: what is not here is said to be not computed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

SHORT = {"rmse": "root_mean_squared_error", "mae": "mean_absolute_error"}


@dataclass(frozen=True)
class Answers:
    """What was answered, and what was right."""

    truth: np.ndarray
    """shape (rows,): positions of labels in `classes`, or numbers"""
    predicted: np.ndarray
    """likewise"""
    classes: tuple[str, ...] = ()
    """empty for a regression"""
    positive: int | None = None
    """which of two classes is looked for"""
    probabilities: np.ndarray | None = None
    """shape (rows, classes), where all rows have them"""


def value(name: str, answers: Answers, weights: np.ndarray) -> float | None:
    """Return a metric, None where it is not computed here, or has no value; `weights` has shape (rows,)."""
    name = SHORT.get(name, name)
    if not answers.classes:
        found = _OF_NUMBERS[name](answers.truth, answers.predicted, weights) if name in _OF_NUMBERS else None
    elif name in _OF_PROBABILITIES:
        found = None if answers.probabilities is None else _OF_PROBABILITIES[name](answers, weights)
    else:
        found = _of_labels(name, answers, weights)
    return float(found) if found is not None and np.isfinite(found) else None


def _of_labels(name: str, answers: Answers, weights: np.ndarray) -> float | None:
    count = len(answers.classes)
    cells = np.bincount(answers.truth * count + answers.predicted, weights, count * count).reshape(count, count)
    hits, truths, said = cells.diagonal(), cells.sum(axis=1), cells.sum(axis=0)
    if name == "accuracy":
        return float(hits.sum() / cells.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        if name == "balanced_accuracy":
            return float((hits / truths)[truths > 0].mean())
        kind, _, average = name.partition("_")
        if kind not in _PER_CLASS:
            return None
        each = np.nan_to_num(_PER_CLASS[kind](hits, truths, said))
    if not average:
        return None if answers.positive is None else float(each[answers.positive])
    there = (truths + said) > 0
    averages = {
        "macro": each[there].mean(),
        "weighted": (each * truths).sum() / truths.sum(),
        "micro": np.nan_to_num(_PER_CLASS[kind](hits.sum(), truths.sum(), said.sum())),
    }
    return float(averages[average]) if average in averages else None


_PER_CLASS: dict[str, Callable[..., np.ndarray]] = {
    "precision": lambda hits, truths, said: hits / said,
    "recall": lambda hits, truths, said: hits / truths,
    "f1": lambda hits, truths, said: 2 * hits / (truths + said),
    "jaccard": lambda hits, truths, said: hits / (truths + said - hits),
}


def _log_loss(answers: Answers, weights: np.ndarray) -> float:
    assert answers.probabilities is not None  # noqa: S101 - else it is not asked for
    likely = answers.probabilities[np.arange(len(answers.truth)), answers.truth]
    return float(np.average(-np.log(np.clip(likely, np.finfo(float).eps, 1)), weights=weights))


def _brier(answers: Answers, weights: np.ndarray) -> float | None:
    if answers.positive is None:
        return None
    assert answers.probabilities is not None  # noqa: S101
    off = answers.probabilities[:, answers.positive] - (answers.truth == answers.positive)
    return float(np.average(off**2, weights=weights))


def _roc_auc(answers: Answers, weights: np.ndarray) -> float | None:
    """Return how likely a row of the positive class has a higher probability than one of the other, by the ranks of the rows drawn."""
    if answers.positive is None:
        return None
    assert answers.probabilities is not None  # noqa: S101
    times = weights.astype(int)
    score = np.repeat(answers.probabilities[:, answers.positive], times)
    wanted = np.repeat(answers.truth == answers.positive, times)
    ones, others = wanted.sum(), (~wanted).sum()
    if not ones or not others:
        return None
    return float((rankdata(score)[wanted].sum() - ones * (ones + 1) / 2) / (ones * others))


_OF_PROBABILITIES: dict[str, Callable[[Answers, np.ndarray], float | None]] = {
    "log_loss": _log_loss,
    "brier_score": _brier,
    "roc_auc": _roc_auc,
}


def _r2(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> float:
    spread = np.average((truth - np.average(truth, weights=weights)) ** 2, weights=weights)
    return float(1 - np.average((truth - predicted) ** 2, weights=weights) / spread) if spread else np.nan


def _mean(of: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[..., float]:
    return lambda truth, predicted, weights: float(np.average(of(truth, predicted), weights=weights))


_OF_NUMBERS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], float]] = {
    "r2": _r2,
    "mean_absolute_error": _mean(lambda truth, predicted: np.abs(truth - predicted)),
    "mean_squared_error": _mean(lambda truth, predicted: (truth - predicted) ** 2),
    "root_mean_squared_error": lambda *of: float(np.sqrt(_OF_NUMBERS["mean_squared_error"](*of))),
    "mean_absolute_percentage_error": _mean(
        lambda truth, predicted: np.abs(truth - predicted) / np.maximum(np.abs(truth), np.finfo(float).eps)
    ),
}
