"""The model of one worker: loaded aside when it is told to, changed to when it is told to, and kept when anything fails."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import pytest
from contract.mlmodel.manifest import Description
from contract.schema import Column, Kind
from contract.version_files import VersionFiles
from inference.errors import InferenceError, ModelRefused
from inference.ipc.messages import DeploymentSpec, Load, Loaded, Note, Report, Serve, Serving, State, ToPoller, ToWorker
from inference.model.deployment import Deployment
from inference.model.version import ModelVersion
from inference.rollout.active_model import ActiveModel, Deployments

from tests.unit.serving import described

ONE, TWO = (ModelVersion("flowers", number, f"run-{number}", int(number), f"m-{number}", "") for number in "12")
SECONDS = 30
DIGESTS = {"MLmodel": "a digest"}
DESCRIPTION = described([Column("size", missing=True), Column("colour", Kind.TEXT)], class_names=["left", "right"])


def spec(version: ModelVersion, id: int = 0) -> DeploymentSpec:
    since = "2026-01-02T03:04:05+00:00"
    folder = f"/cache/{version.version}"
    return DeploymentSpec(
        id or int(version.version), folder, version, {"r2": 0.5}, since, DIGESTS, DESCRIPTION.to_json()
    )


class FakeLoader:
    """Makes a model, which is its folder's name, of a folder; refuses those of `refused`."""

    def __init__(self) -> None:
        self.refused: dict[str, Exception] = {}
        self.loaded: list[str] = []

    def __call__(self, files: VersionFiles, description: Description) -> str:
        assert (files.digests, description) == (DIGESTS, DESCRIPTION)
        self.loaded.append(files.folder.name)
        if error := self.refused.get(files.folder.name):
            raise error
        return f"model {files.folder.name}"


@dataclass
class FakeSpeaker:
    """Says what a test puts into it, until None, and keeps the answers."""

    said: SimpleQueue[Any] = field(default_factory=SimpleQueue)
    answers: list[tuple[Any, ...]] = field(default_factory=list)
    is_gone: bool = False

    def messages(self) -> Iterator[ToWorker]:
        return iter(self.said.get, None)

    def answer(self, message: ToPoller) -> None:
        if self.is_gone:
            raise BrokenPipeError("it is gone")
        match message:
            case Loaded():
                self.answers.append(("loaded", message.spec_id))
            case Serving():
                self.answers.append(("serving", message.spec_id))
            case _:
                self.answers.append(("refused", message.phase, message.spec_id, message.reason))


class Worker:
    """An active model among fakes."""

    def __init__(self) -> None:
        self.load, self.speaker = FakeLoader(), FakeSpeaker()
        self.active = ActiveModel("flowers", self.load)  # type: ignore[arg-type]

    def hears(self, kind: str, content: DeploymentSpec | State) -> None:
        message = {"load": Load, "serve": Serve, "state": Report, "note": Note}[kind]
        self.active.take(message("flowers", content), self.speaker)

    @property
    def version(self) -> ModelVersion | None:
        return self.active.served and self.active.served.version  # type: ignore[return-value]


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def serving(worker: Any) -> Any:
    """A worker that serves version 1."""
    worker.hears("load", spec(ONE))
    worker.hears("serve", spec(ONE))
    return worker


def test_before_it_is_told_anything_nothing_is_served_and_that_is_said(worker: Any) -> None:
    assert worker.active.served is None
    assert worker.active.state.problem == "the registry has not been asked yet"


def test_a_version_is_loaded_aside_and_only_then_changed_to(worker: Any) -> None:
    worker.hears("load", spec(ONE))
    assert worker.version is None
    worker.hears("serve", spec(ONE))
    assert worker.active.served == Deployment("model 1", ONE, {"r2": 0.5}, "2026-01-02T03:04:05+00:00")  # type: ignore[arg-type]
    assert worker.load.loaded == ["1"]
    assert worker.speaker.answers == [("loaded", 1), ("serving", 1)]


def test_a_worker_says_when_it_changed_by_the_clock_that_all_processes_share(worker: Any) -> None:
    said: list[ToPoller] = []
    worker.speaker.answer = said.append
    before = time.monotonic_ns()
    worker.hears("serve", spec(ONE))
    assert before <= said[0].at <= time.monotonic_ns()


def test_a_worker_that_is_told_to_serve_what_it_has_not_loaded_loads_it(worker: Any) -> None:
    worker.hears("serve", spec(ONE))
    assert worker.version == ONE
    assert worker.speaker.answers == [("serving", 1)]


def test_while_the_next_version_is_loaded_the_one_before_it_is_served(serving: Any) -> None:
    serving.hears("load", spec(TWO))
    assert serving.version == ONE
    serving.hears("serve", spec(TWO))
    assert serving.version == TWO


def test_a_version_that_was_loaded_and_never_served_gives_way_to_the_next_one(serving: Any) -> None:
    serving.hears("load", spec(TWO))
    serving.hears("load", spec(ONE, id=3))
    serving.hears("serve", spec(TWO, id=4))
    assert serving.load.loaded == ["1", "2", "1", "2"]


@pytest.mark.parametrize("kind", ["load", "serve"])
def test_a_version_that_is_refused_is_not_served_and_the_reason_is_told(serving: Any, kind: str) -> None:
    serving.load.refused["2"] = ModelRefused("it has no signature")
    serving.hears(kind, spec(TWO))
    assert serving.version == ONE
    assert serving.speaker.answers[-1] == ("refused", kind, 2, "it has no signature")


def test_a_fault_that_nobody_foresaw_is_a_refusal_whose_details_are_in_the_log(
    serving: Any, caplog: pytest.LogCaptureFixture
) -> None:
    serving.load.refused["2"] = ZeroDivisionError("a bug")
    serving.hears("load", spec(TWO))
    assert serving.version == ONE
    assert serving.speaker.answers[-1] == ("refused", "load", 2, "it cannot be loaded: ZeroDivisionError: a bug")
    assert "loading version 2 failed" in caplog.text
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("error", [ModelRefused("no"), InferenceError("no"), MemoryError()])
def test_after_a_refusal_the_next_version_is_taken_up(serving: Any, error: Any) -> None:
    serving.load.refused["2"] = error
    serving.hears("load", spec(TWO))
    serving.load.refused.clear()
    serving.hears("load", spec(TWO, id=3))
    serving.hears("serve", spec(TWO, id=3))
    assert serving.version == TWO


def test_what_there_is_to_say_is_kept(worker: Any) -> None:
    worker.hears("state", State("MLflow is gone", ONE, {"r2": 0.5}))
    assert worker.active.state == State("MLflow is gone", ONE, {"r2": 0.5})


def test_a_worker_that_has_no_model_says_why_whoever_knows_it(worker: Any) -> None:
    worker.hears("state", State(None))
    assert worker.active.reason == "the model is being loaded"
    worker.load.refused["1"] = ModelRefused("its file MLmodel was changed after it was verified")
    worker.hears("serve", spec(ONE))
    assert worker.active.reason == "version 1 is refused: its file MLmodel was changed after it was verified"
    worker.hears("state", State("MLflow is gone"))
    assert worker.active.reason == "MLflow is gone"


def test_a_reason_is_short_whatever_is_in_it(worker: Any) -> None:
    worker.load.refused["1"] = ModelRefused("x" * 1_000_000)
    worker.hears("load", spec(ONE))
    assert len(worker.speaker.answers[-1][3]) < 1100


def test_every_answer_says_which_version_gave_it_in_what_a_header_can_have() -> None:
    served = Deployment("a model", ModelVersion("grün (1)\n", "7", "", 1, "", ""), {}, "")  # type: ignore[arg-type]
    assert served.headers == [("X-Model-Name", "gr%C3%BCn (1)%0A"), ("X-Model-Version", "7")]


# --- in a thread of its own ----------------------------------------------------------------------------------------


def test_following_returns_when_it_is_known_what_is_served(worker: Any) -> None:
    worker.speaker.said.put(Serve("flowers", spec(ONE)))
    worker.speaker.said.put(Report("flowers", State(None, ONE, {})))
    ended = threading.Event()
    Deployments([worker.active]).follow(worker.speaker, ended.set, SECONDS)
    assert worker.version == ONE
    assert not ended.is_set()
    worker.speaker.said.put(None)
    assert ended.wait(SECONDS)


def test_following_goes_on_after_it_has_returned(worker: Any) -> None:
    answered = threading.Event()
    worker.speaker.answer = lambda message: answered.set()
    Deployments([worker.active]).follow(worker.speaker, lambda: None, 0)
    worker.speaker.said.put(Serve("flowers", spec(TWO)))
    assert answered.wait(SECONDS)
    assert worker.version == TWO
    worker.speaker.said.put(None)


def test_what_is_going_on_is_kept_without_an_end_to_the_waiting(worker: Any) -> None:
    worker.speaker.said.put(Note("flowers", State("version 1 is being fetched")))
    worker.speaker.said.put(Serve("flowers", spec(ONE)))
    worker.speaker.said.put(Report("flowers", State(None, ONE, {})))
    told: list[str] = []
    take = worker.active.take
    worker.active.take = lambda message, speaker: take(message, speaker) or told.append(worker.active.reason)
    Deployments([worker.active]).follow(worker.speaker, lambda: None, SECONDS)
    assert told[0] == "version 1 is being fetched"
    assert worker.version == ONE
    worker.speaker.said.put(None)


def test_following_does_not_wait_for_ever_for_a_poller_that_says_nothing(worker: Worker) -> None:
    Deployments([worker.active]).follow(worker.speaker, lambda: None, 0.01)
    assert worker.version is None
    worker.speaker.said.put(None)


def test_a_poller_that_is_gone_before_it_is_answered_is_an_end_as_well(worker: Any) -> None:
    worker.speaker.is_gone = True
    ended = threading.Event()
    Deployments([worker.active]).follow(worker.speaker, ended.set, 0)
    worker.speaker.said.put(Load("flowers", spec(ONE)))
    assert ended.wait(SECONDS)
