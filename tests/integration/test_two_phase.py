"""The poller as the settings make it, on a registry of SQLite tables: what it fetches, checks and announces."""

import hashlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from contract.mlmodel import manifest
from contract.mlmodel.manifest import Description, with_examples
from contract.version_files import VersionFiles
from inference import wiring as module
from inference.errors import FetchFailed
from inference.ipc.messages import DeploymentSpec, Load, Loaded, Report, Serve, Serving, State, ToWorker
from inference.ipc.server import Answer
from inference.model.version import ModelVersion
from inference.rollout.polling.registry_poller import RegistryPoller
from inference.settings import Settings
from inference.trust import Trust
from inference.verification.client import Verifier
from inference.wiring import poller_of, verifier_of

from tests.unit.version_files import Files

TABLES = """
CREATE TABLE registered_model_aliases (name TEXT, alias TEXT, version INTEGER);
CREATE TABLE model_versions (name TEXT, version INTEGER, run_id TEXT, creation_time INTEGER, source TEXT,
                             storage_location TEXT, description TEXT);
CREATE TABLE model_version_tags (name TEXT, version INTEGER, key TEXT, value TEXT);
CREATE TABLE latest_metrics (run_uuid TEXT, key TEXT, value REAL, is_nan BOOLEAN);
CREATE TABLE runs (run_uuid TEXT, lifecycle_stage TEXT);
CREATE TABLE logged_models (model_id TEXT, lifecycle_stage TEXT);
"""


class Registry:
    """MLflow's tables with versions of `flowers`, and their files."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "mlflow.db"
        self._folder = folder
        with closing(sqlite3.connect(self.file)) as database:
            database.executescript(TABLES)

    def write(self, statement: str, *values: Any) -> None:
        with closing(sqlite3.connect(self.file)) as database, database:
            database.execute(statement, values)

    def log(self, version: int) -> None:
        folder = self._folder / f"version-{version}"
        folder.mkdir()
        Files(folder)
        self.write(
            "INSERT INTO model_versions VALUES ('flowers', ?, ?, ?, ?, ?, 'a decision')",
            version,
            f"run-{version}",
            version,
            f"models:/m-{version}",
            str(folder),
        )
        self.write("INSERT INTO runs VALUES (?, 'active')", f"run-{version}")
        self.write("INSERT INTO logged_models VALUES (?, 'active')", f"m-{version}")
        self.write("INSERT INTO latest_metrics VALUES (?, 'test_accuracy', 0.9, 0)", f"run-{version}")

    def point(self, version: int) -> None:
        self.write("DELETE FROM registered_model_aliases")
        self.write("INSERT INTO registered_model_aliases VALUES ('flowers', 'Production', ?)", version)


class Workers:
    """Two workers that do what they are told."""

    def __init__(self) -> None:
        self.specs: list[DeploymentSpec] = []
        self.states: list[State] = []

    def ask(self, question: Load | Serve, seconds: float) -> list[Answer]:
        name, id = question.deployment, question.spec.id
        if isinstance(question, Load):
            return [Loaded(name, id), Loaded(name, id)]
        self.specs.append(question.spec)
        return [Serving(name, id, 1_000_000), Serving(name, id, 3_500_000)]

    def remind(self, question: Serve) -> int:
        return 0

    def tell(self, message: ToWorker) -> None:
        if isinstance(message, Report):
            self.states.append(message.state)


@pytest.fixture
def registry(tmp_path: Path) -> Any:
    registry = Registry(tmp_path)
    for version in (7, 8):
        registry.log(version)
    registry.point(7)
    return registry


@pytest.fixture
def settings(tmp_path: Path, registry: Any) -> Settings:
    return Settings(
        tracking_uri=f"sqlite:///{registry.file}",
        model_name="flowers",
        trust=Trust.SKOPS,
        cache_dir=tmp_path / "cache",
        run_dir=tmp_path / "run",
        public_url="http://localhost:8080",
        mlflow_public_url="http://localhost:5000",
    )


@pytest.fixture(scope="module")
def lenient() -> Iterator[Verifier]:
    """A process that asks for no signatures, for all tests: each start takes a third of a second."""
    verifier = Verifier(None)
    yield verifier
    verifier.end()


@pytest.fixture
def following(lenient: Verifier) -> Iterator[Callable[[Settings], tuple[RegistryPoller, Workers]]]:
    """Return what starts a poller; the process that verifies for it ends with the test."""
    with ExitStack() as ends:

        def start(settings: Settings) -> tuple[RegistryPoller, Workers]:
            verifier = lenient
            if settings.trust is Trust.SIGNED:
                verifier = verifier_of(settings)
                ends.callback(verifier.end)
            workers = Workers()
            return poller_of(settings, verifier, workers), workers

        yield start


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level("INFO", "inference")
    return caplog


def lines(log: Any) -> list[str]:
    return [message for message in log.messages if message.startswith("Ready: ")]


def test_a_version_is_fetched_from_where_its_registry_says_and_offered(
    following: Callable[[Settings], tuple[RegistryPoller, Workers]], settings: Settings
) -> None:
    poller, workers = following(settings)
    poller.look()
    (spec,) = workers.specs
    assert Path(spec.folder).is_relative_to(settings.cache_dir)
    assert (Path(spec.folder) / "MLmodel").is_file()
    assert spec.metrics == {"test_accuracy": 0.9}
    assert spec.version.description == "a decision"


def test_the_line_names_the_version_and_both_addresses(
    following: Callable[[Settings], tuple[RegistryPoller, Workers]], settings: Settings, log: Any
) -> None:
    following(settings)[0].look()
    assert lines(log) == [
        "Ready: flowers version 7 is served. Predictions, and a page to try them: http://localhost:8080. "
        "MLflow UI: http://localhost:5000."
    ]


def test_the_line_says_how_many_workers_changed_and_within_which_time(
    following: Callable[[Settings], tuple[RegistryPoller, Workers]], settings: Settings, log: Any
) -> None:
    following(settings)[0].look()
    (record,) = [record for record in log.records if record.getMessage().startswith("Ready: ")]
    assert record.fields == {"version": "7", "workers": 2, "window_ms": 2.5}


def test_without_an_mlflow_ui_none_is_named(
    following: Callable[[Settings], tuple[RegistryPoller, Workers]], settings: Settings, log: Any, tmp_path: Path
) -> None:
    plain = Settings(
        tracking_uri=settings.tracking_uri, model_name="flowers", trust=Trust.SKOPS, cache_dir=tmp_path / "cache"
    )
    following(plain)[0].look()
    assert lines(log)
    assert "MLflow UI" not in log.text


def test_each_version_that_is_taken_up_is_announced_once_a_rollback_too(
    following: Callable[[Settings], tuple[RegistryPoller, Workers]], settings: Settings, registry: Any, log: Any
) -> None:
    poller, _ = following(settings)
    for version in (7, 7, 8, 7):
        registry.point(version)
        poller.look()
    assert [line.split()[3] for line in lines(log)] == ["7", "8", "7"]


def test_an_unsigned_version_is_refused_where_signatures_are_asked_for(
    following: Callable[[Settings], tuple[RegistryPoller, Workers]], settings: Settings, tmp_path: Path
) -> None:
    strict = Settings(tracking_uri=settings.tracking_uri, model_name="flowers", cache_dir=tmp_path / "cache")
    poller, workers = following(strict)
    poller.look()
    assert workers.specs == []
    assert "version 7 of flowers is refused: it is not signed; `docker compose run trainer adopt 7`" in str(
        workers.states[-1].problem
    )


def test_with_the_registry_gone_the_next_start_serves_the_last_version(
    following: Callable[[Settings], tuple[RegistryPoller, Workers]], settings: Settings, registry: Any
) -> None:
    following(settings)[0].look()
    registry.file.unlink()
    poller, workers = following(settings)
    poller.look()
    assert [spec.version.version for spec in workers.specs] == ["7"]
    assert "mlflow.db cannot be read" in workers.states[-1].problem


def test_a_spec_says_what_each_file_is(
    following: Callable[[Settings], tuple[RegistryPoller, Workers]], settings: Settings
) -> None:
    poller, workers = following(settings)
    poller.look()
    (spec,) = workers.specs
    content = (Path(spec.folder) / "MLmodel").read_bytes()
    assert spec.files["MLmodel"] == hashlib.sha256(content).hexdigest()
    assert set(spec.files) == {"MLmodel", "input_example.json"}


def test_a_spec_says_what_was_read_in_its_files_when_they_were_verified(
    following: Callable[..., Any], settings: Settings
) -> None:
    poller, workers = following(settings)
    poller.look()
    (spec,) = workers.specs
    files = VersionFiles(Path(spec.folder), spec.files)
    assert with_examples(Description.of_json(spec.description), files) == manifest.read(files)


def test_tags_and_description_are_those_that_the_contract_names_and_cut(
    following: Callable[[Settings], tuple[RegistryPoller, Workers]], settings: Settings, registry: Any
) -> None:
    for name, text in [
        ("stage", "x" * 5000),
        ("rule", "\x1b[2Jbetter"),
        *((f"tag {n}", "y" * 5000) for n in range(50)),
    ]:
        registry.write("INSERT INTO model_version_tags VALUES ('flowers', 7, ?, ?)", name, text)
    registry.write("UPDATE model_versions SET description = ?", "z" * 1_000_000)
    poller, workers = following(settings)
    poller.look()
    version = workers.specs[0].version
    assert version.tags == {"stage": "x" * 500 + "…", "rule": "\\x1b[2Jbetter"}
    assert len(version.description) == 4001


def loss_told(poller: RegistryPoller, workers: Workers) -> str | None:
    """Look for what is lost, and return what was told."""
    losses = poller._status._losses  # type: ignore[attr-defined]
    for _ in range(2):  # what was asked before is not about how things are now
        if losses._asked is not None:
            losses._asked.exception(30)
        losses._due = float("-inf")
        poller.look()
    if losses._asked is not None:
        losses._asked.exception(30)
        poller.look()
    return workers.states[-1].problem


def test_files_that_are_gone_from_where_they_were_fetched_are_told(
    following: Callable[[Settings], tuple[RegistryPoller, Workers]], settings: Settings, tmp_path: Path
) -> None:
    poller, workers = following(settings)
    assert loss_told(poller, workers) is None
    (tmp_path / "version-7").rename(tmp_path / "elsewhere")
    assert loss_told(poller, workers) == (
        "version 7 is served from the cache alone: its files are gone from the artifact store"
    )
    (tmp_path / "elsewhere").rename(tmp_path / "version-7")
    assert loss_told(poller, workers) is None


@pytest.mark.parametrize(("table", "words"), [("runs", "its run run-7"), ("logged_models", "its logged model m-7")])
def test_what_somebody_has_deleted_of_it_is_told_until_it_is_restored(
    following: Callable[[Settings], tuple[RegistryPoller, Workers]],
    settings: Settings,
    registry: Any,
    table: str,
    words: str,
) -> None:
    poller, workers = following(settings)
    registry.write(f"UPDATE {table} SET lifecycle_stage = 'deleted'")  # noqa: S608 - a name of our own
    assert f"version 7 is served, and {words} is deleted in MLflow" in (loss_told(poller, workers) or "")
    registry.write(f"UPDATE {table} SET lifecycle_stage = 'active'")  # noqa: S608
    assert loss_told(poller, workers) is None


def test_a_version_that_is_gone_from_the_registry_is_told_though_the_alias_is_elsewhere(
    following: Callable[[Settings], tuple[RegistryPoller, Workers]], settings: Settings, registry: Any
) -> None:
    poller, workers = following(settings)
    poller.look()
    registry.point(8)
    registry.write("UPDATE model_versions SET storage_location = '/nothing' WHERE version = 8")
    registry.write("DELETE FROM model_versions WHERE version = 7")
    told = loss_told(poller, workers)
    assert "models:/flowers/8 could not be fetched" in told
    assert told.endswith("version 7 is served from the cache alone: it is gone from the registry")


def test_a_version_that_ended_a_process_is_noted_in_the_cache_for_the_next_start(
    following: Callable[[Settings], tuple[RegistryPoller, Workers]], settings: Settings, registry: Any
) -> None:
    poller, _ = following(settings)
    poller.look()
    registry.point(8)
    poller._deployer._trials.begin(ModelVersion("flowers", "8", "run-8", 8, "m-8", ""))
    poller._deployer._trials._note.close()  # type: ignore[attr-defined]  # as the end of the process does
    poller, workers = following(settings)
    poller.look()
    assert [spec.version.version for spec in workers.specs] == ["7"]
    assert "the service ended while version 8 of flowers was being tried" in workers.states[-1].problem


def test_where_nothing_is_behind_the_alias_any_more_the_next_start_serves_the_last_version(
    following: Callable[[Settings], tuple[RegistryPoller, Workers]], settings: Settings, registry: Any
) -> None:
    following(settings)[0].look()
    registry.write("DELETE FROM registered_model_aliases")
    poller, workers = following(settings)
    poller.look()
    assert [spec.version.version for spec in workers.specs] == ["7"]
    assert "no version of 'flowers' has the alias 'Production' any more" in workers.states[-1].problem


def test_a_registry_that_hangs_is_not_waited_for_while_a_version_is_fetched(
    following: Callable[[Settings], tuple[RegistryPoller, Workers]],
    settings: Settings,
    registry: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    never, asked = threading.Event(), []

    def location(*_: object) -> str:
        asked.append(1)
        if len(asked) == 1:
            never.wait(30)
        raise FetchFailed("it is asked only once how the files look")

    monkeypatch.setattr(module, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr("inference.rollout.registry.EmbeddedRegistry.location", location)
    poller, workers = following(settings)
    poller.look()
    never.set()
    assert workers.states[-1].problem == "models:/flowers/7 could not be found: MLflow does not answer within 0 s"


def test_a_registry_that_hangs_lets_go_of_nothing_that_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.2)
    hanging = SimpleNamespace(current=lambda: never.wait(30))
    assert module.is_behind_the_alias(hanging, ModelVersion("flowers", "7", "run", 1, "m-7", ""))
    never.set()
