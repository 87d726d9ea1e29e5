"""Labels as clients send them: POST /labels {"labels": [{"request_id", "row", "label"}, …]}, each held against the model's answers."""

import math
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from contract.display import quoted

from inference.errors import InvalidInput, RequestEntityTooLarge, UnsupportedMediaType
from inference.model.model import Model

JSON = "application/json"
# Of one request; each label becomes some objects.
MOST_BYTES = 2 * 1024 * 1024
# Classes that an error lists.
MOST_LISTED = 10


class Label(msgspec.Struct, forbid_unknown_fields=True):
    """What the right answer to a row would have been."""

    request_id: Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,128}\Z")]
    label: bool | int | float | str | list[float]
    row: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 0


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """A request."""

    labels: Annotated[list[Label], msgspec.Meta(min_length=1)]


class Labels(NamedTuple):
    """Labels in columns, one for each row of a request: of several for one, the last."""

    request_ids: list[str]
    rows: list[int]
    values: list[Any]
    """as the model would have answered"""
    repeated: int
    """how many there were of rows that had one already"""


def decode(body: bytes, content_type: str, model: Model) -> Labels:
    """Read a request; raise RequestError that points at what is wrong with it."""
    if content_type.partition(";")[0].strip().lower() != JSON:  # a web page may send others unasked
        raise UnsupportedMediaType(
            f"labels are declared as {quoted(content_type)}; send them with Content-Type: {JSON}"
        )
    if len(body) > MOST_BYTES:
        raise RequestEntityTooLarge(f"the body is over the limit of {MOST_BYTES} bytes; send fewer labels at a time")
    try:
        came = msgspec.json.decode(body, type=Body).labels
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        said, _, place = str(error).partition(" - at `$")
        where = place.strip("`.") or None
        raise InvalidInput(f"{where or 'the body'}: {said}; expected {{'labels': [{{request_id, row, label}}, …]}}", where) from None  # fmt: skip
    found: dict[tuple[str, int], Any] = {}
    understood = _reader(model)
    for i, one in enumerate(came):
        try:
            found[one.request_id, one.row] = understood(one.label)
        except ValueError as error:
            place = f"labels[{i}].label"
            raise InvalidInput(f"{place} is {quoted(one.label)}; expected {error}", place) from None
    ids, rows = zip(*found, strict=True)
    return Labels(list(ids), list(rows), list(found.values()), len(came) - len(found))


def _reader(model: Model) -> Callable[[Any], Any]:
    """Return what makes of a label what the model would have answered; it raises ValueError that says what it expects."""
    known, described = _classes(model), model.description
    if known is not None:
        return _of_classes(known, described.class_names)
    if described.width > 1:
        return _of_values(described.width)
    if described.output not in READERS:
        raise InvalidInput("the model does not say what its predictions are, so that labels could be held against it")
    return READERS[described.output]


def _classes(model: Model) -> list[Any] | None:
    """Return a classifier's labels, None where the model is none."""
    if (classes := model.classes) is not None:
        plain: list[Any] = np.asarray(classes).tolist()
        return plain
    names = model.description.class_names
    return None if names is None else list(range(len(names)))


def _of_classes(classes: list[Any], names: tuple[str, ...] | None) -> Callable[[Any], Any]:
    # True is 1 to Python, and no class of such a model's.
    known = {(type(label) is bool, label): label for label in classes}
    told = list(map(repr, classes[:MOST_LISTED]))
    if names is not None:
        for label in classes:
            known.setdefault((False, names[int(label)]), label)
        told = [f"{label!r} ({names[int(label)]})" for label in classes[:MOST_LISTED]]
    expected = f"a class: {', '.join(told)}{', …' if len(classes) > MOST_LISTED else ''}"

    def understood(label: Any) -> Any:
        try:
            return known[type(label) is bool, label]
        except (KeyError, TypeError):
            raise ValueError(expected) from None

    return understood


def _number(label: Any) -> float:
    if type(label) in (int, float) and abs(label) < math.inf:
        try:
            return float(label)
        except OverflowError:
            pass
    raise ValueError("a number")


def _whole(label: Any) -> int:
    if type(label) in (int, float) and label == label // 1 and abs(label) < 2**63:
        return int(label)
    raise ValueError("a whole number")


def _boolean(label: Any) -> bool:
    if type(label) is bool:
        return label
    raise ValueError("true or false")


def _text(label: Any) -> str:
    if type(label) is str:
        return label
    raise ValueError("text")


# By what a prediction is, as a type of MLflow's signatures.
READERS: dict[str, Callable[[Any], Any]] = {
    "double": _number,
    "float": _number,
    "long": _whole,
    "integer": _whole,
    "boolean": _boolean,
    "string": _text,
}


def _of_values(width: int) -> Callable[[Any], Any]:
    def understood(label: Any) -> list[float]:
        if type(label) is list and len(label) == width:
            return [_number(value) for value in label]
        raise ValueError(f"{width} numbers")

    return understood
