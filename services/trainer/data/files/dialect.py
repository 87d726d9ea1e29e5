"""How a CSV file is written: separator, what stands above the names, comments; told by its first lines."""

import csv
import io
import re
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from trainer.data.files import encoding
from trainer.data.files.content import Content
from trainer.data.files.form import Form
from trainer.errors import DataError

SEPARATORS = (",", ";", "\t", "|")
COMMENT = "#"
SEP_LINE = re.compile(r'"?sep=([^"\r\n])"?\s*', re.IGNORECASE)
# What may separate two names.
MARK = re.compile(r"(?<=[\w\"])[^\w\s.,\"'-](?=[\w\"])")
NUMBER = re.compile(r"\s*-?\d+([.,]\d+)?\s*")
# How much of a file is looked at, in characters and in records.
SAMPLE = 256 * 1024
RECORDS = 500


@dataclass(frozen=True)
class Dialect:
    """How to read the records of a file."""

    content: Content
    encoding: str
    separator: str = ","
    skip: int = 0
    """lines above the names"""
    comment: str = ""
    least: int | None = None
    """how many separators a line that begins as a comment does has to have to be a row; None where none is one"""
    is_checked: bool = False
    """whether all of it was seen to be UTF-8 without zero bytes"""
    skips_blanks: bool = False
    """whether blanks after a separator are left out"""
    remarks: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """The file's."""
        return self.content.path

    def open(self) -> io.TextIOWrapper:
        """Open the file as text, its line ends as they are, after the mark of its encoding."""
        file = io.TextIOWrapper(self.content.open(), encoding=self.encoding, newline="")
        try:
            if file.read(1) != "\ufeff":
                file.seek(0)
        except UnicodeError:
            file.close()
            raise
        return file

    def is_comment(self, line: str) -> bool:
        """Tell whether a line, which begins a record, is none."""
        is_so = bool(self.comment) and line.startswith(self.comment)
        return is_so and (self.least is None or line.count(self.separator) < self.least)


def told(content: Content, form: Form) -> Dialect:
    """Look at the beginning of a file; what the form says is not looked for."""
    name, said = (form.encoding, None) if form.encoding else encoding.told(content)
    is_checked = name == "utf-8" and not form.encoding
    remarks = (said,) if said else ()
    dialect = Dialect(
        content, name, skip=form.skip_lines, comment=form.comment or "", is_checked=is_checked, remarks=remarks
    )
    try:
        with dialect.open() as file:
            text = file.read(SAMPLE)
    except UnicodeError as error:
        raise DataError(f"{content.path} is not in {name}: {error}; --encoding says what it is in") from error
    lines = list(io.StringIO(text, newline=""))
    if len(text) == SAMPLE and len(lines) > 1:
        lines.pop()
    return _with_separator(dialect, form, lines)


def _with_separator(dialect: Dialect, form: Form, lines: list[str]) -> Dialect:
    separator = form.separator
    if not form.skip_lines and lines and (found := SEP_LINE.fullmatch(lines[0])):
        dialect, separator = replace(dialect, skip=1), separator or found[1]
    rest = lines[dialect.skip :]
    comment = COMMENT if form.comment is None else form.comment
    above = next((i for i, line in enumerate(rest) if not (comment and line.startswith(comment))), len(rest))
    body = rest[above:]
    if separator is None:
        separator = _voted(dialect, body, above)
    dialect = replace(dialect, separator=separator)
    _refuse_backslashes(dialect, body)
    if form.comment is None:
        dialect = _with_comments(dialect, rest, above)
    else:
        dialect = replace(dialect, skip=dialect.skip + above)
    header = next((line for line in lines[dialect.skip :] if line.strip()), "")
    blanks = separator == " " or any(
        f"{separator}{blank}" in text for blank, text in ((" ", header), (' "', "".join(body[:50])))
    )
    return replace(dialect, skips_blanks=blanks, remarks=(*dialect.remarks, *_said(dialect, blanks)))


def _said(dialect: Dialect, blanks: bool) -> list[str]:
    said = [] if dialect.separator == "," else [f"separator {dialect.separator!r}"]
    said += [f"lines that begin with {dialect.comment!r} left out"] if dialect.comment else []
    return said + ["blanks after separators left out"] * blanks


def _voted(dialect: Dialect, lines: list[str], above: int) -> str:
    """Return the separator that gives most of the records as many fields as there are names."""
    widths = {separator: found for separator in SEPARATORS if (found := _widths(lines, separator))}
    votes = {separator: found.count(found[0]) / len(found) for separator, found in widths.items() if found[0] > 1}
    if not votes:
        _refuse_title(dialect, widths, above)
        _refuse_blanks(dialect, [line for line in lines if line.strip()])
        return ","
    best = [separator for separator, share in votes.items() if share == max(votes.values())]
    if len(best) > 1:
        raise DataError(
            f"{dialect.path} may be separated by {best[0]!r} or by {best[1]!r}; say which: --separator {best[0]!r}"
        )
    return best[0]


def _widths(lines: list[str], separator: str) -> list[int]:
    """Return how many fields the records have, blank ones left out; nothing where they are none."""
    try:
        reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
        return [len(record) for record in islice(reader, RECORDS) if record]
    except csv.Error:
        return []


def _refuse_title(dialect: Dialect, widths: dict[str, list[int]], above: int) -> None:
    """Refuse what has one name, and then mostly records of several fields."""
    for separator, found in widths.items():
        usual = max(found[1:], key=found.count, default=1)
        if usual > 1 and found.count(usual) > len(found) / 2:
            lines = dialect.skip + above + found.index(usual)
            raise DataError(
                f"{dialect.path} has one name in its first line, and {usual} fields, separated by {separator!r}, in most of the "
                f"others: values with {separator!r} in them need quotes, and where the names stand further down, "
                f"--skip-lines {lines} leaves out what is above them"
            )


def _refuse_blanks(dialect: Dialect, lines: list[str]) -> None:
    """Refuse what has one name, and as many words in each line as in the first."""
    found = [len(words) for line in lines[:RECORDS] if (words := line.split())]
    if found and found[0] > 1 and found.count(found[0]) == len(found) > 1:
        raise DataError(
            f"{dialect.path} has one name, {lines[0].strip()!r:.100}; is it separated by blanks? Then say --separator blanks"
        )
    for mark in dict.fromkeys(MARK.findall(lines[0] if lines else "")):
        if len(lines) > 1 and {line.count(mark) for line in lines[:RECORDS]} == {lines[0].count(mark)}:
            raise DataError(
                f"{dialect.path} has one name, {lines[0].strip()!r:.100}; is it separated by {mark!r}? Then say --separator {mark!r}"
            )


def _refuse_backslashes(dialect: Dialect, lines: list[str]) -> None:
    """Refuse what has a backslash before a quote within quotes, which ends them in CSV, and not in what Spark and MySQL write."""
    separator = re.escape(dialect.separator)
    inside = re.compile(rf'(?:^|{separator})"[^"]*\\"(?!{separator}|["\r\n]|$)')
    if line := next(filter(inside.search, lines[:RECORDS]), None):
        raise DataError(
            f'{dialect.path} has a quote behind a backslash within quotes, {line.strip()!r:.60}; CSV has two quotes for one: write "" '
            'for each \\"'
        )


def _with_comments(dialect: Dialect, lines: list[str], above: int) -> Dialect:
    """Take the lines above the names that are comments for such, and any like them further down."""
    if above and _names_follow_mark(dialect, lines[above - 1 : above + 1]):
        above -= 1
    header = next((line for line in lines[above:] if line.strip()), "")
    found = replace(dialect, comment=COMMENT, least=header.count(dialect.separator), skip=dialect.skip + above)
    has_some = above or any(map(found.is_comment, lines[above:]))
    return found if has_some else dialect


def _names_follow_mark(dialect: Dialect, lines: list[str]) -> bool:
    """Tell whether the last line that begins with the mark has the names: as many as there are fields, of which some are numbers."""
    if len(lines) < 2:
        return False
    names, fields = (line.rstrip("\r\n").split(dialect.separator) for line in lines)
    return len(names) == len(fields) > 1 and any(map(NUMBER.fullmatch, fields))
