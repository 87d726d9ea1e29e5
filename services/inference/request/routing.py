"""Whose request it is: what a path asks, and of which model."""

import re
from typing import NamedTuple

from inference.api_keys import key_file
from inference.errors import NotFound
from inference.model.deployment import Deployment
from inference.rollout.active_model import Deployments

INVOCATIONS, PREDICT_NAMES, INFER = "/invocations", "/predict_names", "/v2/models/{name}/infer"
EXPLAIN, LABELS = "/explain", "/labels"
# What anybody may ask who reaches the port, also where API keys are on: what tells whether the service works, …
HEALTH = frozenset({"/health", "/ping", "/ready", "/v2/health/live", "/v2/health/ready"})
# … and the files that a page is made of.
_OPEN = HEALTH | {"/favicon.ico", "/page/page.css", "/page/page.js", "/page/status.js"}
# What tells how the service is used.
FIGURES = frozenset({"/metrics", "/status"})
_SCOPES = dict.fromkeys(FIGURES, key_file.METRICS) | {LABELS: key_file.LABELS}
_MODEL_PATH = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(?:/(infer|ready))?/?")


class Route(NamedTuple):
    """What a path asks."""

    endpoint: str = ""
    """the name of what predicts, or takes labels, empty where nothing does"""
    model: str = ""
    """the name of the model, empty where none is named"""
    version: str | None = None
    """which version it has to be, None for the one that is served"""


# A slash behind a path makes no difference.
_NAMING_NONE = {
    path + slash: Route(path) for path in (INVOCATIONS, PREDICT_NAMES, EXPLAIN, LABELS) for slash in ("", "/")
}


def route_of(path: str) -> Route:
    """Return what a path asks, as WSGI has it."""
    if (route := _NAMING_NONE.get(path)) is not None:
        return route
    if path.startswith("/v2/models/") and (match := _MODEL_PATH.fullmatch(path)):
        name, version, what = match.groups()
        return Route(INFER if what == "infer" else "", _decoded(name), version and _decoded(version))
    return Route()


def scope_of(path: str) -> str:
    """Return which scope of an API key lets in to a path, empty where no key is asked for."""
    path = path.rstrip("/")
    return "" if path in _OPEN else _SCOPES.get(path, key_file.PREDICT)


def _decoded(part: str) -> str:
    """Return a part of a path as text; WSGI has its bytes as Latin-1."""
    return part.encode("latin-1").decode("utf-8", "replace")


def check_named(deployments: Deployments, served: Deployment, name: str, version: str | None) -> None:
    """Raise NotFound unless there is a model of this name and, where one is asked for, this version of it is served."""
    if name not in deployments:
        raise NotFound(f"there is no model {name!r}; this service serves {', '.join(map(repr, deployments))}")
    if version is not None and version != served.version.version:
        raise NotFound(f"version {version!r} of {name!r} is not served; version {served.version.version!r} is")
