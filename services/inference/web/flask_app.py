"""What is looked at, on Flask: the page, health, readiness, version, metrics, the API's description.

Predictions are answered before Flask is asked (inference.http.application), from which each request comes with the version that is
served, in its environ.
"""

import logging
import platform
import weakref
from collections.abc import Callable
from functools import cache
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from flask import Flask, Response, render_template, request, send_from_directory
from werkzeug import exceptions

from inference import VERSION
from inference.api_keys.keyring import Keyring
from inference.errors import MethodNotAllowed, NotFound, NotReady, RequestError
from inference.handlers.flask_pages import ASKED, Asked
from inference.model.deployment import Deployment
from inference.prediction_log.recorder import PredictionLog
from inference.protocols import open_inference
from inference.request.answer import error_answer
from inference.request.routing import check_named
from inference.rollout.active_model import ActiveModel, Deployments
from inference.settings import Settings
from inference.telemetry.metrics import CONTENT_TYPE, Exposition, exposition
from inference.web import openapi
from inference.web.challenger_view import challenger_content, in_words
from inference.web.figures import figures_of_all
from inference.web.neighbour import Neighbour
from inference.web.page_view import page_content

log = logging.getLogger("inference")

ENDPOINTS = {
    "GET /": "this page",
    "GET /health, GET /ping": "the process is alive",
    "GET /ready": "200 when predictions work, else 503 with reasons",
    "GET /version": "which model is served, since when, and by what",
    "GET /metrics": "figures for Prometheus",
    "GET /status": "the same figures for people: a page, or JSON",
    "GET /model-card": "what is known of the model, for people",
    "GET /openapi.json": "all of this, for machines",
    "POST /invocations": '{"instances": [[values], …] or [{column: value}, …]} → {"predictions": […]}',
    "POST /predict_names": "the same input → class names and the probability of each class",
    "POST /explain": "one row of the same → what each column adds to its prediction",
    "GET /v2 …, POST /v2/models/NAME/infer": "the Open Inference Protocol",
}
# Where predictions are kept.
FOR_LABELS = {"POST /labels": '{"labels": [{"request_id", "row", "label"}, …]} → how many are kept'}
# Headers that are lists, which Werkzeug takes apart for this app. Each piece costs microseconds in which all others wait, and a
# client may send ten thousand of them; what browsers send has half as many characters.
LISTS = (
    "HTTP_ACCEPT",
    "HTTP_IF_MATCH",
    "HTTP_IF_MODIFIED_SINCE",
    "HTTP_IF_NONE_MATCH",
    "HTTP_IF_RANGE",
    "HTTP_IF_UNMODIFIED_SINCE",
    "HTTP_RANGE",
)
MOST_OF_LIST = 256
PAGE = Path(__file__).with_name("page")
# Nothing but what comes from here, and no script or style inside of the page.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


def create_app(settings: Settings, deployments: Deployments, kept: PredictionLog | None = None) -> Flask:
    """Return what is looked at. What names no model tells of the first of the deployments."""
    app = Flask(__name__, static_folder=None, template_folder=str(PAGE))
    app.url_map.strict_slashes = False  # one behind a path makes no difference, as for predictions
    app.url_map.merge_slashes = False  # a path with two of them is no other's, and is not redirected to one in HTML
    # Answers keep the order that is written here: a person reads them.
    app.json.sort_keys = False  # type: ignore[attr-defined]
    _add_page(app, settings, deployments.first)
    _add_health(app, settings, deployments, kept)
    _add_status(app, settings, deployments, kept)
    _add_descriptions(app, settings, deployments.first.name)
    _add_open_inference(app, deployments)
    _add_errors(app)
    app.wsgi_app = _with_short_lists(app.wsgi_app)  # type: ignore[method-assign]
    app.after_request(_note_endpoint)
    return app


def _with_short_lists(app: Any) -> Any:
    """Return an app that is handed, of each list, what is whole within its first characters."""

    def cut(environ: dict[str, Any], start_response: Any) -> Any:
        for name in LISTS:
            if len(value := environ.get(name, "")) > MOST_OF_LIST:
                environ[name] = value[:MOST_OF_LIST].rpartition(",")[0]
        return app(environ, start_response)

    return cut


def _note_endpoint(response: Response) -> Response:
    _asked().context.endpoint = request.url_rule.rule if request.url_rule else "other"
    return response


def _asked() -> Asked:
    found: Asked = request.environ[ASKED]
    return found


def served_now() -> Deployment | None:
    """Return what is served to this request."""
    return _asked().context.served


def keys_now() -> Keyring:
    """Return the API keys that this request was let in by."""
    return _asked().keys


def _served() -> Deployment:
    if (served := served_now()) is None:
        raise NotReady("no model is served yet; GET /ready says why")
    return served


def _add_page(app: Flask, settings: Settings, active: ActiveModel) -> None:
    last: list[Any] = [None, None, None]
    endpoints = ENDPOINTS | FOR_LABELS if settings.prediction_log else ENDPOINTS

    def rendered(served: Deployment | None) -> str:
        """Return the page, rebuilt where there is something new to say: it may be long, and who asks for it may ask often."""
        said = active.state, active.reason, keys_now().is_on, challenger_content(settings, active)
        if last[0] is not served or last[1] != said:
            page = page_content(settings, served, active.state, active.reason, endpoints)
            page["asks_for_key"] = keys_now().is_on
            page["challenger"], page["challenger_words"] = said[3] and said[3]["version"], in_words(said[3])
            last[:] = served, said, render_template("index.html", page=page)
        return str(last[2])

    def listed() -> Any:
        model = model_content(settings, served_now(), active)
        return app.json.response(service=open_inference.NAME, model=model, endpoints=endpoints)

    @app.get("/")
    def index() -> Any:
        return _page_or_json(lambda: rendered(served_now()), listed)

    @app.get("/favicon.ico")
    def icon() -> tuple[str, int]:
        return "", 204  # browsers ask for it, and there is none

    @app.get("/page/<name>")
    def page_file(name: str) -> Any:
        if name not in ("page.css", "page.js", "status.js"):
            raise NotFound(f"there is no {request.path}; GET / lists what there is")
        return send_from_directory(PAGE, name, max_age=60)


def _page_or_json(page: Callable[[], str], content: Callable[[], Any]) -> Any:
    """Return what a browser or a program is answered, whichever asks."""
    if request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
        response: Any = Response(page(), mimetype="text/html")
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Referrer-Policy"] = "no-referrer"
    else:
        response = content()
    response.headers["Vary"] = "Accept"
    response.headers["Cache-Control"] = "no-store"
    return response


def _add_status(app: Flask, settings: Settings, deployments: Deployments, kept: PredictionLog | None) -> None:
    figures = Exposition(figures_of_all)
    monitor, schedule = Neighbour(settings.monitor_url), Neighbour(settings.schedule_url)

    def content() -> Any:
        first = deployments.first
        model = model_content(settings, served_now(), first)
        return app.json.response(
            model=model,
            reasons=[] if model else [first.reason],
            challenger=in_words(challenger_content(settings, first)),
            under_way=under_way(deployments).get("under_way"),
            figures=figures(),
            prediction_log=kept.told(first.served) if kept else None,
            drift=monitor.said(),
            schedule=schedule.said(),
        )

    @app.get("/status")
    def status() -> Any:
        return _page_or_json(lambda: render_template("status.html", name=deployments.first.name), content)


@cache  # each is looked up among files
def _installed() -> dict[str, str]:
    """Return the versions of the packages that answers depend on."""
    return {name: installed_version(name) for name in ("scikit-learn", "skops", "onnxruntime", "flask", "gunicorn")}


def _add_health(app: Flask, settings: Settings, deployments: Deployments, kept: PredictionLog | None) -> None:
    first = deployments.first

    @app.get("/health")
    @app.get("/ping")
    def health() -> dict[str, Any]:
        return {"status": "alive"}

    @app.get("/ready")
    def ready() -> tuple[dict[str, Any], int]:
        if reasons := _unready(deployments):
            return {"status": "not ready", "reasons": reasons, **under_way(deployments)}, 503
        model = model_content(settings, served_now() or first.served, first)
        return {"status": "ready", "model": model, **under_way(deployments)}, 200

    @app.get("/version")
    def version() -> dict[str, Any]:
        model = model_content(settings, served_now(), first)
        reasons = {"reasons": [first.reason]} if model is None else {}
        of_log = {"prediction_log": kept.told(first.served)} if kept else {}
        challenger = challenger_content(settings, first)
        of_challenger = {"challenger": challenger} if challenger else {}
        about = {"python": platform.python_version(), **_installed()}
        return {"model": model, **reasons, **of_challenger, **under_way(deployments), **of_log, **about}

    metrics_of_all = Exposition(exposition)

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(metrics_of_all(), content_type=CONTENT_TYPE)


def under_way(deployments: Deployments) -> dict[str, Any]:
    """Return which version is being fetched, verified and loaded, and since when; nothing where none is."""
    found = next((active.state.under_way for active in deployments.values() if active.state.under_way), None)
    return {"under_way": {"version": found.version, "since": found.since}} if found else {}


def _unready(deployments: Deployments) -> list[str]:
    """Return why predictions do not work: of each model that is not served, and that of the API keys."""
    problem = [keys_now().problem] if keys_now().problem else []
    return [*(active.reason for active in deployments.values() if active.served is None), *problem]


def model_content(settings: Settings, served: Deployment | None, active: ActiveModel) -> dict[str, Any] | None:
    """Return what is said about the model in JSON, None where none is served."""
    if served is None:
        return None
    return {
        "name": served.version.name,
        "version": served.version.version,
        "alias": settings.model_alias,
        "run_id": served.version.run_id,
        "columns": [column.name for column in served.model.description.columns],
        "since": served.since,
        "engine": {"name": served.model.engine, "reason": served.model.reason},
        # Stale: what the alias points at now is not known, or cannot be served.
        "stale": active.state.problem is not None,
        "problem": active.state.problem,
    }


def _made_once(make: Callable[[Deployment], bytes]) -> Callable[[Deployment], bytes]:
    """Make bytes once per deployment, which is not kept: of a wide table they take long, and are long."""
    made_for: Callable[[], Deployment | None] = lambda: None  # noqa: E731
    made = b""

    def found(served: Deployment) -> bytes:
        nonlocal made_for, made
        if made_for() is not served:
            made, made_for = make(served), weakref.ref(served)
        return made

    return found


def _add_descriptions(app: Flask, settings: Settings, name: str) -> None:
    described = _made_once(lambda served: openapi.content(settings.public_url, name, served))
    with_keys = _made_once(lambda served: openapi.content(settings.public_url, name, served, asks_for_key=True))

    def document() -> bytes:
        served, asks_for_key = served_now(), keys_now().is_on
        if served is None:
            return openapi.content(settings.public_url, name, None, asks_for_key)
        return with_keys(served) if asks_for_key else described(served)

    @app.get("/model-card")
    def card() -> Response:
        found = _served().model.description.card
        return Response(found or "This version has no model card: `train` writes one.\n", mimetype="text/markdown")

    @app.get("/openapi.json")
    def api() -> Response:
        return Response(document(), mimetype="application/json")


def _add_open_inference(app: Flask, deployments: Deployments) -> None:
    def described(served: Deployment) -> bytes:
        return app.json.dumps(open_inference.model_metadata(served), separators=(",", ":")).encode() + b"\n"

    metadata = _made_once(described)

    @app.get("/v2")
    def v2_server() -> dict[str, Any]:
        return open_inference.server_metadata(VERSION)

    @app.get("/v2/health/live")
    def v2_live() -> dict[str, Any]:
        return {"live": True}

    @app.get("/v2/health/ready")
    def v2_ready() -> tuple[dict[str, Any], int]:
        is_ready = not _unready(deployments)
        return {"ready": is_ready}, 200 if is_ready else 503

    @app.get("/v2/models/<name>")
    @app.get("/v2/models/<name>/versions/<version>")
    def v2_model(name: str, version: str | None = None) -> Response:
        served = _served()
        check_named(deployments, served, name, version)
        return Response(metadata(served), mimetype="application/json")

    @app.get("/v2/models/<name>/ready")
    @app.get("/v2/models/<name>/versions/<version>/ready")
    def v2_model_ready(name: str, version: str | None = None) -> dict[str, Any]:
        served = _served()
        check_named(deployments, served, name, version)
        return {"name": name, "ready": True}


def _add_errors(app: Flask) -> None:
    @app.errorhandler(RequestError)
    def request_error(error: RequestError) -> Response:
        answer = error_answer(error, request.path)
        _asked().context.error_code = answer.error_code
        return Response(answer.body, answer.status, answer.headers)

    @app.errorhandler(exceptions.HTTPException)
    def http_error(error: exceptions.HTTPException) -> Response:
        return request_error(_as_request_error(error))

    @app.errorhandler(Exception)
    def fault(error: Exception) -> Response:
        log.exception("%s %s failed", request.method, request.path)
        return request_error(RequestError("the service failed to answer; its log has the details"))


def _as_request_error(error: exceptions.HTTPException) -> RequestError:
    """Return what Flask has to say as one of the errors of this service."""
    if error.code == 404:
        return NotFound(f"there is no {request.path}; GET / lists what there is")
    said = error.description or error.name
    if isinstance(error, exceptions.MethodNotAllowed):
        return MethodNotAllowed(said, error.valid_methods or ())
    found = RequestError(said)
    found.status, found.error_code = error.code or 500, error.name.upper().replace(" ", "_")
    return found
