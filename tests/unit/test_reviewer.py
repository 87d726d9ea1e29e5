"""What the watch says as it starts, and what it leaves behind of a review that was killed: nothing."""

import json
import sys
from pathlib import Path

import pytest
from trainer.commands import reviewer
from trainer.errors import SettingsError
from trainer.settings import Settings

# A review that leaves a file and is killed, as by the kernel when memory is used up.
KILLED = "import os, signal, tempfile; tempfile.mkdtemp(); os.kill(os.getpid(), signal.SIGKILL)"


def test_the_temporary_files_of_a_review_that_is_killed_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\n{KILLED}\n")
    program.chmod(0o755)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    reviewer._review("flowers")
    assert list(temporary.iterdir()) == []


class Ended(Exception):
    """What a signal raises."""


def test_the_log_begins_with_the_settings_in_force(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def candidates(*_: object) -> list[tuple[str, str]]:
        raise Ended

    monkeypatch.setattr("trainer.tracking.rest.candidates", candidates)
    environ = {"MLFLOW_TRACKING_URI": "https://mlflow.example", "REVIEW_POLL_SECONDS": "7"}
    with pytest.raises(Ended):
        reviewer.watch(Settings.from_env(environ))
    said = capsys.readouterr().out
    settings = json.loads(said.splitlines()[0].removeprefix("reviewer: settings: "))
    assert settings["tracking_uri"] == "https://mlflow.example"
    assert settings["review_poll_seconds"] == 7


def test_a_database_is_not_watched_and_its_login_is_not_shown() -> None:
    with pytest.raises(SettingsError, match=r"^MLFLOW_TRACKING_URI is 'postgresql://host/mlflow'; a server is watched"):
        reviewer.watch(Settings.from_env({"MLFLOW_TRACKING_URI": "postgresql://anna:hidden@host/mlflow"}))
