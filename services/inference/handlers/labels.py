"""POST /labels: what turned out to be true of predictions is kept before it is answered that it is taken."""

import orjson

from inference.errors import NotFound, ServiceUnavailable, SpoolFull
from inference.model.deployment import Deployment
from inference.prediction_log.label_log import LabelLog
from inference.protocols import labels
from inference.request.answer import Answer
from inference.request.context import RequestContext
from inference.telemetry.metrics import LABELS_TAKEN


class LabelHandler:
    """Keeps labels, where predictions are kept."""

    def __init__(self, kept: LabelLog | None) -> None:
        self._kept = kept

    def answer(self, context: RequestContext, body: bytes, deployment: Deployment) -> Answer:
        """Return how many labels are kept; raise RequestError where they are none, or cannot be kept."""
        if self._kept is None:
            raise NotFound(
                "no prediction is kept, so there is none to label; PREDICTION_LOG=1 keeps them (docs/prediction-log.md)"
            )
        found = labels.decode(body, context.environ.get("CONTENT_TYPE", ""), deployment.model)
        trusted = context.key is not None
        try:
            self._kept.append(deployment.labels[0], found.request_ids, found.rows, found.values, trusted)
        except (SpoolFull, OSError) as error:
            raise ServiceUnavailable(f"labels cannot be kept now: {error}") from error
        LABELS_TAKEN.labels("trusted" if trusted else "untrusted").inc(len(found.rows))
        LABELS_TAKEN.labels("repeated").inc(found.repeated)
        content = {"accepted": len(found.rows), "repeated": found.repeated, "trusted": trusted}
        return Answer(200, orjson.dumps(content), [("Content-Type", "application/json")])
