"""What a person runs first: the start script, the short command of the trainer, and the example client, by the settings in .env."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
# A docker that has been asked: it notes what for, and answers `compose config` with what a test has put there.
DOCKER = """#!/bin/sh
echo "$*" >> {folder}/asked
echo "$AUDIT_WHO" > {folder}/who
[ "$2" = config ] && exec cat {folder}/config.json
exit {code}
"""
LOCAL = {"MLFLOW_PUBLIC_URL": " http://localhost:5001", "INFERENCE_PUBLIC_URL": " http://localhost:1236"}
EDGE = dict.fromkeys(LOCAL, "https://*.ml.lan https://*.ml.lan:443")


class Docker:
    """A stand-in for Docker on the PATH of whatever is run by it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.exits()
        self.configured(LOCAL)

    def exits(self, code: int = 0) -> None:
        (self._folder / "docker").write_text(DOCKER.format(folder=self._folder, code=code))
        (self._folder / "docker").chmod(0o755)

    def configured(self, addresses: dict[str, str], **of_mlflow: str) -> None:
        services = {"mlflow": {"environment": of_mlflow}, "inference": {"environment": addresses}}
        (self._folder / "config.json").write_text(json.dumps({"services": services}))

    def run(self, script: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if name != "AUDIT_WHO"}
        environ = kept | {"PATH": f"{self._folder}:{os.environ['PATH']}"} | environ
        return subprocess.run([ROOT / "scripts" / script, *arguments], capture_output=True, text=True, env=environ)

    def read(self, name: str) -> list[str]:
        return (self._folder / name).read_text().splitlines()


@pytest.fixture
def docker(tmp_path: Path) -> Docker:
    return Docker(tmp_path)


def test_the_start_script_waits_for_the_stack_and_ends_with_its_addresses(docker: Docker) -> None:
    started = docker.run("start", "--scale", "inference=2")
    assert started.returncode == 0, started.stderr
    assert docker.read("asked")[0] == "compose up --detach --wait --scale inference=2"
    assert "http://localhost:1236\n" in started.stdout
    assert "http://localhost:5001/#/experiments?workflowType=machine_learning\n" in started.stdout
    assert "login" not in started.stdout


def test_the_start_script_names_the_addresses_of_the_edge_and_the_way_to_log_in(docker: Docker) -> None:
    docker.configured(EDGE, LOGIN="on")
    started = docker.run("start")
    assert "https://models.ml.lan\n" in started.stdout
    assert "https://mlflow.ml.lan/#/experiments" in started.stdout
    assert "accounts password admin" in started.stdout


def test_a_start_that_fails_ends_with_composes_exit_code_and_names_the_doctor(docker: Docker) -> None:
    docker.exits(17)
    started = docker.run("start")
    assert (started.returncode, started.stdout) == (17, "")
    assert "scripts/doctor" in started.stderr


def test_the_short_command_of_the_trainer_says_nothing_of_dockers_own_and_who_is_at_work(docker: Docker) -> None:
    assert docker.run("trainer", "promote", "2", USER="anna").returncode == 0
    assert docker.read("asked") == ["compose --progress quiet run --rm trainer promote 2"]
    assert docker.read("who") == ["anna"]
    docker.run("trainer", USER="anna", AUDIT_WHO="ci")
    assert docker.read("who") == ["ci"]


# It answers the first job of a restore, and notes who asks for what.
ANSWERING = """#!/bin/sh
echo "${AUDIT_WHO-nobody} $*" >> FOLDER/who
echo "backup 0123abcd"
"""


def test_who_restores_is_at_work_and_no_service_that_is_started_takes_their_name(
    docker: Docker, tmp_path: Path
) -> None:
    (tmp_path / "docker").write_text(ANSWERING.replace("FOLDER", str(tmp_path)))
    restored = docker.run("restore", USER="anna", BACKUP_PASSWORD_FILE="password")
    assert restored.returncode == 0, restored.stderr
    asked = [line.split(" ", 1) for line in docker.read("who")]
    assert {who for who, what in asked if " restore " in what} == {"anna"}
    assert [what for who, what in asked if who == "nobody"][-1] == "compose --progress plain up --detach --wait"


def test_who_makes_an_api_key_is_at_work(docker: Docker) -> None:
    assert docker.run("api-key", "add", "shop", USER="anna").returncode == 0
    assert docker.read("asked") == ["compose --progress quiet run --rm --no-TTY api-key add shop"]
    assert docker.read("who") == ["anna"]


@pytest.mark.parametrize(
    ("settings", "environ", "address"),
    [
        (None, {}, "http://localhost:1235"),
        ("# INFERENCE_PORT=1\nINFERENCE_PORT=1236 # taken\nMLFLOW_PORT=5001\n", {}, "http://localhost:1236"),
        ('export INFERENCE_PORT="1236"\nBIND_ADDRESS=0.0.0.0\nPUBLIC_HOST=ml.lan\n', {}, "http://localhost:1236"),
        ("BIND_ADDRESS=10.0.0.5\nPUBLIC_HOST=ml.lan,10.0.0.5\n", {}, "http://ml.lan:1235"),
        ("INFERENCE_PORT=1236\n", {"INFERENCE_PORT": "1237"}, "http://localhost:1237"),
    ],
)
def test_the_example_client_asks_where_the_settings_say_that_the_service_is(
    tmp_path: Path, settings: str | None, environ: dict[str, str], address: str
) -> None:
    (tmp_path / "examples").mkdir()
    shutil.copy(ROOT / "examples" / "predict_test.py", tmp_path / "examples")
    if settings is not None:
        (tmp_path / ".env").write_text(settings)
    code = "from predict_test import url_of_the_stack; print(url_of_the_stack())"
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    said: Any = subprocess.check_output(
        [sys.executable, "-B", "-c", code], cwd=tmp_path / "examples", env=kept | environ, text=True
    )
    assert said.strip() == address
