"""The schedule on the stack: what was missed is trained once, after whoever trains by hand; it is confined, and says what came of it."""

import fcntl
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.compose import Stack, eventually

SETTINGS = {"TRAIN_SCHEDULE": "0 3 * * *", "TRAIN_ARGS": "--dataset wine --model-name in_time"}
# As a service has it that was last here long ago.
KEPT = {"schedule": "0 3 * * * UTC", "seen": 0.0, "running": None, "last": None, "last_success": None}
KEPT |= {"count": {"promoted": 0, "kept": 0, "unchanged": 0, "failed": 0}}
STATUS = "import urllib.request; print(urllib.request.urlopen('http://schedule:9110/status').read().decode())"


@pytest.fixture
def schedule(stack: Stack) -> Iterator[dict[str, Any]]:
    """The container of the schedule, while somebody else holds the lock of a training; it is gone afterwards."""
    stack.write_env(**SETTINGS)
    data = stack.folder / "data"
    before, user = {path.name for path in data.iterdir()}, str(data.stat().st_uid)
    write = f"echo '{json.dumps(KEPT)}' >/schedule/schedule.json"
    stack.compose(*("run", "--rm", "--no-deps", "-T", "--user", user, "--entrypoint", "sh", "schedule", "-c", write))
    lock = os.open(data, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_SH)
    stack.compose("--profile", "schedule", "up", "--detach", "--no-deps", "--no-build", "schedule")
    try:
        eventually("it waits", lambda: "another training is running" in (said(stack)["waiting"] or ""), 120)
    finally:
        os.close(lock)
    yield stack.containers()["schedule"]
    stack.compose("rm", "--stop", "--force", "schedule")
    for name in SETTINGS:
        del stack.settings[name]
    stack.write_env()
    for name in {path.name for path in data.iterdir()} - before:
        (data / name).unlink()


def said(stack: Stack) -> dict[str, Any]:
    """Return what /status says, where somebody on its network asks."""
    answer = stack.compose("exec", "-T", "schedule", "python", "-c", STATUS, check=False)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def test_a_missed_training_is_made_up_for_once_the_one_by_hand_has_ended(
    stack: Stack, schedule: dict[str, Any]
) -> None:
    last = eventually("it has trained", lambda: said(stack)["last"], 240)
    assert (last["outcome"], last["trigger"], last["version"]) == ("promoted", "schedule", "1"), last
    found = stack.api("registered-models/alias", name="in_time", alias="Production")["model_version"]
    assert found["run_id"] == last["run_id"]
    # Its log has it a moment later than its status.
    eventually("it is logged", lambda: "schedule: promoted: version 1 of in_time" in stack.logs("schedule"))
    assert "schedule: a training is due by schedule and waits: another training is running" in stack.logs("schedule")
    noted = [json.loads(line) for line in stack.compose("run", "--rm", "-T", "audit").stdout.splitlines()]
    assert next(line for line in noted if line["of"] == "in_time@Production")["who"] == "schedule"

    host = schedule["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["Memory"] > 0
    assert not host["PortBindings"]
    assert set(schedule["NetworkSettings"]["Networks"]) == {f"{stack.name}_tracking"}
    assert not any("docker.sock" in mount["Source"] for mount in schedule["Mounts"])
