"""MLflow's database and the role that owns it, which is no superuser.

In the stack's own Postgres it comes in as the superuser, through the Unix socket that the container shares with this job
alone: the official image trusts local connections, so this works whatever password an older data volume still has.
An external Postgres is prepared with what its address allows: the database is made where it is missing.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
from psycopg2 import sql

from setup import database_copy
from setup.errors import SetupError
from setup.stores import OWN_DATABASE, accounts_database, has_login

ROLE = DATABASE = "mlflow"
# Sees Postgres's figures, and no rows of MLflow's; there with compose.monitoring.yaml, whose exporter it is.
EXPORTER = "exporter"
SECRETS = Path("/run/secrets")
OWN = "host=/var/run/postgresql user=postgres dbname=postgres"
# What is said for a Postgres that will be there in a moment: by itself (that it is starting up, in recovery, or not yet accepting
# connections), and by a proxy in front of it.
STARTING = ("the database system is ", "server closed the connection unexpectedly")
PATIENCE = 60.0


def run(environ: Mapping[str, str]) -> Iterator[str]:
    """Create what is missing and set the passwords to the ones in force; yield a line per change."""
    uri = (SECRETS / "backend-store-uri").read_text()
    uris = [uri, *([accounts_database(uri)] if has_login(environ) else [])]
    if uri == OWN_DATABASE:
        yield from _prepare_own([urlsplit(one).path.lstrip("/") for one in uris])
        return
    for one in uris:
        yield from _prepare_external(one)


def _prepare_own(databases: list[str]) -> Iterator[str]:
    passwords = {
        "postgres": (SECRETS / "superuser-password").read_text(),
        ROLE: (SECRETS / "mlflow-password").read_text(),
    }
    with _cursor(OWN) as cursor:
        if (exporter := SECRETS / "exporter-password").exists():
            passwords[EXPORTER] = exporter.read_text()
        changes = [change for role in passwords if role != "postgres" for change in _ensure_role(cursor, role)]
        if EXPORTER in passwords:
            cursor.execute(sql.SQL("GRANT pg_monitor TO {}").format(sql.Identifier(EXPORTER)))
        for name in databases:
            changes += _ensure_database(cursor, name, ROLE)
        for role, password in passwords.items():
            statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
            cursor.execute(statement.format(sql.Identifier(role), sql.Literal(password)))
        changes += database_copy.keep(cursor, ROLE, _revisions(databases))
    yield from changes or [f"role and database {DATABASE!r} are there"]


def back(environ: Mapping[str, str]) -> Iterator[str]:
    """Return to the database as it was before it was migrated; yield a line per change."""
    if (SECRETS / "backend-store-uri").read_text() != OWN_DATABASE:
        raise SetupError("the database is an external Postgres, of which no copy is kept here; restore its own backup")
    with _cursor(OWN) as cursor:
        yield from database_copy.back(cursor)


def _revisions(databases: list[str]) -> dict[str, str | None]:
    """Return database → the revision of MLflow's schema that it says it is at, None where it says none, or several."""
    found = {}
    for schema in database_copy.SCHEMAS:
        if schema.database in databases:
            with _cursor(OWN.replace("dbname=postgres", f"dbname={schema.database}")) as cursor:
                found[schema.database] = _revision(cursor, schema.table)
    return found


def _revision(cursor: psycopg2.extensions.cursor, table: str) -> str | None:
    cursor.execute("SELECT to_regclass(%s)", (table,))
    if cursor.fetchone() == (None,):
        return None
    cursor.execute(sql.SQL("SELECT version_num FROM {}").format(sql.Identifier(table)))
    found = cursor.fetchall()
    return str(found[0][0]) if len(found) == 1 else None


def _prepare_external(uri: str) -> Iterator[str]:
    parts = urlsplit(uri.replace("postgresql+psycopg2:", "postgresql:", 1))
    name = parts.path.lstrip("/")
    if parts.scheme not in ("postgresql", "postgres") or not parts.hostname or not name:
        raise SetupError(
            "BACKEND_STORE_URI_FILE must hold postgresql://USER:PASSWORD@HOST:5432/DATABASE and nothing else"
        )
    yield from _started(parts.geturl(), parts.hostname)
    try:
        with _cursor(parts.geturl()):
            pass
    except SetupError as error:
        if not _is_missing_database(error):
            raise
        with _cursor(parts._replace(path="/postgres").geturl()) as cursor:
            cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield f"database {name!r} created at {parts.hostname}"
    else:
        yield f"database {name!r} at {parts.hostname} is there"


def _started(dsn: str, host: str) -> Iterator[str]:
    """Wait for an external Postgres that says that it is starting; yield a line where that takes time."""
    begun = time.monotonic()
    is_told = False
    while time.monotonic() < begun + PATIENCE:
        try:
            with _cursor(dsn):
                return
        except SetupError as error:
            if not any(words in str(error) for words in STARTING):
                return  # which is for the caller to find
        if not is_told:
            yield f"Postgres at {host} is starting; it has {PATIENCE:.0f} seconds"
            is_told = True
        time.sleep(1)


@contextmanager
def _cursor(dsn: str) -> Iterator[psycopg2.extensions.cursor]:
    """Connect; each statement is a transaction of its own, as CREATE DATABASE wants it."""
    try:
        connection = psycopg2.connect(dsn, connect_timeout=10)
    except psycopg2.OperationalError as error:
        raise SetupError(f"Postgres does not let the set-up in: {str(error).strip()}") from error
    connection.autocommit = True
    try:
        yield connection.cursor()
    except psycopg2.Error as error:
        raise SetupError(f"Postgres refuses the set-up: {str(error).strip()}") from error
    finally:
        connection.close()


def _is_missing_database(error: SetupError) -> bool:
    # psycopg2 gives no error code for a refused connection, only Postgres's words.
    return "does not exist" in str(error) and "database" in str(error)


def _ensure_role(cursor: psycopg2.extensions.cursor, role: str) -> Iterator[str]:
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,))
    if cursor.fetchone():
        return
    rights = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION"
    cursor.execute(sql.SQL("CREATE ROLE {} " + rights).format(sql.Identifier(role)))
    yield f"role {role!r} created"


def _ensure_database(cursor: psycopg2.extensions.cursor, name: str, owner: str) -> Iterator[str]:
    cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
    if cursor.fetchone():
        return
    cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(owner)))
    # Postgres lets every role connect to a new database; this one is MLflow's alone.
    cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
    yield f"database {name!r} created"
