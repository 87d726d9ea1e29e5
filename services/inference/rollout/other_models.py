"""What other models have left in the cache goes when no service has served them for a month.

    .MODEL.served     locked as long as a service lives that serves the model; "left" since it was found without one

After a change of MODEL_NAME the files of the model before are the way back to it, also without the registry; and services of
several models may share a cache.
"""

import fcntl
import logging
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote

from contract.documents import regular

log = logging.getLogger("inference")

KEPT_DAYS = 30
LEFT = "left"


class OtherModels:
    """The other models' folders in a cache, for the service of one model; where the cache cannot be written, they stay."""

    def __init__(self, cache: Path, model_name: str) -> None:
        self._cache, self._own = cache, quote(model_name, safe="")
        self._mark: int | None = None
        """a descriptor, locked until the process ends"""
        self.hold()

    def let_go(self) -> None:
        """Note which of them nobody serves, and remove those of which that was noted KEPT_DAYS ago."""
        self.hold()
        with suppress(OSError):
            for folder in self._cache.iterdir():
                if folder.name != self._own and (folder / "contents").is_dir():
                    with suppress(OSError):
                        _look_at(folder)

    def hold(self) -> None:
        """Note that the model is served, where that could not be done before: a disk was full, or somebody looked at the mark."""
        if self._mark is not None:
            return
        with suppress(OSError):
            self._cache.mkdir(parents=True, exist_ok=True)
            mark = regular(str(_mark_of(self._cache / self._own)), os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(mark, fcntl.LOCK_SH | fcntl.LOCK_NB)
                os.truncate(mark, 0)
            except OSError:  # who looks at it will not do so for long: the next time
                os.close(mark)
                raise
            self._mark = mark


def _mark_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.served")


def _look_at(folder: Path) -> None:
    """Raise BlockingIOError where a service serves the model."""
    with open(_mark_of(folder), "a+", opener=regular) as mark:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mark.seek(0)
        if mark.read(len(LEFT)) != LEFT:
            mark.write(LEFT)
        elif time.time() - _mark_of(folder).stat().st_mtime > KEPT_DAYS * 86_400:
            shutil.rmtree(folder)
            log.info(
                "the cache lets go of the model %s, which no service has served for %d days",
                unquote(folder.name),
                KEPT_DAYS,
            )
