"""The service as a WSGI application: what is to be fast is answered here, all else by Flask (inference.web.flask_app).

Every request passes through here, so that a request id, the served version, limits, metrics and the log are the same for
all. Flask costs a tenth of a millisecond, which is most of what a prediction takes.
"""

import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson

from inference.api_keys.keyring import Keyring
from inference.challenger.split import digest_of
from inference.errors import (
    InvalidInput,
    MethodNotAllowed,
    NotFound,
    NotReady,
    Overloaded,
    RequestEntityTooLarge,
    RequestError,
    ServiceUnavailable,
    SpoolFull,
)
from inference.model.deployment import Deployment, Watch
from inference.model.explanation import explain
from inference.model.model import Prediction
from inference.model.observation import Observation, Observer
from inference.model.pacing import TakesLong, is_waited_for
from inference.prediction_log.label_log import LabelLog
from inference.protocols import labels, mlflow, open_inference
from inference.protocols.protocol import PredictionProtocol
from inference.request import content_coding
from inference.request.admission import LARGE_BYTES, AdmissionControl
from inference.request.allowed_hosts import AllowedHosts
from inference.request.routing import (
    EXPLAIN,
    FIGURES,
    HEALTH,
    INFER,
    INVOCATIONS,
    LABELS,
    PREDICT_NAMES,
    Route,
    check_named,
    route_of,
    scope_of,
)
from inference.rollout.active_model import ActiveModel, Deployments
from inference.rows import Rows
from inference.settings import Settings
from inference.telemetry.log import RequestLog
from inference.telemetry.metrics import LABELS_TAKEN, RequestMetrics
from inference.telemetry.tracing import Trace, Tracer, unmarked

Environ = dict[str, Any]
Headers = list[tuple[str, str]]

# Browsers take an answer for what its Content-Type says, and for nothing else.
NO_SNIFFING = ("X-Content-Type-Options", "nosniff")
# What is asked all the time by machines: it is logged where the answer is an error.
PROBES = HEALTH | FIGURES
_REQUEST_ID = re.compile(r"[!-~]{1,128}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]*)?")

log = logging.getLogger("inference")


@cache
def reason_of(status: int) -> str:
    """Return a status with its words, as the first line of an answer has it."""
    return f"{status} {HTTPStatus(status).phrase}"


class Answer(NamedTuple):
    """What goes back to a client."""

    status: int
    body: bytes
    headers: Headers
    rows: int = 0
    error_code: str = ""
    seen: tuple[Rows, Prediction] | None = None
    """what was predicted for which rows, where somebody observes it"""
    seconds: float = 0.0
    """how long the model took to predict it"""


def error_answer(error: RequestError, path: str = "") -> Answer:
    """Return an error in the one shape that all have: MLflow's own, and where in the body the fault is.

    Under /v2 it says the same once more as the Open Inference Protocol has it, whose clients read nothing else.
    """
    content = {"error_code": error.error_code, "message": str(error)}
    if path.startswith("/v2/") or path == "/v2":
        content["error"] = str(error)
    if error.where is not None:
        content["where"] = error.where
    headers: Headers = [("Content-Type", "application/json"), *error.headers()]
    # A message may quote what came in, half a surrogate pair too.
    readable = {name: text.encode("utf-8", "backslashreplace").decode() for name, text in content.items()}
    return Answer(error.status, orjson.dumps(readable) + b"\n", headers, error_code=error.error_code)


def _sized(answer: Answer) -> Answer:
    """Add the length of an answer's body, where it may have one; not even 0 may be said of none."""
    if answer.status != 204:
        answer.headers.append(("Content-Length", str(len(answer.body))))
    return answer


# What a challenger answers a share of. Labels are of the model, whoever has answered.
SPLIT = frozenset({INVOCATIONS, PREDICT_NAMES, INFER, EXPLAIN})


def _request_ids() -> Iterator[str]:
    """Give one id after the other, which nobody can guess from another: with one, labels find an answer."""
    while True:
        block = os.urandom(16 * 256).hex()
        yield from (block[at : at + 32] for at in range(0, len(block), 32))


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
        self.settings = settings
        self.admission = admission
        self._deployments, self._log, self._flask = deployments, request_log, flask
        self._hosts = AllowedHosts(settings.allowed_hosts, settings.cors_origins)
        self._keys = Keyring(settings.api_keys_file, settings.cache_dir, settings.workers)
        self._metrics, self._labels = RequestMetrics(), LabelLog.of(settings)
        self._tracer = (
            Tracer(settings.trace_share, settings.otlp_endpoint, settings.otlp_headers)
            if settings.trace_share
            else None
        )
        self._ids = _request_ids()
        self._observers = observers
        self._seen: list[tuple[Environ, Rows, Prediction, float]] = []
        self._protocols: dict[str, PredictionProtocol] = {
            INVOCATIONS: mlflow.Invocations(),
            PREDICT_NAMES: mlflow.NamedPredictions(),
            INFER: open_inference.OpenInference(),
            EXPLAIN: mlflow.Explanations(),
        }

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        self.begin(environ)
        answer = self.answer(environ)
        self.show()
        start_response(reason_of(answer.status), answer.headers)
        return [answer.body]

    def begin(self, environ: Environ) -> None:
        """Note that a request's head has come; to be followed by one of `answer`, `answer_aside` and `forget`."""
        environ["inference.began"] = time.perf_counter()
        self._metrics.in_flight += 1

    def forget(self) -> None:
        """Note that a request goes unanswered: its client has left."""
        self._metrics.in_flight -= 1

    def pass_on(self) -> None:
        """Pass on what was counted; to be done now and then, and at the end."""
        self._metrics.pass_on()

    def look_around(self) -> None:
        """Do what is to be done about once in a second: pass on what was counted, and look whether the time has come for something."""
        self.pass_on()
        self._keys.look()
        self._deployments.look()

    def answer(self, environ: Environ) -> Answer:
        """Answer a request that has come whole, which is described as WSGI does.

        `show` is to follow before the answer goes. Raises TakesLong for a connection's request that others would have to wait for; `answer_aside` is to follow.
        """
        try:
            self._receive(environ)
            predicts = environ["inference.endpoint"]
            return self._finished(environ, self._predict(environ) if predicts else self._through_flask(environ))
        except TakesLong:
            self._metrics.in_flight += 1  # it is still in flight
            raise
        finally:
            self._metrics.in_flight -= 1

    async def answer_aside(self, environ: Environ, is_large: bool) -> Answer:
        """Answer a prediction that is too large, or takes too long, to be made while others wait; `show` is to follow here too."""
        environ["inference.aside"] = True
        try:
            self._receive(environ)
            try:
                answer = await self.admission.run_aside(self._predict, environ, is_large=is_large)
            except Overloaded as error:
                answer = _sized(error_answer(error, environ["PATH_INFO"]))
            return self._finished(environ, answer)
        finally:
            self._metrics.in_flight -= 1

    def _receive(self, environ: Environ) -> None:
        """Add to a request what is to be known of it: who answers it, under which id, and as what."""
        route = self._route(environ)
        active = self._active(route)
        # One that is answered aside has been looked at before: who answers it follows from its id.
        is_new = (request_id := environ.get("inference.request_id")) is None
        if request_id is None:
            request_id = self._request_id(environ)
        served = active.served
        if active.split is not None and route.endpoint in SPLIT and route.version is None:
            served = self._chosen(environ, active, request_id)
        environ["inference.served"] = served
        environ["inference.whose"] = served or active
        environ["inference.request_id"] = request_id
        environ["inference.endpoint"] = route.endpoint
        if (
            self._tracer
            and is_new
            and route.endpoint
            and (trace := self._tracer.begin(environ.get("HTTP_TRACEPARENT")))
        ):
            environ["inference.trace"], environ["inference.mark"] = trace, trace.mark

    def _finished(self, environ: Environ, answer: Answer) -> Answer:
        """Add to an answer what all have, and note it."""
        whose = environ["inference.whose"]
        answer.headers.extend(self._about(whose, environ["inference.request_id"], environ))
        self._note(environ, answer, whose)
        if self._tracer and (trace := environ.get("inference.trace")):
            self._end(self._tracer, trace, environ, answer)
        if answer.seen is not None:
            self._seen.append((environ, *answer.seen, time.perf_counter() - environ["inference.began"]))
        return answer

    def _end(self, tracer: Tracer, trace: Trace, environ: Environ, answer: Answer) -> None:
        """Have the trace of a request sent that is answered; nothing of what it asked is in it."""
        whose, endpoint = environ["inference.whose"].labels, environ["inference.endpoint"]
        attributes: dict[str, str | int] = {
            "http.request.method": environ["REQUEST_METHOD"],
            "http.route": endpoint,
            "http.response.status_code": answer.status,
            "request_id": environ["inference.request_id"],
            "model.name": whose[0],
            "model.version": whose[1],
            "rows": answer.rows,
        }
        tracer.end(trace, environ["inference.began"], f"POST {endpoint}", attributes, answer.status >= 500)

    # --- whose request it is ---------------------------------------------------------------------------------------

    def _route(self, environ: Environ) -> Route:
        """Return what a request's path asks; found out once."""
        if (route := environ.get("inference.route")) is None:
            route = environ["inference.route"] = route_of(environ["PATH_INFO"])
        return route

    def _active(self, route: Route) -> ActiveModel:
        """Return what answers; where there is no model of the name that is asked, what is asked where none is named."""
        return self._deployments.get(route.model, self._deployments.first)

    def _chosen(self, environ: Environ, active: ActiveModel, request_id: str) -> Deployment | None:
        """Return who answers a request while a challenger answers some: the same for all with one X-Split-Key."""
        split = active.split  # in a variable: another thread may end it
        if split is None or not split.chooses(environ.get("HTTP_X_SPLIT_KEY") or request_id):
            return active.served
        return split.challenger

    def _client(self, environ: Environ) -> bytes | None:
        """Return what stands for a request's client while there is a challenger, empty while there is none; None without X-Split-Key."""
        if not (key := environ["HTTP_X_SPLIT_KEY"]):
            return None
        experiment = self._active(self._route(environ)).experiment
        return digest_of(key, experiment) if experiment else b""

    # --- predictions -----------------------------------------------------------------------------------------------

    def wants_body(self, environ: Environ) -> bool:
        """Return whether the body of a request is needed; raise RequestError where it would be refused whatever it is."""
        if not self._route(environ).endpoint or environ["REQUEST_METHOD"] == "OPTIONS":
            return False
        self._check(environ)
        return True

    def check_size(self, size: int) -> None:
        """Raise RequestEntityTooLarge where a body has too many bytes."""
        if size > self.settings.max_body_bytes:
            raise self._too_large("the body")

    def _too_large(self, what: str) -> RequestEntityTooLarge:
        most = self.settings.max_body_bytes
        return RequestEntityTooLarge(f"{what} is over the limit of {most} bytes; send fewer rows at a time")

    def incomplete(self, seen: int, size: int, reason: str, seconds: float) -> InvalidInput:
        """Return what is said of a body that ends early, which had so many seconds.

        It ended after `seen` of `size` bytes, -1 where that is not known.
        """
        if reason:
            return InvalidInput(f"the body could not be read to its end: {reason}")
        said = (
            f"{seen} of the {size} bytes it is said to have" if size >= 0 else f"{seen} bytes, in the middle of a chunk"
        )
        return InvalidInput(f"the body ends after {said}, or took longer than {seconds:g} s")

    def _check(self, environ: Environ) -> None:
        """Raise RequestError where a prediction is refused whatever its body is."""
        self._check_address(environ)
        if self._keys.is_on:
            self._keys.admit(environ, scope_of(environ["PATH_INFO"]))
        if (method := environ["REQUEST_METHOD"]) != "POST":
            raise MethodNotAllowed(f"{environ['PATH_INFO']} takes POST, and not {method}", ("OPTIONS", "POST"))
        if (active := self._active(self._route(environ))).served is None:
            raise NotReady(f"no model is served yet: {active.reason}")
        if coding := environ.get("HTTP_CONTENT_ENCODING"):
            content_coding.check_coding(coding)
        self.check_size(int(environ.get("CONTENT_LENGTH") or 0))
        environ["inference.checked"] = True

    def _check_address(self, environ: Environ) -> None:
        origin = environ.get("HTTP_ORIGIN") if environ["REQUEST_METHOD"] == "POST" else None
        self._hosts.check(environ.get("HTTP_HOST"), origin)

    def _predict(self, environ: Environ) -> Answer:
        """Answer a prediction; may be called in any thread."""
        try:
            return _sized(self._predicted(environ))
        except RequestError as error:
            return _sized(error_answer(error, environ["PATH_INFO"]))
        except TakesLong:
            raise
        except Exception:
            log.exception("%s %s failed", environ["REQUEST_METHOD"], environ["PATH_INFO"])
            fault = RequestError("the service failed to answer; its log has the details")
            return _sized(error_answer(fault, environ["PATH_INFO"]))

    def _predicted(self, environ: Environ) -> Answer:
        if environ["REQUEST_METHOD"] == "OPTIONS":
            self._check_address(environ)
            return Answer(204, b"", [("Allow", "OPTIONS, POST")])
        if refused := environ.get("inference.refused"):
            return error_answer(refused, environ["PATH_INFO"])  # to raise it would tie the request to itself
        if "inference.checked" not in environ:
            self._check(environ)
        self.admission.enter(environ.get("inference.waited", 0.0))
        environ.get("inference.mark", unmarked)("wait")
        deployment = self._asked(environ)
        if environ["inference.endpoint"] == LABELS:
            return self._labelled(environ, deployment)
        if (watch := deployment.watch) is not None:
            return self._by_challenger(environ, deployment, watch)
        return self._answered(environ, deployment)

    def _by_challenger(self, environ: Environ, challenger: Deployment, watch: Watch) -> Answer:
        """Answer by the challenger, and where it fails by Production: no request fails over it."""
        try:
            answer = self._answered(environ, challenger)
        except TakesLong:
            raise
        except Exception as error:
            environ["inference.served"] = environ["inference.whose"] = watch.champion
            environ["wsgi.input"].seek(0)
            # Where it is refused too, that is no fault of the challenger's.
            answer = self._answered(environ, watch.champion)
            if (
                environ["inference.endpoint"] != EXPLAIN
            ):  # it takes as long as it takes, and there may be none of one version
                watch.failed(error)
            return answer
        if answer.seen is not None:
            watch.compare(*answer.seen, answer.seconds)
        return answer

    def _answered(self, environ: Environ, deployment: Deployment) -> Answer:
        mark = environ.get("inference.mark", unmarked)
        protocol = self._protocols[environ["inference.endpoint"]]
        question = protocol.decode(self._body(environ), environ, deployment)
        mark("parse")
        rows, model = question.rows, deployment.model
        if len(rows) > 1 or model.runs_code:
            model.check_turn(rows, environ)
        began = time.perf_counter()
        prediction = model.answer(rows, question.labels, question.probabilities)
        seconds = time.perf_counter() - began
        if question.explained:
            question = question._replace(form=explain(model, rows, prediction))
        mark("predict")
        body, headers = protocol.encode(prediction, question, deployment)
        mark("serialize")
        is_seen = self._observers or deployment.watch is not None
        return Answer(200, body, headers, len(rows), seen=(rows, prediction) if is_seen else None, seconds=seconds)

    def _labelled(self, environ: Environ, deployment: Deployment) -> Answer:
        """Keep labels before it is answered that they are taken."""
        if self._labels is None:
            raise NotFound(
                "no prediction is kept, so there is none to label; PREDICTION_LOG=1 keeps them (docs/prediction-log.md)"
            )
        found = labels.decode(self._body(environ), environ.get("CONTENT_TYPE", ""), deployment.model)
        trusted = environ.get("inference.key") is not None
        try:
            self._labels.append(deployment.labels[0], found.request_ids, found.rows, found.values, trusted)
        except (SpoolFull, OSError) as error:
            raise ServiceUnavailable(f"labels cannot be kept now: {error}") from error
        LABELS_TAKEN.labels("trusted" if trusted else "untrusted").inc(len(found.rows))
        LABELS_TAKEN.labels("repeated").inc(found.repeated)
        content = {"accepted": len(found.rows), "repeated": found.repeated, "trusted": trusted}
        return Answer(200, orjson.dumps(content), [("Content-Type", "application/json")])

    def _body(self, environ: Environ) -> bytes:
        """Return a request's body, unpacked; raise TakesLong where it may become large and others wait."""
        body: bytes = environ["wsgi.input"].read()
        if not (coding := environ.get("HTTP_CONTENT_ENCODING")):
            return body
        others_wait = is_waited_for(environ)
        most = LARGE_BYTES if others_wait else self.settings.max_body_bytes
        if (content := content_coding.unpacked(body, coding, most)) is not None:
            return content
        if others_wait:
            raise TakesLong
        raise self._too_large("the unpacked body")

    def _asked(self, environ: Environ) -> Deployment:
        """Return what a request asks; raise NotFound where that is not served."""
        deployment: Deployment = environ["inference.served"]
        if (route := self._route(environ)).model:
            check_named(self._deployments, deployment, route.model, route.version)
        return deployment

    def show(self) -> None:
        """Let observers see what was predicted, before clients do: what was answered they know of, whatever ends the process."""
        if not self._seen:
            return
        seen = [
            Observation(
                environ["inference.request_id"],
                environ["inference.served"],
                rows,
                prediction,
                seconds,
                self._client(environ) if "HTTP_X_SPLIT_KEY" in environ else None,
            )
            for environ, rows, prediction, seconds in self._seen
        ]
        self._seen.clear()
        for observe in self._observers:
            try:
                observe(*seen)
            except Exception:  # it must not keep an answer from whoever waits for it
                log.exception("predictions could not be observed")

    # --- all else --------------------------------------------------------------------------------------------------

    def _through_flask(self, environ: Environ) -> Answer:
        environ["inference.keys"] = self._keys
        try:
            self._check_address(environ)
            if (
                self._keys.is_on
                and environ["REQUEST_METHOD"] != "OPTIONS"
                and (scope := scope_of(environ["PATH_INFO"]))
            ):
                self._keys.admit(environ, scope)
        except RequestError as error:
            return _sized(error_answer(error, environ["PATH_INFO"]))
        self.pass_on()  # it may be the metrics that are asked for
        head: list[Any] = []
        content = self._flask(environ, lambda status, headers, exc_info=None: head.extend((status, headers)))
        body = b"".join(content)
        if close := getattr(content, "close", None):
            close()
        return Answer(int(head[0].split()[0]), body, list(head[1]), error_code=environ.get("inference.error_code", ""))

    def _about(self, whose: Deployment | ActiveModel, request_id: str, environ: Environ) -> Headers:
        """Return the headers that every answer has."""
        about = [*whose.headers, ("X-Request-ID", request_id), NO_SNIFFING]
        if self._hosts.origins:
            about += self._hosts.permissions(environ)
        if (trace := environ.get("HTTP_TRACEPARENT")) and _TRACEPARENT.fullmatch(trace):
            about.append(("traceparent", trace))
        return about

    def _request_id(self, environ: Environ) -> str:
        """Return the id that the request came with, that of its trace, or a new one."""
        if (given := environ.get("HTTP_X_REQUEST_ID")) and _REQUEST_ID.fullmatch(given):
            return str(given)
        if (trace := environ.get("HTTP_TRACEPARENT")) and (match := _TRACEPARENT.fullmatch(trace)):
            return match[1]
        return next(self._ids)

    def _note(self, environ: Environ, answer: Answer, whose: Deployment | ActiveModel) -> None:
        now = time.perf_counter()
        seconds = now - environ["inference.began"]
        endpoint, labels = environ["inference.endpoint"] or "other", whose.labels
        self._metrics.answered(labels, endpoint, str(answer.status), seconds)
        if answer.rows:
            self._metrics.predicted(labels, answer.rows)
        if answer.status >= 400:
            self._metrics.failed(labels, endpoint, answer.error_code or str(answer.status))
        key = environ.get("inference.key")
        if key is not None:
            self._metrics.asked_with(key, str(answer.status))
        self._metrics.pass_on_when_due(now)
        if (answer.status >= 400 or endpoint not in PROBES) and self._log.wants():
            fields = {
                "request_id": environ["inference.request_id"],
                "method": environ["REQUEST_METHOD"],
                "path": environ["PATH_INFO"].encode("latin-1", "replace").decode("utf-8", "replace")[:200],
                "status": answer.status,
                "milliseconds": round(seconds * 1000, 3),
                "rows": answer.rows,
                "model": labels[0] if environ["inference.served"] else None,
                "version": labels[1],
                "client": environ.get("REMOTE_ADDR"),
            }
            if key is not None:
                fields["key"] = key
            if answer.error_code:
                fields["error_code"] = answer.error_code
            self._log.write(fields)

    # --- what is no request, or one too many -----------------------------------------------------------------------

    def too_many_connections(self, limit: int) -> tuple[str, Headers, bytes]:
        """Return the answer to a connection beyond the limit, as status line, headers and body."""
        return self._unasked(Overloaded(f"there are {limit} connections already; try again"))

    def no_request(self, reason: str) -> tuple[str, Headers, bytes]:
        """Return the answer to a malformed request."""
        error = InvalidInput(f"malformed request: {reason}")
        error.error_code = "BAD_REQUEST"
        return self._unasked(error)

    def note_fault(self, message: str) -> None:
        """Log a fault with its traceback, as often as there may be a line for a request: whoever found it may repeat it."""
        if self._log.wants():
            log.exception(message)

    def _unasked(self, error: RequestError) -> tuple[str, Headers, bytes]:
        first, answer = self._deployments.first, error_answer(error)
        whose = first.served or first
        self._metrics.answered(whose.labels, "other", str(answer.status), 0.0)
        self._metrics.failed(whose.labels, "other", answer.error_code)
        about = self._about(whose, next(self._ids), {})
        return (
            reason_of(answer.status),
            [*answer.headers, ("Content-Length", str(len(answer.body))), *about],
            answer.body,
        )
