"""How old the newest backup is: told by the files of the repository, without its password."""

import time
from collections.abc import Iterator
from pathlib import Path

from doctor.records import FAIL, OK, WARN, NotLookedAt, Row

DAY_SECONDS = 86_400
# A schedule makes one a day at the least; without one, a week is when somebody should think of it.
MOST_DAYS, MOST_DAYS_ON_SCHEDULE = 7, 1.1
# What a backup notes that lacks the files of a model in use: its snapshot's id, or what that begins with, a line each.
LIST_OF_INCOMPLETE = "incomplete-snapshots"


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


def _times(repository: Path) -> list[float]:
    """Return when whole snapshots were made, in seconds since 1970."""
    noted = repository / LIST_OF_INCOMPLETE
    incomplete = tuple(noted.read_text().split()) if noted.exists() else ()
    return [
        file.stat().st_mtime for file in Path(repository, "snapshots").iterdir() if not file.name.startswith(incomplete)
    ]
