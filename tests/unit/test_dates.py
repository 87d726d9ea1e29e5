"""Dates: from the many ways in which people write them to parts in a pipeline, and from ISO 8601 in requests to the same."""

import json
import re
import warnings
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import mlflow.models
import numpy as np
import pandas as pd
import pytest
from contract.errors import Refused
from contract.preparation import dates
from contract.preparation.steps import DateParts, Words
from contract.schema import column, fault
from contract.trust import TRUSTED_TYPES, load_skops
from contract.version_files import VersionFiles
from inference.model import model, pacing
from inference.model.trust import Trust, Trusted
from trainer.artifact import logged_model
from trainer.data.files.form import Form
from trainer.data.table import Kind, Split, Table, read, split
from trainer.errors import DataError
from trainer.fit import algorithms
from werkzeug.test import Client

from tests.unit import hostile_models as hostile
from tests.unit.serving import client_of, served_as
from tests.unit.tables import customers

ROWS = 60
SIZE = np.random.default_rng(0).normal(size=ROWS)
DAYS = pd.date_range("2023-01-09", periods=ROWS, freq="11D")


def told(folder: Path, values: Sequence[str | None], date: str | None = None) -> Table:
    """Read a table with a column of dates, as it is written in CSV."""
    path = folder / "dates.csv"
    target = ["yes" if i % 3 else "no" for i in range(len(values))]
    pd.DataFrame({"size": SIZE[: len(values)], "day": values, "y": target}).to_csv(path, index=False)
    return read(path, "y", form=Form(date=(date,) if date else ()))


@pytest.mark.parametrize(
    "written",
    [
        "%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT00:00:00Z", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y",
        "%m/%d/%Y", "%d-%m-%Y", "%m/%d/%Y 12:00 AM", "%d %b %Y", "%d-%b-%Y", "%B %d, %Y",
    ],
)  # fmt: skip
def test_dates_are_read_as_they_are_written(tmp_path: Path, written: str) -> None:
    table = told(tmp_path, list(DAYS.strftime(written)))
    assert [column.kind for column in table.columns] == [Kind.NUMBER, Kind.DATE]
    assert table.features["day"].tolist() == DAYS.tolist()
    is_iso = written.startswith("%Y-")
    assert is_iso == (not any("has dates written" in remark for remark in table.remarks))


def test_a_time_of_day_counts_and_one_with_a_zone_is_counted_in_utc(tmp_path: Path) -> None:
    table = told(tmp_path, ["2024-03-15T08:30:00+02:00", "2024-03-15T08:30:00.5Z"] * 20)
    assert table.features["day"].tolist()[:2] == [
        pd.Timestamp("2024-03-15 06:30"),
        pd.Timestamp("2024-03-15 08:30:00.5"),
    ]
    table = told(tmp_path, ["15/03/2024 1:05 pm", "16/03/2024 12:10 AM"] * 20)
    assert table.features["day"].tolist()[:2] == [pd.Timestamp("2024-03-15 13:05"), pd.Timestamp("2024-03-16 00:10")]


def test_placeholders_among_dates_are_missing_which_is_said(tmp_path: Path) -> None:
    table = told(tmp_path, ["2024-03-15", "unknown", "9999-12-31", None] * 10)
    assert table.columns[1].missing
    assert table.features["day"].isna().sum() == 20
    assert table.features["day"].iloc[2].year == 9999
    assert "column 'day' has 20 missing values, some of them written as unknown" in table.remarks


DOUBTFUL = ["03/04/2024", "05/06/2024", "07/08/2024"] * 10


def test_day_and_month_that_no_value_tells_apart_are_refused_and_an_option_tells(tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        told(tmp_path, DOUBTFUL)
    assert (
        "no value tells the day from the month; say which by --date 'day=day-first' or --date 'day=month-first'"
        in str(refused.value)
    )
    assert told(tmp_path, DOUBTFUL, "day=day-first").features["day"].iloc[0] == pd.Timestamp("2024-04-03")
    assert told(tmp_path, DOUBTFUL, "day=month-first").features["day"].iloc[0] == pd.Timestamp("2024-03-04")


def test_two_orders_in_one_column_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="some have the day first and some the month: '15/03/2024', '03/16/2024'"):
        told(tmp_path, ["15/03/2024", "03/16/2024"] * 20)


def test_a_day_that_there_is_not_is_refused_with_its_line_unless_it_is_to_be_missing(tmp_path: Path) -> None:
    values: list[str | None] = ["31.02.2024" if i == 5 else day for i, day in enumerate(DAYS.strftime("%d.%m.%Y"))]
    with pytest.raises(
        DataError, match=re.escape("line 7, column 'day' is '31.02.2024'; expected a date (1 such row)")
    ):
        told(tmp_path, values)
    assert told(tmp_path, values, "day").features["day"].isna().sum() == 1


@pytest.mark.parametrize(
    "values", [["1.2.10", "1.3.4"], ["12-14", "3-5"], ["A-1-2024", "B-2-2024"], ["may 1", "june 2"]]
)
def test_what_only_resembles_dates_is_text(tmp_path: Path, values: list[str]) -> None:
    assert told(tmp_path, [*values] * 20).columns[1].kind is Kind.TEXT


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_dates_of_parquet_are_taken_in_every_unit_and_zone(tmp_path: Path, unit: str) -> None:
    frame = pd.DataFrame({"day": DAYS.astype(f"datetime64[{unit}]"), "y": ["yes", "no"] * (ROWS // 2)})
    frame["zoned"] = frame["day"].dt.tz_localize("Europe/Zurich")
    frame["plain"] = frame["day"].dt.date
    frame.to_parquet(tmp_path / "dates.parquet")
    table = read(tmp_path / "dates.parquet", "y")
    assert [column.kind for column in table.columns] == [Kind.DATE] * 3
    assert {str(dtype) for dtype in table.features.dtypes} == {"datetime64[us]"}
    assert table.features["plain"].tolist() == DAYS.tolist()
    assert table.features["zoned"].iloc[0] == pd.Timestamp("2023-01-08 23:00")


def test_a_date_becomes_those_of_its_parts_that_vary_and_the_days_since_the_first() -> None:
    frame = pd.DataFrame({"day": pd.to_datetime(pd.Series(["2024-01-01", "2024-02-29", None, "2024-03-02"]))})
    step = DateParts().fit(frame)
    assert step.get_feature_names_out().tolist() == ["day_days", "day_month", "day_day", "day_weekday"]
    assert step.transform(frame).tolist()[:2] == [[0, 1, 1, 0], [59, 2, 29, 3]]
    assert np.isnan(step.transform(frame)[2]).all()
    texts = pd.DataFrame({"day": ["2024-01-01T00:00:00Z", "2024-02-29", None, "2024-03-02"]})
    assert np.array_equal(step.transform(texts), step.transform(frame), equal_nan=True)
    round_ = DateParts(cyclic=True).fit(frame)
    assert round_.transform(frame).shape == (4, len(round_.get_feature_names_out()))


@pytest.mark.parametrize(
    "text", ["2026-03-15", "2026-03-15T08:30:00", "2026-03-15T08:30:00.25+05:30", "0001-01-01", "9999-12-31"]
)
def test_what_is_written_out_is_read_as_the_same_moment(text: str) -> None:
    moment = datetime(1970, 1, 1) + dates.microseconds(text) * dates.MICROSECOND
    assert dates.microseconds(dates.iso(moment)) == dates.microseconds(text)


# --- a whole version ----------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("value", "instead"),
    [
        ("31.12.2025", "2025-12-31"),
        ("3.4.2025", "2025-04-03"),
        ("15/03/2024 08:30", "2024-03-15T08:30"),
        ("3/15/2024", "2024-03-15"),
        ("3/4/2024", "2024-04-03 or 2024-03-04"),
        ("4-4-2024", "2024-04-04"),
        ("31.02.2025", None),
        ("today", None),
    ],
)
def test_a_date_as_people_write_it_is_refused_with_the_text_to_send(value: str, instead: str | None) -> None:
    said = fault(value, column("day", "datetime", True))
    assert said is not None
    assert said.partition(" or null")[2] == (f" (write {instead})" if instead else "")
    assert all(dates.is_one(text) for text in instead.split(" or ")) if instead else True


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


def broken(**changes: Any) -> bytes:
    step = DateParts().fit(pd.DataFrame({"day": DAYS}))
    for name, value in changes.items():
        setattr(step, name, value)
    return hostile.dumped(step)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parts_": [["century"]]}, "it has a part that dates do not have"),
        ({"parts_": []}, "it has not parts for each column"),
        ({"first_": ["2024"]}, "a first date is no number"),
        ({"cyclic": 7}, "it has not parts for each column"),
    ],
)
def test_a_state_that_no_fit_leaves_is_refused(changes: dict[str, Any], said: str) -> None:
    assert load_skops(broken(), TRUSTED_TYPES).transform(pd.DataFrame({"day": DAYS})).shape[0] == ROWS
    with pytest.raises(Refused, match=said):
        load_skops(broken(**changes), TRUSTED_TYPES)


def test_a_step_that_reads_texts_without_a_limit_is_refused() -> None:
    step = Words(most_characters=10**9).fit([["a"]])
    with pytest.raises(Refused, match="it reads texts without a limit"):
        load_skops(hostile.dumped(step), TRUSTED_TYPES)
