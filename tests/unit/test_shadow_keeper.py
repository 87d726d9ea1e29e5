"""Who keeps a challenger being asked: whether it fails, hangs or ends the process, requests and the log go on without it."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from inference.ipc.messages import DeploymentSpec
from inference.prediction_log import segment, spool
from inference.rollout.challenger.eligibility import RETURNED
from inference.settings import Settings
from inference.shadow import keeper, state
from inference.shadow.keeper import Keeper
from inference.shadow.state import State
from inference.shadow.task import REFUSED, Task
from inference.web.challenger_view import challenger_content, in_words

from tests.unit.serving import VERSION, answering, described, served_as

OTHER = replace(VERSION, version="8", model_id="m-8")
SINCE = "2026-01-02T03:04:05+00:00"
# What a process does in the place of the one that asks.
LIVES = "import os, time\nwhile True:\n    os.write(1, b'.')\n    time.sleep(0.01)"
HANGS = "import os, time\nos.write(1, b'.')\ntime.sleep(600)"
ENDS = "pass"
REFUSES = f"raise SystemExit({REFUSED})"


def spec(version: Any, number: int = 1) -> DeploymentSpec:
    return DeploymentSpec(number, "/files", version, {"loss": float("nan")}, SINCE, {}, "{}")


def followed(served: DeploymentSpec | None) -> Any:
    """Return what is known of an alias."""
    return SimpleNamespace(served=served, is_reported=True)


class Service:
    """Production, a challenger, and who keeps it being asked."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(prediction_log=1.0, prediction_log_dir=folder / "spool")
        self.folder = state.folder_in(folder / "spool")
        self.champion, self.challenger = followed(spec(VERSION)), followed(spec(OTHER, 2))
        self.keeper = Keeper(self.settings, self.champion, self.challenger)
        self.folder.mkdir(parents=True)
        state.write(self.folder, State(state.identity_of(OTHER), "8", 0))

    @property
    def process(self) -> Any:
        return self.keeper._process

    def problem(self) -> str:
        found = state.read(self.folder, OTHER)
        return found.problem if found else ""

    def looks(self, until: Any) -> None:
        deadline = time.monotonic() + 20
        while not until():
            assert time.monotonic() < deadline
            self.keeper.look()


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    for name, seconds in (("LOOK_SECONDS", 0.05), ("FIRST_PAUSE", 0.02), ("SILENT_SECONDS", 0.3), ("END_SECONDS", 2.0)):
        monkeypatch.setattr(keeper, name, seconds)
    service = Service(tmp_path)
    yield service
    service.keeper._stop()


def does(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(keeper, "COMMAND", [sys.executable, "-S", "-c", code])


def test_it_is_asked_as_long_as_it_is_the_challenger_and_another_one_by_another_process(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    does(monkeypatch, LIVES)
    service.keeper.look()
    first = service.process
    service.keeper.look()
    assert service.process is first
    service.challenger.served = spec(replace(OTHER, version="9"), 3)
    service.keeper.look()
    assert first.returncode is not None
    assert service.process not in (None, first)
    waiting = service.folder / "w-000001.segment"
    waiting.touch()
    service.challenger.served = None
    service.keeper.look()
    assert service.process is None
    assert not waiting.exists()


@pytest.mark.parametrize(
    ("code", "words"),
    [(ENDS, "the process that asks it ended over it"), (HANGS, "it does not answer within 0 s")],
)
def test_one_that_ends_the_process_or_hangs_is_told_and_tried_again_later(
    service: Service, monkeypatch: pytest.MonkeyPatch, code: str, words: str
) -> None:
    does(monkeypatch, code)
    service.looks(lambda: service.problem() == words)
    assert service.process is None
    does(monkeypatch, LIVES)
    service.looks(lambda: service.process is not None)


def fatal(service: Service) -> bool:
    """Tell whether what was asked is taken for what has ended the process."""
    found = state.read(service.folder, OTHER)
    assert found is not None
    assert found.tried is not None
    return found.tried.is_fatal


def test_only_what_the_process_has_ended_over_by_itself_is_to_blame(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.write(service.folder, State(state.identity_of(OTHER), "8", 0, tried=state.Tried("w-000001.segment", 100)))
    does(monkeypatch, LIVES)
    service.looks(lambda: service.keeper._heard)
    service.keeper._stop()
    assert not fatal(service)
    service.looks(lambda: service.process is not None)
    os.kill(service.process.pid, signal.SIGKILL)
    service.looks(lambda: service.process is None)
    assert fatal(service)


def test_what_is_logged_while_it_is_silent_is_held(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "SILENT_SECONDS", 60)
    does(monkeypatch, HANGS)
    service.looks(lambda: service.keeper._heard)
    path = service.settings.prediction_log_dir / "w-000001.segment"
    segment.write_whole(path, b"{}", segment.PREDICTIONS, b"")
    service.looks(lambda: (service.folder / path.name).exists())
    assert service.process is not None


def test_what_is_logged_while_nobody_can_ask_is_held_up_to_a_limit(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "MOST_HELD", 2)
    service.keeper._due = time.monotonic() + 60
    folder = service.settings.prediction_log_dir
    for number in range(3):
        path = folder / f"w-00000{number}.segment"
        segment.write_whole(path, b"{}", segment.PREDICTIONS, b"")
        service.keeper.look()
        path.unlink()  # as what ships it does
    assert [path.name for path in sorted(service.folder.glob("*.segment"))] == ["w-000000.segment", "w-000001.segment"]


def test_each_time_that_it_ends_soon_the_pause_is_longer(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    does(monkeypatch, ENDS)
    pauses = list[float]()
    for _ in range(3):
        service.looks(lambda: service.process is not None)
        service.looks(lambda: service.process is None)
        pauses.append(service.keeper._pause)
    assert pauses == [0.04, 0.08, 0.16]


def test_why_it_cannot_be_loaded_stays_what_is_told(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    state.write(service.folder, State(state.identity_of(OTHER), "8", 0, problem="it cannot be loaded"))
    does(monkeypatch, REFUSES)
    service.looks(lambda: service.process is not None)
    service.looks(lambda: service.process is None)
    assert service.problem() == "it cannot be loaded"


@pytest.mark.parametrize("change", [{"tags": {RETURNED: "it fails"}}, {"version": "7"}])
def test_one_that_was_sent_away_or_is_in_production_itself_is_not_asked(
    service: Service, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    does(monkeypatch, LIVES)
    service.challenger.served = spec(replace(OTHER, **change), 2)
    service.keeper.look()
    assert service.process is None


def test_before_the_registry_was_asked_nothing_that_waits_is_thrown_away(service: Service) -> None:
    waiting = service.folder / "w-000001.segment"
    waiting.touch()
    service.challenger.served, service.challenger.is_reported = None, False
    service.keeper.look()
    assert waiting.exists()


def test_of_several_services_with_one_spool_one_asks(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    does(monkeypatch, LIVES)
    held = spool.lock(service.folder, keeper.LOCK)
    assert held is not None
    service.keeper.look()
    assert service.process is None
    os.close(held)
    service.keeper.look()
    assert service.process is not None
    assert spool.lock(service.folder, keeper.LOCK) is None


def test_it_ends_with_the_service(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    does(monkeypatch, LIVES)
    service.keeper.start()
    while (process := service.process) is None:
        time.sleep(0.01)
    service.keeper.end()
    assert process.returncode is not None
    assert service.process is None


def test_what_is_to_be_asked_is_handed_on_with_metrics_that_are_no_numbers() -> None:
    task = Task(Settings().handed_on(), spec(VERSION), spec(OTHER))
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(task), type=Task)
    assert (Settings.taken_over(again.settings), again.challenger.version) == (Settings(), OTHER)


def test_a_new_challenger_is_asked_from_when_it_became_one_however_long_the_process_takes_to_start(
    service: Service,
) -> None:
    another = spec(replace(OTHER, version="9"))
    of_the_one_before = service.folder / "w-000001.segment"
    of_the_one_before.touch()
    segment.write_whole(service.settings.prediction_log_dir / "w-000002.segment", b"{}", segment.PREDICTIONS, b"")
    service.challenger.served, service.keeper._due = another, time.monotonic() + 60
    service.keeper.look()
    found = state.read(service.folder, another.version)
    assert found is not None
    assert (found.version, found.begun_ns) == ("9", 1767323045 * 10**9)
    assert [path.name for path in service.folder.glob("*.segment")] == ["w-000002.segment"]
    assert state.begun(service.folder, another.version, another.since) == found


def told(settings: Settings) -> Any:
    class Nobody:
        classes = None

    other = SimpleNamespace(
        served=served_as(answering(Nobody(), described([])), OTHER), state=SimpleNamespace(version=OTHER, problem=None)
    )
    active: Any = SimpleNamespace(challenger=other, split=None, returned="", split_problem="")
    return challenger_content(settings, active)


def test_the_version_and_the_page_tell_what_it_was_asked_and_why_not(service: Service) -> None:
    assert told(Settings())["shadow"] == {
        "problem": "PREDICTION_LOG is 0: there are no logged rows that it could be asked for"
    }
    found = State(state.identity_of(OTHER), "8", 0, figures=state.Figures(alike=990, unlike=10, skipped=5))
    state.write(service.folder, found)
    content = told(service.settings)
    assert content["shadow"] == {"alike": 990, "unlike": 10, "failed": 0, "skipped": 5, "problem": None}
    assert in_words(content) == (
        "Version 8, the challenger, answers nobody yet: "
        "of 1,000 rows that Production answered, it says another thing of 1.0%."
    )
    content["shadow"] |= {"alike": 987, "failed": 3}
    assert in_words(content).endswith("it says another thing of 1.0%, and fails on 3.")
    (service.folder / state.NOTE).unlink()
    assert told(service.settings)["shadow"] == {"problem": "it has not been asked for logged rows yet"}
