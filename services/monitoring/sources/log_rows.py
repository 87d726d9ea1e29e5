"""The rows of a version's predictions in a time, out of the prediction log: columns as arrays, and labels where they came."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from inference.errors import StoreUnusable
from inference.prediction_log.store import Store
from inference.prediction_log.table import PREFIX
from inference.prediction_log.views import asked
from monitoring.errors import NothingKept
from monitoring.sources.reference import CONFIDENCE, PREDICTION, TEXT, Reference
from monitoring.statistics.drift import middle

EARLIEST = datetime.min.replace(tzinfo=UTC)
# Of more, an even share is read.
MOST_ROWS, MOST_CELLS = 100_000, 10_000_000
WHICH = "version = ? and time >= ? and time < ? and date between ? and ?"
COUNTS = "select count(*) filter (version = ?), count(*) from predictions where time >= ? and time < ? and date between ? and ?"


@dataclass(frozen=True)
class Rows:
    """Rows in the order of their time. Numbers and dates are 64-bit floats, NaN where one is missing; texts objects, None likewise."""

    count: int
    """how many there are, of which so many may be read here: len()"""
    others: int
    """how many there are of other versions"""
    times: np.ndarray
    """microseconds since 1970, shape (rows,)"""
    requests: np.ndarray
    """which request each is of"""
    columns: dict[str, np.ndarray]
    """by the names of the reference, those that are kept; prediction and confidence among them"""
    probabilities: np.ndarray | None
    """shape (rows, classes), NaN where a request asked for none"""
    labels: np.ndarray
    """as the predictions; None or NaN where none came"""

    def __len__(self) -> int:
        return len(self.times)

    @property
    def cut(self) -> int:
        """Where the newer window begins."""
        return middle(self.times)


def read(store: Store, model: str, version: str, time: tuple[datetime, datetime], reference: Reference) -> Rows:
    """Return the rows from the first to before the second time; raise NothingKept.

    As much time before it is asked for ids alone: a label belongs to the first prediction of an id that is used twice.
    """
    days = [f"{moment.astimezone(UTC):%Y-%m-%d}" for moment in time]
    before = time[0] - min(time[1] - time[0], time[0] - EARLIEST)
    try:
        found, names, counted = asked(
            store, model, partial(_found, [version, *time, *days], reference), (before, time[1])
        )
    except (StoreUnusable, duckdb.Error, pa.ArrowException, OSError) as error:
        raise NothingKept(str(error)) from error
    return _rows(found, names, (counted[0], counted[1] - counted[0]), reference)


def _found(
    chosen: list[Any], reference: Reference, connection: duckdb.DuckDBPyConnection
) -> tuple[pa.Table, list[str], tuple[int, int]]:
    """Return the rows that WHICH is true of with these parameters, the columns that they have, and how many rows there are in all."""
    there = set(connection.table("predictions").columns)
    names = [column.name for column in reference.columns if f"{PREFIX}{column.name}" in there]
    counted = connection.execute(COUNTS, chosen).fetchall()[0]
    share = max(1, -(-counted[0] // min(MOST_ROWS, MOST_CELLS // (len(names) + 1))))
    sql = _query([f"{PREFIX}{name}" for name in names], share)
    return connection.sql(sql, params=chosen).to_arrow_table(), names, counted


def _query(inputs: Sequence[str], share: int) -> str:
    columns = "".join(f', {_quoted(name)} as "i{n}"' for n, name in enumerate(inputs))
    return (
        f"with chosen as (select request_id, row, time, prediction, probabilities{columns} from predictions "  # noqa: S608 - names are quoted
        f"where {WHICH} and hash(request_id, row) % {share} = 0) "
        "select chosen.*, epoch_us(chosen.time) as us, labelled.label from chosen left join labelled using (request_id, row, time) "
        "order by us, request_id, row"
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _rows(found: pa.Table, names: Sequence[str], counts: tuple[int, int], reference: Reference) -> Rows:
    kinds = {column.name: column.kind for column in reference.columns}
    columns = {name: _values(found[f"i{n}"], kinds[name]) for n, name in enumerate(names)}
    answers, labels = (_values(found[name], reference.prediction.kind) for name in ("prediction", "label"))
    columns[PREDICTION] = answers
    probabilities = _probabilities(found["probabilities"], len(reference.classes))
    if probabilities is not None and reference.has_order:
        position = {label: j for j, label in enumerate(reference.classes)}
        at = np.array([position.get(label, -1) for label in answers], int)
        picked = probabilities[np.arange(len(at)), at]
        columns[CONFIDENCE] = np.where(at >= 0, picked, np.nan)
    requests = found["request_id"].combine_chunks().dictionary_encode()
    return Rows(
        count=counts[0],
        others=counts[1],
        times=found["us"].to_numpy(),
        requests=requests.indices.to_numpy() if isinstance(requests, pa.DictionaryArray) else np.empty(0, int),
        columns=columns,
        probabilities=probabilities,
        labels=labels,
    )


def _values(column: pa.ChunkedArray, kind: str) -> np.ndarray:
    """Return a column as what the reference has it for: a number that is kept as text is one all the same, where it can be read."""
    if kind == TEXT:
        return _texts(column)
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us")).cast(pa.int64())
    elif pa.types.is_string(column.type):
        column = pa.chunked_array([pa.array([_number(text) for text in column.to_pylist()], pa.float64())])
    elif not (
        pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_boolean(column.type)
    ):
        return np.full(len(column), np.nan)
    values = column.cast(pa.float64(), safe=False)
    filled: np.ndarray = pc.fill_null(values, np.nan).to_numpy()
    return filled


def _texts(column: pa.ChunkedArray) -> np.ndarray:
    """Return values as the profile writes them, which is as Python does."""
    if pa.types.is_nested(column.type):
        return np.full(len(column), None, object)
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    names = np.array([*map(str, encoded.dictionary.to_pylist()), None], object)
    found: np.ndarray = names[pc.fill_null(encoded.indices.cast(pa.int64()), len(names) - 1).to_numpy()]
    return found


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _probabilities(column: pa.ChunkedArray, classes: int) -> np.ndarray | None:
    """Return lists of as many probabilities as there are classes, NaN in the place of others; None where there are none at all."""
    if not classes or column.null_count == len(column):
        return None
    found = np.full((len(column), classes), np.nan)
    lists = column.combine_chunks()
    fits = pc.fill_null(pc.equal(pc.list_value_length(lists), classes), False)
    kept = lists.filter(fits)
    found[fits.to_numpy(zero_copy_only=False)] = kept.flatten().to_numpy(zero_copy_only=False).reshape(-1, classes)
    return found
