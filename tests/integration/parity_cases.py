"""The requests that MLflow's own scoring server and this service are both asked, for each model."""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

WIDE = 100
JSON = "application/json"
CSV = "text/csv"


@dataclass(frozen=True)
class Column:
    name: str
    kind: str
    required: bool

    def __str__(self) -> str:
        """Say what it is, as the titles of cases do."""
        article = "a" if self.required and self.kind != "integer" else "an"
        return f"{article} {'' if self.required else 'optional '}{self.kind} column"


@dataclass(frozen=True)
class Logged:
    """A version in the registry, and rows for it without a missing value."""

    title: str
    name: str
    version: str
    trust: str
    uri: str
    columns: list[Column]
    """none where the input is a tensor"""
    rows: list[list[Any]]

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def last(self) -> str:
        """Name the last column, as the titles of cases do."""
        return "the last column" if self.columns[-1].required else "the last, optional column"

    @property
    def tolerance(self) -> float:
        """What the last digits may differ by: MLflow lets a model of 32-bit columns compute in 32 bits."""
        return 1e-6 if any(column.kind == "float" for column in self.columns) else 1e-9


@dataclass(frozen=True)
class Case:
    """A request, whether both sides have to answer it, and which models it is for."""

    title: str
    body: bytes
    content_type: str | None = JSON
    good: bool = False
    path: str = "/invocations"
    coding: str | None = None
    """how the body is compressed"""


# --- how rows are written --------------------------------------------------------------------------------------------

RAW = "@raw@"
# A list of rows and how it is written; `instances` and `inputs` take records as well as columns.
FORMATS: dict[str, Callable[[list[str], list[list[Any]]], Any]] = {
    "dataframe_split": lambda names, rows: {"columns": names, "data": rows},
    "dataframe_records": lambda names, rows: records(names, rows),
    "instances": lambda names, rows: records(names, rows),
    "instances by column": lambda names, rows: by_column(names, rows),
    "inputs": lambda names, rows: by_column(names, rows),
    "inputs as records": lambda names, rows: records(names, rows),
}
# fmt: off
NUMBERS = [
    "1", "-0.0", "1e39", "1e400", "Infinity", "NaN", "null", "true", '"1"', '"1_0"', '"nan"', '"x"', '""', "[1]", "{}",
    "12345678901234567890123",
]
WHOLE = [
    "1", "1.0", "1.5", "-3", "1e39", "NaN", "null", "true", '"1"', '"x"', "[1]", "{}", "3000000000",
    "12345678901234567890123",
]
VALUES = {
    "double": NUMBERS,
    "float": NUMBERS,
    "long": WHOLE,
    "integer": WHOLE,
    "boolean": ["true", "false", "1", "0", "1.5", "NaN", "null", '"true"', '"false"', '""', "[1]", "{}"],
    "string": ['"Bern"', '"Atlantis"', '"é☃"', '""', "1", "1.5", "true", "NaN", "null", "[1]", "{}", '["Bern"]'],
}
DECIMAL_CELLS = [
    "1", " 1 ", "+1", ".5", "1.", "1E3", "", "NA", "inf", "1e39", "true", "x", "0x10", "1_000", '"1,5"', '"2"',
]
WHOLE_CELLS = ["7", "007", "1.0", "1e3", "1.5", "", "NA", "true", "x", "3000000000", "99999999999999999999", '"2"']
CELLS = {
    "double": DECIMAL_CELLS,
    "float": DECIMAL_CELLS,
    "long": WHOLE_CELLS,
    "integer": WHOLE_CELLS,
    "boolean": ["true", "True", "FALSE", "fAlse", " true", "1", "0", "1.0", "2", "yes", "T", "", "NA", '"true"', "x"],
    "string": [
        "Bern", '"Bern"', " Bern", '"New ""York"""', '"Ürümqi, west"', "007", "true", "", '""', "NA", '"NA"', "-",
    ],
}
# What each model takes of these.
PROPER = {
    "double": ["1", "-0.0", " 1 ", "+1", ".5", "1.", "1E3"],
    "float": ["1", "-0.0", " 1 ", "+1", ".5", "1.", "1E3"],
    "long": ["1", "1.0", "-3", "7", "007", "1e3"],
    "integer": ["1", "1.0", "-3", "7", "007", "1e3"],
    "boolean": ["true", "false", "True", "FALSE", "fAlse"],
    "string": ['"Bern"', "Bern"],
}
# fmt: on
SPELLINGS = ["application/json; charset=utf-8", "application/json;charset=UTF-8"]
CONTENT_TYPES = [
    "APPLICATION/JSON",
    'application/json; charset="utf-8"',
    "application/json; charset=latin-1",
    "application/json; charset=utf-16",
    "application/json; format=pandas-split",
    "text/plain",
    "application/x-www-form-urlencoded",
    "application/octet-stream",
    "application/vnd.api+json",
    "",
]


def records(names: list[str], rows: list[list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(names, row, strict=True)) for row in rows]


def by_column(names: list[str], rows: list[list[Any]]) -> dict[str, list[Any]]:
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}


def written(content: Any, raw: str = "") -> bytes:
    """Return JSON, with `raw` in the place of RAW."""
    return json.dumps(content, ensure_ascii=False).replace(f'"{RAW}"', raw).encode()


def as_csv(names: list[str], rows: list[list[Any]], **options: Any) -> str:
    text = io.StringIO()
    csv.writer(text, **{"lineterminator": "\n"} | options).writerows([names, *rows])
    return text.getvalue()


def body(form: str, names: list[str], rows: list[list[Any]], raw: str = "") -> bytes:
    return written({form.split()[0]: FORMATS[form](names, rows)}, raw)


def cases(model: Logged) -> list[Case]:
    """Return all requests for a model."""
    if not model.columns:
        return [*documents(written({"inputs": model.rows})), *tensors(model.rows)]
    if len(model.columns) > WIDE:
        return [*formats(model), *csv_formats(model)]
    groups = (formats, csv_formats, values, cells, splits, record_lists, instances, inputs, csv_shapes)
    around = documents(body("instances", model.names, model.rows))
    return [*around, *(case for group in groups for case in group(model))]


def formats(model: Logged) -> Iterator[Case]:
    """What every client may send, in each format."""
    names, rows = model.names, model.rows
    for form in FORMATS:
        yield Case(f"{form}: rows", body(form, names, rows), good=True)
        yield Case(f"{form}: one row", body(form, names, rows[:1]), good=True)
        yield Case(f"{form}: many rows", body(form, names, rows * 20), good=True)
        yield Case(f"{form}: another order", body(form, names[::-1], [row[::-1] for row in rows]), good=True)
        more = [*names, "more"], [[*row, "x"] for row in rows]
        yield Case(f"{form}: one more column", body(form, *more), good=True)
        yield Case(f"{form}: without {model.last}", body(form, names[:-1] or ["more"], _cut(rows)))
        yield Case(f"{form}: no rows", body(form, names, []))
    for key in ("instances", "inputs"):
        yield Case(f"{key}: a row as one record", written({key: records(names, rows)[0]}), good=True)
        yield Case(f"{key}: lists", written({key: rows}))
    yield Case("dataframe_split: an index", _split(names, rows, index=["a", "b", "b"]), good=True)
    yield Case("dataframe_split: null as index", _split(names, rows, index=None), good=True)
    turned = [dict(reversed(record.items())) if i % 2 else record for i, record in enumerate(records(names, rows))]
    yield Case("dataframe_records: keys in turns", written({"dataframe_records": turned}), good=True)


def _cut(rows: list[list[Any]]) -> list[list[Any]]:
    return [row[:-1] or [1] for row in rows]


def _split(names: list[str], rows: list[Any], **more: Any) -> bytes:
    return written({"dataframe_split": {"columns": names, "data": rows, **more}})


def values(model: Logged) -> Iterator[Case]:
    """Each kind of value in each kind of column, in one row, and a missing one beside others."""
    for at, column in _kinds(model):
        row = _replaced(model.rows[0], at, RAW)
        for raw in VALUES[column.kind]:
            for form in ("dataframe_records", "instances", "inputs"):
                sent = body(form, model.names, [row], raw)
                yield Case(f"{raw} in {column}, {form}", sent, good=raw in PROPER[column.kind])
        rows = [model.rows[0], _replaced(model.rows[1], at, None), model.rows[2]]
        for form in FORMATS:
            yield Case(f"null beside values in {column}, {form}", body(form, model.names, rows))
        yield Case(f"null beside values in {column}, {CSV}", as_csv(model.names, rows).encode(), CSV)


def _kinds(model: Logged) -> list[tuple[int, Column]]:
    """Return the first column of each kind with its place."""
    return list({str(column): (at, column) for at, column in reversed(list(enumerate(model.columns)))}.values())


def _replaced(row: list[Any], at: int, value: Any) -> list[Any]:
    return [*row[:at], value, *row[at + 1 :]]


def cells(model: Logged) -> Iterator[Case]:
    """What may stand in a cell of CSV, in one row."""
    for at, column in _kinds(model):
        text = as_csv(model.names, [_replaced(model.rows[0], at, RAW)])
        for cell in CELLS[column.kind]:
            # A row with nothing in it is no row.
            if cell or len(model.columns) > 1:
                sent = text.replace(RAW, cell).encode()
                yield Case(f"CSV cell {cell!r} in {column}", sent, CSV, good=cell in PROPER[column.kind])


def csv_formats(model: Logged) -> Iterator[Case]:
    """CSV as programs write it."""
    names, rows = model.names, model.rows
    text = as_csv(names, rows)
    good = {
        "rows": text,
        "one row": as_csv(names, rows[:1]),
        "no line break at the end": text.rstrip("\n"),
        "CRLF": as_csv(names, rows, lineterminator="\r\n"),
        "CR": as_csv(names, rows, lineterminator="\r"),
        "a line of blanks": text.replace("\n", "\n \t\n", 1),
        "all quoted": as_csv(names, rows, quoting=csv.QUOTE_ALL),
        "another order": as_csv(names[::-1], [row[::-1] for row in rows]),
        "one more column": as_csv([*names, "more"], [[*row, "x"] for row in rows]),
        "an index as pandas writes it": as_csv(["", *names], [[i, *row] for i, row in enumerate(rows)]),
        "a byte order mark": "\ufeff" + text,
        "empty lines": text.replace("\n", "\n\n"),
    }
    for title, content in good.items():
        yield Case(f"CSV: {title}", content.encode(), CSV, good=True)
    parquet = pd.DataFrame(rows, columns=names).to_parquet()
    yield Case("Parquet: rows", parquet, "application/vnd.apache.parquet")
    yield Case("CSV: its charset said", text.encode(), "text/csv; charset=utf-8", good=True)


def csv_shapes(model: Logged) -> Iterator[Case]:
    """CSV that is not what it should be."""
    names, rows = model.names, model.rows
    text = as_csv(names, rows)
    bad = {
        "nothing": "",
        "a line break": "\n",
        "no rows": as_csv(names, []),
        "no header": text.split("\n", 1)[1],
        f"without {model.last}": as_csv(names[:-1] or ["more"], _cut(rows)),
        "semicolons": text.replace(",", ";") if len(names) > 1 else "a;b\n1;2\n",
        "tabs": as_csv([*names, "more"], [[*row, 1] for row in rows], delimiter="\t"),
        "blanks in the header": as_csv([f" {name}" for name in names], rows),
        "a comment": "# a comment\n" + text,
        "a quote that stays open": text + '"',
        "a NUL": text + "\x00\n",
        "a second row that is too long": text + as_csv([], [[*rows[0], 1]]).lstrip(),
        "a row that is too long": as_csv(names, [[*rows[0], 1]]),
        "a comma at the end of each row": as_csv(names, [[*row, ""] for row in rows]),
        "JSON": body("instances", names, rows).decode(),
    }
    if len(names) > 1:
        bad[f"a row without {model.last}"] = as_csv(names, [rows[0], rows[1][:-1]])
        bad["nothing but commas"] = as_csv(names, [rows[0], [""] * len(names)])
    for title, content in bad.items():
        yield Case(f"CSV: {title}", content.encode(), CSV)
    yield Case("CSV: not UTF-8", text.encode() + b"\xff\n", CSV)
    yield Case("CSV: another charset", text.encode(), "text/csv; charset=latin-1")
    yield Case("CSV: a parameter", text.encode(), "text/csv; header=present")
    yield Case("CSV: said to be JSON", text.encode())


def documents(good: bytes) -> Iterator[Case]:
    """What is around the rows: content types, the document, and `params`. `good` has one format and is answered."""
    for spelling in SPELLINGS:
        yield Case(f"content type: {spelling}", good, spelling, good=True)
    for content_type in CONTENT_TYPES:
        yield Case(f"content type: {content_type}", good, content_type)
    yield Case("content type: none", good, None)
    yield Case("path: a slash behind it", good, good=True, path="/invocations/")
    for coding, compress in {"gzip": gzip.compress, "deflate": zlib.compress}.items():  # type: ignore[dict-item]
        yield Case(f"compressed: {coding}", compress(good), coding=coding)
    inner = good.decode()[1:-1]
    yield Case("document: blanks", f" \n {good.decode()} \n".encode(), good=True)
    yield Case("document: a byte order mark", b"\xef\xbb\xbf" + good, good=True)
    yield Case("document: the same key twice", f"{{{inner},{inner}}}".encode(), good=True)
    bad = {
        "nothing": "",
        "half of it": good.decode()[:-3],
        "more behind it": good.decode() + " x",
        "single quotes": "{'inputs': []}",
        "a list": "[]",
        "a list of rows": "[[1, 2]]",
        "a number": "5",
        "null": "null",
        "text": '"x"',
        "no key": "{}",
        "only params": '{"params": {}}',
        "the format of MLflow 1": '{"columns": ["a"], "data": [[1]]}',
        "two formats": f'{{{inner}, "dataframe_records": []}}',
        "an unknown key": f'{{{inner}, "request_id": 7}}',
        "signature_name": f'{{{inner}, "signature_name": "x"}}',
        "nested too deep": '{"inputs": ' + "[" * 100_000,
        "a number of 5000 digits": f'{{"inputs": [{"9" * 5000}]}}',
    }
    for title, content in bad.items():
        yield Case(f"document: {title}", content.encode())
    yield Case("document: UTF-16", good.decode().encode("utf-16"))
    yield Case("document: not UTF-8", good + b"\xff")
    yield from params(inner)


def params(inner: str) -> Iterator[Case]:
    """Return what may be in `params`; "with parameters" has threshold, a double, and mode, a text."""
    for title, content in {"null": "null", "none": "{}", "unknown": '{"surprise": [1]}'}.items():
        yield Case(f"params: {title}", f'{{{inner}, "params": {content}}}'.encode(), good=True)
    found = {
        "a double": '{"threshold": 0.1}',
        "an int for a double": '{"threshold": 1}',
        "null for a double": '{"threshold": null}',
        "a text": '{"mode": "fast"}',
        "true for a double": '{"threshold": true}',
        "text for a double": '{"threshold": "0.1"}',
        "a list for a double": '{"threshold": [0.1]}',
        "a number for a text": '{"mode": 1}',
        "a number": "5",
        "a list": "[1]",
    }
    for title, content in found.items():
        yield Case(f"params: {title}", f'{{{inner}, "params": {content}}}'.encode())


def splits(model: Logged) -> Iterator[Case]:
    """What dataframe_split may look like."""
    names, rows = model.names, model.rows
    bad = {
        "no columns": {"data": rows},
        "null as columns": {"columns": None, "data": rows},
        "numbers as columns": {"columns": list(range(len(names))), "data": rows},
        "text as columns": {"columns": "ab", "data": rows},
        "a column twice": {"columns": [names[0], *names], "data": [[row[0], *row] for row in rows]},
        "no data": {"columns": names},
        "null as data": {"columns": names, "data": None},
        "a number as data": {"columns": names, "data": 5},
        "values as data": {"columns": [*names, "more"], "data": [*rows[0], 1]},
        "records as data": {"columns": names, "data": records(names, rows)},
        "columns as data": {"columns": names, "data": by_column(names, rows)},
        "an empty row": {"columns": names, "data": [[]]},
        "a row that is null": {"columns": names, "data": [rows[0], None]},
        "a row that is a number": {"columns": names, "data": [rows[0], 5]},
        "a row that is too long": {"columns": names, "data": [rows[0], [*rows[1], 1]]},
        "rows that are too long": {"columns": names, "data": [[*row, 1] for row in rows]},
        "an index that is too short": {"columns": names, "data": rows, "index": [1]},
        "an empty index": {"columns": names, "data": rows, "index": []},
        "a number as index": {"columns": names, "data": rows, "index": 5},
        "an unknown key": {"columns": names, "data": rows, "dtype": 1},
        "an empty record": {},
        "a list": rows,
        "null": None,
    }
    if len(names) > 1:
        bad[f"a row without {model.last}"] = {"columns": names, "data": [rows[0], rows[1][:-1]]}
        bad[f"rows without {model.last}"] = {"columns": names, "data": [row[:-1] for row in rows]}
    for title, content in bad.items():
        yield Case(f"dataframe_split: {title}", written({"dataframe_split": content}))


def record_lists(model: Logged) -> Iterator[Case]:
    """What dataframe_records may look like."""
    whole = records(model.names, model.rows)
    bad: dict[Any, Any] = {
        "an empty record": [{}],
        "a record": whole[0],
        "columns": by_column(model.names, model.rows),
        "lists": model.rows,
        "values": model.rows[0],
        "null": None,
        "text": "x",
        "a record that is null": [whole[0], None],
        "a record that is a list": [whole[0], model.rows[1]],
        "a record that is a number": [whole[0], 5],
    }
    if len(model.columns) > 1:
        bad[f"a record without {model.last}"] = [whole[0], _without_last(whole[1]), whole[2]]
    for title, content in bad.items():
        yield Case(f"dataframe_records: {title}", written({"dataframe_records": content}))


def _without_last(record: dict[str, Any]) -> dict[str, Any]:
    return dict(list(record.items())[:-1])


def _either(model: Logged) -> dict[str, Any]:
    """What is odd in `instances` and in `inputs` alike."""
    whole = records(model.names, model.rows)
    found: dict[Any, Any] = {
        "an empty list": [],
        "an empty record": {},
        "a list with an empty record": [{}],
        "null": None,
        "a number": 5,
        "text": "x",
        "a record and a list": [whole[0], model.rows[1]],
        "a list and a record": [model.rows[0], whole[1]],
        "a record and a number": [whole[0], 5],
        "ragged lists": [model.rows[0], [*model.rows[1], 1]],
        "lists in lists": [model.rows],
        "columns of different lengths": by_column(model.names, model.rows) | {model.names[0]: [model.rows[0][0]] * 2},
    }
    if len(model.columns) > 1:
        found["values"] = model.rows[0]
        found[f"a record without {model.last}"] = [whole[0], _without_last(whole[1]), whole[2]]
        found["one more column in one record"] = [whole[0], {**whole[1], "more": 1}]
    return found


def instances(model: Logged) -> Iterator[Case]:
    """What `instances` may look like."""
    whole = records(model.names, model.rows)
    found = _either(model)
    if len(model.columns) > 1:
        first = model.names[0]
        halves = [{first: whole[0][first]}, {name: whole[0][name] for name in model.names if name != first}]
        found["two records that make one"] = halves
        found["an empty record beside a whole one"] = [whole[0], {}]
    for title, content in found.items():
        yield Case(f"instances: {title}", written({"instances": content}))
    yield from _single_column("instances", model)


def inputs(model: Logged) -> Iterator[Case]:
    """What `inputs` may look like."""
    found = _either(model)
    if len(model.columns) > 1:
        found["one value for all rows"] = by_column(model.names, model.rows) | {model.names[0]: model.rows[0][0]}
    if model.columns[0].kind not in ("boolean", "string"):
        nested = {name: [[value] for value in column] for name, column in by_column(model.names, model.rows).items()}
        found["a list in each cell"] = nested
    for title, content in found.items():
        yield Case(f"inputs: {title}", written({"inputs": content}))
    yield from _single_column("inputs", model)


def _single_column(key: str, model: Logged) -> Iterator[Case]:
    """A list of values is a column where the model has only one."""
    if len(model.columns) == 1:
        values = [row[0] for row in model.rows]
        yield Case(f"{key}: the values of a single column", written({key: values}), good=True)
        yield Case(f"{key}: the values of a single column, one of them null", written({key: [*values, None]}))


def tensors(rows: list[list[float]]) -> Iterator[Case]:
    """What a model takes whose input is one tensor, of shape (-1, columns)."""
    names = [f"any {i}" for i in range(len(rows[0]))]
    numbered = [str(i) for i in range(len(rows[0]))]
    good = {
        "inputs": {"inputs": rows},
        "instances": {"instances": rows},
        "one row": {"inputs": rows[:1]},
        "whole numbers": {"inputs": [[int(value) for value in row] for row in rows]},
        "dataframe_split": {"dataframe_split": {"columns": names, "data": rows}},
        "dataframe_split without columns": {"dataframe_split": {"data": rows}},
        "dataframe_split with an index": {"dataframe_split": {"data": rows, "index": [3, 2, 1]}},
        "dataframe_split, names in another order": {"dataframe_split": {"columns": numbered[::-1], "data": rows}},
        "dataframe_records": {"dataframe_records": records(names, rows)},
        "dataframe_records, names in another order": {"dataframe_records": records(numbered[::-1], rows)},
    }
    for title, content in good.items():
        yield Case(f"tensor: {title}", written(content), good=True)
    yield from _bad_tensors(names, rows)
    yield from _tables_as_tensors(names, rows)


def _bad_tensors(names: list[str], rows: list[list[float]]) -> Iterator[Case]:
    bad = {
        "one value less": [row[:-1] for row in rows],
        "one value more": [[*row, 1] for row in rows],
        "ragged": [rows[0], rows[1][:-1]],
        "a single row without its list": rows[0],
        "one dimension more": [rows],
        "nothing": [],
        "an empty row": [[]],
        "a number": 5,
        "null": None,
        "text": "x",
        "records": records(names, rows),
        "columns": by_column(names, rows),
    }
    for key in ("inputs", "instances"):
        for title, content in bad.items():
            yield Case(f"tensor: {key}, {title}", written({key: content}))
        for raw in NUMBERS:
            yield Case(f"{raw} in a tensor, {key}", written({key: [_replaced(rows[0], 0, RAW)]}, raw))


def _tables_as_tensors(names: list[str], rows: list[list[float]]) -> Iterator[Case]:
    for raw in NUMBERS:
        data = [_replaced(rows[0], 0, RAW)]
        yield Case(f"{raw} in a tensor, dataframe_split", written({"dataframe_split": {"data": data}}, raw))
    for title, data in {"one value less": [row[:-1] for row in rows], "nothing": [], "null": None}.items():  # type: ignore[assignment]
        yield Case(f"tensor: dataframe_split, {title}", written({"dataframe_split": {"data": data}}))
    yield Case("tensor: dataframe_records, nothing", written({"dataframe_records": []}))
    yield Case(
        "tensor: dataframe_records, one value less", written({"dataframe_records": records(names[1:], _cut(rows))})
    )
    yield Case("tensor: CSV", as_csv(names, rows).encode(), CSV)
    yield Case("tensor: CSV, one column less", as_csv(names[1:], _cut(rows)).encode(), CSV)
