"""When the disks will be full: told from when what lies there now was written, since the doctor keeps nothing of its own.

The files of the bucket have their dates. The database has none for its bytes: it is taken to have grown as the number of runs has.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from doctor.records import FAIL, OK, WARN, NotLookedAt, Row
from doctor.registry.database import Database
from doctor.stack.volumes import makes_room

RUNS = "SELECT count(*), coalesce(sum(CASE WHEN start_time > ? THEN 1 ELSE 0 END), 0), min(start_time) FROM runs"
DAY_SECONDS = 86_400
# What is looked back at, and what there has to be of it before anything is foretold.
MOST_DAYS, LEAST_DAYS = 30, 7
WARN_DAYS, FAIL_DAYS = 30, 3
# MinIO's own notes, which are written anew all the time.
NOTES = ".minio.sys"


@dataclass(frozen=True)
class Growth:
    """What was written to a place in so many days."""

    name: str
    path: Path
    size: float
    """bytes that are there still"""
    days: float

    @property
    def a_day(self) -> float:
        return self.size / self.days


def of_files(name: str, folder: Path, seconds: float) -> Growth:
    """Return what the files of a folder have added; raise NotLookedAt where `seconds` are not enough to see them all."""
    now, ends = time.time(), time.monotonic() + seconds
    oldest, size, count = now, 0, 0
    for path, folders, files in os.walk(folder):
        if NOTES in folders:
            folders.remove(NOTES)
        for file in files:
            try:
                found = os.lstat(f"{path}/{file}")
            except FileNotFoundError:
                continue  # deleted meanwhile
            oldest, count = min(oldest, found.st_mtime), count + 1
            if found.st_mtime > now - MOST_DAYS * DAY_SECONDS:
                size += found.st_blocks * 512
        if time.monotonic() > ends:
            raise NotLookedAt(
                f"{name} has more files than are counted in {seconds:.1f} s ({count:,} of them); --patience SECONDS waits longer"
            )
    return Growth(name, folder, size, _days(now - oldest))


def of_database(name: str, folder: Path, database: Database, size: int) -> Growth:
    """Return the share of the database's bytes that is as large as that of the runs which began lately among all."""
    now = time.time()
    ((runs, lately, first),) = database.rows(RUNS, round((now - MOST_DAYS * DAY_SECONDS) * 1000))
    return Growth(name, folder, size * int(lately) / max(runs, 1), _days(now - first / 1000 if first else 0))


def _days(seconds: float) -> float:
    return min(max(seconds, 1) / DAY_SECONDS, MOST_DAYS)


def look(grown: Iterable[Callable[[], Growth]], make_room: str | None = None) -> Iterator[Row]:
    """Yield a row for each disk: when it is full, if what grows there goes on so; `make_room` is what mends all of them.

    What cannot be looked at has a row that says so, and costs no other its forecast.
    """
    disks: dict[int, list[Growth]] = {}
    for one in grown:
        try:
            growth = one()
        except NotLookedAt as error:
            yield Row("growth", WARN, f"not looked at: {error}")
            continue
        disks.setdefault(growth.path.stat().st_dev, []).append(growth)
    for found in disks.values():
        disk = os.statvfs(found[0].path)
        room = make_room or makes_room({growth.name for growth in found})
        yield judged(found, disk.f_bavail * disk.f_frsize, room)


def judged(grown: list[Growth], free: float, make_room: str) -> Row:
    """Return the row of what grows on a disk with so many bytes free."""
    known = [growth for growth in grown if growth.days >= LEAST_DAYS]
    if not known:
        return Row("growth", OK, f"too young for a forecast, which takes {LEAST_DAYS} days")
    added = ", ".join(f"{growth.name} got {_size(growth.size)} in {growth.days:.0f} days" for growth in known)
    days = free / max(sum(growth.a_day for growth in known), 1)
    when = f"in {days:,.0f} days" if days < 3650 else "in more than ten years"
    says = f"{added}: if that goes on, the {_size(free)} that are free are full {when}"
    if days < WARN_DAYS:
        return Row("growth", FAIL if days < FAIL_DAYS else WARN, says, make_room)
    return Row("growth", OK, says)


def _size(size: float) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
