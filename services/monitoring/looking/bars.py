"""What a picture of a column shows: the bins of its histogram, or its most frequent categories, then and now."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from monitoring.sources.reference import TEXT, Column

MOST = 12
OTHER, MISSING, UNKNOWN = "other", "missing", "unknown"


@dataclass(frozen=True)
class Bar:
    """A bin as people see it: its name, or where it begins and ends."""

    label: str
    reference: float
    window: float
    """shares of the rows"""


def of(column: Column, counted: np.ndarray, values: np.ndarray) -> Iterator[Bar]:
    """Yield the bars of a column whose rows were counted; no value that the training does not have is named."""
    if column.kind == TEXT:
        yield from _categories(column, counted)
    elif column.histogram is not None:
        yield from _histogram(column, *column.histogram, counted, values)


def _categories(column: Column, counted: np.ndarray) -> Iterator[Bar]:
    n, m, reference = max(1, int(counted.sum())), max(1, column.rows), column.binned
    names = [MISSING, *column.categories, UNKNOWN if column.is_whole else OTHER]
    order = [j for j in np.argsort(-(reference / m + counted / n), kind="stable") if reference[j] or counted[j]]
    for j in order[:MOST]:
        yield Bar(names[j], float(reference[j] / m), float(counted[j] / n))
    if rest := order[MOST:]:
        yield Bar("all others", float(reference[rest].sum() / m), float(counted[rest].sum() / n))


def _histogram(
    column: Column, edges: np.ndarray, counts: np.ndarray, counted: np.ndarray, values: np.ndarray
) -> Iterator[Bar]:
    n, m = max(1, int(counted.sum())), max(1, column.rows)
    inside = np.histogram(values[~np.isnan(values)], edges)[0]
    yield Bar(f"below {edges[0]:.4g}", 0.0, float(counted[1] / n))
    for (low, high), then, now in zip(pairwise(edges), counts, inside, strict=True):
        yield Bar(f"{low:.4g} to {high:.4g}", float(then / m), float(now / n))
    yield Bar(f"above {edges[-1]:.4g}", 0.0, float(counted[-1] / n))
    if column.missing or counted[0]:
        yield Bar(MISSING, float(column.missing / m), float(counted[0] / n))
