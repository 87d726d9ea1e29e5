"""Ask the tracking server without importing MLflow, which takes seconds: whether it is there, and who is in Production."""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from contract.tracking import alias_history, challenge
from contract.tracking.artifacts import Source
from contract.tracking.rest import (
    SIGNED_BY,
    Absent,
    Server,
    TooMuch,
    Unanswered,
    as_mlflow_has_it,
    is_server,
    logged_model_id,
)

from trainer.errors import TrackingError
from trainer.tracking import version_store

PRODUCTION = "Production"
CANDIDATE = "candidate"
TIMEOUT_SECONDS = 10
# Anybody can write tags, and a registered model's are all in one answer: 1000 records of moves have 5 MB. Of tags that are a
# letter each, it takes fifteen times as much memory.
MOST_BYTES = 16 * 2**20
# Registered models in one answer, each with all its tags.
MODELS = 20


def check_reachable(tracking_uri: str) -> None:
    """Raise TrackingError where a server's API does not answer; told within TIMEOUT_SECONDS, not after minutes of retries."""
    with _tracking_errors(tracking_uri):
        if is_server(tracking_uri):
            _server(tracking_uri).get("experiments/search", max_results=1)


@dataclass(frozen=True)
class Production:
    """The version behind the Production alias."""

    version: str
    lost: str | None
    """what it lacks so that nobody can serve it any more, None where it lacks nothing"""


def production(tracking_uri: str, model_name: str, key_id: str) -> Production | None:
    """Return what is in Production, None where nothing is; `key_id` names the key that this stack signs with.

    Raises TrackingError where that cannot be told: what is hard to reach is not lost.
    """
    with _tracking_errors(tracking_uri), as_mlflow_has_it():
        try:
            answer = _server(tracking_uri).get("registered-models/alias", name=model_name, alias=PRODUCTION)
        except Absent:
            return None
        version = answer["model_version"]
        signed_by = next((tag["value"] for tag in version.get("tags", []) if tag["key"] == SIGNED_BY), None)
        source = version["source"]
        lost = version_store.lost(source, lambda: _place(tracking_uri, source), signed_by, key_id)
        return Production(str(version["version"]), lost)


def last_in_production(tracking_uri: str, model_name: str) -> str | None:
    """Return the version that the newest record of a move put into Production, None where there is no record."""
    with _tracking_errors(tracking_uri), as_mlflow_has_it():
        try:
            found = _server(tracking_uri).get("registered-models/get", name=model_name)
        except Absent:
            return None
        tags = {tag["key"]: tag["value"] for tag in found.get("registered_model", {}).get("tags", [])}
    moves, _ = alias_history.parsed(tags)
    return list(moves.values())[-1].version if moves else None


def challenger(tracking_uri: str, model_name: str) -> tuple[str, str] | None:
    """Return the version behind the alias `challenger` and its tag that says what it may do; None where there is none.

    Of a server; raises TrackingError where it does not tell.
    """
    with _tracking_errors(tracking_uri), as_mlflow_has_it():
        try:
            answer = _server(tracking_uri).get("registered-models/alias", name=model_name, alias=challenge.ALIAS)
        except Absent:
            return None
        tags = {tag["key"]: str(tag["value"]) for tag in answer["model_version"].get("tags", [])}
        return str(answer["model_version"]["version"]), tags.get(challenge.TAG, challenge.OVER)


def candidates(tracking_uri: str, tell: Callable[[str], object]) -> list[tuple[str, str]]:
    """Return registered model and version of each candidate; raise TrackingError where MLflow does not tell.

    A model with more tags than are read is passed over, and `tell` is told: the others' candidates are found all the same.
    """
    found = []
    with _tracking_errors(tracking_uri), as_mlflow_has_it():
        for model in _models(_server(tracking_uri), tell):
            aliases = {alias["alias"]: str(alias["version"]) for alias in model.get("aliases", [])}
            found += [(str(model["name"]), aliases[CANDIDATE])] if CANDIDATE in aliases else []
    return found


def _models(server: Server, tell: Callable[[str], object]) -> Iterator[dict[str, Any]]:
    """Yield the registered models by name, so many in one answer; where that is too long, one by one."""
    start, singly = 0, 0
    while True:
        count = 1 if singly else MODELS
        singly = max(0, singly - 1)
        try:
            page = server.get("registered-models/search", max_results=count, page_token=_token(start))
        except TooMuch as error:
            if count > 1:
                singly = count
                continue
            tell(f"registered model {start + 1} by name is passed over, as it has too many tags: {error}")
            page = {"next_page_token": True}  # what comes after it is asked for all the same
        yield from page.get("registered_models", [])
        if not page.get("next_page_token"):
            return
        start += count


def _token(start: int) -> str:
    """Return what MLflow calls a page that begins there: the one after an answer that is not read cannot be had from it."""
    return base64.b64encode(json.dumps({"offset": start}).encode()).decode() if start else ""


def _place(tracking_uri: str, source: str) -> Source:
    """Return where the files of the model are that a version points at; raise VersionError where nothing of it is read."""
    model_id = str(logged_model_id(source))
    try:
        found = _server(tracking_uri).get(f"logged-models/{quote(model_id)}")
    except Absent as error:
        raise version_store.no_model(model_id) from error
    return version_store.place_at(found["model"]["info"]["artifact_uri"], tracking_uri)


def _server(tracking_uri: str) -> Server:
    return Server(tracking_uri, TIMEOUT_SECONDS, MOST_BYTES)


@contextmanager
def _tracking_errors(tracking_uri: str) -> Iterator[None]:
    """Turn what is no answer into a TrackingError."""
    try:
        yield
    except (Absent, Unanswered) as error:
        if (status := getattr(error, "status", 404)) is not None:
            hint = "; a name and a password go into ~/.mlflow/credentials (docs/login.md)" if status == 401 else ""
            raise TrackingError(f"MLflow at {tracking_uri} refuses: {status} {error}{hint}") from error
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise TrackingError(
                f"MLflow at {tracking_uri} is not trusted ({error}); name the certificate of its authority, FILE, in both "
                "MLFLOW_TRACKING_SERVER_CERT_PATH=FILE and SSL_CERT_FILE=FILE (docs/https.md)"
            ) from error
        raise TrackingError(
            f"MLflow at {tracking_uri} does not answer ({error}); is it running (`docker compose up -d --wait`)? "
            "MLFLOW_TRACKING_URI says where to look"
        ) from error
