"""What has to hold of a state: the words that the checks of compiled code are written in."""

from typing import Any

import numpy as np


class DoesNotHold(Exception):
    """What does not hold of a state."""


def must(holds: Any, reason: str) -> None:
    """Raise DoesNotHold with the reason unless it holds."""
    if not holds:
        raise DoesNotHold(reason)


def within(indices: np.ndarray, end: int, reason: str) -> None:
    """Every index is from 0 to end - 1."""
    must(indices.size == 0 or (indices.min() >= 0 and indices.max() < end), reason)


def array(value: Any, ndim: int, kinds: str, reason: str) -> np.ndarray:
    """Return an array of so many dimensions and of such numbers, and nothing that only behaves like one."""
    holds = type(value) is np.ndarray and value.ndim == ndim and value.dtype.kind in kinds
    must(holds, f"{reason} is no array of {ndim} dimensions and of the kind {kinds}")
    return np.asarray(value)


def listed(value: Any, reason: str) -> list[Any]:
    """Return a list, and nothing that only behaves like one: an array is added to a list number by number, not appended."""
    must(type(value) is list, f"{reason} is no list")
    return list(value)


def whole(value: Any, reason: str) -> int:
    """Return a whole number, and nothing that only equals one."""
    must(isinstance(value, int | np.integer), f"{reason} is no whole number")
    return int(value)


def features(estimator: Any) -> int:
    """Return how many values a row has, which is what scikit-learn holds each row against; without it, against nothing."""
    found = vars(estimator).get("n_features_in_")
    must(isinstance(found, int | np.integer), "it does not say how many features it takes")
    return int(found)
