"""Choose among algorithms: each is cross-validated on the same folds of the rows that may be fitted on, and on no others."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import KFold, StratifiedKFold

from trainer.data.holdout import check_weights, folds
from trainer.data.table import SEED, Split, Task
from trainer.errors import DataError, TrainerError
from trainer.fit import weights
from trainer.fit.metric import Metric


@dataclass(frozen=True)
class CrossValidationResult:
    """How one algorithm did on the folds."""

    name: str
    estimator: BaseEstimator
    """not fitted"""
    scores: list[float]
    """of each fold, by the metric that is judged by"""
    seconds: float
    """for all its fits and predictions"""
    found: Any = None
    """what a search for its hyper-parameters found (trainer.fit.hyperparameter_search.Found), None where there was none"""
    fit_seconds: float = 0.0
    """the mean of its fits"""
    model: Any = None
    """fitted on the rows of the last fold"""
    predict_seconds: float = 0.0
    """that model's for 1,000 rows, 0 where it was not asked"""
    file_bytes: int | None = None
    """the size of that model's file, None where it is not known"""
    has_onnx_engine: bool | None = None
    """whether an ONNX engine is proven to answer as that model does, None where it is not known"""

    @property
    def mean(self) -> float:
        """The mean over the folds."""
        return float(np.mean(self.scores))

    @property
    def spread(self) -> float:
        """The standard deviation over the folds."""
        return float(np.std(self.scores))


@dataclass(frozen=True)
class FoldedRows:
    """The rows that may be fitted on, in folds."""

    features: pd.DataFrame
    """of shape (rows, columns)"""
    target: pd.Series
    """of shape (rows,)"""
    folds: list[tuple[np.ndarray, np.ndarray]]
    """(rows to fit on, rows to measure on) for each, as positions; no other rows are looked at"""
    weights: np.ndarray | None = None
    """how much each counts, of shape (rows,); None where all count alike"""

    def part(self, positions: np.ndarray) -> tuple[pd.DataFrame, pd.Series, np.ndarray | None]:
        """Return some of the rows, their target, and how much each counts."""
        weights = None if self.weights is None else self.weights[positions]
        return self.features.iloc[positions], self.target.iloc[positions], weights


def folded(rows: Split, task: Task, count: int) -> FoldedRows:
    """Return the rows that may be fitted on in so many folds; raise DataError where they are too few for it."""
    features, target, weighed = rows.train
    found = FoldedRows(features, target, _folds(rows, task, count), weighed)
    if (column := rows.train_aside.weight) is not None:
        for part in (part for fold in found.folds for part in fold):
            check_weights(found.part(part)[2], "all rows of a fold", str(column.name))
    return found


def _folds(rows: Split, task: Task, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    if rows.train_aside.divides:
        return folds(rows.train_aside, rows.train_target, task is Task.CLASSIFICATION, count, SEED)
    least = int(rows.train_target.value_counts().min()) if task is Task.CLASSIFICATION else len(rows.train_target)
    if least < count:
        what = "rows in its smallest class" if task is Task.CLASSIFICATION else "rows"
        raise DataError(f"the part to fit on has {least} {what}, too few for {count} folds; --folds takes fewer")
    kind = StratifiedKFold if task is Task.CLASSIFICATION else KFold
    splitter = kind(n_splits=count, shuffle=True, random_state=SEED)
    return list(splitter.split(rows.train_features, rows.train_target))


def cross_validate(
    name: str,
    estimator: BaseEstimator,
    rows: FoldedRows,
    metric: Metric,
    step: Callable[[], None] = lambda: None,
) -> CrossValidationResult:
    """Fit and measure an estimator on each fold; `step` is called after each. Raises TrainerError where a fit fails."""
    scores, fits, started = [], 0.0, time.perf_counter()
    model: Any = None
    for fitted, measured in rows.folds:
        model, began = clone(estimator), time.perf_counter()
        try:
            weights.fit(model, *rows.part(fitted))
            fits += time.perf_counter() - began
            scores.append(metric.of(model, *rows.part(measured)))
        except TrainerError:
            raise
        except Exception as error:  # an estimator may fail in any way
            raise TrainerError(f"{name} cannot be fitted: {type(error).__name__}: {error}") from error
        step()
    return CrossValidationResult(
        name,
        estimator,
        scores,
        time.perf_counter() - started,
        fit_seconds=fits / len(rows.folds),
        model=model,
    )


def ranked(results: list[CrossValidationResult], less_is_better: bool = False) -> list[CrossValidationResult]:
    """Return the leaderboard, the best mean first; of equals the one with the smaller spread, then the quicker.

    A mean that is NaN or infinite is none, and comes last.
    """

    def key(found: CrossValidationResult) -> tuple[float, ...]:
        if not isfinite(found.mean):
            return inf, inf, found.seconds
        return found.mean if less_is_better else -found.mean, found.spread, found.seconds

    return sorted(results, key=key)
