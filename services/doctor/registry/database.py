"""MLflow's database, read and never written: Postgres, or a SQLite file."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from contract.display import first_line

from doctor.records import NotLookedAt


class Unusable(NotLookedAt):
    """The database does not answer, or does not let MLflow in; the message is its own."""


@dataclass(frozen=True)
class Database:
    """A database that a connection is opened to for each question: a look waits for no other."""

    connect: Callable[[], Any]
    errors: tuple[type[Exception], ...]
    mark: str
    """what stands for a value in a statement; here they are written with ?"""

    def rows(self, statement: str, *values: Any) -> Sequence[tuple[Any, ...]]:
        """Return what a query finds; raise Unusable."""
        try:
            with closing(self.connect()) as connection, closing(connection.cursor()) as cursor:
                cursor.execute(statement.replace("?", self.mark), values)
                found: Sequence[tuple[Any, ...]] = cursor.fetchall()
                return found
        except self.errors as error:
            raise Unusable(first_line(error)) from error


def sqlite(file: Path) -> Database:
    """Return a SQLite file's database."""
    address = f"{file.resolve().as_uri()}?mode=ro"
    return Database(lambda: sqlite3.connect(address, uri=True, timeout=2), (sqlite3.Error,), "?")


def postgres(address: str, password: str | None, seconds: float) -> Database:
    """Return the database at postgresql://…, as MLflow's own user; `password` is none where the address has one."""
    given: dict[str, Any] = {} if password is None else {"password": password}
    limits = f"-c default_transaction_read_only=on -c statement_timeout={round(seconds * 1000)}"

    def connect() -> Any:
        return psycopg2.connect(address, **given, connect_timeout=max(2, round(seconds) - 1), options=limits)

    return Database(connect, (psycopg2.Error,), "%s")
