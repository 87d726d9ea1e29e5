"""What a request may ask for: what is too much is refused by its count, before it is built, and says how to go on."""

import io
import json
import struct
import tracemalloc
from contextlib import suppress
from itertools import chain
from typing import Any

import numpy as np
import pytest
from contract.display import quoted
from contract.schema import MOST_COLUMNS, Column, Kind
from inference.errors import InvalidInput, RequestEntityTooLarge
from inference.model.pacing import TakesLong
from inference.protocols import mlflow_scoring, open_inference, request_budget
from inference.protocols.mlflow import Invocations, NamedPredictions
from inference.protocols.mlflow_scoring import rows_of
from inference.protocols.open_inference import OpenInference
from inference.protocols.protocol import PredictionProtocol
from inference.protocols.request_budget import OUR_OWN, Budget
from inference.request import admission

from tests.unit.serving import answering, client_of, described, inferred, served_as

JSON, CSV = "application/json", "text/csv"
GAPS = described([Column(f"c{j}", missing=True) for j in range(100)])
IRIS = described([Column(name) for name in ("a", "b", "c", "d")])
# Rows whose values nobody wrote: a hundred of them for each.
MANY = 3000
# What a body has that is not small any more.
LARGE = Budget(request_budget.SMALL_BYTES + 1)


class Classes:
    """Answers with as many classes as it is told, and counts how often it was asked."""

    def __init__(self, count: int, label: str = "class {}") -> None:
        self.classes_ = [label.format(i) for i in range(count)]
        self.asked = 0

    def predict(self, frame: Any) -> Any:
        self.asked += 1
        return np.array([self.classes_[0]] * len(frame), dtype=object)

    def predict_proba(self, frame: Any) -> Any:
        self.asked += 1
        return np.full((len(frame), len(self.classes_)), 0.5)


def served_of(estimator: Any, *columns: Column) -> Any:
    return served_as(answering(estimator, described(columns or [Column("a"), Column("b")], output="string")))


def split(columns: list[Any], data: list[Any]) -> bytes:
    return json.dumps({"dataframe_split": {"columns": columns, "data": data}}).encode()


def tensors(*inputs: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"inputs": list(inputs), **more}).encode()


def column_tensor(name: str, count: int) -> dict[str, Any]:
    return {"name": name, "shape": [count], "datatype": "FP64", "data": [1] * count}


# --- values --------------------------------------------------------------------------------------------------------

LEFT_OUT = {
    "records": (JSON, json.dumps({"dataframe_records": [{"c0": 1}] * MANY}).encode()),
    "records in instances": (JSON, json.dumps({"instances": [{"c0": 1}, *[{}] * MANY]}).encode()),
    "rows that end early": (JSON, split(["c0"], [[]] * MANY)),
    "a list for one column": (JSON, json.dumps({"inputs": {"c0": [1] * MANY}}).encode()),
    "CSV with commas alone": (CSV, b"c0,c1\n" + b",\n" * MANY),
}


@pytest.mark.parametrize("title", LEFT_OUT)
def test_values_that_nobody_wrote_are_counted_before_rows_are_made_of_them(title: str) -> None:
    content_type, body = LEFT_OUT[title]
    with pytest.raises(
        RequestEntityTooLarge, match=r"300\d00 values; expected at most 262144 in a body of \d+ bytes: send fewer rows"
    ):
        rows_of(body, content_type, GAPS)


def test_values_of_tensors_are_counted_too() -> None:
    served = served_as(answering(Classes(2), GAPS))
    with pytest.raises(RequestEntityTooLarge, match="3000 rows of 100 columns are 300000 values"):
        inferred(served, tensors(column_tensor("c0", MANY)), {})


def test_texts_of_a_large_body_are_counted_by_themselves() -> None:
    columns = [*(Column(f"t{j}", Kind.TEXT) for j in range(99)), Column("n")]
    count = request_budget.LARGE_TEXTS // 99
    request_budget.check_cells(count, columns, LARGE)
    with pytest.raises(
        RequestEntityTooLarge,
        match=r"\d+ values in columns of text; expected at most 1048576 in a body of 262145 bytes",
    ):
        request_budget.check_cells(count + 1, columns, LARGE)
    request_budget.check_cells(count + 1, GAPS.columns, LARGE)


def test_a_table_with_gaps_is_answered_in_every_format_up_to_the_limit() -> None:
    count = request_budget.SMALL_CELLS // 100
    for content_type, body in (
        (JSON, json.dumps({"dataframe_records": [{"c0": 1}] * count}).encode()),
        (JSON, split(["c0"], [[1]] * count)),
        (JSON, json.dumps({"inputs": {"c0": [1] * count}}).encode()),
        (CSV, b"c0,c1\n" + b"1,\n" * count),
    ):
        matrix = rows_of(body, content_type, GAPS).matrix
        assert matrix.shape == (count, 100)
        assert (matrix[:, 0] == 1).all()
        assert np.isnan(matrix[:, 1:]).all()


def test_whatever_a_body_writes_out_is_within_what_it_may_ask_for() -> None:
    for size in (1000, request_budget.SMALL_BYTES, request_budget.SMALL_BYTES + 1, 16 * 1024**2, 1024**3):
        assert request_budget.most_cells(size) >= size // 2
    assert request_budget.most_cells(request_budget.SMALL_BYTES) == request_budget.SMALL_BYTES
    assert rows_of(b'{"instances":[' + b",".join([b"[0,0,0,0]"] * 26_000) + b"]}", JSON, IRIS).matrix.shape == (
        26_000,
        4,
    )


def test_a_small_body_is_what_the_gate_answers_in_the_loop() -> None:
    assert request_budget.SMALL_BYTES == admission.LARGE_BYTES


def test_the_rows_that_come_with_a_model_are_not_counted() -> None:
    assert len(mlflow_scoring.from_payload({"instances": [{"c0": 1}] * MANY}, GAPS)) == MANY


def test_a_body_of_too_many_lists_and_records_is_told_how_many() -> None:
    body = b'{"instances": [' + b",".join([b"{}"] * request_budget.MOST_PARTS) + b"]}"
    with pytest.raises(
        RequestEntityTooLarge, match=r"has 1000002 lists and records; expected at most 1000000: send fewer rows"
    ):
        rows_of(body, JSON, GAPS)


def test_texts_beside_a_million_records_are_counted_with_them_and_names_are_not() -> None:
    records = b",".join([b'{"a":0}'] * 900_000)
    with pytest.raises(RequestEntityTooLarge, match="has 900001 records and 500000 texts; expected at most 3000000"):
        request_budget.check_parts(b'{"params":[' + records + b',"x"' * 500_000 + b"]}")
    request_budget.check_parts(b'{"params":[' + records + b"]}")
    request_budget.check_parts(b'{"params":[0' + b',"x"' * 2_790_000 + b"]}")


def test_wide_rows_of_csv_are_read_a_few_at_a_time_and_the_first_wrong_one_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fields = 100_000
    monkeypatch.setattr(request_budget, "BLOCK_FIELDS", 3 * fields // 2)
    body = b"c0,c1\n" + b"\n".join([b",".join([b"ab"] * fields)] * 4) + b"\n"
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match="row 1 has 100000 fields; expected 2"):
            rows_of(body, CSV, GAPS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * fields * 60  # two rows, of which a field is 59 bytes; all four are 24 MB


# --- names ---------------------------------------------------------------------------------------------------------

NAMES = [f"n{j}" for j in range(request_budget.most_names(100) + 1)]


@pytest.mark.parametrize(
    ("content_type", "body", "where"),
    [
        (CSV, ",".join(NAMES).encode() + b"\n1\n", "the first line"),
        (JSON, split(NAMES, [[1]]), "dataframe_split.columns"),
        (JSON, json.dumps({"inputs": dict.fromkeys(NAMES, 1)}).encode(), "inputs"),
    ],
    ids=["CSV", "dataframe_split", "a list per column"],
)
def test_more_names_than_a_table_may_have_are_refused_by_their_number(
    content_type: str, body: bytes, where: str
) -> None:
    with pytest.raises(
        RequestEntityTooLarge, match=f"^{where} has 11001 names; expected at most 11000: leave out those"
    ):
        rows_of(body, content_type, GAPS)


def test_more_tensors_than_a_table_may_have_columns_are_refused_by_their_number() -> None:
    served = served_as(answering(Classes(2), GAPS))
    with pytest.raises(RequestEntityTooLarge, match="'inputs' has 11001 names"):
        inferred(served, tensors(*({"name": name} for name in NAMES)), {})


class Counting(str):
    """A name that counts how often it is compared."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Counting.compared += 1
        return str.__eq__(self, other)


def test_names_are_looked_up_and_not_searched_for() -> None:
    names = [Counting(f"c{j}") for j in range(5000)]
    model = described([Column(f"c{j}", missing=True) for j in range(5000)])
    assert mlflow_scoring._order(names, "here", model) == list(range(5000))
    assert Counting.compared < 50_000


def test_names_that_no_column_can_have_are_overlooked() -> None:
    assert rows_of(
        split([["a"], {}, None, 1, "a", "b", "c", "d"], [[0, 0, 0, 0, 1, 2, 3, 4]]), JSON, IRIS
    ).matrix.tolist() == [[1, 2, 3, 4]]


def test_a_tensor_model_takes_no_more_keys_of_a_record_than_it_has_columns() -> None:
    model = described([Column("0"), Column("1")], is_named=False)
    body = json.dumps({"dataframe_records": [dict.fromkeys(map(str, range(1000)), 1), *[{}] * 1000]}).encode()
    with pytest.raises(InvalidInput, match=r"dataframe_records\[0\] has 1000 values; expected 2"):
        rows_of(body, JSON, model)


WIDE = '{"x": {' + ", ".join(f'"k{i}" : ""' for i in range(40)) + "}}"
FEW = '{"a": 1, "b": {"c:": ":\\"}:", "d": [":", ":"]}}'


@pytest.mark.parametrize("look", [1, 7, 60])
@pytest.mark.parametrize("text", [WIDE, f"[{FEW}, {WIDE}]", WIDE.replace('""', '"}"'), WIDE.replace('""', r'"\"}{"')])
def test_a_record_of_json_ends_somewhere(text: str, look: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_budget, "MOST_RECORD_NAMES", 30)
    monkeypatch.setattr(request_budget, "LOOK", look)
    monkeypatch.setattr(request_budget, "SMALL_BYTES", 10)
    with pytest.raises(
        RequestEntityTooLarge, match="a record of the body has more than 30 names; leave out those that are not"
    ):
        mlflow_scoring.parsed(text.encode())


@pytest.mark.parametrize("look", [1, 7, 60, 10_000])
@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        (f"[{', '.join([FEW] * 30)}]", f"[{', '.join([FEW] * 30)}, {WIDE[:-2]}"),
        ('["' + ":" * 100 + '"]', "[" + ":" * 100 + "]"),
        ('{"a": "' + ":" * 40 + "}", '{"a": ' + ":" * 40),
        (":" * 30, ":" * 31),
    ],
)
def test_names_of_many_records_and_colons_in_texts_are_not_those_of_one_record(
    text: str, nearest: str, look: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_budget, "MOST_RECORD_NAMES", 30)
    monkeypatch.setattr(request_budget, "LOOK", look)
    request_budget.check_records(text)
    with pytest.raises(RequestEntityTooLarge):
        request_budget.check_records(nearest)


def test_the_widest_table_has_no_more_names_than_a_record_may_have() -> None:
    assert request_budget.most_names(MOST_COLUMNS) < request_budget.MOST_RECORD_NAMES


def test_a_record_of_csv_ends_somewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_budget, "MOST_RECORD", 10_000)
    for text in (b"a,b,c,d\n" + b"1," * 6_000, b"a,b,c,d\n" + b'"\n",' * 3_000):
        with pytest.raises(RequestEntityTooLarge, match="a row of the body has more than 10000 characters"):
            rows_of(text, CSV, IRIS)


class Reads(io.TextIOWrapper):
    """Notes how many characters came at a time."""

    longest = 0

    def read(self, size: Any = -1) -> Any:
        return self.noted(super().read(size))

    def readline(self, size: Any = -1) -> Any:
        return self.noted(super().readline(size))

    def __next__(self) -> Any:
        return self.noted(super().__next__())

    def noted(self, text: str) -> str:
        Reads.longest = max(Reads.longest, len(text))
        return text


def test_no_more_of_a_row_of_csv_without_an_end_is_read_than_a_row_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_budget, "MOST_RECORD", 200_000)
    monkeypatch.setattr(mlflow_scoring, "CSV_PIECE", 1000)
    monkeypatch.setattr(io, "TextIOWrapper", Reads)
    monkeypatch.setattr(Reads, "longest", 0)
    with pytest.raises(RequestEntityTooLarge, match="a row of the body has more than 200000 characters"):
        rows_of(b"a,b,c,d\n" + b"1," * 200_000, CSV, IRIS)
    assert Reads.longest == 200_001


def test_a_row_of_numbers_may_be_longer_than_what_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_scoring, "CSV_PIECE", 8)
    monkeypatch.setattr(mlflow_scoring, "_csv_rows", None)  # which reads all that is not numbers alone
    row = b",".join([b"-1.2345678901234567e-300"] * 4) + b"\n"
    assert rows_of(b"a,b,c,d\n" + row * 3, CSV, IRIS).matrix.tolist() == [[-1.2345678901234567e-300] * 4] * 3


@pytest.mark.parametrize("header", [b"," * 20_000, b'"",' * 20_000, b",\r" + b"," * 20_000])
def test_the_names_in_the_first_line_of_csv_are_counted_before_any_is_told_apart(
    header: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        mlflow_scoring, "_unique", lambda names: pytest.fail(f"{len(names)} names") if len(names) > 9 else names
    )
    with pytest.raises(
        (RequestEntityTooLarge, InvalidInput), match=r"^the first line (has 20001 names; expected at most 10040|lacks)"
    ):
        rows_of(header + b"\n1,2,3,4\n", CSV, IRIS)


def test_a_first_line_of_commas_is_refused_before_it_is_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_scoring, "_csv_records", lambda _: pytest.fail("taken apart"))
    for end in (b"\n1\n", b"\r\n1\r\n", b"\r1\r", b""):
        with pytest.raises(RequestEntityTooLarge, match="the first line has 20001 names"):
            rows_of(b"," * 20_000 + end, CSV, IRIS)


# --- answers -------------------------------------------------------------------------------------------------------


def rows(count: int, **more: Any) -> bytes:
    return json.dumps({"instances": [[0, 0]] * count, **more}).encode()


@pytest.mark.parametrize(
    ("path", "classes", "label", "count", "said"),
    [
        ("/predict_names", 1000, "class {}", 500, "the answer to 500 rows takes up to"),
        ("/predict_names", 2, "{}" + "long" * 5000, 500, "the answer to 500 rows takes up to"),
        ("/invocations", 2, "{}" + "long" * 5000, 500, "the answer to 500 rows takes up to"),
        (
            "/invocations",
            1000,
            "{}",
            3000,
            "3000 rows with 1000 classes each are 3000000 scores; expected at most 2097152",
        ),
    ],
)
def test_an_answer_that_would_be_too_large_is_refused_before_the_model_is_asked(
    path: str, classes: int, label: str, count: int, said: str
) -> None:
    estimator = Classes(classes, label)
    answer = client_of(served_of(estimator)).post(path, data=rows(count), content_type=JSON)
    assert (answer.status_code, answer.json["error_code"]) == (413, "REQUEST_ENTITY_TOO_LARGE")
    assert said in answer.json["message"]
    assert "send fewer rows at a time" in answer.json["message"]
    assert estimator.asked == 0
    fewer = client_of(served_of(estimator)).post(path, data=rows(2), content_type=JSON)
    assert len(fewer.json["predictions"]) == 2


@pytest.mark.parametrize("outputs", [["predict_proba"], ["predict", "predict_proba"]])
def test_an_answer_of_tensors_is_counted_by_all_that_is_asked_for(outputs: list[str]) -> None:
    estimator = Classes(1000)
    tensor = {"name": "rows", "shape": [500, 2], "datatype": "FP64", "data": [0] * 1000}
    body = tensors(tensor, outputs=[{"name": name} for name in outputs])
    with pytest.raises(RequestEntityTooLarge, match="the answer to 500 rows takes up to"):
        inferred(served_of(estimator), body, {})
    assert estimator.asked == 0


def test_one_row_is_answered_whatever_it_takes() -> None:
    estimator = Classes(10, "{}" + "long" * 200_000)
    answer = client_of(served_of(estimator)).post("/predict_names", data=rows(1), content_type=JSON)
    assert answer.status_code == 200
    assert len(answer.data) > request_budget.SMALL_ANSWER


def test_the_names_of_an_answer_of_many_pieces_stand_at_the_right_rows() -> None:
    class Turns(Classes):
        def predict_proba(self, frame: Any) -> Any:
            return np.eye(len(self.classes_))[np.asarray(frame)[:, 0].astype(int) % len(self.classes_)]

    estimator = Turns(3)
    count = 3000
    body = json.dumps({"instances": [[i, 0] for i in range(count)]}).encode()
    answer = client_of(served_of(estimator)).post("/predict_names", data=body, content_type=JSON).json
    assert answer["predictions"] == [f"class {i % 3}" for i in range(count)]
    assert list(chain.from_iterable(map(dict.values, answer["probabilities"]))) == [
        float(i % 3 == j) for i in range(count) for j in range(3)
    ]


@pytest.mark.parametrize("name", ["predict", "predict_proba"])
def test_an_output_is_asked_for_once(name: str) -> None:
    estimator = Classes(2)
    tensor = {"name": "rows", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}
    body = tensors(tensor, outputs=[{"name": "predict_proba"}, {"name": "predict"}, *[{"name": name}] * 8000])
    with pytest.raises(InvalidInput, match=rf"outputs\[2\] is '{name}' once more") as refused:
        inferred(served_of(estimator), body, {})
    assert refused.value.where == "outputs[2]"
    assert estimator.asked == 0


# --- what is quoted ------------------------------------------------------------------------------------------------

HUGE = int("9" * 4000)
LONG = "x" * 100_000
DEEP = json.loads("[" * 300 + "]" * 300)


@pytest.mark.parametrize(
    "wrong",
    [
        {"shape": [HUGE, HUGE]},
        {"shape": [HUGE]},
        {"shape": [2**63, 1]},
        {"shape": LONG},
        {"datatype": HUGE},
        {"datatype": LONG},
        {"datatype": DEEP},
        {"parameters": {"binary_data_size": HUGE}},
        {"parameters": {"binary_data_size": LONG}},
        {"parameters": {"binary_data_size": DEEP}},
        {"data": [HUGE, HUGE]},
        {"name": LONG, "data": [1]},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_what_is_huge_is_refused_in_few_words(wrong: dict[Any, Any]) -> None:
    tensor = {"name": "rows", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}
    for body in (tensors(tensor | wrong), tensors(tensor, tensor | {"name": LONG}, tensor | {"name": LONG})):
        with pytest.raises(InvalidInput) as refused:
            inferred(served_of(Classes(2)), body, {})
        assert len(str(refused.value)) < 600


def test_a_number_too_long_for_python_to_write_is_quoted_by_its_size() -> None:
    assert quoted(HUGE * HUGE) == f"<a whole number of {(HUGE * HUGE).bit_length()} bits>"
    assert quoted([HUGE * HUGE, 1]).endswith("bits>, 1]")


def test_what_is_huge_in_a_table_is_refused_in_few_words() -> None:
    for content in (
        {"data": [[1]], LONG: 1, **{f"key {i}": i for i in range(1000)}},
        {"columns": [LONG, HUGE], "data": [[1]]},
        {"columns": list("abcd"), "data": [[HUGE, 1, 1, 1]]},
        {"columns": list("abcd"), "data": [HUGE]},
    ):
        with pytest.raises(InvalidInput) as refused:
            rows_of(json.dumps({"dataframe_split": content}).encode(), JSON, IRIS)
        assert len(str(refused.value)) < 3000
    model = described([Column("0")], is_named=False)
    with pytest.raises(InvalidInput) as refused:
        rows_of(json.dumps({"dataframe_records": [{LONG: "a"}]}).encode(), JSON, model)
    assert len(str(refused.value)) < 500


def test_a_shape_of_the_largest_dimensions_is_refused_for_what_it_lacks() -> None:
    tensor = {"name": "rows", "shape": [2**63 - 1, 2**63 - 1], "datatype": "FP64", "data": [1, 2]}
    with pytest.raises(InvalidInput, match=rf"has 2 values; its shape .* has {(2**63 - 1) ** 2}"):
        inferred(served_of(Classes(2)), tensors(tensor), {})


def test_binary_texts_are_read_one_after_the_other_from_where_they_stand() -> None:
    words = ["", "ü", "NA", "a" * 70_000] * 8
    content = b"".join(struct.pack("<I", len(word.encode())) + word.encode() for word in words)
    head = tensors(
        {"name": "a", "shape": [32], "datatype": "UINT8", "parameters": {"binary_data_size": 32}},
        {"name": "t", "shape": [32, 1], "datatype": "BYTES", "parameters": {"binary_data_size": len(content)}},
    )
    model = answering(Classes(2), described([Column("a"), Column("t", Kind.TEXT)]))
    found = open_inference._rows(
        open_inference._tensors(json.loads(head)["inputs"], bytes(range(32)) + content, model, OUR_OWN), model, OUR_OWN
    )
    assert found.by_column[1].tolist() == words
    assert found.by_column[0].tolist() == list(range(32))


@pytest.mark.parametrize("path", ["/invocations", "infer"])
def test_a_refusal_does_not_keep_what_was_refused(path: str) -> None:
    body = json.dumps({"inputs": [{"name": "rows"}]}).encode()
    with pytest.raises(InvalidInput) as refused:
        inferred(served_of(Classes(2)), body, {}) if path == "infer" else rows_of(body, JSON, IRIS)
    frames = [frame.name for frame in refused.traceback]
    assert frames[-1] in ("decode", "rows_of")
    assert (refused.value.__cause__, refused.value.__context__) == (None, None)


# --- while others wait ---------------------------------------------------------------------------------------------

INFER, NAMED, PREDICTIONS = OpenInference(), NamedPredictions(), Invocations()
KINDS = {
    "numbers": served_of(Classes(3)),
    "gaps": served_as(answering(Classes(3), GAPS)),
    "texts": served_of(Classes(3), Column("a", Kind.TEXT), Column("b", Kind.TEXT)),
}


def binary_tensors(columns: dict[str, tuple[str, bytes]], count: int) -> tuple[bytes, dict[str, Any]]:
    """Return a request with a binary tensor per column, of a datatype and a content, and the header that it needs."""
    inputs = [
        {"name": name, "shape": [count], "datatype": kind, "parameters": {"binary_data_size": len(content)}}
        for name, (kind, content) in columns.items()
    ]
    head = tensors(*inputs)
    body = head + b"".join(content for _, content in columns.values())
    return body, {"HTTP_INFERENCE_HEADER_CONTENT_LENGTH": str(len(head))}


# What model, protocol and content type, the body, other headers, and where in it is the fault, which is the last there is.
SLOW: dict[str, tuple[str, PredictionProtocol, str, bytes, dict[str, Any], str]] = {
    "CSV": ("numbers", PREDICTIONS, CSV, b"a,b\n" + b"0,0\n" * 60_000 + b"0,x\n", {}, "row 60001, 'b'"),
    "CSV in quotes": ("numbers", PREDICTIONS, CSV, b"a,b\n" + b'"0",0\n' * 40_000 + b"0,x\n", {}, "row 40001, 'b'"),
    "CSV for names": ("numbers", NAMED, CSV, b"a,b\n" + b"0,0\n" * 3_000 + b"0,x\n", {}, "row 3001, 'b'"),
    "lists": ("numbers", PREDICTIONS, JSON, rows(30_000)[:-2] + b',[0,"x"]]}', {}, "instances[30000][1]"),
    "split": (
        "numbers",
        PREDICTIONS,
        JSON,
        split(["a", "b"], [[0, 0]] * 5000 + [[0, "x"]]),
        {},
        "dataframe_split.data[5000][1]",
    ),
    "records": (
        "numbers",
        PREDICTIONS,
        JSON,
        json.dumps({"dataframe_records": [{"a": 0, "b": 0}] * 5000 + [{"a": 0, "b": "x"}]}).encode(),
        {},
        "dataframe_records[5000]['b']",
    ),
    "columns": (
        "numbers",
        PREDICTIONS,
        JSON,
        json.dumps({"inputs": {"a": [0] * 5000, "b": [0] * 4999 + ["x"]}}).encode(),
        {},
        "inputs['b'][4999]",
    ),
    "values that nobody wrote": (
        "gaps",
        PREDICTIONS,
        JSON,
        json.dumps({"dataframe_records": [{"c0": 1}] * 1000 + [{"c99": "x"}]}).encode(),
        {},
        "dataframe_records[1000]['c99']",
    ),
    "rows of CSV that nobody wrote": (
        "gaps",
        PREDICTIONS,
        CSV,
        b"c0,c99\n" + b"0\n" * 1000 + b",x\n",
        {},
        "row 1001, 'c99'",
    ),
    "tensors in JSON": (
        "numbers",
        INFER,
        JSON,
        tensors(column_tensor("a", 8000), column_tensor("b", 8000) | {"data": [1] * 7999 + ["x"]}),
        {},
        "inputs[1].data[7999]",
    ),
    "tensors of numbers": (
        "numbers",
        INFER,
        JSON,
        *binary_tensors({name: ("FP32", bytes(7999 * 4) + b"\0\0\x80\x7f") for name in "ab"}, 8000),
        "inputs[0].data[7999]",
    ),
    "tensors of texts": (
        "texts",
        INFER,
        JSON,
        *binary_tensors({name: ("BYTES", bytes(4 * 2999) + b"\1\0\0\0\xff") for name in "ab"}, 3000),
        "inputs[0]",
    ),
}


@pytest.mark.parametrize("title", SLOW)
def test_what_takes_long_to_read_is_left_to_be_read_aside_while_others_wait(title: str) -> None:
    """It is not read to its end, where the fault is, and aside the fault is told as ever."""
    model, protocol, content_type, body, more, where = SLOW[title]
    environ = {"CONTENT_TYPE": content_type, **more}
    assert len(body) <= request_budget.SMALL_BYTES
    with pytest.raises(TakesLong):
        protocol.decode(body, environ, KINDS[model], is_waited_for=True)
    with pytest.raises(InvalidInput) as refused:
        protocol.decode(body, environ, KINDS[model])
    assert refused.value.where == where


@pytest.mark.parametrize(
    ("protocol", "label", "body", "more"),
    [
        (NAMED, "class {}", rows(30_000), {}),
        (INFER, "long" * 100 + "{}", *binary_tensors({name: ("UINT8", bytes(4000)) for name in "ab"}, 4000)),
    ],
    ids=["names", "tensors"],
)
def test_an_answer_that_takes_long_to_write_is_left_to_be_written_aside(
    protocol: PredictionProtocol, label: str, body: bytes, more: dict[str, Any]
) -> None:
    environ, served = {"CONTENT_TYPE": JSON, **more}, served_of(Classes(3, label))
    with pytest.raises(TakesLong):
        protocol.decode(body, environ, served, is_waited_for=True)
    assert len(protocol.decode(body, environ, served).rows) in (30_000, 4000)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (JSON, rows(1)),
        (JSON, rows(30_000)),
        (JSON, b'{"inputs": [' + b",".join([b"[5.1, 3.5]"] * 20_000) + b"]}"),
        (JSON, split(["a", "b"], [[0, None]])),
        (JSON, json.dumps({"dataframe_records": [{"a": 0, "b": 0}] * 100}).encode()),
        (CSV, b"a,b\n" + b"0,0\n" * 1000),
    ],
    ids=["a row", "numbers", "longer numbers", "a mistake", "records", "CSV"],
)
def test_what_is_read_at_once_is_answered_at_once(content_type: str, body: bytes) -> None:
    environ = {"CONTENT_TYPE": content_type}
    with suppress(InvalidInput):
        assert len(PREDICTIONS.decode(body, environ, KINDS["numbers"], is_waited_for=True).rows) >= 1


def test_one_row_of_the_widest_table_is_answered_at_once() -> None:
    wide = served_as(answering(Classes(2), described([Column(f"c{j}", missing=True) for j in range(MOST_COLUMNS)])))
    environ = {"CONTENT_TYPE": JSON}
    assert len(PREDICTIONS.decode(b'{"dataframe_records": [{"c0": 1}]}', environ, wide, is_waited_for=True).rows) == 1
