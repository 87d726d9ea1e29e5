"""The history of the Production alias, out of its records and of where the alias is; and the way back through it."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from contract.tracking.alias_history import MOST_RECORDS, OTHERS, Move, earlier, parsed, record, with_those_by_others

_moments = count()


def at(second: float) -> str:
    return (datetime(2026, 1, 2, tzinfo=UTC) + timedelta(seconds=second)).isoformat(timespec="microseconds")


def recorded(by: str, before: str | None, version: str) -> Move:
    """Return a move after all earlier ones, as versions of this stack recorded it that did not say when they looked."""
    return Move(at(next(_moments)), by, before, version, "better")


def spanning(before: str | None, version: str, looked: float, time: float) -> Move:
    return Move(at(time), "train", before, version, "better", at(looked))


def shown(records: list[Move], now: str | None) -> list[tuple[str, str | None, str | None]]:
    return [(made.by, made.before, made.version) for made in with_those_by_others(records, now)]


FIRST, SECOND = recorded("train", None, "1"), recorded("train", "1", "2")


def test_recorded_moves_that_follow_each_other_are_the_whole_history() -> None:
    assert shown([FIRST, SECOND], "2") == [("train", None, "1"), ("train", "1", "2")]


def test_an_alias_that_is_not_where_the_last_record_put_it_was_moved_by_others() -> None:
    assert shown([FIRST, SECOND], "1")[-1] == (OTHERS, "2", "1")
    assert shown([FIRST], None)[-1] == (OTHERS, "1", None)
    assert shown([], "4") == [(OTHERS, None, "4")]


def test_a_record_that_starts_elsewhere_than_the_last_one_ended_shows_a_move_by_others_between() -> None:
    assert shown([FIRST, recorded("train", "3", "4")], "4") == [
        ("train", None, "1"),
        (OTHERS, "1", "3"),
        ("train", "3", "4"),
    ]


def test_a_model_that_never_was_in_production_has_no_history() -> None:
    assert shown([], None) == []


def test_two_that_both_looked_before_either_moved_blame_nobody_else() -> None:
    records = [
        spanning(None, "9", 0, 1),
        spanning("9", "11", 10, 13),
        spanning("9", "12", 11, 14),
        spanning("12", "11", 14, 15),
    ]
    assert shown(records, "11") == [
        ("train", None, "9"),
        ("train", "9", "11"),
        ("train", "9", "12"),
        ("train", "12", "11"),
    ]


class Alias:
    """An alias, commands that move it step by step, and the records that they leave."""

    def __init__(self) -> None:
        self.version: str | None = None
        self.records: list[Move] = []
        self._clock = count()

    def mover(self, *versions: str) -> Iterator[None]:
        """Move the alias to each version as trainer.tracking.alias_moves does, one step of it at a time."""
        for version in versions:
            looked = next(self._clock)
            yield
            before = self.version
            yield
            self.version = version
            yield
            self.records.append(spanning(before, version, looked, next(self._clock)))
            yield


def interleavings(steps: tuple[int, ...]) -> Iterator[list[int]]:
    """Yield every order of steps, `steps` of each mover, as the mover's number at each place."""
    if not any(steps):
        yield []
    for mover, left in enumerate(steps):
        if left:
            rest = (*steps[:mover], left - 1, *steps[mover + 1 :])
            for order in interleavings(rest):
                yield [mover, *order]


def ran(order: list[int], *versions: tuple[str, ...]) -> Alias:
    alias = Alias()
    list(alias.mover("1"))
    movers = [alias.mover(*own) for own in versions]
    for mover in order:
        next(movers[mover])
    return alias


@pytest.mark.parametrize(
    "versions",
    [(("2",), ("3",)), (("2",), ("2",)), (("2",), ("1",)), (("2", "4"), ("3",)), (("2", "1"), ("3",))],
    ids=str,
)
def test_whatever_the_order_of_their_steps_two_commands_blame_nobody_else(versions: tuple[Any, ...]) -> None:
    for order in interleavings(tuple(4 * len(own) for own in versions)):
        alias = ran(order, *versions)
        found = list(with_those_by_others(alias.records, alias.version))
        assert OTHERS not in [made.by for made in found], order
        assert found[-1].version == alias.version
        assert sorted(map(str, found)) == sorted(map(str, alias.records))


def test_nor_do_three_at_once() -> None:
    for order in interleavings((3, 3, 3)):  # looking and reading in one step
        alias = Alias()
        list(alias.mover("1"))
        movers = [alias.mover(version) for version in ("2", "3", "2")]
        begun = set()
        for mover in order:
            for _ in range(1 if mover in begun else 2):
                next(movers[mover])
            begun.add(mover)
        found = list(with_those_by_others(alias.records, alias.version))
        assert OTHERS not in [made.by for made in found], order
        assert found[-1].version == alias.version


def test_a_move_by_others_amid_a_race_is_still_shown() -> None:
    """To a version that no command put there: whoever finds it has found the work of others, once."""
    for order in interleavings((4, 4)):
        for place in range(len(order) + 1):
            alias = Alias()
            list(alias.mover("1"))
            movers = [alias.mover("2"), alias.mover("3")]
            for number, mover in enumerate([*order, None]):
                if number == place:
                    alias.version = "9"
                if mover is not None:
                    next(movers[mover])
            was_seen = alias.version == "9" or any(made.before == "9" for made in alias.records)
            blamed = [made for made in with_those_by_others(alias.records, alias.version) if made.by == OTHERS]
            assert [made.version for made in blamed] == ["9"] * was_seen, (order, place)


def test_a_move_by_others_back_to_an_earlier_version_is_shown_where_no_race_explains_it() -> None:
    alias = Alias()
    for version in ("1", "2"):
        list(alias.mover(version))
    alias.version = "1"
    list(alias.mover("3"))
    assert shown(alias.records, alias.version)[2:] == [(OTHERS, "2", "1"), ("train", "1", "3")]


def test_a_second_move_by_others_to_the_same_version_is_shown_too() -> None:
    alias = Alias()
    for version in ("1", "2"):
        list(alias.mover(version))
        alias.version = "9"
    list(alias.mover("3"))
    assert [made for made in shown(alias.records, "3") if made[0] == OTHERS] == [(OTHERS, "1", "9"), (OTHERS, "2", "9")]


@pytest.mark.parametrize(
    ("moves", "expected"),
    [
        ([], []),
        ([("train", "1")], []),
        ([("train", "1"), ("train", "2"), ("train", "3")], ["2", "1"]),
        ([("train", "1"), ("train", "2"), ("train", "3"), ("rollback", "2")], ["1"]),
        ([("train", "1"), ("train", "2"), ("rollback", "1")], []),
        ([("train", "1"), ("train", "2"), ("bootstrap", "1")], []),
        ([("train", "1"), ("train", "2"), ("rollback", "1"), ("train", "3")], ["1"]),
        ([("train", "1"), ("train", "2"), ("promote", "1")], ["2"]),
        ([("train", "1"), (OTHERS, "2"), ("train", "3")], ["2", "1"]),
        ([("train", "1"), ("train", "2"), (OTHERS, None)], ["2", "1"]),
    ],
    ids=str,
)
def test_the_way_back_goes_further_with_each_rollback_and_never_to_and_fro(
    moves: list[Any], expected: list[Any]
) -> None:
    assert earlier([Move(None, by, None, version, "") for by, version in moves]) == expected


def tag(**changes: object) -> str:
    return json.dumps({**asdict(spanning(None, "1", 0, 1)), **changes})


UNREADABLE = {
    "not json": "no JSON",
    "": "no JSON",
    "[" * 4000: "no JSON",
    '{"time": ' + "9" * 4900 + "}": "no JSON",
    "1 → 2 by promote: x [now/then]": "time is 'then'",
    "1 → 0 by promote: x [2026-01-02T00:00:00+00:00/2026-01-02T00:00:00+00:00]": "version is '0'",
    "[]": "list in place of an object",
    "null": "NoneType in place of an object",
    "{}": "time is None",
    tag(time="yesterday"): "time is 'yesterday'",
    tag(time="2026-01-02T00:00:00"): "time is '2026-01-02T00:00:00'",
    tag(time=1767312000): "time is 1767312000",
    tag(looked=["now"]): "looked is ['now']",
    tag(by=None): "by is None",
    tag(before=1): "before is 1",
    tag(version="../2"): "version is '../2'",
    tag(version=None): "version is None",
    tag(version="1\x1b[2J"): r"version is '1\x1b[2J'",
    tag(reason={"a": 1}): "reason is {'a': 1}",
    tag(reason="x" * 6000): "characters",
}


@pytest.mark.parametrize(("text", "said"), UNREADABLE.items(), ids=[text[:30] for text in UNREADABLE])
def test_a_record_that_cannot_be_read_is_passed_over_with_a_remark(text: str, said: str) -> None:
    found, (remark,) = parsed({"move.1": tag(), "move.2": text, "other": "x"})
    assert list(found) == ["move.1"]
    assert "move.2" in remark
    assert said in remark
    assert len(remark) < 500
    assert remark.isprintable()


def test_the_remark_names_few_of_many_and_makes_their_keys_visible() -> None:
    found, (remark,) = parsed({f"move.{number}\x1b[2J{'y' * 200}": "?" for number in range(900)})
    assert not found
    assert r"move.0\x1b[2J" in remark
    assert "and 897 more" in remark
    assert len(remark) < 500


def test_of_very_many_records_the_newest_are_read() -> None:
    found, (remark,) = parsed({f"move.{number:05}": tag() for number in range(5000)})
    assert list(found) == [f"move.{number:05}" for number in range(5000 - MOST_RECORDS, 5000)]
    assert f"of 5000 records of moves the newest {MOST_RECORDS}" in remark


@pytest.mark.parametrize(
    "reason", ["", " ", "a: [b]", "two\nlines ü \U0001f600", "x [now/then]", "1 → 2 by x: y [a/b]", "]" * 2000]
)
@pytest.mark.parametrize("made", [FIRST, SECOND])
def test_a_record_is_a_sentence_that_is_read_as_it_was_written(made: Move, reason: str) -> None:
    made = replace(made, reason=reason, looked=made.time)
    assert parsed({"move.1": record(made)}) == ({"move.1": made}, [])


def test_a_record_says_what_a_person_wants_to_know_of_a_move() -> None:
    made = Move("2026-01-02T00:00:01+00:00", "promote", "1", "2", "better [labels]", "2026-01-02T00:00:00+00:00")
    assert record(made) == "1 → 2 by promote: better [labels] [2026-01-02T00:00:00+00:00/2026-01-02T00:00:01+00:00]"
    assert record(replace(made, before=None)).startswith("none → 2 by promote: ")


def test_records_of_earlier_and_of_later_versions_of_this_stack_are_read() -> None:
    old = {key: value for key, value in asdict(FIRST).items() if key != "looked"}
    found, remarks = parsed({"move.1": json.dumps(old), "move.2": tag(machine="a later field")})
    assert (len(found), remarks) == (2, [])
