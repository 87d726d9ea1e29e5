"""From a request's JSON to the rows that a model takes."""

from typing import Any

import numpy as np

from inference.errors import InvalidInput

# What a float32 can hold: many estimators compute in it and refuse more, and none can answer sensibly beyond it.
LARGEST = 3.4028234663852886e38


def from_instances(payload: Any, columns: list[str]) -> np.ndarray:
    """Return rows of shape (instances, columns), finite float64.

    `payload` is {"instances": [...]} with one entry per row: a list of numbers in the order of `columns`, or a record
    with a number for each of them. Raises InvalidInput that points at the first value that is wrong.
    """
    expected = f'expected {{"instances": [[{len(columns)} numbers], …]}}'
    if not isinstance(payload, dict) or "instances" not in payload:
        raise InvalidInput(f"the body has no 'instances'; {expected}")
    if len(payload) > 1:
        others = ", ".join(repr(key) for key in payload if key != "instances")
        raise InvalidInput(f"the body has {others} beside 'instances'; {expected}")
    instances = payload["instances"]
    if not isinstance(instances, list) or not instances:
        found = "empty" if instances == [] else _kind(instances)
        raise InvalidInput(f"'instances' is {found}; {expected}", "instances")
    return np.array([_row(instance, f"instances[{i}]", columns) for i, instance in enumerate(instances)])


def _row(instance: Any, where: str, columns: list[str]) -> list[float]:
    if isinstance(instance, dict):
        return _record(instance, where, columns)
    if not isinstance(instance, list):
        raise InvalidInput(
            f"{where} is {_kind(instance)}; expected a list of {len(columns)} numbers or a record", where
        )
    if len(instance) != len(columns):
        raise InvalidInput(f"{where} has {len(instance)} values; expected {len(columns)}: {', '.join(columns)}", where)
    return [_number(value, where, i) for i, value in enumerate(instance)]


def _record(instance: dict[str, Any], where: str, columns: list[str]) -> list[float]:
    if missing := [column for column in columns if column not in instance]:
        raise InvalidInput(f"{where} lacks {', '.join(map(repr, missing))}", where)
    if unknown := [name for name in instance if name not in columns]:
        raise InvalidInput(
            f"{where} has {', '.join(map(repr, unknown))}; expected only {', '.join(map(repr, columns))}", where
        )
    return [_number(instance[column], where, column) for column in columns]


def _number(value: Any, where: str, key: int | str) -> float:
    # bool is a subclass of int, so the exact type is asked for
    if type(value) is not float and type(value) is not int:
        raise InvalidInput(f"{where}[{key!r}] is {_kind(value)}; expected a number", f"{where}[{key!r}]")
    if not -LARGEST <= value <= LARGEST:  # true for NaN too
        raise InvalidInput(f"{where}[{key!r}] is not a finite number within ±3.4e38", f"{where}[{key!r}]")
    return float(value)


def _kind(value: Any) -> str:
    """Name a JSON value as JSON does."""
    names = {type(None): "null", bool: "a boolean", str: "text", list: "a list", dict: "a record"}
    return names.get(type(value), "a number")
