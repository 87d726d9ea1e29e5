"""From a request that has come whole to its prediction: checks, admission, then decode → predict → encode."""

import logging
import time

from inference.errors import RequestError
from inference.handlers.labels import LabelHandler
from inference.model.deployment import Deployment, Watch
from inference.model.explanation import explain
from inference.model.pacing import TakesLong
from inference.protocols import mlflow, open_inference
from inference.protocols.protocol import PredictionProtocol
from inference.request.admission import AdmissionControl
from inference.request.answer import Answer, error_answer, sized
from inference.request.checks import RequestChecks, not_ready
from inference.request.context import RequestContext
from inference.request.routing import EXPLAIN, INFER, INVOCATIONS, LABELS, PREDICT_NAMES, check_named
from inference.rollout.active_model import Deployments

log = logging.getLogger("inference")


class PredictionHandler:
    """Answers what predicts, and labels; may be called in any thread."""

    def __init__(
        self,
        deployments: Deployments,
        checks: RequestChecks,
        admission: AdmissionControl,
        labels: LabelHandler,
        is_observed: bool,
    ) -> None:
        self._deployments, self._checks, self._admission, self._labels = deployments, checks, admission, labels
        self._is_observed = is_observed
        self._protocols: dict[str, PredictionProtocol] = {
            INVOCATIONS: mlflow.Invocations(),
            PREDICT_NAMES: mlflow.NamedPredictions(),
            INFER: open_inference.OpenInference(),
            EXPLAIN: mlflow.Explanations(),
        }

    def answer(self, context: RequestContext) -> Answer:
        """Return a prediction, or what is wrong; raise TakesLong where others would have to wait for it."""
        try:
            return sized(self._answer(context))
        except RequestError as error:
            return sized(error_answer(error, context.environ["PATH_INFO"]))
        except TakesLong:
            raise
        except Exception:
            log.exception("%s %s failed", context.environ["REQUEST_METHOD"], context.environ["PATH_INFO"])
            fault = RequestError("the service failed to answer; its log has the details")
            return sized(error_answer(fault, context.environ["PATH_INFO"]))

    def _answer(self, context: RequestContext) -> Answer:
        if context.environ["REQUEST_METHOD"] == "OPTIONS":
            self._checks.check_address(context)
            return Answer(204, b"", [("Allow", "OPTIONS, POST")])
        if context.refusal:  # to raise it would tie the request to itself
            return error_answer(context.refusal, context.environ["PATH_INFO"])
        self._checks.check(context)
        self._admission.enter(context.waited or 0.0)
        context.mark("wait")
        deployment = self._deployment_of(context)
        if context.endpoint == LABELS:
            return self._labels.answer(context, self._checks.body_of(context), deployment)
        if (watch := deployment.watch) is not None:
            return self._by_challenger(context, deployment, watch)
        return self._predict(context, deployment)

    def _deployment_of(self, context: RequestContext) -> Deployment:
        """Return what a request asks; raise NotFound where that is not served, NotReady where nothing is any more."""
        route = context.route
        if (deployment := context.served) is None:
            raise not_ready(self._deployments.asked(route.model))
        if route.model:
            check_named(self._deployments, deployment, route.model, route.version)
        return deployment

    def _by_challenger(self, context: RequestContext, challenger: Deployment, watch: Watch) -> Answer:
        """Answer by the challenger, and where it fails by Production: no request fails over it."""
        try:
            answer = self._predict(context, challenger)
        except TakesLong:
            raise
        except Exception as error:
            context.served = context.answerer = watch.champion
            # Where it is refused too, that is no fault of the challenger's.
            answer = self._predict(context, watch.champion)
            # An explanation takes as long as it takes, and there may be none of one version.
            if context.endpoint != EXPLAIN:
                watch.failed(error)
            return answer
        if answer.seen is not None:
            watch.compare(*answer.seen, answer.seconds)
        return answer

    def _predict(self, context: RequestContext, deployment: Deployment) -> Answer:
        mark, model, others_wait = context.mark, deployment.model, context.is_waited_for
        protocol = self._protocols[context.endpoint]
        question = protocol.decode(self._checks.body_of(context), context.environ, deployment, others_wait)
        mark("parse")
        rows = question.rows
        if others_wait and (model.runs_code or (len(rows) > 1 and model.takes_long(rows))):
            raise TakesLong
        began = time.perf_counter()
        prediction = model.answer(rows, question.labels, question.probabilities)
        seconds = time.perf_counter() - began
        if question.explained:
            question = question._replace(form=explain(model, rows, prediction))
        mark("predict")
        body, headers = protocol.encode(prediction, question, deployment)
        mark("serialize")
        is_seen = self._is_observed or deployment.watch is not None
        return Answer(200, body, headers, len(rows), seen=(rows, prediction) if is_seen else None, seconds=seconds)
