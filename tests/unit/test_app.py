"""The HTTP face of the service, with a fake keeper in the place of the one that follows the registry."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pytest
from inference.app import create_app
from inference.keeper import Served
from inference.model import Model
from inference.registry import ModelVersion
from inference.rows import Column
from inference.settings import Settings

VERSION = ModelVersion("iris_logistic_regression", "7", "run-of-7", 1700000000000, "m-7", "")
COLUMNS = ["length", "width"]


class FakeEstimator:
    """Says class 0 for a row whose length is the smaller number, else class 1, and is 90 % sure."""

    classes_ = np.array([0, 1])

    def predict(self, frame):
        return (frame["length"] > frame["width"]).astype(int).to_numpy()

    def predict_proba(self, frame):
        return np.array([[0.9, 0.1], [0.1, 0.9]])[self.predict(frame)]


class BrokenEstimator:
    def predict(self, frame):
        raise RuntimeError("the secret reason")


@dataclass
class FakeKeeper:
    served: Served | None
    problem: str | None = None


MODEL = Model(FakeEstimator(), [Column(name) for name in COLUMNS], ["short", "long"], [1.0, 2.0])
SERVED = Served(MODEL, VERSION, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


def client_of(keeper: FakeKeeper):
    return create_app(Settings(max_body_bytes=1024), keeper).test_client()


@pytest.fixture
def client():
    return client_of(FakeKeeper(SERVED))


@pytest.fixture
def waiting():
    """A client of a service that has no model yet."""
    return client_of(FakeKeeper(None, "no version of 'iris_logistic_regression' has the alias 'Production' yet"))


def assert_is_error(answer, status: int, error_code: str, *said: str) -> None:
    assert answer.status_code == status
    assert answer.is_json
    assert answer.json["error_code"] == error_code
    for words in said:
        assert words in answer.json["message"]
    assert "Traceback" not in answer.text


def test_the_front_page_lists_every_endpoint_that_answers(client):
    endpoints = client.get("/").json["endpoints"]
    assert list(endpoints) == [
        "GET /",
        "GET /health",
        "GET /ready",
        "GET /version",
        "POST /invocations",
        "POST /predict_names",
    ]
    for endpoint in endpoints:
        method, path = endpoint.split()
        body = {"instances": [[1, 2]]} if method == "POST" else None
        assert client.open(path, method=method, json=body).status_code == 200


def test_the_front_page_names_the_model(client):
    assert client.get("/").json["model"]["version"] == "7"


@pytest.mark.parametrize("path", ["/", "/health", "/version"])
def test_a_service_without_a_model_still_tells_of_itself(waiting, path):
    assert waiting.get(path).status_code == 200


def test_a_service_without_a_model_is_alive_but_not_ready_and_says_why(waiting):
    assert waiting.get("/health").json == {"status": "alive"}
    answer = waiting.get("/ready")
    assert answer.status_code == 503
    assert answer.json["status"] == "not ready"
    assert answer.json["reasons"] == ["no version of 'iris_logistic_regression' has the alias 'Production' yet"]


@pytest.mark.parametrize("path", ["/invocations", "/predict_names"])
def test_a_prediction_without_a_model_is_to_be_tried_again(waiting, path):
    answer = waiting.post(path, json={"instances": [[1, 2]]})
    assert_is_error(answer, 503, "TEMPORARILY_UNAVAILABLE", "no model is served yet", "has the alias 'Production' yet")
    assert int(answer.headers["Retry-After"]) > 0


def test_a_service_with_a_model_is_ready(client):
    answer = client.get("/ready")
    assert answer.status_code == 200
    assert answer.json["status"] == "ready"
    assert answer.json["model"]["version"] == "7"


def test_the_version_says_what_is_served_since_when_and_by_what(client):
    said = client.get("/version").json
    assert said["model"] == {
        "name": "iris_logistic_regression",
        "version": "7",
        "alias": "Production",
        "run_id": "run-of-7",
        "columns": COLUMNS,
        "since": "2026-01-02T03:04:05+00:00",
        "stale": False,
        "problem": None,
    }
    assert said["python"]
    assert said["scikit-learn"]


def test_a_model_that_may_be_out_of_date_is_served_and_marked_as_stale():
    client = client_of(FakeKeeper(SERVED, "MLflow at http://mlflow:5000 does not answer"))
    answer = client.get("/ready")
    assert answer.status_code == 200
    assert answer.json["model"]["stale"] is True
    assert answer.json["model"]["problem"] == "MLflow at http://mlflow:5000 does not answer"
    assert client.post("/invocations", json={"instances": [[1, 2]]}).json == {"predictions": [0]}


def test_lists_are_predicted_in_their_order(client):
    answer = client.post("/invocations", json={"instances": [[1, 2], [2, 1], [1, 2]]})
    assert answer.status_code == 200
    assert answer.json == {"predictions": [0, 1, 0]}


def test_records_are_predicted_like_the_lists_that_they_stand_for(client):
    records = [{"width": 2, "length": 1}, {"length": 2, "width": 1}]
    assert client.post("/invocations", json={"instances": records}).json == {"predictions": [0, 1]}


def test_predicted_names_come_with_the_probability_of_each_class(client):
    answer = client.post("/predict_names", json={"instances": [[1, 2], [2, 1]]})
    assert answer.status_code == 200
    assert answer.json == {
        "predictions": ["short", "long"],
        "probabilities": [{"short": 0.9, "long": 0.1}, {"short": 0.1, "long": 0.9}],
    }


def test_a_model_without_class_names_answers_with_its_labels():
    client = client_of(FakeKeeper(replace(SERVED, model=replace(MODEL, class_names=None))))
    answer = client.post("/predict_names", json={"instances": [[2, 1]]})
    assert answer.json == {"predictions": ["1"], "probabilities": [{"0": 0.1, "1": 0.9}]}


@pytest.mark.parametrize("path", ["/invocations", "/predict_names"])
def test_a_row_that_the_model_cannot_take_is_a_400_that_points_at_it(client, path):
    answer = client.post(path, json={"instances": [[1, 2], [1, "2"]]})
    assert_is_error(answer, 400, "INVALID_PARAMETER_VALUE", "instances[1][1] is text")
    assert answer.json["where"] == "instances[1][1]"


def test_a_fault_of_the_whole_body_points_nowhere(client):
    answer = client.post("/invocations", json={})
    assert_is_error(answer, 400, "INVALID_PARAMETER_VALUE", "the body has no 'instances'")
    assert "where" not in answer.json


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"instances": [[1, 2]]', b"\xff\xfe", b"1 2", b"not JSON"], ids=lambda body: repr(body)
)
def test_a_body_that_is_no_json_is_a_400_that_says_so(client, body):
    answer = client.post("/invocations", data=body, content_type="application/json")
    assert_is_error(answer, 400, "INVALID_PARAMETER_VALUE", "the body is not JSON")


def test_a_body_that_is_nested_too_deep_is_a_400():
    client = create_app(Settings(), FakeKeeper(SERVED)).test_client()
    answer = client.post("/invocations", data=b"[" * 200_000, content_type="application/json")
    assert_is_error(answer, 400, "INVALID_PARAMETER_VALUE", "nested too deep")


def test_an_unknown_path_is_a_404_that_says_where_to_look(client):
    assert_is_error(client.get("/predict"), 404, "NOT_FOUND", "there is no /predict", "GET / lists what there is")


@pytest.mark.parametrize(("method", "path", "allowed"), [("GET", "/invocations", "POST"), ("POST", "/ready", "GET")])
def test_the_wrong_method_is_a_405_that_names_the_right_one(client, method, path, allowed):
    answer = client.open(path, method=method)
    assert_is_error(answer, 405, "METHOD_NOT_ALLOWED")
    assert allowed in answer.headers["Allow"]


def test_a_body_over_the_limit_is_a_413_that_names_the_limit(client):
    answer = client.post("/invocations", json={"instances": [[1, 2]] * 1000})
    assert_is_error(answer, 413, "REQUEST_ENTITY_TOO_LARGE", "over the limit of 1024 bytes", "send fewer rows")


@pytest.mark.parametrize("content_type", ["text/csv", "application/x-www-form-urlencoded", None])
def test_a_body_that_is_not_declared_as_json_is_a_415_that_says_how(client, content_type):
    answer = client.post("/invocations", data=b'{"instances": [[1, 2]]}', content_type=content_type)
    assert_is_error(answer, 415, "UNSUPPORTED_MEDIA_TYPE", "send it with Content-Type: application/json")


def test_a_fault_of_the_service_is_a_500_that_keeps_the_details_to_the_log(caplog):
    client = client_of(FakeKeeper(replace(SERVED, model=replace(MODEL, estimator=BrokenEstimator()))))
    answer = client.post("/invocations", json={"instances": [[1, 2]]})
    assert_is_error(answer, 500, "INTERNAL_ERROR", "its log has the details")
    assert "secret reason" not in answer.text
    assert "the secret reason" in caplog.text
    assert "POST /invocations failed" in caplog.text
