"""Phase 1: the report on a table, and its pictures."""

import json
import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from trainer.console.terminal import Console
from trainer.data import builtin_datasets
from trainer.data.files.form import Form
from trainer.data.table import Table, look_at, read
from trainer.errors import DataError
from trainer.explore.console_report import distribution_grids
from trainer.explore.exploration import explore
from trainer.plots.exploration import exploration_pictures

from tests.unit.tables import customers

pytestmark = pytest.mark.unhurried

DATA = Path(__file__).parents[2] / "data"
PICTURES = {"target.png", "distributions.png", "boxplots.png", "pairs.png", "correlations.png"}
FEATURES = ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)")
CLASSES = ("setosa", "versicolor", "virginica")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def report(folder: Path) -> list[list[str]]:
    """The report's lines, each a list of its cells."""
    console = Console(width=160, record=True, file=StringIO())
    explore(read(DATA / "iris_dataset.csv", "target"), folder / "exploration", console)
    return [[cell.strip() for cell in re.split("[│┃]", line)] for line in console.export_text().splitlines()]


def rows_of(report: list[list[str]], name: str) -> list[list[str]]:
    return [cells[2:-1] for cells in report if len(cells) > 2 and cells[1] == name]


def test_the_report_says_how_large_the_table_is(report: list[list[str]]) -> None:
    assert any("Shape (150, 6): 150 rows; 4 features" in cell for cells in report for cell in cells)


def test_the_first_rows_are_shown_as_they_were_read(report: list[list[str]]) -> None:
    start = next(i for i, cells in enumerate(report) if cells[0].startswith("First rows"))
    assert [cells[1:-1] for cells in report[start + 4 : start + 6]] == [
        ["5.1", "3.5", "1.4", "0.2", "0", "setosa"],
        ["4.9", "3", "1.4", "0.2", "0", "setosa"],
    ]


def test_no_column_of_the_iris_data_has_a_missing_value(report: list[list[str]]) -> None:
    for name in (*FEATURES, "target", "target_name"):
        kind, missing, distinct = next(cells for cells in rows_of(report, name) if len(cells) == 3)
        assert kind
        assert missing == "0"
        assert int(distinct) >= 3


@pytest.mark.parametrize("name", CLASSES)
def test_each_class_has_a_third_of_the_rows(report: list[list[str]], name: str) -> None:
    assert ["50", "33.3%"] in rows_of(report, name)


def test_the_distribution_of_each_feature_is_told_for_each_class(report: list[list[str]]) -> None:
    start = next(i for i, cells in enumerate(report) if "Distribution of each feature in each class" in cells[0])
    rows = [cells[1:-1] for cells in report[start:] if len(cells) == 10 and cells[2] in CLASSES]
    assert [cells[0] for cells in rows[::3]] == list(FEATURES)
    petal_length_of_setosa = rows[6]
    assert petal_length_of_setosa[1:7] == ["setosa", "1.46", "0.17", "1.00", "1.50", "1.90"]
    assert all(set(cells[7]) <= set(" ▁▂▃▄▅▆▇█") and "█" in cells[7] for cells in rows)


def test_the_pictures_are_drawn_and_put_into_one_report(folder: Path, report: list[list[str]]) -> None:
    assert {path.name for path in (folder / "exploration").iterdir()} == PICTURES | {"report.html"}


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_each_picture_shows_something(folder: Path, report: list[list[str]], name: str) -> None:
    pixels = matplotlib.image.imread(folder / "exploration" / name)
    height, width = pixels.shape[:2]
    assert min(height, width) > 400
    assert 0.02 < (pixels[..., :3].min(axis=2) < 0.9).mean() < 0.9


def test_a_data_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "exploration").write_text("a file in the place of the folder")
    with pytest.raises(DataError, match="exploration cannot be written: "):
        explore(read(DATA / "iris_dataset.csv", "target"), tmp_path / "exploration", Console(quiet=True))


def test_a_row_that_is_there_twice_is_named(folder: Path, report: list[list[str]]) -> None:
    text = " ".join(cell for cells in report for cell in cells)
    assert "1 row is there twice (rows 102, 143)" in text


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """A table of text, booleans and numbers with missing values, an HTML tag for a name, and a leak."""
    draws = np.random.default_rng(0)
    count = 80
    classes = draws.choice(["yes", "no"], count)
    frame = pd.DataFrame(
        {
            "<script>alert(1)</script>": draws.normal(size=count),
            "gaps": np.where(draws.random(count) < 0.3, np.nan, draws.normal(size=count)),
            "city": draws.choice(["Bern", "Oslo", "Rome"], count),
            "member": draws.choice([True, False], count),
            "answer_code": np.where(classes == "yes", 7.0, 3.0),
            "y": classes,
        }
    )
    frame["copy"] = frame["gaps"] * 2
    path = tmp_path_factory.mktemp("mixed") / "mixed.csv"
    frame.to_csv(path, index=False)
    return read(path, "y")


@pytest.fixture(scope="module")
def found(mixed: Table, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What was found in it; the report lies beside the pictures."""
    return explore(mixed, tmp_path_factory.mktemp("found"), Console(quiet=True))


def test_any_table_is_explored_with_its_missing_values_and_its_leak(mixed: Table, found: Any) -> None:
    assert {path.name for path in found.files} == PICTURES | {"missing.png", "report.html"}
    assert any("feature 'answer_code' is the target" in hint for hint in found.hints)
    assert any("features 'gaps' and 'copy' say the same" in hint for hint in found.hints)
    assert not any("'city' is the target" in hint for hint in found.hints)
    assert found.summary["columns"]["gaps"]["missing"] == mixed.features["gaps"].isna().sum()
    json.dumps(found.summary, allow_nan=False)


def test_the_report_is_one_file_that_loads_nothing_and_runs_nothing(found: Any) -> None:
    (path,) = [path for path in found.files if path.name == "report.html"]
    page = path.read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'(?:src|href)="([^"]*)', page))
    assert len(re.findall("<img", page)) == 6


def test_each_picture_of_the_report_has_a_sentence_on_what_is_to_be_seen(found: Any) -> None:
    (path,) = [path for path in found.files if path.name == "report.html"]
    assert len(re.findall(r"<h2>[^<]+</h2>\s*<p>[^<]{40,}\.</p>\s*<img", path.read_text())) == 6


def test_a_class_has_one_colour_and_one_place_in_all_pictures(mixed: Table) -> None:
    pictures = dict(exploration_pictures(mixed))
    (bars,), (legend,) = pictures["target.png"].axes, pictures["pairs.png"].legends
    named = [label.get_text() for label in bars.get_yticklabels()]
    assert named == ["no", "yes"]
    assert [text.get_text() for text in legend.get_texts()] == named
    marks = [to_hex(mark.get_color()) for mark in legend.legend_handles if isinstance(mark, Line2D)]
    assert marks == [to_hex(bar.get_facecolor()) for bar in bars.patches if isinstance(bar, Rectangle)]
    assert [label.get_text() for label in pictures["boxplots.png"].axes[0].get_xticklabels()] == named


def test_at_80_columns_names_and_distributions_are_shown_whole(mixed: Table, tmp_path: Path) -> None:
    console = Console(width=80, record=True, file=StringIO())
    console.print(*distribution_grids(mixed))
    text = console.export_text()
    assert "…" not in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_quantities_are_explored_too(tmp_path: Path) -> None:
    builtin_datasets.write(tmp_path, "diabetes")
    path = builtin_datasets.path_of(tmp_path, "diabetes")
    found = explore(read(path, "target"), tmp_path / "out", Console(quiet=True))
    assert {"target.png", "distributions.png", "correlations.png"} <= {path.name for path in found.files}


def test_days_without_an_end_and_numbers_that_hardly_differ_are_explored(tmp_path: Path) -> None:
    numbers = 1e17 + np.array([0.0, 16.0] * 20)
    days = ["9999-12-31", "2024-01-31", "2024-02-01", "2024-03-05"] * 10
    pd.DataFrame({"n": numbers, "one": 1e17, "ended": days, "y": ["a", "b", "b", "a"] * 10}).to_csv(
        tmp_path / "ends.csv", index=False
    )
    found = explore(read(tmp_path / "ends.csv", "y"), tmp_path / "out", Console(quiet=True))
    assert "distributions.png" in {path.name for path in found.files}


def test_a_table_without_numbers_is_explored(tmp_path: Path) -> None:
    rows = {"city": ["Bern", "Oslo"] * 20, "sky": ["blue", "grey", "blue", "blue"] * 10, "y": ["a", "b", "b", "a"] * 10}
    pd.DataFrame(rows).to_csv(tmp_path / "words.csv", index=False)
    found = explore(read(tmp_path / "words.csv", "y"), tmp_path / "out", Console(quiet=True))
    assert {path.name for path in found.files} == {"target.png", "distributions.png", "report.html"}


def test_each_category_says_how_many_of_its_rows_are_of_the_positive_class_or_the_mean_of_a_quantity(
    tmp_path: Path,
) -> None:
    plans = ["Basic"] * 40 + ["Plus"] * 40
    rows = {
        "plan": plans,
        "left": (["yes"] * 3 + ["no"]) * 10 + (["yes"] + ["no"] * 3) * 10,
        "spent": [2.5, 7.5] * 20 + [20.0] * 40,
        "end": ["gone", "stays"] * 20 + ["stays"] * 40,
    }
    pd.DataFrame(rows).to_csv(tmp_path / "shop.csv", index=False)
    for target, drop, told in (
        ("end", ("left", "spent"), "how many of them are gone.*Basic 50.0% \\(50%\\), Plus 50.0% \\(0%\\)"),
        ("left", ("end", "spent"), "how many of them are yes.*Basic 50.0% \\(75%\\), Plus 50.0% \\(25%\\)"),
        ("spent", ("end", "left"), "the mean of spent.*Basic 50.0% \\(5.00\\), Plus 50.0% \\(20.00\\)"),
    ):
        console = Console(width=160, record=True, file=StringIO())
        console.print(*distribution_grids(read(tmp_path / "shop.csv", target, drop=drop)))
        assert re.search(told, console.export_text(), re.S)


def test_dates_and_free_text_are_explored_and_shown_for_what_they_are_taken_for(tmp_path: Path) -> None:
    customers().to_csv(tmp_path / "customers.csv", index=False)
    look = look_at(tmp_path / "customers.csv", "Churn")
    console = Console(width=160, record=True, file=StringIO())
    found = explore(look.table, tmp_path / "out", console, look)
    text = console.export_text()
    for name, taken in (
        ("SignupDate", "dates"),
        ("Note", "free text"),
        ("Plan", "categories"),
        ("CustomerId", "left out"),
    ):
        assert re.search(rf"{name} .*{taken}", text)
    assert re.search(r"Note .*free text of \d+ words on average", text)
    (page,) = [path.read_text() for path in found.files if path.suffix == ".html"]
    assert re.search("CustomerId</td><td>left out", page)
    assert re.search(r"SignupDate .*from 20\d\d-\d\d-\d\d to 20\d\d-\d\d-\d\d", text)
    assert not any("refuses" in hint for hint in found.hints)
    json.dumps(found.summary, allow_nan=False)


UNUSABLE = {
    "a target with gaps": lambda frame: frame.assign(y=frame["y"].where(frame.index % 7 > 0)),
    "a target of words among numbers": lambda frame: frame.assign(
        y=["many" if i == 3 else str(i * 1.5) for i in frame.index]
    ),
    "a target of one class": lambda frame: frame.assign(y="yes"),
    "a column of a type that nobody learns from": lambda frame: frame.assign(tags=[["a", "b"]] * len(frame)),
    "nothing but what is left out": lambda frame: frame[["CustomerId", "span", "y"]],
}


@pytest.mark.parametrize("change", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_no_column_keeps_a_table_from_being_explored(
    tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    count = 60
    frame = pd.DataFrame(
        {
            "size": np.random.default_rng(0).normal(size=count),
            "CustomerId": [10_000 + 7 * i for i in range(count)],
            "span": pd.to_timedelta(range(count), "s"),
            "y": ["yes" if i % 3 else "no" for i in range(count)],
        }
    )
    change(frame).to_parquet(tmp_path / "odd.parquet")
    look = look_at(tmp_path / "odd.parquet", "y", drop=("tags",) if "tags" in change(frame) else ())
    console = Console(width=160, record=True, file=StringIO())
    found = explore(look.table, tmp_path / "out", console, look)
    text = console.export_text()
    for name in ("CustomerId", "span"):
        assert re.search(rf"{name} .*left out", text)
    assert "`train` refuses this: " in text
    assert any("column 'span' has durations" in hint for hint in found.hints)


@pytest.fixture
def hostile(tmp_path: Path) -> Table:
    """Names and values that a terminal, a formula, a page or a picture could take for more than text."""
    draws = np.random.default_rng(0)
    count = 60
    classes = draws.choice(["$\\frac{$", "\x1b[2J[/red]", "a class " * 500 + "1", "a class " * 500 + "2"], count)
    frame = pd.DataFrame(
        {
            "$\\frac{$": draws.normal(size=count),
            "\x1b[2J[/red]": np.where(draws.random(count) < 0.3, np.nan, draws.normal(size=count)),
            "x" * 900: draws.choice(["$a$ $", "\u202eb", "c" * 3000 + "1", "c" * 3000 + "2"], count),
            "$y$": classes,
        }
    )
    frame.to_csv(tmp_path / "hostile.csv", index=False)
    return read(tmp_path / "hostile.csv", "$y$", keep=("x" * 900,))


def test_names_and_values_of_any_kind_are_shown_and_neither_obeyed_nor_fatal(hostile: Table, tmp_path: Path) -> None:
    console = Console(width=160, file=StringIO())
    found = explore(hostile, tmp_path / "out", console)
    assert {path.name for path in found.files} == PICTURES | {"missing.png", "report.html"}
    page = (tmp_path / "out" / "report.html").read_text()
    for shown in (console.file.getvalue(), page):  # type: ignore[attr-defined]
        assert shown.replace("\n", "").isprintable()
        assert r"\x1b[2J[/red]" in shown
    assert max(map(len, re.sub(r'src="[^"]*"', "", page).splitlines())) < 5000


def test_numbers_of_which_none_is_one_are_drawn_as_none(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("n,c,y\n" + "".join(f"{n},word {n},{n * 2.5}\n" for n in range(40)))
    table = read(tmp_path / "t.csv", "y", form=Form(number=("c",)))
    for grid in distribution_grids(table):
        Console(file=StringIO()).print(grid)
