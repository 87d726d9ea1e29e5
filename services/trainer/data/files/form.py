"""How a file is written, as far as a person says so; what is None, the file tells."""

import io
from dataclasses import dataclass

from trainer.data.columns.wishes import Wishes
from trainer.errors import SettingsError

MARKS = {
    "comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|", "point": ".", "blank": " ", "blanks": " ",
    "apostrophe": "'", "none": "",
}  # fmt: skip
DECIMALS = (".", ",")
THOUSANDS = ("", ",", ".", " ", "'")


@dataclass(frozen=True)
class Form:
    """What a person says of a file. Marks may be given by name: `--separator tab`."""

    separator: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    """empty where numbers have none"""
    encoding: str | None = None
    comment: str | None = None
    """what a line begins with that is no row; empty where each line is one"""
    skip_lines: int = 0
    """lines above the names of the columns"""
    sheet: str | None = None
    member: str | None = None
    """of a zip file, by its name in there"""
    text: tuple[str, ...] = ()
    """columns that are left as they are written"""
    number: tuple[str, ...] = ()
    """columns of numbers, in which what is none is missing"""
    date: tuple[str, ...] = ()
    """columns of dates: names alone, or NAME=day-first, NAME=month-first, NAME=until-2054, NAME=day-first,until-2054"""
    group: str | None = None
    """the column that says which rows belong together"""
    time: str | None = None
    """the column that says when a row was"""
    weight: str | None = None
    """the column that says how much a row counts"""
    skip_unlabelled: bool = False
    """whether rows without a value in the target are left out"""
    drop: tuple[str, ...] = ()
    """columns that will be left out, and may have values of any type"""
    words: tuple[str, ...] = ()
    """columns in which a word such as NA is one, and a few numbers with a unit are the names of classes"""
    quantity: str | None = None
    """the column that is to be predicted as a quantity: its numbers are no names of classes, however few they are"""

    def __post_init__(self) -> None:
        """Raise SettingsError for what no file can be read by."""
        for name in ("separator", "decimal", "thousands", "comment"):
            given = getattr(self, name)
            object.__setattr__(self, name, MARKS.get(given, given))
        if self.separator is not None and (len(self.separator) != 1 or self.separator in '"\r\n\0'):
            raise SettingsError(
                f"--separator {self.separator!r}: expected one character, or comma, semicolon, tab, pipe or blanks"
            )
        if self.decimal not in (None, *DECIMALS):
            raise SettingsError(f"--decimal {self.decimal!r}: expected point or comma")
        if self.thousands not in (None, *THOUSANDS):
            raise SettingsError(f"--thousands {self.thousands!r}: expected comma, point, blank, apostrophe or none")
        if self.thousands and self.thousands == self.decimal:
            raise SettingsError(f"--decimal and --thousands are both {self.decimal!r}; expected two marks")
        if self.comment and (len(self.comment) != 1 or self.comment in '"\r\n\0'):
            raise SettingsError(f"--comment {self.comment!r}: expected one character, such as #, or none")
        _check_encoding(self.encoding)

    @property
    def wishes(self) -> Wishes:
        """What is said of columns."""
        return Wishes(self.text, self.number, self.date)

    @property
    def aside(self) -> list[str]:
        """The columns that say how rows may be divided, and what they count; they are no features."""
        return [name for name in (self.group, self.time, self.weight) if name is not None]

    @property
    def mark(self) -> str | None:
        """The decimal mark that was given, or follows from that of thousands."""
        return self.decimal or {",": ".", ".": ","}.get(self.thousands or "")


def _check_encoding(name: str | None) -> None:
    try:
        io.TextIOWrapper(io.BytesIO(), encoding=name or "utf-8")
    except (LookupError, ValueError) as error:
        raise SettingsError(
            f"--encoding {name} is none that Python knows; expected utf-8, cp1252, utf-16 or such"
        ) from error
