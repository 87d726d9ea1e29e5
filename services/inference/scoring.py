"""MLflow's scoring protocol: from the body of POST /invocations to rows.

{"instances": …}, {"inputs": …}, {"dataframe_split": …} and {"dataframe_records": …} in JSON, or text/csv with a header.
docs/serving.md lists where this accepts or refuses otherwise than `mlflow models serve`, and why.
"""

import csv
import io
import json
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import simdjson

from inference.columns import LARGEST, Column, Kind, count_of
from inference.contract import Description
from inference.errors import InvalidInput, TooLarge, UnsupportedMedia
from inference.rows import Place, Rows, from_cells, name_of

FORMATS = ("instances", "inputs", "dataframe_split", "dataframe_records")
# What pandas, with which MLflow reads CSV, takes for a missing value.
MISSING_WORDS = frozenset(
    (
        "",
        "#N/A",
        "#N/A N/A",
        "#NA",
        "-1.#IND",
        "-1.#QNAN",
        "-NaN",
        "-nan",
        "1.#IND",
        "1.#QNAN",
        "<NA>",
        "N/A",
        "NA",
        "NULL",
        "NaN",
        "None",
        "n/a",
        "nan",
        "null",
    )
)
# All that numbers between brackets are written with, so that what is left of a body is its skeleton.
DIGITS = b"0123456789.eE+- \n\r\t"
# Lists and records of JSON that become Python's, each of which takes up to 250 bytes; a body of numbers alone does not.
MOST_PARTS = 1_000_000
# Up to which size of a body its parser is used again: it keeps ten times as much.
PARSER_BYTES = 256 * 1024
JSON, CSV = "application/json", "text/csv"

_kept = threading.local()


def rows_of(body: bytes, content_type: str, model: Description) -> Rows:
    """Return the rows of a request; raise InvalidInput that points at what is wrong, or UnsupportedMedia."""
    if content_type != JSON:
        kind = _media_type(content_type)
        if kind == CSV:
            return _from_csv(body, model)
    found = _matrix(body, model)
    return found if found is not None else from_payload(parsed(body), model)


def _media_type(content_type: str) -> str:
    kind, *parameters = (part.strip() for part in content_type.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() != "charset" or value.strip().strip('"').lower() not in ("utf-8", "utf8"):
            raise UnsupportedMedia(f"the content type has the parameter {parameter!r}; expected none but charset=utf-8")
    if kind.lower() not in (JSON, CSV):
        what = f"as {kind}" if kind else "as nothing"
        raise UnsupportedMedia(f"the body is declared {what}; send it with Content-Type: {JSON}, or {CSV}")
    return kind.lower()


# --- numbers alone -------------------------------------------------------------------------------------------------


def _matrix(body: bytes, model: Description) -> Rows | None:
    """Return the rows of {"instances": [[numbers], …]} in one step from text to matrix; None where it is anything else.

    No value becomes a Python object: the body without its digits must be the skeleton of so many rows of so many values,
    which leaves nothing but numbers in it, and simdjson reads these straight into a buffer.
    """
    if not body.startswith(b'{"instances"') or any(column.kind is not Kind.NUMBER for column in model.columns):
        return None
    skeleton = body.translate(None, DIGITS)
    width = len(model.columns)
    row = b"[" + b"," * (width - 1) + b"]"
    count, rest = divmod(len(skeleton) - len(b'{"instancs":[]}') + 1, width + 2)
    if rest or count < 1 or skeleton != b'{"instancs":[' + (row + b",") * (count - 1) + row + b"]}":
        return None
    try:
        document: Any = _parser_for(body).parse(body)
        numbers = document["instances"].as_buffer(of_type="d")
    except (ValueError, TypeError, RuntimeError):
        return None
    matrix = np.frombuffer(numbers, dtype=np.float64)
    if len(matrix) != count * width or not np.abs(matrix).max() <= LARGEST:
        return None
    return Rows(matrix.reshape(count, width), None)


def _parser_for(body: bytes) -> Any:
    """Return a parser of this thread, whose memory is there already: to find it anew can take as long as to parse.

    It refuses to be used while anything of its last document lives; the numbers, which are a copy, do not count.
    """
    if len(body) > PARSER_BYTES:
        return simdjson.Parser()
    if not hasattr(_kept, "parser"):
        _kept.parser = simdjson.Parser()
    return _kept.parser


# --- JSON ----------------------------------------------------------------------------------------------------------


def parsed(body: bytes) -> Any:
    """Return the JSON value of a body; raise InvalidInput, or TooLarge where it would take too much memory."""
    if len(body) > MOST_PARTS and body.count(b"[") + body.count(b"{") > MOST_PARTS:
        raise TooLarge(f"the body has more than {MOST_PARTS} lists and records; send fewer rows at a time")
    try:
        return json.loads(body)
    except RecursionError:
        raise InvalidInput("the body is nested too deep") from None
    except ValueError as error:
        raise InvalidInput(f"the body is not JSON: {error}") from error


def from_payload(payload: Any, model: Description) -> Rows:
    """Return the rows of a request's JSON value."""
    example = f'expected {{"instances": [[{count_of(model.columns)}], …]}}'
    if not isinstance(payload, dict):
        raise InvalidInput(f"the body is {name_of(payload)}; {example}")
    found = [name for name in FORMATS if name in payload]
    if len(found) != 1:
        what = f"has {' and '.join(map(repr, found))}" if found else f"has none of {', '.join(map(repr, FORMATS))}"
        raise InvalidInput(f"the body {what}; {example}")
    (name,) = found
    return READERS[name](payload[name], name, model)


def _from_list_or_record(content: Any, name: str, model: Description) -> Rows:
    """Read `instances` and `inputs`: lists of values, records, or one list per column."""
    if isinstance(content, dict) and model.is_named:
        return _from_lists_by_column(content, name, model)
    if not isinstance(content, list) or not content:
        found = "empty" if content == [] else name_of(content)
        raise InvalidInput(f"{name!r} is {found}; expected a list with a list or a record per row", name)
    if model.is_named and isinstance(content[0], dict):
        return _from_records(content, name, model)
    if model.is_named and len(model.columns) == 1 and not isinstance(content[0], list):
        return from_cells([[value] for value in content], model.columns, lambda i, _: f"{name}[{i}]")
    _check_lists(content, name, model)
    return from_cells(content, model.columns, lambda i, j: f"{name}[{i}][{j}]")


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


def _from_records(content: Any, name: str, model: Description) -> Rows:
    if not isinstance(content, list) or not content:
        found = "empty" if content == [] else name_of(content)
        raise InvalidInput(f"{name!r} is {found}; expected a list of records", name)
    if not model.is_named:
        if isinstance(content[0], dict):
            keys = list(content[0])
            lists = [[row.get(key) for key in keys] if isinstance(row, dict) else row for row in content]
            _check_lists(lists, name, model)
            return from_cells(lists, model.columns, lambda i, j: f"{name}[{i}][{keys[j]!r}]")
        raise InvalidInput(f"{name}[0] is {name_of(content[0])}; expected a record", f"{name}[0]")
    names = [column.name for column in model.columns]
    place: Place = lambda i, j: f"{name}[{i}][{names[j]!r}]"  # noqa: E731
    rows = []
    for i, record in enumerate(content):
        if not isinstance(record, dict):
            raise InvalidInput(f"{name}[{i}] is {name_of(record)}; expected a record as the others", f"{name}[{i}]")
        try:
            rows.append([record[column] for column in names])
        except KeyError:
            rows.append(_completed(record, f"{name}[{i}]", model))
    return from_cells(rows, model.columns, place)


def _completed(record: dict[str, Any], where: str, model: Description) -> list[Any]:
    """Return a record's values with null for those that it lacks and that may be missing."""
    if lacking := [c.name for c in model.columns if c.name not in record and not c.missing]:
        raise InvalidInput(f"{where} lacks {', '.join(map(repr, lacking))}", where)
    return [record.get(column.name) for column in model.columns]


def _from_lists_by_column(content: dict[str, Any], name: str, model: Description) -> Rows:
    """Read {column: [values]}, or {column: value} for one row."""
    _check_columns(list(content), name, model)
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
    cells = [lists.get(column.name, [None] * count) for column in model.columns]
    names = [column.name for column in model.columns]
    place: Place = lambda i, j: f"{name}[{names[j]!r}]{'' if is_one_row else f'[{i}]'}"  # noqa: E731
    return from_cells(list(zip(*cells, strict=True)), model.columns, place)


def _from_split(content: Any, name: str, model: Description) -> Rows:
    """Read {"columns": [names], "data": [[values], …], "index": …}, of which the index counts for nothing."""
    if not isinstance(content, dict) or not isinstance(content.get("data"), list):
        found = "has no list 'data'" if isinstance(content, dict) else f"is {name_of(content)}"
        raise InvalidInput(f"{name!r} {found}; expected {{'columns': [names], 'data': [[values], …]}}", name)
    if unknown := [key for key in content if key not in ("columns", "data", "index")]:
        raise InvalidInput(f"{name!r} has {', '.join(map(repr, unknown))}; expected columns, data and index", name)
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
    rows = [_in_order(row, order, len(columns), f"{name}.data[{i}]", model) for i, row in enumerate(data)]
    return from_cells(rows, model.columns, lambda i, j: f"{name}.data[{i}][{order[j]}]")


def _order(columns: list[Any], where: str, model: Description) -> list[int | None]:
    """Return where in a row each of the model's columns stands, None for one that is not there and may be missing."""
    if not model.is_named:
        if len(columns) != len(model.columns):
            raise InvalidInput(f"{where} has {len(columns)} names; expected {len(model.columns)}", where)
        return list(range(len(columns)))
    _check_columns(columns, where, model)
    for column in model.columns:
        if columns.count(column.name) > 1:
            raise InvalidInput(f"{where} has {column.name!r} more than once", where)
    return [columns.index(column.name) if column.name in columns else None for column in model.columns]


def _check_columns(names: list[Any], where: str, model: Description) -> None:
    if lacking := [c.name for c in model.columns if c.name not in names and not c.missing]:
        raise InvalidInput(f"{where} lacks {', '.join(map(repr, lacking[:20]))}", where)
    if not any(column.name in names for column in model.columns):
        raise InvalidInput(f"{where} has none of the model's columns{_names(model)}", where)


def _in_order(row: Any, order: list[int | None], width: int, where: str, model: Description) -> list[Any]:
    if not isinstance(row, list):
        raise InvalidInput(f"{where} is {name_of(row)}; expected a list of {width} values", where)
    if len(row) > width:
        raise InvalidInput(f"{where} has {len(row)} values; expected {width}", where)
    # As pandas does: a row that ends early lacks its last values.
    return [row[position] if position is not None and position < len(row) else None for position in order]


READERS: dict[str, Callable[[Any, str, Description], Rows]] = {
    "instances": _from_list_or_record,
    "inputs": _from_list_or_record,
    "dataframe_split": _from_split,
    "dataframe_records": _from_records,
}


# --- CSV -----------------------------------------------------------------------------------------------------------


def _from_csv(body: bytes, model: Description) -> Rows:
    if not model.is_named:
        raise InvalidInput("the model knows its columns by their order alone; send them as JSON lists, not as CSV")
    if b"\0" in body:
        raise InvalidInput("the body has a NUL character in it")
    try:
        header, records = _csv_records(body)
        order = _order(_unique(header), "the first line", model)
        found = _csv_matrix(body, header, order, model)
        if found is None:
            rows = [_csv_row(record, i, header, order, model) for i, record in enumerate(records)]
            if not rows:
                raise InvalidInput("the body has no rows after the names of the columns")
            found = from_cells(rows, model.columns, lambda i, j: f"row {i + 1}, {model.columns[j].name!r}")
        return found
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the body is not UTF-8: {error}") from error
    except csv.Error as error:
        raise InvalidInput(f"the body is not CSV: {error}") from error


def _csv_lines(body: bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(body), encoding="utf-8-sig", newline="")


def _csv_records(body: bytes) -> tuple[list[str], Iterator[list[str]]]:
    """Return the names in the first line, and the records after it, one at a time: all at once they would fill the memory."""
    records = (line for line in csv.reader(_csv_lines(body), strict=True) if _has_content(line))
    if (header := next(records, None)) is None:
        raise InvalidInput("the body is empty; expected CSV with the names of the columns in its first line")
    return header, records


def _csv_matrix(body: bytes, header: list[str], order: list[int | None], model: Description) -> Rows | None:
    """Return the rows where all fields are numbers of the model's columns, fifty times as fast; None where they are not."""
    if any(column.kind is not Kind.NUMBER for column in model.columns) or len(header) != len(order):
        return None
    if None in order:  # a column that is left out, beside one that is not the model's
        return None
    lines = _csv_lines(body)
    try:
        next(csv.reader(lines, strict=True))  # the names, which may take more than one line
        rest = lines.read()
        if '"' in rest:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there is nothing in it
            matrix = np.loadtxt(io.StringIO(rest, newline=None), delimiter=",", comments=None, ndmin=2)
    except (ValueError, csv.Error):
        return None
    if matrix.shape[0] == 0 or matrix.shape[1] != len(header) or not np.abs(matrix).max() <= LARGEST:
        return None
    return Rows(np.ascontiguousarray(matrix[:, [position for position in order if position is not None]]), None)


def _csv_row(record: list[str], i: int, header: list[str], order: list[int | None], model: Description) -> list[Any]:
    """Return a record's values in the order of the model's columns."""
    if len(record) > len(header):
        where = f"row {i + 1}"
        raise InvalidInput(f"{where} has {len(record)} fields; expected {len(header)}", where)
    return [
        _csv_value(record[position], column, f"row {i + 1}, {column.name!r}")
        if position is not None and position < len(record)
        else None
        for position, column in zip(order, model.columns, strict=True)
    ]


def _has_content(line: list[str]) -> bool:
    """Tell whether a line is a row: one that is empty or blank is not, as pandas has it, but one with an empty field in quotes."""
    return len(line) > 1 or (len(line) == 1 and (line[0] == "" or not line[0].isspace()))


def _unique(header: list[str]) -> list[str]:
    """Return the names with those that come again made other ones, as pandas does: the first counts."""
    seen: set[str] = set()
    found = []
    for name in header:
        found.append(f"{name}.1" if name in seen else name)
        seen.add(name)
    return found


def _csv_value(text: str, column: Column, where: str) -> Any:
    """Return a field as the JSON value that it stands for."""
    if text in MISSING_WORDS:
        return None
    if column.kind is Kind.TEXT:
        return text
    word = text.strip().lower()
    if column.kind is Kind.BOOLEAN and word in ("true", "false", "1", "0", "1.0", "0.0"):
        return word in ("true", "1", "1.0")
    if column.kind is not Kind.BOOLEAN and "_" not in word and word.isascii():
        try:
            return int(word) if column.kind is Kind.INTEGER and word.lstrip("+-").isdigit() else float(word)
        except ValueError:
            pass
    raise InvalidInput(f"{where} is {text[:50]!r}; expected {column.kind}", where)
