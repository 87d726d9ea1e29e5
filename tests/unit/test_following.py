"""The follower as the settings make it, on a registry of SQLite tables: what it fetches, checks and announces."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from inference.channel import Offer
from inference.following import follower_of
from inference.settings import Settings
from inference.trust import Trust

from tests.unit.version_files import Files

TABLES = """
CREATE TABLE registered_model_aliases (name TEXT, alias TEXT, version INTEGER);
CREATE TABLE model_versions (name TEXT, version INTEGER, run_id TEXT, creation_time INTEGER, source TEXT,
                             storage_location TEXT, description TEXT);
CREATE TABLE model_version_tags (name TEXT, version INTEGER, key TEXT, value TEXT);
CREATE TABLE latest_metrics (run_uuid TEXT, key TEXT, value REAL, is_nan BOOLEAN);
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
        self.write("INSERT INTO latest_metrics VALUES (?, 'test_accuracy', 0.9, 0)", f"run-{version}")

    def point(self, version: int) -> None:
        self.write("DELETE FROM registered_model_aliases")
        self.write("INSERT INTO registered_model_aliases VALUES ('flowers', 'Production', ?)", version)


class Workers:
    """Two workers that do what they are told."""

    def __init__(self) -> None:
        self.offers: list[dict[str, Any]] = []
        self.states: list[dict[str, Any]] = []

    def ask(self, what: str, offer: Offer, seconds: float) -> list[dict[str, Any]]:
        if what == "load":
            return [{"loaded": offer.id}, {"loaded": offer.id}]
        self.offers.append(offer.as_dict())
        return [{"serving": offer.id, "at": 1_000_000}, {"serving": offer.id, "at": 3_500_000}]

    def remind(self, offer: Offer) -> int:
        return 0

    def tell(self, message: dict[str, Any]) -> None:
        self.states.append(message["state"])


@pytest.fixture
def registry(tmp_path):
    registry = Registry(tmp_path)
    for version in (7, 8):
        registry.log(version)
    registry.point(7)
    return registry


@pytest.fixture
def settings(tmp_path, registry):
    return Settings(
        tracking_uri=f"sqlite:///{registry.file}",
        model_name="flowers",
        trust=Trust.SKOPS,
        cache_dir=tmp_path / "cache",
        run_dir=tmp_path / "run",
        public_url="http://localhost:8080",
        mlflow_public_url="http://localhost:5000",
    )


def following(settings: Settings):
    follower, workers = follower_of(settings), Workers()
    follower.audience = workers
    return follower, workers


@pytest.fixture(autouse=True)
def log(caplog):
    caplog.set_level("INFO", "inference")
    return caplog


def lines(log) -> list[str]:
    return [message for message in log.messages if message.startswith("Ready: ")]


def test_a_version_is_fetched_from_where_its_registry_says_and_offered(settings):
    follower, workers = following(settings)
    follower.look()
    (offer,) = workers.offers
    assert Path(offer["folder"]).is_relative_to(settings.cache_dir)
    assert (Path(offer["folder"]) / "MLmodel").is_file()
    assert offer["metrics"] == {"test_accuracy": 0.9}
    assert offer["version"]["description"] == "a decision"


def test_the_line_names_the_version_and_both_addresses(settings, log):
    following(settings)[0].look()
    assert lines(log) == [
        "Ready: flowers version 7 is served. Predictions, and a page to try them: http://localhost:8080. "
        "MLflow UI: http://localhost:5000."
    ]


def test_the_line_says_how_many_workers_changed_and_within_which_time(settings, log):
    following(settings)[0].look()
    (record,) = [record for record in log.records if record.getMessage().startswith("Ready: ")]
    assert record.fields == {"version": "7", "workers": 2, "window_ms": 2.5}


def test_without_an_mlflow_ui_none_is_named(settings, log, tmp_path):
    plain = Settings(
        tracking_uri=settings.tracking_uri, model_name="flowers", trust=Trust.SKOPS, cache_dir=tmp_path / "cache"
    )
    following(plain)[0].look()
    assert lines(log)
    assert "MLflow UI" not in log.text


def test_each_version_that_is_taken_up_is_announced_once_a_rollback_too(settings, registry, log):
    follower, _ = following(settings)
    for version in (7, 7, 8, 7):
        registry.point(version)
        follower.look()
    assert [line.split()[3] for line in lines(log)] == ["7", "8", "7"]


def test_an_unsigned_version_is_refused_where_signatures_are_asked_for(settings, tmp_path):
    strict = Settings(tracking_uri=settings.tracking_uri, model_name="flowers", cache_dir=tmp_path / "cache")
    follower, workers = following(strict)
    follower.look()
    assert workers.offers == []
    assert "version 7 of flowers is refused: it is not signed; `docker compose run trainer adopt 7`" in str(
        workers.states[-1]["problem"]
    )


def test_with_the_registry_gone_the_next_start_serves_the_last_version(settings, registry):
    following(settings)[0].look()
    registry.file.unlink()
    follower, workers = following(settings)
    follower.look()
    assert [offer["version"]["version"] for offer in workers.offers] == ["7"]
    assert "mlflow.db cannot be read" in workers.states[-1]["problem"]
