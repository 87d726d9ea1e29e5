"""What a protocol is to the service: from a request's bytes to rows, and from a prediction back to bytes."""

from typing import Any, NamedTuple, Protocol

from inference.model.deployment import Deployment
from inference.model.model import Prediction
from inference.rows import Rows


class Question(NamedTuple):
    """What a request asks of a model."""

    rows: Rows
    labels: bool
    probabilities: bool
    form: Any = None
    """what the protocol itself has to remember of the request until it writes the answer"""
    explained: bool = False
    """whether the answer is to say what the prediction comes from: then `form` has that when it is written"""


class Encoded(NamedTuple):
    """The body of an answer, and the headers that say what it is."""

    body: bytes
    headers: list[tuple[str, str]]


class PredictionProtocol(Protocol):
    """Reads requests and writes answers, and does nothing else: no model is asked here."""

    def decode(
        self, body: bytes, environ: dict[str, Any], deployment: Deployment, is_waited_for: bool = False
    ) -> Question:
        """Read a request, whose head is described as WSGI does; raise RequestError that points at what is wrong with it.

        Raises TakesLong where others wait for it, and would wait long.
        """

    def encode(self, prediction: Prediction, question: Question, deployment: Deployment) -> Encoded:
        """Write the answer."""
