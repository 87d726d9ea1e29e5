"""Postgres itself: whether it lets MLflow in, what it has left of connections and room, and what holds others or its log up."""

import re
from collections.abc import Iterator

from setup.database_copy import SPARE_BYTES

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
SIZE = "SELECT pg_database_size(current_database())"
# What is not written over, because whoever has the slot has not read it yet.
SLOTS = (
    "SELECT slot_name, active, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint FROM pg_replication_slots "
    "WHERE restart_lsn IS NOT NULL ORDER BY slot_name"
)
WARN_SHARE, FAIL_SHARE, OLD_SECONDS = 0.8, 0.95, 300
WARN_SLOT_BYTES, FAIL_SLOT_BYTES = 1e9, 5e9
PSQL = "docker compose exec postgres psql -U postgres -c"
UP, SET_UP, RESTART = "docker compose up -d --wait", "docker compose run --rm database", "docker compose restart mlflow"
# What Postgres says to whom it does not let in → what mends it.
MENDS = {
    "authentication failed|does not exist|not permitted": SET_UP,
    "too many clients|connection slots are reserved": RESTART,
}


def look(database: Database, free: int | None, make_room: str) -> Iterator[Row]:
    """Yield the rows of the server; where it does not let MLflow in, the one that says so.

    `free` is how many bytes its disk has left, None of an external one, and `make_room` what makes more.
    """
    try:
        ((used, most),) = database.rows(CONNECTIONS)
        ((size,),) = database.rows(SIZE)
        oldest, slots = database.rows(OLDEST), database.rows(SLOTS)
    except Unusable as error:
        mend = next((mend for words, mend in MENDS.items() if re.search(words, str(error))), UP)
        yield Row("postgres", FAIL, f"it does not let MLflow in: {error}", mend)
        return
    yield connections(used, most)
    yield room(size, free, make_room)
    if oldest and oldest[0][1] > OLD_SECONDS:
        pid, seconds, state = oldest[0]
        says = f"a transaction has been open for {seconds / 60:.0f} minutes ({state}), and may hold others up"
        yield Row("postgres", WARN, says, f'{PSQL} "SELECT pg_terminate_backend({pid})"')
    for name, is_active, held in slots:
        if held >= WARN_SLOT_BYTES:
            yield slot(name, is_active, held)


def room(size: int, free: int | None, make_room: str) -> Row:
    """Return the row of the database's size, beside the room that a copy of it takes, which a migration makes first."""
    says = f"the database has {size / 1e6:,.0f} MB"
    if free is not None and size + SPARE_BYTES > free:
        says += (
            f", its disk {free / 1e6:,.0f} MB free: too few for the copy that a newer MLflow's migration makes first"
        )
        return Row("postgres", WARN, says, make_room)
    return Row("postgres", OK, says)


def slot(name: str, is_active: bool, held: int) -> Row:
    """Return the row of a replication slot that keeps Postgres from writing over its log."""
    status = FAIL if held >= FAIL_SLOT_BYTES else WARN
    says = f"the replication slot {name!r} holds {held / 1e6:,.0f} MB of the write-ahead log, over {WARN_SLOT_BYTES / 1e6:,.0f}"
    if is_active:
        mend = f"see to who reads it: {PSQL} 'TABLE pg_stat_replication'"
        return Row("postgres", status, f"{says}: who reads it is slower than what is written", mend)
    mend = f"""{PSQL} "SELECT pg_drop_replication_slot('{name}')\""""
    return Row("postgres", status, f"{says}, and nobody reads it: it grows until the disk is full", mend)


def connections(used: int, most: int) -> Row:
    """Return the row of connections that are used, of those that there may be."""
    says = f"{used} of {most} connections are used"
    share = used / most
    if share >= WARN_SHARE:
        return Row("postgres", FAIL if share >= FAIL_SHARE else WARN, says, RESTART)
    return Row("postgres", OK, says)
