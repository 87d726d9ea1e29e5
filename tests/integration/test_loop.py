"""`scripts/embedded.py loop`: the production loop without Docker, from a drift to the version that takes over."""

import os
import re
import shutil
import socket
from pathlib import Path

import pytest

from tests.integration.places import EMBEDDED, ROOT, Place, Process, eventually, in_one_line


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the loop says, which ends well and leaves nothing running."""
    place = Place(tmp_path_factory.mktemp("loop") / "place")
    data = place.folder / "data"
    data.mkdir()
    shutil.copy(ROOT / "data" / "iris_dataset.csv", data)
    settings = {"DATA_DIR": str(data), "MODEL_NAME": "in_use"}
    for name in ("PREDICTION_LOG_DIR", "PREDICTION_LOG_STORE"):
        settings[name] = str(place.folder / name.lower())
    settings["MODEL_CACHE_DIR"] = os.path.relpath(place.folder / "cache", ROOT)
    environ = place.environ(**settings)
    for name in ("SIGNING_KEY_FILE", "VERIFYING_KEY_FILE"):
        environ[name] = os.path.relpath(environ[name], ROOT)
    with socket.create_server(("127.0.0.1", 0)) as taken:  # another one is taken then
        environ["INFERENCE_LISTEN_PORT"] = str(taken.getsockname()[1])
        process = Process([*EMBEDDED, "loop"], environ, place.work, place.folder / "log")
        return ended(process, data)


def ended(process: Process, data: Path) -> str:
    try:
        assert process.wait(280) == 0, process.log
        eventually("what ships predictions ends", lambda: not process.has_left_processes)
    finally:
        process.kill_what_is_left()
    assert (data / "since-the-drift.csv").is_file()
    return process.log


def part(log: str, number: int) -> str:
    """Return what a step says."""
    found = re.search(rf"^=== {number}\. .*?(?=^=== )", log, re.M | re.S)
    assert found, log
    return in_one_line(found[0])


def test_the_days_before_the_drift_have_none_and_the_days_since_then_do(log: str) -> None:
    assert "no drift;" in part(log, 4)
    assert re.search(r"drift: .*petal length \(cm\)", part(log, 5))
    right = [float(share) for share in re.findall(r"\d+ +([\d.]+)% +(?:-|150)", part(log, 3))]
    assert min(right[:4]) > 90 > max(right[4:])
    assert "labels: 0.9" in part(log, 4)
    assert "labels: 0.8" in part(log, 5) or "labels: 0.7" in part(log, 5)


def test_what_was_trained_on_the_labels_challenges_production_and_takes_over(log: str) -> None:
    assert "Version 2 of in_use challenges version 1: 50 of 100 requests" in part(log, 7)
    better = re.search(
        r"accuracy: 0\.9\d+ against 0\.[78]\d+, \+[\d.]+ \(\+[\d.]+ to \+[\d.]+, at every look", part(log, 8)
    )
    assert better, log
    assert "Version 2 of in_use is in Production; before it was 1" in part(log, 9)
