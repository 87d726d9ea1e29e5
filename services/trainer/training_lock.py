"""A lock on the data folder: a scheduled training is alone, and others may run beside each other.

It is the kernel's lock on the folder itself. So nothing is written, every container that mounts the folder sees it, and it ends with
whoever holds it, `kill -9` included. A file system that has no such locks has none here either, and neither has a folder that
cannot be opened, of which the training tells.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Busy(Exception):
    """Somebody trains on this data folder."""


@contextmanager
def beside_others(folder: Path, tell: Callable[[str], object]) -> Iterator[None]:
    """Hold the lock for a training that somebody starts; wait for the end of a scheduled one, and `tell` so."""
    with _opened(folder) as handle:
        if handle is not None and not _locked(handle, fcntl.LOCK_SH):
            tell("a scheduled training is running; waiting for its end")
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield


@contextmanager
def alone(folder: Path) -> Iterator[list[int]]:
    """Hold the lock for a scheduled training; yield the descriptors that its process has to inherit. Raises Busy."""
    with _opened(folder) as handle:
        if handle is not None and not _locked(handle, fcntl.LOCK_EX):
            raise Busy("another training is running on the same data folder")
        yield [] if handle is None else [handle]


@contextmanager
def _opened(folder: Path) -> Iterator[int | None]:
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        handle = None
    try:
        yield handle
    finally:
        if handle is not None:
            os.close(handle)


def _locked(handle: int, kind: int) -> bool:
    """Tell whether nobody keeps us from going on."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks here, as on some network file systems
        pass
    return True
