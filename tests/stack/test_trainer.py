"""`docker compose run trainer`: always trains, and promotes by its stated rule."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.compose import CLASSES, Stack, eventually


@pytest.fixture(scope="module")
def before(stack: Stack) -> set[str]:
    """The versions that are there: one, and more where other tests have trained on this stack."""
    return set(stack.versions())


@pytest.fixture(scope="module")
def trained(stack: Stack, before: set[str]) -> Any:
    """A second training on the same data, run as a person runs it, without --rm."""
    return stack.compose("run", "trainer")


def test_the_same_model_again_is_a_new_version_that_does_not_displace_its_equal(
    stack: Stack, trained: Any, before: set[str]
) -> None:
    assert "not promoted: equal test accuracy 0.9667 against 0.9667 of version 1 in Production" in " ".join(
        trained.stdout.replace("│", " ").split()
    )
    versions = stack.versions()
    (new,) = versions.keys() - before
    assert (versions["1"]["tags"]["stage"], versions[new]["tags"]["stage"]) == ("Production", "Staging")
    assert stack.alias() == "1"


def test_the_summary_links_to_the_run_and_the_version(stack: Stack, trained: Any, before: set[str]) -> None:
    (version,) = (found for number, found in stack.versions().items() if number not in before)
    assert f"{stack.mlflow_url}/#/models/iris_logistic_regression/versions/{version['version']}" in trained.stdout
    run = stack.api("runs/get", run_id=version["run_id"])["run"]["info"]
    assert f"{stack.mlflow_url}/#/experiments/{run['experiment_id']}/runs/{run['run_id']}" in trained.stdout


def test_an_edit_of_the_code_is_in_the_next_run(stack: Stack) -> None:
    path = stack.folder / "services" / "trainer" / "errors.py"
    code = path.read_text()
    path.write_text(code + "EDITED = 'this is edited'\n")
    stack.jobs_build(True)
    try:
        asked = ("run", "--rm", "--no-deps", "--entrypoint", "python", "trainer", "-c")
        said = stack.compose(*asked, "from trainer import errors; print(errors.EDITED)").stdout
        assert said.splitlines()[-1] == "this is edited"
    finally:
        path.write_text(code)
        stack.compose("build", "trainer")
        stack.jobs_build(False)


def test_the_log_of_a_training_has_no_warnings(trained: Any) -> None:
    words = (trained.stdout + trained.stderr).lower()
    assert "warning" not in words
    assert "traceback" not in words


def test_a_moved_alias_is_taken_up_without_a_restart_and_rolled_back_likewise(stack: Stack, trained: Any) -> None:
    started = stack.containers()["inference"]["State"]["StartedAt"]
    for version in ("2", "1"):
        stack.set_alias(version)
        eventually(f"version {version} is served", lambda v=version: stack.served_version() == v)  # type: ignore[misc]
        assert stack.predict() == CLASSES
    assert stack.containers()["inference"]["State"]["StartedAt"] == started


def test_explore_reports_and_writes_as_the_owner_of_the_data_folder(stack: Stack) -> None:
    data = stack.folder / "data"
    (data / "iris_dataset.csv").unlink()
    owner = 54321 if os.geteuid() == 0 else os.geteuid()
    for path in (data, *data.rglob("*")):
        os.chown(path, owner, -1)
    report = stack.compose("run", "--rm", "trainer", "explore").stdout
    assert "Shape (150, 6)" in report
    written = [data / "iris_dataset.csv", *(data / "exploration").iterdir()]
    assert len(written) == 7
    assert {path.stat().st_uid for path in written} == {owner}
    again = stack.script("trainer", "explore")
    assert "there already, byte for byte" in again
    assert not re.search(r"^(#\d+ | ?Container )", again, re.M)  # what Docker says of what is as it should be


def test_a_notebook_on_the_host_logs_and_reads_back_without_credentials(stack: Stack) -> None:
    code = """
import tempfile, os, mlflow, numpy as np
from sklearn.linear_model import LinearRegression
mlflow.set_experiment("notebook")
with mlflow.start_run() as run:
    mlflow.log_metric("m", 0.5)
    mlflow.log_text("hello", "greeting.txt")
    big = os.path.join(tempfile.mkdtemp(), "big.bin")
    open(big, "wb").write(os.urandom(3_000_000))
    mlflow.log_artifact(big)
    model = mlflow.sklearn.log_model(LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0]), name="line",
        input_example=np.array([[0.5]]), pip_requirements=["scikit-learn"])
client = mlflow.MlflowClient()
assert client.get_run(run.info.run_id).data.metrics["m"] == 0.5
assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/greeting.txt") == "hello"
back = mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/big.bin")
assert open(back, "rb").read() == open(big, "rb").read()
print("predicts", round(mlflow.pyfunc.load_model(model.model_uri).predict(np.array([[2.0]]))[0], 6))
"""
    # Where the server let it, a client would send a file of this size to the store directly.
    result = stack.notebook(code, MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE="1000000")
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().endswith("predicts 5.0")


def test_the_mlflow_server_refuses_a_name_that_is_not_its_own(stack: Stack) -> None:
    answer = requests.get(
        f"{stack.mlflow_url}/api/2.0/mlflow/experiments/search?max_results=1",
        headers={"Host": "evil.example"},
        timeout=10,
    )
    assert answer.status_code == 403


def test_a_version_is_promoted_by_hand_and_rolled_back_and_the_history_tells_it(stack: Stack, trained: Any) -> None:
    eventually("version 1 is served", lambda: stack.served_version() == "1")
    stack.compose("run", "--rm", "trainer", "promote", "2", "--reason", "to see it served")
    eventually("version 2 is served", lambda: stack.served_version() == "2")
    stack.compose("run", "--rm", "trainer", "rollback")
    eventually("version 1 is served again", lambda: stack.served_version() == "1")
    history = stack.compose("run", "--rm", "trainer", "history", "--json").stdout.strip().splitlines()[-1]
    moves = [(move["by"], move["before"], move["version"]) for move in json.loads(history)]
    assert moves[0] == ("train", None, "1")
    assert moves[-2:] == [("promote", "1", "2"), ("rollback", "2", "1")]


def test_a_clean_up_removes_a_notebooks_garbage_and_restores_what_production_needs(stack: Stack, trained: Any) -> None:
    served = stack.versions()[stack.alias()]
    code = f"""
import mlflow
from mlflow import MlflowClient
client = MlflowClient()
with mlflow.start_run(experiment_id=client.create_experiment("garbage")) as run:
    mlflow.log_text("x" * 123_000, "x.txt")
client.delete_run({served["run_id"]!r})
client.delete_logged_model({served["source"].removeprefix("models:/")!r})
client.delete_experiment(run.info.experiment_id)
"""
    logged = stack.notebook(code)
    assert logged.returncode == 0, logged.stderr
    look = ("run", "--rm", "cleanup", "--older-than", "1s")
    eventually("it is a second old", lambda: "1 run, 1 experiment; 123.0 KB." in stack.compose(*look).stdout)
    done = stack.compose("run", "--rm", "cleanup", "--older-than", "1s", "--yes").stdout
    assert f"needed by Production of iris_logistic_regression: version {served['version']}" in done
    assert "keeps the old versions of their files for 30 days (KEEP_DELETED_DAYS)" in done
    assert stack.api("runs/get", run_id=served["run_id"])["run"]["info"]["lifecycle_stage"] == "active"
    assert stack.api(f"logged-models/{served['source'].removeprefix('models:/')}")
    experiments = stack.api("experiments/search", max_results=100, view_type="ALL")["experiments"]
    assert "garbage" not in {found["name"] for found in experiments}
    assert stack.compose("run", "--rm", "cleanup", "--older-than", "1s").stdout.startswith(
        "There is nothing to remove."
    )


def test_the_same_training_learns_the_same_in_the_container_and_outside(stack: Stack) -> None:
    # Which of its kernels OpenBLAS takes may be set for this machine, and each of them rounds in its own way.
    kernel = [f"--env={name}" for name in os.environ if name.startswith("OPENBLAS_")]
    inside = stack.compose("run", "--rm", *kernel, "trainer", "train", "--json", "--no-promote").stdout
    command = [sys.executable, "scripts/embedded.py", "train", "--json"]
    outside = subprocess.run(command, cwd=stack.folder, capture_output=True, text=True, timeout=300)
    assert outside.returncode == 0, outside.stderr
    one, other = json.loads(inside.splitlines()[-1]), json.loads(outside.stdout)
    assert one["model_sha256"] == other["model_sha256"]
    assert one["metrics"] == other["metrics"]
    assert one["data"]["sha256"] == other["data"]["sha256"]


def test_the_committed_experiment_trains_another_table_in_the_container(stack: Stack) -> None:
    result = stack.compose("run", "--rm", "trainer", "train", "--json", "--config", "experiments/wine_leaderboard.yaml")
    record = json.loads(result.stdout.splitlines()[-1])
    assert (record["model_name"], record["version"], record["promoted"]) == ("wine", "1", True)
    assert record["image"] == f"{stack.name}/trainer"
    assert (stack.folder / "data" / "wine_dataset.csv").exists()
    models = json.loads(stack.compose("run", "--rm", "trainer", "models", "--json").stdout.splitlines()[-1])
    assert {model["name"]: model["production"] for model in models}["wine"] == "1"


def test_without_the_stack_explore_works_and_a_training_says_how_to_start_it(stack: Stack, tmp_path: Path) -> None:
    alone = Stack(tmp_path, f"{stack.name}-alone")
    try:
        explored = alone.compose("run", "--rm", "trainer", "explore")
        assert "Shape (150, 6)" in explored.stdout
        assert (alone.folder / "data" / "exploration").is_dir()
        assert alone.containers() == {}
        result = alone.compose("run", "--rm", "trainer", check=False)
        assert result.returncode == 4
        (line,) = (line for line in result.stderr.splitlines() if line.startswith("trainer:"))
        assert "`docker compose up -d --wait`" in line
        assert alone.containers() == {}
    finally:
        alone.remove()


def test_a_table_beyond_the_containers_memory_is_told_before_it_is_killed(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAINER_MEMORY", "768m")
    path = stack.folder / "data" / "huge.csv"
    path.write_text("a,b,target\n" + "1.234567890,2.345678901,0\n3.456789012,4.567890123,1\n" * 6_000_000)
    try:
        result = stack.compose("run", "--rm", "trainer", "train", "--data", "huge.csv", check=False)
    finally:
        path.unlink()
    assert result.returncode == 3, result.stderr
    assert "MB are left (TRAINER_MEMORY in .env is the container's limit)" in result.stderr
