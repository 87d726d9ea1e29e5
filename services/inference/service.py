"""The service as a WSGI application: what is to be fast is answered here, all else by Flask (inference.app).

Every request passes through here, so that a request id, the served version, limits, metrics and the log are the same for
all. Flask costs a tenth of a millisecond, which is most of what a prediction takes.
"""

import itertools
import logging
import os
import re
import time
from collections.abc import Callable, Iterable
from functools import cache
from http import HTTPStatus
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import orjson

from inference import budget, open_inference, scoring
from inference.errors import (
    InvalidInput,
    NotAllowed,
    NotHere,
    NotReady,
    Overloaded,
    RequestError,
    TooLarge,
    Unavailable,
    UnsupportedMedia,
)
from inference.gate import LARGE_BYTES, Gate
from inference.keeper import ModelKeeper, Served
from inference.log import RequestLog
from inference.metrics import IN_FLIGHT, RequestMetrics
from inference.settings import Settings

Environ = dict[str, Any]
Headers = list[tuple[str, str]]

# How much of a body that is too large is read and thrown away before the answer.
DISCARDED_BYTES = 256 * 1024 * 1024
# What is asked all the time by machines: it is logged where the answer is an error.
PROBES = {"/health", "/ping", "/ready", "/metrics", "/v2/health/live", "/v2/health/ready"}
# Probabilities that are written as JSON at a time, where those of each row become a mapping.
PIECE = 4096
INFER = "/v2/models/{name}/infer"
_INFER_PATH = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/infer")
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


def error_answer(error: RequestError) -> Answer:
    """Return an error in the one shape that all have: MLflow's own, and where in the body the fault is."""
    content = {"error_code": error.error_code, "message": str(error)}
    if error.where is not None:
        content["where"] = error.where
    headers: Headers = [("Content-Type", "application/json")]
    if isinstance(error, Unavailable):
        headers.append(("Retry-After", str(error.retry_after)))
    if isinstance(error, NotAllowed):
        headers.append(("Allow", error.allow))
    # A message may quote what came in, half a surrogate pair too.
    readable = {name: text.encode("utf-8", "backslashreplace").decode() for name, text in content.items()}
    return Answer(error.status, orjson.dumps(readable) + b"\n", headers, error_code=error.error_code)


class Service:
    """Answers requests with what the keeper has."""

    def __init__(
        self,
        settings: Settings,
        keeper: ModelKeeper,
        gate: Gate,
        request_log: RequestLog,
        flask: Callable[[Environ, Any], Iterable[bytes]],
    ) -> None:
        self.settings = settings
        self.gate = gate
        self._keeper, self._log, self._flask = keeper, request_log, flask
        self._metrics = RequestMetrics()
        worker = os.urandom(8).hex()
        self._ids = (f"{worker}-{number}" for number in itertools.count(1))
        self._endpoints: dict[str, Callable[[Served, bytes, Environ], Answer]] = {
            "/invocations": _invocations,
            "/predict_names": _predict_names,
        }

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        answer = self.answer(environ)
        start_response(reason_of(answer.status), answer.headers)
        return [answer.body]

    def answer(self, environ: Environ) -> Answer:
        """Answer a request, which is described as WSGI does."""
        began = time.perf_counter()
        served = self._keeper.served
        request_id = self._request_id(environ)
        IN_FLIGHT.inc()
        try:
            endpoint = environ["inference.endpoint"] = self._endpoint_of(environ["PATH_INFO"])
            environ["inference.served"], environ["inference.request_id"] = served, request_id
            if endpoint:
                answer = self._predict(endpoint, served, environ)
                if answer.status != 204:  # which has none, not even 0
                    answer.headers.append(("Content-Length", str(len(answer.body))))
            else:
                answer = self._through_flask(environ)
            answer.headers.extend(self._about(served, request_id, environ))
        finally:
            IN_FLIGHT.dec()
        self._note(environ, answer, served, request_id, time.perf_counter() - began)
        return answer

    # --- predictions -----------------------------------------------------------------------------------------------

    def _endpoint_of(self, path: str) -> str:
        """Return the name of the endpoint that predicts under this path, empty where none does."""
        if path in self._endpoints:
            return path
        return INFER if path.endswith("/infer") and _INFER_PATH.fullmatch(path) else ""

    def _predict(self, endpoint: str, served: Served | None, environ: Environ) -> Answer:
        try:
            method = environ["REQUEST_METHOD"]
            if method != "POST":
                if method == "OPTIONS":
                    return Answer(204, b"", [("Allow", "OPTIONS, POST")])
                raise NotAllowed(f"{environ['PATH_INFO']} takes POST, and not {method}", "OPTIONS, POST")
            self.gate.enter()
            if served is None:
                raise NotReady(f"no model is served yet: {self._keeper.state.problem}")
            body = self._body(environ, self._declared_size(environ))
            try:
                return self.gate.run(len(body), self._endpoints.get(endpoint, self._infer), served, body, environ)
            finally:
                self.gate.release(len(body))
        except RequestError as error:
            self._read_rest(environ, LARGE_BYTES if isinstance(error, Unavailable) else DISCARDED_BYTES)
            return error_answer(error)
        except Exception:
            log.exception("%s %s failed", environ["REQUEST_METHOD"], environ["PATH_INFO"])
            return error_answer(RequestError("the service failed to answer; its log has the details"))

    def _infer(self, served: Served, body: bytes, environ: Environ) -> Answer:
        name, version = _INFER_PATH.fullmatch(environ["PATH_INFO"]).groups()  # type: ignore[union-attr]
        check_named(served, _decoded(name), version and _decoded(version))
        head, tail, rows = open_inference.infer(served, body, environ)
        headers: Headers = [("Content-Type", "application/octet-stream" if tail else "application/json")]
        if tail:
            headers.append((open_inference.HEAD_LENGTH, str(len(head))))
        return Answer(200, head + tail, headers, rows)

    def _declared_size(self, environ: Environ) -> int:
        """Return how long the body is said to be, -1 where it comes in chunks; raise RequestError where it is not wanted."""
        if environ.get("HTTP_CONTENT_ENCODING", "").lower() not in ("", "identity"):
            raise UnsupportedMedia(
                f"the body is encoded as {environ['HTTP_CONTENT_ENCODING']}; send it as it is, without Content-Encoding"
            )
        if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
            return -1
        size = int(environ.get("CONTENT_LENGTH") or 0)
        if size > self.settings.max_body_bytes:
            raise self._too_large()
        return size

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"the body is over the limit of {self.settings.max_body_bytes} bytes; send fewer rows at a time"
        )

    def _body(self, environ: Environ, size: int) -> bytes:
        """Return the body of a request, which the gate holds; raise RequestError where it is cut off, or too large after all."""
        if size < 0:
            return self._chunks(environ)
        self.gate.hold(size)
        content: bytes = b""
        try:
            content = environ["wsgi.input"].read(size)
        except OSError as error:  # the client left
            raise InvalidInput(f"the body could not be read to its end: {error}") from error
        finally:
            self.gate.release(size - len(content))
        if len(content) < size:  # what was cut off may by chance be JSON all the same
            self.gate.release(len(content))
            raise InvalidInput(
                f"the body ends after {len(content)} of the {size} bytes it is said to have, "
                f"or took longer than {self.settings.body_seconds:g} s"
            )
        return content

    def _chunks(self, environ: Environ) -> bytes:
        """Return a body whose length is not known before its end."""
        content, held = bytearray(), 0
        try:
            while chunk := environ["wsgi.input"].read(LARGE_BYTES):
                content += chunk
                if len(content) > self.settings.max_body_bytes:
                    raise self._too_large()
                self.gate.hold(len(chunk), held)
                held = len(content)
        except RequestError:
            self.gate.release(held)
            raise
        except Exception as error:  # gunicorn's, of several families, for chunks and trailers that are none
            self.gate.release(held)
            raise InvalidInput(f"the body could not be read to its end: {error}") from error
        return bytes(content)

    def _read_rest(self, environ: Environ, left: int) -> None:
        """Read what a client is still sending, within bounds: most see the answer only once they have sent their body."""
        try:
            while left > 0 and (chunk := environ["wsgi.input"].read(min(left, 1 << 16))):
                left -= len(chunk)
        except Exception as error:  # it left, or what it sends is no HTTP: it has its answer all the same
            log.debug("the rest of a body could not be read: %s", error)

    # --- all else --------------------------------------------------------------------------------------------------

    def _through_flask(self, environ: Environ) -> Answer:
        head: list[Any] = []
        content = self._flask(environ, lambda status, headers, exc_info=None: head.extend((status, headers)))
        body = b"".join(content)
        if close := getattr(content, "close", None):
            close()
        return Answer(int(head[0].split()[0]), body, list(head[1]), error_code=environ.get("inference.error_code", ""))

    def _about(self, served: Served | None, request_id: str, environ: Environ) -> Headers:
        """Return the headers that every answer has."""
        about = served.headers if served else [("X-Model-Name", self.settings.quoted_name), ("X-Model-Version", "none")]
        about = [*about, ("X-Request-ID", request_id)]
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

    def _note(self, environ: Environ, answer: Answer, served: Served | None, request_id: str, seconds: float) -> None:
        endpoint = environ["inference.endpoint"] or "other"
        version = served.version.version if served else "none"
        self._metrics.answered(endpoint, str(answer.status), version, seconds)
        if answer.rows:
            self._metrics.predicted(answer.rows, version)
        if answer.status >= 400:
            self._metrics.failed(endpoint, answer.error_code or str(answer.status), version)
        if (answer.status >= 400 or environ["PATH_INFO"] not in PROBES) and self._log.wants():
            fields = {
                "request_id": request_id,
                "method": environ["REQUEST_METHOD"],
                "path": environ["PATH_INFO"].encode("latin-1", "replace").decode("utf-8", "replace")[:200],
                "status": answer.status,
                "milliseconds": round(seconds * 1000, 3),
                "rows": answer.rows,
                "model": served.version.name if served else None,
                "version": version,
                "client": environ.get("REMOTE_ADDR"),
            }
            if answer.error_code:
                fields["error_code"] = answer.error_code
            self._log.write(fields)

    # --- what is no request, or one too many -----------------------------------------------------------------------

    def too_many_connections(self) -> tuple[str, Headers, bytes]:
        """Return the answer to a connection beyond the limit, as status line, headers and body."""
        return self._unasked(Overloaded(f"there are {self.settings.connections} connections already; try again"))

    def no_request(self, reason: str) -> tuple[str, Headers, bytes]:
        """Return the answer to what is no HTTP."""
        error = InvalidInput(f"this is no HTTP request to answer: {reason}")
        error.error_code = "BAD_REQUEST"
        return self._unasked(error)

    def _unasked(self, error: RequestError) -> tuple[str, Headers, bytes]:
        served, answer = self._keeper.served, error_answer(error)
        version = served.version.version if served else "none"
        self._metrics.answered("other", str(answer.status), version, 0.0)
        self._metrics.failed("other", answer.error_code, version)
        about = self._about(served, next(self._ids), {})
        return (
            reason_of(answer.status),
            [*answer.headers, ("Content-Length", str(len(answer.body))), *about],
            answer.body,
        )


def _decoded(part: str) -> str:
    """Return a part of a path as text; WSGI has its bytes as Latin-1."""
    return part.encode("latin-1").decode("utf-8", "replace")


def check_named(served: Served, name: str, version: str | None) -> None:
    """Raise NotHere unless the served model has this name and, where one is asked for, this version."""
    if name != served.version.name:
        raise NotHere(f"there is no model {name!r}; this service serves {served.version.name!r}")
    if version is not None and version != served.version.version:
        raise NotHere(f"version {version!r} of {name!r} is not served; version {served.version.version!r} is")


def _invocations(served: Served, body: bytes, environ: Environ) -> Answer:
    model = served.model
    rows = scoring.rows_of(body, environ.get("CONTENT_TYPE", ""), model.description)
    if len(rows) > 1:
        labels = model.classes
        budget.check_answer(len(rows), len(labels or ()), budget.label_bytes(labels), len(body))
    content = orjson.dumps({"predictions": plain(model.predict(rows))}, option=orjson.OPT_SERIALIZE_NUMPY)
    return Answer(200, content, [("Content-Type", "application/json")], len(rows))


def _predict_names(served: Served, body: bytes, environ: Environ) -> Answer:
    model = served.model
    rows = scoring.rows_of(body, environ.get("CONTENT_TYPE", ""), model.description)
    names = model.class_names or []  # there are, where there are probabilities
    if len(rows) > 1:
        budget.check_answer(len(rows), len(names), budget.named_bytes(names), len(body))
    probabilities = model.probabilities(rows)
    best = orjson.dumps([names[position] for position in probabilities.argmax(axis=1)])
    # What is written is not copied again: it may be most of what a request takes.
    content = BytesIO()
    content.write(b'{"predictions":' + best + b',"probabilities":[')
    piece = max(1, PIECE // len(names))
    for start in range(0, len(probabilities), piece):
        shares = probabilities[start : start + piece].tolist()
        written = orjson.dumps([dict(zip(names, row, strict=True)) for row in shares])
        content.write(b"," + written[1:-1] if start else written[1:-1])
    content.write(b"]}")
    return Answer(200, content.getvalue(), [("Content-Type", "application/json")], len(rows))


def plain(values: np.ndarray) -> np.ndarray | list[Any]:
    """Return an array as what orjson writes: numbers as they are, texts as a list."""
    return values if values.dtype.kind in "iufb" and values.flags.c_contiguous else values.tolist()
