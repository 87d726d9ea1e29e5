"""MLflow's REST API, asked within limits of time and size, and without importing MLflow, which costs seconds and 190 MB."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request

from contract.tracking.bounded_http import UNREADABLE, TooLong, content_of
from contract.tracking.credentials import authorization

# How MLflow says that there is no such thing.
ABSENT = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}
# The tag that names the key a version was signed with. Anybody can change it, so it is never trusted: it saves
# verifying a signature where a wrong answer does no harm.
SIGNED_BY = "signed_by"


class Absent(Exception):
    """MLflow says that there is no such thing; the message is its own."""


class Unanswered(Exception):
    """MLflow refuses, or does not answer; the message is its own, or says what came in the place of an answer."""

    def __init__(self, words: str, status: int | None = None) -> None:
        super().__init__(words)
        self.status = status
        """of the refusal, None where there is no answer"""


class TooMuch(Unanswered):
    """MLflow answers with more bytes than are read: somebody has written that much into it."""


def is_server(tracking_uri: str) -> bool:
    """Tell a tracking server from a database file."""
    return tracking_uri.startswith(("http://", "https://"))


def logged_model_id(source: Any) -> str | None:
    """Return the id in models:/MODEL_ID, None for a source that names its files otherwise, such as runs:/RUN_ID/PATH."""
    scheme, _, rest = str(source).partition(":/")
    return rest if scheme == "models" and rest and "/" not in rest else None


@contextmanager
def as_mlflow_has_it() -> Iterator[None]:
    """Turn what an answer of another shape leads to, while it is read, into Unanswered."""
    try:
        yield
    except UNREADABLE as error:
        raise Unanswered(f"its answer is none of MLflow's ({type(error).__name__}: {error!s:.200})") from error


class Server:
    """A tracking server; an answer is here within `seconds` and has `most` bytes at most."""

    def __init__(self, tracking_uri: str, seconds: float, most: int) -> None:
        self._api, self._seconds, self._most = f"{tracking_uri.rstrip('/')}/api/2.0/mlflow", seconds, most

    def get(self, path: str, **query: object) -> dict[str, Any]:
        """Return what is answered; raise Absent where MLflow says that there is no such thing, Unanswered for all else."""
        return self._answer(f"{self._api}/{path}?{urlencode(query)}")

    def post(self, path: str, **content: object) -> dict[str, Any]:
        """Return what is answered to a change; raise as `get` does."""
        headers = {"Content-Type": "application/json"}
        return self._answer(Request(f"{self._api}/{path}", json.dumps(content).encode(), headers, method="POST"))

    def put(self, url: str, content: bytes) -> None:
        """Put a file behind the artifact proxy; raise as `get` does."""
        self._content(Request(url, content, {"Content-Type": "application/octet-stream"}, method="PUT"))

    def _answer(self, asked: str | Request) -> dict[str, Any]:
        try:
            found = json.loads(self._content(asked))
            if not isinstance(found, dict):
                raise ValueError(f"its answer is {type(found).__name__}, no object")
            return found
        except UNREADABLE as error:
            raise Unanswered(str(error)) from error

    def _content(self, asked: str | Request) -> bytes:
        try:
            return content_of(asked, self._most, self._seconds, authorization())
        except HTTPError as error:
            code, words = _refusal_in(error.read())  # it is here, and no longer than it may be
            raise Absent(words) if code in ABSENT else Unanswered(words, error.code) from error
        except TooLong as error:
            raise TooMuch(str(error)) from error
        except UNREADABLE as error:
            raise Unanswered(str(getattr(error, "reason", error))) from error


def _refusal_in(content: bytes) -> tuple[Any, str]:
    """Return MLflow's error code, None where the answer is not MLflow's, and the words."""
    text = content.decode(errors="replace")
    try:
        answer = json.loads(text)
        return answer.get("error_code"), str(answer["message"])
    except UNREADABLE:
        return None, text[:200].strip() or "without saying why"
