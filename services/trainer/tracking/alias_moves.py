"""The moves of the Production alias: each is recorded, and the records are read back as a history.

A record is a tag of the registered model with a key of its own, so that two writers never lose each other's. The alias
decides what is served; the records say how it got there (contract.tracking.alias_history).
"""

import re
from contextlib import suppress
from dataclasses import dataclass

import audit
from contract.display import visible
from contract.tracking import alias_history as histories
from contract.tracking.alias_history import Move
from mlflow import MlflowClient
from mlflow.entities.model_registry import RegisteredModel
from mlflow.exceptions import MlflowException

from trainer.console.figures import markdown
from trainer.errors import AnswerTooLong, VersionError
from trainer.tracking import registry
from trainer.tracking.answers import mlflow_errors
from trainer.tracking.rest import PRODUCTION

# Longer than any reason of ours; a record with it stays below the 5000 that MLflow's database takes for a tag.
MOST_REASON = 2000
# Where the history stands in the description of a registered model; a description without it is somebody's own.
HEADING = "### History of Production"
MOST_SHOWN, MOST_SHOWN_REASON = 10, 200


@dataclass(frozen=True)
class Records:
    """What a registered model tells of its alias."""

    moves: dict[str, Move]
    """by their keys, the oldest first"""
    remarks: list[str]
    """which of the records were passed over, for a person"""
    now: str | None
    """the version that the alias is at, None where there is none"""


def move(name: str, by: str, version: str, reason: str) -> Move:
    """Move the alias to a version, and record it.

    The alias goes first, because it is what counts: a trainer that is killed in between has made a move that the
    history later shows as one by others.
    """
    looked = histories.stamp()
    before, version = registry.production(name), str(version)  # on SQLite, MLflow has versions as numbers
    registry.move_to_production(name, version)
    made = Move(
        histories.stamp(), by, before, version, visible(reason, keep="\n", most=MOST_REASON)[:MOST_REASON], looked
    )
    with mlflow_errors():
        MlflowClient().set_registered_model_tag(name, histories.key_of(made), histories.record(made))
    audit.note("alias", f"{name}@{PRODUCTION}", before, version, by, made.reason)
    return made


def read(name: str) -> Records:
    """Return the records of a registered model and where its alias is, of one moment.

    Where somebody has given it so many tags that they are not read, there are no records, and a remark says so. Raises
    VersionError where there is no such model.
    """
    try:
        with mlflow_errors():
            model = _registered(name)
    except AnswerTooLong as error:
        return Records({}, [f"no record of a move of {name} is read: {error}"], registry.production(name))
    found, remarks = histories.parsed(model.tags)
    now = model.aliases.get(PRODUCTION)
    return Records(found, remarks, None if now is None else str(now))


def _registered(name: str) -> RegisteredModel:
    try:
        return MlflowClient().get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise VersionError(
            f"no version of {name} is registered yet: `train` makes the first, and `models` shows what there is"
        ) from error


def history(found: Records) -> list[Move]:
    """Return all moves of a registered model's alias, the oldest first."""
    return list(histories.with_those_by_others(found.moves.values(), found.now))


def show(name: str) -> None:
    """Write the newest moves into the description of a registered model, below HEADING, where it has that.

    What people have written there stays. It is only for display, so where too much is there to be read it is left as it is.
    """
    with suppress(AnswerTooLong), mlflow_errors():
        client = MlflowClient()
        text = client.get_registered_model(name).description or ""
        above, heading, below = text.partition(HEADING)
        if heading and len(above) + len(below) < registry.MOST_DESCRIPTION:
            below = re.sub(r"\A\s*(?:\|[^\n]*(?:\n|\Z))*\n*", "", below)
            client.update_registered_model(name, _described(above + heading, history(read(name)), below))


def _described(above: str, moves: list[Move], below: str) -> str:
    """Return a description with as many of the newest moves, the newest first, as there is room for."""
    rows = [_row(made) for made in moves[: -MOST_SHOWN - 1 : -1]]
    while True:
        table = ["| time (UTC) | by | from | to | reason |", "|---|---|---|---|---|", *rows]
        text = "\n".join([above, "", *table, *(["", below] if below else [])])
        if len(text) <= registry.MOST_DESCRIPTION or not rows:
            return text
        rows.pop()


def _row(made: Move) -> str:
    time = (made.time or "?")[:19].replace("T", " ")
    cells = [time, made.by, made.before or "-", made.version or "-"]
    return f"| {' | '.join([*map(markdown, cells), markdown(made.reason, MOST_SHOWN_REASON)])} |"
