"""The schedule trains: a missed time once, on the same data not again, on more rows again, and it waits for whoever trains by hand."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from trainer import training_lock
from trainer.schedule import record
from trainer.schedule.record import Record

from tests.integration.places import DATA, EMBEDDED, Place, eventually, free_port

CRON = "0 3 * * *"
DAY = 24 * 3600.0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("schedule") / "place")
    (place.folder / "data").mkdir()
    (place.folder / "data" / "sales.csv").write_text((DATA / "iris_dataset.csv").read_text())
    return place


@contextmanager
def scheduled(place: Place, **settings: str) -> Iterator[tuple[Any, str]]:
    """Start the schedule as a person does who was away for two days; yield its process and its address."""
    path, port = place.folder / "schedule.json", free_port()
    kept = record.read(path) or Record(f"{CRON} UTC", 0.0)
    record.write(path, Record(**vars(kept) | {"seen": time.time() - 2 * DAY}))
    process = place.start_trainer(
        "schedule",
        DATA_DIR=str(place.folder / "data"),
        SCHEDULE_FILE=str(path),
        SCHEDULE_PORT=str(port),
        TRAIN_SCHEDULE=CRON,
        TRAIN_ARGS="--data sales.csv --model-name sales",
        MONITOR_URL="http://127.0.0.1:1",
        **settings,
    )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill_what_is_left()


def status(url: str) -> dict[str, Any]:
    return requests.get(f"{url}/status", timeout=10).json()


def ended(process: Any, url: str, count: int) -> dict[str, Any]:
    """Wait until so many trainings have ended; return what came of the last."""

    def last() -> Any:
        assert process.is_running, process.log
        said = status(url)
        return said["last"] if sum(said["count"].values()) == count else None

    return eventually("the training has ended", last)


def test_a_missed_training_is_made_up_for_once_and_then_the_same_data_are_not_trained_on_again(place: Place) -> None:
    with scheduled(place) as (process, url):
        last = ended(process, url, 1)
        assert (last["outcome"], last["version"], last["attempts_on_this_data"]) == ("promoted", "1", 1), process.log
        said = status(url)
        assert said["drift"]["answers"] is False  # the monitor is not there, and that is no obstacle
        assert said["next"] > said["now"]
        assert "training_promoted_total 1.0" in requests.get(f"{url}/metrics", timeout=10).text
        assert process.stop() == 143
    with scheduled(place) as (process, url):
        last = ended(process, url, 2)
        run = place.client.get_model_version_by_alias("sales", "Production").run_id
        assert (last["outcome"], last["run_id"]) == ("unchanged", run), process.log
        assert "nothing new" in last["reason"]
    assert len(place.client.search_model_versions("name = 'sales'")) == 1


def test_on_more_rows_it_trains_once_whoever_trains_by_hand_has_ended(place: Place) -> None:
    data = place.folder / "data" / "sales.csv"
    lines = data.read_text().splitlines()
    data.write_text("\n".join([*lines, *lines[1:20], ""]))
    with training_lock.beside_others(data.parent, print), scheduled(place) as (process, url):
        eventually("it waits", lambda: "another training is running" in (status(url)["waiting"] or ""))
    # The test's own lock is gone, and so is the process that waited for it: what is due is due still.
    with scheduled(place) as (process, url):
        last = ended(process, url, 3)
        assert (last["outcome"], last["version"]) in (("promoted", "2"), ("kept", "2")), process.log
        assert "[2/5]" in process.log  # what the training says is in the log
        assert process.stop() == 143


def test_a_training_that_fails_is_told_with_its_words_and_the_schedule_goes_on(place: Place) -> None:
    (place.folder / "data" / "sales.csv").rename(place.folder / "sales.csv")
    with scheduled(place) as (process, url):
        last = ended(process, url, 4)
        assert last["outcome"] == "failed"
        assert last["reason"].startswith("exit code 3: ")
        assert "sales.csv does not exist" in last["reason"]
        assert status(url)["next"] > status(url)["now"]
        assert "training_last_failed 1.0" in requests.get(f"{url}/metrics", timeout=10).text
    (place.folder / "sales.csv").rename(place.folder / "data" / "sales.csv")


def test_by_hand_the_same_is_said_and_nothing_is_trained(place: Place) -> None:
    data = {"DATA_DIR": str(place.folder / "data")}
    first = place.command("train", "--data", "sales.csv", "--model-name", "sales", "--if-new", "--json", **data)
    assert first.returncode == 0, first.stderr
    said = json.loads(first.stdout)
    assert (said["unchanged"], said["model_name"]) == (True, "sales")
    assert place.client.get_run(said["run_id"]).data.tags["model_name"] == "sales"


def test_a_setting_that_cannot_be_used_ends_it_with_one_line_and_exit_code_2(place: Place) -> None:
    by_make = place.run(*EMBEDDED, "schedule", TRAIN_SCHEDULE="61 3 * * *")
    assert by_make.returncode == 2
    assert by_make.stderr.startswith("trainer: TRAIN_SCHEDULE is '61 3 * * *': Bad minute; expected minute, ")
    by_command = place.command("schedule", TRAIN_ARGS="--dato x")
    assert by_command.returncode == 2
    assert by_command.stderr.startswith("trainer: TRAIN_ARGS is '--dato x': No such option")
    by_its_choice = place.command("schedule", TRAIN_ARGS="--data sales.csv --metric acuracy")
    assert by_its_choice.returncode == 2
    words = "trainer: TRAIN_ARGS is '--data sales.csv --metric acuracy': --metric is 'acuracy', which is none; did you mean accuracy?"
    assert by_its_choice.stderr.strip() == words
    assert [result.stderr.count("\n") for result in (by_make, by_command)] == [1, 1]
