"""MLflow from among the containers: under the name that they use, and a byte that goes up and down through its artifact proxy."""

import json
import uuid
from collections.abc import Iterator
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from contract.display import first_line
from minio.error import MinioException
from urllib3.exceptions import HTTPError as StoreError

from doctor.records import FAIL, OK, NotLookedAt, Row
from doctor.stack.store import Store

UP = "docker compose up -d --wait"
SEARCH = "api/2.0/mlflow/experiments/search?max_results=1"
ARTIFACTS = "api/2.0/mlflow-artifacts/artifacts"
# Beside what MLflow has: its own folders are called by numbers of experiments.
FOLDER = "doctor-probe"
LOGIN, FORBIDDEN = 401, 403
RESTART = "docker compose restart mlflow; docker compose logs --tail 20 mlflow"
# Which no setting takes away; a compose file of somebody's may.
HOSTS = (
    "MLFLOW_SERVER_ALLOWED_HOSTS as compose.yaml has it, in any other compose file, then docker compose up -d --wait"
)


class Mlflow:
    """The tracking server."""

    def __init__(self, address: str, seconds: float) -> None:
        self.address, self._seconds = address, seconds

    def ask(self, method: str, path: str, content: bytes | None = None) -> bytes:
        """Return an answer's content; raise HTTPError, OSError or HTTPException."""
        headers = {"Content-Type": "application/octet-stream"} if content is not None else {}
        request = Request(f"{self.address}/{path}", method=method, data=content, headers=headers)
        with urlopen(request, timeout=self._seconds) as answer:
            found: bytes = answer.read(1_000_000)
            return found


def look_at_name(mlflow: Mlflow) -> Iterator[Row]:
    """Yield the row of an API call under the name that trainer and prediction service use."""
    try:
        mlflow.ask("GET", SEARCH)
    except HTTPError as error:
        if error.code == LOGIN:
            yield Row("mlflow inside", OK, f"answers at {mlflow.address}, and asks for a login")
            return
        says = f"{mlflow.address} answers {error.code}: {first_line(error.read(500).decode(errors='replace'), 200)}"
        yield Row("mlflow inside", FAIL, says, HOSTS if error.code == FORBIDDEN else RESTART)
    except (OSError, HTTPException) as error:
        yield Row("mlflow inside", FAIL, f"{mlflow.address} does not answer: {first_line(error)}", UP)
    else:
        yield Row("mlflow inside", OK, f"answers trainer and prediction service at {mlflow.address}")


def look_at_artifacts(mlflow: Mlflow, store: Store, root: tuple[str, str] | None) -> Iterator[Row]:
    """Yield the row of a byte that goes up, comes down and is removed: with it, what MLflow's S3 user needs to be let do."""
    path, step, is_answered = f"{ARTIFACTS}/{FOLDER}/{uuid.uuid4().hex}", "up", True
    try:
        mlflow.ask("PUT", path, b"1")
        step = "down"
        if mlflow.ask("GET", path) != b"1":
            raise OSError("another content came back")
        step = "away"
        mlflow.ask("DELETE", path)
    except HTTPError as error:
        if error.code == LOGIN:
            raise NotLookedAt("MLflow asks for a login, so no byte goes through it from here") from error
        words = _message(error)
        is_refused = error.code == FORBIDDEN and "Invalid Host header" in words
        yield _failed(step, f"{error.code} {words}", HOSTS if is_refused else "docker compose run --rm bucket")
    except (OSError, HTTPException) as error:
        is_answered = False
        yield _failed(step, first_line(error), UP)
    else:
        yield Row("artifacts", OK, "a byte went up, down and away through MLflow")
    finally:
        if is_answered:  # what hangs is not waited for twice: the next look removes what comes of this one
            _forget(store, root)


def _failed(step: str, cause: str, mend: str) -> Row:
    return Row("artifacts", FAIL, f"a byte does not go {step} through MLflow: {cause}", mend)


def _message(error: HTTPError) -> str:
    content = error.read(2000).decode(errors="replace")
    try:
        return first_line(json.loads(content)["message"], 200)
    except (ValueError, LookupError, TypeError):
        return first_line(content, 200)


def _forget(store: Store, root: tuple[str, str] | None) -> None:
    """Remove what a versioned bucket keeps of the byte; an external S3's own rules do so there."""
    if root is None:
        return
    try:
        client: Any = store.client(root)
        for found in client.list_objects(store.bucket, prefix=f"{FOLDER}/", include_version=True):
            client.remove_object(store.bucket, found.object_name, version_id=found.version_id)
    except (MinioException, StoreError):
        return  # that the store does not answer is another row's to say
