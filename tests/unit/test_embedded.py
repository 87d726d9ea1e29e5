"""The script for the way without Docker: the parts that need no process."""

import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "scripts" / "embedded.py"


@pytest.fixture(scope="module")
def embedded() -> ModuleType:
    spec = spec_from_file_location("embedded", FILE)
    module = module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_port_that_is_free_is_taken_as_wanted(
    embedded: ModuleType, taken: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    assert embedded.free_port(port) == port
    assert capsys.readouterr().out == ""


def test_a_port_that_is_taken_gives_way_to_another_which_is_said(
    embedded: ModuleType, taken: int, capsys: pytest.CaptureFixture[str]
) -> None:
    other = embedded.free_port(taken)
    assert other != taken
    assert not embedded.is_taken(other)
    assert capsys.readouterr().out == f"Port {taken} is taken by another program, so the demo serves on {other}.\n"


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["demo", "now"]])
def test_a_command_that_is_unknown_is_answered_with_those_that_are_known(
    embedded: ModuleType, arguments: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert embedded.main(arguments) == 2
    said = capsys.readouterr().err
    for command in ("demo", "explore", "train", "serve", "ui"):
        assert f"embedded.py {command}" in said


@pytest.mark.parametrize("command", ["promote", "adopt", "requirements"])
def test_make_says_how_a_version_is_named(command: str) -> None:
    result = subprocess.run(["make", "-n", command, "2"], cwd=FILE.parents[1], capture_output=True, text=True)
    assert result.returncode == 2
    assert f"VERSION is missing, as in: make {command} VERSION=2" in result.stderr


@pytest.mark.parametrize("uri", ["http://localhost:5000", "sqlite:///nowhere/mlflow.db"])
def test_a_clean_up_without_a_database_file_says_what_it_needs(
    embedded: ModuleType, uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert embedded.cleanup("--yes") == 1
    assert f"MLFLOW_TRACKING_URI is '{uri}'; expected a SQLite file that is there" in capsys.readouterr().err


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A registry as an earlier MLflow UI left it: a run of its own, one of the trainer's, and tables of an older MLflow."""
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE experiments (artifact_location TEXT)")
        connection.execute("CREATE TABLE runs (artifact_uri TEXT)")
        connection.execute("CREATE TABLE model_versions (source TEXT)")
        connection.execute("INSERT INTO experiments VALUES ('mlflow-artifacts:/2'), ('file:///work/artifacts')")
        connection.execute("INSERT INTO runs VALUES ('mlflow-artifacts:/2/abc/artifacts'), (NULL)")
        connection.execute("INSERT INTO model_versions VALUES ('models:/m-1'), ('mlflow-artifacts://else:1/2/m-2')")
    return path


def column(path: Path, table: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute(f"SELECT * FROM {table}")]  # noqa: S608


def test_files_that_an_earlier_ui_took_in_are_found_in_its_folder(embedded: ModuleType, database: Path) -> None:
    for _ in range(2):
        embedded.find_proxied(database, Path("/clone/mlartifacts"))
        assert column(database, "experiments") == ["file:///clone/mlartifacts/2", "file:///work/artifacts"]
        assert column(database, "runs") == ["file:///clone/mlartifacts/2/abc/artifacts", None]
        assert column(database, "model_versions") == ["models:/m-1", "mlflow-artifacts://else:1/2/m-2"]


def test_a_file_that_is_no_database_ends_the_command(embedded: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_text("no database, but long enough to be looked at as one " * 50)
    with pytest.raises(SystemExit, match="cannot be read: file is not a database"):
        embedded.check_revision(path)


@pytest.mark.parametrize(
    ("revision", "said"),
    [("ffffffffffff", "is newer than this MLflow"), (None, "is broken: it has MLflow's tables, and no revision")],
)
def test_a_database_of_a_newer_checkout_and_a_broken_one_end_the_command(
    embedded: ModuleType, database: Path, revision: str | None, said: str
) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version SELECT ? WHERE ? IS NOT NULL", (revision, revision))
    with pytest.raises(SystemExit, match=said):
        embedded.check_revision(database)


def test_an_empty_database_and_one_of_this_mlflow_s_are_gone_on_with(embedded: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.touch()
    embedded.check_revision(path)
    assert path.read_bytes() == b""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE experiments (name TEXT)")
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('451aebb31d03')")
    embedded.check_revision(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '451aebb31d04'")
    with pytest.raises(SystemExit, match="is newer than this MLflow"):
        embedded.check_revision(path)


@pytest.mark.parametrize(
    ("uri", "path"),
    [("sqlite:////a/mlflow.db", Path("/a/mlflow.db")), ("http://127.0.0.1:5000", None), ("postgresql://db/m", None)],
)
def test_only_a_registry_in_a_file_has_its_files_beside_it(
    embedded: ModuleType, monkeypatch: pytest.MonkeyPatch, uri: str, path: Path | None
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert embedded.database_file() == path
