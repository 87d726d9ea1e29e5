"""`python -m inference` on SQLite: from the registry to answers, and from one version to the next."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from tests.integration.conftest import Training
from tests.integration.places import CLASSES, NAMES, ROOT, SAMPLES, Place, eventually, free_port

EXAMPLE = ROOT / "examples" / "predict_test.py"
COLUMNS = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]


@pytest.fixture(scope="module")
def place(second: Training, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A registry with two versions, the first one in Production."""
    return second.place.copy(tmp_path_factory.mktemp("serving") / "place")


@pytest.fixture(scope="module")
def service(place: Any) -> Iterator[Any]:
    with place.inference() as service:
        service.answers("/ready")
        yield service


@pytest.fixture
def in_production(place: Any, service: Any) -> Iterator[Any]:
    """Return a function that moves the alias and waits until it is followed; afterwards version 1 is served again."""

    def move(version: str) -> None:
        place.move_alias(version)
        service.serves(version)

    yield move
    move("1")


def test_the_samples_are_predicted_from_lists_and_from_records_alike(service: Any) -> None:
    records = [dict(zip(COLUMNS, sample, strict=True)) for sample in SAMPLES]
    assert service.post("/invocations", {"instances": SAMPLES}).json() == {"predictions": CLASSES}
    assert service.post("/invocations", {"instances": records}).json() == {"predictions": CLASSES}


def test_names_come_with_probabilities_that_sum_to_1(service: Any) -> None:
    said = service.post("/predict_names", {"instances": SAMPLES}).json()
    assert said["predictions"] == NAMES
    for name, shares in zip(NAMES, said["probabilities"], strict=True):
        assert list(shares) == NAMES
        assert sum(shares.values()) == pytest.approx(1)
        assert max(shares, key=shares.get) == name


def test_the_version_says_what_is_served(service: Any, place: Any) -> None:
    model = service.get("/version").json()["model"]
    assert (model["name"], model["version"], model["alias"]) == ("iris_logistic_regression", "1", "Production")
    assert model["run_id"] == place.client.get_model_version("iris_logistic_regression", "1").run_id
    assert model["columns"] == COLUMNS
    assert (model["stale"], model["problem"]) == (False, None)


def test_concurrent_requests_are_all_answered_right(service: Any) -> None:
    bodies = [{"instances": [SAMPLES[i % 3]]} for i in range(200)]
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda body: service.post("/invocations", body), bodies))
    assert {answer.status_code for answer in answers} == {200}
    assert [answer.json()["predictions"] for answer in answers] == [[CLASSES[i % 3]] for i in range(200)]


@pytest.mark.parametrize(
    ("status", "request_of"),
    [
        (400, lambda url: requests.post(url + "/invocations", json={"instances": [[1, 2]]}, timeout=30)),
        (404, lambda url: requests.get(url + "/nothing", timeout=30)),
        (405, lambda url: requests.get(url + "/invocations", timeout=30)),
        (413, lambda url: requests.post(url + "/invocations", json={"instances": "x" * (17 << 20)}, timeout=30)),
        (415, lambda url: requests.post(url + "/invocations", data="5.1,3.5,1.4,0.2", timeout=30)),
    ],
)
def test_a_wrong_request_is_answered_in_json_with_what_is_wrong(service: Any, status: Any, request_of: Any) -> None:
    answer = request_of(service.url)
    assert answer.status_code == status
    assert set(answer.json()) >= {"error_code", "message"}


def test_the_example_client_is_content(service: Any) -> None:
    result = subprocess.run([sys.executable, EXAMPLE, service.url], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert "All as expected." in result.stdout
    for name in NAMES:
        assert name in result.stdout


def test_the_example_client_fails_where_nobody_serves() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    result = subprocess.run([sys.executable, EXAMPLE, url], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert f"No usable answer from {url}" in result.stderr
    assert "Traceback" not in result.stderr


def ready_lines(service: Any) -> list[dict[str, Any]]:
    return [line for line in service.lines if line["message"].startswith("Ready: ")]


def test_the_ready_line_says_which_version_and_where_to_try_it(service: Any) -> None:
    line = ready_lines(service)[0]
    assert line["version"] == "1"
    assert service.url.rsplit(":", 1)[1] in line["message"]


def test_a_moved_alias_is_followed_and_so_is_the_rollback(service: Any, in_production: Any) -> None:
    in_production("2")
    assert service.predict() == CLASSES
    assert service.get("/ready").json()["model"]["stale"] is False
    in_production("1")
    assert service.predict() == CLASSES


def test_each_version_that_is_taken_up_is_announced_once_for_all_workers(service: Any, in_production: Any) -> None:
    in_production("2")
    in_production("1")
    announced = [line["version"] for line in ready_lines(service)]
    assert announced[:3] == ["1", "2", "1"]
    assert all(one != other for one, other in pairwise(announced))


def test_no_request_fails_while_the_version_changes(service: Any, in_production: Any) -> None:
    answers, stop = [], threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answers.append(service.post("/invocations", {"instances": SAMPLES}))

    client = threading.Thread(target=ask)
    client.start()
    try:
        in_production("2")
    finally:
        stop.set()
        client.join()
    assert {answer.status_code for answer in answers} == {200}
    assert all(answer.json()["predictions"] == CLASSES for answer in answers)


def test_a_service_without_a_registry_waits_and_serves_after_the_first_training(
    tmp_path: Path, train: Callable[..., Training]
) -> None:
    place = Place(tmp_path / "place")
    with place.inference() as service:
        service.answers("/health")
        answer = service.get("/ready")
        assert answer.status_code == 503
        (reason,) = answer.json()["reasons"]
        assert str(place.database) in reason
        assert service.post("/invocations", {"instances": SAMPLES}).status_code == 503
        train(place)
        service.serves("1")
        assert service.predict() == CLASSES
        assert "Traceback" not in service.log


def test_a_port_that_is_taken_ends_the_start_with_the_way_out(place: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        result = place.run(sys.executable, "-m", "inference", INFERENCE_LISTEN_PORT=str(port))
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert f"cannot listen on 127.0.0.1:{port}" in line
    assert "INFERENCE_LISTEN_PORT chooses another port" in line


@pytest.mark.parametrize(
    ("name", "value"), [("INFERENCE_LISTEN_PORT", "http"), ("MODEL_POLL_SECONDS", "0"), ("MODEL_ALIAS", "")]
)
def test_a_setting_that_cannot_be_used_ends_the_start_in_one_line(place: Any, name: str, value: str) -> None:
    result = place.run(sys.executable, "-m", "inference", **{name: value})
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"inference: {name} is ")


def threads_that_take(pid: int, number: int) -> set[int]:
    """Return the threads of a process to which the kernel may give a signal."""
    found = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # each look at the registry has a thread of its own, and this one has just ended
            (blocked,) = re.findall(r"^SigBlk:\s*(\w+)$", (task / "status").read_text(), re.M)
            if not int(blocked, 16) >> (number - 1) & 1:
                found.add(int(task.name))
    return found


@pytest.fixture(scope="module")
def without_the_database(second: Training, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A service whose database goes away, and which is stopped and started again without it."""
    place = second.place.copy(tmp_path_factory.mktemp("without") / "place")
    seen = SimpleNamespace(place=place)
    with place.inference(INFERENCE_WORKERS="1") as service:
        service.answers("/ready")
        place.database.unlink()
        eventually("the service is stale", lambda: service.get("/version").json()["model"]["stale"])
        seen.predictions = service.predict()
        seen.pid = service._process.pid
        seen.takes_signals = threads_that_take(seen.pid, signal.SIGTERM)
        seen.exit_code, seen.log, seen.has_left_processes = service.stop(), service.log, service.has_left_processes
    with place.inference(INFERENCE_WORKERS="1") as service:
        service.answers("/ready")
        seen.predictions_of_the_next = service.predict()
        seen.model_of_the_next = eventually("it has looked for the database", lambda: looked(service))
    return seen


def looked(service: Any) -> Any:
    """Return what a service says of its model, None as long as it has not asked the registry: it serves before that."""
    model = service.get("/version").json()["model"]
    return None if model["problem"] == "the registry has not been asked yet" else model


def test_serving_goes_on_when_the_database_goes_away(without_the_database: Any) -> None:
    assert without_the_database.predictions == CLASSES
    assert "Traceback" not in without_the_database.log


def test_a_stopped_service_ends_well_and_leaves_no_process(without_the_database: Any) -> None:
    assert without_the_database.exit_code == 0
    assert not without_the_database.has_left_processes


def test_the_signal_to_end_reaches_the_thread_that_sleeps_until_it_comes_and_no_other(
    without_the_database: Any,
) -> None:
    assert without_the_database.takes_signals == {without_the_database.pid}


def test_without_the_database_a_restarted_service_serves_from_its_cache_and_says_that_it_may_be_stale(
    without_the_database: Any,
) -> None:
    assert without_the_database.predictions_of_the_next == CLASSES
    model, database = without_the_database.model_of_the_next, without_the_database.place.database
    assert (model["version"], model["stale"]) == ("1", True)
    assert str(database) in model["problem"]
    assert not database.exists()


def test_what_a_library_warns_of_is_a_line_of_json_too(place: Place, tmp_path: Path) -> None:
    """A version says which scikit-learn made it, and scikit-learn warns with these words."""
    code = r"""
import logging.config, warnings
from inference.server import Gunicorn
from inference.settings import Settings
told = Gunicorn(Settings()).cfg
logging.config.dictConfig(told.logconfig_dict)
told.post_fork(None, None)
warnings.warn("made by 1.0\x1b[2J\n{}")
"""
    result = place.run(sys.executable, "-c", code, PROMETHEUS_MULTIPROC_DIR=str(tmp_path))
    assert (result.returncode, result.stderr) == (0, "")
    (line,) = result.stdout.splitlines()
    assert "made by 1.0\\x1b[2J" in json.loads(line)["message"]
    assert "\x1b" not in line
