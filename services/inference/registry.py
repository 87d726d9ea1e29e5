"""Which version is behind the alias: asked of a tracking server, or of a SQLite file where there is no server.

Neither way imports MLflow, which costs seconds and 190 MB: a look is one request of some milliseconds, or one query.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any, Protocol
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

from inference.errors import FetchFailed, NoModel, RegistryUnreachable

TIMEOUT_SECONDS = 3
# How MLflow says that a registered model, or its alias, does not exist.
ABSENT = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}
# The tag that names the key a version was signed with.
SIGNED_BY = "signed_by"


@dataclass(frozen=True)
class ModelVersion:
    """One version of a registered model. Two are equal where there is nothing new to be loaded."""

    name: str
    version: str
    run_id: str
    created_ms: int
    """when it was registered: tells version 1 of this registry from version 1 of one that was deleted"""
    model_id: str
    """the logged model that it points at"""
    signed_by: str
    """which key it says that it is signed with, empty where it says nothing; not trusted, but when it changes the
    version is worth another look"""
    description: str = field(default="", compare=False)
    tags: dict[str, str] = field(default_factory=dict, compare=False)

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.version}"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Registry(Protocol):
    """Where the alias is looked up."""

    def current(self) -> ModelVersion:
        """Return the version behind the alias; raise NoModel or RegistryUnreachable."""

    def location(self, version: ModelVersion) -> str:
        """Return the URI or the folder of a version's files; raise FetchFailed."""

    def metrics(self, run_id: str) -> dict[str, float]:
        """Return the last metrics of a run; raise RegistryUnreachable."""


def connect(tracking_uri: str, name: str, alias: str) -> Registry:
    """Return the registry at a tracking URI."""
    if tracking_uri.startswith(("http://", "https://")):
        return ServerRegistry(tracking_uri, name, alias)
    return EmbeddedRegistry(tracking_uri, name, alias)


class ServerRegistry:
    """A tracking server, asked over its REST API."""

    def __init__(self, tracking_uri: str, name: str, alias: str) -> None:
        self._where, self._name, self._alias = tracking_uri, name, alias

    def current(self) -> ModelVersion:
        try:
            return self._version(
                self._get("registered-models/alias", name=self._name, alias=self._alias)["model_version"]
            )
        except HTTPError as error:
            raise self._refusal(error) from error
        except (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._silence(error) from error

    def _version(self, found: dict[str, Any]) -> ModelVersion:
        tags = {tag["key"]: tag["value"] for tag in found.get("tags", [])}
        return ModelVersion(
            self._name,
            str(found["version"]),
            found.get("run_id", ""),
            int(found["creation_timestamp"]),
            _model_id(found.get("source", "")),
            tags.get(SIGNED_BY, ""),
            found.get("description", ""),
            tags,
        )

    def location(self, version: ModelVersion) -> str:
        try:
            answer = self._get("model-versions/get-download-uri", name=version.name, version=version.version)
            return str(answer["artifact_uri"])
        except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
            raise FetchFailed(f"{version.uri} could not be found: {self._silence(error)}") from error

    def metrics(self, run_id: str) -> dict[str, float]:
        try:
            found = self._get("runs/get", run_id=run_id)["run"]["data"].get("metrics", [])
        except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
            raise self._silence(error) from error
        return {metric["key"]: float(metric["value"]) for metric in found}

    def _get(self, path: str, **query: str) -> Any:
        url = f"{self._where.rstrip('/')}/api/2.0/mlflow/{path}?{urlencode(query)}"
        with urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
            return json.load(answer)

    def _silence(self, error: Exception) -> RegistryUnreachable:
        return RegistryUnreachable(f"MLflow at {self._where} does not answer: {getattr(error, 'reason', error)}")

    def _refusal(self, error: HTTPError) -> NoModel | RegistryUnreachable:
        text = error.read().decode(errors="replace")
        try:
            answer = json.loads(text)
        except ValueError:
            answer = {"message": text[:200]}
        if answer.get("error_code") in ABSENT:
            return _nothing_there(self._name, self._alias, answer["message"], self._aliases())
        return RegistryUnreachable(f"MLflow at {self._where} refuses: {error.code} {answer.get('message')}")

    def _aliases(self) -> list[str]:
        """Return the aliases that the registered model has, none where they cannot be had: they only help to explain."""
        try:
            found = self._get("registered-models/get", name=self._name)["registered_model"]
            return [alias["alias"] for alias in found.get("aliases", [])]
        except (OSError, HTTPException, ValueError, KeyError):
            return []


class EmbeddedRegistry:
    """MLflow's tables in a SQLite file, read and never written: the way without Docker, where there is no server to ask.

    MLflow's own client would make the tables where they are missing, which breaks a trainer that is just making them.
    """

    def __init__(self, tracking_uri: str, name: str, alias: str) -> None:
        self._name, self._alias = name, alias
        self._file = Path(tracking_uri.removeprefix("sqlite:///"))

    def current(self) -> ModelVersion:
        query = (
            "SELECT v.version, v.run_id, v.creation_time, v.source, v.description FROM registered_model_aliases a "
            "JOIN model_versions v ON v.name = a.name AND v.version = a.version WHERE a.name = ? AND a.alias = ?"
        )
        with self._database() as database:
            found = database.execute(query, (self._name, self._alias)).fetchone()
            if not found:
                raise _nothing_there(self._name, self._alias, f"{self._file} has none", self._aliases(database))
            version, run_id, created_ms, source, description = found
            query = "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?"
            tags = dict(database.execute(query, (self._name, version)).fetchall())
        signed_by = tags.get(SIGNED_BY, "")
        number, model_id = str(version), _model_id(source)
        return ModelVersion(self._name, number, run_id or "", created_ms, model_id, signed_by, description or "", tags)

    def location(self, version: ModelVersion) -> str:
        query = "SELECT coalesce(storage_location, source) FROM model_versions WHERE name = ? AND version = ?"
        try:
            with self._database() as database:
                found = database.execute(query, (version.name, int(version.version))).fetchone()
        except RegistryUnreachable as error:
            raise FetchFailed(f"{version.uri} could not be found: {error}") from error
        if not found:
            raise FetchFailed(f"{version.uri} could not be found: {self._file} has no such version any more")
        return str(found[0])

    def metrics(self, run_id: str) -> dict[str, float]:
        query = "SELECT key, value FROM latest_metrics WHERE run_uuid = ? AND NOT is_nan"
        with self._database() as database:
            return dict(database.execute(query, (run_id,)).fetchall())

    def _aliases(self, database: sqlite3.Connection) -> list[str]:
        query = "SELECT alias FROM registered_model_aliases WHERE name = ?"
        return [alias for (alias,) in database.execute(query, (self._name,)).fetchall()]

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
        hint = (
            f"; it has {', '.join(map(repr, others))}, and case counts: set {alias!r} with MlflowClient, not in the UI"
        )
    return NoModel(f"no version of {name!r} has the alias {alias!r} yet (MLflow: {message.rstrip('.')}){hint}")


def _model_id(source: str) -> str:
    return source.removeprefix("models:/")
