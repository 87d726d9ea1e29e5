"""Traces of sampled requests, as OTLP over HTTP in JSON: made when a request is answered, and sent aside.

A prediction waits for nobody: what finds no room among those that wait to be sent, or cannot be sent, is dropped and counted.
"""

import logging
import os
import queue
import random
import re
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import unquote
from urllib.request import Request, urlopen

import orjson

from inference.telemetry.metrics import TRACES_DROPPED

log = logging.getLogger(__name__)

# Traces that wait to be sent, in one worker; of them so many go together.
MOST_WAITING, MOST_TOGETHER = 1000, 100
SEND_SECONDS = 1.0
PATIENCE_SECONDS = 5.0
# By W3C: version, trace, the span that asks, and flags, of which the first is whether it is sampled.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?")
# Counters that only go on begin anywhere: what is to be added to one for the time, in nanoseconds.
_SINCE = time.time_ns() - time.perf_counter_ns()
SERVER, INTERNAL = 2, 1  # kinds of span
OK, ERROR = 1, 2

Attributes = dict[str, str | int]


class Trace:
    """One request's: its stages are marked as they end, one after the other."""

    def __init__(self, trace_id: str, parent: str) -> None:
        self.trace_id, self.parent = trace_id, parent
        self.marks: dict[str, float] = {}

    def mark(self, stage: str) -> None:
        """Note that a stage has ended; of one that is done again, the last time counts."""
        self.marks[stage] = time.perf_counter()


class Finished(NamedTuple):
    """What is sent of a request that is answered; times are those of time.perf_counter."""

    trace: Trace
    began: float
    ended: float
    name: str
    attributes: Attributes
    is_fault: bool


def unmarked(stage: str) -> None:
    """Do what `mark` does, for a request that has no trace: nothing."""


class Tracer:
    """Chooses the requests that are traced, and sends their spans."""

    def __init__(self, share: float, endpoint: str, headers: str = "", service: str = "inference") -> None:
        self._share, self._service = share, service
        self._url = f"{endpoint.rstrip('/')}/v1/traces"
        pairs = (pair.partition("=") for pair in headers.split(",") if pair.strip())
        self._headers = {"Content-Type": "application/json"} | {
            name.strip(): unquote(value.strip()) for name, _, value in pairs
        }
        self._waiting: queue.Queue[Finished] = queue.Queue(MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._failed = False

    def begin(self, traceparent: str | None) -> Trace | None:
        """Return a request's trace, None where it has none: as its caller has decided, and else by chance."""
        if traceparent and (match := _TRACEPARENT.fullmatch(traceparent)):
            return Trace(match[1], match[2]) if int(match[3], 16) & 1 else None
        return Trace(os.urandom(16).hex(), "") if random.random() < self._share else None  # noqa: S311

    def end(self, trace: Trace, began: float, name: str, attributes: Attributes, is_fault: bool) -> None:
        """Have a trace sent whose request is answered; `began` by time.perf_counter."""
        try:
            self._waiting.put_nowait(Finished(trace, began, time.perf_counter(), name, attributes, is_fault))
        except queue.Full:
            TRACES_DROPPED.labels("full").inc()
        if self._thread is None:
            self._thread = threading.Thread(target=self._send_for_ever, name="traces", daemon=True)
            self._thread.start()

    def _send_for_ever(self) -> None:
        while True:
            found = [self._waiting.get()]
            time.sleep(SEND_SECONDS)  # so that more of them go together
            while len(found) < MOST_TOGETHER and not self._waiting.empty():
                found.append(self._waiting.get())
            self.send(found)

    def send(self, traces: list[Finished], opened: Callable[..., Any] = urlopen) -> None:
        """Send spans; those that cannot be sent are dropped, which is logged where it is news."""
        resource = {"attributes": [_attribute("service.name", self._service)]}
        scope = {"scope": {"name": "mlflow-stack"}, "spans": [span for trace in traces for span in _spans(trace)]}
        body = orjson.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]})
        try:
            with opened(Request(self._url, body, self._headers), timeout=PATIENCE_SECONDS):
                pass
        except Exception as error:  # whatever answers there, the thread goes on
            TRACES_DROPPED.labels("unsent").inc(len(traces))
            if not self._failed:
                log.warning("traces cannot be sent to %s: %s", self._url, error)
            self._failed = True
        else:
            self._failed = False


def _spans(of: Finished) -> list[dict[str, Any]]:
    """Return the request's span, and one below it for each stage."""
    root = _span(of.trace, of.trace.parent, of.name, of.began, of.ended)
    root |= {"kind": SERVER, "status": {"code": ERROR if of.is_fault else OK}}
    root["attributes"] = [_attribute(key, value) for key, value in of.attributes.items()]
    spans, began = [root], of.began
    for stage, ended in of.trace.marks.items():
        spans.append(_span(of.trace, root["spanId"], stage, began, ended))
        began = ended
    return spans


def _span(trace: Trace, parent: str, name: str, began: float, ended: float) -> dict[str, Any]:
    ids = {"traceId": trace.trace_id, "spanId": os.urandom(8).hex(), "parentSpanId": parent}
    times = {"startTimeUnixNano": _nanoseconds(began), "endTimeUnixNano": _nanoseconds(ended)}
    return {**ids, **times, "name": name, "kind": INTERNAL}


def _nanoseconds(seconds: float) -> str:
    return str(_SINCE + int(seconds * 1e9))


def _attribute(key: str, value: str | int) -> dict[str, Any]:
    return {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
