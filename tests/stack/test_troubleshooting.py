"""Things that really go wrong, made to happen: the documentation shows the very message that a person then sees.

Not made to happen: port 5000 on macOS, SELinux and rootless Docker, which take other machines than this one.
The message for a misspelt alias is seen in test_weather.py, lost volumes in test_life.py.
"""

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.compose import CLASSES, ROOT, Stack, eventually, free_ports, load_on
from tests.faults import on_a_full_disk, setting


def documented() -> str:
    """Return the page on trouble as plain words."""
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    return " ".join(text.replace("`", "").split())


def fails(stack: Any, *arguments: str) -> str:
    """Run docker compose, which must fail; return what it says."""
    result = stack.compose(*arguments, check=False)
    assert result.returncode != 0
    return " ".join((result.stdout + result.stderr).split())


def assert_shown(seen: str, message: str) -> None:
    """Check that a message is what was seen, and what the documentation shows."""
    assert message in seen
    assert message in documented()


@pytest.fixture
def settings(stack: Stack) -> Iterator[Any]:
    """Return a function that changes settings in .env; afterwards the old ones are in force."""
    before = dict(stack.settings)
    yield stack.write_env
    stack.settings = before
    stack.write_env()
    stack.put_right()


def test_a_data_file_that_the_folders_owner_may_not_read_is_named(stack: Stack) -> None:
    """What SELinux does, by other means."""
    data = stack.folder / "data"
    owner = data.stat().st_uid
    os.chown(data, 12345, 12345)
    (data / "iris_dataset.csv").chmod(0o600)
    try:
        seen = fails(stack, "run", "--rm", "trainer")
    finally:
        (data / "iris_dataset.csv").chmod(0o644)
        os.chown(data, owner, owner)
    assert_shown(seen, "/data/iris_dataset.csv cannot be read: Permission denied")


def test_a_base_image_that_no_registry_gives_is_named(stack: Stack, settings: Any) -> None:
    (port,) = free_ports(1)
    settings(PYTHON_IMAGE=f"127.0.0.1:{port}/python:3.13-slim-trixie")
    seen = fails(stack, "build", "inference")
    message = "failed to resolve source metadata for"
    assert f"{message} 127.0.0.1:{port}/python:3.13-slim-trixie" in seen
    assert f"{message} docker.io/library/python:3.13-slim-trixie" in documented()


# Four in a row of which MLflow comes out stopped or in other settings: it starts once for all, for who asks it.


def test_a_port_that_another_program_has_is_named(stack: Stack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with setting(stack, MLFLOW_PORT=str(port)):
            seen = fails(stack, "up", "--detach", "--wait", "--no-build")
    assert_shown(seen.replace(str(port), "5000"), "127.0.0.1:5000: bind: address already in use")


def test_a_port_that_another_container_has_is_named(stack: Stack) -> None:
    port = stack.settings["INFERENCE_PORT"]
    with setting(stack, MLFLOW_PORT=port):
        seen = fails(stack, "up", "--detach", "--wait", "--no-build", "--no-deps", "mlflow")
    assert_shown(seen.replace(port, "5000"), "Bind for 127.0.0.1:5000 failed: port is already allocated")


def test_an_engine_that_is_too_old_is_told(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_API_VERSION", "1.43")
    seen = fails(stack, "up", "--detach", "--no-build", "--force-recreate", "--no-deps", "mlflow")
    assert_shown(seen, '"specify health-check start interval" requires API version 1.44')


def test_a_name_that_mlflow_does_not_know_is_refused_unless_it_is_set(stack: Stack) -> None:
    def ask() -> requests.Response:
        return requests.get(stack.mlflow_url + "/", headers={"Host": "factory.test"}, timeout=10)

    try:
        with setting(stack, PUBLIC_HOST="factory.test"):
            stack.compose("up", "--detach", "--wait", "--no-deps", "--no-build", "mlflow")
            assert ask().status_code == 200
    finally:
        stack.put_right()
    refused = ask()
    assert refused.status_code == 403
    assert_shown(refused.text, "Invalid Host header - possible DNS rebinding attack detected")


def test_a_setting_that_cannot_be_used_is_told_by_a_container_that_keeps_restarting(
    stack: Stack, settings: Any
) -> None:
    settings(INFERENCE_WORKERS="many")
    stack.compose("up", "--detach", "--no-build", "inference")
    eventually("it restarts", lambda: stack.containers()["inference"]["RestartCount"] > 1)
    seen = " ".join(stack.logs("inference").split())
    assert_shown(seen, "inference: INFERENCE_WORKERS is 'many'; expected a whole number from 1 to 64")


def test_a_memory_limit_that_cannot_work_is_refused_with_the_least_that_does(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFERENCE_MEMORY", "120m")
    seen = fails(stack, "run", "--rm", "--no-deps", "inference")
    assert_shown(seen, "inference: INFERENCE_MEMORY is 120m; INFERENCE_WORKERS=2 takes at least 250m")


def test_a_first_model_that_cannot_be_made_is_told_by_up_while_predictions_go_on(stack: Stack, settings: Any) -> None:
    settings(MIN_TEST_ACCURACY="97")
    with load_on(stack) as load:
        seen = fails(stack, "up", "--detach", "--wait", "--no-build")
    assert_shown(seen, 'service "bootstrap" didn\'t complete successfully')
    assert load.failures == []


def test_a_full_disk_stops_training_but_not_predictions(stack: Stack) -> None:
    versions = stack.versions()
    with on_a_full_disk(stack, "minio", "/data") as clear:
        result = stack.compose("run", "--rm", "trainer", check=False)
        assert result.returncode == 4
        (line,) = (line for line in result.stderr.splitlines() if line.startswith("trainer:"))
        assert_shown(line, "too many 500 error responses")
        assert "`docker compose logs mlflow`" in line
        assert stack.versions() == versions
        assert stack.predict() == CLASSES
        assert_shown(stack.logs("mlflow"), "Storage backend has reached its minimum free drive threshold")
        clear()
        stack.compose("run", "--rm", "trainer", "train", "--no-promote")
        (made,) = stack.versions().keys() - versions.keys()
    gone = {"name": "iris_logistic_regression", "version": made}  # its files were on that disk
    assert requests.delete(f"{stack.mlflow_url}/api/2.0/mlflow/model-versions/delete", json=gone, timeout=10).ok
