"""The note of the version that is being tried: there when the service ended meanwhile, gone when it was survived."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inference.model.version import ModelVersion
from inference.rollout.polling.trials import Trials

ONE, TWO = (ModelVersion("flowers", number, f"run-{number}", int(number), f"m-{number}", "") for number in "12")


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Any]:
    """Return what starts a service: what reads the note, and writes it."""
    return lambda folder=tmp_path, alias="Production": Trials(folder, "flowers", alias)


def killed(trials: Trials) -> None:
    """Do what the kernel does with the files of a process that it ends."""
    trials._note.close()


def test_what_was_being_tried_when_a_service_was_killed_is_found_by_the_next_one(start: Callable[..., Any]) -> None:
    first = start()
    first.begin(ONE)
    killed(first)
    assert start().left_behind() == (ONE, 1)


def test_it_is_counted_how_many_times_in_a_row_that_was(start: Callable[..., Any]) -> None:
    for times in (1, 2, 3):
        trials = start()
        trials.left_behind()
        trials.begin(ONE)
        killed(trials)
        assert start().left_behind() == (ONE, times)
    trials = start()
    trials.left_behind()
    trials.begin(TWO)
    killed(trials)
    assert start().left_behind() == (TWO, 1)


def test_what_is_no_file_in_place_of_the_note_is_none_and_nobody_waits_for_it(start: Callable[..., Any]) -> None:
    trials = start()
    trials._path.parent.mkdir(parents=True)
    os.mkfifo(trials._path)
    assert trials.left_behind() is None
    trials.begin(ONE)
    trials.end()


def test_what_was_survived_is_not_found(start: Callable[..., Any]) -> None:
    trials = start()
    trials.begin(ONE)
    trials.end()
    assert start().left_behind() is None


def test_what_a_process_did_not_survive_is_found_though_the_service_ended_in_good_order(
    start: Callable[..., Any],
) -> None:
    trials = start()
    trials.begin(ONE)
    trials.end(survived=False)
    trials.end()
    assert start().left_behind() == (ONE, 1)


def test_what_a_service_that_is_alive_is_trying_was_not_left_behind(start: Callable[..., Any]) -> None:
    alive = start()
    alive.begin(ONE)
    other = start()
    assert other.left_behind() is None
    other.begin(TWO)
    other.end()
    killed(alive)
    assert start().left_behind() == (ONE, 1)


def test_each_alias_and_each_host_has_a_note_of_its_own(
    start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = start()
    trials.begin(ONE)
    killed(trials)
    assert start(alias="Staging").left_behind() is None
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    assert start().left_behind() is None


@pytest.mark.parametrize(
    "garbage", ["", "{", "[]", "null", '{"version": {}}', '{"version": {"colour": 1}, "times": 1}']
)
def test_garbage_is_no_note(start: Callable[..., Any], tmp_path: Path, garbage: str) -> None:
    trials = start()
    trials.begin(ONE)
    killed(trials)
    (note,) = (tmp_path / "flowers" / "trials").iterdir()
    assert json.loads(note.read_text())["times"] == 1
    note.write_text(garbage)
    assert start().left_behind() is None
    trials = start()
    trials.begin(TWO)
    killed(trials)
    assert start().left_behind() == (TWO, 1)


def test_where_no_note_can_be_written_a_version_is_tried_all_the_same(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    trials = start(tmp_path / "file")
    trials.begin(ONE)
    trials.end()
    assert trials.left_behind() is None


def test_names_that_look_like_paths_stay_below_the_folder(tmp_path: Path) -> None:
    trials = Trials(tmp_path, "../flowers", "Prod/1")
    trials.begin(ONE)
    (note,) = tmp_path.rglob("*.json")
    assert note.relative_to(tmp_path).parts[:2] == ("..%2Fflowers", "trials")
    assert note.name.startswith("Prod%2F1-")
    trials.end()


def test_a_note_that_somebody_has_taken_away_is_over_all_the_same(tmp_path: Path) -> None:
    trials = Trials(tmp_path, "flowers", "Production")
    trials.begin(ONE)
    (note,) = tmp_path.rglob("*.json")
    note.unlink()
    trials.end()
    assert Trials(tmp_path, "flowers", "Production").left_behind() is None
