"""What `challenge carry-on` does about a challenge, by what registry, prediction service and monitor say."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from contract import signature
from contract.mlmodel.manifest import Description
from contract.tracking.challenge import Challenge
from rich.console import Console
from setup.signing_key import new_private_key
from trainer.commands import carry_on, challenge
from trainer.commands.carry_on import Step
from trainer.errors import DataError, SettingsError
from trainer.schedule.following import ENDED, NOBODY, OPEN, RETURNED
from trainer.settings import Settings
from trainer.tracking import answered, challengers, registry, served
from trainer.tracking.challengers import Challenger

NOW = datetime.now(UTC)
CLASSES = Description((), True, "long", ("no", "yes"), [], {})
HEAD = "request_id,row,time,version,prediction,label,trusted,client,production_version"


@dataclass
class Place:
    """A registry with challenger 4 of version 3, a prediction service and a monitor that say what they are told to."""

    settings: Settings
    now: Challenger | None
    service: dict[str, Any] = field(default_factory=lambda: {"version": "4"})
    lines: list[str] | Exception = field(default_factory=lambda: [HEAD])
    done: list[str] = field(default_factory=list)

    def step(self) -> Step:
        return carry_on.step(self.settings, Console(quiet=True))  # type: ignore[arg-type]

    def since(self, *_: object) -> list[str]:
        if isinstance(self.lines, Exception):
            raise self.lines
        return self.lines

    def end(self, _name: str, of: Challenger, by: str, reason: str) -> None:
        self.done.append(f"{of.number} ended by {by}: {reason}")
        self.now = None


Make = Callable[..., Place]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    key = tmp_path / "key.pem"
    key.write_text(new_private_key())

    def made(auto: float | None = 0.0, days: float = 1, forged: bool = False) -> Place:
        said = Challenge(10, "one", NOW.isoformat(), (NOW + timedelta(days=days)).isoformat(), auto=auto)
        signed = signature.sign_text(said.signed_bytes("iris", "4", "m-4"), key)
        said = replace(said.with_signature(signed), auto=0.5) if forged else said.with_signature(signed)
        version: Any = SimpleNamespace(version="4", source="models:/m-4")
        place = Place(Settings(model_name="iris", signing_key=key), Challenger(version, said))
        monkeypatch.setattr(challengers, "challenger", lambda name: place.now)
        monkeypatch.setattr(challengers, "end", place.end)
        monkeypatch.setattr(served, "challenger", lambda url, key, model: place.service)
        monkeypatch.setattr(answered, "since", place.since)
        monkeypatch.setattr(registry, "production", lambda name: "3")
        monkeypatch.setattr(registry, "in_production", lambda name: SimpleNamespace(version="3"))
        monkeypatch.setattr(challenge, "_signed", lambda settings, version: CLASSES)
        monkeypatch.setattr(challenge, "move", lambda *of: place.done.append(f"promoted {of[2]}"))
        return place

    return made


def test_where_nobody_challenges_nothing_is_done(place: Make) -> None:
    empty = place()
    empty.now = None
    assert (empty.step().outcome, empty.done) == (NOBODY, [])


@pytest.mark.parametrize("auto", [None, 0.0])
def test_that_the_service_has_sent_it_away_is_written_down_with_auto_and_without(
    place: Make, auto: float | None
) -> None:
    sent = place(auto)
    sent.service = {"version": "4", "returned": "it fails"}
    step = sent.step()
    assert (step.outcome, step.reason, step.version) == (RETURNED, "it fails", "4")
    assert sent.done == ["4 ended by guard: the prediction service has sent it away: it fails"]


def test_without_auto_a_person_decides_also_when_its_time_is_over(place: Make) -> None:
    own = place(None, days=-1)
    own.lines = AssertionError("nobody is asked")
    step = own.step()
    assert (step.outcome, step.problem, own.done) == (OPEN, None, [])
    assert "a person" in step.reason


def test_a_tag_that_somebody_has_changed_decides_nothing(place: Make) -> None:
    forged = place(forged=True, days=-1)
    step = forged.step()
    assert (step.outcome, forged.done) == (OPEN, [])
    assert step.problem is not None
    assert "its signature does not hold" in step.problem


def test_with_few_labels_it_goes_on_until_its_time_is_over(place: Make) -> None:
    young = place()
    step = young.step()
    assert (step.outcome, step.problem, young.done) == (OPEN, None, [])
    assert step.reason.startswith("Goes on: too few labels")
    old = place(days=-1)
    assert old.step().outcome == ENDED
    assert old.done[0].startswith("4 ended by auto: its time is over, and nothing is decided: too few labels")


def test_a_monitor_that_gives_nothing_is_waited_for_and_no_longer_than_the_time(place: Make) -> None:
    silent = DataError("the monitor does not answer")
    young = place()
    young.lines = silent
    step = young.step()
    assert (step.outcome, step.problem, young.done) == (OPEN, "the monitor does not answer", [])
    old = place(days=-1)
    old.lines = silent
    step = old.step()
    words = "its time is over, and nothing is decided: the monitor does not answer"
    assert (step.outcome, old.done) == (ENDED, [f"4 ended by auto: {words}"])
    assert step.reason == words


@pytest.mark.parametrize("lines", [[HEAD], DataError("the monitor does not answer")])
def test_a_challenge_that_somebody_ends_while_the_monitor_is_asked_is_not_ended_again(
    place: Make, monkeypatch: pytest.MonkeyPatch, lines: Any
) -> None:
    old = place(days=-1)
    old.lines = lines

    def stopped(*of: object) -> list[str]:
        old.now = None
        return old.since(*of)

    monkeypatch.setattr(answered, "since", stopped)
    step = old.step()
    assert (step.outcome, old.done) == (OPEN, [])
    assert step.reason.startswith("Goes on: somebody has ended the challenge meanwhile, or changed it; ")


@pytest.mark.parametrize("lines", [[HEAD], DataError("the monitor does not answer")])
def test_as_long_as_the_service_does_not_say_whether_it_has_sent_it_away_nothing_is_decided(
    place: Make, lines: Any
) -> None:
    unknown = place(days=-1)
    unknown.service, unknown.lines = {"fault": "it does not answer"}, lines
    step = unknown.step()
    assert (step.outcome, step.problem, unknown.done) == (OPEN, "it does not answer", [])


def test_what_fails_where_production_answers_is_ended_at_once(place: Make) -> None:
    failing = place()
    failing.lines = [HEAD, f"r1,0,{datetime.now(UTC) + timedelta(seconds=1)},4,,1,true,,3"]
    assert failing.step().outcome == ENDED
    assert failing.done[0].startswith("4 ended by auto: once is enough: too few labels")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "the logged predictions lack request_id, "),
        (["<!doctype html>"], "the logged predictions lack request_id, "),
        ([HEAD.replace(",label", "")], "the logged predictions lack label; expected CSV with "),
    ],
)
def test_what_is_no_answer_of_a_monitor_decides_nothing_before_the_time_is_over(
    place: Make, lines: list[str], words: str
) -> None:
    young, said = place(), "gives another thing than a monitor's /compared (MONITOR_URL): "
    young.lines = lines
    step = young.step()
    assert (step.outcome, step.reason, young.done) == (OPEN, "nothing can be decided", [])
    assert step.problem is not None
    assert said + words in step.problem
    old = place(days=-1)
    old.lines = lines
    assert old.step().outcome == ENDED
    assert said + words in old.done[0]


def test_rows_that_the_monitor_has_left_out_are_told_beside_the_verdict(place: Make) -> None:
    cut = place()
    moment = datetime.now(UTC) + timedelta(seconds=1)
    cut.lines = [f"{HEAD},left_out", *(f"r{number},0,{moment},3,1,1,true,,,17" for number in range(3))]
    assert "; 17 rows more were left out: " in cut.step().reason


def test_auto_is_refused_for_a_model_that_the_service_does_not_serve(
    place: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, begun = place(), list[str]()
    settings = replace(other.settings, model_name="wine")
    monkeypatch.setattr(challenge, "connect", lambda settings: None)
    monkeypatch.setattr(challenge, "check", lambda settings, version: None)
    monkeypatch.setattr(challengers, "sent_away", lambda name, version: None)
    monkeypatch.setattr(challengers, "begin", lambda name, *_: begun.append(name))
    monkeypatch.setattr(registry, "model_version", lambda name, version: SimpleNamespace(version=version))
    other.now = None
    other.service = {"fault": "http://x serves 'iris', and not 'wine'", served.OTHER: "iris"}
    with pytest.raises(SettingsError, match=r"serves 'iris', and not 'wine'.*Leave --auto out.*MODEL_NAME=wine"):
        challenge.start(settings, "4", challenge.Wanted(10, 1, auto=0.0), Console(quiet=True))  # type: ignore[arg-type]
    assert not begun
    for service in ({"fault": "http://x does not answer"}, {}):
        other.service = service
        challenge.start(settings, "4", challenge.Wanted(10, 1, auto=0.0), Console(quiet=True))  # type: ignore[arg-type]
    assert begun == ["wine", "wine"]
