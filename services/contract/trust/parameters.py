"""Parameters of estimators that reach further than the rows that they are asked about: files, folders, threads, and the like."""

import os
from typing import Any

import numpy as np
from sklearn.feature_extraction import DictVectorizer, FeatureHasher
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.preprocessing import FunctionTransformer

from contract.display import quoted, visible
from contract.errors import Refused

# More threads than a machine has, or a container lets a process make, end the process.
MOST_THREADS = 512
MOST_HASHES = 2**31 - 1


def check(value: Any, attributes: dict[str, Any], path: str) -> None:
    """Raise Refused where an estimator's parameters would read a file, write one, or end the process.

    `attributes` are the estimator's own: those that count threads are lowered there to what this process may use.
    """
    where = f"its {type(value).__name__} at {visible(path, 100)!r}" if path else f"its {type(value).__name__}"
    if isinstance(value, CountVectorizer | HashingVectorizer) and attributes.get("input", "content") != "content":
        raise Refused(
            f"{where} reads files by name (input={quoted(attributes['input'])}); only input='content' is served"
        )
    if attributes.get("memory") is not None:
        raise Refused(f"{where} caches on disk (memory={quoted(attributes['memory'])}); log it with memory=None")
    for name in ("n_jobs", "_n_threads", "n_threads"):
        _check_threads(where, name, attributes)
    if isinstance(value, FeatureHasher | HashingVectorizer):
        _check_hashes(where, attributes.get("n_features"))
    if isinstance(value, CountVectorizer | DictVectorizer):
        _check_vocabulary(where, attributes.get("vocabulary_"))
    if isinstance(value, FunctionTransformer):
        _check_arguments(where, attributes)


def _check_threads(where: str, name: str, attributes: dict[str, Any]) -> None:
    """Refuse a number of threads that no machine has; one of another machine becomes as many as this process may use."""
    count = attributes.get(name)
    if count is not None and not (isinstance(count, int | np.integer) and count <= MOST_THREADS):
        raise Refused(f"{where} has {name}={quoted(count)}; expected a whole number up to {MOST_THREADS}")
    if count is not None and count > (cores := _cores()):
        attributes[name] = cores


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_hashes(where: str, count: Any) -> None:
    if not (isinstance(count, int | np.integer) and 1 <= count <= MOST_HASHES):
        raise Refused(f"{where} has n_features={quoted(count)}; expected a whole number from 1 to {MOST_HASHES}")


def _check_vocabulary(where: str, vocabulary: Any) -> None:
    """Words stand for columns. A column that is not there is written to all the same, outside of the matrix."""
    if vocabulary is None:
        return
    values = list(vocabulary.values()) if type(vocabulary) is dict else [None]
    whole = all(isinstance(value, int | np.integer) for value in values)
    if not whole or set(values) != set(range(len(values))):
        raise Refused(f"{where} has a vocabulary that does not number its words 0, 1, … each once")


def _check_arguments(where: str, attributes: dict[str, Any]) -> None:
    """Refuse arguments that are no plain values: NumPy's functions write into an array that they are given as `out`."""
    for name in ("kw_args", "inv_kw_args"):
        arguments = attributes.get(name) or {}
        if any(not isinstance(value, str | int | float | bool | None) for value in arguments.values()):
            raise Refused(f"{where} calls its function with {name} that are no plain values")
