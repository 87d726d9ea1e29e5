"""The records of a CSV file, and the lines that they stand in as an editor counts them.

pandas reads a table fifty times as fast, but does not say in which line a row stands: it counts neither blank lines nor
line breaks in quotes. So this looks at the first two records, and for a line only when there is something to say about it.
"""

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from trainer.errors import DataError

# One field, in characters. Beyond it a quote was opened and not closed, and the rest of the file is taken for one field.
LONGEST_FIELD = 10_000_000
csv.field_size_limit(LONGEST_FIELD)
# How much is searched at a time, and what may stand before a field.
PIECE = 4 * 1024 * 1024
IS_SEPARATOR = np.isin(np.arange(256), list(b',;|\t\n\r"'))


def records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield each record with the number of the line that it begins in; lines that are blank are none, as pandas has it.

    Raises DataError where the file is no CSV, and UnicodeDecodeError where it is not in UTF-8.
    """
    line = 1
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        try:
            for record in reader:
                if not _is_blank(record):
                    yield line, record
                line = reader.line_num + 1
        except csv.Error as error:
            raise DataError(f"{path} line {line} is no CSV: {error}") from error


def _is_blank(record: list[str]) -> bool:
    return not record or (len(record) == 1 and record[0] != "" and not record[0].strip(" \t"))


def header(path: Path) -> list[str]:
    """Return the names in the first record."""
    return next(records(path), (1, []))[1]


def check_first_row(path: Path) -> None:
    """Refuse a first row with more fields than there are names.

    pandas would take the first of them for row names, which shifts all others. A later row that has more fields than there
    are names it refuses by itself.
    """
    first = list(islice(records(path), 2))
    names = first[0][1] if first else []
    for line, record in first[1:]:
        if len(record) > len(names):
            raise DataError(_too_many(path, line, record, names))


def fault(path: Path, words: str) -> str:
    """Say which line it is that pandas cannot read; `words` are its own."""
    names: list[str] = []
    line = 0
    for line, record in records(path):
        names = names or record
        if len(record) > len(names):
            return _too_many(path, line, record, names)
    if "EOF inside string" in words:
        return f"{path} line {line} has a quote that is not closed"
    return f"{path} is no CSV table: {words.strip()}"


def _too_many(path: Path, line: int, record: list[str], names: list[str]) -> str:
    way_out = "take away the comma at its end" if not record[-1] else "a value with a comma in it needs quotes"
    return f"{path} line {line} has {len(record)} fields; the header has {len(names)} ({way_out})"


def has_leading_zeros(path: Path) -> bool:
    """Tell whether some field may begin with a 0 and another digit, as codes do and numbers do not."""
    with path.open("rb") as file:
        before = b"\n"
        while piece := file.read(PIECE):
            found = np.frombuffer(before + piece, dtype=np.uint8)
            zeros = np.flatnonzero(found[1:-1] == ord("0")) + 1
            after = found[zeros + 1]
            if (IS_SEPARATOR[found[zeros - 1]] & (after >= ord("0")) & (after <= ord("9"))).any():
                return True
            before = piece[-2:]
    return False


def place(path: Path, row: int) -> str:
    """Return where a row stands, counted from 0: "line N" of a CSV file, "row N" of another one, counted from 1."""
    if path.suffix == ".csv":
        try:
            return f"line {next(islice(records(path), row + 1, None))[0]}"
        except (DataError, StopIteration):  # what pandas reads and this does not: it is the row that counts
            pass
    return f"row {row + 1}"
