"""Which revision of MLflow's database schema is the newest, read from the migrations' files."""

from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from setup import database_copy

FILE = Path(__file__).parents[2] / "services" / "mlflow" / "migrate.py"


@pytest.fixture(scope="module")
def migrate() -> ModuleType:
    spec = spec_from_file_location("migrate", FILE)
    module = module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)
    return module


def write(folder: Path, revision: str, parent: str | None) -> None:
    down = f'"{parent}"' if parent else "None"
    (folder / f"{revision}_words.py").write_text(
        f'"""words\n\nRevision ID: {revision}\n"""\n\nrevision = "{revision}"\ndown_revision = {down}\n'
    )


def test_the_newest_revision_of_the_installed_mlflow_is_the_one_that_alembic_finds(migrate: ModuleType) -> None:
    migrations = Path(find_spec("mlflow").submodule_search_locations[0], "store", "db_migrations")
    newest = ScriptDirectory(str(migrations)).get_current_head()
    assert migrate.newest_revision(migrations / "versions") == newest


def test_the_newest_revision_is_the_one_that_no_other_builds_on(migrate: ModuleType, tmp_path: Path) -> None:
    for revision, parent in (("aaa", None), ("ccc", "bbb"), ("bbb", "aaa")):
        write(tmp_path, revision, parent)
    assert migrate.newest_revision(tmp_path) == "ccc"


def test_two_newest_revisions_are_named_and_end_the_job(migrate: ModuleType, tmp_path: Path) -> None:
    for revision, parent in (("aaa", None), ("bbb", "aaa"), ("ccc", "aaa")):
        write(tmp_path, revision, parent)
    with pytest.raises(SystemExit) as ended:
        migrate.newest_revision(tmp_path)
    assert str(ended.value) == f"migrate: {tmp_path} has 2 newest migrations (['bbb', 'ccc']), not one"


def test_a_folder_without_migrations_ends_the_job(migrate: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="has 0 newest migrations"):
        migrate.newest_revision(tmp_path)


KNOWN = {"aaa": None, "bbb": "aaa"}
TABLES = {"alembic_version", "experiments", "runs", "tags", "metrics", "params", "registered_models"}


@pytest.mark.parametrize(
    ("tables", "noted", "revision"),
    [
        (TABLES, ["bbb"], "bbb"),
        (TABLES, ["aaa"], "aaa"),
        (set(), [], None),
        ({"alembic_version"}, [], None),
        ({"experiments", "runs", "tags", "metrics", "params"}, [], None),
    ],
    ids=["as new", "older", "empty", "a first migration that failed", "a first migration that was killed"],
)
def test_a_database_that_this_mlflow_can_bring_to_its_newest_revision_is_told_by_its_own(
    migrate: ModuleType, tables: set[Any] | set[str], noted: list[Any], revision: str | None
) -> None:
    assert migrate.revision_in_force(tables, noted, KNOWN) == revision


@pytest.mark.parametrize(
    ("tables", "noted", "said"),
    [
        (TABLES, ["fff"], "is newer than this MLflow, 3."),
        (TABLES, ["fff"], "which does not know its revision fff; go back to the newer checkout, or restore a backup"),
        (TABLES - {"alembic_version"}, [], "is broken: it has MLflow's tables, and no revision in its table"),
        (TABLES, [], "and no revision in its table alembic_version, where one is expected; restore a backup"),
        (TABLES, ["bbb", "aaa"], "and 2 revisions (aaa, bbb) in its table alembic_version"),
        ({"orders", "people"}, [], "is another program's (its tables: orders, people); give MLflow an empty one"),
        ({"alembic_version", "orders"}, ["fff"], "is another program's (its tables: orders)"),
        ({"alembic_version"}, ["fff"], "is another program's (its tables: none but Alembic's)"),
    ],
)
def test_a_database_that_is_newer_broken_or_of_another_program_ends_the_job_with_the_way_out(
    migrate: ModuleType, tables: set[str], noted: list[Any], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        migrate.revision_in_force(tables, noted, KNOWN)
    assert str(ended.value).startswith("migrate: the database is ")
    assert said in str(ended.value)


def test_a_newer_database_is_left_as_it_is(migrate: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", "postgresql://nobody")
    monkeypatch.setattr(migrate, "read", lambda url: (TABLES, ["fff"]))
    monkeypatch.setattr(migrate.subprocess, "run", lambda *_, **__: pytest.fail("it was migrated"))
    with pytest.raises(SystemExit, match="is newer than this MLflow"):
        migrate.main()


def test_the_set_up_knows_the_revisions_of_the_installed_mlflow_oldest_first(migrate: ModuleType) -> None:
    mlflow = Path(find_spec("mlflow").submodule_search_locations[0])
    folders = ("store/db_migrations", "server/auth/db/migrations")
    for schema, folder in zip(database_copy.SCHEMAS, folders, strict=True):
        script = ScriptDirectory(str(mlflow / folder))
        assert list(schema.revisions) == [found.revision for found in script.walk_revisions()][::-1]
