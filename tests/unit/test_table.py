"""What the trainer takes as a table, and what it says of one that it cannot train on."""

from pathlib import Path

import pytest
from trainer.errors import DataError
from trainer.table import Table, read, split

IRIS = Path(__file__).parents[2] / "data" / "iris_dataset.csv"
HEADER = "length,width,target,target_name"
SHORT, LONG = "1.0,0.5,0,short", "9.0,0.5,1,long"
GOOD = [HEADER, *[SHORT] * 10, *[LONG] * 10]


def flowers(path: Path) -> Table:
    return read(path, "target", "target_name")


@pytest.fixture
def refusal(tmp_path):
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


def test_a_good_file_becomes_features_class_numbers_and_class_names(tmp_path):
    path = tmp_path / "flowers.csv"
    path.write_text("\n".join(GOOD))
    table = flowers(path)
    assert table.features.columns.to_list() == ["length", "width"]
    assert table.features.shape == (20, 2)
    assert {str(kind) for kind in table.features.dtypes} == {"float64"}
    assert table.target.to_list() == [0] * 10 + [1] * 10
    assert table.class_names == ["short", "long"]


def test_whole_numbers_are_features_like_any_other(tmp_path):
    path = tmp_path / "flowers.csv"
    path.write_text("\n".join(line.replace(".0", "") for line in GOOD))
    assert {str(kind) for kind in flowers(path).features.dtypes} == {"float64"}


def test_one_changed_byte_is_other_data(tmp_path):
    one, other = tmp_path / "one.csv", tmp_path / "other.csv"
    one.write_text("\n".join(GOOD))
    other.write_text("\n".join(with_line(5, SHORT.replace("1.0", "1.1"))))
    assert flowers(one).sha256 != flowers(other).sha256


def test_a_missing_file_is_named_with_the_command_that_writes_it(tmp_path):
    with pytest.raises(DataError, match=r"flowers\.csv does not exist; `explore` writes it"):
        flowers(tmp_path / "flowers.csv")


def test_a_folder_in_the_place_of_the_file_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=f"{tmp_path} cannot be read"):
        flowers(tmp_path)


def test_an_empty_file_is_no_table(refusal):
    assert "is no CSV table" in refusal([])


def test_a_file_that_is_no_text_is_no_table(tmp_path):
    path = tmp_path / "flowers.csv"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DataError, match=r"flowers\.csv is no CSV table"):
        flowers(path)


def test_a_line_with_a_value_too_many_is_named(refusal):
    assert "line 7" in refusal(with_line(7, f"{SHORT},1,2"))


def test_a_header_alone_has_no_rows(refusal):
    assert "has no rows" in refusal([HEADER])


@pytest.mark.parametrize("missing", ["target", "target_name"])
def test_a_missing_column_is_named_beside_those_that_are_there(refusal, missing):
    header = ",".join("other" if name == missing else name for name in HEADER.split(","))
    words = refusal([header, *GOOD[1:]])
    assert f"has no column '{missing}'" in words
    assert "'length', 'width'" in words


def test_a_file_without_features_is_refused(refusal):
    assert "no feature column" in refusal([",".join(line.split(",")[2:]) for line in GOOD])


@pytest.mark.parametrize(
    ("line", "column", "value"),
    [
        ("tall,0.5,0,short", "length", "'tall'"),
        ("1.0,,0,short", "width", "empty"),
        ("1.0,nan,0,short", "width", "empty"),
        ("1.0,inf,0,short", "width", "inf"),
        ("-inf,0.5,0,short", "length", "-inf"),
        ("1.0,0.5,,short", "target", "empty"),
        ("1.0,0.5,nan,short", "target", "empty"),
        ("1.0,0.5,inf,short", "target", "inf"),
        ("1.0,0.5,-1,short", "target", "-1"),
        ("1.0,0.5,0.5,short", "target", "0.5"),
        ("1.0,0.5,short,short", "target", "'short'"),
        ("1.0,0.5,0,", "target_name", "empty"),
    ],
)
def test_a_value_that_cannot_be_trained_on_is_named_with_line_and_column(refusal, line, column, value):
    words = refusal(with_line(7, line))
    assert f"line 7, column '{column}' is {value}; expected " in words
    assert "(1 such row)" in words


def test_of_several_bad_values_the_first_is_named_and_all_are_counted(refusal):
    bad = "tall,0.5,0,short"
    words = refusal([*GOOD[:3], bad, *GOOD[4:8], bad, *GOOD[9:]])
    assert "line 4, column 'length' is 'tall'" in words
    assert "(2 such rows)" in words


def test_one_class_only_is_refused(refusal):
    assert "one class only ('target' is 0)" in refusal([HEADER, *[SHORT] * 10])


def test_a_class_with_a_single_row_is_named(refusal):
    assert "a single row of class 1;" in refusal([HEADER, *[SHORT] * 10, LONG])


def test_classes_that_do_not_count_up_from_0_are_listed(refusal):
    words = refusal([line.replace(",1,long", ",2,long") for line in GOOD])
    assert "'target' are [0, 2]; expected 0 to 1" in words


def test_too_few_rows_to_hold_one_of_each_class_out_are_counted(refusal):
    assert "has 8 rows, too few" in refusal([HEADER, *[SHORT] * 4, *[LONG] * 4])


@pytest.mark.parametrize(
    ("line", "pair"),
    [("9.0,0.5,1,short", "1 is short"), ("1.0,0.5,0,tiny", "0 is tiny")],
    ids=["one name for two numbers", "two names for one number"],
)
def test_numbers_and_names_that_do_not_go_together_are_listed(refusal, line, pair):
    words = refusal([*GOOD, line])
    assert "do not go together one to one" in words
    assert "0 is short" in words
    assert pair in words


def test_a_fifth_of_the_iris_rows_is_held_out_each_class_in_its_share():
    rows = split(flowers(IRIS))
    assert (len(rows.train_features), len(rows.test_features)) == (120, 30)
    assert rows.train_target.value_counts().to_dict() == {0: 40, 1: 40, 2: 40}
    assert rows.test_target.value_counts().to_dict() == {0: 10, 1: 10, 2: 10}


def test_each_row_is_either_fitted_on_or_measured_on():
    table = flowers(IRIS)
    rows = split(table)
    train, test = set(rows.train_features.index), set(rows.test_features.index)
    assert not train & test
    assert train | test == set(table.features.index)
    assert rows.train_target.index.equals(rows.train_features.index)
    assert rows.test_target.equals(table.target[rows.test_features.index])


def test_the_same_rows_are_held_out_each_time():
    one, other = split(flowers(IRIS)), split(flowers(IRIS))
    assert one.test_features.equals(other.test_features)
    assert one.train_features.equals(other.train_features)
