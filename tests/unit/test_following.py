"""What the schedule makes of a challenge: when it has the command run, what it tells, and what is in the way. No clock is waited for."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from contract.tracking.challenge import Challenge
from trainer.child import Ended
from trainer.errors import TrackingError
from trainer.schedule.following import ENDED, FAILED, OPEN, RETRY_SECONDS, RETURNED, Did, Following, Found, did, found
from trainer.settings import Settings
from trainer.tracking import rest, served

AWAY = {"version": "4", "returned": "it fails where version 3 answers"}


@dataclass
class Place:
    """A clock, a registry, a prediction service and a command that come to what is said."""

    time: float = 1000.0
    registry: Found | Exception | None = None
    service: dict[str, Any] = field(default_factory=dict)
    comes_to: str = OPEN
    problem: str | None = None
    asked: int = 0
    run: list[float] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def following(self) -> Following:
        def find() -> Found | None:
            if isinstance(self.registry, Exception):
                raise self.registry
            return self.registry

        def ask() -> dict[str, Any]:
            self.asked += 1
            return self.service

        def carry_on() -> Did:
            self.run.append(self.time)
            return Did(self.time, self.comes_to, "why", "4", self.problem)

        return Following(300.0, find, ask, carry_on, self.said.append, lambda: self.time)


def test_where_nobody_challenges_the_registry_alone_is_asked() -> None:
    place = Place(registry=None)
    following = place.following()
    for _ in range(3):
        following.look()
    assert (place.asked, place.run, place.said, following.version) == (0, [], [], None)


def test_a_challenger_that_the_service_has_sent_away_is_written_down_at_the_next_look_and_told_once() -> None:
    place = Place(registry=Found("4", is_auto=False), service={"version": "4", "returned": None})
    following = place.following()
    following.look()
    assert (place.run, following.version, following.is_auto) == ([], "4", False)
    place.service, place.comes_to = AWAY, RETURNED
    following.look()
    assert (place.run, place.said) == ([1000.0], ["challenge: returned: version 4: why"])
    place.registry = None
    following.look()
    assert (following.count[RETURNED], following.version, len(place.said)) == (1, None, 1)


def test_that_another_version_was_sent_away_is_not_written_down() -> None:
    place = Place(registry=Found("5", is_auto=False), service=AWAY)
    place.following().look()
    assert place.run == []


def test_one_with_auto_is_decided_about_at_once_and_then_every_so_many_seconds() -> None:
    place = Place(registry=Found("4", is_auto=True), service={"version": "4"})
    following = place.following()
    for _ in range(130):
        following.look()
        place.time += 5
    assert place.run == [1000.0, 1300.0, 1600.0]
    assert (place.said, following.verdict and following.verdict.outcome) == ([], OPEN)
    place.comes_to, place.time = ENDED, 1900.0
    following.look()
    assert (following.count[ENDED], place.said) == (1, ["challenge: ended: version 4: why"])


def test_the_next_challenger_does_not_wait_for_the_time_of_the_one_before() -> None:
    place = Place(registry=Found("4", is_auto=True), service={"version": "4"})
    following = place.following()
    following.look()
    place.registry, place.service = Found("5", is_auto=True), {"version": "5"}
    following.look()
    assert place.run == [1000.0, 1000.0]


def test_a_command_that_fails_is_told_and_tried_again_a_minute_later() -> None:
    place = Place(registry=Found("4", is_auto=False), service=AWAY, comes_to=FAILED, problem="exit code 4: no")
    following = place.following()
    following.look()
    following.look()
    assert (place.run, following.problem) == ([1000.0], "exit code 4: no")
    place.time += RETRY_SECONDS
    place.comes_to, place.problem = RETURNED, None
    following.look()
    assert (place.run, following.problem) == ([1000.0, 1000.0 + RETRY_SECONDS], None)
    assert (following.count[FAILED], following.count[RETURNED]) == (1, 1)


@pytest.mark.parametrize(
    ("registry", "service", "words"),
    [
        (TrackingError("MLflow does not answer"), {}, "MLflow does not answer"),
        (
            Found("4", is_auto=True),
            {"fault": "http://x answers 401"},
            "whether the prediction service has sent version 4 away is not known: http://x answers 401",
        ),
        (
            Found(None, is_auto=True),
            {"fault": "http://x does not answer"},
            "whether a version challenges Production is not known: http://x does not answer",
        ),
    ],
)
def test_what_is_in_the_way_is_told_once_nothing_is_done_and_so_is_that_it_is_gone(
    registry: Any, service: dict[str, Any], words: str
) -> None:
    place = Place(registry=registry, service=service)
    following = place.following()
    following.look()
    following.look()
    assert (place.run, place.said, following.problem) == ([], [f"challenge: {words}"], words)
    place.registry, place.service = Found("4", is_auto=True), {"version": "4"}
    following.look()
    assert (place.said[1:], following.problem) == (["challenge: nothing is in the way any more"], None)


def test_what_hinders_a_decision_stays_told_until_the_next_one() -> None:
    place = Place(registry=Found("4", is_auto=True), service={"version": "4"}, problem="no monitor")
    following = place.following()
    following.look()
    place.time += 5
    following.look()
    assert (following.problem, place.said) == ("no monitor", ["challenge: no monitor"])


def test_of_a_database_file_the_service_alone_says_who_challenges() -> None:
    assert found(Settings()) == Found(None, is_auto=True)
    place = Place(registry=Found(None, is_auto=True), service={})
    following = place.following()
    following.look()
    assert (place.run, following.version) == ([], None)
    place.service = {"version": "4"}
    following.look()
    assert (place.run, following.version) == ([1000.0], "4")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, None),
        (("4", "over"), Found("4", is_auto=False)),
        (("4", Challenge(10, "k", "2026-11-27T03:00:00+00:00", "2026-12-01T03:00:00+00:00").text), Found("4", False)),
        (
            ("4", Challenge(10, "k", "2026-11-27T03:00:00+00:00", "2026-12-01T03:00:00+00:00", auto=0.0).text),
            Found("4", is_auto=True),
        ),
    ],
)
def test_whether_one_was_started_with_auto_is_what_its_tag_says(
    monkeypatch: pytest.MonkeyPatch, answer: tuple[str, str] | None, expected: Found | None
) -> None:
    monkeypatch.setattr(rest, "challenger", lambda uri, name: answer)
    assert found(Settings(tracking_uri="http://mlflow:5000")) == expected


def test_what_a_command_did_is_what_it_says_and_anything_else_is_a_failure() -> None:
    said = '{"outcome": "ended", "reason": "why", "model_name": "iris", "version": "4", "problem": null}'
    assert did(Ended(0, said, ""), 7.0) == Did(7.0, ENDED, "why", "4")
    for code, text in ((4, said), (0, "no JSON"), (0, "{}")):
        failed = did(Ended(code, text, "trainer: MLflow refuses"), 7.0)
        assert (failed.outcome, failed.problem) == (FAILED, f"exit code {code}: MLflow refuses")


@contextmanager
def answering(code: int, content: str) -> Iterator[tuple[str, list[str | None]]]:
    keys: list[str | None] = []

    class Service(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            keys.append(self.headers["Authorization"])
            self.send_response(code)
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", keys
        server.shutdown()


@pytest.mark.parametrize(
    ("code", "content", "said"),
    [
        (200, '{"model": {"name": "iris"}, "challenger": {"version": "4"}}', {"version": "4"}),
        (
            200,
            '{"model": {"name": "wine"}, "challenger": {"version": "4", "returned": "it fails"}}',
            {"fault": "URL serves 'wine', and not 'iris'; INFERENCE_URL says who does", "other": "wine"},
        ),
        (
            200,
            '{"model": {"name": "wine"}}',
            {"fault": "URL serves 'wine', and not 'iris'; INFERENCE_URL says who does", "other": "wine"},
        ),
        (200, '{"model": null}', {}),
        (200, "[]", {"fault": "URL does not answer"}),
        (500, "no", {"fault": "URL answers 500"}),
        (
            401,
            "{}",
            {
                "fault": "URL answers 401: it asks for an API key, and neither API_KEY nor API_KEY_FILE (of the stack TRAINER_API_KEY_FILE) has one that it takes"
            },
        ),
    ],
)
def test_what_the_service_says_of_its_challenger_or_why_that_is_not_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int, content: str, said: dict[str, str]
) -> None:
    file = tmp_path / "key"
    monkeypatch.delenv("API_KEY", raising=False)
    with answering(code, content) as (url, keys):
        assert served.challenger(url, file, "iris") == {
            name: re.sub(r"\bURL\b", url, text) for name, text in said.items()
        }
        file.write_text("written later\n")
        served.challenger(url, file, "iris")
        monkeypatch.setenv("API_KEY", "typed")
        served.challenger(url, file, "iris")
    assert keys == [None, "Bearer written later", "Bearer typed"]


def test_a_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("API_KEY", raising=False)
    fault = served.challenger("http://127.0.0.1:1", tmp_path, "iris")["fault"]
    assert fault.startswith(f"API_KEY_FILE {tmp_path} cannot be read: ")
