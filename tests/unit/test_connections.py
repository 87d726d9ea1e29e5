"""How many connections there may be, who makes room for whom, and whose time is over."""

import math

import pytest
from inference.http.client_times import ClientTimes
from inference.http.connections import SILENT_SECONDS, SPARE_SECONDS, Connections

LATER = 100.0


class Member:
    def __init__(self, deadline: float = math.inf, idle_since: float = 0.0) -> None:
        self.times, self.ended = ClientTimes({}), ""
        self.times.deadline, self.times.idle_since = deadline, idle_since

    def give_way(self) -> None:
        self.ended = "gave way"

    def end_late(self) -> None:
        self.ended = "late"


def crowd(*members: Member, limit: int = 3) -> Connections:
    found = Connections(limit)
    for one in members:
        assert found.admit(one, 0.0)
    return found


def at_work(connections: Connections, *members: Member) -> None:
    for one in members:
        connections.prove(one)
        one.times.idle_since = math.inf


def test_the_oldest_that_has_sent_no_head_makes_room_for_a_new_one() -> None:
    first, _, third = members = [Member() for _ in range(3)]
    connections = crowd(*members)
    at_work(connections, first)
    assert connections.admit(Member(), LATER)
    assert [one.ended for one in members] == ["", "gave way", ""]
    assert connections.admit(Member(), LATER)
    assert third.ended == "gave way"
    assert len(connections) == 3


def test_one_whose_first_request_may_be_on_its_way_keeps_its_place() -> None:
    connections = crowd(*(Member() for _ in range(3)))
    assert not connections.admit(Member(), SILENT_SECONDS - 0.1)
    assert connections.admit(Member(), SILENT_SECONDS)


def test_those_that_have_something_to_do_keep_their_place_and_a_new_one_is_told_so() -> None:
    members = [Member() for _ in range(3)]
    connections = crowd(*members)
    at_work(connections, *members)
    connections.sweep(1000)
    assert not connections.admit(Member(), LATER)
    assert not any(one.ended for one in members)
    connections.leave(members[1])
    assert connections.admit(Member(), LATER)


def test_the_one_that_has_been_idle_for_longest_makes_room_where_all_have_asked_something() -> None:
    members = [Member() for _ in range(3)]
    connections = crowd(*members)
    at_work(connections, *members)
    members[0].times.idle_since, members[1].times.idle_since, members[2].times.idle_since = 20.0, 10.0, 30.0
    connections.sweep(10 + SPARE_SECONDS)
    assert not connections.admit(Member(), LATER), "none has been idle for long enough"
    connections.sweep(100)
    for one in (members[1], members[0]):
        new = Member()
        assert connections.admit(new, LATER)
        at_work(connections, new)
        assert one.ended == "gave way"
    members[2].times.idle_since = math.inf
    assert not connections.admit(Member(), LATER), "it has something to do again"
    assert not members[2].ended


def test_one_that_sends_nothing_of_its_body_for_a_while_makes_room() -> None:
    members = [Member() for _ in range(3)]
    connections = crowd(*members)
    at_work(connections, *members)
    members[0].times.owing_since, members[1].times.owing_since = 30.0, 20.0
    connections.sweep(50)
    members[1].times.owing_since = 49.0
    assert connections.admit(Member(), 50)
    assert [one.ended for one in members] == ["gave way", "", ""], "of the second something has come since"
    at_work(connections, *connections._open)  # type: ignore[arg-type]
    assert not connections.admit(Member(), 50)


def test_one_that_was_turned_away_may_linger_if_there_are_not_too_many_of_them() -> None:
    connections = crowd(*(Member() for _ in range(3)))
    lingering = [Member(deadline=5.0) for _ in range(3)]
    assert all(connections.turn_away(one) for one in lingering)
    assert not connections.turn_away(Member())
    assert len(connections) == 6
    connections.sweep(6.0)
    assert {one.ended for one in lingering} == {"late"}
    connections.leave(lingering[0])
    assert connections.turn_away(Member())


@pytest.mark.parametrize(("now", "ended"), [(9.9, ""), (10.1, "late")])
def test_what_has_not_ended_by_its_deadline_is_ended(now: float, ended: str) -> None:
    one, other = Member(deadline=10.0), Member(deadline=20.0)
    crowd(one, other).sweep(now)
    assert (one.ended, other.ended) == (ended, "")


def test_those_that_have_nothing_to_do_are_closed_where_the_service_ends() -> None:
    _, idle, busy, sending = members = [Member() for _ in range(4)]
    connections = crowd(*members, limit=4)
    at_work(connections, idle, busy, sending)
    idle.times.idle_since = sending.times.owing_since = 7.0
    connections.end_idle()
    assert [one.ended for one in members] == ["gave way", "gave way", "", ""]
