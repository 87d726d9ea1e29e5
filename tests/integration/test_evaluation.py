"""Fitting and measuring: the figures of the iris data, and that they come from the data."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as measures
from sklearn.linear_model import LinearRegression
from sklearn.svm import LinearSVC
from trainer.data import builtin_datasets
from trainer.data.table import SEED, Split, Table, Task, read, split
from trainer.fit import algorithms, contributions, metric
from trainer.fit.evaluation import Evaluation, evaluate
from trainer.fit.metric import Metric
from trainer.fit.model_selection import prepared
from trainer.plots.evaluation import contributions_picture, curves_picture, leaderboard_picture, png
from trainer.plots.style import MOST_LABEL, confusion_picture, labels
from trainer.promotion.policy import below_threshold

from tests.unit.tables import people, written

IRIS = Path(__file__).parents[2] / "data" / "iris_dataset.csv"


def fit(rows: Split, name: str = "logistic_regression", task: Task = Task.CLASSIFICATION) -> Any:
    return algorithms.named(name, task, {}).estimator.fit(rows.train_features, rows.train_target)


def trained_on(rows: Split) -> Evaluation:
    return evaluate(fit(rows), rows, Task.CLASSIFICATION, ["setosa", "versicolor", "virginica"])


def permuted(table: Table) -> Table:
    """Return the same flowers under labels that say nothing of them."""
    shuffled = table.target.sample(frac=1, random_state=1)
    return replace(table, target=pd.Series(shuffled.to_numpy(), index=table.target.index, name=table.target.name))


@pytest.fixture(scope="module")
def table() -> Table:
    return read(IRIS, "target")


@pytest.fixture(scope="module")
def evaluation(table: Table) -> Evaluation:
    return trained_on(split(table))


@pytest.fixture(scope="module")
def evaluation_of_permuted_labels(table: Table) -> Evaluation:
    return trained_on(split(permuted(table)))


def test_the_iris_data_gives_the_figures_of_the_workshop(evaluation: Evaluation) -> None:
    figures = {name: round(figure, 4) for name, figure in evaluation.metrics.items()}
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


def test_one_versicolor_is_taken_for_a_virginica_and_nothing_else_is_wrong(evaluation: Evaluation) -> None:
    assert evaluation.confusion.tolist() == [[10, 0, 0], [0, 9, 1], [0, 0, 10]]


def test_training_again_gives_the_same_figures(table: Table, evaluation: Evaluation) -> None:
    assert trained_on(split(table)).metrics == evaluation.metrics


def test_the_accuracies_are_those_of_counting(table: Table, evaluation: Evaluation) -> None:
    rows = split(table)
    estimator = fit(rows)
    hits = int((estimator.predict(rows.test_features) == rows.test_target).sum())
    assert evaluation.metrics["test_accuracy"] == hits / 30
    assert evaluation.confusion.trace() == hits
    hits = int((estimator.predict(rows.train_features) == rows.train_target).sum())
    assert evaluation.metrics["train_accuracy"] == hits / 120


def test_labels_that_say_nothing_give_figures_that_say_so(evaluation_of_permuted_labels: Evaluation) -> None:
    metrics = evaluation_of_permuted_labels.metrics
    assert metrics["test_accuracy"] < 0.6
    assert metrics["test_f1_macro"] < 0.6
    assert evaluation_of_permuted_labels.confusion.sum() == 30


def test_labels_that_say_nothing_give_a_model_that_the_threshold_keeps_out(
    evaluation_of_permuted_labels: Evaluation,
) -> None:
    assert "below the threshold of 0.9000" in below_threshold(
        evaluation_of_permuted_labels.metrics, {"test_accuracy": 0.9}
    )


def test_the_iris_model_reaches_the_threshold(evaluation: Evaluation) -> None:
    assert below_threshold(evaluation.metrics, {"test_accuracy": 0.9}) is None


def test_the_figures_of_each_class_are_named_after_it(evaluation: Evaluation) -> None:
    assert evaluation.metrics["test_recall_of_setosa"] == 1
    assert evaluation.metrics["test_recall_of_versicolor"] == 0.9
    assert evaluation.metrics["test_precision_of_virginica"] == pytest.approx(10 / 11)


def test_the_interval_of_the_accuracy_is_that_of_drawing_rows_with_replacement(evaluation: Evaluation) -> None:
    hits = (evaluation.truth == evaluation.predicted).astype(float)
    draws = np.random.default_rng(0).choice(hits, (5000, len(hits))).mean(axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    assert evaluation.metrics["test_accuracy_ci_low"] == pytest.approx(low, abs=0.035)
    assert evaluation.metrics["test_accuracy_ci_high"] == pytest.approx(high, abs=0.035)


@pytest.mark.parametrize("count", [30, 600])
def test_where_nothing_is_wrong_the_interval_is_wider_with_fewer_rows(count: int) -> None:
    features = pd.DataFrame({"a": np.arange(2.0 * count) % 2})
    target = pd.Series(np.where(features["a"] > 0, "yes", "no"))
    rows = Split(features[count:], features[:count], target[count:], target[:count])
    figures = evaluate(fit(rows), rows, Task.CLASSIFICATION).metrics
    exact = 0.025 ** (1 / count)  # Clopper and Pearson's, of no error
    for name in ("test_accuracy", "test_balanced_accuracy", "test_f1_macro"):
        assert figures[name] == 1
        assert 1 - figures[f"{name}_ci_low"] == pytest.approx(1 - exact, rel=0.35)
        assert figures[f"{name}_ci_high"] == 1


def test_figures_of_probabilities_are_scikit_learns(evaluation: Evaluation) -> None:
    expected = measures.roc_auc_score(evaluation.truth, evaluation.probabilities, multi_class="ovr")
    assert evaluation.metrics["test_roc_auc"] == pytest.approx(expected)
    assert evaluation.metrics["test_log_loss"] == pytest.approx(
        measures.log_loss(evaluation.truth, evaluation.probabilities)
    )


def test_a_regression_is_measured_in_its_own_unit(tmp_path: Path) -> None:
    builtin_datasets.write(tmp_path, "diabetes")
    rows = split(read(builtin_datasets.path_of(tmp_path, "diabetes"), "target"))
    estimator = fit(rows, "linear_regression", Task.REGRESSION)
    figures = evaluate(estimator, rows, Task.REGRESSION).metrics
    residuals = rows.test_target - estimator.predict(rows.test_features)
    assert figures["test_rmse"] == pytest.approx(np.sqrt((residuals**2).mean()))
    assert figures["test_mae"] == pytest.approx(residuals.abs().mean())
    assert figures["test_r2"] == pytest.approx(estimator.score(rows.test_features, rows.test_target))
    assert figures["test_rmse_ci_low"] < figures["test_rmse"] < figures["test_rmse_ci_high"]


def test_an_estimator_without_probabilities_has_no_figures_of_them(table: Table) -> None:
    rows = split(table)
    estimator = algorithms.imported("sklearn.svm.LinearSVC", {}).estimator.fit(rows.train_features, rows.train_target)
    assert "test_log_loss" not in evaluate(estimator, rows, Task.CLASSIFICATION).metrics


HOSTILE = ["$\\frac{$", "\x1b[2J", "a class " * 5000 + "1", "a class " * 5000 + "2"]


def test_what_classes_and_columns_are_called_is_text_in_a_picture_and_neither_formula_nor_endless() -> None:
    rows = np.random.default_rng(0)
    truth = np.arange(40) % 4
    likely = rows.dirichlet(np.ones(4), 40)
    figures = [
        curves_picture(truth, likely, np.arange(4), labels(HOSTILE)),
        confusion_picture(np.eye(4, dtype=int), HOSTILE),
        leaderboard_picture([(name, [0.5, 0.6]) for name in HOSTILE], "accuracy"),
    ]
    assert all(png(figure).startswith(b"\x89PNG") for figure in figures)


def test_different_names_stay_different_however_much_they_are_shortened() -> None:
    shown = labels([*HOSTILE, *("a class " * 5 + str(number) for number in range(300))])
    assert len(set(shown)) == len(shown) == 304
    assert shown[:2] == ["$\\frac{$", r"\x1b[2J"]
    assert max(map(len, shown)) <= MOST_LABEL


# --- what columns add ----------------------------------------------------------------------------------------------


def test_columns_add_what_a_linear_model_says_and_the_picture_takes_any_name() -> None:
    draws = np.random.default_rng(1)
    features = pd.DataFrame(draws.normal(size=(100, 3)), columns=[*HOSTILE, "$x$", "idle"][-3:])
    target = pd.Series(features.to_numpy() @ [5.0, 1.0, 0.0])
    rows = Split(features[:60], features[60:], target[:60], target[60:])
    model = LinearRegression().fit(rows.train_features, rows.train_target)
    found = contributions.summary(model, rows, Metric("r2", Task.REGRESSION), None)
    assert found is not None
    assert (found.of.shape, found.what) == ((contributions.MOST_ROWS, 3), "the value")
    beside = rows.train_features.sample(contributions.BACKGROUND, random_state=SEED).mean()
    assert found.of == pytest.approx((found.features - beside).to_numpy() * [5, 1, 0], abs=1e-9)
    assert list(found.means.index) == list(features.columns)
    assert png(contributions_picture(found)).startswith(b"\x89PNG")


def test_of_two_classes_the_positive_one_is_explained_and_texts_are_columns(tmp_path: Path) -> None:
    table = written(tmp_path, people())
    rows, judged_by = split(table), metric.chosen(None, "yes", table)
    fitted = prepared(algorithms.named("logistic_regression", table.task, {}), table, rows)
    fitted.fit(rows.train_features, rows.train_target)
    found = contributions.summary(fitted, rows, judged_by, "yes")
    assert found is not None
    assert found.what == "the probability of yes"
    likely = fitted.predict_proba(found.features)[:, list(fitted.classes_).index("yes")]
    # They add up to a probability less the same one for all rows.
    assert np.ptp(likely - found.of.sum(axis=1)) < 1e-9
    assert set(found.means.index) == {column.name for column in table.columns}


def test_what_has_no_probabilities_or_takes_too_long_is_not_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = split(read(IRIS, "target"))
    judged_by = Metric("accuracy", Task.CLASSIFICATION, (0, 1, 2))
    assert contributions.summary(LinearSVC().fit(rows.train_features, rows.train_target), rows, judged_by, None) is None
    monkeypatch.setattr(contributions, "MOST_SECONDS", 0.0)
    assert contributions.summary(fit(rows), rows, judged_by, None) is None
