"""The ONNX engine: kept only where it is proven to answer as the pipeline does."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skl2onnx
from contract.schema import LARGEST, MISSING_TEXT, UNKNOWN_TEXT
from contract.schema import Column as InferenceColumn
from contract.schema import Kind as InferenceKind
from inference.model.engines.onnx import OnnxEngine
from trainer.artifact import onnx_export
from trainer.data import builtin_datasets
from trainer.data.table import Kind, Table, Task, read, split
from trainer.fit import algorithms

from tests.unit.serving import described
from tests.unit.tables import people, written

IRIS = Path(__file__).parents[2] / "data" / "iris_dataset.csv"


@pytest.fixture(scope="module")
def iris() -> Table:
    return read(IRIS, "target")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return written(tmp_path_factory.mktemp("people"), people())


def fitted(table: Table, algorithm: algorithms.Algorithm) -> Any:
    rows = split(table)
    estimator = algorithms.with_preparation(algorithm, table, rows.train_features)
    return estimator.fit(rows.train_features, rows.train_target), rows


def onnx_engine_of(table: Table, algorithm: algorithms.Algorithm) -> onnx_export.OnnxExport:
    estimator, rows = fitted(table, algorithm)
    return onnx_export.make(estimator, table.columns, rows.train_features, table.task)


@pytest.mark.parametrize("name", ["logistic_regression", "random_forest"])
def test_an_onnx_engine_is_proven_on_thousands_of_rows_and_answers_the_held_out_ones_too(
    iris: Table, name: str
) -> None:
    estimator, rows = fitted(iris, algorithms.named(name, Task.CLASSIFICATION, {}))
    made = onnx_export.make(estimator, iris.columns, rows.train_features, iris.task)
    assert made.record["kept"]
    assert made.record["rows"] > 2000
    assert (made.record["labels_differ"], made.record["limit"]) == (0, LARGEST)
    labels, probabilities = onnx_export.run(made.content, iris.columns, rows.test_features, made.record["input"])  # type: ignore[arg-type]
    assert labels.tolist() == estimator.predict(rows.test_features).tolist()
    assert np.abs(probabilities - estimator.predict_proba(rows.test_features)).max() <= made.record["tolerance"]


def test_what_was_learnt_has_the_same_bytes_in_whichever_order_the_converter_lists_its_operator_sets(
    iris: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    # That order is a set's, and one process in some has it the other way round.
    convert = skl2onnx.convert_sklearn

    def turned(*arguments: Any, **options: Any) -> Any:
        model = convert(*arguments, **options)
        listed = list(reversed(model.opset_import))
        assert len(listed) > 1
        del model.opset_import[:]
        model.opset_import.extend(listed)
        return model

    algorithm = algorithms.named("logistic_regression", Task.CLASSIFICATION, {})
    one = onnx_engine_of(iris, algorithm).content
    monkeypatch.setattr(skl2onnx, "convert_sklearn", turned)
    assert onnx_engine_of(iris, algorithm).content == one


def test_numbers_booleans_text_and_missing_values_have_an_onnx_engine(mixed: Table) -> None:
    estimator, rows = fitted(mixed, algorithms.named("logistic_regression", Task.CLASSIFICATION, {}))
    made = onnx_export.make(estimator, mixed.columns, rows.train_features, mixed.task)
    assert made.record["kept"], made.record
    labels, _ = onnx_export.run(made.content, mixed.columns, rows.test_features, made.record["input"])  # type: ignore[arg-type]
    assert labels.tolist() == estimator.predict(rows.test_features).tolist()


@pytest.mark.parametrize(
    "words",
    [
        ("edad (años)", "total-charges", "total charges", "2nd", "a/b"),
        ("label", "probabilities", "label_1", "variable", "output_label"),
    ],
    ids=["that the converter changes", "that the converter gives"],
)
def test_columns_of_any_name_have_an_onnx_engine_that_is_fed_by_these_names(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    names = dict(zip(("age", "income", "member", "maybe", "city"), words, strict=True))
    table = written(tmp_path, people().rename(columns=names))
    made = onnx_engine_of(table, algorithms.named("logistic_regression", Task.CLASSIFICATION, {}))
    assert made.record["kept"], made.record
    session = onnx_export._session(made.content)  # type: ignore[arg-type]
    assert [each.name for each in session.get_inputs()] == list(names.values())


def test_the_word_nan_is_a_category_that_nobody_knows_and_no_missing_value(mixed: Table) -> None:
    estimator, rows = fitted(mixed, algorithms.named("logistic_regression", Task.CLASSIFICATION, {}))
    made = onnx_export.make(estimator, mixed.columns, rows.train_features, mixed.task)
    (text,) = [column.name for column in mixed.columns if column.kind is Kind.TEXT and column.missing][:1]
    asked = pd.concat([rows.test_features.head(2)] * 2, ignore_index=True)
    asked[text] = pd.Series(["nan", None, "another word", "nan"], dtype="str")
    assert asked[text].isna().tolist() == [False, True, False, False]
    _, found = onnx_export.run(made.content, mixed.columns, asked, made.record["input"])  # type: ignore[arg-type]
    assert np.abs(found - estimator.predict_proba(asked)).max() <= made.record["tolerance"]
    # As the prediction service asks it.
    columns = tuple(InferenceColumn(c.name, InferenceKind[c.kind.name], c.missing) for c in mixed.columns)
    session = OnnxEngine(
        onnx_export._session(made.content),  # type: ignore[arg-type]
        described(columns),
        made.record["input"],
        LARGEST,
        [],
        None,  # type: ignore[arg-type, unused-ignore]
    )
    fed = session._tensor(next(c for c in columns if c.name == text), np.array(["nan", None, "a"], dtype=object))
    assert fed.ravel().tolist() == [UNKNOWN_TEXT, MISSING_TEXT, "a"]


@pytest.mark.parametrize("name", ["linear_regression", "random_forest"])
def test_a_regression_has_an_onnx_engine(tmp_path: Path, name: str) -> None:
    builtin_datasets.write(tmp_path, "diabetes")
    table = read(builtin_datasets.path_of(tmp_path, "diabetes"), "target")
    made = onnx_engine_of(table, algorithms.named(name, Task.REGRESSION, {}))
    assert made.record["kept"], made.record
    assert made.record["largest_difference"] <= made.record["tolerance"]


def test_what_cannot_be_converted_has_no_onnx_engine_and_a_reason(iris: Table) -> None:
    made = onnx_engine_of(iris, algorithms.named("hist_gradient_boosting", Task.CLASSIFICATION, {}))
    assert made.content is None
    assert made.record["kept"] is False
    assert "TreeEnsemble" in made.record["reason"]


def test_a_conversion_that_answers_otherwise_is_found_out(iris: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    convert = onnx_export._converted
    # A converter that takes less care: it forgets half of what the model has learnt.
    other, _ = fitted(iris, algorithms.named("logistic_regression", Task.CLASSIFICATION, {"C": 0.01}))
    monkeypatch.setattr(onnx_export, "_converted", lambda estimator, *rest: convert(other, *rest))
    made = onnx_engine_of(iris, algorithms.named("logistic_regression", Task.CLASSIFICATION, {}))
    assert made.content is None
    assert "labels differ" in made.record["reason"]


def test_probabilities_that_are_off_by_little_are_found_out(iris: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    convert = onnx_export._converted
    other, _ = fitted(iris, algorithms.named("logistic_regression", Task.CLASSIFICATION, {"C": 1.001}))
    monkeypatch.setattr(onnx_export, "_converted", lambda estimator, *rest: convert(other, *rest))
    made = onnx_engine_of(iris, algorithms.named("logistic_regression", Task.CLASSIFICATION, {}))
    assert made.content is None
    assert "differ" in made.record["reason"]


def test_the_rows_of_the_proof_have_the_edges_of_the_domain(mixed: Table) -> None:
    rows = onnx_export.proof_rows(mixed.columns, mixed.features, LARGEST)
    assert rows["age"].abs().max() == LARGEST
    assert (rows["age"] == 0).any()
    assert set(mixed.features["city"].dropna()) < set(rows["city"].dropna())
    assert rows["income"].isna().any()
    assert not rows["age"].isna().any()
    assert rows.dtypes.to_dict() == mixed.features.dtypes.to_dict()


def test_the_same_fit_gives_the_same_bytes(iris: Table) -> None:
    algorithm = algorithms.named("logistic_regression", Task.CLASSIFICATION, {})
    assert onnx_engine_of(iris, algorithm).content == onnx_engine_of(iris, algorithm).content
