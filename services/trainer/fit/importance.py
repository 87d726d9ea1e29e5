"""Which columns a fitted estimator looks at: how much worse it does where the values of one are shuffled."""

import time
from dataclasses import dataclass
from typing import Any

from sklearn.inspection import permutation_importance

from trainer.data.table import SEED, Split
from trainer.fit.metric import Metric

MOST_ROWS = 500
REPEATS = 3
# What it may take, told from one prediction: it is one page of a version's metadata files, and no more.
MOST_SECONDS = 3.0


@dataclass(frozen=True)
class Importance:
    """How much worse the metric is without a column, in its own unit."""

    column: str
    mean: float
    spread: float
    """the standard deviation over the shuffles"""


def importances(estimator: Any, rows: Split, metric: Metric) -> list[Importance] | None:
    """Return the columns, the most important first; None where it would take too long. At most MOST_ROWS rows are asked."""
    features, target = rows.test_features.head(MOST_ROWS), rows.test_target.head(MOST_ROWS)
    weighed = rows.test_aside.of(slice(MOST_ROWS)).weights
    began = time.perf_counter()
    metric.gain(estimator, features, target, weighed)
    seconds = (time.perf_counter() - began) * len(features.columns)
    if seconds > MOST_SECONDS:
        return None
    repeats = REPEATS if seconds * REPEATS <= MOST_SECONDS else 1
    found = permutation_importance(
        estimator, features, target, scoring=metric.gain, n_repeats=repeats, random_state=SEED, sample_weight=weighed
    )
    made = [
        Importance(str(name), float(mean), float(spread))
        for name, mean, spread in zip(features.columns, found.importances_mean, found.importances_std, strict=True)
    ]
    return sorted(made, key=lambda one: -one.mean)
