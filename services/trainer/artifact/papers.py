"""The papers of a version beside the model itself (docs/model-contract.md): what it was fitted on, and what it answers.

golden.json        rows with the answers that the fitted model gave, to be given again before the version may serve
figures.json       what was measured of it, on which data, by which run
profile.json       what the training data looks like, for whoever wants to notice that the world has changed
fitted_rows.npy    a hash of each row that it was fitted on, so that "unseen" can be checked
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from contract import documents
from contract.errors import Refused
from contract.golden import Answers, difference

from trainer.data.table import Column, Kind, Split, Table, Task

GOLDEN = "golden.json"
PROFILE = "profile.json"
FIGURES = "figures.json"
FITTED_ROWS = "fitted_rows.npy"
GOLDEN_ROWS = 16
# Another processor may sum in another order: what differs by less than this is the same answer.
TOLERANCE = 1e-6
HISTOGRAM_BINS = 20
MOST_CATEGORIES_KEPT = 50
# Hashed along with each list of rows: where another pandas hashes otherwise, the list is known to be of no use.
PROBE = pd.DataFrame({"number": [0.5, np.nan], "text": ["a", "é"]})


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a paper that people may want to read, too."""
    path.write_text(json.dumps(content, allow_nan=False, indent=1) + "\n")


# --- golden rows ---------------------------------------------------------------------------------------------------


def golden(estimator: Any, columns: list[Column], features: pd.DataFrame) -> dict[str, Any]:
    """Return rows spread over the features with the estimator's answers, as a request and its answer."""
    rows = golden_rows(features)
    content: dict[str, Any] = {
        "instances": as_json(rows, columns),
        "predictions": np.asarray(estimator.predict(rows)).tolist(),
        "tolerance": TOLERANCE,
    }
    if hasattr(estimator, "predict_proba"):
        content["probabilities"] = estimator.predict_proba(rows).tolist()
    return content


def golden_rows(features: pd.DataFrame) -> pd.DataFrame:
    """Return rows spread over the features, first and last among them."""
    return features.iloc[np.unique(np.linspace(0, len(features) - 1, GOLDEN_ROWS).astype(int))]


def as_json(rows: pd.DataFrame, columns: list[Column]) -> list[list[Any]]:
    """Return rows as lists of JSON values in the order of the columns; a missing value is None."""
    plain = rows[[column.name for column in columns]].astype(object)
    return [[_plain(value) for value in row] for row in plain.itertuples(index=False)]


def _plain(value: Any) -> Any:
    if pd.isna(value):
        return None
    return value.item() if isinstance(value, np.generic) else value


def check_golden(estimator: Any, folder: Path, columns: list[Column]) -> None:
    """Raise Refused unless the estimator gives its golden answers again; a version without any has none to give."""
    if not (folder / GOLDEN).exists():
        return
    content = documents.read_json(folder, GOLDEN)
    try:
        fault = _fault(estimator, content, from_json(content["instances"], columns))
    except Exception as error:  # an estimator may fail in any way, and so may what its answers are compared with
        raise Refused(f"its golden rows cannot be tried: {type(error).__name__}: {error!s:.500}") from error
    if fault is not None:
        raise Refused(f"it does not reproduce its golden rows: {fault}")


def _fault(estimator: Any, golden: dict[str, Any], rows: pd.DataFrame) -> str | None:
    truth = Answers.of(golden)
    found = Answers(
        np.asarray(estimator.predict(rows)), None if truth.probabilities is None else estimator.predict_proba(rows)
    )
    tolerance = golden["tolerance"]
    return difference(found, truth, tolerance).fault(tolerance)


def from_json(instances: list[list[Any]], columns: list[Column]) -> pd.DataFrame:
    """Return rows of JSON values as the features that an estimator takes."""
    dtypes: dict[str, Any] = {Kind.NUMBER: "float64", Kind.TEXT: "str"}
    values = zip(*instances, strict=True)
    return pd.DataFrame(
        {
            column.name: pd.Series(list(cells), dtype=dtypes.get(column.kind, object if None in cells else bool))
            for column, cells in zip(columns, values, strict=True)
        }
    )


# --- the rows that it was fitted on --------------------------------------------------------------------------------


def row_hashes(features: pd.DataFrame, target: pd.Series) -> np.ndarray:
    """Return a hash of each row, target included: shape (rows,), uint64."""
    frame = features.assign(**{str(target.name): target})
    hashes: np.ndarray = pd.util.hash_pandas_object(frame, index=False).to_numpy()
    return hashes


def write_fitted_rows(rows: Split, folder: Path) -> None:
    """Write the hashes of the rows that were fitted on; the first two are those of PROBE."""
    hashes = np.unique(row_hashes(rows.train_features, rows.train_target))
    np.save(folder / FITTED_ROWS, np.concatenate([_probe(), hashes]))


def unseen(folder: Path, features: pd.DataFrame, target: pd.Series) -> np.ndarray | None:
    """Tell for each row whether a version was not fitted on it: shape (rows,), bool; None where that is not known."""
    path = folder / FITTED_ROWS
    if not path.exists():
        return None
    hashes = np.load(path, allow_pickle=False)
    if not np.array_equal(hashes[:2], _probe()):
        return None
    return ~np.isin(row_hashes(features, target), hashes[2:])


def _probe() -> np.ndarray:
    hashes: np.ndarray = pd.util.hash_pandas_object(PROBE, index=False).to_numpy()
    return hashes


# --- the reference profile -----------------------------------------------------------------------------------------


def profile(table: Table, rows: Split) -> dict[str, Any]:
    """Return what the rows that were fitted on look like: per column counts, and a histogram or the categories."""
    columns = {column.name: _column_profile(column, rows.train_features[column.name]) for column in table.columns}
    target = rows.train_target
    if table.task is Task.CLASSIFICATION:
        shares = {str(label): int(count) for label, count in target.value_counts().items()}
        described: dict[str, Any] = {"name": str(target.name), "classes": shares}
    else:
        described = {"name": str(target.name), **_numbers_profile(target)}
    return {"data_sha256": table.sha256, "rows": len(target), "columns": columns, "target": described}


def _column_profile(column: Column, values: pd.Series) -> dict[str, Any]:
    known: dict[str, Any] = {"type": str(column.kind), "missing": int(values.isna().sum())}
    if column.kind is Kind.NUMBER:
        return {**known, **_numbers_profile(values.dropna())}
    counts = values.dropna().astype(str).value_counts().head(MOST_CATEGORIES_KEPT)
    return {**known, "distinct": int(values.nunique()), "categories": {str(key): int(n) for key, n in counts.items()}}


def _numbers_profile(values: pd.Series) -> dict[str, Any]:
    if values.empty:
        return {}
    counts, edges = np.histogram(values, bins=HISTOGRAM_BINS)
    quantiles = values.quantile([0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]).tolist()
    return {
        "mean": float(values.mean()),
        "std": float(values.std(ddof=0)),
        "quantiles": dict(zip(["min", "p05", "p25", "p50", "p75", "p95", "max"], quantiles, strict=True)),
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    }
