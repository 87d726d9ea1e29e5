"""MLflow's client, held to answers of a bounded size: it reads each of them whole, and whoever reaches MLflow writes into them.

A registered model, a run or a version has as many tags and metrics as anybody has given it. With this module imported, an
answer is cut before it is parsed, whatever of MLflow's has asked for it; a file that is streamed has limits of its own
(contract.tracking). A database file is asked by SQL, in this process: who writes to it is this machine's own user.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from contract.tracking.bounded_http import TooLong
from mlflow.exceptions import MlflowException
from mlflow.store.entities import PagedList
from mlflow.utils import request_utils
from requests import PreparedRequest, RequestException, Response

from trainer.errors import AnswerTooLong, TrackingError
from trainer.tracking.rest import MOST_BYTES

PIECE_BYTES = 64 * 1024
# How many are asked for at a time, so that an answer of what the trainer has written stays far below: a run tells of the
# columns of its data, a registered model of its moves.
RUNS, VERSIONS = 20, 1000


class BoundedAdapter(request_utils.TCPKeepAliveHTTPAdapter):  # type: ignore[misc]
    """Sends requests as MLflow's own adapter does; raises TooLong for an answer that goes on after MOST_BYTES."""

    def send(self, request: PreparedRequest, stream: bool = False, *arguments: Any, **options: Any) -> Response:
        answer: Response = super().send(request, stream, *arguments, **options)
        if not stream:
            answer._content = _whole(answer)
        return answer


def _whole(answer: Response) -> bytes:
    content = bytearray()
    for piece in answer.iter_content(PIECE_BYTES):
        content += piece
        if len(content) > MOST_BYTES:
            answer.close()
            raise TooLong(f"it goes on after {MOST_BYTES // 2**20} MB")
    return bytes(content)


# MLflow has no setting for it, and makes its sessions by this name.
request_utils.TCPKeepAliveHTTPAdapter = BoundedAdapter


def too_long(error: BaseException | None) -> bool:
    """Tell whether MLflow raises because an answer was cut here: it says so in errors of its own, one within another."""
    return error is not None and (isinstance(error, TooLong) or too_long(error.__context__))


@contextmanager
def mlflow_errors() -> Iterator[None]:
    """Turn what MLflow raises into one TrackingError."""
    try:
        yield
    except MlflowException as error:
        if too_long(error):
            raise AnswerTooLong(
                f"an answer of MLflow's is not read ({error.message:.300}): somebody has written that much into it; what is "
                "none of the trainer's tags or metrics has to be deleted"
            ) from error
        # Where the server fails, and not the request, the client knows only that it gave up.
        hint = "; its log says why (`docker compose logs mlflow`)" if "error responses" in error.message else ""
        if not hint and "Max retries exceeded" in error.message:
            raise TrackingError(
                f"MLflow does not answer ({error.message:.300}); is it running (`docker compose up -d --wait`)?"
            ) from error
        raise TrackingError(f"MLflow refuses: {error.message}{hint}") from error
    except RequestException as error:  # artifacts are sent without MLflow's own wrapping
        raise TrackingError(f"MLflow does not take or give the files: {error}") from error


def every(search: Callable[..., PagedList[Any]], at_once: int, **query: Any) -> Iterator[Any]:
    """Yield what a search finds, page by page of at most so many: one answer has a part of it and no more."""
    token = None
    while True:
        page = search(**query, max_results=at_once, page_token=token)
        yield from page
        if not (token := page.token):
            return
