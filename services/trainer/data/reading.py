"""Files of data: from a CSV or Parquet file to a frame, or to a clear word about why not."""

import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd
from contract.missing import MISSING_WORDS

from trainer.data import csv_records, missing_words
from trainer.errors import DataError

# The first column is never taken for row names, and what words such as NA are is not for pandas to say.
CSV: dict[str, Any] = {"encoding": "utf-8-sig", "index_col": False, "keep_default_na": False}
LONGEST_NAME = 1000
# Under this name pandas writes row numbers into Parquet, which are of no column.
UNNAMED_INDEX = re.compile(r"__index_level_\d+__")

# How much of a CSV file is looked at before the whole is read.
SAMPLE_BYTES = 1024 * 1024
# A training holds the table, its two parts and the prepared features at once.
COPIES = 3
# While pandas reads a CSV, its text is in memory beside the rows, which are there up to twice.
COPIES_WHILE_READING = 2
# What the steps after the reading, and the process that draws, still take whatever the table is.
RESERVE = 250 * 1024 * 1024
# Where a container sees its own limit and use, of either kind of control group.
CGROUPS = tuple(
    (Path("/sys/fs/cgroup", limit), Path("/sys/fs/cgroup", use))
    for limit, use in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    )
)
MEMINFO = Path("/proc/meminfo")


def read_frame(
    path: Path, drop: Collection[str] = (), text: Collection[str] = ()
) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """Return a file's rows, numbered from 0, and column → words that pandas has taken for missing values in it.

    `drop` names columns that may have values of any type, as they will be left out; `text` those in which a word such as
    NA is one. Raises DataError where it is no table, or too large for the memory that is left.
    """
    try:
        if path.suffix in (".parquet", ".pq"):
            return _read_parquet(path, drop), {}
        if path.suffix != ".csv" and path.is_file():
            raise DataError(f"{path} ends in {path.suffix or 'nothing'}; expected a .csv or .parquet file")
        return _read_csv(path, text)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; `explore` writes those that come with the trainer") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _read_csv(path: Path, text: Collection[str]) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    sample = _sample(path)
    _check_start(path, sample.split(b"\n", 1)[0].rstrip(b"\r"))
    rows = _first_rows(path, sample.count(b"\n"))
    size = path.stat().st_size
    frame = size * float(rows.memory_usage(deep=True).sum()) / max(len(sample), 1)
    _check_memory(path, size, max(size + COPIES_WHILE_READING * frame, COPIES * frame))
    found = missing_words.expected(rows, text)
    try:
        return _all_rows(path, list(map(str, rows.columns)), found), found
    except UnicodeDecodeError as error:
        raise DataError(_not_utf8(path, error)) from error
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path} is no CSV table: {error}") from error
    except pd.errors.ParserError as error:
        raise DataError(csv_records.fault(path, str(error))) from error


def _all_rows(path: Path, names: list[str], found: dict[str, list[str]]) -> pd.DataFrame:
    """Return the whole table; of the columns in `found`, those that are text after all are taken out of it."""
    missing = {name: list(MISSING_WORDS) if name in found else [""] for name in names}
    frame: pd.DataFrame = pd.read_csv(path, low_memory=False, na_values=missing or [""], **CSV)
    if mistaken := [name for name in found if isinstance(frame[name].dtype, pd.StringDtype)]:
        again: pd.DataFrame = pd.read_csv(path, low_memory=False, usecols=mistaken, na_values=[""], **CSV)
        frame = frame.assign(**{name: again[name] for name in mistaken})
        for name in mistaken:
            del found[name]
    return frame


def as_text(path: Path, names: list[str]) -> pd.DataFrame:
    """Return some columns of a CSV file as they are written, letter for letter; an empty field is missing."""
    frame: pd.DataFrame = pd.read_csv(path, usecols=names, dtype="str", na_values=[""], **CSV)
    return frame


def _sample(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(SAMPLE_BYTES)


def _check_start(path: Path, line: bytes) -> None:
    """Refuse what pandas would read in another way than a person means it; `line` is all up to the first LF."""
    if b"\r" in line and b'"' not in line:
        raise DataError(f"{path} has lines that end in CR alone; convert it: tr '\\r' '\\n' < {path.name} > lines.csv")
    try:
        names = csv_records.header(path)
    except UnicodeDecodeError as error:
        raise DataError(_not_utf8(path, error)) from error
    if b"\0" in line:
        raise DataError(f"{path} is no CSV table: its first line has zero bytes")
    _check_names(path, names)
    csv_records.check_first_row(path)


def _check_names(path: Path, names: list[str]) -> None:
    for separator, word in ((";", "semicolons"), ("\t", "tabs")):
        if len(names) == 1 and separator in names[0]:
            raise DataError(
                f"{path} is separated by {word}; save it separated by commas, with points in decimal numbers"
            )
    if longest := max((len(name) for name in names if len(name) > LONGEST_NAME), default=0):
        raise DataError(f"{path} has a column name of {longest} characters; are the names in its first line?")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(
            f"{path} has the column {twice[0]!r} {names.count(twice[0])} times; each needs a name of its own"
        )


def _not_utf8(path: Path, error: UnicodeDecodeError) -> str:
    return (
        f"{path} is not in UTF-8 ({error.reason}: byte 0x{error.object[error.start]:02x}); "
        f"convert it, from Latin-1 say: iconv -f latin1 -t utf-8 {path.name} > utf8.csv"
    )


def _first_rows(path: Path, lines: int) -> pd.DataFrame:
    """Return the rows in the first lines, of which the last may be cut; none where they cannot be read."""
    try:
        rows: pd.DataFrame = pd.read_csv(path, nrows=max(lines - 2, 1), on_bad_lines="skip", na_values=[""], **CSV)
        return rows
    except (ValueError, pd.errors.ParserError):  # the full reading meets the same, and says it
        return pd.DataFrame()


def _read_parquet(path: Path, drop: Collection[str]) -> pd.DataFrame:
    from pyarrow import ArrowException, parquet

    try:
        metadata = parquet.read_metadata(path)
        groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
        size = sum(group.total_byte_size for group in groups)
        _check_memory(path, size, COPIES * 1.5 * size)
        schema = metadata.schema.to_arrow_schema()
        names = Counter(schema.names)
        if twice := [name for name, count in names.items() if count > 1]:
            raise DataError(f"{path} has the column {twice[0]!r} {names[twice[0]]} times; each needs a name of its own")
        _check_types(path, schema, drop)
        # The columns that are in the file, under their names there, whatever pandas made of them when it wrote it.
        frame: pd.DataFrame = parquet.read_table(path, partitioning=None).to_pandas(ignore_metadata=True)
    except ArrowException as error:
        raise DataError(f"{path} is no whole Parquet file: {str(error).splitlines()[0]}") from error
    return frame.drop(columns=[name for name in frame.columns if UNNAMED_INDEX.fullmatch(name)])


def _check_types(path: Path, schema: Any, drop: Collection[str]) -> None:
    """Refuse columns of lists, structs and maps, of which there is no number and no category, and of pandas' own types."""
    from pyarrow import types

    for field in schema:
        stored = getattr(field.type, "storage_type", field.type)
        # Unless pandas has told Arrow of its types, they are in the field's metadata.
        noted = (field.metadata or {}).get(b"ARROW:extension:name", b"").decode()
        extension = getattr(field.type, "extension_name", noted)
        if field.name not in drop and (types.is_nested(stored) or extension.startswith("pandas.")):
            raise DataError(
                f"{path}: column {field.name!r} has values of the type {extension or str(field.type):.100}; expected "
                f"numbers, true and false, or text (--drop {field.name!r} leaves it out)"
            )


def _check_memory(path: Path, size: int, needed: float) -> None:
    """Refuse a file whose training would need more memory than is left: told now, and not by the kernel's killer."""
    needed, left = needed + RESERVE, memory_left()
    if left is not None and needed > left:
        raise DataError(
            f"{path} has {size / 1e6:.0f} MB and needs about {needed / 1e6:.0f} MB of memory to train on; "
            f"{left / 1e6:.0f} MB are left (TRAINER_MEMORY in .env is the container's limit)"
        )


def memory_left() -> int | None:
    """Return how many bytes this process may still take: of its container, else of the machine; None where unknown."""
    found = []
    try:
        for line in MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
    except OSError:  # not on Linux
        return None
    for limit, use in CGROUPS:
        try:
            if (most := limit.read_text().strip()) == "max":
                continue
            cached = next(
                int(line.split()[1])
                for line in limit.with_name("memory.stat").read_text().splitlines()
                if line.startswith("inactive_file ")
            )
            found.append(int(most) - int(use.read_text()) + cached)
        except (OSError, StopIteration):  # no container, or not of this kind
            continue
    return min(found) if found else None
