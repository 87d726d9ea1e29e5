"""MLflow's scoring protocol: POST /invocations, POST /predict_names with the names of the classes, POST /explain of one row.

How a body is read: inference.protocols.mlflow_scoring.
"""

from io import BytesIO
from typing import Any

import numpy as np
import orjson
from contract.file_names import BACKGROUND

from inference.errors import InvalidInput, NotFound
from inference.model.deployment import Deployment
from inference.model.explanation import Explanation
from inference.model.model import Prediction
from inference.model.pacing import TakesLong
from inference.protocols import mlflow_scoring, request_budget
from inference.protocols.protocol import Encoded, Question
from inference.protocols.request_budget import Budget

# Probabilities that are written as JSON at a time, where those of each row become a mapping.
PIECE = 4096
_JSON = ("Content-Type", "application/json")


class Invocations:
    """POST /invocations: {"predictions": [label, …]}."""

    def decode(
        self, body: bytes, environ: dict[str, Any], deployment: Deployment, is_waited_for: bool = False
    ) -> Question:
        model = deployment.model
        rows = mlflow_scoring.rows_of(body, environ.get("CONTENT_TYPE", ""), model.description, is_waited_for)
        if len(rows) > 1:
            labels = model.classes
            row_bytes = request_budget.label_bytes(labels)
            request_budget.check_answer(len(rows), len(labels or ()), row_bytes, Budget(len(body), is_waited_for))
        return Question(rows, labels=True, probabilities=False)

    def encode(self, prediction: Prediction, question: Question, deployment: Deployment) -> Encoded:
        labels = prediction.labels
        assert labels is not None  # noqa: S101 - they were asked for
        return Encoded(orjson.dumps({"predictions": _plain(labels)}, option=orjson.OPT_SERIALIZE_NUMPY), [_JSON])


class NamedPredictions:
    """POST /predict_names: {"predictions": [name, …], "probabilities": [{name: probability, …}, …]}."""

    def decode(
        self, body: bytes, environ: dict[str, Any], deployment: Deployment, is_waited_for: bool = False
    ) -> Question:
        model = deployment.model
        rows = mlflow_scoring.rows_of(body, environ.get("CONTENT_TYPE", ""), model.description, is_waited_for)
        if len(rows) > 1:
            names = model.class_names or []
            row_bytes = request_budget.named_bytes(names)
            request_budget.check_answer(len(rows), len(names), row_bytes, Budget(len(body), is_waited_for))
        # A model that decides by a threshold of its own does not say the likeliest class.
        return Question(rows, labels=model.description.decision_threshold is not None, probabilities=True)

    def encode(self, prediction: Prediction, question: Question, deployment: Deployment) -> Encoded:
        names, probabilities = deployment.model.class_names, prediction.probabilities
        assert names is not None  # noqa: S101 - there are, where there are probabilities
        assert probabilities is not None  # noqa: S101 - they were asked for
        if prediction.labels is None:
            best = orjson.dumps([names[position] for position in probabilities.argmax(axis=1)])
        else:
            named = dict(zip(deployment.model.classes or [], names, strict=True))
            best = orjson.dumps([named[label] for label in prediction.labels.tolist()])
        # What is written is not copied again: it may be most of what a request takes.
        content = BytesIO()
        content.write(b'{"predictions":' + best + b',"probabilities":[')
        piece = max(1, PIECE // len(names))
        for start in range(0, len(probabilities), piece):
            shares = probabilities[start : start + piece].tolist()
            written = orjson.dumps([dict(zip(names, row, strict=True)) for row in shares])
            content.write(b"," + written[1:-1] if start else written[1:-1])
        content.write(b"]}")
        return Encoded(content.getvalue(), [_JSON])


class Explanations:
    """POST /explain: {"prediction": label, "of": class, "value": …, "expected_value": …, "contributions": {column: …}, …}."""

    def decode(
        self, body: bytes, environ: dict[str, Any], deployment: Deployment, is_waited_for: bool = False
    ) -> Question:
        model = deployment.model
        if model.background is None:
            raise NotFound(
                f"version {deployment.version.version} has no {BACKGROUND}, the rows that explanations compare with: it was made "
                "before there were any, logged by hand, or has too many columns; a new training adds them"
            )
        rows = mlflow_scoring.rows_of(body, environ.get("CONTENT_TYPE", ""), model.description, is_waited_for)
        if len(rows) > 1:
            raise InvalidInput(f"the body has {len(rows)} rows; /explain takes 1 at a time")
        if is_waited_for:  # the model is asked thousands of rows for it
            raise TakesLong
        return Question(rows, labels=True, probabilities=False, explained=True)

    def encode(self, prediction: Prediction, question: Question, deployment: Deployment) -> Encoded:
        labels, explanation = prediction.labels, question.form
        assert labels is not None  # noqa: S101 - they were asked for
        assert isinstance(explanation, Explanation)  # noqa: S101 - it was asked for
        found, columns = explanation.contributions, deployment.model.description.columns
        content = {
            "prediction": labels.tolist()[0],
            "of": explanation.of,
            "value": found.value,
            "expected_value": found.expected,
            "contributions": dict(zip((column.name for column in columns), found.of.tolist(), strict=True)),
            "method": found.method,
            "background_rows": found.background,
        }
        return Encoded(orjson.dumps(content), [_JSON])


def _plain(values: np.ndarray) -> np.ndarray | list[Any]:
    """Return an array as what orjson writes: numbers as they are, texts as a list."""
    return values if values.dtype.kind in "iufb" and values.flags.c_contiguous else values.tolist()
