"""The same arithmetic as a scikit-learn estimator's `predict`, without what it does once more for every call.

For one row, scikit-learn spends nine tenths of its time on checking, naming and handing round what it was given: a forest
of a hundred trees dispatches a hundred jobs, a column transformer cuts a table of pandas into pieces. The fitted parts are
called directly here, in the same order, on the same numbers. A fast path is taken only where it gives, bit for bit, what
the estimator gives for the rows that it is tried on; else there is none.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from contract.mlmodel.manifest import Description
from contract.preparation.dates import moments
from contract.proof import rows as proof
from contract.schema import Column, Kind
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.pipeline import Pipeline

from inference.rows import Rows, of_checked

# Of one kind: rows of very many columns take long to make, so there are fewer of them.
RANDOM_ROWS, MOST_ROWS, MOST_VALUES = 32, 64, 20_000
# Exactly these: one that is derived from them may do otherwise.
CLASSIFIERS = (RandomForestClassifier, ExtraTreesClassifier)
REGRESSORS = (RandomForestRegressor, ExtraTreesRegressor)

Transform = Callable[[Any], Any]


@dataclass(frozen=True)
class FastPath:
    """An estimator taken apart."""

    prepare: Callable[[Rows], Any]
    """from rows to what the last step takes"""
    last: Any
    """the last step: a fitted estimator, or a Forest in the place of one"""

    def labels(self, rows: Rows) -> np.ndarray:
        return np.asarray(self.last.predict(self.prepare(rows)))

    def probabilities(self, rows: Rows) -> np.ndarray:
        return np.asarray(self.last.predict_proba(self.prepare(rows)))


@dataclass(frozen=True)
class Forest:
    """The trees of a fitted forest with one output."""

    trees: list[Any]
    width: int
    classes: np.ndarray | None

    def _mean(self, matrix: Any) -> np.ndarray:
        narrow = np.asarray(matrix, dtype=np.float32)
        total = np.zeros((len(narrow), self.width), dtype=np.float64)
        for tree in self.trees:
            total += tree.predict(narrow)[:, : self.width]
        total /= len(self.trees)
        return total

    def predict(self, matrix: Any) -> np.ndarray:
        mean = self._mean(matrix)
        return mean[:, 0] if self.classes is None else self.classes.take(mean.argmax(axis=1), axis=0)

    def predict_proba(self, matrix: Any) -> np.ndarray:
        return self._mean(matrix)


def of(estimator: Any, model: Description) -> FastPath | None:
    """Return the fast path of an estimator whose parts are known here, None for all others."""
    steps = [step for _, step in estimator.steps] if type(estimator) is Pipeline else [estimator]
    *before, last = steps
    if any(step in (None, "passthrough") for step in steps):
        return None
    forest = _forest(last)
    if type(estimator) is not Pipeline and forest is None:
        return None  # nothing is gained
    first = _first(before[0], model) if before else _matrix_of(model)
    if first is None:
        return None
    transforms = [step.transform for step in before[1:]]

    def prepare(rows: Rows) -> Any:
        found = first(rows)
        for transform in transforms:
            found = transform(found)
        return found

    return FastPath(prepare, forest or last)


def _forest(estimator: Any) -> Forest | None:
    if type(estimator) in CLASSIFIERS and estimator.n_outputs_ == 1:
        classes = estimator.classes_
        return Forest([tree.tree_ for tree in estimator.estimators_], len(classes), classes)
    if type(estimator) in REGRESSORS and estimator.n_outputs_ == 1:
        return Forest([tree.tree_ for tree in estimator.estimators_], 1, None)
    return None


def _matrix_of(model: Description) -> Callable[[Rows], Any] | None:
    numbers = all(column.kind in (Kind.NUMBER, Kind.INTEGER) for column in model.columns)
    return (lambda rows: rows.matrix) if numbers else None


def _first(step: Any, model: Description) -> Callable[[Rows], Any] | None:
    """Return the first step as a function of rows."""
    if type(step) is not ColumnTransformer:
        matrix = _matrix_of(model)
        return (lambda rows: step.transform(rows.matrix)) if matrix else None
    parts = []
    for name, transformer, columns in step.transformers_:
        if transformer == "drop" or (not isinstance(columns, str) and not len(columns)):
            continue
        if isinstance(columns, str) or transformer == "passthrough":
            return None
        parts.append((_cells(step._transformer_to_input_indices[name], model), transformer.transform))
    # It joins sparse parts and dense ones as it has learnt to do when it was fitted.
    return lambda rows: step._hstack([transform(cells(rows)) for cells, transform in parts], n_samples=len(rows))


def _cells(positions: list[int], model: Description) -> Callable[[Rows], np.ndarray]:
    """Return a function that takes some columns out of rows: numbers as one matrix, with texts among them as objects."""
    if any(model.columns[position].kind is Kind.TEXT for position in positions):

        def objects(rows: Rows) -> np.ndarray:
            found = np.empty((len(rows), len(positions)), dtype=object)
            for j, position in enumerate(positions):
                values = rows.by_column[position]
                found[:, j] = [np.nan if value is None else value for value in values]
            return found

        return objects
    if any(model.columns[position].kind is Kind.DATE for position in positions):
        return lambda rows: np.column_stack([moments(rows.by_column[position]) for position in positions])
    return lambda rows: (
        rows.matrix[:, positions]
        if rows.matrix is not None
        else np.column_stack([rows.by_column[position] for position in positions])
    )


def rows_like(golden: Rows, columns: Sequence[Column]) -> Iterator[Rows]:
    """Yield rows that a fast path is tried on beside the golden ones, kind by kind (contract.proof.rows)."""
    most = min(MOST_ROWS, max(1, MOST_VALUES // len(columns)))
    values = [[None if value != value else value for value in array.tolist()] for array in golden.by_column]
    known = [
        proof.Known(column, [value for value in cells if value is not None])
        for column, cells in zip(columns, values, strict=True)
    ]
    for kind in proof.kinds(known, list(zip(*values, strict=True)), min(RANDOM_ROWS, most)):
        if found := list(islice(kind, most)):
            yield of_checked(found, columns)


def proven(fast_path: FastPath | None, estimator: Any, rows: Rows, whole: Any) -> FastPath | None:
    """Return a fast path that answers the rows as the estimator answers `whole`, the same rows as it takes them; else None."""
    if fast_path is None:
        return None
    try:
        same = _same(fast_path.labels, estimator.predict, rows, whole)
        if same and hasattr(estimator, "predict_proba"):
            same = _same(fast_path.probabilities, estimator.predict_proba, rows, whole)
    except Exception:  # whatever it misses, the estimator itself answers
        return None
    return fast_path if same else None


def _same(short: Callable[[Rows], np.ndarray], long: Callable[[Any], Any], rows: Rows, whole: Any) -> bool:
    # Each row alone as well: the same sums may be made in another order for one row than for many. The estimator first: it
    # refuses rows that are not as wide as its own, and trees by themselves read on.
    pairs = [(long(whole), short(rows))]
    pairs += [(long(whole[i : i + 1]), short(_one(rows, i))) for i in range(len(rows))]
    return all(np.array_equal(found, np.asarray(expected)) for expected, found in pairs)


def _one(rows: Rows, i: int) -> Rows:
    if rows.matrix is not None:
        return Rows(rows.matrix[i : i + 1], None)
    return Rows(None, [values[i : i + 1] for values in rows.by_column])
