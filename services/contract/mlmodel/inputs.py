"""What a signature says that a model takes: columns with names or without, an array, or records of an object.

A version of scikit-learn's takes named columns or an array of rows. One whose owner vouches for its code may take whatever has a
fixed number of plain values per row; its code gets it as it was logged (contract.vouched.pyfunc).
"""

import json
from math import prod
from typing import Any, NamedTuple

from contract import schema
from contract.display import listed, quoted, visible
from contract.errors import Refused
from contract.schema import MOST_COLUMNS, TENSOR_TYPES, TYPES, Column

NO_COLUMNS = "it has no signature with named columns; log it with input_example=DATAFRAME, of which MLflow makes one, or where MLflow warns that it could not, with signature=infer_signature(DATAFRAME, ANSWERS) as well"
NO_PLAIN_ROWS = (
    "its signature takes no rows of plain values; expected columns (a DataFrame, list[str], or a pydantic model of numbers and "
    "texts) or one array"
)
ROWS_AND_COLUMNS = "(rows, columns)"


class Inputs(NamedTuple):
    """What a row is."""

    columns: tuple[Column, ...]
    is_named: bool
    """whether the columns have names; those of an array are known by their order alone"""
    shape: tuple[int, ...] | None = None
    """the shape of a row of an array, of which the columns are the values one after the other; None where it is a list of them"""
    params: tuple[str, ...] = ()
    """the names of what a request may tell a model's own code beside its rows"""


def columns_of(content: dict[str, Any]) -> tuple[tuple[Column, ...], bool]:
    """Return the columns of the signature in an MLmodel, and whether they have names; raise Refused."""
    inputs = _inputs(content)
    if _is_array(inputs):
        spec = _spec(inputs)
        if len(shape := _shape(spec, ROWS_AND_COLUMNS)) != 1:
            raise Refused(_no_array(spec, ROWS_AND_COLUMNS))
        return _of_array(spec, shape), False
    return _of_columns(inputs), True


def vouched_inputs(content: dict[str, Any]) -> Inputs:
    """Return what a version takes whose owner vouches for its code; raise Refused where its rows have no plain values."""
    inputs, params = _inputs(content), _params(content)
    if _is_array(inputs):
        spec = _spec(inputs)
        shape = _shape(spec, "(rows, …), all but the number of rows fixed,")
        return Inputs(_of_array(spec, shape), False, None if len(shape) == 1 else shape, params)
    if len(inputs) == 1 and inputs[0].get("type") == "object" and "name" not in inputs[0]:
        inputs = [{"name": name, **kind} for name, kind in _properties(inputs[0]).items()]
    elif not any("name" in column for column in inputs):
        inputs = [{**column, "name": str(position)} for position, column in enumerate(inputs)]
    if any(column.get("type") in ("tensor", "object", "array", "map") for column in inputs):
        raise Refused(NO_PLAIN_ROWS)
    return Inputs(_of_columns(inputs), True, None, params)


def _inputs(content: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        found = json.loads(content["signature"]["inputs"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise Refused(NO_COLUMNS) from error
    if not isinstance(found, list) or not found or not all(isinstance(each, dict) for each in found):
        raise Refused(NO_COLUMNS)
    return found


def _properties(column: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = column.get("properties")
    if not isinstance(found, dict) or not all(isinstance(kind, dict) for kind in found.values()):
        raise Refused(NO_PLAIN_ROWS)
    return found


def _params(content: dict[str, Any]) -> tuple[str, ...]:
    """Return the names of a signature's params, none where it has none that can be read."""
    try:
        return tuple(str(param["name"]) for param in json.loads(content["signature"].get("params") or "[]"))
    except (TypeError, KeyError, ValueError, RecursionError):
        return ()


def _is_array(inputs: list[dict[str, Any]]) -> bool:
    return len(inputs) == 1 and inputs[0].get("type") == "tensor" and not inputs[0].get("name")


def _of_columns(inputs: list[dict[str, Any]]) -> tuple[Column, ...]:
    try:
        found = [(column["name"], column["type"], column.get("required", True)) for column in inputs]
    except KeyError as error:
        raise Refused(NO_COLUMNS) from error
    if not all(isinstance(name, str) for name, _, _ in found):
        raise Refused(NO_COLUMNS)
    _check_number(len(found))
    if len({name for name, _, _ in found}) < len(found):
        raise Refused("two of its columns have the same name")
    if unknown := sorted({str(kind) for _, kind, _ in found} - TYPES.keys()):
        raise Refused(f"its columns have the types {listed(unknown)}; expected {', '.join(TYPES)}")
    return tuple(schema.column(name, kind, not required) for name, kind, required in found)


def _of_array(spec: dict[str, Any], shape: tuple[int, ...]) -> tuple[Column, ...]:
    """Return a column for each value of a row of such a shape."""
    if (dtype := str(spec.get("dtype"))) not in TENSOR_TYPES:
        raise Refused(_no_array(spec, ROWS_AND_COLUMNS))
    _check_number(count := prod(shape))
    return tuple(schema.column(str(position), TENSOR_TYPES[dtype], False) for position in range(count))


def _spec(inputs: list[dict[str, Any]]) -> dict[str, Any]:
    found = inputs[0].get("tensor-spec")
    if not isinstance(found, dict) or not isinstance(found.get("shape"), list) or not found["shape"]:
        raise Refused(NO_COLUMNS)
    return found


def _shape(spec: dict[str, Any], wanted: str) -> tuple[int, ...]:
    """Return the shape of a row of an array; raise Refused where its rows differ in size."""
    found = spec["shape"]
    if not all(type(size) is int and size >= 1 for size in found[1:]):
        raise Refused(_no_array(spec, wanted))
    return tuple(found[1:])


def _no_array(spec: dict[str, Any], shape: str) -> str:
    of, found = visible(str(spec.get("dtype")), 50), quoted(spec.get("shape"))
    return f"its input is a tensor of {of} with the shape {found}; expected {shape} of {', '.join(TENSOR_TYPES)}"


def _check_number(columns: int) -> None:
    """Raise Refused for more columns than are kept in mind: a tensor's number of them costs a file nothing."""
    if columns > MOST_COLUMNS:
        raise Refused(f"it has {quoted(columns)} columns; expected at most {MOST_COLUMNS}")
