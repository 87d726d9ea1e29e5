"""`trainer train` on tables of one's own: what becomes a version is served, and what cannot be trained on leaves nothing."""

import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests

from tests.integration.places import DATA, Place
from tests.unit.tables import customers, people

pytestmark = pytest.mark.unhurried


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Any:
    place = Place(tmp_path_factory.mktemp("any"))
    data = place.folder / "data"
    data.mkdir()
    (data / "iris_dataset.csv").write_bytes((DATA / "iris_dataset.csv").read_bytes())
    people().to_csv(data / "people.csv", index=False)
    people().to_parquet(data / "people.parquet")
    customers().to_csv(data / "customers.csv", index=False)
    return place


def train(place: Place, *options: str, code: int = 0, trainer: Any = None) -> dict[str, Any]:
    """Train, and return the promotion record; where another exit code is expected, what was said."""
    settings = {"DATA_DIR": str(place.folder / "data"), "MIN_TEST_ACCURACY": "0.5", "PICTURES": "drawn"}
    result = (trainer or place.command)("train", "--json", *options, **settings)
    assert result.returncode == code, result.stderr
    return json.loads(result.stdout) if code == 0 else {"said": result.stderr}


def artifact(place: Place, record: dict[str, Any], name: str) -> str:
    return (files(place, record) / name).read_text()


def files(place: Place, record: dict[str, Any]) -> Path:
    """Return the folder that a version's files lie in: beside SQLite they are on this machine."""
    uri = place.client.get_model_version_download_uri(record["model_name"], record["version"])
    return Path(uri.removeprefix("file://"))


def versions(place: Place, name: str) -> int:
    return len(place.client.search_model_versions(f"name = '{name}'"))


SERVED = {
    "mixed table, logistic regression": ("--data", "people.csv", "--target", "stays"),
    "Parquet, histogram boosting": (
        "--data", "people.parquet", "--target", "stays", "--algorithm", "hist_gradient_boosting",
    ),
    "a raw table with dates and notes": ("--data", "customers.csv", "--target", "Churn"),
    "mixed table with gaps, XGBoost": ("--data", "people.csv", "--target", "stays", "--algorithm", "xgboost"),
    "wine, forest": ("--dataset", "wine", "--algorithm", "random_forest"),
    "diabetes, regression": ("--dataset", "diabetes"),
    "iris, nearest neighbours": ("--estimator", "sklearn.neighbors.KNeighborsClassifier", "--param", "n_neighbors=3"),
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(place: Any) -> Callable[[str], dict[str, Any]]:
    """Return what trains a case of SERVED once, and returns its promotion record."""
    return functools.cache(lambda case: train(place, *SERVED[case]))


@pytest.fixture(scope="module")
def iris(place: Any) -> dict[str, Any]:
    """The record of a first version of the iris flowers, of a model that no test moves."""
    return train(place, "--model-name", "flowers")


@pytest.mark.parametrize("case", SERVED)
def test_a_version_reproduces_its_golden_samples_through_the_service(
    place: Any, trained: Callable[[str], dict[str, Any]], case: Any
) -> None:
    record = trained(case)
    assert record["promoted"], record["reason"]
    golden = json.loads(artifact(place, record, "golden_samples.json"))
    with place.inference(MODEL_NAME=record["model_name"]) as service:
        service.serves(record["version"])
        answer = service.post("/invocations", {"instances": golden["instances"]})
        assert answer.status_code == 200, answer.text
        if "probabilities" in golden:
            named = service.post("/predict_names", {"instances": golden["instances"]}).json()
            found = [list(row.values()) for row in named["probabilities"]]
            assert np.abs(np.array(found) - np.array(golden["probabilities"])).max() < 1e-5
        explained = service.post("/explain", {"instances": golden["instances"][:1]}).json()
        assert explained["prediction"] == answer.json()["predictions"][0]
        sums = explained["value"] - explained["expected_value"]
        assert sum(explained["contributions"].values()) == pytest.approx(
            sums, abs=1e-9 * max(1, abs(explained["value"]))
        )
    if isinstance(golden["predictions"][0], float):
        assert answer.json()["predictions"] == pytest.approx(golden["predictions"], rel=1e-5)
    else:
        assert answer.json()["predictions"] == golden["predictions"]


def test_a_raw_record_of_the_file_is_answered_as_its_pipeline_does(
    place: Place, trained: Callable[[str], dict[str, Any]]
) -> None:
    record = trained("a raw table with dates and notes")
    raw = customers().drop(columns="Churn").head(20)
    plain = place.notebook(f"""
import json, mlflow, pandas as pd
model = mlflow.pyfunc.load_model("models:/{record["model_name"]}@Production")
rows = pd.read_csv({str(place.folder / "data" / "customers.csv")!r}, dtype={{"PostCode": "str"}}, na_values=["?"]).head(20)
rows["SignupDate"] = pd.to_datetime(rows["SignupDate"])
print(json.dumps(model.predict(rows).tolist()))
""")
    with place.inference(MODEL_NAME=record["model_name"]) as service:
        service.serves(record["version"])
        in_csv = requests.post(
            f"{service.url}/invocations", data=raw.to_csv(index=False), headers={"Content-Type": "text/csv"}, timeout=30
        )
        incomes = pd.to_numeric(raw["Income"], errors="coerce")
        records = json.loads(raw.assign(Income=incomes).to_json(orient="records"))
        in_json = service.post("/invocations", {"dataframe_records": records})
    assert in_csv.json() == in_json.json() == {"predictions": plain}


def test_plain_mlflow_loads_every_version_and_predicts_its_example(
    place: Any, trained: Callable[[str], dict[str, Any]]
) -> None:
    names = [trained(case)["model_name"] for case in SERVED]
    plain = place.notebook(f"""
import json, mlflow
models = [mlflow.pyfunc.load_model(f"models:/{{name}}@Production") for name in {names}]
print(json.dumps([list(map(str, model.predict(model.input_example).tolist())) for model in models]))
""")
    assert [len(predicted) for predicted in plain] == [3] * len(SERVED)


def test_the_promotion_record_tells_who_against_whom_on_what_with_which_figures(place: Any) -> None:
    options = ("--dataset", "breast_cancer")
    first, second = train(place, *options), train(place, *options)
    assert (first["promoted"], second["promoted"]) == (True, False)
    assert first["model_name"] == "breast_cancer_logistic_regression"
    kept = json.loads(
        place.notebook(f"""
import json, mlflow
print(json.dumps(mlflow.artifacts.load_text("runs:/{second["run_id"]}/promotion.json")))
""")
    )
    assert kept == second
    assert second["attempts_on_this_data"] == 2
    assert second["rounds"][0]["champion"]["version"] == "1"
    comparison = second["rounds"][0]["comparison"]
    assert comparison["challenger"] == comparison["champion"]
    assert comparison["rows"] == 114
    assert second["data"]["sha256"] == first["data"]["sha256"]
    assert len(second["git_commit"] or "") == 40
    assert len(second["code_sha256"]) == 64
    version = place.client.get_model_version(second["model_name"], "2")
    assert version.description.startswith("Not promoted: equal test accuracy")
    assert "attempt 2 on it" in version.description


def test_a_version_carries_all_its_metadata_files(place: Any, iris: dict[str, Any]) -> None:
    assert {
        "MLmodel", "model.skops", "model.onnx", "onnx_engine.json", "golden_samples.json", "schema.yaml", "profile.json",
        "fitted_rows.npy", "background.json", "identity.json", "model.sig", "input_example.json", "requirements.txt",
    } <= {path.name for path in files(place, iris).iterdir()}  # fmt: skip
    assert iris["onnx_engine"]["kept"]
    assert iris["onnx_engine"]["labels_differ"] == 0


def test_another_table_cannot_displace_a_model_and_is_told_before_a_single_fit(
    place: Any, iris: dict[str, Any]
) -> None:
    said = train(place, "--dataset", "wine", "--model-name", iris["model_name"], code=3)["said"]
    assert "does not fit flowers, whose versions have another schema: column 'sepal length (cm)' has vanished" in said
    assert "--model-name NAME" in said
    assert versions(place, "flowers") == 1


def test_values_far_out_of_range_are_refused_until_they_are_accepted(place: Any) -> None:
    frame = people()
    frame.assign(age=frame["age"] * 1000).to_csv(place.folder / "data" / "days.csv", index=False)
    train(place, "--data", "people.csv", "--target", "stays", "--model-name", "ages")
    options = ("--data", "days.csv", "--target", "stays", "--model-name", "ages")
    assert "column 'age' is" in train(place, *options, code=3)["said"]
    assert versions(place, "ages") == 1
    assert train(place, *options, "--new-ranges")["version"] == "2"


def test_several_algorithms_compete_on_the_same_folds_as_child_runs(place: Any) -> None:
    names = ("logistic_regression", "random_forest")
    options = [word for name in names for word in ("--algorithm", name)]
    record = train(place, "--dataset", "wine", *options, "--model-name", "ranked", "--folds", "3")
    client = place.client
    run = client.get_run(record["run_id"])
    children = client.search_runs([run.info.experiment_id], f"tags.mlflow.parentRunId = '{record['run_id']}'")
    assert {child.info.run_name for child in children} == set(names)
    best = max(children, key=lambda child: child.data.metrics["cv_mean"])
    assert run.data.metrics["cv_mean"] == best.data.metrics["cv_mean"]
    assert all(len(client.get_metric_history(child.info.run_id, "cv_fold")) == 3 for child in children)
    artifacts = {entry.path for entry in client.list_artifacts(record["run_id"])}
    costs = {"fit_seconds", "predict_seconds_per_1000_rows", "file_bytes", "has_onnx_engine"}
    assert all(costs <= child.data.metrics.keys() for child in children)
    assert {"leaderboard.csv", "leaderboard.md"} <= artifacts
    board = record["leaderboard"]
    assert [row["place"] for row in board] == [1, 2, None]
    assert board[0]["mean"] == best.data.metrics["cv_mean"]
    summary = run_path("scripts/retrain.py")["summary"](0, json.dumps(record), "")
    assert summary.startswith(f"### Version {record['version']} of ranked is promoted")
    assert [line.split("|")[1].strip() for line in summary.splitlines()[-3:]] == ["1", "2", ""]
    assert {"leaderboard.json", "leaderboard.png", "curves.png", "importance.png", "learning_curve.png"} <= artifacts


def test_a_search_keeps_its_trials_and_pictures(place: Any) -> None:
    record = train(place, "--search", "6", "--model-name", "searched")
    run = place.client.get_run(record["run_id"])
    (child,) = place.client.search_runs([run.info.experiment_id], f"tags.mlflow.parentRunId = '{record['run_id']}'")
    artifacts = {entry.path for entry in place.client.list_artifacts(child.info.run_id)}
    assert artifacts == {"search_trials.csv", "search_history.png", "search_importance.png"}


def test_compare_makes_no_version(place: Any) -> None:
    result = place.command("compare", "--json", DATA_DIR=str(place.folder / "data"))
    assert result.returncode == 0, result.stderr
    board = json.loads(result.stdout)
    assert [row["place"] for row in board] == [1, 2, 3, 4, 5, None]
    *ranked, lowest = board
    assert {row["algorithm"] for row in ranked} == {
        "logistic_regression", "random_forest", "hist_gradient_boosting", "xgboost", "lightgbm",
    }  # fmt: skip
    assert (lowest["algorithm"], lowest["metric"]) == ("baseline: always setosa", "accuracy")
    assert lowest["mean"] == pytest.approx(1 / 3)
    assert "compared" not in {model.name for model in place.client.search_registered_models()}
    assert all(row["file_bytes"] > 1000 and row["predict_seconds_per_1000_rows"] > 0 for row in ranked)
    assert {row["algorithm"]: row["has_onnx_engine"] for row in ranked}["logistic_regression"]


def test_compare_leaves_a_run_with_a_child_for_each_algorithm_and_the_leaderboard(place: Any) -> None:
    options = ("--dataset", "breast_cancer", "--algorithm", "logistic_regression", "--algorithm", "random_forest")
    result = place.command("compare", *options, "--folds", "2", DATA_DIR=str(place.folder / "data"))
    assert result.returncode == 0, result.stderr
    assert "      random_forest: accuracy 0.9" in result.stdout
    client, experiment = place.client, place.client.get_experiment_by_name("MLflow Stack - breast_cancer")
    (run,) = client.search_runs([experiment.experiment_id], "tags.kind = 'comparison'")
    assert (run.info.status, run.data.params["folds"]) == ("FINISHED", "2")
    assert run.info.run_name.startswith("compare: ")
    names = {entry.path for entry in client.list_artifacts(run.info.run_id)}
    assert names == {"leaderboard.json", "leaderboard.csv", "leaderboard.md", "leaderboard.png"}
    assert "| baseline: always benign |" in run.data.tags["mlflow.note.content"]
    children = client.search_runs([experiment.experiment_id], f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    assert {child.info.run_name for child in children} == {"logistic_regression", "random_forest"}
    assert all(child.data.metrics["fit_seconds"] > 0 for child in children)
    assert {child.data.params["algorithm"] for child in children} == {"LogisticRegression", "RandomForestClassifier"}


def test_without_promotion_production_stays_and_by_force_it_moves_with_the_reason_kept(place: Any) -> None:
    train(place, "--model-name", "willed")
    assert train(place, "--model-name", "willed", "--no-promote")["reason"] == "it was trained with --no-promote"
    forced = train(place, "--model-name", "willed", "--force", "--reason", "the old one is unlawful")
    assert (forced["promoted"], forced["reason"]) == (True, "forced: the old one is unlawful")
    moves = json.loads(place.command("history", "--json", "--model-name", "willed").stdout)
    assert [(move["before"], move["version"]) for move in moves] == [(None, "1"), ("1", "3")]
    assert moves[-1]["reason"] == "forced: the old one is unlawful"


def test_explore_logs_its_report_beside_the_digest_of_the_data(place: Any) -> None:
    options = ("--data", "people.csv", "--target", "stays")
    result = place.command("explore", *options, DATA_DIR=str(place.folder / "data"))
    assert result.returncode == 0, result.stderr
    experiment = place.client.get_experiment_by_name("MLflow Stack - people")
    (run,) = place.client.search_runs([experiment.experiment_id], "tags.kind = 'exploration'")
    assert (
        run.data.tags["data_sha256"] == hashlib.sha256((place.folder / "data" / "people.csv").read_bytes()).hexdigest()
    )
    logged = {entry.path for entry in place.client.list_artifacts(run.info.run_id, "exploration")}
    assert {"exploration/report.html", "exploration/missing.png", "exploration/summary.json"} <= logged


def test_many_features_are_explored_too(place: Any) -> None:
    result = place.command("explore", "--dataset", "digits", DATA_DIR=str(place.folder / "data"))
    assert result.returncode == 0, result.stderr
    for picture in ("target.png", "distributions.png", "correlations.png"):
        assert f"{picture} drawn" in result.stdout


def test_models_lists_what_is_in_production(place: Any, iris: dict[str, Any]) -> None:
    found = {model["name"]: model for model in json.loads(place.command("models", "--json").stdout)}
    assert found[iris["model_name"]]["production"] == "1"
    assert found[iris["model_name"]]["figures"]["test_accuracy"] == pytest.approx(29 / 30)


def test_the_same_experiment_from_a_file_is_the_same_model(place: Any) -> None:
    (place.work / "mine.yaml").write_text(
        "dataset: wine\nalgorithm: random_forest\nparams: {n_estimators: 20}\nmodel_name: filed\n"
    )
    filed = train(place, "--config", "mine.yaml")
    typed = train(
        place,
        "--dataset",
        "wine",
        "--algorithm",
        "random_forest",
        "--param",
        "n_estimators=20",
        "--model-name",
        "typed",
        trainer=place.trainer,  # in a process with other hashes
    )
    assert filed["metrics"] == typed["metrics"]
    assert filed["model_sha256"] == typed["model_sha256"]
    assert artifact(place, filed, "golden_samples.json") == artifact(place, typed, "golden_samples.json")
    over = train(place, "--config", "mine.yaml", "--param", "n_estimators=3", "--model-name", "over")
    assert over["model_sha256"] != filed["model_sha256"]


REFUSED = {
    "an unknown option": (("--algoritm", "x"), 2, "No such option"),
    "an unknown algorithm": (("--algorithm", "random_forset"), 2, "did you mean 'random_forest'?"),
    "a package that is not allowed": (("--estimator", "os.system"), 2, "os.system is not of sklearn"),
    "an unknown column": (("--data", "people.csv", "--target", "staeys"), 3, "has no column 'staeys'"),
    "no such file": (("--data", "nobody.csv"), 3, "nobody.csv does not exist"),
    "a file outside of the data folder": (("--data", "/etc/passwd"), 2, "is not in the data folder"),
    "more folds than rows of a class": (("--algorithm", "random_forest", "--search", "2", "--folds", "50"), 3, "too few for 50 folds"),
    "an estimator that fails": (("--estimator", "sklearn.svm.SVC", "--param", "C=-1"), 1, "svc cannot be fitted on"),
}  # fmt: skip


@pytest.mark.parametrize(("options", "code", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_trained_is_refused_in_one_line_with_its_exit_code(
    place: Any, options: Any, code: Any, said: Any
) -> None:
    result = place.command("train", *options, "--model-name", "refused", DATA_DIR=str(place.folder / "data"))
    assert result.returncode == code, result.stdout + result.stderr
    assert said in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert versions(place, "refused") == 0


def test_a_table_whose_rows_cannot_be_told_apart_is_trained_and_kept_out_by_the_threshold(place: Any) -> None:
    draws = np.random.default_rng(1)
    frame = pd.DataFrame({"x": draws.normal(size=200), "y": draws.choice(["a", "b"], 200)})
    frame.to_csv(place.folder / "data" / "noise.csv", index=False)
    record = train(place, "--data", "noise.csv", "--target", "y", "--config", str(_threshold(place)))
    assert (record["promoted"], record["meets_threshold"]) == (False, False)
    assert "is below the threshold of 0.9500" in record["reason"]
    assert place.client.get_model_version("noise_logistic_regression", "1").tags["stage"] == "None"


def test_a_leak_is_said_written_down_and_not_promoted_until_it_is_accepted_and_na_is_a_word_there(place: Any) -> None:
    draws = np.random.default_rng(1)
    zone = draws.choice(["NA", "EU", "APAC"], 400)
    frame = pd.DataFrame(
        {"zone": zone, "visits": draws.integers(0, 10, 400), "left": np.where(zone == "NA", "yes", "no")}
    )
    frame.to_csv(place.folder / "data" / "zone.csv", index=False)
    options = ("--data", "zone.csv", "--target", "left", "--model-name", "zone")
    record = train(place, *options)
    (leak,) = record["leaks"]
    assert leak.startswith("feature 'zone' is the target, or tells it for all rows")
    assert (record["promoted"], record["meets_threshold"]) == (False, True)
    assert record["reason"] == f"{leak} (--accept-leak promotes it nevertheless)"
    (place.work / "leak.yaml").write_text("accept_leak: true\n")
    accepted = train(place, *options, "--config", "leak.yaml")
    assert (accepted["promoted"], accepted["leaks"], accepted["accept_leak"]) == (True, [leak], True)
    with place.inference(MODEL_NAME="zone") as service:
        service.serves("2")
        rows = [{"zone": "NA", "visits": 9}, {"zone": "EU", "visits": 9}]
        assert service.post("/invocations", {"dataframe_records": rows}).json() == {"predictions": ["yes", "no"]}
        answer = requests.post(
            f"{service.url}/invocations",
            data="zone,visits\nNA,9\nEU,9\n",
            headers={"Content-Type": "text/csv"},
            timeout=30,
        )
        assert answer.json() == {"predictions": ["yes", "no"]}
        inputs = [
            {"name": "zone", "datatype": "BYTES", "shape": [2], "data": ["NA", "EU"]},
            {"name": "visits", "datatype": "FP64", "shape": [2], "data": [9, 9]},
        ]
        answer = service.post("/v2/models/zone/infer", {"inputs": inputs}).json()
        assert answer["outputs"][0]["data"] == ["yes", "no"]


def _threshold(place: Place) -> Any:
    path = place.work / "threshold.yaml"
    path.write_text("thresholds: {test_balanced_accuracy: 0.95}\n")
    return path
