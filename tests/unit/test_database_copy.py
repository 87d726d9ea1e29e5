"""The copy of the database before it is migrated: made only where there is room for it."""

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from setup import database_copy
from setup.errors import SetupError

SIZES = {"mlflow": 3_000_000_000, database_copy.COPY: 2_000_000_000}
SPARE = database_copy.SPARE_BYTES


class Cursor:
    """Postgres, as far as it is asked: how large a database is, and at what the copy was made; it notes what it is told to do."""

    def __init__(self, copied: str | None) -> None:
        self.copied, self.done = copied, list[str]()
        self.answer: tuple[object, ...] | None = None

    def execute(self, statement: object, values: tuple[str, ...] = ()) -> None:
        if "pg_database_size" in str(statement):
            self.answer = (SIZES[values[0]],)
        elif "shobj_description" in str(statement):
            self.answer = (self.copied,) if self.copied else None
        else:
            self.done.append(repr(statement))

    def fetchone(self) -> tuple[object, ...] | None:
        return self.answer


@pytest.fixture
def keep(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, int], list[str]]:
    def run(cursor: Any, free: int) -> list[str]:
        disk = SimpleNamespace(f_bavail=free, f_frsize=1)
        monkeypatch.setattr(os, "statvfs", lambda path: disk)
        return list(database_copy.keep(cursor, "mlflow", "mlflow", database_copy.REVISIONS[-2]))

    return run


OF_THIS_REVISION = f"{database_copy.REVISIONS[-2]} {database_copy.REVISIONS[-1]}"


@pytest.mark.parametrize(
    ("copied", "needed"),
    [(None, 3_000_000_000 + SPARE), (OF_THIS_REVISION, 1_000_000_000 + SPARE)],
    ids=["first", "the room of the one that it replaces is free again"],
)
def test_without_room_nothing_is_done_and_the_figures_are_told(
    keep: Callable[[Any, int], list[str]], copied: str | None, needed: int
) -> None:
    cursor = Cursor(copied)
    with pytest.raises(SetupError) as refused:
        keep(cursor, needed - 1)
    assert f"{(needed - 1) / 1e6:,.0f} MB are free, {needed / 1e6:,.0f} MB are needed; `docker system df`" in str(
        refused.value
    )
    assert cursor.done == []
    (said,) = keep(cursor, needed)
    assert f"a copy from before is kept ({database_copy.COPY})" in said
    assert any("CREATE DATABASE" in statement for statement in cursor.done)
