"""From a request's JSON to rows: what is taken, and where the fault is pointed out in what is not."""

import json

import pytest
from inference.errors import InvalidInput
from inference.rows import Column, Kind, from_instances

COLUMNS = [Column("length"), Column("width")]
MIXED = [Column("size"), Column("sweet", Kind.BOOLEAN), Column("colour", Kind.TEXT, missing=True)]


def refusal(body: str, columns: list[Column] = COLUMNS) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        from_instances(json.loads(body), columns)
    return refused.value


def test_lists_become_rows_of_floats():
    rows = from_instances({"instances": [[1, 2.5], [3, 4]]}, COLUMNS)
    assert rows == [[1.0, 2.5], [3.0, 4.0]]
    assert {type(value) for row in rows for value in row} == {float}


def test_records_become_rows_in_the_order_of_the_columns():
    rows = from_instances({"instances": [{"width": 2, "length": 1}]}, COLUMNS)
    assert rows == [[1.0, 2.0]]


def test_lists_and_records_may_stand_side_by_side():
    rows = from_instances({"instances": [[1, 2], {"width": 4, "length": 3}]}, COLUMNS)
    assert rows == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("body", "where", "said"),
    [
        ("null", None, "the body has no 'instances'"),
        ("3", None, "the body has no 'instances'"),
        ('"instances"', None, "the body has no 'instances'"),
        ("[[1, 2]]", None, "the body has no 'instances'"),
        ("{}", None, "the body has no 'instances'"),
        ('{"inputs": [[1, 2]]}', None, "the body has no 'instances'"),
        ('{"instances": [[1, 2]], "params": {}}', None, "the body has 'params' beside 'instances'"),
        ('{"instances": null}', "instances", "'instances' is null"),
        ('{"instances": []}', "instances", "'instances' is empty"),
        ('{"instances": {}}', "instances", "'instances' is a record"),
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
        ('{"instances": [{"length": 1, "width": 2, "hue": 3}]}', "instances[0]", "instances[0] has 'hue'"),
        ('{"instances": [{"length": 1, "Width": 2}]}', "instances[0]", "instances[0] lacks 'width'"),
        ('{"instances": [{"length": 1, "width": "2"}]}', "instances[0]['width']", "instances[0]['width'] is text"),
        ('{"instances": [[1, 2], {"length": NaN, "width": 2}]}', "instances[1]['length']", "not a finite number"),
    ],
)
def test_a_body_that_the_model_cannot_take_is_refused_with_the_place_of_the_fault(body, where, said):
    refused = refusal(body)
    assert refused.where == where
    assert said in str(refused)


def test_of_several_faults_the_first_is_pointed_out():
    assert refusal('{"instances": [[1, 2], [1, "a"], ["b", 2], []]}').where == "instances[1][1]"


def test_what_is_expected_counts_the_columns():
    assert 'expected {"instances": [[2 numbers], …]}' in str(refusal("{}"))


def test_booleans_text_and_missing_values_are_taken_where_the_column_has_them():
    body = {"instances": [[1, True, "red"], {"colour": None, "sweet": False, "size": 2.5}]}
    assert from_instances(body, MIXED) == [[1.0, True, "red"], [2.5, False, None]]


@pytest.mark.parametrize(
    ("row", "where", "said"),
    [
        ('[null, true, "red"]', "instances[0][0]", "is null; expected a number"),
        ('[1, 1, "red"]', "instances[0][1]", "is a number; expected true or false"),
        ('[1, "true", "red"]', "instances[0][1]", "is text; expected true or false"),
        ('[1, null, "red"]', "instances[0][1]", "is null; expected true or false"),
        ("[1, true, 3]", "instances[0][2]", "is a number; expected text or null"),
        ("[1, true, false]", "instances[0][2]", "is a boolean; expected text or null"),
        ('[true, true, "red"]', "instances[0][0]", "is a boolean; expected a number"),
    ],
)
def test_a_value_of_another_kind_than_the_column_is_refused(row, where, said):
    refused = refusal(f'{{"instances": [{row}]}}', MIXED)
    assert (refused.where, said in str(refused)) == (where, True)


def test_columns_that_are_not_all_numbers_are_counted_as_values():
    assert 'expected {"instances": [[3 values], …]}' in str(refusal("{}", MIXED))
