"""The scikit-learn estimator of a version: what answers where no ONNX engine does.

Importing this costs seconds and 100 MB, so it is done for the models that need it.
"""

import logging
import pickle
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import joblib
import numpy as np
import pandas as pd
import sklearn
import skops.io
from contract.mlmodel.manifest import Description, check_estimator, estimator_file
from contract.preparation.steps import MOST_CHARACTERS, Words
from contract.schema import Kind
from contract.trust.skops_file import load_skops
from contract.version_files import VersionFiles

from inference.errors import InvalidInput, ModelRefused
from inference.model.engines import sklearn_fast_path
from inference.model.engines.frame import rows_for
from inference.model.engines.sklearn_fast_path import FastPath
from inference.rows import Rows
from inference.trust import Trust, Trusted

log = logging.getLogger("inference")

# Rows that get here are finite (inference.rows), and in the columns' order.
sklearn.set_config(assume_finite=True)
# A model says how many jobs it has, and joblib's own way is a process for each. Here the workers are the jobs.
joblib.register_parallel_backend("sequential", joblib.parallel.SequentialBackend, make_default=True)
warnings.filterwarnings("ignore", message="X does not have valid feature names")


# A word that is counted has two letters, and something after it.
CHARACTERS_PER_WORD = 3


@dataclass(frozen=True)
class Pipeline:
    """A scikit-learn estimator, and how it wants its rows."""

    estimator: Any
    model: Description
    takes_arrays: bool
    """whether it takes the columns by their order alone, which is five times as fast as by their names"""
    fast_path: FastPath | None = None
    """the same answers in less time, None where that is not proven"""
    name: ClassVar[str] = "scikit-learn"

    @property
    def classes(self) -> list[Any] | None:
        """The labels in the order of the probabilities, None where it has no probabilities."""
        return list(self.estimator.classes_) if hasattr(self.estimator, "predict_proba") else None

    def labels(self, rows: Rows) -> np.ndarray:
        """Return labels or values of shape (rows,); raise InvalidInput for rows that the estimator itself refuses."""
        if self.fast_path is not None and (found := self._by_fast_path(self.fast_path.labels, rows)) is not None:
            return found
        return np.asarray(_asked(self.estimator.predict, self.input(rows)))

    def probabilities(self, rows: Rows) -> np.ndarray:
        """Return the probabilities of shape (rows, classes); raise InvalidInput likewise."""
        if self.fast_path is not None and (found := self._by_fast_path(self.fast_path.probabilities, rows)) is not None:
            return found
        return np.asarray(_asked(self.estimator.predict_proba, self.input(rows)))

    def with_fast_path(self, rows: Rows) -> "Pipeline":
        """Return the pipeline with a fast path, where there is one that is proven on these rows and on others like them."""
        found = sklearn_fast_path.of(self.estimator, self.model)
        found = sklearn_fast_path.proven(found, self.estimator, rows, self.input(rows))
        if found is None:
            return self
        quick = replace(self, fast_path=found)
        try:
            others = sklearn_fast_path.rows_like(rows, self.model.columns)
            same = all(_answer_alike(quick, self, each) for each in others)
        except Exception:  # a fast path that fails where the estimator would have refused
            return self
        return quick if same else self

    def _by_fast_path(self, method: Callable[[Rows], np.ndarray], rows: Rows) -> np.ndarray | None:
        """Return the answer, None for rows that the estimator itself has to look at: those that the fast path is not for."""
        is_for_columns = self.model.takes_text or self.model.takes_dates
        if not (is_for_columns if rows.matrix is None else not np.isnan(rows.matrix).any()):
            return None
        try:
            return method(rows)
        except (ValueError, TypeError):
            return None

    def input(self, rows: Rows) -> np.ndarray | pd.DataFrame:
        """Return rows as the estimator takes them."""
        if self.takes_arrays and rows.matrix is not None:
            return rows.matrix
        return rows_for(self.model, rows.by_column, rows.has_gaps)

    def row_values(self, rows: Rows) -> float | None:
        """Return how many values a row becomes at most on its way to the last step; None where that is not known."""
        steps = [step for _, step in getattr(self.estimator, "steps", [])[:-1] if step not in (None, "passthrough")]
        if not steps and self.model.takes_text:
            return None  # what is within such an estimator makes numbers of texts
        try:
            found: Any = self.input(rows)
            most = found.size
            for step in steps:
                found = step.transform(found)
                most = max(most, found.size)  # of a sparse matrix, what is stored
        except Exception:  # a step may have no such method, or return anything
            return None
        # The texts of a request may be longer than these: each may have as many words as are read of one.
        texts = sum(isinstance(step, Words) for step in self.estimator.get_params().values()) if steps else 0
        return float(most / len(rows) + texts * MOST_CHARACTERS / CHARACTERS_PER_WORD)


def _answer_alike(one: Pipeline, other: Pipeline, rows: Rows) -> bool:
    """Tell whether two answer the same rows alike, bit for bit, or refuse them in the same words."""
    asked = [(one.labels, other.labels)]
    if other.classes is not None:
        asked.append((one.probabilities, other.probabilities))
    with np.errstate(all="ignore"):
        return all(_equal(_outcome(first, rows), _outcome(second, rows)) for first, second in asked)


def _outcome(method: Callable[[Rows], np.ndarray], rows: Rows) -> np.ndarray:
    try:
        return method(rows)
    except InvalidInput as error:
        return np.array(str(error))


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def _asked(method: Callable[[Any], Any], rows: Any) -> Any:
    """Let the estimator answer; what it refuses itself, such as a category that it does not know, is the request's fault."""
    try:
        return method(rows)
    except (ValueError, TypeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InvalidInput(f"the model does not take these rows: {reason}") from error


def load(files: VersionFiles, model: Description, trusted: Trusted) -> Pipeline:
    """Load the estimator; unless trust is PICKLE, without running code or building types that are not trusted."""
    estimator = _estimator(files, model.flavor, trusted)
    check_estimator(model, estimator)
    return Pipeline(estimator, model, _takes_arrays(estimator, model))


def _estimator(files: VersionFiles, flavor: dict[str, Any], trusted: Trusted) -> Any:
    if trusted.trust is not Trust.PICKLE:
        return load_skops(files.read(estimator_file(files, flavor)), trusted.types)
    name = files.named(flavor.get("pickled_model"))
    content = files.read(name)
    try:
        if flavor.get("serialization_format") == "skops":
            return skops.io.loads(content, trusted=skops.io.get_untrusted_types(data=content))
        log.warning("MODEL_TRUST is pickle: loading %s runs whatever code is in it", name)
        return pickle.loads(content)  # noqa: S301 - what MODEL_TRUST=pickle asks for
    except Exception as error:  # a damaged file can fail in any way
        raise ModelRefused(f"its file {name} cannot be loaded: {type(error).__name__}: {error}") from error


def _takes_arrays(estimator: Any, model: Description) -> bool:
    """Tell whether the estimator predicts from an array; one that looks columns up by their names refuses it.

    Where it does predict, the order is all that counts, and rows come in the order of the columns.
    """
    if any(column.kind not in (Kind.NUMBER, Kind.INTEGER) or column.datatype == "FP32" for column in model.columns):
        return False
    try:
        estimator.predict(np.zeros((1, len(model.columns))))
    except Exception:  # whatever it misses, a DataFrame is what it was fitted on
        return False
    return True
