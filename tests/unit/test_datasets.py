"""The data sets that come with scikit-learn, as the trainer writes them."""

import hashlib
import re
from pathlib import Path

import pytest
from trainer.data import builtin_datasets
from trainer.data.table import Task, read
from trainer.errors import DataError

DATA = Path(__file__).parents[2] / "data"


def test_the_written_file_is_the_committed_one_byte_for_byte(tmp_path: Path) -> None:
    builtin_datasets.write(tmp_path, "iris")
    assert (tmp_path / "iris_dataset.csv").read_bytes() == (DATA / "iris_dataset.csv").read_bytes()


def test_the_committed_file_has_the_digest_that_its_readme_names() -> None:
    digest = hashlib.sha256((DATA / "iris_dataset.csv").read_bytes()).hexdigest()
    assert set(re.findall(r"\b[0-9a-f]{64}\b", (DATA / "README.md").read_text())) == {digest}


def test_what_was_done_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    assert builtin_datasets.write(folder, "iris") == f"{folder / 'iris_dataset.csv'} written"
    assert builtin_datasets.write(folder, "iris") == f"{folder / 'iris_dataset.csv'} is there already, byte for byte"


def test_what_the_container_calls_data_is_named_as_people_find_it() -> None:
    assert str(builtin_datasets.as_on_host(Path("/data/exploration/report.html"))) == "data/exploration/report.html"
    assert str(builtin_datasets.as_on_host(Path("/home/data/report.html"))) == "/home/data/report.html"


def test_nothing_but_the_file_is_left_in_the_folder(tmp_path: Path) -> None:
    builtin_datasets.write(tmp_path, "iris")
    assert [path.name for path in tmp_path.iterdir()] == ["iris_dataset.csv"]


def test_other_data_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "iris_dataset.csv"
    path.write_text("my own data\n")
    with pytest.raises(DataError, match=r"iris_dataset\.csv is not the iris data set as published; move it away"):
        builtin_datasets.write(tmp_path, "iris")
    assert path.read_text() == "my own data\n"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file in the place of the folder")
    with pytest.raises(DataError, match=r"data/iris_dataset\.csv cannot be written: "):
        builtin_datasets.write(tmp_path / "data", "iris")


@pytest.mark.parametrize(
    ("name", "shape", "task", "classes"),
    [
        ("iris", (150, 4), Task.CLASSIFICATION, ["setosa", "versicolor", "virginica"]),
        ("wine", (178, 13), Task.CLASSIFICATION, ["class_0", "class_1", "class_2"]),
        ("breast_cancer", (569, 30), Task.CLASSIFICATION, ["malignant", "benign"]),
        ("digits", (1797, 64), Task.CLASSIFICATION, [str(digit) for digit in range(10)]),
        ("diabetes", (442, 10), Task.REGRESSION, None),
    ],
)
def test_each_data_set_is_read_back_whole(
    tmp_path: Path, name: str, shape: tuple[int, int], task: Task, classes: list[str] | None
) -> None:
    builtin_datasets.write(tmp_path, name)
    table = read(builtin_datasets.path_of(tmp_path, name), "target")
    assert (table.features.shape, table.task, table.class_names, table.name) == (shape, task, classes, name)
