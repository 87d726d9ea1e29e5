"""The one line that says which version is served and where to go."""

import shlex
from datetime import UTC, datetime

import pytest
from inference.announcement import announce
from inference.keeper import Served
from inference.model import Model
from inference.registry import ModelVersion
from inference.rows import Column
from inference.settings import Settings


def served(version: str) -> Served:
    model = Model(None, [Column("length"), Column("width")], None, [5.1, 3.5])
    return Served(model, ModelVersion("flowers", version, "run", 1, "m-1", ""), datetime.now(UTC))


@pytest.fixture
def settings(tmp_path):
    return Settings(run_dir=tmp_path, public_url="http://localhost:8080", mlflow_public_url="http://localhost:5000")


@pytest.fixture(autouse=True)
def log(caplog):
    caplog.set_level("INFO", "inference")
    return caplog


def test_the_line_names_the_version_and_both_addresses(settings, log):
    announce(settings, served("7"))
    (line,) = log.messages
    assert line.startswith("Ready: flowers version 7 is served.")
    assert "MLflow UI: http://localhost:5000 " in line
    assert "Predictions: http://localhost:8080 " in line


def test_the_line_ends_with_a_request_that_fits_the_model(settings, log):
    announce(settings, served("7"))
    command = shlex.split(log.messages[0].split("Try: ")[1])
    assert command == [
        "curl",
        "http://localhost:8080/invocations",
        "-H",
        "Content-Type: application/json",
        "-d",
        '{"instances": [[5.1, 3.5]]}',
    ]


def test_without_an_mlflow_ui_none_is_named(tmp_path, log):
    announce(Settings(run_dir=tmp_path), served("7"))
    assert "MLflow UI" not in log.text


def test_a_version_is_announced_once_whatever_the_number_of_workers(settings, log):
    for _ in range(3):
        announce(settings, served("7"))
    assert len(log.messages) == 1


def test_each_version_that_is_taken_up_is_announced_a_rollback_too(settings, log):
    for version in "787":
        announce(settings, served(version))
    assert [line.split()[3] for line in log.messages] == ["7", "8", "7"]
