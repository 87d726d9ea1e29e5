"""The reviewer on the stack: what somebody without a shell there makes a candidate is signed, promoted, served, and noted."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.compose import CLASSES, Stack, eventually

NAME = "iris_logistic_regression"
FILE = "experiments/in_review.yaml"
# Plain MLflow on the host, as a notebook has it. The model is as good as the one in Production, so the rule has to let it in.
NOTEBOOK = """
import mlflow, pandas as pd
from sklearn.linear_model import LogisticRegression
frame = pd.read_csv("data/iris_dataset.csv")
X, y = frame.iloc[:, :4], frame["target"]
mlflow.set_experiment("in review")
with mlflow.start_run():
    logged = mlflow.sklearn.log_model(LogisticRegression(max_iter=1000).fit(X, y), name="mine", input_example=X.head(2),
        serialization_format="skops", pip_requirements=["scikit-learn"],
        metadata={"class_names": ["setosa", "versicolor", "virginica"]})
version, client = mlflow.register_model(logged.model_uri, "iris_logistic_regression").version, mlflow.MlflowClient()
client.set_model_version_tag("iris_logistic_regression", version, "asked_by", "alice")
client.set_registered_model_alias("iris_logistic_regression", "candidate", version)
print("version", version)
"""


@pytest.fixture
def reviewer(stack: Stack) -> Iterator[dict[str, Any]]:
    """The container of the reviewer, and a file that says what is judged on what; both are gone afterwards, and Production is back."""
    before = stack.alias()
    path = stack.folder / FILE
    path.write_text(f"model_name: {NAME}\nrule: not-worse\naccept_leak: true\n")
    stack.write_env(REVIEW_POLL_SECONDS="0.5")
    stack.compose("--profile", "reviewer", "up", "--detach", "--no-deps", "reviewer")
    yield stack.containers()["reviewer"]
    stack.compose("rm", "--stop", "--force", "reviewer")
    del stack.settings["REVIEW_POLL_SECONDS"]
    stack.write_env()
    path.unlink()
    stack.set_alias(before)
    eventually("what was served before is served again", lambda: stack.served_version() == before)


def aliases(stack: Stack) -> set[str]:
    return {alias["alias"] for alias in stack.api("registered-models/get", name=NAME)["registered_model"]["aliases"]}


def test_a_candidate_of_a_notebook_is_signed_promoted_served_and_noted(stack: Stack, reviewer: dict[str, Any]) -> None:
    before = stack.alias()
    logged = stack.notebook(NOTEBOOK)
    assert logged.returncode == 0, logged.stderr
    version = logged.stdout.split()[-1]
    eventually("it is reviewed", lambda: "review" in stack.versions()[version]["tags"], 120)
    tags = stack.versions()[version]["tags"]
    assert tags["review"] == "promoted", tags
    eventually("it is served", lambda: stack.served_version() == version)
    assert stack.predict() == CLASSES
    eventually("it is no candidate any more", lambda: aliases(stack) == {"Production"})
    noted = [json.loads(line) for line in stack.compose("run", "--rm", "-T", "audit").stdout.splitlines()]
    moved = next(line for line in noted if line["of"] == f"{NAME}@Production" and line["to"] == version)
    assert (moved["who"], moved["by"], moved["from"]) == ("reviewer", "reviewer", before)
    assert "asked by 'alice', by the tag" in moved["why"]


def test_the_reviewer_is_confined_publishes_nothing_and_can_neither_read_nor_change_the_audit_log(
    stack: Stack, reviewer: dict[str, Any]
) -> None:
    host = reviewer["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["Memory"] > 0
    assert not host["PortBindings"]
    assert set(reviewer["NetworkSettings"]["Networks"]) == {f"{stack.name}_tracking"}
    # By the user that the entrypoint becomes.
    user = stack.compose("exec", "-T", "reviewer", "stat", "-c", "%u:%g", "/data").stdout.strip()
    assert f"{stack.name}_audit" not in {mount.get("Name") for mount in reviewer["Mounts"]}
    for command in ("rm -f /audit/lines", "mv /audit/lines /tmp", ": >>/audit/audit.jsonl", "touch /data/mine"):
        tried = stack.compose("exec", "-T", "--user", user, "reviewer", "sh", "-c", command, check=False)
        assert tried.returncode != 0, command
