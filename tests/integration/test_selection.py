"""Choosing among algorithms: on the same folds, and never on the rows that are held out."""

from io import BytesIO
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from trainer.console.terminal import Console
from trainer.data.table import Table, Task, split
from trainer.errors import DataError, TrainerError
from trainer.fit import cross_validation
from trainer.fit.algorithms import Algorithm, named
from trainer.fit.evaluation import evaluate
from trainer.fit.metric import Metric
from trainer.fit.model_selection import Choice, choose
from trainer.plots.evaluation import leaderboard_picture

from tests.unit.tables import people, written

ACCURACY = Metric("accuracy", Task.CLASSIFICATION)
SEEN: list[set[int]] = []


class Watching(LogisticRegression):
    """Notes every row that it is shown."""

    def fit(self, features: Any, target: Any) -> Any:
        SEEN.append(set(features.index))
        return super().fit(features, target)

    def predict(self, features: Any) -> Any:
        SEEN.append(set(features.index))
        return super().predict(features)


@pytest.fixture
def numbers(tmp_path: Path) -> Table:
    return written(tmp_path, people()[["age", "income", "stays"]].dropna().reset_index(drop=True))


def choice(*algorithms: Algorithm) -> Choice:
    return Choice(list(algorithms), folds=5, trials=0, space=None, metric=ACCURACY, ranked=True)


def test_choosing_never_sees_a_row_that_is_held_out(numbers: Table) -> None:
    SEEN.clear()
    rows = split(numbers)
    choose(choice(Algorithm("watching", Watching(), is_whole=True)), numbers, rows, Console(quiet=True))
    assert len(SEEN) == 10
    assert not set.union(*SEEN) & set(rows.test_features.index)
    # The control: measuring does see them.
    model = Watching().fit(rows.train_features, rows.train_target)
    evaluate(model, rows, Task.CLASSIFICATION)
    assert SEEN[-1] | SEEN[-2] | SEEN[-3] > set(rows.test_features.index)


def test_a_leak_that_is_in_the_held_out_rows_alone_wins_nothing(numbers: Table) -> None:
    """A column that tells the held-out rows' classes, and nothing of the others', must not be learnt from."""
    rows = split(numbers)
    draws = np.random.default_rng(0)
    leak = pd.Series(draws.choice([0.0, 1.0], len(numbers.target)), index=numbers.target.index)
    leak[rows.test_target.index] = (rows.test_target == "yes").astype(float)
    table = written(numbers.path.parent, numbers.features.assign(leak=leak, stays=numbers.target), name="leaking")
    leaking = split(table)
    assert leaking.test_features.index.equals(rows.test_features.index)
    estimator = choose(choice(named("random_forest", Task.CLASSIFICATION, {})), table, leaking, Console(quiet=True))[
        0
    ].estimator
    honest = evaluate(estimator.fit(leaking.train_features, leaking.train_target), leaking, Task.CLASSIFICATION)
    caught = estimator.fit(leaking.test_features, leaking.test_target)  # what learning from them would have given
    assert honest.metrics["test_accuracy"] < 0.85 < caught.score(leaking.test_features, leaking.test_target)


def test_all_algorithms_are_measured_on_the_same_folds_and_ranked(numbers: Table) -> None:
    rows = split(numbers)
    board = choose(
        choice(*(named(name, Task.CLASSIFICATION, {}) for name in ("random_forest", "logistic_regression"))),
        numbers,
        rows,
        Console(quiet=True),
    )
    assert [found.mean for found in board] == sorted((found.mean for found in board), reverse=True)
    again = cross_validation.cross_validate(
        board[0].name,
        board[0].estimator,
        cross_validation.folded(rows, Task.CLASSIFICATION, 5),
        ACCURACY,
    )
    assert again.scores == board[0].scores


@pytest.mark.parametrize("score", [nan, inf, -inf])
def test_an_algorithm_without_a_finite_score_comes_last_and_is_drawn(score: Any) -> None:
    board = [
        cross_validation.CrossValidationResult(name, LogisticRegression(), scores, 1.0)
        for name, scores in (("none", [0.9, score]), ("poor", [0.1, 0.2]), ("good", [0.8, 0.9]))
    ]
    assert [found.name for found in cross_validation.ranked(board)] == ["good", "poor", "none"]
    leaderboard_picture([(found.name, found.scores) for found in board], "R²").savefig(BytesIO())


def test_too_few_rows_for_the_folds_are_counted(numbers: Table) -> None:
    rows = split(numbers)
    least = rows.train_target.value_counts().min()
    with pytest.raises(DataError, match=f"has {least} rows in its smallest class, too few for {least + 1} folds"):
        cross_validation.folded(rows, Task.CLASSIFICATION, int(least) + 1)


def test_an_estimator_that_cannot_be_fitted_is_named(numbers: Table) -> None:
    with pytest.raises(TrainerError, match="watching cannot be fitted: InvalidParameterError"):
        choose(
            choice(Algorithm("watching", Watching(C=-1), is_whole=True)), numbers, split(numbers), Console(quiet=True)
        )
