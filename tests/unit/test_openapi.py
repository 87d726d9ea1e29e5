"""The description of the API: valid whatever the model, and true of what the service takes and answers."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from contract.schema import LARGEST, TYPES, Column, Kind
from inference.model.deployment import Deployment
from inference.rows import from_cells
from inference.web import openapi
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from werkzeug.test import Client

from tests.unit.serving import answering, client_of, described, served_as, service_of

URL, NAME = "http://localhost:1235", "iris_logistic_regression"


class Classifier:
    classes_ = np.array([0, 1])

    def predict(self, frame: Any) -> Any:
        return np.zeros(len(frame), dtype=int)

    def predict_proba(self, frame: Any) -> Any:
        return np.array([[0.75, 0.25]] * len(frame))


class Regression:
    def predict(self, frame: Any) -> Any:
        return np.full(len(frame), 0.5)


class Words:
    classes_ = np.array(["no", "yes"])

    def predict(self, frame: Any) -> Any:
        return np.array(["yes"] * len(frame), dtype=object)

    def predict_proba(self, frame: Any) -> Any:
        return np.array([[0.1, 0.9]] * len(frame))


NUMBERS = [Column("length"), Column("width")]
ALL_KINDS = [
    Column('a, "b"', missing=True),
    Column("n", Kind.INTEGER, limit=TYPES["long"].limit, datatype="INT64"),
    Column("i", Kind.INTEGER, missing=True, limit=TYPES["integer"].limit, datatype="INT32"),
    Column("yes", Kind.BOOLEAN, datatype="BOOL"),
    Column("text", Kind.TEXT, missing=True, datatype="BYTES"),
]
MODELS = {
    "classes with names": answering(Classifier(), described(NUMBERS, class_names=["short", "long"])),
    "classes without names": answering(Classifier(), described(NUMBERS, examples=[[1.5, 2]])),
    "a regression": answering(Regression(), described(NUMBERS, output="double")),
    "columns of all kinds": answering(
        Words(), described(ALL_KINDS, output="string", examples=[[1.5, 2, None, True, 'a "b",\nc']])
    ),
    "a tensor": answering(Classifier(), described([Column("0"), Column("1")], is_named=False)),
    "one column": answering(Regression(), described([Column("x")], output="")),
}


@pytest.fixture(params=MODELS)
def served(request: pytest.FixtureRequest) -> Deployment:
    return served_as(MODELS[request.param])


def document(served: Deployment | None) -> dict[str, Any]:
    return json.loads(json.dumps(openapi.document(URL, NAME, served)))


def schema(document: dict[str, Any], name: str) -> Draft202012Validator:
    """Return what checks a value against one of the document's schemas."""
    resource = Resource(document, DRAFT202012)  # type: ignore[call-arg]
    return Draft202012Validator(
        {"$ref": f"urn:api#/components/schemas/{name}"}, registry=Registry().with_resource("urn:api", resource)
    )


def test_the_document_is_valid_whatever_the_model(served: Deployment) -> None:
    OpenAPIV31SpecValidator(document(served)).validate()


def test_the_document_is_valid_without_a_model() -> None:
    found = document(None)
    OpenAPIV31SpecValidator(found).validate()
    assert found["info"]["version"] == "none"


def test_the_document_is_served(served: Deployment) -> None:
    assert client_of(served).get("/openapi.json").json == document(served)


def test_the_document_is_made_once_per_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    content = openapi.content
    monkeypatch.setattr(openapi, "content", lambda url, name, served: made.append(served) or content(url, name, served))
    first, second = (served_as(MODELS[name]) for name in ("a tensor", "one column"))
    service = service_of(first)
    client = Client(service)
    assert [client.get("/openapi.json").json for _ in range(2)] == [document(first)] * 2
    service._deployments.first.served = second
    assert [client.get("/openapi.json").json for _ in range(2)] == [document(second)] * 2
    assert made == [first, second]


def test_no_two_operations_have_the_same_id(served: Deployment) -> None:
    ids = [
        operation["operationId"]
        for path in document(served)["paths"].values()
        for operation in path.values()
        if isinstance(operation, dict)
    ]
    assert len(ids) == len(set(ids)) >= 15


def test_every_path_of_the_document_is_there(served: Deployment) -> None:
    client = client_of(served)
    for path in document(served)["paths"]:
        if path in ("/metrics", "/status"):
            continue  # of several processes: test_metrics.py
        found = path.replace("{model}", NAME).replace("{version}", "7")
        assert client.get(found).status_code in (200, 405), found


def test_the_examples_are_answered_as_the_document_says(served: Deployment) -> None:
    client, found = client_of(served), document(served)
    for path, answer in (("/invocations", "Predictions"), ("/predict_names", "NamedPredictions")):
        if path == "/predict_names" and served.model.classes is None:
            continue
        for media, content in found["paths"][path]["post"]["requestBody"]["content"].items():
            for example in content["examples"].values():
                value = example["value"]
                if media == "application/json":
                    schema(found, "Rows").validate(value)
                    value = json.dumps(value)
                response = client.post(path, data=value, content_type=media)
                assert response.status_code == 200, response.text
                schema(found, answer).validate(response.json)


def test_an_error_is_as_the_document_says(served: Deployment) -> None:
    answer = client_of(served).post("/invocations", json={"instances": [["no", "row", None]]})
    assert answer.status_code == 400
    schema(document(served), "Error").validate(answer.json)


ROWS = [
    {"instances": [[1.5, 2]]},
    {"instances": [[LARGEST, -LARGEST]]},
    {"instances": [{"length": 1, "width": 2}]},
    {"inputs": [{"length": 1, "width": 2}]},
    {"dataframe_records": [{"length": 1, "width": 2}]},
    {"dataframe_split": {"columns": ["length", "width"], "data": [[1, 2]]}},
]
NO_ROWS = [
    {},
    {"instances": []},
    {"instances": [[1]]},
    {"instances": [[1, 2, 3]]},
    {"instances": [["1", 2]]},
    {"instances": [[1, None]]},
    {"instances": [[1e39, 2]]},
    {"instances": [{"length": 1}]},
    {"dataframe_split": {"data": [[1, 2]]}},
    [[1, 2]],
]


@pytest.mark.parametrize("body", ROWS, ids=json.dumps)
def test_what_the_document_allows_is_taken(body: dict[Any, Any]) -> None:
    served = served_as(MODELS["classes with names"])
    schema(document(served), "Rows").validate(body)
    assert client_of(served).post("/invocations", json=body).status_code == 200


@pytest.mark.parametrize("body", NO_ROWS, ids=json.dumps)
def test_what_the_document_does_not_allow_is_refused(body: dict[Any, Any] | list[list[int]]) -> None:
    served = served_as(MODELS["classes with names"])
    assert not schema(document(served), "Rows").is_valid(body)
    assert client_of(served).post("/invocations", json=body).status_code == 400


def test_columns_of_all_kinds_have_their_domains() -> None:
    cells = document(served_as(MODELS["columns of all kinds"]))["components"]["schemas"]["Row"]["prefixItems"]
    assert cells == [
        {"type": ["number", "null"], "minimum": -LARGEST, "maximum": LARGEST},
        {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
        {"type": ["integer", "null"], "minimum": -(2**31), "maximum": 2**31 - 1},
        {"type": "boolean"},
        {"type": ["string", "null"]},
    ]


def test_an_explanation_is_as_the_document_says(served: Deployment) -> None:
    model = served.model
    row = next(iter(model.description.examples), [1.0] * len(model.description.columns))
    background = from_cells([row], model.description.columns, lambda i, j: "")
    explaining = replace(served, model=replace(model, background=background))
    answer = client_of(explaining).post("/explain", json={"instances": [row]})
    assert answer.status_code == 200, answer.text
    schema(document(explaining), "Explanation").validate(answer.json)
