"""What the options say of columns.

A command line is read without pandas and scikit-learn, which take a second to import: `bootstrap` mostly has nothing to do.
"""

from dataclasses import dataclass
from enum import StrEnum

from trainer.data.files.form import Form

DAY_FIRST, MONTH_FIRST = "day-first", "month-first"


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
    """names alone, or NAME=day-first, NAME=month-first"""

    @classmethod
    def of_form(cls, form: Form) -> "Wishes":
        """Return what is said of columns among what is said of a file."""
        return cls(form.text, form.number, form.date)

    def of(self, name: str) -> "Wish":
        """Return what is said of a column."""
        order = next((order for known, order in map(_ordered, self.date) if known == name), None)
        return Wish(self.kind(name), order)

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
        return [name for name, _ in map(_ordered, self.date)]


def _ordered(said: str) -> tuple[str, str | None]:
    """Return the name in NAME=day-first and the order, None where there is none."""
    name, equals, order = said.rpartition("=")
    return (name, order) if equals and order in (DAY_FIRST, MONTH_FIRST) else (said, None)


@dataclass(frozen=True)
class Wish:
    """What the options say of one column."""

    kind: Kind | None = None
    order: str | None = None
    """of day and month in its dates"""
