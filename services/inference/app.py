"""The HTTP face of the service."""

import json
import logging
import platform
from importlib.metadata import version as installed_version

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException, UnsupportedMediaType

from inference import rows
from inference.errors import InvalidInput, NotReady, RequestError
from inference.keeper import ModelKeeper, Served
from inference.settings import Settings

ENDPOINTS = {
    "GET /": "this page",
    "GET /health": "the process is alive",
    "GET /ready": "200 when predictions work, else 503 with reasons",
    "GET /version": "which model is served, since when, and by what",
    "POST /invocations": '{"instances": [[values], …] or [{column: value}, …]} → {"predictions": […]}',
    "POST /predict_names": "the same input → class names and the probability of each class",
}

# How much of a body that is too large is read and thrown away before the answer.
DISCARDED_BYTES = 256 * 1024 * 1024

log = logging.getLogger("inference")


def create_app(settings: Settings, keeper: ModelKeeper) -> Flask:
    """Return the service; `keeper` has the model."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    # Answers keep the order that is written here: a person reads them.
    app.json.sort_keys = False  # type: ignore[attr-defined]
    _add_information(app, settings, keeper)
    _add_predictions(app, keeper)
    _add_errors(app)
    return app


def _add_information(app: Flask, settings: Settings, keeper: ModelKeeper) -> None:
    @app.get("/")
    def index() -> dict:
        return {"service": "MLflow Stack inference", "model": _model(settings, keeper), "endpoints": ENDPOINTS}

    @app.get("/health")
    def health() -> dict:
        return {"status": "alive"}

    @app.get("/ready")
    def ready() -> tuple[dict, int]:
        if keeper.served is None:
            return {"status": "not ready", "reasons": [keeper.problem]}, 503
        return {"status": "ready", "model": _model(settings, keeper)}, 200

    @app.get("/version")
    def version() -> dict:
        return {
            "model": _model(settings, keeper),
            "python": platform.python_version(),
            "scikit-learn": installed_version("scikit-learn"),
        }


def _model(settings: Settings, keeper: ModelKeeper) -> dict | None:
    served, problem = keeper.served, keeper.problem
    if served is None:
        return None
    return {
        "name": served.version.name,
        "version": served.version.version,
        "alias": settings.model_alias,
        "run_id": served.version.run_id,
        "columns": [column.name for column in served.model.columns],
        "since": served.since.isoformat(timespec="seconds"),
        # Stale: what the alias points at now is not known, or cannot be served.
        "stale": problem is not None,
        "problem": problem,
    }


def _add_predictions(app: Flask, keeper: ModelKeeper) -> None:
    @app.post("/invocations")
    def invocations() -> dict:
        model = _served(keeper).model
        return {"predictions": model.predict(rows.from_instances(_body(), model.columns))}

    @app.post("/predict_names")
    def predict_names() -> dict:
        model = _served(keeper).model
        names, probabilities = model.predict_names(rows.from_instances(_body(), model.columns))
        return {"predictions": names, "probabilities": probabilities}


def _served(keeper: ModelKeeper) -> Served:
    if keeper.served is None:
        raise NotReady(f"no model is served yet: {keeper.problem}")
    return keeper.served


def _body() -> object:
    if not request.is_json:
        raise UnsupportedMediaType
    try:
        content = request.get_data(cache=False)
    except OSError as error:  # gunicorn's, for chunks that are none
        raise InvalidInput(f"the body could not be read to its end: {error}") from error
    # A body that was cut off may by chance be JSON all the same.
    if request.content_length is not None and len(content) < request.content_length:
        raise InvalidInput(
            f"the body ends after {len(content)} of the {request.content_length} bytes it is said to have"
        )
    try:
        return json.loads(content)
    except RecursionError:
        raise InvalidInput("the body is nested too deep") from None
    except ValueError as error:
        raise InvalidInput(f"the body is not JSON: {error}") from error


def _discard_body() -> None:
    """Read what a client is still sending, within bounds: most see the answer only once they have sent their body."""
    left = DISCARDED_BYTES
    while left > 0 and (chunk := request.environ["wsgi.input"].read(min(left, 1 << 16))):
        left -= len(chunk)


def _add_errors(app: Flask) -> None:
    """One shape for every error: MLflow's own, error_code and message, and where in the body the fault is."""

    @app.errorhandler(RequestError)
    def request_error(error: RequestError) -> Response:
        answer = _error(error.status, error.error_code, str(error), error.where)
        if isinstance(error, NotReady):
            answer.headers["Retry-After"] = "5"
        return answer

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        status = error.code or 500
        if status == 413:
            _discard_body()
        answer = _error(status, error.name.upper().replace(" ", "_"), _words(error))
        if "Allow" in (headers := dict(error.get_headers())):
            answer.headers["Allow"] = headers["Allow"]
        return answer

    @app.errorhandler(Exception)
    def fault(error: Exception) -> Response:
        log.exception("%s %s failed", request.method, request.path)
        return _error(500, "INTERNAL_ERROR", "the service failed to answer; its log has the details")


def _words(error: HTTPException) -> str:
    known = {
        400: "the body is not JSON",
        404: f"there is no {request.path}; GET / lists what there is",
        413: f"the body is over the limit of {request.max_content_length} bytes; send fewer rows at a time",
        415: "the body is not declared as JSON; send it with Content-Type: application/json",
    }
    return known.get(error.code or 500) or error.description or error.name


def _error(status: int, error_code: str, message: str, where: str | None = None) -> Response:
    content = {"error_code": error_code, "message": message}
    if where is not None:
        content["where"] = where
    answer = jsonify(content)
    answer.status_code = status
    return answer
