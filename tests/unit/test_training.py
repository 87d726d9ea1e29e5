"""Fitting and measuring: the figures of the iris data, and that they come from the data."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from trainer.promotion import Contender, should_promote
from trainer.table import Split, Table, read, split
from trainer.training import Evaluation, evaluate, fit

IRIS = Path(__file__).parents[2] / "data" / "iris_dataset.csv"


def trained_on(rows: Split) -> Evaluation:
    return evaluate(fit(rows.train_features, rows.train_target), rows)


def permuted(table: Table) -> Table:
    """Return the same flowers under labels that say nothing of them."""
    shuffled = table.target.sample(frac=1, random_state=1)
    return replace(table, target=pd.Series(shuffled.to_numpy(), index=table.target.index, name=table.target.name))


@pytest.fixture(scope="module")
def table():
    return read(IRIS, "target", "target_name")


@pytest.fixture(scope="module")
def evaluation(table):
    return trained_on(split(table))


@pytest.fixture(scope="module")
def evaluation_of_permuted_labels(table):
    return trained_on(split(permuted(table)))


def test_the_iris_data_gives_the_figures_of_the_workshop(evaluation):
    assert {name: round(figure, 4) for name, figure in evaluation.metrics.items()} == {
        "test_accuracy": 0.9667,
        "train_accuracy": 0.9750,
        "overfitting_gap": 0.0083,
        "test_precision_micro": 0.9667,
        "test_precision_macro": 0.9697,
        "test_recall_micro": 0.9667,
        "test_recall_macro": 0.9667,
        "test_f1_macro": 0.9666,
    }


def test_one_versicolor_is_taken_for_a_virginica_and_nothing_else_is_wrong(evaluation):
    assert evaluation.confusion.tolist() == [[10, 0, 0], [0, 9, 1], [0, 0, 10]]


def test_training_again_gives_the_same_figures(table, evaluation):
    assert trained_on(split(table)).metrics == evaluation.metrics


def test_the_accuracies_are_those_of_counting(table, evaluation):
    rows = split(table)
    estimator = fit(rows.train_features, rows.train_target)
    hits = int((estimator.predict(rows.test_features) == rows.test_target).sum())
    assert evaluation.metrics["test_accuracy"] == hits / 30
    assert evaluation.confusion.trace() == hits
    hits = int((estimator.predict(rows.train_features) == rows.train_target).sum())
    assert evaluation.metrics["train_accuracy"] == hits / 120


def test_labels_that_say_nothing_give_figures_that_say_so(evaluation_of_permuted_labels):
    metrics = evaluation_of_permuted_labels.metrics
    assert metrics["test_accuracy"] < 0.6
    assert metrics["test_f1_macro"] < 0.6
    assert evaluation_of_permuted_labels.confusion.sum() == 30


def test_labels_that_say_nothing_give_a_model_that_the_floor_keeps_out(evaluation_of_permuted_labels):
    candidate = Contender("1", evaluation_of_permuted_labels.metrics["test_accuracy"], "digest")
    decision = should_promote(candidate, None, floor=0.9)
    assert not decision.promote
    assert "below the floor of 0.9000" in decision.reason


def test_the_iris_model_reaches_the_floor(evaluation):
    assert should_promote(Contender("1", evaluation.metrics["test_accuracy"], "digest"), None, floor=0.9).promote
