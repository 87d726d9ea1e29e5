"""A service for tests: everything is real but where its model comes from, and nothing is done aside."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from contract.mlmodel.manifest import Description
from contract.schema import Column
from contract.version_files import VersionFiles
from inference.http.application import Service
from inference.ipc.messages import State
from inference.model.deployment import Deployment
from inference.model.engines.sklearn import Pipeline
from inference.model.model import Model
from inference.model.observation import Observer
from inference.model.version import ModelVersion
from inference.protocols.open_inference import OpenInference
from inference.protocols.protocol import Encoded
from inference.request.admission import AdmissionControl
from inference.request.answer import reason_of
from inference.rollout.active_model import ActiveModel, Deployments
from inference.rows import from_cells
from inference.settings import Settings
from inference.telemetry.log import RequestLog
from inference.web.flask_app import create_app
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from werkzeug.test import Client
from werkzeug.wsgi import get_input_stream

VERSION = ModelVersion("iris_logistic_regression", "7", "run-of-7", 1700000000000, "m-7", "")
SINCE = "2026-01-02T03:04:05+00:00"


def described(
    columns: Sequence[Column],
    is_named: bool = True,
    output: str = "long",
    class_names: Sequence[str] | None = None,
    examples: Sequence[list[Any]] = (),
    onnx_engine: dict[str, Any] | None = None,
) -> Description:
    """Return what a version with these columns says about itself."""
    names = None if class_names is None else tuple(class_names)
    return Description(tuple(columns), is_named, output, names, list(examples), {}, onnx_engine or {})


def answering(estimator: Any, description: Description, takes_arrays: bool = False) -> Model:
    """Return a model that is an estimator, fitted or fake."""
    return Model(description, None, Pipeline(estimator, description, takes_arrays), "no ONNX engine: it is a test's")


def served_as(model: Model, version: ModelVersion = VERSION, **metrics: float) -> Deployment:
    return Deployment(model, version, metrics, SINCE)


def active_of(served: Deployment | None, problem: str | None = None, name: str = Settings.model_name) -> ActiveModel:
    """Return an active model that has its model already, or never has one, and never loads one."""

    def load(files: VersionFiles, description: Description) -> Model:
        raise AssertionError(f"nobody asked for {files.folder}")

    active = ActiveModel(served.version.name if served else name, load)
    active.served, active.state = served, State(problem, served and served.version)  # type: ignore[arg-type]
    return active


def inferred(served: Deployment, body: bytes, environ: dict[str, str]) -> Encoded:
    """Return the answer of the Open Inference Protocol to a body; raise RequestError where it is refused."""
    protocol = OpenInference()
    question = protocol.decode(body, environ, served)
    prediction = served.model.answer(question.rows, question.labels, question.probabilities)
    return protocol.encode(prediction, question, served)


async def at_once(function: Any, *arguments: Any) -> Any:
    """Do here and now what a worker does in a thread of its own."""
    return function(*arguments)


class Compiled(BytecodeCache):
    """Templates of the page, which each application would compile anew."""

    def __init__(self) -> None:
        self._code: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._code:
            bucket.bytecode_from_string(self._code[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key] = bucket.bytecode_to_string()


COMPILED = Compiled()


class OnceAsked:
    """The application that answers what has no way of its own, made where a test asks it: most ask it for nothing."""

    def __init__(self, settings: Settings, deployments: Deployments) -> None:
        self._made_of = settings, deployments

    @cached_property
    def _app(self) -> Any:
        app = create_app(*self._made_of)
        app.jinja_env.bytecode_cache = COMPILED
        return app

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        answer: Iterable[bytes] = self._app(environ, start_response)
        return answer


class WsgiService(Service):
    """The service as a WSGI application, for Werkzeug's client and server; where it works, it has connections of its own."""

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        body = get_input_stream(environ).read()  # not beyond its length: a connection that is kept has no end
        context = self.begin(environ)
        context.body = body
        answer = self.answer(context)
        self.observations.show()
        start_response(reason_of(answer.status), answer.headers)
        return [answer.body]


def service_of(
    served: Deployment | None,
    problem: str | None = None,
    settings: Settings | None = None,
    admission: AdmissionControl | None = None,
    log: RequestLog | None = None,
    observers: tuple[Observer, ...] = (),
) -> WsgiService:
    return service_among([active_of(served, problem)], settings, admission, log, observers)


def service_among(
    active: Sequence[ActiveModel],
    settings: Settings | None = None,
    admission: AdmissionControl | None = None,
    log: RequestLog | None = None,
    observers: tuple[Observer, ...] = (),
) -> WsgiService:
    """Return a service of several models, of which the first answers where none is named."""
    settings, deployments = settings or Settings(), Deployments(active)
    admission = admission or AdmissionControl(settings.queue_seconds, settings.max_body_bytes, at_once)
    return WsgiService(
        settings, deployments, admission, log or RequestLog(0), OnceAsked(settings, deployments), observers
    )


def client_of(served: Deployment | None, problem: str | None = None, settings: Settings | None = None) -> Client:
    return Client(service_of(served, problem, settings))


class FakeEstimator:
    """Says class 0 for a row whose length is the smaller number, else class 1, and is 90 % sure."""

    classes_ = np.array([0, 1])

    def predict(self, frame: Any) -> Any:
        return (frame["length"] > frame["width"]).astype(int).to_numpy()

    def predict_proba(self, frame: Any) -> Any:
        return np.array([[0.9, 0.1], [0.1, 0.9]])[self.predict(frame)]


DESCRIPTION = described([Column("length"), Column("width")], class_names=["short", "long"], examples=[[1.0, 2.0]])
BACKGROUND = from_cells([[1.0, 2.0], [2.0, 1.0]], DESCRIPTION.columns, lambda i, j: "")
MODEL = replace(answering(FakeEstimator(), DESCRIPTION), background=BACKGROUND)
SERVED = served_as(MODEL)
