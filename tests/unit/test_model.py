"""Loading a version's files: what is served, and why the rest is refused."""

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
import yaml
from inference import model
from inference.errors import InvalidInput, ModelRefused
from inference.registry import ModelVersion
from inference.trust import Trust
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

ROWS = np.array([[1.0, 2.0], [1.5, 2.5], [8.0, 1.0], [9.0, 2.0]])
COLUMNS = ["length", "width"]
LABELS = np.array([0, 0, 1, 1])


VERSION = ModelVersion("flowers", "1", "run", 1, "m-1", "")


def load(folder: Path, trust: Trust = Trust.SKOPS) -> model.Model:
    """Load without asking for a signature: what a signature changes is in test_trust.py."""
    return model.load(folder, VERSION, trust, folder / "no-key")


def unheard_of(values: np.ndarray) -> np.ndarray:
    """A function that is nobody's but this file's: skops does not know it as harmless."""
    return values


class Files:
    """A version's files as the trainer leaves them (docs/model-contract.md), for a test to change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.description: dict[str, Any] = {
            "flavors": {
                "python_function": {"loader_module": "mlflow.sklearn"},
                "sklearn": {"pickled_model": "model.skops", "serialization_format": "skops"},
            },
            "signature": {
                "inputs": json.dumps(
                    [
                        {"type": "double", "name": "length", "required": True},
                        {"type": "double", "name": "width", "required": True},
                    ]
                )
            },
            "metadata": {"class_names": ["short", "long"]},
            "saved_input_example_info": {"artifact_path": "input_example.json"},
        }
        (folder / "input_example.json").write_text(json.dumps({"columns": COLUMNS, "data": [[8.0, 1.0], [1.0, 2.0]]}))
        self.dump(LogisticRegression())
        self.describe()

    def dump(self, estimator: Any) -> None:
        skops.io.dump(estimator.fit(pd.DataFrame(ROWS, columns=COLUMNS), LABELS), self.folder / "model.skops")

    def describe(self, change: Callable[[dict[str, Any]], object] = lambda description: None) -> None:
        change(self.description)
        (self.folder / "MLmodel").write_text(yaml.safe_dump(self.description))


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def refusal(files: Files) -> str:
    with pytest.raises(ModelRefused) as refused:
        load(files.folder)
    return str(refused.value)


def set_inputs(*columns: dict[str, Any]) -> Callable[[dict[str, Any]], object]:
    return lambda description: description["signature"].update(inputs=json.dumps(columns))


def test_a_version_is_loaded_with_all_that_it_says(files):
    loaded = load(files.folder)
    assert [column.name for column in loaded.columns] == COLUMNS
    assert loaded.class_names == ["short", "long"]
    assert loaded.example == [8.0, 1.0]


def test_a_loaded_model_predicts_as_the_one_that_was_stored(files):
    loaded = load(files.folder)
    assert loaded.predict(ROWS) == LABELS.tolist()
    names, probabilities = loaded.predict_names(ROWS)
    assert names == ["short", "short", "long", "long"]
    expected = LogisticRegression().fit(ROWS, LABELS).predict_proba(ROWS)
    for row, found in zip(expected, probabilities, strict=True):
        assert found == pytest.approx({"short": row[0], "long": row[1]})


def test_an_estimator_that_goes_by_the_order_of_its_columns_gets_arrays(files):
    loaded = load(files.folder)
    assert loaded.takes_arrays
    frame = pd.DataFrame(ROWS, columns=COLUMNS)
    assert loaded.predict(ROWS) == replace(loaded, takes_arrays=False).predict(ROWS)
    assert loaded.predict(ROWS) == loaded.estimator.predict(frame).tolist()


def test_an_estimator_that_looks_its_columns_up_by_name_gets_them_named(files):
    by_name = ColumnTransformer([("width", StandardScaler(), ["width"])], remainder="passthrough")
    files.dump(make_pipeline(by_name, LogisticRegression()))
    loaded = load(files.folder, Trust.PICKLE)
    assert not loaded.takes_arrays
    assert loaded.predict(ROWS) == LABELS.tolist()


def test_a_pipeline_is_served_like_a_single_estimator(files):
    files.dump(make_pipeline(StandardScaler(), LogisticRegression()))
    assert load(files.folder).predict(ROWS) == LABELS.tolist()


def test_a_version_without_class_names_answers_with_its_labels(files):
    files.describe(lambda description: description.pop("metadata"))
    assert load(files.folder).predict_names(ROWS)[0] == ["0", "0", "1", "1"]


@pytest.mark.parametrize(
    "change",
    [
        lambda description: description.pop("saved_input_example_info"),
        lambda description: description["saved_input_example_info"].update(artifact_path="not-there.json"),
    ],
    ids=["no example", "an example without its file"],
)
def test_a_version_without_an_example_is_tried_with_zeros(files, change):
    files.describe(change)
    assert load(files.folder).example == [0.0, 0.0]


@pytest.mark.parametrize(
    ("class_names", "said"),
    [
        ("short, long", "its class_names are 'short, long'; expected a list of texts"),
        ({"0": "short"}, "expected a list of texts"),
        ([0, 1], "expected a list of texts"),
        (["short"], "its class_names do not name its class"),
        ([], "its class_names do not name its class"),
    ],
)
def test_class_names_that_do_not_name_the_classes_are_refused(files, class_names, said):
    files.describe(lambda description: description.update(metadata={"class_names": class_names}))
    assert said in refusal(files)


def test_class_names_for_labels_that_are_no_numbers_are_refused(files, monkeypatch):
    monkeypatch.setattr("tests.unit.test_model.LABELS", np.array(["a", "a", "b", "b"]))
    files.dump(LogisticRegression())
    assert "do not name its class" in refusal(files)


def test_a_model_without_probabilities_answers_predict_names_as_the_clients_mistake(files):
    files.dump(LinearSVC())
    loaded = load(files.folder)
    assert loaded.predict(ROWS) == LABELS.tolist()
    with pytest.raises(InvalidInput, match="a LinearSVC, has no class probabilities"):
        loaded.predict_names(ROWS)


@pytest.mark.parametrize("name", ["../model.skops", "/etc/hostname", "folder/../../model.skops"])
def test_a_file_that_is_not_the_versions_own_is_refused(files, name):
    files.describe(lambda description: description["flavors"]["sklearn"].update(pickled_model=name))
    assert f"its file '{name}' is not one of its own" in refusal(files)


@pytest.mark.parametrize("flavors", [None, [], "sklearn", {"sklearn": None}, {"sklearn": "model.skops"}])
def test_flavors_that_are_no_mapping_are_refused(files, flavors):
    files.describe(lambda description: description.update(flavors=flavors))
    assert "its flavors are" in refusal(files)


@pytest.mark.parametrize("kind", ["double", "float", "long", "integer"])
def test_numeric_columns_are_served(files, kind):
    files.describe(set_inputs({"type": kind, "name": "length"}, {"type": kind, "name": "width"}))
    assert [column.name for column in load(files.folder).columns] == COLUMNS


def test_a_folder_without_a_description_is_refused(tmp_path):
    with pytest.raises(ModelRefused, match="no readable MLmodel file"):
        load(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"- a list", b"text", b"{", b"\xff\xfe\x00"], ids=lambda content: repr(content)
)
def test_a_description_that_says_nothing_is_refused(files, content):
    (files.folder / "MLmodel").write_bytes(content)
    assert "MLmodel file" in refusal(files)


def test_another_flavor_is_refused_by_name(files):
    files.describe(lambda description: description.update(flavors={"pytorch": {}}))
    assert refusal(files) == "its flavors are pytorch; this service serves sklearn"


@pytest.mark.parametrize("stored_as", ["cloudpickle", "pickle", None])
def test_a_model_that_runs_code_when_it_is_loaded_is_refused_unopened(files, stored_as, tmp_path):
    touched = tmp_path / "touched"

    class Bomb:
        def __reduce__(self):
            return Path.touch, (touched,)

    (files.folder / "model.pkl").write_bytes(pickle.dumps(Bomb()))
    flavor = {"pickled_model": "model.pkl", "serialization_format": stored_as}
    files.describe(lambda description: description["flavors"].update(sklearn=flavor))
    words = refusal(files)
    assert f"it is stored as {stored_as}, which runs code" in words
    assert "log it with serialization_format='skops'" in words
    assert not touched.exists()


def test_a_pickle_that_calls_itself_skops_is_refused_unopened(files, tmp_path):
    touched = tmp_path / "touched"

    class Bomb:
        def __reduce__(self):
            return Path.touch, (touched,)

    (files.folder / "model.skops").write_bytes(pickle.dumps(Bomb()))
    assert "its file model.skops cannot be loaded" in refusal(files)
    assert not touched.exists()


def test_a_type_that_is_not_trusted_is_refused_by_name(files):
    files.dump(make_pipeline(FunctionTransformer(unheard_of), LogisticRegression()))
    words = refusal(files)
    assert "it contains types that are not trusted: " in words
    assert "unheard_of" in words


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"not a zip file"])
def test_a_damaged_file_is_refused_by_name(files, content):
    (files.folder / "model.skops").write_bytes(content)
    assert "its file model.skops cannot be loaded: " in refusal(files)


def test_a_missing_file_is_refused_by_name(files):
    (files.folder / "model.skops").unlink()
    assert "its file model.skops cannot be loaded: " in refusal(files)


@pytest.mark.parametrize(
    "change",
    [
        lambda description: description.pop("signature"),
        lambda description: description.update(signature=None),
        lambda description: description.update(signature={"inputs": None}),
        lambda description: description.update(signature={"inputs": "not JSON"}),
        set_inputs({"type": "double"}, {"type": "double"}),
        set_inputs({"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}),
    ],
    ids=["none", "null", "null inputs", "no JSON", "no names", "a tensor"],
)
def test_a_version_without_named_columns_is_refused(files, change):
    files.describe(change)
    assert refusal(files) == "it has no signature with named columns; log it with one"


def test_a_column_of_dates_is_refused_with_its_type(files):
    files.describe(set_inputs({"type": "double", "name": "length"}, {"type": "datetime", "name": "day"}))
    assert "its columns have the types datetime; this service serves double, float" in refusal(files)


MIXED = pd.DataFrame(
    {
        "size": [1.0, 2.0, None, 8.0, 9.0, 7.0],
        "sweet": [True, False, True, False, None, True],
        "colour": pd.Series(["red", None, "red", "green", "green", "green"], dtype="str"),
    }
)
MIXED_INPUTS = (
    {"type": "double", "name": "size", "required": False},
    {"type": "boolean", "name": "sweet", "required": False},
    {"type": "string", "name": "colour", "required": False},
)


@pytest.fixture
def mixed(files):
    """A version of a model that takes numbers, booleans and text, any of them missing, and answers with text."""
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    preparation = ColumnTransformer(
        [("numbers", SimpleImputer(), ["size", "sweet"]), ("categories", encoder, ["colour"])]
    )
    estimator = make_pipeline(preparation, LogisticRegression()).fit(MIXED, ["short"] * 3 + ["long"] * 3)
    skops.io.dump(estimator, files.folder / "model.skops")
    files.describe(set_inputs(*MIXED_INPUTS))
    files.describe(lambda description: description.pop("metadata"))
    return files, estimator


def test_numbers_booleans_and_text_missing_ones_too_are_predicted_as_the_trainers_frame_is(mixed):
    files, estimator = mixed
    loaded = load(files.folder)
    rows = [
        [1.0, True, "red"],
        [2.0, False, None],
        [None, True, "red"],
        [9.0, None, "green"],
        [7.0, True, "never seen"],
    ]
    frame = pd.DataFrame(
        {
            "size": [1.0, 2.0, None, 9.0, 7.0],
            "sweet": [True, False, True, None, True],
            "colour": pd.Series(["red", None, "red", "green", "never seen"], dtype="str"),
        }
    )
    assert loaded.predict(rows) == estimator.predict(frame).tolist()
    assert loaded.predict(rows[:1]) == ["short"]
    names, probabilities = loaded.predict_names(rows)
    assert names == loaded.predict(rows)
    for found, expected in zip(probabilities, estimator.predict_proba(frame), strict=True):
        assert list(found.values()) == pytest.approx(expected.tolist())


def test_what_the_pipeline_itself_refuses_is_the_requests_fault(files):
    estimator = make_pipeline(OneHotEncoder(handle_unknown="error"), LogisticRegression())
    skops.io.dump(estimator.fit(pd.DataFrame({"colour": ["red", "green"]}), [0, 1]), files.folder / "model.skops")
    files.describe(set_inputs({"type": "string", "name": "colour"}))
    with pytest.raises(InvalidInput, match="the model does not take these rows: Found unknown categories"):
        load(files.folder).predict([["blue"]])


def golden(files, **changes: Any) -> None:
    content = {"instances": ROWS.tolist(), "predictions": LABELS.tolist(), "tolerance": 1e-6} | changes
    (files.folder / "golden.json").write_text(json.dumps(content))


def test_a_version_that_reproduces_its_golden_rows_is_served(files):
    probabilities = LogisticRegression().fit(ROWS, LABELS).predict_proba(ROWS).tolist()
    golden(files, probabilities=probabilities)
    assert load(files.folder).predict(ROWS) == LABELS.tolist()


def test_a_version_that_answers_otherwise_than_when_it_was_trained_is_refused(files):
    golden(files, predictions=(1 - LABELS).tolist())
    assert "does not reproduce its golden rows" in refusal(files)


def test_a_version_whose_probabilities_are_others_than_when_it_was_trained_is_refused(files):
    golden(files, probabilities=[[0.5, 0.5]] * len(ROWS))
    assert "does not reproduce its golden rows" in refusal(files)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"instances": [["a", 1]], "predictions": [1], "tolerance": 0}'])
def test_golden_rows_that_cannot_be_tried_are_refused(files, content):
    (files.folder / "golden.json").write_text(content)
    assert "its golden rows cannot be tried" in refusal(files)


def test_a_forest_is_refused_where_nobody_signed_it(files):
    estimator = RandomForestClassifier(n_estimators=3, random_state=0)
    files.dump(estimator)
    with pytest.raises(ModelRefused, match=r"not trusted: sklearn\.tree\._tree\.Tree"):
        load(files.folder, Trust.SKOPS)
    frame = pd.DataFrame(ROWS, columns=COLUMNS)
    assert load(files.folder, Trust.PICKLE).predict(ROWS) == estimator.predict(frame).tolist()
