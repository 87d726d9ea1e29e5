"""The moves of the Production alias: each is recorded, and the records are read back as a history.

A record is a tag of the registered model with a key of its own, so that two writers never lose each other's. The alias
decides what is served; the records say how it got there, and a move that none of them tells of was made by others.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from uuid import uuid4

from mlflow import MlflowClient

from trainer import registry
from trainer.tracking import mlflow_errors

TAG = "move."
OTHERS = "others"


@dataclass(frozen=True)
class Move:
    """One move of the alias."""

    time: str | None
    """UTC, ISO 8601; None where the move was only found out later"""
    by: str
    """the command that made it (train, promote, rollback), or OTHERS: the MLflow API, a notebook"""
    before: str | None
    """the version that was in Production, None where none was"""
    version: str | None
    """the version that is from then on, None where the alias was deleted"""
    reason: str


def move(name: str, by: str, version: str, reason: str) -> Move:
    """Move the alias to a version, and record it.

    The alias goes first, because it is what counts: a trainer that is killed in between has made a move that the
    history later shows as one by others.
    """
    before, version = registry.production(name), str(version)  # on SQLite, MLflow has versions as numbers
    registry.move_to_production(name, version)
    made = Move(datetime.now(UTC).isoformat(timespec="seconds"), by, before, version, reason)
    with mlflow_errors():
        # The time comes first in the key, so that the keys sort as the moves were made.
        key = f"{TAG}{datetime.now(UTC):%Y%m%dT%H%M%S.%f}.{uuid4().hex[:8]}"
        MlflowClient().set_registered_model_tag(name, key, json.dumps(asdict(made)))
    return made


def records(name: str) -> dict[str, Move]:
    """Return the recorded moves of a registered model's alias by their keys, the oldest first."""
    with mlflow_errors():
        tags = MlflowClient().get_registered_model(name).tags
    return {key: Move(**json.loads(tags[key])) for key in sorted(tags) if key.startswith(TAG)}


def history(name: str) -> list[Move]:
    """Return all moves of a registered model's alias, the oldest first."""
    return list(with_those_by_others(list(records(name).values()), registry.production(name)))


def with_those_by_others(records: list[Move], now: str | None) -> Iterator[Move]:
    """Yield the recorded moves, and between them those that somebody else made; `now` is where the alias is."""
    last = None
    for record in records:
        if record.before != last:
            yield _by_others(last, record.before)
        yield record
        last = record.version
    if now != last:
        yield _by_others(last, now)


def _by_others(before: str | None, version: str | None) -> Move:
    return Move(None, OTHERS, before, version, "not recorded: made by other means, or before moves were")


def earlier(moves: list[Move]) -> list[str]:
    """Return the versions to go back to, the next one first.

    A move to a version puts it on top of those before it; a rollback takes those above its version away, so that a
    second one goes further back and not to and fro.
    """
    stack: list[str] = []
    for made in moves:
        if made.version is None:
            continue
        if made.by == "rollback" and made.version in stack:
            del stack[stack.index(made.version) :]
        elif made.version in stack:
            stack.remove(made.version)
        stack.append(made.version)
    current = moves[-1].version if moves else None
    return [version for version in reversed(stack) if version != current]
