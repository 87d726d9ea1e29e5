"""Rows that a model takes: each value is held against its column's input domain."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from inference.columns import LARGEST, Column, Kind
from inference.errors import InvalidInput

DTYPES = {Kind.NUMBER: "float64", Kind.INTEGER: "int64", Kind.BOOLEAN: "bool"}

# Up to here a 64-bit float holds every whole number.
EXACT = 2**53


@dataclass(frozen=True)
class Rows:
    """Checked rows, in the columns' order: as one matrix where no column is text and no whole number is too large for one, as
    one array per column else."""

    matrix: np.ndarray | None
    """shape (rows, columns), float64; a missing value is NaN, true is 1"""
    arrays: list[np.ndarray] | None
    """per column shape (rows,): float64 as above, int64 for whole numbers, or object with texts and None"""

    def __len__(self) -> int:
        return len(self.matrix if self.matrix is not None else self.arrays[0])  # type: ignore[index]

    @cached_property
    def by_column(self) -> list[np.ndarray]:
        """One array of shape (rows,) per column."""
        return list(self.matrix.T) if self.matrix is not None else self.arrays  # type: ignore[return-value]


Place = Callable[[int, int], str]
"""from (row, column) to where the value stands in the request"""


def from_cells(rows: Sequence[Sequence[Any]], columns: Sequence[Column], place: Place) -> Rows:
    """Return rows of JSON values, each as long as there are columns; raise InvalidInput that points at the first wrong one."""
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            value = row[j]
            if column.kind is Kind.NUMBER and type(value) is float and -LARGEST <= value <= LARGEST:
                continue  # by far the most frequent
            check(value, column, place, i, j)
    return of_checked(rows, columns)


def of_checked(rows: Sequence[Sequence[Any]], columns: Sequence[Column]) -> Rows:
    """Return rows whose values are known to be in their columns' domains."""
    if any(column.kind is Kind.TEXT for column in columns):
        return Rows(
            None, [_array(column, cells) for column, cells in zip(columns, zip(*rows, strict=True), strict=True)]
        )
    matrix = np.array(rows, dtype=np.float64)  # None becomes NaN
    whole = [j for j, column in enumerate(columns) if column.kind is Kind.INTEGER and column.limit > EXACT]
    if whole and (np.abs(matrix[:, whole]) >= EXACT).any():
        return Rows(
            None, [_array(column, cells) for column, cells in zip(columns, zip(*rows, strict=True), strict=True)]
        )
    return Rows(matrix, None)


def _array(column: Column, cells: Sequence[Any]) -> np.ndarray:
    if column.kind is Kind.INTEGER and None not in cells and all(cell == cell for cell in cells):
        return np.array([int(cell) for cell in cells], dtype=np.int64)
    if column.kind is not Kind.TEXT:
        return np.array(cells, dtype=np.float64)
    texts = np.empty(len(cells), dtype=object)
    texts[:] = [None if cell != cell else cell for cell in cells]  # NaN is how JSON's friends write null
    return texts


def check(value: Any, column: Column, place: Place, i: int, j: int) -> None:
    """Raise InvalidInput unless the value is in its column's input domain."""
    kind = type(value)  # the exact one: bool is a subclass of int
    if value is None or value != value:
        if column.missing:
            return
        if value is not None and column.kind is Kind.NUMBER:
            raise InvalidInput(f"{place(i, j)} is not a finite number within ±3.4e38", place(i, j))
    elif column.kind is Kind.NUMBER and (kind is float or kind is int):
        if -LARGEST <= value <= LARGEST:
            return
        raise InvalidInput(f"{place(i, j)} is not a finite number within ±3.4e38", place(i, j))
    elif column.kind is Kind.INTEGER and (kind is int or (kind is float and value.is_integer())):
        if -column.limit - 1 <= value <= column.limit:
            return
        low, high = -int(column.limit) - 1, int(column.limit)
        raise InvalidInput(f"{place(i, j)} is outside of {low} to {high}", place(i, j))
    elif column.kind is Kind.INTEGER and kind is float:
        raise _invalid(place(i, j), f"is {value}", column)
    elif column.kind is Kind.BOOLEAN and kind is bool:
        return
    elif column.kind is Kind.TEXT and kind is str:
        try:
            value.encode()
        except UnicodeEncodeError:  # JSON can write it, and neither pandas nor ONNX can read it
            raise InvalidInput(
                f"{place(i, j)} is no Unicode text: half of a surrogate pair is in it", place(i, j)
            ) from None
        return
    raise _invalid(place(i, j), f"is {name_of(value)}", column)


def _invalid(where: str, what: str, column: Column) -> InvalidInput:
    return InvalidInput(f"{where} {what}; expected {column.kind}{' or null' if column.missing else ''}", where)


def name_of(value: Any) -> str:
    """Name a JSON value as JSON does."""
    names = {type(None): "null", bool: "a boolean", str: "text", list: "a list", dict: "a record"}
    return names.get(type(value), "a number")
