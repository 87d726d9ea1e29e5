"""Which version is behind the alias: asked of a tracking server, or of a SQLite file where there is no server.

Neither way imports MLflow, which costs seconds and 190 MB: a look is one request of some milliseconds, or one query.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from contract.display import first_line, quoted, visible
from contract.tracking.challenge import ALIAS, TAG
from contract.tracking.rest import SIGNED_BY, Absent, Server, Unanswered, as_mlflow_has_it, is_server, logged_model_id

from inference.errors import FetchFailed, NoModel, RegistryUnreachable, VersionLost
from inference.model.version import ModelVersion

TIMEOUT_SECONDS = 3
# Whoever reaches MLflow's port writes tags and descriptions. Those that the contract names are passed on, as far as they
# may be read by a person; of an answer that is larger than any of them, nothing is read.
TAGS = (
    "stage",
    SIGNED_BY,
    "algorithm",
    "rule",
    "attempts_on_this_data",
    "data_sha256",
    "git_commit",
    "code_sha256",
    "image",
    "model_name",
    TAG,
)
MOST_TAG, MOST_DESCRIPTION, MOST_METRICS, MOST_ALIASES = 500, 4000, 1000, 10
MOST_ANSWER_BYTES = 1024 * 1024
# MLflow's words for what nobody has deleted, and for what its garbage collection may take.
ACTIVE, DELETED = "active", "deleted"


class Registry(Protocol):
    """Where the alias is looked up."""

    def current(self) -> ModelVersion:
        """Return the version behind the alias; raise NoModel or RegistryUnreachable."""

    def location(self, version: ModelVersion) -> str:
        """Return the URI or the folder of a version's files; raise FetchFailed."""

    def deleted(self, version: ModelVersion) -> str | None:
        """Say what of a version is deleted in MLflow, its files still being there; raise RegistryUnreachable."""

    def metrics(self, run_id: str) -> dict[str, float]:
        """Return the last metrics of a run; raise RegistryUnreachable."""


def connect(tracking_uri: str, name: str, alias: str) -> "ServerRegistry | EmbeddedRegistry":
    """Return the registry at a tracking URI."""
    if is_server(tracking_uri):
        return ServerRegistry(tracking_uri, name, alias)
    return EmbeddedRegistry(tracking_uri, name, alias)


class ServerRegistry:
    """A tracking server, asked over its REST API."""

    def __init__(self, tracking_uri: str, name: str, alias: str) -> None:
        self._where, self._name, self._alias = tracking_uri, name, alias
        self._server = Server(tracking_uri, TIMEOUT_SECONDS, MOST_ANSWER_BYTES)

    def current(self) -> ModelVersion:
        try:
            answer = self._server.get("registered-models/alias", name=self._name, alias=self._alias)
            with as_mlflow_has_it():
                return self._version(answer["model_version"])
        except Absent as error:
            # Mostly there is no challenger, and nothing to explain.
            others = [] if self._alias == ALIAS else self._aliases()
            raise _nothing_there(self._name, self._alias, first_line(error), others) from error
        except Unanswered as error:
            raise self._unreachable(error) from error

    def numbered(self, number: str) -> ModelVersion:
        """Return the version of a number, whoever has the alias; raise VersionLost or RegistryUnreachable."""
        try:
            answer = self._server.get("model-versions/get", name=self._name, version=number)
            with as_mlflow_has_it():
                return self._version(answer["model_version"])
        except Absent as error:
            raise VersionLost(_no_such(self._name, number)) from error
        except Unanswered as error:
            raise self._unreachable(error) from error

    def _version(self, found: dict[str, Any]) -> ModelVersion:
        tags = _tags({tag["key"]: tag["value"] for tag in found.get("tags", [])})
        return ModelVersion(
            self._name,
            visible(str(found["version"]), 20),
            visible(str(found.get("run_id", "")), MOST_TAG),
            int(found["creation_timestamp"]),
            _model_id(found.get("source", "")),
            tags.get(SIGNED_BY, ""),
            visible(str(found.get("description", "")), MOST_DESCRIPTION, keep="\n"),
            tags,
        )

    def location(self, version: ModelVersion) -> str:
        try:
            answer = self._server.get("model-versions/get-download-uri", name=version.name, version=version.version)
            with as_mlflow_has_it():
                return str(answer["artifact_uri"])
        except Absent as error:
            raise VersionLost("it is gone from the registry") from error
        except Unanswered as error:
            raise FetchFailed(f"{version.uri} could not be found: {self._unreachable(error)}") from error

    def deleted(self, version: ModelVersion) -> str | None:
        model, run = f"logged-models/{quote(version.model_id, safe='')}", {"run_id": version.run_id}
        is_there = not version.model_id or self._stage(model, "model", {}) == ACTIVE
        return _deleted(version, is_there, bool(version.run_id) and self._stage("runs/get", "run", run) == DELETED)

    def _stage(self, path: str, kind: str, query: dict[str, str]) -> str | None:
        """Return the lifecycle stage of a run or a logged model; None where MLflow has none, as of a deleted model."""
        try:
            answer = self._server.get(path, **query)
            with as_mlflow_has_it():
                return str(answer[kind]["info"].get("lifecycle_stage", ACTIVE))
        except Absent:
            return None
        except Unanswered as error:
            raise self._unreachable(error) from error

    def metrics(self, run_id: str) -> dict[str, float]:
        try:
            answer = self._server.get("runs/get", run_id=run_id)
            with as_mlflow_has_it():
                found = answer["run"]["data"].get("metrics", [])
                return _metrics({metric["key"]: metric["value"] for metric in found})
        except (Absent, Unanswered) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Absent | Unanswered) -> RegistryUnreachable:
        status = getattr(error, "status", 404)
        said = "does not answer:" if status is None else f"refuses: {status}"
        return RegistryUnreachable(f"MLflow at {self._where} {said} {first_line(error)}")

    def _aliases(self) -> list[str]:
        """Return the aliases that the registered model has, none where they cannot be had: they only help to explain."""
        try:
            answer = self._server.get("registered-models/get", name=self._name)
            with as_mlflow_has_it():
                return [str(alias["alias"]) for alias in answer["registered_model"].get("aliases", [])][:MOST_ALIASES]
        except (Absent, Unanswered):
            return []


class EmbeddedRegistry:
    """MLflow's tables in a SQLite file, read and never written: the way without Docker, where there is no server to ask.

    MLflow's own client would make the tables where they are missing, which breaks a trainer that is just making them.
    """

    def __init__(self, tracking_uri: str, name: str, alias: str) -> None:
        self._name, self._alias = name, alias
        self._file = Path(tracking_uri.removeprefix("sqlite:///"))

    def current(self) -> ModelVersion:
        with self._database() as database:
            query = "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?"
            behind = database.execute(query, (self._name, self._alias)).fetchone()
            found = self._version(database, behind[0]) if behind else None
            if found is None:
                raise _nothing_there(self._name, self._alias, f"{self._file} has none", self._aliases(database))
            return found

    def numbered(self, number: str) -> ModelVersion:
        with self._database() as database:
            if (found := self._version(database, number)) is None:
                raise VersionLost(_no_such(self._name, number))
            return found

    def _version(self, database: sqlite3.Connection, number: int | str) -> ModelVersion | None:
        query = (
            "SELECT version, run_id, creation_time, source, substr(description, 1, ?) FROM model_versions "
            "WHERE name = ? AND version = ?"
        )
        found = database.execute(query, (MOST_DESCRIPTION + 1, self._name, number)).fetchone()
        if not found:
            return None
        version, run_id, created_ms, source, description = found
        tags = _tags(dict(database.execute(_TAG_QUERY, (self._name, version, *TAGS)).fetchall()))
        said = visible(description or "", MOST_DESCRIPTION, keep="\n")
        signed_by, model_id = tags.get(SIGNED_BY, ""), _model_id(source)
        return ModelVersion(self._name, str(version), run_id or "", created_ms, model_id, signed_by, said, tags)

    def location(self, version: ModelVersion) -> str:
        query = "SELECT coalesce(storage_location, source) FROM model_versions WHERE name = ? AND version = ?"
        try:
            with self._database() as database:
                found = database.execute(query, (version.name, int(version.version))).fetchone()
        except RegistryUnreachable as error:
            raise FetchFailed(f"{version.uri} could not be found: {error}") from error
        if not found:
            raise VersionLost("it is gone from the registry")
        return str(found[0])

    def deleted(self, version: ModelVersion) -> str | None:
        model = "SELECT lifecycle_stage FROM logged_models WHERE model_id = ?"
        run = "SELECT lifecycle_stage FROM runs WHERE run_uuid = ?"
        with self._database() as database:
            stages = [
                database.execute(query, (key,)).fetchone()
                for query, key in ((model, version.model_id), (run, version.run_id))
            ]
        return _deleted(version, not version.model_id or stages[0] == (ACTIVE,), stages[1] == (DELETED,))

    def metrics(self, run_id: str) -> dict[str, float]:
        query = "SELECT key, value FROM latest_metrics WHERE run_uuid = ? AND NOT is_nan LIMIT ?"
        with self._database() as database:
            return _metrics(dict(database.execute(query, (run_id, MOST_METRICS)).fetchall()))

    def _aliases(self, database: sqlite3.Connection) -> list[str]:
        query = "SELECT alias FROM registered_model_aliases WHERE name = ? LIMIT ?"
        return [alias for (alias,) in database.execute(query, (self._name, MOST_ALIASES)).fetchall()]

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(f"{self._file.resolve().as_uri()}?mode=ro", uri=True)) as database:
                yield database
        except sqlite3.Error as error:
            raise RegistryUnreachable(f"{self._file} cannot be read ({error}); the first training makes it") from error


def _nothing_there(name: str, alias: str, message: str, others: Sequence[str] = ()) -> NoModel:
    hint = ""
    if any(other != alias and other.lower() == alias.lower() for other in others):
        # MLflow's UI writes every alias in lower case, whatever one types.
        hint = f"; it has {', '.join(map(quoted, others))}, and case counts: set {alias!r} with MlflowClient, not in the UI"
    return NoModel(f"no version of {name!r} has the alias {alias!r}", f" (MLflow: {message.rstrip('.')}){hint}")


def _no_such(name: str, number: str) -> str:
    return f"{quoted(name)} has no version {quoted(number)}"


def _deleted(version: ModelVersion, has_model: bool, is_run_deleted: bool) -> str | None:
    if has_model:  # a run that was never there, as of a version that was brought from another server, is no loss
        return f"its run {version.run_id} is deleted in MLflow" if is_run_deleted else None
    return f"its logged model {version.model_id} is deleted in MLflow, and `mlflow gc` would delete its files"


_TAG_QUERY = (
    f"SELECT key, substr(value, 1, {MOST_TAG + 1}) FROM model_version_tags "  # noqa: S608 - a number and question marks
    f"WHERE name = ? AND version = ? AND key IN ({', '.join('?' * len(TAGS))})"
)


def _tags(found: Mapping[str, Any]) -> dict[str, str]:
    return {name: visible(str(found[name]), MOST_TAG) for name in TAGS if name in found}


def _metrics(found: Mapping[str, Any]) -> dict[str, float]:
    return {visible(name, MOST_TAG): float(found[name]) for name in list(found)[:MOST_METRICS]}


def _model_id(source: Any) -> str:
    return visible(logged_model_id(source) or "", MOST_TAG)
