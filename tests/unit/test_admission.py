"""Who is let in, and who is told to come again."""

import asyncio
import time
from typing import Any

import pytest
from inference.errors import Overloaded
from inference.request.admission import (
    LARGE_BYTES,
    LEAST_HELD,
    MOST_BODIES,
    MOST_HELD,
    MOST_WAITING,
    TURN_SECONDS,
    UNREAD_SECONDS,
    AdmissionControl,
    Line,
)

from tests.unit.serving import at_once

LARGEST = 2 * LARGE_BYTES


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class World:
    """What a loop does, as slowly as the clock says: what is called soon is called in the next round."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.soon: list[Any] = []
        self.line = Line(self.soon.append, self.clock)

    def round(self) -> None:
        soon, self.soon[:] = list(self.soon), []
        for call in soon:
            call()


class One:
    """Somebody in line, whose turn takes so many seconds."""

    def __init__(self, world: World, seconds: float = 0.0) -> None:
        self.world, self.seconds = world, seconds
        self.waited: float | None = None
        self.again: One | None = None

    def take_turn(self, waited: float) -> None:
        self.waited = waited
        self.world.clock.now += self.seconds
        if self.again:
            self.world.line.join(self.again.take_turn)


def admission_of(aside: Any = at_once, now: Any = time.monotonic) -> AdmissionControl:
    return AdmissionControl(1.0, LARGEST, aside, now)


def test_a_request_is_let_in_until_it_has_waited_too_long_for_its_turn() -> None:
    admission = admission_of()
    admission.enter(1.0)
    with pytest.raises(Overloaded, match="within 1 s; try again") as refused:
        admission.enter(1.1)
    assert (refused.value.status, refused.value.retry_after) == (503, 1)


def test_a_request_has_waited_as_long_as_those_before_it_took() -> None:
    world = World()
    first, second = One(world, 0.0015), One(world)
    for one in (first, second):
        world.line.join(one.take_turn)
    world.round()
    assert (first.waited, second.waited) == (0, pytest.approx(0.0015))  # type: ignore[comparison-overlap]


def test_a_stop_of_the_worker_is_no_wait_of_those_who_come_after_it() -> None:
    """Whoever was in line when it stopped has waited as long; whoever is read afterwards has not."""
    world = World()
    before, after = One(world), One(world)
    world.line.join(before.take_turn)
    world.clock.now += 1.2
    world.line.join(after.take_turn)
    world.round()
    assert before.waited == pytest.approx(1.2)
    assert after.waited == 0


def test_the_network_is_looked_at_again_before_many_are_answered() -> None:
    world = World()
    all_of_them = [One(world, 0.001) for _ in range(10)]
    for one in all_of_them:
        world.line.join(one.take_turn)
    world.round()
    assert sum(one.waited is not None for one in all_of_them) in (2, 3)
    late = One(world)
    world.line.join(late.take_turn)
    while world.soon:
        world.round()
    assert late.waited < 0.009
    assert all(one.waited is not None for one in all_of_them)


def test_whoever_comes_again_stands_behind_all_others() -> None:
    world = World()
    eager, other = One(world), One(world)
    eager.again = One(world)
    order: list[One] = []
    for one in (eager, eager.again, other):
        turn = one.take_turn
        one.take_turn = lambda waited, one=one, turn=turn: (order.append(one), turn(waited))[1]  # type: ignore[misc]
    for one in (eager, other):
        world.line.join(one.take_turn)
    while world.soon:
        world.round()
    assert order == [eager, other, eager.again]


def test_a_turn_that_fails_keeps_nobody_else_from_theirs() -> None:
    world = World()

    class Failing(One):
        def take_turn(self, waited: float) -> None:
            raise ZeroDivisionError

    other, late = One(world), One(world)
    world.line.join(Failing(world).take_turn)
    world.line.join(other.take_turn)
    with pytest.raises(ZeroDivisionError):
        world.round()
    world.round()
    world.line.join(late.take_turn)
    world.round()
    assert (other.waited, late.waited) == (0, 0)


def test_whoever_comes_when_the_time_of_a_turn_is_over_waits_for_the_next_one() -> None:
    world = World()
    first, second = One(world, TURN_SECONDS), One(world)
    for one in (first, second):
        world.line.join(one.take_turn)
    world.round()
    assert (first.waited, second.waited) == (0, None)
    world.round()
    assert second.waited == pytest.approx(TURN_SECONDS)


def test_large_bodies_are_held_up_to_a_bound_and_turned_away_beyond_it() -> None:
    admission = admission_of()
    for _ in range(MOST_BODIES):
        admission.hold(LARGEST)
    with pytest.raises(Overloaded, match=r"^too many large requests are on their way; try again$"):
        admission.hold(LARGEST)
    admission.release(LARGEST)
    admission.hold(LARGEST)


def test_a_large_body_that_is_announced_is_turned_away_where_there_is_no_room_and_counts_as_it_comes() -> None:
    admission = admission_of()
    for _ in range(2 * MOST_BODIES):
        admission.expect(LARGEST)
    admission.hold((MOST_BODIES - 1) * LARGEST)
    admission.expect(LARGEST)
    admission.hold(1)
    with pytest.raises(Overloaded, match="too many large requests are on their way"):
        admission.expect(LARGEST)


def test_small_bodies_are_let_in_beside_as_many_large_ones_as_there_may_be() -> None:
    admission = admission_of()
    for _ in range(MOST_BODIES):
        admission.hold(LARGEST)
    admission.hold(LARGE_BYTES)
    assert admission._bytes == MOST_BODIES * LARGEST + LARGE_BYTES


def test_small_bodies_count_against_the_large_ones() -> None:
    admission = admission_of()
    for _ in range(MOST_BODIES * LARGEST // LARGE_BYTES):
        admission.hold(LARGE_BYTES)
    with pytest.raises(Overloaded):
        admission.hold(LARGE_BYTES + 1)


def test_a_body_that_comes_piece_by_piece_becomes_a_large_one() -> None:
    admission = admission_of()
    for _ in range(MOST_BODIES):
        admission.hold(LARGEST)
    admission.hold(LARGE_BYTES)
    with pytest.raises(Overloaded):
        admission.hold(1, LARGE_BYTES)


def test_small_bodies_are_turned_away_too_where_there_are_twice_as_many_bytes_as_large_ones_may_have() -> None:
    admission = AdmissionControl(1.0, 64 * LARGE_BYTES, at_once)
    for _ in range(MOST_HELD * MOST_BODIES * 64):
        admission.hold(LARGE_BYTES)
    with pytest.raises(Overloaded, match=r"^too many requests are on their way; try again$"):
        admission.hold(1)
    admission.release(LARGE_BYTES)
    admission.hold(LARGE_BYTES)


def test_however_small_the_largest_body_is_small_ones_have_room() -> None:
    admission = admission_of()
    admission.hold(LARGE_BYTES)
    admission.keep(Slow(), LEAST_HELD - 2 * LARGE_BYTES)
    admission.hold(LARGE_BYTES)
    with pytest.raises(Overloaded):
        admission.hold(1)


class Slow:
    """Somebody who does not read an answer."""

    is_given_up = False

    def give_up_answer(self) -> None:
        self.is_given_up = True


def test_nothing_is_predicted_while_too_much_is_held_and_no_answer_may_be_given_up() -> None:
    admission, slow = admission_of(), Slow()
    admission.keep(slow, LEAST_HELD)
    admission.enter(0.0)
    admission.let_go(slow)
    admission.hold(1)
    admission.keep(slow, LEAST_HELD)
    with pytest.raises(Overloaded, match="too many answers are not read yet; try again") as refused:
        admission.enter(0.0)
    assert (refused.value.status, refused.value.retry_after) == (503, 1)
    assert not slow.is_given_up, "it has its answer just now"


def test_the_answers_that_are_unread_for_longest_are_given_up_where_there_are_too_many() -> None:
    admission = admission_of()
    slow = [Slow() for _ in range(4)]
    for one in slow[:3]:
        admission.keep(one, LEAST_HELD // 3)
    admission.let_go(slow[0])
    admission.keep(slow[0], LEAST_HELD // 3)
    assert not any(one.is_given_up for one in slow)
    admission.keep(slow[3], LEAST_HELD // 2)
    assert [one.is_given_up for one in slow] == [False, True, True, False]
    admission.enter(0.0)
    for one in slow:
        admission.let_go(one)
    assert admission._bytes == 0


def test_an_answer_that_is_not_read_yet_leaves_less_room_for_large_bodies() -> None:
    admission, slow = admission_of(), Slow()
    admission.keep(slow, MOST_BODIES * LARGEST)
    with pytest.raises(Overloaded):
        admission.hold(LARGE_BYTES + 1)
    admission.let_go(slow)
    admission.hold(LARGE_BYTES + 1)


def test_an_answer_that_is_unread_for_a_while_makes_room_for_a_large_body() -> None:
    clock, first, second = Clock(), Slow(), Slow()
    admission = admission_of(now=clock)
    admission.keep(first, MOST_BODIES * LARGEST)
    admission.keep(second, LARGEST)
    clock.now += UNREAD_SECONDS - 0.1
    with pytest.raises(Overloaded):
        admission.hold(LARGEST)
    assert not first.is_given_up
    clock.now += 0.1
    admission.hold(LARGEST)
    assert (first.is_given_up, second.is_given_up) == (True, False)
    assert admission._bytes == 2 * LARGEST


def test_small_ones_that_take_long_may_wait_beside_as_many_large_ones_as_there_may_be() -> None:
    async def test() -> None:
        stop = asyncio.Event()

        async def aside(function: Any) -> Any:
            await stop.wait()
            return function()

        admission = admission_of(aside)
        tasks = await in_progress(admission, 1 + MOST_WAITING)
        tasks += [asyncio.create_task(admission.run_aside(int, is_large=False)) for _ in range(3 * MOST_WAITING)]
        await asyncio.sleep(0)
        stop.set()
        assert await asyncio.gather(*tasks) == [0] * (1 + 4 * MOST_WAITING)

    asyncio.run(test())


async def in_progress(admission: AdmissionControl, count: int, function: Any = int) -> list[asyncio.Task[Any]]:
    """Begin so many large requests, one after the other."""
    tasks = [asyncio.create_task(admission.run_aside(function)) for _ in range(count)]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


def test_so_many_large_bodies_wait_and_the_next_one_is_turned_away() -> None:
    async def test() -> None:
        stop = asyncio.Event()

        async def aside(function: Any) -> Any:
            await stop.wait()
            return function()

        admission = admission_of(aside)
        tasks = await in_progress(admission, 1)
        tasks += await in_progress(admission, MOST_WAITING)
        with pytest.raises(Overloaded, match=r"^too many large requests are waiting; try again$"):
            await admission.run_aside(int)
        stop.set()
        assert await asyncio.gather(*tasks) == [0] * (1 + MOST_WAITING)
        assert await admission.run_aside(int) == 0, "nobody waits any more"

    asyncio.run(test())


def test_a_large_body_whose_turn_does_not_come_in_time_is_turned_away() -> None:
    async def test() -> None:
        stop = asyncio.Event()

        async def aside(function: Any) -> Any:
            await stop.wait()
            return function()

        admission = AdmissionControl(0.001, LARGEST, aside)
        (first,) = await in_progress(admission, 1)
        with pytest.raises(
            Overloaded, match=r"^large requests take too long; try again, or send fewer rows at a time$"
        ):
            await admission.run_aside(int)
        stop.set()
        assert await first == 0

    asyncio.run(test())


def test_one_large_body_is_answered_at_a_time() -> None:
    async def test() -> int:
        inside, most = 0, 0

        async def aside(function: Any) -> Any:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1
            return function()

        admission = admission_of(aside)
        await asyncio.gather(*(admission.run_aside(int) for _ in range(MOST_WAITING)))
        return most

    assert asyncio.run(test()) == 1


def test_a_large_body_that_fails_gives_its_place_back() -> None:
    async def test() -> None:
        admission = admission_of()
        for _ in range(2 * MOST_WAITING):
            with pytest.raises(ZeroDivisionError):
                await admission.run_aside(divmod, 1, 0)

    asyncio.run(test())
