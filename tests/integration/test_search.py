"""Search: seeded, pruned, on several processes, and the same whatever their number."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from sklearn.base import BaseEstimator
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from trainer.data.table import Task
from trainer.errors import SettingsError, TrainerError
from trainer.fit.cross_validation import FoldedRows
from trainer.fit.hyperparameter_search import Effort, Found, search, space_from
from trainer.fit.metric import Metric
from trainer.fit.model_selection import with_parameters
from trainer.plots.search import history_picture, importance_picture

pytestmark = pytest.mark.unhurried

FEATURES, TARGET = load_iris(return_X_y=True, as_frame=True)
FOLDS = list(StratifiedKFold(3, shuffle=True, random_state=0).split(FEATURES, TARGET))
ROWS = FoldedRows(FEATURES, TARGET, FOLDS)
SPACE = {"C": FloatDistribution(1e-4, 10, log=True), "fit_intercept": CategoricalDistribution([True, False])}
SCORE = Metric("accuracy", Task.CLASSIFICATION).of


def build(parameters: dict[str, Any]) -> BaseEstimator:
    return with_parameters(LogisticRegression(max_iter=200), parameters)


def effort(trials: int) -> Effort:
    return Effort(trials, seed=7, processes=1)


def found(trials: int = 12, **options: Any) -> Found:
    return search(build, SPACE, ROWS, SCORE, replace(effort(trials), **options))


def test_the_same_seed_gives_the_same_trials_whatever_the_number_of_processes() -> None:
    one, two = found(processes=1), found(processes=2)
    assert one.trials.drop(columns="seconds").equals(two.trials.drop(columns="seconds"))
    assert (one.parameters, one.value) == (two.parameters, two.value)


def test_the_best_trial_is_the_one_with_the_best_mean_over_the_folds() -> None:
    result = found()
    complete = result.trials[result.trials["state"] == "COMPLETE"]
    assert result.value == complete["value"].max()
    scores = []
    for fitted, measured in FOLDS:
        model = build(result.parameters).fit(FEATURES.iloc[fitted], TARGET.iloc[fitted])
        scores.append(model.score(FEATURES.iloc[measured], TARGET.iloc[measured]))
    assert result.value == pytest.approx(np.mean(scores))


def test_hopeless_trials_are_given_up_early() -> None:
    bad = [{"C": 1e-4, "fit_intercept": False}] * 4
    good = [{"C": 5.0, "fit_intercept": True}] * 8
    result = found(12, fixed=(*good, *bad))
    assert result.trials["state"].tolist() == ["COMPLETE"] * 8 + ["PRUNED"] * 4


def test_parameters_that_are_given_are_tried_first_in_their_order() -> None:
    fixed = [{"C": value, "fit_intercept": True} for value in (1.0, 2.0, 3.0)]
    assert found(4, fixed=tuple(fixed)).trials["C"].tolist()[:3] == [1.0, 2.0, 3.0]


def test_progress_is_told_after_each_trial() -> None:
    told = []
    result = search(build, SPACE, ROWS, SCORE, effort(6), lambda *seen: told.append(seen))
    assert [(done, total) for done, total, _ in told] == [(number, 6) for number in range(1, 7)]
    assert told[-1][2] == result.value


def fails_for_some(parameters: dict[str, Any]) -> BaseEstimator:
    if parameters["C"] > 0.1:
        raise ValueError("too large")
    return build(parameters)


def test_a_trial_that_fails_is_told_and_the_search_goes_on() -> None:
    result = search(fails_for_some, SPACE, ROWS, SCORE, effort(12))
    failed = result.trials[result.trials["state"] == "FAIL"]
    assert len(failed) > 0
    assert set(failed["reason"]) == {"ValueError: too large"}
    assert result.parameters["C"] <= 0.1


def fails(parameters: dict[str, Any]) -> BaseEstimator:
    raise ValueError("never works")


def test_a_search_in_which_all_trials_fail_says_why() -> None:
    with pytest.raises(
        TrainerError, match="none of the 4 trials could be fitted; the first said: ValueError: never works"
    ):
        search(fails, SPACE, ROWS, SCORE, effort(4))


class Watching(LogisticRegression):
    """Refuses rows that are not in the folds."""

    def fit(self, features: Any, target: Any) -> Any:
        assert set(features.index) <= set(range(100))
        return super().fit(features, target)


def watching(parameters: dict[str, Any]) -> BaseEstimator:
    return with_parameters(Watching(max_iter=50), parameters)


def test_only_rows_of_the_folds_are_looked_at() -> None:
    folds = list(StratifiedKFold(3).split(FEATURES.head(100), TARGET.head(100)))
    result = search(watching, SPACE, FoldedRows(FEATURES, TARGET, folds), SCORE, effort(4))
    assert set(result.trials["state"]) == {"COMPLETE"}


def test_a_space_is_read_from_plain_values() -> None:
    space = space_from(
        {"C": {"low": 0.01, "high": 100.0, "log": True}, "kernel": ["rbf", "linear"], "degree": {"low": 2, "high": 5}}
    )
    assert space == {
        "C": FloatDistribution(0.01, 100.0, log=True),
        "kernel": CategoricalDistribution(["rbf", "linear"]),
        "degree": IntDistribution(2, 5),
    }


@pytest.mark.parametrize(
    "value",
    [
        3,
        [],
        {"low": 1},
        {"low": 2.0, "high": 1.0},
        {"low": 0.0, "high": 1.0, "log": True},
        {"low": 1, "high": 2, "lgo": True},
    ],
)
def test_a_space_that_cannot_be_searched_is_refused_with_what_is_expected(
    value: dict[Any, Any] | int | list[Any],
) -> None:
    with pytest.raises(SettingsError, match=r"space: C is .* expected a list of choices"):
        space_from({"C": value})


def test_the_pictures_are_drawn_also_of_a_search_that_found_no_differences() -> None:
    result = found(8)
    same = found(4, fixed=({"C": 1.0, "fit_intercept": True},) * 4)
    for study in (result.study, same.study):
        for picture in (history_picture(study), importance_picture(study)):
            picture.canvas.draw()
            assert picture.axes[0].has_data()
