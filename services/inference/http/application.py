"""The service behind its connections: what is to be fast is answered here, all else by Flask (inference.web.flask_app).

Every request passes through here, so that a request id, the served version, limits, metrics and the log are the same for
all: it is received, answered by one of two handlers, and finished. Flask costs a tenth of a millisecond, which is most of what
a prediction takes.
"""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from inference.api_keys.keyring import Keyring
from inference.errors import InvalidInput, Overloaded, RequestError
from inference.handlers.flask_pages import FlaskHandler
from inference.handlers.labels import LabelHandler
from inference.handlers.predictions import PredictionHandler
from inference.http.observations import Observations
from inference.http.request_telemetry import RequestTelemetry
from inference.model.deployment import Deployment
from inference.model.observation import Observer
from inference.model.pacing import TakesLong
from inference.prediction_log.label_log import LabelLog
from inference.request.admission import AdmissionControl
from inference.request.allowed_hosts import AllowedHosts
from inference.request.answer import NO_SNIFFING, Answer, Headers, error_answer, sized
from inference.request.checks import RequestChecks
from inference.request.context import Environ, RequestContext
from inference.request.ids import new_ids, request_id, traceparent
from inference.request.routing import EXPLAIN, INFER, INVOCATIONS, PREDICT_NAMES, route_of
from inference.rollout.active_model import ActiveModel, Deployments
from inference.settings import Settings
from inference.telemetry.log import RequestLog

log = logging.getLogger("inference")

# What a challenger answers a share of. Labels are of the model, whoever has answered.
SPLIT = frozenset({INVOCATIONS, PREDICT_NAMES, INFER, EXPLAIN})


class Service:
    """Answers requests with what the deployments have."""

    def __init__(
        self,
        settings: Settings,
        deployments: Deployments,
        admission: AdmissionControl,
        request_log: RequestLog,
        flask: Callable[[Environ, Any], Iterable[bytes]],
        observers: tuple[Observer, ...] = (),
    ) -> None:
        self.settings, self.admission = settings, admission
        hosts = AllowedHosts(settings.allowed_hosts, settings.cors_origins)
        keys = Keyring(settings.api_keys_file, settings.cache_dir, settings.workers)
        self.checks = RequestChecks(hosts, keys, deployments, settings.max_body_bytes)
        self.telemetry = RequestTelemetry(settings, request_log)
        self.observations = Observations(observers, deployments)
        self._deployments, self._ids = deployments, new_ids()
        labels = LabelHandler(LabelLog.of(settings))
        self._predictions = PredictionHandler(deployments, self.checks, admission, labels, bool(observers))
        self._flask = FlaskHandler(flask, self.checks)

    def begin(self, environ: Environ) -> RequestContext:
        """Take in the head of a request; to be followed by one of `answer`, `answer_aside` and `forget`."""
        self.telemetry.metrics.in_flight += 1
        return RequestContext(environ, route_of(environ["PATH_INFO"]), time.perf_counter())

    def forget(self) -> None:
        """Note that a request goes unanswered: its client has left."""
        self.telemetry.metrics.in_flight -= 1

    def pass_on(self) -> None:
        """Pass on what was counted; to be done now and then, and at the end."""
        self.telemetry.metrics.pass_on()

    def look_around(self) -> None:
        """Do what is to be done about once in a second: pass on what was counted, and look whether the time has come for something."""
        self.pass_on()
        self.checks.keys.look()
        self._deployments.look()

    def wants_body(self, context: RequestContext) -> bool:
        """Return whether the body of a request is needed; raise RequestError where it would be refused whatever it is."""
        if not context.route.endpoint or context.environ["REQUEST_METHOD"] == "OPTIONS":
            return False
        self.checks.check(context)
        return True

    def answer(self, context: RequestContext) -> Answer:
        """Answer a request that has come whole; observers are to be shown it before the answer goes.

        Raises TakesLong for a connection's request that others would have to wait for; `answer_aside` is to follow.
        """
        try:
            self._receive(context)
            if context.endpoint:
                return self._finished(context, self._predictions.answer(context))
            self.pass_on()  # it may be the metrics that are asked for
            return self._finished(context, self._flask.answer(context))
        except TakesLong:
            self.telemetry.metrics.in_flight += 1  # it is still in flight
            raise
        finally:
            self.telemetry.metrics.in_flight -= 1

    async def answer_aside(self, context: RequestContext, is_large: bool) -> Answer:
        """Answer a prediction that is too large, or takes too long, to be made while others wait; observers are to be shown it too."""
        context.is_aside = True
        try:
            self._receive(context)
            try:
                answer = await self.admission.run_aside(self._predictions.answer, context, is_large=is_large)
            except Overloaded as error:
                answer = sized(error_answer(error, context.environ["PATH_INFO"]))
            return self._finished(context, answer)
        finally:
            self.telemetry.metrics.in_flight -= 1

    def _receive(self, context: RequestContext) -> None:
        """Find out who answers a request, and under which id."""
        active, route = self._deployments.asked(context.route.model), context.route
        # One that is answered aside has been looked at before: who answers it follows from its id.
        if not context.request_id:
            context.request_id = request_id(context.environ, self._ids)
            self.telemetry.begin_trace(context)
        served = active.served
        if active.split is not None and route.endpoint in SPLIT and route.version is None:
            served = self._chosen(context, active)
        context.served, context.answerer = served, served or active

    def _chosen(self, context: RequestContext, active: ActiveModel) -> Deployment | None:
        """Return who answers a request while a challenger answers some: the same for all with one X-Split-Key."""
        split = active.split  # in a variable: another thread may end it
        if split is None or not split.chooses(context.environ.get("HTTP_X_SPLIT_KEY") or context.request_id):
            return active.served
        return split.challenger

    def _finished(self, context: RequestContext, answer: Answer) -> Answer:
        """Add to an answer what all have, and tell those who want to know of it."""
        answer.headers.extend(self._common_headers(context.answerer, context.request_id, context.environ))
        self.telemetry.answered(context, answer)
        self.observations.add(context, answer)
        return answer

    def _common_headers(self, answerer: Deployment | ActiveModel, request_id: str, environ: Environ) -> Headers:
        """Return the headers that every answer has."""
        headers = [*answerer.headers, ("X-Request-ID", request_id), NO_SNIFFING]
        if self.checks.hosts.origins:
            headers += self.checks.hosts.permissions(environ)
        if trace := traceparent(environ):
            headers.append(("traceparent", trace))
        return headers

    def too_many_connections(self, limit: int) -> Answer:
        """Return the answer to a connection beyond the limit."""
        return self._refused(Overloaded(f"there are {limit} connections already; try again"))

    def malformed_request(self, reason: str) -> Answer:
        """Return the answer to what cannot be read as a request."""
        error = InvalidInput(f"malformed request: {reason}")
        error.error_code = "BAD_REQUEST"
        return self._refused(error)

    def _refused(self, error: RequestError) -> Answer:
        """Return an error where there is no request."""
        first, answer = self._deployments.first, sized(error_answer(error))
        answerer = first.served or first
        self.telemetry.refused(answerer.labels, answer)
        answer.headers.extend(self._common_headers(answerer, next(self._ids), {}))
        return answer

    def note_fault(self, message: str) -> None:
        """Log a fault with its traceback, as often as there may be a line for a request: whoever found it may repeat it."""
        if self.telemetry.log.wants():
            log.exception(message)
