"""The records of a CSV file, and the lines that they stand in as an editor counts them.

pandas reads a table fifty times as fast, but does not say in which line a row stands: it counts neither blank lines nor
line breaks in quotes. So this looks at the first records, and for a line only when there is something to say about it.
"""

import csv
import io
from collections.abc import Iterator
from itertools import islice
from typing import TextIO

from trainer.data.files.dialect import NUMBER, Dialect
from trainer.errors import DataError

# One field, in characters. Beyond it a quote was opened and not closed, and the rest of the file is taken for one field.
LONGEST_FIELD = 10_000_000
csv.field_size_limit(LONGEST_FIELD)
# Of the records, how many have to have more fields than there are names for these to be elsewhere.
MOST = 0.8
FEW = 3
# Lines that are named where several are at fault.
SHOWN = 5


class Lines:
    """The lines from the names of the columns on, for Python's `csv` and for pandas, without comments."""

    def __init__(self, file: TextIO, dialect: Dialect) -> None:
        self._file, self._dialect = file, dialect
        self._is_quoted = False
        self.number, self.comments = 0, 0
        for _ in range(dialect.skip):
            self._file.readline()
            self.number += 1

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while line := self._file.readline():
            self.number += 1
            if kept := self._kept(line):
                return kept
        raise StopIteration

    def read(self, size: int = -1) -> str:
        """Return at least so many characters, up to the end of a line; all that is left where it is negative."""
        comment = self._dialect.comment
        while text := self._file.read(size):
            if "\0" in text:
                raise DataError(f"{self._dialect.path} is no text: it has zero bytes")
            if not comment:
                return text
            text += self._file.readline()
            if f"\n{comment}" not in text and f"\r{comment}" not in text and not text.startswith(comment):
                self._is_quoted ^= text.count('"') % 2 == 1
                return text
            if kept := "".join(map(self._kept, io.StringIO(text, newline=""))):
                return kept
        return ""

    def _kept(self, line: str) -> str:
        """Return a line, nothing where it is a comment, which none is between quotes."""
        if not self._is_quoted and self._dialect.is_comment(line):
            self.comments += 1
            return ""
        if line.count('"') % 2:
            self._is_quoted = not self._is_quoted
        return line


def records(dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """Yield each record with the number of the line that it begins in; lines that are blank are none, as pandas has it.

    Raises DataError where the file is no CSV.
    """
    with dialect.open() as file:
        yield from records_of(Lines(file, dialect), dialect)


def records_of(lines: Lines, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """Yield the records that are left in some lines, each with the number of the line that it begins in."""
    reader = csv.reader(lines, delimiter=dialect.separator, skipinitialspace=dialect.skips_blanks)
    line, comments = lines.number + 1, lines.comments
    try:
        for record in reader:
            line += lines.comments - comments
            if not _is_blank(record):
                yield line, record
            line, comments = lines.number + 1, lines.comments
    except csv.Error as error:
        raise DataError(f"{dialect.path} line {line} is no CSV: {error}") from error
    except UnicodeError as error:
        raise DataError(f"{dialect.path} is not in {dialect.encoding} after line {line}: {error}") from error


def _is_blank(record: list[str]) -> bool:
    return not record or (len(record) == 1 and record[0] != "" and not record[0].strip(" \t"))


def check_first_row(dialect: Dialect, names: list[str]) -> None:
    """Refuse a first row with more fields than there are names.

    pandas would take the first of them for row names, which shifts all others. A later row that has more fields than there
    are names it refuses by itself.
    """
    if (first := next(islice(records(dialect), 1, None), None)) and len(first[1]) > len(names):
        raise DataError(fault(dialect, ""))


def fault(dialect: Dialect, words: str) -> str:
    """Say which lines they are that pandas cannot read; `words` are its own."""
    found, line, count = [], 0, -1
    header: list[str] = []
    for line, record in records(dialect):
        header, count = header or record, count + 1
        if len(record) > len(header):
            found.append((line, record))
    if found:
        return f"{dialect.path} {_too_many(dialect, found, header, count)}"
    if "EOF inside string" in words:
        return f"{dialect.path} line {line} has a quote that is not closed"
    return f"{dialect.path} is no CSV table: {' '.join(words.split())}"


def _too_many(dialect: Dialect, found: list[tuple[int, list[str]]], header: list[str], count: int) -> str:
    """Say of records, each with its line, that they have more fields than there are names; `count` is of all records."""
    line, record = found[0]
    more = [str(other) for other, _ in found[1:SHOWN]] + ["…"] * (len(found) > SHOWN)
    others = f"; {len(found) - 1} more such lines: {', '.join(more)}" if more else ""
    way_out = _way_out(dialect, found, header, count)
    return f"line {line} has {len(record)} fields; the header has {len(header)} ({way_out}){others}"


def _way_out(dialect: Dialect, found: list[tuple[int, list[str]]], header: list[str], count: int) -> str:
    line, record = found[0]
    mark = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}.get(dialect.separator, repr(dialect.separator))
    # Where the names end with one as well, the surplus one is within a value.
    if not record[-1] and header[-1].strip():
        return f"take away the {mark} at its end"
    quotes = f"a value with a {mark} in it needs quotes"
    if sum(len(other) == len(record) for _, other in found) < max(MOST * count, FEW):
        return quotes
    if not any(map(NUMBER.fullmatch, record)):
        return f"{quotes}; where the names stand in that line, --skip-lines {line - 1} leaves out what is above them"
    return (
        f"{quotes}; if the first column has the names of rows, it needs a name too"
        if len(record) == len(header) + 1
        else quotes
    )


def place(dialect: Dialect, row: int) -> str:
    """Return the line that a row begins in, counted from 1; the row is counted from 0."""
    try:
        return f"line {next(islice(records(dialect), row + 1, None))[0]}"
    except (DataError, StopIteration):  # what pandas reads and this does not: it is the row that counts
        return f"row {row + 1}"
