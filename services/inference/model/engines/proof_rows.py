"""Rows that a fast path is tried on: of the kinds that the trainer proves an ONNX twin on (docs/model-contract.md).

What the model was fitted on is not here: its golden rows stand for it.
"""

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from typing import Any

import numpy as np
from contract.schema import Column, Kind

from inference.model.rows import Rows, of_checked

SEED = 42
RANDOM_ROWS, MOST_EDGES = 32, 64
BEYOND = 5.0
# Of one kind: rows of very many columns take long to make, so there are fewer of them.
MOST_VALUES = 20_000
NUMBERS = (Kind.NUMBER, Kind.INTEGER)

Values = list[Any]


def like(golden: Rows, columns: Sequence[Column]) -> Iterator[Rows]:
    """Yield rows kind by kind, the same ones each time.

    They are random ones in the range of the golden rows and in five times that, rows that stand out, the middle of two, and
    some with gaps where the columns accept them.
    """
    most = max(1, MOST_VALUES // len(columns))
    draws = np.random.default_rng(SEED)
    seen = [
        [value for value in values if value is not None and value == value] or _unseen(column)
        for column, values in zip(columns, golden.by_column, strict=True)
    ]
    count = min(RANDOM_ROWS, most)
    inside, beyond = (
        [_random(column, values, draws, reach, count) for column, values in zip(columns, seen, strict=True)]
        for reach in (1.0, BEYOND)
    )
    rows = list(zip(*inside, strict=True))
    edges = [list(islice(_edges(rows[0], columns, seen, is_text), min(MOST_EDGES, most))) for is_text in (False, True)]
    kinds: list[Sequence[Sequence[Any]]] = [
        rows,
        list(zip(*beyond, strict=True)),
        *edges,
        _middles(rows, columns),
        _with_gaps(rows, columns),
    ]
    for kind in kinds:
        if kind:
            yield of_checked(kind, columns)


def _unseen(column: Column) -> Values:
    """Return what stands for the values of a column that is missing in all golden rows."""
    return [""] if column.kind is Kind.TEXT else [0.0, 1.0]


def _random(column: Column, seen: Values, draws: np.random.Generator, reach: float, count: int) -> Values:
    if column.kind not in NUMBERS:
        return [seen[position] for position in draws.integers(len(seen), size=count)]
    low, high = float(min(seen)), float(max(seen))
    half = (high / 2 - low / 2) * reach or reach
    found = np.clip(low / 2 + high / 2 + half * draws.uniform(-1, 1, count), -column.limit, column.limit)
    return [_typed(column, value) for value in found.tolist()]


def _typed(column: Column, value: float) -> float | int:
    return min(int(value), int(column.limit)) if column.kind is Kind.INTEGER else value


def _edges(base: Sequence[Any], columns: Sequence[Column], seen: Sequence[Values], is_text: bool) -> Iterator[Values]:
    """Yield rows that stand out in one column, and first in all of numbers.

    Those of texts are by themselves: an estimator may refuse them, and with them all that it is asked beside them.
    """
    for value in () if is_text else (0.0, 1.0, -1.0):
        yield [_typed(c, value * c.limit) if c.kind in NUMBERS else cell for c, cell in zip(columns, base, strict=True)]
    for position, (column, values) in enumerate(zip(columns, seen, strict=True)):
        for value in _extremes(column, values) if (column.kind is Kind.TEXT) == is_text else ():
            yield [*base[:position], value, *base[position + 1 :]]


def _extremes(column: Column, seen: Values) -> Values:
    if column.kind in NUMBERS:
        found = (0.0, -0.0, column.limit, -column.limit, min(seen), max(seen))
        return [_typed(column, value) for value in found]
    if column.kind is Kind.BOOLEAN:
        return [0.0, 1.0]
    if column.kind is Kind.DATE:
        return [0.0, min(seen), max(seen)]
    return [*dict.fromkeys(seen), "a category that nobody has seen", "", "nan"]


def _with_gaps(rows: Sequence[Sequence[Any]], columns: Sequence[Column]) -> list[Values]:
    """Return rows whose columns have a gap in every fifth row, by turns, where they accept one."""
    if not any(column.missing for column in columns):
        return []
    return [
        [None if column.missing and (i + j) % 5 == 0 else row[j] for j, column in enumerate(columns)]
        for i, row in enumerate(rows)
    ]


def _middles(rows: Sequence[Sequence[Any]], columns: Sequence[Column]) -> list[Values]:
    return [
        [
            _typed(column, one / 2 + other / 2) if column.kind in NUMBERS else one
            for column, one, other in zip(columns, first, second, strict=True)
        ]
        for first, second in pairwise(rows)
    ]
