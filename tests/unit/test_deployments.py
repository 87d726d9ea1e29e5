"""Several models in one worker: each is asked by its name, and the first where a request names none."""

import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from contract.schema import Column
from inference.ipc.messages import DeploymentSpec, Load, Note, Report, Serve, State, ToPoller, ToWorker
from inference.model.deployment import Deployment
from inference.model.observation import Observation
from inference.model.version import ModelVersion
from inference.rollout.active_model import ActiveModel, Deployments
from inference.telemetry.log import RequestLog
from werkzeug.test import Client, EnvironBuilder, TestResponse

from tests.unit.serving import WsgiService, active_of, answering, described, served_as, service_among

ROW = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP64", "data": [1]}]}
SECONDS = 30


class Says:
    """An estimator that gives one answer to every row."""

    def __init__(self, answer: int) -> None:
        self._answer = answer

    def predict(self, frame: Any) -> np.ndarray:
        return np.full(len(frame), self._answer)


def says(answer: int, name: str, version: str) -> Deployment:
    model = answering(Says(answer), described([Column("x")]))
    return served_as(model, ModelVersion(name, version, "", 1, "", ""))


ROSES, TULIPS = says(1, "roses", "3"), says(2, "tulpen (grün)", "8")
TULIPS_PATH = "/v2/models/tulpen%20(gr%C3%BCn)"


def service(**more: Any) -> WsgiService:
    return service_among([active_of(ROSES), active_of(TULIPS)], **more)


@pytest.fixture
def client() -> Client:
    return Client(service())


def about(answer: TestResponse) -> tuple[str, str]:
    return answer.headers["X-Model-Name"], answer.headers["X-Model-Version"]


def said(answer: TestResponse) -> Any:
    return answer.json


def predicted(answer: TestResponse) -> Any:
    assert answer.status_code == 200, answer.text
    return said(answer)["outputs"][0]["data"]


@pytest.mark.parametrize("version", [False, True])
def test_each_model_answers_under_its_own_name(client: Client, version: bool) -> None:
    roses = client.post(f"/v2/models/roses{'/versions/3' if version else ''}/infer", json=ROW)
    tulips = client.post(f"{TULIPS_PATH}{'/versions/8' if version else ''}/infer", json=ROW)
    assert (predicted(roses), about(roses)) == ([1], ("roses", "3"))
    assert (predicted(tulips), about(tulips)) == ([2], ("tulpen (gr%C3%BCn)", "8"))
    assert said(tulips)["model_name"] == "tulpen (grün)"


def test_where_no_model_is_named_the_first_answers(client: Client) -> None:
    answer = client.post("/invocations", json={"instances": [[1]]})
    assert (answer.json, about(answer)) == ({"predictions": [1]}, ("roses", "3"))
    assert said(client.get("/version"))["model"]["name"] == "roses"


def test_each_model_is_described_under_its_own_name(client: Client) -> None:
    for path, name, version in (("/v2/models/roses", "roses", "3"), (TULIPS_PATH, "tulpen (grün)", "8")):
        answer = client.get(path)
        assert (said(answer)["name"], said(answer)["versions"]) == (name, [version])
        assert answer.headers["X-Model-Version"] == version
        assert client.get(f"{path}/ready").json == {"name": name, "ready": True}


def test_a_name_that_is_none_of_theirs_is_a_404_that_says_which_there_are(client: Client) -> None:
    for answer in (client.post("/v2/models/lilies/infer", json=ROW), client.get("/v2/models/lilies")):
        assert answer.status_code == 404
        assert said(answer)["error"] == "there is no model 'lilies'; this service serves 'roses', 'tulpen (grün)'"


def test_a_version_of_the_one_is_none_of_the_other(client: Client) -> None:
    answer = client.post("/v2/models/roses/versions/8/infer", json=ROW)
    assert (answer.status_code, said(answer)["error"]) == (404, "version '8' of 'roses' is not served; version '3' is")


def test_a_model_that_is_not_served_yet_keeps_no_other_from_answering() -> None:
    client = Client(service_among([active_of(ROSES), active_of(None, "MLflow is gone", "tulips")]))
    assert predicted(client.post("/v2/models/roses/infer", json=ROW)) == [1]
    waiting = client.post("/v2/models/tulips/infer", json=ROW)
    assert (waiting.status_code, said(waiting)["error"]) == (503, "no model is served yet: MLflow is gone")
    assert about(waiting) == ("tulips", "none")
    assert client.get("/v2/models/tulips/ready").status_code == 503
    assert client.get("/v2/models/roses/ready").status_code == 200


def test_a_service_is_ready_when_all_its_models_are() -> None:
    client = Client(service_among([active_of(ROSES), active_of(None, "MLflow is gone", "tulips")]))
    assert client.get("/ready").json == {"status": "not ready", "reasons": ["MLflow is gone"]}
    assert client.get("/v2/health/ready").status_code == 503
    both = Client(service())
    assert (both.get("/ready").status_code, both.get("/v2/health/ready").status_code) == (200, 200)


def test_what_waits_has_a_name_that_a_header_can_have() -> None:
    answer = Client(service_among([active_of(None, name="grün (1)\n")])).get("/health")
    assert about(answer) == ("gr%C3%BCn (1)%0A", "none")


def test_a_log_line_and_an_observer_tell_whose_answer_it_was() -> None:
    readable, writable = os.pipe()
    seen: list[Observation] = []
    asked = service(log=RequestLog(1000, writable), observers=(lambda *found: seen.extend(found),))
    environ = EnvironBuilder(f"{TULIPS_PATH}/infer", method="POST", json=ROW).get_environ()
    context = asked.begin(environ)
    context.body = environ["wsgi.input"].read()
    asked.answer(context)
    asked.observations.show()
    os.close(writable)
    with open(readable) as lines:
        (line,) = map(json.loads, lines)
    assert (line["model"], line["version"], line["rows"]) == ("tulpen (grün)", "8", 1)
    assert [observation.deployment for observation in seen] == [TULIPS]


# --- what they are told --------------------------------------------------------------------------------------------


class Poller:
    """Says what it is given, and then that it is gone."""

    def __init__(self, *said: ToWorker) -> None:
        self._said = said

    def messages(self) -> Iterator[ToWorker]:
        yield from self._said

    def answer(self, message: ToPoller) -> None:
        """Listen to nobody."""


def told(*said: ToWorker) -> Deployments:
    """Return two deployments that were told all that."""
    loaded: Any = lambda files, _: str(files.folder)  # noqa: E731
    deployments = Deployments([ActiveModel("roses", loaded), ActiveModel("tulips", loaded)])
    deployments.follow(Poller(*said), lambda: None, SECONDS)
    return deployments


def spec(name: str, version: str) -> DeploymentSpec:
    return DeploymentSpec(
        1,
        f"/cache/{name}/{version}",
        ModelVersion(name, version, "", 1, "", ""),
        {},
        "",
        {},
        described([Column("x")]).to_json(),
    )


REPORTS: list[Report] = [Report("roses", State("MLflow is gone")), Report("tulips", State(None))]


def test_each_loads_and_serves_what_it_is_told_and_the_others_go_on() -> None:
    served: list[ToWorker] = [Serve("roses", spec("roses", "3")), Load("tulips", spec("tulips", "8"))]
    deployments = told(*served, *REPORTS)
    assert [active.served and active.served.version.version for active in deployments.values()] == ["3", None]
    assert deployments["roses"].state.problem == "MLflow is gone"
    deployments = told(*served, Serve("tulips", spec("tulips", "8")), *REPORTS)
    assert [active.served and str(active.served.model) for active in deployments.values()] == [
        "/cache/roses/3",
        "/cache/tulips/8",
    ]


def test_following_returns_when_it_is_known_of_each_what_is_served() -> None:
    deployments = told(REPORTS[0], Note("tulips", State("it is being fetched")), REPORTS[1])
    assert deployments["tulips"].state == State(None)
