"""How good answers were, where their labels are known, with intervals of 95 %; and how good they are likely to be where not."""

from dataclasses import dataclass

import numpy as np
from monitoring.statistics import metrics
from monitoring.statistics.metrics import Answers
from scipy import stats

Z = 1.959964
DRAWS = 200
SEED = 0


@dataclass(frozen=True)
class Figure:
    """A figure with its interval of 95 %."""

    value: float
    low: float
    high: float
    rows: int


def share(hits: int, rows: int) -> Figure:
    """Return a share of rows, at least one, with Wilson's interval."""
    # Against the share itself, which is no test: for another one, SciPy would search for its p, which takes twenty times as long.
    low, high = stats.binomtest(hits, rows, hits / rows).proportion_ci(method="wilson")
    return Figure(hits / rows, float(low), float(high), rows)


def drop(before: Figure, now: Figure) -> float:
    """Return by how much a share has fallen at least: the lower end of the interval of 95 % for the difference of two shares.

    Source: R. G. Newcombe, Interval estimation for the difference between independent proportions, Statistics in Medicine 17 (1998),
    method 10. Each share's own interval is Wilson's. Below 0 where chance explains what there is.
    """
    return before.value - now.value - float(np.hypot(before.value - before.low, now.high - now.value))


def measured(name: str, answers: Answers, requests: np.ndarray) -> Figure | None:
    """Return a metric of answers with a bootstrap's interval, None for one that is not computed here, or has no value for these rows.

    `requests` tells which request each row is of, shape (rows,): whole requests are drawn, since rows of one belong together.
    """
    rows = len(answers.truth)
    if (value := metrics.value(name, answers, np.ones(rows))) is None:
        return None
    _, of = np.unique(requests, return_inverse=True)
    count, draws = int(of.max()) + 1, np.random.default_rng(SEED)
    found = [
        metrics.value(name, answers, np.bincount(draws.integers(0, count, count), minlength=count)[of].astype(float))
        for _ in range(DRAWS)
    ]
    kept = [one for one in found if one is not None]
    low, high = np.percentile(kept, [2.5, 97.5]) if kept else (value, value)
    return Figure(value, float(low), float(high), rows)


def estimated(confidence: np.ndarray, at: np.ndarray, right: np.ndarray, held_out: int) -> Figure:
    """Return the accuracy that is likely, by how often rows of such a confidence were right among the held-out ones.

    `confidence` has shape (rows,), at least one; `at` and `right` are the calibration's knots. The interval is that of both samples.
    """
    likely = np.interp(confidence, at, right)
    mean = float(likely.mean())
    # Two rows of each kind are added, as Agresti and Coull do: a hold-out without a mistake is no proof that there are none.
    moderate = (mean * held_out + 2) / (held_out + 4)
    spread = Z * float(np.sqrt(likely.var() / len(likely) + moderate * (1 - moderate) / (held_out + 4)))
    return Figure(mean, max(0.0, mean - spread), min(1.0, mean + spread), len(likely))
