"""Following the alias for all workers, and going on with what is served when anything fails: among fakes."""

import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from contract.mlmodel import manifest
from contract.mlmodel.manifest import Description
from contract.version_files import VersionFiles
from inference import errors
from inference.errors import FetchFailed, ModelRefused, NoModel, ProcessEnded, RegistryUnreachable
from inference.ipc.messages import (
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
)
from inference.ipc.server import Answer, NoAnswer
from inference.model.version import ModelVersion
from inference.rollout import background_call, backoff, model_cache, two_phase
from inference.rollout.backoff import (
    FINGERPRINT_PAUSE_SECONDS,
    FIRST_RETRY_AFTER_DEATH_SECONDS,
    FIRST_RETRY_SECONDS,
    LAST_RETRY_SECONDS,
)
from inference.rollout.model_cache import SETTLE_SECONDS
from inference.rollout.polling import loss_check, registry_poller, sources
from inference.rollout.polling.deployer import Deployer
from inference.rollout.polling.loss_check import Losses
from inference.rollout.polling.registry_poller import GIVE_UP_SECONDS, RegistryPoller
from inference.rollout.polling.sources import Sources
from inference.rollout.polling.status import ServedStatus
from inference.rollout.two_phase import Rollout, Swap
from msgspec import structs

from tests.unit.version_files import COLUMNS, Files, set_inputs

ONE, TWO, THREE = (ModelVersion("flowers", number, f"run-{number}", int(number), f"m-{number}", "") for number in "123")
GONE = RegistryUnreachable("MLflow does not answer")
NOTHING = NoModel("no version has the alias")


def described_as(version: ModelVersion, description: str = "", **tags: str) -> ModelVersion:
    return replace(version, description=description, tags=tags)


class FakeRegistry:
    """Answers with a version, or with an error."""

    def __init__(self, answer: ModelVersion | Exception) -> None:
        self.answer = answer
        self.figures: dict[str, float] | Exception = {"test_accuracy": 0.9}

    def current(self) -> ModelVersion:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def metrics(self, run_id: str) -> dict[str, float]:
        if isinstance(self.figures, Exception):
            raise self.figures
        return {**self.figures, "number": float(run_id[-1])}


class FakeCache:
    """Holds what was fetched; `broken` versions cannot be fetched."""

    def __init__(self, folder: Path, *held: ModelVersion) -> None:
        self._folder = folder
        self._files: dict[ModelVersion, Files] = {}
        self.held = set(held)
        self.last = (held[-1], {"number": 0.0}) if held else None
        self.fetched: list[str] = []
        self.broken: set[ModelVersion] = set()
        self.full = False
        self.settlings = 0

    def files(self, version: ModelVersion) -> Files:
        """Return what a version consists of, for a test to change."""
        if version not in self._files:
            folder = self._folder / str(len(self._files))
            folder.mkdir()
            self._files[version] = Files(folder)
        return self._files[version]

    def folder_of(self, version: ModelVersion) -> Path:
        if version not in self.held:
            if version in self.broken:
                raise FetchFailed(f"{version.uri} could not be fetched: no route to host")
            self.fetched.append(version.version)
            self.held.add(version)
        return self.files(version).folder

    def forget(self, version: ModelVersion) -> None:
        self.held.discard(version)

    def remember(self, version: ModelVersion, metrics: dict[str, float]) -> None:
        self.settlings += 1
        if self.full:
            raise FetchFailed("the model cache cannot be used: No space left on device")
        self.last = version, metrics

    def forget_last(self) -> None:
        self.last = None

    def last_served(self) -> tuple[ModelVersion, dict[str, float]] | None:
        return self.last if self.last and self.last[0] in self.held else None


class FakeAudience:
    """Workers that load and serve what they are told to; one of them refuses the versions of `refused`."""

    def __init__(self, workers: int = 2) -> None:
        self.workers = workers
        self.refused: dict[str, str] = {}
        self.deadly: set[str] = set()
        self.notes: list[str] = []
        self.heard: list[tuple[str, str]] = []
        self.states: list[State] = []
        self.serving: DeploymentSpec | None = None
        self.dropped: list[int] = []
        self.reminded: list[str] = []
        self.behind = 0

    def ask(self, question: Load | Serve, seconds: float) -> list[Answer]:
        name, id, number = question.deployment, question.spec.id, question.spec.version.version
        within = {"load": two_phase.LOAD_SECONDS, "serve": two_phase.SWAP_SECONDS}
        assert (name, seconds) == ("flowers", within[question.phase])
        self.heard.append((question.phase, number))
        if isinstance(question, Serve):
            self.serving = question.spec
            return [Serving(name, id, worker * 500_000) for worker in range(self.workers)]
        answers: list[Answer] = [Loaded(name, id)] * self.workers
        if number in self.refused:
            answers[-1] = Refused(name, id, "load", self.refused[number])
        if number in self.deadly:
            answers[-1] = NoAnswer("a worker ended")
        return answers

    def tell(self, message: ToWorker) -> None:
        assert message.deployment == "flowers"
        match message:
            case Drop():
                self.dropped.append(message.spec_id)
            case Note():
                self.notes.append(message.state.problem)  # type: ignore[arg-type]
            case Report():
                self.states.append(message.state)

    def remind(self, question: Serve) -> int:
        assert question.deployment == "flowers"
        self.reminded.append(question.spec.version.version)
        return self.behind


class FakeStore:
    """Tells how files look, and what is gone of them: what a test sets."""

    def __init__(self) -> None:
        self.known_fingerprint: str | None = "as it came"
        self.fingerprints_asked = 0
        self.lost: str | Exception | None = None
        self.losses_asked: list[tuple[str, list[str]]] = []

    def fingerprint(self, version: ModelVersion) -> str | None:
        self.fingerprints_asked += 1
        return self.known_fingerprint

    def loss(self, version: ModelVersion, files: Collection[str]) -> str | None:
        self.losses_asked.append((version.version, sorted(files)))
        if isinstance(self.lost, Exception):
            raise self.lost
        return self.lost


class FakeTrials:
    """The note on disk: what is there when a process ends is there at the next start."""

    def __init__(self) -> None:
        self.noted: tuple[ModelVersion, int] | None = None
        self.trying: ModelVersion | None = None

    def left_behind(self) -> tuple[ModelVersion, int] | None:
        return self.noted

    def begin(self, version: ModelVersion) -> None:
        times = self.noted[1] + 1 if self.noted and self.noted[0] == version else 1
        self.noted, self.trying = (version, times), version

    def end(self, survived: bool = True) -> None:
        self.trying = None
        if survived:
            self.noted = None


class FakeMetrics:
    def __init__(self) -> None:
        self.looks = 0
        self.swaps: list[Any] = []
        self.refusals: list[Any] = []
        self.served: ModelVersion | None = None
        self.problem: str | None = None

    def looked(self) -> None:
        self.looks += 1

    def swapped(self, version: ModelVersion) -> None:
        self.swaps.append(version.version)

    def refused(self, version: ModelVersion) -> None:
        self.refusals.append(version.version)

    def report(self, served: ModelVersion | None, problem: str | None) -> None:
        self.served, self.problem = served, problem


class Killed(BaseException):
    """The end of the process, by the kernel."""


class Scene:
    """A poller among fakes."""

    def __init__(self, folder: Path, clock: "Clock", answer: ModelVersion | Exception, *held: ModelVersion) -> None:
        self.registry, self.cache = FakeRegistry(answer), FakeCache(folder, *held)
        self.audience, self.metrics, self.clock = FakeAudience(), FakeMetrics(), clock
        self.unsigned: dict[str, str] = {}
        self.store, self.trials = FakeStore(), FakeTrials()
        self.deadly: set[str] = set()
        self.killing: ModelVersion | None = None
        self.announced: list[tuple[str, int, float]] = []
        self.announcing: Exception | None = None
        self.held: list[int] = []
        self.poller = self.new_poller()

    def new_poller(self, allow_schema_change: bool = False) -> RegistryPoller:
        """Return a poller as the next start has it."""

        def announce(swap: Swap) -> None:
            if self.announcing:
                raise self.announcing
            self.announced.append((swap.version.version, swap.workers, swap.window_ms))

        # So that what a test puts in the place of a fake's own is asked.
        registry = SimpleNamespace(
            current=lambda: self.registry.current(), metrics=lambda run_id: self.registry.metrics(run_id)
        )
        rollout = Rollout("flowers", self.audience, lambda version: self.cache.folder_of(version), allow_schema_change)
        origin = Sources(registry, self.cache, self.store, self._check, lambda: self.held.append(self.metrics.looks))
        self.losses = Losses(lambda *about: self.store.loss(*about))
        deployer = Deployer(origin, rollout, self.trials, self.metrics, announce)  # type: ignore[arg-type]
        status = ServedStatus(rollout, self.metrics, self.losses)  # type: ignore[arg-type]
        return RegistryPoller(origin, rollout, deployer, status, self.metrics)  # type: ignore[arg-type]

    def _check(self, folder: Path, version: ModelVersion) -> tuple[VersionFiles, Description]:
        if version == self.killing:
            raise Killed
        if version.version in self.deadly:
            raise ProcessEnded("the process that verifies it ended over it")
        if version.version in self.unsigned:
            raise ModelRefused(self.unsigned[version.version])
        with errors.refusing():
            files = VersionFiles.of(folder)
            return files, manifest.read(files)

    def start_again(self) -> None:
        """End the service and start it, with what is on disk."""
        self.audience.serving, self.poller = None, self.new_poller()

    def look(self, answer: ModelVersion | Exception | None = None) -> None:
        if answer is not None:
            self.registry.answer = answer
        self.poller.look()

    @property
    def version(self) -> str | None:
        """What the workers answer with."""
        return self.audience.serving and self.audience.serving.version.version  # type: ignore[return-value]

    @property
    def problem(self) -> str | None:
        """What the workers were told last."""
        return self.audience.states[-1].problem

    def loads(self) -> list[str]:
        return [number for kind, number in self.audience.heard if kind == "load"]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    clock = Clock()
    for module in (registry_poller, backoff, background_call, loss_check, model_cache, two_phase):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


@pytest.fixture
def scene(tmp_path: Path, clock: Any) -> Callable[..., Scene]:
    return lambda answer, *held: Scene(tmp_path, clock, answer, *held)


@pytest.fixture
def serving(scene: Callable[..., Scene]) -> Any:
    """A service that serves version 1."""
    made = scene(ONE)
    made.look()
    return made


# --- the alias moves -----------------------------------------------------------------------------------------------


def test_the_version_behind_the_alias_is_loaded_by_all_then_served_by_all_and_announced(serving: Any) -> None:
    assert serving.audience.heard == [("load", "1"), ("serve", "1")]
    assert serving.problem is None
    assert serving.announced == [("1", 2, 0.5)]
    assert (serving.metrics.swaps, serving.metrics.served, serving.metrics.problem) == (["1"], ONE, None)


def test_a_spec_says_where_the_files_are_what_was_measured_and_since_when_it_is_served(serving: Any) -> None:
    spec = serving.audience.serving
    assert Path(spec.folder) == serving.cache.folder_of(ONE)
    assert spec.metrics == {"test_accuracy": 0.9, "number": 1.0}
    assert spec.since.endswith("+00:00")


def test_each_version_that_is_taken_up_is_announced_once_a_rollback_too(serving: Any) -> None:
    for version in (ONE, TWO, TWO, ONE, ONE):
        serving.look(version)
    assert [number for number, *_ in serving.announced] == ["1", "2", "1"]


def test_while_the_alias_stays_nothing_is_asked_or_told_again(serving: Any) -> None:
    heard, told = len(serving.audience.heard), len(serving.audience.states)
    serving.look()
    assert (len(serving.audience.heard), len(serving.audience.states)) == (heard, told)


def test_the_cache_is_told_at_each_look_that_the_model_is_served_before_anybody_is_asked(serving: Any) -> None:
    serving.registry.answer = GONE
    serving.look()
    assert serving.held == [0, 1]


def test_a_version_of_the_same_number_in_a_new_registry_is_another_version(serving: Any) -> None:
    serving.look(ModelVersion("flowers", "1", "run-9", 99, "m-9", ""))
    assert serving.audience.serving.version.run_id == "run-9"


def test_a_version_that_is_served_is_remembered_for_a_start_without_the_registry(serving: Any) -> None:
    assert serving.cache.last_served() == (ONE, {"test_accuracy": 0.9, "number": 1.0})


def test_metrics_that_cannot_be_had_keep_no_version_from_being_served(
    scene: Callable[..., Scene], caplog: pytest.LogCaptureFixture
) -> None:
    made = scene(ONE)
    made.registry.figures = GONE
    made.look()
    assert made.version == "1"
    assert made.audience.serving.metrics == {}
    assert "the metrics of version 1 cannot be had" in caplog.text


def test_a_version_without_a_run_has_no_metrics(scene: Callable[..., Scene]) -> None:
    made = scene(ModelVersion("flowers", "1", "", 1, "m-1", ""))
    made.look()
    assert made.audience.serving.metrics == {}


# --- what is said of the served version changes --------------------------------------------------------------------


@pytest.mark.parametrize(
    "again", [described_as(ONE, "better than ever"), described_as(ONE, stage="Production")], ids=["description", "tags"]
)
def test_what_is_said_of_the_served_version_is_passed_on_without_loading_anything(
    serving: Any, again: ModelVersion
) -> None:
    heard = len(serving.audience.heard)
    serving.look(again)
    assert len(serving.audience.heard) == heard
    told = serving.audience.states[-1].version
    assert (told.description, told.tags) == (again.description, again.tags)
    remembered, _ = serving.cache.last_served()
    assert (remembered.description, remembered.tags) == (again.description, again.tags)
    told_before = len(serving.audience.states)
    serving.look()
    assert len(serving.audience.states) == told_before


def test_new_metrics_come_with_a_new_description(serving: Any) -> None:
    serving.registry.figures = {"test_accuracy": 0.95}
    serving.look(described_as(ONE, "measured again"))
    assert serving.audience.states[-1].metrics == {"test_accuracy": 0.95, "number": 1.0}


def test_metrics_that_cannot_be_had_again_are_kept(serving: Any) -> None:
    serving.registry.figures = GONE
    serving.look(described_as(ONE, "the run is gone"))
    assert serving.audience.states[-1].metrics == {"test_accuracy": 0.9, "number": 1.0}


def said_to_be_signed(version: ModelVersion, key: str) -> ModelVersion:
    return replace(version, signed_by=key, tags={"signed_by": key})


def test_a_version_that_is_only_said_to_be_signed_otherwise_is_loaded_by_nobody_again(serving: Any) -> None:
    """The tag is anybody's who reaches MLflow's port: one who writes it at each look would keep all workers loading."""
    heard, folder = list(serving.audience.heard), serving.cache.files(ONE).folder
    serving.cache.files = lambda version: Files(folder)
    for key in ("one", "two"):
        serving.look(said_to_be_signed(ONE, key))
        assert serving.problem is None
        assert serving.audience.states[-1].version.signed_by == key
        assert serving.cache.last_served()[0] == said_to_be_signed(ONE, key)
        spec, _ = greeting_of(serving.poller)
        assert isinstance(spec, Serve)
        assert spec.spec.folder == str(folder)
    assert serving.audience.heard == heard
    assert (len(serving.announced), serving.metrics.swaps) == (1, ["1"])


def test_a_version_that_is_said_to_be_signed_otherwise_and_has_other_files_is_loaded(serving: Any) -> None:
    serving.cache.files(said_to_be_signed(ONE, "a key")).describe(lambda content: content.update(more=1))
    serving.look(said_to_be_signed(ONE, "a key"))
    assert serving.loads() == ["1", "1"]
    assert serving.audience.serving.version.signed_by == "a key"


# --- the registry has no answer ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("answer", "said"), [(GONE, str(GONE)), (NOTHING, "no version has the alias any more")])
def test_serving_goes_on_when_the_registry_has_no_answer(
    serving: Any, answer: NoModel | RegistryUnreachable, said: str
) -> None:
    serving.look(answer)
    assert serving.version == "1"
    assert serving.problem == said
    assert serving.metrics.served == ONE


@pytest.mark.parametrize("answer", [GONE, NOTHING])
def test_the_problem_is_over_when_the_registry_names_the_served_version_again(
    serving: Any, answer: NoModel | RegistryUnreachable
) -> None:
    serving.look(answer)
    serving.look(ONE)
    assert serving.problem is None
    assert serving.loads() == ["1"]


def test_a_registry_that_answers_is_noted_whatever_it_answers(serving: Any) -> None:
    for answer in (ONE, NOTHING, GONE):
        serving.look(answer)
    assert serving.metrics.looks == 3


def test_a_problem_that_lasts_is_logged_once_and_told_once(serving: Any, caplog: pytest.LogCaptureFixture) -> None:
    told = len(serving.audience.states)
    for _ in range(3):
        serving.look(GONE)
    assert caplog.text.count(str(GONE)) == 1
    assert len(serving.audience.states) == told + 1


def test_a_fault_that_nobody_foresaw_ends_neither_the_serving_nor_the_following(
    serving: Any, caplog: pytest.LogCaptureFixture
) -> None:
    serving.look(ZeroDivisionError("a bug"))
    assert serving.version == "1"
    assert serving.problem == "looking for the model failed; the log has the details"
    assert caplog.messages == ["looking for the model failed", f"{serving.problem}; serving goes on"]
    assert "ZeroDivisionError" in caplog.text
    serving.look(TWO)
    assert (serving.version, serving.problem) == ("2", None)


# --- a version cannot be served ------------------------------------------------------------------------------------


def test_serving_goes_on_while_a_version_cannot_be_fetched(serving: Any) -> None:
    serving.cache.broken.add(TWO)
    serving.look(TWO)
    assert serving.version == "1"
    assert serving.problem == "models:/flowers/2 could not be fetched: no route to host"
    assert serving.metrics.refusals == []


def test_serving_goes_on_when_a_signature_does_not_hold_and_no_worker_hears_of_the_version(serving: Any) -> None:
    serving.unsigned["2"] = "it is not signed"
    serving.look(TWO)
    assert serving.loads() == ["1"]
    assert serving.problem == "version 2 of flowers is refused: it is not signed"
    assert serving.metrics.refusals == ["2"]


def test_metrics_have_it_before_an_answer_says_what_is_wrong(serving: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tell, meanwhile = serving.audience.tell, []

    def told(message: ToWorker) -> None:
        meanwhile.append(serving.metrics.problem)
        tell(message)

    monkeypatch.setattr(serving.audience, "tell", told)
    serving.unsigned["2"] = "it is not signed"
    serving.look(TWO)
    assert meanwhile[-1] == serving.problem == "version 2 of flowers is refused: it is not signed"


def test_where_one_worker_refuses_a_version_none_serves_it(serving: Any) -> None:
    serving.audience.refused["2"] = "it does not reproduce its golden samples"
    serving.look(TWO)
    assert serving.audience.heard[2:] == [("load", "2")]
    assert serving.version == "1"
    assert serving.problem == "version 2 of flowers is refused: it does not reproduce its golden samples"
    assert [number for number, *_ in serving.announced] == ["1"]


def test_a_version_that_is_no_model_is_refused_before_any_worker_hears_of_it(serving: Any) -> None:
    serving.cache.files(TWO).describe(lambda content: content.update(flavors={"pytorch": {}}))
    serving.look(TWO)
    assert serving.loads() == ["1"]
    assert "is refused: its flavors are pytorch" in serving.problem


def test_after_a_refused_version_the_next_one_is_taken_up(serving: Any) -> None:
    serving.audience.refused["2"] = "no"
    serving.look(TWO)
    serving.look(THREE)
    assert (serving.version, serving.problem) == ("3", None)


def test_a_copy_that_was_damaged_in_the_cache_is_fetched_once_more(scene: Callable[..., Scene]) -> None:
    made = scene(ONE, ONE)
    checks = iter(["its signature does not hold"] * 2)  # when it is served as the last one, and when it is found

    check = made._check

    def checked(folder: Path, version: ModelVersion) -> tuple[VersionFiles, Description]:
        if reason := next(checks, None):
            raise ModelRefused(reason)
        return check(folder, version)

    made._check = checked
    made.poller = made.new_poller()
    made.look()
    assert (made.version, made.problem) == ("1", None)
    assert made.cache.fetched == ["1"]


def test_a_cache_that_cannot_be_written_keeps_no_version_from_being_served_and_what_a_start_would_serve_is_told(
    serving: Any, caplog: pytest.LogCaptureFixture
) -> None:
    serving.cache.full = True
    serving.look(TWO)
    assert (serving.version, serving.problem) == ("2", None)
    words = "a start without the registry would serve version 1, and not version 2: the model cache cannot be used"
    assert caplog.text.count(words) == 1


def test_what_had_no_room_in_the_cache_is_remembered_when_there_is_room_again_without_a_try_at_each_look(
    serving: Any, caplog: pytest.LogCaptureFixture
) -> None:
    serving.cache.full = True
    serving.look(TWO)
    tries = serving.cache.settlings
    serving.look()
    assert serving.cache.settlings == tries
    for _ in range(2):
        serving.clock.now += SETTLE_SECONDS
        serving.look()
    assert serving.cache.settlings == tries + 2
    assert caplog.text.count("would serve version 1, and not version 2") == 1
    serving.cache.full = False
    serving.clock.now += SETTLE_SECONDS
    serving.look()
    assert serving.cache.last_served() == (TWO, {"test_accuracy": 0.9, "number": 2.0})
    serving.clock.now += SETTLE_SECONDS
    serving.look()
    assert serving.cache.settlings == tries + 3


def test_workers_that_have_to_change_later_are_sent_to_where_the_files_have_moved(serving: Any, tmp_path: Path) -> None:
    serving.cache.full = True
    serving.look(TWO)
    serving.cache.full = False
    serving.cache.folder_of = lambda version: tmp_path / "moved"
    serving.clock.now += SETTLE_SECONDS
    serving.look()
    folders: list[str] = []
    serving.audience.remind = lambda question: folders.append(question.spec.folder) or 0
    serving.look()
    assert folders == [str(tmp_path / "moved")]


# --- when it is tried again ----------------------------------------------------------------------------------------


@pytest.fixture
def refusing(serving: Any) -> Any:
    serving.audience.refused["2"] = "no"
    serving.look(TWO)
    return serving


def test_a_version_that_failed_is_not_tried_again_before_its_pause_is_over(refusing: Any) -> None:
    refusing.clock.now += FIRST_RETRY_SECONDS - 0.1
    refusing.look()
    assert refusing.loads() == ["1", "2"]
    assert "is refused: no" in refusing.problem
    refusing.clock.now += 0.2
    refusing.audience.refused.clear()
    refusing.look()
    assert (refusing.version, refusing.problem) == ("2", None)


def test_each_pause_is_twice_as_long_up_to_a_limit(refusing: Any) -> None:
    pauses = []
    for _ in range(9):
        began, tried = refusing.clock.now, len(refusing.loads())
        while len(refusing.loads()) == tried:
            refusing.clock.now += 1
            refusing.look()
        pauses.append(refusing.clock.now - began)
    assert pauses[:3] == [FIRST_RETRY_SECONDS, 2 * FIRST_RETRY_SECONDS, 4 * FIRST_RETRY_SECONDS]
    assert pauses[-2:] == [LAST_RETRY_SECONDS, LAST_RETRY_SECONDS]


@pytest.mark.parametrize("between", [ONE, THREE, NOTHING])
def test_a_refused_version_is_tried_again_at_once_when_the_alias_has_moved_and_come_back(
    refusing: Any, between: ModelVersion | NoModel
) -> None:
    refusing.look(between)
    refusing.audience.refused.clear()
    refusing.look(TWO)
    assert (refusing.version, refusing.problem) == ("2", None)


def test_a_version_that_failed_does_not_stay_when_the_alias_has_moved_back(serving: Any) -> None:
    serving.audience.workers = 0
    serving.look(TWO)
    assert TWO in serving.cache.held
    serving.look(ONE)
    assert serving.cache.held == {ONE}


def test_a_version_that_fails_in_a_way_that_nobody_foresaw_does_not_stay(serving: Any) -> None:
    serving.audience.ask = lambda *_: [][0]
    serving.look(TWO)
    assert "version 2 cannot be taken up: IndexError" in serving.problem
    assert serving.cache.held == {ONE}
    serving.look()
    assert tries_of(serving) == 1, "it is not met again at each look"


def test_what_is_served_is_not_let_go_of_whatever_fails_after_it_was_taken_up(serving: Any) -> None:
    serving.announcing = ZeroDivisionError("a bug")
    serving.look(TWO)
    assert serving.version == "2"
    assert TWO in serving.cache.held


def test_a_refused_version_that_was_signed_since_is_tried_again_at_once(refusing: Any) -> None:
    refusing.audience.refused.clear()
    refusing.look(ModelVersion("flowers", "2", "run-2", 2, "m-2", "a key"))
    assert (refusing.version, refusing.problem) == ("2", None)


def test_a_refused_version_is_tried_again_at_once_when_its_files_change_and_not_again_and_again(refusing: Any) -> None:
    refusing.store.known_fingerprint = "mended"
    refusing.look()
    assert refusing.loads() == ["1", "2", "2"]
    refusing.look()
    assert refusing.loads() == ["1", "2", "2"]
    refusing.store.known_fingerprint = "mended again"
    refusing.audience.refused.clear()
    refusing.look()
    assert (refusing.version, refusing.problem) == ("2", None)


def test_files_of_which_nothing_is_heard_have_not_changed_and_are_not_asked_for_at_each_look(refusing: Any) -> None:
    refusing.store.known_fingerprint = None
    for _ in range(3):
        refusing.look()
    assert refusing.loads() == ["1", "2"]
    assert refusing.store.fingerprints_asked == 2  # when it was refused, and once since
    refusing.clock.now += FINGERPRINT_PAUSE_SECONDS
    refusing.look()
    assert refusing.store.fingerprints_asked == 2  # it was time to try it anyway
    assert refusing.loads() == ["1", "2", "2"]


def test_a_version_that_was_mended_after_it_was_refused_for_its_columns_is_fetched_anew(serving: Any) -> None:
    serving.cache.files(TWO).describe(OTHER_COLUMNS)
    serving.look(TWO)
    assert serving.cache.fetched == ["1", "2"]
    serving.cache.files(TWO).describe(set_inputs(*({"type": "double", "name": name} for name in COLUMNS)))
    serving.store.known_fingerprint = "mended"
    serving.look()
    assert serving.cache.fetched == ["1", "2", "2"]
    assert (serving.version, serving.problem) == ("2", None)


def test_a_version_that_no_worker_was_there_to_load_is_fetched_anew_when_it_is_tried_again(serving: Scene) -> None:
    serving.audience.workers = 0
    serving.look(TWO)
    serving.audience.workers = 2
    serving.clock.now += FIRST_RETRY_SECONDS
    serving.look()
    assert (serving.version, tries_of(serving)) == ("2", 2)


def test_a_version_that_did_not_arrive_is_tried_again_at_once_when_its_files_are_there(serving: Any) -> None:
    serving.cache.broken.add(TWO)
    serving.store.known_fingerprint = None
    serving.look(TWO)
    for _ in range(4):  # until the pauses are long
        serving.clock.now += LAST_RETRY_SECONDS
        serving.look()
    serving.cache.broken.clear()
    serving.store.known_fingerprint = "as it came"
    serving.look()
    assert (serving.version, serving.problem) == ("2", None)


def test_a_refusal_is_still_the_problem_after_the_registry_was_away(refusing: Any) -> None:
    refusing.look(GONE)
    assert refusing.problem == str(GONE)
    refusing.look(TWO)
    assert "version 2 of flowers is refused" in refusing.problem
    assert refusing.loads() == ["1", "2"]


def test_a_version_that_did_not_arrive_is_tried_again_after_a_pause_too(serving: Any) -> None:
    serving.cache.broken.add(TWO)
    serving.look(TWO)
    serving.cache.broken.clear()
    serving.look()
    assert serving.version == "1"
    serving.clock.now += FIRST_RETRY_SECONDS
    serving.look()
    assert (serving.version, serving.problem) == ("2", None)


# --- a breaking change ---------------------------------------------------------------------------------------------

OTHER_COLUMNS = set_inputs({"type": "double", "name": "length"})


def test_a_version_that_would_break_those_who_ask_is_refused_with_the_way_out(serving: Any) -> None:
    serving.cache.files(TWO).describe(OTHER_COLUMNS)
    serving.look(TWO)
    assert serving.loads() == ["1"]
    assert "is refused: it lacks the column 'width'" in serving.problem
    assert "ALLOW_SCHEMA_CHANGE=true lets it in" in serving.problem


def test_a_breaking_change_is_let_in_where_the_settings_say_so(serving: Any) -> None:
    serving.cache.files(TWO).describe(OTHER_COLUMNS)
    serving.poller = serving.new_poller(allow_schema_change=True)
    serving.look(TWO)
    assert (serving.version, serving.problem) == ("2", None)


def test_a_restart_lets_no_breaking_change_in_and_serves_the_last_version(serving: Any) -> None:
    serving.cache.files(TWO).describe(OTHER_COLUMNS)
    serving.poller, serving.audience.serving = serving.new_poller(), None
    serving.look(TWO)
    assert serving.version == "1"
    assert "ALLOW_SCHEMA_CHANGE=true" in serving.problem


def test_what_those_who_ask_rely_on_is_that_of_the_last_version_though_no_worker_can_serve_it_any_more(
    scene: Callable[..., Scene],
) -> None:
    made = scene(TWO, ONE)
    made.audience.refused["1"] = "it is of another scikit-learn"
    made.cache.files(TWO).describe(OTHER_COLUMNS)
    made.look()
    assert made.version is None
    assert made.problem is not None
    assert "ALLOW_SCHEMA_CHANGE=true" in made.problem


# --- a start without the registry ----------------------------------------------------------------------------------


def test_with_the_registry_gone_at_the_start_the_last_version_is_served_from_the_cache(
    scene: Callable[..., Scene],
) -> None:
    made = scene(GONE, ONE)
    made.look()
    assert (made.version, made.problem) == ("1", str(GONE))
    assert made.cache.fetched == []
    assert made.audience.serving.metrics == {"number": 0.0}


def test_a_registry_that_does_not_answer_at_once_does_not_keep_the_last_version_from_being_served(
    scene: Callable[..., Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = scene(ONE, ONE)
    monkeypatch.setattr(registry_poller, "LOOK_SECONDS", 0.01)
    answers, asked, hanging = threading.Event(), [], made.registry.current
    made.registry.current = lambda: asked.append(1) or (answers.wait(30) and hanging())  # type: ignore[assignment, return-value]
    try:
        for _ in range(3):
            made.look()
            assert made.version == "1"
            assert "MLflow does not answer within" in made.problem
        assert len(asked) == 1, "what hangs is not asked once more at each look"
    finally:
        answers.set()
    made.poller._alias._asked.result(30)
    monkeypatch.setattr(registry_poller, "LOOK_SECONDS", 30)
    made.look()
    assert made.problem is None
    assert len(asked) == 2, "what was answered late is asked anew"
    assert made.loads() == ["1"]


def test_a_question_that_has_hung_for_long_is_asked_anew_so_that_a_registry_that_has_recovered_is_noticed(
    serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_poller, "LOOK_SECONDS", 0.01)
    never, answering = threading.Event(), serving.registry.current
    serving.registry.current = lambda: never.wait(30) and answering()
    try:
        serving.look(TWO)
        assert "MLflow does not answer within" in serving.problem
        serving.registry.current = answering
        serving.look()
        assert "MLflow does not answer within" in serving.problem
        serving.clock.now += GIVE_UP_SECONDS
        monkeypatch.setattr(registry_poller, "LOOK_SECONDS", 30)
        serving.look()
        assert (serving.version, serving.problem) == ("2", None)
    finally:
        never.set()


def test_metrics_that_hang_keep_no_version_from_being_served(
    scene: Callable[..., Scene], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made, never = scene(ONE), threading.Event()
    made.registry.metrics = lambda _: never.wait(30) and {}  # type: ignore[assignment, return-value]
    monkeypatch.setattr(sources, "LOOK_SECONDS", 0.2)
    made.look()
    never.set()
    assert (made.version, made.audience.serving.metrics) == ("1", {})
    assert "the metrics of version 1 cannot be had" in caplog.text


def test_a_store_that_hangs_is_asked_anew_what_it_has_lost(serving: Any) -> None:
    never = threading.Event()
    serving.store.loss = lambda *_: never.wait(30) and None
    try:
        serving.clock.now += 2 * loss_check.EVERY_SECONDS
        serving.look()
        serving.store.loss = lambda *_: "its files are gone"
        serving.clock.now += 2 * loss_check.EVERY_SECONDS
        serving.look()
        if asked := serving.losses._asked:
            asked.result(30)
        serving.look()
        assert "its files are gone" in serving.problem
    finally:
        never.set()


def test_a_copy_that_fails_in_a_way_that_nobody_foresaw_keeps_the_alias_from_nothing(
    scene: Callable[..., Scene], caplog: pytest.LogCaptureFixture
) -> None:
    made = scene(ONE, ONE)
    check, faults = made._check, iter([ZeroDivisionError("a bug")])

    def checked(folder: Path, version: ModelVersion) -> tuple[VersionFiles, Description]:
        if fault := next(faults, None):
            raise fault
        return check(folder, version)

    made._check = checked
    made.poller = made.new_poller()
    made.look()
    assert (made.version, made.problem) == ("1", None)
    assert "ZeroDivisionError" in caplog.text


def test_what_was_served_last_is_served_before_anybody_is_asked(scene: Callable[..., Scene]) -> None:
    made = scene(TWO, ONE)
    current, served = made.registry.current, []
    made.registry.current = lambda: served.append(made.version) or current()
    made.look()
    assert served == ["1"]
    assert made.audience.states[0].problem == "the registry has not been asked yet"
    assert (made.version, made.problem) == ("2", None)
    assert made.loads() == ["1", "2"]


def test_a_version_from_the_cache_is_no_longer_stale_when_the_registry_is_back_with_it(
    scene: Callable[..., Scene],
) -> None:
    made = scene(GONE, ONE)
    made.look()
    made.look(ONE)
    assert (made.version, made.problem) == ("1", None)
    assert made.loads() == ["1"]


def test_a_version_from_the_cache_gives_way_to_the_one_that_the_registry_names(scene: Callable[..., Scene]) -> None:
    made = scene(GONE, ONE)
    made.look()
    made.look(TWO)
    assert (made.version, made.problem) == ("2", None)


def test_with_nothing_behind_the_alias_any_more_the_last_version_goes_on_after_a_start_as_well(serving: Any) -> None:
    """One rule, while it runs, after a restart and in every replica: what was served goes on, and is said to be stale."""
    serving.look(NOTHING)
    before = serving.version, serving.problem
    serving.start_again()
    serving.look()
    assert (serving.version, serving.problem) == before == ("1", NOTHING.any_more)


def test_a_service_that_cannot_serve_the_last_version_any_more_still_knows_that_there_was_one(
    scene: Callable[..., Scene],
) -> None:
    made = scene(NOTHING, ONE)
    made.audience.refused["1"] = "it is of another scikit-learn"
    made.look()
    assert (made.version, made.problem) == (None, NOTHING.any_more)


def test_the_log_says_whether_serving_goes_on(scene: Callable[..., Scene], caplog: pytest.LogCaptureFixture) -> None:
    for made, words in ((scene(GONE), f"{GONE}; waiting"), (scene(GONE, ONE), f"{GONE}; serving goes on")):
        caplog.clear()
        made.look()
        assert words in caplog.messages


def test_that_there_is_no_model_yet_is_said_where_none_was_ever_served(scene: Callable[..., Scene]) -> None:
    made = scene(NOTHING)
    made.look()
    assert (made.version, made.problem) == (None, str(NOTHING))
    assert made.problem.startswith("no version has the alias yet")


def test_with_the_registry_gone_and_an_empty_cache_the_service_waits(scene: Callable[..., Scene]) -> None:
    made = scene(GONE)
    made.look()
    assert (made.version, made.problem) == (None, str(GONE))
    made.look(ONE)
    assert made.version == "1"


@pytest.mark.parametrize("spoilt_by", ["unsigned", "refused"])
def test_with_the_registry_gone_a_cached_version_that_is_unusable_is_not_served_nor_tried_at_each_look(
    scene: Callable[..., Scene], spoilt_by: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = scene(GONE, ONE)
    {"unsigned": made.unsigned, "refused": made.audience.refused}[spoilt_by]["1"] = "it is damaged"
    for _ in range(3):
        made.look()
    assert (made.version, made.problem) == (None, str(GONE))
    assert caplog.text.count("the copy of version 1 in the cache cannot be used: it is damaged") == 1
    made.unsigned.clear()
    made.audience.refused.clear()
    made.clock.now += LAST_RETRY_SECONDS
    made.look()
    assert made.version == "1"


def test_a_first_version_that_is_refused_leaves_the_service_waiting_with_the_reason(
    scene: Callable[..., Scene],
) -> None:
    made = scene(ONE)
    made.unsigned["1"] = "it is not signed"
    made.look()
    assert (made.version, made.problem) == (None, "version 1 of flowers is refused: it is not signed")


def test_where_the_first_version_is_refused_the_last_one_is_served(scene: Callable[..., Scene]) -> None:
    made = scene(TWO, ONE)
    made.unsigned["2"] = "it is not signed"
    made.look()
    assert made.version == "1"
    assert "version 2 of flowers is refused" in made.problem


@pytest.mark.parametrize(("spares", "most"), [(True, 3600.0), (False, 300.0)])
def test_what_ends_a_process_is_left_alone_for_up_to_an_hour_where_that_spares_what_is_served(
    clock: Clock, spares: bool, most: float
) -> None:
    failure = backoff.Failure(ONE, "a worker ended", is_deadly=True, spares=spares, times=20)
    assert failure.after(None).pause == most


def test_a_change_that_no_worker_answered_has_no_window(serving: Scene) -> None:
    ask = serving.audience.ask

    def silent(question: Load | Serve, seconds: float) -> list[Answer]:
        return ask(question, seconds) if isinstance(question, Load) else []

    serving.audience.ask = silent  # type: ignore[method-assign, unused-ignore]
    serving.look(TWO)
    assert serving.announced[-1] == ("2", 0, 0.0)


# --- workers that join ---------------------------------------------------------------------------------------------


def greeting_of(poller: RegistryPoller) -> list[ToWorker]:
    delivered: list[list[ToWorker]] = []
    poller.rollout.catch_up(delivered.append)
    (messages,) = delivered
    return messages


def test_a_worker_that_joins_before_the_first_look_is_told_that_nothing_is_known_yet(
    scene: Callable[..., Scene],
) -> None:
    """By a note, and not by a state: that is what it waits for before it takes requests."""
    (messages,) = greeting_of(scene(ONE).poller)
    assert isinstance(messages, Note)
    assert messages.state.problem == "the registry has not been asked yet"


def test_a_worker_that_joins_later_is_told_what_to_serve_and_then_how_things_are(serving: Any) -> None:
    serving.look(GONE)
    spec, state = greeting_of(serving.poller)
    assert spec == Serve("flowers", serving.audience.serving)
    assert state == Report("flowers", serving.audience.states[-1])


def test_a_worker_that_joins_while_there_is_no_model_is_told_why(scene: Callable[..., Scene]) -> None:
    made = scene(NOTHING)
    made.look()
    (state,) = greeting_of(made.poller)
    assert state == Report("flowers", State(str(NOTHING)))


def test_a_worker_that_joins_gets_a_copy_that_is_whole(serving: Any) -> None:
    serving.cache.forget(ONE)
    spec, _ = greeting_of(serving.poller)
    assert serving.cache.fetched == ["1", "1"]
    assert spec.spec.version.version == "1"


def test_a_worker_that_joins_is_sent_to_where_the_copy_is_now(serving: Scene, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    serving.cache.folder_of = lambda version: moved  # type: ignore[method-assign, unused-ignore]
    spec, _ = greeting_of(serving.poller)
    served = serving.poller.rollout.served
    assert served is not None
    assert (spec, served.folder, served.version) == (Serve("flowers", served), str(moved), ONE)


def test_a_worker_that_joins_when_the_copy_is_gone_and_cannot_be_fetched_is_told_so(
    serving: Any, caplog: pytest.LogCaptureFixture
) -> None:
    serving.cache.forget(ONE)
    serving.cache.broken.add(ONE)
    (state,) = greeting_of(serving.poller)
    problem = "a worker that has just started cannot serve: models:/flowers/1 could not be fetched: no route to host"
    assert state == Report("flowers", structs.replace(serving.audience.states[-1], problem=problem))
    assert caplog.messages == [problem]


def test_a_worker_that_joins_during_a_change_is_told_of_the_new_version(serving: Any) -> None:
    greetings: list[ToWorker] = []
    joining = threading.Thread(target=serving.poller.rollout.catch_up, args=(greetings.extend,))
    ask = serving.audience.ask

    def asking(question: Load | Serve, seconds: float) -> list[Answer]:
        if isinstance(question, Serve):
            joining.start()
        return ask(question, seconds)

    serving.audience.ask = asking
    serving.look(TWO)
    joining.join(30)
    assert greetings[0].spec.version.version == "2"


def test_the_alias_is_followed_while_the_copy_for_a_worker_that_joins_is_verified_or_fetched(serving: Any) -> None:
    """That may take minutes; the worker is then told of what is served by now."""
    folder_of, verifying, goes_on = serving.cache.folder_of, threading.Event(), threading.Event()

    def slow_folder_of(version: ModelVersion) -> Path:
        if version == ONE:
            verifying.set()
            assert goes_on.wait(30)
        return folder_of(version)

    serving.cache.folder_of = slow_folder_of
    with ThreadPoolExecutor(2) as threads:
        try:
            messages = threads.submit(greeting_of, serving.poller)
            assert verifying.wait(30)
            threads.submit(serving.look, TWO).result(10)
            assert (serving.version, messages.done()) == ("2", False)
        finally:
            goes_on.set()
        spec, state = messages.result(30)
    assert spec == Serve("flowers", serving.audience.serving)
    assert state == Report("flowers", serving.audience.states[-1])


def test_a_worker_that_joins_while_a_problem_is_told_misses_nothing(serving: Any) -> None:
    """The lock is what keeps a change between greeting and joining away: nothing is told while a worker is greeted."""
    held: list[bool] = []
    serving.audience.tell = lambda message: held.append(serving.poller.rollout._changing.locked())
    serving.look(GONE)
    assert held == [True]


def test_what_one_worker_has_refused_the_others_let_go_of(serving: Any) -> None:
    serving.audience.refused["2"] = "it does not reproduce its golden samples"
    serving.look(TWO)
    assert serving.audience.dropped == [2], "the second spec of this service"


def test_with_no_worker_to_load_it_a_version_is_not_taken_up(serving: Any) -> None:
    serving.audience.workers = 0
    serving.look(TWO)
    assert serving.audience.serving.version.version == "1"
    assert "no worker is there" in serving.audience.states[-1].problem


def test_workers_that_could_not_change_with_the_others_are_asked_again_now_and_then(serving: Any) -> None:
    serving.look(ONE)
    assert serving.audience.reminded == ["1"]
    serving.audience.behind = 1
    serving.look(ONE)
    serving.look(ONE)
    assert serving.audience.reminded == ["1", "1"], "not at each look"


# --- what a process did not survive --------------------------------------------------------------------------------


def deadly(scene: Scene, by: str) -> None:
    {"verifier": scene.deadly, "worker": scene.audience.deadly}[by].add("2")


def tries_of(scene: Scene) -> int:
    """Return how often version 2 was fetched to be tried."""
    return scene.cache.fetched.count("2")


@pytest.mark.parametrize("by", ["verifier", "worker"])
def test_a_version_that_a_process_did_not_survive_is_refused_and_left_alone_for_longer(serving: Any, by: str) -> None:
    deadly(serving, by)
    serving.look(TWO)
    assert serving.version == "1"
    reason = {"verifier": "the process that verifies it ended over it", "worker": "a worker ended"}[by]
    assert serving.problem == f"version 2 of flowers is refused: {reason}"
    serving.clock.now += FIRST_RETRY_AFTER_DEATH_SECONDS - 1
    serving.look()
    assert tries_of(serving) == 1
    serving.clock.now += 1
    serving.look()
    assert tries_of(serving) == 2
    serving.clock.now += FIRST_RETRY_AFTER_DEATH_SECONDS
    serving.look()
    assert tries_of(serving) == 2, "the next pause is longer"


@pytest.mark.parametrize("by", ["verifier", "worker"])
def test_a_start_does_not_try_again_at_once_what_a_process_did_not_survive(serving: Any, by: str) -> None:
    deadly(serving, by)
    serving.look(TWO)
    serving.start_again()
    serving.look()
    assert (serving.version, tries_of(serving)) == ("1", 1)
    assert "the service ended while version 2 of flowers was being tried" in serving.problem


def test_a_trial_is_over_before_anything_is_told_or_noted_of_it(serving: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trying: list[ModelVersion | None] = []

    def noting(does: Callable[..., object]) -> Callable[..., object]:
        return lambda *given: (trying.append(serving.trials.trying), does(*given))[1]

    monkeypatch.setattr(serving.cache, "remember", noting(serving.cache.remember))
    monkeypatch.setattr(serving.metrics, "report", noting(serving.metrics.report))
    serving.look(TWO)
    assert trying == [None, None]
    serving.cache.broken.add(THREE)
    serving.look(THREE)
    assert trying == [None, None, None]


def kill_while_trying(scene: Scene) -> None:
    scene.killing = TWO
    end, scene.trials.end = scene.trials.end, lambda survived=True: None
    with pytest.raises(Killed):
        scene.look(TWO)
    scene.trials.end, scene.killing = end, None


def test_a_version_that_ended_the_service_is_not_tried_in_a_loop_and_the_last_one_is_served_meanwhile(
    serving: Any,
) -> None:
    pauses = []
    for _ in range(4):
        kill_while_trying(serving)
        serving.start_again()
        serving.look()
        assert serving.version == "1"
        assert "the service ended while version 2 of flowers was being tried" in serving.problem
        pauses.append(serving.poller._backoff.failure.pause)
        serving.clock.now += pauses[-1]
    assert pauses == [5, 60, 120, 240], "once it may have been something else that ended the service"
    serving.look()
    assert (serving.version, serving.problem) == ("2", None)
    assert serving.trials.noted is None


def test_a_version_that_ended_the_service_is_tried_again_at_once_when_its_files_change(serving: Any) -> None:
    kill_while_trying(serving)
    serving.start_again()
    serving.look()
    serving.store.known_fingerprint = "mended"
    serving.look()
    assert (serving.version, serving.problem) == ("2", None)


def test_a_store_that_says_nothing_at_the_start_is_no_sign_of_a_mended_version(serving: Any) -> None:
    kill_while_trying(serving)
    serving.start_again()
    serving.look()
    serving.clock.now += FIRST_RETRY_SECONDS
    kill_while_trying(serving)
    serving.start_again()
    serving.store.known_fingerprint = None
    serving.look()
    serving.clock.now += FINGERPRINT_PAUSE_SECONDS
    serving.store.known_fingerprint = "as it came"
    serving.look()
    serving.look()
    assert serving.version == "1"


def test_a_service_that_ends_in_good_order_blames_no_version(serving: Any) -> None:
    serving.trials.begin(TWO)
    serving.poller.end()
    serving.start_again()
    serving.look(TWO)
    assert (serving.version, serving.problem) == ("2", None)


# --- what is lost --------------------------------------------------------------------------------------------------

GONE_FILES = "is served from the cache alone: its files are gone from the artifact store"


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_once(question: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(question())
        except Exception as error:
            future.set_exception(error)
        return future

    monkeypatch.setattr(loss_check, "aside", at_once)


@pytest.fixture
def losing(_at_once: None, serving: Any) -> Any:
    """A service whose files in the store are looked for when the test says that it is time."""
    serving.store.losses_asked.clear()
    return serving


def later(scene: Scene) -> None:
    scene.clock.now += loss_check.EVERY_SECONDS * (1 + loss_check.JITTER)
    scene.look()


def test_files_of_the_served_version_that_are_gone_are_told_and_told_once(
    losing: Any, caplog: pytest.LogCaptureFixture
) -> None:
    losing.store.lost = GONE_FILES
    later(losing)
    words = f"version 1 {GONE_FILES}"
    assert (losing.version, losing.problem, losing.metrics.problem) == ("1", words, words)
    later(losing)
    losing.look()
    assert caplog.text.count(words) == 1
    assert losing.store.losses_asked == [("1", ["MLmodel", "input_example.json"])] * 2


def test_a_loss_is_over_when_the_files_are_back(losing: Any) -> None:
    losing.store.lost = GONE_FILES
    later(losing)
    losing.store.lost = None
    later(losing)
    assert losing.problem is None


def test_what_is_back_is_not_told_as_gone_for_much_longer(losing: Any) -> None:
    losing.store.lost = GONE_FILES
    later(losing)
    losing.store.lost = None
    losing.clock.now += loss_check.GONE_SECONDS * (1 + loss_check.JITTER)
    losing.look()
    assert losing.problem is None


def test_a_store_that_does_not_answer_says_neither_that_files_are_gone_nor_that_they_are_back(losing: Any) -> None:
    losing.store.lost = FetchFailed("the artifact store answers 500")
    later(losing)
    assert losing.problem is None
    losing.store.lost = GONE_FILES
    later(losing)
    losing.store.lost = FetchFailed("the artifact store answers 500")
    later(losing)
    assert GONE_FILES in losing.problem


def test_a_loss_is_told_beside_what_else_is_wrong(losing: Any) -> None:
    losing.store.lost = GONE_FILES
    later(losing)
    losing.look(GONE)
    assert losing.problem == f"{GONE}; version 1 {GONE_FILES}"


def test_a_loss_is_that_of_the_version_that_is_served(losing: Any) -> None:
    losing.store.lost = GONE_FILES
    later(losing)
    losing.store.lost = None
    losing.look(TWO)
    assert (losing.version, losing.problem) == ("2", None)


def test_a_fault_in_looking_for_losses_ends_nothing(losing: Any, caplog: pytest.LogCaptureFixture) -> None:
    losing.store.lost = ZeroDivisionError("a bug")
    later(losing)
    losing.look(TWO)
    assert (losing.version, losing.problem) == ("2", None)
    assert "ZeroDivisionError" in caplog.text


def test_a_store_that_hangs_is_not_waited_for(serving: Any) -> None:
    hangs = threading.Event()
    serving.store.loss = lambda version, files: hangs.wait(30) and None
    try:
        later(serving)
        later(serving)
        serving.look(TWO)
        assert (serving.version, serving.problem) == ("2", None)
    finally:
        hangs.set()


# --- what is going on ----------------------------------------------------------------------------------------------


def test_while_nothing_is_served_what_is_going_on_is_told(scene: Callable[..., Scene]) -> None:
    made = scene(ONE)
    made.look()
    made.look(TWO)
    assert made.audience.notes == ["version 1 of flowers is being fetched and checked"]


def test_a_worker_that_joins_meanwhile_is_told_the_same(scene: Callable[..., Scene]) -> None:
    made = scene(ONE)
    greetings = []
    folder_of = made.cache.folder_of
    made.cache.folder_of = lambda version: greetings.append(greeting_of(made.poller)) or folder_of(version)
    made.look()
    ((messages,),) = greetings
    assert isinstance(messages, Note)
    assert messages.state.problem == "version 1 of flowers is being fetched and checked"
    assert messages.state.under_way is not None
    assert messages.state.under_way.version == "1"


def test_which_version_is_on_its_way_and_since_when_is_told_while_another_one_is_served(serving: Scene) -> None:
    told: list[State] = []
    folder_of = serving.cache.folder_of

    def fetch(version: ModelVersion) -> Path:
        if version == TWO:
            told.append(serving.audience.states[-1])
            told.extend(message.state for message in greeting_of(serving.poller) if isinstance(message, Report))
        return folder_of(version)

    serving.cache.folder_of = fetch  # type: ignore[method-assign, unused-ignore]
    serving.look(TWO)
    assert [(state.problem, state.under_way and state.under_way.version) for state in told] == [(None, "2")] * 2
    assert told[0].version == ONE
    assert told[0].under_way is not None
    assert datetime.fromisoformat(told[0].under_way.since) <= datetime.now(UTC)
    assert (serving.version, serving.audience.states[-1].under_way) == ("2", None)


def test_what_failed_is_not_under_way_any_more(serving: Scene) -> None:
    serving.cache.broken.add(TWO)
    serving.look(TWO)
    assert (serving.version, serving.audience.states[-1].under_way) == ("1", None)
    assert "2" in [state.under_way.version for state in serving.audience.states if state.under_way]


@pytest.mark.parametrize("kind", [ModelRefused, FetchFailed, RuntimeError])
def test_of_an_error_of_several_lines_the_first_is_the_problem(serving: Scene, kind: type[Exception]) -> None:
    def fails(version: ModelVersion) -> Path:
        raise kind("the artifact URI is not valid. Perhaps you forgot to\n1. …\n2. set the tracking URI")

    serving.cache.folder_of = fails  # type: ignore[method-assign, unused-ignore]
    serving.look(TWO)
    assert serving.problem is not None
    assert serving.problem.endswith("the artifact URI is not valid. Perhaps you forgot to")


def test_a_problem_is_short_whatever_is_in_it_and_has_nothing_that_a_terminal_obeys(serving: Any) -> None:
    serving.unsigned["2"] = "\x1b[2J\u202e" + "x" * 100_000
    serving.look(TWO)
    assert len(serving.problem) < 1100
    assert serving.problem.isprintable()


# --- again and again -----------------------------------------------------------------------------------------------


class Enough(Exception):
    """Ends what would go on for ever."""


def test_following_looks_again_and_again_a_little_earlier_or_later_each_time(scene: Callable[..., Scene]) -> None:
    made = scene(ONE)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        made.registry.answer = TWO
        if len(pauses) == 20:
            raise Enough

    with pytest.raises(Enough):
        made.poller.follow(10.0, pause)
    assert made.version == "2"
    assert len(set(pauses)) > 1
    assert all(8.5 <= seconds <= 11.5 for seconds in pauses)
