"""What a request through MLflow's API changes of models, accounts and roles: lines of the audit log, as alias_log.py has them of aliases.

The commands note their own changes; this is for who comes past them: by MLflow's pages, its client, or curl.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import audit
from flask import Response, after_this_request, request
from mlflow.exceptions import MlflowException
from mlflow.protos.model_registry_pb2 import DeleteModelVersion, DeleteRegisteredModel, RenameRegisteredModel
from mlflow.server import auth
from mlflow.server.handlers import _get_model_registry_store, _get_request_message

from accounts.alias_log import BY
from accounts.directory import Directory

OF_MODELS = {
    ("POST", "registered-models/rename"): RenameRegisteredModel,
    ("DELETE", "registered-models/delete"): DeleteRegisteredModel,
    ("DELETE", "model-versions/delete"): DeleteModelVersion,
}
OF_ACCOUNTS, OF_ROLES = "users/", "roles/"
# What else a request about accounts and roles says that may be told: passwords are not among it.
TOLD = (
    "is_admin",
    "role_id",
    "role_permission_id",
    "name",
    "resource_type",
    "resource_id",
    "resource_pattern",
    "permission",
)
NO_ROLE = "no role"


@dataclass(frozen=True)
class Change:
    """A line of the audit log (services/audit); what an account is after it is not known before it."""

    what: str
    of: str
    before: str | None
    after: str | None
    why: str = ""


def note_when_done(person: str, route: str) -> None:
    """Have it written where the request that is being answered, and that writes, succeeds; where that fails MLflow's log says so."""
    if not (changes := _asked_for(route)):
        return
    by = f"{BY}, {request.method} {route}"

    @after_this_request
    def note(answer: Response) -> Response:
        if answer.status_code < 400:
            with audit.at_work(person):
                for change in changes:
                    after = _role(change.of) if change.what == "account" else change.after
                    audit.note(change.what, change.of, change.before, after, by, change.why)
        return answer


def _asked_for(route: str) -> list[Change]:
    """Return what the request would change; nothing where that is none of these things, or MLflow will refuse it."""
    if route.startswith((OF_ACCOUNTS, OF_ROLES)):
        return [_of_accounts()]
    if (kind := OF_MODELS.get((request.method, route))) is None:
        return []
    try:
        return _of_models(_get_request_message(kind()))
    except MlflowException:
        return []


def _of_models(asked: Any) -> list[Change]:
    name = str(asked.name)
    if isinstance(asked, RenameRegisteredModel):
        return [Change("model", name, name, str(asked.new_name))]
    # The aliases go with what they point at.
    held = {alias: str(version) for alias, version in _aliases(name).items()}
    if isinstance(asked, DeleteModelVersion):
        version = str(asked.version)
        held = {alias: of for alias, of in held.items() if of == version}
        gone = Change("version", f"{name} {version}", version, None)
    else:
        gone = Change("model", name, name, None)
    return [*(Change("alias", f"{name}@{alias}", version, None) for alias, version in held.items()), gone]


def _aliases(name: str) -> Mapping[str, Any]:
    """Return alias → version of a registered model; raise MlflowException where it is not there."""
    found: Mapping[str, Any] = _get_model_registry_store().get_registered_model(name).aliases
    return found


def _of_accounts() -> Change:
    # As MLflow reads it: the address, a form of its page, or JSON.
    body = request.get_json(silent=True)
    said = request.args.to_dict() | request.form.to_dict() | (body if isinstance(body, dict) else {})
    why = ", ".join(f"{name} {said[name]}" for name in TOLD if said.get(name) is not None)
    if (account := said.get("username")) is not None:
        return Change("account", str(account), _role(str(account)), None, why)
    return Change("role", str(said.get("role_id", said.get("name", said.get("role_permission_id")))), None, None, why)


def _role(account: str) -> str | None:
    """Return the role of an account, None where there is no such account."""
    found = Directory(auth.store).find(account)
    return (found.role or NO_ROLE) if found else None
