"""MLflow's scoring protocol: what is read in each format, and where the fault is pointed out in what is not.

The fast path, which takes numbers without making Python's of them, is held against the one that all else takes.
"""

import gc
import json
from contextlib import suppress
from dataclasses import replace
from types import FunctionType
from typing import Any

import numpy as np
import pytest
from contract.missing import MISSING_WORDS
from contract.mlmodel.manifest import Description
from contract.schema import LARGEST, TYPES, Column, Kind
from hypothesis import example, given
from hypothesis import strategies as some
from inference.errors import InvalidInput, UnsupportedMediaType
from inference.protocols import mlflow_scoring, request_budget
from inference.protocols.mlflow_scoring import _matrix, from_payload, parsed, rows_of
from inference.rows import Rows
from pandas._libs.parsers import STR_NA_VALUES

from tests.fuzzing import fuzz
from tests.unit.serving import described

NUMBERS = described([Column("length"), Column("width")])
MIXED = described([Column("size"), Column("sweet", Kind.BOOLEAN), Column("colour", Kind.TEXT, missing=True)])
GAPS = described([Column("a", missing=True), Column("b", missing=True)])
TENSOR = described([Column("0"), Column("1")], is_named=False)
SINGLE = described([Column("x")])
MATRICES = replace(described([Column(str(j)) for j in range(4)], is_named=False), shape=(2, 2))
VECTOR = replace(described([Column("0")], is_named=False), shape=())
JSON, CSV = "application/json", "text/csv"


def listed(rows: Rows) -> list[list[Any]]:
    """Return rows as lists, NaN as None: None equals itself."""
    cells = zip(*(array.tolist() for array in rows.by_column), strict=True)
    return [[None if value != value else value for value in row] for row in cells]


def read(body: str, model: Description = NUMBERS) -> list[list[Any]]:
    return listed(rows_of(body.encode(), JSON, model))


def read_csv(text: str, model: Description = NUMBERS) -> list[list[Any]]:
    return listed(rows_of(text.encode(), CSV, model))


def refusal(body: str | bytes, model: Description = NUMBERS, content_type: str = JSON) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        rows_of(body.encode() if isinstance(body, str) else body, content_type, model)
    return refused.value


# --- JSON: what is taken -------------------------------------------------------------------------------------------

TAKEN = {
    "instances: lists": '{"instances": [[1, 2], [3, 4]]}',
    "instances: records": '{"instances": [{"width": 2, "length": 1}, {"length": 3, "width": 4}]}',
    "instances: a list per column": '{"instances": {"width": [2, 4], "length": [1, 3]}}',
    "inputs: lists": '{"inputs": [[1, 2], [3, 4]]}',
    "inputs: records": '{"inputs": [{"width": 2, "length": 1}, {"length": 3, "width": 4}]}',
    "inputs: a list per column": '{"inputs": {"width": [2, 4], "length": [1, 3]}}',
    "dataframe_split": '{"dataframe_split": {"columns": ["length", "width"], "data": [[1, 2], [3, 4]]}}',
    "dataframe_split: other order": '{"dataframe_split": {"columns": ["width", "length"], "data": [[2, 1], [4, 3]]}}',
    "dataframe_split: an index": '{"dataframe_split": {"columns": ["length", "width"], "index": [7, 8], "data": [[1, 2], [3, 4]]}}',
    "dataframe_split: more columns": '{"dataframe_split": {"columns": ["hue", "length", "width"], "data": [[9, 1, 2], ["x", 3, 4]]}}',
    "dataframe_records": '{"dataframe_records": [{"width": 2, "length": 1}, {"length": 3, "width": 4}]}',
    "more in a record": '{"dataframe_records": [{"width": 2, "length": 1, "hue": "red"}, {"length": 3, "width": 4}]}',
    "more in a record of instances": '{"instances": [{"width": 2, "length": 1, "hue": 9}, {"length": 3, "width": 4}]}',
    "more columns": '{"inputs": {"width": [2, 4], "length": [1, 3], "hue": 1}}',
    "params": '{"instances": [[1, 2], [3, 4]], "params": {"a": 1}}',
    "what nobody knows": '{"colour": "red", "inputs": [[1, 2], [3, 4]]}',
    "a byte order mark": '\ufeff{"instances": [[1, 2], [3, 4]]}',
    "blanks all over": ' {\n "instances"\t: [ [ 1 , 2 ]\r\n, [3,4] ] } ',
}


@pytest.mark.parametrize("title", TAKEN)
def test_a_request_in_any_format_of_mlflow_becomes_the_same_rows(title: str) -> None:
    assert read(TAKEN[title]) == [[1.0, 2.0], [3.0, 4.0]]


def test_one_value_per_column_is_one_row() -> None:
    assert read('{"inputs": {"length": 1, "width": 2}}') == [[1.0, 2.0]]


def test_a_model_of_one_column_takes_plain_values() -> None:
    assert read('{"instances": [1, 2.5]}', SINGLE) == [[1.0], [2.5]]
    assert read('{"inputs": [[1], [2.5]]}', SINGLE) == [[1.0], [2.5]]


def test_booleans_text_and_missing_values_are_taken_where_the_column_has_them() -> None:
    assert read('{"instances": [[1, true, "red"], [2.5, false, null]]}', MIXED) == [
        [1.0, 1.0, "red"],
        [2.5, 0.0, None],
    ]


@pytest.mark.parametrize(
    "body",
    [
        '{"instances": [{"a": 1}, {"b": 2}]}',
        '{"dataframe_records": [{"a": 1}, {"b": 2}]}',
        '{"inputs": {"a": [1, null], "b": [null, 2]}}',
        '{"dataframe_split": {"columns": ["a", "b"], "data": [[1], [null, 2]]}}',
    ],
)
def test_what_a_row_lacks_is_missing_where_that_is_accepted(body: str) -> None:
    assert read(body, GAPS) == [[1.0, None], [None, 2.0]]


def test_a_whole_column_may_be_left_out_where_its_values_may_be_missing() -> None:
    assert read('{"dataframe_split": {"columns": ["b"], "data": [[2]]}}', GAPS) == [[None, 2.0]]
    assert read('{"inputs": {"a": [1, 2]}}', GAPS) == [[1.0, None], [2.0, None]]


@pytest.mark.parametrize(
    "body",
    [
        '{"instances": [[1, 2]]}',
        '{"inputs": [[1, 2]]}',
        '{"dataframe_split": {"data": [[1, 2]]}}',
        '{"dataframe_split": {"columns": ["b", "a"], "data": [[1, 2]]}}',
        '{"dataframe_records": [{"b": 1, "a": 2}]}',
    ],
)
def test_a_model_of_a_tensor_goes_by_the_order_alone(body: str) -> None:
    assert read(body, TENSOR) == [[1.0, 2.0]]


@pytest.mark.parametrize("row", ["[[1, 2], [3, 4]]", "[1, 2, 3, 4]"], ids=["nested", "flat"])
@pytest.mark.parametrize("name", ["instances", "inputs"])
def test_a_row_of_an_array_comes_in_its_shape_or_as_a_list(name: str, row: str) -> None:
    assert read(f'{{"{name}": [{row}, {row}]}}', MATRICES) == [[1.0, 2.0, 3.0, 4.0]] * 2


@pytest.mark.parametrize("body", ['{"instances": [1, 2]}', '{"instances": [[1], [2]]}'])
def test_an_array_of_numbers_takes_a_number_per_row(body: str) -> None:
    assert read(body, VECTOR) == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("rows", "where", "said"),
    [
        ("[[[1, 2], [3]]]", "instances[0][1]", "instances[0][1] has 1 values; expected a list of 2"),
        ("[[[1, 2]]]", "instances[0]", "instances[0] has 1 values; expected a list of 2"),
        ("[[[1, 2], 3]]", "instances[0][1]", "instances[0][1] is a number; expected a list of 2"),
        ("[[[1, 2], [3, null]]]", "instances[0][1][1]", "instances[0][1][1] is null; expected a number"),
        ("[[[1, 2], [3, [4]]]]", "instances[0][1][1]", "instances[0][1][1] is a list; expected a number"),
    ],
)
def test_a_row_of_an_array_in_another_shape_is_refused_with_its_place(rows: str, where: str, said: str) -> None:
    refused = refusal(f'{{"instances": {rows}}}', MATRICES)
    assert (refused.where, str(refused)) == (where, said)


def test_params_are_handed_on_where_the_signature_has_some_and_are_a_record() -> None:
    model = replace(NUMBERS, params=("factor",))
    body = '{{"instances": [[1, 2]], "params": {}}}'
    assert rows_of(body.format('{"factor": 3}').encode(), JSON, model).params == {"factor": 3}
    assert rows_of(body.format('{"factor": 3}').encode(), JSON, NUMBERS).params is None
    assert rows_of(b'{"instances": [[1, 2]]}', JSON, model).params is None
    assert "'params' is a list; expected a record" in str(refusal(body.format("[3]"), model))
    assert rows_of(body.format('{"factor": 3, "other": 4}').encode(), JSON, model).params == {"factor": 3}
    deep = f'{{"factor": {500 * "["}3{500 * "]"}}}'
    assert "'params' is nested more than 20 deep" in str(refusal(body.format(deep), model))


# --- JSON: what is not ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "where", "said"),
    [
        ("null", None, "the body is null"),
        ("3", None, "the body is a number"),
        ('"instances"', None, "the body is text"),
        ("[[1, 2]]", None, "the body is a list"),
        ("{}", None, "the body has none of 'instances', 'inputs', 'dataframe_split', 'dataframe_records'"),
        ('{"Instances": [[1, 2]]}', None, "the body has none of"),
        ('{"instances": [[1, 2]], "inputs": [[1, 2]]}', None, "the body has 'instances' and 'inputs'"),
        ('{"instances": null}', "instances", "'instances' is null"),
        ('{"instances": []}', "instances", "'instances' is empty"),
        ('{"instances": {}}', "instances", "instances lacks 'length', 'width'"),
        ('{"instances": "many"}', "instances", "'instances' is text"),
        ('{"instances": 3}', "instances", "'instances' is a number"),
        ('{"instances": true}', "instances", "'instances' is a boolean"),
        ('{"instances": [1, 2]}', "instances[0]", "instances[0] is a number"),
        ('{"instances": [[1, 2], null]}', "instances[1]", "instances[1] is null"),
        ('{"instances": [[1, 2], "a"]}', "instances[1]", "instances[1] is text"),
        ('{"instances": [[]]}', "instances[0]", "instances[0] has 0 values; expected 2: length, width"),
        ('{"instances": [[1, 2], [1]]}', "instances[1]", "instances[1] has 1 values"),
        ('{"instances": [[1, 2, 3]]}', "instances[0]", "instances[0] has 3 values"),
        ('{"instances": [[1, 2], [1, null]]}', "instances[1][1]", "instances[1][1] is null"),
        ('{"instances": [["1", 2]]}', "instances[0][0]", "instances[0][0] is text"),
        ('{"instances": [[true, 2]]}', "instances[0][0]", "instances[0][0] is a boolean"),
        ('{"instances": [[[1], 2]]}', "instances[0][0]", "instances[0][0] is a list"),
        ('{"instances": [[{}, 2]]}', "instances[0][0]", "instances[0][0] is a record"),
        ('{"instances": [[1, NaN]]}', "instances[0][1]", "not a finite number"),
        ('{"instances": [[1, Infinity]]}', "instances[0][1]", "not a finite number"),
        ('{"instances": [[1, -Infinity]]}', "instances[0][1]", "not a finite number"),
        ('{"instances": [[1, 1e999]]}', "instances[0][1]", "not a finite number"),
        (f'{{"instances": [[1, {10**400}]]}}', "instances[0][1]", "not a finite number"),
        ('{"instances": [{"length": 1}]}', "instances[0]", "instances[0] lacks 'width'"),
        ('{"instances": [{}]}', "instances[0]", "instances[0] lacks 'length', 'width'"),
        ('{"instances": [{"length": 1, "Width": 2}]}', "instances[0]", "instances[0] lacks 'width'"),
        ('{"instances": [{"length": 1, "width": "2"}]}', "instances[0]['width']", "instances[0]['width'] is text"),
        ('{"instances": [{"length": 1, "width": 2}, [1, 2]]}', "instances[1]", "is a list; expected a record"),
        ('{"instances": [{"length": NaN, "width": 2}]}', "instances[0]['length']", "not a finite number"),
        ('{"inputs": [[1, "2"]]}', "inputs[0][1]", "inputs[0][1] is text"),
        ('{"inputs": {"length": [1]}}', "inputs", "inputs lacks 'width'"),
        ('{"inputs": {"length": [1], "width": [1, 2]}}', "inputs['length']", "has 1 values; expected a list of 2"),
        ('{"inputs": {"length": [1, 2], "width": 1}}', "inputs['width']", "is a number; expected a list of 2"),
        ('{"inputs": {"length": [], "width": []}}', "inputs", "'inputs' has no rows"),
        ('{"inputs": {"length": [1, "a"], "width": [1, 2]}}', "inputs['length'][1]", "is text; expected a number"),
        ('{"inputs": {"length": 1, "width": "a"}}', "inputs['width']", "is text; expected a number"),
        ('{"dataframe_records": {}}', "dataframe_records", "is a record; expected a list of records"),
        ('{"dataframe_records": []}', "dataframe_records", "'dataframe_records' is empty"),
        ('{"dataframe_records": [[1, 2]]}', "dataframe_records[0]", "is a list; expected a record"),
        ('{"dataframe_split": [[1, 2]]}', "dataframe_split", "'dataframe_split' is a list"),
        ('{"dataframe_split": {"columns": ["length", "width"]}}', "dataframe_split", "has no list 'data'"),
        ('{"dataframe_split": {"data": [], "columns": []}}', "dataframe_split.data", "is empty"),
        ('{"dataframe_split": {"data": [[1, 2]], "rows": 1}}', "dataframe_split", "has 'rows'; expected columns"),
        ('{"dataframe_split": {"data": [[1, 2]]}}', "dataframe_split.columns", "is null; expected a list of names"),
        ('{"dataframe_split": {"columns": ["length"], "data": [[1]]}}', "dataframe_split.columns", "lacks 'width'"),
        (
            '{"dataframe_split": {"columns": ["length", "width", "width"], "data": [[1, 2, 3]]}}',
            "dataframe_split.columns",
            "has 'width' more than once",
        ),
        (
            '{"dataframe_split": {"columns": ["length", "width"], "data": [[1, 2]], "index": [1, 2]}}',
            "dataframe_split.index",
            "is not as long as the data, 1 rows",
        ),
        (
            '{"dataframe_split": {"columns": ["width", "length"], "data": [[1, "a"]]}}',
            "dataframe_split.data[0][1]",
            "dataframe_split.data[0][1] is text",
        ),
        (
            '{"dataframe_split": {"columns": ["length", "width"], "data": [[1, 2, 3]]}}',
            "dataframe_split.data[0]",
            "has 3 values; expected 2",
        ),
        (
            '{"dataframe_split": {"columns": ["length", "width"], "data": [{"length": 1, "width": 2}]}}',
            "dataframe_split.data[0]",
            "is a record; expected a list of 2 values",
        ),
    ],
)
def test_a_body_that_the_model_cannot_take_is_refused_with_the_place_of_the_fault(
    body: str, where: str | None, said: str
) -> None:
    refused = refusal(body)
    assert refused.where == where
    assert said in str(refused)


def test_of_several_faults_the_first_is_pointed_out() -> None:
    assert refusal('{"instances": [[1, 2], [1, "a"], ["b", 2]]}').where == "instances[1][1]"


def test_what_is_expected_counts_the_columns() -> None:
    assert 'expected {"instances": [[2 numbers], …]}' in str(refusal("{}"))
    assert 'expected {"instances": [[3 values], …]}' in str(refusal("{}", MIXED))


def test_a_record_among_lists_is_not_told_to_be_a_record() -> None:
    words = str(refusal('{"instances": [[1, 2], {"length": 1, "width": 2}]}'))
    assert words == "instances[1] is a record; expected a list of 2 numbers as the others"
    assert "a list of 2 numbers or a record" in str(refusal('{"instances": [1, [1, 2]]}'))


@pytest.mark.parametrize(
    ("row", "where", "said"),
    [
        ('[null, true, "red"]', "instances[0][0]", "is null; expected a number"),
        ('[1, 1, "red"]', "instances[0][1]", "is a number; expected true or false"),
        ('[1, "true", "red"]', "instances[0][1]", "is text; expected true or false"),
        ("[1, true, 3]", "instances[0][2]", "is a number; expected text or null"),
        ('[true, true, "red"]', "instances[0][0]", "is a boolean; expected a number"),
    ],
)
def test_a_value_of_another_kind_than_the_column_is_refused(row: str, where: str, said: str) -> None:
    refused = refusal(f'{{"instances": [{row}]}}', MIXED)
    assert refused.where == where
    assert said in str(refused)


@pytest.mark.parametrize(
    "body",
    [
        '{"instances": [[1, 2], [3]]}',
        '{"dataframe_split": {"columns": ["a"], "data": [[1]]}}',
        '{"dataframe_records": [[1, 2]]}',
        '{"instances": [{"a": 1}]}',
        '{"inputs": {"a": [1], "b": [2]}}',
    ],
)
def test_a_tensor_of_another_shape_is_refused(body: str) -> None:
    refusal(body, TENSOR)


@pytest.mark.parametrize("column", [None, "hue"])
def test_a_request_with_none_of_the_columns_is_refused_even_if_all_may_be_missing(column: str | None) -> None:
    names = json.dumps([column] if column else [])
    assert "has none of the model's columns: a, b" in str(
        refusal(f'{{"dataframe_split": {{"columns": {names}, "data": [[]]}}}}', GAPS)
    )
    assert "has none of the model's columns" in str(refusal('{"inputs": {"hue": [1]}}', GAPS))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b'{"instances": [[1, 2]]} 5', "the body is not JSON: Extra data"),
        (b'{"instances": [[1, 2]]}}', "the body is not JSON: Extra data"),
        (b'{"instances": [[1, 02]]}', "the body is not JSON"),
        (b'{"instances": [[1, 2,]]}', "the body is not JSON"),
        (b'{"instances": [[1, .5]]}', "the body is not JSON"),
        (b'{"instances": [[1, 2 3]]}', "the body is not JSON"),
        (b"\xff\xfe\xfa", "the body is not JSON"),
        (b"[" * 100_000, "the body is nested too deep"),
        (b'{"instances": [[1, ' + b"9" * 5000 + b"]]}", "the body is not JSON"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_body_that_is_no_json_is_refused(body: bytes, said: str) -> None:
    assert said in str(refusal(body))


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/json; charset=utf-16", "text/csv; sep=;"])
def test_a_body_that_is_declared_as_something_else_is_refused(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        rows_of(b'{"instances": [[1, 2]]}', content_type, NUMBERS)


# --- the fast path -------------------------------------------------------------------------------------------------

FAST = [
    '{"instances": [[1, 2], [3.5, -4e-3]]}',
    '{"instances":[[0,-0],[-0.0,1E+2]]}\n',
    '{"instances":[[1,2]]}',
    '{ "instances": [[1, 2]] }',
    ' \n{\t"instances" : [[1, 2]]}',
    '{"inputs": [[1, 2], [3.5, -4e-3]]}',
    '{\r\n"inputs":[[1,2]]}',
]


@pytest.mark.parametrize("body", FAST)
def test_numbers_in_instances_are_read_in_one_step(body: str) -> None:
    found = _matrix(body.encode(), NUMBERS)
    assert found is not None
    assert found.matrix.tobytes() == from_payload(parsed(body.encode()), NUMBERS).matrix.tobytes()


ROW = b"[1.5, -2e1] ,\n "


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (b'{"instances": [', b"[3, 4]]}"),
        (b'{"instances" :\n[ ', b"[3, 4] ] }\n"),
        (b'\n{\t"instances" :\n[ ', b"[3, 4] ] }\n"),
        (b'{ "inputs" :\n[ ', b"[3, 4] ] }\n"),
        (b'{ "inputs"5: [', b"[3, 4]]}"),
        (b'5{"inputs": [', b"[3, 4]]}"),
        (b'{"inp uts": [', b"[3, 4]]}"),
        (b'{ "instances\n": [', b"[3, 4]]}"),
        (b'{"instances": 5[', b"[3, 4]]}"),
        (b'{"instances"e: [', b"[3, 4]]}"),
        (b'{"instances": [', b"[3, 4]5]}"),
        (b'{"instances": [', b"[3, 4]]1}"),
        (b'{"instances": [', b"[3, 4]]} 7"),
        (b'{"instances": [', b"7 [3, 4]]}"),
        (b'{"instances": [', b"[3, 4]. ,[5, 6]]}"),
        (b'{"instances": [', b"[3, 04]]}"),
        (b'{"instances": [', b"[3, 1e39]]}"),
        (b'{"instances": [', b"[3 4, 1]]}"),
    ],
)
@pytest.mark.parametrize("piece", [1, 10, 14, 15, 16, 1000])
def test_a_large_body_is_read_in_pieces_as_a_small_one_is_read_at_once(
    start: bytes, end: bytes, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_scoring, "PARSER_BYTES", piece)
    for middle in (ROW * 5, ROW * 3 + b"7" + ROW, ROW * 3 + b"[1, 2]e," + ROW):
        body = start + middle + end
        assert outcome(body, lambda body: rows_of(body, JSON, NUMBERS)) == outcome(
            body, lambda body: from_payload(parsed(body), NUMBERS)
        )
    assert _matrix(b'{"instances": [' + ROW * 5 + b"[3, 4]]}", NUMBERS) is not None


def test_an_engine_may_write_into_the_rows_that_it_is_given() -> None:
    assert _matrix(FAST[0].encode(), NUMBERS).matrix.flags.writeable


def test_the_rows_of_a_request_stay_as_they_are_while_others_come() -> None:
    kept = [_matrix(b'{"instances": [[%d, %d]]}' % (number, -number), NUMBERS) for number in range(50)]
    assert _matrix(b'{"instances": [[1, 2 3]]}', NUMBERS) is None
    assert _matrix(b'{"instances": [%s[1, 2]]}' % (b"[3, 4], " * 100_000), NUMBERS).matrix.shape == (100_001, 2)
    kept.append(_matrix(b'{"instances": [[50, -50]]}', NUMBERS))
    assert [found.matrix.tolist() for found in kept] == [[[number, -number]] for number in range(51)]


def test_what_is_not_numbers_alone_is_left_to_the_slow_path() -> None:
    for body in TAKEN.values():
        if not "".join(body.split()).startswith(('{"instances":[[', '{"inputs":[[')) or "params" in body:
            assert _matrix(body.encode(), NUMBERS) is None
    assert _matrix(b'{"instances": [[1, true, "red"]]}', MIXED) is None


BLANKS = some.text(" \t\r\n", max_size=2)
SMALL = some.integers(-(10**6), 10**6) | some.floats(allow_nan=False, allow_infinity=False, width=32)
LITERALS = some.one_of(
    SMALL.map(repr),
    some.floats(allow_nan=False, allow_infinity=False).map(repr),
    some.integers(-(2**70), 2**70).map(repr),
    some.integers(10**300, 10**320).map(repr),
    some.sampled_from(
        [
            "-0",
            "-0.0",
            "0e0",
            "1E5",
            "1e+5",
            "1e-400",
            "4.9e-324",
            "1e400",
            "9007199254740993",
            "1.7976931348623159e308",
        ]
    ),
    some.sampled_from([str(2**63), str(2**64 - 1), str(2**64), str(-(2**63)), "0.1e1", "3.4028234663852886e38"]),
)
# What is no number, or no JSON, or no row.
ODD = some.sampled_from(
    [
        "",
        "null",
        "true",
        '"1"',
        "NaN",
        "Infinity",
        "-",
        "+1",
        "01",
        ".5",
        "1.",
        "1e",
        "1 2",
        "1,2",
        "[1]",
        "{}",
        "e",
        "\u0661",
    ]
)


@some.composite
def bodies(draw: Any) -> bytes:
    """Bodies like {"instances": [[1, 2], …]}, most of them a little out of order."""
    odd = draw(some.booleans())
    cells = LITERALS | ODD if odd else LITERALS
    widths = some.sampled_from([2, 2, 2, 1, 3, 0]) if odd else some.just(2)

    def joined(parts: list[str], around: str) -> str:
        gap = draw(BLANKS)
        return around[0] + draw(BLANKS) + f"{gap},{gap}".join(parts) + draw(BLANKS) + around[1]

    count = draw(some.integers(0 if odd else 1, 4))
    rows = []
    for _ in range(count):
        width = draw(widths)
        rows.append(joined(draw(some.lists(cells, min_size=width, max_size=width)), "[]"))
    matrix = joined(rows, "[]")
    key = '"instances"'
    if odd:
        key = draw(some.sampled_from([key, key, key, '"instances"e', '"instances "', '"\\u0069nstances"', "instances"]))
        matrix = draw(some.sampled_from([matrix, matrix, matrix, f"[{matrix}]", matrix[1:-1], matrix + "]"]))
    pair = f"{key}{draw(BLANKS)}:{draw(BLANKS)}{matrix}"
    if odd:
        pair = draw(
            some.sampled_from([pair, pair, f"{pair},{pair}", f'{pair},"inputs":[]', f'{pair},"params":{{}}', ""])
        )
    tail = draw(some.sampled_from(["", "", "", " ", "5", "e", "-", "}", "\0", ",", "\ufeff", "#"])) if odd else ""
    return ("{" + pair + draw(BLANKS) + "}" + tail).encode()


def outcome(body: bytes, read: Any) -> tuple[Any, ...]:
    """Return all that can be told of an answer apart: the rows to the last bit, or the words and the place."""
    try:
        rows = read(body)
    except InvalidInput as refused:
        return str(refused), refused.where
    return rows.matrix.shape, rows.matrix.tobytes()


@fuzz(300)
@given(bodies())
@example(b'{"instances": [[1, 2]], "instances": [[3, 4]]}')
@example(b'{"inputs": [[1, 2]], "instances": [[3, 4]]}')
@example(b'{ "inputs": [[1, 2]]}')
@example(b'{"instances": [[1, 2], [3]]}')
@example(b'{"instances": [[1], [2, 3, 4]]}')
@example(b'{"instances": [[1, 2]]} 5')
@example(b'{"instances": [[1 2, 3]]}')
@example(b'{"instances": [[1, [2]]}')
@example(b'{"instances": [[1, 9007199254740993]]}')
@example(b'{"instances": [[18446744073709551615, -9223372036854775808]]}')
def test_the_fast_path_gives_the_same_rows_and_the_same_refusals_as_the_slow_one(body: Any) -> None:
    def slowly(body: bytes) -> Rows:
        return from_payload(parsed(body), NUMBERS)

    def fast(body: bytes) -> Rows:
        return rows_of(body, JSON, NUMBERS)

    assert outcome(body, fast) == outcome(body, slowly)


@fuzz(100)
@given(some.lists(some.lists(some.floats(-LARGEST, LARGEST), min_size=2, max_size=2), min_size=1, max_size=20))
def test_whatever_numbers_come_in_are_the_ones_that_the_model_gets(rows: Any) -> None:
    matrix = rows_of(json.dumps({"instances": rows}).encode(), JSON, NUMBERS).matrix
    assert matrix.tobytes() == np.array(rows).tobytes()


# --- large bodies --------------------------------------------------------------------------------------------------

LARGE_JSON = {
    "numbers and words": b"[1, -0, 0.1, -0.0, 1e400, 1e-400, 12345678901234567890123, NaN, -Infinity, true, null, []]",
    "a name twice": b'{"a": 1, "a": {"b": [2, {}]}, "": "\\ud800 \\" } \xe2\x82\xac"}',
    "a byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "UTF-16": '["\u20ac", 1]'.encode("utf-16"),
    "a number too long": b"[%s]" % (b"9" * 5000),
    "no comma": b"[1, 2 3]",
    "a zero in front": b'{"a": 01}',
    "not UTF-8": b'["\xff"]',
    "a line end in a text": b'["a\nb"]',
    "nothing": b"",
    "nested": b"[" * 5000,
}


def repr_of(body: bytes) -> str:
    try:
        return repr(parsed(body))
    except InvalidInput as refused:
        return str(refused)


@pytest.mark.parametrize("title", LARGE_JSON)
def test_json_of_a_large_body_has_the_value_and_the_faults_that_it_has_in_a_small_one(
    title: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = LARGE_JSON[title]
    small = repr_of(body)
    monkeypatch.setattr(request_budget, "SMALL_BYTES", -1)
    assert repr_of(body) == small
    assert gc.isenabled()


@pytest.mark.parametrize(("value", "count"), [("1", 7), ("-1.5e3", 7), ('{"a": null}', 7), ('[1, {"a": 2.5}]', 21)])
def test_whoever_waits_has_a_turn_at_every_number_and_record_of_a_large_body(
    value: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = []
    for name in ("_whole", "_real", "_same"):
        ours = getattr(mlflow_scoring, name)
        assert isinstance(ours, FunctionType)  # one in C gives no turn
        monkeypatch.setattr(mlflow_scoring, name, lambda found, ours=ours: turns.append(found) or ours(found))
    body = f"[{', '.join([value] * 7)}]".encode()
    assert parsed(body) == json.loads(body)
    assert not turns
    parsed(body + b" " * request_budget.SMALL_BYTES)
    assert len(turns) == count


# --- CSV -----------------------------------------------------------------------------------------------------------

CSV_TAKEN = {
    "plain": "length,width\n1,2\n3,4\n",
    "no line end at the end": "length,width\n1,2\n3,4",
    "carriage returns": "length,width\r\n1,2\r\n3,4\r\n",
    "other order, one more": "hue,width,length\nred,2,1\nblue,4,3\n",
    "empty lines": "\nlength,width\n\n1,2\n\n3,4\n\n",
    "blank lines before": "\n  \n\nlength,width\n1,2\n3,4\n",
    "quotes and blanks": '"length",width\n"1", 2\n3 ," 4 "\n',
    "a byte order mark": "\ufefflength,width\n1,2\n3,4\n",
    "a column again": "length,width,width\n1,2,9\n3,4,9\n",
}


@pytest.mark.parametrize("title", CSV_TAKEN)
def test_csv_with_a_header_becomes_rows(title: str) -> None:
    assert read_csv(CSV_TAKEN[title]) == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize("before", ["", "\n", "\n\n", "  \n", "\r\n"])
def test_names_that_are_numbers_are_no_row_wherever_they_begin(before: str) -> None:
    years = described([Column(name) for name in ("2019", "2020", "2021")])
    assert read_csv(f"{before}2021,2020,2019\n5,6,7\n", years) == [[7.0, 6.0, 5.0]]


@pytest.mark.parametrize("content_type", ["text/csv", "TEXT/CSV", "text/csv; charset=utf-8", "text/csv;charset=UTF8"])
def test_csv_is_known_by_its_content_type(content_type: str) -> None:
    assert len(rows_of(b"length,width\n1,2\n", content_type, NUMBERS)) == 1


@pytest.mark.parametrize("word", ["", "NA", "nan", "NaN", "None", "null", "N/A", '""'])
def test_the_words_that_pandas_takes_for_missing_are_missing(word: str) -> None:
    assert read_csv(f"a,b\n{word},2\n", GAPS) == [[None, 2.0]]
    assert "is null; expected a number" in str(refusal(f"length,width\n{word},2\n", NUMBERS, CSV))


@pytest.mark.parametrize("word", sorted(MISSING_WORDS - {""}))
def test_a_word_in_a_column_of_text_is_a_word_in_every_format(word: str) -> None:
    model = described([Column("zone", Kind.TEXT, missing=True), Column("visits", missing=True)])
    expected = [[word, None]]
    assert read_csv(f"zone,visits\n{word},{word}\n", model) == expected
    assert read(json.dumps({"dataframe_records": [{"zone": word, "visits": None}]}), model) == expected
    assert read(json.dumps({"inputs": {"zone": [word] * 50}}), model) == expected * 50
    assert read_csv("visits,zone\n" + f"{word},{word}\n" * 50, model) == expected * 50


@pytest.mark.parametrize("word", ["?", "-", "unknown", "n/a "])
def test_a_placeholder_among_numbers_of_csv_is_a_missing_one_as_in_training(word: str) -> None:
    model = described([Column("zone", Kind.TEXT), Column("visits", missing=True)])
    assert read_csv(f"zone,visits\n{word},{word}\n{word},7\n", model) == [[word, None], [word, 7.0]]
    assert str(refusal(f"visits,zone\n{word},EU\n", described([Column("visits")]), CSV)) == (
        "row 1, 'visits' is null; expected a number"
    )


def test_an_empty_field_of_csv_is_missing_in_every_column() -> None:
    model = described([Column("zone", Kind.TEXT, missing=True), Column("yes", Kind.BOOLEAN, missing=True), Column("n")])
    assert read_csv('zone,yes,n\n,NA,1\n"","",2\n', model) == [[None, None, 1.0], [None, None, 2.0]]
    refused = refusal("zone,yes,n\nEU,true,\n", model, CSV)
    assert str(refused) == "row 1, 'n' is null; expected a number"
    required = described([Column("zone", Kind.TEXT), Column("n")])
    assert "row 1, 'zone' is null; expected text" in str(refusal("zone,n\n,1\n", required, CSV))
    assert read_csv("zone,n\nNA,1\n", required) == [["NA", 1.0]]


def test_the_words_for_a_missing_number_are_those_of_pandas() -> None:
    assert STR_NA_VALUES == MISSING_WORDS


def test_a_short_line_of_csv_lacks_its_last_values() -> None:
    assert read_csv("a,b\n1\n", GAPS) == [[1.0, None]]


def test_csv_has_booleans_texts_and_whole_numbers() -> None:
    columns = [
        Column("yes", Kind.BOOLEAN),
        Column("text", Kind.TEXT),
        Column("n", Kind.INTEGER, limit=TYPES["long"].limit),
    ]
    text = 'yes,text,n\ntrue,"a ""b"", c",1\nFALSE, x ,-2\n1,1,1e3\n0.0,ü,+4\n'
    assert read_csv(text, described(columns)) == [
        [1.0, 'a "b", c', 1.0],
        [0.0, " x ", -2.0],
        [1.0, "1", 1000.0],
        [0.0, "ü", 4.0],
    ]


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("", None, "the body is empty; expected CSV with the names of the columns"),
        ("\n\n", None, "the body is empty"),
        ("length,width\n", None, "no rows after the names of the columns"),
        ("1,2\n3,4\n", "the first line", "the first line lacks 'length', 'width'"),
        (
            "length;width\n1;2\n",
            "the first line",
            "lacks 'length', 'width'; it is separated by ';', and CSV here by ','",
        ),
        ("length,width\n1,2\n1,2,3\n", "row 2", "row 2 has 3 fields; expected 2"),
        ("length,width\n1,2\n1,two\n", "row 2, 'width'", "row 2, 'width' is 'two'; expected a number"),
        ("length,width\n1,1_0\n", "row 1, 'width'", "is '1_0'; expected a number"),
        ("length,width\n1,inf\n", "row 1, 'width'", "is not a finite number"),
        ("length,width\n1,\u0661\n", "row 1, 'width'", "expected a number"),
        ("length,width\n1,true\n", "row 1, 'width'", "is 'true'; expected a number"),
        ('length,width\n1,"2\n', None, "the body is not CSV"),
        ("length,width\n1,2\0\n", None, "NUL"),
    ],
)
def test_csv_that_the_model_cannot_take_is_refused_with_the_place_of_the_fault(
    text: str, where: str | None, said: str
) -> None:
    refused = refusal(text, NUMBERS, CSV)
    assert refused.where == where
    assert said in str(refused)


def test_csv_that_is_not_utf8_is_refused() -> None:
    assert "the body is not UTF-8" in str(refusal("length,width\nü,1\n".encode("latin-1"), NUMBERS, CSV))


def test_a_tensor_has_no_names_and_so_no_csv() -> None:
    assert "send them as JSON lists" in str(refusal("0,1\n1,2\n", TENSOR, CSV))


@pytest.mark.parametrize("at", [0, 1, 99, 5000])
@pytest.mark.parametrize("field", ["two", "1_0", "inf", "\u0661", "1,2"])
def test_a_wrong_field_among_many_rows_of_csv_is_pointed_out_wherever_it_stands(field: str, at: int) -> None:
    lines = ["1,2"] * 5001
    lines[at] = f"1,{field}"
    lines.append("1,also wrong")
    few = refusal(f"length,width\n1,{field}\n", NUMBERS, CSV)
    refused = refusal("\n".join(["length,width", *lines]), NUMBERS, CSV)
    assert (refused.where, str(refused)) == tuple(
        text.replace("row 1", f"row {at + 1}") for text in (few.where, str(few))
    )


def test_many_rows_of_csv_of_all_kinds_are_read_to_the_end() -> None:
    columns = [*MIXED.columns, Column("n", Kind.INTEGER, limit=TYPES["long"].limit)]
    lines = [f"{i}.5,{'true' if i % 2 else 'FALSE'},{'' if i % 3 else f'c{i}'},{2**60 + i}" for i in range(5000)]
    found = rows_of("\n".join(["size,sweet,colour,n", *lines]).encode(), CSV, described(columns)).by_column
    assert found[0].tolist() == [i + 0.5 for i in range(5000)]
    assert found[1].tolist() == [float(i % 2) for i in range(5000)]
    assert found[2].tolist() == [None if i % 3 else f"c{i}" for i in range(5000)]
    assert found[3].tolist() == [2**60 + i for i in range(5000)]


@fuzz(100)
@given(some.text() | some.text("length,width\n\r\"'1.5e;\0 \ufeff"))
def test_any_text_is_read_as_csv_or_refused(text: Any) -> None:
    for model in (NUMBERS, MIXED, GAPS):
        with suppress(InvalidInput):
            assert len(rows_of(text.encode(errors="replace"), CSV, model)) >= 1


@pytest.mark.parametrize(
    "body",
    ["a,b\n1,2\n3,4\n", "b,a\r\n1,2\r\n\r\n3,4", '"a",b\n"1", 2\n', "a,b\r1,2\r3,4", "\ufeffa,b\n-1e-3,+.5\n"],
)
def test_csv_of_numbers_alone_is_read_as_any_other_is(body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Description((Column("a"), Column("b")), True, "", None, [], {})
    quick = mlflow_scoring.rows_of(body.encode(), "text/csv", model)
    monkeypatch.setattr(mlflow_scoring, "_csv_matrix", lambda *_: None)
    slow = mlflow_scoring.rows_of(body.encode(), "text/csv", model)
    assert quick.matrix.tolist() == slow.matrix.tolist()
