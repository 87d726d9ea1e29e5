"""LightGBM's estimators as the trainer fits them: the same model each time, and nothing said beside.

A version that is made of one carries this folder (MLflow's `code`), so that other clients of MLflow load it too.
"""

from typing import Any

import lightgbm

from contract.boosting.arrays import OfArrays, numbers


class Deterministic(OfArrays):
    """Have the same rows give the same model: by default LightGBM adds up in the order that is quicker at the moment."""

    def __init__(
        self,
        *,
        verbose: int = -1,
        n_jobs: int = 0,
        deterministic: bool = True,
        force_col_wise: bool = True,
        **kwargs: Any,
    ) -> None:
        self.verbose = verbose
        self.deterministic = deterministic
        self.force_col_wise = force_col_wise
        # 0 jobs are as many as OpenMP has, which is one in the processes of a search; None would be all cores there too.
        super().__init__(n_jobs=n_jobs, **kwargs)  # type: ignore[call-arg] # of what it stands before

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "Deterministic":  # noqa: N803 - scikit-learn calls it so
        """Fit in as many threads as `n_jobs` says."""
        super().fit(X, y, sample_weight)
        # Of rows that are measured on meanwhile, of which there are none: empty, and of types that no file needs.
        self._evals_result: dict[str, Any] = {}
        self._best_score: dict[str, Any] = {}
        self.booster_.best_score = {}  # type: ignore[attr-defined]
        return self

    def predict(self, X: Any, **options: Any) -> Any:  # noqa: N803
        """Return labels or values of shape (rows,)."""
        return super().predict(X, **{"num_threads": 1, **options})


class LGBMRegressor(Deterministic, lightgbm.LGBMRegressor):  # type: ignore[misc] # LightGBM has no types
    """LightGBM for quantities."""


class LGBMClassifier(Deterministic, lightgbm.LGBMClassifier):  # type: ignore[misc]
    """LightGBM for classes."""

    def predict_proba(self, X: Any, **options: Any) -> Any:  # noqa: N803
        """Return the probability of each class, shape (rows, classes)."""
        return super().predict_proba(numbers(X), **{"num_threads": 1, **options})
