"""The objects of a loaded model: each of a class that is known, with the attributes that belong to it, in a state that holds."""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator
from ctypes import c_void_p
from functools import lru_cache, partial
from inspect import getattr_static
from itertools import chain
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np
import scipy.sparse
from scipy.interpolate import interp1d
from sklearn.base import BaseEstimator

from contract.display import visible
from contract.errors import Refused
from contract.trust import compiled, parameters

PLAIN = frozenset({str, int, float, bool, type(None), complex, bytes, bytearray, slice})
MAPPINGS = frozenset({dict, OrderedDict, defaultdict})
SEQUENCES = frozenset({list, tuple, set, frozenset})
ARRAYS = frozenset({np.ndarray, np.ma.MaskedArray})
# Random generators, which the grammar has looked at, what IsotonicRegression makes of its own arrays, and where a Booster has put
# what it has read: no file has one.
LEFT = frozenset({np.random.RandomState, np.random.Generator, interp1d, c_void_p})
# Classes that are values themselves, such as what numbers an encoder gives.
CLASSES = frozenset({str, int, float, bool, list, set, tuple, map})
# Parts of estimators that skops knows as harmless: they compute with what they are given, and keep nothing but numbers.
INTERNAL = (
    "sklearn._loss.link.",
    "sklearn._loss.loss.",
    "sklearn._loss._loss.",
    "sklearn.linear_model._sgd_fast.",
)
# What an attribute may not hide: an estimator's own code.
CODE = (FunctionType, BuiltinFunctionType, classmethod, staticmethod, type)


def check(estimator: Any, trusted: frozenset[str]) -> None:
    """Raise Refused where an object of a model is not allowed, or its state does not hold together."""
    seen: set[int] = set()
    waiting = [(estimator, "")]
    while waiting:
        value, path = waiting.pop()
        if type(value) in PLAIN or id(value) in seen:
            continue
        seen.add(id(value))
        waiting.extend(_below(value, path, trusted))


def _below(value: Any, path: str, trusted: frozenset[str]) -> Iterator[tuple[Any, str]]:
    """Check one object, and return what is in it."""
    kind = type(value)
    if kind in MAPPINGS:
        return _items([*value.keys(), *value.values()], path)
    if kind in SEQUENCES:
        return _sequence(value, path)
    if kind in ARRAYS:
        return _items(value.ravel().tolist(), path) if value.dtype == object else iter(())
    if isinstance(value, np.generic | np.dtype) or kind in LEFT:
        return iter(())
    if scipy.sparse.issparse(value):
        compiled.check_sparse(value, path)
        return iter(())
    return _object(value, path, trusted)


def _items(values: list[Any], path: str) -> Iterator[tuple[Any, str]]:
    """Return those that are no plain values; of a vocabulary of a million words none is looked at one by one."""
    if PLAIN.issuperset(map(type, values)):
        return iter(())
    return ((value, path) for value in values if type(value) not in PLAIN)


def _sequence(values: Iterable[Any], path: str) -> Iterator[tuple[Any, str]]:
    """Return what is in a list; a step of a pipeline, which is a name and an estimator, is called by its name."""
    values = list(values)
    if len(values) > 1 and isinstance(values[0], str):
        path = f"{path}.{values[0]}" if path else values[0]
    return _items(values, path)


def _object(value: Any, path: str, trusted: frozenset[str]) -> Iterator[tuple[Any, str]]:
    kind = type(value)
    if isinstance(value, np.ufunc) or _is_class(value) or _name(value) in trusted:
        return iter(())
    name = _name(kind)
    known = isinstance(value, BaseEstimator) and name.startswith("sklearn.")
    if not known and name not in trusted and not name.startswith(INTERNAL):
        raise Refused(
            f"it has an object of the type {visible(name, 100)} at {visible(path, 100)!r}, which is not known here"
        )
    attributes = vars(value) if hasattr(value, "__dict__") else {}
    _check_names(kind, attributes, path)
    parameters.check(value, attributes, path)
    compiled.check(value, path)
    named = ((found, f"{path}.{key}" if path else key) for key, found in attributes.items())
    return chain(named, _items(_contents(value), path))


def _contents(value: Any) -> list[Any]:
    """Return what an object has beside its attributes, where its type is one that the settings name."""
    if isinstance(value, partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, MethodType):
        return [value.__self__]
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return list(value) if isinstance(value, list | tuple | set | frozenset) else []


def _name(value: Any) -> str:
    """Return the full name of a class or a function; of anything else one that no class has."""
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"


def _is_class(value: Any) -> bool:
    return isinstance(value, type) and (value in CLASSES or issubclass(value, np.generic))


@lru_cache(10_000)  # a forest has the same names in each of its trees
def _is_code(kind: type, name: str) -> bool:
    hidden = getattr_static(kind, name, None)
    return name.startswith("__") or isinstance(hidden, CODE) or hasattr(hidden, "__get__")


def _check_names(kind: type, attributes: dict[str, Any], path: str) -> None:
    """Raise Refused where an attribute hides a method of its class, so that something else is called in its place."""
    for name in attributes:
        if _is_code(kind, name):
            raise Refused(
                f"its {kind.__name__} at {visible(path, 100)!r} has an attribute {visible(name, 60)!r} in the place of its own code"
            )
