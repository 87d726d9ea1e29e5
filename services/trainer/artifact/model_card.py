"""The model card: one page about a version for people, of what is known when it is made (`model_card.md`)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from contract.display import visible

from trainer.artifact.provenance import Provenance
from trainer.console.figures import grouped, markdown, metric_words, number
from trainer.data.table import Column, Kind, Split, Table, Task
from trainer.fit import importance
from trainer.fit.decision import threshold_of
from trainer.fit.metric import class_name
from trainer.fit.model_selection import Fitted

MOST_ROWS = 30
MOST_CATEGORIES = 5
# With more different texts than this, they are what people wrote, and nobody's category: how many there are is said alone.
MOST_LISTED = 100
# Fewer held-out rows than this leave an interval wide.
FEW_ROWS = 100
SHOWN = {
    Task.CLASSIFICATION: ("accuracy", "balanced_accuracy", "f1_macro", "roc_auc", "average_precision", "log_loss"),
    Task.REGRESSION: ("r2", "rmse", "mae"),
}


@dataclass(frozen=True)
class Circumstances:
    """What the card has from elsewhere than the fit."""

    name: str
    """of the registered model"""
    baseline: str
    """what answers that look at no feature would be: always No"""
    thresholds: Mapping[str, float]
    """thresholds of the quality gate, empty where the baseline is it"""
    leaks: list[str]
    origin: Provenance


def text(fitted: Fitted, table: Table, rows: Split, known: Circumstances) -> str:
    """Return the card as Markdown; names of others are shown and never obeyed."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=jinja2.select_autoescape(),  # of HTML; in Markdown `cell` makes names harmless
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"cell": _cell, "number": number}
    found: str = environment.get_template("model_card.md.j2").render(_content(fitted, table, rows, known))
    return found


def _cell(text: Any) -> str:
    return markdown(text, 80)


def _content(fitted: Fitted, table: Table, rows: Split, known: Circumstances) -> dict[str, Any]:
    metric, metrics = fitted.evaluation.metric, fitted.evaluation.metrics
    threshold = threshold_of(fitted.estimator)
    looked_at = importance.importances(fitted.estimator, rows, metric)
    lowest, explained = number(metrics[f"baseline_{metric.name}"]), fitted.evaluation.contributions
    return {
        "name": visible(known.name, 200),
        "algorithm": fitted.algorithm,
        "task": str(table.task),
        "target": table.target.name,
        "classes": metric.labels,
        "positive": None if metric.positive is None else class_name(metric, table),
        "date": datetime.now(UTC).date().isoformat(),
        "origin": known.origin.known(),
        "judged_by": metric.words,
        "figures": list(_figures(metric.name, metrics, table.task)),
        "baseline": known.baseline,
        "baseline_value": lowest,
        "gate": _gate(known.thresholds, lowest),
        "threshold": None if threshold is None else number(threshold),
        "by_class": list(_by_class(fitted, table)),
        "importances": looked_at and looked_at[:MOST_ROWS],
        "asked": min(len(rows.test_target), importance.MOST_ROWS),
        "more": max(0, len(looked_at or ()) - MOST_ROWS),
        "contributions": explained and list(explained.means.items())[:MOST_ROWS],
        "explained": explained,
        "data": table.origin(),
        "fitted": len(rows.train_target),
        "held_out": len(rows.test_target),
        "division": table.aside.words,
        "weight": None if table.aside.weight is None else table.aside.weight.name,
        "columns": [_column(column, rows) for column in table.columns[:MOST_ROWS]],
        "more_columns": max(0, len(table.columns) - MOST_ROWS),
        "limits": list(_limits(table, rows, known)),
    }


def _figures(judged_by: str, metrics: Mapping[str, float], task: Task) -> Iterator[dict[str, str]]:
    for name in dict.fromkeys((judged_by, *SHOWN[task])):
        if (value := metrics.get(f"test_{name}")) is not None:
            ends = [metrics[key] for end in ("low", "high") if (key := f"test_{name}_ci_{end}") in metrics]
            yield {
                "name": metric_words(name),
                "value": number(value),
                "interval": " to ".join(number(end) for end in ends),
            }


def _gate(thresholds: Mapping[str, float], lowest: str) -> str:
    if not thresholds:
        return f"better than the baseline's {lowest} by more than chance explains"
    return ", ".join(f"{metric_words(name)} {number(value)}" for name, value in thresholds.items())


def _by_class(fitted: Fitted, table: Table) -> Iterator[dict[str, Any]]:
    """Yield each class's figures, none where they are too many to be told one by one."""
    found = fitted.evaluation
    if not 1 < len(found.labels) <= MOST_ROWS:
        return
    counts, sums = found.confusion, found.weighted
    for i, label in enumerate(found.labels):
        hits, said, there = sums[i, i], sums[:, i].sum(), sums[i].sum()
        yield {
            "name": label if table.class_names is None else table.class_names[int(label)],
            "rows": int(counts[i].sum()),
            "precision": _share(hits, said),
            "recall": _share(hits, there),
            "f1": _share(2 * hits, said + there),
        }


def _share(part: Any, whole: Any) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _value(value: float) -> str:
    """Return a number of the data, 25 as 25: its digits are the data's, and not those of a figure that was measured."""
    return grouped(value) if abs(value) >= 1000 else f"{value:.4g}"


def _column(column: Column, rows: Split) -> dict[str, str]:
    values = rows.train_features[column.name]
    missing = f", {values.isna().mean():.1%} missing" if column.missing else ""
    present = values.dropna()
    if present.empty:
        seen = "no value"
    elif column.kind is Kind.NUMBER:
        seen = f"{_value(present.min())} to {_value(present.max())}, median {_value(float(np.median(present)))}"
    elif column.kind is Kind.DATE:
        seen = f"{present.min():%Y-%m-%d} to {present.max():%Y-%m-%d}"
    elif (count := present.nunique()) > MOST_LISTED:
        seen = f"{count} different texts"
    else:
        counts = present.astype(str).value_counts()
        more = f" and {len(counts) - MOST_CATEGORIES} more" if len(counts) > MOST_CATEGORIES else ""
        seen = ", ".join(visible(name, 20) for name in counts.index[:MOST_CATEGORIES]) + more
    kind = {Kind.NUMBER: "number", Kind.BOOLEAN: "boolean", Kind.TEXT: "text", Kind.DATE: "date"}[column.kind]
    return {"name": column.name, "type": kind, "seen": f"{seen}{missing}"}


def _limits(table: Table, rows: Split, known: Circumstances) -> Iterator[str]:
    for leak in known.leaks:
        yield f"Its figures come from a leak, which was accepted or keeps it out: {_cell(leak[:80])}."
    if table.aside.time is None:
        yield "The held-out rows are of the same file and the same time as those that it was fitted on; how it does later or elsewhere is not measured."
    if len(rows.test_target) < FEW_ROWS:
        yield f"{len(rows.test_target)} held-out rows leave wide intervals: compare models by more of them."
    if any(column.kind is Kind.NUMBER for column in table.columns):
        yield "Numbers outside of the ranges above were not seen; it answers them all the same."
    if any(column.kind is Kind.TEXT for column in table.columns):
        yield "A text that was not seen in training is answered as if it were none of the known ones."
    if full := [column.name for column in table.columns if not column.missing][:5]:
        yield f"A missing value is refused where the training data had none ({', '.join(map(_cell, full))}{', …' if len(full) == 5 else ''})."
    yield "How it does for parts of the rows, such as groups of people, is not measured."
