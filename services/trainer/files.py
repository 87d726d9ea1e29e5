"""Files of data: from a CSV or Parquet file to a frame, or to a clear word about why not."""

import csv
from collections import Counter
from pathlib import Path

import pandas as pd

from trainer.errors import DataError

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


def read_frame(path: Path) -> pd.DataFrame:
    """Return a file's rows; raise DataError where it is no table, or too large for the memory that is left."""
    try:
        if path.suffix in (".parquet", ".pq"):
            return _read_parquet(path)
        if path.suffix != ".csv" and path.is_file():
            raise DataError(f"{path} ends in {path.suffix or 'nothing'}; expected a .csv or .parquet file")
        return _read_csv(path)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; `explore` writes those that come with the trainer") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _read_csv(path: Path) -> pd.DataFrame:
    sample = _sample(path)
    _check_header(path, sample)
    size = path.stat().st_size
    frame = size * _frame_bytes(path) / max(len(sample), 1)
    _check_memory(path, size, max(size + COPIES_WHILE_READING * frame, COPIES * frame))
    try:
        return pd.read_csv(path, encoding="utf-8-sig", low_memory=False)
    except UnicodeDecodeError as error:
        raise DataError(_not_utf8(path, error)) from error
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise DataError(f"{path} is no CSV table: {str(error).strip()}") from error


def _sample(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(SAMPLE_BYTES)


def _check_header(path: Path, sample: bytes) -> None:
    """Refuse what pandas would read in another way than a person means it."""
    line = sample.split(b"\n", 1)[0]
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(_not_utf8(path, error)) from error
    if "\x00" in text:
        raise DataError(f"{path} is no CSV table: its first line has zero bytes")
    names = next(csv.reader([text.rstrip("\r")]), [])
    for separator, word in ((";", "semicolons"), ("\t", "tabs")):
        if len(names) == 1 and separator in text:
            raise DataError(
                f"{path} is separated by {word}; save it separated by commas, with points in decimal numbers"
            )
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(
            f"{path} has the column {twice[0]!r} {names.count(twice[0])} times; each needs a name of its own"
        )


def _not_utf8(path: Path, error: UnicodeDecodeError) -> str:
    return (
        f"{path} is not in UTF-8 ({error.reason}: byte 0x{error.object[error.start]:02x}); "
        f"convert it, from Latin-1 say: iconv -f latin1 -t utf-8 {path.name} > utf8.csv"
    )


def _frame_bytes(path: Path) -> float:
    """Return how much memory the rows of the sample take as a frame."""
    try:
        lines = _sample(path).count(b"\n")
        rows = pd.read_csv(path, nrows=max(lines - 2, 1), encoding="utf-8-sig", on_bad_lines="skip")
    except (ValueError, pd.errors.ParserError):  # the full reading meets the same, and says it
        return 0.0
    return float(rows.memory_usage(deep=True).sum())


def _read_parquet(path: Path) -> pd.DataFrame:
    from pyarrow import ArrowException, parquet

    try:
        metadata = parquet.read_metadata(path)
        groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
        size = sum(group.total_byte_size for group in groups)
        _check_memory(path, size, COPIES * 1.5 * size)
        names = Counter(metadata.schema.to_arrow_schema().names)
        if twice := [name for name, count in names.items() if count > 1]:
            raise DataError(f"{path} has the column {twice[0]!r} {names[twice[0]]} times; each needs a name of its own")
        return pd.read_parquet(path)
    except ArrowException as error:
        raise DataError(f"{path} is no whole Parquet file: {str(error).splitlines()[0]}") from error


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
