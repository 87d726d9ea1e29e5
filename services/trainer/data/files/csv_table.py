"""A CSV file's rows, read by pandas."""

import io
import re
from functools import partial
from typing import Any

import pandas as pd
from contract.missing import MISSING_WORDS

from trainer.data import memory, missing_words
from trainer.data.files import csv_records, dialect, written_numbers
from trainer.data.files.content import Content
from trainer.data.files.csv_records import Lines
from trainer.data.files.dialect import Dialect
from trainer.data.files.form import Form
from trainer.data.files.rows import Rows, checked_names
from trainer.errors import DataError

# How much of a file is looked at before the whole is read, in characters.
SAMPLE = 1024 * 1024
# While pandas reads a CSV, its text is in memory beside the rows, which are there up to twice.
COPIES_WHILE_READING = 2
# A digit after it makes a zero one of a code, such as a postcode, which is lost in a number.
CODE = re.compile(r"\s*0\d+\s*")
COMMA = re.compile(r"\d,\d")
COMMA_IN_QUOTES = re.compile(r'"[^"\n\d]*[\d., ]*\d,\d')


def read(content: Content, form: Form) -> Rows:
    """Return the rows of a CSV file.

    Raises DataError naming the lines at fault.
    """
    written = dialect.told(content, form)
    header, sample = _beginning(written)
    columns, said = checked_names(content.path, header, form.drop)
    csv_records.check_first_row(written, columns)
    keys = [str(number) for number in range(len(columns))]
    try:
        texts = _parsed(io.StringIO(sample), written, keys, dtype="str", on_bad_lines="skip")
        _check_memory(content, written, sample, texts)
        named = texts.set_axis(columns, axis=1)
        decimal = _decimal(sample, named, written, form)
        codes = _as_text(sample, named, written, form)
        as_text = {key: "str" for key, name in zip(keys, columns, strict=True) if name in codes}
        typed = _parsed(io.StringIO(sample), written, keys, on_bad_lines="skip", dtype=as_text, decimal=decimal)
        found = missing_words.expected(
            typed, [key for key, name in zip(keys, columns, strict=True) if name in form.words]
        )
        frame = _all_rows(written, keys, found, dtype=as_text, decimal=decimal)
    except UnicodeError as error:
        raise DataError(
            f"{content.path} is not in {written.encoding}: {error}; --encoding says what it is in"
        ) from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(csv_records.fault(written, str(error))) from error
    by_key = dict(zip(keys, columns, strict=True))
    return Rows(
        frame.set_axis(columns, axis=1),
        partial(csv_records.place, written),
        is_typed=False,
        words={by_key[key]: found[key] for key in found},
        separator=written.separator,
        decimal=decimal,
        remarks=[*written.remarks, *(["decimal ','"] if decimal == "," else []), *said],
    )


def _beginning(written: Dialect) -> tuple[list[str], str]:
    """Return the first record, and whole lines after it, of which the last may end within a record."""
    with written.open() as file:
        lines = Lines(file, written)
        header = next(csv_records.records_of(lines, written), None)
        if header is None:
            raise DataError(f"{written.path} is no CSV table: No columns to parse from file")
        text = lines.read(SAMPLE)
        while len(text) < SAMPLE and (more := lines.read(SAMPLE)):
            text += more
    return header[1], text if len(text) < SAMPLE else text[: text.rfind("\n") + 1] or text


def _parsed(source: Any, written: Dialect, keys: list[str], **options: Any) -> pd.DataFrame:
    """Have pandas read the records after the first; it guesses nothing but numbers, true and false."""
    options = {"na_values": [""], **options}
    try:
        frame: pd.DataFrame = pd.read_csv(
            source,
            header=None,
            names=keys,
            sep=written.separator,
            skipinitialspace=written.skips_blanks,
            index_col=False,
            keep_default_na=False,
            low_memory=False,
            **options,
        )
    except pd.errors.EmptyDataError:
        return pd.DataFrame(columns=keys)
    return frame


def _check_memory(content: Content, written: Dialect, sample: str, texts: pd.DataFrame) -> None:
    share = max(len(sample.encode(written.encoding, "ignore")), 1)
    frame = content.size * float(texts.memory_usage(deep=True).sum()) / share
    memory.check(content.path, content.size, max(content.size + COPIES_WHILE_READING * frame, memory.COPIES * frame))


def _decimal(sample: str, texts: pd.DataFrame, written: Dialect, form: Form) -> str:
    """Return the decimal mark, which is a comma where columns have one; most files have none in a number, which is seen at once."""
    has_commas = (COMMA_IN_QUOTES if written.separator == "," else COMMA).search(sample)
    if form.mark or not (has_commas or written.separator == ";"):
        return form.mark or "."
    return written_numbers.decimal(texts, written.separator, form, written.path)


def _as_text(sample: str, texts: pd.DataFrame, written: Dialect, form: Form) -> list[str]:
    """Return the columns that are no numbers for pandas: those that a person says are text, and codes that begin with 0."""
    if not re.search(rf'(?:^|["\n\r ]|{re.escape(written.separator)})0\d', sample):
        return list(form.text)
    codes = (str(name) for name, column in texts.items() if any(map(CODE.fullmatch, column.dropna().unique())))
    return [*form.text, *codes]


def _all_rows(written: Dialect, keys: list[str], found: dict[str, list[str]], **options: Any) -> pd.DataFrame:
    """Return the whole table; of the columns in `found`, those that are text after all are taken out of it."""
    missing = {key: list(MISSING_WORDS) if key in found else [""] for key in keys}
    frame = _body(written, keys, na_values=missing, **options)
    if mistaken := [key for key in found if isinstance(frame[key].dtype, pd.StringDtype)]:
        again = _body(written, keys, usecols=mistaken, **options)
        frame = frame.assign(**{key: again[key] for key in mistaken})
        for key in mistaken:
            del found[key]
    return frame


def _body(written: Dialect, keys: list[str], **options: Any) -> pd.DataFrame:
    with written.open() as file:
        lines = Lines(file, written)
        next(csv_records.records_of(lines, written))
        return _parsed(lines, written, keys, **options)
