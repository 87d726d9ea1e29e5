"""Values held against their columns' input domains: what is taken, and where the fault is pointed out in what is not."""

import json
import math
from typing import Any

import numpy as np
import pytest
from contract.schema import LARGEST, TYPES, Column, Kind, count_of
from hypothesis import example, given
from hypothesis import strategies as some
from inference import rows as rows_module
from inference.errors import InvalidInput
from inference.rows import Rows, from_cells, from_columns, of_checked

from tests.fuzzing import fuzz

NUMBER, MISSING = Column("length"), Column("width", missing=True)
LONG = Column("count", Kind.INTEGER, limit=TYPES["long"].limit, datatype="INT64")
INTEGER = Column("age", Kind.INTEGER, limit=TYPES["integer"].limit, datatype="INT32")
SWEET = Column("sweet", Kind.BOOLEAN)
COLOUR = Column("colour", Kind.TEXT, missing=True)


def place(i: int, j: int) -> str:
    return f"row {i}, value {j}"


def read(body: str, *columns: Column) -> Rows:
    return from_cells(json.loads(body), columns, place)


def refusal(body: str, *columns: Column) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        read(body, *columns)
    return refused.value


def test_numbers_become_one_matrix_of_floats() -> None:
    rows = read("[[1, 2.5], [3, 4]]", NUMBER, NUMBER)
    assert rows.arrays is None
    assert rows.matrix.dtype == np.float64
    assert rows.matrix.tolist() == [[1.0, 2.5], [3.0, 4.0]]
    assert len(rows) == 2


def test_booleans_and_whole_numbers_are_in_the_matrix_too() -> None:
    assert read("[[1, true, 2.0], [0.5, false, -3]]", NUMBER, SWEET, LONG).matrix.tolist() == [[1, 1, 2], [0.5, 0, -3]]


def test_with_a_text_column_each_column_is_an_array_of_its_own() -> None:
    rows = read('[[1, true, "red"], [2.5, false, null]]', NUMBER, SWEET, COLOUR)
    assert rows.matrix is None
    assert [array.tolist() for array in rows.by_column] == [[1.0, 2.5], [1.0, 0.0], ["red", None]]
    assert len(rows) == 2


@pytest.mark.parametrize("missing", ["null", "NaN"])
def test_a_missing_value_is_nan_among_numbers_and_none_among_texts(missing: str) -> None:
    assert math.isnan(read(f"[[1, {missing}]]", NUMBER, MISSING).matrix[0, 1])
    rows = read(f"[[{missing}, {missing}]]", MISSING, COLOUR)
    assert math.isnan(rows.by_column[0][0])
    assert rows.by_column[1].tolist() == [None]


def test_the_columns_of_a_matrix_can_be_had_one_by_one() -> None:
    assert [column.tolist() for column in read("[[1, 2], [3, 4]]", NUMBER, NUMBER).by_column] == [[1, 3], [2, 4]]


@pytest.mark.parametrize(
    ("value", "column", "said"),
    [
        ("null", NUMBER, "is null; expected a number"),
        ('"1"', NUMBER, "is text; expected a number"),
        ("true", NUMBER, "is a boolean; expected a number"),
        ("[1]", NUMBER, "is a list; expected a number"),
        ("{}", NUMBER, "is a record; expected a number"),
        ('"1"', MISSING, "is text; expected a number or null"),
        ("NaN", NUMBER, "is not a finite number within ±3.4e38"),
        ("Infinity", NUMBER, "is not a finite number within ±3.4e38"),
        ("-Infinity", MISSING, "is not a finite number within ±3.4e38"),
        ("1e999", NUMBER, "is not a finite number within ±3.4e38"),
        ("3.41e38", NUMBER, "is not a finite number within ±3.4e38"),
        (str(10**400), NUMBER, "is not a finite number within ±3.4e38"),
        ("1.5", LONG, "is 1.5; expected a whole number"),
        ("Infinity", LONG, "is inf; expected a whole number"),
        ("true", LONG, "is a boolean; expected a whole number"),
        ("null", LONG, "is null; expected a whole number"),
        ("3000000000", INTEGER, "is outside of -2147483648 to 2147483647"),
        ("1e39", INTEGER, "is outside of -2147483648 to 2147483647"),
        (str(2**63), LONG, "is outside of -9223372036854775808 to 9223372036854775807"),
        ("1", SWEET, "is a number; expected true or false"),
        ('"true"', SWEET, "is text; expected true or false"),
        ("null", SWEET, "is null; expected true or false"),
        ("3", COLOUR, "is a number; expected text or null"),
        ("false", COLOUR, "is a boolean; expected text or null"),
        ("Infinity", COLOUR, "is a number; expected text or null"),
    ],
)
def test_a_value_outside_of_its_columns_domain_is_refused_with_its_place(value: str, column: Column, said: str) -> None:
    refused = refusal(f"[[0.5, {value}]]", NUMBER, column)
    assert refused.where == "row 0, value 1"
    assert str(refused) == f"row 0, value 1 {said}"


@pytest.mark.parametrize("value", [LARGEST, -LARGEST, 10**38, 0, -0.0, 5e-324])
def test_numbers_up_to_the_largest_float32_are_taken(value: float) -> None:
    assert read(f"[[{value!r}]]", NUMBER).matrix.tolist() == [[float(value)]]


@pytest.mark.parametrize("value", [2**31 - 1, -(2**31), 7.0])
def test_whole_numbers_of_32_bits_are_taken(value: float) -> None:
    assert read(f"[[{value}]]", INTEGER).matrix.tolist() == [[value]]


def test_of_several_faults_the_first_is_pointed_out() -> None:
    assert refusal('[[1, 2], [1, "a"], ["b", 2]]', NUMBER, NUMBER).where == "row 1, value 1"


def test_rows_that_are_known_to_be_right_are_taken_as_they_are() -> None:
    assert of_checked([(1.0, None)], [NUMBER, MISSING]).matrix[0, 0] == 1.0
    assert of_checked([(1.0, "a")], [NUMBER, COLOUR]).by_column[1].tolist() == ["a"]


def test_columns_that_are_all_numbers_are_counted_as_numbers_and_others_as_values() -> None:
    assert count_of((NUMBER, LONG)) == "2 numbers"
    assert count_of((NUMBER, SWEET, COLOUR)) == "3 values"


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_a_text_that_no_engine_can_read_is_refused(text: str) -> None:
    assert "is no Unicode text" in str(refusal(json.dumps([[text]]), COLOUR))


def test_whole_numbers_beyond_what_a_float_holds_are_kept_exactly() -> None:
    columns = (Column("id", Kind.INTEGER, limit=2**63 - 1), Column("size"))
    rows = from_cells([[2**60 + 1, 0.5], [2**60 + 3, 1.5], [2**63 - 1, 2.5]], columns, lambda i, j: "")
    ids, sizes = rows.by_column
    assert ids.tolist() == [2**60 + 1, 2**60 + 3, 2**63 - 1]
    assert ids.dtype == np.int64
    assert sizes.tolist() == [0.5, 1.5, 2.5]


# --- many rows, which come in blocks -------------------------------------------------------------------------------

COUNT = Column("count", Kind.INTEGER, limit=TYPES["long"].limit, missing=True)
KINDS = [NUMBER, MISSING, LONG, INTEGER, COUNT, SWEET, COLOUR]
PROPER = {
    Kind.NUMBER: some.floats(-LARGEST, LARGEST) | some.integers(-(10**6), 10**6),
    Kind.INTEGER: some.integers(-(2**31), 2**31 - 1)
    | some.integers(-(2**63), 2**63 - 1)
    | some.sampled_from([7.0, 2.0**60]),
    Kind.BOOLEAN: some.booleans(),
    Kind.TEXT: some.text(max_size=3),
}
ODD: Any = some.sampled_from(
    [
        None,
        math.nan,
        math.inf,
        LARGEST,
        3.41e38,
        10**400,
        1.5,
        True,
        "NA",
        "",
        "\ud800",
        [],
        {},
        2**53,
        2**53 + 1,
        2**63,
    ]
)


@some.composite
def tables(draw: Any) -> tuple[list[Column], list[list[Any]]]:
    """Columns and rows of values that are in their domains, but for one here and there."""
    columns = draw(some.lists(some.sampled_from(KINDS), min_size=1, max_size=3))
    odd = draw(some.booleans())
    cells = [
        PROPER[c.kind] | (some.none() if c.missing else some.nothing()) | (ODD if odd else some.nothing())
        for c in columns
    ]
    return columns, [list(row) for row in draw(some.lists(some.tuples(*cells), min_size=1, max_size=8))]


def outcome(read: Any, *arguments: Any) -> tuple[Any, ...]:
    """Return all that can be told of rows apart, or the words and the place of a refusal."""
    try:
        found = read(*arguments)
    except InvalidInput as refused:
        return str(refused), refused.where
    return found.matrix is None, [(array.dtype, repr(array.tolist())) for array in found.by_column]


@fuzz(200)
@given(tables())
@example(([COUNT, NUMBER], [[1, 0.5], [2**60 + 1, 0.5], [3, 1.5], [None, 0.5], [2**60 + 3, 2.5]]))
@example(([COUNT, LONG], [[1, 1], [None, 2], [2**60, 3]]))
@example(([LONG], [[1], [2**60 + 1], [3], [4], [5]]))
@example(([LONG, SWEET], [[-(2**63), True], [1, False], [2, True]]))
@example(([NUMBER], [[1.0], [LARGEST], [2]]))
def test_rows_in_blocks_become_the_same_arrays_and_get_the_same_refusals_as_a_few_at_once(table: Any) -> None:
    columns, cells = table

    def in_blocks(values: list[Any]) -> Rows:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rows_module, "BLOCK", 2)
            patch.setattr(rows_module, "FEW", 0)
            return from_cells(values, columns, place)

    def by_column(values: list[Any]) -> Rows:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rows_module, "BLOCK", 3)
            patch.setattr(rows_module, "FEW", 0)
            return from_columns(list(zip(*values, strict=True)), columns, place, len(values))

    expected = outcome(from_cells, cells, columns, place)
    assert outcome(in_blocks, cells) == expected
    assert outcome(by_column, cells) == expected


def test_many_rows_that_come_one_by_one_are_taken_even_if_fewer_come_than_may() -> None:
    found = from_cells(([i, str(i), None] for i in range(100)), [NUMBER, COLOUR, MISSING], place, 1000)
    assert len(found) == 100
    assert found.by_column[0].tolist() == list(range(100))
    assert found.by_column[1].tolist() == [str(i) for i in range(100)]
    assert np.isnan(found.by_column[2]).all()


def test_a_column_of_which_nothing_came_is_missing_in_all_rows() -> None:
    found = from_columns([None, [1.0] * 100, None], [MISSING, NUMBER, COLOUR], place, 100)
    assert np.isnan(found.by_column[0]).all()
    assert found.by_column[2].tolist() == [None] * 100


def test_an_engine_may_write_into_rows_that_came_as_arrays() -> None:
    values = np.frombuffer(np.ones(100).tobytes())
    assert from_columns([values], [NUMBER], place, 100).matrix.flags.writeable
