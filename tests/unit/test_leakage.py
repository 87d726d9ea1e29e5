"""What makes a score worthless, found in the rows that are fitted on and held out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from trainer.data import builtin_datasets, leakage
from trainer.data.table import read, split

ROWS = 200
DRAWS = np.random.default_rng(0)
NOISE = pd.DataFrame({"a": DRAWS.normal(size=ROWS), "b": DRAWS.normal(size=ROWS)})
CLASSES = pd.Series(DRAWS.choice(["yes", "no"], ROWS))
QUANTITY = pd.Series(DRAWS.normal(size=ROWS))


def leaks_of(tmp_path: Path, frame: pd.DataFrame) -> list[str]:
    frame.to_csv(tmp_path / "table.csv", index=False)
    table = read(tmp_path / "table.csv", "y")
    return leakage.leaks(table, split(table))


@pytest.mark.parametrize("name", builtin_datasets.NAMES)
def test_the_data_sets_that_come_with_scikit_learn_have_no_leak(tmp_path: Path, name: str) -> None:
    builtin_datasets.write(tmp_path, name)
    table = read(builtin_datasets.path_of(tmp_path, name), "target")
    assert leakage.leaks(table, split(table)) == []


@pytest.mark.parametrize(
    ("leak", "target"),
    [
        (CLASSES.map({"yes": "Y", "no": "N"}), CLASSES),
        (CLASSES.map({"yes": 7.0, "no": 3.0}), CLASSES),
        (CLASSES == "yes", CLASSES),
        (CLASSES.map({"yes": "b", "no": "c"}).where(DRAWS.random(ROWS) < 0.5, CLASSES), CLASSES),
        (QUANTITY * 3 + 5, QUANTITY),
        (np.exp(2 * QUANTITY), QUANTITY),
    ],
    ids=[
        "text",
        "numbers",
        "booleans",
        "several values for a class",
        "a quantity in another unit",
        "one of which it is the logarithm",
    ],
)
def test_a_feature_that_tells_the_target_is_a_leak_that_explore_names_in_the_same_words(
    tmp_path: Path, leak: pd.Series, target: pd.Series
) -> None:
    frame = NOISE.assign(code=leak, y=target)
    (found,) = leaks_of(tmp_path, frame)
    assert found.startswith("feature 'code' is the target, or tells it for all rows; ")
    assert found in leakage.hints(read(tmp_path / "table.csv", "y"))


IS_YES = CLASSES == "yes"
FEES = pd.Series(DRAWS.normal(50, 8, ROWS).round(2))
DAYS = pd.Series(pd.date_range("2024-01-01", periods=ROWS).strftime("%Y-%m-%d"))


@pytest.mark.parametrize(
    "leak",
    [
        FEES.where(IS_YES, 0),
        FEES.where(IS_YES),
        FEES.where(IS_YES, -FEES),
        FEES.where(IS_YES, FEES + 100),
        DAYS.where(IS_YES),
        ("they said that price number " + FEES.astype(str) + " is too high").where(IS_YES),
    ],
    ids=["0 or a fee", "a fee or none", "by its sign", "by a limit", "a date or none", "a reason or none"],
)
def test_what_tells_the_target_by_where_it_lies_or_that_it_is_there_is_a_leak(tmp_path: Path, leak: pd.Series) -> None:
    (found,) = leaks_of(tmp_path, NOISE.assign(code=leak, y=CLASSES))
    assert found.startswith("feature 'code' is the target, or tells it for all rows; ")


def test_the_first_rows_of_a_file_that_is_sorted_by_its_classes_tell_of_no_leak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = NOISE.assign(kind=DRAWS.integers(0, 3, ROWS), y=CLASSES.sort_values().to_numpy())
    frame.to_csv(tmp_path / "table.csv", index=False)
    monkeypatch.setattr(leakage, "MOST_ROWS", 50)
    assert leakage.hints(read(tmp_path / "table.csv", "y")) == []


def test_a_number_that_mostly_tells_the_target_is_no_leak(tmp_path: Path) -> None:
    assert leaks_of(tmp_path, NOISE.assign(code=FEES + 20 * IS_YES, y=CLASSES)) == []


def test_where_one_class_is_rare_a_feature_that_says_nothing_of_it_is_no_leak(tmp_path: Path) -> None:
    rows = 40_000
    fraud = np.where(np.arange(rows) % 1600 == 0, "fraud", "none")
    frame = pd.DataFrame({"kind": DRAWS.integers(0, 5, rows), "amount": DRAWS.normal(size=rows), "y": fraud})
    assert leaks_of(tmp_path, frame) == []


@pytest.mark.fuzz
@pytest.mark.parametrize(("rare", "rows"), [(2, 60), (2, 100), (3, 60), (5, 10), (8, 16)])
def test_numbers_that_say_nothing_are_no_leak_of_a_class_with_few_rows_which_some_of_them_tell_by_chance(
    tmp_path: Path, rare: int, rows: int
) -> None:
    columns = {f"n{i}": DRAWS.normal(size=rows) for i in range(60)}
    target = np.where(np.arange(rows) < rare, "yes", "no")
    assert leaks_of(tmp_path, pd.DataFrame({**columns, "y": target})) == []
    assert leakage.hints(read(tmp_path / "table.csv", "y")) == []


def test_a_fee_that_eight_of_a_hundred_pay_is_a_leak_among_columns_that_say_nothing(tmp_path: Path) -> None:
    leaves = pd.Series(np.arange(100) % 12 == 5)
    noise = {f"n{i}": DRAWS.normal(size=100) for i in range(10)}
    fee = FEES.head(100)
    columns = {"fee": fee.where(leaves, 0), "refund": fee.where(leaves, -fee), "left on": DAYS.head(100).where(leaves)}
    pd.DataFrame({**noise, **columns, "y": leaves}).to_csv(tmp_path / "table.csv", index=False)
    found = leakage.hints(read(tmp_path / "table.csv", "y"))
    assert [said.split("'")[1] for said in found] == list(columns)


@pytest.mark.parametrize(("there", "is_leak"), [(3, False), (20, True)])
def test_a_quantity_is_told_by_no_few_values(tmp_path: Path, there: int, is_leak: bool) -> None:
    code = (QUANTITY * 3).where(np.arange(ROWS) < there)
    NOISE.assign(code=code, y=QUANTITY).to_csv(tmp_path / "table.csv", index=False)
    assert bool(leakage.hints(read(tmp_path / "table.csv", "y"))) == is_leak


def test_a_feature_that_tells_the_target_of_most_rows_is_none(tmp_path: Path) -> None:
    wrong = CLASSES.where(DRAWS.random(ROWS) > 0.05, "no")
    assert leaks_of(tmp_path, NOISE.assign(code=wrong, y=CLASSES)) == []


def test_rows_that_are_there_several_times_are_a_leak_where_they_are_held_out_and_fitted_on(tmp_path: Path) -> None:
    (found,) = leaks_of(tmp_path, pd.concat([NOISE.assign(y=CLASSES)] * 5))
    assert found.startswith("200 of 200 held-out rows are copies of rows that are fitted on")


def test_a_few_rows_that_are_there_twice_are_none(tmp_path: Path) -> None:
    frame = NOISE.assign(y=CLASSES)
    assert leaks_of(tmp_path, pd.concat([frame, frame.head(4)])) == []


def test_equal_rows_of_a_table_of_few_categories_are_no_copies(tmp_path: Path) -> None:
    frame = pd.DataFrame({name: DRAWS.integers(0, 3, 1000) for name in "abc"})
    assert leaks_of(tmp_path, frame.assign(y=np.where(frame["a"] + frame["b"] > 2, "p", "q"))) == []


def test_rows_there_twice_are_named_by_where_they_stand_in_a_file_that_was_filtered(tmp_path: Path) -> None:
    frame = pd.concat([NOISE.assign(y=CLASSES), NOISE.assign(y=CLASSES).iloc[[6]]])
    frame.iloc[3:].to_parquet(tmp_path / "table.parquet")
    assert "1 row is there twice (rows 4, 198)" in leakage.hints(read(tmp_path / "table.parquet", "y"))[0]


def notes_of(folder: Path, frame: pd.DataFrame) -> list[str]:
    frame.to_csv(folder / "table.csv", index=False)
    table = read(folder / "table.csv", "y")
    return leakage.notes(table, leakage.copies(split(table)))


def test_a_few_copies_across_the_split_are_said_where_they_are_too_few_to_be_a_leak(tmp_path: Path) -> None:
    frame = NOISE.assign(y=CLASSES)
    (found,) = notes_of(tmp_path, pd.concat([frame, frame.head(6)]))
    count, _, rest = found.partition(" of ")
    assert 0 < int(count) < 0.1 * len(frame)
    assert rest.endswith("fitted on; have each row in the file once")
    assert notes_of(tmp_path, frame) == []
    assert notes_of(tmp_path, pd.concat([frame] * 5)) == []  # that is a leak, and said as one


def test_a_column_that_has_one_value_in_nearly_all_rows_is_named(tmp_path: Path) -> None:
    flag = np.zeros(len(NOISE))
    flag[0] = 1.0
    frame = NOISE.assign(flag=flag, y=CLASSES)
    said = f"feature 'flag' is 0 in all but 1 of {len(NOISE)} rows"
    assert notes_of(tmp_path, frame) == [said]
    assert said in leakage.hints(read(tmp_path / "table.csv", "y"))


def test_columns_that_say_the_same_are_named_by_a_training_too(tmp_path: Path) -> None:
    (found,) = notes_of(tmp_path, NOISE.assign(twice=NOISE["a"] * 2, y=CLASSES))
    assert found == "features 'a' and 'twice' say the same: one of them is enough"


@pytest.mark.parametrize("filler", [-999, 9999, -99])
def test_a_number_of_nines_far_from_all_others_is_said_to_be_a_missing_value_perhaps(
    tmp_path: Path, filler: int
) -> None:
    ages = pd.Series(DRAWS.integers(18, 80, ROWS)).where(np.arange(ROWS) % 20 > 0, filler)
    frame = NOISE.assign(age=ages, y=CLASSES)
    (found,) = notes_of(tmp_path, frame)
    assert found.startswith(f"feature 'age' is {filler} in ")
    assert found.endswith("in all others; if that stands for a missing value, leave those fields empty")
    assert found.partition(" rows")[0] in " ".join(leakage.hints(read(tmp_path / "table.csv", "y")))


@pytest.mark.parametrize("filler", ["9999-12-31", "1900-01-01"])
def test_a_day_that_programs_write_for_none_is_said_to_be_a_missing_date_perhaps(tmp_path: Path, filler: str) -> None:
    days = pd.date_range("2024-01-01", periods=ROWS).strftime("%Y-%m-%d")
    ended = np.where(np.arange(ROWS) % 20 > 0, days, filler)
    (found,) = notes_of(tmp_path, NOISE.assign(ended=ended, y=CLASSES))
    assert found.startswith(f"feature 'ended' is {filler} in ")
    assert found.endswith("in all others; if that stands for a missing date, leave those fields empty")
    assert notes_of(tmp_path, NOISE.assign(ended=days, y=CLASSES)) == []


@pytest.mark.parametrize("values", [range(ROWS), [99] * 5 + [90] * 95 + [60] * 100, [9999] + [1, 2] * 99 + [3]])
def test_nines_among_others_like_them_or_but_once_are_numbers(tmp_path: Path, values: list[int]) -> None:
    frame = NOISE.assign(n=DRAWS.permutation(np.array(values)), y=CLASSES)
    assert notes_of(tmp_path, frame) == []
