"""How far a challenger has been asked for what was logged, on disk: whatever ends who asks, the next one goes on there.

SPOOL/shadow/state.json         this
SPOOL/shadow/NAME.segment       a link to a segment of the spool, which stays until the challenger was asked for all of it
SPOOL/shadow/NAME.answers       what it answered to it, as far as that is in one file of the store
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec

from inference.model.version import ModelVersion
from inference.prediction_log import segment
from inference.prediction_log import spool as spools
from inference.prediction_log.segment import SUFFIX
from inference.rollout.model_cache import NO_NOTE, read_note, write_note

NOTE, ANSWERS = "state.json", ".answers"


class Place(msgspec.Struct):
    """Up to where a challenger was asked for what is in a segment, in bytes from its beginning."""

    start: int = 0
    """where that begins which is answered in one file"""
    end: int = 0
    hour: int = 0
    """that of the file's first answer, since 1970"""
    answers: int = 0
    """bytes of what it answered from `start` on"""
    handed_on: int = 0
    """how many of them are with the shipper"""
    is_done: bool = False


class Figures(msgspec.Struct):
    """How many rows it was asked for and said the same as Production, or not; on how many it failed, and how many it was not asked for."""

    alike: int = 0
    unlike: int = 0
    failed: int = 0
    skipped: int = 0


class Tried(msgspec.Struct):
    """What it is being asked for: if that ends the process, it is known to whom it was due."""

    segment: str
    end: int
    is_fatal: bool = False
    """whether the process was seen to end over it, or to be silent: one that is killed with the service has done nothing"""


class State(msgspec.Struct):
    """All that is known of one challenger."""

    challenger: str
    version: str
    begun_ns: int
    """since when, ns since 1970: it is asked for nothing that was answered before"""
    problem: str = ""
    figures: Figures = msgspec.field(default_factory=Figures)
    places: dict[str, Place] = msgspec.field(default_factory=dict)
    tried: Tried | None = None
    careful: dict[str, int] = msgspec.field(default_factory=dict)
    """up to where it is asked for one request at a time, as the process has ended over one of them"""
    count: int = 0
    """how often something was handed on to the shipper"""


def folder_in(spool: Path) -> Path:
    """Return the folder of a spool in which all of this is."""
    return spool / "shadow"


def identity_of(version: ModelVersion) -> str:
    """Return what tells a challenger from each other one."""
    return f"{version.name} {version.version} {version.created_ms} {version.model_id}"


def read(folder: Path, version: ModelVersion) -> State | None:
    """Return what is known of a challenger, None where nothing is."""
    try:
        found = read_note(folder / NOTE, State)
    except NO_NOTE:
        return None
    return found if found.challenger == identity_of(version) else None


def begun(folder: Path, version: ModelVersion, since: str) -> State:
    """Return what is known of a challenger, which is that it began where nothing is, and let go of another one; raise OSError.

    `since` is an ISO 8601 moment.
    """
    if (found := read(folder, version)) is None:
        clear(folder)
        moment = datetime.fromisoformat(since).timestamp()
        found = State(identity_of(version), version.version, int(moment * 1e9))
        write(folder, found)
    return found


def write(folder: Path, state: State) -> None:
    """Note it; raise OSError."""
    write_note(folder / NOTE, state)


def take_in(spool: Path, places: Mapping[str, Place]) -> None:
    """Link the segments of predictions that are not done, so that they are there until a challenger was asked for all that is in them."""
    for path in spools.segments(spool):
        is_done = path.name in places and places[path.name].is_done
        with suppress(FileNotFoundError, FileExistsError):  # shipped meanwhile, or here already
            if not is_done and _layout_of(path) in (segment.FORMER_PREDICTIONS, segment.PREDICTIONS):
                os.link(path, folder_in(spool) / path.name)


def _layout_of(path: Path) -> int:
    with open(path, "rb") as file:
        head = file.read(segment.HEAD.size)
    return int(segment.HEAD.unpack(head)[2]) if len(head) == segment.HEAD.size else 0


def clear(folder: Path) -> None:
    """Let go of what a challenger has not been asked for; how it answered stays known, and where it goes on if it challenges again."""
    with suppress(*NO_NOTE):
        state = read_note(folder / NOTE, State)
        for place in state.places.values():
            place.start, place.answers, place.handed_on = place.end, 0, 0
        write(folder, state)
    for path in [*folder.glob(f"*{SUFFIX}"), *folder.glob(f"*{ANSWERS}")]:
        with suppress(OSError):
            path.unlink()
