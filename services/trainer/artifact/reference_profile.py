"""What the training data looks like.

The reference profile is for whoever wants to notice that the world has changed; the background has rows that stand for all
others where a prediction is explained.
"""

from typing import Any

import numpy as np
import pandas as pd
from contract.explanation.shapley import BACKGROUND_ROWS, MOST_COLUMNS
from contract.preparation.dates import iso
from contract.reference import bins
from sklearn.isotonic import IsotonicRegression

from trainer.artifact.golden_samples import as_json
from trainer.data.table import SEED, Column, Kind, Split, Table, Task
from trainer.fit.evaluation import Evaluation

HISTOGRAM_BINS = 20
MOST_CATEGORIES_KEPT = 50
# Of a calibration's line.
MOST_KNOTS = 100


def profile(table: Table, rows: Split, evaluation: Evaluation | None = None) -> dict[str, Any]:
    """Return what the rows that were fitted on look like: per column counts, and a histogram or the categories.

    Of an evaluation, it also has what was answered for the held-out rows, and how good that was.
    """
    columns = {column.name: _column_profile(column, rows.train_features[column.name]) for column in table.columns}
    target = rows.train_target
    if table.task is Task.CLASSIFICATION:
        shares = {str(label): int(count) for label, count in target.value_counts().items()}
        described: dict[str, Any] = {"name": str(target.name), "classes": shares}
    else:
        described = {"name": str(target.name), **_numbers_profile(target)}
    found = {"data_sha256": table.sha256, "rows": len(target), "columns": columns, "target": described}
    return found if evaluation is None else {**found, "held_out": _answers(evaluation)}


def background(features: pd.DataFrame) -> dict[str, Any] | None:
    """Return some of the rows as a request has them; None for a table of too many columns to be explained one by one."""
    if len(features.columns) > MOST_COLUMNS:
        return None
    return {"instances": as_json(features.sample(min(len(features), BACKGROUND_ROWS), random_state=SEED))}


def _answers(found: Evaluation) -> dict[str, Any]:
    """Return what held-out rows were answered: the classes and how likely they were, or the values; and how good that was."""
    name = found.metric.name
    judged = {"name": name, "value": _finite(found.metrics.get(f"test_{name}")), "positive": None}
    if not len(found.labels):
        return {
            "rows": len(found.predicted),
            "metric": judged,
            "predictions": _numbers_profile(pd.Series(found.predicted)),
        }
    judged["positive"] = None if found.metric.positive is None else str(found.metric.positive)
    counts = pd.Series(found.predicted).astype(str).value_counts()
    answers: dict[str, Any] = {
        "rows": len(found.predicted),
        "metric": judged,
        "accuracy": _finite(found.metrics.get("test_accuracy")),
        "classes": [str(label) for label in found.labels.tolist()],
        "predictions": {str(label): int(count) for label, count in counts.items()},
    }
    return answers if found.probabilities is None else answers | _calibration(found, found.probabilities)


def _calibration(found: Evaluation, probabilities: np.ndarray) -> dict[str, Any]:
    """Return how likely the answered classes were, and how often rows of such a confidence were right."""
    position = {label: j for j, label in enumerate(found.labels.tolist())}
    answered = [position[label] for label in np.asarray(found.predicted).tolist()]
    confidence = probabilities[np.arange(len(answered)), answered]
    right = np.asarray(found.predicted) == np.asarray(found.truth)
    line = IsotonicRegression(y_min=0, y_max=1).fit(confidence, right, sample_weight=found.weights)
    knots = np.unique(np.linspace(0, len(line.X_thresholds_) - 1, MOST_KNOTS).astype(int))
    return {
        "confidence": _numbers_profile(pd.Series(confidence)),
        "calibration": {"confidence": line.X_thresholds_[knots].tolist(), "right": line.y_thresholds_[knots].tolist()},
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None


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
    counts, edges = np.histogram(values, bins.edges_of(values.to_numpy(), HISTOGRAM_BINS))
    edges_of_deciles = bins.deciles(values.to_numpy())
    quantiles = values.quantile([0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]).tolist()
    return {
        "mean": float(values.mean()),
        "std": float(values.std(ddof=0)),
        "quantiles": dict(zip(["min", "p05", "p25", "p50", "p75", "p95", "max"], quantiles, strict=True)),
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
        "deciles": {
            "edges": edges_of_deciles.tolist(),
            "counts": bins.counts(values.to_numpy(), edges_of_deciles).tolist(),
        },
    }
