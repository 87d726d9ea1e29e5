"""A trainer that is interrupted after any of its steps leaves nothing half done; what kill -9 leaves, the next one tidies.

With a real `mlflow server`: a step is one answer of its API (tests/integration/interrupting.py).
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from tests.fuzzing import IS_SHORT
from tests.integration.places import Place, running_server

# Dozens of trainings one after the other: minutes for each signal on a quiet machine, and much more on a slow one.
SECONDS = 1500 if IS_SHORT else 7000
pytestmark = [pytest.mark.fuzz, pytest.mark.unhurried, pytest.mark.timeout(SECONDS + 100)]

INTERRUPTING = Path(__file__).with_name("interrupting.py")
EXIT_CODES = {"SIGTERM": 143, "SIGINT": 130, "SIGKILL": -9}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with running_server(tmp_path_factory.mktemp("interrupted")) as (place, _):
        yield place


# Ctrl-C goes the way of SIGTERM (trainer/signals.py), so in a test run they take turns, and each step is stopped by one.
@pytest.fixture(scope="module", params=["SIGTERM,SIGINT"] if IS_SHORT else ["SIGTERM", "SIGINT"])
def stopped(place: Any, request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return trainings(place, request.param)


@pytest.fixture(scope="module")
def killed(place: Any) -> Any:
    """Trainings that were killed, and then one that was not."""
    return trainings(place, "SIGKILL"), place.command("train", MODEL_NAME="after_the_killed")


def trainings(place: Place, signals: str) -> list[dict[str, Any]]:
    if IS_SHORT:
        result = place.forked("-c", INTERRUPTING.read_text(), signals)
    else:
        result = place.run(sys.executable, str(INTERRUPTING), signals, "EVERY", timeout=SECONDS)
    assert result.returncode == 0, result.stderr
    found = [json.loads(line) for line in result.stdout.splitlines()]
    *interrupted, whole = found
    assert interrupted[-1]["step"] > 20, "a training talks to MLflow more often than this"
    assert {training["signal"] for training in interrupted} == set(signals.split(","))
    for training in interrupted:
        assert training["code"] == EXIT_CODES[training["signal"]], training
    assert "Traceback" not in "".join(training["said"] for training in found)
    assert whole["code"] == 0
    return interrupted


def versions(place: Place, name: str) -> list[Any]:
    return list(place.client.search_model_versions(f"name = '{name}'"))


def production(place: Place, name: str) -> str | None:
    try:
        return str(place.client.get_model_version_by_alias(name, "Production").version)
    except MlflowException:
        return None


def open_runs(place: Place) -> list[str]:
    ids = [experiment.experiment_id for experiment in place.client.search_experiments()]
    return [run.info.run_id for run in place.client.search_runs(ids, "attributes.status = 'RUNNING'")]


def statuses_of_models(place: Place) -> set[str]:
    ids = [experiment.experiment_id for experiment in place.client.search_experiments()]
    return {str(model.status) for model in place.client.search_logged_models(ids, max_results=1000)}


def assert_nothing_half_done(place: Place, name: str) -> bool:
    """Check the versions of a name; tell whether one was promoted."""
    found, current = versions(place, name), production(place, name)
    for version in found:
        model_id = version.source.removeprefix("models:/")
        files = {entry.path for entry in place.client.list_logged_model_artifacts(model_id)}
        assert {"MLmodel", "model.skops", "identity.json", "model.sig"} <= files
        assert str(place.client.get_logged_model(model_id).status) == "READY"
        assert version.description, f"nothing says what became of {name}"
        assert version.tags["stage"] == ("Production" if current == str(version.version) else "None")
    return current is not None


def test_a_stopped_trainer_leaves_no_run_open_and_no_version_undecided(place: Any, stopped: Any) -> None:
    assert open_runs(place) == []
    promoted = [assert_nothing_half_done(place, training["name"]) for training in stopped]
    # Once promoted, always promoted: from some step on the decision has been carried out, whole.
    assert promoted == sorted(promoted)
    assert promoted[0] is False
    assert promoted[-1] is True


def test_a_stopped_trainer_says_so_in_its_last_line(stopped: Any) -> None:
    for training in stopped:
        assert training["said"].splitlines()[-1].startswith("trainer: stopped by SIG"), training


def test_what_a_killed_trainer_leaves_the_next_one_tidies_and_tells(place: Any, killed: Any) -> None:
    trainings, after = killed
    assert after.returncode == 0, after.stderr
    told = "".join([training["said"] for training in trainings] + [after.stdout])
    assert told.count("was left behind by a trainer that was killed") > 20
    assert "was not complete; it is marked as FAILED" in told
    assert "was never decided on; it stays out of Production" in told
    assert "had been promoted to Production already; it stays there" in told
    assert open_runs(place) == []
    for training in trainings:
        assert_nothing_half_done(place, training["name"])


def test_no_model_stays_unfinished(place: Any, stopped: Any, killed: Any) -> None:
    assert statuses_of_models(place) == {"READY", "FAILED"}
