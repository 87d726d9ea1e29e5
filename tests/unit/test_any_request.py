"""Hypothesis looks for a body that is answered with a fault of the service, or with a wrong prediction.

The app and the model are real: a logistic regression on the iris flowers, as the trainer makes it.
"""

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inference.app import create_app
from inference.keeper import Served
from inference.model import Model
from inference.registry import ModelVersion
from inference.rows import LARGEST, Column
from inference.settings import Settings
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

IRIS = load_iris(as_frame=True)
COLUMNS = list(IRIS.data.columns)
ESTIMATOR = LogisticRegression(max_iter=1000).fit(IRIS.data, IRIS.target)
MODEL = Model(
    ESTIMATOR, [Column(name) for name in COLUMNS], [str(name) for name in IRIS.target_names], [5.1, 3.5, 1.4, 0.2]
)
VERSION = ModelVersion("iris_logistic_regression", "1", "run-of-1", 1700000000000, "m-1", "")
SERVED = Served(MODEL, VERSION, datetime(2026, 1, 2, tzinfo=UTC))
CLIENT = create_app(Settings(), SimpleNamespace(served=SERVED, problem=None)).test_client()

PATHS = st.sampled_from(["/invocations", "/predict_names"])
# JSON as Python writes it: with NaN and Infinity, lone surrogates, and numbers beyond any float.
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.integers(min_value=10**308)
ANY_JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5), max_leaves=20
)
GOOD = st.floats(-LARGEST, LARGEST) | st.integers(-(10**9), 10**9)
GOOD_ROWS = st.lists(GOOD, min_size=4, max_size=4) | st.fixed_dictionaries(dict.fromkeys(COLUMNS, GOOD))
# Close to right: right rows, with something else among them.
CELLS = GOOD | ANY_JSON
ROWS = (
    GOOD_ROWS
    | st.lists(CELLS, min_size=3, max_size=5)
    | st.dictionaries(st.sampled_from([*COLUMNS, "petal", ""]), CELLS)
    | ANY_JSON
)
CLOSE = st.fixed_dictionaries(
    {"instances": st.lists(ROWS, max_size=6) | ANY_JSON}, optional={"inputs": ANY_JSON, "params": ANY_JSON}
)

# Longer runs find more: this is what a test run can afford. The same cases each time, so that CI is no lottery.
BOUNDED = settings(max_examples=400, deadline=None, derandomize=True)


def post(path: str, body: bytes):
    answer = CLIENT.post(path, data=body, content_type="application/json")
    assert answer.status_code in (200, 400), answer.text
    assert answer.is_json
    return answer


def assert_refusal_or_answer(answer) -> None:
    if answer.status_code == 400:
        assert set(answer.json) <= {"error_code", "message", "where"}
        assert "Traceback" not in answer.text
        assert ".py" not in answer.text
    else:
        assert set(answer.json) <= {"predictions", "probabilities"}


@BOUNDED
@given(PATHS, st.binary())
def test_any_bytes_are_answered_or_refused(path, body):
    assert_refusal_or_answer(post(path, body))


@BOUNDED
@given(PATHS, ANY_JSON)
def test_any_json_is_answered_or_refused(path, body):
    assert post(path, json.dumps(body).encode()).status_code == 400


@BOUNDED
@given(PATHS, CLOSE)
def test_what_is_nearly_right_is_answered_or_refused_with_the_place(path, body):
    answer = post(path, json.dumps(body).encode())
    assert_refusal_or_answer(answer)
    if "where" in (answer.json or {}):
        assert answer.json["where"].startswith("instances")


@BOUNDED
@given(st.lists(GOOD_ROWS, min_size=1, max_size=8))
def test_right_rows_get_the_models_own_answer(rows):
    frame = np.array([[row[name] for name in COLUMNS] if isinstance(row, dict) else row for row in rows], dtype=float)
    body = json.dumps({"instances": rows}).encode()
    assert post("/invocations", body).json == {"predictions": MODEL.predict(frame)}
    names = post("/predict_names", body).json
    assert names["predictions"] == MODEL.predict_names(frame)[0]
    for shares in names["probabilities"]:
        assert sum(shares.values()) == pytest.approx(1)


@BOUNDED
@given(st.lists(GOOD_ROWS, max_size=4), ANY_JSON.filter(lambda value: not isinstance(value, int | float)), st.data())
def test_the_place_of_a_single_wrong_value_is_the_one_that_is_named(rows, wrong, data):
    row = data.draw(st.lists(GOOD, min_size=4, max_size=4))
    column = data.draw(st.integers(0, 3))
    row[column] = wrong
    at = data.draw(st.integers(0, len(rows)))
    rows.insert(at, row)
    answer = post("/invocations", json.dumps({"instances": rows}).encode())
    assert answer.status_code == 400
    assert answer.json["where"] == f"instances[{at}][{column}]"
