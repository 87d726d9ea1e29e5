"""How old the newest backup is, and the last check and the last restore.

Of a folder that is told by its files, without its password; of another machine by `backup told` in a container, which has it.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from doctor.records import FAIL, OK, WARN, NotLookedAt, Row

DAY_SECONDS = 86_400
# A schedule makes one a day at the least; without one, a week is when somebody should think of it.
MOST_DAYS, MOST_DAYS_ON_SCHEDULE = 7, 1.1
# What a backup notes that lacks the files of a model in use: its snapshot's id, or what that begins with, a line each.
LIST_OF_INCOMPLETE = "incomplete-snapshots"
# How backups are marked, and, with a dash before them, the notes below.
TAG, INCOMPLETE = "mlflow-stack", "mlflow-stack-incomplete"
# What `backup check` and a restore note: a time, and what came of it.
LAST_CHECK, LAST_RESTORE, DAMAGED = "last-check", "last-restore", "damaged"
MOST_DAYS_UNCHECKED, MOST_DAYS_UNTRIED = 35, 200
CHECK, LIST = "docker compose run --rm backup check", "docker compose run --rm backup list"
ELSEWHERE = "BACKUP_REPOSITORY=ANOTHER_PLACE in .env, then docker compose run --rm backup"
# A stack of these services has its database and its files elsewhere, and so does a restore of it.
_EXTERNAL = {"postgres": "compose.external-postgres.yaml", "minio": "compose.external-s3.yaml"}
DRILL_WITHOUT_DOCKER = "BACKUP_PASSWORD_FILE=FILE make restore, in another clone"


def drill(services: Mapping[str, Any], repository: str = "") -> str:
    """Return what brings the newest backup of a stack with these services back beside it, and removes that again once it is there.

    Other overlays publish ports, and a restore does without them.
    """
    external = [file for service, file in _EXTERNAL.items() if services.get(service, {}).get("scale") == 0]
    if is_elsewhere(repository):
        external.append("compose.remote-backup.yaml")
    beside = f"COMPOSE_PROJECT_NAME=drill COMPOSE_PROFILES= COMPOSE_FILE={':'.join(['compose.yaml', *external])}"
    up = f"{beside} BIND_ADDRESS=127.0.0.1 MLFLOW_PORT=5001 INFERENCE_PORT=1236 scripts/restore"
    return f"{up} && {beside} docker compose --profile '*' down --volumes"


@dataclass(frozen=True)
class Known:
    """What is known of a repository; times are in seconds since 1970."""

    place: str
    is_there: bool = False
    began: float = 0
    """when it was made; of another machine told only where a note is not there"""
    whole: Sequence[float] = ()
    """when backups were made that lack nothing"""
    has_incomplete: bool = False
    notes: Mapping[str, str] = field(default_factory=dict)
    """LAST_CHECK, LAST_RESTORE → a time and a word"""


def is_elsewhere(repository: str) -> bool:
    """Tell whether a repository is on another machine."""
    return repository.startswith(("s3:", "sftp:"))


def of_folder(repository: str) -> Known:
    """Return what the files of a folder tell, without its password; raise NotLookedAt where they cannot be read."""
    place = Path(repository)
    try:
        if not (place / "config").exists():
            return Known(repository)
        told = place / LIST_OF_INCOMPLETE
        incomplete = tuple(told.read_text().split()) if told.exists() else ()
        return Known(
            repository,
            True,
            (place / "config").stat().st_mtime,
            _times(place / "snapshots", incomplete),
            bool(incomplete),
            {name: (place / name).read_text() for name in (LAST_CHECK, LAST_RESTORE) if (place / name).exists()},
        )
    except OSError as error:
        raise NotLookedAt(f"{error.filename} cannot be read: {error.strerror}") from error


def told(repository: str, stack: str, said: str) -> Known:
    """Return what `backup told` says of a repository elsewhere, and of the backups of this stack in it.

    Raises NotLookedAt where the image says something else.
    """
    try:
        if (found := json.loads(said)) is None:
            return Known(repository)
        snapshots = [(one["time"], one["hostname"], one.get("tags") or []) for one in found["snapshots"]]
        notes = {
            name: f"{time} {word}"
            for time, _, tags in sorted(snapshots, key=lambda one: _seconds(one[0]))
            for name in (LAST_CHECK, LAST_RESTORE)
            if f"{TAG}-{name}" in tags
            for word in tags
            if word != f"{TAG}-{name}"
        }
        began = _seconds(found["began"]) if found["began"] else 0
        whole = [_seconds(time) for time, host, tags in snapshots if host == stack and TAG in tags]
        has_incomplete = any(host == stack and INCOMPLETE in tags for _, host, tags in snapshots)
        return Known(repository, True, began, whole, has_incomplete, notes)
    except (ValueError, LookupError, TypeError) as error:
        raise NotLookedAt(f"the image that looks at them is another one's: {said[-200:].strip()}") from error


def look_elsewhere(known: Callable[[], Known], command: str, drill: str, is_on_schedule: bool) -> Iterator[Row]:
    """Yield all rows of a repository on another machine, which is asked once."""
    found = known()
    yield from look(found, command, is_on_schedule)
    yield from look_at_check(found)
    yield from look_at_restore(found, drill)


def look(known: Known, command: str, is_on_schedule: bool = False) -> Iterator[Row]:
    """Yield the row of the newest backup; `command` makes one."""
    if not known.whole:
        none = "no whole one" if known.has_incomplete else "none"
        yield Row("backup", WARN, f"there is {none} in {known.place}", command)
        return
    days = (time.time() - max(known.whole)) / DAY_SECONDS
    age = f"in {known.place} is {days * 24:.0f} hours old" if days < 2 else f"is {days:.0f} days old"
    says = f"the newest whole one {age}"
    if is_on_schedule and days > MOST_DAYS_ON_SCHEDULE:
        mend = f"{command}; docker compose logs --tail 20 backup-schedule"
        yield Row("backup", FAIL, f"{says}, and a schedule should make one each day", mend)
    elif days > MOST_DAYS:
        yield Row("backup", WARN, says, command)
    else:
        yield Row("backup", OK, says)


def look_at_check(known: Known) -> Iterator[Row]:
    """Yield the row of the last time that all of a repository was read; none where there is none yet."""
    if not known.is_there:
        return
    days, word = _noted(known, LAST_CHECK)
    if word == DAMAGED:
        yield Row("backup check", FAIL, f"the last one, {_ago(days)}, found them damaged", ELSEWHERE)
    else:
        whole = f"all of {known.place} was read {_ago(days)}, and was whole"
        says = whole if word else f"nobody has read all of them yet, and they began {_ago(days)}"
        yield _judged("backup check", says, days, MOST_DAYS_UNCHECKED, CHECK)


def look_at_restore(known: Known, command: str) -> Iterator[Row]:
    """Yield the row of the last time that a backup was brought back, which `command` does; none where there is none yet."""
    if not known.is_there:
        return
    days, word = _noted(known, LAST_RESTORE)
    never = f"none of the backups was ever brought back, and they began {_ago(days)}"
    says = f"backup {word:.8} came back {_ago(days)}" if word else never
    yield _judged("restore", says, days, MOST_DAYS_UNTRIED, command)


def _judged(name: str, says: str, days: float, most: int, mend: str) -> Row:
    if days > most:
        return Row(name, WARN, f"{says}; it should be every {most} days", mend)
    return Row(name, OK, says)


def _noted(known: Known, name: str) -> tuple[float, str]:
    """Return how many days ago something was, and what came of it; where it never was, the repository's age, and nothing."""
    if name not in known.notes:
        return (time.time() - known.began) / DAY_SECONDS, ""
    try:
        when, word = known.notes[name].split()
        return (time.time() - _seconds(when)) / DAY_SECONDS, word
    except ValueError as error:
        raise NotLookedAt(f"{name} in {known.place} cannot be read: {error}") from error


def _ago(days: float) -> str:
    return f"{days * 24:.0f} hours ago" if days < 2 else f"{days:.0f} days ago"


def _seconds(when: str) -> float:
    return datetime.fromisoformat(when).timestamp()


def _times(snapshots: Path, incomplete: tuple[str, ...]) -> list[float]:
    """Return when whole snapshots were made, in seconds since 1970."""
    return [file.stat().st_mtime for file in snapshots.iterdir() if not file.name.startswith(incomplete)]
