"""What is left of other models in the cache goes a month after nobody serves them any more, and never what somebody serves."""

import fcntl
import os
import time
from pathlib import Path

import pytest
from inference.rollout.other_models import KEPT_DAYS, OtherModels


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    for name in ("flowers", "old%20name"):
        (tmp_path / name / "contents" / "abc").mkdir(parents=True)
        (tmp_path / name / "contents" / "abc" / "MLmodel").write_text("a model")
    return tmp_path


def pass_days(cache: Path, days: float) -> None:
    """Have all that was noted in the cache been noted so many days earlier."""
    for mark in cache.glob(".*.served"):
        found = mark.stat().st_mtime - days * 86_400
        os.utime(mark, (found, found))


def end(service: OtherModels) -> None:
    """Do what the end of its process does."""
    assert service._mark is not None
    os.close(service._mark)
    service._mark = None


def models(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir() if path.is_dir()}


def test_a_model_that_nobody_serves_any_more_goes_after_a_month_and_not_before(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    mine = OtherModels(cache, "flowers")
    mine.let_go()  # which notes that nobody serves it
    pass_days(cache, KEPT_DAYS - 1)
    mine.let_go()
    assert models(cache) == {"flowers", "old%20name"}
    pass_days(cache, 2)
    mine.let_go()
    assert models(cache) == {"flowers"}
    assert caplog.messages == ["the cache lets go of the model old name, which no service has served for 30 days"]


def test_how_long_a_service_has_served_the_model_before_does_not_count(cache: Path) -> None:
    before = OtherModels(cache, "old name")
    pass_days(cache, 10 * KEPT_DAYS)
    end(before)
    OtherModels(cache, "flowers").let_go()
    assert models(cache) == {"flowers", "old%20name"}


def test_what_another_service_serves_from_the_same_cache_stays_for_ever(cache: Path) -> None:
    mine = OtherModels(cache, "flowers")
    mine.let_go()
    theirs = [OtherModels(cache, "old name") for _ in range(2)]  # replicas
    pass_days(cache, 10 * KEPT_DAYS)
    for _ in range(2):
        mine.let_go()
        theirs[0].let_go()
    end(theirs.pop())
    pass_days(cache, 10 * KEPT_DAYS)
    mine.let_go()
    assert models(cache) == {"flowers", "old%20name"}


def test_a_service_whose_mark_could_not_be_made_makes_it_at_a_later_look(cache: Path) -> None:
    with open(cache / ".old%20name.served", "w") as looked_at:
        fcntl.flock(looked_at, fcntl.LOCK_EX)
        theirs = OtherModels(cache, "old name")
    mine = OtherModels(cache, "flowers")
    theirs.hold()
    mine.let_go()
    pass_days(cache, 10 * KEPT_DAYS)
    mine.let_go()
    assert models(cache) == {"flowers", "old%20name"}


def test_a_model_that_is_served_again_has_its_month_anew(cache: Path) -> None:
    mine = OtherModels(cache, "flowers")
    mine.let_go()
    pass_days(cache, 10 * KEPT_DAYS)
    end(OtherModels(cache, "old name"))
    mine.let_go()
    assert models(cache) == {"flowers", "old%20name"}


def test_what_is_no_model_stays(cache: Path) -> None:
    (cache / "lost+found").mkdir()
    (cache / "notes.txt").write_text("of somebody's")
    mine = OtherModels(cache, "flowers")
    for _ in range(2):
        mine.let_go()
        pass_days(cache, 10 * KEPT_DAYS)
    assert models(cache) == {"flowers", "lost+found"}
    assert (cache / "notes.txt").exists()


def test_a_link_in_the_place_of_a_mark_or_a_model_leads_nowhere(
    cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "contents").mkdir()
    (elsewhere / "file").write_text("of somebody's")
    (cache / ".old%20name.served").symlink_to(elsewhere / "file")
    (cache / "linked").symlink_to(elsewhere)
    mine = OtherModels(cache, "flowers")
    for _ in range(3):
        mine.let_go()
        pass_days(cache, 10 * KEPT_DAYS)
    assert (elsewhere / "file").read_text() == "of somebody's"
    assert (elsewhere / "contents").is_dir()
    assert "old%20name" in models(cache)


def test_a_cache_that_cannot_be_written_stops_nobody_and_is_held_once_it_can_be(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.write_text("a file in its place")
    mine = OtherModels(folder, "flowers")
    mine.let_go()
    assert folder.read_text() == "a file in its place"
    folder.unlink()
    mine.let_go()
    with (folder / ".flowers.served").open() as mark, pytest.raises(BlockingIOError):
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_time_counts_from_when_nobody_was_found(cache: Path) -> None:
    OtherModels(cache, "flowers").let_go()
    (noted,) = (mark.stat().st_mtime for mark in cache.glob(".old*.served"))
    assert noted == pytest.approx(time.time(), abs=10)
