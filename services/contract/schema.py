"""The columns that a version takes, by its signature, with the input domain of each: what every value is held against."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from contract.display import differing, quoted
from contract.preparation import dates

# What a float32 can hold: many estimators compute in it and refuse more, and none can answer sensibly beyond it.
LARGEST = 3.4028234663852886e38
MOST_COLUMNS = 20_000
# Changes of a schema that are told one by one.
MOST_CHANGES = 5
# How a missing text is written for an ONNX engine. So the word itself is written otherwise where values can be missing: as a
# category that nobody knows. Where it is a category beside missing values, the proof finds out, and there is no ONNX engine.
MISSING_TEXT, UNKNOWN_TEXT = "nan", "nan\ufffe"


class Kind(StrEnum):
    """What a column's values are, in the words that errors use."""

    NUMBER = "a number"
    INTEGER = "a whole number"
    BOOLEAN = "true or false"
    TEXT = "text"
    DATE = f"a date such as {dates.EXAMPLE}"


@dataclass(frozen=True)
class Type:
    """A type of MLflow's signatures: what it is in a request, in NumPy, and in the Open Inference Protocol."""

    kind: Kind
    datatype: str
    dtype: str
    limit: float = LARGEST
    """up to which size"""


TYPES = {
    "double": Type(Kind.NUMBER, "FP64", "float64"),
    "float": Type(Kind.NUMBER, "FP32", "float32"),
    "long": Type(Kind.INTEGER, "INT64", "int64", 2**63 - 1),
    "integer": Type(Kind.INTEGER, "INT32", "int32", 2**31 - 1),
    "boolean": Type(Kind.BOOLEAN, "BOOL", "bool"),
    "string": Type(Kind.TEXT, "BYTES", "str"),
    "datetime": Type(Kind.DATE, "BYTES", dates.DTYPE),
}
# The same for the arrays that a tensor signature names.
TENSOR_TYPES = {found.dtype: name for name, found in TYPES.items() if found.kind not in (Kind.TEXT, Kind.DATE)}
_NAMES = {found.datatype: name for name, found in TYPES.items() if found.kind is not Kind.DATE}


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

    @property
    def type_name(self) -> str:
        """Its type in a signature."""
        return "datetime" if self.kind is Kind.DATE else _NAMES[self.datatype]

    def dtype(self, has_gaps: bool = False) -> str:
        """Return the NumPy type that an estimator gets its values in; `has_gaps` where some of them are missing."""
        if has_gaps and self.kind in (Kind.INTEGER, Kind.BOOLEAN):
            return "float64" if self.kind is Kind.INTEGER else "object"
        return TYPES[self.type_name].dtype


def column(name: str, type_name: str, missing: bool) -> Column:
    """Return a column of a type of TYPES."""
    found = TYPES[type_name]
    return Column(name, found.kind, missing, found.limit, found.datatype)


def fault(value: Any, column: Column) -> str | None:
    """Say what is wrong with a value of JSON, as a sentence goes on; None where it is in its column's input domain."""
    kind = type(value)  # the exact one: bool is a subclass of int
    if value is None or value != value:
        if column.missing:
            return None
        if value is not None and column.kind is Kind.NUMBER:
            return "is not a finite number within ±3.4e38"
    elif column.kind is Kind.NUMBER and (kind is float or kind is int):
        return None if -LARGEST <= value <= LARGEST else "is not a finite number within ±3.4e38"
    elif column.kind is Kind.INTEGER and (kind is int or (kind is float and value.is_integer())):
        if -column.limit - 1 <= value <= column.limit:
            return None
        return f"is outside of {-int(column.limit) - 1} to {int(column.limit)}"
    elif column.kind is Kind.INTEGER and kind is float:
        return _expected(str(value), column)
    elif column.kind is Kind.BOOLEAN and kind is bool:
        return None
    elif kind is str and column.kind is Kind.TEXT:
        return _text_fault(value)
    elif kind is str and column.kind is Kind.DATE:
        return None if dates.is_one(value) else _date_fault(value, column)
    return _expected(name_of(value), column)


def _date_fault(value: str, column: Column) -> str:
    said = _expected(quoted(value), column)
    return f"{said} (write {' or '.join(iso)})" if (iso := dates.rewritten(value)) else said


def _text_fault(value: str) -> str | None:
    try:
        value.encode()
    except UnicodeEncodeError:  # JSON can write it, and neither pandas nor ONNX can read it
        return "is no Unicode text: half of a surrogate pair is in it"
    return None


def _expected(what: str, column: Column) -> str:
    return f"is {what}; expected {column.kind}{' or null' if column.missing else ''}"


def name_of(value: Any) -> str:
    """Name a JSON value as JSON does."""
    names = {type(None): "null", bool: "a boolean", str: "text", list: "a list", dict: "a record"}
    return names.get(type(value), "a number")


def count_of(columns: Sequence[Column]) -> str:
    """Say how many values a row has, in the words that errors use."""
    numbers = all(column.kind in (Kind.NUMBER, Kind.INTEGER) for column in columns)
    return f"{len(columns)} {'numbers' if numbers else 'values'}"


def breaking_change(old: Sequence[Column], new: Sequence[Column]) -> str | None:
    """Say why rows that the old columns take may be refused by the new ones; None where they are not."""
    was = {column.name: column for column in old}
    names = [column.name for column in new]
    changes = [] if names == list(was) else ["it " + differing(names, list(was), ("column", "columns"))]
    changes += filter(None, (_narrower(was[column.name], column) for column in new if column.name in was))
    rest = f" … ({len(changes)})" if len(changes) > MOST_CHANGES else ""
    return ", ".join(changes[:MOST_CHANGES]) + rest or None


def _narrower(old: Column, new: Column) -> str | None:
    if old.kind is not new.kind and not (old.kind is Kind.INTEGER and new.kind is Kind.NUMBER):
        return f"its {quoted(new.name)} is {new.kind} and was {old.kind}"
    if new.kind is Kind.INTEGER and new.limit < old.limit:
        return f"its {quoted(new.name)} is a whole number up to {new.limit} and was one up to {old.limit}"
    if old.missing and not new.missing:
        return f"its {quoted(new.name)} takes no missing values any more"
    return None
