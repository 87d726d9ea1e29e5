"""The change of model under load: nobody notices, and what cannot be served changes nothing."""

import http.client
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Training
from tests.integration.places import (
    CLASSES,
    MODEL,
    SAMPLES,
    Place,
    eventually,
    running_server,
    write_permuted_iris,
)

SWAPS = 20
CLIENTS = 4


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, train: Callable[..., Training]) -> Iterator[Any]:
    """A place on a real tracking server, with two versions that answer differently, the first one in Production."""
    with running_server(tmp_path_factory.mktemp("swaps")) as (place, _):
        train(place)
        # Flowers under labels that say nothing: a version that answers otherwise, so that no answer can be taken for another's.
        write_permuted_iris(place.folder / "permuted")
        train(place, DATA_DIR=str(place.folder / "permuted"))
        yield place


class Client(threading.Thread):
    """Asks again and again over one connection that it keeps, at a steady pace; notes each answer."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url, self.stop = url.removeprefix("http://"), threading.Event()
        self.answers: list[tuple[float, int, str, list[int]]] = []
        self.fault: Exception | None = None

    def run(self) -> None:
        body = json.dumps({"instances": SAMPLES})
        connection = http.client.HTTPConnection(self.url, timeout=30)
        try:
            while not self.stop.wait(0.01):
                connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                content = json.loads(answer.read())
                version = answer.headers["X-Model-Version"]
                self.answers.append((time.monotonic(), answer.status, version, content.get("predictions")))
        except Exception as error:
            self.fault = error


def test_twenty_swaps_under_load_fail_no_request_and_have_one_clean_edge_on_each_connection(server: Any) -> None:
    with server.inference(MODEL_POLL_SECONDS="1") as service:
        service.answers("/ready")
        clients = [Client(service.url) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        moves = []
        for swap in range(SWAPS):
            version = "21"[swap % 2]
            moves.append((time.monotonic(), version))
            server.move_alias(version)
            eventually(
                "all clients see it",
                lambda v=version: all(c.answers and c.answers[-1][2] == v for c in clients),  # type: ignore[misc]
            )
        for client in clients:
            client.stop.set()
            client.join()
    assert [client.fault for client in clients] == [None] * CLIENTS
    for client in clients:
        assert {status for _, status, _, _ in client.answers} == {200}
        said = {(version, tuple(predictions)) for _, _, version, predictions in client.answers}
        assert {version for version, _ in said} == {"1", "2"}
        assert len(said) == 2, "each version answers in its own way, and never under the other's name"
        assert ("1", tuple(CLASSES)) in said
        edges = [(next(group)[0], version) for version, group in groupby(client.answers, key=lambda answer: answer[2])]
        assert [version for _, version in edges] == ["1", *(version for _, version in moves)]


def test_a_new_version_reaches_every_worker_though_its_files_are_not_there_yet(tmp_path: Path, server: Any) -> None:
    """How long it takes is measured by benchmarks/serving.py."""
    with server.inference(MODEL_POLL_SECONDS="1", MODEL_CACHE_DIR=str(tmp_path / "cache")) as service:
        service.answers("/ready")
        server.move_alias("2")
        service.serves("2")
        server.move_alias("1")
        service.serves("1")


def test_the_processes_that_serve_do_not_import_mlflow_nor_scikit_learn(server: Any) -> None:
    with server.inference(INFERENCE_WORKERS="2") as service:
        service.answers("/ready")
        assert service.predict() == CLASSES
        loaded = {name for pid in service.processes() for name in mapped_files(pid)}
    assert any("onnxruntime" in name for name in loaded)
    assert not [name for name in loaded if "/sklearn/" in name or "/pandas/" in name or "/scipy/" in name]


def mapped_files(pid: int) -> set[str]:
    return {line.split()[-1] for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if "/" in line}


def break_files(place: Place, version: str) -> None:
    """Change a signed file of a version in the store, as whoever reaches the server can."""
    for path in stored(place, version).rglob("onnx_engine.json"):
        path.write_text(path.read_text() + "\n")


def mend_files(place: Place, version: str) -> None:
    for path in stored(place, version).rglob("onnx_engine.json"):
        path.write_text(path.read_text().removesuffix("\n"))


def stored(place: Place, version: str) -> Path:
    model = place.client.get_model_version(MODEL, version).source.removeprefix("models:/")
    (found,) = (place.folder / "artifacts").rglob(f"models/{model}")
    return found


def test_a_version_that_is_refused_changes_nothing_is_told_once_and_is_taken_up_when_its_files_are_mended(
    tmp_path: Path, server: Any
) -> None:
    break_files(server, "2")
    with server.inference(MODEL_CACHE_DIR=str(tmp_path / "cache")) as service:
        service.answers("/ready")
        server.move_alias("2")
        try:
            model = eventually("it is refused", lambda: stale(service))
            assert (model["version"], "its signature does not hold" in model["problem"]) == ("1", True)
            assert service.predict() == CLASSES
            counted = f'inference_swaps_refused_total{{model="{MODEL}",version="2"}} 1.0'
            shown(service, counted, "inference_stale 1.0")
            assert len([line for line in service.lines if "is refused" in line["message"]]) == 1
        finally:
            mend_files(server, "2")
        service.serves("2")
        server.move_alias("1")
        service.serves("1")


def test_a_signature_that_is_too_large_ends_nothing_and_is_not_fetched(tmp_path: Path, server: Any) -> None:
    (signature,) = stored(server, "2").rglob("model.sig")
    content = signature.read_bytes()
    os.truncate(signature, 300 * 1024**2)
    try:
        with server.inference(MODEL_CACHE_DIR=str(tmp_path / "cache")) as service:
            service.answers("/ready")
            before = set(service.processes())
            server.move_alias("2")
            model = eventually("it is refused", lambda: stale(service))
            assert "its file 'model.sig' has 314572800 bytes; expected at most 1048576" in model["problem"]
            assert service.predict() == CLASSES
            assert set(service.processes()) == before
    finally:
        signature.write_bytes(content)
        server.move_alias("1")


def shown(service: Any, *figures: str) -> None:
    """Wait until metrics show these: whoever follows the registry tells the workers of a problem before it counts it."""

    def are_shown() -> bool:
        text = service.get("/metrics").text
        return all(figure in text for figure in figures)

    eventually(f"{figures} are shown", are_shown)


def stale(service: Any) -> dict[str, Any] | None:
    model = service.get("/version").json()["model"]
    return model if model["stale"] else None


def test_a_worker_that_is_killed_is_replaced_and_serves_the_same_version(server: Any) -> None:
    with server.inference(INFERENCE_WORKERS="2") as service:
        service.answers("/ready")
        before = set(service.workers())
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        eventually("there are two workers again", lambda: len(set(service.workers()) - {victim}) == 2)
        service.serves("1")
        assert service.predict() == CLASSES
        eventually("the gauges count the living alone", lambda: in_flight(service) == 1)


def in_flight(service: Any) -> float:
    (line,) = [line for line in service.get("/metrics").text.splitlines() if line.startswith("inference_requests_in_")]
    return float(line.split()[-1])


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, server: Any) -> Path:
    """A cache that a service has filled; it is to be copied."""
    cache = tmp_path_factory.mktemp("filled") / "cache"
    with server.inference(MODEL_CACHE_DIR=str(cache)) as service:
        service.answers("/ready")
        eventually("it is noted", lambda: list(cache.rglob("Production.json")))  # when all workers have it
    return cache


@pytest.fixture
def cached(tmp_path: Path, filled: Path) -> Any:
    """A cache that a service has filled, and which settings use it without a registry."""
    cache = shutil.copytree(filled, tmp_path / "cache", symlinks=True)
    return cache, {"MODEL_CACHE_DIR": str(cache), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "INFERENCE_WORKERS": "1"}


def test_with_everything_behind_it_gone_a_service_starts_from_its_cache(server: Any, cached: Any) -> None:
    _, settings = cached
    with server.inference(**settings) as service:
        service.answers("/ready")
        assert service.predict() == CLASSES
        assert stale(service)["version"] == "1"


def test_with_neither_its_alias_nor_its_files_the_last_version_goes_on_after_a_start_and_both_are_told(
    tmp_path: Path, server: Any, cached: Any
) -> None:
    cache, _ = cached
    files = stored(server, "1")
    files.rename(tmp_path / "gone")
    server.client.delete_registered_model_alias(MODEL, "Production")
    try:
        with server.inference(MODEL_CACHE_DIR=str(cache)) as service:
            service.answers("/ready")
            assert service.predict() == CLASSES
            words = "its files are gone from the artifact store"
            model = eventually(
                "the loss is told", lambda: words in (stale(service) or {}).get("problem", "") and stale(service)
            )
            assert "has the alias 'Production' any more" in model["problem"]
            shown(service, words.replace("'", ""))
    finally:
        (tmp_path / "gone").rename(files)
        server.move_alias("1")


@pytest.mark.parametrize("name", ["model.onnx", "model.skops", "MLmodel", "golden_samples.json"])
@pytest.mark.parametrize("damage", ["truncated", "changed", "deleted"])
def test_a_damaged_file_in_the_cache_is_fetched_again(server: Any, cached: Any, name: str, damage: str) -> None:
    cache, settings = cached
    (path,) = cache.rglob(name)
    content = path.read_bytes()
    path.unlink()
    if damage != "deleted":
        path.write_bytes(content[: len(content) // 2] if damage == "truncated" else content[:-1] + b"x")
    with server.inference(**settings | {"MLFLOW_TRACKING_URI": server.tracking_uri}) as service:
        service.answers("/ready")
        assert service.predict() == CLASSES
    (mended,) = cache.rglob(name)
    assert mended.read_bytes() == content


def test_a_damaged_cache_with_no_registry_to_fetch_from_is_not_served(server: Any, cached: Any) -> None:
    cache, settings = cached
    (path,) = cache.rglob("model.onnx")
    path.write_bytes(path.read_bytes()[:-1])
    with server.inference(**settings) as service:
        service.answers("/ready", 503)
        assert service.post("/invocations", {"instances": SAMPLES}).status_code == 503


def test_a_cache_that_cannot_be_written_is_survived(tmp_path: Path, server: Any) -> None:
    cache = tmp_path / "cache"
    cache.write_text("a file where the folder should be")
    with server.inference(MODEL_CACHE_DIR=str(cache)) as service:
        service.answers("/ready")
        assert service.predict() == CLASSES
        assert any("is kept until the service ends" in line["message"] for line in service.lines)


OTHER_SCHEMA = """
import json, mlflow
import pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression
table = pd.read_csv("{data}")
features, target = table.iloc[:, 1:4], table.iloc[:, 4].astype("category").cat.codes
model = LogisticRegression(max_iter=1000).fit(features, target)
logged = mlflow.sklearn.log_model(
    model, name="narrow", signature=infer_signature(features, model.predict(features)), input_example=features.head(2),
    serialization_format="skops", pip_requirements=["scikit-learn"], registered_model_name="{name}",
)
print(json.dumps(logged.registered_model_version))
"""


def test_another_schema_is_refused_until_it_is_allowed(tmp_path: Path, server: Any) -> None:
    settings = {"MODEL_CACHE_DIR": str(tmp_path / "cache"), "MODEL_TRUST": "skops"}
    code = OTHER_SCHEMA.format(data=Path(server.environ()["DATA_DIR"]) / "iris_dataset.csv", name=MODEL)
    with server.inference(**settings) as service:
        service.answers("/ready")
        other = str(server.notebook(code))
        server.move_alias(other)
        model = eventually("it is refused", lambda: stale(service))
        assert "it lacks the column" in model["problem"]
        assert "ALLOW_SCHEMA_CHANGE=true" in model["problem"]
        assert service.predict() == CLASSES
    with server.inference(**settings) as service:
        service.answers("/ready")
        assert stale(service)["version"] == "1", "a restart lets nothing in that was refused before"
    with server.inference(**settings, ALLOW_SCHEMA_CHANGE="true") as service:
        service.serves(other)
        narrow = {"instances": [row[1:] for row in SAMPLES]}
        assert service.post("/invocations", narrow).json() == {"predictions": CLASSES}
        assert service.get("/version").json()["model"]["engine"]["name"] == "scikit-learn"
    server.move_alias("1")
