"""What a prediction comes from: the Shapley values of one row's columns, asked of the engine that answers."""

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from contract.explanation.shapley import MOST_ASKED, Contributions, contributions

from inference.errors import InvalidInput, Overloaded
from inference.rows import Rows

if TYPE_CHECKING:
    from inference.model.model import Model, Prediction

# How long the model is asked for, as far as its pace is known: large requests wait meanwhile.
SECONDS = 1.0


@dataclass(frozen=True)
class Explanation:
    """What one prediction comes from."""

    of: str | None
    """the name of the predicted class, whose probability is explained; None for a value"""
    contributions: Contributions


def explain(model: "Model", row: Rows, prediction: "Prediction") -> Explanation:
    """Return what a prediction for one row comes from, beside the rows that its version carries for that.

    Raises InvalidInput for a model that has neither one value nor class probabilities, Overloaded where it takes too long.
    """
    background = model.background
    assert background is not None  # noqa: S101 - who asks has looked
    position, until = _position(model, prediction), time.perf_counter() + model.most_seconds

    def ask(own: np.ndarray, positions: np.ndarray) -> np.ndarray:
        if time.perf_counter() > until:
            raise Overloaded(f"this explanation takes longer than {model.most_seconds:g} s")
        rows = _mixed(row, background, own, positions)
        return model.predict(rows) if position is None else model.probabilities(rows)[:, position]

    pace = max(model.row_seconds)
    most = int(min(MOST_ASKED, SECONDS / pace if pace else math.inf))
    found = contributions(ask, len(model.description.columns), len(background), most)
    return Explanation(None if position is None else (model.class_names or [])[position], found)


def _position(model: "Model", prediction: "Prediction") -> int | None:
    """Return where the probability of the predicted class stands, None for a value."""
    labels: Any = prediction.labels
    if model.classes is not None:
        return model.classes.index(labels.tolist()[0])
    if labels.dtype.kind == "f" and labels.size == 1:
        return None
    raise InvalidInput("the model has no class probabilities, nor one value for a row: there is nothing to explain")


def _mixed(row: Rows, background: Rows, own: np.ndarray, positions: np.ndarray) -> Rows:
    """Return rows that have some values of the row, and the others of rows of the background."""
    if row.matrix is not None and background.matrix is not None:
        return Rows(np.where(own, row.matrix, background.matrix[positions]), None)
    columns = zip(own.T, row.by_column, background.by_column, strict=True)
    return Rows(None, [np.where(mine, value, values[positions]) for mine, value, values in columns])
