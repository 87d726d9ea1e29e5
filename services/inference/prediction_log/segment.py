"""A segment of the spool: a file that a worker has mapped into its memory, and appends predictions to.

    filled up to | shipped up to | layout | size | the version as JSON | record | record | … | zeros

One of labels has the model in the place of the version, and one of a challenger's answers both versions; each says so by its layout.

What "filled up to" says is moved when a record is whole. So whatever ends the worker, it says where the last whole one ends: what
a process has written into mapped memory stays when it is killed. The room is allocated beforehand: a full disk is an
error when the segment is made, and does not kill the process at a write. The worker holds a lock on the file as long as it
writes; the kernel lets go of it when the worker ends, however that happens.
"""

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from inference.errors import NewerLayout, SegmentUnusable
from inference.prediction_log.record import HEAD as RECORD

# The layouts: what the records are. Predictions had no client in a former release, whose records are read as they were.
LAYOUTS = FORMER_PREDICTIONS, LABELS, SHADOW, PREDICTIONS = 1, 2, 3, 4
# Filled up to and shipped up to, in bytes from the beginning, the layout, and the bytes of the version after it.
HEAD = struct.Struct("<QQII")
_MARK, _SHIPPED_AT = struct.Struct("<Q"), 8
SUFFIX = ".segment"
# What is longer is handed to the kernel: for each page of a mapped file that is written for the first time it interrupts the worker.
PAGE_BYTES = 4096
# What the kernel takes at a time (IOV_MAX).
MOST_PARTS = 1024
# Bytes of a record's size, which it begins with.
SIZE = struct.Struct("<I")


class Segment:
    """The segment that a worker writes."""

    def __init__(self, path: Path, size: int, version: bytes, layout: int = PREDICTIONS) -> None:
        """Make a segment of `size` bytes, which appears whole under its name; raise OSError where there is no room for it."""
        draft = path.with_name(f".{path.name}")
        self._size = size
        self._descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            _allocate(self._descriptor, size)
            self._at = HEAD.size + len(version)
            _write(self._descriptor, [HEAD.pack(self._at, self._at, layout, len(version)), version], self._at, 0)
            self._memory = mmap.mmap(self._descriptor, size)
            # Otherwise the kernel reads megabytes of zeros ahead, while clients wait, where the first of a page is written.
            self._memory.madvise(mmap.MADV_RANDOM)
            draft.rename(path)
        except BaseException:
            os.close(self._descriptor)
            with suppress(OSError):
                draft.unlink()
            raise

    def append(self, parts: Sequence[bytes | memoryview], size: int) -> bool:
        """Add records, which consist of these parts; return False where there is no room for them any more.

        Raises OSError where the disk fails.
        """
        end = self._at + size
        if end > self._size:
            return False
        if size <= PAGE_BYTES:
            self._memory[self._at : end] = b"".join(parts)
        else:
            _write(self._descriptor, parts, size, self._at)
        # One store: `pack_into` writes zeros first, which the shipper would see, or whoever comes after a worker that is killed then.
        self._memory[: _MARK.size] = _MARK.pack(end)
        self._at = end
        return True

    def close(self) -> None:
        """Write no more: it may be shipped to its end, and deleted."""
        self._memory.close()
        os.close(self._descriptor)


def write_whole(path: Path, version: bytes, layout: int, records: bytes) -> None:
    """Write a segment that nobody writes any more, which appears whole under its name; raise OSError."""
    draft, start = path.with_name(f".{path.name}"), HEAD.size + len(version)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(HEAD.pack(start + len(records), start, layout, len(version)) + version + records)
    draft.rename(path)


def _write(descriptor: int, parts: Sequence[bytes | memoryview], size: int, at: int) -> None:
    """Write parts one after the other; raise OSError where the disk takes them not."""
    if len(parts) > MOST_PARTS:
        parts = [b"".join(parts)]
    if (taken := os.pwritev(descriptor, parts, at)) != size:
        raise OSError(f"{taken} of {size} bytes are taken")


def _allocate(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:  # macOS
        os.write(descriptor, bytes(size))


class Piece(NamedTuple):
    """Records of a segment that stand one after the other."""

    start: int
    end: int
    layout: int
    version: bytes
    records: list[bytes]
    has_more: bool
    """whether there are others after them"""


def is_left(descriptor: int) -> bool:
    """Tell whether nobody writes this segment any more."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def filled_to(descriptor: int) -> int:
    """Return up to where a segment has records, in bytes from its beginning."""
    found: int = _MARK.unpack(os.pread(descriptor, _MARK.size, 0))[0]
    return found


def unshipped(descriptor: int, most: int, after: int | None = None) -> Piece:
    """Return the records after what was shipped, or after a place: as many as are in `most` bytes, or one that is larger.

    Raises SegmentUnusable where they are not what a worker has written, as a power cut may leave a segment; NewerLayout where a newer release has.
    """
    head = os.pread(descriptor, HEAD.size, 0)
    if len(head) < HEAD.size:
        raise SegmentUnusable("it ends in its head")
    filled, start, layout, size = HEAD.unpack(head)
    if layout > max(LAYOUTS):
        raise NewerLayout(f"its layout is {layout}, and this release reads 1 to {max(LAYOUTS)}: the newer one ships it")
    if layout not in LAYOUTS or not HEAD.size + size <= start <= filled <= os.fstat(descriptor).st_size:
        raise SegmentUnusable("its head does not fit what is in it")
    start = HEAD.size + size if after == 0 else after or start
    content = os.pread(descriptor, min(filled - start, most), start)
    if len(content) >= SIZE.size and (first := SIZE.unpack_from(content)[0]) > len(content):
        content = os.pread(descriptor, min(filled - start, first), start)
    records = list(_records(content, filled - start))
    end = start + sum(map(len, records))
    return Piece(start, end, layout, os.pread(descriptor, size, HEAD.size), records, end < filled)


def _records(content: bytes, left: int) -> Iterator[bytes]:
    """Yield the whole records in what has been read, of so many bytes, up to one that is none; raise where that is the first."""
    at = 0
    while at + SIZE.size <= len(content):
        (size,) = SIZE.unpack_from(content, at)
        if not RECORD.size <= size <= left - at:
            if at:
                return
            raise SegmentUnusable(f"a record in it has {size} bytes, where {left - at} are left")
        if at + size > len(content):
            return
        yield content[at : at + size]
        at += size


def note_shipped(descriptor: int, end: int) -> None:
    """Note in a segment up to where it is shipped."""
    os.pwrite(descriptor, _MARK.pack(end), _SHIPPED_AT)
