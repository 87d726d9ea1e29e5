"""Golden samples: rows with the answers that the fitted model gave, to be given again before the version may serve."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from contract.errors import Refused
from contract.file_names import GOLDEN
from contract.golden import Answers, difference
from contract.mlmodel.manifest import Description
from contract.preparation import dates
from contract.schema import Column, Kind, count_of, fault
from contract.version_files import VersionFiles

GOLDEN_ROWS = 16
# Another processor may sum in another order: what differs by less than this is the same answer.
TOLERANCE = 1e-6


def golden(estimator: Any, features: pd.DataFrame, is_named: bool = True) -> dict[str, Any]:
    """Return rows spread over the features with the estimator's answers, as a request and its answer.

    `is_named` tells whether the estimator takes its columns by their names, or an array.
    """
    rows = golden_rows(features)
    asked = rows if is_named else rows.to_numpy()
    content: dict[str, Any] = {
        "instances": as_json(rows),
        "predictions": np.asarray(estimator.predict(asked)).tolist(),
        "tolerance": TOLERANCE,
    }
    if hasattr(estimator, "predict_proba"):
        content["probabilities"] = estimator.predict_proba(asked).tolist()
    return content


def golden_rows(features: pd.DataFrame) -> pd.DataFrame:
    """Return rows spread over the features, first and last among them."""
    return features.iloc[np.unique(np.linspace(0, len(features) - 1, GOLDEN_ROWS).astype(int))]


def as_json(rows: pd.DataFrame) -> list[list[Any]]:
    """Return rows as lists of JSON values in the order of the columns; a missing value is None."""
    return [[_plain(value) for value in row] for row in rows.astype(object).itertuples(index=False)]


def _plain(value: Any) -> Any:
    if pd.isna(value):
        return None
    if isinstance(value, pd.Timestamp):
        return dates.iso(value)
    return value.item() if isinstance(value, np.generic) else value


def check(estimator: Any, files: VersionFiles, description: Description) -> None:
    """Raise Refused unless the estimator gives its golden answers again; a version without any answers its example."""
    if GOLDEN not in files and not description.examples:
        return
    try:
        content = files.json(GOLDEN) if GOLDEN in files else {"instances": description.examples}
        rows = from_json(content["instances"], description.columns)
        said = _fault(estimator, content, rows if description.is_named else rows.to_numpy())
    except Exception as error:  # an estimator may fail in any way, and so may what its answers are compared with
        raise Refused(f"its golden samples cannot be tried: {type(error).__name__}: {error!s:.500}") from error
    if said is not None:
        raise Refused(f"it does not reproduce its golden samples: {said}")


def _fault(estimator: Any, golden: dict[str, Any], rows: Any) -> str | None:
    truth = Answers.of(golden)
    found = Answers(
        np.asarray(estimator.predict(rows)), None if truth.probabilities is None else estimator.predict_proba(rows)
    )
    tolerance = 0.0 if truth.labels is None and truth.probabilities is None else float(golden["tolerance"])
    return difference(found, truth, tolerance).fault(tolerance)


def from_json(instances: list[list[Any]], columns: Sequence[Column]) -> pd.DataFrame:
    """Return rows of JSON values as the features that an estimator takes; raise ValueError for one that is out of place."""
    if not isinstance(instances, list) or not instances:
        raise ValueError("they are no list of rows")
    for i, row in enumerate(instances):
        if not isinstance(row, list) or len(row) != len(columns):
            raise ValueError(f"row {i} is no list of {count_of(columns)}")
        for column, value in zip(columns, row, strict=True):
            if said := fault(value, column):
                raise ValueError(f"{column.name!r} in row {i} {said}")
    cells = zip(columns, zip(*instances, strict=True), strict=True)
    return pd.DataFrame({column.name: _series(column, values) for column, values in cells})


def _series(column: Column, values: Sequence[Any]) -> pd.Series:
    """Return a column's values as the prediction service gives them to an estimator."""
    plain = [None if value is None or value != value else value for value in values]
    if column.kind is Kind.DATE:
        return pd.Series(np.array([dates.moment_of(value) for value in plain], dtype=dates.DTYPE))
    return pd.Series(plain, dtype=column.dtype(None in plain))
