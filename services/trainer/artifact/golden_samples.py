"""Golden samples: rows with the answers that the fitted model gave, to be given again before the version may serve."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from contract import documents
from contract.errors import Refused
from contract.file_names import GOLDEN
from contract.golden import Answers, difference

from trainer.data.table import Column, Kind

GOLDEN_ROWS = 16
# Another processor may sum in another order: what differs by less than this is the same answer.
TOLERANCE = 1e-6


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
