"""How good the answers to some rows are: by their labels, where they came, and by how sure the version was, where not."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from monitoring.sources.log_rows import Rows
from monitoring.sources.reference import CONFIDENCE, PREDICTION, Reference
from monitoring.statistics import quality
from monitoring.statistics.metrics import Answers
from monitoring.statistics.quality import Figure


@dataclass(frozen=True)
class Quality:
    """How good the answers are."""

    accuracy: Figure | None
    metric: Figure | None
    """the version's own, unless that is accuracy"""
    estimated: Figure | None
    """without labels"""
    labelled: int


def judged(rows: Rows, reference: Reference, which: np.ndarray) -> Quality:
    """Return how good the answers to some rows are; `which` is of shape (rows,), booleans."""
    labelled = which & (rows.labels != None if reference.is_classifier else ~np.isnan(rows.labels.astype(float)))  # noqa: E711
    estimate = None
    if reference.calibration is not None and CONFIDENCE in rows.columns:
        confidence = rows.columns[CONFIDENCE][which]
        confidence = confidence[~np.isnan(confidence)]
        if len(confidence):
            estimate = quality.estimated(confidence, *reference.calibration, reference.held_out)
    if not labelled.any():
        return Quality(None, None, estimate, 0)
    count, accuracy = int(labelled.sum()), None
    if reference.is_classifier:
        right = rows.columns[PREDICTION][labelled] == rows.labels[labelled]
        accuracy = quality.share(int(right.sum()), count)
    metric = None
    if reference.metric is not None and reference.metric != "accuracy":
        metric = quality.measured(reference.metric, _answers(rows, reference, labelled), rows.requests[labelled])
    return Quality(accuracy, metric, estimate, count)


def _answers(rows: Rows, reference: Reference, which: np.ndarray) -> Answers:
    """Return answers as metrics take them: a label that the version does not know is a class of its own."""
    truth, predicted = rows.labels[which], rows.columns[PREDICTION][which]
    if not reference.is_classifier:
        return Answers(truth.astype(float), predicted.astype(float))
    classes = [*reference.classes, *sorted({*truth, *predicted} - {None, *reference.classes})]
    position: dict[Any, int] = {label: j for j, label in enumerate(classes)}
    encoded = [np.array([position[label] for label in labels], int) for labels in (truth, predicted)]
    probabilities = None if rows.probabilities is None else rows.probabilities[which]
    if probabilities is not None and (np.isnan(probabilities).any() or len(classes) > probabilities.shape[1]):
        probabilities = None
    positive = position.get(reference.positive)
    return Answers(encoded[0], encoded[1], tuple(classes), positive, probabilities)
