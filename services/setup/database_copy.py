"""Copies of MLflow's databases from before they are migrated, and the way back to them.

A migration cannot be undone, and an older MLflow does not work on what it leaves. So before the newer one migrates, the job
copies what it is going to migrate, its database or that of the accounts or both, inside Postgres, which takes its size in room and
no tool. Which revisions MLflow's schemas had is in mlflow-revisions.txt and mlflow-auth-revisions.txt, oldest first: this image
has no MLflow to ask.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from psycopg2 import extensions, sql

from setup.errors import SetupError


def _revisions(file: str) -> tuple[str, ...]:
    return tuple((Path(__file__).parent / file).read_text().split())


@dataclass(frozen=True)
class Schema:
    """One of MLflow's databases, and how far it can be migrated here."""

    database: str
    table: str
    """where Alembic notes the revision that it is at"""
    revisions: tuple[str, ...]

    @property
    def copy(self) -> str:
        return f"{self.database}_before_migration"

    @property
    def aside(self) -> str:
        return f"{self.database}_after_migration"


SCHEMAS = (
    Schema("mlflow", "alembic_version", _revisions("mlflow-revisions.txt")),
    Schema("mlflow_auth", "alembic_version_auth", _revisions("mlflow-auth-revisions.txt")),
)
# What a copy is from before: to where this MLflow migrates. One that is from before another update is no way back from this one.
TARGET = "/".join(schema.revisions[-1] for schema in SCHEMAS)
# The volume of Postgres, of which this job only asks how much room there is.
DATA = Path("/postgres-data")
# A migration itself needs room too.
SPARE_BYTES = 256 * 1024**2


def keep(cursor: extensions.cursor, owner: str, revisions: Mapping[str, str | None]) -> Iterator[str]:
    """Copy each database that is about to be migrated; yield what was done.

    `revisions` is what each database that is there says it is at. One that is not known here is a newer MLflow's, or broken: the job
    `migrate` refuses it, and it stays as it is. A copy from before a migration that has begun, and did not come to its end, is the
    right one. Raises SetupError where there is no room, or somebody works in a database.
    """
    due = {
        schema: revision
        for schema in SCHEMAS
        if (revision := revisions.get(schema.database)) and revision in schema.revisions[:-1]
    }
    if not due:
        return
    copied = {schema: found for schema in SCHEMAS if (found := _copied(cursor, schema))}
    # That of the accounts, too, when the login is out again: they are not looked at then, and their migration may have begun.
    begun = {
        schema for schema, (at, target) in copied.items() if target == TARGET and at != revisions.get(schema.database)
    }
    copies = {schema: revision for schema, revision in due.items() if schema not in begun}
    _check_room(cursor, copies, [schema for schema in copied if schema not in begun])
    for schema in SCHEMAS:
        if schema not in begun:
            cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(schema.copy)))
    for schema, revision in due.items():
        newest = schema.revisions[-1]
        if schema in begun:
            yield f"the copy from before the migration from {copied[schema][0]} to {newest} is there"
            continue
        _copy(cursor, schema, owner, revision)
        yield (
            f"MLflow's database {schema.database} is going to be migrated from {revision} to {newest}; a copy from before is "
            f"kept ({schema.copy}), and `docker compose run --rm database back` returns to it"
        )


def back(cursor: extensions.cursor) -> Iterator[str]:
    """Put each copy into the place of its database, which is put aside; yield what was done.

    Raises SetupError where there is no copy, or MLflow works in a database.
    """
    found = [schema for schema in SCHEMAS if _is_there(cursor, schema.copy)]
    if not found:
        raise SetupError(
            "there is no copy of the database from before a migration; `docker compose run --rm backup list` may have one"
        )
    names = [name for schema in found for name in (schema.database, schema.copy)]
    # A worker that tidies up after a migration is Postgres's own, and gives way.
    clients = "SELECT count(*) FROM pg_stat_activity WHERE datname = ANY(%s) AND backend_type = 'client backend'"
    cursor.execute(clients, (names,))
    if cursor.fetchone() != (0,):
        raise SetupError("MLflow works in the database; stop it first: docker compose stop mlflow")
    for schema in found:
        cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(schema.aside)))
    # All in one call, and so all or nothing.
    cursor.execute(sql.SQL("; ").join(statement for schema in found for statement in _put_back(schema)))
    yield (
        f"the database is as it was before the migration; what came after it is put aside ({_listed(found)}). Go back to the older "
        "checkout before the next `docker compose up`, which would migrate it again"
    )


def _listed(found: list[Schema]) -> str:
    return ", ".join(schema.aside for schema in found)


def _put_back(schema: Schema) -> Iterator[sql.Composed]:
    names = {
        "database": sql.Identifier(schema.database),
        "copy": sql.Identifier(schema.copy),
        "aside": sql.Identifier(schema.aside),
    }
    for statement in (
        "ALTER DATABASE {database} RENAME TO {aside}",
        "ALTER DATABASE {copy} RENAME TO {database}",
        "COMMENT ON DATABASE {database} IS NULL",
    ):
        yield sql.SQL(statement).format(**names)


def _copied(cursor: extensions.cursor, schema: Schema) -> tuple[str, str] | None:
    """Return at which revision a copy was made and before which update, None where there is no copy."""
    cursor.execute("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", (schema.copy,))
    found = cursor.fetchone()
    if not found:
        return None
    at, _, target = str(found[0]).partition(" ")
    return at, target


def _is_there(cursor: extensions.cursor, database: str) -> bool:
    cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,))
    return cursor.fetchone() is not None


def _copy(cursor: extensions.cursor, schema: Schema, owner: str, revision: str) -> None:
    names = {
        "copy": sql.Identifier(schema.copy),
        "database": sql.Identifier(schema.database),
        "owner": sql.Identifier(owner),
    }
    statement = sql.SQL("CREATE DATABASE {copy} OWNER {owner} TEMPLATE {database} STRATEGY file_copy")
    cursor.execute(statement.format(**names))
    # Rights are no part of a template.
    cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {copy} FROM PUBLIC").format(**names))
    # At what it was copied, and before what, noted when it is whole.
    noted = sql.Literal(f"{revision} {TARGET}")
    cursor.execute(sql.SQL("COMMENT ON DATABASE {copy} IS {noted}").format(**names, noted=noted))


def _check_room(cursor: extensions.cursor, copies: Mapping[Schema, str], dropped: list[Schema]) -> None:
    """Raise SetupError where there is no room for copies of these; the room of those that are dropped is free again then."""
    size = sum(_size(cursor, schema.database) for schema in copies) - sum(_size(cursor, one.copy) for one in dropped)
    disk = os.statvfs(DATA)
    free, needed = disk.f_bavail * disk.f_frsize, size + SPARE_BYTES
    if copies and free < needed:
        raise SetupError(
            f"MLflow's database is going to be migrated, and for a copy from before there is no room: {free / 1e6:,.0f} MB "
            f"are free, {needed / 1e6:,.0f} MB are needed; `docker system df` says what takes it"
        )


def _size(cursor: extensions.cursor, database: str) -> int:
    cursor.execute("SELECT pg_database_size(%s)", (database,))
    (size,) = cursor.fetchone() or (0,)
    return int(size)
