"""A look at a version: which of its columns have drifted in both of two windows, and how good its answers are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from inference.model.version import ModelVersion
from monitoring.errors import TooFewRows
from monitoring.looking import bars
from monitoring.looking.bars import Bar
from monitoring.looking.judging import Quality, judged
from monitoring.looking.parts import Part, parts_of
from monitoring.sources.log_rows import Rows
from monitoring.sources.reference import CONFIDENCE, DATE, NUMBER, Column, Reference
from monitoring.statistics import drift
from monitoring.statistics.drift import Distance


@dataclass(frozen=True)
class Window:
    """A column in one of the two windows."""

    distance: Distance
    q: float
    wasserstein: float | None
    """in standard deviations of the reference; None for texts, and where the reference has no spread"""

    @property
    def drifted(self) -> bool:
        return self.distance.drifted(self.q)


@dataclass(frozen=True)
class Seen:
    """A column in both windows."""

    column: Column
    rows: int
    missing: float
    out_of_range: float | None
    unknown: float | None
    """shares of the rows of both"""
    older: Window | None
    newer: Window | None
    """None for a date, which always moves on"""
    bars: tuple[Bar, ...]

    @property
    def drifted(self) -> bool:
        return self.older is not None and self.newer is not None and self.older.drifted and self.newer.drifted

    @property
    def has_begun(self) -> bool:
        """Whether it is drift in the newer window alone."""
        return self.newer is not None and self.newer.drifted and not self.drifted

    @property
    def psi(self) -> float:
        """The lesser of both windows', -1 where there is none: what the rule goes by."""
        return (
            -1.0 if self.older is None or self.newer is None else min(self.older.distance.psi, self.newer.distance.psi)
        )


@dataclass(frozen=True)
class Look:
    """What there was to be seen."""

    version: ModelVersion
    reference: Reference
    time: tuple[datetime, datetime]
    cut: datetime
    """where the newer window begins"""
    rows: Rows
    columns: tuple[Seen, ...]
    """those that differ most first"""
    omitted: tuple[str, ...]
    """columns that are not kept"""
    quality: Quality
    by: str | None
    parts: tuple[Part, ...]

    @property
    def drifted(self) -> list[str]:
        return [seen.column.name for seen in self.columns if seen.drifted]

    @property
    def begun(self) -> list[str]:
        return [seen.column.name for seen in self.columns if seen.has_begun]

    @property
    def smallest_shift(self) -> float:
        """The smallest shift of a number that is told, in standard deviations."""
        chances = [seen.newer.distance.chance for seen in self.columns if seen.newer and seen.column.kind == NUMBER]
        return drift.smallest_shift(max(chances, default=0.0))


def look(
    version: ModelVersion, reference: Reference, time: tuple[datetime, datetime], rows: Rows, least: int, by: str | None
) -> Look:
    """Return what there is to be seen in rows; raise TooFewRows, or WrongOption for a column of `by` that is none."""
    _check(rows, version, least)
    parts = tuple(parts_of(rows, reference, by)) if by is not None else ()
    known = [*reference.columns, reference.prediction]
    known += [reference.confidence] if reference.confidence is not None else []
    there = [column for column in known if _has_values(column, rows)]
    return Look(
        version=version,
        reference=reference,
        time=time,
        cut=datetime.fromtimestamp(rows.times[rows.cut] / 1e6, time[0].tzinfo),
        rows=rows,
        columns=tuple(sorted(_seen(there, rows), key=lambda seen: (seen.drifted, seen.psi), reverse=True)),
        omitted=tuple(column.name for column in reference.columns if column.name not in rows.columns),
        quality=judged(rows, reference, np.ones(len(rows), bool)),
        by=by,
        parts=parts,
    )


def _check(rows: Rows, version: ModelVersion, least: int) -> None:
    cut = rows.cut
    if (missing := max(0, least - cut) + max(0, least - (len(rows) - cut))) == 0:
        return
    others = f" ({rows.others} are of other versions)" if rows.others else ""
    raise TooFewRows(
        f"{rows.count} rows of {version.uri} in this time{others}, {cut} and {len(rows) - cut} in the two windows; each needs {least}, "
        f"so {missing} are missing. A longer time has more (--last 7d); with fewer (--rows), only larger shifts can be told from chance",
        rows.count,
        missing,
    )


def _has_values(column: Column, rows: Rows) -> bool:
    """Tell whether there is anything to compare: of confidence, only rows that have one."""
    if column.name not in rows.columns or not column.rows:
        return False
    if column.name != CONFIDENCE:
        return True
    values = rows.columns[CONFIDENCE]
    return bool((~np.isnan(values[: rows.cut])).any() and (~np.isnan(values[rows.cut :])).any())


def _seen(columns: Sequence[Column], rows: Rows) -> Iterator[Seen]:
    """Yield each column as both windows have it; q is corrected over all columns of a window."""
    halves = [slice(0, rows.cut), slice(rows.cut, len(rows))]
    values = [[_of(column, rows, half) for half in halves] for column in columns]
    counted = [[column.count(part) for part in parts] for column, parts in zip(columns, values, strict=True)]
    ruled = [j for j, column in enumerate(columns) if column.kind != DATE]
    windows: dict[int, list[Window]] = {j: [] for j in ruled}
    for half in range(2):
        found = [drift.distance(columns[j].binned, counted[j][half]) for j in ruled]
        for j, one, q in zip(ruled, found, drift.corrected([each.p for each in found]), strict=True):
            windows[j].append(Window(one, q, _moved(columns[j], values[j][half])))
    for j, column in enumerate(columns):
        both = counted[j][0] + counted[j][1]
        older, newer = windows.get(j, [None, None])
        yield Seen(
            column=column,
            rows=int(both.sum()),
            missing=float(both[0] / both.sum()) if both.sum() else 0.0,
            out_of_range=column.out_of_range(both),
            unknown=column.unknown(both),
            older=older,
            newer=newer,
            bars=tuple(bars.of(column, both, np.concatenate(values[j]))),
        )


def _of(column: Column, rows: Rows, part: slice) -> np.ndarray:
    """Return a column's values; of confidence those that are there, as a request may have asked for none."""
    values = rows.columns[column.name][part]
    return values[~np.isnan(values)] if column.name == CONFIDENCE else values


def _moved(column: Column, values: np.ndarray) -> float | None:
    if column.kind != NUMBER or column.std <= 0 or np.isnan(values).all():
        return None
    there = values[~np.isnan(values)]
    return drift.wasserstein(column.shares, column.quantiles, there) / column.std
