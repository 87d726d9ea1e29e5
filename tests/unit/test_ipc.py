"""The poller and the workers of one service, over a real socket."""

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from math import inf, isnan, nan
from pathlib import Path
from typing import Any

import msgspec
import pytest
from inference.ipc.client import ControlClient
from inference.ipc.messages import (
    FOR_POLLER,
    FOR_WORKERS,
    DeploymentSpec,
    Drop,
    Load,
    Loaded,
    Note,
    Refused,
    Report,
    Serve,
    Serving,
    State,
    ToWorker,
    received,
    send,
)
from inference.ipc.server import Deliver, NoAnswer, WorkerGroup
from inference.model.version import ModelVersion

VERSION = ModelVersion("flowers", "7", "run-7", 7, "m-7", "", "what it is", {"stage": "Production"})
SINCE = "2026-01-02T03:04:05+00:00"
OFFER = DeploymentSpec(
    5, "/cache/7", VERSION, {"test_accuracy": 0.9}, SINCE, {"MLmodel": "a digest"}, '{"columns": []}'
)
# How long a test waits for what it expects: so long only where that does not come.
SECONDS = 30
NOTHING: list[ToWorker] = []
LOAD, SERVE = Load("flowers", OFFER), Serve("flowers", OFFER)


def news(text: object) -> Report:
    return Report("flowers", State(str(text)))


def deliver_nothing(deliver: Deliver) -> None:
    deliver(NOTHING)


class Worker:
    """A worker that keeps what it hears, and says what a test tells it to."""

    def __init__(self, path: Path) -> None:
        self.client = ControlClient(path)
        self._messages = self.client.messages()

    def hears(self) -> ToWorker | None:
        """Wait for the next message; None at the end."""
        return next(self._messages, None)

    def leave(self) -> None:
        self.client._connection.shutdown(socket.SHUT_RDWR)
        self.client._connection.close()


class Service:
    """The poller's end, and workers that have joined it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.catch_up: Callable[[Deliver], None] = deliver_nothing
        self.workers = WorkerGroup(path)
        self.workers.accept_workers(lambda deliver: self.catch_up(deliver))
        self.joined: list[Worker] = []

    def join(self) -> Worker:
        worker = Worker(self._path)
        self.joined.append(worker)
        assert self.workers.wait_for(len(self.joined), SECONDS) == len(self.joined)
        return worker


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path / "s")
    yield service
    for worker in service.joined:
        with contextlib.suppress(OSError):
            worker.leave()


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


@pytest.fixture
def wire() -> Iterator[tuple[socket.socket, socket.socket]]:
    with contextlib.ExitStack() as ends:
        one, two = socket.socketpair()
        yield ends.enter_context(one), ends.enter_context(two)


@pytest.mark.parametrize("message", [LOAD, SERVE, Drop("flowers", 5), news("MLflow is gone"), Note("", State(None))])
def test_what_a_worker_is_told_arrives_as_it_was_sent(wire: tuple[socket.socket, socket.socket], message: Any) -> None:
    send(wire[0], message)
    found = next(received(wire[1], FOR_WORKERS))
    assert (type(found), found) == (type(message), message)


@pytest.mark.parametrize(
    "message", [Loaded("flowers", 5), Serving("flowers", 5, 10**18), Refused("flowers", 5, "load", "no")]
)
def test_what_a_worker_answers_arrives_as_it_was_sent(wire: tuple[socket.socket, socket.socket], message: Any) -> None:
    send(wire[0], message)
    found = next(received(wire[1], FOR_POLLER))
    assert (type(found), found) == (type(message), message)


def test_all_that_is_said_of_a_version_arrives(wire: tuple[socket.socket, socket.socket]) -> None:
    for message in (SERVE, Report("flowers", State(None, VERSION, {"r2": 0.5}))):
        send(wire[0], message)
    serve, report = itertools.islice(received(wire[1], FOR_WORKERS), 2)
    assert serve.spec.files == {"MLmodel": "a digest"}
    for found in (serve.spec.version, report.state.version):
        assert (found.tags, found.description) == (VERSION.tags, VERSION.description)


def test_a_metric_that_is_no_number_arrives_as_one(wire: tuple[socket.socket, socket.socket]) -> None:
    send(wire[0], Report("flowers", State(None, VERSION, {"nan": nan, "all": inf})))
    metrics = next(received(wire[1], FOR_WORKERS)).state.metrics
    assert isnan(metrics["nan"])
    assert metrics["all"] == inf


UNREADABLE = {
    "no message": b"\xc1",
    "of an unknown kind": msgspec.msgpack.encode({"type": "sing", "deployment": "flowers"}),
    "with more in it": msgspec.msgpack.encode({"type": "drop", "deployment": "flowers", "spec_id": 5, "more": 1}),
    "with a number as text": msgspec.msgpack.encode({"type": "drop", "deployment": "flowers", "spec_id": "5"}),
    "about no deployment": msgspec.msgpack.encode({"type": "drop", "spec_id": 5}),
    "with what is no text": b"\x82\xa4type\xa4drop\xaadeployment\xa1\xff",
    "empty": b"",
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_message_that_cannot_be_read_is_a_line_of_the_log_and_the_next_one_is_read(
    wire: tuple[socket.socket, socket.socket], caplog: pytest.LogCaptureFixture, content: Any
) -> None:
    wire[0].sendall(len(content).to_bytes(4, "big") + content)
    send(wire[0], news("next"))
    assert next(received(wire[1], FOR_WORKERS)) == news("next")
    assert caplog.text.count("a message from another process of this service cannot be read: ") == 1


def test_an_answer_that_cannot_be_read_keeps_no_later_one_from_being_heard(
    service: Service, background: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    worker = service.join()
    worker.client._connection.sendall(b"\0\0\0\1\xc1")
    answers = background.submit(service.workers.ask, LOAD, SECONDS)
    worker.hears()
    worker.client.answer(Loaded("flowers", 5))
    assert answers.result(SECONDS) == [Loaded("flowers", 5)]
    assert "cannot be read" in caplog.text


def test_a_message_that_is_cut_off_by_the_end_is_none(wire: tuple[socket.socket, socket.socket]) -> None:
    send(wire[0], news("whole"))
    wire[0].sendall(b"\0\0\0\xff...")
    wire[0].shutdown(socket.SHUT_WR)
    assert list(received(wire[1], FOR_WORKERS)) == [news("whole")]


def test_answers_about_one_deployment_are_none_about_another(service: Service, background: ThreadPoolExecutor) -> None:
    worker = service.join()
    answers = background.submit(service.workers.ask, LOAD, SECONDS)
    worker.hears()
    worker.client.answer(Refused("birds", 5, "load", "no"))
    worker.client.answer(Loaded("flowers", 5))
    assert answers.result(SECONDS) == [Loaded("flowers", 5)]


def test_what_is_told_reaches_all_workers_in_the_order_it_was_told(service: Service) -> None:
    workers = [service.join(), service.join()]
    for number in range(20):
        service.workers.tell(news(number))
    for worker in workers:
        assert [worker.hears() for _ in range(20)] == [news(number) for number in range(20)]


def test_a_worker_that_joins_hears_its_greeting_first(service: Service) -> None:
    service.catch_up = lambda deliver: deliver([SERVE, news(2)])
    worker = service.join()
    service.workers.tell(news(3))
    assert [worker.hears() for _ in range(3)] == [SERVE, news(2), news(3)]


def test_what_is_told_while_a_worker_is_caught_up_does_not_come_before_its_greeting(service: Service) -> None:
    messages, told = threading.Event(), threading.Event()

    def catch_up(deliver: Deliver) -> None:
        messages.set()
        assert told.wait(SECONDS)
        deliver([news("messages")])

    first = service.join()
    service.catch_up = catch_up
    second = Worker(service._path)
    service.joined.append(second)
    assert messages.wait(SECONDS)
    service.workers.tell(news("news"))
    told.set()
    service.workers.wait_for(2, SECONDS)
    service.workers.tell(news("more"))
    assert [first.hears(), first.hears()] == [news("news"), news("more")]
    assert [second.hears(), second.hears()] == [news("messages"), news("more")]


def test_all_workers_are_asked_and_all_answers_come_back(service: Service, background: ThreadPoolExecutor) -> None:
    one, two = service.join(), service.join()
    answers = background.submit(service.workers.ask, LOAD, SECONDS)
    for worker in (one, two):
        assert worker.hears() == LOAD
    one.client.answer(Loaded("flowers", 5))
    two.client.answer(Refused("flowers", 5, "load", "it has no signature"))
    assert set(answers.result(SECONDS)) == {
        Loaded("flowers", 5),
        Refused("flowers", 5, "load", "it has no signature"),
    }


def test_a_worker_says_when_it_changed(service: Service, background: ThreadPoolExecutor) -> None:
    worker = service.join()
    answers = background.submit(service.workers.ask, SERVE, SECONDS)
    worker.hears()
    worker.client.answer(Serving("flowers", 5, 1))
    (answer,) = answers.result(SECONDS)
    assert answer == Serving("flowers", 5, 1)


def test_answers_to_another_spec_are_not_taken_for_those_to_this_one(
    service: Service, background: ThreadPoolExecutor
) -> None:
    worker = service.join()
    worker.client.answer(Loaded("flowers", 4))
    answers = background.submit(service.workers.ask, LOAD, SECONDS)
    worker.hears()
    worker.client.answer(Refused("flowers", 5, "load", "no"))
    assert answers.result(SECONDS) == [Refused("flowers", 5, "load", "no")]


def test_a_worker_that_ends_while_it_loads_counts_as_one_that_refuses(
    service: Service, background: ThreadPoolExecutor
) -> None:
    """What it was told to load may be what ended it."""
    stays, leaves = service.join(), service.join()
    answers = background.submit(service.workers.ask, LOAD, SECONDS)
    leaves.hears()
    leaves.leave()
    stays.hears()
    stays.client.answer(Loaded("flowers", 5))
    found = answers.result(SECONDS)
    assert Loaded("flowers", 5) in found
    assert NoAnswer("a worker ended when it was to load it") in found


def test_a_worker_that_joins_in_the_middle_is_not_waited_for_and_hears_what_is_asked_next(
    service: Service, background: ThreadPoolExecutor
) -> None:
    first = service.join()
    answers = background.submit(service.workers.ask, LOAD, SECONDS)
    first.hears()
    second = service.join()
    first.client.answer(Loaded("flowers", 5))
    assert answers.result(SECONDS) == [Loaded("flowers", 5)]
    service.workers.tell(news("next"))
    assert second.hears() == news("next")


def test_a_worker_that_does_not_answer_in_time_counts_as_one_that_refuses(service: Service) -> None:
    service.join()
    (answer,) = service.workers.ask(LOAD, 0.01)
    assert isinstance(answer, NoAnswer)
    assert "was not done within" in answer.reason


def test_a_late_answer_to_load_is_none_to_serve(service: Service, background: ThreadPoolExecutor) -> None:
    worker = service.join()
    service.workers.ask(LOAD, 0.01)
    worker.client.answer(Loaded("flowers", 5))
    answers = background.submit(service.workers.ask, SERVE, SECONDS)
    worker.hears()
    worker.hears()
    worker.client.answer(Serving("flowers", 5, 1))
    assert isinstance(answers.result(SECONDS)[0], Serving)


def test_those_who_do_not_serve_a_spec_are_reminded_of_it_and_nobody_else(
    service: Service, background: ThreadPoolExecutor
) -> None:
    one, two = service.join(), service.join()
    answers = background.submit(service.workers.ask, SERVE, SECONDS)
    one.hears()
    two.hears()
    one.client.answer(Serving("flowers", 5, 1))
    two.client.answer(Refused("flowers", 5, "serve", "no memory"))
    assert len(answers.result(SECONDS)) == 2
    assert service.workers.remind(SERVE) == 1
    assert two.hears() == SERVE
    service.workers.tell(news("next"))
    assert one.hears() == news("next")


def test_with_no_workers_there_are_no_answers(service: Service) -> None:
    assert service.workers.ask(LOAD, SECONDS) == []


def test_waiting_for_workers_lasts_its_time_where_they_do_not_come(service: Service) -> None:
    service.join()
    begun = time.monotonic()
    assert service.workers.wait_for(2, 0.05) == 1
    assert time.monotonic() - begun >= 0.05


def test_waiting_for_workers_ends_when_they_are_there_and_not_before(
    service: Service, background: ThreadPoolExecutor
) -> None:
    waiting = background.submit(service.workers.wait_for, 2, threading.TIMEOUT_MAX)
    service.join()
    assert not waiting.done()
    service.join()
    assert waiting.result(SECONDS) == 2


def test_a_worker_finds_that_the_poller_is_gone(service: Service) -> None:
    worker = service.join()
    (connection,) = service.workers._all()
    connection.shutdown(socket.SHUT_RDWR)
    assert worker.hears() is None


def test_one_worker_that_is_gone_keeps_no_news_from_the_others(
    service: Service, background: ThreadPoolExecutor
) -> None:
    stays, leaves = service.join(), service.join()
    leaves.leave()
    for number in range(5):
        service.workers.tell(news(number))
    assert [stays.hears() for _ in range(5)] == [news(number) for number in range(5)]


def test_a_worker_that_leaves_before_it_is_caught_up_does_no_harm(service: Service) -> None:
    messages, left = threading.Event(), threading.Event()

    def catch_up(deliver: Deliver) -> None:
        messages.set()
        assert left.wait(SECONDS)
        deliver([news("x" * 1_000_000)])

    service.catch_up = catch_up
    gone = Worker(service._path)
    assert messages.wait(SECONDS)
    gone.leave()
    left.set()
    service.catch_up = deliver_nothing
    worker = service.join()
    service.workers.tell(news(1))
    assert worker.hears() == news(1)
