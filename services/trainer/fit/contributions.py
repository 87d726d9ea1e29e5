"""What columns add to the answers of a fitted estimator: the Shapley values of some held-out rows."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from contract.explanation.shapley import MOST_COLUMNS, contributions

from trainer.data.table import SEED, Split
from trainer.fit.metric import Metric

# Rows that are explained, rows that they are explained beside, and how often the estimator is asked for each: it is a part of a page.
MOST_ROWS, BACKGROUND, MOST_ASKED = 30, 20, 2560
# With fewer rows explained than this, there is nothing to sum up.
LEAST_ROWS = 5
MOST_SECONDS = 1.0


@dataclass(frozen=True)
class Summary:
    """The contributions to some rows' answers."""

    of: np.ndarray
    """shape (rows, columns)"""
    features: pd.DataFrame
    """the rows, of the same shape"""
    what: str
    """what they add up to: "the probability of yes" """

    @property
    def means(self) -> pd.Series:
        """The mean size of each column's contributions, the largest first."""
        found = pd.Series(np.abs(self.of).mean(axis=0), index=self.features.columns)
        return found.sort_values(ascending=False, kind="stable")


def summary(estimator: Any, rows: Split, metric: Metric, positive: str | None) -> Summary | None:
    """Return the contributions in some held-out rows; None where that takes too long, or there is nothing to explain.

    Of two classes it is the probability of the positive one that is explained, which `positive` names, of more that of the class
    that is predicted for a row.
    """
    is_class = bool(metric.labels)
    if len(rows.test_features.columns) > MOST_COLUMNS or (is_class and not hasattr(estimator, "predict_proba")):
        return None
    background = rows.train_features.sample(min(BACKGROUND, len(rows.train_features)), random_state=SEED)
    features, found = rows.test_features.head(MOST_ROWS), []
    began = time.perf_counter()
    for position in range(len(features)):
        found.append(_of_row(estimator, features.iloc[[position]], background, metric))
        if (time.perf_counter() - began) * (LEAST_ROWS if len(found) == 1 else 1) > MOST_SECONDS:
            break
    if len(found) < LEAST_ROWS:
        return None
    what = "the value" if not is_class else f"the probability of {positive or 'the predicted class'}"
    return Summary(np.array(found), features.head(len(found)), what)


def _of_row(estimator: Any, row: pd.DataFrame, background: pd.DataFrame, metric: Metric) -> np.ndarray:
    both, own_position = pd.concat([background, row]), len(background)
    ask_for = _position(estimator, row, metric)

    def ask(own: np.ndarray, positions: np.ndarray) -> np.ndarray:
        places = np.where(own, own_position, positions[:, None])
        mixed = pd.DataFrame({name: both[name].array.take(places[:, j]) for j, name in enumerate(both.columns)})
        found = estimator.predict(mixed) if ask_for is None else estimator.predict_proba(mixed)[:, ask_for]
        return np.asarray(found).ravel()

    return contributions(ask, len(both.columns), len(background), MOST_ASKED).of


def _position(estimator: Any, row: pd.DataFrame, metric: Metric) -> int | None:
    """Return which probability is explained, None for a regression's value."""
    if not metric.labels:
        return None
    label = estimator.predict(row)[0] if metric.positive is None else metric.positive
    return int(np.flatnonzero(np.asarray(estimator.classes_) == label)[0])
