"""Ask the tracking server without importing MLflow, which takes seconds: is it there, and who is in Production?"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlparse
from urllib.request import urlopen

from contract.file_names import SIGNATURE

from trainer.errors import TrackingError
from trainer.tracking import alias_history

PRODUCTION = "Production"
TIMEOUT_SECONDS = 10
# Anybody can write tags, and a registered model's are all in one answer.
MOST_BYTES = 64 * 2**20
# The tag that names the key a version was signed with. Anybody can change it, so it is never trusted: it saves
# verifying a signature where a wrong answer does no harm.
SIGNED_BY = "signed_by"
# How MLflow says that a registered model, or its alias, does not exist.
ABSENT = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}


def is_server(tracking_uri: str) -> bool:
    """Tell a tracking server from a database file."""
    return tracking_uri.startswith(("http://", "https://"))


def is_kept_by_server(location: str) -> bool:
    """Tell an artifact location behind the server's own proxy from a path of this machine, or somebody else's store."""
    found = urlparse(location)
    return found.scheme == "mlflow-artifacts" and not found.netloc and bool(found.path.strip("/"))


def check_reachable(tracking_uri: str) -> None:
    """Raise TrackingError unless the API answers; told within TIMEOUT_SECONDS, not after minutes of retries."""
    status, answer = _get(tracking_uri, "experiments/search", {"max_results": 1})
    if status != 200:
        raise TrackingError(f"MLflow at {tracking_uri} refuses: {status} {answer.get('message', answer)}")


@dataclass(frozen=True)
class Production:
    """The version behind the Production alias."""

    version: str
    lost: str | None
    """what it lacks so that nobody can serve it any more, None where it lacks nothing"""


def what_is_lost(files: Collection[str] | None, signed_by: str | None, key_id: str) -> str | None:
    """Say what a version has lost: its files, its signature or the key it is signed with; None where it has all it had.

    `files` are the names in its folder, None where that cannot be asked. A version that was never signed has lost
    nothing: it waits to be adopted.
    """
    if files is not None and not files:
        return "its files"
    if files is not None and signed_by is not None and SIGNATURE not in files:
        return "its signature"
    return "the key that it is signed with" if signed_by not in (None, key_id) else None


def production(tracking_uri: str, model_name: str, key_id: str) -> Production | None:
    """Return what is in Production, None where nothing is; `key_id` names the key that this stack signs with.

    Raises TrackingError where that cannot be told: what is hard to reach is not lost.
    """
    found = _found(tracking_uri, "registered-models/alias", {"name": model_name, "alias": PRODUCTION})
    if found is None:
        return None
    try:
        version = found["model_version"]
        signed_by = next((tag["value"] for tag in version.get("tags", []) if tag["key"] == SIGNED_BY), None)
        lost = what_is_lost(_files(tracking_uri, version["source"]), signed_by, key_id)
        return Production(str(version["version"]), lost)
    except (KeyError, TypeError, AttributeError) as error:
        raise TrackingError(f"MLflow at {tracking_uri} gives an answer that is none of MLflow's") from error


def last_in_production(tracking_uri: str, model_name: str) -> str | None:
    """Return the version that the newest record of a move put into Production, None where there is no record."""
    found = _found(tracking_uri, "registered-models/get", {"name": model_name}) or {}
    try:
        tags = {tag["key"]: tag["value"] for tag in found.get("registered_model", {}).get("tags", [])}
    except (KeyError, TypeError, AttributeError) as error:
        raise TrackingError(f"MLflow at {tracking_uri} gives an answer that is none of MLflow's") from error
    moves, _ = alias_history.parsed(tags)
    return list(moves.values())[-1].version if moves else None


def logged_model_id(source: str) -> str | None:
    """Return the id in models:/MODEL_ID, None for a source that names its files otherwise, such as runs:/RUN_ID/PATH."""
    scheme, _, rest = source.partition(":/")
    return rest if scheme == "models" and "/" not in rest else None


def _files(tracking_uri: str, source: str) -> set[str] | None:
    """Return what is in the folder of the model that a version points at; None where that cannot be asked.

    A folder that cannot be listed raises TrackingError; only a listing that is empty, or a model that was deleted, is a
    loss.
    """
    model_id = logged_model_id(source)
    if model_id is None:
        return None
    answer = _found(tracking_uri, f"logged-models/{quote(model_id)}/artifacts/directories", {})
    if answer is None:
        if _found(tracking_uri, f"logged-models/{quote(model_id)}", {}) is None:
            return set()
        raise TrackingError(f"MLflow at {tracking_uri} does not find the store that the model {model_id} is in")
    return {file["path"] for file in answer.get("files", [])}


def _found(tracking_uri: str, path: str, query: dict[str, object]) -> dict | None:
    """Return the answer to a question, None where MLflow says that there is no such thing; raise TrackingError."""
    status, answer = _get(tracking_uri, path, query)
    if status != 200 and answer.get("error_code") in ABSENT:
        return None
    if status != 200:
        raise TrackingError(f"MLflow at {tracking_uri} refuses: {status} {answer.get('message', answer)}")
    return answer


def _get(tracking_uri: str, path: str, query: dict[str, object]) -> tuple[int, dict]:
    url = f"{tracking_uri.rstrip('/')}/api/2.0/mlflow/{path}?{urlencode(query)}"
    try:
        with urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
            return answer.status, _parsed(answer.read(MOST_BYTES + 1))
    except HTTPError as error:
        text = error.read(MOST_BYTES)
        try:
            return error.code, _parsed(text)
        except ValueError:
            return error.code, {"message": text.decode(errors="replace")[:500]}
    except (URLError, HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise TrackingError(
            f"MLflow at {tracking_uri} does not answer ({reason}); is it running (`docker compose up -d --wait`)? "
            "MLFLOW_TRACKING_URI says where to look"
        ) from error


def _parsed(content: bytes) -> dict:
    """Return an answer's JSON object; raise ValueError where it is none, or has no end."""
    if len(content) > MOST_BYTES:
        raise ValueError(f"its answer has more than {MOST_BYTES // 2**20} MB")
    try:
        found = json.loads(content)
    except RecursionError as error:
        raise ValueError("its answer is nested too deep") from error
    if not isinstance(found, dict):
        raise ValueError(f"its answer is {type(found).__name__}, no object")
    return found
