"""From how likely the positive class of two is to a decision: the threshold, given or tuned on the rows that are fitted on."""

from typing import Any

from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV

from trainer.data.table import SEED, Split
from trainer.errors import SettingsError, TrainerError
from trainer.fit import cross_validation, weights
from trainer.fit.metric import IMBALANCED, Metric, class_of

TUNED = "tuned"


def check(wanted: str | None, metric: Metric) -> None:
    """Raise SettingsError where --decision-threshold is given, and there are not two classes."""
    if wanted is not None and metric.positive is None:
        raise SettingsError(f"--decision-threshold {wanted} is for a target of two classes")


def check_written(wanted: str | None) -> None:
    """Raise SettingsError where --decision-threshold is neither `tuned` nor between 0 and 1."""
    if wanted not in (None, TUNED) and not _is_share(wanted):
        raise SettingsError(f"--decision-threshold is {wanted!r}; expected {TUNED}, or a number between 0 and 1")


def _is_share(text: str) -> bool:
    try:
        return 0 < float(text) < 1
    except ValueError:
        return False


def decided(estimator: BaseEstimator, wanted: str, metric: Metric, rows: Split, folds: int) -> FixedThresholdClassifier:
    """Return an estimator, not fitted, that says the positive class from a threshold on, and not from 0.5.

    It is tuned by the metric on folds of the rows that are fitted on; by balanced accuracy where the metric looks at
    probabilities, which no threshold changes. Raises SettingsError for an estimator without probabilities.
    """
    if not hasattr(estimator, "predict_proba"):
        raise SettingsError(f"--decision-threshold needs probabilities, which {class_of(estimator)} does not have")
    if wanted != TUNED:
        return _fixed(estimator, float(wanted), metric)
    judged_by = metric if metric.is_of_labels else Metric(IMBALANCED, metric.task, metric.labels, metric.positive)
    parts = cross_validation.folded(rows, metric.task, folds).folds
    try:
        with config_context(enable_metadata_routing=True):
            search = TunedThresholdClassifierCV(
                weights.Routed(estimator).set_fit_request(sample_weight=True),
                scoring=judged_by.scorer().set_score_request(sample_weight=True),
                response_method="predict_proba",
                cv=parts,
                random_state=SEED,
            )
            features, target, weighed = rows.train
            search.fit(features, target, sample_weight=weighed)
    except Exception as error:  # an estimator may fail in any way
        raise TrainerError(f"the decision threshold cannot be tuned: {type(error).__name__}: {error}") from error
    return _fixed(estimator, float(search.best_threshold_), metric)


def _fixed(estimator: BaseEstimator, threshold: float, metric: Metric) -> FixedThresholdClassifier:
    return FixedThresholdClassifier(
        estimator, threshold=threshold, pos_label=metric.positive, response_method="predict_proba"
    )


def calibrated(estimator: BaseEstimator, metric: Metric, folds: int) -> CalibratedClassifierCV:
    """Return an estimator, not fitted, whose probabilities are as frequent as they say, by folds of the rows that are fitted on.

    It is as many estimators as there are folds, and answers with their mean. Raises SettingsError for quantities.
    """
    if not metric.labels:
        raise SettingsError("--calibrate is for classes, and this is a regression")
    return CalibratedClassifierCV(estimator, cv=folds, ensemble=True)


def threshold_of(estimator: Any) -> float | None:
    """Return the probability from which on an estimator says the positive class, None for the likelier of the classes."""
    return float(estimator.threshold) if isinstance(estimator, FixedThresholdClassifier) else None


def without_threshold(estimator: Any) -> Any:
    """Return the estimator whose probabilities are calibrated and decided on, not fitted."""
    while isinstance(estimator, FixedThresholdClassifier | CalibratedClassifierCV):
        estimator = estimator.estimator
    return estimator
