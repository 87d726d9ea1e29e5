"""What XGBoost's and LightGBM's estimators have in common in a pipeline of the trainer's (xgboost_estimators, lightgbm_estimators)."""

from typing import Any

import numpy as np
import scipy.sparse
from threadpoolctl import threadpool_limits

SMALL = 1_000_000  # values


class OfArrays:
    """Hand on arrays in the place of tables: of columns' names these libraries refuse some, and compare all for each request.

    Predictions are made in one thread: in the prediction service, its workers are what runs side by side.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:  # noqa: N803 - scikit-learn calls it so
        """Fit in as many threads as `n_jobs` says, a small table in one: more would wait for each other more than they save."""
        rows = numbers(X)
        with threadpool_limits(1 if rows.size < SMALL else None, user_api="openmp"):
            return super().fit(rows, np.asarray(y), sample_weight=sample_weight)  # type: ignore[misc]

    def predict(self, X: Any, **options: Any) -> Any:  # noqa: N803
        """Return labels or values of shape (rows,)."""
        return super().predict(numbers(X), **options)  # type: ignore[misc]

    def set_params(self, **params: Any) -> Any:
        """Set parameters that there are; both libraries take any other name too, and never look at it."""
        if params and (unknown := params.keys() - self.get_params()):  # type: ignore[attr-defined]
            raise ValueError(f"{type(self).__name__} has no parameter {', '.join(sorted(unknown))}")
        return super().set_params(**params)  # type: ignore[misc]


def numbers(rows: Any) -> Any:
    """Return rows as an array of floats, with NaN for what is missing; a sparse matrix as it is."""
    if scipy.sparse.issparse(rows):
        return rows
    found = np.asarray(rows)
    return found if found.dtype == np.float32 else found.astype(np.float64, copy=False)
