"""Dates and free text in a whole version: from a raw table to the answers of the prediction service."""

import json
import warnings
from pathlib import Path
from typing import Any

import mlflow.models
import numpy as np
import pandas as pd
import pytest
from contract.version_files import VersionFiles
from inference.model import model, pacing
from inference.trust import Trust, Trusted
from trainer.artifact import logged_model
from trainer.data.table import Kind, Split, Table, read, split
from trainer.fit import algorithms
from werkzeug.test import Client

from tests.unit.serving import client_of, served_as
from tests.unit.tables import customers


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    path = tmp_path_factory.mktemp("customers") / "customers.csv"
    customers().to_csv(path, index=False)
    return read(path, "Churn")


@pytest.fixture(scope="module")
def rows(table: Table) -> Split:
    return split(table)


def fitted(table: Table, rows: Split, name: str = "logistic_regression") -> Any:
    algorithm = algorithms.named(name, table.task, {})
    return algorithms.with_preparation(algorithm, table, rows.train_features).fit(
        rows.train_features, rows.train_target
    )


@pytest.fixture(scope="module")
def estimator(table: Table, rows: Split) -> Any:
    return fitted(table, rows)


@pytest.fixture(scope="module")
def folder(estimator: Any, table: Table, rows: Split, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version's files, saved and not signed."""
    folder = tmp_path_factory.mktemp("version") / "model"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own, of the pandas to come
        logged_model._save(estimator, table, folder, mlflow.models.Model())
        logged_model._write_metadata(estimator, table, rows, folder)
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Client:
    return client_of(served_as(model.load(VersionFiles.of(folder), Trusted(Trust.SIGNED))))


def answered(response: Any) -> list[list[float]]:
    assert response.status_code == 200, response.text
    return [list(row.values()) for row in response.json["probabilities"]]


def test_a_raw_table_is_told_apart_at_the_first_try(table: Table) -> None:
    assert {column.name: column.kind for column in table.columns} == {
        "SignupDate": Kind.DATE, "Plan": Kind.TEXT, "PostCode": Kind.TEXT, "HouseNo": Kind.TEXT, "Income": Kind.NUMBER,
        "Note": Kind.TEXT,
    }  # fmt: skip


def test_a_raw_record_of_the_file_is_answered_as_the_pipeline_does_in_json_and_in_csv(
    client: Client, estimator: Any, table: Table
) -> None:
    raw = customers().drop(columns="Churn").head(40)
    expected = estimator.predict_proba(table.features.head(40))
    found = client.post("/predict_names", data=raw.to_csv(index=False), content_type="text/csv")
    assert np.allclose(answered(found), expected)
    incomes = pd.to_numeric(raw["Income"], errors="coerce")
    records = json.loads(raw.assign(Income=incomes).to_json(orient="records"))
    found = client.post("/predict_names", json={"dataframe_records": records})
    assert np.allclose(answered(found), expected)
    assert np.allclose(answered(client.post("/predict_names", json={"dataframe_records": records[:1]})), expected[:1])


def test_a_date_comes_as_bytes_in_the_open_inference_protocol(client: Client, estimator: Any, table: Table) -> None:
    raw = customers().head(2)
    known = table.features.head(2)
    inputs = [
        {"name": name, "shape": [2], "datatype": "BYTES", "data": raw[name].tolist()}
        for name in ("SignupDate", "Plan", "PostCode", "HouseNo", "Note")
    ]
    inputs.append({"name": "Income", "shape": [2], "datatype": "FP64", "data": known["Income"].tolist()})
    answer = client.post("/v2/models/iris_logistic_regression/infer", json={"inputs": inputs})
    assert answer.status_code == 200, answer.text
    found: Any = answer.json
    assert found["outputs"][0]["data"] == estimator.predict(known).tolist()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            "15/03/2024",
            "is '15/03/2024'; expected a date such as 2026-03-15 or 2026-03-15T08:30:00Z (write 2024-03-15)",
        ),
        ("2024-02-30", "is '2024-02-30'; expected a date"),
        (20240315, "is a number; expected a date"),
        (None, "is null; expected a date"),
    ],
)
@pytest.mark.parametrize("count", [1, 50])
def test_what_is_no_date_is_refused_with_its_place(client: Client, value: Any, said: str, count: int) -> None:
    record = {**customers().drop(columns=["Churn", "CustomerId", "Income"]).iloc[0].to_dict(), "Income": 1.0}
    records = [record] * (count - 1) + [{**record, "SignupDate": value}]
    answer = client.post("/invocations", json={"dataframe_records": records})
    assert answer.status_code == 400
    found: Any = answer.json
    assert found["message"].startswith(f"dataframe_records[{count - 1}]['SignupDate'] {said}")


def test_a_model_is_better_with_dates_and_text_than_without(estimator: Any, table: Table, rows: Split) -> None:
    plain = read(table.path, "Churn", drop=("SignupDate", "Note"))
    short = split(plain)
    best = estimator.score(rows.test_features, rows.test_target)
    assert best > fitted(plain, short).score(short.test_features, short.test_target) + 0.05
    boosted = fitted(table, rows, "hist_gradient_boosting").score(rows.test_features, rows.test_target)
    assert boosted > fitted(plain, short, "hist_gradient_boosting").score(short.test_features, short.test_target)


def test_a_text_costs_no_more_than_its_first_page(estimator: Any, table: Table) -> None:
    row = table.features.head(1)
    long = row.assign(Note="word " * 1000 + "unhappy " * 100_000)
    assert np.array_equal(estimator.predict_proba(long), estimator.predict_proba(row.assign(Note="word " * 1000)))


def test_a_version_with_steps_of_our_own_brings_them_and_has_no_onnx_model(folder: Path) -> None:
    assert {path.name for path in (folder / "code" / "contract" / "preparation").glob("*.py")} == {
        "__init__.py", "dates.py", "steps.py",
    }  # fmt: skip
    assert json.loads((folder / "onnx_engine.json").read_text()) == {
        "kept": False,
        "reason": "ONNX has no operator for DateParts, Words",
    }


def test_long_texts_are_answered_some_at_a_time_whatever_the_golden_samples_have(folder: Path) -> None:
    loaded = model.load(VersionFiles.of(folder), Trusted(Trust.SIGNED))
    assert loaded.row_values > 5000 / 3
    assert pacing.part_rows(0.0, loaded.row_values) < 3000
