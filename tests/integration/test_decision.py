"""The decision threshold of a model of two classes: tuned where it is fitted, kept with the version, served as it is."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from contract.trust.skops_file import load_skops
from contract.trust.trusted_types import TRUSTED_TYPES
from contract.version_files import VersionFiles
from inference.model import model
from inference.trust import Trust, Trusted
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, f1_score
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import LinearSVC
from trainer.artifact import onnx_export
from trainer.data.table import Split, Task, split
from trainer.errors import SettingsError
from trainer.experiment import Plan
from trainer.fit import decision
from trainer.fit.evaluation import evaluate
from trainer.fit.metric import Metric
from trainer.fit.model_selection import Choice

from tests.unit.serving import client_of, served_as
from tests.unit.tables import people, written
from tests.unit.version_files import COLUMNS, Files

pytestmark = pytest.mark.filterwarnings("ignore:X does not have valid feature names")  # as the service does
DRAWS = np.random.default_rng(5)
X = pd.DataFrame(DRAWS.normal(size=(500, 2)), columns=COLUMNS)
Y = pd.Series(np.where(X["length"] + DRAWS.normal(size=500) > 1.8, "yes", "no"))
ROWS = Split(X[:400], X[400:], Y[:400], Y[400:])
F1 = Metric("f1", Task.CLASSIFICATION, ("no", "yes"), "yes")


def test_a_tuned_threshold_finds_more_of_the_rare_class_and_is_tuned_on_the_rows_that_are_fitted_on() -> None:
    plain = LogisticRegression().fit(ROWS.train_features, ROWS.train_target)
    tuned = decision.decided(LogisticRegression(), "tuned", F1, ROWS, 5).fit(ROWS.train_features, ROWS.train_target)
    assert 0 < tuned.threshold < 0.5
    found, before = (
        f1_score(ROWS.test_target, one.predict(ROWS.test_features), pos_label="yes") for one in (tuned, plain)
    )
    assert found > before
    blind = Split(ROWS.train_features, ROWS.test_features * np.nan, ROWS.train_target, ROWS.test_target)
    assert decision.decided(LogisticRegression(), "tuned", F1, blind, 5).threshold == tuned.threshold


def test_the_threshold_is_of_the_positive_class_whichever_that_is() -> None:
    for positive, least in (("yes", 0.1), ("no", 0.9)):
        by = Metric("recall", Task.CLASSIFICATION, ("no", "yes"), positive)
        fixed = decision.decided(LogisticRegression(), str(least), by, ROWS, 5).fit(X, Y)
        likely = fixed.predict_proba(X)[:, ("no", "yes").index(positive)]
        assert np.array_equal(fixed.predict(X) == positive, likely >= least)
        assert evaluate(fixed, ROWS, Task.CLASSIFICATION, None, by).metrics["test_recall"] > 0.5


def test_a_figure_of_probabilities_is_tuned_by_balanced_accuracy() -> None:
    by = Metric("roc_auc", Task.CLASSIFICATION, ("no", "yes"), "yes")
    assert 0 < decision.decided(LogisticRegression(), "tuned", by, ROWS, 5).threshold < 0.5


@pytest.mark.parametrize("wanted", ["high", "0", "1", "1.5", "nan"])
def test_a_threshold_that_is_no_share_is_refused(wanted: str) -> None:
    with pytest.raises(
        SettingsError, match=r"--decision-threshold is '.+'; expected tuned, or a number between 0 and 1"
    ):
        decision.check_written(wanted)


def test_it_is_for_two_classes_and_for_estimators_with_probabilities() -> None:
    with pytest.raises(SettingsError, match="--decision-threshold tuned is for a target of two classes"):
        decision.check("tuned", Metric("r2", Task.REGRESSION))
    with pytest.raises(SettingsError, match="needs probabilities, which LinearSVC does not have"):
        decision.decided(LinearSVC(), "tuned", F1, ROWS, 5)


def test_class_weights_reach_the_estimator_and_one_without_them_is_named(tmp_path: Path) -> None:
    table = written(tmp_path, people()[["age", "income", "stays"]].dropna())
    choice = Choice.of(Plan(class_weight="balanced"), table)
    assert choice.algorithms[0].estimator.get_params()["class_weight"] == "balanced"
    with pytest.raises(SettingsError, match="--class-weight balanced: kneighbors_classifier has no weights of classes"):
        Choice.of(Plan(estimator="sklearn.neighbors.KNeighborsClassifier", class_weight="balanced"), table)


def test_calibrated_probabilities_are_as_frequent_as_they_say_and_the_version_may_be_served(tmp_path: Path) -> None:
    sure = GaussianNB()
    twice = pd.concat(
        [X.add_suffix(f"_{i}") for i in range(8)], axis=1
    )  # what is told again and again makes it too sure
    rows = Split(twice[:400], twice[400:], Y[:400], Y[400:])
    better = decision.calibrated(sure, F1, 4).fit(rows.train_features, rows.train_target)
    sure.fit(rows.train_features, rows.train_target)
    is_so = (rows.test_target == "yes").astype(int)
    found, before = (brier_score_loss(is_so, one.predict_proba(rows.test_features)[:, 1]) for one in (better, sure))
    assert found < before
    assert decision.without_threshold(decision.decided(better, "0.3", F1, rows, 4)) is better.estimator
    skops.io.dump(better, tmp_path / "model.skops")
    load_skops((tmp_path / "model.skops").read_bytes(), frozenset(TRUSTED_TYPES))
    with pytest.raises(SettingsError, match="--calibrate is for classes, and this is a regression"):
        decision.calibrated(sure, Metric("r2", Task.REGRESSION), 4)
    with pytest.raises(SettingsError, match="--calibrate takes random folds, which --group and --time forbid"):
        Plan(calibrate=True, time="day")


def test_a_version_that_decides_by_a_threshold_has_no_onnx_model(tmp_path: Path) -> None:
    table = written(tmp_path, people()[["age", "income", "stays"]].dropna())
    rows = split(table)
    by = Metric("f1", table.task, ("no", "yes"), "yes")
    fixed = decision.decided(LogisticRegression(max_iter=1000), "0.2", by, rows, 5)
    fixed.fit(rows.train_features, rows.train_target)
    assert not onnx_export.make(fixed, table.columns, rows.train_features, table.task).record["kept"]


def test_every_protocol_says_what_the_threshold_says_and_not_the_likelier_class(tmp_path: Path) -> None:
    files = Files(tmp_path)
    labels = (Y == "yes").astype(int)
    by = Metric("f1", Task.CLASSIFICATION, (0, 1), 1)
    fixed = decision.decided(LogisticRegression(), "0.1", by, ROWS, 5).fit(X, labels)
    skops.io.dump(fixed, tmp_path / "model.skops")
    files.describe(lambda content: content["metadata"].update(decision_threshold=0.1))
    client = client_of(served_as(model.load(VersionFiles.of(tmp_path), Trusted(Trust.SIGNED))))
    rows = X.head(100)
    expected = fixed.predict(rows)
    assert not np.array_equal(expected, fixed.predict_proba(rows).argmax(axis=1))
    body = {"instances": rows.to_numpy().tolist()}
    assert client.post("/invocations", json=body).json["predictions"] == expected.tolist()
    named = client.post("/predict_names", json=body).json["predictions"]
    assert named == [("short", "long")[label] for label in expected]
    outputs = client.post(
        "/v2/models/iris_logistic_regression/infer",
        json={"inputs": [{"name": "rows", "datatype": "FP64", "shape": [100, 2], "data": body["instances"]}]},
    ).json
    assert outputs["outputs"][0]["data"] == expected.tolist()
