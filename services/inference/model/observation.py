"""A prediction as whoever looks on sees it: what was asked, who answered, and what."""

from collections.abc import Callable
from typing import NamedTuple

from inference.model.deployment import Deployment
from inference.model.model import Prediction
from inference.model.rows import Rows


class Observation(NamedTuple):
    """A prediction whose answer is about to go."""

    request_id: str
    deployment: Deployment
    rows: Rows
    prediction: Prediction
    seconds: float
    """from the request's head to its answer"""


Observer = Callable[[Observation], None]
