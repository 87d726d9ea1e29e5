"""The metadata files of a version: golden samples, fitted rows, the profile."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract import documents
from contract.errors import Refused
from contract.file_names import FITTED_ROWS, GOLDEN
from contract.mlmodel.manifest import Description
from contract.reference import bins
from contract.version_files import VersionFiles
from monitoring.sources.reference import of_profile
from trainer.artifact import fitted_rows, golden_samples, reference_profile
from trainer.data.table import Split, Table, Task, split
from trainer.fit import algorithms
from trainer.fit.evaluation import evaluate
from trainer.fit.metric import Metric

from tests.unit.tables import people, written


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return written(tmp_path_factory.mktemp("people"), people())


@pytest.fixture(scope="module")
def rows(table: Table) -> Split:
    return split(table)


@pytest.fixture(scope="module")
def fitted(table: Table, rows: Split) -> Any:
    algorithm = algorithms.named("logistic_regression", Task.CLASSIFICATION, {})
    estimator = algorithms.with_preparation(algorithm, table, rows.train_features)
    return estimator.fit(rows.train_features, rows.train_target)


def check(estimator: Any, folder: Path, table: Table) -> None:
    description = Description(tuple(table.interface), True, "", None, [], {})
    golden_samples.check(estimator, VersionFiles.of(folder), description)


def test_golden_samples_are_reproduced_by_the_model_that_gave_them(
    tmp_path: Path, table: Table, rows: Split, fitted: Any
) -> None:
    content = golden_samples.golden(fitted, rows.train_features)
    count = golden_samples.GOLDEN_ROWS
    assert len(content["instances"]) == len(content["predictions"]) == len(content["probabilities"]) == count
    documents.write_json(tmp_path / GOLDEN, content)
    check(fitted, tmp_path, table)


@pytest.mark.parametrize(
    ("paper", "value"),
    [
        ("predictions", ["nobody"] * golden_samples.GOLDEN_ROWS),
        ("probabilities", [[0.5, 0.5]] * golden_samples.GOLDEN_ROWS),
    ],
)
def test_other_answers_than_the_golden_ones_are_found_out(
    tmp_path: Path, table: Table, rows: Split, fitted: Any, paper: str, value: list[Any]
) -> None:
    content = golden_samples.golden(fitted, rows.train_features) | {paper: value}
    documents.write_json(tmp_path / GOLDEN, content)
    with pytest.raises(Refused, match="does not reproduce"):
        check(fitted, tmp_path, table)


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        {"instances": 3},
        {"instances": [["a"]], "predictions": [], "tolerance": 0},
        {"instances": [], "tolerance": 1},
    ],
)
def test_golden_samples_that_are_none_cannot_be_tried(
    tmp_path: Path, table: Table, fitted: Any, content: dict[Any, Any] | list[Any]
) -> None:
    (tmp_path / GOLDEN).write_text(json.dumps(content))
    with pytest.raises(Refused, match="its golden samples cannot be tried"):
        check(fitted, tmp_path, table)


def test_golden_samples_are_the_features_themselves_missing_values_included(
    table: Table, rows: Split, fitted: Any
) -> None:
    content = json.loads(json.dumps(golden_samples.golden(fitted, rows.train_features), allow_nan=False))
    back = golden_samples.from_json(content["instances"], table.interface)
    assert any(None in row for row in content["instances"])
    assert back.dtypes.to_dict() == table.features.dtypes.to_dict()
    assert fitted.predict(back).tolist() == content["predictions"]


def test_the_rows_that_were_fitted_on_are_known_and_the_others_are_new(tmp_path: Path, rows: Split) -> None:
    fitted_rows.write(rows, tmp_path)
    assert not fitted_rows.unseen(tmp_path, rows.train_features, rows.train_target).any()
    assert fitted_rows.unseen(tmp_path, rows.test_features, rows.test_target).all()


def test_the_same_features_with_another_target_are_another_row(tmp_path: Path, rows: Split) -> None:
    fitted_rows.write(rows, tmp_path)
    other = rows.train_target.map({"yes": "no", "no": "yes"}).astype("str")
    assert fitted_rows.unseen(tmp_path, rows.train_features, other).all()


def test_rows_are_told_apart_whatever_their_order_and_index(tmp_path: Path, rows: Split) -> None:
    fitted_rows.write(rows, tmp_path)
    features = rows.train_features.sample(frac=1, random_state=0)
    target = rows.train_target.loc[features.index].reset_index(drop=True)
    assert not fitted_rows.unseen(tmp_path, features.reset_index(drop=True), target).any()


def test_hashes_that_another_pandas_made_otherwise_are_known_to_be_of_no_use(tmp_path: Path, rows: Split) -> None:
    fitted_rows.write(rows, tmp_path)
    hashes = np.load(tmp_path / FITTED_ROWS)
    np.save(tmp_path / FITTED_ROWS, hashes + np.uint64(1))
    assert fitted_rows.unseen(tmp_path, rows.test_features, rows.test_target) is None


def test_a_version_without_a_list_of_its_rows_has_none(tmp_path: Path, rows: Split) -> None:
    assert fitted_rows.unseen(tmp_path, rows.test_features, rows.test_target) is None


def test_the_profile_describes_the_rows_that_were_fitted_on(table: Table, rows: Split) -> None:
    profile = json.loads(json.dumps(reference_profile.profile(table, rows), allow_nan=False))
    age = profile["columns"]["age"]
    assert age["mean"] == pytest.approx(rows.train_features["age"].mean())
    assert sum(age["histogram"]["counts"]) == len(rows.train_features)
    assert profile["columns"]["city"]["missing"] == rows.train_features["city"].isna().sum()
    assert sum(profile["target"]["classes"].values()) == profile["rows"] == 160


@pytest.mark.parametrize(
    "values", [[0.5, 0.5 + 1e-16, 0.5 + 2e-16], [1e17] * 3, [1e17, 1e17 + 16], [-1e38, 1e38], [0.0, 0.0], [2.0, 3.0]]
)
def test_numbers_are_parted_however_little_they_differ(values: list[float]) -> None:
    edges = bins.edges_of(np.array(values), 20)
    assert len(edges) == 21
    assert (np.diff(edges) > 0).all()
    assert np.histogram(values, edges)[0].sum() == len(values)


def test_the_profile_has_deciles_of_numbers_and_how_the_hold_out_was_answered(
    table: Table, rows: Split, fitted: Any
) -> None:
    judged = Metric("accuracy", Task.CLASSIFICATION, ("no", "yes"), "yes")
    found = evaluate(fitted, rows, Task.CLASSIFICATION, None, judged)
    profile = json.loads(json.dumps(reference_profile.profile(table, rows, found), allow_nan=False))
    deciles = profile["columns"]["income"]["deciles"]
    assert sum(deciles["counts"]) == rows.train_features["income"].notna().sum()
    assert max(deciles["counts"]) - min(deciles["counts"]) <= 2
    held = profile["held_out"]
    assert sum(held["predictions"].values()) == held["rows"] == len(rows.test_target)
    assert held["classes"] == ["no", "yes"]
    assert held["accuracy"] == found.metrics["test_accuracy"]
    right = held["calibration"]["right"]
    assert right == sorted(right)
    reference = of_profile(profile, None)
    assert reference.metric_value == held["accuracy"]
    assert reference.confidence.rows == held["rows"]


def test_the_profile_of_a_regression_has_the_values_that_the_hold_out_was_answered(tmp_path: Path) -> None:
    table = written(tmp_path, people().dropna(subset="income"), "income")
    rows = split(table)
    algorithm = algorithms.named("linear_regression", Task.REGRESSION, {})
    estimator = algorithms.with_preparation(algorithm, table, rows.train_features)
    found = evaluate(estimator.fit(rows.train_features, rows.train_target), rows, Task.REGRESSION)
    held = json.loads(json.dumps(reference_profile.profile(table, rows, found), allow_nan=False))["held_out"]
    assert sum(held["predictions"]["deciles"]["counts"]) == held["rows"]
    assert held["metric"] == {"name": "r2", "value": found.metrics["test_r2"], "positive": None}
