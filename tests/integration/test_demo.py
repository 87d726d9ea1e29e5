"""`scripts/embedded.py demo`: everything without Docker, on a machine where the usual port is taken."""

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.places import MODEL, ROOT, Place, Process, Service, free_port, in_one_line


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("demo") / "place")


@pytest.fixture(scope="module")
def port() -> Iterator[Any]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture(scope="module")
def demo(place: Any, port: Any) -> Iterator[Any]:
    """The demo, run to its end; its process group, its exit code and its output."""
    # Relative to the repository, as the defaults are.
    cache = os.path.relpath(place.folder / "cache", ROOT)
    environ = place.environ(DATA_DIR=str(place.folder / "data"), INFERENCE_LISTEN_PORT=str(port), MODEL_CACHE_DIR=cache)
    for name in ("SIGNING_KEY_FILE", "VERIFYING_KEY_FILE"):
        environ[name] = os.path.relpath(environ[name], ROOT)
    process = Process(
        [sys.executable, str(ROOT / "scripts" / "embedded.py"), "demo"], environ, place.work, place.folder / "log"
    )
    try:
        yield process, process.wait(), process.log, process.has_left_processes
    finally:
        process.kill_what_is_left()


def test_the_demo_ends_well(demo: Any) -> None:
    _, exit_code, log, _ = demo
    assert exit_code == 0, log
    assert "Traceback" not in log


def test_the_demo_shows_the_data_the_figures_and_the_predictions(demo: Any) -> None:
    log = in_one_line(demo[2])
    assert "Shape (150, 6)" in log
    assert "test accuracy 96.67%" in log
    assert "PROMOTED to Production" in log
    assert "5.1 3.5 1.4 0.2 0 setosa" in log
    assert "7.0 3.2 4.7 1.4 1 versicolor" in log
    assert "6.3 3.3 6.0 2.5 2 virginica" in log
    assert "All as expected." in log


def test_the_demo_says_that_it_gives_way_on_a_port_that_is_taken(demo: Any, port: Any) -> None:
    assert f"Port {port} is taken by another program, so the demo serves on " in demo[2]


def test_the_demo_leaves_its_data_pictures_and_registry(demo: Any, place: Any) -> None:
    assert (place.folder / "data" / "iris_dataset.csv").exists()
    assert len(list((place.folder / "data" / "exploration").glob("*.png"))) == 5
    assert place.registry()["alias"] == "1"


def test_nothing_that_the_demo_started_is_left_running(demo: Any) -> None:
    assert not demo[3]


@contextlib.contextmanager
def embedded(place: Place, command: str, port: int) -> Iterator[Any]:
    """Start one of the script's services; what is left of it is killed."""
    environ = place.environ(MLFLOW_PORT=str(port), INFERENCE_LISTEN_PORT=str(port))
    script = [sys.executable, str(ROOT / "scripts" / "embedded.py"), command]
    service = Service(script, environ, place.work, place.folder / command, port)
    try:
        yield service
    finally:
        service.kill_what_is_left()


def test_a_model_that_a_notebook_logged_through_the_ui_is_adopted_and_served_without_it(demo: Any, place: Any) -> None:
    with embedded(place, "ui", free_port()) as ui:
        ui.answers("/health")
        version = place.notebook(f"""
import json, os
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
import mlflow
from mlflow import MlflowClient
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
mlflow.set_tracking_uri("{ui.url}")
mlflow.set_experiment("My notebook")
X, y = load_iris(return_X_y=True, as_frame=True)
with mlflow.start_run() as run:
    mlflow.log_text("first try", "note.txt")
    logged = mlflow.sklearn.log_model(
        LogisticRegression(C=0.5, max_iter=1000).fit(X, y), name="model", input_example=X.head(3), serialization_format="skops",
        metadata={{"class_names": ["setosa", "versicolor", "virginica"]}},
    )
assert mlflow.artifacts.load_text(f"runs:/{{run.info.run_id}}/note.txt") == "first try"
version = mlflow.register_model(logged.model_uri, "{MODEL}").version
MlflowClient().set_registered_model_alias("{MODEL}", "Production", version)
print(json.dumps(str(version)))
""")
    script = [sys.executable, str(ROOT / "scripts" / "embedded.py")]
    adopted = place.run(*script, "adopt", version)
    assert adopted.returncode == 0, adopted.stderr
    with embedded(place, "serve", free_port()) as service:
        service.serves(version)
        assert service.predict() == [0, 1, 2]
