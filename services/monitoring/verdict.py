"""What a look comes to, as others read it: the JSON of `GET /status` and --json, and the figures of a run."""

from datetime import UTC, datetime
from typing import Any

from monitoring.looking.look import Look, Seen, Window
from monitoring.statistics.quality import Figure


def iso(moment: datetime) -> str:
    """Return a moment in UTC, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def status(look: Look, looked: datetime) -> dict[str, Any]:
    """Return the verdict in short (docs/monitoring.md)."""
    found = look.quality
    return {
        "drift": bool(look.drifted),
        "columns": look.drifted,
        "window": [iso(moment) for moment in look.time],
        "rows": look.rows.count,
        "missing_rows": 0,
        "model": look.version.name,
        "version": look.version.version,
        "looked": iso(looked),
        "problem": None,
        "accuracy": None if found.accuracy is None else found.accuracy.value,
        "labelled_rows": found.labelled,
        "estimated_accuracy": None if found.estimated is None else found.estimated.value,
    }


def whole(look: Look, looked: datetime) -> dict[str, Any]:
    """Return all figures, for the run's report.json."""
    return {
        **status(look, looked),
        "newer_window_from": iso(look.cut),
        "reference_rows": look.reference.rows,
        "reference_lacks": list(look.reference.lacks),
        "not_kept": list(look.omitted),
        "quality": {
            "accuracy": _figure(look.quality.accuracy),
            "metric": look.reference.metric,
            "metric_value": _figure(look.quality.metric),
            "estimated_accuracy": _figure(look.quality.estimated),
        },
        "details": {seen.column.name: _column(seen) for seen in look.columns},
        "by": look.by,
        "parts": [
            {
                "name": part.name,
                "rows": part.rows,
                "accuracy": _figure(part.quality.accuracy),
                "metric_value": _figure(part.quality.metric),
                "estimated_accuracy": _figure(part.quality.estimated),
            }
            for part in look.parts
        ],
    }


def metrics(look: Look) -> dict[str, float]:
    """Return the metrics of a run."""
    found = {
        "rows": float(look.rows.count),
        "drift": float(bool(look.drifted)),
        "drifted_columns": float(len(look.drifted)),
        "largest_psi": max(0.0, max((seen.psi for seen in look.columns), default=0.0)),
    }
    for name, one in (("accuracy", look.quality.accuracy), ("estimated_accuracy", look.quality.estimated)):
        if one is not None:
            found[name] = one.value
    return found


def _figure(found: Figure | None) -> dict[str, float] | None:
    return None if found is None else {"value": found.value, "low": found.low, "high": found.high, "rows": found.rows}


def _column(seen: Seen) -> dict[str, Any]:
    return {
        "drifted": seen.drifted,
        "missing": seen.missing,
        "out_of_range": seen.out_of_range,
        "unknown": seen.unknown,
        "older": _window(seen.older),
        "newer": _window(seen.newer),
    }


def _window(found: Window | None) -> dict[str, float | None] | None:
    if found is None:
        return None
    return {**vars(found.distance), "q": found.q, "wasserstein": found.wasserstein}
