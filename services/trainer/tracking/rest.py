"""Ask the tracking server without importing MLflow, which takes seconds: whether it is there, and who is in Production."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import ParseResult, quote, urlparse

from contract.file_names import SIGNATURE
from contract.tracking.rest import SIGNED_BY, Absent, Server, Unanswered, as_mlflow_has_it, is_server, logged_model_id

from trainer.errors import TrackingError
from trainer.tracking import alias_history

PRODUCTION = "Production"
TIMEOUT_SECONDS = 10
# Anybody can write tags, and a registered model's are all in one answer.
MOST_BYTES = 64 * 2**20


def is_kept_by_server(location: str) -> bool:
    """Tell a path behind the server's own proxy, written in one way only, from one of this machine or somebody else's store."""
    found = parsed_location(location)
    path = found.path.strip("/")
    is_plain = location.isprintable() and not set(location) & set("%?#\\")
    is_below = not {"", ".", ".."} & set(path.split("/"))
    return found.scheme == "mlflow-artifacts" and not found.netloc and is_plain and is_below


def parsed_location(location: str) -> ParseResult:
    """Return the parts of an artifact location; those of an empty one where it is none at all."""
    try:
        return urlparse(location)
    except ValueError:
        return urlparse("")


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
    with _tracking_errors(tracking_uri), as_mlflow_has_it():
        try:
            answer = _server(tracking_uri).get("registered-models/alias", name=model_name, alias=PRODUCTION)
        except Absent:
            return None
        version = answer["model_version"]
        signed_by = next((tag["value"] for tag in version.get("tags", []) if tag["key"] == SIGNED_BY), None)
        lost = what_is_lost(_files(_server(tracking_uri), version["source"]), signed_by, key_id)
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


def _files(server: Server, source: str) -> set[str] | None:
    """Return what is in the folder of the model that a version points at; None where that cannot be asked.

    A folder that cannot be listed raises Unanswered; only a listing that is empty, a model that was deleted, or one whose
    files are in a place that nothing here reads, is a loss.
    """
    model_id = logged_model_id(source)
    if model_id is None:
        return None
    model = f"logged-models/{quote(model_id)}"
    try:
        location = server.get(model)["model"]["info"]["artifact_uri"]
    except Absent:
        return set()
    if not is_kept_by_server(location):
        return set()
    try:
        return {file["path"] for file in server.get(f"{model}/artifacts/directories").get("files", [])}
    except Absent as store:
        raise Unanswered(f"it does not find the store that the model {model_id} is in: {store}", 404) from store


def _server(tracking_uri: str) -> Server:
    return Server(tracking_uri, TIMEOUT_SECONDS, MOST_BYTES)


@contextmanager
def _tracking_errors(tracking_uri: str) -> Iterator[None]:
    """Turn what is no answer into a TrackingError."""
    try:
        yield
    except (Absent, Unanswered) as error:
        if (status := getattr(error, "status", 404)) is not None:
            raise TrackingError(f"MLflow at {tracking_uri} refuses: {status} {error}") from error
        raise TrackingError(
            f"MLflow at {tracking_uri} does not answer ({error}); is it running (`docker compose up -d --wait`)? "
            "MLFLOW_TRACKING_URI says where to look"
        ) from error
