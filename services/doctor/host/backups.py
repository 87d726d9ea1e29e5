"""How old the newest backup is: told by the files of the repository, without its password."""

import time
from collections.abc import Iterator
from pathlib import Path

from doctor.records import FAIL, OK, WARN, NotLookedAt, Row

DAY_SECONDS = 86_400
# A schedule makes one a day at the least; without one, a week is when somebody should think of it.
MOST_DAYS, MOST_DAYS_ON_SCHEDULE = 7, 1.1


def look(repository: str, command: str, is_on_schedule: bool = False) -> Iterator[Row]:
    """Yield the row of a repository; `command` makes a backup."""
    if repository.startswith(("s3:", "sftp:")):
        raise NotLookedAt(f"backups are in {repository}; `docker compose run --rm backup list` lists them")
    snapshots = Path(repository, "snapshots")
    try:
        times = [file.stat().st_mtime for file in snapshots.iterdir()] if Path(repository, "config").exists() else []
    except OSError as error:
        raise NotLookedAt(f"{snapshots} cannot be read: {error.strerror}") from error
    if not times:
        yield Row("backup", WARN, f"there is none in {repository}", command)
        return
    days = (time.time() - max(times)) / DAY_SECONDS
    says = (
        f"the newest in {repository} is {days * 24:.0f} hours old" if days < 2 else f"the newest is {days:.0f} days old"
    )
    if is_on_schedule and days > MOST_DAYS_ON_SCHEDULE:
        mend = f"{command}; docker compose logs --tail 20 backup-schedule"
        yield Row("backup", FAIL, f"{says}, and a schedule should make one each day", mend)
    elif days > MOST_DAYS:
        yield Row("backup", WARN, says, command)
    else:
        yield Row("backup", OK, says)
