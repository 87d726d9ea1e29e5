"""Rows that belong together, rows in time, and rows that count differently; which are held out, so that no figure knows what it should not.

A model that has seen a customer's first order knows the second one; a model that has seen March knows February. Rows of one
group are all fitted on or all measured on, and of rows in time the newest are measured on.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from contract.schema import LARGEST
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, TimeSeriesSplit

from trainer.data.columns import column_kinds
from trainer.data.columns.wishes import Kind, Wish
from trainer.data.files.form import Form
from trainer.errors import DataError

# One part of so many is held out.
PARTS = 5
TIME = "a time: a number, or a date such as 2026-01-31 or 2026-01-31T09:30:00"

Place = Callable[[int], str]
"""from a row to where it stands in the file"""


@dataclass(frozen=True)
class Aside:
    """Columns that are no features, each of shape (rows,) or None: they say how rows may be divided, and what they count."""

    group: pd.Series | None = None
    """which rows belong together"""
    time: pd.Series | None = None
    """when they were, as numbers or times"""
    weight: pd.Series | None = None
    """how much they count, from 0, and not 0 of all"""

    @property
    def divides(self) -> bool:
        """Whether it says how rows may be divided."""
        return self.group is not None or self.time is not None

    def of(self, positions: np.ndarray | slice) -> "Aside":
        """Return the same of some of the rows."""
        columns = (self.group, self.time, self.weight)
        return Aside(*(None if column is None else column.iloc[positions] for column in columns))

    @property
    def weights(self) -> np.ndarray | None:
        """What rows count, of shape (rows,), as scikit-learn takes it; None where all count alike."""
        return None if self.weight is None else self.weight.to_numpy()

    @property
    def remarks(self) -> list[str]:
        weighed = (
            [] if self.weight is None else [f"rows count as much as {self.weight.name!r} says, in fits and figures"]
        )
        return [self.words, *weighed] if self.divides else weighed

    @property
    def words(self) -> str:
        """Say how rows are divided."""
        if self.time is not None:
            return f"the newest fifth by {self.time.name!r} is held out"
        return f"rows with the same {self.group.name!r} stay together" if self.group is not None else ""


def set_aside(frame: pd.DataFrame, form: Form, path: Path, place: Place) -> tuple[pd.DataFrame, Aside]:
    """Return the table without the columns that rows are divided or weighted by, and these.

    Raises DataError for a value that is missing, or no time, or no weight.

    `place` says where a row stands in the file.
    """
    group, time = form.group, form.time
    where: Place = lambda row: f"{path} {place(row)}"  # noqa: E731
    found = Aside(
        None if group is None else _groups(frame[group], where),
        None if time is None else _times(frame[time], form.wishes.of(time), path, where),
        None if form.weight is None else _weights(frame[form.weight], path, where),
    )
    if found.group is not None and found.group.nunique() < PARTS:
        raise DataError(
            f"{path}: column {group!r} has {found.group.nunique()} groups; a fifth is held out, which takes {PARTS}"
        )
    return frame.drop(columns=form.aside), found


def _groups(column: pd.Series, where: Place) -> pd.Series:
    _refuse(column.isna(), column, where, "a group, in each row")
    return pd.Series(pd.factorize(column)[0], index=column.index, name=column.name)


def _times(column: pd.Series, wish: Wish, path: Path, where: Place) -> pd.Series:
    """Return when rows were: numbers as they are, dates as any column of dates is read."""
    found = column
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        verdict = column_kinds.tell(column, replace(wish, kind=Kind.DATE), keep=True, is_typed=True)
        if verdict.wrong is not None:
            _refuse(verdict.wrong, column, where, TIME)
        if verdict.fault:
            raise DataError(f"{path}: {verdict.fault}")
        found = column if verdict.values is None else verdict.values
    _refuse(found.isna(), column, where, TIME)
    return found


def _weights(column: pd.Series, path: Path, where: Place) -> pd.Series:
    """Return what rows count, as float64."""
    found = pd.to_numeric(column, errors="coerce").astype("float64")
    _refuse(~((found >= 0) & (found <= LARGEST)), column, where, "a weight: a finite number from 0")
    check_weights(found.to_numpy(), f"{path}: all rows", str(column.name))
    return found


def check_weights(weights: np.ndarray | None, what: str, column: str) -> None:
    """Raise DataError where rows count nothing altogether; `what` says which they are."""
    if weights is not None and not weights.any():
        raise DataError(f"{what} have the weight 0 in {column!r}; expected some with more")


def _refuse(wrong: pd.Series, column: pd.Series, where: Place, expected: str) -> None:
    if wrong.any():
        row = int(np.flatnonzero(wrong.to_numpy())[0])
        found = column.iloc[row]
        value = "empty" if pd.isna(found) else repr(found) if isinstance(found, str) else str(found)
        raise DataError(f"{where(row)}, column {column.name!r} is {value}; expected {expected}")


def held_out(aside: Aside, target: pd.Series, is_class: bool, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of the rows to fit on, and of those to measure on; in the order of time where there is one.

    Raises DataError where a class has no row to fit on.
    """
    if aside.time is not None:
        order = np.argsort(aside.time.to_numpy(), kind="stable")
        times = aside.time.to_numpy()[order]
        # What was at the same time is not divided.
        cut = int(np.searchsorted(times, times[len(times) - max(1, len(times) // PARTS)]))
        fitted, measured = order[:cut], order[cut:]
        if not cut:
            raise DataError(
                f"a fifth of the rows or more are of the newest time in {aside.time.name!r}, and none is older"
            )
    else:
        fitted, measured = next(_by_group(aside, target, is_class, PARTS, seed))
    if is_class and (missing := set(target) - set(target.iloc[fitted])):
        raise DataError(
            f"no row of class {min(map(str, missing))} is among those to fit on: {aside.words}; leave the class out, or "
            "divide the rows in another way"
        )
    return fitted, measured


def folds(
    aside: Aside, target: pd.Series, is_class: bool, count: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (rows to fit on, rows to measure on) for each fold, as positions; raise DataError for too few rows or groups."""
    if aside.time is not None:
        if len(target) <= count:
            raise DataError(f"the part to fit on has {len(target)} rows, too few for {count} folds in time")
        return list(TimeSeriesSplit(count).split(target))
    if aside.group is not None and aside.group.nunique() < count:
        raise DataError(
            f"the part to fit on has {aside.group.nunique()} groups, too few for {count} folds; --folds takes fewer"
        )
    return list(_by_group(aside, target, is_class, count, seed))


def _by_group(aside: Aside, target: pd.Series, is_class: bool, count: int, seed: int) -> Iterator[Any]:
    kind = StratifiedGroupKFold if is_class else GroupKFold
    return iter(kind(count, shuffle=True, random_state=seed).split(np.zeros(len(target)), target, aside.group))
