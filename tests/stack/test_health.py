"""The doctor on the stack: faults that are made are named, each in a line, and what the lines name mends them."""

import json
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.compose import Stack, eventually

MODEL = "iris_logistic_regression"
SUSPEND = """
import sys; sys.path.insert(0, "/app")
from minio import Minio; from minio.versioningconfig import SUSPENDED, VersioningConfig
root = Minio(endpoint="minio:9000", access_key="admin", secret_key=open("/run/secrets/root-password").read(), secure=False)
root.set_bucket_versioning("mlflow", VersioningConfig(SUSPENDED))
"""
# What no `up` brings: the first backup is a person's to make, and the disk is this machine's.
NOT_THE_STACKS = {"backup", "disk"}


class Doctor:
    """`scripts/doctor`, as a person runs it."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = ["scripts/doctor", "--patience", "10", *arguments]
        folder, environ = self._stack.folder, self._stack.environ()
        return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=120)

    def rows(self) -> list[dict[str, str]]:
        result = self.run("--json")
        rows: list[dict[str, str]] = json.loads(result.stdout)
        assert result.returncode == any(row["status"] == "FAIL" for row in rows)
        return rows

    def wrong(self) -> dict[str, dict[str, str]]:
        """Return name → row of all that is not well; of several of a name the last."""
        return {row["name"]: row for row in self.rows() if row["status"] != "ok" and row["name"] not in NOT_THE_STACKS}

    def mend(self, row: dict[str, str]) -> None:
        """Do what a line names, as a person does: what it says of .env first, and then the command."""
        setting, is_setting, rest = row["mend"].partition(" in .env, then ")
        if is_setting:
            name, _, value = setting.partition("=")
            self._stack.write_env(**{name: value})
        command = shlex.split((rest if is_setting else row["mend"]).rpartition(": ")[2])
        assert command[:2] == ["docker", "compose"], row
        self._stack.compose(*command[2:])


@pytest.fixture(scope="module")
def doctor(stack: Stack) -> Doctor:
    return Doctor(stack)


@pytest.fixture
def settings(stack: Stack) -> Iterator[None]:
    """Afterwards the settings are those of before, and in force."""
    before = dict(stack.settings)
    yield
    stack.settings = before
    stack.write_env()
    stack.up()


def post(stack: Stack, path: str, method: str = "POST", **body: Any) -> dict[str, Any]:
    answer = requests.request(method, f"{stack.mlflow_url}/api/2.0/mlflow/{path}", json=body, timeout=10)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def versions_of_the_byte(stack: Stack) -> str:
    """Return what the volume keeps of the byte that went up and down."""
    return stack.compose(
        "exec", "-T", "minio", "sh", "-c", "ls -A /data/mlflow/doctor-probe 2>/dev/null || true"
    ).stdout


def test_a_stack_that_is_well_is_told_so_and_is_left_as_it_was(stack: Stack, doctor: Doctor) -> None:
    result = doctor.run()
    assert result.returncode == 0, result.stdout + result.stderr
    assert doctor.wrong() == {}
    for name in (
        "engine",
        "images",
        "ports",
        "containers",
        "schema",
        "secrets",
        "bucket",
        "artifacts",
        "files",
        "served",
    ):
        assert f"\nok    {name} " in f"\n{result.stdout}", result.stdout
    assert versions_of_the_byte(stack) == ""


def break_what_can_be(stack: Stack, port: int) -> None:
    """Make faults that do not hide each other."""
    console = "compose.yaml:compose.console.yaml"
    stack.write_env(PUBLIC_HOST="factory.test", COMPOSE_FILE=console, MINIO_CONSOLE_PORT=str(port))
    entry = ("run", "--rm", "--no-deps", "-T", "--entrypoint")
    stack.compose(*entry, "chown", "secrets", "12345", "/volumes/postgres/superuser-password")
    stack.compose(*entry, "python", "bucket", "-c", SUSPEND)
    post(stack, "experiments/create", name="lost", artifact_location="s3://elsewhere/lost")
    iris = stack.versions()[stack.alias()]["run_id"]
    experiment = stack.api("runs/get", run_id=iris)["run"]["info"]["experiment_id"]
    heartbeat = {"key": "trainer_heartbeat", "value": str(time.time() - 3600)}
    post(stack, "runs/create", experiment_id=experiment, run_name="killed", tags=[heartbeat])
    version = stack.alias()
    post(stack, "registered-models/alias", "DELETE", name=MODEL, alias="Production")
    post(stack, "registered-models/alias", name=MODEL, alias="production", version=version)
    stack.compose("stop", "inference")


def test_each_fault_is_named_in_one_run_and_what_its_line_names_mends_it(
    stack: Stack, doctor: Doctor, settings: None
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        break_what_can_be(stack, taken.getsockname()[1])
        wrong = doctor.wrong()
        named = {name: row["says"] for name, row in wrong.items()}
        assert "minio, is taken by another program" in named["ports"]
        assert "inference is not running" in named["containers"]
        assert "Invalid Host header" in named["mlflow"]
        assert "nothing answers" in named["inference"]
        assert "postgres/superuser-password is of 12345:999" in named["secrets"]
        assert "does not keep old versions" in named["bucket"]
        assert "'lost' has its files at 's3://elsewhere/lost'" in named["experiments"]
        assert "'killed'" in named["runs"]
        assert "it has 'production', and case counts" in named["alias"]
        # The line of the ports has an `up`, as those of containers, mlflow and inference have.
        for name in ("secrets", "alias", "experiments", "ports", "bucket", "runs"):
            doctor.mend(wrong[name])
    eventually("the stack is well", lambda: doctor.wrong() == {})
    post(
        stack, "registered-models/alias", "DELETE", name=MODEL, alias="production"
    )  # which harms nobody, and no line names


def test_a_changed_file_and_a_store_that_hangs_are_named_and_mended(stack: Stack, doctor: Doctor) -> None:
    version = stack.versions()[stack.alias()]
    model = version["source"].removeprefix("models:/")
    experiment = stack.api(f"logged-models/{model}")["model"]["info"]["experiment_id"]
    url = f"{stack.mlflow_url}/api/2.0/mlflow-artifacts/artifacts/{experiment}/models/{model}/artifacts/figures.json"
    before = requests.get(url, timeout=10).content
    assert requests.put(url, before + b" ", timeout=10).status_code == 200
    try:
        row = doctor.wrong()["files"]
        assert f"version {version['version']}: its file 'figures.json' is not as it was signed" in row["says"]
        doctor.mend(row)
    finally:
        assert requests.put(url, before, timeout=10).status_code == 200
    stack.compose("pause", "minio")
    try:
        wrong = doctor.wrong()
        assert wrong["containers"]["says"] == "minio is paused"
        assert "does not answer" in wrong["bucket"]["says"]
        doctor.mend(wrong["containers"])
    finally:
        stack.compose("unpause", "minio", check=False)
    eventually("the stack is well", lambda: doctor.wrong() == {})
