"""MLflow's scoring protocol: from the body of POST /invocations to rows.

{"instances": …}, {"inputs": …}, {"dataframe_split": …} and {"dataframe_records": …} in JSON, or text/csv with a header.
docs/serving.md lists where this accepts or refuses otherwise than `mlflow models serve`, and why.
"""

import csv
import gc
import io
import json
import re
import threading
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from operator import itemgetter
from typing import Any

import numpy as np
import simdjson
from contract.display import quoted
from contract.missing import MISSING_WORDS, stands_for_none
from contract.mlmodel.manifest import Description
from contract.schema import LARGEST, Column, Kind, count_of, name_of

from inference.errors import InvalidInput, RequestEntityTooLarge, RequestError, UnsupportedMediaType
from inference.protocols import request_budget
from inference.protocols.request_budget import Budget
from inference.rows import BLOCK, Place, Rows, Values, from_blocks, from_cells, from_columns

FORMATS = ("instances", "inputs", "dataframe_split", "dataframe_records")
# All that numbers between brackets are written with, so that what is left of a body is its skeleton.
DIGITS = b"0123456789.eE+- \n\r\t"
# What rows of numbers come after, and what is left of it then.
FIRST_NAME = re.compile(rb'[ \n\r\t]*\{[ \n\r\t]*"(instances|inputs)"')
SKELETONS = {b"instances": b'{"instancs":[', b"inputs": b'{"inputs":['}
# How much is parsed at once: a parser keeps ten times as much.
PARSER_BYTES = 256 * 1024
JSON, CSV = "application/json", "text/csv"
# As MLflow and as others call it: docs/decisions/parquet-and-grpc.md says why it is not read.
PARQUET = ("application/vnd.apache.parquet", "application/x-parquet", "application/parquet")
# Characters of CSV that become numbers at a time: others have their turn meanwhile.
CSV_PIECE = 128 * 1024
# How deep what a request tells a model's own code may be nested.
MOST_NESTED = 20
# How CSV writes booleans.
TRUTH = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}

_kept = threading.local()


def rows_of(body: bytes, content_type: str, model: Description, is_waited_for: bool = False) -> Rows:
    """Return the rows of a request; raise InvalidInput that points at what is wrong, UnsupportedMediaType, or RequestEntityTooLarge.

    Raises TakesLong where others wait for it and would wait long.
    """
    try:
        is_csv = content_type != JSON and _media_type(content_type) == CSV
        if not is_csv and (found := _matrix(body, model)) is not None:
            return found
        budget = Budget(len(body), is_waited_for)
        if is_csv:
            request_budget.check_text(len(body), budget, request_budget.QUICK_CSV)
            return _from_csv(body, model, budget)
        request_budget.check_text(len(body), budget)
        payload = parsed(body)
        rows = from_payload(payload, model, budget)
        return replace(rows, params=_params(payload, model)) if model.params else rows
    except RequestError as error:
        raise error.alone() from None


def _params(payload: dict[str, Any], model: Description) -> dict[str, Any] | None:
    """Return what a request tells a model's own code; what of it the model does not take is overlooked, as MLflow does it."""
    found = payload.get("params")
    if not isinstance(found, dict | None):
        raise InvalidInput(f"'params' is {name_of(found)}; expected a record", "params")
    if found is None:
        return None
    taken = {name: found[name] for name in model.params if name in found}
    level, depth = list(taken.values()), 0
    while level := [part for value in level if isinstance(value, list | dict) for part in _parts(value)]:
        if (depth := depth + 1) > MOST_NESTED:  # it goes on to another process, which takes no value of any depth
            raise InvalidInput(f"'params' is nested more than {MOST_NESTED} deep", "params")
    return taken


def _parts(value: list[Any] | dict[str, Any]) -> Collection[Any]:
    return value.values() if isinstance(value, dict) else value


def _media_type(content_type: str) -> str:
    kind, *parameters = (part.strip() for part in content_type.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() != "charset" or value.strip().strip('"').lower() not in ("utf-8", "utf8"):
            raise UnsupportedMediaType(
                f"the content type has the parameter {quoted(parameter)}; expected none but charset=utf-8"
            )
    if kind.lower() in PARQUET:
        raise UnsupportedMediaType(
            f"Parquet is not read here; send its rows as CSV, as pandas.read_parquet(…).to_csv(index=False) writes it, with "
            f"Content-Type: {CSV} (and Content-Encoding: gzip where that is compressed)"
        )
    if kind.lower() not in (JSON, CSV):
        what = f"as {kind:.100}" if kind else "as nothing"
        raise UnsupportedMediaType(f"the body is declared {what}; send it with Content-Type: {JSON}, or {CSV}")
    return kind.lower()


# --- numbers alone -------------------------------------------------------------------------------------------------


def _matrix(body: bytes, model: Description) -> Rows | None:
    """Return the rows of {"instances": [[numbers], …]}, or "inputs", in one step from text to matrix; None where it is anything else.

    No value becomes a Python object: the body without its digits must be the skeleton of so many rows of so many values,
    which leaves nothing but numbers in it, and simdjson reads these straight into a buffer.
    """
    name = b"instances" if body.startswith(b'{"instances"') else _first_name(body)
    if not name or any(column.kind is not Kind.NUMBER for column in model.columns):
        return None
    skeleton = body.translate(None, DIGITS)
    width = len(model.columns)
    row, head = b"[" + b"," * (width - 1) + b"]", SKELETONS[name]
    count, rest = divmod(len(skeleton) - len(head) - len(b"]}") + 1, width + 2)
    if rest or count < 1 or skeleton != head + (row + b",") * (count - 1) + row + b"]}":
        return None
    try:
        if len(body) <= PARSER_BYTES:
            matrix = _numbers_of(_parser().parse(body)[name.decode()])
        else:
            matrix = _by_pieces(body, b'{"' + name + b'":[', count * width)
    except (ValueError, TypeError, RuntimeError):
        return None
    if len(matrix) != count * width or not np.abs(matrix).max() <= LARGEST:
        return None
    return Rows(matrix.reshape(count, width), None)


def _first_name(body: bytes) -> bytes | None:
    """Return the first name of a record where rows of numbers may follow it."""
    match = FIRST_NAME.match(body)
    return match[1] if match else None


def _numbers_of(rows: Any) -> np.ndarray:
    """Return all numbers below a list of simdjson's as a copy, flat."""
    return np.frombuffer(rows.as_buffer(of_type="d"), dtype=np.float64)


def _by_pieces(body: bytes, head: bytes, most: int) -> np.ndarray:
    """Return up to `most` numbers of a body with the right skeleton; raise ValueError where it is no JSON.

    The parser takes twenty times what it reads, and nobody else has a turn meanwhile: so some rows at a time. What is around
    them may have nothing in it but blanks, which the skeleton does not tell.
    """
    matrix, count = np.empty(most), 0
    start = body.index(b"[", body.index(b"[") + 1)
    _expect(head, b"".join(body[:start].split()))
    while True:
        end = body.find(b"]", start + PARSER_BYTES)
        end = body.rindex(b"]", start, body.rindex(b"]")) if end < 0 or body.find(b"[", end) < 0 else end
        found = _numbers_of(_parser().parse(b"[" + body[start : end + 1] + b"]"))
        matrix[count : count + len(found)] = found
        count += len(found)
        if (start := body.find(b"[", end)) < 0:
            _expect(b"]}", b"".join(body[end + 1 :].split()))
            return matrix[:count]
        _expect(b",", body[end + 1 : start].strip())


def _expect(expected: bytes, found: bytes) -> None:
    if found != expected:
        raise ValueError(f"{found[:20]!r} instead of {expected!r}")


def _parser() -> Any:
    """Return a parser of this thread, whose memory is there already: to find it anew can take as long as to parse.

    It refuses to be used while anything of its last document lives; the numbers, which are a copy, do not count.
    """
    if not hasattr(_kept, "parser"):
        _kept.parser = simdjson.Parser()
    return _kept.parser


# --- JSON ----------------------------------------------------------------------------------------------------------


def parsed(body: bytes) -> Any:
    """Return the JSON value of a body; raise InvalidInput, or RequestEntityTooLarge where it would take too much memory."""
    request_budget.check_parts(body)
    try:
        return json.loads(body) if len(body) <= request_budget.SMALL_BYTES else _parsed_aside(body)
    except RecursionError:
        raise InvalidInput("the body is nested too deep") from None
    except ValueError as error:
        raise InvalidInput(f"the body is not JSON: {error}") from error


def _parsed_aside(body: bytes) -> Any:
    """Return the JSON value of a large body, letting others have their turn meanwhile.

    The parser keeps the interpreter to itself from the first byte to the last, but for what is called in Python: so each number
    and each record is. It makes nothing that refers back to itself, and looking for that again and again takes longer than to
    parse.
    """
    text = body.decode(json.detect_encoding(body), "surrogatepass")
    request_budget.check_records(text)
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return json.loads(text, parse_int=_whole, parse_float=_real, object_hook=_same)
    finally:
        if was_enabled:
            gc.enable()


def _whole(text: str) -> int:
    return int(text)


def _real(text: str) -> float:
    return float(text)


def _same(record: dict[str, Any]) -> dict[str, Any]:
    return record


def from_payload(payload: Any, model: Description, budget: Budget = request_budget.OUR_OWN) -> Rows:
    """Return the rows of a request's JSON value; raise InvalidInput, RequestEntityTooLarge or TakesLong."""
    example = f'expected {{"instances": [[{count_of(model.columns)}], …]}}'
    if not isinstance(payload, dict):
        raise InvalidInput(f"the body is {name_of(payload)}; {example}")
    found = [name for name in FORMATS if name in payload]
    if len(found) != 1:
        what = f"has {' and '.join(map(repr, found))}" if found else f"has none of {', '.join(map(repr, FORMATS))}"
        raise InvalidInput(f"the body {what}; {example}")
    (name,) = found
    return READERS[name](payload[name], name, model, budget)


def _from_list_or_record(content: Any, name: str, model: Description, budget: Budget) -> Rows:
    """Read `instances` and `inputs`: lists of values, records, or one list per column."""
    if isinstance(content, dict) and model.is_named:
        return _from_lists_by_column(content, name, model, budget)
    if not isinstance(content, list) or not content:
        found = "empty" if content == [] else name_of(content)
        raise InvalidInput(f"{name!r} is {found}; expected a list with a list or a record per row", name)
    if model.is_named and isinstance(content[0], dict):
        return _from_records(content, name, model, budget)
    request_budget.check_cells(len(content), model.columns, budget)
    if model.is_named and len(model.columns) == 1 and not isinstance(content[0], list):
        return from_columns([content], model.columns, lambda i, _: f"{name}[{i}]", len(content))
    if model.shape is not None and not is_flat(content[0], model):
        flat = [values_of(row, model.shape, f"{name}[{i}]") for i, row in enumerate(content)]
        return from_cells(flat, model.columns, lambda i, j: f"{name}[{i}]{_place(j, model)}")
    _check_lists(content, name, model)
    return from_cells(content, model.columns, lambda i, j: f"{name}[{i}][{j}]")


def is_flat(row: Any, model: Description) -> bool:
    """Tell whether an array's row comes as one list of its values."""
    return (
        isinstance(row, list) and len(row) == len(model.columns) and not any(isinstance(value, list) for value in row)
    )


def _place(j: int, model: Description) -> str:
    """Return where in an array's row its `j`-th value stands."""
    return "".join(f"[{position}]" for position in np.unravel_index(j, model.shape or (len(model.columns),)))


def values_of(row: Any, shape: tuple[int, ...], where: str) -> list[Any]:
    """Return the values of an array's row one after the other; raise InvalidInput where it is not nested as its shape is."""
    if not shape:
        return [row]
    if not isinstance(row, list) or len(row) != shape[0]:
        found = f"has {len(row)} values" if isinstance(row, list) else f"is {name_of(row)}"
        raise InvalidInput(f"{where} {found}; expected a list of {shape[0]}", where)
    if len(shape) == 1:
        return row
    return [value for i, part in enumerate(row) for value in values_of(part, shape[1:], f"{where}[{i}]")]


def _check_lists(content: list[Any], name: str, model: Description) -> None:
    width = len(model.columns)
    for i, row in enumerate(content):
        where = f"{name}[{i}]"
        if not isinstance(row, list):
            other = (" or a record" if model.is_named else "") if i == 0 else " as the others"
            raise InvalidInput(f"{where} is {name_of(row)}; expected a list of {count_of(model.columns)}{other}", where)
        if len(row) != width:
            raise InvalidInput(f"{where} has {len(row)} values; expected {width}{_names(model)}", where)


def _names(model: Description) -> str:
    if not model.is_named:
        return ""
    shown = ", ".join(column.name for column in model.columns[:20])
    return f": {shown}{', …' if len(model.columns) > 20 else ''}"


def _from_records(content: Any, name: str, model: Description, budget: Budget) -> Rows:
    if not isinstance(content, list) or not content:
        found = "empty" if content == [] else name_of(content)
        raise InvalidInput(f"{name!r} is {found}; expected a list of records", name)
    request_budget.check_cells(len(content), model.columns, budget)
    if not model.is_named:
        return _from_records_by_order(content, name, model)
    names = [column.name for column in model.columns]
    place: Place = lambda i, j: f"{name}[{i}][{names[j]!r}]"  # noqa: E731
    rows = (_record(record, i, names, name, model) for i, record in enumerate(content))
    return from_cells(rows, model.columns, place, len(content))


def _from_records_by_order(content: list[Any], name: str, model: Description) -> Rows:
    """Read records for a model that has no names: the keys of the first one say what stands where."""
    if not isinstance(content[0], dict):
        raise InvalidInput(f"{name}[0] is {name_of(content[0])}; expected a record", f"{name}[0]")
    keys = list(content[0])
    if len(keys) != len(model.columns):
        raise InvalidInput(f"{name}[0] has {len(keys)} values; expected {len(model.columns)}", f"{name}[0]")
    lists = [[row.get(key) for key in keys] if isinstance(row, dict) else row for row in content]
    _check_lists(lists, name, model)
    return from_cells(lists, model.columns, lambda i, j: f"{name}[{i}][{quoted(keys[j])}]")


def _record(record: Any, i: int, names: list[str], name: str, model: Description) -> list[Any]:
    """Return a record's values in the order of the model's columns."""
    if not isinstance(record, dict):
        raise InvalidInput(f"{name}[{i}] is {name_of(record)}; expected a record as the others", f"{name}[{i}]")
    try:
        return [record[column] for column in names]
    except KeyError:
        return _completed(record, f"{name}[{i}]", model)


def _completed(record: dict[str, Any], where: str, model: Description) -> list[Any]:
    """Return a record's values with null for those that it lacks and that may be missing."""
    if lacking := [c.name for c in model.columns if c.name not in record and not c.missing]:
        raise InvalidInput(f"{where} lacks {', '.join(map(repr, lacking[:20]))}", where)
    return [record.get(column.name) for column in model.columns]


def _from_lists_by_column(content: dict[str, Any], name: str, model: Description, budget: Budget) -> Rows:
    """Read {column: [values]}, or {column: value} for one row."""
    request_budget.check_names(len(content), len(model.columns), name)
    _check_columns(content, name, model)
    lists = {c.name: content[c.name] for c in model.columns if c.name in content}
    is_one_row = not any(isinstance(values, list) for values in lists.values())
    if is_one_row:
        lists = {column: [value] for column, value in lists.items()}
    lengths = {column: len(values) if isinstance(values, list) else 0 for column, values in lists.items()}
    count = max(lengths.values())
    for column, length in lengths.items():
        if not isinstance(lists[column], list) or length != count:
            found = f"has {length} values" if isinstance(lists[column], list) else f"is {name_of(lists[column])}"
            where = f"{name}[{column!r}]"
            raise InvalidInput(f"{where} {found}; expected a list of {count}, as long as the others", where)
    if not count:
        raise InvalidInput(f"{name!r} has no rows", name)
    request_budget.check_cells(count, model.columns, budget)
    names = [column.name for column in model.columns]
    place: Place = lambda i, j: f"{name}[{names[j]!r}]{'' if is_one_row else f'[{i}]'}"  # noqa: E731
    return from_columns([lists.get(column) for column in names], model.columns, place, count)


def _from_split(content: Any, name: str, model: Description, budget: Budget) -> Rows:
    """Read {"columns": [names], "data": [[values], …], "index": …}, of which the index counts for nothing."""
    if not isinstance(content, dict) or not isinstance(content.get("data"), list):
        found = "has no list 'data'" if isinstance(content, dict) else f"is {name_of(content)}"
        raise InvalidInput(f"{name!r} {found}; expected {{'columns': [names], 'data': [[values], …]}}", name)
    if unknown := [key for key in content if key not in ("columns", "data", "index")]:
        raise InvalidInput(
            f"{name!r} has {', '.join(map(quoted, unknown[:20]))}; expected columns, data and index", name
        )
    data, index = content["data"], content.get("index")
    if not data:
        raise InvalidInput(f"{name}.data is empty; expected a list of rows", f"{name}.data")
    if index is not None and (not isinstance(index, list) or len(index) != len(data)):
        raise InvalidInput(f"{name}.index is not as long as the data, {len(data)} rows", f"{name}.index")
    columns = content.get("columns")
    if not model.is_named and columns is None:
        columns = [column.name for column in model.columns]
    if not isinstance(columns, list):
        raise InvalidInput(f"{name}.columns is {name_of(columns)}; expected a list of names", f"{name}.columns")
    order = _order(columns, f"{name}.columns", model)
    request_budget.check_cells(len(data), model.columns, budget)
    rows = (_in_order(row, order, len(columns), f"{name}.data", i) for i, row in enumerate(data))
    return from_cells(rows, model.columns, lambda i, j: f"{name}.data[{i}][{order[j]}]", len(data))


def _order(columns: list[Any], where: str, model: Description) -> list[int | None]:
    """Return where in a row each of the model's columns stands, None for one that is not there and may be missing."""
    if not model.is_named:
        if len(columns) != len(model.columns):
            raise InvalidInput(f"{where} has {len(columns)} names; expected {len(model.columns)}", where)
        return list(range(len(columns)))
    request_budget.check_names(len(columns), len(model.columns), where)
    places: dict[str, int] = {}
    again = set()
    for position, name in enumerate(columns):
        if isinstance(name, str) and places.setdefault(name, position) != position:
            again.add(name)
    _check_columns(places, where, model)
    for column in model.columns:
        if column.name in again:
            raise InvalidInput(f"{where} has {column.name!r} more than once", where)
    return [places.get(column.name) for column in model.columns]


def _separated(names: Collection[str], lacking: list[str]) -> str:
    """Say that CSV takes commas, where one name has one of those that are lacking in it, beside another mark."""
    (name, *others) = names or [""]
    mark = next((mark for mark in ";\t|" if mark in name and set(lacking) & set(name.split(mark))), None)
    return "" if others or mark is None else f"; it is separated by {mark!r}, and CSV here by ','"


def _check_columns(names: Collection[str], where: str, model: Description) -> None:
    """Raise InvalidInput unless all columns that have to be there are among the names, which are a dict or a set."""
    if lacking := [c.name for c in model.columns if c.name not in names and not c.missing]:
        raise InvalidInput(f"{where} lacks {', '.join(map(repr, lacking[:20]))}{_separated(names, lacking)}", where)
    if not any(column.name in names for column in model.columns):
        raise InvalidInput(f"{where} has none of the model's columns{_names(model)}", where)


def _in_order(row: Any, order: list[int | None], width: int, where: str, i: int) -> list[Any]:
    if not isinstance(row, list):
        where = f"{where}[{i}]"
        raise InvalidInput(f"{where} is {name_of(row)}; expected a list of {width} values", where)
    if (length := len(row)) > width:
        where = f"{where}[{i}]"
        raise InvalidInput(f"{where} has {length} values; expected {width}", where)
    # As pandas does: a row that ends early lacks its last values.
    return [row[position] if position is not None and position < length else None for position in order]


READERS: dict[str, Callable[[Any, str, Description, Budget], Rows]] = {
    "instances": _from_list_or_record,
    "inputs": _from_list_or_record,
    "dataframe_split": _from_split,
    "dataframe_records": _from_records,
}


# --- CSV -----------------------------------------------------------------------------------------------------------


def _from_csv(body: bytes, model: Description, budget: Budget) -> Rows:
    if not model.is_named:
        raise InvalidInput("the model knows its columns by their order alone; send them as JSON lists, not as CSV")
    if b"\0" in body:
        raise InvalidInput("the body has a NUL character in it")
    try:
        _check_first_line(body, model)
        header, records = _csv_records(body)
        request_budget.check_names(len(header), len(model.columns), "the first line")
        order = _order(_unique(header), "the first line", model)
        found = _csv_matrix(body, header, order, model)
        return found if found is not None else _csv_rows(body, header, records, order, model, budget)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the body is not UTF-8: {error}") from error
    except csv.Error as error:
        raise InvalidInput(f"the body is not CSV: {error}") from error


def _check_first_line(body: bytes, model: Description) -> None:
    """Raise RequestEntityTooLarge where the first line plainly has too many names; those in quotes are counted once they are read."""
    width = len(model.columns)
    if len(body) <= request_budget.most_names(width):
        return
    end = len(body) if (found := body.find(b"\n")) < 0 else found
    end = end if (found := body.find(b"\r", 0, end)) < 0 else found
    if body.find(b'"', 0, end) < 0:
        request_budget.check_names(body.count(b",", 0, end) + 1, width, "the first line")


def _most_lines(body: bytes) -> int:
    """Return how many lines there may be, blank ones among them."""
    return body.count(b"\n") + body.count(b"\r") + 1


def _csv_lines(body: bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(body), encoding="utf-8-sig", newline="")


class _Lines:
    """The lines of a large body, of which no record may take too many: where a quote stays open, all are one record."""

    def __init__(self, body: bytes) -> None:
        self._lines, self._size = _csv_lines(body), 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._lines.readline(request_budget.MOST_RECORD + 1 - self._size)
        if not line:
            raise StopIteration
        self._size += len(line)
        if self._size > request_budget.MOST_RECORD:
            raise RequestEntityTooLarge(
                f"a row of the body has more than {request_budget.MOST_RECORD} characters; leave out what is not the model's"
            )
        return line

    def records(self) -> Iterator[list[str]]:
        for record in csv.reader(self, strict=True):
            self._size = 0
            yield record


def _csv_records(body: bytes) -> tuple[list[str], Iterator[list[str]]]:
    """Return the names in the first line, and the records after it, one at a time: all at once they would fill the memory."""
    is_small = len(body) <= request_budget.MOST_RECORD
    lines = csv.reader(_csv_lines(body), strict=True) if is_small else _Lines(body).records()
    records = filter(_is_record, lines)
    if (header := next(records, None)) is None:
        raise InvalidInput("the body is empty; expected CSV with the names of the columns in its first line")
    return header, records


def _is_record(line: list[str]) -> bool:
    """Tell a record from a blank line, which is none."""
    return len(line) > 1 or bool(line and _has_content(line[0]))


def _csv_matrix(body: bytes, header: list[str], order: list[int | None], model: Description) -> Rows | None:
    """Return the rows where all fields are numbers of the model's columns, ten times as fast; None where they are not."""
    if any(column.kind is not Kind.NUMBER for column in model.columns) or len(header) != len(order):
        return None
    places = [position for position in order if position is not None]
    if len(places) != len(order):  # a column that is left out, beside one that is not the model's
        return None
    lines = _csv_lines(body)
    try:
        next(filter(_is_record, csv.reader(lines, strict=True)))  # the names, which may take more than one line
        return _numbers(lines, places, min(_most_lines(body), request_budget.most_cells(len(body)) // len(order)))
    except (ValueError, csv.Error):
        return None


def _numbers(lines: io.TextIOWrapper, order: list[int], most: int) -> Rows | None:
    """Return lines of numbers as rows, up to `most` of them; raise ValueError, or return None, where they are anything else."""
    table, count = np.empty((most, len(order))), 0
    longest = max(CSV_PIECE, request_budget.NUMBER_BYTES * len(order))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is nothing in it
        while text := lines.read(CSV_PIECE):
            rest = lines.readline(longest)
            if len(rest) == longest and rest[-1] not in "\r\n":  # what reads any CSV says how long a row may be
                return None
            piece = io.StringIO(text + rest, newline=None)
            found = np.loadtxt(piece, delimiter=",", comments=None, ndmin=2)
            if not (rows := len(found)):
                continue
            # Where there are too many, what reads any CSV says so.
            if count + rows > most or found.shape[1] != len(order) or not np.abs(found).max() <= LARGEST:
                return None
            table[count : count + rows] = found[:, order]
            count += rows
    return Rows(table[:count], None) if count else None


def _csv_rows(
    body: bytes,
    header: list[str],
    records: Iterator[list[str]],
    order: list[int | None],
    model: Description,
    budget: Budget,
) -> Rows:
    """Return the rows of any CSV; raise InvalidInput that points at what is wrong, RequestEntityTooLarge or TakesLong."""
    width = len(model.columns)
    most = min(_most_lines(body), request_budget.most_cells(len(body)) // width)

    def blocks() -> Iterator[tuple[int, list[Values]]]:
        start = 0
        while block := list(_some(records)):
            request_budget.check_cells(start + len(block), model.columns, budget)
            if (cells := _csv_block(block, len(header), order, model)) is not None:
                yield len(block), cells
            else:
                yield from _row_by_row(block, start, len(header), order, model)
            start += len(block)
        if not start:
            raise InvalidInput("the body has no rows after the names of the columns")

    return from_blocks(blocks(), model.columns, lambda i, j: f"row {i + 1}, {model.columns[j].name!r}", most)


def _some(records: Iterator[list[str]]) -> Iterator[list[str]]:
    """Yield the records of one block: a few thousand, fewer where they are wide, which is not known before they are read."""
    fields = 0
    for record in islice(records, BLOCK):
        yield record
        if (fields := fields + len(record)) >= request_budget.BLOCK_FIELDS:
            return


def _csv_block(block: list[list[str]], width: int, order: list[int | None], model: Description) -> list[Values] | None:
    """Return the values of each of the model's columns in some records, None where a field takes a closer look."""
    lengths = list(map(len, block))
    if max(lengths) > width:
        return None
    shortest = min(lengths)
    try:
        return [
            None if position is None else _csv_column(_fields(block, position, shortest), column)
            for position, column in zip(order, model.columns, strict=True)
        ]
    except ValueError:
        return None


def _row_by_row(
    block: list[list[str]], start: int, width: int, order: list[int | None], model: Description
) -> Iterator[tuple[int, list[Values]]]:
    """Yield the records before the first that is wrong, in which there may be values that are, too; raise InvalidInput then."""
    rows, wrong = [], None
    for i, record in enumerate(block, start):
        try:
            rows.append(_csv_row(record, i, width, order, model))
        except InvalidInput as error:
            wrong = error
            break
    if rows:
        yield len(rows), list(zip(*rows, strict=True))
    if wrong:
        raise wrong


def _fields(block: list[list[str]], position: int, shortest: int) -> list[str]:
    """Return a field of each record, an empty one where a record ends before it."""
    if position < shortest:
        return list(map(itemgetter(position), block))
    return [record[position] if position < len(record) else "" for record in block]


def _csv_column(texts: list[str], column: Column) -> Sequence[Any]:
    """Return fields as the JSON values that they stand for; raise ValueError where that takes a closer look."""
    if column.kind is Kind.TEXT:
        return [text or None for text in texts]
    if column.kind is Kind.NUMBER and _are_plain(texts):
        return [None if text in MISSING_WORDS else float(text) for text in texts]
    return [_csv_value(text, column) for text in texts]


def _are_plain(texts: list[str]) -> bool:
    """Tell whether nothing is in the texts that Python takes for part of a number, and nobody else does."""
    joined = "".join(texts)
    return joined.isascii() and "_" not in joined


def _csv_row(record: list[str], i: int, width: int, order: list[int | None], model: Description) -> list[Any]:
    """Return a record's values in the order of the model's columns."""
    if len(record) > width:
        raise InvalidInput(f"row {i + 1} has {len(record)} fields; expected {width}", f"row {i + 1}")
    row = []
    for position, column in zip(order, model.columns, strict=True):
        text = record[position] if position is not None and position < len(record) else ""
        try:
            row.append(_csv_value(text, column))
        except ValueError:
            where = f"row {i + 1}, {column.name!r}"
            raise InvalidInput(f"{where} is {text[:50]!r}; expected {column.kind}", where) from None
    return row


def _has_content(field: str) -> bool:
    """Tell whether a line of one field is a row: one that is blank is not, as pandas has it, but one with an empty field in quotes."""
    return field == "" or not field.isspace()


def _unique(header: list[str]) -> list[str]:
    """Return the names with those that come again made other ones, as pandas does: the first counts."""
    seen: set[str] = set()
    found = []
    for name in header:
        found.append(f"{name}.1" if name in seen else name)
        seen.add(name)
    return found


def _csv_value(text: str, column: Column) -> Any:
    """Return a field as the JSON value that it stands for; raise ValueError where it stands for none."""
    if column.kind is Kind.TEXT:
        return text or None
    if text in MISSING_WORDS:
        return None
    if column.kind is Kind.DATE:
        return None if stands_for_none(text) else text.strip()
    word = text.strip().lower()
    if column.kind is not Kind.BOOLEAN and stands_for_none(text):
        return None
    if column.kind is Kind.BOOLEAN:
        if word not in TRUTH:
            raise ValueError(word)
        return TRUTH[word]
    if not _are_plain([word]):
        raise ValueError(word)
    return int(word) if column.kind is Kind.INTEGER and word.lstrip("+-").isdigit() else float(word)
