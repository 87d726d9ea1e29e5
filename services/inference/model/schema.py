"""The features of a model with the input domain of each: what a request is held against before any engine runs."""

from dataclasses import dataclass
from enum import StrEnum

# What a float32 can hold: many estimators compute in it and refuse more, and none can answer sensibly beyond it.
LARGEST = 3.4028234663852886e38


class Kind(StrEnum):
    """What a column's values are, in the words that errors use."""

    NUMBER = "a number"
    INTEGER = "a whole number"
    BOOLEAN = "true or false"
    TEXT = "text"


@dataclass(frozen=True)
class Type:
    """A type of MLflow's signatures: what it is in a request, up to which size, and in the Open Inference Protocol."""

    kind: Kind
    datatype: str
    limit: float = LARGEST


# Part of the contract with the trainer (docs/model-contract.md).
TYPES = {
    "double": Type(Kind.NUMBER, "FP64"),
    "float": Type(Kind.NUMBER, "FP32"),
    "long": Type(Kind.INTEGER, "INT64", 2**63 - 1),
    "integer": Type(Kind.INTEGER, "INT32", 2**31 - 1),
    "boolean": Type(Kind.BOOLEAN, "BOOL"),
    "string": Type(Kind.TEXT, "BYTES"),
}
# The same for the arrays that a tensor signature names.
TENSOR_TYPES = {
    "float64": "double",
    "float32": "float",
    "int64": "long",
    "int32": "integer",
    "bool": "boolean",
}


@dataclass(frozen=True)
class Column:
    """A feature and its input domain; numbers lie within ±limit."""

    name: str
    kind: Kind = Kind.NUMBER
    missing: bool = False
    """whether null is accepted"""
    limit: float = LARGEST
    datatype: str = "FP64"
    """its type in the Open Inference Protocol"""


def count_of(columns: tuple[Column, ...]) -> str:
    """Say how many values a row has, in the words that errors use."""
    numbers = all(column.kind in (Kind.NUMBER, Kind.INTEGER) for column in columns)
    return f"{len(columns)} {'numbers' if numbers else 'values'}"
