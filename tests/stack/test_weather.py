"""Bad weather: parts that die, vanish or fill up. Nothing is lost, and everything recovers with no hand."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import pytest
import requests

from tests.compose import CLASSES, LONG_RUNNING, Stack, docker, eventually
from tests.faults import ALIAS, kill, mounted, out_of_memory, paused, setting, stopped, without_alias
from tests.steady import CLIENTS, RATE, Seen, ready, steady_load

# What takes the database and the store, there and back.
LOG_AND_READ_BACK = """
import mlflow
mlflow.set_experiment("after a fault")
with mlflow.start_run() as run:
    mlflow.log_text("all of it", "note.txt")
print(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/note.txt"))
"""


def _statuses(stack: Any) -> set[str]:
    runs = requests.post(
        f"{stack.mlflow_url}/api/2.0/mlflow/runs/search",
        json={"experiment_ids": [_experiment(stack)], "max_results": 1000},
        timeout=10,
    ).json()["runs"]
    return {run["info"]["status"] for run in runs}


def _experiment(stack: Any) -> str:
    name = "MLflow Workshop - Iris Classification"
    return stack.api("experiments/get-by-name", experiment_name=name)["experiment"]["experiment_id"]


@pytest.mark.parametrize("service", ["postgres", "minio", "mlflow", "inference"])
def test_a_killed_service_comes_back_and_everything_works_again(stack: Stack, service: str) -> None:
    stack.put_right()
    kill(stack, service)
    eventually("predictions work", lambda: stack.predict() == CLASSES)
    eventually("MLflow answers", lambda: stack.alias(), seconds=90)
    stack.until_healthy(service)
    logged = stack.notebook(LOG_AND_READ_BACK)  # (The first training after all of them is that of `other`.)
    assert "all of it" in logged.stdout, logged.stderr


@pytest.mark.parametrize(("fault", "service"), [(paused, "minio"), (stopped, "mlflow")], ids=["frozen", "stopped"])
def test_clients_under_a_steady_load_notice_nothing_of_a_fault(
    stack: Stack, fault: Callable[[Stack, str], AbstractContextManager[None]], service: str
) -> None:
    """The short form of `make chaos`, with its load and its counts."""
    # A machine whose cores are taken, at times by others than this one's processes, makes answers late by itself, but not each time.
    for _ in range(3):
        seen = _seen_with(stack, fault, service)
        assert (seen.wrong, seen.failed) == (0, 0), seen
        if seen.late < seen.right / 100:
            return
    pytest.fail(f"answers were late in each of three faults; in the last: {seen}")


def _seen_with(stack: Stack, fault: Callable[[Stack, str], AbstractContextManager[None]], service: str) -> Seen:
    """Return what clients saw of a fault for eight seconds, and until the stack was whole again."""
    port, seconds = int(stack.settings["INFERENCE_PORT"]), 8
    with steady_load(stack) as seen:
        with fault(stack, service):
            enough = seen.right + CLIENTS * RATE * seconds
            eventually(f"there is the load of {seconds} s", lambda: seen.right > enough)
        eventually("the stack is whole", lambda: ready(port) == "ready" and stack.alias())
    return seen


@pytest.fixture(scope="class")
def gone(stack: Stack) -> Iterator[None]:
    """Have no MLflow and no MinIO, once for all that do without: of MLflow a start is seconds of a core."""
    with stopped(stack, "mlflow", "minio"):
        yield


@pytest.mark.usefixtures("gone")
class TestWithoutMlflowAndMinio:
    def test_a_new_container_serves_from_its_cache_marked_stale(self, stack: Stack) -> None:
        served = stack.served_version()
        stack.compose("up", "--detach", "--no-build", "--force-recreate", "inference")
        eventually("predictions work", lambda: stack.predict() == CLASSES)
        assert {stack.containers()[name]["State"]["Status"] for name in ("mlflow", "minio")} == {"exited"}

        def model() -> dict[str, Any]:
            return requests.get(f"{stack.url}/ready", timeout=10).json()["model"]

        # It serves first and asks afterwards.
        assert (model()["version"], model()["stale"]) == (served, True)
        eventually("the reason is told", lambda: "does not answer" in model()["problem"])

    def test_a_training_tells_in_one_line_that_mlflow_is_out_of_reach(self, stack: Stack) -> None:
        result = stack.compose("run", "--rm", "trainer", check=False)
        assert result.returncode == 4
        words = [line for line in result.stderr.splitlines() if line.startswith("trainer:")]
        assert len(words) == 1
        assert "MLflow at http://mlflow:5000 does not answer" in words[0]
        assert "`docker compose up -d --wait`" in words[0]
        assert "Traceback" not in result.stderr


def test_with_mlflow_and_minio_back_it_is_not_stale_any_more(stack: Stack) -> None:
    eventually(
        "it is not stale any more", lambda: not requests.get(f"{stack.url}/ready", timeout=10).json()["model"]["stale"]
    )


@pytest.mark.parametrize("damage", ["truncate -s 100 model.skops", "rm MLmodel", "sh -c 'echo x > MLmodel'"])
def test_a_damaged_cache_is_fetched_again(stack: Stack, damage: str) -> None:
    inside = f"for folder in /cache/iris_logistic_regression/contents/*; do cd $folder && {damage} || exit 1; done"
    stack.compose("exec", "-T", "inference", "sh", "-c", inside)
    stack.compose("restart", "inference")
    eventually("predictions work", lambda: stack.predict() == CLASSES)
    assert requests.get(f"{stack.url}/ready", timeout=10).json()["model"]["stale"] is False


@pytest.fixture(scope="module")
def other(stack: Stack) -> str:
    """A version that is signed, and not in Production."""
    stack.compose("run", "--rm", "trainer", "train", "--no-promote")
    return max(stack.versions(), key=int)


@pytest.mark.parametrize(
    ("mount", "reason"),
    [("small:/cache", "No space left on device"), ("model-cache:/cache:ro", "Read-only file system")],
    ids=["full", "read-only"],
)
def test_with_a_cache_that_cannot_be_written_it_serves_and_changes_all_the_same(
    stack: Stack, other: str, mount: str, reason: str
) -> None:
    current = stack.alias()
    with mounted(stack, "inference", mount):
        assert stack.predict() == CLASSES
        try:
            stack.set_alias(other)
            eventually("the other version is served", lambda: stack.served_version() == other)
            assert stack.predict() == CLASSES
            ready = requests.get(f"{stack.url}/ready", timeout=10)
            assert (ready.status_code, ready.json()["model"]["stale"]) == (200, False)
            told = f"the model cache /cache/iris_logistic_regression cannot be used: {reason}"
            assert told in stack.logs("inference")
        finally:
            stack.set_alias(current)
    eventually("the version of before is served", lambda: stack.served_version() == current)


def test_with_nothing_in_the_registry_it_is_alive_and_serves_soon_after_the_first_promotion(stack: Stack) -> None:
    with without_alias(stack) as version:
        # What was served goes on without the alias, after a start as well, as long as the cache has it.
        stack.compose("up", "--detach", "--no-deps", "--no-build", "--force-recreate", "inference")
        eventually("it serves from its cache", lambda: requests.get(f"{stack.url}/ready", timeout=10).ok)
        model = requests.get(f"{stack.url}/version", timeout=10).json()["model"]
        assert (model["version"], model["stale"]) == (version, True)
        stack.compose("exec", "-T", "inference", "find", "/cache", "-mindepth", "1", "-delete")
        stack.compose("up", "--detach", "--no-deps", "--no-build", "--force-recreate", "inference")
        eventually("it is alive", lambda: requests.get(f"{stack.url}/health", timeout=10).ok)
        ready = requests.get(f"{stack.url}/ready", timeout=10)
        assert ready.status_code == 503
        assert "no version of 'iris_logistic_regression' has the alias 'Production' yet" in ready.json()["reasons"][0]
        refused = requests.post(f"{stack.url}/invocations", json={"instances": [[1, 2, 3, 4]]}, timeout=10)
        assert refused.status_code == 503
        assert refused.headers["Retry-After"]
        # The MLflow UI writes every alias in lower case; who tries it there is told.
        misspelt = ALIAS | {"alias": "production", "version": version}
        requests.post(f"{stack.mlflow_url}/api/2.0/mlflow/registered-models/alias", json=misspelt, timeout=10)
        eventually(
            "the misspelt alias is named",
            lambda: (
                "it has 'production', and case counts"
                in requests.get(f"{stack.url}/ready", timeout=10).json()["reasons"][0]
            ),
        )
    eventually(
        "predictions work", lambda: requests.get(f"{stack.url}/ready", timeout=10).ok and stack.predict() == CLASSES
    )


def test_a_process_that_the_kernel_ended_for_memory_is_told_with_the_setting(stack: Stack) -> None:
    out_of_memory(stack, "inference")
    # The service asks what the kernel has counted when a worker ends.
    kill(stack, "inference", "$(child $(child $(child 1)))")
    told = "was ended by the kernel for memory: INFERENCE_MEMORY is 1536m;"
    eventually("it is told", lambda: told in stack.logs("inference"))
    eventually("predictions work", lambda: stack.predict() == CLASSES)


def test_minio_gone_in_the_middle_of_a_training_leaves_no_version_and_no_open_run(stack: Stack) -> None:
    versions, alias = set(stack.versions()), stack.alias()
    # It asks for the files in Production and sends its own, each time as often as it may: four times more.
    once = ("--env", "MLFLOW_HTTP_REQUEST_MAX_RETRIES=0")
    with stopped(stack, "minio"):
        result = stack.compose("run", "--rm", *once, "trainer", check=False)
    assert result.returncode == 4
    words = [line for line in result.stderr.splitlines() if line.startswith("trainer:")]
    assert len(words) == 1
    assert "Traceback" not in result.stderr
    assert set(stack.versions()) == versions
    assert stack.alias() == alias
    assert "RUNNING" not in _statuses(stack)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_trainer_that_is_stopped_or_killed_leaves_nothing_half_done(stack: Stack, how: str) -> None:
    alias, before, name = stack.alias(), set(stack.versions()), f"{stack.name}-interrupted"
    assert "RUNNING" not in _statuses(stack)
    # As on most machines: the folder, and so the trainer, belongs to another user than the container's init process.
    os.chown(stack.folder / "data", 12345, 12345)
    with ThreadPoolExecutor(1) as pool:
        training = pool.submit(stack.compose, "run", "--rm", "--name", name, "trainer", check=False)
        eventually("a run is open", lambda: training.done() or "RUNNING" in _statuses(stack))
        docker(how, name)
        interrupted = training.result()
    assert interrupted.returncode == (143 if how == "stop" else 137), interrupted.stdout + interrupted.stderr
    left_open = "RUNNING" in _statuses(stack)
    assert left_open == (how == "kill"), interrupted.stdout + interrupted.stderr
    assert stack.alias() == alias
    result = stack.compose("run", "--rm", "trainer")
    assert "RUNNING" not in _statuses(stack)
    for version in set(stack.versions()) - before:
        model_id = stack.versions()[version]["source"].removeprefix("models:/")
        assert stack.api(f"logged-models/{model_id}/artifacts/directories")["files"]
    assert ("left behind" in result.stdout) == left_open


@pytest.mark.parametrize(
    ("name", "value", "service"),
    [
        ("MODEL_ALIAS", "", "inference"),
        ("MODEL_TRUST", "sgined", "inference"),
        ("INFERENCE_WORKERS", "many", "inference"),
        ("INFERENCE_CONNECTIONS", "0", "inference"),
        ("MODEL_POLL_SECONDS", "-1", "inference"),
        ("MIN_TEST_ACCURACY", "97", "trainer"),
        ("MIN_TEST_R2", "much", "trainer"),
        ("MODEL_NAME", "", "trainer"),
    ],
)
def test_a_bad_setting_stops_that_container_at_boot_in_one_line(
    stack: Stack, name: str, value: str, service: str
) -> None:
    with setting(stack, **{name: value}):
        result = stack.compose("run", "--rm", "--no-deps", service, check=False)
    assert result.returncode == (2 if service == "trainer" else 1)
    words = [line for line in result.stderr.splitlines() if line.startswith(f"{service}:")]
    assert len(words) == 1, result.stderr
    assert name in words[0]
    assert (repr(value) in words[0]) if value else ("empty" in words[0])
    assert "Traceback" not in result.stderr


def test_all_is_well_at_the_end(stack: Stack) -> None:
    stack.up("--no-build")
    states = {n: c["State"]["Health"]["Status"] for n, c in stack.containers().items() if n in LONG_RUNNING}
    assert set(states.values()) == {"healthy"}
