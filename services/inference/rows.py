"""From a request's JSON to the rows that a model takes: each value is held against its column's input domain."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from inference.errors import InvalidInput

# What a float32 can hold: many estimators compute in it and refuse more, and none can answer sensibly beyond it.
LARGEST = 3.4028234663852886e38


class Kind(StrEnum):
    """What a column's values are, in the words that errors use."""

    NUMBER = "a number"
    BOOLEAN = "true or false"
    TEXT = "text"


PYTHON_TYPES = {Kind.BOOLEAN: bool, Kind.TEXT: str}


@dataclass(frozen=True)
class Column:
    """A feature and its input domain; numbers lie within ±LARGEST."""

    name: str
    kind: Kind = Kind.NUMBER
    missing: bool = False
    """whether null is accepted"""


def from_instances(payload: Any, columns: list[Column]) -> list[list[Any]]:
    """Return one list per instance, in the order of the columns: float, bool, str, or None for a missing value.

    `payload` is {"instances": [...]} with one entry per row: a list of values in the order of `columns`, or a record
    with a value for each of them. Raises InvalidInput that points at the first value that is wrong.
    """
    expected = f'expected {{"instances": [[{_count(columns)}], …]}}'
    if not isinstance(payload, dict) or "instances" not in payload:
        raise InvalidInput(f"the body has no 'instances'; {expected}")
    if len(payload) > 1:
        others = ", ".join(repr(key) for key in payload if key != "instances")
        raise InvalidInput(f"the body has {others} beside 'instances'; {expected}")
    instances = payload["instances"]
    if not isinstance(instances, list) or not instances:
        found = "empty" if instances == [] else _kind(instances)
        raise InvalidInput(f"'instances' is {found}; {expected}", "instances")
    return [_row(instance, f"instances[{i}]", columns) for i, instance in enumerate(instances)]


def _row(instance: Any, where: str, columns: list[Column]) -> list[Any]:
    if isinstance(instance, dict):
        return _record(instance, where, columns)
    if not isinstance(instance, list):
        raise InvalidInput(f"{where} is {_kind(instance)}; expected a list of {_count(columns)} or a record", where)
    if len(instance) != len(columns):
        names = ", ".join(column.name for column in columns)
        raise InvalidInput(f"{where} has {len(instance)} values; expected {len(columns)}: {names}", where)
    return [_value(value, where, i, columns[i]) for i, value in enumerate(instance)]


def _record(instance: dict[str, Any], where: str, columns: list[Column]) -> list[Any]:
    names = [column.name for column in columns]
    if missing := [name for name in names if name not in instance]:
        raise InvalidInput(f"{where} lacks {', '.join(map(repr, missing))}", where)
    if unknown := [name for name in instance if name not in names]:
        raise InvalidInput(
            f"{where} has {', '.join(map(repr, unknown))}; expected only {', '.join(map(repr, names))}", where
        )
    return [_value(instance[column.name], where, column.name, column) for column in columns]


def _value(value: Any, where: str, key: int | str, column: Column) -> Any:
    kind = type(value)  # the exact one: bool is a subclass of int
    if column.kind is Kind.NUMBER and (kind is float or kind is int):
        if not -LARGEST <= value <= LARGEST:  # true for NaN too
            raise InvalidInput(f"{where}[{key!r}] is not a finite number within ±3.4e38", f"{where}[{key!r}]")
        return float(value)
    if kind is PYTHON_TYPES.get(column.kind) or (value is None and column.missing):
        return value
    null = " or null" if column.missing else ""
    raise InvalidInput(f"{where}[{key!r}] is {_kind(value)}; expected {column.kind}{null}", f"{where}[{key!r}]")


def _count(columns: list[Column]) -> str:
    numbers = all(column.kind is Kind.NUMBER for column in columns)
    return f"{len(columns)} {'numbers' if numbers else 'values'}"


def _kind(value: Any) -> str:
    """Name a JSON value as JSON does."""
    names = {type(None): "null", bool: "a boolean", str: "text", list: "a list", dict: "a record"}
    return names.get(type(value), "a number")
