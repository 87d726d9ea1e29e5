"""Ask the tracking server without importing MLflow, which takes seconds: is it there, and who is in Production?"""

import json
from dataclasses import dataclass
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlparse
from urllib.request import urlopen

from trainer.errors import TrackingError

PRODUCTION = "Production"
TIMEOUT_SECONDS = 10
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


def what_is_lost(has_files: bool, signed_by: str | None, key_id: str) -> str | None:
    """Say what a version has lost, its files or the key it is signed with, None where it has lost nothing.

    A version that was never signed has lost nothing: it waits to be adopted.
    """
    if not has_files:
        return "its files"
    return "the key that it is signed with" if signed_by not in (None, key_id) else None


def production(tracking_uri: str, model_name: str, key_id: str) -> Production | None:
    """Return what is in Production, None where nothing is yet; `key_id` names the key that this stack signs with."""
    status, answer = _get(tracking_uri, "registered-models/alias", {"name": model_name, "alias": PRODUCTION})
    if answer.get("error_code") in ABSENT:
        return None
    if status != 200:
        raise TrackingError(f"MLflow at {tracking_uri} refuses: {status} {answer.get('message', answer)}")
    found = answer["model_version"]
    signed_by = next((tag["value"] for tag in found.get("tags", []) if tag["key"] == SIGNED_BY), None)
    lost = what_is_lost(_has_files(tracking_uri, found["source"]), signed_by, key_id)
    return Production(str(found["version"]), lost)


def logged_model_id(source: str) -> str | None:
    """Return the id in models:/MODEL_ID, None for a source that names its files otherwise, such as runs:/RUN_ID/PATH."""
    scheme, _, rest = source.partition(":/")
    return rest if scheme == "models" and "/" not in rest else None


def _has_files(tracking_uri: str, source: str) -> bool:
    """Tell whether the model that a version points at still has files; True where that cannot be asked."""
    model_id = logged_model_id(source)
    if model_id is None:
        return True
    status, answer = _get(tracking_uri, f"logged-models/{model_id}/artifacts/directories", {})
    if status != 200:
        raise TrackingError(f"MLflow at {tracking_uri} refuses: {status} {answer.get('message', answer)}")
    return bool(answer.get("files"))


def _get(tracking_uri: str, path: str, query: dict[str, object]) -> tuple[int, dict]:
    url = f"{tracking_uri.rstrip('/')}/api/2.0/mlflow/{path}?{urlencode(query)}"
    try:
        with urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        text = error.read().decode(errors="replace")
        try:
            return error.code, json.loads(text)
        except ValueError:
            return error.code, {"message": text[:500]}
    except (URLError, HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise TrackingError(
            f"MLflow at {tracking_uri} does not answer ({reason}); is it running (`docker compose up -d --wait`)? "
            "MLFLOW_TRACKING_URI says where to look"
        ) from error
