"""Loading a version's files: which engine answers, as what, and why a version is refused. What may be loaded: test_trust.py."""

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from contract.mlmodel.manifest import Description
from contract.schema import LARGEST, column
from contract.version_files import VersionFiles
from inference.errors import InvalidInput, ModelRefused
from inference.model import model
from inference.model.engines import onnx
from inference.model.engines.sklearn import Pipeline
from inference.protocols.mlflow_scoring import from_payload
from inference.rows import Rows
from inference.trust import Trust, Trusted
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from trainer.artifact import onnx_export as making
from trainer.data.table import Column as TrainersColumn
from trainer.data.table import Kind, Task

from tests.unit.serving import described
from tests.unit.version_files import COLUMNS, Files, set_inputs, set_outputs, tensor

ROWS = np.array([[1.0, 2.0], [1.5, 2.5], [8.0, 1.0], [9.0, 2.0]])
FRAME = pd.DataFrame(ROWS, columns=COLUMNS)
LABELS = np.array([0, 0, 1, 1])
pytestmark = pytest.mark.filterwarnings("ignore:X does not have valid feature names")


@pytest.fixture
def files(tmp_path: Path) -> Files:
    files = Files(tmp_path)
    dump(files, LogisticRegression())
    return files


def dump(files: Files, estimator: Any, labels: Any = LABELS) -> Any:
    skops.io.dump(estimator.fit(FRAME, labels), files.folder / "model.skops")
    return estimator


def load(files: Files, trust: Trust = Trust.SIGNED) -> model.Model:
    return model.load(VersionFiles.of(files.folder), Trusted(trust))


def rows_for(loaded: model.Model, rows: Any = ROWS) -> Rows:
    instances = rows.tolist() if isinstance(rows, np.ndarray) else rows
    return from_payload({"instances": instances}, loaded.description)


def predictions(loaded: model.Model, rows: Any = ROWS) -> list[Any]:
    return loaded.predict(rows_for(loaded, rows)).tolist()


def refusal(files: Files) -> str:
    with pytest.raises(ModelRefused) as refused:
        load(files)
    return str(refused.value)


# --- the pipeline --------------------------------------------------------------------------------------------------


def test_a_loaded_model_predicts_as_the_one_that_was_stored(files: Files) -> None:
    loaded = load(files)
    assert predictions(loaded) == LABELS.tolist()
    expected = LogisticRegression().fit(FRAME, LABELS).predict_proba(FRAME)
    assert loaded.probabilities(rows_for(loaded)) == pytest.approx(expected)
    assert loaded.classes == [0, 1]
    assert loaded.class_names == ["short", "long"]
    assert (loaded.engine, loaded.reason) == ("scikit-learn", "no ONNX engine: the version has none")


def test_what_was_read_of_a_version_when_it_was_verified_is_not_read_again(files: Files) -> None:
    verified, expected = VersionFiles.of(files.folder), load(files)
    known = Description.of_json(expected.description.to_json())
    (files.folder / "MLmodel").write_text("changed since, which whoever reads it is told")
    with pytest.raises(ModelRefused, match="MLmodel was changed after it was verified"):
        model.load(verified, Trusted(Trust.SIGNED))
    loaded = model.load(verified, Trusted(Trust.SIGNED), known=known)
    assert loaded.description == expected.description
    assert loaded.description.examples
    assert predictions(loaded) == LABELS.tolist()


def test_an_estimator_that_goes_by_the_order_of_its_columns_gets_arrays(files: Files) -> None:
    assert load(files).pipeline.takes_arrays


def test_an_estimator_that_looks_its_columns_up_by_name_gets_them_named(files: Files) -> None:
    by_name = ColumnTransformer([("width", StandardScaler(), ["width"])], remainder="passthrough")
    dump(files, make_pipeline(by_name, LogisticRegression()))
    loaded = load(files, Trust.PICKLE)
    assert not loaded.pipeline.takes_arrays
    assert predictions(loaded) == LABELS.tolist()


def test_a_model_that_was_logged_with_a_tensor_gets_an_array(files: Files) -> None:
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(ROWS, LABELS)
    skops.io.dump(estimator, files.folder / "model.skops")
    files.describe(set_inputs(tensor()))
    assert predictions(load(files)) == LABELS.tolist()


def test_a_pipeline_is_served_like_a_single_estimator(files: Files) -> None:
    dump(files, make_pipeline(StandardScaler(), LogisticRegression()))
    assert predictions(load(files)) == LABELS.tolist()


def test_a_version_without_class_names_answers_with_its_labels(files: Files) -> None:
    files.describe(lambda content: content.pop("metadata"))
    assert load(files).class_names == ["0", "1"]


@pytest.mark.parametrize("class_names", [["short"], []])
def test_class_names_that_do_not_name_the_classes_are_refused(files: Files, class_names: list[Any]) -> None:
    files.describe(lambda content: content.update(metadata={"class_names": class_names}))
    assert "its class_names do not name its class" in refusal(files)


def test_class_names_for_labels_that_are_no_numbers_are_refused(files: Files) -> None:
    dump(files, LogisticRegression(), ["a", "a", "b", "b"])
    assert "its class_names do not name its class" in refusal(files)


def test_a_model_without_probabilities_answers_that_question_as_the_clients_mistake(files: Files) -> None:
    dump(files, LinearSVC())
    loaded = load(files)
    assert predictions(loaded) == LABELS.tolist()
    assert (loaded.classes, loaded.class_names) == (None, None)
    with pytest.raises(InvalidInput, match="the model has no class probabilities; POST /invocations"):
        loaded.probabilities(rows_for(loaded))


def test_a_regression_answers_with_numbers(files: Files) -> None:
    files.describe(lambda content: content.pop("metadata"))
    files.describe(set_outputs([{"type": "double"}]))
    estimator = dump(files, LinearRegression(), [1.0, 2.0, 3.0, 4.0])
    assert predictions(load(files)) == pytest.approx(estimator.predict(FRAME).tolist())


@pytest.mark.parametrize("kind", ["double", "float", "long", "integer"])
def test_columns_of_every_kind_of_number_are_served(files: Files, kind: str) -> None:
    files.describe(set_inputs({"type": kind, "name": "length"}, {"type": kind, "name": "width"}))
    loaded = load(files)
    assert predictions(loaded, [[1, 2], [9, 2]]) == [0, 1]


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
MIXED_ROWS = [
    [1.0, True, "red"],
    [2.0, False, None],
    [None, True, "red"],
    [9.0, None, "green"],
    [7.0, True, "never seen"],
]


@pytest.fixture
def mixed(files: Files) -> tuple[Files, Pipeline]:
    """A version of a model that takes numbers, booleans and text, any of them missing, and answers with text."""
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    preparation = ColumnTransformer(
        [("numbers", SimpleImputer(), ["size", "sweet"]), ("categories", encoder, ["colour"])]
    )
    estimator = make_pipeline(preparation, LogisticRegression()).fit(MIXED, ["short"] * 3 + ["long"] * 3)
    skops.io.dump(estimator, files.folder / "model.skops")
    files.describe(set_inputs(*MIXED_INPUTS))
    files.example([["1.0"]])
    files.describe(lambda content: content.pop("metadata"))
    return files, estimator


def test_numbers_booleans_and_text_missing_ones_too_are_predicted_as_the_trainers_frame_is(
    mixed: tuple[Files, Pipeline],
) -> None:
    files, estimator = mixed
    loaded = load(files)
    frame = pd.DataFrame(
        {
            "size": [1.0, 2.0, None, 9.0, 7.0],
            "sweet": [True, False, True, None, True],
            "colour": pd.Series(["red", None, "red", "green", "never seen"], dtype="str"),
        }
    )
    assert predictions(loaded, MIXED_ROWS) == estimator.predict(frame).tolist()  # type: ignore[attr-defined]
    assert predictions(loaded, MIXED_ROWS[:1]) == ["short"]
    assert loaded.class_names == ["long", "short"]
    assert loaded.probabilities(rows_for(loaded, MIXED_ROWS)) == pytest.approx(estimator.predict_proba(frame))  # type: ignore[attr-defined]


@pytest.fixture
def encoded(files: Files) -> Any:
    """A version of a model that makes three hundred numbers of a text, beside a boolean that may be missing."""
    words = [f"c{i}" for i in range(300)]
    frame = pd.DataFrame({"word": pd.Series(words, dtype="str"), "sweet": [True, False, None] * 100})
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    preparation = ColumnTransformer([("words", encoder, ["word"]), ("rest", SimpleImputer(), ["sweet"])])
    estimator = make_pipeline(preparation, LogisticRegression()).fit(frame, [0, 1] * 150)
    skops.io.dump(estimator, files.folder / "model.skops")
    files.describe(
        set_inputs({"type": "string", "name": "word"}, {"type": "boolean", "name": "sweet", "required": False})
    )
    golden(files, instances=[["c1", True], ["c2", None]], predictions=estimator.predict(frame[1:3]).tolist())
    return files, estimator, frame


def test_texts_that_become_hundreds_of_numbers_each_take_no_more_memory_for_that(encoded: Any) -> None:
    files, _, frame = encoded
    loaded = load(files)
    few = [[word, True if i % 2 else None] for i, word in enumerate(frame["word"])]
    rows, expected = rows_for(loaded, few).repeated(60_000), loaded.predict(rows_for(loaded, few))
    tracemalloc.start()
    try:
        found = loaded.predict(rows)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100e6  # all at once they are 145 MB, again in each copy
    assert found.tolist() == np.resize(expected, 60_000).tolist()


def test_rows_in_parts_have_the_types_of_all_of_them_also_where_a_part_has_no_gap() -> None:
    columns = (column("whole", "long", True), column("truth", "boolean", True))
    rows = Rows(np.array([[1.0, 1.0], [2.0, 0.0], [np.nan, np.nan]]), None)
    pipeline = Pipeline(None, described(columns), takes_arrays=False)
    whole = pipeline.input(rows)
    part = pipeline.input(rows.part(0, 2))
    pd.testing.assert_frame_equal(part, whole[:2])  # type: ignore[arg-type]
    assert [str(dtype) for dtype in part.dtypes] == ["float64", "object"]


def test_an_onnx_engine_that_makes_hundreds_of_numbers_of_a_text_is_asked_for_few_rows_at_a_time(encoded: Any) -> None:
    files, estimator, frame = encoded
    columns = [TrainersColumn("word", Kind.TEXT, False), TrainersColumn("sweet", Kind.BOOLEAN, True)]
    made = making.make(estimator, columns, frame, Task.CLASSIFICATION)
    assert made.content is not None, made.record
    (files.folder / "model.onnx").write_bytes(made.content)
    (files.folder / "onnx_engine.json").write_text(json.dumps(made.record))
    asked = []

    class Counting(onnx.OnnxEngine):
        def labels(self, rows: Any) -> Any:
            asked.append(len(rows))
            return super().labels(rows)

    loaded = load(files)
    assert loaded.pipeline is None
    loaded = replace(loaded, onnx_engine=Counting(**vars(loaded.onnx_engine)))
    few = rows_for(loaded, [[word, None] for word in frame["word"]])
    found = loaded.predict(few.repeated(18_000)).tolist()
    assert max(asked) * 300 * 8 <= 32 * 2**20
    assert sum(asked) == 18_000
    assert found == loaded.predict(few).tolist() * 60


def test_what_the_pipeline_itself_refuses_is_the_requests_fault(files: Files) -> None:
    estimator = make_pipeline(OneHotEncoder(handle_unknown="error"), LogisticRegression())
    skops.io.dump(estimator.fit(pd.DataFrame({"colour": ["red", "green"]}), [0, 1]), files.folder / "model.skops")
    files.describe(set_inputs({"type": "string", "name": "colour"}))
    loaded = load(files)
    with pytest.raises(InvalidInput, match="the model does not take these rows: Found unknown categories"):
        predictions(loaded, [["blue"]])


@pytest.mark.parametrize("name", ["../model.skops", "/etc/hostname", "folder/../../model.skops"])
def test_a_file_that_is_not_the_versions_own_is_refused(files: Files, name: str) -> None:
    files.describe(lambda content: content["flavors"]["sklearn"].update(pickled_model=name))
    assert f"its file '{name}' is not one of its own" in refusal(files)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"not a zip file"])
def test_a_damaged_file_is_refused_by_name(files: Files, content: bytes) -> None:
    (files.folder / "model.skops").write_bytes(content)
    assert "its file model.skops cannot be loaded: " in refusal(files)


def test_a_missing_file_is_refused_by_name(files: Files) -> None:
    (files.folder / "model.skops").unlink()
    assert "its file 'model.skops' is not one of its own" in refusal(files)


# --- golden samples ---------------------------------------------------------------------------------------------------


def golden(files: Files, **changes: Any) -> None:
    content = {"instances": ROWS.tolist(), "predictions": LABELS.tolist(), "tolerance": 1e-6} | changes
    (files.folder / "golden_samples.json").write_text(json.dumps(content))


def test_a_version_that_reproduces_its_golden_samples_is_served(files: Files) -> None:
    golden(files, probabilities=LogisticRegression().fit(FRAME, LABELS).predict_proba(FRAME).tolist())
    assert predictions(load(files)) == LABELS.tolist()


def test_a_version_that_answers_otherwise_than_when_it_was_trained_is_refused(files: Files) -> None:
    golden(files, predictions=(1 - LABELS).tolist())
    assert "does not reproduce its golden samples" in refusal(files)


def test_a_version_whose_probabilities_are_others_than_when_it_was_trained_is_refused(files: Files) -> None:
    golden(files, probabilities=[[0.5, 0.5]] * len(ROWS))
    assert "does not reproduce its golden samples" in refusal(files)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"instances": []}', '{"instances": [["a", 1]], "predictions": [1], "tolerance": 0}'],
)
def test_golden_samples_that_cannot_be_tried_are_refused(files: Files, content: str) -> None:
    (files.folder / "golden_samples.json").write_text(content)
    assert "its golden samples cannot be tried" in refusal(files)


def test_a_version_without_golden_samples_has_to_answer_its_own_example(files: Files) -> None:
    files.example([["text", 1.0]])
    assert "its golden samples cannot be tried: InvalidInput: instances[0][0] is text" in refusal(files)


def test_a_version_with_neither_is_served_untried(files: Files) -> None:
    (files.folder / "input_example.json").unlink()
    files.describe(lambda content: content.pop("saved_input_example_info"))
    assert predictions(load(files)) == LABELS.tolist()


# --- the ONNX engine ------------------------------------------------------------------------------------------------------


def give_onnx_engine(files: Files, estimator: Any, task: Task = Task.CLASSIFICATION, **record: Any) -> None:
    """Write the ONNX engine of a fitted estimator, and what is recorded of it."""
    columns = [TrainersColumn(name, Kind.NUMBER, False) for name in COLUMNS]
    made = making.make(estimator, columns, FRAME, task)
    assert made.content is not None, made.record
    (files.folder / "model.onnx").write_bytes(made.content)
    (files.folder / "onnx_engine.json").write_text(json.dumps(made.record | record))


@pytest.fixture
def with_onnx_engine(files: Files) -> Files:
    """A version with an ONNX engine that covers all that the model takes, as the trainer makes it."""
    estimator = LogisticRegression().fit(FRAME, LABELS)
    give_onnx_engine(files, estimator)
    golden(files, probabilities=estimator.predict_proba(FRAME).tolist())
    return files


def test_an_onnx_engine_that_covers_all_answers_alone_and_nothing_else_is_loaded(with_onnx_engine: Files) -> None:
    (with_onnx_engine.folder / "model.skops").write_bytes(b"no estimator")
    loaded = load(with_onnx_engine)
    assert loaded.pipeline is None
    assert loaded.engine == "onnx"
    assert loaded.reason.startswith("proven on ")
    assert predictions(loaded, [*ROWS.tolist(), [LARGEST, -LARGEST]]) == [*LABELS.tolist(), 1]
    expected = LogisticRegression().fit(FRAME, LABELS).predict_proba(FRAME)
    assert loaded.probabilities(rows_for(loaded)) == pytest.approx(expected, abs=1e-5)
    assert loaded.class_names == ["short", "long"]


def test_the_onnx_engine_of_a_regression_has_no_probabilities(files: Files) -> None:
    files.describe(lambda content: content.pop("metadata"))
    estimator = LinearRegression().fit(FRAME, [1.0, 2.0, 3.0, 4.0])
    give_onnx_engine(files, estimator, Task.REGRESSION, limit=LARGEST)
    (files.folder / "model.skops").write_bytes(b"no estimator")
    loaded = load(files)
    assert (loaded.engine, loaded.classes, loaded.class_names) == ("onnx", None, None)
    assert predictions(loaded) == pytest.approx(estimator.predict(FRAME).tolist(), rel=1e-5)
    with pytest.raises(InvalidInput, match="has no class probabilities"):
        loaded.probabilities(rows_for(loaded))


def test_beyond_what_it_was_proven_on_the_pipeline_answers_in_a_onnx_engines_place(files: Files) -> None:
    always_long = DummyClassifier(strategy="constant", constant=1).fit(FRAME, LABELS)
    dump(files, always_long)
    give_onnx_engine(files, LogisticRegression().fit(FRAME, LABELS), limit=100.0)
    loaded = load(files)
    assert loaded.engine == "onnx"
    assert predictions(loaded, [[1.0, 2.0]]) == [0]
    assert predictions(loaded, [[1.0, 200.0]]) == [1]
    assert loaded.probabilities(rows_for(loaded, [[1.0, 200.0]])).tolist() == [[0.0, 1.0]]


def test_beside_an_onnx_engine_that_does_not_name_its_classes_the_pipeline_is_loaded_for_them(
    with_onnx_engine: Files,
) -> None:
    record = json.loads((with_onnx_engine.folder / "onnx_engine.json").read_text())
    del record["classes"]
    (with_onnx_engine.folder / "onnx_engine.json").write_text(json.dumps(record))
    loaded = load(with_onnx_engine)
    assert loaded.engine == "onnx"
    assert loaded.pipeline is not None
    assert loaded.class_names == ["short", "long"]


@pytest.mark.parametrize("trust", [Trust.SKOPS, Trust.PICKLE])
def test_an_onnx_engine_that_nobody_signed_is_not_used(with_onnx_engine: Files, trust: Trust) -> None:
    loaded = load(with_onnx_engine, trust)
    assert (loaded.engine, loaded.onnx_engine) == ("scikit-learn", None)
    assert f"MODEL_TRUST is {trust}" in loaded.reason


def test_an_onnx_engine_that_was_not_kept_is_not_used_and_the_reason_is_told(with_onnx_engine: Files) -> None:
    (with_onnx_engine.folder / "onnx_engine.json").write_text('{"kept": false, "reason": "labels differ"}')
    loaded = load(with_onnx_engine)
    assert (loaded.engine, loaded.reason) == ("scikit-learn", "no ONNX engine: labels differ")


@pytest.mark.parametrize("content", [b"", b"not ONNX", None])
def test_a_damaged_onnx_engine_is_refused(with_onnx_engine: Files, content: bytes | None) -> None:
    path: Path = with_onnx_engine.folder / "model.onnx"
    path.write_bytes(content) if content is not None else path.unlink()
    assert "its ONNX engine cannot be loaded: " in refusal(with_onnx_engine)


@pytest.mark.parametrize("record", ['{"kept": true}', '{"kept": true, "input": "float64"}'])
def test_an_onnx_engine_whose_record_lacks_what_is_needed_is_refused(with_onnx_engine: Files, record: str) -> None:
    (with_onnx_engine.folder / "onnx_engine.json").write_text(record)
    assert "its ONNX engine cannot be loaded: " in refusal(with_onnx_engine)


def test_an_onnx_engine_that_answers_otherwise_than_when_the_model_was_trained_is_refused(
    with_onnx_engine: Files,
) -> None:
    give_onnx_engine(with_onnx_engine, LogisticRegression().fit(FRAME, 1 - LABELS))
    assert "does not reproduce its golden samples" in refusal(with_onnx_engine)


def test_the_pipeline_beside_an_onnx_engine_has_to_reproduce_the_golden_samples_as_well(
    with_onnx_engine: Files,
) -> None:
    dump(with_onnx_engine, LogisticRegression(), 1 - LABELS)
    assert predictions(load(with_onnx_engine)) == LABELS.tolist()
    give_onnx_engine(with_onnx_engine, LogisticRegression().fit(FRAME, LABELS), limit=100.0)
    assert "does not reproduce its golden samples" in refusal(with_onnx_engine)


def test_class_names_that_do_not_name_the_classes_of_an_onnx_engine_are_refused(with_onnx_engine: Files) -> None:
    with_onnx_engine.describe(lambda content: content.update(metadata={"class_names": ["short"]}))
    assert "its class_names do not name its class 1" in refusal(with_onnx_engine)
