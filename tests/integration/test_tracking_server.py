"""With a real `mlflow server`: the first model, serving over HTTP, and life without the server."""

import json
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import skops.io
from inference.ipc.messages import NOT_ASKED
from inference.model.version import ModelVersion
from inference.rollout import registry
from monitoring import command as monitor
from sklearn.linear_model import LogisticRegression
from trainer.errors import TrackingError
from trainer.tracking.run_logging import connect

from tests.integration.places import CLASSES, MODEL, eventually, in_one_line, running_server
from tests.unit.version_files import COLUMNS, Files

# Runs `python -m trainer COMMAND` for each of its arguments, and tells afterwards what was imported of what takes seconds.
COMMANDS = """
import sys
from trainer.__main__ import main
try:
    for command in sys.argv[1:]:
        sys.argv = ["trainer", *command.split()]
        try:
            main()
        except SystemExit as stop:
            if stop.code:
                raise
finally:
    print(*{"mlflow", "pandas", "sklearn"} & {*sys.modules})
"""


@pytest.fixture(scope="module")
def place_and_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with running_server(tmp_path_factory.mktemp("server")) as place_and_server:
        yield place_and_server


@pytest.fixture(scope="module")
def place(place_and_server: Any) -> Any:
    return place_and_server[0]


@pytest.fixture(scope="module")
def server(place_and_server: Any) -> Any:
    return place_and_server[1]


@pytest.fixture(scope="module")
def first_bootstrap(place: Any) -> Any:
    return place.command("bootstrap")


@pytest.fixture(scope="module")
def second_bootstrap(place: Any, first_bootstrap: Any) -> Any:
    return place.run(sys.executable, "-c", COMMANDS, "bootstrap")


@pytest.fixture(scope="module")
def bootstrap_after_a_loss(place: Any, second_bootstrap: Any) -> Any:
    """A bootstrap where others have put a version into Production whose files are gone; what is there before is whole."""
    experiment = place.client.create_experiment("elsewhere")
    model = place.client.create_logged_model(experiment)
    place.client.create_model_version(MODEL, f"models:/{model.model_id}", model_id=model.model_id)
    place.move_alias("2")
    result = place.command("bootstrap")
    return result, place.registry()["alias"], place.command("history", "--json")


@pytest.fixture(scope="module")
def seen_from_the_server(place: Any, bootstrap_after_a_loss: Any) -> Any:
    """What a service on the tracking server answers while that runs, and the trace of it that the server has then."""
    with place.inference(TRACE_SHARE="1", OTEL_EXPORTER_OTLP_ENDPOINT=place.tracking_uri) as service:
        service.serves("1")
        predicted, model = service.predict(), service.get("/version").json()["model"]
        found = eventually("it is there", lambda: place.client.search_traces(locations=["0"]))
        return predicted, model, found[0]


@pytest.fixture(scope="module")
def adopted(place: Any, second_bootstrap: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A version that was logged by hand, in a folder of its own and under a name that an address has to quote."""
    folder = tmp_path_factory.mktemp("by hand")
    (folder / "an estimator").mkdir()
    rows = pd.DataFrame([[8.0, 1.0], [1.0, 2.0]], columns=COLUMNS)
    skops.io.dump(LogisticRegression().fit(rows, [1, 0]), folder / "an estimator" / "modèl 1.skops")
    files = Files(folder)
    files.describe(lambda content: content["flavors"]["sklearn"].update(pickled_model="an estimator/modèl 1.skops"))
    client = place.client
    client.create_registered_model("by_hand")
    model = client.create_logged_model(client.create_experiment("by hand"), name="mine")
    client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, "READY")
    source = f"models:/{model.model_id}"
    version = str(client.create_model_version("by_hand", source, model_id=model.model_id).version)
    return (
        place.command("adopt", version, "--model-name", "by_hand"),
        place.command("promote", version, "--model-name", "by_hand"),
    )


@pytest.fixture(scope="module")
def bootstrap_without_files(place: Any, seen_from_the_server: Any, adopted: Any) -> Any:
    """A bootstrap after the artifact store has lost all that it had."""
    shutil.rmtree(place.folder / "artifacts")
    result = place.command("bootstrap")
    return result, place.registry()


@pytest.fixture(scope="module")
def seen_without_the_server(place: Any, server: Any, bootstrap_without_files: Any) -> Any:
    """What a service answers that was started after the server was gone, and served version 3 before."""
    with place.inference() as service:
        service.serves("3")
    server.kill_what_is_left()
    with place.inference() as service:
        service.answers("/ready")
        # It serves before it has asked.
        asked = eventually(
            "the registry was asked", lambda: (model := _model(service))["problem"] != NOT_ASKED and model
        )
        return service.predict(), asked


def _model(service: Any) -> dict[str, Any]:
    model: dict[str, Any] = service.get("/version").json()["model"]
    return model


def test_a_report_is_put_into_the_server_as_a_run_at_the_versions_model(
    place: Any, seen_from_the_server: Any, tmp_path: Path
) -> None:
    rows, now = 40, datetime.now(UTC)
    content = {
        "request_id": [str(number) for number in range(rows)],
        "row": pa.array([0] * rows, pa.int32()),
        "time": pa.array([now - timedelta(seconds=60 - number) for number in range(rows)], pa.timestamp("us", "UTC")),
        "version": ["1"] * rows,
        "prediction": [0] * rows,
        "probabilities": pa.array([None] * rows, pa.list_(pa.float64())),
        "input_sepal length (cm)": [50.0] * rows,
    }
    folder = tmp_path / f"predictions/model={MODEL}/date={now:%Y-%m-%d}/hour=00"
    folder.mkdir(parents=True)
    pq.write_table(pa.table(content), folder / "kept.parquet")
    environ = place.environ(PREDICTION_LOG_STORE=str(tmp_path), MONITOR_LAST="1d")
    assert monitor.main(["--rows", "10"], environ) == 6
    experiment = place.client.get_experiment_by_name(f"{MODEL} monitoring")
    (run,) = place.client.search_runs([experiment.experiment_id])
    (model,) = place.client.get_run(run.info.run_id).inputs.model_inputs
    assert place.client.get_model_version(MODEL, "1").source == f"models:/{model.model_id}"
    assert {file.path for file in place.client.list_artifacts(run.info.run_id)} == {"report.html", "report.json"}
    assert (run.info.status, run.data.tags["drift"], run.data.metrics["drifted_columns"]) == ("FINISHED", "true", 2.0)


def test_where_nothing_is_in_production_bootstrap_trains(first_bootstrap: Any) -> None:
    assert first_bootstrap.returncode == 0, first_bootstrap.stderr
    assert "PROMOTED to Production" in in_one_line(first_bootstrap.stdout)


def test_where_a_model_is_in_production_bootstrap_has_nothing_to_do(second_bootstrap: Any) -> None:
    assert second_bootstrap.returncode == 0, second_bootstrap.stderr
    said, imported = second_bootstrap.stdout.splitlines()
    assert said == f"version 1 of {MODEL} is in Production: nothing to do"
    assert imported == ""


def test_what_was_in_production_who_challenges_it_and_the_tour_are_shown_without_importing_scikit_learn(
    place: Any, second_bootstrap: Any
) -> None:
    commands = ("history --json", "challenge status --json", "workshop --language en")
    result = place.run(sys.executable, "-c", COMMANDS, *commands)
    assert result.returncode == 0, result.stderr
    moves, status, *tour, imported = result.stdout.splitlines()
    assert json.loads(status)["challenger"] is None
    assert "docs/workshop/en/" in tour[-1]
    by = [move["by"] for move in json.loads(moves)]
    # Another test's loss may have come first.
    assert by == ["train", "others", "bootstrap"][: len(by)] != []
    assert set(imported.split()) == {"mlflow", "pandas"}


def test_where_the_version_in_production_is_lost_bootstrap_goes_back_to_the_last_that_is_whole(
    bootstrap_after_a_loss: Any,
) -> None:
    result, alias, history = bootstrap_after_a_loss
    assert result.returncode == 0, result.stderr
    assert f"version 2 of {MODEL}, in Production, has lost its files" in result.stdout
    assert f"Version 1 of {MODEL} is in Production; before it was 2." in in_one_line(result.stdout)
    assert alias == "1"
    made = [(made["by"], made["before"], made["version"]) for made in json.loads(history.stdout)]
    assert made == [("train", None, "1"), ("others", "1", "2"), ("bootstrap", "2", "1")]


def test_a_service_serves_what_the_server_has_in_production(seen_from_the_server: Any) -> None:
    predictions, model, _ = seen_from_the_server
    assert predictions == CLASSES
    assert (model["version"], model["stale"], model["problem"]) == ("1", False, None)


def test_a_prediction_is_traced_stage_by_stage_in_mlflow(seen_from_the_server: Any) -> None:
    _, _, trace = seen_from_the_server
    root, *stages = sorted(trace.data.spans, key=lambda span: (span.start_time_ns, -span.end_time_ns))
    assert (root.name, [stage.name for stage in stages]) == (
        "POST /invocations",
        ["wait", "parse", "predict", "serialize"],
    )
    assert {stage.parent_id for stage in stages} == {root.span_id}
    assert (root.attributes["model.version"], root.attributes["rows"]) == ("1", 3)
    assert trace.info.state == "OK"


def test_a_version_that_was_logged_by_hand_is_adopted_and_promoted_over_http(adopted: Any) -> None:
    adoption, promotion = adopted
    assert adoption.returncode == 0, adoption.stderr
    assert "Version 1 of by_hand is checked and signed; it can be served now." in in_one_line(adoption.stdout)
    assert promotion.returncode == 0, promotion.stderr
    assert "Version 1 of by_hand is in Production" in in_one_line(promotion.stdout)


def test_of_a_version_on_the_server_it_is_told_which_of_its_parts_somebody_has_deleted(place: Any) -> None:
    client = place.client
    experiment = client.create_experiment("deleted")
    run = client.create_run(experiment).info.run_id
    model = client.create_logged_model(experiment, source_run_id=run).model_id
    found, version = (
        registry.connect(place.tracking_uri, MODEL, "Production"),
        ModelVersion(MODEL, "9", run, 1, model, ""),
    )
    assert found.deleted(version) is None
    client.delete_run(run)
    assert found.deleted(version) == f"its run {run} is deleted in MLflow"
    client.delete_logged_model(model)
    assert f"its logged model {model} is deleted in MLflow" in (found.deleted(version) or "")


@pytest.mark.parametrize("deleted", [False, True], ids=["", "deleted"])
def test_an_experiment_whose_files_are_not_on_the_server_is_refused_before_anything_is_written(
    place: Any, first_bootstrap: Any, tmp_path: Path, deleted: bool
) -> None:
    name = f"strangers {deleted}"
    experiment = place.client.create_experiment(name, artifact_location=f"file://{tmp_path}/data")
    if deleted:
        place.client.delete_experiment(experiment)
    with pytest.raises(TrackingError, match=f"the experiment '{name}' keeps its files at 'file://.*data'; expected"):
        connect(place.tracking_uri, name)
    assert place.client.get_experiment(experiment).lifecycle_stage == ("deleted" if deleted else "active")
    assert not (tmp_path / "data").exists()


def test_where_the_files_of_the_model_in_production_are_lost_bootstrap_trains_anew(
    bootstrap_without_files: Any,
) -> None:
    result, registry = bootstrap_without_files
    assert result.returncode == 0, result.stderr
    assert "version 1 of iris_logistic_regression, in Production, has lost its files" in result.stdout
    assert f"no version of {MODEL} that was in Production before can be served: training a new one" in result.stdout
    assert registry["alias"] == "3"
    assert registry["stages"] == {"1": "Archived", "2": None, "3": "Production"}


def test_without_the_server_a_restarted_service_serves_the_last_version_and_says_that_it_may_be_stale(
    place: Any, seen_without_the_server: Any
) -> None:
    predictions, model = seen_without_the_server
    assert predictions == CLASSES
    assert (model["version"], model["stale"]) == ("3", True)
    assert f"MLflow at {place.tracking_uri} does not answer" in model["problem"]


def test_the_server_is_one_process_and_to_be_stopped_is_no_failure(tmp_path: Path) -> None:
    """MLflow's command would start another one, which imports it all once more."""
    with running_server(tmp_path) as (_, server):
        assert len(server.processes()) == 1
        assert server.stop() == 0
        assert "Finished server process" in server.log
