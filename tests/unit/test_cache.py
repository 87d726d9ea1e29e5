"""The versions' files on disk: whole or not at all, the same content once, and enough to start with everything else gone."""

import errno
import fcntl
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import inf, isnan, nan
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from inference.errors import FetchFailed
from inference.model.version import ModelVersion
from inference.rollout import model_cache as caching
from inference.rollout.model_cache import MOST_FALLBACK_BYTES, NOTES_KEPT, ModelCache, digest_of

ONE, TWO, THREE = (
    ModelVersion("flowers", number, f"run-{number}", 1000 + int(number), f"m-{number}", "") for number in "123"
)
METRICS = {"test_accuracy": 0.9}


class Store:
    """Where versions are fetched from: the text of each file; `broken` versions stop after their first one."""

    def __init__(self) -> None:
        self.files = {
            version: {"MLmodel": f"version {version.version}", "data/model.skops": f"estimator {version.version}"}
            for version in (ONE, TWO, THREE)
        }
        self.broken: set[ModelVersion] = set()
        self.errors: Iterator[OSError] = iter(())
        self.fetched: list[str] = []
        self.most: list[int | None] = []

    def fetch(self, version: ModelVersion, folder: Path, most: int | None) -> None:
        assert list(folder.iterdir()) == []
        self.fetched.append(version.version)
        self.most.append(most)
        if error := next(self.errors, None):
            raise error
        for name, text in self.files[version].items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
            if version in self.broken:
                raise FetchFailed(f"{version.uri} could not be fetched: connection reset by peer")


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def new_cache(tmp_path: Path, folder: Path, store: Store) -> Callable[..., Any]:
    """Return what makes a cache, as another start or another replica has it."""

    def made(alias: str = "Production", folder: Path = folder) -> ModelCache:
        return ModelCache(folder, tmp_path / "fallback", "flowers", alias, store.fetch)

    return made


@pytest.fixture
def cache(new_cache: Callable[..., Any]) -> ModelCache:
    return new_cache()


def serve(cache: ModelCache, version: ModelVersion) -> Path:
    """Do what a service does with a version that it takes up."""
    folder = cache.folder_of(version)
    cache.remember(version, METRICS)
    return folder


def texts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


# --- fetching ------------------------------------------------------------------------------------------------------


def test_a_version_is_fetched_whole(cache: ModelCache, store: Store) -> None:
    assert texts(cache.folder_of(ONE)) == store.files[ONE]


def test_a_version_that_is_there_is_not_fetched_again(
    cache: ModelCache, new_cache: Callable[..., Any], store: Store
) -> None:
    assert cache.folder_of(ONE) == cache.folder_of(ONE) == new_cache().folder_of(ONE)
    assert store.fetched == ["1"]


def test_versions_with_the_same_files_share_them(cache: ModelCache, store: Store) -> None:
    store.files[TWO] = store.files[ONE]
    assert cache.folder_of(ONE) == cache.folder_of(TWO)


@pytest.mark.parametrize(
    "other",
    [
        ModelVersion("flowers", "1", "another run", 2000, "m-9", ""),
        ModelVersion("flowers", "1", "run-1", 1001, "m-1", "another key"),
    ],
    ids=["of a new registry", "signed again"],
)
def test_a_version_of_the_same_number_that_is_another_one_is_fetched_anew(
    cache: ModelCache, store: Store, other: ModelVersion
) -> None:
    store.files[other] = {"MLmodel": "another"}
    cache.folder_of(ONE)
    assert texts(cache.folder_of(other)) == {"MLmodel": "another"}


def test_a_fetch_that_breaks_off_is_told_in_its_own_words(cache: ModelCache, store: Store) -> None:
    store.broken.add(ONE)
    with pytest.raises(FetchFailed, match="models:/flowers/1 could not be fetched: connection reset by peer"):
        cache.folder_of(ONE)


def test_half_a_version_does_not_count_as_fetched(cache: ModelCache, store: Store) -> None:
    store.broken.add(ONE)
    with pytest.raises(FetchFailed):
        cache.folder_of(ONE)
    store.broken.clear()
    assert texts(cache.folder_of(ONE)) == store.files[ONE]


def test_what_killed_fetches_left_behind_is_cleared_away(cache: ModelCache, folder: Path) -> None:
    cache.folder_of(ONE)
    leftover = folder / "flowers" / "contents" / "partial-of-a-fetch-that-was-killed"
    leftover.mkdir()
    cache.folder_of(TWO)
    assert not leftover.exists()


def test_a_forgotten_version_is_fetched_again(cache: ModelCache, store: Store) -> None:
    cache.folder_of(ONE)
    cache.forget(ONE)
    cache.folder_of(ONE)
    assert store.fetched == ["1", "1"]


def test_to_forget_what_was_never_there_changes_nothing(cache: ModelCache, store: Store) -> None:
    cache.folder_of(TWO)
    cache.forget(ONE)
    assert texts(cache.folder_of(TWO)) == store.files[TWO]
    assert store.fetched == ["2"]


def test_replicas_that_share_a_cache_fetch_a_version_once(new_cache: Callable[..., Any], store: Store) -> None:
    both = threading.Barrier(2, timeout=30)

    def start(_: int) -> Path:
        both.wait()
        return new_cache().folder_of(ONE)

    with ThreadPoolExecutor(2) as replicas:
        first, second = replicas.map(start, range(2))
    assert first == second
    assert texts(first) == store.files[ONE]
    assert store.fetched == ["1"]


def test_a_version_on_its_way_keeps_nobody_waiting_who_wants_another_one(
    new_cache: Callable[..., Any], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A challenger that is large, say, and a rollback of Production meanwhile."""
    monkeypatch.setattr(caching, "LOCK_SECONDS", 0.0)
    on_its_way, may_arrive = threading.Event(), threading.Event()
    fetch = store.fetch

    def slow(version: ModelVersion, folder: Path, most: int | None) -> None:
        fetch(version, folder, most)
        if version == ONE:
            on_its_way.set()
            assert may_arrive.wait(30)

    monkeypatch.setattr(store, "fetch", slow)
    with ThreadPoolExecutor(1) as challenger:
        one = challenger.submit(new_cache("challenger").folder_of, ONE)
        assert on_its_way.wait(30)
        cache = new_cache()
        try:
            assert texts(serve(cache, TWO)) == store.files[TWO]
            assert cache.last_served() == (TWO, METRICS)
            with pytest.raises(FetchFailed, match="it may be fetching a large version"):
                cache.folder_of(ONE)
        finally:
            may_arrive.set()
        assert texts(one.result(30)) == store.files[ONE]
    assert store.fetched == ["1", "2"]


# --- damage --------------------------------------------------------------------------------------------------------


def cut(folder: Path) -> None:
    (folder / "MLmodel").write_text("ver")


def change(folder: Path) -> None:
    (folder / "data/model.skops").write_text("estimator 6")


def add(folder: Path) -> None:
    (folder / "more").touch()


def remove(folder: Path) -> None:
    (folder / "MLmodel").unlink()


def rename(folder: Path) -> None:
    (folder / "MLmodel").rename(folder / "mlmodel")


def vanish(folder: Path) -> None:
    shutil.rmtree(folder)


@pytest.mark.parametrize("damage", [cut, change, add, remove, rename, vanish])
def test_a_copy_that_is_not_as_it_came_is_fetched_again(
    cache: ModelCache, new_cache: Callable[..., Any], store: Store, damage: Callable[..., Any]
) -> None:
    damage(serve(cache, ONE))
    assert new_cache().last_served() is None
    assert texts(new_cache().folder_of(ONE)) == store.files[ONE]
    assert store.fetched == ["1", "1"]


def test_damage_in_the_cache_is_told(cache: ModelCache, caplog: pytest.LogCaptureFixture) -> None:
    cut(cache.folder_of(ONE))
    cache.folder_of(ONE)
    assert "the copy of version 1 in the cache is damaged; it is fetched again" in caplog.text


GARBAGE = [
    b"",
    b"{",
    b"\xff\xfe",
    b"[]",
    b"null",
    b"1",
    b'"text"',
    b'{"name": "flowers"}',
    b'{"colour": "red"}',
    b'{"digest": "../.."}',
    b"[" * 100_000,
    b" " * (1 << 20) + b"{}",
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: repr(garbage[:20]))
def test_garbage_in_the_note_of_the_last_version_is_no_last_version(
    cache: ModelCache, folder: Path, garbage: bytes
) -> None:
    serve(cache, ONE)
    note = folder / "flowers" / "Production.json"
    assert json.loads(note.read_text())["version"]["version"] == "1"
    note.write_bytes(garbage)
    assert cache.last_served() is None
    serve(cache, ONE)
    assert cache.last_served() == (ONE, METRICS)


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: repr(garbage[:20]))
def test_garbage_in_the_note_of_a_version_is_as_if_there_were_none(
    cache: ModelCache, folder: Path, store: Store, garbage: bytes
) -> None:
    serve(cache, ONE)
    (note,) = (folder / "flowers" / "versions").iterdir()
    note.write_bytes(garbage)
    serve(cache, TWO)
    assert texts(cache.folder_of(ONE)) == store.files[ONE]
    three = serve(cache, THREE)
    assert texts(three) == store.files[THREE]
    assert len(list((folder / "flowers" / "contents").iterdir())) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"name": 3},
        {"created_ms": "soon"},
        {"created_ms": True},
        {"created_ms": 1.5},
        {"tags": {"stage": []}},
        {"tags": 3},
        {"description": ["x"]},
    ],
)
def test_a_note_whose_version_is_none_is_no_last_version(
    cache: ModelCache, folder: Path, change: dict[Any, Any]
) -> None:
    serve(cache, ONE)
    note = folder / "flowers" / "Production.json"
    content = json.loads(note.read_text())
    content["version"] |= change
    note.write_text(json.dumps(content))
    assert cache.last_served() is None


@pytest.mark.parametrize("metrics", [{"r2": "0.5"}, {"r2": None}, [0.5]])
def test_a_note_whose_metrics_are_none_is_no_last_version(
    cache: ModelCache, folder: Path, metrics: dict[Any, Any] | list[float]
) -> None:
    serve(cache, ONE)
    note = folder / "flowers" / "Production.json"
    note.write_text(json.dumps(json.loads(note.read_text()) | {"metrics": metrics}))
    assert cache.last_served() is None


def test_a_metric_that_is_no_number_is_remembered_as_one(cache: ModelCache) -> None:
    cache.folder_of(ONE)
    cache.remember(ONE, {"r2": nan, "loss": inf})
    _, metrics = cache.last_served()  # type: ignore[misc]
    assert isnan(metrics["r2"])
    assert metrics["loss"] == inf


# --- the version that was served last ------------------------------------------------------------------------------


def test_the_version_served_last_is_there_at_the_next_start(
    cache: ModelCache, new_cache: Callable[..., Any], store: Store
) -> None:
    serve(cache, ONE)
    serve(cache, TWO)
    assert new_cache().last_served() == (TWO, METRICS)
    new_cache().folder_of(TWO)
    assert store.fetched == ["1", "2"]


def test_what_is_known_of_the_last_version_comes_with_it(cache: ModelCache, new_cache: Callable[..., Any]) -> None:
    version = ModelVersion("flowers", "1", "run-1", 1001, "m-1", "", "what it is", {"stage": "Production"})
    serve(cache, version)
    found, _ = new_cache().last_served()
    assert (found.description, found.tags) == ("what it is", {"stage": "Production"})


def test_each_alias_has_a_last_version_of_its_own(cache: ModelCache, new_cache: Callable[..., Any]) -> None:
    serve(cache, ONE)
    assert new_cache("Staging").last_served() is None
    serve(new_cache("Staging"), TWO)
    assert cache.last_served() == (ONE, METRICS)


def test_a_version_that_was_fetched_but_never_served_is_not_the_last_one(cache: ModelCache) -> None:
    cache.folder_of(ONE)
    assert cache.last_served() is None


def test_an_empty_cache_has_no_last_version(cache: ModelCache) -> None:
    assert cache.last_served() is None


def test_a_last_version_without_its_files_is_none(cache: ModelCache) -> None:
    serve(cache, ONE)
    cache.forget(ONE)
    assert cache.last_served() is None


# --- what is kept --------------------------------------------------------------------------------------------------


def test_the_served_version_and_the_one_before_it_are_kept(cache: ModelCache, store: Store) -> None:
    kept = [serve(cache, version) for version in (ONE, TWO, THREE)]
    assert [folder.is_dir() for folder in kept] == [False, True, True]
    serve(cache, TWO)
    assert len(store.fetched) == 3


def test_after_a_rollback_the_version_that_was_rolled_back_is_kept(cache: ModelCache) -> None:
    one, two = serve(cache, ONE), serve(cache, TWO)
    serve(cache, ONE)
    three = serve(cache, THREE)
    assert [folder.is_dir() for folder in (one, two, three)] == [True, False, True]


def test_no_note_is_kept_of_files_that_are_gone(cache: ModelCache, folder: Path) -> None:
    for version in (ONE, TWO, THREE):
        serve(cache, version)
    assert len(list((folder / "flowers" / "versions").iterdir())) == 2


def test_half_a_version_takes_no_place_among_those_that_are_kept(cache: ModelCache, folder: Path) -> None:
    one = serve(cache, ONE)
    (folder / "flowers" / "contents" / "partial-of-a-fetch-that-was-killed").mkdir()
    two = serve(cache, TWO)
    (folder / "flowers" / "contents" / "partial-of-another").mkdir()
    serve(cache, TWO)
    assert (one.is_dir(), two.is_dir()) == (True, True)


# --- no room -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_place_that_takes_nothing_is_made_up_for_and_told(
    cache: ModelCache, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture, error: int
) -> None:
    store.errors = iter([OSError(error, os.strerror(error))])
    kept = cache.folder_of(ONE)
    assert kept.is_relative_to(tmp_path / "fallback")
    assert texts(kept) == store.files[ONE]
    said = f"cache/flowers cannot be used: {os.strerror(error)}; version 1 is kept until the service ends"
    assert said in caplog.text
    assert cache.folder_of(ONE) == kept
    assert store.fetched == ["1", "1"]


def test_what_is_made_up_for_is_bounded(cache: ModelCache, store: Store) -> None:
    store.errors = full()
    cache.folder_of(ONE)
    assert store.most == [None, MOST_FALLBACK_BYTES]


def test_a_file_in_place_of_the_cache_is_made_up_for(
    new_cache: Callable[..., Any], store: Store, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    kept = new_cache(folder=tmp_path / "file").folder_of(ONE)
    assert kept.is_relative_to(tmp_path / "fallback")
    assert store.most == [MOST_FALLBACK_BYTES]


def test_any_other_fault_of_the_cache_is_told_and_not_made_up_for(cache: ModelCache, store: Store) -> None:
    store.errors = iter([OSError(errno.EIO, os.strerror(errno.EIO))])
    with pytest.raises(FetchFailed, match=r"the model cache .*flowers cannot be used: Input/output error"):
        cache.folder_of(ONE)
    assert store.fetched == ["1"]


def test_a_version_that_finds_no_room_in_the_cache_is_kept_elsewhere(
    cache: ModelCache, store: Store, tmp_path: Path
) -> None:
    store.errors = iter([OSError(errno.ENOSPC, "No space left on device")])
    kept = cache.folder_of(ONE)
    assert kept.is_relative_to(tmp_path / "fallback")
    assert texts(kept) == store.files[ONE]


def test_with_no_room_anywhere_the_version_and_the_reason_are_named(cache: ModelCache, store: Store) -> None:
    store.errors = (OSError(errno.ENOSPC, "No space left on device") for _ in range(2))
    with pytest.raises(FetchFailed, match="there is no room for models:/flowers/1: No space left on device"):
        cache.folder_of(ONE)


def test_what_cannot_be_remembered_is_told_with_the_place(new_cache: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = new_cache(folder=tmp_path / "file")
    with pytest.raises(FetchFailed, match=r"the model cache .*file/flowers cannot be used: Not a directory"):
        cache.remember(ONE, METRICS)


def made_up_for(tmp_path: Path) -> list[str]:
    """Return which contents are in the fallback."""
    return [path.name for path in (tmp_path / "fallback" / "flowers" / "contents").iterdir()]


@pytest.mark.usefixtures("room")
def test_a_fallback_keeps_what_is_served_and_nothing_else(cache: ModelCache, store: Store, tmp_path: Path) -> None:
    for version in (ONE, TWO, THREE):
        store.errors = full()
        kept = cache.folder_of(version)
        with pytest.raises(FetchFailed):
            cache.remember(version, METRICS)
    assert made_up_for(tmp_path) == [kept.name]


@pytest.mark.usefixtures("room")
def test_what_was_never_served_does_not_add_up_in_the_fallback(cache: ModelCache, store: Store, tmp_path: Path) -> None:
    serve(cache, ONE)
    for version in (TWO, THREE):
        store.errors = full()
        kept = cache.folder_of(version)
    assert made_up_for(tmp_path) == [kept.name]


@pytest.mark.usefixtures("room")
def test_a_fallback_is_empty_when_the_version_in_the_cache_is_served_again(
    cache: ModelCache, store: Store, tmp_path: Path
) -> None:
    serve(cache, ONE)
    store.errors = full()
    cache.folder_of(TWO)
    with pytest.raises(FetchFailed):
        cache.remember(TWO, METRICS)
    serve(cache, ONE)
    assert made_up_for(tmp_path) == []


# --- room again ----------------------------------------------------------------------------------------------------


def full(seconds: int = 1) -> Iterator[OSError]:
    return iter([OSError(errno.ENOSPC, "No space left on device")] * seconds)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What is left of the disk of the cache, for a test to set."""
    left = SimpleNamespace(free=0)
    monkeypatch.setattr(caching.shutil, "disk_usage", lambda _: left)  # type: ignore[attr-defined]
    return left


@pytest.mark.usefixtures("room")
def test_the_note_of_the_last_version_is_not_replaced_by_one_whose_files_are_not_in_the_cache(
    cache: ModelCache, new_cache: Callable[..., Any], store: Store
) -> None:
    serve(cache, ONE)
    store.errors = full()
    cache.folder_of(TWO)
    with pytest.raises(FetchFailed, match="cannot be used: No space left on device"):
        cache.remember(TWO, METRICS)
    assert new_cache().last_served() == (ONE, METRICS)
    assert texts(new_cache().folder_of(ONE)) == store.files[ONE]


def test_files_that_had_no_room_move_in_when_there_is_room_again(
    cache: ModelCache, new_cache: Callable[..., Any], store: Store, room: SimpleNamespace, folder: Path, tmp_path: Path
) -> None:
    serve(cache, ONE)
    store.errors = full()
    cache.folder_of(TWO)
    room.free = 1 << 30
    cache.remember(TWO, METRICS)
    assert new_cache().last_served() == (TWO, METRICS)
    assert cache.folder_of(TWO).is_relative_to(folder)
    assert texts(cache.folder_of(TWO)) == store.files[TWO]
    assert list((tmp_path / "fallback" / "flowers" / "contents").iterdir()) == []
    assert store.fetched == ["1", "2", "2"], "once without room, once to where there was some, and not again"


@pytest.mark.usefixtures("room")
def test_the_last_version_is_kept_whatever_is_served_without_room_for_it(
    cache: ModelCache, new_cache: Callable[..., Any], store: Store
) -> None:
    serve(cache, ONE)
    for version in (TWO, THREE):
        store.errors = full()
        cache.folder_of(version)
        with pytest.raises(FetchFailed):
            cache.remember(version, METRICS)
    cache.folder_of(TWO)
    assert new_cache().last_served() == (ONE, METRICS)


def test_what_another_alias_served_last_is_kept(cache: ModelCache, new_cache: Callable[..., Any]) -> None:
    one = serve(new_cache("Staging"), ONE)
    for version in (TWO, THREE, TWO):
        serve(cache, version)
    assert one.is_dir()


def test_a_version_that_was_never_served_leaves_nothing_when_it_is_forgotten(cache: ModelCache, folder: Path) -> None:
    serve(cache, ONE)
    two = cache.folder_of(TWO)
    cache.forget(TWO)
    assert not two.exists()
    assert cache.last_served() == (ONE, METRICS)


def test_files_that_another_version_has_as_well_are_kept_when_one_is_forgotten(cache: ModelCache, store: Store) -> None:
    store.files[TWO] = store.files[ONE]
    one = serve(cache, ONE)
    cache.folder_of(TWO)
    cache.forget(TWO)
    assert one.is_dir()


def test_a_content_with_a_link_in_it_is_damaged(cache: ModelCache, store: Store, tmp_path: Path) -> None:
    content = serve(cache, ONE)
    (tmp_path / "elsewhere").write_text((content / "MLmodel").read_text())
    (content / "MLmodel").unlink()
    (content / "MLmodel").symlink_to(tmp_path / "elsewhere")
    cache.folder_of(ONE)
    assert store.fetched == ["1", "1"]


def test_a_version_that_is_forgotten_leaves_nothing_though_its_note_is_gone(cache: ModelCache, folder: Path) -> None:
    serve(cache, ONE)
    two = cache.folder_of(TWO)
    for note in (folder / "flowers" / "versions").iterdir():
        note.unlink()
    cache.forget(TWO)
    assert not two.exists()


# --- names that others choose --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x" * 300, "ü" * 500, "../../../etc", "\0", "a/b"])
def test_a_version_may_be_said_to_be_signed_with_anything(
    cache: ModelCache, folder: Path, store: Store, name: str
) -> None:
    """The tag is anybody's who reaches MLflow's port, and part of what a version is known by."""
    version = replace(ONE, signed_by=name)
    store.files[version] = store.files[ONE]
    kept = serve(cache, version)
    assert kept.is_relative_to(folder)
    assert cache.folder_of(version) == kept
    assert store.fetched == ["1"]


def test_a_content_whose_note_cannot_be_written_does_not_stay(
    cache: ModelCache, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, content: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(caching, "write_note", write)
    with pytest.raises(FetchFailed, match="cannot be used: Input/output error"):
        cache.folder_of(ONE)
    assert list((folder / "flowers" / "contents").iterdir()) == []


def test_notes_of_an_earlier_release_and_drafts_are_cleared_away(cache: ModelCache, folder: Path) -> None:
    content = serve(cache, ONE)
    versions = folder / "flowers" / "versions"
    (versions / "1-1001-.json").write_text(json.dumps({"digest": content.name}))
    (versions / "1-1001-.draft-17").touch()
    (folder / "flowers" / "Production.draft-17").touch()
    serve(cache, ONE)
    assert len(list(versions.iterdir())) == 1
    assert not list(folder.rglob("*draft*"))


def test_a_version_that_is_said_to_be_signed_otherwise_again_and_again_leaves_few_notes(
    cache: ModelCache, folder: Path, store: Store
) -> None:
    for key in range(NOTES_KEPT + 5):
        version = replace(ONE, signed_by=f"key {key}")
        store.files[version] = store.files[ONE]
        serve(cache, version)
    assert len(list((folder / "flowers" / "versions").iterdir())) == NOTES_KEPT
    assert cache.last_served() == (version, METRICS)


# --- others who write here -----------------------------------------------------------------------------------------


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


@pytest.mark.parametrize("instead", [pipe, link])
def test_what_is_no_file_in_place_of_a_note_is_no_note_and_nobody_waits_for_it(
    cache: ModelCache, folder: Path, store: Store, instead: Callable[..., Any]
) -> None:
    serve(cache, ONE)
    instead(folder / "flowers" / "Production.json")
    assert cache.last_served() is None
    (note,) = (folder / "flowers" / "versions").iterdir()
    instead(note)
    assert texts(serve(cache, ONE)) == store.files[ONE]
    assert cache.last_served() == (ONE, METRICS)


@pytest.mark.parametrize("instead", [pipe, link])
def test_what_is_no_file_in_place_of_the_lock_is_told_and_nothing_is_written_through_it(
    cache: ModelCache, folder: Path, instead: Callable[..., Any]
) -> None:
    serve(cache, ONE)
    lock = folder / "flowers" / ".lock"
    lock.write_text("somebody's")
    instead(lock)
    with pytest.raises(FetchFailed, match="cannot be used"):
        cache.remember(ONE, METRICS)
    assert instead is pipe or lock.read_text() == "somebody's"


def test_a_lock_that_is_held_for_ever_is_told_and_not_made_up_for(
    cache: ModelCache, folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(cache, ONE)
    monkeypatch.setattr(caching, "LOCK_SECONDS", 0.0)
    with open(folder / "flowers" / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for use in (lambda: cache.folder_of(TWO), lambda: cache.remember(ONE, {})):
            with pytest.raises(
                FetchFailed, match=r"cannot be used: another process has kept its lock .*/\.lock for 0 s$"
            ):
                use()
        assert cache.last_served() == (ONE, METRICS)
        cache.forget(ONE)
    assert store.fetched == ["1"]


# --- what a content is known by ------------------------------------------------------------------------------------


def test_a_digest_tells_names_contents_and_places_apart(tmp_path: Path) -> None:
    digests = set()
    for number, files in enumerate(
        [{}, {"a": ""}, {"b": ""}, {"a": "x"}, {"a/b": "x"}, {"a": "x", "b": ""}, {"a": "", "b": "x"}]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, text in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        digests.add(digest_of(folder))
    assert len(digests) == 7


def test_what_is_not_there_has_no_digest(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        digest_of(tmp_path / "nothing")
