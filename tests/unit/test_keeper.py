"""Following the alias, and going on with what is served when anything fails: with a fake registry, cache and loader."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from inference.errors import FetchFailed, InferenceError, ModelRefused, NoModel, RegistryUnreachable
from inference.keeper import ModelKeeper
from inference.registry import ModelVersion

ONE, TWO, THREE = (ModelVersion("flowers", number, f"run-{number}", int(number), f"m-{number}", "") for number in "123")


class FakeRegistry:
    """Answers with a version, or with an error."""

    def __init__(self, answer: ModelVersion | Exception) -> None:
        self.answer = answer

    def current(self) -> ModelVersion:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class FakeCache:
    """Holds what was fetched; `broken` versions cannot be fetched."""

    def __init__(self, *held: ModelVersion) -> None:
        self.held = set(held)
        self.last = held[-1] if held else None
        self.fetched: list[ModelVersion] = []
        self.broken: set[ModelVersion] = set()
        self.full = False

    def folder_of(self, version: ModelVersion) -> Path:
        if version not in self.held:
            if version in self.broken:
                raise FetchFailed(f"{version.uri} could not be fetched: no route to host")
            self.fetched.append(version)
            self.held.add(version)
        return Path(version.version)

    @contextmanager
    def reading(self, version: ModelVersion) -> Iterator[Path]:
        yield self.folder_of(version)

    def forget(self, version: ModelVersion) -> None:
        self.held.discard(version)

    def remember(self, version: ModelVersion) -> None:
        if self.full:
            raise FetchFailed("the model cache cannot be used: No space left on device")
        self.last = version

    def last_served(self) -> ModelVersion | None:
        return self.last if self.last in self.held else None


class FakeLoader:
    """Makes a model, which is its version's number, of a folder; refuses those of `refused`."""

    def __init__(self) -> None:
        self.refused: dict[str, InferenceError] = {}
        self.loaded: list[str] = []

    def __call__(self, folder: Path, version: ModelVersion) -> str:
        self.loaded.append(folder.name)
        if folder.name in self.refused:
            raise self.refused[folder.name]
        return f"model {folder.name}"


class Service:
    """A keeper among fakes."""

    def __init__(self, answer: ModelVersion | Exception, *held: ModelVersion) -> None:
        self.registry, self.cache, self.load = FakeRegistry(answer), FakeCache(*held), FakeLoader()
        self.announced: list[str] = []
        self.keeper = ModelKeeper(
            self.registry, self.cache, self.load, lambda served: self.announced.append(served.version.version)
        )

    def look(self, answer: ModelVersion | Exception | None = None) -> None:
        if answer is not None:
            self.registry.answer = answer
        self.keeper.look()

    @property
    def version(self) -> ModelVersion | None:
        return self.keeper.served and self.keeper.served.version

    def refuse(self, version: ModelVersion, reason: str = "it is stored as cloudpickle") -> None:
        self.load.refused[version.version] = ModelRefused(reason)


@pytest.fixture
def serving():
    """A service that serves version 1."""
    service = Service(ONE)
    service.look()
    return service


GONE = RegistryUnreachable("MLflow does not answer")
NOTHING = NoModel("no version has the alias")


def test_before_the_first_look_nothing_is_served_and_that_is_said():
    keeper = Service(ONE).keeper
    assert keeper.served is None
    assert keeper.problem == "the registry has not been asked yet"


def test_the_version_behind_the_alias_is_served_and_announced(serving):
    assert serving.version == ONE
    assert serving.keeper.served.model == "model 1"
    assert serving.keeper.problem is None
    assert serving.announced == ["1"]


def test_a_version_that_is_served_is_remembered_for_a_start_without_the_registry(serving):
    assert serving.cache.last_served() == ONE


def test_while_the_alias_stays_nothing_is_loaded_again(serving):
    since = serving.keeper.served
    serving.look()
    assert serving.keeper.served is since
    assert serving.load.loaded == ["1"]
    assert serving.announced == ["1"]


def test_a_new_version_is_taken_up_and_the_old_one_again_after_a_rollback(serving):
    serving.look(TWO)
    assert serving.version == TWO
    assert serving.keeper.served.model == "model 2"
    serving.look(ONE)
    assert serving.version == ONE
    assert serving.announced == ["1", "2", "1"]


def test_a_version_of_the_same_number_in_a_new_registry_is_another_version(serving):
    anew = ModelVersion("flowers", "1", "run-of-the-new-one", 99, "m-9", "")
    serving.look(anew)
    assert serving.version == anew


@pytest.mark.parametrize("answer", [GONE, NOTHING])
def test_serving_goes_on_when_the_registry_has_no_answer(serving, answer):
    serving.look(answer)
    assert serving.version == ONE
    assert serving.keeper.problem == str(answer)


@pytest.mark.parametrize("answer", [GONE, NOTHING])
def test_the_problem_is_over_when_the_registry_names_the_served_version_again(serving, answer):
    serving.look(answer)
    serving.look(ONE)
    assert serving.keeper.problem is None
    assert serving.load.loaded == ["1"]


def test_serving_goes_on_while_a_version_cannot_be_fetched_which_is_tried_again(serving):
    serving.cache.broken.add(TWO)
    serving.look(TWO)
    assert serving.version == ONE
    assert "could not be fetched: no route to host" in serving.keeper.problem
    serving.cache.broken.clear()
    serving.look()
    assert serving.version == TWO
    assert serving.keeper.problem is None


def test_serving_goes_on_when_a_version_is_refused_and_the_reason_is_said(serving):
    serving.refuse(TWO)
    serving.look(TWO)
    assert serving.version == ONE
    assert serving.keeper.problem == "version 2 of flowers is refused: it is stored as cloudpickle"


def test_a_refused_version_is_not_tried_again_while_the_alias_stays(serving):
    serving.refuse(TWO)
    serving.look(TWO)
    tried = len(serving.load.loaded)
    serving.look()
    serving.look()
    assert len(serving.load.loaded) == tried


def test_a_refusal_is_still_the_problem_after_the_registry_was_away(serving):
    serving.refuse(TWO)
    serving.look(TWO)
    serving.look(GONE)
    assert serving.keeper.problem == str(GONE)
    serving.look(TWO)
    assert "version 2 of flowers is refused" in serving.keeper.problem


@pytest.mark.parametrize("between", [ONE, THREE, NOTHING])
def test_a_refused_version_is_tried_again_once_the_alias_has_moved_and_come_back(serving, between):
    serving.refuse(TWO)
    serving.look(TWO)
    serving.look(between)
    serving.look(TWO)
    assert "version 2 of flowers is refused" in serving.keeper.problem
    serving.load.refused.clear()
    serving.look(between)
    serving.look(TWO)
    assert serving.version == TWO
    assert serving.keeper.problem is None


def test_after_a_refused_version_the_next_one_is_taken_up(serving):
    serving.refuse(TWO)
    serving.look(TWO)
    serving.look(THREE)
    assert serving.version == THREE
    assert serving.keeper.problem is None


def test_a_copy_that_was_damaged_in_the_cache_is_fetched_once_more():
    service = Service(ONE, ONE)

    def load(folder: Path, version: ModelVersion) -> str:
        if ONE not in service.cache.fetched:
            raise ModelRefused("its file model.skops cannot be loaded")
        return "model 1"

    keeper = ModelKeeper(service.registry, service.cache, load, lambda served: None)
    keeper.look()
    assert keeper.served.version == ONE
    assert service.cache.fetched == [ONE]


def test_a_cache_that_cannot_be_written_keeps_no_version_from_being_served(serving, caplog):
    serving.look(TWO)
    serving.cache.full = True
    serving.look(ONE)
    assert serving.version == ONE
    assert serving.keeper.problem is None
    assert "No space left on device" in caplog.text


def test_with_the_registry_gone_at_the_start_the_last_version_is_served_from_the_cache():
    service = Service(GONE, ONE)
    service.look()
    assert service.version == ONE
    assert service.keeper.problem == str(GONE)
    assert service.cache.fetched == []


def test_a_version_from_the_cache_is_no_longer_stale_when_the_registry_is_back_with_it():
    service = Service(GONE, ONE)
    service.look()
    service.look(ONE)
    assert service.version == ONE
    assert service.keeper.problem is None
    assert service.load.loaded == ["1"]


def test_a_version_from_the_cache_gives_way_to_the_one_that_the_registry_names():
    service = Service(GONE, ONE)
    service.look()
    service.look(TWO)
    assert service.version == TWO
    assert service.keeper.problem is None


def test_where_the_registry_says_that_there_is_no_model_the_cached_one_is_not_served():
    service = Service(NOTHING, ONE)
    service.look()
    assert service.keeper.served is None
    assert service.keeper.problem == str(NOTHING)


def test_with_the_registry_gone_and_an_empty_cache_the_service_waits():
    service = Service(GONE)
    service.look()
    assert service.keeper.served is None
    assert service.keeper.problem == str(GONE)
    service.look(ONE)
    assert service.version == ONE


def test_with_the_registry_gone_a_cached_version_that_is_unusable_is_not_served():
    service = Service(GONE, ONE)
    service.refuse(ONE)
    service.look()
    assert service.keeper.served is None
    assert service.keeper.problem == str(GONE)


def test_a_first_version_that_is_refused_leaves_the_service_waiting_with_the_reason():
    service = Service(ONE)
    service.refuse(ONE, "it has no signature")
    service.look()
    assert service.keeper.served is None
    assert service.keeper.problem == "version 1 of flowers is refused: it has no signature"


def test_a_fault_that_nobody_foresaw_ends_neither_the_serving_nor_the_following(serving, caplog):
    serving.look(ZeroDivisionError("a bug"))
    assert serving.version == ONE
    assert "the log has the details" in serving.keeper.problem
    assert "ZeroDivisionError" in caplog.text
    serving.look(TWO)
    assert serving.version == TWO
    assert serving.keeper.problem is None


def test_a_problem_that_lasts_is_logged_once(serving, caplog):
    for _ in range(3):
        serving.look(GONE)
    assert caplog.text.count(str(GONE)) == 1


def test_following_has_looked_once_before_it_returns_and_then_takes_up_what_comes():
    service = Service(ONE)
    taken_up = threading.Event()
    keeper = ModelKeeper(
        service.registry,
        service.cache,
        service.load,
        lambda served: taken_up.set() if served.version == TWO else None,
    )
    keeper.follow(0.05)
    assert keeper.served.version == ONE
    service.registry.answer = TWO
    assert taken_up.wait(30)
    assert keeper.served.version == TWO
