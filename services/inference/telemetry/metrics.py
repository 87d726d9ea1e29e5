"""What Prometheus is told, in files that all processes of a service share, so that any worker answers for all of them.

`prometheus_client` chooses these files when it is imported: PROMETHEUS_MULTIPROC_DIR has to be set before.
"""

import time
from bisect import bisect_left
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from inference.model.version import ModelVersion

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Of the texts that inference_problem_info has as labels.
LONGEST_PROBLEM, MOST_PROBLEMS = 300, 50
# Versions that have labels of their own, for each process from its start on; all later ones count as OTHERS.
MOST_VERSIONS, OTHERS = 100, "others"
# Likewise names of API keys.
MOST_KEYS = 1000
# In one second.
MOST_EXPOSITIONS = 20
PASS_ON_SECONDS = 0.1
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)

REQUESTS = Counter("inference_requests", "Requests answered", ["model", "version", "endpoint", "status"])
ERRORS = Counter("inference_errors", "Requests answered with an error", ["model", "version", "endpoint", "kind"])
LATENCY = Histogram(
    "inference_request_seconds",
    "From a request's head to its answer",
    ["model", "version", "endpoint"],
    buckets=SECONDS,
)
ROWS = Counter("inference_rows", "Rows predicted", ["model", "version"])
KEY_REQUESTS = Counter("inference_key_requests", "Requests with an API key that is known", ["key", "status"])
NOT_KEPT = Counter("inference_prediction_log_dropped", "Predictions that the prediction log did not keep", ["reason"])
LABELS_TAKEN = Counter(
    "inference_labels",
    "Labels taken: with an API key (trusted) or without, and those of rows that had one already",
    ["kind"],
)
COMPARED = Counter(
    "inference_challenger_rows",
    "Rows that the challenger answered and Production was asked as well: alike, unlike, unknown to the challenger alone; requests that were slow or failed",
    ["model", "version", "result"],
)
SHADOW_ROWS = Counter(
    "inference_shadow_rows",
    "Rows of the prediction log that the challenger was asked for in shadow: alike, unlike, failed; and those that it was not (skipped)",
    ["model", "version", "result"],
)
SHADOW_SECONDS = Histogram(
    "inference_shadow_seconds",
    "What the challenger, and now and then Production, takes for the rows of a logged request, beside those that answer",
    ["model", "version"],
    buckets=SECONDS,
)
TRACES_DROPPED = Counter("inference_traces_dropped", "Traces that were not sent", ["reason"])
IN_FLIGHT = Gauge("inference_requests_in_flight", "Requests being answered", multiprocess_mode="livesum")
QUEUE = Gauge("inference_queue", "Large requests that wait for their turn", multiprocess_mode="livesum")
MODEL = Gauge("inference_model_info", "1 for the version being served", ["model", "version"], multiprocess_mode="max")
SWAPS = Counter("inference_swaps", "Changes of the served version", ["model", "version"])
REFUSED = Counter("inference_swaps_refused", "Versions that were not taken up", ["model", "version"])
PROBLEM = Gauge(
    "inference_problem_info",
    "1 for what is in the way of what the alias points at: which version was refused, and why",
    ["problem"],
    multiprocess_mode="max",
)
STALE = Gauge(
    "inference_stale", "1 while what the alias points at is not known or cannot be served", multiprocess_mode="max"
)
CHALLENGER = Gauge(
    "inference_challenger_info", "1 for the challenger that is loaded", ["model", "version"], multiprocess_mode="max"
)
PERCENT = Gauge(
    "inference_challenger_percent",
    "How many of a hundred requests the challenger is to answer",
    ["model", "version"],
    multiprocess_mode="max",
)
RETURNED = Gauge(
    "inference_challenger_returned",
    "1 for a challenger that was beyond a limit: Production answers all requests again",
    ["model", "version"],
    multiprocess_mode="max",
)
LOOKED = Gauge("inference_registry_seen_timestamp_seconds", "When the registry answered last", multiprocess_mode="max")


def exposition() -> bytes:
    """Return all metrics of all processes in Prometheus's text format."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


T = TypeVar("T")


class Exposition(Generic[T]):
    """All metrics for whoever asks: rebuilt a few times in a second, and those of this second beyond that.

    It takes as long as some fifteen predictions to make them.
    """

    def __init__(self, make: Callable[[], T], now: Callable[[], float] = time.monotonic) -> None:
        self._make, self._now = make, now
        self._second, self._count = 0, 0
        self._last: T | None = None

    def __call__(self) -> T:
        if (second := int(self._now())) != self._second:
            self._second, self._count = second, 0
        self._count += 1
        if self._last is None or self._count <= MOST_EXPOSITIONS:
            self._last = self._make()
        return self._last


Labels = tuple[str, str]
"""which model and which version of it, as the labels of a metric"""


class _KnownVersions:
    """The versions that have labels of their own.

    Each label is kept until the process ends, and takes time in each exposition; whoever moves the alias makes new ones.
    """

    def __init__(self) -> None:
        self._known: set[Labels] = set()

    def labels(self, served: Labels) -> Labels:
        if served not in self._known and len(self._known) >= MOST_VERSIONS:
            return served[0], OTHERS
        self._known.add(served)
        return served


class RequestMetrics:
    """The counters of one worker, kept in its own memory; `pass_on` adds them to the files that all processes share.

    Counting in a file costs microseconds, seven times a request. So what this worker counted is passed on some times in a
    second while it answers, by its heartbeat, at its end, and before it is itself asked for the metrics; what the others
    counted in the last second may be missing there.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self._tallies: dict[tuple[Labels, str, str], _Tally] = {}
        self._errors: dict[tuple[Labels, str, str], int] = {}
        self._rows: dict[Labels, int] = {}
        self._keys: dict[tuple[str, str], int] = {}
        self._versions, self._key_names = _KnownVersions(), set[str]()
        self._due = 0.0

    def answered(self, served: Labels, endpoint: str, status: str, seconds: float) -> None:
        key = served, endpoint, status
        if (tally := self._tallies.get(key)) is None:
            tally = self._tallies[key] = _Tally()
        tally.count += 1
        tally.seconds += seconds
        tally.buckets[bisect_left(SECONDS, seconds)] += 1

    def predicted(self, served: Labels, rows: int) -> None:
        self._rows[served] = self._rows.get(served, 0) + rows

    def failed(self, served: Labels, endpoint: str, kind: str) -> None:
        key = served, endpoint, kind
        self._errors[key] = self._errors.get(key, 0) + 1

    def asked_with(self, key: str, status: str) -> None:
        """Count a request with an API key of this name."""
        self._keys[key, status] = self._keys.get((key, status), 0) + 1

    def pass_on_when_due(self, now: float) -> None:
        """Pass on what was counted, unless that was done a moment ago; `now` in seconds, of a clock that only goes on."""
        if now >= self._due:
            self._due = now + PASS_ON_SECONDS
            self.pass_on()

    def pass_on(self) -> None:
        tallies, self._tallies = self._tallies, {}
        errors, self._errors = self._errors, {}
        rows, self._rows = self._rows, {}
        for (served, endpoint, status), tally in tallies.items():
            labels = self._versions.labels(served)
            REQUESTS.labels(*labels, endpoint, status).inc(tally.count)
            tally.add_to(LATENCY.labels(*labels, endpoint))
        for (served, endpoint, kind), count in errors.items():
            ERRORS.labels(*self._versions.labels(served), endpoint, kind).inc(count)
        for served, count in rows.items():
            ROWS.labels(*self._versions.labels(served)).inc(count)
        self._pass_on_keys()
        IN_FLIGHT.set(self.in_flight)

    def _pass_on_keys(self) -> None:
        keys, self._keys = self._keys, {}
        for (name, status), count in keys.items():
            if len(self._key_names) < MOST_KEYS:
                self._key_names.add(name)
            KEY_REQUESTS.labels(name if name in self._key_names else OTHERS, status).inc(count)


class _Tally:
    """How many requests were answered, and in what time."""

    __slots__ = ("buckets", "count", "seconds")

    def __init__(self) -> None:
        self.count, self.seconds, self.buckets = 0, 0.0, [0] * (len(SECONDS) + 1)

    def add_to(self, histogram: Any) -> None:
        """Add these to a labelled histogram, whose own `observe` takes one at a time."""
        histogram._sum.inc(self.seconds)
        for bucket, count in zip(histogram._buckets, self.buckets, strict=True):
            if count:
                bucket.inc(count)


class PollerMetrics:
    """What the process that follows the registry has to tell."""

    def __init__(self) -> None:
        self._served: Labels | None = None
        self._versions = _KnownVersions()
        self._problems: set[str] = set()
        self._problem: str | None = None
        self._said: str | None = None

    def looked(self) -> None:
        LOOKED.set(time.time())

    def swapped(self, version: ModelVersion) -> None:
        SWAPS.labels(*self._versions.labels((version.name, version.version))).inc()

    def refused(self, version: ModelVersion) -> None:
        REFUSED.labels(*self._versions.labels((version.name, version.version))).inc()

    def report(self, served: ModelVersion | None, problem: str | None) -> None:
        STALE.set(float(served is not None and problem is not None))
        if problem != self._said:
            if self._problem is not None:
                PROBLEM.labels(self._problem).set(0)
            self._problem = self._told(problem) if problem is not None else None
            if self._problem is not None:
                PROBLEM.labels(self._problem).set(1)
            self._said = problem
        labels = self._versions.labels((served.name, served.version)) if served else None
        if labels == self._served:
            return
        if self._served:
            MODEL.labels(*self._served).set(0)
        if labels:
            MODEL.labels(*labels).set(1)
        self._served = labels

    def _told(self, problem: str) -> str:
        """Return a problem as a label: whatever others answer may be in it, and each label is kept for ever."""
        told = problem if len(problem) <= LONGEST_PROBLEM else f"{problem[: LONGEST_PROBLEM - 1]}…"
        if told not in self._problems and len(self._problems) >= MOST_PROBLEMS:
            return "another one: see /ready"
        self._problems.add(told)
        return told


class ChallengerMetrics(PollerMetrics):
    """The same for the challenger, which is no matter of what is served."""

    def looked(self) -> None:
        """Tell nothing: of the registry Production's look tells."""

    def swapped(self, version: ModelVersion) -> None:
        """Tell nothing: the served version has not changed."""

    def report(
        self, served: ModelVersion | None, problem: str | None, percent: float = 0.0, returned: bool = False
    ) -> None:
        labels = self._versions.labels((served.name, served.version)) if served else None
        if self._served and labels != self._served:
            for gauge in (CHALLENGER, PERCENT, RETURNED):
                gauge.labels(*self._served).set(0)
        if labels:
            CHALLENGER.labels(*labels).set(1)
            PERCENT.labels(*labels).set(percent)
            RETURNED.labels(*labels).set(float(returned))
        self._served = labels
