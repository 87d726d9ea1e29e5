"""`scripts/embedded.py demo`: everything without Docker, on a machine where the usual port is taken."""

import socket
import sys

import pytest

from tests.integration.places import ROOT, Place, Process, in_one_line


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("demo") / "place")


@pytest.fixture(scope="module")
def port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture(scope="module")
def demo(place, port):
    """The demo, run to its end; its process group, its exit code and its output."""
    environ = place.environ(DATA_DIR=str(place.folder / "data"), INFERENCE_LISTEN_PORT=str(port))
    process = Process(
        [sys.executable, str(ROOT / "scripts" / "embedded.py"), "demo"], environ, place.work, place.folder / "log"
    )
    try:
        yield process, process.wait(), process.log, process.has_left_processes
    finally:
        process.kill_what_is_left()


def test_the_demo_ends_well(demo):
    _, exit_code, log, _ = demo
    assert exit_code == 0, log
    assert "Traceback" not in log


def test_the_demo_shows_the_data_the_figures_and_the_predictions(demo):
    log = in_one_line(demo[2])
    assert "Shape (150, 6)" in log
    assert "test accuracy 96.67%" in log
    assert "PROMOTED to Production" in log
    assert "5.1 3.5 1.4 0.2 0 setosa" in log
    assert "7.0 3.2 4.7 1.4 1 versicolor" in log
    assert "6.3 3.3 6.0 2.5 2 virginica" in log
    assert "All as expected." in log


def test_the_demo_says_that_it_gives_way_on_a_port_that_is_taken(demo, port):
    assert f"Port {port} is taken by another program, so the demo serves on " in demo[2]


def test_the_demo_leaves_its_data_pictures_and_registry(demo, place):
    assert (place.folder / "data" / "iris_dataset.csv").exists()
    assert len(list((place.folder / "data" / "exploration").glob("*.png"))) == 5
    assert place.registry()["alias"] == "1"


def test_nothing_that_the_demo_started_is_left_running(demo):
    assert not demo[3]
