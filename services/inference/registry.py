"""Which version is behind the alias: asked of a tracking server, or of a SQLite file where there is no server."""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Protocol
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

from inference.errors import NoModel, RegistryUnreachable

TIMEOUT_SECONDS = 3
# How MLflow says that a registered model, or its alias, does not exist.
ABSENT = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}
# The tag that names the key a version was signed with.
SIGNED_BY = "signed_by"


@dataclass(frozen=True)
class ModelVersion:
    """One version of a registered model."""

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

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.version}"

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


class Registry(Protocol):
    """Where the alias is looked up."""

    def current(self) -> ModelVersion:
        """Return the version behind the alias; raise NoModel or RegistryUnreachable."""


def connect(tracking_uri: str, name: str, alias: str) -> Registry:
    """Return the registry at a tracking URI."""
    kind = ServerRegistry if tracking_uri.startswith(("http://", "https://")) else EmbeddedRegistry
    return kind(tracking_uri, name, alias)


class ServerRegistry:
    """A tracking server, asked over its REST API: milliseconds, where importing MLflow costs seconds and 190 MB."""

    def __init__(self, tracking_uri: str, name: str, alias: str) -> None:
        self._where, self._name, self._alias = tracking_uri, name, alias
        query = urlencode({"name": name, "alias": alias})
        self._url = f"{tracking_uri.rstrip('/')}/api/2.0/mlflow/registered-models/alias?{query}"

    def current(self) -> ModelVersion:
        try:
            with urlopen(self._url, timeout=TIMEOUT_SECONDS) as answer:
                found = json.load(answer)["model_version"]
        except HTTPError as error:
            raise self._refusal(error) from error
        except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
            reason = getattr(error, "reason", error)
            raise RegistryUnreachable(f"MLflow at {self._where} does not answer: {reason}") from error
        tags = {tag["key"]: tag["value"] for tag in found.get("tags", [])}
        return ModelVersion(
            self._name,
            str(found["version"]),
            found.get("run_id", ""),
            int(found["creation_timestamp"]),
            _model_id(found.get("source", "")),
            tags.get(SIGNED_BY, ""),
        )

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
        url = f"{self._where.rstrip('/')}/api/2.0/mlflow/registered-models/get?{urlencode({'name': self._name})}"
        try:
            with urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
                return [alias["alias"] for alias in json.load(answer)["registered_model"].get("aliases", [])]
        except (OSError, HTTPException, ValueError, KeyError):
            return []


class EmbeddedRegistry:
    """MLflow's own client on a database file: the way without Docker, where there is no server to ask."""

    def __init__(self, tracking_uri: str, name: str, alias: str) -> None:
        self._where, self._name, self._alias = tracking_uri, name, alias

    def current(self) -> ModelVersion:
        if self._where.startswith("sqlite:///"):
            self._check_alias(Path(self._where.removeprefix("sqlite:///")))
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        try:
            found = MlflowClient(self._where).get_model_version_by_alias(self._name, self._alias)
        except MlflowException as error:
            if error.error_code in ABSENT:
                raise _nothing_there(self._name, self._alias, error.message) from error
            raise RegistryUnreachable(f"MLflow at {self._where} refuses: {error.message}") from error
        return ModelVersion(
            self._name,
            str(found.version),
            found.run_id or "",
            found.creation_timestamp,
            _model_id(found.source),
            found.tags.get(SIGNED_BY, ""),
        )

    def _check_alias(self, file: Path) -> None:
        """Raise NoModel or RegistryUnreachable where the file has no such alias.

        MLflow's client makes the tables where they are missing, which breaks a trainer that is just making them.
        """
        query = "SELECT 1 FROM registered_model_aliases WHERE name = ? AND alias = ?"
        try:
            with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as database:
                found = database.execute(query, (self._name, self._alias)).fetchone()
        except sqlite3.Error as error:
            raise RegistryUnreachable(f"{file} cannot be read ({error}); the first training makes it") from error
        if not found:
            raise _nothing_there(self._name, self._alias, f"{file} has none")


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
