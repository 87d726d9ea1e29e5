"""The reviewer on the stack: what somebody without a shell there makes a candidate is signed, promoted, served, and noted."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.compose import CLASSES, Stack, eventually
from tests.pictures import a_page

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


@pytest.fixture(scope="module")
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


@dataclass(frozen=True)
class Reviewed:
    """The version of a notebook when its review is over, and the one that was in Production until then."""

    version: str
    before: str


@pytest.fixture(scope="module")
def reviewed(stack: Stack, reviewer: dict[str, Any]) -> Reviewed:
    before = stack.alias()
    logged = stack.notebook(NOTEBOOK)
    assert logged.returncode == 0, logged.stderr
    eventually("it is no candidate any more", lambda: "candidate" not in aliases(stack), 120)
    return Reviewed(logged.stdout.split()[-1], before)


def test_a_candidate_of_a_notebook_is_signed_promoted_served_and_noted(stack: Stack, reviewed: Reviewed) -> None:
    tags = stack.versions()[reviewed.version]["tags"]
    assert tags["review"] == "promoted", tags
    assert aliases(stack) == {"Production"}
    eventually("it is served", lambda: stack.served_version() == reviewed.version)
    assert stack.predict() == CLASSES
    noted = [json.loads(line) for line in stack.compose("run", "--rm", "-T", "audit").stdout.splitlines()]
    moved = next(line for line in noted if line["of"] == f"{NAME}@Production" and line["to"] == reviewed.version)
    assert (moved["who"], moved["by"], moved["from"]) == ("reviewer", "reviewer", reviewed.before)
    assert "asked by 'alice', by the tag" in moved["why"]


def test_what_a_person_makes_a_candidate_by_clicking_in_mlflows_ui_has_its_verdict_there(
    stack: Stack, reviewed: Reviewed
) -> None:
    version = reviewed.before
    with a_page() as page:
        page.goto(f"{stack.mlflow_url}/#/models/{NAME}/versions/{version}")
        aliases_shown = page.get_by_test_id("descriptions-item").filter(has_text="Aliases")
        aliases_shown.get_by_role("button", name="Add", exact=True).click()
        dialog = page.get_by_role("dialog", name=f"Add/Edit alias for model version {version}")
        dialog.get_by_role("combobox").click()
        page.keyboard.type("Candidate")  # which the UI makes lower case
        page.keyboard.press("Enter")
        dialog.get_by_role("button", name="Save aliases").click()
        expect(aliases_shown).to_contain_text("candidate", timeout=30_000)
        eventually("it is no candidate any more", lambda: "candidate" not in aliases(stack), 120)
        page.reload()
        # The version in Production is a notebook's, of which nobody knows the rows that it was fitted on.
        verdict = f"not promoted: version {reviewed.version} in Production cannot be measured on the same rows: "
        expect(page.locator("p", has_text="Review of")).to_contain_text(verdict, timeout=30_000)
        expect(page.get_by_role("row", name="review not promoted")).to_be_visible()
        expect(aliases_shown).not_to_contain_text("candidate")


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
    for command in ("cat /audit/audit.jsonl", ": >>/audit/audit.jsonl", "rm /audit/audit.jsonl", "touch /data/mine"):
        tried = stack.compose("exec", "-T", "--user", user, "reviewer", "sh", "-c", command, check=False)
        assert tried.returncode != 0, command
