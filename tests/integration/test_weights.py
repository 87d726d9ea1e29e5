"""Rows that count differently (--weight): two of a weight are one of twice as much, in fits, choices and figures."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from contract.trust.trusted_types import TRUSTED_TYPES
from sklearn import metrics as measures
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skops.io import dumps, loads
from trainer.console.terminal import Console
from trainer.data.files.form import Form
from trainer.data.holdout import Aside
from trainer.data.table import Split, Table, Task, read, split
from trainer.errors import DataError, SettingsError
from trainer.experiment import Plan
from trainer.fit import decision, weights
from trainer.fit.baseline import baseline
from trainer.fit.cross_validation import cross_validate, folded
from trainer.fit.evaluation import evaluate
from trainer.fit.importance import importances
from trainer.fit.metric import Metric
from trainer.fit.model_selection import Choice, choose
from trainer.promotion.policy import compared

DRAWS = np.random.default_rng(5)
ROWS = 300
X = pd.DataFrame(DRAWS.normal(size=(ROWS, 2)), columns=["a", "b"])
Y = pd.Series(np.where(X["a"] + DRAWS.normal(size=ROWS) > 0.8, "yes", "no"), name="y")
COUNTS = pd.Series(DRAWS.integers(0, 4, ROWS).astype(float), name="w")
ACCURACY = Metric("accuracy", Task.CLASSIFICATION, ("no", "yes"), "yes")
PIPELINE = make_pipeline(StandardScaler(), LogisticRegression())


def rows(features: pd.DataFrame = X, target: pd.Series = Y, weight: pd.Series | None = COUNTS) -> Split:
    """Return rows of which the first 200 are fitted on."""
    aside = Aside(weight=weight)
    first, last = np.arange(200), np.arange(200, len(target))
    return Split(features[:200], features[200:], target[:200], target[200:], aside.of(first), aside.of(last))


def repeated(found: Split) -> Split:
    """Return each row as often as it counts, in place of its weight."""
    parts = []
    for features, target, weight in (found.train, found.test):
        assert weight is not None
        again = np.repeat(np.arange(len(target)), weight.astype(int))
        parts.append((features.iloc[again], target.iloc[again]))
    (train, labels), (test, truth) = parts
    return Split(train, test, labels, truth)


def table(folder: Path, **more: Any) -> Table:
    X.assign(**{"y": Y, "w": COUNTS} | more).to_csv(folder / "rows.csv", index=False)
    return read(folder / "rows.csv", "y", form=Form(weight="w"))


@pytest.mark.parametrize("task", Task)
def test_a_row_of_weight_three_is_measured_as_three_rows(task: Task) -> None:
    target = Y if task is Task.CLASSIFICATION else pd.Series(X["a"] * 2 + DRAWS.normal(size=ROWS), name="y")
    estimator: Any = LogisticRegression() if task is Task.CLASSIFICATION else LinearRegression()
    weighed = rows(target=target)
    one, other = (
        evaluate(weights.fit(clone(estimator), *of.train), of, task).metrics for of in (weighed, repeated(weighed))
    )
    assert one.keys() == other.keys()
    exact = [name for name in one if "_ci_" not in name]
    assert [one[name] for name in exact] == pytest.approx([other[name] for name in exact], rel=1e-3)
    ends = [name for name in one if "_ci_" in name]
    assert [one[name] for name in ends] == pytest.approx([other[name] for name in ends], abs=0.1 * max(one.values()))


@pytest.mark.parametrize("wrap", ["bare", "pipeline", "calibrated", "decided", "tuned", "both"])
def test_weights_reach_what_learns_however_it_is_wrapped(wrap: str) -> None:
    """A weight of 0 is a row that is not there: wherever the weights do not arrive, its wrong label would be learnt."""
    wrong = pd.Series(np.where((COUNTS > 0) == (Y == "yes"), "yes", "no"), name="y")
    found = rows(target=wrong, weight=(COUNTS > 0).astype(float))

    def made(of: Split) -> Any:
        estimator: Any = LogisticRegression() if wrap == "bare" else make_pipeline(LogisticRegression())
        if wrap in ("calibrated", "both"):
            estimator = decision.calibrated(estimator, ACCURACY, 4)
        if wrap in ("decided", "both"):
            estimator = decision.decided(estimator, "0.4", ACCURACY, of, 4)
        if wrap == "tuned":
            estimator = decision.decided(estimator, "tuned", ACCURACY, of, 4)
        return weights.fit(estimator, *of.train)

    model, truth = made(found), made(rows(weight=None))
    blind = made(rows(target=wrong, weight=None))
    near, far = (np.abs(each.predict_proba(X) - truth.predict_proba(X)).max() for each in (model, blind))
    assert near < 0.2 < far
    # Nothing of it is left in the file that is served.
    assert list(loads(dumps(model), trusted=TRUSTED_TYPES).predict(X)) == list(model.predict(X))
    assert list(model.feature_names_in_) == ["a", "b"]


def test_folds_and_trials_are_measured_by_the_weights() -> None:
    found, parts = rows(), folded(rows(), Task.CLASSIFICATION, 4)
    scores = cross_validate("it", PIPELINE, parts, ACCURACY).scores
    for (fitted, measured), score in zip(parts.folds, scores, strict=True):
        features, target, weight = found.train
        assert weight is not None
        model = clone(PIPELINE).fit(
            features.iloc[fitted], target.iloc[fitted], logisticregression__sample_weight=weight[fitted]
        )
        said = model.predict(features.iloc[measured])
        assert score == measures.accuracy_score(target.iloc[measured], said, sample_weight=weight[measured])


def test_a_tuned_threshold_and_importances_go_by_the_weights() -> None:
    # Where each "yes" counts five times, fit and figure agree on about one half; of a figure that did not, it would be 5/6.
    many = rows(weight=pd.Series(np.where(Y == "yes", 5.0, 1.0), name="w"))
    assert 0.3 < decision.decided(LogisticRegression(), "tuned", ACCURACY, many, 4).threshold < 0.65
    # "a" tells nothing of the rows that count.
    some = pd.Series((X["a"].abs() < 0.01).astype(float) + 1e-9, name="w")
    model = LogisticRegression().fit(X[:200], Y[:200])
    found = importances(model, rows(weight=some), ACCURACY)
    alike = importances(model, rows(weight=None), ACCURACY)
    assert found is not None
    assert alike is not None
    assert found[0].mean != alike[0].mean


def test_the_baseline_says_what_counts_most(tmp_path: Path) -> None:
    found = replace(table(tmp_path), aside=Aside(weight=pd.Series(np.where(Y == "yes", 50.0, 1.0), name="w")))
    lowest = baseline(Metric("accuracy", Task.CLASSIFICATION, ("no", "yes"), "yes"), found, split(found))
    assert lowest.words == "always yes"
    assert set(lowest.estimator.predict(X)) == {"yes"}


def test_champion_and_challenger_are_compared_by_the_weights() -> None:
    truth, ours, theirs = np.array([1, 1, 0, 0] * 20), np.array([1, 0, 0, 0] * 20), np.array([0, 1, 0, 0] * 20)
    found = compared(ACCURACY, truth, ours, theirs, np.array([3.0, 1.0, 1.0, 1.0] * 20))
    assert (found.challenger, found.champion) == pytest.approx((5 / 6, 3 / 6))
    assert found.p_value < 0.05 < compared(ACCURACY, truth, ours, theirs).p_value


def test_the_column_is_no_feature_and_what_it_does_is_said(tmp_path: Path) -> None:
    found = table(tmp_path)
    assert [column.name for column in found.columns] == ["a", "b"]
    assert "rows count as much as 'w' says, in fits and figures" in found.remarks
    assert found.aside.weights is not None
    assert list(found.aside.weights) == list(COUNTS)
    results = choose(
        Choice.of(Plan(weight="w", algorithm=("logistic_regression", "random_forest"), model_name="m"), found),
        found,
        split(found),
        Console(quiet=True),
    )
    assert len(results) == 2


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "line 4, column 'w' is empty; expected a weight: a finite number from 0"),
        (-1, "line 4, column 'w' is -1.0; expected a weight"),
        ("inf", "line 4, column 'w' is inf; expected a weight"),
        ("much", "line 4, column 'w' is 'much'; expected a weight"),
    ],
)
def test_a_value_that_is_no_weight_is_refused_with_its_line(tmp_path: Path, value: Any, said: str) -> None:
    column = [*COUNTS[:2].astype(object), value, *COUNTS[3:]]
    with pytest.raises(DataError, match=said):
        table(tmp_path, w=column)


def test_weights_that_are_all_0_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="all rows have the weight 0 in 'w'"):
        table(tmp_path, w=0)
    held = set(split(table(tmp_path)).test_target.index)
    found = table(tmp_path, w=[float(row not in held) for row in range(ROWS)])
    with pytest.raises(DataError, match="all rows that are held out have the weight 0 in 'w'"):
        split(found)
    none = rows(weight=pd.Series(np.where(np.arange(ROWS) < 200, np.arange(ROWS) == 7, 1.0), name="w"))
    with pytest.raises(DataError, match="all rows of a fold have the weight 0 in 'w'"):
        folded(none, Task.CLASSIFICATION, 4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"estimator": "sklearn.neighbors.KNeighborsClassifier"},
            "--weight w: kneighbors_classifier takes no weights",
        ),
        ({"pipeline": ["sklearn.neighbors.KNeighborsClassifier"]}, "takes no weights of rows; leave it out"),
        ({"group": "w"}, "--weight w divides the rows as well"),
    ],
)
def test_what_takes_no_weights_is_refused_by_name(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Choice.of(Plan(weight="w", model_name="m", **options), table(tmp_path))


def test_a_metric_without_weights_is_refused_by_name(tmp_path: Path) -> None:
    found = replace(table(tmp_path), task=Task.REGRESSION, target=X["a"])
    with pytest.raises(SettingsError, match="--weight w: --metric max_error takes no weights of rows"):
        Choice.of(Plan(weight="w", metric="max_error"), found)


@pytest.mark.parametrize("name", ["roc_auc_ovo", "roc_auc_ovo_weighted"])
def test_a_metric_of_pairs_of_classes_takes_weights_of_two_classes_and_is_refused_by_name_of_three(
    tmp_path: Path, name: str
) -> None:
    plan = Plan(weight="w", metric=name)
    Choice.of(plan, table(tmp_path))
    found = table(tmp_path, y=Y.where(X["b"] > 0, "perhaps"))
    with pytest.raises(SettingsError, match=f"--weight w: --metric {name} takes no weights of rows"):
        Choice.of(plan, found)
