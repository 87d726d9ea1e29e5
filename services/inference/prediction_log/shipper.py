"""The shipper: `python -m inference.prediction_log.shipper` brings what is in the spool to where it is kept, as Parquet.

    predictions/model=NAME/date=YYYY-MM-DD/hour=HH/WORKER-SEGMENT-OFFSET.parquet

A file's name follows from where its records begin, and where it begins is noted when it is there for good. So whatever
ends the shipper, the next one writes the same file again, with what came after it: each prediction is there once. As long as a worker
writes on, its last file is written again and again and grows.
"""

import logging
import logging.config
import os
import signal
import struct
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from contract.settings import Reader

from inference.errors import SegmentUnusable, SettingsError, StoreUnusable
from inference.prediction_log import segment, spool
from inference.prediction_log.record import Record, Version, time_ns_of, unpacked
from inference.prediction_log.store import Store
from inference.prediction_log.table import table
from inference.settings import Settings
from inference.telemetry.log import LOGGING

# Of one file's records, about.
FILE_BYTES = 8 * 1024 * 1024
HOUR_NS = 3600 * 10**9
# How much it gives way to those who answer.
NICENESS = 10

log = logging.getLogger("inference")


class Shipper:
    """Ships what is in a spool."""

    def __init__(self, folder: Path, store: Store, file_bytes: int = FILE_BYTES) -> None:
        self._folder, self._store, self._file_bytes = folder, store, file_bytes
        self._sent: dict[Path, int] = {}
        """up to where the last file of a segment that is still written reaches"""

    def ship(self) -> int:
        """Ship what is new, and delete segments that are done; return how many predictions were. Raises StoreUnusable."""
        spool.forget_drafts(self._folder)
        return sum(self._ship(path) for path in spool.segments(self._folder))

    def _ship(self, path: Path) -> int:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            is_left = segment.is_left(descriptor)  # asked first: then nothing comes any more
            count = 0
            while (piece := segment.unshipped(descriptor, self._file_bytes)).records:
                hours = {hour_of(record) for record in piece.records}
                count += self._send(path, piece)
                if not (is_left or piece.has_more or len(hours) > 1):
                    return count
                segment.note_shipped(descriptor, piece.end)
            if is_left:
                path.unlink()
                self._sent.pop(path, None)
            return count
        except SegmentUnusable as error:
            kept = path.rename(path.with_suffix(".unusable"))
            log.error("%s cannot be shipped: %s; it is left as %s", path.name, error, kept.name)
            return 0
        finally:
            os.close(descriptor)

    def _send(self, path: Path, piece: segment.Piece) -> int:
        """Put the records of a piece where they are kept; return how many of them were not there yet."""
        if self._sent.get(path) == piece.end:
            return 0
        for folder, content in files_of(piece).items():
            self._store.put(f"{folder}/{path.stem}-{piece.start:08}.parquet", content)
        self._sent[path] = piece.end
        return len(piece.records)


def hour_of(record: bytes) -> int:
    """Return the hour since 1970 of a packed prediction."""
    return time_ns_of(record) // HOUR_NS


def files_of(piece: segment.Piece) -> dict[str, pa.Buffer]:
    """Return the records of a piece as Parquet, by the folder that they belong to; raise SegmentUnusable where they are none."""
    try:
        version = msgspec.json.decode(piece.version, type=Version)
        by_hour: dict[int, list[Record]] = {}
        for record in piece.records:
            by_hour.setdefault(hour_of(record), []).append(unpacked(record))
        return {folder_of(version.model, hour): parquet(table(version, found)) for hour, found in by_hour.items()}
    except (msgspec.MsgspecError, struct.error, ValueError, TypeError, LookupError) as error:
        raise SegmentUnusable(f"a record in it cannot be read: {error}") from error


def folder_of(model: str, hour: int) -> str:
    """Return the folder of a model's predictions in an hour since 1970."""
    began = datetime.fromtimestamp(hour * 3600, UTC)
    return f"predictions/model={quote(model, safe='')}/date={began:%Y-%m-%d}/hour={began:%H}"


def parquet(content: pa.Table) -> pa.Buffer:
    """Return a table as a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(content, sink, compression="zstd", coerce_timestamps="us")
    return sink.getvalue()


class Work:
    """What the shipper is told to do: where, how often, and for how long what it brings stays in a folder."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Read it from the environment; raise SettingsError naming the variable, its value and what is expected."""
        read = Reader(environ, SettingsError)
        self.folder, self.store = Settings.from_env(environ).prediction_log_dir, Store.of(environ)
        self.seconds = read.number("PREDICTION_LOG_SECONDS", 10.0, 0.1, 3600)
        self.days = read.number("PREDICTION_LOG_DAYS", 30, 0, 36_500)
        self._shipper = Shipper(self.folder, self.store)
        self._problem = ""

    def once(self) -> bool:
        """Ship what is there; return whether that was possible, and log where it is not, or is again."""
        try:
            count = self._shipper.ship()
            self.store.forget(self.days)
        except (StoreUnusable, OSError) as error:
            if not self._problem:
                log.error("nothing can be shipped: %s", error)
            self._problem = str(error)
            return False
        if self._problem:
            log.info("predictions are shipped again: %d", count)
        self._problem = ""
        return True


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Ship until told to end; with --once, once; with --beside, until the process ends that has started this one. Return the exit code."""
    if not set(arguments) <= {"--once", "--beside"}:
        print("usage: python -m inference.prediction_log.shipper [--once] [--beside]", file=sys.stderr)
        return 2
    try:
        work = Work(environ)
    except SettingsError as error:
        sys.exit(f"shipper: {error}")
    logging.config.dictConfig(LOGGING)
    if (held := spool.lock(work.folder)) is None:
        sys.exit(f"shipper: another one is at work on {work.folder}")
    try:
        if "--once" not in arguments:
            _until_told(work, os.getppid() if "--beside" in arguments else None)
        return 0 if work.once() else 1
    finally:
        os.close(held)


def _until_told(work: Work, parent: int | None) -> None:
    """Ship again and again, until a signal comes; beside a parent, until that is gone, which a Ctrl-C ends first."""
    # What predicts goes first.
    os.nice(NICENESS)
    pa.set_cpu_count(1)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN if parent else lambda *_: ended.set())
    log.info("predictions in %s are shipped to %s", work.folder, work.store.told)
    due = 0.0
    while not ended.wait(min(1.0, work.seconds)) and (parent is None or os.getppid() == parent):
        if (now := time.monotonic()) >= due:
            due = now + work.seconds
            work.once()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
