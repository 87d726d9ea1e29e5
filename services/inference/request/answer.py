"""What goes back to a client: status, headers and body, and what others want to know of it."""

from functools import cache
from http import HTTPStatus
from typing import NamedTuple

import orjson

from inference.errors import RequestError
from inference.model.model import Prediction
from inference.rows import Rows

Headers = list[tuple[str, str]]

# Browsers take an answer for what its Content-Type says, and for nothing else.
NO_SNIFFING = ("X-Content-Type-Options", "nosniff")


class Answer(NamedTuple):
    """What goes back to a client."""

    status: int
    body: bytes
    headers: Headers
    rows: int = 0
    error_code: str = ""
    seen: tuple[Rows, Prediction] | None = None
    """what was predicted for which rows, where somebody observes it"""
    seconds: float = 0.0
    """how long the model took to predict it"""


@cache
def reason_of(status: int) -> str:
    """Return a status with its words, as the first line of an answer has it."""
    return f"{status} {HTTPStatus(status).phrase}"


def error_answer(error: RequestError, path: str = "") -> Answer:
    """Return an error in the one shape that all have: MLflow's own, and where in the body the fault is.

    Under /v2 it says the same once more as the Open Inference Protocol has it, whose clients read nothing else.
    """
    content = {"error_code": error.error_code, "message": str(error)}
    if path.startswith("/v2/") or path == "/v2":
        content["error"] = str(error)
    if error.where is not None:
        content["where"] = error.where
    headers: Headers = [("Content-Type", "application/json"), *error.headers()]
    # A message may quote what came in, half a surrogate pair too.
    readable = {name: text.encode("utf-8", "backslashreplace").decode() for name, text in content.items()}
    return Answer(error.status, orjson.dumps(readable) + b"\n", headers, error_code=error.error_code)


def sized(answer: Answer) -> Answer:
    """Add the length of an answer's body, where it may have one; not even 0 may be said of none."""
    if answer.status != 204:
        answer.headers.append(("Content-Length", str(len(answer.body))))
    return answer
