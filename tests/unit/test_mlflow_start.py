"""How MLflow's container starts: what a killed server left behind is swept before the next one begins."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "services/mlflow/start.sh"


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Any]:
    """Return a function that starts a command as the container does; an `mlflow` stands in that says what it was given."""
    scratch = tmp_path / "scratch"
    (scratch / "folder").mkdir(parents=True)
    for name in ("upload", ".hidden", "folder/part"):
        (scratch / name).write_text("the beginning of an upload")
    (tmp_path / "uri").write_text("postgresql://here")
    program = tmp_path / "mlflow"
    program.write_text('#!/bin/sh\necho "$* $MLFLOW_BACKEND_STORE_URI"\n')
    program.chmod(0o755)
    environ = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "TMPDIR": str(scratch),
        "BACKEND_STORE_URI_FILE": str(tmp_path / "uri"),
    }

    def run(*command: str, **changed: str) -> tuple[str, list[str]]:
        result = subprocess.run(
            ["sh", str(SCRIPT), *command], env=environ | changed, capture_output=True, text=True, check=True
        )
        return result.stdout + result.stderr, sorted(path.name for path in scratch.rglob("*"))

    return run


def test_uploads_that_a_killed_server_left_behind_are_swept_at_the_start(start: Callable[..., Any]) -> None:
    said, left = start("mlflow", "server")
    assert said == "server postgresql://here\n"
    assert left == []


def test_a_command_beside_a_server_that_works_sweeps_nothing(start: Callable[..., Any]) -> None:
    said, left = start("mlflow", "gc")
    assert said == "gc postgresql://here\n"
    assert left == [".hidden", "folder", "part", "upload"]


def test_a_folder_that_cannot_be_tidied_up_does_not_keep_the_server_from_starting(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    said, _ = start("mlflow", "server", TMPDIR=str(tmp_path / "missing"))
    assert "could not be tidied up" in said
    assert "server postgresql://here\n" in said


def test_the_key_for_forms_comes_from_its_file_where_there_is_a_login(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("the key")
    (tmp_path / "mlflow").write_text('#!/bin/sh\necho "${MLFLOW_FLASK_SERVER_SECRET_KEY-none}"\n')
    assert start("mlflow", "server")[0] == "none\n"
    assert start("mlflow", "server", FLASK_SECRET_KEY_FILE=str(tmp_path / "key"))[0] == "the key\n"
