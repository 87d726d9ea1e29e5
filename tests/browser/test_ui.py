"""Headless Chromium opens the MLflow UI as a person does."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.compose import Stack
from tests.mlflow_ui import open_ui

RESULTS = Path(__file__).parent.parent / "results"


@pytest.fixture(scope="module")
def page(browser: Browser) -> Any:
    RESULTS.mkdir(exist_ok=True)
    page = browser.new_page(viewport={"width": 1400, "height": 950})
    page.set_default_timeout(30_000)
    expect.set_options(timeout=30_000)
    return page


def _shot(page: Page, name: str) -> None:
    page.screenshot(path=RESULTS / f"{name}.png")


def test_the_experiment_and_its_run_are_seen(stack: Stack, page: Any) -> None:
    version = stack.versions()["1"]
    run = stack.api("runs/get", run_id=version["run_id"])["run"]["info"]
    open_ui(page, f"{stack.mlflow_url}/#/experiments/{run['experiment_id']}/runs", run["run_name"])
    expect(page.get_by_text("MLflow Workshop - Iris Classification").first).to_be_visible()
    expect(page.get_by_text(run["run_name"]).first).to_be_visible()
    _shot(page, "experiment")


def test_the_run_shows_its_metrics(stack: Stack, page: Any) -> None:
    version = stack.versions()["1"]
    run = stack.api("runs/get", run_id=version["run_id"])["run"]["info"]
    open_ui(page, f"{stack.mlflow_url}/#/experiments/{run['experiment_id']}/runs/{run['run_id']}", "test_accuracy")
    expect(page.get_by_text("test_accuracy").first).to_be_visible()
    expect(page.get_by_text("0.966666", exact=False).first).to_be_visible()
    _shot(page, "run")


def test_the_confusion_matrix_is_seen_as_a_picture(stack: Stack, page: Any) -> None:
    version = stack.versions()["1"]
    run = stack.api("runs/get", run_id=version["run_id"])["run"]["info"]
    artifacts = f"{stack.mlflow_url}/#/experiments/{run['experiment_id']}/runs/{run['run_id']}/artifacts"
    open_ui(page, f"{artifacts}/confusion_matrix.png", "confusion_matrix.png")
    expect(page.get_by_text("confusion_matrix.png").first).to_be_visible()
    page.wait_for_function("[...document.images].some(image => image.naturalWidth > 300)")
    _shot(page, "confusion_matrix")


def test_the_registered_model_shows_its_alias(stack: Stack, page: Any) -> None:
    open_ui(page, f"{stack.mlflow_url}/#/models/iris_logistic_regression", "Production")
    expect(page.get_by_text("Production").first).to_be_visible()
    _shot(page, "registered_model")
    description = stack.versions()["1"]["description"]
    assert description
    open_ui(page, f"{stack.mlflow_url}/#/models/iris_logistic_regression/versions/1", description)
    expect(page.get_by_text(description, exact=False).first).to_be_visible()
    _shot(page, "model_version")


def test_the_page_of_the_prediction_service_tells_of_its_model_and_predicts(stack: Stack, page: Any) -> None:
    version = stack.served_version()
    page.goto(stack.url)
    expect(page.get_by_role("heading", name="iris_logistic_regression")).to_be_visible()
    expect(page.get_by_text(f"Version {version}", exact=True)).to_be_visible()
    page.get_by_role("button", name="Iris virginica").click()
    expect(page.get_by_text("virginica", exact=True).first).to_be_visible()
    expect(page.locator("#by")).to_contain_text(f"Version {version} of iris_logistic_regression answered")
    _shot(page, "predictions")
    with page.expect_navigation():
        page.get_by_role("link", name="This version in MLflow").click()
    expect(page.get_by_text(f"Version {version}", exact=False).first).to_be_visible()
