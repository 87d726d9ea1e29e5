"""Rows that a model takes: each value is held against its column's input domain.

A few rows are looked at value by value. More of them come in blocks, a column at a time, into arrays that are there
already: what a request takes in memory is its values once, however many rows it has and whatever they look like.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from contract.preparation.dates import microseconds
from contract.schema import LARGEST, Column, Kind, fault

from inference.errors import InvalidInput

DTYPES = {Kind.NUMBER: "float64", Kind.INTEGER: "int64", Kind.BOOLEAN: "bool"}

# What has no place in a matrix as it comes: a tuple, in which a kind is found quicker than in a set.
BY_COLUMN = (Kind.TEXT, Kind.DATE)
# Up to here a 64-bit float holds every whole number.
EXACT = 2**53
# Up to so many rows it is quicker to look at each value than to make arrays of them.
FEW = 16
# Rows that are read, checked and forgotten at a time.
BLOCK = 4096
# The types of JSON's values that a column's may have.
ACCEPTED: dict[Kind, set[type]] = {
    Kind.NUMBER: {int, float},
    Kind.INTEGER: {int, float},
    Kind.BOOLEAN: {bool},
    Kind.TEXT: {str},
    Kind.DATE: {str},
}


@dataclass(frozen=True)
class Rows:
    """Checked rows, in the columns' order.

    They are one matrix where no column is text and no whole number is too large for one, and one array per column else. A
    date is a number in them: microseconds since 1970.
    """

    matrix: np.ndarray | None
    """shape (rows, columns), float64; a missing value is NaN, true is 1"""
    arrays: list[np.ndarray] | None
    """per column shape (rows,): float64 as above, int64 for whole numbers, or object with texts and None"""
    whole: "Rows | None" = None
    """what these are a part of, None where they are all"""
    params: dict[str, Any] | None = None
    """what the request tells a model's own code beside its rows"""

    def __len__(self) -> int:
        return len(self.matrix if self.matrix is not None else self.arrays[0])  # type: ignore[index]

    def part(self, start: int, stop: int) -> "Rows":
        """Return some of the rows."""
        if self.matrix is not None:
            return Rows(self.matrix[start:stop], None, self)
        return Rows(None, [array[start:stop] for array in self.by_column], self)

    def repeated(self, count: int) -> "Rows":
        """Return so many rows, these again and again."""
        if self.matrix is not None:
            return Rows(np.resize(self.matrix, (count, self.matrix.shape[1])), None)
        return Rows(None, [np.resize(array, count) for array in self.by_column])

    @cached_property
    def by_column(self) -> list[np.ndarray]:
        """One array of shape (rows,) per column."""
        return list(self.matrix.T) if self.matrix is not None else self.arrays  # type: ignore[return-value]

    def has_gaps(self, j: int) -> bool:
        """Tell whether a number of column `j` is missing in any of the rows, or of those that these are a part of."""
        return _has_gaps(self.by_column[j]) if self.whole is None else self.whole._gaps[j]

    @cached_property
    def _gaps(self) -> list[bool]:
        return [_has_gaps(values) for values in self.by_column]


def _has_gaps(values: np.ndarray) -> bool:
    return values.dtype != object and bool(np.isnan(values).any())


Place = Callable[[int, int], str]
"""from (row, column) to where the value stands in the request"""
Values = Sequence[Any] | np.ndarray | None
"""a column's values: JSON's, or an array of numbers or booleans; None where all are missing, and may be"""


def from_cells(rows: Iterable[Sequence[Any]], columns: Sequence[Column], place: Place, most: int | None = None) -> Rows:
    """Return rows of JSON values, each as long as there are columns; raise InvalidInput that points at the first wrong one.

    `most` is how many there are, or more, where they come one by one.
    """
    if (most := len(rows) if most is None else most) <= FEW:  # type: ignore[arg-type]
        return _one_by_one(list(rows), columns, place)
    return from_blocks(_turned(rows), columns, place, most)


def from_columns(cells: Sequence[Values], columns: Sequence[Column], place: Place, count: int) -> Rows:
    """Return rows whose values come column by column, `count` of each; raise InvalidInput as `from_cells` does."""
    if count <= FEW:
        return _one_by_one(list(zip(*(_plain(values, count) for values in cells), strict=True)), columns, place)
    blocks = (
        (min(BLOCK, count - start), [None if values is None else values[start : start + BLOCK] for values in cells])
        for start in range(0, count, BLOCK)
    )
    return from_blocks(blocks, columns, place, count)


def from_blocks(
    blocks: Iterable[tuple[int, Sequence[Values]]], columns: Sequence[Column], place: Place, most: int
) -> Rows:
    """Return rows that come some at a time: how many, and the values of each column."""
    table = _Table(columns, most)
    for count, cells in blocks:
        table.add(count, _checked(count, cells, columns, place, table.count))
    return table.rows()


def _turned(rows: Iterable[Sequence[Any]]) -> Iterator[tuple[int, list[Values]]]:
    left = iter(rows)
    while block := list(islice(left, BLOCK)):
        yield len(block), list(zip(*block, strict=True))


def _plain(values: Values, count: int) -> Sequence[Any]:
    """Return values as those of JSON."""
    if values is None:
        return [None] * count
    return values.tolist() if isinstance(values, np.ndarray) else values


# --- value by value ------------------------------------------------------------------------------------------------


def _one_by_one(rows: Sequence[Sequence[Any]], columns: Sequence[Column], place: Place) -> Rows:
    _check_each(rows, columns, place, 0)
    return of_checked(rows, columns)


def _check_each(rows: Iterable[Sequence[Any]], columns: Sequence[Column], place: Place, start: int) -> None:
    for i, row in enumerate(rows, start):
        for j, column in enumerate(columns):
            value = row[j]
            if column.kind is Kind.NUMBER and type(value) is float and -LARGEST <= value <= LARGEST:
                continue  # by far the most frequent
            if (said := fault(value, column)) is not None:
                raise InvalidInput(f"{place(i, j)} {said}", place(i, j))


def of_checked(rows: Sequence[Sequence[Any]], columns: Sequence[Column]) -> Rows:
    """Return rows whose values are known to be in their columns' domains."""
    if any(column.kind in BY_COLUMN for column in columns):
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
    if column.kind is Kind.DATE:
        return _dates(cells)
    if column.kind is not Kind.TEXT:
        return np.array(cells, dtype=np.float64)
    return _texts([None if cell != cell else cell for cell in cells])  # NaN is how JSON's friends write null


def _texts(cells: Sequence[Any]) -> np.ndarray:
    texts = np.empty(len(cells), dtype=object)
    texts[:] = cells
    return texts


def _dates(cells: Sequence[Any]) -> np.ndarray:
    """Return ISO texts as microseconds; raise ValueError where one is none. What is a number already stays one."""
    return np.array([microseconds(cell) if type(cell) is str else cell for cell in cells], dtype=np.float64)


# --- a block at a time ---------------------------------------------------------------------------------------------


def _checked(
    count: int, cells: Sequence[Values], columns: Sequence[Column], place: Place, start: int
) -> list[np.ndarray]:
    """Return an array per column of a block that begins with row `start`; raise InvalidInput that points at a wrong value."""
    found = [_taken(column, values, count) for column, values in zip(columns, cells, strict=True)]
    if any(array is None for array in found):  # a value is wrong, or odd
        plain = [_plain(values, count) for values in cells]
        _check_each(zip(*plain, strict=True), columns, place, start)
        found = [
            _array(column, values) if array is None else array
            for array, column, values in zip(found, columns, plain, strict=True)
        ]
    return found  # type: ignore[return-value]


def _taken(column: Column, values: Values, count: int) -> np.ndarray | None:
    """Return a column's values where all are plainly in its domain, None where they have to be looked at one by one."""
    if values is None:
        return np.full(count, None if column.kind is Kind.TEXT else np.nan)
    if isinstance(values, np.ndarray):
        return _of_tensor(column, values)
    kinds = set(map(type, values))
    if column.missing:
        kinds.discard(type(None))
    if not kinds <= ACCEPTED[column.kind]:
        return None
    if column.kind is Kind.TEXT:
        return _texts(values) if _is_unicode(values) else None
    try:
        if column.kind is Kind.DATE:
            return _dates(values)
        return _in_domain(column, np.array(values, dtype=np.float64))  # None becomes NaN
    except (OverflowError, ValueError):
        return None


def _is_unicode(values: Sequence[Any]) -> bool:
    try:
        "".join(filter(None, values)).encode()
    except UnicodeEncodeError:
        return False
    return True


def _of_tensor(column: Column, values: np.ndarray) -> np.ndarray | None:
    kind = values.dtype.kind
    if kind == "b" or column.kind in (Kind.BOOLEAN, Kind.TEXT, Kind.DATE):
        return values.astype(np.float64) if kind == "b" and column.kind is Kind.BOOLEAN else None
    if kind == "f":
        return _in_domain(column, values.astype(np.float64))
    low, high = int(values.min()), int(values.max())
    if column.kind is Kind.INTEGER and not (-column.limit - 1 <= low and high <= column.limit):
        return None
    is_exact = low > -EXACT and high < EXACT
    return values.astype(np.float64 if is_exact or column.kind is Kind.NUMBER else np.int64)


def _in_domain(column: Column, array: np.ndarray) -> np.ndarray | None:
    """Return 64-bit floats as they are where all are in the domain; None also at its very edge, which a float may not tell."""
    if column.kind is Kind.BOOLEAN:
        return array
    fits = np.abs(array) < (LARGEST if column.kind is Kind.NUMBER else min(column.limit, EXACT))
    if column.kind is Kind.INTEGER:
        fits &= np.floor(array) == array
    if column.missing:
        fits |= np.isnan(array)
    return array if fits.all() else None


class _Table:
    """Arrays for as many rows as there can be, filled block by block. Memory that nothing is written to costs nothing."""

    def __init__(self, columns: Sequence[Column], most: int) -> None:
        self.count = 0
        self._columns = columns
        self._texts = {j: np.empty(most, dtype=object) for j, c in enumerate(columns) if c.kind is Kind.TEXT}
        numbers = [j for j in range(len(columns)) if j not in self._texts]
        # With texts there will be an array per column, so that those of numbers had better be in one piece each.
        matrix = np.empty((len(numbers), most)).T if self._texts else np.empty((most, len(numbers)))
        self._matrix, self._at = matrix, {j: position for position, j in enumerate(numbers)}
        self._large: dict[int, np.ndarray] = {}
        """whole numbers of the columns that have some too large for a float, as int64"""

    def add(self, count: int, block: Sequence[np.ndarray]) -> None:
        rows = slice(self.count, self.count + count)
        for j, array in enumerate(block):
            if j in self._texts:
                self._texts[j][rows] = array
                continue
            self._matrix[rows, self._at[j]] = array
            if array.dtype == np.int64 and j not in self._large:
                self._large[j] = np.empty(len(self._matrix), dtype=np.int64)
                self._large[j][: self.count] = _whole(self._numbers(j))
            if j in self._large:
                self._large[j][rows] = array if array.dtype == np.int64 else _whole(array)
        self.count += count

    def _numbers(self, j: int) -> np.ndarray:
        return self._matrix[: self.count, self._at[j]]

    def rows(self) -> Rows:
        whole = [j for j, c in enumerate(self._columns) if c.kind is Kind.INTEGER and c.limit > EXACT]
        if not self._texts and not any((np.abs(self._numbers(j)) >= EXACT).any() for j in whole):
            return Rows(self._matrix[: self.count], None)
        return Rows(None, [self._column(j) for j in range(len(self._columns))])

    def _column(self, j: int) -> np.ndarray:
        if j in self._texts:
            return self._texts[j][: self.count]
        numbers = self._numbers(j)
        if self._columns[j].kind is not Kind.INTEGER or np.isnan(numbers).any():
            return np.ascontiguousarray(numbers)
        return self._large[j][: self.count] if j in self._large else _whole(numbers)


def _whole(numbers: np.ndarray) -> np.ndarray:
    """Return floats as whole numbers; what stands for a missing one counts for nothing: the column stays one of floats."""
    with np.errstate(invalid="ignore"):
        return numbers.astype(np.int64)
