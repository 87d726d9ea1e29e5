"""MLflow's tables, read without importing MLflow, which takes seconds; and what is written of them: that something is deleted.

MLflow has no way to restore a logged model, nor one to delete something as of an earlier time.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy
from contract.display import first_line
from contract.tracking import alias_history
from contract.tracking.rest import logged_model_id
from sqlalchemy import Connection, Engine, text

from cleanup.errors import CleanupError
from cleanup.records import Experiment, Item, Model, Registry, Run, Tracking, Version

PRODUCTION = "Production"
# The tag by which a run of the trainer shows that it lives; one that has ended well loses it.
HEARTBEAT = "trainer_heartbeat"
# How the trainer shows on a version that it is, or was, in Production.
STAGES = ("Production", "Archived")
CONNECT_SECONDS = 10

RUNS = text(
    "SELECT r.run_uuid, r.name, r.experiment_id, r.artifact_uri, r.status, coalesce(r.end_time, r.start_time, 0) AS ended_ms, "
    "r.deleted_time, r.lifecycle_stage, p.value AS parent, h.value AS heartbeat FROM runs r "
    "LEFT JOIN tags p ON p.run_uuid = r.run_uuid AND p.key = 'mlflow.parentRunId' "
    "LEFT JOIN tags h ON h.run_uuid = r.run_uuid AND h.key = :heartbeat"
)
MODELS = text(
    "SELECT model_id, name, experiment_id, artifact_location, source_run_id, last_updated_timestamp_ms, lifecycle_stage "
    "FROM logged_models"
)
EXPERIMENTS = text(
    "SELECT experiment_id, name, coalesce(last_update_time, 0) AS changed_ms, lifecycle_stage FROM experiments"
)
VERSIONS = text(
    "SELECT v.name, v.version, v.creation_time, v.run_id, v.source, v.storage_location, t.value AS stage FROM model_versions v "
    "LEFT JOIN model_version_tags t ON t.name = v.name AND t.version = v.version AND t.key = 'stage' "
    "WHERE v.current_stage IS NULL OR v.current_stage <> 'Deleted_Internal'"
)
LEFT_IN = text(
    "SELECT 1 FROM runs WHERE experiment_id = :id UNION ALL SELECT 1 FROM logged_models WHERE experiment_id = :id"
)
ALIASES = text("SELECT name, alias, version FROM registered_model_aliases")
# Where aliases are and were; a model that was made anew under its name has other versions of the same numbers.
POSITIONS = text(
    "SELECT a.name, a.alias, a.version, v.creation_time FROM registered_model_aliases a "
    "LEFT JOIN model_versions v ON v.name = a.name AND v.version = a.version"
)
MOVES = text("SELECT name, key, value FROM registered_model_tags WHERE key LIKE :records")
# How each kind says that it is deleted, and when.
STAGE = {
    "run": text("UPDATE runs SET lifecycle_stage = :stage, deleted_time = :since WHERE run_uuid = :id"),
    "model": text(
        "UPDATE logged_models SET lifecycle_stage = :stage, "
        "last_updated_timestamp_ms = coalesce(:since, last_updated_timestamp_ms) WHERE model_id = :id"
    ),
    "experiment": text("UPDATE experiments SET lifecycle_stage = :stage WHERE experiment_id = :id"),
}


def connect(uri: str) -> Engine:
    """Return the database at an address; raise CleanupError where it does not answer, or MLflow has not made it yet."""
    options = {"connect_timeout": CONNECT_SECONDS} if uri.startswith("postgres") else {}
    engine = sqlalchemy.create_engine(uri, connect_args=options)
    with _errors("" if uri.startswith("sqlite") else "; is it running (`docker compose up -d --wait`)?"):
        there = set(sqlalchemy.inspect(engine).get_table_names())
    if not {"runs", "logged_models", "model_versions"} <= there:
        raise CleanupError("MLflow has not made its tables in the database yet: there is nothing to clean up")
    return engine


def tracking(engine: Engine) -> Tracking:
    """Read runs, logged models and experiments."""
    with _errors(), engine.connect() as connection:
        runs = [_run(row) for row in connection.execute(RUNS, {"heartbeat": HEARTBEAT})]
        models = [
            Model(
                row.model_id,
                row.name,
                str(row.experiment_id),
                row.artifact_location,
                row.source_run_id,
                row.last_updated_timestamp_ms,
                row.lifecycle_stage == "deleted",
            )
            for row in connection.execute(MODELS)
        ]
        experiments = [
            Experiment(str(row.experiment_id), row.name, row.changed_ms, row.lifecycle_stage == "deleted")
            for row in connection.execute(EXPERIMENTS)
        ]
    return Tracking(
        {run.id: run for run in runs}, {model.id: model for model in models}, {found.id: found for found in experiments}
    )


def _run(row: Any) -> Run:
    deleted_ms = row.deleted_time if row.deleted_time is not None else row.ended_ms
    return Run(
        row.run_uuid,
        row.name or "",
        str(row.experiment_id),
        row.artifact_uri or "",
        row.status,
        row.ended_ms,
        deleted_ms if row.lifecycle_stage == "deleted" else None,
        row.parent,
        row.heartbeat is not None,
    )


def registry(engine: Engine) -> Registry:
    """Read versions, aliases and the moves of Production."""
    with _errors(), engine.connect() as connection:
        return _registry(connection)


def _registry(connection: Connection) -> Registry:
    versions = [
        Version(
            row.name,
            str(row.version),
            row.creation_time,
            row.run_id,
            logged_model_id(row.source),
            tuple(place for place in (row.source, row.storage_location) if place),
            row.stage in STAGES,
        )
        for row in connection.execute(VERSIONS)
    ]
    aliases: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for row in connection.execute(ALIASES):
        aliases[row.name][row.alias] = str(row.version)
    tags: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for row in connection.execute(MOVES, {"records": f"{alias_history.TAG}%"}):
        tags[row.name][row.key] = row.value or ""
    moves = {}
    for name in {version.name for version in versions}:
        records, _ = alias_history.parsed(tags[name])
        moves[name] = list(alias_history.with_those_by_others(records.values(), aliases[name].get(PRODUCTION)))
    return Registry(versions, aliases, moves)


def positions(engine: Engine) -> frozenset[tuple[Any, ...]]:
    """Return where the aliases are and were: while that is the same, so is what they need."""
    with _errors(), engine.connect() as connection:
        records = connection.execute(MOVES, {"records": f"{alias_history.TAG}%"})
        return frozenset(tuple(row) for row in [*connection.execute(POSITIONS), *records])


def has_something_left(engine: Engine, experiment: Item) -> bool:
    """Tell whether an experiment has any run or logged model, deleted or not: MLflow removes them with it."""
    with _errors(), engine.connect() as connection:
        return connection.execute(LEFT_IN, {"id": _id(experiment)}).first() is not None


def restore(engine: Engine, item: Item) -> None:
    """Take back that something was deleted."""
    with _errors(), engine.begin() as connection:
        connection.execute(STAGE[item.kind], {"stage": "active", "since": None, "id": _id(item)})


def mark(engine: Engine, item: Item) -> None:
    """Delete something as MLflow's UI does, as of when it became garbage: a clean-up that is stopped is gone on with."""
    with _errors(), engine.begin() as connection:
        connection.execute(STAGE[item.kind], {"stage": "deleted", "since": item.since_ms, "id": _id(item)})


def _id(item: Item) -> str | int:
    return int(item.id) if item.kind == "experiment" else item.id


@contextmanager
def _errors(hint: str = "") -> Iterator[None]:
    try:
        yield
    except sqlalchemy.exc.SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        raise CleanupError(f"MLflow's database cannot be used: {first_line(cause)}{hint}") from error
