"""The way to what Flask answers: pages, figures, descriptions, and whatever there is not."""

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any, NamedTuple

from inference.api_keys.keyring import Keyring
from inference.errors import RequestError
from inference.request.answer import Answer, error_answer, sized
from inference.request.checks import RequestChecks
from inference.request.context import Environ, RequestContext

ASKED = "inference.asked"


class Asked(NamedTuple):
    """What Flask's functions find of a request under ASKED in its environ, as long as it is answered."""

    context: RequestContext
    keys: Keyring


class FlaskHandler:
    """Answers by a WSGI application."""

    def __init__(self, application: Callable[[Environ, Any], Iterable[bytes]], checks: RequestChecks) -> None:
        self._application, self._checks = application, checks

    def answer(self, context: RequestContext) -> Answer:
        try:
            self._checks.check_address(context)
            if context.environ["REQUEST_METHOD"] != "OPTIONS":
                self._checks.check_key(context)
        except RequestError as error:
            return sized(error_answer(error, context.environ["PATH_INFO"]))
        # A copy, which goes when it is answered: with its context in it, a request would hold itself.
        asked = context.environ | {ASKED: Asked(context, self._checks.keys), "wsgi.input": BytesIO(context.body)}
        head: list[Any] = []
        content = self._application(asked, lambda status, headers, exc_info=None: head.extend((status, headers)))
        body = b"".join(content)
        if close := getattr(content, "close", None):
            close()
        return Answer(int(head[0].split()[0]), body, list(head[1]), error_code=context.error_code)
