"""A trainer that cannot do its work says so in one line and by its exit code; what is in MLflow stays right."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from trainer.errors import TrackingError
from trainer.tracking.run_logging import connect

from tests.integration.conftest import Training
from tests.integration.places import ROOT, Place, eventually, free_port

pytestmark = pytest.mark.unhurried


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "place")


# The exit codes of `trainer --help`.
SETTING, DATA, MLFLOW = 2, 3, 4


def assert_fails(code: int, result: Any, *said: str) -> None:
    assert result.returncode == code
    (line,) = result.stderr.splitlines()
    assert line.startswith("trainer: ")
    for words in said:
        assert words in line
    assert "Traceback" not in result.stdout


@pytest.mark.parametrize("command", ["train", "explore", "bootstrap"])
def test_an_unusable_setting_is_named(place: Any, command: str) -> None:
    assert_fails(SETTING, place.trainer(command, MODEL_NAME=""), "MODEL_NAME is empty")


@pytest.mark.parametrize("command", ["train", "bootstrap"])
def test_a_server_that_does_not_answer_is_named(place: Any, command: str) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert_fails(MLFLOW, place.trainer(command, MLFLOW_TRACKING_URI=url), url, "does not answer", "MLFLOW_TRACKING_URI")


def changed(number: int, column: int, value: str) -> str:
    """Return the iris CSV with another value in one line (as an editor counts) and column."""
    lines = (ROOT / "data" / "iris_dataset.csv").read_text().splitlines()
    cells = lines[number - 1].split(",")
    cells[column] = value
    lines[number - 1] = ",".join(cells)
    return "\n".join(lines)


def only(count: int) -> str:
    """Return the first lines of the iris CSV, whose rows are sorted by class, fifty each."""
    return "\n".join((ROOT / "data" / "iris_dataset.csv").read_text().splitlines()[:count])


BAD_DATA = {
    "missing file": (None, ["iris_dataset.csv does not exist", "`explore` writes those"]),
    "empty file": ("", ["iris_dataset.csv is empty: it has no line with the names of the columns"]),
    "header only": (only(1), ["iris_dataset.csv has no rows"]),
    "no target column": (only(100).replace("target,", "class,", 1), ["has no column 'target'", "'class'"]),
    "text in a feature": (changed(100, 1, "wide"), ["line 100, column 'sepal width (cm)' is 'wide'"]),
    "infinite value": (changed(7, 2, "inf"), ["line 7, column 'petal length (cm)' is inf", "a finite number"]),
    "1e400": (changed(7, 2, "1e400"), ["line 7, column 'petal length (cm)' is inf"]),
    "missing feature": (changed(7, 2, ""), ["column 'petal length (cm)' has 1 missing values, and had none"]),
    "NaN in the target": (changed(151, 4, "nan"), ["line 151, column 'target' is 'nan'", "a class number"]),
    "one class only": (only(51), ["rows of one class only", "('target' is 0)"]),
    "a class with one row": (only(102), ["a single row of class 2"]),
}


@pytest.mark.parametrize(("content", "said"), BAD_DATA.values(), ids=BAD_DATA)
def test_bad_data_is_named_and_leaves_mlflow_as_it_was(
    second: Training, tmp_path: Path, content: Any, said: Any
) -> None:
    place = second.place.copy(tmp_path / "place")
    before, runs = place.registry(), statuses(place)
    data = tmp_path / "data"
    data.mkdir()
    if content is not None:
        (data / "iris_dataset.csv").write_text(content)
    assert_fails(DATA, place.command("train", DATA_DIR=str(data)), f"trainer: {data}/iris_dataset.csv", *said)
    assert place.registry() == before
    assert statuses(place) == runs


def test_a_folder_of_the_database_that_cannot_be_made_is_named(place: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = place.command("train", MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/file/mlflow.db")
    assert_fails(MLFLOW, result, f"{tmp_path}/file/mlflow.db cannot be opened", "MLFLOW_TRACKING_URI")


def test_what_mlflow_does_not_take_is_told_in_its_words(place: Any) -> None:
    assert_fails(
        MLFLOW, place.command("train", MLFLOW_TRACKING_URI="nonsense://x"), "MLflow refuses: ", "'nonsense://x'"
    )


def test_a_database_that_cannot_be_opened_is_refused_without_a_long_series_of_tries(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=f"{tmp_path} cannot be opened"):
        connect(f"sqlite:///{tmp_path}", "any experiment")


def test_other_data_in_the_place_of_iris_is_not_overwritten_by_explore(place: Any, tmp_path: Path) -> None:
    (tmp_path / "iris_dataset.csv").write_text("my own data\n")
    assert_fails(DATA, place.command("explore", DATA_DIR=str(tmp_path)), "is not the iris data set as published")
    assert (tmp_path / "iris_dataset.csv").read_text() == "my own data\n"


def statuses(place: Place) -> dict[str, str]:
    """Return each run's status, and only once it has a metric, read without disturbing the trainer."""
    with contextlib.closing(sqlite3.connect(f"file:{place.database}?mode=ro", uri=True)) as database:
        query = "SELECT run_uuid, status FROM runs WHERE run_uuid IN (SELECT run_uuid FROM metrics)"
        return dict(database.execute(query).fetchall())


def test_a_trainer_that_is_stopped_in_the_middle_of_its_run_leaves_no_run_as_running(
    second: Training, tmp_path: Path
) -> None:
    place = second.place.copy(tmp_path / "place")
    before = place.registry()
    trainer = place.start_trainer("train")
    try:
        eventually("a run has begun", lambda: "RUNNING" in statuses(place).values())
        exit_code = trainer.stop()
    finally:
        trainer.kill_what_is_left()
    after = statuses(place)
    assert len(after) == 3
    assert "RUNNING" not in after.values()
    if exit_code:
        assert exit_code == 143
        assert place.registry()["alias"] == before["alias"]
    assert "Traceback" not in trainer.log


@pytest.mark.parametrize("more", [[], ["--traceback"]], ids=["plain", "with a traceback"])
def test_the_command_ends_with_words_that_obey_nobody(place: Place, tmp_path: Path, more: list[str]) -> None:
    path = tmp_path / "stranger.yaml"
    path.write_text('"\\e]0;owned\\a\\e[2J\\e[1;32mall is well\\e[0m": 1\n')
    result = place.trainer(*more, "train", "--config", str(path))
    assert result.returncode == (1 if more else 2)
    assert r"\x1b]0;owned\x07\x1b[2J\x1b[1;32mall is well\x1b[0m" in result.stderr.replace("\\\\", "\\")
    assert result.stderr.replace("\n", "").isprintable()
