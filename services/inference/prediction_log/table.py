"""From records to a table as docs/prediction-log.md describes it: one row for each row that was asked."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from contract.schema import Kind

from inference.prediction_log.record import Field, Record, Shadowed, Version, labels_of

TYPES = {
    Kind.NUMBER: pa.float64(),
    Kind.INTEGER: pa.int64(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.TEXT: pa.string(),
    Kind.DATE: pa.timestamp("us"),
}
LARGEST_INTEGER = 2**63 - 1
# What a column of the model's is called: it is never taken for one of the log's own.
PREFIX = "input_"


def table(version: Version, records: Sequence[Record]) -> pa.Table:
    """Return the rows of predictions that one version made."""
    counts = np.array([record.rows for record in records])
    whose = np.repeat(np.arange(len(records)), counts)
    firsts = np.repeat(np.cumsum(counts) - counts, counts)
    times = np.array([record.time_ns // 1000 for record in records])
    columns = {
        "request_id": _texts([record.request_id for record in records], whose),
        "row": pa.array((np.arange(len(whose)) - firsts).astype(np.int32)),
        "time": pa.array(times[whose], pa.timestamp("us", "UTC")),
        "version": pa.array([version.version] * len(whose), pa.string()),
        "milliseconds": pa.array(np.array([record.seconds * 1000 for record in records], np.float32)[whose]),
        "prediction": _predictions(version, records),
        "probabilities": _probabilities(records),
        "client": _texts([record.client for record in records], whose),
    }
    values = _values(version.columns, records)
    inputs = {f"{PREFIX}{field.name}": column for field, column in zip(version.columns, values, strict=True)}
    return pa.table(columns | inputs)


def _texts(values: Sequence[str | None], whose: np.ndarray) -> pa.Array:
    return pa.array(values, pa.string()).take(pa.array(whose))


def label_table(records: Sequence[Record]) -> pa.Table:
    """Return labels that came."""
    request_ids, rows, labels, trusted = ([value for record in records for value in record.values[j]] for j in range(4))
    times = np.repeat([record.time_ns // 1000 for record in records], [record.rows for record in records])
    return pa.table(
        {
            "request_id": pa.array(request_ids, pa.string()),
            "row": pa.array(rows, pa.int32()),
            "label": pa.array(labels),
            "time": pa.array(times, pa.timestamp("us", "UTC")),
            "trusted": pa.array(trusted, pa.bool_()),
        }
    )


def shadow_table(between: Shadowed, records: Sequence[Record]) -> pa.Table:
    """Return what a challenger answered to the rows of predictions, each of which one record has; no prediction where it failed."""
    rows = [(record, row) for record in records for row in range(record.rows)]
    took = [None if record.labels is None else record.seconds for record, _ in rows]
    known = [record.values[0] for record, _ in rows]
    predictions = _predictions(between, records)
    if (
        pa.types.is_null(predictions.type) and between.classes
    ):  # it failed on all of them: still a column of its classes
        predictions = predictions.cast(pa.array(between.classes).type)
    return pa.table(
        {
            "request_id": pa.array([record.request_id for record, _ in rows], pa.string()),
            "row": pa.array([row for _, row in rows], pa.int32()),
            "time": pa.array([record.time_ns // 1000 for record, _ in rows], pa.timestamp("us", "UTC")),
            "version": pa.array([between.version] * len(rows), pa.string()),
            "production_version": pa.array([between.production] * len(rows), pa.string()),
            "prediction": predictions,
            "probabilities": _probabilities(records),
            "milliseconds": pa.array([None if s is None else s * 1000 for s in took], pa.float32()),
            "production_milliseconds": pa.array([None if s is None else s * 1000 for s in known], pa.float32()),
        }
    )


def conflicting(schemas: Iterable[pa.Schema]) -> list[str]:
    """Return the names of columns whose types have nothing in common but that they can be written as text."""
    types: dict[str, set[pa.DataType]] = {}
    for field in (field for schema in schemas for field in schema):
        types.setdefault(field.name, set()).add(field.type)
    return [name for name, found in types.items() if not _have_common(found)]


def _have_common(types: Iterable[pa.DataType]) -> bool:
    try:
        pa.unify_schemas([pa.schema([("", kind)]) for kind in types], promote_options="permissive")
    except pa.ArrowException:
        return False
    return True


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Return the rows of all tables, as text what is one thing here and another there."""
    if len(tables) > 1:
        texts = conflicting(each.schema for each in tables)
        tables = [_with_texts(each, texts) for each in tables]
    return pa.concat_tables(tables, promote_options="permissive")


def _with_texts(content: pa.Table, names: Sequence[str]) -> pa.Table:
    for name in names:
        at = content.schema.get_field_index(name)
        texts = [None if value is None else str(value) for value in content[name].to_pylist()]
        content = content.set_column(at, name, pa.array(texts, pa.string()))
    return content


def _values(fields: Sequence[Field], records: Sequence[Record]) -> list[pa.Array]:
    if all(isinstance(record.values, np.ndarray) for record in records):
        matrix = np.concatenate([record.values for record in records])
        return [_numbers(field.kind, matrix[:, j]) for j, field in enumerate(fields)]
    lists = [values.T.tolist() if isinstance(values := record.values, np.ndarray) else values for record in records]
    return [_column(field.kind, [value for each in lists for value in each[j]]) for j, field in enumerate(fields)]


def _numbers(kind: Kind, values: np.ndarray) -> pa.Array:
    """Return 64-bit floats, NaN where one is missing, as what their column is."""
    missing = np.isnan(values)
    if kind is Kind.NUMBER:
        return pa.array(values, mask=missing)
    plain = np.where(missing, 0, values)
    return pa.array(plain.astype(bool if kind is Kind.BOOLEAN else np.int64), TYPES[kind], mask=missing)


def _column(kind: Kind, values: list[Any]) -> pa.Array:
    """Return JSON's values, null or NaN where one is missing, as what their column is."""
    if kind is Kind.TEXT:
        return pa.array(values, pa.string())
    make = {Kind.NUMBER: float, Kind.BOOLEAN: bool}.get(kind, _whole)
    return pa.array([None if value is None or value != value else make(value) for value in values], TYPES[kind])


def _whole(value: float) -> int:
    """Return a whole number; beside a missing one it is a float, and the largest of those is one more than an int64 holds."""
    return min(int(value), LARGEST_INTEGER)


def _predictions(version: Version | Shadowed, records: Sequence[Record]) -> pa.Array:
    """Return the predictions, as labels also where a request asked for names and probabilities alone."""
    found = [labels_of(version, record) for record in records]
    kinds = {(labels.dtype, labels.ndim) if isinstance(labels, np.ndarray) else None for labels in found}
    if len(kinds) == 1 and found and isinstance(found[0], np.ndarray) and found[0].ndim == 1:
        return pa.array(np.concatenate(found))
    return pa.array([label for labels in found for label in (labels if isinstance(labels, list) else labels.tolist())])


def _probabilities(records: Sequence[Record]) -> pa.Array:
    shares: list[Any] = []
    for record in records:
        shares += [None] * record.rows if record.probabilities is None else record.probabilities.tolist()
    return pa.array(shares, pa.list_(pa.float64()))
