"""What the trainer takes as a table, and what it says of one that it cannot train on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from contract.missing import MISSING_WORDS
from pyarrow import parquet
from trainer import memory
from trainer.data.files import csv_table
from trainer.data.files.form import Form
from trainer.data.table import Column, Kind, Table, Task, look_at, read, split
from trainer.errors import DataError

IRIS = Path(__file__).parents[2] / "data" / "iris_dataset.csv"
HEADER = "length,width,target,target_name"
SHORT, LONG = "1.0,0.5,0,short", "9.0,0.5,1,long"
GOOD = [HEADER, *[SHORT] * 10, *[LONG] * 10]


def flowers(path: Path) -> Table:
    return read(path, "target")


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[..., Any]:
    """Return what is said of a file with these lines, which must name the file."""

    def refuse(lines: list[str]) -> str:
        path = tmp_path / "flowers.csv"
        path.write_text("".join(f"{line}\n" for line in lines))
        with pytest.raises(DataError) as refused:
            flowers(path)
        words = str(refused.value)
        assert str(path) in words
        return words

    return refuse


def with_line(number: int, text: str) -> list[str]:
    """Return the good file with another line `number`, counted as an editor does."""
    return [*GOOD[: number - 1], text, *GOOD[number:]]


def test_a_good_file_becomes_features_class_numbers_and_class_names(tmp_path: Path) -> None:
    path = tmp_path / "flowers.csv"
    path.write_text("\n".join(GOOD))
    table = flowers(path)
    assert table.features.columns.to_list() == ["length", "width"]
    assert table.features.shape == (20, 2)
    assert {str(kind) for kind in table.features.dtypes} == {"float64"}
    assert table.target.to_list() == [0] * 10 + [1] * 10
    assert table.class_names == ["short", "long"]


def test_whole_numbers_are_features_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "flowers.csv"
    path.write_text("\n".join(line.replace(".0", "") for line in GOOD))
    assert {str(kind) for kind in flowers(path).features.dtypes} == {"float64"}


def test_one_changed_byte_is_other_data(tmp_path: Path) -> None:
    one, other = tmp_path / "one.csv", tmp_path / "other.csv"
    one.write_text("\n".join(GOOD))
    other.write_text("\n".join(with_line(5, SHORT.replace("1.0", "1.1"))))
    assert flowers(one).sha256 != flowers(other).sha256


def test_a_missing_file_is_named_with_the_command_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"flowers\.csv does not exist; `explore` writes those"):
        flowers(tmp_path / "flowers.csv")


def test_a_folder_in_the_place_of_the_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{tmp_path} is a folder without Parquet files"):
        flowers(tmp_path)


def test_an_empty_file_is_no_table(refusal: Callable[..., Any]) -> None:
    assert refusal([]).endswith("is empty: it has no line with the names of the columns")


def test_a_file_that_is_no_text_is_no_table(tmp_path: Path) -> None:
    path = tmp_path / "flowers.csv"
    path.write_bytes(b"\x01\x02\r\n\x1a\n\0\0\0\rIHDR")
    with pytest.raises(DataError, match=r"flowers\.csv is no text: it has zero bytes"):
        flowers(path)


def test_a_line_with_a_value_too_many_is_named(refusal: Callable[..., Any]) -> None:
    assert "line 7" in refusal(with_line(7, f"{SHORT},1,2"))


ENDS = ["region,sold,y", *(f"{region},{i}.5,{i % 2}" for i, region in enumerate(["north", "south"] * 10))]


@pytest.mark.parametrize("last", ["Total,200,0", "total:,200,", "Summe,200,1"])
def test_a_row_that_sums_up_the_others_is_refused_with_its_line(tmp_path: Path, last: str) -> None:
    (tmp_path / "t.csv").write_text("\n".join([*ENDS, "", last]))
    with pytest.raises(
        DataError, match=r"t\.csv line 23 has .* in column 'region' and sums up column 'sold': .*take it out"
    ) as said:
        read(tmp_path / "t.csv", "y")
    assert "(2 such rows)" not in str(said.value)


def test_subtotals_are_refused_too_and_a_row_that_is_only_called_so_is_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\n".join([*ENDS[:11], "Subtotal,50,0", *ENDS[11:], "Subtotal,150,0"]))
    with pytest.raises(DataError, match=r"line 23 has 'Subtotal' .* \(2 such rows\)"):
        read(tmp_path / "t.csv", "y")
    (tmp_path / "t.csv").write_text("\n".join([*ENDS, "Total,7.5,0"]))
    assert read(tmp_path / "t.csv", "y").remarks == [
        "line 22 has 'Total' in column 'region': if it sums up other rows, take it out of the file"
    ]


@pytest.mark.parametrize("word", ["Total", "all"])
def test_a_rare_one_among_zeros_is_no_sum_and_a_drive_on_all_wheels_no_total(tmp_path: Path, word: str) -> None:
    rows = [f"{'front' if n % 2 else 'rear'},{int(n == 7)},{n % 3}" for n in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["drive,rare,y", *rows, f"{word},1,0"]))
    remarks = read(tmp_path / "t.csv", "y").remarks
    assert any("if it sums up other rows" in remark for remark in remarks) == (word == "Total")


def test_rows_without_any_value_and_names_that_are_there_again_are_left_out_and_lines_stay_those_of_the_file(
    tmp_path: Path,
) -> None:
    lines = [*ENDS[:5], ",,", *ENDS[5:9], ENDS[0], *ENDS[9:], ",,", ",,"]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    table = read(tmp_path / "t.csv", "y")
    assert table.remarks == ["read as: 3 rows without any value left out, 1 line with the names again left out"]
    assert (len(table.target), table.columns[1].kind) == (20, Kind.NUMBER)
    (tmp_path / "t.csv").write_text("\n".join([*lines[:-4], "north,many,1"]))
    with pytest.raises(DataError, match="line 22, column 'sold' is 'many'"):
        read(tmp_path / "t.csv", "y")


@pytest.mark.parametrize("value", ["", " "])
def test_a_target_of_blanks_is_none(tmp_path: Path, value: str) -> None:
    frame = pd.DataFrame({"x": range(20), "y": ["a", "b"] * 9 + [value, "a"]})
    frame.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"row 19, column 'y' is .*; expected a class \(1 such row\)"):
        read(tmp_path / "t.parquet", "y")
    assert len(read(tmp_path / "t.parquet", "y", form=Form(skip_unlabelled=True)).target) == 19


def test_of_a_column_that_cannot_be_read_nothing_else_is_said(tmp_path: Path) -> None:
    sizes = ["<40" if i % 10 == 0 else f"{i}.5" for i in range(40)]
    frame = pd.DataFrame({"x": sizes, "l": [[1]] * 40, "y": ["a", "b"] * 20})
    frame.to_parquet(tmp_path / "t.parquet")
    look = look_at(tmp_path / "t.parquet", "y")
    assert len(look.faults) == 2
    assert [said for said in look.table.remarks if "'l'" in said or "is taken as text" in said] == []


def test_a_class_that_may_stand_for_none_is_said(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [*range(29), 1], "y": ["yes", "no", "?"] * 10})
    frame.to_csv(tmp_path / "t.csv", index=False)
    (said,) = read(tmp_path / "t.csv", "y").remarks
    assert said.startswith(
        "the target 'y' has '?' as a class (10 rows); where it stands for none, leave these fields empty"
    )


def test_a_target_that_never_changes_and_one_of_dates_are_refused(tmp_path: Path) -> None:
    pd.DataFrame({"x": range(5), "y": [1.5, 2.5, 3.5, 4.5, 5.5]}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match="has 5 rows, too few to hold out two of them; expected 6 or more"):
        read(tmp_path / "t.csv", "y")
    pd.DataFrame({"x": range(30), "y": 1.5}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=r"column 'y' is 1\.5 in all rows; there is nothing to predict"):
        read(tmp_path / "t.csv", "y")
    pd.DataFrame({"x": range(30), "y": pd.date_range("2024-01-01", periods=30)}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(
        DataError, match="column 'y' has dates, such as 2024-01-01, which are neither classes nor quantities"
    ):
        read(tmp_path / "t.csv", "y")


def test_a_target_of_few_numbers_with_a_decimal_comma_is_a_quantity_as_with_a_point(tmp_path: Path) -> None:
    for mark in ".,":
        (tmp_path / "t.csv").write_text("x;y\n" + "".join(f"{i % 9};{i % 4},5\n".replace(",", mark) for i in range(40)))
        table = read(tmp_path / "t.csv", "y")
        assert (table.task, table.target.head(2).tolist()) == (Task.REGRESSION, [0.5, 1.5])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("40.4,red,1\n" * 9, "has no column 'y'; it has '40.4', 'red', '1'; are these values? Write a line with names above them"),
        ('"x,y"\n' + '"1,2"\n' * 9, "has no column 'y'; it has 'x,y'; are whole lines in quotes? Take these quotes away"),
        ("x^y\n" + "1^2\n" * 9, "has one name, 'x^y'; is it separated by '^'? Then say --separator '^'"),
        ("a, b\nx,c,y\n" + "1,2,3\n" * 9, "the header has 2 (a value with a comma in it needs quotes; where the names stand in that line, --skip-lines 1"),
        ("x,y\n" + "r,2,3\n" * 9, "(a value with a comma in it needs quotes; if the first column has the names of rows, it needs a name too)"),
    ],
)  # fmt: skip
def test_names_that_are_not_there_are_refused_with_the_way_out(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(DataError) as refused:
        read(tmp_path / "t.csv", "y")
    assert said in str(refused.value)


def test_a_number_as_a_name_is_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("40.4,y\n" + "1,2\n2,3\n" * 9)
    assert read(tmp_path / "t.csv", "y").remarks[0].startswith("read as: a number as the name of a column, '40.4'")


def test_a_header_alone_has_no_rows(refusal: Callable[..., Any]) -> None:
    assert "has no rows" in refusal([HEADER])


def test_a_missing_target_is_named_beside_the_columns_that_are_there(refusal: Callable[..., Any]) -> None:
    words = refusal([HEADER.replace(",target,", ",other,"), *GOOD[1:]])
    assert "has no column 'target'" in words
    assert "'length', 'width'" in words


def test_a_file_without_features_is_refused(refusal: Callable[..., Any]) -> None:
    assert "no feature column" in refusal([",".join(line.split(",")[2:]) for line in GOOD])


@pytest.mark.parametrize(
    ("line", "column", "value"),
    [
        ("tall,0.5,0,short", "length", "'tall'"),
        ("1.0,inf,0,short", "width", "inf"),
        ("-inf,0.5,0,short", "length", "-inf"),
        ("1.0,0.5,,short", "target", "empty"),
        ("1.0,0.5,nan,short", "target", "'nan'"),
        ("1.0,0.5,inf,short", "target", "inf"),
        ("1.0,0.5,-1,short", "target", "-1"),
        ("1.0,0.5,0.5,short", "target", "0.5"),
        ("1.0,0.5,short,short", "target", "'short'"),
        ("1.0,0.5,0,", "target_name", "empty"),
    ],
)
def test_a_value_that_cannot_be_trained_on_is_named_with_line_and_column(
    refusal: Callable[..., Any], line: str, column: str, value: str
) -> None:
    words = refusal(with_line(7, line))
    assert f"line 7, column '{column}' is {value}; expected " in words
    assert "(1 such row)" in words


def test_of_several_bad_values_the_first_is_named_and_all_are_counted(refusal: Callable[..., Any]) -> None:
    bad = "tall,0.5,0,short"
    words = refusal([*GOOD[:3], bad, *GOOD[4:8], bad, *GOOD[9:]])
    assert "line 4, column 'length' is 'tall'" in words
    assert "(2 such rows)" in words


def test_one_class_only_is_refused(refusal: Callable[..., Any]) -> None:
    assert "one class only ('target' is 0)" in refusal([HEADER, *[SHORT] * 10])


def test_a_class_with_a_single_row_is_named(refusal: Callable[..., Any]) -> None:
    assert "a single row of class 1;" in refusal([HEADER, *[SHORT] * 10, LONG])


def test_classes_that_do_not_count_up_from_0_are_listed(refusal: Callable[..., Any]) -> None:
    words = refusal([line.replace(",1,long", ",2,long") for line in GOOD])
    assert "'target' are [0, 2]; expected 0 to 1" in words


def test_too_few_rows_to_hold_one_of_each_class_out_are_counted(refusal: Callable[..., Any]) -> None:
    assert "has 8 rows, too few" in refusal([HEADER, *[SHORT] * 4, *[LONG] * 4])


@pytest.mark.parametrize(
    ("line", "pair"),
    [("9.0,0.5,1,short", "1 is short"), ("1.0,0.5,0,tiny", "0 is tiny")],
    ids=["one name for two numbers", "two names for one number"],
)
def test_numbers_and_names_that_do_not_go_together_are_listed(
    refusal: Callable[..., Any], line: str, pair: str
) -> None:
    words = refusal([*GOOD, line])
    assert "do not go together one to one" in words
    assert "0 is short" in words
    assert pair in words


def test_a_fifth_of_the_iris_rows_is_held_out_each_class_in_its_share() -> None:
    rows = split(flowers(IRIS))
    assert (len(rows.train_features), len(rows.test_features)) == (120, 30)
    assert rows.train_target.value_counts().to_dict() == {0: 40, 1: 40, 2: 40}
    assert rows.test_target.value_counts().to_dict() == {0: 10, 1: 10, 2: 10}


def test_each_row_is_either_fitted_on_or_measured_on() -> None:
    table = flowers(IRIS)
    rows = split(table)
    train, test = set(rows.train_features.index), set(rows.test_features.index)
    assert not train & test
    assert train | test == set(table.features.index)
    assert rows.train_target.index.equals(rows.train_features.index)
    assert rows.test_target.equals(table.target[rows.test_features.index])


def test_the_same_rows_are_held_out_each_time() -> None:
    one, other = split(flowers(IRIS)), split(flowers(IRIS))
    assert one.test_features.equals(other.test_features)
    assert one.train_features.equals(other.train_features)


# --- any table -----------------------------------------------------------------------------------------------------


@pytest.fixture
def people() -> pd.DataFrame:
    """Twenty-four rows with a column of each kind, some values missing."""
    count = 24
    return pd.DataFrame(
        {
            "person_id": range(100, 100 + count),
            "age": [20.0 + i % 7 for i in range(count)],
            "income": [None if i == 3 else 1000.5 + i for i in range(count)],
            "member": [i % 2 == 0 for i in range(count)],
            "maybe": [None if i % 5 == 0 else i % 3 == 0 for i in range(count)],
            "city": [("Bern", "Oslo", None)[i % 3] for i in range(count)],
            "stays": [("yes", "no")[i % 2] for i in range(count)],
        }
    )


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_numbers_booleans_text_and_missing_values_are_told_apart(
    tmp_path: Path, people: pd.DataFrame, ending: str
) -> None:
    path = tmp_path / f"people.{ending}"
    people.to_csv(path, index=False) if ending == "csv" else people.to_parquet(path)
    table = read(path, "stays")
    assert table.columns == [
        Column("age", Kind.NUMBER, False),
        Column("income", Kind.NUMBER, True),
        Column("member", Kind.BOOLEAN, False),
        Column("maybe", Kind.BOOLEAN, True),
        Column("city", Kind.TEXT, True),
    ]
    assert table.task is Task.CLASSIFICATION
    assert table.class_names is None
    assert table.target.to_list()[:3] == ["yes", "no", "yes"]
    assert table.features["city"].isna().sum() == 8


def test_an_id_is_left_out_with_a_remark_unless_it_is_kept(tmp_path: Path, people: pd.DataFrame) -> None:
    path = tmp_path / "people.csv"
    people.to_csv(path, index=False)
    table = read(path, "stays")
    assert "person_id" not in table.features
    assert (
        "column 'person_id' is left out: it numbers the rows (--keep 'person_id' takes it as a feature)"
        in table.remarks
    )
    assert "person_id" in read(path, "stays", keep=("person_id",)).features
    assert "age" not in read(path, "stays", drop=("age",)).features


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["a", "b"] * 15, Task.CLASSIFICATION),
        ([True, False] * 15, Task.CLASSIFICATION),
        ([1, 2, 3] * 10, Task.CLASSIFICATION),
        (list(range(30)), Task.REGRESSION),
        ([0.5, 1.5, 2.5] * 10, Task.REGRESSION),
    ],
)
def test_the_task_is_told_by_the_target(tmp_path: Path, values: list[Any], task: Task) -> None:
    path = tmp_path / "table.csv"
    pd.DataFrame({"x": [i * 1.5 for i in range(30)], "y": values}).to_csv(path, index=False)
    assert read(path, "y").task is task


def test_the_task_can_be_said(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    pd.DataFrame({"x": [i * 1.5 for i in range(30)], "y": [1, 2, 3] * 10}).to_csv(path, index=False)
    assert read(path, "y", Task.REGRESSION).target.dtype == "float64"


BAD = {
    "duplicate column names": (b"a,a,y\n1,2,0\n", "has the column 'a' 2 times"),
    "several names that are there twice": (
        b"a,b,a,b,a,y\n1,2,3,4,5,0\n",
        "has the columns 'a' 3 times, 'b' 2 times; each",
    ),
    "two separators": (b"a;b,c;y\n1;2,3;0\n", "may be separated by ',' or by ';'; say which: --separator ','"),
    "blanks": (b"a  y\n1  0\n2 1\n", "has one name, 'a  y'; is it separated by blanks? Then say --separator blanks"),
    "a title": (b"Sales\n\na;b;y\n1;2;0\n", "has one name in its first line, and 3 fields, separated by ';'"),
    "Cyrillic": (
        "имя,y\nИван,Москва\n".encode("cp1251"),
        "is neither in UTF-8 nor in Windows-1252; it looks like cp1251: --encoding cp1251",
    ),
    "a line of Latin-1 in UTF-8": ("a,y\né,0\n".encode() + "é,1\n".encode("latin-1"), "but for line 3 (byte 0xe9)"),
    "zero bytes": (b"a,y\n1,0\n" + b"2,\0\n", "is no text: it has zero bytes"),
    "labels that differ in case": (b"a,y\n" + b"1,Yes\n2,yes \n3,no\n" * 5, "'Yes' (5 rows), 'yes ' (5 rows)"),
    "as many classes as rows": (
        b"a,y\n" + "".join(f"{i * 1.5},name{i}\n" for i in range(30)).encode(),
        "has 30 classes in 30 rows; is it an id?",
    ),
    "text among numbers": (
        b"a,y\n" + "".join(f"{'oops' if i == 7 else i * 1.5},{i % 2}\n" for i in range(30)).encode(),
        "line 9, column 'a' is 'oops'; expected a finite number",
    ),
    "nothing but an id": (b"id,y\n" + "".join(f"{i},{i % 2}\n" for i in range(30)).encode(), "no feature column"),
    "all that is wrong at once": (
        b"a,b,y\n"
        + "".join(f"{'oops' if i == 7 else i * 1.5},{'' if i == 9 else 'inf'},\n" for i in range(30)).encode(),
        "line 2, column 'y' is empty; expected a class (30 such rows); ",
    ),
    "too many columns": (
        ",".join([*(f"c{i}" for i in range(2_000)), "y"]).encode() + b"\n" + (b"1," * 2_000 + b"1\n") * 3,
        "has 2001 columns; expected at most 2000",
    ),
}


@pytest.mark.parametrize(("content", "said"), BAD.values(), ids=BAD.keys())
def test_a_table_that_would_be_misunderstood_is_refused_in_words(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(DataError) as refused:
        read(path, "y")
    assert said in str(refused.value)


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"\xef\xbb\xbfa,y\n" + b"1.5,0\n2.5,1\n" * 10)
    assert read(path, "y").columns == [Column("a", Kind.NUMBER, False)]


def test_a_column_without_values_is_left_out_and_one_that_never_changes_is_remarked_on(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,none,same,y\n" + "1.5,,7,0\n2.5,,7,1\n" * 10)
    table = read(path, "y")
    assert [column.name for column in table.columns] == ["a", "same"]
    assert table.remarks == ["column 'none' is left out: it has no values", "column 'same' has one value only, 7.0"]


def test_half_a_parquet_file_is_refused(tmp_path: Path, people: pd.DataFrame) -> None:
    people.to_parquet(tmp_path / "whole.parquet")
    content = (tmp_path / "whole.parquet").read_bytes()
    (tmp_path / "half.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"half\.parquet is no whole Parquet file"):
        read(tmp_path / "half.parquet", "stays")


def test_a_file_of_another_kind_is_refused_by_its_ending(tmp_path: Path) -> None:
    (tmp_path / "table.ods").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"ends in \.ods; expected one of \.csv, .*\.xlsx, .*or a folder of Parquet"):
        read(tmp_path / "table.ods", "y")


def test_durations_are_refused_with_the_way_out(tmp_path: Path, people: pd.DataFrame) -> None:
    people.assign(span=pd.Timedelta(hours=7)).to_parquet(tmp_path / "people.parquet")
    with pytest.raises(DataError, match="column 'span' has durations; leave it out"):
        read(tmp_path / "people.parquet", "stays")


def test_a_file_that_memory_has_no_room_for_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,y\n" + "1.5,0\n2.5,1\n" * 1000)
    monkeypatch.setattr(memory, "left", lambda: 10_000)
    with pytest.raises(DataError, match=r"needs about \d+ MB of memory to train on; 0 MB are left \(TRAINER_MEMORY"):
        read(path, "y")


@pytest.mark.parametrize(
    ("limit", "use"),
    [("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")],
)
def test_a_container_s_own_limit_counts_not_the_machine_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, use: str
) -> None:
    (tmp_path / limit).write_text("1000000\n")
    (tmp_path / use).write_text("300000\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 100000\n")
    monkeypatch.setattr(
        memory, "CGROUPS", ((tmp_path / "not there", tmp_path / "nor this"), (tmp_path / limit, tmp_path / use))
    )
    assert memory.left() == 800_000
    (tmp_path / limit).write_text("max\n")
    assert memory.left() > 1_000_000


# --- CSV as it is written ------------------------------------------------------------------------------------------

LEFT = ["left,member,age,visits", *["1,0,42,3", "0,1,37,5"] * 10]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([LEFT[0], *[f"{line}," for line in LEFT[1:]]], "line 2 has 5 fields; the header has 4"),
        ([LEFT[0], f"{LEFT[1]},", *LEFT[2:]], "line 2 has 5 fields; the header has 4 (take away the comma at its end)"),
        ([*LEFT[:6], f"{LEFT[6]},", *LEFT[7:]], "line 7 has 5 fields; the header has 4 (take away the comma at its end)"),
        ([*LEFT, "1,0,42,3,7"], "line 22 has 5 fields; the header has 4 (a value with a comma in it needs quotes)"),
        (["", LEFT[0], "", "", f"{LEFT[1]},,", *LEFT[2:]], "line 5 has 6 fields; the header has 4"),
        ([LEFT[0], '1,0,"4\n2",3', "", f"{LEFT[1]},"], "line 5 has 5 fields; the header has 4"),
        ([LEFT[0].removeprefix("left,"), *LEFT[1:]], "line 2 has 4 fields; the header has 3"),
        ([f"{LEFT[0]},", *[f"{line}," for line in LEFT[1:]], "1,0,42,3,7,"], "line 22 has 6 fields; the header has 5 (a value with a comma in it needs quotes)"),
        (["left;member", *["1,5;2,5"] * 3, "1,5;2,5;"], "line 5 has 3 fields; the header has 2 (take away the semicolon"),
        ([LEFT[0], *[f"{LEFT[1]},"] * 7], "line 2 has 5 fields; the header has 4 (take away the comma at its end); 6 more such lines: 3, 4, 5, 6, …"),
    ],
    ids=[
        "in all rows", "in the first row", "in a later row", "no comma at the end", "after blank lines",
        "after a line break in quotes", "row names", "within a value where all lines end with one", "between semicolons",
        "more than are named",
    ],
)  # fmt: skip
def test_a_row_with_more_fields_than_the_header_is_named_and_shifts_nothing(
    tmp_path: Path, lines: list[str], said: str
) -> None:
    path = tmp_path / "people.csv"
    path.write_text("\n".join([*lines, ""]))
    with pytest.raises(DataError) as refused:
        read(path, "left")
    assert str(refused.value).startswith(f"{path} {said}")


def test_a_row_that_ends_early_lacks_its_last_values(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("\n".join([LEFT[0], "1,0", *LEFT[1:], ""]))
    table = read(path, "left")
    assert table.columns == [
        Column("member", Kind.NUMBER, False), Column("age", Kind.NUMBER, True), Column("visits", Kind.NUMBER, True)
    ]  # fmt: skip
    assert table.target.to_list()[:3] == [1, 1, 0]


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        (["a,note,y", *['1.5,"two\nlines",0', '2.5,"two\nlines",1'] * 15, "oops,one,0"], 62),
        (["a,note,y", "", "   ", *["1.5,x,0", "2.5,z,1"] * 10, "oops,x,0"], 24),
    ],
    ids=["line breaks in quotes", "blank lines"],
)
def test_a_value_at_fault_is_named_by_its_line_as_an_editor_counts_them(
    tmp_path: Path, lines: list[str], line: int
) -> None:
    path = tmp_path / "notes.csv"
    path.write_text("\n".join([*lines, ""]))
    with pytest.raises(DataError) as refused:
        read(path, "y")
    assert f"notes.csv line {line}, column 'a' is 'oops'; expected" in str(refused.value)


def test_a_quote_that_is_not_closed_is_named_by_the_line_of_its_record(tmp_path: Path) -> None:
    path = tmp_path / "quote.csv"
    path.write_text('a,y\n"x\ny",0\n\n"z,1\nw,0\n')
    with pytest.raises(DataError, match=r"quote\.csv line 5 has a quote that is not closed"):
        read(path, "y")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"x" * 200_000 + b"\n1\n", "has a column name of 200000 characters"),
        (b'"a,y\n' + (b"1.5" + b" " * 1000 + b",0\n") * 11_000, "line 1 is no CSV: field larger than field limit"),
    ],
    ids=["a long first line", "a quote that takes in the file"],
)
def test_what_the_csv_module_cannot_read_is_refused_in_words(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(DataError) as refused:
        read(path, "y")
    assert said in str(refused.value)


# --- words such as NA ----------------------------------------------------------------------------------------------


def words_of(tmp_path: Path, text: str, target: str = "y") -> Table:
    path = tmp_path / "words.csv"
    path.write_text(text)
    return read(path, target)


@pytest.mark.parametrize("word", sorted(MISSING_WORDS - {""}))
def test_in_a_text_column_a_word_is_a_word_and_only_an_empty_field_is_missing(tmp_path: Path, word: str) -> None:
    table = words_of(tmp_path, "zone,y\n" + f"{word},a\nEU,b\n,b\n" * 10)
    assert table.columns == [Column("zone", Kind.TEXT, True)]
    assert table.features["zone"].value_counts(dropna=False).to_dict() == {word: 10, "EU": 10, np.nan: 10}
    assert table.remarks == []


def test_two_such_words_are_two_categories(tmp_path: Path) -> None:
    table = words_of(tmp_path, "zone,y\n" + "NA,a\nNone,b\nEU,b\n" * 10)
    assert table.features["zone"].unique().tolist() == ["NA", "None", "EU"]


@pytest.mark.parametrize("classes", [("None", "Insomnia", "Apnea"), ("NA", "EU"), ("None", "NA"), ("nan", "x")])
def test_such_a_word_is_a_class_and_the_name_of_a_class(tmp_path: Path, classes: tuple[Any, ...]) -> None:
    named = "".join(f"{i + 0.5},{i},{name}\n" for i, name in enumerate(classes))
    assert words_of(tmp_path, "a,number,y\n" + named * 10).target.unique().tolist() == list(classes)
    assert words_of(tmp_path, "a,y,y_name\n" + named * 10).class_names == list(classes)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize(("word", "other"), [("NA", "nan"), ("None", "#N/A"), ("null", "n/a")])
def test_among_numbers_such_a_word_is_a_missing_one_which_is_said(
    tmp_path: Path, ending: str, word: str, other: str
) -> None:
    frame = pd.DataFrame({"x": ["1.5", word, "2.5", other, None, "7"] * 10, "y": ["a", "b", "a"] * 20})
    path = tmp_path / f"words.{ending}"
    frame.to_csv(path, index=False) if ending == "csv" else frame.to_parquet(path)
    table = read(path, "y")
    assert table.columns == [Column("x", Kind.NUMBER, True)]
    assert table.features["x"].isna().sum() == 30
    shown = ", ".join(sorted([word, other]))
    assert table.remarks == [f"column 'x' has 30 missing values, some of them written as {shown}"]


def test_among_true_and_false_such_a_word_is_a_missing_one_which_is_said(tmp_path: Path) -> None:
    table = words_of(tmp_path, "x,y\n" + "True,a\nNA,b\nFALSE,b\n,a\n" * 10)
    assert table.columns == [Column("x", Kind.BOOLEAN, True)]
    assert table.features["x"].to_list()[:4] == [True, None, False, None]
    assert table.remarks == ["column 'x' has 20 missing values, some of them written as NA"]


def test_a_column_of_one_such_word_has_no_values(tmp_path: Path) -> None:
    table = words_of(tmp_path, "x,w,y\n" + "1.5,NA,a\n2.5,,b\n" * 10)
    assert table.columns == [Column("x", Kind.NUMBER, False)]
    assert table.remarks[-1] == "column 'w' is left out: it has no values"


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["1", "0", "NA", "NA", "NA"], "'NA'; expected a class, a whole number as in the other rows (30 such rows)"),
        (["1.5", "0.25", "nan", "7.5"], "'nan'; expected a finite number (10 such rows)"),
        (["True", "False", "None"], "'None'; expected true or false as in the other rows (10 such rows)"),
        (["yes", "no", ""], "empty; expected a class (10 such rows)"),
    ],
)
def test_a_target_that_is_missing_is_refused_with_what_stands_there(
    tmp_path: Path, values: list[str], found: str
) -> None:
    with pytest.raises(DataError) as refused:
        words_of(tmp_path, "x,y\n" + "".join(f"{i + 0.5},{value}\n" for i, value in enumerate(values)) * 10)
    assert f"line 4, column 'y' is {found}" in str(refused.value)


@pytest.mark.parametrize("none", ["", "NA"])
@pytest.mark.parametrize("values", [["1", "0"], ["1.5", "0.25"], ["True", "False"]])
def test_rows_without_a_label_are_left_out_where_that_is_asked_for(
    tmp_path: Path, values: list[str], none: str
) -> None:
    path = tmp_path / "some.csv"
    path.write_text("x,y\n" + "".join(f"{i + 0.5},{values[i % 2] if i % 4 else none}\n" for i in range(40)))
    with pytest.raises(DataError, match=r"line 2, .* --skip-unlabelled leaves out the 10 rows without a value in it"):
        read(path, "y")
    table = read(path, "y", form=Form(skip_unlabelled=True))
    assert list(table.features["x"]) == [i + 0.5 for i in range(40) if i % 4]
    assert [str(value) for value in table.target] == [values[i % 2] for i in range(40) if i % 4]
    assert table.remarks[-1] == "10 of 40 rows have no value in 'y' and are left out (--skip-unlabelled)"
    assert len(split(table).test[0]) == 6


def test_a_word_in_a_target_of_words_is_a_class_and_no_missing_label(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    path.write_text("x,y\n" + "".join(f"{i + 0.5},{['yes', 'unknown', ''][i % 3]}\n" for i in range(30)))
    assert set(read(path, "y", form=Form(skip_unlabelled=True)).target) == {"yes", "unknown"}


def test_rows_that_are_left_out_move_no_line_number_and_no_weight(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    lines = [f"{'oops' if i == 9 else i + 0.5},{i},{i % 2 if i % 4 else ''}" for i in range(40)]
    path.write_text("\n".join(["x,w,y", *lines]))
    with pytest.raises(DataError, match="line 11, column 'x' is 'oops'"):
        read(path, "y", form=Form(skip_unlabelled=True, weight="w"))
    path.write_text("\n".join(["x,w,y", *lines]).replace("oops", "9.5"))
    table = read(path, "y", form=Form(skip_unlabelled=True, weight="w"))
    assert list(table.features.index) == [i for i in range(40) if i % 4]  # by which later checks name a row of the file
    assert table.aside.weight is not None
    assert list(table.aside.weight) == [float(i) for i in range(40) if i % 4]


def test_a_file_without_any_label_is_refused_also_where_such_rows_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    path.write_text("x,y\n" + "".join(f"{i + 0.5},\n" for i in range(30)))
    with pytest.raises(DataError, match="no row has a value in column 'y', so --skip-unlabelled leaves nothing"):
        read(path, "y", form=Form(skip_unlabelled=True))


@pytest.mark.parametrize("start", [0, 10_000], ids=["words in the first rows", "words further down"])
def test_what_a_column_is_all_of_its_rows_say_and_not_the_first_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: int
) -> None:
    monkeypatch.setattr(csv_table, "SAMPLE", 1000)
    first = "1.5,1,true,a\nNA,NA,NA,b\n" if start == 0 else "1.5,1,true,a\n2.5,2,false,b\n"
    table = words_of(tmp_path, "n,house,b,y\n" + first * 500 + "NA,12a,NA,b\n2.5,NA,false,a\n" * 2000)
    assert table.columns == [
        Column("n", Kind.NUMBER, True), Column("house", Kind.TEXT, False), Column("b", Kind.BOOLEAN, True)
    ]  # fmt: skip
    assert (table.features["house"] == "NA").sum() == (2500 if start == 0 else 2000)
    assert table.features["n"].notna().sum() == (2500 if start == 0 else 3000)
    assert [text.split("'")[1] for text in table.remarks] == ["n", "b"]


# --- Parquet as it is written --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "kind"),
    [([["x", "z"], ["q"]], "list<"), ([{"a": 1}, {"a": 2}], "struct<"), ([[("k", 1)], [("k", 2)]], "map<")],
)
@pytest.mark.parametrize("name", ["tags", "stays"])
def test_a_column_of_lists_structs_or_maps_is_refused_by_name_and_type(
    tmp_path: Path, people: pd.DataFrame, values: list[Any], kind: str, name: str
) -> None:
    types = {"map<": pa.map_(pa.string(), pa.int64())}
    plain = pa.Table.from_pandas(people.drop(columns=name, errors="ignore"))
    path = tmp_path / "people.parquet"
    parquet.write_table(plain.append_column(name, pa.array(values * 12, types.get(kind))), path)
    with pytest.raises(DataError, match=f"column '{name}' has values of the type {kind}") as refused:
        read(path, "stays")
    assert f"expected numbers, true and false, or text (--drop '{name}' leaves it out)" in str(refused.value)
    if name == "tags":
        assert "tags" not in read(path, "stays", drop=("tags",)).features


def test_periods_are_no_numbers(tmp_path: Path, people: pd.DataFrame) -> None:
    path = tmp_path / "people.parquet"
    people.assign(month=pd.period_range("2026-01", periods=len(people), freq="M")).to_parquet(path)
    with pytest.raises(DataError, match=r"column 'month' has values of the type pandas\.period; expected numbers"):
        read(path, "stays")


def test_the_columns_of_a_parquet_file_are_those_that_are_in_it(tmp_path: Path, people: pd.DataFrame) -> None:
    plain = people[["age", "income", "stays"]]
    plain.set_index("age").to_parquet(tmp_path / "index.parquet")
    assert {column.name for column in read(tmp_path / "index.parquet", "stays").columns} == {"age", "income"}
    plain.set_axis([0, 1, 2], axis=1).to_parquet(tmp_path / "numbers.parquet")
    assert [column.name for column in read(tmp_path / "numbers.parquet", "2").columns] == ["0", "1"]


def test_rows_that_were_filtered_are_counted_as_they_are_in_the_file(tmp_path: Path, people: pd.DataFrame) -> None:
    people[people["age"] > 22].to_parquet(tmp_path / "some.parquet")
    table = read(tmp_path / "some.parquet", "stays")
    assert table.features.index.tolist() == list(range((people["age"] > 22).sum()))
    assert "__index_level_0__" not in table.features


@pytest.mark.parametrize(
    ("above", "skip"),
    [("Sales of May;;;\n", 1), ("Sales of May,,,\n\n", 2), ("Sales,,,\nof May,,,\n", 2)],
    ids=["with another separator", "with the same one and a blank line", "of two lines"],
)
def test_names_below_a_title_are_found_and_an_option_leaves_the_title_out(
    tmp_path: Path, above: str, skip: int
) -> None:
    path = tmp_path / "titled.csv"
    path.write_text(above + "\n".join([*LEFT, ""]))
    with pytest.raises(DataError) as refused:
        read(path, "left")
    assert f"line {skip + 1} has 'left' as a value: are the names there? (--skip-lines {skip} " in str(refused.value)
    assert len(read(path, "left", form=Form(skip_lines=skip)).target) == len(LEFT) - 1


def test_a_value_that_is_taken_for_the_target_is_no_name_further_down(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("size,kind\n" + "1.5,left\n2.5,right\n" * 10)
    with pytest.raises(DataError, match=r"has no column 'left'; it has 'size', 'kind'$"):
        read(path, "left")


@pytest.mark.parametrize("codes", [["01", "02", "10"], [f"{i:03d}" for i in range(40)]], ids=["few", "many"])
def test_classes_that_are_codes_keep_the_zeros_that_they_begin_with(tmp_path: Path, codes: list[str]) -> None:
    path = tmp_path / "codes.csv"
    path.write_text("a,y\n" + "".join(f"{i}.5,{code}\n" for i, code in enumerate(codes * 10)))
    table = read(path, "y")
    assert (table.task, table.target.tolist()) == (Task.CLASSIFICATION, codes * 10)


@pytest.mark.parametrize(
    ("count", "task", "is_said"), [(9, None, True), (3, None, False), (9, Task.CLASSIFICATION, False)]
)
def test_whole_numbers_that_are_taken_for_classes_by_a_guess_are_said(
    tmp_path: Path, count: int, task: Task | None, is_said: bool
) -> None:
    path = tmp_path / "rooms.csv"
    path.write_text("a,y\n" + "".join(f"{i}.5,{i % count}\n" for i in range(90)))
    said = (
        f"the target 'y' has {count} different whole numbers, taken for classes; --task regression predicts a quantity"
    )
    assert (said in read(path, "y", task).remarks) == is_said


def test_a_target_of_numbers_for_people_is_refused_once_for_a_value_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_text("a,y\n" + "".join(f"{i}.5,{i}.25 {'$' if i % 20 == 0 else '€'}\n" for i in range(100)))
    with pytest.raises(DataError) as refused:
        read(path, "y")
    assert str(refused.value) == (
        f"{path} line 2, column 'y' is '0.25 $'; expected a number as in the other rows, such as '1.25 €' (5 such rows)"
    )


@pytest.mark.parametrize(
    ("written", "numbers"),
    [
        (["7 %", "12.5 %", "9 %"], [7, 12.5, 9]), (["$2,000", "$3,000", "$4,500"], [2000, 3000, 4500]), (["5 mg", "10 mg", "20 mg"], [5, 10, 20]),
        (["3 stars", "4 stars", "5 stars"], [3, 4, 5]),
    ],
)  # fmt: skip
def test_a_few_numbers_with_a_unit_are_classes_which_is_said_and_an_option_makes_quantities_of_them(
    tmp_path: Path, written: list[str], numbers: list[float]
) -> None:
    path = tmp_path / "a.csv"
    pd.DataFrame({"size": np.arange(30) * 1.5 % 7, "y": written * 10}).to_csv(path, index=False)
    found = read(path, "y")
    assert found.task is Task.CLASSIFICATION
    assert found.remarks == [
        f"the target 'y' has 3 different numbers such as {written[0]!r}, taken for classes; --task regression predicts a quantity"
    ]
    assert read(path, "y", Task.CLASSIFICATION).remarks == []
    assert read(path, "y", Task.REGRESSION).target.tolist() == numbers * 10


@pytest.mark.parametrize(
    "classes", [["$2,000", "$3,000"], ["18-25", "26-35", "36-45"], ["Class 1", "Class 2", "Class 3"], ["1a", "2b", "3c"], ["01", "02", "03"]]
)  # fmt: skip
def test_of_two_numbers_and_of_other_names_of_classes_nothing_is_said(tmp_path: Path, classes: list[str]) -> None:
    path = tmp_path / "a.csv"
    pd.DataFrame({"size": np.arange(30) * 1.5 % 7, "y": (classes * 30)[:30]}).to_csv(path, index=False)
    assert read(path, "y").remarks == []
