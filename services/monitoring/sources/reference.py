"""What a version's profile says of its training's rows, and later rows counted in the same bins.

Each of a column's bins is a share of all its rows: missing ones; of numbers those below the least, each bin in between, and those above
the greatest; of texts each category that is known, those of the reference that are not kept one by one, and unknown ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from contract.preparation import dates
from contract.reference import bins

NUMBER, TEXT, DATE = "number", "text", "date"
KINDS = {"double": NUMBER, "boolean": TEXT, "string": TEXT, "datetime": DATE}
PREDICTION, CONFIDENCE = "prediction", "confidence"
# Which quantile is called what.
QUANTILES = {"min": 0.0, "p05": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}
# What the profile of an earlier trainer may be unreadable by.
UNREADABLE = (LookupError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True)
class Column:
    """A column of the reference."""

    name: str
    kind: str
    rows: int
    missing: int = 0
    low: float = -np.inf
    high: float = np.inf
    """of the reference; NaN where there is none"""
    std: float = 0.0
    edges: np.ndarray = field(default_factory=lambda: np.empty(0))
    counts: np.ndarray = field(default_factory=lambda: np.zeros(1))
    """of numbers: the bins' inner edges, and the rows of each"""
    shares: np.ndarray = field(default_factory=lambda: np.empty(0))
    quantiles: np.ndarray = field(default_factory=lambda: np.empty(0))
    """some quantiles, and of which shares they are"""
    histogram: tuple[np.ndarray, np.ndarray] | None = None
    """edges and counts of bins of one width, for people"""
    categories: Mapping[str, int] = field(default_factory=dict)
    is_whole: bool = True
    """whether all categories of the reference are there"""

    @property
    def binned(self) -> np.ndarray:
        """The reference's rows, bin by bin."""
        if self.kind == NUMBER:
            return np.array([self.missing, 0, *self.counts, 0])
        kept = list(self.categories.values())
        rest = 0 if self.is_whole else max(0, self.rows - self.missing - sum(kept))
        return np.array([self.missing, *kept, rest])

    def count(self, values: np.ndarray) -> np.ndarray:
        """Return later rows, bin by bin: `values` as `log_rows` has them."""
        if self.kind == TEXT:
            return self._categories(values)
        there = values[~np.isnan(values)]
        inside = there[(there >= self.low) & (there <= self.high)]
        ends = [(there < self.low).sum(), (there > self.high).sum()]
        return np.array([len(values) - len(there), ends[0], *bins.counts(inside, self.edges), ends[1]])

    def _categories(self, values: np.ndarray) -> np.ndarray:
        there = values[values != None]  # noqa: E711 - of each element
        names, counts = np.unique(there.astype(str), return_counts=True)
        found = dict(zip(names, counts, strict=True))
        kept = [int(found.get(name, 0)) for name in self.categories]
        return np.array([len(values) - len(there), *kept, len(there) - sum(kept)])

    def out_of_range(self, counted: np.ndarray) -> float | None:
        """Return the share of rows beyond the reference's least and greatest; None for texts. `counted` is what `count` returned."""
        return None if self.kind == TEXT or not counted.sum() else float((counted[1] + counted[-1]) / counted.sum())

    def unknown(self, counted: np.ndarray) -> float | None:
        """Return the share of rows whose category the reference does not have, None where it does not know all of its own."""
        is_known = self.kind == TEXT and self.is_whole and counted.sum()
        return float(counted[-1] / counted.sum()) if is_known else None


@dataclass(frozen=True)
class Reference:
    """What a version was trained on, and how it answered then."""

    columns: tuple[Column, ...]
    rows: int
    is_classifier: bool
    prediction: Column
    confidence: Column | None
    classes: tuple[str, ...]
    """in the order of the probabilities, where that is known; else those of the target"""
    has_order: bool
    positive: str | None = None
    metric: str | None = None
    metric_value: float | None = None
    accuracy: float | None = None
    """on the hold-out, which has so many rows:"""
    held_out: int = 0
    calibration: tuple[np.ndarray, np.ndarray] | None = None
    """at which confidence which share of the hold-out was right"""
    lacks: tuple[str, ...] = ()
    """what the profile does not have, as the trainer did not write it yet"""


def of_profile(profile: Mapping[str, Any], figures: Mapping[str, Any] | None) -> Reference:
    """Return what a profile says, and figures.json beside it; raise one of UNREADABLE where it is none."""
    rows, target, held = int(profile["rows"]), profile["target"], profile.get("held_out")
    columns = tuple(_column(name, found, rows) for name, found in profile["columns"].items())
    classes = target.get("classes")
    metrics = (figures or {}).get("metrics", {})
    if held is None:
        return Reference(
            columns=columns,
            rows=rows,
            is_classifier=classes is not None,
            prediction=_answers(classes or target, classes is not None, rows),
            confidence=None,
            classes=tuple(map(str, classes or ())),
            has_order=False,
            accuracy=metrics.get("test_accuracy"),
            lacks=_lacks(profile),
        )
    return _with_answers(columns, rows, held, classes is not None)


def _with_answers(columns: tuple[Column, ...], rows: int, held: Mapping[str, Any], is_classifier: bool) -> Reference:
    count, metric, knots = int(held["rows"]), held["metric"], held.get("calibration")
    return Reference(
        columns=columns,
        rows=rows,
        is_classifier=is_classifier,
        prediction=_answers(dict.fromkeys(held.get("classes", ()), 0) | held["predictions"], is_classifier, count),
        confidence=_number(CONFIDENCE, held["confidence"], count) if held.get("confidence") else None,
        classes=tuple(map(str, held.get("classes", ()))),
        has_order=is_classifier,
        positive=metric["positive"],
        metric=str(metric["name"]),
        metric_value=metric["value"],
        accuracy=held.get("accuracy"),
        held_out=count,
        calibration=None
        if knots is None
        else (np.asarray(knots["confidence"], float), np.asarray(knots["right"], float)),
    )


def _lacks(profile: Mapping[str, Any]) -> tuple[str, ...]:
    found = ["its predictions on the hold-out (they are compared with the labels of its training)"]
    found.append("its calibration (accuracy is not estimated without labels)")
    if not any("deciles" in column for column in profile["columns"].values()):
        found.append("deciles (numbers are compared over its histogram's bins)")
    return tuple(found)


def _answers(found: Mapping[str, Any], is_classifier: bool, rows: int) -> Column:
    if not is_classifier:
        return _number(PREDICTION, found, rows)
    counts = {str(name): int(count) for name, count in found.items()}
    return Column(PREDICTION, TEXT, rows, categories=counts)


def _column(name: str, found: Mapping[str, Any], rows: int) -> Column:
    kind, missing = KINDS[found["type"]], int(found["missing"])
    if kind == NUMBER:
        return _number(name, found, rows, missing)
    if kind == DATE:
        ends = [float(dates.microseconds(found[end])) if found.get(end) else np.nan for end in ("from", "to")]
        return Column(name, DATE, rows, missing, low=ends[0], high=ends[1])
    counts = {str(category): int(count) for category, count in found["categories"].items()}
    return Column(name, TEXT, rows, missing, categories=counts, is_whole=int(found["distinct"]) == len(counts))


def _number(name: str, found: Mapping[str, Any], rows: int, missing: int = 0) -> Column:
    if "quantiles" not in found:  # all are missing
        return Column(name, NUMBER, rows, missing, low=np.nan, high=np.nan)
    known = {QUANTILES[key]: float(value) for key, value in found["quantiles"].items()}
    histogram = tuple(np.asarray(found["histogram"][key], float) for key in ("edges", "counts"))
    deciles = found.get("deciles")
    edges, counts = (np.asarray(deciles[key], float) for key in ("edges", "counts")) if deciles else _even(*histogram)
    if len(counts) != len(edges) + 1 or len(histogram[0]) != len(histogram[1]) + 1 or (np.diff(edges) <= 0).any():
        raise ValueError(f"the bins of {name!r} do not fit together")
    if deciles and len(edges) == bins.BINS - 1:
        known |= {(j + 1) / bins.BINS: float(edge) for j, edge in enumerate(edges)}
    shares = np.array(sorted(known))
    return Column(
        name,
        NUMBER,
        rows,
        missing,
        low=known[0.0],
        high=known[1.0],
        std=float(found["std"]),
        edges=edges,
        counts=counts,
        shares=shares,
        quantiles=np.array([known[share] for share in shares]),
        histogram=(histogram[0], histogram[1]),
    )


def _even(edges: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the inner edges and counts of a histogram's bins, so many of them in one that each has a tenth of the rows if it can."""
    inner, kept, filled = [], [], 0.0
    for edge, count in zip(edges[1:], counts, strict=True):
        filled += count
        if filled >= counts.sum() / bins.BINS and edge < edges[-1]:
            inner.append(edge)
            kept.append(filled)
            filled = 0.0
    return np.array(inner), np.array([*kept, filled])
