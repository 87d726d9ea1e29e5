"""The rows that a quicker way to an answer is compared on: the same kinds for the trainer and the prediction service."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from contract.proof.rows import Known, kinds
from contract.schema import LARGEST, Column, Kind, column, fault

NUMBER, WHOLE = column("a", "double", True), column("n", "long", False)
TRUTH, TEXT = column("yes", "boolean", True), column("t", "string", True)
COLUMNS = [NUMBER, WHOLE, TRUTH, TEXT]
SEEN: list[Sequence[Any]] = [[0.5, 1.5], [3, 9], [True], ["x", "y"]]
ROWS: list[Sequence[Any]] = [[0.5, 3, True, "x"], [1.5, 9, True, "y"], [None, 9, None, None]]


def made(limit: float = LARGEST, count: int = 20) -> list[list[Sequence[Any]]]:
    known = [Known(each, seen, limit) for each, seen in zip(COLUMNS, SEEN, strict=True)]
    return [list(kind) for kind in kinds(known, ROWS, count)]


def test_no_row_is_beyond_what_the_columns_take() -> None:
    for row in (row for kind in made() for row in kind):
        assert [fault(value, each) for value, each in zip(row, COLUMNS, strict=True)] == [None] * 4


def test_no_number_is_beyond_the_limit_and_some_are_at_it() -> None:
    for limit in (1e6, 2.5):
        numbers = [row[0] for kind in made(limit) for row in kind if row[0] is not None]
        whole = [row[1] for kind in made(limit) for row in kind]
        assert (min(numbers), max(numbers)) == (-limit, limit)
        assert (min(whole), max(whole)) == (-int(limit), int(limit))


def test_each_column_that_accepts_gaps_has_some_and_no_row_has_them_all() -> None:
    *_, gaps = made()
    for position, each in enumerate(COLUMNS):
        assert any(row[position] is None for row in gaps) == each.missing
    assert all(sum(value is None for value in row) <= 1 for row in gaps)


def test_what_stands_out_in_a_text_is_by_itself() -> None:
    _, _, numbers, texts, *_ = made()
    assert {row[3] for row in numbers} <= {"x", "y"}
    assert {row[3] for row in texts} == {"x", "y", "a category that nobody has seen", "", "nan", None}


def test_the_middle_is_that_of_two_rows_without_gaps() -> None:
    *_, middles, _ = made()
    assert middles == [[1.0, 6, True, "x"]]


def test_columns_of_which_nothing_was_seen_have_rows_all_the_same() -> None:
    known = [Known(each, []) for each in COLUMNS]
    for row in (row for kind in kinds(known, [], 5) for row in kind):
        assert all(fault(value, each) is None for value, each in zip(row, COLUMNS, strict=True))


def test_the_rows_are_the_same_each_time() -> None:
    assert repr(made()) == repr(made())


def test_random_rows_leave_the_range_that_was_seen_by_five_times_its_width() -> None:
    known = [Known(Column("a", Kind.NUMBER), [0.0, 2.0])]
    inside, beyond, *_ = (np.array(list(kind), dtype=float) for kind in kinds(known, [], 1000))
    assert (inside.min() >= 0, inside.max() <= 2) == (True, True)
    assert (-4 <= beyond.min() < -3.5, 5.5 < beyond.max() <= 6) == (True, True)
