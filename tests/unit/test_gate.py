"""Who is let in, and who is told to come again."""

import pytest
from inference.errors import Overloaded
from inference.gate import LARGE_BYTES, MOST_BODIES, MOST_WAITING, Gate, Turn

from tests.unit.serving import at_once

LARGEST = 2 * LARGE_BYTES


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def gate_of(turn: Turn | None = None, aside=at_once) -> Gate:
    return Gate(turn, 1.0, LARGEST, aside)


def test_a_request_is_let_in_until_it_has_waited_too_long_for_its_turn():
    clock = Clock()
    turn = Turn(clock)
    gate = gate_of(turn)
    clock.now += 1.0
    gate.enter()
    clock.now += 0.1
    with pytest.raises(Overloaded, match="within 1 s; try again") as refused:
        gate.enter()
    assert (refused.value.status, refused.value.retry_after) == (503, 1)


def test_each_round_of_requests_begins_to_wait_anew():
    clock = Clock()
    turn = Turn(clock)
    clock.now += 50
    turn.begin()
    assert turn.waited() == 0
    gate_of(turn).enter()


def test_without_a_turn_everybody_is_let_in():
    gate_of(None).enter()


def test_large_bodies_are_held_up_to_a_bound_and_turned_away_beyond_it():
    gate = gate_of()
    for _ in range(MOST_BODIES):
        gate.hold(LARGEST)
    with pytest.raises(Overloaded, match="too many large requests are on their way"):
        gate.hold(LARGEST)
    gate.release(LARGEST)
    gate.hold(LARGEST)


def test_small_bodies_are_let_in_beside_as_many_large_ones_as_there_may_be():
    gate = gate_of()
    for _ in range(MOST_BODIES):
        gate.hold(LARGEST)
    gate.hold(LARGE_BYTES)


def test_small_bodies_count_against_the_large_ones():
    gate = gate_of()
    for _ in range(MOST_BODIES * LARGEST // LARGE_BYTES):
        gate.hold(LARGE_BYTES)
    with pytest.raises(Overloaded):
        gate.hold(LARGE_BYTES + 1)


def test_a_body_that_comes_piece_by_piece_becomes_a_large_one():
    gate = gate_of()
    for _ in range(MOST_BODIES):
        gate.hold(LARGEST)
    gate.hold(LARGE_BYTES)
    with pytest.raises(Overloaded):
        gate.hold(1, LARGE_BYTES)


def test_a_small_body_is_answered_here_and_a_large_one_aside():
    asides = []

    def aside(function, *arguments):
        asides.append(arguments)
        return function(*arguments)

    gate = gate_of(aside=aside)
    assert gate.run(LARGE_BYTES, max, 1, 2) == 2
    assert asides == []
    assert gate.run(LARGE_BYTES + 1, max, 3, 4) == 4
    assert asides == [(3, 4)]


class FakeLane:
    """Lets everybody in, or nobody; `meanwhile` is done by each that waits."""

    def __init__(self, is_free: bool = True, meanwhile=lambda: None) -> None:
        self.is_free, self.meanwhile, self.inside = is_free, meanwhile, 0

    def acquire(self, *, timeout: float) -> bool:
        self.meanwhile()
        self.inside += self.is_free
        return self.is_free

    def release(self) -> None:
        self.inside -= 1


def test_so_many_large_bodies_wait_and_the_next_one_is_turned_away():
    lane = FakeLane(meanwhile=lambda: gate.run(LARGE_BYTES + 1, waiting.append, 1))
    gate, waiting = Gate(None, 1.0, LARGEST, at_once, lane), []
    with pytest.raises(Overloaded, match="too many large requests are waiting; try again"):
        gate.run(LARGE_BYTES + 1, int)
    assert gate.run(LARGE_BYTES, int) == 0
    lane.meanwhile = lambda: None
    assert gate.run(LARGE_BYTES + 1, int) == 0, "nobody waits any more"


def test_a_large_body_whose_turn_does_not_come_in_time_is_turned_away():
    gate = Gate(None, 1.0, LARGEST, at_once, FakeLane(is_free=False))
    with pytest.raises(Overloaded, match="send fewer rows at a time"):
        gate.run(LARGE_BYTES + 1, int)


def test_one_large_body_is_answered_at_a_time():
    seen = []
    lane = FakeLane()
    gate = Gate(None, 1.0, LARGEST, at_once, lane)
    gate.run(LARGE_BYTES + 1, lambda: seen.append(lane.inside))
    assert (seen, lane.inside) == ([1], 0)


def test_an_answer_that_is_not_read_yet_leaves_less_room_for_large_bodies():
    gate = gate_of()
    with gate.holding(MOST_BODIES * LARGEST), pytest.raises(Overloaded):
        gate.hold(LARGE_BYTES + 1)
    gate.hold(LARGE_BYTES + 1)


def test_a_large_body_that_fails_gives_its_place_back():
    gate = gate_of()
    for _ in range(2 * MOST_WAITING):
        with pytest.raises(ZeroDivisionError):
            gate.run(LARGE_BYTES + 1, divmod, 1, 0)
