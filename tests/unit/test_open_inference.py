"""The Open Inference Protocol: tensors in JSON and in binary, what a model says of itself, and every refusal."""

import json
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from contract.schema import LARGEST, TYPES, Column, Kind
from inference.errors import InvalidInput
from inference.model.deployment import Deployment
from inference.protocols import open_inference
from inference.protocols.open_inference import DTYPES, model_metadata, server_metadata
from inference.protocols.request_budget import OUR_OWN
from inference.web.openapi import document
from werkzeug.test import Client

from tests.unit.serving import (
    VERSION,
    active_of,
    answering,
    client_of,
    described,
    inferred,
    served_as,
    service_among,
)

LENGTH, WIDTH = Column("length"), Column("width")
COLOUR = Column("colour", Kind.TEXT, missing=True, datatype="BYTES")
SWEET = Column("sweet", Kind.BOOLEAN, datatype="BOOL")
COUNT = Column("count", Kind.INTEGER, limit=TYPES["long"].limit, datatype="INT64")
AGE = Column("age", Kind.INTEGER, limit=TYPES["integer"].limit, datatype="INT32")


class Echo:
    """Answers 0, 1, 2, … and keeps the rows that it was asked about."""

    classes_ = np.array([0, 1])

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def predict(self, frame: Any) -> Any:
        self.asked = [[None if value != value else value for value in row] for row in np.asarray(frame).tolist()]
        return np.arange(len(frame))

    def predict_proba(self, frame: Any) -> Any:
        return np.array([[0.75, 0.25]] * len(frame))


class Regression:
    def predict(self, frame: Any) -> Any:
        return np.full(len(frame), 0.5, dtype="float32")


class Pairs:
    def predict(self, frame: Any) -> np.ndarray:
        return np.array([[0.5, 1.5]] * len(frame))


class Texts:
    def predict(self, frame: Any) -> Any:
        return np.array(["red"] * len(frame), dtype=object)


def served_of(*columns: Column, estimator: Any = None, **described_as: Any) -> Any:
    return served_as(answering(estimator or Echo(), described(columns, **described_as)))


NUMBERS = served_of(LENGTH, WIDTH)
MIXED = served_of(LENGTH, SWEET, COLOUR, COUNT)
TENSOR = served_of(Column("0"), Column("1"), is_named=False)


def tensor(
    name: str = "rows", shape: Any = (2, 2), datatype: str = "FP64", data: Any = (1, 2, 3, 4), **more: Any
) -> dict[str, Any]:
    return {"name": name, "shape": list(shape), "datatype": datatype, "data": list(data), **more}


def binary(name: str, shape: Any, datatype: str, content: bytes) -> dict[str, Any]:
    parameters = {"binary_data_size": len(content)}
    return {"name": name, "shape": list(shape), "datatype": datatype, "parameters": parameters}


def infer(served: Any, *tensors: dict[str, Any], tail: bytes | None = None, **more: Any) -> dict[str, Any]:
    head = json.dumps({"inputs": list(tensors), **more}).encode()
    environ = {} if tail is None else {"HTTP_INFERENCE_HEADER_CONTENT_LENGTH": str(len(head))}
    content, headers = inferred(served, head + (tail or b""), environ)
    answer: dict[str, Any] = json.loads(content[: int(dict(headers).get(open_inference.HEAD_LENGTH, len(content)))])
    return answer


def asked(served: Any) -> list[Any]:
    return served.model.pipeline.estimator.asked


def refusal(served: Any, *tensors: dict[str, Any], tail: bytes | None = None, **more: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        infer(served, *tensors, tail=tail, **more)
    return refused.value


# --- what is taken -------------------------------------------------------------------------------------------------


def test_an_answer_names_the_model_and_has_a_tensor_of_predictions() -> None:
    assert infer(NUMBERS, tensor(), id="mine") == {
        "model_name": "iris_logistic_regression",
        "model_version": "7",
        "outputs": [{"name": "predict", "shape": [2, 1], "datatype": "INT64", "data": [0, 1]}],
        "id": "mine",
    }


@pytest.mark.parametrize("served", [NUMBERS, TENSOR], ids=["columns", "a tensor"])
@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]]], ids=["flat", "nested"])
def test_one_tensor_has_all_rows_in_the_order_of_the_columns(served: Deployment, data: list[Any]) -> None:
    infer(served, tensor(data=data))
    assert asked(served) == [[1, 2], [3, 4]]


@pytest.mark.parametrize("shape", [[2], [2, 1]])
def test_a_tensor_per_column_goes_by_its_name(shape: list[int]) -> None:
    infer(NUMBERS, tensor("width", shape, data=[2, 4]), tensor("length", shape, data=[1, 3]))
    assert asked(NUMBERS) == [[1, 2], [3, 4]]


def test_columns_of_all_kinds_are_taken_and_one_that_may_be_missing_left_out() -> None:
    columns = [
        tensor("length", [2], "FP32", [1.5, 2]),
        tensor("sweet", [2], "BOOL", [True, False]),
        tensor("count", [2], "INT64", [1, -(2**31)]),
    ]
    infer(MIXED, *columns)
    assert asked(MIXED) == [[1.5, True, None, 1], [2.0, False, None, -(2**31)]]
    infer(MIXED, *columns, tensor("colour", [2], "BYTES", ["red", None]))
    assert [row[2] for row in asked(MIXED)] == ["red", None]


@pytest.mark.parametrize("served", [NUMBERS, TENSOR], ids=["columns", "an array"])
def test_one_row_may_come_as_a_vector(served: Deployment) -> None:
    infer(served, tensor("inputs", shape=[2], data=[1, 2]))
    assert asked(served) == [[1.0, 2.0]]


def test_a_vector_under_a_name_that_no_column_has_is_no_row() -> None:
    with pytest.raises(InvalidInput, match="'inputs' lacks 'length', 'width'"):
        infer(NUMBERS, tensor("lenght", shape=[2], data=[1, 2]))


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ([2, 2, 1], [1, 2, 3, 4]),
        ([2, 2, 1], [[[1], [2]], [[3], [4]]]),
        ([2, 2], [[1, 2], [3, 4]]),
    ],
    ids=["flat", "nested", "a list of values"],
)
def test_a_tensor_of_the_shape_of_an_array_has_its_rows(shape: list[int], data: list[Any]) -> None:
    served = served_as(answering(Echo(), replace(TENSOR.model.description, shape=(2, 1))))
    assert open_inference.model_metadata(served)["inputs"][0]["shape"] == [-1, 2, 1]
    infer(served, tensor(shape=shape, data=data))
    assert asked(served) == [[1.0, 2.0], [3.0, 4.0]]
    assert "expected [rows, 2, 1]" in str(refusal(served, tensor(shape=[2, 1, 2])))


def test_a_tensor_of_no_column_is_overlooked() -> None:
    infer(NUMBERS, tensor("length", [1], data=[1]), tensor("width", [1], data=[2]), tensor("hue", [3], data=[7, 8, 9]))
    assert asked(NUMBERS) == [[1, 2]]


@pytest.mark.parametrize("datatype", sorted(set(DTYPES) - {"BOOL"}))
def test_numbers_of_every_datatype_can_come_in_binary(datatype: str) -> None:
    content = np.array([1, 2, 3, 4], DTYPES[datatype]).tobytes()
    infer(NUMBERS, binary("rows", [2, 2], datatype, content), tail=content)
    assert asked(NUMBERS) == [[1, 2], [3, 4]]


@pytest.mark.parametrize("datatype", sorted(DTYPES))
@pytest.mark.parametrize(
    "column", [LENGTH, Column("a", missing=True), COUNT, AGE, SWEET, COLOUR], ids=lambda column: column.kind.name
)
def test_many_binary_values_are_read_as_few_are_and_refused_with_the_same_words(column: Column, datatype: str) -> None:
    dtype = np.dtype(DTYPES[datatype])
    odd = ODD["f"] if dtype.kind == "f" else ODD["b"] if dtype.kind == "b" else _edges(dtype)
    for value in odd:  # type: ignore[attr-defined]
        with np.errstate(over="ignore"):  # what does not fit into 16 or 32 bits is infinite there
            few, many = (outcome_of(np.array([1] * count + [value], dtype=dtype), column) for count in (1, 100))
        assert many == tuple(part.replace("data[1]", "data[100]") if isinstance(part, str) else part for part in few)


ODD = {
    "f": [1.5, -0.0, np.nan, np.inf, -np.inf, 2.0**31, -(2.0**31), 2.0**53, 2.0**63, -(2.0**63), LARGEST, 3.41e38],
    "b": [True, False],
}


def _edges(dtype: np.dtype) -> list[int]:
    """Return the least and the largest of a type, and those around what a column or a float can hold."""
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    near = [sign * 2**bits + more for sign in (1, -1) for bits in (31, 53, 63) for more in (-1, 0, 1)]
    return [low, high, 0, *(number for number in near if low <= number <= high)]


def outcome_of(values: np.ndarray, column: Column) -> tuple[Any, ...]:
    """Return what becomes of a column of values: the last one with its type, or the words and the place."""
    content = values.tobytes()
    given = binary(column.name, [len(values)], str(next(k for k, d in DTYPES.items() if d == values.dtype)), content)
    model = served_of(column).model
    try:
        rows = open_inference._rows(open_inference._tensors([given], content, model, OUR_OWN), model, OUR_OWN)
    except InvalidInput as refused:
        return str(refused), refused.where
    assert len(rows) == len(values)
    return rows.matrix is None, rows.by_column[0].dtype, repr(rows.by_column[0].tolist()[-1])


def test_binary_tensors_stand_one_after_the_other_and_beside_those_in_json() -> None:
    length = struct.pack("<2d", 1.5, 2.5)
    sweet = b"\x01\x00"
    colour = b"".join(struct.pack("<I", len(word)) + word for word in ("grün".encode(), b""))
    infer(
        MIXED,
        binary("length", [2], "FP64", length),
        tensor("count", [2], "INT64", [7, 8]),
        binary("sweet", [2], "BOOL", sweet),
        binary("colour", [2], "BYTES", colour),
        tail=length + sweet + colour,
    )
    assert asked(MIXED) == [[1.5, True, "grün", 7], [2.5, False, "", 8]]


@pytest.mark.parametrize("outputs", [None, []])
def test_without_outputs_the_predictions_are_what_is_wanted(outputs: list[Any] | None) -> None:
    (output,) = infer(NUMBERS, tensor(), outputs=outputs)["outputs"]
    assert output["name"] == "predict"


def test_the_probabilities_can_be_wanted_too() -> None:
    outputs = [{"name": "predict_proba"}, {"name": "predict"}]
    proba, labels = infer(NUMBERS, tensor(), outputs=outputs)["outputs"]
    assert proba == {"name": "predict_proba", "shape": [2, 2], "datatype": "FP64", "data": [0.75, 0.25, 0.75, 0.25]}
    assert labels["data"] == [0, 1]


@pytest.mark.parametrize(
    ("estimator", "output", "datatype", "data"),
    [(Regression(), "double", "FP64", [0.5, 0.5]), (Texts(), "string", "BYTES", ["red", "red"])],
)
def test_predictions_have_the_datatype_that_the_metadata_says(
    estimator: Regression | Texts, output: str, datatype: str, data: list[Any]
) -> None:
    served = served_of(LENGTH, WIDTH, estimator=estimator, output=output)
    (found,) = infer(served, tensor())["outputs"]
    assert (found["datatype"], found["data"]) == (datatype, data)
    assert model_metadata(served)["outputs"][0]["datatype"] == datatype


def test_half_a_surrogate_pair_as_the_id_does_no_harm() -> None:
    assert infer(NUMBERS, tensor(), id="\ud800")["id"] == r"\ud800"


# --- what is not ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [[[1, 3], [2, 4], [5, 6]], [[1, 2, 3], [4]], [[], [1, 2, 3, 4]], [[1], [2], [3], [4]], [[1, 2, 3, 4]]],
)
def test_data_that_is_nested_otherwise_than_its_shape_is_refused(data: list[Any]) -> None:
    assert "the shape [2, 2]" in str(refusal(NUMBERS, tensor(data=data)))


def test_data_that_is_nested_as_its_shape_is_the_same_as_flat_data() -> None:
    assert infer(NUMBERS, tensor(data=[[1, 2], [3, 4]])) == infer(NUMBERS, tensor(data=[1, 2, 3, 4]))


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        ("INT64", 5.1),
        ("INT64", True),
        ("INT8", 128),
        ("INT64", 2**63),
        ("UINT8", -1),
        ("UINT8", "1"),
        ("BOOL", 1),
        ("BYTES", 1),
        ("FP64", True),
        ("FP32", "1"),
        ("FP64", [1]),
    ],
)
def test_a_value_that_is_none_of_its_datatype_is_refused_by_its_place(datatype: Any, value: Any) -> None:
    good = {"BOOL": True, "BYTES": "red"}.get(datatype, 1)
    fault = refusal(NUMBERS, tensor(datatype=datatype, data=[good, good, value, good]))
    assert fault.where == "inputs[0].data[2]"
    assert str(fault).endswith(f", as {datatype} is")


@pytest.mark.parametrize("body", ["null", "[]", "{}", '{"inputs": []}', '{"inputs": {}}', '{"instances": [[1, 2]]}'])
def test_a_body_without_tensors_is_refused(body: str) -> None:
    with pytest.raises(InvalidInput, match="the body has no list 'inputs'; expected"):
        inferred(NUMBERS, body.encode(), {})


@pytest.mark.parametrize(
    ("wrong", "where", "said"),
    [
        ({"name": None}, "inputs[0]", "has no name"),
        ({"shape": None}, "inputs[0].shape", "expected [rows] or [rows, columns]"),
        ({"shape": []}, "inputs[0].shape", "expected [rows]"),
        ({"shape": [2, 2, 1]}, "inputs[0].shape", "expected [rows]"),
        ({"shape": [0, 2]}, "inputs[0].shape", "expected [rows]"),
        ({"shape": [-1, 2]}, "inputs[0].shape", "expected [rows]"),
        ({"shape": [True, 4]}, "inputs[0].shape", "expected [rows]"),
        ({"shape": [2.0, 2]}, "inputs[0].shape", "expected [rows]"),
        ({"shape": [3, 2]}, "inputs[0]", "inputs[0] has 4 values; its shape [3, 2] has 6"),
        ({"shape": [2**63 - 1, 2]}, "inputs[0]", "has 4 values"),
        ({"shape": [2**63, 2]}, "inputs[0].shape", "expected [rows]"),
        ({"datatype": None}, "inputs[0].datatype", "inputs[0].datatype is None; expected one of BOOL, UINT8"),
        ({"datatype": "FP8"}, "inputs[0].datatype", "is 'FP8'; expected one of"),
        ({"datatype": ["FP64"]}, "inputs[0].datatype", "is ['FP64']; expected one of"),
        ({"data": None}, "inputs[0].data", "is null; expected a list"),
        ({"data": "1234"}, "inputs[0].data", "is text; expected a list"),
        ({"data": [1, 2, 3]}, "inputs[0]", "has 3 values; its shape [2, 2] has 4"),
        ({"data": [1, 2, 3, "a"]}, "inputs[0].data[3]", "inputs[0].data[3] is text; expected a number"),
        ({"data": [[1, 2], [3, None]]}, "inputs[0].data[3]", "is null; expected a number"),
        ({"data": [1, [2], 3, 4]}, "inputs[0].data[1]", "is a list; expected a number"),
        ({"parameters": {"binary_data_size": 8}}, "inputs[0]", "binary_data_size is 8; 0 bytes are left"),
    ],
)
def test_a_tensor_that_is_none_is_refused_with_the_place_of_the_fault(
    wrong: dict[Any, Any], where: str, said: str
) -> None:
    refused = refusal(NUMBERS, tensor() | wrong)
    assert refused.where == where
    assert said in str(refused)


@pytest.mark.parametrize("inputs", [["text"], [None], [[1]]])
def test_what_is_no_record_is_no_tensor(inputs: list[Any]) -> None:
    assert "inputs[0] has no name" in str(refusal(NUMBERS, *inputs))


@pytest.mark.parametrize(
    ("tensors", "where", "said"),
    [
        ([tensor("length", [1], data=[1])], "inputs", "'inputs' lacks 'width'"),
        ([tensor("length", [1], data=[1]), tensor("length", [1], data=[1])], "inputs[1]", "is 'length' once more"),
        (
            [tensor("length", [2], data=[1, 2]), tensor("width", [1], data=[1])],
            "inputs[1].shape",
            "inputs[1].shape is [1]; expected [2] or [2, 1]",
        ),
        (
            [tensor("length", [1, 2], data=[1, 2]), tensor("width", [2], data=[1, 2])],
            "inputs[0].shape",
            "inputs[0].shape is [1, 2]; expected [2] or [2, 1]",
        ),
        (
            [tensor("width", [2], data=[1, 2]), tensor("length", [2], data=[1, "a"])],
            "inputs[1].data[1]",
            "inputs[1].data[1] is text",
        ),
    ],
)
def test_tensors_that_do_not_fit_together_are_refused_with_the_place(tensors: list[Any], where: str, said: str) -> None:
    refused = refusal(NUMBERS, *tensors)
    assert refused.where == where
    assert said in str(refused)


def test_tensors_of_none_of_the_columns_are_refused_even_if_all_may_be_missing() -> None:
    served = served_of(Column("a", missing=True), Column("b", missing=True))
    assert "'inputs' has none of 'a', 'b'" in str(refusal(served, tensor("hue", [1], data=[1])))


@pytest.mark.parametrize(
    "tensors", [[tensor(shape=[1, 4])], [tensor("a", [2], data=[1, 2]), tensor("b", [1], data=[1])]]
)
def test_a_model_of_a_tensor_takes_one_tensor_of_its_shape(tensors: list[dict[str, list[int] | str]]) -> None:
    assert "expected one of the shape [rows, 2]" in str(refusal(TENSOR, *tensors))


@pytest.mark.parametrize(
    ("wanted", "where", "said"),
    [
        ("predict", "outputs", "'outputs' is text; expected a list of records"),
        ([{"name": "scores"}], "outputs[0]", "outputs[0] names none of predict, predict_proba"),
        ([{"name": "predict"}, "predict"], "outputs[1]", "names none of"),
        ([{"name": ["predict"]}], "outputs[0]", "names none of"),
    ],
)
def test_outputs_that_there_are_not_are_refused(wanted: list[Any] | str, where: str, said: str) -> None:
    refused = refusal(NUMBERS, tensor(), outputs=wanted)
    assert refused.where == where
    assert said in str(refused)


def test_a_model_without_probabilities_has_none_to_want() -> None:
    served = served_of(LENGTH, WIDTH, estimator=Regression(), output="double")
    assert str(refusal(served, tensor(), outputs=[{"name": "predict_proba"}])) == "outputs[0] names none of predict"
    assert len(model_metadata(served)["outputs"]) == 1


@pytest.mark.parametrize("length", ["", "-1", "many", "\u00b2", "99999", "9" * 5000, "1.5"])
def test_a_length_of_the_json_that_is_none_is_refused(length: str) -> None:
    body = json.dumps({"inputs": [tensor()]}).encode()
    with pytest.raises(InvalidInput, match=f"the body has {len(body)} bytes"):
        inferred(NUMBERS, body, {"HTTP_INFERENCE_HEADER_CONTENT_LENGTH": length})


EIGHT = struct.pack("<d", 1)


@pytest.mark.parametrize(
    ("given", "tail", "said"),
    [
        (binary("rows", [1, 2], "FP64", EIGHT * 2), EIGHT, "binary_data_size is 16; 8 bytes are left"),
        (binary("rows", [1, 2], "FP64", EIGHT), EIGHT, "has 1 values; its shape [1, 2] has 2"),
        (binary("rows", [1, 2], "FP64", b"123"), b"123", "has 3 bytes, which are no whole number of FP64 values"),
        (binary("rows", [1, 2], "FP64", EIGHT * 2), EIGHT * 3, "8 bytes of binary data belong to no tensor"),
        (tensor(), EIGHT, "8 bytes of binary data belong to no tensor"),
        (tensor() | {"parameters": {"binary_data_size": -1}}, EIGHT, "binary_data_size is -1"),
        (tensor() | {"parameters": {"binary_data_size": True}}, EIGHT, "binary_data_size is True"),
        (tensor() | {"parameters": {"binary_data_size": "8"}}, EIGHT, "binary_data_size is '8'"),
        (
            binary("rows", [1, 2], "FP64", struct.pack("<2d", 1, np.inf)),
            struct.pack("<2d", 1, np.inf),
            "inputs[0].data[1] is not a finite number",
        ),
        (binary("rows", [1, 2], "BOOL", b"\1\0"), b"\1\0", "inputs[0].data[0] is a boolean; expected a number"),
        (binary("rows", [1, 2], "BYTES", b"\1\0"), b"\1\0", "inputs[0] ends in the length of a text"),
        (binary("rows", [1, 2], "BYTES", b"\5\0\0\0abc"), b"\5\0\0\0abc", "inputs[0] ends in a text"),
        (binary("rows", [1, 1], "BYTES", b"\1\0\0\0\xff"), b"\1\0\0\0\xff", "has a text that is not UTF-8"),
    ],
)
def test_binary_data_that_is_not_what_it_is_said_to_be_is_refused(
    given: dict[Any, Any], tail: bytes, said: str
) -> None:
    assert said in str(refusal(NUMBERS, given, tail=tail))


# --- what is said of the service and the model ---------------------------------------------------------------------


def test_the_server_says_who_it_is_and_that_it_takes_binary_tensors() -> None:
    assert server_metadata("3") == {
        "name": "MLflow Stack inference",
        "version": "3",
        "extensions": ["binary_tensor_data"],
    }


def test_the_metadata_has_a_tensor_per_column_and_per_output() -> None:
    served = served_of(LENGTH, COLOUR, COUNT, SWEET, output="string", class_names=["a", "b"])
    assert model_metadata(served) == {
        "name": "iris_logistic_regression",
        "versions": ["7"],
        "platform": "mlflow_scikitlearn",
        "inputs": [
            {"name": "length", "datatype": "FP64", "shape": [-1, 1]},
            {"name": "colour", "datatype": "BYTES", "shape": [-1, 1]},
            {"name": "count", "datatype": "INT64", "shape": [-1, 1]},
            {"name": "sweet", "datatype": "BOOL", "shape": [-1, 1]},
        ],
        "outputs": [
            {"name": "predict", "datatype": "BYTES", "shape": [-1, 1]},
            {"name": "predict_proba", "datatype": "FP64", "shape": [-1, 2]},
        ],
    }


def test_a_prediction_of_several_values_has_the_shape_that_the_metadata_states() -> None:
    description = replace(described([LENGTH, WIDTH], output="double"), width=2)
    served = served_as(answering(Pairs(), description))
    assert model_metadata(served)["outputs"] == [{"name": "predict", "datatype": "FP64", "shape": [-1, 2]}]
    (found,) = infer(served, tensor(shape=(3, 2), data=range(6)))["outputs"]
    assert found == {"name": "predict", "datatype": "FP64", "shape": [3, 2], "data": [0.5, 1.5] * 3}
    answer = client_of(served).post("/invocations", json={"instances": [[1, 2]]}).get_json()
    schema = document("", VERSION.name, served)["components"]["schemas"]["Predictions"]
    assert schema["properties"]["predictions"]["items"]["items"] == {"type": ["number", "null"]}
    assert answer == {"predictions": [[0.5, 1.5]]}


def test_the_metadata_of_a_tensor_model_has_one_input() -> None:
    assert model_metadata(TENSOR)["inputs"] == [{"name": "inputs", "datatype": "FP64", "shape": [-1, 2]}]


# --- over HTTP -----------------------------------------------------------------------------------------------------

MODEL = f"/v2/models/{VERSION.name}"


@pytest.mark.parametrize("path", [MODEL, f"{MODEL}/versions/7"])
def test_the_served_model_and_version_answer_under_their_names(path: str) -> None:
    client = client_of(NUMBERS)
    assert client.get(path).json == model_metadata(NUMBERS)
    assert client.get(f"{path}/ready").json == {"name": VERSION.name, "ready": True}
    assert client.post(f"{path}/infer", json={"inputs": [tensor()]}).json["model_version"] == "7"


def test_what_is_said_of_a_model_is_made_once_per_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Deployment] = []

    def counted(served: Deployment) -> dict[str, Any]:
        made.append(served)
        return model_metadata(served)

    monkeypatch.setattr(open_inference, "model_metadata", counted)
    active = active_of(NUMBERS)
    client = Client(service_among([active]))
    assert [client.get(MODEL).json for _ in range(2)] == [model_metadata(NUMBERS)] * 2
    active.served = second = replace(NUMBERS)
    assert client.get(MODEL).json == model_metadata(second)
    assert [one is second for one in made] == [False, True]


@pytest.mark.parametrize(
    ("path", "said"),
    [("/v2/models/trees", "there is no model 'trees'"), (f"{MODEL}/versions/6", "version '6' of ")],
)
def test_another_model_or_version_is_not_there(path: str, said: str) -> None:
    client = client_of(NUMBERS)
    for answer in (client.get(path), client.get(f"{path}/ready"), client.post(f"{path}/infer", json={})):
        assert answer.status_code == 404
        assert answer.json["error_code"] == "RESOURCE_DOES_NOT_EXIST"
        assert said in answer.json["message"]


def test_the_protocol_says_whether_predictions_work() -> None:
    assert client_of(NUMBERS).get("/v2/health/ready").json == {"ready": True}
    answer = client_of(None, "nothing is there").get("/v2/health/ready")
    assert (answer.status_code, answer.json) == (503, {"ready": False})
    assert client_of(None, "nothing is there").get(MODEL).status_code == 503
    assert client_of(None).get("/v2/health/live").json == {"live": True}


def test_binary_tensors_come_over_http_with_the_length_of_the_json_in_a_header() -> None:
    content = np.array([1, 2, 3, 4], "<f8").tobytes()
    head = json.dumps({"inputs": [binary("rows", [2, 2], "FP64", content)]}).encode()
    answer = client_of(NUMBERS).post(
        f"{MODEL}/infer",
        data=head + content,
        content_type="application/octet-stream",
        headers={"Inference-Header-Content-Length": str(len(head))},
    )
    assert answer.json["outputs"][0]["data"] == [0, 1]
