"""Rows that count differently (--weight): handed on to the last step of an estimator, however it is wrapped."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from trainer.errors import SettingsError
from trainer.fit.algorithms import Algorithm
from trainer.fit.metric import Metric

FIT = "sample_weight"
# What a fixed threshold takes over of the estimator that it decides for.
OF_INNER = ("n_features_in_", "feature_names_in_")


def check(column: str, algorithms: list[Algorithm], metric: Metric) -> None:
    """Raise SettingsError for an algorithm, or a metric, to which all rows count alike."""
    for each in algorithms:
        last = each.estimator.steps[-1][1] if isinstance(each.estimator, Pipeline) else each.estimator
        if not has_fit_parameter(last, FIT):
            raise SettingsError(f"--weight {column}: {each.name} takes no weights of rows; leave it out")
    if not metric.takes_weights:
        raise SettingsError(f"--weight {column}: --metric {metric.name} takes no weights of rows; name another one")


def fit(estimator: Any, features: pd.DataFrame, target: Any, weights: np.ndarray | None = None) -> Any:
    """Fit an estimator and return it; `weights` are of shape (rows,), None where all rows count alike.

    Weights are named to a step of a pipeline, and not by metadata routing: what that asks for would stay in the estimator's file.
    """
    if weights is None:
        return estimator.fit(features, target)
    if isinstance(estimator, FixedThresholdClassifier):  # which takes them by routing alone
        estimator.estimator_ = fit(clone(estimator.estimator), features, target, weights)
        for name in OF_INNER:
            if hasattr(estimator.estimator_, name):
                setattr(estimator, name, getattr(estimator.estimator_, name))
        return estimator
    with warnings.catch_warnings():
        # It does not see that they reach the pipeline's last step by name.
        warnings.filterwarnings("ignore", "Since Pipeline does not appear to accept sample_weight", UserWarning)
        return estimator.fit(features, target, **_named(estimator, weights))


def _named(estimator: Any, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return the parameters of an estimator's `fit` that have the weights."""
    if isinstance(estimator, Pipeline):
        return {f"{estimator.steps[-1][0]}__{FIT}": weights}
    if isinstance(estimator, CalibratedClassifierCV):
        return {FIT: weights} | (
            _named(estimator.estimator, weights) if isinstance(estimator.estimator, Pipeline) else {}
        )
    return {FIT: weights}


class Routed(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier of two classes that metadata routing can give weights to, and that hands them on as `fit` does.

    It is used where nothing of it is kept: for the search of a threshold.
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fit(self, features: pd.DataFrame, target: Any, sample_weight: np.ndarray | None = None) -> "Routed":
        with config_context(enable_metadata_routing=False):
            self.estimator_ = fit(clone(self.estimator), features, target, sample_weight)
        self.classes_ = self.estimator_.classes_
        return self

    def predict_proba(self, features: pd.DataFrame) -> np.ndarray:
        found: np.ndarray = self.estimator_.predict_proba(features)
        return found
