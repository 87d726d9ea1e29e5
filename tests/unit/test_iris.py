"""The iris data set as the trainer writes it."""

import hashlib
import re
from pathlib import Path

import pytest
from trainer import iris
from trainer.errors import DataError

DATA = Path(__file__).parents[2] / "data"


def test_the_written_file_is_the_committed_one_byte_for_byte(tmp_path):
    iris.write(tmp_path)
    assert (tmp_path / "iris_dataset.csv").read_bytes() == (DATA / "iris_dataset.csv").read_bytes()


def test_the_committed_file_has_the_digest_that_its_readme_names():
    digest = hashlib.sha256((DATA / "iris_dataset.csv").read_bytes()).hexdigest()
    assert set(re.findall(r"\b[0-9a-f]{64}\b", (DATA / "README.md").read_text())) == {digest}


def test_what_was_done_is_said(tmp_path):
    folder = tmp_path / "new" / "data"
    assert iris.write(folder) == f"{folder / 'iris_dataset.csv'} written"
    assert iris.write(folder) == f"{folder / 'iris_dataset.csv'} is there already, byte for byte"


def test_nothing_but_the_file_is_left_in_the_folder(tmp_path):
    iris.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["iris_dataset.csv"]


def test_other_data_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "iris_dataset.csv"
    path.write_text("my own data\n")
    with pytest.raises(DataError, match=r"iris_dataset\.csv is not the iris data set as published; move it away"):
        iris.write(tmp_path)
    assert path.read_text() == "my own data\n"


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "data").write_text("a file in the place of the folder")
    with pytest.raises(DataError, match=r"data/iris_dataset\.csv cannot be written: "):
        iris.write(tmp_path / "data")
