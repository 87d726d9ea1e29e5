"""Whatever single number, list or array of a fitted estimator is another one: it is refused, or answers with nothing but its own.

scikit-learn takes memory (np.empty) for as many answers as an estimator's state says, and fills those that it computes. What it
does not fill is what was there before, such as a piece of another request. Here that is a number which no estimator computes.
"""

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from contract.errors import Refused
from contract.trust import state
from contract.trust.trusted_types import TRUSTED_TYPES
from sklearn.base import BaseEstimator
from sklearn.utils import all_estimators

from tests.fuzzing import IS_SHORT

WAS_THERE = 1.2345e30
ROWS = np.floor(np.random.default_rng(0).random((60, 4)) * 5)
LABELS = (ROWS[:, 0] > 2).astype(int) + (ROWS[:, 1] > 2)
# Of the classes that take memory first, one of each kind; `make fuzz` looks at all that there are.
SOME = ("GaussianMixture", "PolynomialFeatures", "TargetEncoder")
# They take minutes.
NOT = ("LatentDirichletAllocation", "GaussianProcessClassifier", "GaussianProcessRegressor")
KINDS = {name: kind for name, kind in all_estimators() if (name in SOME if IS_SHORT else name not in NOT)}
QUESTIONS = ("predict", "predict_proba", "decision_function", "transform")
MOST_PLACES, DEEPEST = 60, 3

Place = tuple[Any, Any, Any]


def places(value: Any, depth: int = 0) -> Iterator[Place]:
    """Yield each place of a state: what holds it, by which name or number, and what is there."""
    if depth > DEEPEST:
        return
    items: Any = ()
    if hasattr(value, "__dict__"):
        items = [(vars(value), name, found) for name, found in vars(value).items()]
    elif isinstance(value, list) and len(value) < 20:
        items = [(value, position, found) for position, found in enumerate(value)]
    for place in items:
        yield place
        yield from places(place[2], depth + 1)


def others(value: Any) -> list[Any]:
    """Return what may be there instead: more or less, longer or shorter, wider or narrower."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | np.integer):
        return [value + 1, max(value - 1, 0), value * 2 + 3]
    if isinstance(value, list) and value:
        return [value[:-1], [*value, copy.deepcopy(value[-1])]]
    if not isinstance(value, np.ndarray) or value.dtype == object or not value.ndim or not value.size:
        return []
    found = [value[:-1].copy(), np.concatenate([value, value[-1:]])]
    if value.ndim == 2:
        found += [value[:, :-1].copy(), np.concatenate([value, value[:, -1:]], axis=1)]
    return found


def changed(fitted: BaseEstimator) -> Iterator[tuple[str, BaseEstimator]]:
    """Yield the estimator with one place of its state changed, and which one that is."""
    for number, (_, key, value) in zip(range(MOST_PLACES), places(fitted), strict=False):
        for other in others(value):
            made = copy.deepcopy(fitted)
            holder = next(place[0] for i, place in enumerate(places(made)) if i == number)
            holder[key] = other
            yield f"{key} = {other!r:.60}", made


def filling(make: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Return a function that makes arrays as `make` does, with something in them."""

    def made(*arguments: Any, **options: Any) -> np.ndarray:
        found = make(*arguments, **options)
        if found.dtype.kind == "f" and found.dtype.itemsize > 2:
            found.fill(WAS_THERE)
        return found

    return made


def has_what_was_there(answer: Any) -> bool:
    dense = np.asarray(answer.toarray() if scipy.sparse.issparse(answer) else answer)
    return dense.dtype.kind == "f" and bool(np.isclose(dense, WAS_THERE, rtol=1e-5).any())


def answers(estimator: BaseEstimator, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return what it answers to some rows, as far as it answers at all: a state that is none may fail in any way."""
    found = []
    with monkeypatch.context() as patched:
        patched.setattr(np, "empty", filling(np.empty))
        patched.setattr(np, "empty_like", filling(np.empty_like))
        for question in QUESTIONS:
            with suppress(Exception):
                found.append(getattr(estimator, question)(ROWS[:7]))
    return found


@pytest.mark.fuzz
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_no_answer_has_in_it_what_was_in_memory_before(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            fitted = kind().fit(ROWS, LABELS)
        except (TypeError, ValueError, AttributeError):
            pytest.skip("it is not fitted on such a table")
        for change, estimator in changed(fitted):
            try:
                state.check(estimator, TRUSTED_TYPES)
            except Refused:
                continue
            assert not any(map(has_what_was_there, answers(estimator, monkeypatch))), change
