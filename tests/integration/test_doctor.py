"""The doctor without Docker, on a registry that real trainings made: each fault is named, and what it names mends it."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from doctor import embedded
from doctor.records import FAIL, OK, WARN, Row
from doctor.stack import tracking
from doctor.stack.store import Store
from setup.signing_key import new_private_key, public_key_of

from tests.integration.conftest import Training
from tests.integration.places import MODEL, ROOT, Place, keys, running_server

NOBODY = Store("http://127.0.0.1:1", "us-east-1", "mlflow", 1)


@pytest.fixture
def place(second: Training, tmp_path: Path) -> Place:
    """A registry with two versions, of which the first is in Production, in a folder as `embedded/` is."""
    place = second.place.copy_with_files(tmp_path / "place")
    place.move_alias("1")
    (place.folder / "keys").mkdir()
    shutil.copy(keys()["SIGNING_KEY_FILE"], place.folder / "keys" / "signing-key.pem")
    shutil.copy(keys()["VERIFYING_KEY_FILE"], place.folder / "keys" / "signing-key.pub")
    (place.folder / "keys" / "signing-key.pem").chmod(0o600)
    return place


@pytest.fixture
def look(place: Place, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Row]:
    """Return a function that gives the one row of a name."""
    monkeypatch.setenv("INFERENCE_LISTEN_PORT", "1")

    def look(name: str) -> Row:
        (row,) = (row for row in embedded.look(place.folder, str(place.folder / "backups"), 60) if row.name == name)
        return row

    return look


def sql(place: Place, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(place.database)) as database, database:
        database.execute(statement, values)


def files_of(place: Place, version: str) -> Path:
    source = place.client.get_model_version(MODEL, version).source
    return next((place.folder / "artifacts").rglob(source.removeprefix("models:/"))) / "artifacts"


def test_a_registry_that_is_well_has_nothing_but_what_was_not_looked_at(
    place: Place, look: Callable[[str], Row]
) -> None:
    rows = embedded.look(place.folder, str(place.folder / "backups"), 60)
    assert {row.name: row.status for row in rows if row.name != "disk"} == {
        "keys": OK, "schema": OK, "experiments": OK, "runs": OK, "alias": OK, "files": OK, "rollback": OK,
        "served": WARN, "growth": OK, "backup": WARN,
    }  # fmt: skip
    assert look("alias").says == f"Production of '{MODEL}' is version 1, which is READY"
    assert "files are as they were signed with the key in force" in look("files").says


def test_it_changes_nothing(place: Place) -> None:
    def contents() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in place.folder.rglob("*") if path.is_file()}

    before = contents()
    embedded.look(place.folder, str(place.folder / "backups"), 60)
    assert contents() == before


def test_an_alias_in_another_spelling_is_named_and_promote_sets_it(place: Place, look: Callable[[str], Row]) -> None:
    place.client.delete_registered_model_alias(MODEL, "Production")
    place.client.set_registered_model_alias(MODEL, "production", "2")
    row = look("alias")
    assert row.status == FAIL
    assert "it has 'production', and case counts" in row.says
    assert row.mend == "make promote VERSION=2"
    assert place.command("promote", "2").returncode == 0
    assert look("alias").status == OK


def test_an_alias_that_is_gone_and_a_version_that_is_not_ready_are_named(
    place: Place, look: Callable[[str], Row]
) -> None:
    sql(place, "UPDATE model_versions SET status = 'PENDING_REGISTRATION' WHERE version = 1")
    assert "points at version 1, which is PENDING_REGISTRATION" in look("alias").says
    assert look("alias").mend == "make promote VERSION=2"
    place.client.delete_registered_model_alias(MODEL, "Production")
    assert look("alias").says == f"no version of '{MODEL}' has the alias 'Production'"


def test_a_deleted_run_or_logged_model_is_named_and_a_clean_up_restores_both(
    place: Place, look: Callable[[str], Row]
) -> None:
    version = place.client.get_model_version(MODEL, "1")
    place.client.delete_run(version.run_id)
    assert f"whose run {version.run_id} is deleted: `mlflow gc` would delete its files" in look("alias").says
    place.client.delete_logged_model(model := version.source.removeprefix("models:/"))
    row = look("alias")
    assert f"whose logged model {model} is deleted" in row.says
    assert (row.status, row.mend) == (FAIL, "make cleanup ARGS=--yes")
    cleaned = place.forked("-m", "cleanup", "--yes", MLFLOW_BACKEND_STORE_URI=place.tracking_uri)
    assert cleaned.returncode == 0, cleaned.stderr
    assert look("alias").status == OK


def test_a_file_that_is_not_as_it_was_signed_is_named_and_another_version_takes_its_place(
    place: Place, look: Callable[[str], Row]
) -> None:
    file = files_of(place, "1") / "figures.json"
    file.write_text(file.read_text() + " ")
    row = look("files")
    assert (row.status, row.mend) == (FAIL, "make promote VERSION=2")
    assert "version 1: its file 'figures.json' is not as it was signed" in row.says
    file.unlink()
    assert "its files 'figures.json' are missing" in look("files").says
    assert place.command("promote", "2").returncode == 0
    assert look("files").status == OK


def test_files_that_are_unsigned_of_another_key_or_gone_are_told_apart(
    place: Place, look: Callable[[str], Row]
) -> None:
    public = place.folder / "keys" / "signing-key.pub"
    public.write_text(public_key_of(new_private_key()))
    assert "its signature is not of the key in force" in look("files").says
    folder = files_of(place, "1")
    (folder / "model.sig").write_text("{}")
    assert "its signature cannot be read" in look("files").says
    (folder / "model.sig").unlink()
    assert look("files").mend == "make adopt VERSION=1"
    shutil.rmtree(folder)
    folder.mkdir()
    assert "its files are gone" in look("files").says
    public.unlink()
    assert look("files").status == WARN


def test_a_version_to_go_back_to_that_has_lost_its_files_is_named_and_the_next_one_is_said(
    place: Place, look: Callable[[str], Row]
) -> None:
    assert look("rollback").says == "there is no version to go back to yet"
    assert place.command("promote", "2").returncode == 0
    assert look("rollback") == Row("rollback", OK, "rollback goes to version 1, and its files are there")
    shutil.rmtree(files_of(place, "1"))
    row = look("rollback")
    assert (row.status, row.says) == (
        WARN,
        "of the versions that were in Production before, 1 lost all files; there is no version to go back to",
    )
    assert look("files").status == OK


def test_an_experiment_elsewhere_a_run_left_behind_and_a_newer_schema_are_named(
    place: Place, look: Callable[[str], Row]
) -> None:
    number = place.client.create_experiment("lost", artifact_location="s3://bucket/lost")
    assert "'lost' has its files at 's3://bucket/lost'" in look("experiments").says
    assert look("experiments").mend.endswith(f"mlflow experiments delete -x {number}")
    place.client.delete_experiment(number)
    assert look("experiments").status == OK
    (iris,) = (found for found in place.client.search_experiments() if found.name != "Default")
    run = place.client.create_run(
        iris.experiment_id, tags={"trainer_heartbeat": str(time.time() - 3600)}, run_name="killed"
    )
    assert f"'killed' ({run.info.run_id})" in look("runs").says
    assert look("runs").mend == "make train"
    assert place.command("train").returncode == 0
    assert look("runs").status == OK
    sql(place, "UPDATE alembic_version SET version_num = 'fffffffffff0'")
    assert "a newer MLflow has written it" in look("schema").says


def test_a_key_that_others_may_read_is_named_and_chmod_mends_it(place: Place, look: Callable[[str], Row]) -> None:
    key = place.folder / "keys" / "signing-key.pem"
    key.chmod(0o644)
    row = look("keys")
    assert row.status == FAIL
    subprocess.run(row.mend.split(), check=True)
    assert look("keys").status == OK


def test_the_served_version_is_held_against_the_alias(
    place: Place, look: Callable[[str], Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    with place.inference() as service:
        service.serves("1")
        monkeypatch.setenv("INFERENCE_LISTEN_PORT", service.url.rpartition(":")[2])
        assert look("served") == Row("served", OK, "version 1")


def test_a_folder_with_nothing_in_it_is_told_with_the_command_that_fills_it(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "doctor", str(tmp_path), str(tmp_path / "backups")],
        env=os.environ | {"PYTHONPATH": str(ROOT / "services")},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "FAIL  database  there is nothing in" in result.stdout
    assert result.stdout.splitlines()[0].endswith("->  make demo")
    assert list(tmp_path.iterdir()) == []


def test_a_byte_goes_up_and_down_through_mlflow_and_is_gone_afterwards(tmp_path: Path) -> None:
    with running_server(tmp_path) as (place, server):
        mlflow = tracking.Mlflow(server.url, 30)
        assert [row.status for row in tracking.look_at_name(mlflow)] == [OK]
        (row,) = tracking.look_at_artifacts(mlflow, NOBODY, None)
        assert row == Row("artifacts", OK, "a byte went up, down and away through MLflow")
        assert [path for path in (place.folder / "artifacts").rglob("*") if path.is_file()] == []
        (place.folder / "artifacts" / "doctor-probe").mkdir(parents=True, exist_ok=True)
        (place.folder / "artifacts" / "doctor-probe").rmdir()
        (place.folder / "artifacts" / "doctor-probe").write_text("in the way")
        (row,) = tracking.look_at_artifacts(mlflow, NOBODY, None)
        assert row.status == FAIL
        assert "a byte does not go up through MLflow: 500" in row.says
    (row,) = tracking.look_at_name(mlflow)
    assert row.status == FAIL
    assert "does not answer" in row.says
