"""What was predicted, on its way to those who look on: shadow models, drift, the prediction log."""

import logging
import time

from inference.challenger.split import digest_of
from inference.model.observation import Observation, Observer
from inference.request.answer import Answer
from inference.request.context import RequestContext
from inference.rollout.active_model import Deployments

log = logging.getLogger("inference")


class Observations:
    """Predictions that nobody has seen yet, of which several are shown at once."""

    def __init__(self, observers: tuple[Observer, ...], deployments: Deployments) -> None:
        self._observers, self._deployments = observers, deployments
        self._waiting: list[Observation] = []

    def add(self, context: RequestContext, answer: Answer) -> None:
        """Have an answer shown, where it predicts something."""
        if answer.seen is None or not self._observers or context.served is None:
            return
        seconds, client = time.perf_counter() - context.began, self._client_of(context)
        self._waiting.append(Observation(context.request_id, context.served, *answer.seen, seconds, client))

    def show(self) -> None:
        """Let observers see what was predicted, before clients do: what was answered they know of, whatever ends the process."""
        if not self._waiting:
            return
        seen, self._waiting = self._waiting, []
        for observe in self._observers:
            try:
                observe(*seen)
            except Exception:  # it must not keep an answer from whoever waits for it
                log.exception("predictions could not be observed")

    def _client_of(self, context: RequestContext) -> bytes | None:
        """Return what stands for a request's client while there is a challenger, empty while there is none; None without X-Split-Key."""
        if not (key := context.environ.get("HTTP_X_SPLIT_KEY")):
            return None
        experiment = self._deployments.asked(context.route.model).experiment
        return digest_of(key, experiment) if experiment else b""
