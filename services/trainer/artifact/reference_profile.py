"""What the training data looks like.

The reference profile is for whoever wants to notice that the world has changed; the background has rows that stand for all
others where a prediction is explained.
"""

from typing import Any

import numpy as np
import pandas as pd
from contract.explanation.shapley import BACKGROUND_ROWS, MOST_COLUMNS
from contract.preparation.dates import iso

from trainer.artifact.golden_samples import as_json
from trainer.data.table import SEED, Column, Kind, Split, Table, Task

HISTOGRAM_BINS = 20
MOST_CATEGORIES_KEPT = 50


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


def background(features: pd.DataFrame) -> dict[str, Any] | None:
    """Return some of the rows as a request has them; None for a table of too many columns to be explained one by one."""
    if len(features.columns) > MOST_COLUMNS:
        return None
    return {"instances": as_json(features.sample(min(len(features), BACKGROUND_ROWS), random_state=SEED))}


def _column_profile(column: Column, values: pd.Series) -> dict[str, Any]:
    known: dict[str, Any] = {"type": str(column.kind), "missing": int(values.isna().sum())}
    if column.kind is Kind.NUMBER:
        return {**known, **_numbers_profile(values.dropna())}
    if column.kind is Kind.DATE:
        return {**known, "distinct": int(values.nunique()), "from": iso(values.min()), "to": iso(values.max())}
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
