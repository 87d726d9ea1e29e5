"""What the options say of columns.

A command line is read without pandas and scikit-learn, which take a second to import: `bootstrap` mostly has nothing to do.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

DAY_FIRST, MONTH_FIRST = "day-first", "month-first"
# What may be said of a column's dates: how they are written, the last of the years that two digits stand for, or both.
OF_DATES = re.compile(rf"(?P<order>{DAY_FIRST}|{MONTH_FIRST})?((^|,)until-(?P<last>[12]\d{{3}}))?")


class Kind(StrEnum):
    """What a column's values are, in the words of an MLflow signature."""

    NUMBER = "double"
    BOOLEAN = "boolean"
    TEXT = "string"
    DATE = "datetime"


@dataclass(frozen=True)
class Wishes:
    """What the options say of columns, by their names."""

    text: tuple[str, ...] = ()
    number: tuple[str, ...] = ()
    date: tuple[str, ...] = ()
    """names alone, or NAME=day-first, NAME=month-first, NAME=until-2054, NAME=day-first,until-2054"""

    def of(self, name: str) -> "Wish":
        """Return what is said of a column."""
        order, last = next(
            ((order, last) for known, order, last in map(_of_dates, self.date) if known == name), (None, None)
        )
        return Wish(self.kind(name), order, last)

    def kind(self, name: str) -> Kind | None:
        """Return what a column is to be, None where nobody says."""
        wanted = {**dict.fromkeys(self.number, Kind.NUMBER), **dict.fromkeys(self.text, Kind.TEXT)}
        wanted |= dict.fromkeys(self.dates, Kind.DATE)
        return wanted.get(name)

    @property
    def names(self) -> list[str]:
        return [*self.text, *self.number, *self.dates]

    @property
    def dates(self) -> list[str]:
        return [name for name, _, _ in map(_of_dates, self.date)]


def _of_dates(said: str) -> tuple[str, str | None, int | None]:
    """Return the name in NAME=day-first,until-2054, the order and the year; None for what is not said."""
    name, _, words = said.rpartition("=")
    found = OF_DATES.fullmatch(words)
    if not name or not words or found is None:
        return said, None, None
    return name, found["order"], int(found["last"]) if found["last"] else None


@dataclass(frozen=True)
class Wish:
    """What the options say of one column."""

    kind: Kind | None = None
    order: str | None = None
    """of day and month in its dates"""
    last_year: int | None = None
    """of the years that two digits stand for in its dates"""
