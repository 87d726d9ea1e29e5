"""A CSV file's rows, read by pandas."""

import csv
import io
import re
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import pandas as pd
from contract.missing import MISSING_WORDS

from trainer import memory
from trainer.data.columns import missing_words
from trainer.data.columns.dates import are_months_with_point
from trainer.data.files import csv_records, dialect, written_numbers
from trainer.data.files.content import Content
from trainer.data.files.csv_records import Lines
from trainer.data.files.dialect import Dialect
from trainer.data.files.form import Form
from trainer.data.files.rows import Rows, checked_names
from trainer.errors import DataError

# How much of a file is looked at before the whole is read, in characters.
SAMPLE = 512 * 1024
# While pandas reads a CSV, its text is in memory beside the rows, which are there up to twice.
COPIES_WHILE_READING = 2
# A digit after it makes a zero one of a code, such as a postcode, which is lost in a number; so is the plus of a telephone number.
CODE = re.compile(r"\s*(?:0\d+|\+\d{8,})\s*")
# A number for pandas, and more often a code.
POWER = re.compile(r"\s*\d+[eE]\d+\s*")
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
        texts = _first_rows(sample, written, keys, dtype="str")
        _check_memory(content, written, sample, texts)
        named = texts.set_axis(columns, axis=1)
        decimal, doubt = _decimal(sample, named, written, form)
        codes = _as_text(sample, named, written, form)
        as_text = {key: "str" for key, name in zip(keys, columns, strict=True) if name in codes}
        classes = [key for key, name in zip(keys, columns, strict=True) if name in form.words]
        found = _words(sample, written, keys, classes, dtype=as_text, decimal=decimal)
        frame = _all_rows(written, texts, found, dtype=as_text, decimal=decimal)
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
        has_names_above=True,
        separator=written.separator,
        decimal=decimal,
        faults=doubt,
        remarks=[*written.remarks, *(["decimal ','"] if decimal == "," else []), *said, *_powers(sample, named, frame)],
    )


def _beginning(written: Dialect) -> tuple[list[str], str]:
    """Return the first record, and what comes after it, up to anywhere."""
    with written.open() as file:
        lines = Lines(file, written)
        header = next(csv_records.records_of(lines, written), None)
        if header is None:
            raise DataError(f"{written.path} is empty: it has no line with the names of the columns")
        text = lines.read(SAMPLE)
        while len(text) < SAMPLE and (more := lines.read(SAMPLE)):
            text += more
    return header[1], text


def _parsed(source: Any, written: Dialect, keys: list[str], **options: Any) -> pd.DataFrame:
    """Have pandas read the records after the first; it guesses nothing but numbers, true and false."""
    options = {"na_values": [""], "low_memory": False, **options}
    try:
        frame: pd.DataFrame = pd.read_csv(
            source,
            header=None,
            names=keys,
            sep=written.separator,
            skipinitialspace=written.skips_blanks,
            index_col=False,
            keep_default_na=False,
            **options,
        )
    except pd.errors.EmptyDataError:
        return pd.DataFrame(columns=keys)
    return frame


def _first_rows(sample: str, written: Dialect, keys: list[str], **options: Any) -> pd.DataFrame:
    """Return the rows of a sample, without the last one, which may be cut; none where they cannot be read."""
    try:
        count = sum(1 for _ in csv.reader(io.StringIO(sample, newline=""), delimiter=written.separator))
        rows = count - 1 if len(sample) >= SAMPLE else count
        return _parsed(
            io.StringIO(sample, newline=""), written, keys, nrows=max(rows, 1), on_bad_lines="skip", **options
        )
    except (csv.Error, pd.errors.ParserError):  # the whole file meets the same, and says it
        return pd.DataFrame(columns=keys, dtype="str")


def _words(sample: str, written: Dialect, keys: list[str], text: list[str], **options: Any) -> dict[str, list[str]]:
    """Return the words for missing values as `missing_words.expected` has them; most files have none, which is seen at once."""
    if not any(word in sample for word in MISSING_WORDS if word):
        return {}
    return missing_words.expected(_first_rows(sample, written, keys, **options), text)


def _check_memory(content: Content, written: Dialect, sample: str, texts: pd.DataFrame) -> None:
    share = max(len(sample.encode(written.encoding, "ignore")), 1)
    frame = content.size * float(texts.memory_usage(deep=True).sum()) / share
    memory.check(content.path, content.size, max(content.size + COPIES_WHILE_READING * frame, memory.COPIES * frame))


def _decimal(sample: str, texts: pd.DataFrame, written: Dialect, form: Form) -> tuple[str, list[str]]:
    """Return the decimal mark, which is a comma where columns have one; most files have none in a number, which is seen at once."""
    has_commas = (COMMA_IN_QUOTES if written.separator == "," else COMMA).search(sample)
    if form.mark or not (has_commas or written.separator == ";"):
        return form.mark or ".", []
    return written_numbers.decimal(texts, written.separator, form)


def _as_text(sample: str, texts: pd.DataFrame, written: Dialect, form: Form) -> list[str]:
    """Return the columns that are no numbers for pandas: those that a person says are text, and codes that begin with 0."""
    if not re.search(rf'(?:^|["\n\r ]|{re.escape(written.separator)})(?:0\d|\+\d{{8}})', sample):
        return list(form.text)
    codes = (str(name) for name, column in texts.items() if _has_codes(column.dropna().unique()))
    return [*form.text, *codes]


def _has_codes(values: Any) -> bool:
    """Tell whether some of different texts are codes, or all are months such as 03.2026."""
    return any(map(CODE.fullmatch, values)) or are_months_with_point(values)


def _powers(sample: str, texts: pd.DataFrame, frame: pd.DataFrame) -> Iterator[str]:
    """Yield what there is to say of numbers such as 63E6."""
    if not re.search(r"\d[eE]\d", sample):
        return
    for (name, column), values in zip(texts.items(), frame.items(), strict=True):
        if not pd.api.types.is_numeric_dtype(values[1]):
            continue
        present = column.dropna()
        if code := next(filter(POWER.fullmatch, present.unique()), None):
            number = float(code)
            yield f"{code.strip()!r} in {str(name)!r} as {number:.15g} (--text {str(name)!r} where it is a code)"


def _all_rows(written: Dialect, texts: pd.DataFrame, found: dict[str, list[str]], **options: Any) -> pd.DataFrame:
    """Return the whole table; of the columns in `found`, those that are text after all are taken out of it."""
    keys = [str(key) for key in texts.columns]
    missing = {key: list(MISSING_WORDS) if key in found else [""] for key in keys}
    frame = _body(written, keys, na_values=missing, **options)
    mistaken = [key for key in found if isinstance(frame[key].dtype, pd.StringDtype)]
    shorter = [key for key in keys if _is_shorter(frame[key], texts[key])]
    if not (mistaken or shorter):
        return frame
    options["dtype"] = options["dtype"] | dict.fromkeys(shorter, "str")
    again = _body(written, keys, usecols=[*mistaken, *shorter], **options)
    for key in mistaken:
        del found[key]
    codes = [key for key in shorter if any(map(CODE.fullmatch, again[key].dropna().unique()))]
    return frame.assign(**{key: again[key] for key in [*mistaken, *codes]})


def _is_shorter(column: pd.Series, texts: pd.Series) -> bool:
    """Tell whether whole numbers have fewer digits than all of them had in the first rows: then they may begin with 0."""
    if not pd.api.types.is_integer_dtype(column):
        return False
    widths = texts.dropna().str.strip().str.len().unique()
    is_fixed = len(widths) == 1 and 1 < widths[0] < 19
    return bool(is_fixed and 0 <= column.min() < 10 ** (int(widths[0]) - 1))


def _body(written: Dialect, keys: list[str], **options: Any) -> pd.DataFrame:
    """Return all rows, read in parts, which takes half the time; where a column's parts differ in type, it is read as a whole."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pd.errors.DtypeWarning)  # it names the columns that are read again
        frame = _whole(written, keys, low_memory=True, **options)
    differing = [str(key) for key in frame if pd.api.types.is_object_dtype(frame[key])]
    if not differing:
        return frame
    again = _whole(written, keys, **options | {"usecols": differing})
    return frame.assign(**{key: again[key] for key in differing})


def _whole(written: Dialect, keys: list[str], **options: Any) -> pd.DataFrame:
    with written.open() as file:
        lines = Lines(file, written)
        next(csv_records.records_of(lines, written))
        if options.get("low_memory") and lines.number == 1 and _is_plain(written):
            return _parsed(written.path, written, keys, skiprows=1, **options)
        return _parsed(lines, written, keys, **options)


def _is_plain(written: Dialect) -> bool:
    """Tell whether pandas can read a file by itself, which it does on all cores: what is packed or has comments it cannot."""
    return written.is_checked and written.content.data is None and not (written.comment or written.skip)
