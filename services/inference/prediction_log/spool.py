"""The spool: the folder in which workers leave segments until they are shipped, and how much may be in it."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from inference.errors import SpoolFull
from inference.prediction_log.segment import HEAD, PREDICTIONS, SUFFIX, Segment

# Of one segment: a few seconds' worth of a busy worker.
SEGMENT_BYTES = 16 * 1024 * 1024
# After this a draft is one that its worker did not live to finish.
DRAFT_SECONDS = 60
LOCK = "shipper.lock"
# What the shipper cannot ship, or not all of, and how many of them are left for whoever wants to look.
UNUSABLE, MOST_UNUSABLE = ".unusable", 4


class Spool:
    """The folder, as those see it who write segments."""

    def __init__(
        self, folder: Path, most_bytes: int, segment_bytes: int = SEGMENT_BYTES, layout: int = PREDICTIONS
    ) -> None:
        self.folder = folder
        self._most_bytes, self._segment_bytes, self._layout = most_bytes, segment_bytes, layout
        # Not the process's id: in a container that is started again the same ones come again.
        self._writer, self._count = os.urandom(8).hex(), 0

    def segment(self, version: bytes, record_bytes: int) -> Segment:
        """Return a new segment with room for such a record; raise SpoolFull, or OSError where nothing can be written."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        size = max(self._segment_bytes, HEAD.size + len(version) + record_bytes)
        if (used := used_of(self.folder)) + size > self._most_bytes:
            raise SpoolFull(f"{self.folder} has {used >> 20} MB in it, of {self._most_bytes >> 20}")
        self._count += 1
        return Segment(self.folder / f"{self._writer}-{self._count:06}{SUFFIX}", size, version, self._layout)


def used_of(folder: Path) -> int:
    """Return the bytes that wait to be shipped."""
    sizes = 0
    for entry in os.scandir(folder):
        if entry.name.endswith(UNUSABLE):
            continue
        with suppress(FileNotFoundError):  # shipped meanwhile
            sizes += entry.stat().st_size
    return sizes


def segments(folder: Path) -> Iterator[Path]:
    """Yield the segments of a spool, those of one worker in their order."""
    yield from sorted(folder.glob(f"[!.]*{SUFFIX}")) if folder.is_dir() else ()


def forget_drafts(folder: Path) -> None:
    """Remove what workers were about to make segments of when they ended."""
    for draft in folder.glob(f".*{SUFFIX}"):
        with suppress(FileNotFoundError):
            if time.time() - draft.stat().st_mtime > DRAFT_SECONDS:
                draft.unlink()


def condemn(path: Path) -> Path:
    """Take a segment out of those that are to be shipped, and delete the oldest of such; return where it is then."""
    found = path.rename(path.with_suffix(UNUSABLE))
    for old in sorted(path.parent.glob(f"*{UNUSABLE}"), key=lambda each: each.stat().st_ctime_ns)[:-MOST_UNUSABLE]:
        old.unlink()
    return found


def lock(folder: Path, name: str = LOCK) -> int | None:
    """Return a lock that one process at a time holds, as long as it lives; None where another one holds it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
