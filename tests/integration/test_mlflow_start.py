"""How MLflow's container starts: open to nobody by accident, and what a killed server left behind is swept before."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "services/mlflow/start.sh"
CLI = """
import os
def cli(arguments, prog_name):
    print(*arguments, os.environ["MLFLOW_BACKEND_STORE_URI"], *filter(None, [os.environ.get("MLFLOW_FLASK_SERVER_SECRET_KEY")]))
"""


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Any]:
    """Return a function that starts a command as the container does; an `mlflow` stands in that says what it was given.

    It is a program, and the package that the server is run from.
    """
    scratch = tmp_path / "scratch"
    (scratch / "folder").mkdir(parents=True)
    for name in ("upload", ".hidden", "folder/part"):
        (scratch / name).write_text("the beginning of an upload")
    (tmp_path / "uri").write_text("postgresql://here")
    programs = {"mlflow": 'echo "$* $MLFLOW_BACKEND_STORE_URI"', "python": f'exec "{sys.executable}" "$@"'}
    for name, line in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "mlflow_package" / "mlflow" / "server").mkdir(parents=True)
    for name, content in {"__init__.py": "", "server/__init__.py": "", "cli.py": CLI}.items():
        (tmp_path / "mlflow_package" / "mlflow" / name).write_text(content)
    environ = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "TMPDIR": str(scratch),
        "BACKEND_STORE_URI_FILE": str(tmp_path / "uri"),
        "PYTHONPATH": f"{tmp_path / 'mlflow_package'}:{SCRIPT.parents[1]}",
    }

    def run(*command: str, code: int = 0, **changed: str) -> tuple[str, list[str]]:
        options: dict[str, Any] = {"cwd": SCRIPT.parent, "capture_output": True, "text": True}
        result = subprocess.run(["sh", str(SCRIPT), *command], env=environ | changed, **options)
        assert result.returncode == code
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
    assert start("mlflow", "server")[0] == "server postgresql://here\n"
    given = start("mlflow", "server", FLASK_SECRET_KEY_FILE=str(tmp_path / "key"))[0]
    assert given == "server postgresql://here the key\n"


def test_a_server_that_other_machines_would_reach_without_a_login_does_not_start(start: Callable[..., Any]) -> None:
    said, _ = start("mlflow", "server", BIND_ADDRESS="0.0.0.0", code=1)  # noqa: S104
    assert said.startswith("mlflow: BIND_ADDRESS is 0.0.0.0, where other machines reach this stack, and nothing asks")
    said, _ = start("mlflow", "server", BIND_ADDRESS="0.0.0.0", LOGIN="on")  # noqa: S104
    assert said == "server postgresql://here\n"
