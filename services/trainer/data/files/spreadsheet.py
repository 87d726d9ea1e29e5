"""Rows of an Excel file's sheet, read by calamine."""

import datetime
import re
from functools import partial
from typing import Any

import pandas as pd
from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

from trainer.data import memory
from trainer.data.files.content import Content, archive, pieces
from trainer.data.files.form import Form
from trainer.data.files.rows import Rows, checked_names
from trainer.errors import DataError

# What a cell takes in memory while a sheet is read.
CELL = 32
# Where a cell stands, as a sheet's XML has it: r="BC17".
REFERENCE = re.compile(rb'\br="([A-Z]{1,3})(\d{1,7})"')


def read(content: Content, form: Form) -> Rows:
    """Return the rows of a sheet, of which the first that is not empty has the names."""
    _check_size(content)
    try:
        sheet, said = _sheet(content, CalamineWorkbook.from_object(str(content.path)), form.sheet)
        cells, top = sheet.to_python(), (sheet.start or (0, 0))[0]
    except CalamineError as error:
        raise DataError(f"{content.path} is no whole Excel file: {error}") from error
    if not cells:
        raise DataError(f"{content.path} has no rows")
    columns, more = checked_names(content.path, [str(cell) for cell in cells[0]], form.drop)
    rows = [number for number, row in enumerate(cells) if number and any(cell != "" for cell in row)]
    series = [_typed([cells[number][place] for number in rows]) for place in range(len(columns))]
    frame = pd.DataFrame(dict(enumerate(series)), index=range(len(rows))).set_axis(columns, axis=1)
    return Rows(frame, partial(_place, [top + number + 1 for number in rows]), remarks=[*said, *more])


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
    """Refuse what has more in it than its size tells: more bytes, or a cell so far off that all before it has no room."""
    most, size = memory.most_unpacked(), 0
    with archive(content.path) as found:
        for member in found.infolist():
            rows, columns, rest = 0, 0, b""
            with found.open(member) as file:
                for piece in pieces(content.path, file, most - size):
                    size += len(piece)
                    if member.filename.startswith("xl/worksheets/"):
                        cells = REFERENCE.findall(rest + piece)
                        rows = max([rows, *(int(row) for _, row in cells)])
                        columns = max([columns, *(_column(letters) for letters in {letters for letters, _ in cells})])
                        rest = piece[-20:]
            memory.check(content.path, content.size, memory.COPIES * CELL * rows * columns)


def _column(letters: bytes) -> int:
    """Return which column a name such as BC is, from 1."""
    number = 0
    for letter in letters:
        number = 26 * number + letter - ord("A") + 1
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
