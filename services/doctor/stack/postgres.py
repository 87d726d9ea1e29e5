"""Postgres itself: whether it lets MLflow in, how many connections are left, and whether a transaction holds others up."""

import re
from collections.abc import Iterator

from doctor.records import FAIL, OK, WARN, Row
from doctor.registry.database import Database, Unusable

CONNECTIONS = (
    "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), "
    "current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
)
# Of MLflow's own user: those of others it is not shown.
OLDEST = (
    "SELECT pid, extract(epoch FROM now() - xact_start)::int, state FROM pg_stat_activity "
    "WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() AND datname = current_database() ORDER BY xact_start LIMIT 1"
)
WARN_SHARE, FAIL_SHARE, OLD_SECONDS = 0.8, 0.95, 300
UP, SET_UP, RESTART = "docker compose up -d --wait", "docker compose run --rm database", "docker compose restart mlflow"
# What Postgres says to whom it does not let in → what mends it.
MENDS = {
    "authentication failed|does not exist|not permitted": SET_UP,
    "too many clients|connection slots are reserved": RESTART,
}


def look(database: Database) -> Iterator[Row]:
    """Yield the rows of the server; where it does not let MLflow in, the one that says so."""
    try:
        ((used, most),) = database.rows(CONNECTIONS)
        oldest = database.rows(OLDEST)
    except Unusable as error:
        mend = next((mend for words, mend in MENDS.items() if re.search(words, str(error))), UP)
        yield Row("postgres", FAIL, f"it does not let MLflow in: {error}", mend)
        return
    yield connections(used, most)
    if oldest and oldest[0][1] > OLD_SECONDS:
        pid, seconds, state = oldest[0]
        says = f"a transaction has been open for {seconds / 60:.0f} minutes ({state}), and may hold others up"
        end = f'docker compose exec postgres psql -U postgres -c "SELECT pg_terminate_backend({pid})"'
        yield Row("postgres", WARN, says, end)


def connections(used: int, most: int) -> Row:
    """Return the row of connections that are used, of those that there may be."""
    says = f"{used} of {most} connections are used"
    share = used / most
    if share >= WARN_SHARE:
        return Row("postgres", FAIL if share >= FAIL_SHARE else WARN, says, RESTART)
    return Row("postgres", OK, says)
