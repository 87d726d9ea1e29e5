"""The figure that models are judged by: scikit-learn's own by its name, and what always the same answer reaches of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, PoissonRegressor
from sklearn.metrics import get_scorer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from trainer.data.table import Task, split
from trainer.errors import SettingsError
from trainer.experiment import thresholds
from trainer.fit import metric
from trainer.fit.baseline import baseline
from trainer.fit.metric import Metric

from tests.unit.drawn import BINARY, MANY, QUANTITY, SCORES, X, table

# The sign under which scikit-learn has what is a loss or an error here.
NEGATED = {"rmse": "neg_root_mean_squared_error", "mae": "neg_mean_absolute_error"}


def sklearns(name: str) -> tuple[str, float]:
    """Return scikit-learn's name of a metric, and the sign that its value has there."""
    if name in NEGATED:
        return NEGATED[name], -1.0
    try:
        get_scorer(name)
    except ValueError:
        return f"neg_{name}", -1.0
    return name, 1.0


@pytest.fixture(scope="module")
def of_words() -> Any:
    """A model of two classes that are words."""
    return LogisticRegression().fit(X, BINARY)


@pytest.fixture(scope="module")
def of_numbers() -> dict[str, Any]:
    """Models of the same rows, class → one for which that class is 1 and the other one 0."""
    return {name: LogisticRegression().fit(X, np.asarray(name == BINARY).astype(int)) for name in ("won", "lost")}


@pytest.mark.filterwarnings(
    "ignore:'k' .2. greater than or equal"
)  # the best two of two say nothing, and that is theirs to say
@pytest.mark.parametrize("name", metric.names(Task.CLASSIFICATION))
@pytest.mark.parametrize("positive", ["won", "lost"])
def test_of_two_classes_in_words_each_metric_is_scikit_learns_of_the_positive_one(
    name: str, positive: str, of_words: Any, of_numbers: dict[str, Any]
) -> None:
    judged = Metric(name, Task.CLASSIFICATION, ("lost", "won"), positive)
    own, sign = sklearns(name)
    is_so = np.asarray(positive == BINARY).astype(int)
    expected = sign * get_scorer(own)(of_numbers[positive], X, is_so)
    assert judged.of(of_words, X, BINARY) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "name", ["accuracy", "balanced_accuracy", "f1_macro", "log_loss", "roc_auc_ovo", "average_precision"]
)
def test_of_many_classes_a_metric_is_scikit_learns(name: str) -> None:
    own, sign = sklearns(name)
    estimator = LogisticRegression().fit(X, MANY)
    found = Metric(name, Task.CLASSIFICATION, (0, 1, 2)).of(estimator, X, MANY)
    assert found == pytest.approx(sign * get_scorer(own)(estimator, X, MANY))


@pytest.mark.parametrize("name", metric.names(Task.REGRESSION))
def test_of_quantities_each_metric_is_scikit_learns(name: str) -> None:
    own, sign = sklearns(name)
    estimator = PoissonRegressor().fit(X, QUANTITY)  # some are of positive values alone
    found = Metric(name, Task.REGRESSION).of(estimator, X, QUANTITY)
    assert found == pytest.approx(sign * get_scorer(own)(estimator, X, QUANTITY))


@pytest.mark.parametrize(
    ("target", "expected"),
    [(BINARY, "accuracy"), (pd.Series(SCORES > 1.2), "balanced_accuracy"), (MANY, "accuracy"), (QUANTITY, "r2")],
)
def test_by_default_the_metric_fits_the_target_and_an_imbalanced_one_is_not_judged_by_accuracy(
    tmp_path: Path, target: pd.Series, expected: str
) -> None:
    found = table(tmp_path, target)
    judged = metric.chosen(None, None, found)
    assert judged.name == expected
    is_said = any("imbalanced" in said for said in metric.remarks(judged, None, found))
    assert is_said == (expected == "balanced_accuracy")


@pytest.mark.parametrize(
    ("asked", "target", "expected"),
    [
        (None, BINARY, "won"),
        ("lost", BINARY, "lost"),
        (None, pd.Series(np.where(SCORES > -1.2, "won", "lost")), "lost"),  # the rare one
        (None, pd.Series(SCORES > 0), True),
        ("False", pd.Series(SCORES > 0), False),
        (None, MANY, None),
    ],
)
def test_the_positive_class_is_what_is_asked_for_else_a_rare_one_else_the_second(
    tmp_path: Path, asked: str | None, target: pd.Series, expected: object
) -> None:
    assert metric.chosen(None, asked, table(tmp_path, target)).positive == expected


@pytest.mark.parametrize(
    ("name", "positive", "target", "said"),
    [
        ("rocauc", None, BINARY, "--metric is 'rocauc', which is none for a classification; did you mean roc_auc?"),
        ("r2", None, BINARY, "--metric is 'r2', which is none for a classification; "),
        ("accuracy", None, QUANTITY, "--metric is 'accuracy', which is none for a regression; "),
        ("f1", None, MANY, "--metric f1 looks for one of two classes, and 'y' has 3; there is f1_macro"),
        (None, "one", BINARY, "--positive is 'one'; expected a class: lost or won"),
        (None, "one", QUANTITY, "--positive one is for a target of two classes; 'y' has none"),
    ],
)
def test_what_does_not_fit_the_target_is_refused_with_what_does(
    tmp_path: Path, name: str | None, positive: str | None, target: pd.Series, said: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        metric.chosen(name, positive, table(tmp_path, target))
    assert str(refused.value).startswith(said)


def test_a_metric_that_cannot_be_computed_for_this_target_is_refused_before_a_fit(tmp_path: Path) -> None:
    drawn = table(tmp_path, pd.Series(SCORES))
    with pytest.raises(SettingsError, match="--metric mean_gamma_deviance cannot be computed for 'y': "):
        baseline(metric.chosen("mean_gamma_deviance", None, drawn), drawn, split(drawn))


def test_an_estimator_without_what_the_metric_looks_at_is_named() -> None:
    judged = Metric("log_loss", Task.CLASSIFICATION, ("lost", "won"), "won")
    for estimator in (LinearSVC(), make_pipeline(StandardScaler(), LinearSVC())):
        with pytest.raises(
            SettingsError, match="the metric log_loss needs predict_proba, which LinearSVC does not have"
        ):
            judged.of(estimator.fit(X, BINARY), X, BINARY)


# --- the baseline --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "target", "answer"),
    [
        ("accuracy", BINARY, "always lost"),
        ("f1", BINARY, "always won"),  # who never says it finds none
        ("rmse", QUANTITY, "always the mean"),
        ("mae", QUANTITY, "always the median"),
    ],
)
def test_the_baseline_is_the_best_answer_that_looks_at_no_feature(
    tmp_path: Path, name: str, target: pd.Series, answer: str
) -> None:
    drawn = table(tmp_path, target)
    assert baseline(metric.chosen(name, None, drawn), drawn, split(drawn)).words == answer


# --- thresholds ----------------------------------------------------------------------------------------------------


def test_a_threshold_names_a_metric_of_the_held_out_rows() -> None:
    found = thresholds(("roc_auc=0.7", "test_f1=0.5", "overfitting_gap=0.1"))
    assert found == {"test_roc_auc": 0.7, "test_f1": 0.5, "overfitting_gap": 0.1}


def test_a_threshold_of_what_is_not_measured_is_refused_with_what_is_near() -> None:
    measured = {"test_accuracy": 0.8, "overfitting_gap": 0.1}
    metric.check_thresholds({**measured, "test_roc_auc": 0.7}, measured, Task.CLASSIFICATION)
    with pytest.raises(
        SettingsError, match=r"--threshold is for 'acuracy', which is not measured; did you mean accuracy\?"
    ):
        metric.check_thresholds({"test_acuracy": 0.8}, measured, Task.CLASSIFICATION)
    with pytest.raises(
        SettingsError, match=r"--threshold is for 'roc_auc', which is not measured; there are .*r2, rmse"
    ):
        metric.check_thresholds({"test_roc_auc": 0.8}, {"test_r2": 0.8}, Task.REGRESSION)


def test_a_threshold_that_is_no_number_is_named() -> None:
    with pytest.raises(SettingsError, match="--threshold roc_auc is 'high'; expected a number"):
        thresholds(("roc_auc=high",))
