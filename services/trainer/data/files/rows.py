"""What comes out of a file: rows, under names that are told apart."""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from trainer.errors import DataError

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
    return names, said + ([f"columns without a name called {_shown(made_up)}"] if made_up else [])


def _shown(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(map(repr, names[:SHOWN]))}{more}"
