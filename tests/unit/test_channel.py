"""The follower and the workers of one service, over a real socket."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from inference.ipc.channel import Deliver, Follower, Offer, State, Workers
from inference.model.version import ModelVersion

VERSION = ModelVersion("flowers", "7", "run-7", 7, "m-7", "", "what it is", {"stage": "Production"})
OFFER = Offer(5, "/cache/7", VERSION, {"test_accuracy": 0.9}, "2026-01-02T03:04:05+00:00", {"MLmodel": "a digest"})
# How long a test waits for what it expects: so long only where that does not come.
SECONDS = 30
NOTHING: list[dict[str, Any]] = []


def deliver_nothing(deliver: Deliver) -> None:
    deliver(NOTHING)


class Worker:
    """A worker that keeps what it hears, and says what a test tells it to."""

    def __init__(self, path: Path) -> None:
        self.follower = Follower(path)
        self._messages = self.follower.messages()

    def hears(self) -> dict[str, Any] | None:
        """Wait for the next message; None at the end."""
        return next(self._messages, None)

    def leave(self) -> None:
        self.follower._connection.shutdown(socket.SHUT_RDWR)
        self.follower._connection.close()


class Service:
    """The follower's end, and workers that have joined it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.greet: Callable[[Deliver], None] = deliver_nothing
        self.workers = Workers(path, lambda deliver: self.greet(deliver))
        self.joined: list[Worker] = []

    def join(self) -> Worker:
        worker = Worker(self._path)
        self.joined.append(worker)
        assert self.workers.wait_for(len(self.joined), SECONDS) == len(self.joined)
        return worker


@pytest.fixture
def service(tmp_path) -> Iterator[Service]:
    service = Service(tmp_path / "s")
    yield service
    for worker in service.joined:
        with contextlib.suppress(OSError):
            worker.leave()


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


def test_an_offer_and_a_state_arrive_as_they_were_sent():
    assert Offer.of(OFFER.as_dict()) == OFFER
    assert Offer.of(OFFER.as_dict()).version.tags == VERSION.tags
    assert Offer.of(OFFER.as_dict()).files == {"MLmodel": "a digest"}
    for state in (State(None, VERSION, {"r2": 0.5}), State("MLflow is gone")):
        assert State.of(state.as_dict()) == state


def test_what_is_told_reaches_all_workers_in_the_order_it_was_told(service):
    workers = [service.join(), service.join()]
    for number in range(20):
        service.workers.tell({"state": number})
    for worker in workers:
        assert [worker.hears() for _ in range(20)] == [{"state": number} for number in range(20)]


def test_a_worker_that_joins_hears_its_greeting_first(service):
    service.greet = lambda deliver: deliver([{"serve": 1}, {"state": 2}])
    worker = service.join()
    service.workers.tell({"state": 3})
    assert [worker.hears() for _ in range(3)] == [{"serve": 1}, {"state": 2}, {"state": 3}]


def test_what_is_told_while_a_worker_is_greeted_does_not_come_before_its_greeting(service):
    greeting, told = threading.Event(), threading.Event()

    def greet(deliver: Deliver) -> None:
        greeting.set()
        assert told.wait(SECONDS)
        deliver([{"state": "greeting"}])

    first = service.join()
    service.greet = greet
    second = Worker(service._path)
    service.joined.append(second)
    assert greeting.wait(SECONDS)
    service.workers.tell({"state": "news"})
    told.set()
    service.workers.wait_for(2, SECONDS)
    service.workers.tell({"state": "more"})
    assert [first.hears(), first.hears()] == [{"state": "news"}, {"state": "more"}]
    assert [second.hears(), second.hears()] == [{"state": "greeting"}, {"state": "more"}]


def test_all_workers_are_asked_and_all_answers_come_back(service, background):
    one, two = service.join(), service.join()
    answers = background.submit(service.workers.ask, "load", OFFER, SECONDS)
    for worker in (one, two):
        assert Offer.of(worker.hears()["load"]) == OFFER
    one.follower.loaded(OFFER)
    two.follower.refused("load", OFFER, "it has no signature")
    assert sorted(answers.result(SECONDS), key=len) == [
        {"loaded": 5},
        {"refused": 5, "to": "load", "reason": "it has no signature"},
    ]


def test_a_worker_says_when_it_changed(service, background):
    worker = service.join()
    answers = background.submit(service.workers.ask, "serve", OFFER, SECONDS)
    worker.hears()
    worker.follower.serving(OFFER)
    (answer,) = answers.result(SECONDS)
    assert answer["serving"] == 5
    assert answer["at"] > 0


def test_answers_to_another_offer_are_not_taken_for_those_to_this_one(service, background):
    worker = service.join()
    worker.follower.loaded(Offer(4, "", VERSION, {}, ""))
    answers = background.submit(service.workers.ask, "load", OFFER, SECONDS)
    worker.hears()
    worker.follower.refused("load", OFFER, "no")
    assert answers.result(SECONDS) == [{"refused": 5, "to": "load", "reason": "no"}]


def test_a_worker_that_ends_while_it_loads_counts_as_one_that_refuses(service, background):
    """What it was told to load may be what ended it."""
    stays, leaves = service.join(), service.join()
    answers = background.submit(service.workers.ask, "load", OFFER, SECONDS)
    leaves.hears()
    leaves.leave()
    stays.hears()
    stays.follower.loaded(OFFER)
    found = answers.result(SECONDS)
    assert {"loaded": 5} in found
    assert {"refused": 5, "to": "load", "reason": "a worker ended when it was to load it", "ended": True} in found


def test_a_worker_that_joins_in_the_middle_is_not_waited_for_and_hears_what_is_asked_next(service, background):
    first = service.join()
    answers = background.submit(service.workers.ask, "load", OFFER, SECONDS)
    first.hears()
    second = service.join()
    first.follower.loaded(OFFER)
    assert answers.result(SECONDS) == [{"loaded": 5}]
    service.workers.tell({"state": "next"})
    assert second.hears() == {"state": "next"}


def test_a_worker_that_does_not_answer_in_time_counts_as_one_that_refuses(service):
    service.join()
    (answer,) = service.workers.ask("load", OFFER, 0.01)
    assert "was not done within" in answer["reason"]


def test_a_late_answer_to_load_is_none_to_serve(service, background):
    worker = service.join()
    service.workers.ask("load", OFFER, 0.01)
    worker.follower.loaded(OFFER)
    answers = background.submit(service.workers.ask, "serve", OFFER, SECONDS)
    worker.hears()
    worker.hears()
    worker.follower.serving(OFFER)
    assert "serving" in answers.result(SECONDS)[0]


def test_those_who_do_not_serve_an_offer_are_reminded_of_it_and_nobody_else(service, background):
    one, two = service.join(), service.join()
    answers = background.submit(service.workers.ask, "serve", OFFER, SECONDS)
    one.hears()
    two.hears()
    one.follower.serving(OFFER)
    two.follower.refused("serve", OFFER, "no memory")
    assert len(answers.result(SECONDS)) == 2
    assert service.workers.remind(OFFER) == 1
    assert Offer.of(two.hears()["serve"]) == OFFER
    service.workers.tell({"state": "next"})
    assert one.hears() == {"state": "next"}


def test_with_no_workers_there_are_no_answers(service):
    assert service.workers.ask("load", OFFER, SECONDS) == []


def test_waiting_for_workers_lasts_its_time_where_they_do_not_come(service):
    service.join()
    begun = time.monotonic()
    assert service.workers.wait_for(2, 0.05) == 1
    assert time.monotonic() - begun >= 0.05


def test_waiting_for_workers_ends_when_they_are_there_and_not_before(service, background):
    waiting = background.submit(service.workers.wait_for, 2, threading.TIMEOUT_MAX)
    service.join()
    assert not waiting.done()
    service.join()
    assert waiting.result(SECONDS) == 2


def test_a_worker_finds_that_the_follower_is_gone(service):
    worker = service.join()
    (connection,) = service.workers._all()
    connection.shutdown(socket.SHUT_RDWR)
    assert worker.hears() is None


def test_one_worker_that_is_gone_keeps_no_news_from_the_others(service, background):
    stays, leaves = service.join(), service.join()
    leaves.leave()
    for number in range(5):
        service.workers.tell({"state": number})
    assert [stays.hears() for _ in range(5)] == [{"state": number} for number in range(5)]


def test_a_worker_that_leaves_before_it_is_greeted_does_no_harm(service):
    greeting, left = threading.Event(), threading.Event()

    def greet(deliver: Deliver) -> None:
        greeting.set()
        assert left.wait(SECONDS)
        deliver([{"state": "x" * 1_000_000}])

    service.greet = greet
    gone = Worker(service._path)
    assert greeting.wait(SECONDS)
    gone.leave()
    left.set()
    service.greet = deliver_nothing
    worker = service.join()
    service.workers.tell({"state": 1})
    assert worker.hears() == {"state": 1}
