"""What is kept of a prediction: its rows as the service read them, and the answer, packed into bytes and taken apart again."""

import struct
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import orjson
from contract.schema import Kind

if TYPE_CHECKING:  # whoever reads records has nothing that predicts
    from inference.model.deployment import Deployment
    from inference.model.model import Prediction
    from inference.model.observation import Observation

# Bytes of all, time in ns since 1970, seconds that it took, rows, bytes of the name, the forms of values and labels, and the bytes of
# both; after it the name, which is the request's id and, of a client that sent X-Split-Key, 0 and what stands for it, the values, the labels and, to the end, the probabilities as 64-bit floats.
HEAD = struct.Struct("<IQfIHBBII")
# The forms of values: one matrix of 64-bit floats; JSON with a list for each column; or, of many rows, each column by itself, its form as
# that of labels and its bytes before it: to write so many numbers as JSON takes twenty times as long as to copy them.
MATRIX, LISTS, COLUMNS = 0, 1, 2
MANY_ROWS, COLUMN = 64, struct.Struct("<BI")
# The forms of labels: none, JSON, or an array of one of NumPy's types.
NONE, JSON = 0, 1
# Bytes of an array that are copied rather than pointed at.
SMALL_BYTES, _HEAD_BYTES = 1024, HEAD.size
_CLIENT = b"\0"
_CODES = {"l": 2, "q": 2, "d": 3, "?": 4}
_DTYPES = {2: "<i8", 3: "<f8", 4: "?"}


Packed = tuple[int, tuple[bytes | memoryview, ...]]
"""a record: its size in bytes, and the parts that it consists of"""


class Field(NamedTuple):
    """A column that is kept."""

    name: str
    kind: Kind


class Version(msgspec.Struct):
    """Which version answered, and what its predictions consist of."""

    model: str
    version: str
    columns: list[Field]
    """those of the model that are kept, in the order of the values"""
    classes: list[Any] | None
    """the labels in the order of the probabilities"""

    @classmethod
    def of(cls, deployment: "Deployment", omit: frozenset[str]) -> "Version":
        columns = [Field(c.name, c.kind) for c in deployment.model.description.columns if c.name not in omit]
        classes = deployment.model.classes
        plain = None if classes is None else np.asarray(classes).tolist()
        return cls(*deployment.labels, columns, plain)


class Shadowed(msgspec.Struct):
    """Whom the challenger's answers in a segment stand beside, and what they consist of."""

    model: str
    version: str
    """the challenger"""
    production: str
    """the version that answered"""
    classes: list[Any] | None
    """the labels in the order of the probabilities"""


class Record(NamedTuple):
    """A prediction that was kept."""

    time_ns: int
    seconds: float
    request_id: str
    rows: int
    values: np.ndarray | list[list[Any]]
    """a matrix of shape (rows, columns), or a list for each column"""
    labels: np.ndarray | list[Any] | None
    """shape (rows,), or (rows, values of a prediction)"""
    probabilities: np.ndarray | None
    """shape (rows, classes)"""
    client: str | None = None
    """as an observation has it, in hexadecimal"""


def packed(seen: "Observation", kept: Sequence[int] | None, now_ns: int) -> Packed:
    """Return a prediction in parts, of its columns those at the positions `kept`, None for all, as answered at that time."""
    rows, (labels, probabilities, _) = seen.rows, seen.prediction
    nothing: bytes | memoryview = b""
    if (matrix := rows.matrix) is not None:
        count, form, values = len(matrix), MATRIX, _content(matrix if kept is None else matrix[:, kept])
    else:
        count, arrays = len(rows), rows.by_column if kept is None else [rows.by_column[j] for j in kept]
        if count < MANY_ROWS:
            form, values = LISTS, orjson.dumps([array.tolist() for array in arrays])
        else:
            form, values = COLUMNS, _columns(arrays)
    code, said = (NONE, nothing) if labels is None else _coded(labels)
    shares = nothing if probabilities is None else _content(probabilities.astype("<f8", copy=False))
    name = seen.request_id.encode()
    if seen.client is not None:
        name += _CLIENT + seen.client
    size = _HEAD_BYTES + len(name) + len(values) + len(said) + len(shares)
    head = HEAD.pack(size, now_ns, seen.seconds, count, len(name), form, code, len(values), len(said))
    return size, (head, name, values, said, shares)


def _coded(array: np.ndarray) -> tuple[int, bytes | memoryview]:
    """Return the form of an array, and what it consists of."""
    if code := _CODES.get(array.dtype.char, 0):
        return code, _content(array)
    return JSON, orjson.dumps(array.tolist())


def _columns(arrays: Sequence[np.ndarray]) -> bytes:
    parts: list[bytes | memoryview] = []
    for array in arrays:
        code, content = _coded(array)
        parts += (COLUMN.pack(code, len(content)), content)
    return b"".join(parts)


def _content(array: np.ndarray) -> bytes | memoryview:
    """Return an array's bytes; of a large one they are not copied, and it must stay as it is until they are written."""
    return array.tobytes() if array.nbytes <= SMALL_BYTES else np.ascontiguousarray(array).data.cast("B")


def packed_labels(request_ids: list[str], rows: list[int], labels: list[Any], trusted: bool) -> Packed:
    """Return labels that came together, one for each id and row; `unpacked` has them as the record's values."""
    values = orjson.dumps([request_ids, rows, labels, [trusted] * len(rows)])
    size = HEAD.size + len(values)
    return size, (HEAD.pack(size, time.time_ns(), 0, len(rows), 0, LISTS, NONE, len(values), 0), values)


def packed_shadow(
    asked: Record, seconds: float, production_seconds: float | None, answer: "Prediction | None"
) -> bytes:
    """Return what a challenger answered to the rows of a prediction, None where it failed.

    `unpacked` has Production's seconds as the record's values.
    """
    name, values = asked.request_id.encode(), orjson.dumps([production_seconds])
    labels, probabilities = (None, None) if answer is None else (answer.labels, answer.probabilities)
    code, said = (NONE, b"") if labels is None else _coded(labels)
    shares = b"" if probabilities is None else probabilities.astype("<f8").tobytes()
    size = HEAD.size + len(name) + len(values) + len(said) + len(shares)
    head = HEAD.pack(size, asked.time_ns, seconds, asked.rows, len(name), LISTS, code, len(values), len(said))
    return b"".join((head, name, values, said, shares))


def time_ns_of(record: bytes) -> int:
    """Return when a packed prediction was answered."""
    found: int = HEAD.unpack_from(record)[1]
    return found


def rows_of(record: bytes) -> int:
    """Return how many rows a packed prediction has."""
    found: int = HEAD.unpack_from(record)[3]
    return found


def unpacked(record: bytes) -> Record:
    """Return what was packed."""
    _, time_ns, seconds, rows, name, form, code, values, labels = HEAD.unpack_from(record)
    at = HEAD.size + name
    parts = record[at : at + values], record[at + values : at + values + labels], record[at + values + labels :]
    request_id, mark, client = record[HEAD.size : at].partition(_CLIENT)
    return Record(
        time_ns,
        seconds,
        request_id.decode(),
        rows,
        _values(form, parts[0], rows),
        _labels(code, parts[1], rows),
        np.frombuffer(parts[2], "<f8").reshape(rows, -1) if parts[2] else None,
        client.hex() if mark else None,
    )


def labels_of(version: Version | Shadowed, record: Record) -> np.ndarray | list[Any]:
    """Return what was predicted of each row, as labels also where probabilities alone were asked for; None where a challenger failed."""
    if record.labels is not None:
        return record.labels
    if isinstance(version, Shadowed):
        return [None] * record.rows
    assert record.probabilities is not None  # noqa: S101 - the one or the other was asked for
    assert version.classes is not None  # noqa: S101 - there are, where there are probabilities
    return [version.classes[j] for j in record.probabilities.argmax(axis=1)]


def _values(form: int, content: bytes, rows: int) -> np.ndarray | list[Any]:
    if form == MATRIX:
        return np.frombuffer(content, "<f8").reshape(rows, -1)
    if form == LISTS:
        lists: list[Any] = orjson.loads(content)
        return lists
    found: list[Any] = []
    at = 0
    while at < len(content):
        code, size = COLUMN.unpack_from(content, at)
        at += COLUMN.size + size
        column = _labels(code, content[at - size : at], rows)
        found.append(column.tolist() if isinstance(column, np.ndarray) else column)
    return found


def _labels(code: int, content: bytes, rows: int) -> np.ndarray | list[Any] | None:
    if code == NONE:
        return None
    if code == JSON:
        found: list[Any] = orjson.loads(content)
        return found
    array = np.frombuffer(content, _DTYPES[code])
    return array if len(array) == rows else array.reshape(rows, -1)
