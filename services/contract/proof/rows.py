"""Rows that two ways to an answer are compared on, before the quicker one may take the other's place.

The trainer proves an ONNX model on them, and the prediction service a shorter way through scikit-learn. They are made of what
is known of a model's columns, kind by kind, and are the same ones each time.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from contract.schema import MISSING_TEXT, Column, Kind

SEED = 42
BEYOND = 5.0
# Every so many rows a column has a gap.
GAP = 5

# What stands for the values of a column that has none.
NEVER_SEEN: dict[Kind, list[Any]] = {Kind.TEXT: [""], Kind.DATE: [0.0]}

Row = Sequence[Any]
"""a value per column; a missing one is None"""


@dataclass(frozen=True)
class Known:
    """A column, and what is known of its values."""

    column: Column
    seen: Sequence[Any]
    """its values, but for missing ones, or of numbers the least and the largest"""
    limit: float = math.inf
    """up to which size there are to be numbers, where the column's own is larger"""

    @property
    def is_number(self) -> bool:
        return self.column.kind in (Kind.NUMBER, Kind.INTEGER)

    @property
    def largest(self) -> float:
        return min(self.column.limit, self.limit)

    def number(self, value: float) -> float | int:
        """Return the number that is the next to this one among those that the column takes."""
        value = max(-self.largest, min(self.largest, value))
        return min(int(value), int(self.largest)) if self.column.kind is Kind.INTEGER else value

    def random(self, draws: np.random.Generator, reach: float, count: int) -> list[Any]:
        """Return some of the values that were seen, or numbers from their range, made `reach` times as wide."""
        if not self.is_number:
            seen = self.seen or NEVER_SEEN.get(self.column.kind, [False, True])
            return [seen[position] for position in draws.integers(len(seen), size=count)]
        low, high = (float(min(self.seen)), float(max(self.seen))) if self.seen else (0.0, 1.0)
        half = (high / 2 - low / 2) * reach or reach
        found = np.clip(low / 2 + high / 2 + half * draws.uniform(-1, 1, count), -self.largest, self.largest).tolist()
        return [*map(self.number, found)] if self.column.kind is Kind.INTEGER else found

    def extremes(self) -> list[Any]:
        """Return the values that stand out: a missing one, the largest numbers, every category and an unknown one."""
        missing = [None] if self.column.missing else []
        if self.is_number:
            found = (0.0, -0.0, self.largest, -self.largest, *((min(self.seen), max(self.seen)) if self.seen else ()))
            return [*map(self.number, found), *missing]
        if self.column.kind is Kind.BOOLEAN:
            return [False, True, *missing]
        if self.column.kind is Kind.DATE:
            return [0.0, *((min(self.seen), max(self.seen)) if self.seen else ()), *missing]
        return [*dict.fromkeys(self.seen), "a category that nobody has seen", "", MISSING_TEXT, *missing]

    def middle(self, one: Any, other: Any) -> Any:
        return self.number(one / 2 + other / 2) if self.is_number else one


def kinds(columns: Sequence[Known], rows: Sequence[Row], count: int) -> Iterator[Iterable[Row]]:
    """Yield rows kind by kind.

    They are `count` random ones in the range of what was seen, and as many in five times that; rows that stand out in one
    column, and first in all of numbers; the middle of two of `rows`; and random ones with gaps where the columns accept them.
    """
    draws = np.random.default_rng(SEED)
    inside, beyond = (
        list(zip(*(column.random(draws, reach, count) for column in columns), strict=True)) for reach in (1.0, BEYOND)
    )
    yield inside
    yield beyond
    # Those of texts are by themselves: an estimator may refuse them, and with them all that it is asked beside them.
    yield _edges(inside[0], columns, is_text=False)
    yield _edges(inside[0], columns, is_text=True)
    whole = [row for row in rows if None not in row]
    yield _middles(whole if len(whole) > 1 else inside, columns)
    if any(each.column.missing for each in columns):
        yield _with_gaps(inside, columns)


def _edges(base: Row, columns: Sequence[Known], is_text: bool) -> Iterator[Row]:
    """Yield rows that stand out in one column, and else are `base`; those of texts, or all others."""
    for sign in () if is_text else (0.0, 1.0, -1.0):
        yield [
            each.number(sign * each.largest) if each.is_number else cell
            for each, cell in zip(columns, base, strict=True)
        ]
    for position, each in enumerate(columns):
        for value in each.extremes() if (each.column.kind is Kind.TEXT) == is_text else ():
            yield [*base[:position], value, *base[position + 1 :]]


def _middles(rows: Sequence[Row], columns: Sequence[Known]) -> Iterator[Row]:
    for pair in pairwise(rows):
        yield [each.middle(one, other) for each, one, other in zip(columns, *pair, strict=True)]


def _with_gaps(rows: Sequence[Row], columns: Sequence[Known]) -> Iterator[Row]:
    """Yield rows whose columns have a gap by turns, where they accept one."""
    for i, row in enumerate(rows):
        yield [
            None if each.column.missing and (i + j) % GAP == 0 else cell
            for j, (each, cell) in enumerate(zip(columns, row, strict=True))
        ]
