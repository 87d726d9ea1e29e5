"""Figures for Prometheus, of all processes of a service together.

`prometheus_client` chooses where figures are kept when it is imported, so each of these tests runs processes of its own.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.unhurried

ROOT = Path(__file__).parents[2]
BEGINNING = """
import os, sys
from inference.telemetry import metrics
from inference.model.version import ModelVersion

ONE, TWO = (ModelVersion("flowers", number, "run", 1, "m", "") for number in "12")
"""


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Any]:
    """Return what runs lines in a process whose figures are this service's, and returns what it says."""

    def ran(lines: str) -> str:
        environ = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": f"{ROOT / 'services'}:{ROOT}"}
        result = subprocess.run(
            [sys.executable, "-c", BEGINNING + lines], env=environ, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    return ran


@pytest.fixture
def figures(run: Callable[..., Any]) -> Callable[..., Any]:
    """Return what reads the figures as another process tells them: name and labels → value."""

    def read() -> dict[str, float]:
        text = run("sys.stdout.write(metrics.exposition().decode())")
        return {
            " ".join(
                [sample.name, *(f"{label}={value}" for label, value in sorted(sample.labels.items()))]
            ): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    return read


def test_the_requests_of_all_workers_are_counted_together_also_of_those_that_are_gone(
    run: Callable[..., Any], figures: Callable[..., Any]
) -> None:
    for _ in range(2):
        run("""
requests = metrics.RequestMetrics()
requests.answered(("flowers", "1"), "/invocations", "200", 0.002)
requests.answered(("flowers", "1"), "/invocations", "400", 0.2)
requests.failed(("flowers", "1"), "/invocations", "INVALID_PARAMETER_VALUE")
requests.predicted(("flowers", "1"), 3)
requests.predicted(("flowers", "2"), 4)
requests.pass_on()
""")
    found = figures()
    assert found["inference_requests_total endpoint=/invocations model=flowers status=200 version=1"] == 2
    assert found["inference_requests_total endpoint=/invocations model=flowers status=400 version=1"] == 2
    assert (
        found["inference_errors_total endpoint=/invocations kind=INVALID_PARAMETER_VALUE model=flowers version=1"] == 2
    )
    assert found["inference_rows_total model=flowers version=1"] == 6
    assert found["inference_rows_total model=flowers version=2"] == 8
    assert found["inference_request_seconds_count endpoint=/invocations model=flowers version=1"] == 4
    assert found["inference_request_seconds_bucket endpoint=/invocations le=0.0025 model=flowers version=1"] == 2


def test_what_was_counted_in_memory_is_passed_on_as_if_each_had_been_counted_by_itself(
    run: Callable[..., Any], figures: Callable[..., Any]
) -> None:
    times = [0.0, 0.0005, 0.00051, 0.02, 0.025, 3.0, 10.0, 11.0]
    run(f"""
requests = metrics.RequestMetrics()
for seconds in {times}:
    requests.answered(("flowers", "1"), "kept", "200", seconds)
    metrics.LATENCY.labels("flowers", "1", "at once").observe(seconds)
requests.pass_on()
requests.pass_on()
""")
    found = figures()
    at_once = {name: value for name, value in found.items() if "endpoint=at once" in name}
    assert len(at_once) == 16
    assert at_once == {
        name.replace("=kept", "=at once"): found[name] for name in found if "seconds" in name and "kept" in name
    }


def test_what_was_counted_is_passed_on_a_few_times_in_a_second(
    run: Callable[..., Any], figures: Callable[..., Any]
) -> None:
    run("""
requests = metrics.RequestMetrics()
for number in range(30):
    requests.predicted(("flowers", "1"), 1)
    requests.pass_on_when_due(100 + number / 100)
""")
    assert figures()["inference_rows_total model=flowers version=1"] == 21


def test_versions_without_number_do_not_fill_the_metrics(run: Callable[..., Any], figures: Callable[..., Any]) -> None:
    run("""
requests, poller = metrics.RequestMetrics(), metrics.PollerMetrics()
for number in range(metrics.MOST_VERSIONS + 50):
    version = ModelVersion("flowers", str(number), "run", 1, "m", "")
    poller.swapped(version), poller.refused(version), poller.report(version, None)
    labels = version.name, version.version
    requests.answered(labels, "/invocations", "200", 0.1), requests.failed(labels, "/invocations", "X")
    requests.predicted(labels, 1), requests.pass_on()
""")
    found = figures()
    for name in (
        "requests_total endpoint=/invocations",
        "rows_total",
        "swaps_total",
        "swaps_refused_total",
        "model_info",
    ):
        values = [value for key, value in found.items() if key.startswith(f"inference_{name} ")]
        assert len(values) == 101, name
    assert found["inference_rows_total model=flowers version=others"] == 50
    assert found["inference_model_info model=flowers version=others"] == 1


def test_what_a_dead_worker_was_doing_counts_no_more(run: Callable[..., Any], figures: Callable[..., Any]) -> None:
    pid = run("metrics.IN_FLIGHT.inc(); metrics.QUEUE.inc(2); print(os.getpid())").strip()
    assert figures()["inference_requests_in_flight"] == 1
    run(f"from prometheus_client import multiprocess; multiprocess.mark_process_dead({pid})")
    assert figures().get("inference_requests_in_flight", 0) == 0
    assert figures().get("inference_queue", 0) == 0


def test_the_server_takes_note_of_a_worker_that_is_dead(run: Callable[..., Any], figures: Callable[..., Any]) -> None:
    pid = run("metrics.IN_FLIGHT.inc(); print(os.getpid())").strip()
    run(f"""
from types import SimpleNamespace
from inference import server
server.child_exit(None, SimpleNamespace(pid={pid}))
""")
    assert figures().get("inference_requests_in_flight", 0) == 0


def test_the_version_that_is_served_is_the_one_that_is_one(
    run: Callable[..., Any], figures: Callable[..., Any]
) -> None:
    run("""
poller = metrics.PollerMetrics()
poller.swapped(ONE); poller.report(ONE, None)
poller.swapped(TWO); poller.report(TWO, None); poller.report(TWO, None)
""")
    found = figures()
    assert found["inference_model_info model=flowers version=1"] == 0
    assert found["inference_model_info model=flowers version=2"] == 1
    assert found["inference_swaps_total model=flowers version=1"] == 1
    assert found["inference_swaps_total model=flowers version=2"] == 1
    assert found["inference_stale"] == 0


def test_a_service_is_stale_while_it_serves_with_a_problem(
    run: Callable[..., Any], figures: Callable[..., Any]
) -> None:
    run("""
poller = metrics.PollerMetrics()
poller.looked(); poller.refused(TWO); poller.report(ONE, "version 2 is refused")
""")
    found = figures()
    assert found["inference_stale"] == 1
    assert found["inference_swaps_refused_total model=flowers version=2"] == 1
    assert found["inference_registry_seen_timestamp_seconds"] > 1e9
    assert found["inference_problem_info problem=version 2 is refused"] == 1


def test_a_problem_is_told_while_it_lasts(run: Callable[..., Any], figures: Callable[..., Any]) -> None:
    run("""
poller = metrics.PollerMetrics()
for problem in ("version 2 is refused", "MLflow does not answer", "MLflow does not answer"):
    poller.report(ONE, problem)
""")
    assert figures()["inference_problem_info problem=MLflow does not answer"] == 1
    assert figures()["inference_problem_info problem=version 2 is refused"] == 0
    run("""
poller = metrics.PollerMetrics()
poller.report(ONE, "version 2 is refused"); poller.report(ONE, None)
""")
    assert figures()["inference_problem_info problem=version 2 is refused"] == 0


def test_texts_that_differ_each_time_do_not_fill_the_metrics(
    run: Callable[..., Any], figures: Callable[..., Any]
) -> None:
    run("""
poller = metrics.PollerMetrics()
for number in range(200):
    poller.report(ONE, f"{number} " + "x" * 1000)
""")
    told = {name: value for name, value in figures().items() if name.startswith("inference_problem_info")}
    assert len(told) == 51
    assert max(map(len, told)) < 400
    assert [name for name, value in told.items() if value] == ["inference_problem_info problem=another one: see /ready"]


def test_a_service_without_a_model_is_not_stale_but_not_ready(
    run: Callable[..., Any], figures: Callable[..., Any]
) -> None:
    run('metrics.PollerMetrics().report(None, "nothing is there")')
    assert figures()["inference_stale"] == 0


def test_requests_are_counted_under_the_path_that_they_are_known_by_and_no_other(run: Callable[..., Any]) -> None:
    text = run("""
from tests.unit.serving import SERVED, VERSION, client_of

client = client_of(SERVED)
client.post("/invocations", json={"instances": [[1, 2], [2, 1]]})
client.post("/invocations", json={})
client.post(f"/v2/models/{VERSION.name}/infer", json={})
client.get(f"/v2/models/{VERSION.name}")
client.get("/made/up"); client.get("/also/made/up"); client.get("/health")
answer = client.get("/metrics")
assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4"), answer.headers
sys.stdout.write(answer.text)
""")
    counted = {
        (sample.labels["endpoint"], sample.labels["status"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "inference_requests_total"
    }
    assert counted == {
        ("/invocations", "200"): 1,
        ("/invocations", "400"): 1,
        ("/v2/models/{name}/infer", "400"): 1,
        ("/v2/models/<name>", "200"): 1,
        ("other", "404"): 2,
        ("/health", "200"): 1,
    }
    assert 'inference_rows_total{model="iris_logistic_regression",version="7"} 2.0' in text
    assert "inference_requests_in_flight 1.0" in text


def test_the_status_page_has_the_same_figures_of_all_processes_for_people(run: Callable[..., Any]) -> None:
    lines = """
from tests.unit.serving import SERVED, client_of

client = client_of(SERVED)
client.post("/invocations", json={"instances": [[1, 2], [2, 1]]})
client.post("/invocations", json={})
client.get("/version")
sys.stdout.write(client.get("/status").text)
"""
    run(lines)
    found = json.loads(run(lines))["figures"]
    assert found["requests"] == {"200": 2, "400": 2}
    assert found["rows"] == {"7": 4}
    assert found["seconds"]["+Inf"] == 4
    assert sum(found["errors"].values()) == 2


def test_figures_are_made_anew_a_few_times_in_a_second_however_often_they_are_asked_for(
    run: Callable[..., Any],
) -> None:
    lines = """
time, made = [7.0], []
exposition = metrics.Exposition(lambda: made.append(1) or b"%d" % len(made), lambda: time[0])
asked = [exposition() for _ in range(3 * metrics.MOST_EXPOSITIONS)]
time[0] = 8.0
assert len(made) == metrics.MOST_EXPOSITIONS
sys.stdout.write(f"{asked[0]} {asked[-1]} {exposition()}")
"""
    assert run(lines) == "b'1' b'20' b'21'"
