"""What comes out of a file: rows, under names that are told apart."""

import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from trainer.errors import DataError

# What a column is seldom called.
FRACTION = re.compile(r"[-+]?[0-9]+[.,][0-9]+")
LONGEST = 1000
MOST = 2000
SHOWN = 5


@dataclass(frozen=True)
class Rows:
    """A file's rows, and how it was understood."""

    frame: pd.DataFrame
    """numbered from 0, under the names in the file"""
    place: Callable[[int], str]
    """of a row: where it stands in the file, "line 7" """
    is_typed: bool = True
    """whether the file knows its types, as Parquet does: there "True" in quotes is text"""
    words: dict[str, list[str]] = field(default_factory=dict)
    """column → words that were taken for missing values in it"""
    has_names_above: bool = False
    """whether a line of the file has the names, which may stand further down or be there again"""
    separator: str = ""
    """of CSV"""
    decimal: str | None = None
    """the mark that the numbers of a text file were read by"""
    faults: list[str] = field(default_factory=list)
    """what is wrong with columns or may be read in two ways, each as a sentence goes on after the file's name"""
    at_fault: frozenset[str] = frozenset()
    """the columns of which a fault says that some of their values are wrong"""
    remarks: list[str] = field(default_factory=list)
    """how it was understood, where that does not go without saying"""


def without_blank_rows(rows: Rows) -> Rows:
    """Return the rows without those that have no value at all, or the names of the columns once more: lines of text and no rows."""
    if not rows.has_names_above:
        return rows
    blank, again = _blank(rows.frame), _names_again(rows.frame)
    out = blank if again is None else again if blank is None else blank | again
    if out is None or out.all():
        return rows
    said = [f"{_counted(blank, 'row')} without any value left out"] if blank is not None else []
    said += [f"{_counted(again, 'line')} with the names again left out"] if again is not None else []
    kept = np.flatnonzero(~out)
    place = partial(_kept_place, rows.place, kept)
    return replace(
        rows, frame=rows.frame.iloc[kept].reset_index(drop=True), place=place, remarks=[*rows.remarks, *said]
    )


def _counted(rows: np.ndarray, what: str) -> str:
    return f"{rows.sum()} {what}{'s' * int(rows.sum() > 1)}"


def _kept_place(place: Callable[[int], str], kept: np.ndarray, row: int) -> str:
    return place(int(kept[row]))


def _blank(frame: pd.DataFrame) -> np.ndarray | None:
    """Tell which rows have no value: shape (rows,), bool; None where all have some, which the first columns mostly show."""
    found = np.full(len(frame), len(frame.columns) > 0)
    for _, column in frame.items():
        if not found.any():
            return None
        found &= column.isna().to_numpy()
    return found if found.any() else None


def _names_again(frame: pd.DataFrame) -> np.ndarray | None:
    """Tell which rows have in each column its name, as where several files were put into one; None where none has."""
    found = np.full(len(frame), len(frame.columns) > 0)
    for name, column in frame.items():
        if not found.any() or not isinstance(column.dtype, pd.StringDtype):
            return None
        found &= (column == name).fillna(False).to_numpy(dtype=bool)
    return found if found.any() else None


def numbered(row: int) -> str:
    """Return where a row of a file without lines stands."""
    return f"row {row + 1}"


def checked_names(path: Path, given: list[str], drop: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """Return the names without blanks around them, made up where there is none, and what there is to say of that.

    Raises DataError naming all that are there more than once, unless they are in `drop`, or are longer than any name is, and more columns than a table has.
    """
    names = [name.strip() or f"Unnamed: {place}" for place, name in enumerate(given)]
    faults = [
        f"has a column name of {len(name)} characters; are the names in its first line?"
        for name in sorted(names, key=len)[-1:]
        if len(name) > LONGEST
    ]
    if len(names) > MOST:
        faults.append(f"has {len(names)} columns; expected at most {MOST}")
    if twice := [name for name, count in Counter(names).items() if count > 1 and name not in drop]:
        each = ", ".join(f"{name[:LONGEST]!r} {names.count(name)} times" for name in twice[:SHOWN])
        faults.append(
            f"has the column{'s' * (len(twice) > 1)} {each}; each needs a name of its own (--drop {twice[0][:LONGEST]!r} leaves all of that "
            "name out)"
        )
    if faults:
        raise DataError(f"{path} {'; it '.join(faults)}")
    blanks = [name for name, was in zip(names, given, strict=True) if was != name and was.strip()]
    made_up = [name for name, was in zip(names, given, strict=True) if not was.strip()]
    said = [f"blanks around {_shown(blanks)} left out"] if blanks else []
    if number := next(filter(FRACTION.fullmatch, given), None):
        said.append(f"a number as the name of a column, {number!r}: has the first line the names?")
    return names, said + ([f"columns without a name called {_shown(made_up)}"] if made_up else [])


def _shown(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(map(repr, names[:SHOWN]))}{more}"
