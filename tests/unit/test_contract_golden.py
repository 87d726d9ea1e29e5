"""What counts as the same answer: for golden samples on both sides, and for the proof of an ONNX engine."""

import math
from typing import Any

import numpy as np
import pytest
from contract.golden import Answers, Difference, difference, scale_of

TOLERANCE = 1e-5


def fault(found: Answers, truth: Answers, scale: float = 1.0) -> str | None:
    return difference(found, truth, TOLERANCE, scale).fault(TOLERANCE)


def labels(*values: Any) -> Answers:
    return Answers(np.array(values), None)


def likely(values: Any, rows: Any) -> Answers:
    return Answers(np.array(values), np.array(rows))


@pytest.mark.parametrize(
    ("truth", "found"),
    [
        (labels("a", "b"), labels("a", "b")),
        (labels("a", "b"), Answers(np.array(["a", "b"], dtype=object), None)),
        (labels(1, 2), labels(1, 2)),
        (labels(True, False), labels(True, False)),
        (labels(0.5, 1e6), labels(0.500009, 1e6 + 9)),
        (labels([0.5, 1.0], [2.0, 3.0]), labels([0.5, 1.0], [2.0, 3.000001])),
        (likely(["a"], [[0.7, 0.3]]), likely(["a"], [[0.700009, 0.299991]])),
        (likely([1], [[1.0]]), likely([1], [[1.0]])),
        (Answers(None, None), labels(1)),
        (Answers(None, np.array([[0.7, 0.3]])), likely(["a"], [[0.7, 0.3]])),
    ],
)
def test_same_answers_have_no_fault(truth: Answers, found: Answers) -> None:
    assert fault(found, truth) is None


@pytest.mark.parametrize(
    ("truth", "found", "words"),
    [
        (labels("a", "b"), labels("a", "a"), "labels differ in 1 rows"),
        (labels(1, 2), labels(2, 1), "labels differ in 2 rows"),
        (labels(1, 2), labels(1), "labels differ in 2 rows"),
        (labels([1, 2], [3, 4]), labels([1, 2], [3, 5]), "labels differ in 1 rows"),
        (labels(0.5), labels(0.50002), "an answer differs by 2e-05, and may by 1e-05"),
        (labels(1e6), labels(1e6 + 20), "an answer differs by 2e-05"),
        (labels(0.5), labels(math.nan), "an answer differs by inf"),
        (labels(0.5, 1.0), labels(0.5), "an answer differs by inf"),
        (likely(["a"], [[0.7, 0.3]]), likely(["b"], [[0.7, 0.3]]), "labels differ in 1 rows"),
        (likely(["a"], [[0.2, 0.5, 0.3]]), likely(["b"], [[0.2, 0.5, 0.3]]), "labels differ in 1 rows"),
        (likely(["a"], [[0.7, 0.3]]), likely(["a"], [[0.70002, 0.29998]]), "an answer differs by 2e-05"),
        (likely(["a"], [[0.7, 0.3]]), labels("a"), "an answer differs by inf"),
        (likely(["a"], [[0.7, 0.3]]), likely(["a"], [[0.7, 0.2, 0.1]]), "an answer differs by inf"),
    ],
)
def test_other_answers_are_told(truth: Answers, found: Answers, words: str) -> None:
    assert words in fault(found, truth)


def test_a_tie_of_the_model_itself_may_fall_to_either_side() -> None:
    truth = likely(["a", "a"], [[0.500001, 0.499999], [0.7, 0.3]])
    assert fault(likely(["b", "a"], truth.probabilities), truth) is None
    assert fault(likely(["b", "b"], truth.probabilities), truth) == "labels differ in 1 rows"


def test_classes_that_are_as_far_apart_as_the_tolerance_are_a_tie() -> None:
    truth, found = likely(["a"], [[0.75, 0.25]]), likely(["b"], [[0.75, 0.25]])
    assert difference(found, truth, 0.5).fault(0.5) is None
    assert difference(found, truth, 0.49).fault(0.49) == "labels differ in 1 rows"


def test_values_are_measured_against_one_where_nobody_knows_how_far_they_spread() -> None:
    assert (
        difference(labels(0.00002), labels(0.0), TOLERANCE).fault(TOLERANCE)
        == "an answer differs by 2e-05, and may by 1e-05"
    )


@pytest.mark.parametrize("values", [np.array([0.5, 2.0]), np.array([], dtype=float)], ids=["values", "no rows"])
def test_the_same_values_differ_by_nothing(values: np.ndarray) -> None:
    assert difference(Answers(values, None), Answers(values, None), TOLERANCE) == Difference(0, 0.0)


def test_values_that_are_infinite_are_no_answer_and_no_warning() -> None:
    with np.errstate(all="raise"):
        assert "an answer differs by inf" in str(fault(labels(math.inf), labels(math.inf)))


def test_a_value_near_zero_is_measured_by_how_far_values_spread() -> None:
    truth, found = labels(0.0, 1e-6, 40.0), labels(0.0002, 1e-6, 40.0)
    assert "an answer differs by 0.0002" in fault(found, truth)
    assert fault(found, truth, scale=30.0) is None


def test_the_scale_is_the_median_distance_from_the_median_and_never_zero() -> None:
    assert scale_of(np.array([1.0, 2.0, 3.0, 4.0, 1e9])) == 1.0
    assert scale_of(np.array([0.0, 10.0, 20.0])) == 10.0
    assert scale_of(np.array([5.0, 5.0])) == 1.0


@pytest.mark.parametrize("content", [{"predictions": [[1], [1, 2]]}, {"probabilities": [[1], [1, 2]]}])
def test_answers_that_are_no_table_are_an_error(content: dict[str, list[list[int]]]) -> None:
    with pytest.raises(ValueError, match="inhomogeneous"):
        Answers.of(content)
