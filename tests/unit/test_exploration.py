"""Phase 1: the report on the iris data, and its pictures."""

import re
from io import StringIO
from pathlib import Path

import matplotlib.image
import pytest
from rich.console import Console
from trainer.errors import DataError
from trainer.exploration import explore

PICTURES = {"distributions.png", "boxplots.png", "pairs.png", "correlations.png"}
FEATURES = ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)")
CLASSES = ("setosa", "versicolor", "virginica")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def report(folder):
    """The report's lines, each a list of its cells."""
    console = Console(width=160, record=True, file=StringIO())
    explore(folder, console)
    return [[cell.strip() for cell in re.split("[│┃]", line)] for line in console.export_text().splitlines()]


def rows_of(report: list[list[str]], name: str) -> list[list[str]]:
    return [cells[2:-1] for cells in report if len(cells) > 2 and cells[1] == name]


def test_the_report_says_how_large_the_table_is(report):
    assert any("Shape (150, 6): 150 rows; 4 features" in cell for cells in report for cell in cells)


def test_no_column_of_the_iris_data_has_a_missing_value(report):
    for name in (*FEATURES, "target", "target_name"):
        kind, missing, distinct = rows_of(report, name)[0]
        assert kind
        assert missing == "0"
        assert int(distinct) >= 3


@pytest.mark.parametrize("name", CLASSES)
def test_each_class_has_a_third_of_the_rows(report, name):
    assert ["50", "33.3%"] in rows_of(report, name)


def test_the_distribution_of_each_feature_is_told_for_each_class(report):
    start = next(i for i, cells in enumerate(report) if "Distribution of each feature in each class" in cells[0])
    rows = [cells[1:-1] for cells in report[start:] if len(cells) == 10 and cells[2] in CLASSES]
    assert [cells[0] for cells in rows[::3]] == list(FEATURES)
    petal_length_of_setosa = rows[6]
    assert petal_length_of_setosa[1:7] == ["setosa", "1.46", "0.17", "1.00", "1.50", "1.90"]
    assert all(set(cells[7]) <= set(" ▁▂▃▄▅▆▇█") and "█" in cells[7] for cells in rows)


def test_the_data_is_written_beside_the_pictures(folder, report):
    assert (folder / "iris_dataset.csv").read_bytes() == (
        Path(__file__).parents[2] / "data" / "iris_dataset.csv"
    ).read_bytes()
    assert {path.name for path in (folder / "exploration").iterdir()} == PICTURES


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_each_picture_shows_something(folder, report, name):
    pixels = matplotlib.image.imread(folder / "exploration" / name)
    height, width = pixels.shape[:2]
    assert min(height, width) > 400
    assert 0.02 < (pixels[..., :3].min(axis=2) < 0.9).mean() < 0.9


def test_a_data_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "exploration").write_text("a file in the place of the folder")
    with pytest.raises(DataError, match="exploration cannot be written: "):
        explore(tmp_path, Console(quiet=True))
