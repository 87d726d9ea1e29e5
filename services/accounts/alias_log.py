"""Who set or took away an alias past the stack's commands: lines of the audit log, with the name that they logged in by.

Who gives a version the alias `candidate` is also named by its tag `asked_by`, which the review tells of: MLflow's UI writes none.
"""

from contextlib import suppress

import audit
from flask import Response, after_this_request, request
from mlflow.entities.model_registry import ModelVersionTag
from mlflow.exceptions import MlflowException
from mlflow.protos.model_registry_pb2 import DeleteRegisteredModelAlias, SetRegisteredModelAlias
from mlflow.server.handlers import _get_model_registry_store

from accounts.roles import CANDIDATE, TRAINER

BY = "MLflow"
ASKED_BY = "asked_by"


def note_when_done(person: str, message: SetRegisteredModelAlias | DeleteRegisteredModelAlias) -> None:
    """Have it written where the request that is being answered succeeds; the trainer's commands write their own."""
    if person == TRAINER:
        return
    before = _version(message.name, message.alias)
    after = str(message.version) if request.method == "POST" else None

    @after_this_request
    def note(answer: Response) -> Response:
        if answer.status_code == 200:
            with audit.at_work(person):
                audit.note("alias", f"{message.name}@{message.alias}", before, after, BY)
            if message.alias == CANDIDATE and after:
                _get_model_registry_store().set_model_version_tag(
                    message.name, after, ModelVersionTag(ASKED_BY, person)
                )
        return answer


def _version(model: str, alias: str) -> str | None:
    with suppress(MlflowException):  # there is no such model, or no such alias
        return str(_get_model_registry_store().get_model_version_by_alias(model, alias).version)
    return None
