"""A prediction log in a folder, and the profile of a version that it is looked at beside."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from contract.reference import bins
from inference.model.version import ModelVersion
from inference.prediction_log.store import Store
from monitoring.looking.look import Look, look
from monitoring.sources import log_rows
from monitoring.sources.reference import Reference

VERSION = ModelVersion("churn", "7", "run", 0, "m-7", "key")
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
DAY = (NOON - timedelta(days=1), NOON)


def numbers(rows: int, shift: float = 0.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, rows)


def number_profile(values: np.ndarray, missing: int = 0) -> dict[str, Any]:
    counts, edges = np.histogram(values, 20)
    names, shares = ["min", "p05", "p25", "p50", "p75", "p95", "max"], [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]
    deciles = bins.deciles(values)
    return {
        "type": "double",
        "missing": missing,
        "mean": float(values.mean()),
        "std": float(values.std()),
        "quantiles": dict(zip(names, np.quantile(values, shares).tolist(), strict=True)),
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
        "deciles": {"edges": deciles.tolist(), "counts": bins.counts(values, deciles).tolist()},
    }


def profile(rows: int = 2000) -> dict[str, Any]:
    """Return a profile as the trainer writes it, of rows with a number, a text and a date."""
    cities = {"Basel": rows * 6 // 10, "Bern": rows * 4 // 10}
    date = {"type": "datetime", "missing": 0, "distinct": 9, "from": "2026-01-01", "to": "2026-02-01"}
    return {
        "rows": rows,
        "columns": {
            "age": number_profile(numbers(rows)),
            "city": {"type": "string", "missing": 0, "distinct": 2, "categories": cities},
            "since": date,
        },
        "target": {"name": "left", "classes": {"no": rows // 2, "yes": rows // 2}},
        "held_out": {
            "rows": 500,
            "metric": {"name": "f1", "value": 0.8, "positive": "yes"},
            "accuracy": 0.82,
            "classes": ["no", "yes"],
            "predictions": {"no": 250, "yes": 250},
            "confidence": number_profile(np.linspace(0.5, 1, 500)),
            "calibration": {"confidence": [0.5, 1.0], "right": [0.5, 0.9]},
        },
    }


class Log:
    """A prediction log in a folder, with rows of version 7, one a request, over the hours before noon."""

    def __init__(self, folder: Path) -> None:
        self.store = Store.of({"PREDICTION_LOG_STORE": str(folder)})
        self._folder = folder

    def keep(self, rows: int = 1000, shift: float = 0.0, version: str = "7", **columns: Any) -> None:
        """Keep rows whose age is shifted; `columns` are put in the place of others, None leaves one out."""
        rng = np.random.default_rng(3)
        times = [NOON - timedelta(minutes=1 + position) for position in reversed(range(rows))]
        yes = np.clip(rng.uniform(0, 1, rows), 0.001, 0.999)
        content = {
            "request_id": [f"{version}-{position}" for position in range(rows)],
            "row": pa.array(np.zeros(rows, np.int32)),
            "time": pa.array(times, pa.timestamp("us", "UTC")),
            "version": [version] * rows,
            "prediction": np.where(yes > 0.5, "yes", "no").tolist(),
            "probabilities": pa.ListArray.from_arrays(
                np.arange(0, 2 * rows + 1, 2, dtype=np.int32), np.stack([1 - yes, yes], 1).ravel()
            ),
            "input_age": numbers(rows, shift, seed=4),
            "input_city": np.where(rng.uniform(0, 1, rows) < 0.6, "Basel", "Bern").tolist(),
            "input_since": pa.array([datetime(2026, 3, 1)] * rows, pa.timestamp("us")),
        } | columns
        there = {name: found for name, found in content.items() if found is not None}
        self._write("predictions/model=churn/date=2026-11-25/hour=11", version, there)

    def label(self, rows: int, right: Callable[[int], bool], day: str = "2026-11-26") -> None:
        """Keep labels of the first rows, right or wrong ones, that came on a day."""
        kept = pq.read_table(next(self._folder.rglob("7.parquet"))).slice(0, rows)
        said = kept["prediction"].to_pylist()
        labels = [one if right(at) else {"no": "yes", "yes": "no"}[one] for at, one in enumerate(said)]
        times = pa.array([NOON] * rows, pa.timestamp("us", "UTC"))
        content = {"request_id": kept["request_id"], "row": kept["row"], "label": labels, "time": times}
        self._write(f"labels/model=churn/date={day}", "labels", content | {"trusted": [True] * rows})

    def _write(self, folder: str, name: str, content: dict[str, Any]) -> None:
        (self._folder / folder).mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(content), self._folder / folder / f"{name}.parquet")

    def look(self, reference: Reference, by: str | None = None, least: int = 200) -> Look:
        rows = log_rows.read(self.store, "churn", "7", DAY, reference)
        return look(VERSION, reference, DAY, rows, least, by)
