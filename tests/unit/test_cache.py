"""The versions' files on disk. What fetches them runs for real, on a made-up `mlflow` that takes them from a folder."""

import json
import os
from pathlib import Path

import pytest
from inference.cache import ModelCache
from inference.errors import FetchFailed
from inference.registry import ModelVersion

SERVICES = Path(__file__).parents[2] / "services"
ONE, TWO, THREE = (
    ModelVersion("flowers", number, f"run-{number}", 1000 + int(number), f"m-{number}", "") for number in "123"
)

# Copies models:/NAME/VERSION out of $STORE, file by file, and fails where a file is called "broken".
FAKE_MLFLOW = """
import os, pathlib, sys

def download_artifacts(artifact_uri, dst_path):
    store = pathlib.Path(os.environ["STORE"])
    with open(store / "fetched", "a") as note:
        note.write(f"{artifact_uri} from {os.environ['MLFLOW_TRACKING_URI']}\\n")
    for file in sorted((store / artifact_uri.removeprefix("models:/")).iterdir()):
        if file.name == "broken":
            sys.exit("Traceback (most recent call last):\\n  ...\\nOSError: connection reset by peer")
        pathlib.Path(dst_path, file.name).write_bytes(file.read_bytes())
"""


class Store:
    """Where the made-up MLflow finds the versions' files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, version: ModelVersion, *files: str) -> None:
        folder = self.folder / version.name / version.version
        folder.mkdir(parents=True, exist_ok=True)
        for name in files:
            (folder / name).write_text(f"{name} of version {version.version}")

    @property
    def fetched(self) -> list[str]:
        note = self.folder / "fetched"
        return note.read_text().splitlines() if note.exists() else []


@pytest.fixture
def store(tmp_path, monkeypatch):
    package = tmp_path / "packages" / "mlflow"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "artifacts.py").write_text(FAKE_MLFLOW)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(package.parent), str(SERVICES)]))
    store = Store(tmp_path / "store")
    monkeypatch.setenv("STORE", str(store.folder))
    for version in (ONE, TWO, THREE):
        store.put(version, "MLmodel", "model.skops")
    return store


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def cache(folder, store):
    return cache_in(folder)


def cache_in(folder: Path, alias: str = "Production") -> ModelCache:
    return ModelCache(folder, "http://mlflow:5000", "flowers", alias)


def serve(cache: ModelCache, version: ModelVersion) -> Path:
    """Do what a service does with a version that it takes up."""
    folder = cache.folder_of(version)
    cache.remember(version)
    return folder


def test_a_version_is_fetched_whole_from_the_tracking_server(cache, store):
    folder = cache.folder_of(ONE)
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "MLmodel": "MLmodel of version 1",
        "model.skops": "model.skops of version 1",
    }
    assert store.fetched == ["models:/flowers/1 from http://mlflow:5000"]


def test_a_version_that_is_there_is_not_fetched_again(cache, folder, store):
    cache.folder_of(ONE)
    cache.folder_of(ONE)
    cache_in(folder).folder_of(ONE)
    assert len(store.fetched) == 1


def test_a_version_of_the_same_number_in_a_new_registry_is_fetched_anew(cache, store):
    cache.folder_of(ONE)
    cache.folder_of(ModelVersion("flowers", "1", "another run", 2000, "m-9", ""))
    assert len(store.fetched) == 2


def test_a_fetch_that_breaks_off_is_told_in_its_last_words(cache, store):
    store.put(ONE, "broken")
    with pytest.raises(FetchFailed) as failed:
        cache.folder_of(ONE)
    assert str(failed.value) == "models:/flowers/1 could not be fetched: OSError: connection reset by peer"


def test_half_a_version_does_not_count_as_fetched(cache, store):
    store.put(ONE, "broken")
    with pytest.raises(FetchFailed):
        cache.folder_of(ONE)
    (store.folder / "flowers" / "1" / "broken").unlink()
    assert {path.name for path in cache.folder_of(ONE).iterdir()} == {"MLmodel", "model.skops"}


def test_what_broken_off_fetches_left_behind_is_cleared_away(cache, folder, store):
    store.put(ONE, "broken")
    for _ in range(2):
        with pytest.raises(FetchFailed):
            cache.folder_of(ONE)
    cache.folder_of(TWO)
    assert [path.name for path in (folder / "flowers").iterdir() if path.is_dir()] == ["2-1002"]


def test_a_forgotten_version_is_fetched_again(cache, store):
    damaged = cache.folder_of(ONE) / "model.skops"
    damaged.write_text("damaged")
    cache.forget(ONE)
    cache.folder_of(ONE)
    assert damaged.read_text() == "model.skops of version 1"


def test_the_version_served_last_is_there_at_the_next_start(cache, folder, store):
    serve(cache, ONE)
    serve(cache, TWO)
    assert cache_in(folder).last_served() == TWO
    cache_in(folder).folder_of(TWO)
    assert len(store.fetched) == 2


def test_each_alias_has_a_last_version_of_its_own(cache, folder):
    serve(cache, ONE)
    assert cache_in(folder, "Staging").last_served() is None
    serve(cache_in(folder, "Staging"), TWO)
    assert cache_in(folder).last_served() == ONE


def test_a_version_that_was_fetched_but_never_served_is_not_the_last_one(cache):
    cache.folder_of(ONE)
    assert cache.last_served() is None


def test_an_empty_cache_has_no_last_version(cache):
    assert cache.last_served() is None


def test_a_last_version_without_its_files_is_none(cache):
    serve(cache, ONE)
    cache.forget(ONE)
    assert cache.last_served() is None


@pytest.mark.parametrize(
    "garbage", [b"", b"{", b"\xff\xfe", b"[]", b"null", b"1", b'"text"', b'{"name": "flowers"}', b'{"colour": "red"}']
)
def test_garbage_in_the_note_of_the_last_version_is_no_last_version(cache, folder, garbage):
    serve(cache, ONE)
    note = folder / "flowers" / "Production.json"
    assert json.loads(note.read_text())["version"] == "1"
    note.write_bytes(garbage)
    assert cache.last_served() is None
    serve(cache, ONE)
    assert cache.last_served() == ONE


def test_the_served_version_and_the_one_before_it_are_kept(cache, store):
    kept = [serve(cache, version) for version in (ONE, TWO, THREE)]
    assert [folder.is_dir() for folder in kept] == [False, True, True]
    serve(cache, TWO)
    assert len(store.fetched) == 3


def test_after_a_rollback_the_version_that_was_rolled_back_is_kept(cache):
    one, two = serve(cache, ONE), serve(cache, TWO)
    serve(cache, ONE)
    three = serve(cache, THREE)
    assert [folder.is_dir() for folder in (one, two, three)] == [True, False, True]


def test_half_a_version_takes_no_place_among_those_that_are_kept(cache, folder):
    one = serve(cache, ONE)
    (folder / "flowers" / "partial-of-a-fetch-that-was-killed").mkdir()
    two = serve(cache, TWO)
    (folder / "flowers" / "partial-of-another").mkdir()
    serve(cache, TWO)
    assert (one.is_dir(), two.is_dir()) == (True, True)


def test_a_place_that_cannot_be_a_cache_is_named(tmp_path, store):
    (tmp_path / "file").touch()
    with pytest.raises(FetchFailed, match=r"the model cache .*file/flowers cannot be used: "):
        cache_in(tmp_path / "file").folder_of(ONE)
