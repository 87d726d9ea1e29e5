"""The copies of the databases before they are migrated: of which, made only where there is room, and all of them put back at once."""

import os
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from setup import database_copy
from setup.database_copy import SCHEMAS, TARGET
from setup.errors import SetupError

MLFLOW, ACCOUNTS = SCHEMAS
SIZES = {"mlflow": 3_000_000_000, MLFLOW.copy: 2_000_000_000, "mlflow_auth": 10_000_000, ACCOUNTS.copy: 10_000_000}
SPARE = database_copy.SPARE_BYTES
NEWEST = {schema.database: schema.revisions[-1] for schema in SCHEMAS}
BEFORE = {schema.database: schema.revisions[-2] for schema in SCHEMAS}


class Cursor:
    """Postgres, as far as it is asked: how large a database is, and at what a copy was made; it notes what it is told to do."""

    def __init__(self, copied: dict[str, str]) -> None:
        self.copied, self.done = copied, list[str]()
        self.answer: tuple[object, ...] | None = None

    def execute(self, statement: Any, values: tuple[Any, ...] = ()) -> None:
        if "pg_database_size" in str(statement):
            self.answer = (SIZES[values[0]],)
        elif "shobj_description" in str(statement) or "SELECT 1 FROM pg_database" in str(statement):
            self.answer = (found,) if (found := self.copied.get(values[0])) else None
        elif "pg_stat_activity" in str(statement):
            self.answer = (0,)
        else:
            self.done.append(re.sub(r"Composed|SQL|Identifier|Literal|[\[\]()',]", "", repr(statement)))

    def fetchone(self) -> tuple[object, ...] | None:
        return self.answer

    def named(self, word: str) -> set[str]:
        """Return which copies a statement with this word is about."""
        done = [set(statement.split()) for statement in self.done if word in statement]
        return {schema.copy for schema in SCHEMAS if any(schema.copy in words for words in done)}


Keep = Callable[..., list[str]]


@pytest.fixture
def keep(monkeypatch: pytest.MonkeyPatch) -> Keep:
    def run(cursor: Any, revisions: dict[str, str], free: int = 10_000_000_000) -> list[str]:
        disk = SimpleNamespace(f_bavail=free, f_frsize=1)
        monkeypatch.setattr(os, "statvfs", lambda path: disk)
        return list(database_copy.keep(cursor, "mlflow", revisions))

    return run


@pytest.mark.parametrize(
    ("copied", "needed"),
    [
        ({}, 3_010_000_000 + SPARE),
        ({MLFLOW.copy: f"{BEFORE['mlflow']} {TARGET}"}, 1_010_000_000 + SPARE),
    ],
    ids=["first", "the room of the one that it replaces is free again"],
)
def test_without_room_nothing_is_done_and_the_figures_are_told(keep: Keep, copied: dict[str, str], needed: int) -> None:
    cursor = Cursor(copied)
    with pytest.raises(SetupError) as refused:
        keep(cursor, BEFORE, needed - 1)
    assert f"{(needed - 1) / 1e6:,.0f} MB are free, {needed / 1e6:,.0f} MB are needed; `docker system df`" in str(
        refused.value
    )
    assert cursor.done == []
    said = keep(cursor, BEFORE, needed)
    assert [f"a copy from before is kept ({schema.copy})" in line for schema, line in zip(SCHEMAS, said, strict=True)]
    assert cursor.named("CREATE DATABASE") == {MLFLOW.copy, ACCOUNTS.copy}


@pytest.mark.parametrize("changed", SCHEMAS)
def test_what_is_not_migrated_is_not_copied_and_a_copy_from_before_another_update_is_let_go(
    keep: Keep, changed: database_copy.Schema
) -> None:
    cursor = Cursor({schema.copy: "of an earlier update" for schema in SCHEMAS})
    (said,) = keep(cursor, NEWEST | {changed.database: BEFORE[changed.database]})
    assert f"database {changed.database} is going to be migrated from" in said
    assert cursor.named("CREATE DATABASE") == {changed.copy}
    assert cursor.named("DROP DATABASE") == {MLFLOW.copy, ACCOUNTS.copy}


def test_a_copy_stays_when_the_update_was_ended_between_the_two_migrations(keep: Keep) -> None:
    cursor = Cursor({schema.copy: f"{BEFORE[schema.database]} {TARGET}" for schema in SCHEMAS})
    keep(cursor, NEWEST | {"mlflow_auth": BEFORE["mlflow_auth"]})
    assert cursor.named("DROP DATABASE") == cursor.named("CREATE DATABASE") == {ACCOUNTS.copy}


def test_the_copy_of_the_accounts_stays_when_an_update_fails_and_is_tried_again_without_the_login(keep: Keep) -> None:
    cursor = Cursor({schema.copy: f"{BEFORE[schema.database]} {TARGET}" for schema in SCHEMAS})
    (said,) = keep(cursor, {"mlflow": BEFORE["mlflow"]})
    assert "database mlflow is going to be migrated from" in said
    assert cursor.named("DROP DATABASE") == cursor.named("CREATE DATABASE") == {MLFLOW.copy}


@pytest.mark.parametrize(
    "revisions", [NEWEST, {}, {"mlflow": None}, {"mlflow": "fffffffffff0"}, {"mlflow": NEWEST["mlflow"]}]
)
def test_where_nothing_is_migrated_the_copies_stay(keep: Keep, revisions: dict[str, str]) -> None:
    cursor = Cursor({MLFLOW.copy: "of an earlier update"})
    assert (keep(cursor, revisions), cursor.done) == ([], [])


@pytest.mark.parametrize("there", [SCHEMAS, SCHEMAS[:1], SCHEMAS[1:]], ids=["both", "mlflow", "accounts"])
def test_the_way_back_takes_the_copies_that_there_are_in_one_transaction(
    there: tuple[database_copy.Schema, ...],
) -> None:
    cursor = Cursor({schema.copy: "a copy" for schema in there})
    (said,) = database_copy.back(cursor)  # type: ignore[arg-type]  # as far as it is asked
    assert [schema.aside in said for schema in SCHEMAS] == [schema in there for schema in SCHEMAS]
    assert len([statement for statement in cursor.done if "RENAME" in statement]) == 1
    assert cursor.named("RENAME") == {schema.copy for schema in there}
