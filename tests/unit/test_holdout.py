"""Rows that belong together stay together, and the newest are measured on."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from trainer.data.files.form import Form
from trainer.data.table import Table, Task, look_at, read, split
from trainer.errors import DataError, SettingsError
from trainer.experiment import Plan
from trainer.fit.cross_validation import folded

DRAWS = np.random.default_rng(2)
ROWS = 200
FRAME = pd.DataFrame(
    {
        "x": DRAWS.normal(size=ROWS),
        "who": DRAWS.integers(0, 40, ROWS),
        "when": pd.date_range("2026-01-01", periods=ROWS, freq="6h").strftime("%Y-%m-%dT%H:%M:%S"),
        "step": np.arange(ROWS) // 4,
        "y": DRAWS.choice(["yes", "no"], ROWS),
    }
).sample(frac=1, random_state=1)


def table(folder: Path, by: Form, frame: pd.DataFrame = FRAME) -> Table:
    frame.to_csv(folder / "rows.csv", index=False)
    return read(folder / "rows.csv", "y", form=by, drop=tuple({"who", "when", "step"} - {by.group, by.time}))


@pytest.mark.parametrize("target", ["y", "x"])
def test_rows_of_a_group_are_never_on_both_sides_of_the_split_or_of_a_fold(tmp_path: Path, target: str) -> None:
    frame = FRAME.assign(y=FRAME[target])
    found = table(tmp_path, Form(group="who"), frame)
    assert "who" not in found.features.columns
    who = frame["who"].reset_index(drop=True)
    rows = split(found)
    assert not set(who[rows.train_features.index]) & set(who[rows.test_features.index])
    assert 0.1 * ROWS < len(rows.test_features) < 0.3 * ROWS
    parts = folded(rows, found.task, 4)
    for fitted, measured in parts.folds:
        groups = who[rows.train_features.index].to_numpy()
        assert not set(groups[fitted]) & set(groups[measured])


@pytest.mark.parametrize("column", ["when", "step"])
def test_the_newest_fifth_is_held_out_and_each_fold_is_later_than_what_is_fitted_on(
    tmp_path: Path, column: str
) -> None:
    found = table(tmp_path, Form(time=column))
    times = FRAME[column].reset_index(drop=True)
    rows = split(found)
    assert times[rows.train_features.index].max() < times[rows.test_features.index].min()
    assert len(rows.test_features) == ROWS // 5
    for fitted, measured in folded(rows, Task.CLASSIFICATION, 3).folds:
        in_order = times[rows.train_features.index].to_numpy()
        assert in_order[fitted].max() <= in_order[measured].min()


def test_rows_of_the_same_time_are_not_divided(tmp_path: Path) -> None:
    found = table(tmp_path, Form(time="step"), FRAME.assign(step=np.arange(ROWS) // 30))
    assert len(split(found).test_features) == 20 + 30  # the last 20 and the 30 that the fifth begins in


def test_how_the_rows_are_divided_is_said(tmp_path: Path) -> None:
    assert "rows with the same 'who' stay together" in table(tmp_path, Form(group="who")).remarks
    assert "the newest fifth by 'when' is held out" in table(tmp_path, Form(time="when")).remarks


@pytest.mark.parametrize(
    ("by", "frame", "said"),
    [
        (
            Form(time="when"),
            FRAME.assign(when="last week"),
            "line 2, column 'when' is 'last week'; expected a time",
        ),
        (Form(group="who"), FRAME.assign(who=None), "column 'who' is empty; expected a group"),
        (Form(group="who"), FRAME.assign(who=1), "column 'who' has 1 groups; a fifth is held out, which takes 5"),
        (Form(group="whose"), FRAME, "has no column 'whose'"),
    ],
)
def test_a_column_that_divides_nothing_is_refused_with_its_place(
    tmp_path: Path, by: Form, frame: pd.DataFrame, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        table(tmp_path, by, frame)


def test_a_class_that_is_only_among_the_newest_rows_cannot_be_learnt(tmp_path: Path) -> None:
    frame = FRAME.assign(y=np.where(FRAME["step"] > 45, "new", FRAME["y"]))
    with pytest.raises(DataError, match="no row of class new is among those to fit on: the newest fifth by 'step'"):
        split(table(tmp_path, Form(time="step"), frame))


def test_rows_are_divided_in_one_way() -> None:
    with pytest.raises(SettingsError, match="--group who and --time when divide the rows in two ways; expected one"):
        Plan(group="who", time="when")


def test_the_newest_fifth_is_told_by_dates_as_people_write_them(tmp_path: Path) -> None:
    when = pd.to_datetime(FRAME["when"])
    frame = FRAME.assign(when=when.dt.strftime("%d/%m/%Y"))
    rows = split(table(tmp_path, Form(time="when"), frame))
    iso = split(table(tmp_path, Form(time="when"), FRAME.assign(when=when.dt.strftime("%Y-%m-%d"))))
    assert set(rows.test_features.index) == set(iso.test_features.index)


def test_times_of_which_day_and_month_cannot_be_told_apart_are_refused_until_somebody_says(tmp_path: Path) -> None:
    frame = FRAME.assign(when=[f"{1 + i % 9:02}/{1 + i % 7:02}/2026" for i in range(ROWS)])
    with pytest.raises(DataError, match="no value tells the day from the month; say which by --date 'when=day-first'"):
        table(tmp_path, Form(time="when"), frame)
    assert table(tmp_path, Form(time="when", date=("when=day-first",)), frame).aside.time is not None


def test_of_a_target_at_fault_the_rows_that_are_left_keep_their_groups(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    FRAME.assign(x=[*FRAME["x"][:-1], 1e39]).to_csv(path, index=False)
    look = look_at(path, "x", drop=("when", "step"), form=Form(group="who"))
    assert look.faults
    assert look.table.aside.group is not None
    assert list(look.table.aside.group.index) == list(look.table.target.index)
