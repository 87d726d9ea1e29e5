"""Hypothesis looks for a body that is answered with a fault of the service, or with a wrong prediction.

The service and its models are real: a logistic regression on the iris flowers, as the trainer makes it, and one of columns
of all kinds with missing values.
"""

import json
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from contract.schema import LARGEST, TYPES, Column, Kind
from hypothesis import given
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from werkzeug.test import Client

from tests.fuzzing import fuzz
from tests.unit.serving import VERSION, answering, client_of, described, served_as

pytestmark = pytest.mark.filterwarnings("ignore:X does not have valid feature names")

IRIS = load_iris(as_frame=True)
COLUMNS = list(IRIS.data.columns)
NAMES = [str(name) for name in IRIS.target_names]

MIXED = pd.DataFrame(
    {
        "size": [1.0, 2.0, None, 8.0],
        "count": [1, 2, 3, 4],
        "sweet": pd.Series([True, False, None, True], dtype=object),
        "colour": pd.Series(["red", None, "red", "green"], dtype="str"),
    }
)
MIXED_COLUMNS = [
    Column("size", missing=True),
    Column("count", Kind.INTEGER, limit=TYPES["long"].limit, datatype="INT64"),
    Column("sweet", Kind.BOOLEAN, missing=True, datatype="BOOL"),
    Column("colour", Kind.TEXT, missing=True, datatype="BYTES"),
]
PREPARATION = ColumnTransformer(
    [
        ("numbers", SimpleImputer(), ["size", "count", "sweet"]),
        ("texts", OneHotEncoder(handle_unknown="ignore"), ["colour"]),
    ]
)


@cache
def fitted() -> LogisticRegression:
    return LogisticRegression(max_iter=1000).fit(IRIS.data, IRIS.target)


@cache
def client(model: str) -> Client:
    if model == "iris":
        columns = described([Column(name) for name in COLUMNS], class_names=NAMES)
        return client_of(served_as(answering(fitted(), columns, takes_arrays=True)))
    mixed = make_pipeline(PREPARATION, LogisticRegression()).fit(MIXED, ["a", "a", "b", "b"])
    return client_of(served_as(answering(mixed, described(MIXED_COLUMNS))))


MODELS = st.sampled_from(["iris", "mixed"])
SCORING = st.sampled_from(["/invocations", "/predict_names"])
INFER = f"/v2/models/{VERSION.name}/infer"
PATHS = SCORING | st.just(INFER)
# JSON as Python writes it: with NaN and Infinity, lone surrogates, and numbers beyond any float.
TEXTS = st.text() | st.text(st.characters(categories=["Cs", "Lu"]))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.integers(min_value=10**308)
ANY_JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5), max_leaves=20
)
GOOD = st.floats(-LARGEST, LARGEST) | st.integers(-(10**9), 10**9)
GOOD_ROWS = st.lists(GOOD, min_size=4, max_size=4) | st.fixed_dictionaries(dict.fromkeys(COLUMNS, GOOD))
# Close to right: right rows, with something else among them.
CELLS = GOOD | ANY_JSON
ALL_COLUMNS = [*COLUMNS, *MIXED.columns, "petal", ""]
ROWS = (
    GOOD_ROWS
    | st.lists(CELLS, min_size=3, max_size=5)
    | st.tuples(st.none() | GOOD, st.integers(), st.none() | st.booleans(), st.none() | TEXTS)
    | st.dictionaries(st.sampled_from(ALL_COLUMNS), CELLS)
    | ANY_JSON
)
LISTS = st.lists(ROWS, max_size=6)
BY_COLUMN = st.dictionaries(st.sampled_from(ALL_COLUMNS), st.lists(CELLS, max_size=3) | CELLS, max_size=5)
SPLIT = st.fixed_dictionaries(
    {"columns": st.permutations(COLUMNS) | st.just(list(MIXED.columns)) | ANY_JSON, "data": LISTS | ANY_JSON},
    optional={"index": ANY_JSON},
)
FORMATS = st.one_of(
    st.fixed_dictionaries({"instances": LISTS | BY_COLUMN | ANY_JSON}, optional={"params": ANY_JSON}),
    st.fixed_dictionaries({"inputs": LISTS | BY_COLUMN | ANY_JSON}, optional={"instances": ANY_JSON}),
    st.fixed_dictionaries({"dataframe_split": SPLIT | ANY_JSON}),
    st.fixed_dictionaries({"dataframe_records": LISTS | ANY_JSON}),
)
TENSORS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(ALL_COLUMNS) | ANY_JSON,
        "shape": st.lists(st.integers(-1, 4), max_size=3) | ANY_JSON,
        "datatype": st.sampled_from(["FP64", "FP32", "INT64", "BOOL", "BYTES"]) | ANY_JSON,
        "data": st.lists(CELLS | st.lists(CELLS, max_size=4), max_size=8) | ANY_JSON,
    },
    optional={"parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 20)}) | ANY_JSON},
)
OUTPUTS = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from(["predict", "predict_proba"]) | ANY_JSON}), max_size=3
)
REQUESTS = st.fixed_dictionaries(
    {"inputs": st.lists(TENSORS, max_size=5)}, optional={"id": TEXTS | ANY_JSON, "outputs": OUTPUTS | ANY_JSON}
)

BOUNDED = fuzz(100)


def post(path: str, body: bytes, model: str = "iris", content_type: str = "application/json", **headers: str) -> Any:
    answer = client(model).post(path, data=body, content_type=content_type, headers=headers)
    is_tensors_as_csv = path == INFER and content_type == "text/csv"
    assert answer.status_code in ((415,) if is_tensors_as_csv else (200, 400)), answer.text
    assert answer.is_json
    return answer


def assert_refusal_or_answer(answer: Any) -> None:
    if answer.status_code != 200:
        assert {"error_code", "message"} <= set(answer.json) <= {"error_code", "message", "where", "error"}
        assert "Traceback" not in answer.text
        assert ".py" not in answer.json["message"].replace(str(answer.json.get("where")), "")
    else:
        assert set(answer.json) <= {"predictions", "probabilities", "model_name", "model_version", "outputs", "id"}


@BOUNDED
@given(MODELS, PATHS, st.binary(), st.sampled_from(["application/json", "text/csv"]))
def test_any_bytes_are_answered_or_refused(model: Any, path: Any, body: Any, content_type: Any) -> None:
    assert_refusal_or_answer(post(path, body, model, content_type))


@BOUNDED
@given(MODELS, PATHS, ANY_JSON)
def test_any_json_is_answered_or_refused(model: Any, path: Any, body: Any) -> None:
    assert post(path, json.dumps(body).encode(), model).status_code == 400


@BOUNDED
@given(MODELS, SCORING, FORMATS)
def test_what_is_nearly_right_is_answered_or_refused_with_the_place(model: Any, path: Any, body: Any) -> None:
    answer = post(path, json.dumps(body).encode(), model)
    assert_refusal_or_answer(answer)
    if "where" in (answer.json or {}):
        assert answer.json["where"].startswith(tuple(body))


@BOUNDED
@given(MODELS, REQUESTS, st.binary(max_size=20), st.booleans())
def test_tensors_that_are_nearly_right_are_answered_or_refused(
    model: Any, request: pytest.FixtureRequest, tail: Any, is_binary: Any
) -> None:
    head = json.dumps(request).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))} if is_binary else {}
    assert_refusal_or_answer(post(INFER, head + tail if is_binary else head, model, **headers))


@BOUNDED
@given(st.lists(GOOD_ROWS, min_size=1, max_size=8).filter(lambda rows: len({type(row) for row in rows}) == 1))
def test_right_rows_get_the_models_own_answer(rows: Any) -> None:
    frame = np.array([[row[name] for name in COLUMNS] if isinstance(row, dict) else row for row in rows], dtype=float)
    body = json.dumps({"instances": rows}).encode()
    expected = fitted().predict(frame).tolist()
    assert post("/invocations", body).json == {"predictions": expected}
    names = post("/predict_names", body).json
    assert names["predictions"] == [NAMES[label] for label in expected]
    for shares in names["probabilities"]:
        assert sum(shares.values()) == pytest.approx(1)


@BOUNDED
@given(st.lists(st.lists(GOOD, min_size=4, max_size=4), min_size=1, max_size=5))
def test_the_same_rows_get_the_same_answer_in_every_format(rows: Any) -> None:
    records = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    expected = post("/invocations", json.dumps({"instances": rows}).encode()).json
    for body in (
        {"instances": records},
        {"inputs": rows},
        {"inputs": {name: [row[i] for row in rows] for i, name in enumerate(COLUMNS)}},
        {"dataframe_records": records},
        {"dataframe_split": {"columns": COLUMNS, "data": rows}},
    ):
        assert post("/invocations", json.dumps(body).encode()).json == expected
    lines = [",".join(COLUMNS), *(",".join(map(repr, row)) for row in rows)]
    assert post("/invocations", "\n".join(lines).encode(), content_type="text/csv").json == expected
    tensor = {"name": "rows", "shape": [len(rows), 4], "datatype": "FP64", "data": rows}
    answer = post(INFER, json.dumps({"inputs": [tensor]}).encode()).json
    assert answer["outputs"][0]["data"] == expected["predictions"]


@BOUNDED
@given(
    st.lists(st.lists(GOOD, min_size=4, max_size=4), max_size=4),
    ANY_JSON.filter(lambda value: not isinstance(value, int | float)),
    st.data(),
)
def test_the_place_of_a_single_wrong_value_is_the_one_that_is_named(rows: Any, wrong: Any, data: Any) -> None:
    row = data.draw(st.lists(GOOD, min_size=4, max_size=4))
    column = data.draw(st.integers(0, 3))
    row[column] = wrong
    at = data.draw(st.integers(0, len(rows)))
    rows.insert(at, row)
    answer = post("/invocations", json.dumps({"instances": rows}).encode())
    assert answer.status_code == 400
    assert answer.json["where"] == f"instances[{at}][{column}]"
