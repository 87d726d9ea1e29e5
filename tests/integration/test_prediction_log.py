"""The prediction log of the real service: whatever is killed, what was answered is there, and there once."""

import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest
import requests

from tests.asking_on import BODIES, CLIENTS, ROUNDS, Clients
from tests.integration.conftest import Training
from tests.integration.places import SAMPLES, Place, Process, Service, eventually, free_port

SHIPPER = [sys.executable, "-m", "inference.prediction_log.shipper"]


class Parts:
    """The service and its shipper, which are killed and started again."""

    def __init__(self, place: Place) -> None:
        self.place, self.port = place, free_port()
        self.settings = {
            "PREDICTION_LOG": "1",
            "PREDICTION_LOG_DIR": str(place.folder / "spool"),
            "PREDICTION_LOG_STORE": str(place.folder / "kept"),
            "PREDICTION_LOG_SECONDS": "0.2",
            "INFERENCE_LISTEN_PORT": str(self.port),
            "INFERENCE_LOG_RATE": "0",
        }
        self.service, self.shipper = self._service(), self._shipper()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _service(self) -> Service:
        environ = self.place.environ(**self.settings)
        command = [sys.executable, "-m", "inference"]
        return Service(command, environ, self.place.work, self.place._new_log(), self.port)

    def _shipper(self) -> Process:
        return Process(SHIPPER, self.place.environ(**self.settings), self.place.work, self.place._new_log())

    def kill_a_worker(self) -> None:
        workers = self.service.workers()
        if workers:
            os.kill(random.choice(workers), signal.SIGKILL)  # noqa: S311

    def kill_the_shipper(self) -> None:
        self.shipper.kill_what_is_left()
        self.shipper = self._shipper()

    def kill_all(self) -> None:
        """Do what the kernel does where a container is killed: none of its processes has a last word."""
        self.service.kill_what_is_left()
        self.shipper.kill_what_is_left()
        self.service, self.shipper = self._service(), self._shipper()
        self.service.answers("/ready")

    def end(self) -> None:
        """End it as it is ended all the time here, and ship what is left."""
        self.service.kill_what_is_left()
        self.shipper.kill_what_is_left()
        last = self.place.run(*SHIPPER, "--once", **self.settings)  # type: ignore[arg-type]
        assert last.returncode == 0, last.stdout + last.stderr


def kept(place: Place) -> list[dict[str, Any]]:
    """Return the rows of all predictions that are kept."""
    found = ds.dataset(place.folder / "kept" / "predictions", partitioning="hive")
    rows: list[dict[str, Any]] = found.to_table(columns=["request_id", "row", "prediction"]).to_pylist()
    return rows


@pytest.fixture
def place(first: Training, tmp_path: Path) -> Place:
    return first.place.copy(tmp_path / "place")


def test_what_was_answered_is_kept_once_whichever_process_is_killed(place: Place) -> None:
    parts = Parts(place)
    try:
        parts.service.answers("/ready")
        clients = Clients(lambda: parts.url)
        kills = [parts.kill_a_worker, parts.kill_the_shipper, parts.kill_a_worker, parts.kill_all]
        with clients.asking():
            for number in range(ROUNDS):
                before = len(clients.answered)
                eventually("clients are answered", lambda: len(clients.answered) > before + 20)  # noqa: B023
                time.sleep(random.random() * 0.2)  # noqa: S311 - at any moment
                kills[number % len(kills)]()
        parts.end()
    finally:
        parts.service.kill_what_is_left()
        parts.shipper.kill_what_is_left()
    rows = kept(place)
    assert max(Counter((row["request_id"], row["row"]) for row in rows).values()) == 1
    counts = Counter(row["request_id"] for row in rows)
    assert {name: counts[name] for name in clients.answered} == clients.answered
    # Nor is there more than what was on its way when a process ended.
    unanswered = len(counts) - len(clients.answered)
    assert unanswered <= CLIENTS * ROUNDS
    assert not list((place.folder / "spool").glob("*.segment"))
    print(f"\nkilled {ROUNDS} times; answered and kept once: {len(clients.answered)}; more: {unanswered}")


def test_a_store_that_is_gone_costs_no_prediction_and_gets_what_waited_when_it_is_back(place: Place) -> None:
    parts = Parts(place)
    gone = place.folder / "kept"
    gone.write_text("no folder")
    try:
        parts.service.answers("/ready")
        for number in range(20):
            answer = requests.post(
                f"{parts.url}/invocations", json=BODIES[0], headers={"X-Request-ID": f"r{number}"}, timeout=10
            )
            assert answer.status_code == 200
        eventually("the shipper says so", lambda: "nothing can be shipped" in parts.shipper.log, 30)
        gone.unlink()
        eventually("it is shipped", lambda: "predictions are shipped again" in parts.shipper.log, 30)
        parts.end()
    finally:
        parts.service.kill_what_is_left()
        parts.shipper.kill_what_is_left()
    assert sorted(row["request_id"] for row in kept(place)) == sorted(f"r{number}" for number in range(20))


def test_a_full_spool_and_a_wrong_name_are_told_by_version_metrics_and_log(place: Place) -> None:
    large = {"instances": SAMPLES * 20_000}  # two megabytes of numbers
    settings = {"PREDICTION_LOG": "1", "PREDICTION_LOG_DIR": str(place.folder / "spool"), "INFERENCE_WORKERS": "1"}
    with place.inference(**settings, PREDICTION_LOG_SPOOL_MB="32") as service:
        service.answers("/ready")
        assert [service.post("/invocations", large).status_code for _ in range(18)] == [200] * 18
        assert "MB in it, of 32" in service.get("/version").json()["prediction_log"]["problem"]
        assert 'inference_prediction_log_dropped_total{reason="full"}' in service.get("/metrics").text
        assert [line["level"] for line in service.lines if "keeps nothing" in line["message"]] == ["error"]
    with place.inference(**settings, PREDICTION_LOG_OMIT="petal_lenght") as service:
        service.answers("/ready")
        assert service.predict() == [0, 1, 2]
        told = service.get("/version").json()["prediction_log"]
        assert told["problem"] == "PREDICTION_LOG_OMIT has 'petal_lenght', which the model lacks"
        assert 'inference_prediction_log_dropped_total{reason="omit"} 1.0' in service.get("/metrics").text


def test_without_docker_serve_keeps_predictions_in_a_folder(place: Place) -> None:
    settings = {"PREDICTION_LOG": "1", "PREDICTION_LOG_SECONDS": "0.2"}
    settings |= {"PREDICTION_LOG_DIR": str(place.folder / "spool"), "PREDICTION_LOG_STORE": str(place.folder / "kept")}
    with place.embedded("serve", **settings) as service:
        service.answers("/ready")
        assert service.predict() == [0, 1, 2]
        eventually("it is kept", lambda: list((place.folder / "kept").rglob("*.parquet")), 30)
        service.stop()
        eventually("the shipper ends, too", lambda: not service.has_left_processes, 30)
    assert [row["prediction"] for row in kept(place)] == [0, 1, 2]


def test_what_ships_and_asks_imports_nothing_that_predicts(first: Training) -> None:
    code = (
        "import sys; import inference.prediction_log.shipper, inference.prediction_log.command; "
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    run = first.place.run(sys.executable, "-c", code)
    assert run.returncode == 0, run.stderr
    predicts = {
        "onnxruntime",
        "sklearn",
        "skops",
        "flask",
        "gunicorn",
        "prometheus_client",
        "mlflow",
        "simdjson",
        "uvloop",
    }
    there = {*run.stdout.split()}
    assert "inference" in there
    assert not predicts & there
