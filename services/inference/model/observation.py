"""A prediction as whoever looks on sees it: what was asked, who answered, and what."""

from typing import NamedTuple, Protocol

from inference.model.deployment import Deployment
from inference.model.model import Prediction
from inference.rows import Rows


class Observation(NamedTuple):
    """A prediction whose answer is about to go."""

    request_id: str
    deployment: Deployment
    rows: Rows
    prediction: Prediction
    seconds: float
    """from the request's head to its answer"""
    client: bytes | None = None
    """what stands for the client in the challenge that is on, empty where none is; None where it sent no X-Split-Key"""


class Observer(Protocol):
    """Whoever looks on."""

    def __call__(self, *seen: Observation) -> None:
        """See predictions before their answers go: whatever ends the process then, who was answered is known of."""
