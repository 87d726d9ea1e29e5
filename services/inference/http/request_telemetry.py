"""What is told of requests: metrics, a line in the log, and a trace of those that are sampled."""

import time

from inference.request.answer import Answer
from inference.request.context import RequestContext
from inference.request.routing import FIGURES, HEALTH
from inference.settings import Settings
from inference.telemetry.log import RequestLog
from inference.telemetry.metrics import Labels, RequestMetrics
from inference.telemetry.tracing import Trace, Tracer

# What is asked all the time by machines: it is logged where the answer is an error.
PROBES = HEALTH | FIGURES


class RequestTelemetry:
    """Counts, logs and traces the requests of one worker."""

    def __init__(self, settings: Settings, log: RequestLog) -> None:
        self.metrics, self.log = RequestMetrics(), log
        self.tracer = (
            Tracer(settings.trace_share, settings.otlp_endpoint, settings.otlp_headers)
            if settings.trace_share
            else None
        )

    def begin_trace(self, context: RequestContext) -> None:
        """Choose whether a prediction is traced; pages and figures are not."""
        if self.tracer and context.endpoint:
            context.trace = self.tracer.begin(context.environ.get("HTTP_TRACEPARENT"))
            if context.trace:
                context.mark = context.trace.mark

    def answered(self, context: RequestContext, answer: Answer) -> None:
        """Count and log an answer, and have its trace sent."""
        now = time.perf_counter()
        seconds = now - context.began
        self._count(context, answer, seconds)
        self.metrics.pass_on_when_due(now)
        endpoint = context.endpoint or "other"
        if (answer.status >= 400 or endpoint not in PROBES) and self.log.wants():
            self._log(context, answer, seconds)
        if context.trace and self.tracer:
            self._end_trace(self.tracer, context.trace, context, answer)

    def refused(self, labels: Labels, answer: Answer) -> None:
        """Count an answer to what has not become a request."""
        self.metrics.answered(labels, "other", str(answer.status), 0.0)
        self.metrics.failed(labels, "other", answer.error_code)

    def _count(self, context: RequestContext, answer: Answer, seconds: float) -> None:
        metrics, labels, status = self.metrics, context.answerer.labels, str(answer.status)
        endpoint = context.endpoint or "other"
        metrics.answered(labels, endpoint, status, seconds)
        if answer.rows:
            metrics.predicted(labels, answer.rows)
        if answer.status >= 400:
            metrics.failed(labels, endpoint, answer.error_code or status)
        if context.key is not None:
            metrics.asked_with(context.key, status)

    def _log(self, context: RequestContext, answer: Answer, seconds: float) -> None:
        environ, (name, version) = context.environ, context.answerer.labels
        fields = {
            "request_id": context.request_id,
            "method": environ["REQUEST_METHOD"],
            "path": environ["PATH_INFO"].encode("latin-1", "replace").decode("utf-8", "replace")[:200],
            "status": answer.status,
            "milliseconds": round(seconds * 1000, 3),
            "rows": answer.rows,
            "model": name if context.served else None,
            "version": version,
            "client": environ.get("REMOTE_ADDR"),
        }
        if context.key is not None:
            fields["key"] = context.key
        if answer.error_code:
            fields["error_code"] = answer.error_code
        self.log.write(fields)

    @staticmethod
    def _end_trace(tracer: Tracer, trace: Trace, context: RequestContext, answer: Answer) -> None:
        """Have the trace of a request sent that is answered; nothing of what it asked is in it."""
        name, version = context.answerer.labels
        attributes: dict[str, str | int] = {
            "http.request.method": context.environ["REQUEST_METHOD"],
            "http.route": context.endpoint,
            "http.response.status_code": answer.status,
            "request_id": context.request_id,
            "model.name": name,
            "model.version": version,
            "rows": answer.rows,
        }
        tracer.end(trace, context.began, f"POST {context.endpoint}", attributes, answer.status >= 500)
