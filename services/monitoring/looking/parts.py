"""The rows of each value of a column, for --by: how many, what they were answered, and how well."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from monitoring.errors import WrongOption
from monitoring.looking.bars import MISSING, OTHER
from monitoring.looking.judging import Quality, judged
from monitoring.sources.log_rows import Rows
from monitoring.sources.reference import PREDICTION, TEXT, Column, Reference

MOST, MOST_ANSWERS = 20, 3
FIFTHS = (0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True)
class Part:
    """The rows of a value of --by."""

    name: str
    share: float
    quality: Quality
    rows: int
    answers: tuple[tuple[str, float], ...]
    """the most frequent predictions, or the mean"""


def parts_of(rows: Rows, reference: Reference, by: str) -> Iterator[Part]:
    """Yield the parts that a column makes of rows; raise WrongOption for one that is none."""
    column = next((column for column in reference.columns if column.name == by), None)
    if column is None or by not in rows.columns:
        why = "is not kept (PREDICTION_LOG_OMIT)" if column is not None else "is no column of the version"
        names = ", ".join(one.name for one in reference.columns if one.name in rows.columns)
        raise WrongOption(f"--by {by!r} {why}; there are {names:.500}")
    for name, which in _split(column, rows.columns[by]):
        if count := int(which.sum()):
            yield Part(name, count / len(rows), judged(rows, reference, which), count, _most_frequent(rows, which))


def _split(column: Column, values: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the parts of a column's values: no value that the training does not have is named."""
    if column.kind == TEXT:
        names = list(column.categories)[:MOST]
        yield from ((name, values == name) for name in names)
        there = values != None  # noqa: E711
        yield OTHER, there & ~np.isin(values.astype(str), names)
        yield MISSING, ~there
        return
    edges = np.unique(np.interp(FIFTHS, column.shares, column.quantiles)) if len(column.shares) else np.empty(0)
    at = np.searchsorted(edges, values, side="right")
    for j, (low, high) in enumerate(pairwise([-np.inf, *edges, np.inf])):
        yield _between(low, high), (at == j) & ~np.isnan(values)
    yield MISSING, np.isnan(values)


def _between(low: float, high: float) -> str:
    if low == -np.inf:
        return f"below {high:.4g}" if high < np.inf else "all"
    return f"from {low:.4g} on" if high == np.inf else f"from {low:.4g} to {high:.4g}"


def _most_frequent(rows: Rows, which: np.ndarray) -> tuple[tuple[str, float], ...]:
    answers = rows.columns[PREDICTION][which]
    if answers.dtype != object:
        return (("mean", float(np.nanmean(answers))),) if not np.isnan(answers).all() else ()
    names, counts = np.unique(answers[answers != None].astype(str), return_counts=True)  # noqa: E711
    order = np.argsort(-counts, kind="stable")[:MOST_ANSWERS]
    return tuple((str(names[j]), float(counts[j] / len(answers))) for j in order)
