"""Which revision of MLflow's database schema is the newest, read from the migrations' files."""

from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

FILE = Path(__file__).parents[2] / "services" / "mlflow" / "migrate.py"


@pytest.fixture(scope="module")
def migrate():
    spec = spec_from_file_location("migrate", FILE)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(folder: Path, revision: str, parent: str | None) -> None:
    down = f'"{parent}"' if parent else "None"
    (folder / f"{revision}_words.py").write_text(
        f'"""words\n\nRevision ID: {revision}\n"""\n\nrevision = "{revision}"\ndown_revision = {down}\n'
    )


def test_the_newest_revision_of_the_installed_mlflow_is_the_one_that_alembic_finds(migrate):
    migrations = Path(find_spec("mlflow").submodule_search_locations[0], "store", "db_migrations")
    newest = ScriptDirectory(str(migrations)).get_current_head()
    assert migrate.newest_revision(migrations / "versions") == newest


def test_the_newest_revision_is_the_one_that_no_other_builds_on(migrate, tmp_path):
    for revision, parent in (("aaa", None), ("ccc", "bbb"), ("bbb", "aaa")):
        write(tmp_path, revision, parent)
    assert migrate.newest_revision(tmp_path) == "ccc"


def test_two_newest_revisions_are_named_and_end_the_job(migrate, tmp_path):
    for revision, parent in (("aaa", None), ("bbb", "aaa"), ("ccc", "aaa")):
        write(tmp_path, revision, parent)
    with pytest.raises(SystemExit) as ended:
        migrate.newest_revision(tmp_path)
    assert str(ended.value) == f"migrate: {tmp_path} has 2 newest migrations (['bbb', 'ccc']), not one"


def test_a_folder_without_migrations_ends_the_job(migrate, tmp_path):
    with pytest.raises(SystemExit, match="has 0 newest migrations"):
        migrate.newest_revision(tmp_path)
