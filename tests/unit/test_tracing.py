"""Which requests are traced, what is said of them, and that nobody waits for it."""

import json
import time
from collections.abc import Callable
from contextlib import closing
from http.client import BadStatusLine
from io import BytesIO
from typing import Any

import pytest
from inference.settings import Settings
from inference.telemetry import tracing
from inference.telemetry.metrics import TRACES_DROPPED
from inference.telemetry.tracing import Finished, Trace, Tracer
from werkzeug.test import Client

from tests.unit.serving import SERVED, service_of

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{CALLER}-01"


class Sent:
    """A collector, and the tracer of a service that sends to it when it is told to."""

    def __init__(self, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("threading.Thread.start", lambda _: None)
        self.service = service_of(SERVED, settings=Settings(trace_share=share, otlp_headers="x-team=a%20b, x-other=c"))
        self.client, self.requests = Client(self.service), list[Any]()

    def open(self, request: Any, timeout: float) -> Any:
        self.requests.append(request)
        return closing(BytesIO())

    def spans(self) -> list[dict[str, Any]]:
        """Return the spans that wait, as they arrive when they are sent."""
        tracer = self.service.telemetry.tracer
        assert tracer
        waiting = [tracer._waiting.get_nowait() for _ in range(tracer._waiting.qsize())]
        if not waiting:
            return []
        tracer.send(waiting, self.open)
        (of_service,) = json.loads(self.requests[-1].data)["resourceSpans"]
        (scope,) = of_service["scopeSpans"]
        return list(scope["spans"])


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], Sent]:
    return lambda share: Sent(share, monkeypatch)


def predict(sent: Sent, **headers: str) -> int:
    return sent.client.post("/invocations", json={"instances": [[1, 2], [2, 1]]}, headers=headers).status_code


def test_a_trace_says_how_long_each_stage_took_one_after_the_other_and_nothing_of_what_was_asked(
    sent: Callable[[float], Sent],
) -> None:
    collector, before = sent(1), time.time_ns()
    assert predict(collector, **{"X-Request-ID": "mine"}) == 200
    root, *stages = collector.spans()
    assert [stage["name"] for stage in stages] == ["wait", "parse", "predict", "serialize"]
    assert {stage["parentSpanId"] for stage in stages} == {root["spanId"]}
    times = [int(root["startTimeUnixNano"]), *(int(stage["endTimeUnixNano"]) for stage in stages)]
    assert times == sorted(times)
    assert [int(stage["startTimeUnixNano"]) for stage in stages] == times[:-1]
    assert before - 1e9 < times[0] < times[-1] <= int(root["endTimeUnixNano"]) < time.time_ns() + 1e9
    told = {each["key"]: next(iter(each["value"].values())) for each in root["attributes"]}
    assert told == {
        "http.request.method": "POST",
        "http.route": "/invocations",
        "http.response.status_code": "200",
        "request_id": "mine",
        "model.name": SERVED.version.name,
        "model.version": "7",
        "rows": "2",
    }
    (request,) = collector.requests
    assert request.full_url == "http://mlflow:5000/v1/traces"
    assert (request.get_header("X-team"), request.get_header("X-other")) == ("a b", "c")


def test_a_caller_that_traces_is_the_parent_and_one_that_does_not_is_followed(sent: Callable[[float], Sent]) -> None:
    collector = sent(0.000001)
    predict(collector, traceparent=TRACEPARENT)
    root, *_ = collector.spans()
    assert (root["traceId"], root["parentSpanId"]) == (TRACE, CALLER)
    collector = sent(1)
    predict(collector, traceparent=f"{TRACEPARENT[:-1]}0")
    assert collector.spans() == []


@pytest.mark.parametrize(
    "traceparent", ["", "00-" + 32 * "0" + f"-{CALLER}-01", f"00-{TRACE}-{16 * '0'}-01", "nonsense"]
)
def test_what_is_no_trace_of_the_callers_is_traced_as_one_that_begins_here(
    sent: Callable[[float], Sent], traceparent: str
) -> None:
    collector = sent(1)
    predict(collector, traceparent=traceparent)
    root, *_ = collector.spans()
    assert root["parentSpanId"] == ""
    assert len(root["traceId"]) == 32


def test_a_share_of_requests_is_traced_and_of_those_that_look_on_none(sent: Callable[[float], Sent]) -> None:
    tracer = Tracer(0.25, "http://localhost:5000")
    assert 150 < sum(tracer.begin(None) is not None for _ in range(1000)) < 350
    collector = sent(1)
    collector.client.get("/version")
    assert collector.spans() == []
    assert service_of(SERVED).telemetry.tracer is None


def test_a_refused_request_is_traced_as_far_as_it_came(sent: Callable[[float], Sent]) -> None:
    collector = sent(1)
    assert (
        collector.client.post("/invocations", data=b"{", headers={"Content-Type": "application/json"}).status_code
        == 400
    )
    root, *stages = collector.spans()
    assert [stage["name"] for stage in stages] == ["wait"]
    assert root["status"] == {"code": tracing.OK}  # of the service: the fault is the client's


def dropped(reason: str) -> float:
    return float(TRACES_DROPPED.labels(reason)._value.get())


def test_where_too_many_wait_to_be_sent_requests_go_on_and_a_counter_counts(
    sent: Callable[[float], Sent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "MOST_WAITING", 2)
    collector, before = sent(1), dropped("full")
    assert [predict(collector) for _ in range(5)] == [200] * 5
    assert dropped("full") - before == 3
    assert len(collector.spans()) == 2 * 5


def test_what_answers_there_as_no_http_server_does_ends_no_tracing() -> None:
    def answers(*_: Any, **__: Any) -> Any:
        raise BadStatusLine("\x00\x00")

    before = dropped("unsent")
    finished = Finished(Trace(TRACE, ""), 1.0, 2.0, "POST /invocations", {}, is_fault=False)
    Tracer(1.0, "http://collector:4317").send([finished], answers)
    assert dropped("unsent") - before == 1


def test_what_cannot_be_sent_is_dropped_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    tracer, before = Tracer(1, "http://localhost:5000"), dropped("unsent")

    def refused(*_: Any, **__: Any) -> Any:
        raise ConnectionRefusedError("nobody listens")

    finished = Finished(Trace(TRACE, ""), 1.0, 2.0, "POST /invocations", {}, is_fault=False)
    for _ in range(2):
        tracer.send([finished, finished], refused)
    assert dropped("unsent") - before == 4
    assert [record.message for record in caplog.records] == [
        "traces cannot be sent to http://localhost:5000/v1/traces: nobody listens"
    ]
