"""What a row takes a model, and answers in parts."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from contract.schema import Column, Kind
from inference.errors import InvalidInput, Overloaded
from inference.model.pacing import FEW_ROWS, LEAST_PART, MEASURED_ROWS, in_parts, part_rows, row_seconds
from inference.rows import Rows
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier

from tests.unit.serving import answering, described

ROWS = Rows(np.arange(10.0).reshape(5, 2), None)


class Slow:
    """A model whose answer is each row's sum, and a clock that goes on as it is asked."""

    def __init__(self, first: float, each: float, *late: float) -> None:
        self.first, self.each, self.late = first, each, list(late)
        self.time = 0.0
        self.asked: list[Any] = []

    def now(self) -> float:
        return self.time

    def __call__(self, rows: Rows) -> np.ndarray:
        self.asked.append(len(rows))
        self.time += self.first + self.each * len(rows) + (self.late.pop() if self.late else 0.0)
        return rows.matrix.sum(axis=1)


def test_a_row_takes_what_many_of_them_take_beside_one_whatever_comes_in_between() -> None:
    model = Slow(0.01, 0.00001, 0.5, 0.0, 0.0, 0.0, 0.3)
    assert row_seconds(model, ROWS, model.now) == pytest.approx(0.00001)
    assert max(model.asked) == MEASURED_ROWS


def test_a_model_that_takes_long_for_a_few_rows_is_not_asked_for_more() -> None:
    model = Slow(0.0, 0.1)
    assert row_seconds(model, ROWS, model.now) == pytest.approx(0.1)
    assert max(model.asked) == FEW_ROWS


def test_what_rows_take_that_a_model_refuses_is_not_known() -> None:
    def refuses(rows: Rows) -> None:
        raise InvalidInput("no")

    assert row_seconds(refuses, ROWS) == 0.0


def test_rows_are_answered_in_parts_as_they_are_all_at_once() -> None:
    rows, model = ROWS.repeated(10 * LEAST_PART + 7), Slow(0.0, 0.01)
    assert (in_parts(model, rows, part_rows(0.01, 2), 100.0, model.now) == rows.matrix.sum(axis=1)).all()
    assert max(model.asked) <= LEAST_PART
    assert sum(model.asked) == len(rows)


def test_rows_that_take_longer_than_they_may_are_refused_in_the_middle() -> None:
    rows, model = ROWS.repeated(100 * LEAST_PART), Slow(0.0, 0.01)
    with pytest.raises(Overloaded, match="these 6400 rows take longer than 1 s; send fewer rows at a time"):
        in_parts(model, rows, part_rows(0.01, 2), 1.0, model.now)
    assert len(model.asked) == 2


@pytest.mark.parametrize("estimator", [KNeighborsClassifier(), RandomForestClassifier(5)], ids=["neighbours", "forest"])
def test_an_estimators_answer_in_parts_is_the_same_to_the_byte(
    estimator: KNeighborsClassifier | RandomForestClassifier,
) -> None:
    values = np.random.default_rng(1).normal(size=(500, 2))
    estimator.fit(values[:50], values[:50, 0] > 0)
    whole = answering(estimator, described([Column("a", Kind.NUMBER), Column("b", Kind.NUMBER)]), takes_arrays=True)
    parts = replace(whole, row_seconds=(0.0, 1.0))
    rows = Rows(values, None)
    assert parts.takes_long(rows)
    assert not whole.takes_long(rows)
    assert parts.predict(rows).tobytes() == whole.predict(rows).tobytes()
    assert parts.probabilities(rows).tobytes() == whole.probabilities(rows).tobytes()
