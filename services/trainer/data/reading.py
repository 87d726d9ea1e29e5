"""Files of data: from a file, or a folder of Parquet, to rows, or to a clear word about why not."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from trainer.data.files import arrow_table, csv_table, json_lines, spreadsheet, written_numbers
from trainer.data.files.content import Content, Kind, content
from trainer.data.files.form import Form
from trainer.data.files.rows import Rows, without_blank_rows
from trainer.errors import DataError

READERS: dict[Kind, Callable[[Content, Form], Rows]] = {
    Kind.CSV: csv_table.read,
    Kind.LINES: json_lines.read,
    Kind.PARQUET: arrow_table.read_parquet,
    Kind.FEATHER: arrow_table.read_feather,
    Kind.SHEET: spreadsheet.read,
}


def read(path: Path, form: Form) -> Rows:
    """Return the rows of a file, or of a folder of Parquet.

    What is wrong with columns alone is among their faults. Raises DataError where it is no table, or too large for the memory
    that is left.
    """
    try:
        found = arrow_table.read_folder(path, form) if path.is_dir() else _file(content(path, form.member), form)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; `explore` writes those that come with the trainer") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if found.frame.columns.has_duplicates:  # all of such a name will be dropped
        found = replace(found, frame=found.frame.loc[:, ~found.frame.columns.duplicated()])
    found = written_numbers.convert(without_blank_rows(found), form)
    return replace(found, remarks=[f"read as: {', '.join(found.remarks)}"] if found.remarks else [])


def _file(found: Content, form: Form) -> Rows:
    rows = READERS[found.kind](found, form)
    return replace(rows, remarks=[*found.remarks, *rows.remarks])


def sha256(path: Path) -> str:
    """Return the digest of a file's bytes; of a folder, of its files' names and digests."""
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    lines = (f"{sha256(part)}  {part.relative_to(path).as_posix()}\n" for part in arrow_table.parts(path))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
