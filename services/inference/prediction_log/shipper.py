"""The shipper: `python -m inference.prediction_log.shipper` brings what is in the spool to where it is kept, as Parquet.

    predictions/model=NAME/date=YYYY-MM-DD/hour=HH/WORKER-SEGMENT-OFFSET.parquet
    shadow/model=NAME/date=YYYY-MM-DD/hour=HH/WORKER-SEGMENT-OFFSET-vCHALLENGER-OFFSET.parquet
    labels/model=NAME/date=YYYY-MM-DD/WORKER-SEGMENT-OFFSET.parquet

A file's name follows from where its records begin, and where it begins is noted when it is there for good. So whatever
ends the shipper, the next one writes the same file again, with what came after it: each prediction is there once. As long as a worker
writes on, its last file is written again and again and grows.
"""

import logging
import logging.config
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import quote

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from contract import settings as in_force
from contract.settings import Reader

from inference.errors import InferenceError, NewerLayout, SegmentUnusable, SettingsError, StoreUnusable
from inference.prediction_log import segment, spool
from inference.prediction_log.record import Record, Shadowed, Version, time_ns_of, unpacked
from inference.prediction_log.store import Store
from inference.prediction_log.table import joined, label_table, shadow_table, table
from inference.settings import Settings
from inference.telemetry.log import LOGGING

# Of one file's records, about.
FILE_BYTES = 8 * 1024 * 1024
HOUR_NS = 3600 * 10**9
# How much it gives way to those who answer.
NICENESS = 10

Make = Callable[[Sequence[Record]], pa.Table]
"""what makes a table of records"""

log = logging.getLogger("inference")


class Shipper:
    """Ships what is in a spool."""

    def __init__(self, folder: Path, store: Store, file_bytes: int = FILE_BYTES) -> None:
        self._folder, self._store, self._file_bytes = folder, store, file_bytes
        self._sent: dict[Path, int] = {}
        """up to where the last file of a segment that is still written reaches"""
        self._skipped: dict[Path, dict[int, int]] = {}
        """how many records could not be read, by segment and where their file begins: they are told once"""

    def ship(self) -> int:
        """Ship what is new, and delete segments that are done; return how many predictions were.

        Raises StoreUnusable, and SegmentUnusable where there is one that has to be looked at again.
        """
        spool.forget_drafts(self._folder)
        count, problem = 0, ""
        for path in spool.segments(self._folder):
            try:
                count += self._ship(path)
            except StoreUnusable:
                raise
            except Exception as error:  # whatever is wrong with one, the others are shipped
                problem = problem or f"{path.name} cannot be shipped: {told(error)}"
        if problem:
            raise SegmentUnusable(problem)
        return count

    def _ship(self, path: Path) -> int:
        descriptor, count = os.open(path, os.O_RDWR | os.O_CLOEXEC), 0
        is_left = segment.is_left(descriptor)  # asked first: then nothing comes any more
        try:
            while (piece := segment.unshipped(descriptor, self._file_bytes)).records:
                hours = {hour_of(record) for record in piece.records}
                count += self._send(path, piece)
                if not (is_left or piece.has_more or len(hours) > 1):
                    return count
                segment.note_shipped(descriptor, piece.end)
            if is_left:
                self._forget(path)
            return count
        except (StoreUnusable, NewerLayout, OSError, MemoryError):
            raise  # it is no fault of the segment's
        except Exception as error:
            if not is_left:
                raise  # it is looked at again
            self._skipped.pop(path, None)
            self._sent.pop(path, None)
            kept = spool.condemn(path)
            log.error("%s cannot be shipped: %s; it is left as %s", path.name, told(error), kept.name)
            return count
        finally:
            os.close(descriptor)

    def _forget(self, path: Path) -> None:
        """Delete a segment that is shipped, or leave it for whoever wants to look at it where not all of it could be."""
        if path in self._skipped:
            log.error("what is left of %s is in %s", path.name, spool.condemn(path).name)
        else:
            path.unlink()
        self._sent.pop(path, None)
        self._skipped.pop(path, None)

    def _send(self, path: Path, piece: segment.Piece) -> int:
        """Put the records of a piece where they are kept; return how many of them were not there yet."""
        if self._sent.get(path) == piece.end:
            return 0
        files, skipped = files_of(piece)
        for folder, content in files.items():
            # After a point in its name is how often a segment of a challenger's answers was written anew, each time with more of them.
            self._store.put(f"{folder}/{path.stem.partition('.')[0]}-{piece.start:08}.parquet", content)
        self._sent[path] = piece.end
        if skipped:
            self._tell(path, piece.start, skipped)
        return len(piece.records) - skipped.total()

    def _tell(self, path: Path, start: int, skipped: Counter[str]) -> None:
        told_of = self._skipped.setdefault(path, {})
        if skipped.total() > told_of.get(start, 0):
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(skipped.items()))
            log.error("predictions in %s that cannot be read are left out: %s", path.name, kinds)
        told_of[start] = skipped.total()


def told(error: Exception) -> str:
    """Return what an error says, of one that may have clients' values in it its kind alone."""
    return str(error) if isinstance(error, (InferenceError, OSError)) else type(error).__name__


def hour_of(record: bytes) -> int:
    """Return the hour since 1970 of a packed prediction."""
    return time_ns_of(record) // HOUR_NS


def files_of(piece: segment.Piece) -> tuple[dict[str, pa.Buffer], Counter[str]]:
    """Return the records of a piece as Parquet, by the folder that they belong to, and how many are none, by the kind of error.

    Raises SegmentUnusable where nothing says of which version they are.
    """
    try:
        model, make = _made_by(piece)
    except msgspec.MsgspecError as error:
        raise SegmentUnusable(f"its version cannot be read: {type(error).__name__}") from error
    by_folder: dict[str, list[bytes]] = {}
    skipped: Counter[str] = Counter()
    for record in piece.records:
        by_folder.setdefault(folder_of(piece.layout, model, hour_of(record)), []).append(record)
    files = {}
    for folder, found in by_folder.items():
        if tables := tables_of(make, found, skipped):
            files[folder] = parquet(joined(tables))
    return files, skipped


def _made_by(piece: segment.Piece) -> tuple[str, Make]:
    """Return of which model a piece's records are, and what makes a table of them."""
    if piece.layout == segment.LABELS:
        return msgspec.json.decode(piece.version, type=str), label_table
    if piece.layout == segment.SHADOW:
        between = msgspec.json.decode(piece.version, type=Shadowed)
        return between.model, partial(shadow_table, between)
    version = msgspec.json.decode(piece.version, type=Version)
    return version.model, partial(table, version)


def tables_of(make: Make, records: list[bytes], skipped: Counter[str]) -> list[pa.Table]:
    """Return records as tables, one where all of them are readable; count what is not, by the kind of error, never by what it says."""
    try:
        return [make([unpacked(record) for record in records])]
    except Exception as error:  # whatever a broken record brings about, it alone is left out
        if len(records) == 1:
            skipped[type(error).__name__] += 1
            return []
    half = len(records) // 2
    return tables_of(make, records[:half], skipped) + tables_of(make, records[half:], skipped)


def folder_of(layout: int, model: str, hour: int) -> str:
    """Return the folder of what came of a model in an hour since 1970: labels have one for each day, all else for each hour."""
    began = datetime.fromtimestamp(hour * 3600, UTC)
    day = f"model={quote(model, safe='')}/date={began:%Y-%m-%d}"
    if layout == segment.LABELS:
        return f"labels/{day}"
    return f"{'shadow' if layout == segment.SHADOW else 'predictions'}/{day}/hour={began:%H}"


def parquet(content: pa.Table) -> pa.Buffer:
    """Return a table as a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(content, sink, compression="zstd", coerce_timestamps="us")
    return sink.getvalue()


@dataclass(frozen=True)
class Shipping:
    """What the shipper is told to do; .env.example lists the same variables with the reasons."""

    folder: Path
    """PREDICTION_LOG_DIR: the spool, in which predictions wait until they are shipped."""
    store: Store
    """PREDICTION_LOG_STORE: where they are kept."""
    seconds: float = 10.0
    """PREDICTION_LOG_SECONDS: how often they are shipped, from 0.1 to 3600."""
    days: int = 30
    """PREDICTION_LOG_DAYS: how long they stay in a folder, up to 36500; 0 is for ever."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Shipping":
        """Read the settings; raise SettingsError naming the variable, its value and what is expected."""
        read = Reader(environ, SettingsError)
        return cls(
            folder=Settings.from_env(environ).prediction_log_dir,
            store=Store.of(environ),
            seconds=read.number("PREDICTION_LOG_SECONDS", cls.seconds, 0.1, 3600),
            days=read.number("PREDICTION_LOG_DAYS", cls.days, 0, 36_500),
        )


class Work:
    """Ships what is there, as often as it is told to, and says where that fails."""

    def __init__(self, settings: Shipping) -> None:
        self.settings = settings
        self._shipper = Shipper(settings.folder, settings.store)
        self._problem = ""

    def once(self) -> bool:
        """Ship what is there; return whether that was possible, and log where it is not, or is again."""
        try:
            count = self._shipper.ship()
            self.settings.store.forget(self.settings.days)
        except Exception as error:  # whatever it is, the next round may be better
            if not self._problem:
                what = "not everything" if isinstance(error, SegmentUnusable) else "nothing"
                log.error("%s can be shipped: %s", what, told(error))
            self._problem = told(error)
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
        settings = Shipping.from_env(environ)
    except SettingsError as error:
        sys.exit(f"shipper: {error}")
    logging.config.dictConfig(LOGGING)
    # Of the shipper, as beside a service that is started without Docker both write into one log.
    log.info("Settings of the shipper", extra={"fields": {"settings": in_force.told(settings)}})
    if (held := spool.lock(settings.folder)) is None:
        sys.exit(f"shipper: another one is at work on {settings.folder}")
    work = Work(settings)
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
    due = 0.0
    while not ended.wait(min(1.0, work.settings.seconds)) and (parent is None or os.getppid() == parent):
        if (now := time.monotonic()) >= due:
            due = now + work.settings.seconds
            work.once()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
