"""What MLflow's server asks of every request (`authorization_function` of its basic-auth): who it is, and whether the rules let it.

MLflow's own grants are looked at after it. Its admins are not held to the rules.
"""

import json
import os
import re
from functools import cache, partial
from typing import Any

from contract.publishing import sign_on
from flask import Response, g, request
from mlflow.exceptions import MlflowException
from mlflow.gateway.providers import utils as gateway
from mlflow.protos.model_registry_pb2 import (
    CreateModelVersion,
    CreateRegisteredModel,
    DeleteModelVersionTag,
    DeleteRegisteredModelAlias,
    DeleteRegisteredModelTag,
    GetModelVersionByAlias,
    SetModelVersionTag,
    SetRegisteredModelAlias,
    SetRegisteredModelTag,
)
from mlflow.server import auth
from mlflow.server.handlers import _get_model_registry_store, _get_request_message
from werkzeug.datastructures import Authorization

from accounts import alias_log, changes
from accounts.directory import Directory
from accounts.roles import ALIAS, FILES, READING, refusal
from accounts.sign_on import SignOn

# MLflow's gateway sends what comes along with a request on to where it leads.
gateway._STRIPPED_HEADERS |= {"cookie", *(name.lower() for name in (sign_on.SECRET, sign_on.NAME, sign_on.GROUPS))}

PREFIX = re.compile(r"^/(?:(?:ajax-)?api/\d+\.\d+/?mlflow(?:-artifacts)?/)?")
# What a request says that names an alias or tags.
MESSAGES = {
    ("POST", ALIAS): SetRegisteredModelAlias,
    ("DELETE", ALIAS): DeleteRegisteredModelAlias,
    ("POST", "registered-models/create"): CreateRegisteredModel,
    ("POST", "registered-models/set-tag"): SetRegisteredModelTag,
    ("DELETE", "registered-models/delete-tag"): DeleteRegisteredModelTag,
    ("POST", "model-versions/create"): CreateModelVersion,
    ("POST", "model-versions/set-tag"): SetModelVersionTag,
    ("DELETE", "model-versions/delete-tag"): DeleteModelVersionTag,
}


def authorize() -> Authorization | Response:
    """Return who asks, or the answer to one who may not: 401 for a stranger, 403 with the reason."""
    # MLflow asks again for each grant that it looks at.
    if "authorized" not in g:
        g.authorized = _authorize()
    found: Authorization | Response = g.authorized
    return found


def _authorize() -> Authorization | Response:
    found = _authenticated()
    if isinstance(found, Response):
        return found
    if not auth.store.has_user(found.username):
        # Somebody whose account was removed, and whom MLflow still knows from a moment ago.
        return _unknown()
    # Routes that are not Flask's have no rule.
    route = PREFIX.sub("", request.url_rule.rule if request.url_rule else request.path)
    if request.method in READING:
        return (_no_model() if route == ALIAS else None) or found
    user = auth.store.get_user(found.username)
    if not user.is_admin:
        held = {role.name for role in auth.store.list_user_roles(user.id)}
        if reason := refusal(held, request.method, route, partial(_names, route)):
            return _forbidden(reason)
    if route == ALIAS:
        alias_log.note_when_done(user.username, _message(route))
    else:
        changes.note_when_done(user.username, route)
    return found


def _authenticated() -> Authorization | Response:
    """Return who asks: whom the proxy of single sign-on says, or whose password is right."""
    sign_on = _sign_on()
    if sign_on and (name := sign_on.person(request.headers)):
        reason = sign_on.refusal(name, request.headers)
        return _forbidden(reason) if reason else Authorization("sign-on", {"username": name})
    if request.authorization and request.authorization.type != "basic":
        # MLflow takes it for one with a password, and fails.
        return _unknown()
    found: Authorization | Response = auth.authenticate_request_basic_auth()
    return found


def _unknown() -> Response:
    answer: Response = auth.make_basic_auth_response()
    return answer


@cache
def _sign_on() -> SignOn | None:
    return SignOn.from_env(os.environ, Directory(auth.store))


def _forbidden(reason: str) -> Response:
    answer: Response = auth.make_forbidden_response()
    answer.set_data(json.dumps({"error_code": "PERMISSION_DENIED", "message": reason}))
    answer.content_type = "application/json"
    return answer


def _no_model() -> Response | None:
    """Return the answer of an MLflow without a login where somebody asks for an alias of a model that is not there.

    MLflow's grants refuse it with 403, which says to the trainer of a first model, and to who waits for it, that they may not ask.
    """
    try:
        _get_model_registry_store().get_registered_model(_get_request_message(GetModelVersionByAlias()).name)
    except MlflowException as error:
        return Response(error.serialize_as_json(), error.get_http_status_code(), content_type="application/json")
    return None


def _names(route: str) -> list[str]:
    """Return the alias, the tags or the file that the request is about, as MLflow's handler reads it; raise MlflowException where it would."""
    if route == FILES:
        return [str((request.view_args or {}).get("artifact_path", ""))]
    message = _message(route)
    if route == ALIAS:
        return [str(message.alias)]
    return [str(tag.key) for tag in message.tags] if route.endswith("/create") else [str(message.key)]


def _message(route: str) -> Any:
    return _get_request_message(MESSAGES[request.method, route]())
