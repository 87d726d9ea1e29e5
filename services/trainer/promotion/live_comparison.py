"""Champion and challenger by what came of their answers to requests: a difference with an interval that holds at each look.

An ordinary interval holds for one look that was decided on beforehand. Who looks each day and stops when it says "better" finds a
difference where there is none in four of ten cases. An asymptotic confidence sequence (Waudby-Smith and others, 2021) is wider, and
holds at all looks together: so one may stop at any of them.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from math import isfinite, log, sqrt
from typing import NamedTuple

import numpy as np

from trainer.errors import DataError

# How likely it is that the truth is ever outside, at any look.
ALPHA = 0.05
# The interval is as narrow as it can be after so many requests.
TUNED_FOR = 1000
# Clients, or requests of nobody known, of each version, or whom both have answered, before anything is said.
LEAST = 50
COLUMNS = ("request_id", "row", "time", "version", "prediction", "label", "trusted", "client")
# What a version took for all rows of a request, in milliseconds, empty where that is not known; this one may be missing.
TIME = "model_milliseconds"
# How many clients a version answered, for which share of an answer a label came, and the variance of that: where the rows that have no
# label are left out, these are beside each. They may be missing.
RATES = ("units", "label_rate", "label_variance")
# Two versions whose labels come so differently are not compared: how many standard errors chance exceeds once in a thousand times.
MOST_APART = 3.29
# How many rows more there are than were given, the same beside each. It may be missing.
LEFT_OUT = "left_out"
# Of what a challenger answered in shadow: the version whose answer it stands beside. It may be missing, too.
BESIDE = "production_version"


@dataclass(frozen=True)
class Answer:
    """What a version answered to one row, and what it turned out to be."""

    request_id: str
    row: str
    unit: str
    """whose it is: the client, or where that is not known the request"""
    time: datetime
    version: str
    score: float
    """1 for the right class and 0 for a wrong one; of a quantity the absolute error, negative"""
    trusted: bool
    """whether the label came from somebody who is known"""


@dataclass(frozen=True)
class Interval:
    """What the challenger is better by, where it is worse negative, and between which values that lies."""

    gain: float
    low: float
    high: float
    units: int
    """how many clients, and requests of nobody known, each of which counts once"""
    requests: int
    paired: bool
    """whether both answered the same requests"""
    scores: tuple[float, float] | None = None
    """the challenger's and the champion's own, None where what is told is how far they are apart"""

    def __str__(self) -> str:
        how = "requests that both answered" if self.paired else "requests of both"
        whose = f" by {self.units} clients" if self.units < self.requests else ""
        own = "{:.4f} against {:.4f}, ".format(*self.scores) if self.scores else ""
        on = f"on {self.requests} {how}{whose}"
        return f"{own}{self.gain:+.4f} ({self.low:+.4f} to {self.high:+.4f}, at every look, {on})"


class Count(NamedTuple):
    """What an interval is of, as it says itself."""

    units: int
    requests: int
    paired: bool


@dataclass(frozen=True)
class Times:
    """What the challenger and the champion took for the same requests, each alone: median and 95th percentile, milliseconds."""

    challenger: tuple[float, float]
    champion: tuple[float, float]
    requests: int

    def __str__(self) -> str:
        (ours, slow), (theirs, their_slow) = self.challenger, self.champion
        return (
            f"for a request's rows it takes {ours:.2f} ms, 95 % at most {slow:.2f}, "
            f"against {theirs:.2f} and {their_slow:.2f} (on {self.requests} requests)"
        )


Row = dict[str, str]
"""a row of the prediction log as CSV has it, by the names of its columns"""
Key = tuple[str, str, str]
"""a row: whose it is, its request's id, and which one of that"""


def rows_of(lines: Iterable[str]) -> list[Row]:
    """Return the rows in a CSV as `monitor query --csv` writes it; raise DataError where it is another."""
    reader = csv.DictReader(lines)
    if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
        raise DataError(f"the logged predictions lack {', '.join(missing)}; expected CSV with {', '.join(COLUMNS)}")
    return list(reader)


def since(rows: Iterable[Row], moment: str) -> list[Row]:
    """Return the rows of a time, ISO 8601 with a zone, and later ones; raise DataError naming the line whose time is none."""
    found, begin = [], datetime.fromisoformat(moment)
    for number, row in enumerate(rows, 2):
        try:
            if datetime.fromisoformat(row["time"]) >= begin:
                found.append(row)
        except (ValueError, TypeError) as error:
            raise DataError(f"line {number} of the logged predictions cannot be read: {error}") from error
    return found


def failures(rows: Iterable[Row], challenger: str) -> int:
    """Return on how many rows the challenger failed, which Production answered."""
    return sum(row["version"] == challenger and not row["prediction"] for row in rows)


def left_out(rows: Iterable[Row]) -> int:
    """Return how many rows there are beyond those that were given; raise DataError for no number."""
    text = next((row[LEFT_OUT] for row in rows if row.get(LEFT_OUT)), "0")
    if not (text.isascii() and text.isdigit()):
        raise DataError(f"{LEFT_OUT} of the logged predictions is {text!r:.60}; expected a whole number")
    return int(text)


def beside(rows: Iterable[Row], champion: str) -> list[Row]:
    """Return the rows without what a challenger was asked because another version than the champion was: that was other traffic."""
    return [row for row in rows if row.get(BESIDE) in (None, "", champion)]


def answers_of(rows: Iterable[Row], is_quantity: bool) -> list[Answer]:
    """Return the answers for which a label has come; raise DataError naming the line that is wrong.

    Where a challenger failed is none, so it is wrong; how far off a quantity is that is not there nobody can say.
    """
    found = []
    for number, row in enumerate(rows, 2):
        try:
            if row["label"] and (row["prediction"] or not is_quantity):
                found.append(_answer(row, is_quantity))
        except (ValueError, TypeError) as error:
            raise DataError(f"line {number} of the logged predictions cannot be read: {error}") from error
    return found


def disagreement(rows: Iterable[Row], champion: str, challenger: str, is_quantity: bool) -> Interval | None:
    """Return the share of rows to which the two say another thing, or by how much quantities differ; None for too few rows."""
    said: dict[Key, dict[str, str]] = {}
    for row in rows:
        if row["prediction"]:
            said.setdefault((_unit_of(row), row["request_id"], row["row"]), {})[row["version"]] = row["prediction"]
    both = {
        key: (found[champion], found[challenger]) for key, found in said.items() if {champion, challenger} <= set(found)
    }
    apart = _by_unit({key: _apart(one, other, is_quantity) for key, (one, other) in both.items()})
    on = Count(len(apart), _requests(both), paired=True)
    return _interval(float(apart.mean()), float(apart.var()), on) if len(apart) >= LEAST else None


def times_of(rows: Iterable[Row], champion: str, challenger: str) -> Times | None:
    """Return what the two took for those requests of which that is known of both, None for none; raise DataError for no number."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        if text := row.get(TIME):
            try:
                found.setdefault(row["request_id"], {})[row["version"]] = float(text)
            except ValueError as error:
                raise DataError(f"{TIME} of request {row['request_id']!r} is no number: {error}") from error
    both = [(times[challenger], times[champion]) for times in found.values() if {champion, challenger} <= set(times)]
    if not both:
        return None
    ours, theirs = ((float(np.median(times)), float(np.quantile(times, 0.95))) for times in zip(*both, strict=True))
    return Times(ours, theirs, len(both))


def _apart(one: str, other: str, is_quantity: bool) -> float:
    return abs(float(one) - float(other)) if is_quantity else float(one != other)


def _answer(row: dict[str, str], is_quantity: bool) -> Answer:
    score = float(row["prediction"] == row["label"])
    if is_quantity and not isfinite(score := -abs(float(row["prediction"]) - float(row["label"]))):
        raise ValueError("a value is not finite")
    time = datetime.fromisoformat(row["time"])
    if time.tzinfo is None:
        raise ValueError(f"time {row['time']!r} has no zone")
    trusted = row["trusted"].lower() == "true"
    return Answer(row["request_id"], row["row"], _unit_of(row), time, row["version"], score, trusted)


def compared(answers: Iterable[Answer], champion: str, challenger: str) -> Interval | None:
    """Return what the challenger is better by, None where that is too few to say anything.

    A client counts once, whatever its requests and their rows, and so does a request of nobody known: they are not independent of each
    other. Where both have answered enough of the same requests these alone are compared, row by row, which takes far fewer of them.
    """
    rows: dict[Key, dict[str, float]] = {}
    for one in answers:
        rows.setdefault((one.unit, one.request_id, one.row), {})[one.version] = one.score
    pairs = {key: found for key, found in rows.items() if champion in found and challenger in found}
    gains = _by_unit({key: found[challenger] - found[champion] for key, found in pairs.items()})
    if len(gains) >= LEAST:
        ours, theirs = (_by_unit({key: found[one] for key, found in pairs.items()}) for one in (challenger, champion))
        on = Count(len(gains), _requests(pairs), paired=True)
        return _interval(float(gains.mean()), float(gains.var()), on, _means(ours, theirs))
    alone = [
        {key: found[version] for key, found in rows.items() if version in found and key not in pairs}
        for version in (champion, challenger)
    ]
    theirs, ours = map(_by_unit, alone)
    if min(len(theirs), len(ours)) < LEAST:
        return None
    on = Count(len(theirs) + len(ours), sum(map(_requests, alone)), paired=False)
    variance = on.units * sum(_variance(each) / len(each) for each in (theirs, ours))
    return _interval(float(ours.mean() - theirs.mean()), variance, on, _means(ours, theirs))


class Rate(NamedTuple):
    """For which share of a version's answers a label came."""

    units: int
    share: float
    """the mean of clients' shares"""
    variance: float


def rate_of(rows: Iterable[Row], version: str, only_trusted: bool) -> Rate | None:
    """Return how often labels came for a version's answers to requests, None where it answered none; raise DataError for no number."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if row["version"] != version or row.get(BESIDE):
            continue
        if row.get(RATES[0]):
            try:
                units, share, variance = (float(row[name]) for name in RATES)
            except (ValueError, TypeError, KeyError) as error:
                raise DataError(f"{', '.join(RATES)} of request {row['request_id']!r} are no numbers") from error
            return Rate(int(units), share, variance)
        counts = bool(row["label"]) and (not only_trusted or row["trusted"].lower() == "true")
        found.setdefault(_unit_of(row), []).append(float(counts))
    if not found:
        return None
    shares = np.array([sum(each) / len(each) for each in found.values()])
    return Rate(len(shares), float(shares.mean()), float(shares.var()))


def unlike_labels(rows: list[Row], champion: str, challenger: str, only_trusted: bool) -> str | None:
    """Say for how many of either's answers labels came, where chance does not explain that they differ; None where it does.

    A label that comes more often for what was right, or for what was acted on, makes the version better that it comes for.
    """
    theirs, ours = (rate_of(rows, version, only_trusted) for version in (champion, challenger))
    if theirs is None or ours is None:
        return None
    error = sqrt(sum(max(each.variance, 1 / (each.units + 1)) / each.units for each in (theirs, ours)))
    if abs(theirs.share - ours.share) <= MOST_APART * error:
        return None
    return (
        f"no verdict: labels came for {ours.share:.1%} of what version {challenger} answered and for {theirs.share:.1%} "
        f"of what version {champion} did, which is no chance (p < 0.001)"
    )


def units_of(answers: Iterable[Answer]) -> int:
    """Return how many clients, and requests of nobody known, answers went to."""
    return len({one.unit for one in answers})


def _means(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    return float(ours.mean()), float(theirs.mean())


def _unit_of(row: Row) -> str:
    # No request's id has a space in it.
    return f"client {row['client']}" if row["client"] else row["request_id"]


def _by_unit(scores: dict[Key, float]) -> np.ndarray:
    """Return the mean of each client's rows, or each request's."""
    found: dict[str, list[float]] = {}
    for (unit, _, _), score in scores.items():
        found.setdefault(unit, []).append(score)
    return np.array([sum(each) / len(each) for each in found.values()])


def _requests(keys: Iterable[Key]) -> int:
    return len({request_id for _, request_id, _ in keys})


def _variance(values: np.ndarray) -> float:
    """Return the variance, and no 0 where by chance all were alike: as if one more had been a whole step away."""
    return max(float(values.var()), 1 / (len(values) + 1))


def _interval(gain: float, variance: float, on: Count, scores: tuple[float, float] | None = None) -> Interval:
    half = half_width(on.units, max(variance, 1 / (on.units + 1)))
    return Interval(gain, gain - half, gain + half, on.units, on.requests, on.paired, scores)


def half_width(count: int, variance: float, alpha: float = ALPHA, tuned_for: int = TUNED_FOR) -> float:
    """Return half of what an asymptotic confidence sequence is wide after so many differences of this variance."""
    rho2 = (-2 * log(alpha) + log(-2 * log(alpha) + 1)) / tuned_for
    inflated = count * rho2 + 1
    return sqrt(variance) * sqrt(2 * inflated / (count**2 * rho2) * log(sqrt(inflated) / alpha))
