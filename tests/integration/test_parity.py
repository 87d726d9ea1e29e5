"""POST /invocations beside MLflow's own scoring server, model by model and body by body.

What MLflow answers is answered, with the same predictions; what it refuses is refused. DIFFERENCES lists what is not so,
and why; each of them has to be seen in at least one model, so that the list cannot outlive the differences.
"""

import contextlib
import functools
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.integration.parity_cases import (
    CSV,
    JSON,
    Case,
    Column,
    Logged,
    cases,
)
from tests.integration.parity_differences import ANSWERED, DIFFERENCES, FAILED, OTHERWISE, REFUSED, Difference
from tests.integration.peers import MODELS
from tests.integration.places import DATA, ROOT, Place, Service, eventually, free_port
from tests.unit.tables import people

pytestmark = pytest.mark.unhurried

PEERS = Path(__file__).with_name("peers.py")
BY_HAND = "parity"
SIGNED = {
    "signed iris": ("parity_iris",),
    "signed wine, a forest": ("parity_wine", "--dataset", "wine", "--algorithm", "random_forest"),
    "signed table with text, booleans and holes": ("parity_people", "--data", "people.csv", "--target", "stays"),
}
TITLES = [*MODELS, *SIGNED]


# --- the models ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Any:
    place = Place(tmp_path_factory.mktemp("parity"))
    data = place.folder / "data"
    data.mkdir()
    (data / "iris_dataset.csv").write_bytes((DATA / "iris_dataset.csv").read_bytes())
    people().to_csv(data / "people.csv", index=False)
    return place


@pytest.fixture(scope="module")
def logged(place: Any) -> dict[str, Logged]:
    """Log all models, by hand and by the trainer; return them by their titles."""
    result = place.plain(PEERS.read_text(), "log", BY_HAND)
    made = [_by_hand(**known) for known in json.loads(result.stdout.splitlines()[-1])]
    made += [_trained(place, title, *options) for title, options in SIGNED.items()]
    return {model.title: model for model in made}


def _by_hand(columns: list[list[Any]] | None, name: str, version: str, **known: Any) -> Logged:
    found = [Column(*column) for column in columns or []]
    return Logged(name=name, version=version, uri=f"models:/{name}/{version}", columns=found, **known)


def _trained(place: Place, title: str, name: str, *options: str) -> Logged:
    """Train a version, and download it as anybody can."""
    settings = {"DATA_DIR": str(place.folder / "data"), "MIN_TEST_ACCURACY": "0.5"}
    result = place.command("train", "--json", "--model-name", name, *options, **settings)
    assert result.returncode == 0, result.stderr
    version = json.loads(result.stdout)["version"]
    folder = place.folder / name
    place.notebook(f"""
import mlflow
mlflow.artifacts.download_artifacts("models:/{name}/{version}", dst_path="{folder}")
print(0)
""")
    signature = yaml.safe_load((folder / "MLmodel").read_text())["signature"]
    columns = [Column(c["name"], c["type"], c.get("required", True)) for c in json.loads(signature["inputs"])]
    golden = json.loads((folder / "golden_samples.json").read_text())["instances"]
    rows = [row for row in golden if None not in row]
    return Logged(title, name, str(version), "signed", str(folder), columns, [rows[0], rows[len(rows) // 2], rows[-1]])


# --- the two sides ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    status: int
    predictions: Any
    text: str

    @property
    def outcome(self) -> str:
        return {2: ANSWERED, 4: REFUSED}.get(self.status // 100, FAILED)

    def __str__(self) -> str:
        return f"{self.status} {' '.join(self.text.split())[:160]}"


@dataclass(frozen=True)
class Exchange:
    """A case, with MLflow's answer and ours."""

    case: Case
    theirs: Answer
    ours: Answer
    tolerance: float

    @property
    def outcomes(self) -> tuple[str, str]:
        both = self.theirs.outcome, self.ours.outcome
        if both == (ANSWERED, ANSWERED) and not same(self.theirs.predictions, self.ours.predictions, self.tolerance):
            return ANSWERED, OTHERWISE
        return both

    @property
    def agree(self) -> bool:
        """Tell whether both do the same; a case that has to be answered, is."""
        theirs, ours = self.outcomes
        return theirs == ours and (theirs == ANSWERED or not self.case.good)

    def __str__(self) -> str:
        sent = self.case.body.decode(errors="replace")[:160]
        return f"{self.case.title}\n    sent    {sent}\n    MLflow  {self.theirs}\n    ours    {self.ours}"


def same(theirs: Any, ours: Any, tolerance: float) -> bool:
    """Tell whether predictions are equal: of the same types, and floats within the tolerance."""
    if type(theirs) is not type(ours):
        return False
    if isinstance(theirs, list):
        return len(theirs) == len(ours) and all(same(*pair, tolerance) for pair in zip(theirs, ours, strict=True))
    if isinstance(theirs, float):
        return math.isclose(theirs, ours, rel_tol=tolerance, abs_tol=tolerance)
    return theirs == ours


def ask(url: str, case: Case) -> Answer:
    headers = {} if case.content_type is None else {"Content-Type": case.content_type}
    headers |= {"Content-Encoding": case.coding} if case.coding else {}
    answer = requests.post(f"{url}{case.path}", data=case.body, headers=headers, timeout=60)
    if answer.status_code != 200:
        return Answer(answer.status_code, None, answer.text)
    assert answer.headers["Content-Type"] == JSON
    assert list(answer.json()) == ["predictions"]
    return Answer(200, answer.json()["predictions"], answer.text)


@pytest.fixture(scope="module")
def mlflows(place: Any, logged: dict[str, Logged]) -> Iterator[Service]:
    """MLflow's application for all models, each below the path of its number."""
    port = free_port()
    command = [sys.executable, str(PEERS), "serve", str(port), *(model.uri for model in logged.values())]
    with running(place, "mlflow.log", command, port, "/0/ping") as service:
        yield service


@contextlib.contextmanager
def running(place: Place, log: str, command: list[str], port: int, path: str) -> Iterator[Service]:
    """Run a server of MLflow's that sees nothing of ours, from when it answers `path` until the block ends."""
    # `mlflow models serve` looks for its uvicorn on the path.
    path_of_tools = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = place.environ(PYTHONPATH="", PATH=path_of_tools)
    service = Service(command, environ, place.work, place.folder / log, port)
    try:
        service.answers(path)
        yield service
    finally:
        service.kill_what_is_left()


class Serving:
    """This service, of which one process runs at a time; from version to version of a model the alias moves."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._process = contextlib.ExitStack()
        self._started: tuple[str, str, Service] | None = None
        self.engines: dict[str, str] = {}
        """what answered for a model, by its title"""

    def serve(self, model: Logged) -> str:
        """Return the URL of the service once it serves the model; fail with its words where it refuses to."""
        self._place.client.set_registered_model_alias(model.name, "Production", model.version)
        if self._started is None or self._started[:2] != (model.name, model.trust):
            self._started = (model.name, model.trust, self._start(model))
        service = self._started[2]
        found = eventually(f"{model.title} is served", lambda: self._decided(service, model), 60)
        assert found == "served", found
        self.engines[model.title] = service.get("/version").json()["model"]["engine"]["name"]
        return service.url

    def _start(self, model: Logged) -> Service:
        self.stop()
        settings = {"ALLOW_SCHEMA_CHANGE": "true", "INFERENCE_WORKERS": "1"}
        service = self._process.enter_context(
            self._place.inference(MODEL_NAME=model.name, MODEL_TRUST=model.trust, **settings)
        )
        service.answers("/health")
        return service

    @staticmethod
    def _decided(service: Service, model: Logged) -> str | None:
        """Return "served", why the version is not, or None as long as that is open."""
        assert service.is_running, service.log
        found = service.get("/version").json()["model"]
        if found and (found["name"], found["version"]) == (model.name, model.version):
            return "served"
        problem = found["problem"] if found else ", ".join(map(str, service.get("/ready").json().get("reasons", [])))
        # After 20 seconds it answers also when it is still at its first version.
        is_open = not problem or f"version {model.version} of" not in problem or "is being fetched" in problem
        return None if is_open else problem

    def stop(self) -> None:
        self._process.close()


@pytest.fixture(scope="module")
def serving(place: Any) -> Iterator[Serving]:
    serving = Serving(place)
    yield serving
    serving.stop()


@pytest.fixture(scope="module")
def exchanges(logged: dict[str, Logged], mlflows: Service, serving: Serving) -> Callable[[str], list[Exchange]]:
    """Return a function that sends all cases of a model to both sides, once."""
    numbers = {title: number for number, title in enumerate(logged)}

    @functools.cache
    def exchanges(title: str) -> list[Exchange]:
        model, theirs = logged[title], f"{mlflows.url}/{numbers[title]}"
        ours = serving.serve(model)
        return [Exchange(case, ask(theirs, case), ask(ours, case), model.tolerance) for case in cases(model)]

    return exchanges


# --- the proofs ------------------------------------------------------------------------------------------------------


def listed(exchange: Exchange) -> list[Difference]:
    """Return the differences in the list that are about a case; nothing excuses one that has to be answered."""
    title = exchange.case.title
    named = [known for known in DIFFERENCES if any(fnmatchcase(title, _literal(case)) for case in known.cases)]
    return [] if exchange.case.good else named


def explained(exchange: Exchange) -> list[Difference]:
    """Return the differences in the list that say what happened here."""
    return [known for known in listed(exchange) if (known.mlflow, known.ours) == exchange.outcomes]


def is_as_it_should_be(exchange: Exchange) -> bool:
    """Tell whether both sides do the same or differ as the list says; what is to be refused, is."""
    theirs, ours = exchange.outcomes
    refused = any((known.mlflow, known.ours) == (theirs, REFUSED) for known in listed(exchange))
    return ours == REFUSED if refused else exchange.agree or bool(explained(exchange))


def _literal(pattern: str) -> str:
    """Return a pattern in which only * has a meaning."""
    return pattern.replace("[", "[[]").replace("?", "[?]")


@pytest.mark.parametrize("title", TITLES)
def test_what_mlflow_answers_is_answered_with_the_same_predictions_and_what_it_refuses_is_refused(
    exchanges: Callable[[str], list[Exchange]], title: Any
) -> None:
    found = exchanges(title)
    wrong = [exchange for exchange in found if not is_as_it_should_be(exchange)]
    assert not wrong, f"{len(wrong)} of {len(found)}\n" + "\n".join(map(str, wrong))


@pytest.mark.parametrize("title", TITLES)
def test_no_request_makes_the_service_fail_and_a_refusal_says_why_in_one_shape(
    exchanges: Callable[[str], list[Exchange]], title: Any
) -> None:
    for exchange in exchanges(title):
        if exchange.ours.status != 200:
            assert exchange.ours.outcome == REFUSED, exchange
            assert set(json.loads(exchange.ours.text)) >= {"error_code", "message"}, exchange


@pytest.mark.parametrize("known", DIFFERENCES, ids=lambda known: known.what)
def test_a_difference_in_the_list_is_one(exchanges: Callable[[str], list[Exchange]], known: Any) -> None:
    assert any(known in explained(exchange) for title in TITLES for exchange in exchanges(title))


@pytest.mark.parametrize("title", [title for title in TITLES if title != "numpy array"])
def test_plain_lists_are_answered_as_records_are(exchanges: Callable[[str], list[Exchange]], title: Any) -> None:
    found = {exchange.case.title: exchange for exchange in exchanges(title)}
    records = found["instances: rows"]
    for lists in (found["instances: lists"], found["inputs: lists"]):
        assert same(records.theirs.predictions, lists.ours.predictions, records.tolerance), lists


@pytest.mark.parametrize("title", TITLES)
def test_a_value_means_the_same_in_each_json_format(exchanges: Callable[[str], list[Exchange]], title: Any) -> None:
    meant: dict[str, list[Exchange]] = {}
    for exchange in exchanges(title):
        value, _, form = exchange.case.title.rpartition(", ")
        if " in a" in value and form != CSV:
            meant.setdefault(value, []).append(exchange)
    for first, *others in meant.values():
        for other in others:
            assert (other.ours.status, other.ours.predictions) == (first.ours.status, first.ours.predictions), other


def test_models_of_the_trainers_are_answered_by_their_onnx_engines(
    exchanges: Callable[[str], list[Exchange]], serving: Serving
) -> None:
    for title in SIGNED:
        assert exchanges(title)
    assert {title: serving.engines[title] for title in SIGNED} == dict.fromkeys(SIGNED, "onnx")


def test_a_version_of_the_trainers_is_loaded_and_served_by_mlflow_with_the_answers_of_this_service(
    place: Any, logged: dict[str, Logged], mlflows: Service, exchanges: Callable[[str], list[Exchange]]
) -> None:
    model = logged["signed iris"]
    loaded = place.notebook(f"""
import json, mlflow, pandas
rows = pandas.DataFrame({model.rows!r}, columns={model.names!r})
print(json.dumps(mlflow.pyfunc.load_model({model.uri!r}).predict(rows).tolist()))
""")
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", model.uri, "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with running(place, "serve.log", command, port, "/ping") as served:
        for exchange in exchanges(model.title):
            answer = ask(served.url, exchange.case)
            # Word for word where there are predictions; the words of a refusal have parts that come in any order.
            text = answer.text if answer.status == 200 else ""
            assert replace(answer, text=text) == replace(exchange.theirs, text=text and exchange.theirs.text), exchange
            if exchange.case.title == "dataframe_split: rows":
                assert answer.predictions == exchange.ours.predictions == loaded


def test_the_documentation_lists_every_difference_with_its_reason() -> None:
    page = (ROOT / "docs" / "serving.md").read_text()
    for known in DIFFERENCES:
        assert f"| {known.what} | {known.mlflow} | {known.ours} | {known.why} |" in page
