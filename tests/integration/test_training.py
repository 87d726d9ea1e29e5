"""`python -m trainer train` on SQLite: what it leaves in MLflow, and which version it puts into Production."""

import json
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import pytest
from contract.signature import entries
from mlflow.entities import Run

from tests.integration.conftest import Training
from tests.integration.places import CLASSES, MODEL, SAMPLES, in_one_line, write_permuted_iris

pytestmark = pytest.mark.unhurried

EXPERIMENT = "MLflow Workshop - Iris Classification"
FEATURES = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]


@pytest.fixture(scope="module")
def run(first: Training) -> Any:
    """The run behind version 1, as MLflow has it."""
    client = first.place.client
    return client.get_run(client.get_model_version(MODEL, "1").run_id)


@pytest.fixture(scope="module")
def notebook(first: Training) -> Any:
    """What plain mlflow makes of the version in Production."""
    return first.place.notebook(f"""
import json, mlflow, pandas
uri = "models:/{MODEL}@Production"
model = mlflow.pyfunc.load_model(uri)
rows = pandas.DataFrame({SAMPLES}, columns={FEATURES})
info = mlflow.models.get_model_info(uri)
requirements = open(mlflow.artifacts.download_artifacts(uri + "/requirements.txt")).read().split()
print(json.dumps({{
    "predictions": model.predict(rows).tolist(),
    "inputs": info.signature.inputs.to_dict(),
    "outputs": info.signature.outputs.to_dict(),
    "example": model.input_example.to_dict("split"),
    "metadata": info.metadata,
    "requirements": requirements,
}}))
""")


@pytest.fixture(scope="module")
def permuted(second: Training, train: Callable[..., Training], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A third training, on labels that say nothing of the flowers."""
    folder = tmp_path_factory.mktemp("permuted")
    write_permuted_iris(folder / "data")
    return train(second.place.copy(folder / "place"), DATA_DIR=str(folder / "data"))


@pytest.fixture(scope="module")
def after_a_rollback_by_hand(permuted: Any, train: Callable[..., Training]) -> Any:
    """A fourth training, after somebody moved the alias to version 2 in the UI."""
    permuted.place.move_alias("2")
    return train(permuted.place)


@pytest.fixture(scope="module")
def after_a_bad_choice_by_hand(after_a_rollback_by_hand: Any, train: Callable[..., Training]) -> Any:
    """A sixth version, after somebody made the fifth out of the run with the permuted labels, and put it there."""
    place = after_a_rollback_by_hand.place
    run_id = place.client.get_model_version(MODEL, "3").run_id
    place.client.create_model_version(MODEL, f"runs:/{run_id}/iris_classifier", run_id)
    place.move_alias("5")
    return train(place)


def test_the_first_version_goes_into_production(first: Training) -> None:
    assert first.registry["alias"] == "1"
    assert first.registry["stages"] == {"1": "Production"}
    assert "PROMOTED to Production: nothing was in Production" in in_one_line(first.result.stdout)
    assert first.registry["descriptions"]["1"].startswith("Promoted: nothing was in Production")


def test_the_figures_are_printed(first: Training) -> None:
    report = in_one_line(first.result.stdout)
    assert "test accuracy 96.67%" in report
    assert "train accuracy 97.50%" in report
    assert "overfitting gap 0.0083" in report
    assert "precision 96.67% micro, 96.97% macro" in report
    assert "F1 96.66% macro" in report


@pytest.mark.parametrize("training", ["first", "second"])
def test_a_training_that_works_warns_of_nothing(training: str, request: pytest.FixtureRequest) -> None:
    result = request.getfixturevalue(training).result
    assert "warning" not in (result.stdout + result.stderr).lower()


def test_an_equal_version_does_not_displace_the_one_in_production(second: Training) -> None:
    report = in_one_line(second.result.stdout)
    assert "not promoted: equal test accuracy 0.9667 against 0.9667 of version 1 in Production" in report
    assert "an equal model does not displace the champion" in report
    assert second.registry["alias"] == "1"
    assert second.registry["stages"] == {"1": "Production", "2": "Staging"}
    assert second.registry["descriptions"]["2"].startswith("Not promoted: equal test accuracy")


def test_a_version_below_the_threshold_is_kept_but_gets_no_stage(permuted: Any) -> None:
    report = in_one_line(permuted.result.stdout)
    assert "not promoted: its test accuracy" in report
    assert "is below the threshold of 0.9000" in report
    assert permuted.registry["alias"] == "1"
    assert permuted.registry["stages"] == {"1": "Production", "2": "Staging", "3": "None"}


def test_the_figures_follow_the_data(permuted: Any, run: Any) -> None:
    client = permuted.place.client
    other = client.get_run(client.get_model_version(MODEL, "3").run_id)
    assert other.data.metrics["test_accuracy"] < 0.6 < run.data.metrics["test_accuracy"]
    assert other.data.tags["data_sha256"] != run.data.tags["data_sha256"]


def test_the_stages_follow_an_alias_that_was_moved_by_hand(after_a_rollback_by_hand: Any) -> None:
    assert after_a_rollback_by_hand.registry["alias"] == "2"
    assert after_a_rollback_by_hand.registry["stages"] == {
        "1": "Archived",
        "2": "Production",
        "3": "None",
        "4": "Staging",
    }


def test_a_better_version_displaces_the_one_in_production_also_where_that_was_made_by_hand(
    after_a_bad_choice_by_hand: Any,
) -> None:
    report = in_one_line(after_a_bad_choice_by_hand.result.stdout)
    assert "PROMOTED to Production: higher test accuracy 0.9667 against 0." in report
    assert "of version 5 in Production, measured on other data" in report
    registry = after_a_bad_choice_by_hand.registry
    assert registry["alias"] == "6"
    assert [number for number, stage in registry["stages"].items() if stage == "Production"] == ["6"]
    assert registry["stages"]["2"] == "Archived"


def test_the_run_is_finished_in_the_experiment_of_the_workshop(first: Training, run: Any) -> None:
    assert run.info.status == "FINISHED"
    assert first.place.client.get_experiment(run.info.experiment_id).name == EXPERIMENT


def _location(place: Any) -> str:
    model_id = place.client.get_model_version(MODEL, "1").source.removeprefix("models:/")
    return place.client.get_logged_model(model_id).artifact_location


def test_the_figures_are_signed_with_the_model(first: Training, run: Any) -> None:
    location = _location(first.place)
    folder = Path(url2pathname(urlparse(location).path))
    assert "figures.json" in entries((folder / "model.sig").read_bytes())
    assert json.loads((folder / "figures.json").read_text()) == {
        "algorithm": "logistic_regression",
        "metrics": run.data.metrics,
        "run_id": run.info.run_id,
        "data": {"file": "iris_dataset.csv", "sha256": run.data.tags["data_sha256"], "rows": 150},
    }


def test_the_run_has_what_decides_the_result(run: Any) -> None:
    expected = {
        "algorithm": "LogisticRegression",
        "solver": "lbfgs",
        "max_iter": "1000",
        "C": "1.0",
        "test_size": "0.2",
        "random_seed": "42",
        "stratified": "True",
        "train_rows": "120",
        "test_rows": "30",
        "scikit_learn": version("scikit-learn"),
    }
    assert expected.items() <= run.data.params.items()


def test_the_run_has_the_metrics(run: Any) -> None:
    figures = {name: round(figure, 4) for name, figure in run.data.metrics.items()}
    assert (
        figures.items()
        >= {
            "test_accuracy": 0.9667,
            "train_accuracy": 0.9750,
            "overfitting_gap": 0.0083,
            "test_precision_micro": 0.9667,
            "test_precision_macro": 0.9697,
            "test_recall_micro": 0.9667,
            "test_recall_macro": 0.9667,
            "test_f1_macro": 0.9666,
        }.items()
    )


def test_the_run_names_the_data_set_by_its_digest(run: Any) -> None:
    (used,) = run.inputs.dataset_inputs
    assert used.dataset.name == "iris_dataset"
    assert used.dataset.digest
    assert {tag.key: tag.value for tag in used.tags}["mlflow.data.context"] == "training"
    columns = json.loads(used.dataset.schema)["mlflow_colspec"]
    assert [column["name"] for column in columns] == [*FEATURES, "target"]
    assert json.loads(used.dataset.profile)["num_rows"] == 150
    assert len(run.data.tags["data_sha256"]) == 64


def test_the_run_has_the_confusion_matrix_as_a_picture(first: Training, run: Any, tmp_path: Path) -> None:
    picture = first.place.client.download_artifacts(run.info.run_id, "confusion_matrix.png", str(tmp_path))
    with open(picture, "rb") as file:
        assert file.read(8) == b"\x89PNG\r\n\x1a\n"


def test_the_artifacts_lie_beside_the_database(first: Training, run: Any) -> None:
    folder = url2pathname(urlparse(run.info.artifact_uri).path)
    assert folder.startswith(str(first.place.folder / "artifacts"))
    assert first.left == []


def test_plain_mlflow_loads_the_version_and_predicts_the_samples(notebook: Any) -> None:
    assert notebook["predictions"] == CLASSES


def test_the_model_states_four_columns_of_doubles_in_and_a_class_number_out(notebook: Any) -> None:
    assert [(column["name"], column["type"]) for column in notebook["inputs"]] == [
        (name, "double") for name in FEATURES
    ]
    assert [column["type"] for column in notebook["outputs"]] == ["long"]


def test_the_model_carries_an_example_and_the_class_names(notebook: Any) -> None:
    assert notebook["example"]["columns"] == FEATURES
    assert notebook["example"]["data"][0] == SAMPLES[0]
    assert notebook["metadata"]["class_names"] == ["setosa", "versicolor", "virginica"]
    assert notebook["metadata"]["example_targets"] == 3 * ["setosa"]  # of the file's first rows


def test_the_model_pins_the_packages_that_loading_it_needs(notebook: Any) -> None:
    names = ("scikit-learn", "skops", "pandas")
    assert {f"{name}=={version(name)}" for name in names} <= set(notebook["requirements"])
    assert any(line.split("==")[0] in ("mlflow", "mlflow-skinny") for line in notebook["requirements"])
    assert all("==" in line for line in notebook["requirements"])


def test_a_run_is_named_and_described_by_what_it_came_to(run: Run) -> None:
    assert run.info.run_name == "logistic_regression 0.9667 v1"
    note = run.data.tags["mlflow.note.content"]
    assert "| test accuracy | 96.67% (95 % interval: 90.0% to 100.0%) |" in note
    assert "| promotion | PROMOTED to Production: nothing was in Production" in note


def test_parameters_are_few_and_a_run_that_has_ended_has_no_heartbeat(run: Run) -> None:
    assert "penalty" not in run.data.params
    assert len(run.data.params) <= 12
    assert "trainer_heartbeat" not in run.data.tags


def test_the_experiment_and_the_registered_model_say_what_they_are(first: Any, run: Run) -> None:
    client = first.place.client
    about = client.get_experiment(run.info.experiment_id).tags["mlflow.note.content"]
    assert about.startswith("classification of 'target' in iris_dataset.csv. Each run is one training")
    assert client.get_registered_model(MODEL).description.startswith("Trained on iris\\_dataset.csv by `trainer train`")


def test_the_registered_model_shows_its_history_and_no_json(first: Any) -> None:
    model = first.place.client.get_registered_model(MODEL)
    *_, heading, _, names, _, row = model.description.splitlines()
    assert heading == "### History of Production"
    assert names == "| time (UTC) | by | from | to | reason |"
    assert re.fullmatch(r"\| [-0-9]+ [:0-9]+ \| train \| - \| 1 \| nothing was in Production, .* \|", row)
    assert [text.split(":")[0] for text in model.tags.values()] == ["none → 1 by train"]


def test_a_description_that_somebody_wrote_stays(first: Any, train: Any, tmp_path: Path, run: Run) -> None:
    place = first.place.copy(tmp_path / "place")
    place.client.set_experiment_tag(run.info.experiment_id, "mlflow.note.content", "ours")
    place.client.update_registered_model(MODEL, "ours too")
    train(place)
    assert place.client.get_experiment(run.info.experiment_id).tags["mlflow.note.content"] == "ours"
    assert place.client.get_registered_model(MODEL).description == "ours too"
