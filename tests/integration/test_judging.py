"""Models are judged by any metric: ranked, searched for, and held against the baseline and the champion."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from optuna.distributions import FloatDistribution
from rich.console import Console
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from trainer.data.table import Task, split
from trainer.experiment import Plan
from trainer.fit import metric
from trainer.fit.baseline import baseline
from trainer.fit.cross_validation import FoldedRows
from trainer.fit.evaluation import evaluate, gain
from trainer.fit.hyperparameter_search import Effort, search
from trainer.fit.metric import Metric
from trainer.fit.model_selection import Choice, choose, on_folds, with_parameters
from trainer.promotion.policy import QualityGate, compared, no_better_than_baseline

from tests.unit.drawn import BINARY, QUANTITY, SCORES, X, table

pytestmark = pytest.mark.unhurried


def test_an_error_is_better_the_less_there_is_of_it_in_ranking_and_search(tmp_path: Path) -> None:
    drawn = table(tmp_path, QUANTITY)
    plan = Plan(algorithm=("linear_regression", "random_forest"), model_name="m", metric="rmse")
    choice = Choice.of(plan, drawn)
    board = choose(choice, drawn, split(drawn), Console(quiet=True))  # type: ignore[arg-type]
    assert [found.mean for found in board] == sorted(found.mean for found in board)
    rows = FoldedRows(X, QUANTITY, [(np.arange(160), np.arange(160, 240))])
    found = search(
        lambda parameters: with_parameters(Ridge(), parameters),
        {"alpha": FloatDistribution(1e-3, 1e5, log=True)},
        rows,
        choice.metric.of,
        Effort(6, seed=1, processes=1, less_is_better=True),
    )
    assert found.value == found.trials["value"].min()


def judged(folder: Path, target: pd.Series, estimator: Any, name: str | None = None) -> str | None:
    """Say why an estimator is no better than the baseline, None where it is."""
    drawn = table(folder, target)
    rows, by = split(drawn), metric.chosen(name, None, drawn)
    fitted = estimator.fit(rows.train_features, rows.train_target)
    metrics = evaluate(fitted, rows, drawn.task, None, by).metrics
    lowest, truth = baseline(by, drawn, rows).estimator, by.encoded(rows.test_target)
    ours, theirs = (by.response(one, rows.test_features) for one in (fitted, lowest))
    return no_better_than_baseline(
        metrics, QualityGate(by.name, {}, by.value(truth, theirs), gain(by, truth, ours, theirs))
    )


def test_a_model_that_never_says_yes_is_no_better_than_the_baseline_however_rare_a_yes_is(tmp_path: Path) -> None:
    rare = pd.Series(np.where(SCORES > 1.3, "yes", "no"))
    never = DummyClassifier(strategy="constant", constant="no")
    said = judged(tmp_path, rare, never)
    assert said is not None
    assert said.startswith(
        "its test balanced accuracy 0.5000 is no better than the baseline's 0.5000, which looks at no"
    )
    assert judged(tmp_path, rare, never, "accuracy") is not None
    assert judged(tmp_path, rare, LogisticRegression(class_weight="balanced")) is None


def test_a_good_model_passes_by_a_loss_too_and_a_useless_one_does_not(tmp_path: Path) -> None:
    assert judged(tmp_path, BINARY, LogisticRegression(), "log_loss") is None
    assert judged(tmp_path, pd.Series(SCORES), Ridge(), "mae") is None
    assert judged(tmp_path, BINARY, DummyClassifier(strategy="uniform", random_state=0), "log_loss") is not None


def test_the_leaderboard_has_the_baseline_measured_on_the_same_folds(tmp_path: Path) -> None:
    drawn = table(tmp_path, BINARY)
    choice = Choice.of(Plan(), drawn)
    lowest = on_folds(choice, drawn, split(drawn))
    assert lowest.name == "baseline: always lost"
    assert lowest.mean == pytest.approx((BINARY == "lost").mean(), abs=0.01)
    assert len(lowest.scores) == choice.folds


def test_the_positive_class_has_its_figures(tmp_path: Path) -> None:
    drawn = table(tmp_path, BINARY)
    rows = split(drawn)
    fitted = LogisticRegression().fit(rows.train_features, rows.train_target)
    figures = evaluate(fitted, rows, drawn.task, None, metric.chosen("f1", "won", drawn)).metrics
    assert figures["test_precision"] == figures["test_precision_of_won"]
    assert figures["test_recall"] == figures["test_recall_of_won"]
    assert figures["test_f1_ci_low"] < figures["test_f1"] < figures["test_f1_ci_high"]
    assert 0.5 < figures["test_average_precision"] <= 1


def test_another_figure_of_classes_is_compared_by_drawing_rows() -> None:
    draws = np.random.default_rng(0)
    truth = draws.integers(0, 2, 200)
    good, poor = truth + draws.normal(size=200), truth + 5 * draws.normal(size=200)
    metric = Metric("roc_auc", Task.CLASSIFICATION, ("no", "yes"), "yes")
    found = compared(metric, truth, good, poor)
    assert found.challenger > found.champion
    assert found.p_value < 0.01
    assert compared(metric, truth, poor, good).p_value > 0.99
    assert compared(metric, truth, good, good).p_value == 1.0
