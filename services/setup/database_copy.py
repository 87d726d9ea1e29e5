"""A copy of MLflow's database from before it is migrated, and the way back to it.

A migration cannot be undone, and an older MLflow does not work on what it leaves. So before the newer one migrates, the job
copies the database inside Postgres, which takes its size in room and no tool. Which revisions MLflow's schema had is in
mlflow-revisions.txt, oldest first: this image has no MLflow to ask.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from psycopg2 import extensions, sql

from setup.errors import SetupError

REVISIONS = tuple((Path(__file__).parent / "mlflow-revisions.txt").read_text().split())
COPY, PUT_ASIDE = "mlflow_before_migration", "mlflow_after_migration"
# The volume of Postgres, of which this job only asks how much room there is.
DATA = Path("/postgres-data")
# A migration itself needs room too.
SPARE_BYTES = 256 * 1024**2


def keep(cursor: extensions.cursor, database: str, owner: str, revision: str | None) -> Iterator[str]:
    """Copy the database where it is about to be migrated; yield what was done.

    `revision` is what the database says it is at. One that is not known here is a newer MLflow's, or broken: the job `migrate`
    refuses it, and it stays as it is. A copy from before a migration that has begun, and did not come to its end, is the right one.
    Raises SetupError where there is no room, or somebody works in the database.
    """
    if revision not in REVISIONS[:-1]:
        return
    cursor.execute("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", (COPY,))
    found = cursor.fetchone()
    copied_at, _, copied_for = str(found[0]).partition(" ") if found else ("", "", "")
    if copied_for == REVISIONS[-1] and copied_at != revision:
        yield f"the copy from before the migration from {copied_at} to {REVISIONS[-1]} is there"
        return
    _check_room(cursor, database, found is not None)
    cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(COPY)))
    names = {"copy": sql.Identifier(COPY), "database": sql.Identifier(database), "owner": sql.Identifier(owner)}
    statement = sql.SQL("CREATE DATABASE {copy} OWNER {owner} TEMPLATE {database} STRATEGY file_copy")
    cursor.execute(statement.format(**names))
    # Rights are no part of a template.
    cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {copy} FROM PUBLIC").format(**names))
    # At what it was copied, and before what, noted when it is whole.
    noted = sql.Literal(f"{revision} {REVISIONS[-1]}")
    cursor.execute(sql.SQL("COMMENT ON DATABASE {copy} IS {noted}").format(**names, noted=noted))
    yield (
        f"MLflow's database is going to be migrated from {revision} to {REVISIONS[-1]}; a copy from before is kept "
        f"({COPY}), and `docker compose run --rm database back` returns to it"
    )


def back(cursor: extensions.cursor, database: str) -> Iterator[str]:
    """Put the copy into the database's place, which is put aside; yield what was done.

    Raises SetupError where there is no copy, or MLflow works in the database.
    """
    cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (COPY,))
    if not cursor.fetchone():
        raise SetupError(
            "there is no copy of the database from before a migration; `docker compose run --rm backup list` may have one"
        )
    # A worker that tidies up after a migration is Postgres's own, and gives way.
    clients = "SELECT count(*) FROM pg_stat_activity WHERE datname IN (%s, %s) AND backend_type = 'client backend'"
    cursor.execute(clients, (database, COPY))
    if cursor.fetchone() != (0,):
        raise SetupError("MLflow works in the database; stop it first: docker compose stop mlflow")
    names = {"database": sql.Identifier(database), "copy": sql.Identifier(COPY), "aside": sql.Identifier(PUT_ASIDE)}
    for statement in (
        "DROP DATABASE IF EXISTS {aside}",
        "ALTER DATABASE {database} RENAME TO {aside}",
        "ALTER DATABASE {copy} RENAME TO {database}",
        "COMMENT ON DATABASE {database} IS NULL",
    ):
        cursor.execute(sql.SQL(statement).format(**names))
    yield (
        f"the database is as it was before the migration; what came after it is put aside ({PUT_ASIDE}). Go back to the older "
        "checkout before the next `docker compose up`, which would migrate it again"
    )


def _check_room(cursor: extensions.cursor, database: str, replaces_one: bool) -> None:
    cursor.execute("SELECT pg_database_size(%s)", (database,))
    (size,) = cursor.fetchone() or (0,)
    if replaces_one:  # whose room is free again then
        cursor.execute("SELECT pg_database_size(%s)", (COPY,))
        (freed,) = cursor.fetchone() or (0,)
        size -= freed
    disk = os.statvfs(DATA)
    free, needed = disk.f_bavail * disk.f_frsize, size + SPARE_BYTES
    if free < needed:
        raise SetupError(
            f"MLflow's database is going to be migrated, and for a copy from before there is no room: {free / 1e6:,.0f} MB "
            f"are free, {needed / 1e6:,.0f} MB are needed; `docker system df` says what takes it"
        )
