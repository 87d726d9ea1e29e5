"""Which version is being tried, noted on disk: what a start finds there ended the service before it.

    MODEL/trials/ALIAS-HOST.json     the version, and how many times in a row that was so

The note is locked as long as the process lives that tries it: of several services on one cache, none takes the other's for one
that was left behind.
"""

import fcntl
import socket
from contextlib import suppress
from pathlib import Path
from typing import IO, Annotated
from urllib.parse import quote

import msgspec
from contract.documents import regular

from inference.model.version import ModelVersion
from inference.rollout.model_cache import NO_NOTE, read_note, written

# Beyond that many, the pause is no longer.
MOST_TIMES = 20


class _Trial(msgspec.Struct):
    version: ModelVersion
    times: Annotated[int, msgspec.Meta(ge=1)]


class Trials:
    """The note of one service; where it cannot be written, there is none."""

    def __init__(self, folder: Path, model_name: str, alias: str) -> None:
        name = quote(f"{alias}-{socket.gethostname()}", safe="")
        self._path = folder / quote(model_name, safe="") / "trials" / f"{name}.json"
        self._left_behind: tuple[ModelVersion, int] | None = None
        self._note: IO[str] | None = None

    def left_behind(self) -> tuple[ModelVersion, int] | None:
        """Return the version that was being tried when a service ended here, and how many times in a row it was."""
        with suppress(*NO_NOTE), open(self._path, opener=regular) as note:
            fcntl.flock(note, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = read_note(self._path, _Trial)
            self._left_behind = found.version, min(found.times, MOST_TIMES)
        return self._left_behind

    def begin(self, version: ModelVersion) -> None:
        """Note that a version is being tried from now on."""
        last = self._left_behind
        times = last[1] + 1 if last and last[0] == version else 1
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            note = open(self._path, "a", opener=regular)  # noqa: SIM115 - it stays open, and locked, until the end
            try:
                fcntl.flock(note, fcntl.LOCK_EX | fcntl.LOCK_NB)
                note.truncate(0)
                note.write(written(_Trial(version, times)))
                note.flush()
            except OSError:
                note.close()
                raise
            self._note, self._left_behind = note, (version, times)

    def end(self, survived: bool = True) -> None:
        """Note that it is over; a version that a process did not survive is kept in mind for the next start."""
        if self._note is None:
            return
        if survived:
            self._left_behind = None
            with suppress(OSError):
                self._path.unlink()
        self._note.close()
        self._note = None
