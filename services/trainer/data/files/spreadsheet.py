"""Rows of an Excel file's sheet, read by calamine."""

import datetime
import re
from functools import partial
from pathlib import Path
from typing import Any
from xml.parsers import expat

import pandas as pd
from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

from trainer import memory
from trainer.data.files.content import Content, archive, pieces
from trainer.data.files.form import Form
from trainer.data.files.rows import Rows, checked_names
from trainer.errors import DataError

# What a cell takes in memory while a sheet is read.
CELL = 32
# Where a cell stands: BC17.
REFERENCE = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")


def read(content: Content, form: Form) -> Rows:
    """Return the rows of a sheet, of which the first that is not empty has the names."""
    _check_size(content)
    try:
        sheet, said = _sheet(content, CalamineWorkbook.from_object(str(content.path)), form.sheet)
        cells, top = _from_names_on(sheet, form.skip_lines)
    except CalamineError as error:
        raise DataError(f"{content.path} is no whole Excel file: {error}") from error
    if not cells:
        raise DataError(f"{content.path} has no rows")
    if len(cells[0]) > 1 and sum(cell != "" for cell in cells[0]) == 1:
        raise DataError(
            f"{content.path} has one name in row {top + 1}, {max(cells[0], key=bool)!r:.100}, and {len(cells[0])} columns; where the names "
            f"stand further down, --skip-lines {top + 1} leaves out what is above them"
        )
    columns, more = checked_names(content.path, [_text(cell) for cell in cells[0]], form.drop)
    rows = [number for number, row in enumerate(cells) if number and any(cell != "" for cell in row)]
    series = [_typed([cells[number][place] for number in rows]) for place in range(len(columns))]
    frame = pd.DataFrame(dict(enumerate(series)), index=range(len(rows))).set_axis(columns, axis=1)
    place = partial(_place, [top + number + 1 for number in rows])
    return Rows(frame, place, has_names_above=True, remarks=[*said, *more])


def _from_names_on(sheet: CalamineSheet, skip: int) -> tuple[list[list[Any]], int]:
    """Return the rows from that with the names on, without empty ones above it, and how many rows are above."""
    cells, top = sheet.to_python(), (sheet.start or (0, 0))[0]
    rest = range(max(0, skip - top), len(cells))
    first = next((number for number in rest if any(cell != "" for cell in cells[number])), len(cells))
    return cells[first:], top + first


def _place(lines: list[int], row: int) -> str:
    """Return where a row stands, as Excel counts them."""
    return f"row {lines[row]}"


def _sheet(content: Content, book: CalamineWorkbook, name: str | None) -> tuple[CalamineSheet, list[str]]:
    """Return the sheet that is meant, and what to say of it; raise DataError where several may be."""
    found = [sheet.name for sheet in book.sheets_metadata if sheet.typ == SheetTypeEnum.WorkSheet]
    shown = ", ".join(map(repr, found[:10]))
    if name is not None:
        if name not in found:
            raise DataError(f"{content.path} has no sheet {name!r}; it has {shown}")
        return book.get_sheet_by_name(name), []
    visible = [
        sheet.name
        for sheet in book.sheets_metadata
        if sheet.name in found and sheet.visible == SheetVisibleEnum.Visible
    ]
    sheets = [sheet for sheet in map(book.get_sheet_by_name, visible) if sheet.height]
    if len(sheets) > 1:
        raise DataError(f"{content.path} has {len(sheets)} sheets ({shown}); say which: --sheet {sheets[0].name!r}")
    if not sheets:
        raise DataError(f"{content.path} has no rows in a sheet that is shown; it has the sheets {shown or 'none'}")
    return sheets[0], [f"sheet {sheets[0].name!r}"] if len(found) > 1 else []


def _check_size(content: Content) -> None:
    """Refuse what has more in it than its size tells: more bytes, or a cell so far off that all before it has no room.

    calamine has a place for each cell up to the last one, and ends the process where there is no memory for them.
    """
    most, size = memory.most_unpacked(), 0
    with archive(content.path) as found:
        for member in found.infolist():
            extent = Extent()
            with found.open(member) as file:
                for piece in pieces(content.path, file, most - size):
                    size += len(piece)
                    if member.filename.endswith(".xml"):
                        extent.feed(content.path, piece)
            memory.check(content.path, content.size, memory.COPIES * CELL * extent.rows * extent.columns)


class Extent:
    """How far the cells of a sheet go, by its XML."""

    def __init__(self) -> None:
        self.rows = self.columns = 0
        self._row = self._column = 0
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._element

    def feed(self, path: Path, piece: bytes) -> None:
        """Read on; raise DataError where it is no XML of a sheet."""
        try:
            self._parser.Parse(piece)
        except (expat.ExpatError, ValueError) as error:
            raise DataError(f"{path} is no whole Excel file: {error}") from error

    def _element(self, name: str, attributes: dict[str, str]) -> None:
        kind, place = name.rpartition(":")[2], attributes.get("r")
        if kind == "row":
            self._row, self._column = (self._row + 1 if place is None else _number(place)), 0
        elif kind == "c":
            found = REFERENCE.fullmatch(place or "A1")
            if found is None:
                raise ValueError(f"a cell's place is {place!r:.50}")
            self._column = self._column + 1 if place is None else _column(found[1])
            self._row = self._row if place is None else int(found[2])
        self.rows, self.columns = max(self.rows, self._row), max(self.columns, self._column)


def _number(text: str) -> int:
    if len(text) > 7:
        raise ValueError(f"a row's number is {text!r:.50}")
    return int(text)


def _column(letters: str) -> int:
    """Return which column a name such as BC is, from 1."""
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number


def _typed(values: list[Any]) -> pd.Series:
    """Return a column of the type that all of its cells have, of text where they differ; an empty cell is a missing value."""
    kinds = {type(value) for value in values if value != ""}
    present = [None if value == "" else value for value in values]
    if not kinds:
        return pd.Series(present, dtype="object")
    if kinds <= {int, float}:
        return pd.Series(present, dtype="float64")
    if kinds == {bool}:
        return pd.Series(present, dtype="object" if None in present else "bool")
    if kinds <= {datetime.date, datetime.datetime}:
        return pd.Series(pd.to_datetime(pd.Series(present, dtype="object")))
    return pd.Series([None if value is None else _text(value) for value in present], dtype="str")


def _text(value: Any) -> str:
    """Return what a cell shows, near enough: 12 and not 12.0."""
    if isinstance(value, bool):
        return str(value)
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
