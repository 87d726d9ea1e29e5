"""How old the newest backup is, and the last check and the last restore: told by files of the repository, without its password."""

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from doctor.records import FAIL, OK, WARN, NotLookedAt, Row

DAY_SECONDS = 86_400
# A schedule makes one a day at the least; without one, a week is when somebody should think of it.
MOST_DAYS, MOST_DAYS_ON_SCHEDULE = 7, 1.1
# What a backup notes that lacks the files of a model in use: its snapshot's id, or what that begins with, a line each.
LIST_OF_INCOMPLETE = "incomplete-snapshots"
# What `backup check` and a restore note: a time, and what came of it.
LAST_CHECK, LAST_RESTORE, DAMAGED = "last-check", "last-restore", "damaged"
MOST_DAYS_UNCHECKED, MOST_DAYS_UNTRIED = 35, 200
CHECK = "docker compose run --rm backup check"
ELSEWHERE = "BACKUP_REPOSITORY=ANOTHER_PLACE in .env, then docker compose run --rm backup"
# A stack of these services has its database and its files elsewhere, and so does a restore of it.
_EXTERNAL = {"postgres": "compose.external-postgres.yaml", "minio": "compose.external-s3.yaml"}
DRILL_WITHOUT_DOCKER = "BACKUP_PASSWORD_FILE=FILE make restore, in another clone"


def drill(services: Mapping[str, Any]) -> str:
    """Return what brings the newest backup of a stack with these services back beside it, and removes that again once it is there.

    Other overlays publish ports, and a restore does without them.
    """
    external = [file for service, file in _EXTERNAL.items() if services.get(service, {}).get("scale") == 0]
    beside = f"COMPOSE_PROJECT_NAME=drill COMPOSE_PROFILES= COMPOSE_FILE={':'.join(['compose.yaml', *external])}"
    up = f"{beside} BIND_ADDRESS=127.0.0.1 MLFLOW_PORT=5001 INFERENCE_PORT=1236 scripts/restore"
    return f"{up} && {beside} docker compose --profile '*' down --volumes"


def look(repository: str, command: str, is_on_schedule: bool = False) -> Iterator[Row]:
    """Yield the row of a repository; `command` makes a backup."""
    if repository.startswith(("s3:", "sftp:")):
        raise NotLookedAt(f"backups are in {repository}; `docker compose run --rm backup list` lists them")
    try:
        times = _times(Path(repository)) if Path(repository, "config").exists() else []
    except OSError as error:
        raise NotLookedAt(f"{error.filename} cannot be read: {error.strerror}") from error
    if not times:
        none = "no whole one" if Path(repository, LIST_OF_INCOMPLETE).exists() else "none"
        yield Row("backup", WARN, f"there is {none} in {repository}", command)
        return
    days = (time.time() - max(times)) / DAY_SECONDS
    age = f"in {repository} is {days * 24:.0f} hours old" if days < 2 else f"is {days:.0f} days old"
    says = f"the newest whole one {age}"
    if is_on_schedule and days > MOST_DAYS_ON_SCHEDULE:
        mend = f"{command}; docker compose logs --tail 20 backup-schedule"
        yield Row("backup", FAIL, f"{says}, and a schedule should make one each day", mend)
    elif days > MOST_DAYS:
        yield Row("backup", WARN, says, command)
    else:
        yield Row("backup", OK, says)


def look_at_check(repository: str) -> Iterator[Row]:
    """Yield the row of the last time that all of the repository was read; none where there is no backup here."""
    if not Path(repository, "config").exists():
        return
    days, word = _noted(repository, LAST_CHECK)
    if word == DAMAGED:
        yield Row("backup check", FAIL, f"the last one, {_ago(days)}, found them damaged", ELSEWHERE)
    else:
        whole = f"all of {repository} was read {_ago(days)}, and was whole"
        says = whole if word else f"nobody has read all of them yet, and they began {_ago(days)}"
        yield _judged("backup check", says, days, MOST_DAYS_UNCHECKED, CHECK)


def look_at_restore(repository: str, command: str) -> Iterator[Row]:
    """Yield the row of the last time that a backup of the repository was brought back, which `command` does; none where there is none here."""
    if not Path(repository, "config").exists():
        return
    days, word = _noted(repository, LAST_RESTORE)
    never = f"none of the backups was ever brought back, and they began {_ago(days)}"
    says = f"backup {word:.8} came back {_ago(days)}" if word else never
    yield _judged("restore", says, days, MOST_DAYS_UNTRIED, command)


def _judged(name: str, says: str, days: float, most: int, mend: str) -> Row:
    if days > most:
        return Row(name, WARN, f"{says}; it should be every {most} days", mend)
    return Row(name, OK, says)


def _noted(repository: str, name: str) -> tuple[float, str]:
    """Return how many days ago something was, and what came of it; where it never was, the repository's age, and nothing."""
    try:
        if not Path(repository, name).exists():
            return (time.time() - Path(repository, "config").stat().st_mtime) / DAY_SECONDS, ""
        words = Path(repository, name).read_text().split()
        age = time.time() - datetime.fromisoformat(words[0]).timestamp()
        return age / DAY_SECONDS, words[1]
    except (OSError, ValueError, LookupError) as error:
        raise NotLookedAt(f"{Path(repository, name)} cannot be read: {error}") from error


def _ago(days: float) -> str:
    return f"{days * 24:.0f} hours ago" if days < 2 else f"{days:.0f} days ago"


def _times(repository: Path) -> list[float]:
    """Return when whole snapshots were made, in seconds since 1970."""
    noted = repository / LIST_OF_INCOMPLETE
    incomplete = tuple(noted.read_text().split()) if noted.exists() else ()
    return [
        file.stat().st_mtime for file in Path(repository, "snapshots").iterdir() if not file.name.startswith(incomplete)
    ]
