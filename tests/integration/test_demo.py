"""`scripts/embedded.py demo`: everything without Docker, on a machine where the usual port is taken."""

import os
import re
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.integration.places import EMBEDDED, ROOT, Place, Process, Service, eventually, in_one_line
from tests.snippets import PAGE, SNIPPETS, URL, Snippet, blocks, section

pytestmark = pytest.mark.unhurried


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
        yield process, process.wait(180), process.log, process.has_left_processes
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


def test_a_training_that_ctrl_c_stops_closes_its_run_and_says_so_in_a_line(demo: Any, place: Place) -> None:
    training = Process([*EMBEDDED, "train"], place.environ(), place.work, place.folder / "stopped")
    eventually("it registers a version", lambda: "[4/5]" in training.log)
    assert training.interrupt() == 130, training.log
    assert "trainer: stopped by SIGINT" in training.log
    assert "Traceback" not in training.log
    (newest, *_) = place.client.search_runs(["1"])
    assert newest.info.status == "FAILED"


@pytest.fixture(scope="module")
def ui(demo: Any, place: Place) -> Iterator[Service]:
    """The MLflow UI on the registry that the demo has left, for notebooks to log to."""
    with place.embedded("ui") as ui:
        ui.answers("/health")
        yield ui


def test_the_first_snippet_of_the_page_logs_and_reads_back_through_the_ui(place: Place, ui: Service) -> None:
    (code,) = blocks("From a notebook")
    said = place.plain(code.replace(URL, ui.url))
    assert "first try" in said.stdout
    assert "[0 0 0]" in said.stdout


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.heading)
def test_a_model_that_a_notebook_logged_through_the_ui_is_adopted_and_served_without_it(
    place: Place, ui: Service, snippet: Snippet
) -> None:
    place.plain(snippet.code(ui.url))
    adopt_and_ask(place, snippet, place.command)


def test_the_alias_is_moved_by_the_code_and_by_the_request_of_the_page_on_promotion(place: Place, ui: Service) -> None:
    name, heading, page = "iris_logistic_regression", "Move the alias by other means", PAGE.with_name("promotion.md")
    (code,) = blocks(heading, page)
    (request,) = re.findall(r"^    (curl -X POST .*\n.*)$", section(heading, page), re.M)
    place.notebook(code.replace(URL, ui.url) + "print(0)")
    assert str(place.client.get_model_version_by_alias(name, "Production").version) == "1"
    place.client.delete_registered_model_alias(name, "Production")
    asked = place.run("sh", "-c", request.replace(URL, ui.url).replace("curl ", "curl --silent --fail "))
    assert asked.returncode == 0, asked.stderr
    assert str(place.client.get_model_version_by_alias(name, "Production").version) == "1"


@pytest.fixture(scope="module")
def older_client(place: Place) -> Path:
    """A Python with an MLflow client two minor versions older than the server, made as a person makes theirs."""
    major, minor, *_ = version("mlflow").split(".")
    folder = place.folder / "older"
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert uv, "uv is in the environment of the tests"
    older = f"mlflow-skinny=={major}.{int(minor) - 2}.*"
    python = str(folder / "bin" / "python")
    packages = [older, *(f"{name}=={version(name)}" for name in ("scikit-learn", "skops", "pandas", "numpy"))]
    for command in (
        ["venv", "--python", sys.executable, str(folder)],
        ["pip", "install", "--python", python, *packages],
    ):
        made = place.run(uv, *command)
        assert made.returncode == 0, made.stderr
    return Path(python)


def test_a_client_two_minor_versions_older_logs_what_is_adopted_and_served(
    place: Place, ui: Service, older_client: Path
) -> None:
    (forest,) = (snippet for snippet in SNIPPETS if snippet.heading == "A forest")
    logged = place.run(str(older_client), "-c", forest.code(ui.url), PYTHONPATH="")
    assert logged.returncode == 0, logged.stderr
    adopt_and_ask(place, forest, partial(place.run, *EMBEDDED))  # as `make adopt` does


def adopt_and_ask(place: Place, snippet: Snippet, run: "Callable[..., CompletedProcess[str]]") -> None:
    """Adopt the version that a snippet has put behind the alias, and have it answer, as the page says.

    `run` runs a command of the trainer's.
    """
    found = str(place.client.get_model_version_by_alias(snippet.model, "Production").version)
    adopted = run("adopt", found, "--model-name", snippet.model, *snippet.options)
    assert adopted.returncode == 0, adopted.stderr
    with place.embedded("serve", MODEL_NAME=snippet.model) as service:
        service.serves(found)
        assert service.post("/invocations", {"instances": snippet.rows}).json() == {"predictions": snippet.answers}
        assert service.get("/version").json()["model"]["engine"]["name"] == snippet.engine
