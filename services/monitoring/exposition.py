"""What Prometheus is told of the last look; their names are in docs/monitoring.md."""

from datetime import datetime

from monitoring.looking.look import Look, Seen
from monitoring.statistics import quality
from monitoring.statistics.quality import Figure
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

# Columns with figures of their own: those that differ most.
MOST_COLUMNS = 100
SINGLE = {
    "monitor_drift_detected": "1 while there is drift",
    "monitor_rows": "Rows of the last look",
    "monitor_missing_rows": "Rows that are missing for a verdict",
    "monitor_labelled_rows": "Rows with a label",
    "monitor_looked_timestamp_seconds": "When the last look ended that came to a verdict",
    "monitor_reference_accuracy": "Accuracy on the hold-out of the training",
    "monitor_accuracy_drop_low": "By how much accuracy has fallen since at least; below 0 where chance explains it",
}
OF_COLUMNS = {
    "monitor_drift_psi": "PSI of the newer window",
    "monitor_drift_psi_chance": "What PSI is by chance alone, once in a thousand looks",
    "monitor_column_drifted": "1 for a column that drifted in both windows",
    "monitor_missing_share": "Share of rows without a value",
    "monitor_out_of_range_share": "Share of rows beyond what the training had",
    "monitor_unknown_share": "Share of rows with a category that the training did not have",
}
FIGURES = {
    "monitor_labelled_accuracy": "Accuracy of rows with a label",
    "monitor_labelled_metric": "The version's own metric, of rows with a label",
    "monitor_estimated_accuracy": "Accuracy as it is likely without labels",
}


class Figures:
    """The gauges of the last look: it makes them anew, so that what is gone is not told any more."""

    def __init__(self) -> None:
        self._counts = CollectorRegistry()
        self._looks = Counter("monitor_looks", "Looks since it began", ["result"], registry=self._counts)
        for result in ("drift", "none", "too_few", "failed"):
            self._looks.labels(result)
        self._last = CollectorRegistry()
        self._rows = CollectorRegistry()

    def take(self, look: Look, now: datetime) -> None:
        """Tell of a look that came to a verdict."""
        self._looks.labels("drift" if look.drifted else "none").inc()
        self._set_rows(look.rows.count, 0)
        registry = CollectorRegistry()
        version = Gauge(
            "monitor_version_info", "1 for the version that was looked at", ["model", "version"], registry=registry
        )
        version.labels(look.version.name, look.version.version).set(1)
        _single(registry, "monitor_drift_detected", float(bool(look.drifted)))
        _single(registry, "monitor_labelled_rows", look.quality.labelled)
        _single(registry, "monitor_looked_timestamp_seconds", now.timestamp())
        _single(registry, "monitor_reference_accuracy", look.reference.accuracy)
        _single(registry, "monitor_accuracy_drop_low", _drop(look))
        _figure(registry, "monitor_labelled_accuracy", look.quality.accuracy, None)
        _figure(registry, "monitor_labelled_metric", look.quality.metric, look.reference.metric)
        _figure(registry, "monitor_estimated_accuracy", look.quality.estimated, None)
        for name, words in OF_COLUMNS.items():
            gauge = Gauge(name, words, ["column"], registry=registry)
            for seen in look.columns[:MOST_COLUMNS]:
                if (value := _of(name, seen)) is not None:
                    gauge.labels(seen.column.name).set(value)
        self._last = registry

    def nothing(self, result: str, rows: int, missing: int | None) -> None:
        """Tell of a look that came to none."""
        self._looks.labels(result).inc()
        self._set_rows(rows, missing)

    def forget(self) -> None:
        """Tell no more of the last look that came to a verdict: it was at a version that is served no more."""
        self._last = CollectorRegistry()

    def _set_rows(self, rows: int, missing: int | None) -> None:
        self._rows = CollectorRegistry()
        _single(self._rows, "monitor_rows", rows)
        _single(self._rows, "monitor_missing_rows", missing)

    def exposition(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        return b"".join(generate_latest(registry) for registry in (self._counts, self._rows, self._last))


def _drop(look: Look) -> float | None:
    """Return by how much accuracy has fallen at least, None where it is not known of the hold-out or of labelled rows."""
    before, rows = look.reference.accuracy, look.reference.held_out
    if before is None or not rows or look.quality.accuracy is None:
        return None
    return quality.drop(quality.share(round(before * rows), rows), look.quality.accuracy)


def _single(registry: CollectorRegistry, name: str, value: float | None) -> None:
    if value is not None:
        Gauge(name, SINGLE[name], registry=registry).set(value)


def _figure(registry: CollectorRegistry, name: str, found: Figure | None, metric: str | None) -> None:
    if found is None:
        return
    names, labels = (["metric"], [metric]) if metric is not None else ([], [])
    for end, value in (("", found.value), ("_low", found.low), ("_high", found.high)):
        gauge = Gauge(f"{name}{end}", FIGURES[name], names, registry=registry)
        (gauge.labels(*labels) if labels else gauge).set(value)


def _of(name: str, seen: Seen) -> float | None:
    shares = {"missing": seen.missing, "out_of_range": seen.out_of_range, "unknown": seen.unknown}
    if name.endswith("_share"):
        return shares[name.removeprefix("monitor_").removesuffix("_share")]
    if seen.newer is None:
        return None
    of = {"psi": seen.newer.distance.psi, "psi_chance": seen.newer.distance.chance}
    return float(seen.drifted) if name == "monitor_column_drifted" else of[name.removeprefix("monitor_drift_")]
