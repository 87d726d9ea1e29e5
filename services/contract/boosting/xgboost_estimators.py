"""XGBoost's estimators as scikit-learn's are: labels of any kind, weights of classes, and nothing said beside.

A version that is made of one carries this folder (MLflow's `code`), so that other clients of MLflow load it too.
"""

from typing import Any

import numpy as np
import xgboost
from sklearn.utils.class_weight import compute_sample_weight

from contract.boosting.arrays import OfArrays, numbers


class XGBRegressor(OfArrays, xgboost.XGBRegressor):  # type: ignore[misc] # XGBoost has no types
    """XGBoost for quantities."""

    def __init__(self, *, verbosity: int = 0, **kwargs: Any) -> None:
        super().__init__(verbosity=verbosity, **kwargs)

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "XGBRegressor":  # noqa: N803 - scikit-learn calls it so
        """Fit in as many threads as `n_jobs` says."""
        super().fit(X, y, sample_weight)
        self.get_booster().set_param({"nthread": 1})
        return self


class XGBClassifier(OfArrays, xgboost.XGBClassifier):  # type: ignore[misc]
    """XGBoost for classes, whatever they are called: the library itself takes 0, 1, … alone."""

    def __init__(self, *, class_weight: Any = None, verbosity: int = 0, **kwargs: Any) -> None:
        self.class_weight = class_weight
        super().__init__(verbosity=verbosity, **kwargs)

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "XGBClassifier":  # noqa: N803
        """Fit in as many threads as `n_jobs` says; weights of classes are weights of their rows."""
        if self.class_weight is not None:
            of_classes = compute_sample_weight(self.class_weight, y)
            sample_weight = of_classes if sample_weight is None else of_classes * sample_weight
        labels, codes = np.unique(np.asarray(y), return_inverse=True)
        self.labels_ = np.arange(len(labels))  # what it holds them against
        super().fit(X, codes, sample_weight)
        self.labels_ = labels
        self.get_booster().set_param({"nthread": 1})
        return self

    def predict(self, X: Any, **options: Any) -> Any:  # noqa: N803
        """Return labels of shape (rows,)."""
        return self.labels_[super().predict(X, **options)]

    def predict_proba(self, X: Any, **options: Any) -> Any:  # noqa: N803
        """Return the probability of each class, shape (rows, classes)."""
        return super().predict_proba(numbers(X), **options)

    @property
    def classes_(self) -> np.ndarray:
        """The labels in the order of the probabilities."""
        return self.labels_

    def _wrapper_params(self) -> set[str]:
        return {*super()._wrapper_params(), "class_weight"}
