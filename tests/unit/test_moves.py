"""The history of the Production alias, out of its records and of where the alias is; and the way back through it."""

import pytest
from trainer.moves import OTHERS, Move, earlier, with_those_by_others


def recorded(by: str, before: str | None, version: str) -> Move:
    return Move("2026-01-02T03:04:05+00:00", by, before, version, "better")


def shown(records: list[Move], now: str | None) -> list[tuple[str, str | None, str | None]]:
    return [(made.by, made.before, made.version) for made in with_those_by_others(records, now)]


FIRST, SECOND = recorded("train", None, "1"), recorded("train", "1", "2")


def test_recorded_moves_that_follow_each_other_are_the_whole_history():
    assert shown([FIRST, SECOND], "2") == [("train", None, "1"), ("train", "1", "2")]


def test_an_alias_that_is_not_where_the_last_record_put_it_was_moved_by_others():
    assert shown([FIRST, SECOND], "1")[-1] == (OTHERS, "2", "1")
    assert shown([FIRST], None)[-1] == (OTHERS, "1", None)
    assert shown([], "4") == [(OTHERS, None, "4")]


def test_a_record_that_starts_elsewhere_than_the_last_one_ended_shows_a_move_by_others_between():
    assert shown([FIRST, recorded("train", "3", "4")], "4") == [
        ("train", None, "1"),
        (OTHERS, "1", "3"),
        ("train", "3", "4"),
    ]


def test_a_model_that_never_was_in_production_has_no_history():
    assert shown([], None) == []


@pytest.mark.parametrize(
    ("moves", "expected"),
    [
        ([], []),
        ([("train", "1")], []),
        ([("train", "1"), ("train", "2"), ("train", "3")], ["2", "1"]),
        ([("train", "1"), ("train", "2"), ("train", "3"), ("rollback", "2")], ["1"]),
        ([("train", "1"), ("train", "2"), ("rollback", "1")], []),
        ([("train", "1"), ("train", "2"), ("rollback", "1"), ("train", "3")], ["1"]),
        ([("train", "1"), ("train", "2"), ("promote", "1")], ["2"]),
        ([("train", "1"), (OTHERS, "2"), ("train", "3")], ["2", "1"]),
        ([("train", "1"), ("train", "2"), (OTHERS, None)], ["2", "1"]),
    ],
    ids=str,
)
def test_the_way_back_goes_further_with_each_rollback_and_never_to_and_fro(moves, expected):
    assert earlier([Move(None, by, None, version, "") for by, version in moves]) == expected
