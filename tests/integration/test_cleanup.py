"""A clean-up on a real database and real files: what goes is gone, and what is needed serves and can be gone back to."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from uuid import uuid4

import mlflow
import pytest
from cleanup import database, removal
from cleanup.choice import Rules, choose
from cleanup.files import Stores
from cleanup.records import Item
from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException

from tests.integration.conftest import Training
from tests.integration.places import CLASSES, MODEL, Place, eventually

OLD = "--older-than=1s"
LATER_MS = 10**15


def cleanup(place: Place, *arguments: str) -> CompletedProcess[str]:
    return place.forked("-m", "cleanup", *arguments, MLFLOW_BACKEND_STORE_URI=place.tracking_uri)


def log_junk(place: Place, experiment: str) -> tuple[str, str]:
    """Log a run and a model, each with a file, as a notebook does; return their ids."""
    client = place.client
    run = client.create_run(experiment).info
    client.log_text(run.run_id, "a", "a.txt")
    client.set_terminated(run.run_id)
    model = client.create_logged_model(experiment, name="junk", source_run_id=run.run_id)
    file = place.temporary / "weights"
    file.write_text("b")
    client.log_model_artifact(model.model_id, str(file))
    client.finalize_logged_model(model.model_id, "READY")
    return run.run_id, model.model_id


def delete(client: MlflowClient, run: str, model: str) -> None:
    client.delete_run(run)
    client.delete_logged_model(model)


def stages(place: Place) -> dict[str, str]:
    """Return the lifecycle stage of each run that there is."""
    experiments = [found.experiment_id for found in place.client.search_experiments(view_type=ViewType.ALL)]
    runs = place.client.search_runs(experiments, run_view_type=ViewType.ALL)
    return {run.info.run_id: run.info.lifecycle_stage for run in runs}


def has_model(place: Place, model: str) -> bool:
    try:
        return bool(place.client.get_logged_model(model))
    except MlflowException:
        return False


@dataclass(frozen=True)
class Cleaned:
    """A place where somebody deleted what is needed and what is not, cleaned up while a training was going on."""

    place: Place
    needed: list[tuple[str, str]]
    junk: tuple[str, str]
    problem: str
    shown: str
    training: int
    result: CompletedProcess[str]


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory: pytest.TempPathFactory, second: Training) -> Cleaned:
    place = second.place.copy_with_files(tmp_path_factory.mktemp("cleaned"))
    place.move_alias("1")
    assert place.command("promote", "2").returncode == 0
    client = place.client
    versions = [client.get_model_version(MODEL, number) for number in ("1", "2")]
    needed = [(found.run_id, found.source.removeprefix("models:/")) for found in versions]
    experiment = client.create_experiment("junk", artifact_location=(place.folder / "artifacts").as_uri())
    junk = log_junk(place, experiment)
    for ids in (*needed, junk):
        delete(client, *ids)
    client.delete_experiment(experiment)
    with place.inference() as service:
        service.answers("/ready")
        told = eventually("the loss is told", lambda: service.get("/version").json()["model"]["problem"])
    time.sleep(1.1)  # a fast machine comes here within the second that makes what was deleted old enough
    shown = cleanup(place, OLD)
    training = place.start_trainer("train")
    try:
        eventually("a training is going on", lambda: running(place))
        result = cleanup(place, OLD, "--yes")
        code = training.wait()
    finally:
        training.kill_what_is_left()
    return Cleaned(place, needed, junk, told, shown.stdout, code, result)


def running(place: Place) -> Any:
    experiments = [found.experiment_id for found in place.client.search_experiments()]
    return place.client.search_runs(experiments, "attributes.status = 'RUNNING'")


def files_of(place: Place, id: str) -> list[Path]:
    return [path for path in (place.folder / "artifacts").rglob("*") if id in path.parts]


def test_what_it_would_do_is_shown_first_and_nothing_is_changed(cleaned: Cleaned) -> None:
    assert "Together: 1 logged model, 1 run, 1 experiment; 2 bytes." in cleaned.shown
    assert f"needed by Production of {MODEL}: version 2" in cleaned.shown
    assert f"needed by way back of {MODEL}: version 1" in cleaned.shown
    assert "Its room is free at once, and it cannot be undone." in cleaned.shown
    assert f'Nothing is changed yet. To do it: make cleanup ARGS="{OLD} --yes"' in cleaned.shown


def test_what_was_deleted_is_gone_with_its_files(cleaned: Cleaned) -> None:
    run, model = cleaned.junk
    assert cleaned.result.returncode == 0, cleaned.result.stderr
    assert "Removed: 1 logged model, 1 run, 1 experiment. 2 bytes are free again." in cleaned.result.stdout
    assert run not in stages(cleaned.place)
    assert files_of(cleaned.place, run) + files_of(cleaned.place, model) == []
    assert cleaned.place.client.get_experiment_by_name("junk") is None


def test_what_production_and_the_way_back_need_is_restored(cleaned: Cleaned) -> None:
    for run, model in cleaned.needed:
        assert stages(cleaned.place)[run] == "active"
        assert has_model(cleaned.place, model)


def test_a_training_that_was_going_on_came_to_a_version(cleaned: Cleaned) -> None:
    assert cleaned.training == 0
    assert "3" in cleaned.place.registry()["stages"]


def test_the_service_says_that_what_it_serves_is_deleted(cleaned: Cleaned) -> None:
    _, model = cleaned.needed[1]
    assert f"version 2 is served, and its logged model {model} is deleted in MLflow" in cleaned.problem


def test_production_is_served_and_can_be_rolled_back_without_a_cache(cleaned: Cleaned) -> None:
    shutil.rmtree(cleaned.place.folder / "cache")
    with cleaned.place.inference() as service:
        service.serves("2")
        assert service.predict() == CLASSES
        assert service.get("/version").json()["model"]["problem"] is None
        result = cleaned.place.command("rollback")
        assert result.returncode == 0, result.stderr
        service.serves("1")
        assert service.predict() == CLASSES


def test_a_second_clean_up_finds_nothing(cleaned: Cleaned) -> None:
    first, *_ = cleanup(cleaned.place, OLD, "--yes").stdout.splitlines()
    assert first == "There is nothing to remove."


# --- without a training ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Junk:
    """A registered model with three versions of a notebook's, as runs and models, that were never in Production."""

    place: Place
    name: str
    parts: list[tuple[str, str]]

    def versions(self) -> set[str]:
        return {str(found.version) for found in self.place.client.search_model_versions(f"name = '{self.name}'")}

    def is_there(self, number: int) -> set[bool]:
        """Tell of a version's run, its file, its model and its file whether each is there."""
        run, model = self.parts[number - 1]
        has_files = [bool(files_of(self.place, id)) for id in (run, model)]
        return {stages(self.place).get(run) == "active", has_model(self.place, model), *has_files}


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("notebook"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "")  # put back afterwards: MLflow sets it
        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(place.tracking_uri)  # where MLflow looks for what it registers
        yield place
        mlflow.set_tracking_uri(before)


@pytest.fixture
def junk(notebook: Place) -> Junk:
    client, name = notebook.client, f"flowers-{uuid4().hex}"
    experiment = client.create_experiment(name, artifact_location=(notebook.folder / "artifacts").as_uri())
    client.create_registered_model(name)
    parts = [log_junk(notebook, experiment) for _ in range(3)]
    for run, model in parts:
        client.create_model_version(name, f"models:/{model}", run)
    return Junk(notebook, name, parts)


def removing(place: Place) -> Iterator[tuple[Item, str | None]]:
    """Remove all versions but the newest, step by step, as a clean-up much later would."""
    engine, stores = database.connect(place.tracking_uri), Stores(None, None)
    rules = Rules(1, keep_versions=1)
    choice = choose(database.tracking(engine), database.registry(engine), rules, LATER_MS, stores.out_of_reach)
    places = [stores.place(item.location, item.id) if item.location else None for item in choice.goes]
    return removal.remove(engine, list(zip(choice.goes, places, strict=True)), rules.rollbacks)


@pytest.mark.parametrize("steps", range(1, 6))
def test_a_clean_up_that_was_stopped_is_gone_on_with_by_the_next(junk: Junk, steps: int) -> None:
    stopped = removing(junk.place)
    gone = [next(stopped)[0].id for _ in range(steps)]
    assert set(gone) < {"1", "2", *(id for ids in junk.parts[:2] for id in ids)}
    assert all(needed is None for _, needed in removing(junk.place))
    assert junk.versions() == {"3"}
    assert [junk.is_there(number) for number in (1, 2, 3)] == [{False}, {False}, {True}]


def test_of_two_clean_ups_at_once_neither_stumbles_over_the_other(junk: Junk) -> None:
    one, other = removing(junk.place), removing(junk.place)
    next(one)
    next(other)
    assert [needed for _, needed in (*one, *other)] == [None] * 10
    assert [junk.is_there(number) for number in (1, 2, 3)] == [{False}, {False}, {True}]


def test_a_version_that_is_given_an_alias_meanwhile_stays_and_keeps_its_run_and_model(junk: Junk) -> None:
    going = removing(junk.place)
    first, _ = next(going)
    other = 1 if first.id == "2" else 2
    junk.place.client.set_registered_model_alias(junk.name, "tried", str(other))
    stays = {item.id for item, needed in going if needed == f"tried of {junk.name}: version {other}"}
    assert stays == {str(other), *junk.parts[other - 1]}
    assert junk.versions() == {str(other), "3"}
    assert junk.is_there(other) == {True}


def test_an_experiment_whose_run_and_model_are_given_an_alias_meanwhile_stays_with_them(junk: Junk) -> None:
    client, (run, _) = junk.place.client, junk.parts[2]
    experiment = client.get_run(run).info.experiment_id
    for ids in junk.parts:
        delete(client, *ids)
    client.delete_experiment(experiment)
    going = removing(junk.place)
    next(going)
    client.set_registered_model_alias(junk.name, "tried", "3")
    stays = {item.id: needed for item, needed in going if needed is not None}
    assert stays == dict.fromkeys(junk.parts[2], f"tried of {junk.name}: version 3") | {
        experiment: "a run or model of it that stays"
    }
    assert client.get_experiment(experiment).lifecycle_stage == "active"
    assert junk.is_there(3) == {True}


def test_a_file_that_cannot_be_removed_ends_it_in_one_line_and_its_row_stays(junk: Junk) -> None:
    run, _ = junk.parts[0]
    folder = junk.place.folder / "artifacts" / run / "artifacts"
    shutil.rmtree(folder)
    folder.write_text("no folder")
    junk.place.client.delete_run(run)
    result = eventually("it is old enough", lambda: (found := cleanup(junk.place, OLD, "--yes")).returncode and found)
    assert result.returncode == 1
    assert "another clean-up goes on" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert run in stages(junk.place)
    folder.unlink()
    assert cleanup(junk.place, OLD, "--yes").returncode == 0
    assert run not in stages(junk.place)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("sqlite:///nowhere/mlflow.db", "MLflow's database cannot be used: unable to open database file"),
        ("sqlite:///empty.db", "MLflow has not made its tables in the database yet"),
        ("postgresql+psycopg2://mlflow@127.0.0.1:9/mlflow", "MLflow's database cannot be used: connection to server"),
    ],
)
def test_a_database_that_is_not_there_is_told_in_one_line(tmp_path: Path, uri: str, words: str) -> None:
    place = Place(tmp_path, uri)
    result = cleanup(place)
    assert (result.returncode, result.stdout) == (1, "")
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
