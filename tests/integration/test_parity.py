"""POST /invocations beside MLflow's own scoring server, model by model and body by body.

What MLflow answers is answered, with the same predictions; what it refuses is refused. DIFFERENCES lists what is not so,
and why; each of them has to be seen in at least one model, so that the list cannot outlive the differences.
"""

import contextlib
import csv
import functools
import io
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests
import yaml

from tests.integration.peers import MODELS
from tests.integration.places import DATA, ROOT, Place, Service, eventually, free_port
from tests.unit.tables import people

PEERS = Path(__file__).with_name("peers.py")
BY_HAND = "parity"
SIGNED = {
    "signed iris": ("parity_iris",),
    "signed wine, a forest": ("parity_wine", "--dataset", "wine", "--algorithm", "random_forest"),
    "signed table with text, booleans and holes": ("parity_people", "--data", "people.csv", "--target", "stays"),
}
TITLES = [*MODELS, *SIGNED]
WIDE = 100
JSON = "application/json"
CSV = "text/csv"


# --- what is known to differ -----------------------------------------------------------------------------------------

ANSWERED, REFUSED, FAILED, OTHERWISE = "answered", "refused", "failed (5xx)", "answered otherwise"


@dataclass(frozen=True)
class Difference:
    """Cases, by their titles, in which MLflow may do one thing and this service another."""

    what: str
    why: str
    mlflow: str
    ours: str
    cases: tuple[str, ...]


# How the titles of cases call a missing value.
MISSING = ("null", "NaN", "null beside values", "CSV cell ''", "CSV cell 'NA'", "CSV cell '\"NA\"'", "CSV cell '\"\"'")

DIFFERENCES = [
    Difference(
        "Plain lists in `instances` and `inputs`, for a model with named columns",
        "they are taken in the order of the columns, as this service always did; MLflow wants names",
        REFUSED,
        ANSWERED,
        ("instances: lists", "inputs: lists"),
    ),
    Difference(
        "Numbers beyond ±3.4e38, infinity among them",
        "many estimators compute in float32, and none answers sensibly beyond it",
        ANSWERED,
        REFUSED,
        ("1e39 in *", "1e400 in *", "Infinity in *", "CSV cell '1e39' in *", "CSV cell 'inf' in *"),
    ),
    Difference(
        "A missing value where the version says `required`",
        "the version was made of data without missing values; MLflow leaves a missing number to the estimator, takes a "
        "missing boolean for false or, beside other values, for true, and a missing text for the word None",
        ANSWERED,
        REFUSED,
        (
            *(f"{what} in a {kind} column*" for what in MISSING for kind in ("double", "float", "boolean", "string")),
            "*: a record without the last column",
            "*: a row without the last column",
            "CSV: nothing but commas",
        ),
    ),
    Difference(
        "A missing text in `instances` and `inputs`",
        "MLflow makes the words None and nan of it there, and a missing text in the other formats; here it is missing in all",
        ANSWERED,
        OTHERWISE,
        (
            "null in an optional string column, *",
            "NaN in an optional string column, *",
            "null beside values in an optional string column, *",
        ),
    ),
    Difference(
        "A missing truth value where it is accepted",
        "MLflow takes it for false in JSON, beside numbers for true, and refuses it in CSV; here it is missing in all",
        ANSWERED,
        OTHERWISE,
        (
            "null in an optional boolean column, *",
            "NaN in an optional boolean column, *",
            "null beside values in an optional boolean column, *",
        ),
    ),
    Difference(
        "An empty cell of CSV in a boolean column that accepts missing values",
        "as above: what is accepted in JSON is accepted in CSV",
        REFUSED,
        ANSWERED,
        (
            "CSV cell '' in an optional boolean column",
            "CSV cell 'NA' in an optional boolean column",
            "null beside values in an optional boolean column, text/csv",
        ),
    ),
    Difference(
        "A column that accepts missing values is left out",
        "it is missing in all rows then; MLflow hands the estimator a table without it, which scikit-learn refuses",
        REFUSED,
        ANSWERED,
        (
            "*: without the last, optional column",
            "*: rows without the last, optional column",
            "instances: a record without the last, optional column",
        ),
    ),
    Difference(
        "A fraction, or a number out of range, in a column of whole numbers",
        "MLflow cuts the fraction off and lets the number wrap round",
        ANSWERED,
        REFUSED,
        (
            "1.5 in a long column, *",
            "1.5 in an integer column, *",
            "1e39 in a long column, *",
            "1e39 in an integer column, *",
            "3000000000 in an integer column, *",
        ),
    ),
    Difference(
        "A number or a text in a boolean column",
        'MLflow takes every number but 0 and every text but "" for true, "false" as well',
        ANSWERED,
        REFUSED,
        tuple(f"{raw} in * boolean column, *" for raw in ("1", "0", "1.5", '"true"', '"false"', '""', "[1]", "{}")),
    ),
    Difference(
        "true or false in a column of numbers",
        "MLflow takes them for 1 and 0; more likely a value stands in the wrong column",
        ANSWERED,
        REFUSED,
        (
            "*true* in * double *",
            "*true* in * float *",
            "*true* in * long *",
            "*true* in * integer *",
            "true in a tensor, *",
        ),
    ),
    Difference(
        "A text in a column of numbers",
        'MLflow takes "1" for 1, "1_0" for 10 and "nan" for a missing number',
        ANSWERED,
        REFUSED,
        ('"1" in *', '"1_0" in *', '"nan" in *'),
    ),
    Difference(
        "A number, true or false, or a list in a text column",
        "MLflow makes text of it in `instances` and `inputs`, and leaves it as it is in the other formats",
        ANSWERED,
        REFUSED,
        tuple(f"{raw} in * string column, *" for raw in ("1", "1.5", "true", "[1]", "{}", '["Bern"]')),
    ),
    Difference(
        "Records in `instances` that have different keys",
        "MLflow lines the values up by column, and so makes one row of two",
        ANSWERED,
        REFUSED,
        ("instances: two records that make one", "instances: an empty record beside a whole one"),
    ),
    Difference(
        "Odd shapes",
        "pandas happens to take them: records or columns as the data of dataframe_split, one value for all rows of inputs",
        ANSWERED,
        REFUSED,
        (
            "dataframe_split: records as data",
            "dataframe_split: columns as data",
            "inputs: one value for all rows",
        ),
    ),
    Difference(
        "A CSV row with more values than there are columns",
        "where all rows have too many, MLflow drops the first value and shifts the others to the left",
        ANSWERED,
        REFUSED,
        ("CSV: a row that is too long", "CSV: a comma at the end of each row"),
    ),
    Difference(
        "A column that the model does not have, in some of the records of `instances`",
        "it is overlooked as it is in the other formats, and as it is where all records have it",
        REFUSED,
        ANSWERED,
        ("instances: one more column in one record",),
    ),
    Difference(
        "Blanks around true and false in CSV",
        "they are overlooked as they are around numbers",
        REFUSED,
        ANSWERED,
        ("CSV cell ' true' in *",),
    ),
    Difference(
        "`params` that do not fit the model's own parameters",
        "MLflow checks them against the signature; no scikit-learn model does anything with them",
        REFUSED,
        ANSWERED,
        ("params: *",),
    ),
    Difference(
        "Parquet",
        "few clients send it, and reading it would take a library of 100 MB",
        ANSWERED,
        REFUSED,
        ("Parquet: rows",),
    ),
    Difference(
        "A content type in capitals, or with its charset in quotes",
        "HTTP allows both",
        REFUSED,
        ANSWERED,
        ("content type: APPLICATION/JSON", 'content type: application/json; charset="utf-8"'),
    ),
    Difference(
        "No content type, JSON that is nested too deep, and whole numbers of thousands of digits",
        "MLflow fails over them with 500; here they are the client's mistake",
        FAILED,
        REFUSED,
        ("content type: none", "document: nested too deep", "document: a number of 5000 digits"),
    ),
]


# --- the models ------------------------------------------------------------------------------------------------------


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


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("parity"))
    data = place.folder / "data"
    data.mkdir()
    (data / "iris_dataset.csv").write_bytes((DATA / "iris_dataset.csv").read_bytes())
    people().to_csv(data / "people.csv", index=False)
    return place


@pytest.fixture(scope="module")
def logged(place) -> dict[str, Logged]:
    """Log all models, by hand and by the trainer; return them by their titles."""
    result = place.run(sys.executable, str(PEERS), "log", BY_HAND, PYTHONPATH="")
    assert result.returncode == 0, result.stderr
    made = [_by_hand(**known) for known in json.loads(result.stdout.splitlines()[-1])]
    made += [_trained(place, title, *options) for title, options in SIGNED.items()]
    return {model.title: model for model in made}


def _by_hand(columns: list[list[Any]] | None, name: str, version: str, **known: Any) -> Logged:
    found = [Column(*column) for column in columns or []]
    return Logged(name=name, version=version, uri=f"models:/{name}/{version}", columns=found, **known)


def _trained(place: Place, title: str, name: str, *options: str) -> Logged:
    """Train a version, and download it as anybody can."""
    settings = {"DATA_DIR": str(place.folder / "data"), "MIN_TEST_ACCURACY": "0.5"}
    result = place.trainer("train", "--json", "--model-name", name, *options, **settings)
    assert result.returncode == 0, result.stderr
    version = json.loads(result.stdout)["version"]
    folder = place.folder / name
    place.notebook(f"""
import mlflow
mlflow.artifacts.download_artifacts("models:/{name}/{version}", dst_path="{folder}")
print(0)
""")
    signature = yaml.safe_load((folder / "MLmodel").read_text())["signature"]
    columns = [Column(c["name"], c["type"], c.get("required", True)) for c in json.loads(signature["inputs"])]
    golden = json.loads((folder / "golden.json").read_text())["instances"]
    rows = [row for row in golden if None not in row]
    return Logged(title, name, str(version), "signed", str(folder), columns, [rows[0], rows[len(rows) // 2], rows[-1]])


# --- the two sides ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A request, whether both sides have to answer it, and which models it is for."""

    title: str
    body: bytes
    content_type: str | None = JSON
    good: bool = False


@dataclass(frozen=True)
class Answer:
    status: int
    predictions: Any
    text: str

    @property
    def outcome(self) -> str:
        return {2: ANSWERED, 4: REFUSED}.get(self.status // 100, FAILED)

    def __str__(self) -> str:
        return f"{self.status} {' '.join(self.text.split())[:160]}"


@dataclass(frozen=True)
class Exchange:
    """A case, with MLflow's answer and ours."""

    case: Case
    theirs: Answer
    ours: Answer
    tolerance: float

    @property
    def outcomes(self) -> tuple[str, str]:
        both = self.theirs.outcome, self.ours.outcome
        if both == (ANSWERED, ANSWERED) and not same(self.theirs.predictions, self.ours.predictions, self.tolerance):
            return ANSWERED, OTHERWISE
        return both

    @property
    def agree(self) -> bool:
        """Tell whether both do the same; a case that has to be answered, is."""
        theirs, ours = self.outcomes
        return theirs == ours and (theirs == ANSWERED or not self.case.good)

    def __str__(self) -> str:
        sent = self.case.body.decode(errors="replace")[:160]
        return f"{self.case.title}\n    sent    {sent}\n    MLflow  {self.theirs}\n    ours    {self.ours}"


def same(theirs: Any, ours: Any, tolerance: float) -> bool:
    """Tell whether predictions are equal: of the same types, and floats within the tolerance."""
    if type(theirs) is not type(ours):
        return False
    if isinstance(theirs, list):
        return len(theirs) == len(ours) and all(same(*pair, tolerance) for pair in zip(theirs, ours, strict=True))
    if isinstance(theirs, float):
        return math.isclose(theirs, ours, rel_tol=tolerance, abs_tol=tolerance)
    return theirs == ours


def ask(url: str, case: Case) -> Answer:
    headers = {} if case.content_type is None else {"Content-Type": case.content_type}
    answer = requests.post(f"{url}/invocations", data=case.body, headers=headers, timeout=60)
    if answer.status_code != 200:
        return Answer(answer.status_code, None, answer.text)
    assert answer.headers["Content-Type"] == JSON
    assert list(answer.json()) == ["predictions"]
    return Answer(200, answer.json()["predictions"], answer.text)


@pytest.fixture(scope="module")
def mlflows(place, logged) -> Iterator[Service]:
    """MLflow's application for all models, each below the path of its number."""
    port = free_port()
    command = [sys.executable, str(PEERS), "serve", str(port), *(model.uri for model in logged.values())]
    with running(place, "mlflow.log", command, port, "/0/ping") as service:
        yield service


@contextlib.contextmanager
def running(place: Place, log: str, command: list[str], port: int, path: str) -> Iterator[Service]:
    """Run a server of MLflow's that sees nothing of ours, from when it answers `path` until the block ends."""
    # `mlflow models serve` looks for its uvicorn on the path.
    path_of_tools = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = place.environ(PYTHONPATH="", PATH=path_of_tools)
    service = Service(command, environ, place.work, place.folder / log, port)
    try:
        service.answers(path)
        yield service
    finally:
        service.kill_what_is_left()


class Serving:
    """This service, of which one process runs at a time; from version to version of a model the alias moves."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._process = contextlib.ExitStack()
        self._started: tuple[str, str, Service] | None = None
        self.engines: dict[str, str] = {}
        """what answered for a model, by its title"""

    def serve(self, model: Logged) -> str:
        """Return the URL of the service once it serves the model; fail with its words where it refuses to."""
        self._place.client.set_registered_model_alias(model.name, "Production", model.version)
        if self._started is None or self._started[:2] != (model.name, model.trust):
            self._started = (model.name, model.trust, self._start(model))
        service = self._started[2]
        found = eventually(f"{model.title} is served", lambda: self._decided(service, model), 60)
        assert found == "served", found
        self.engines[model.title] = service.get("/version").json()["model"]["engine"]["name"]
        return service.url

    def _start(self, model: Logged) -> Service:
        self.stop()
        settings = {"ALLOW_SCHEMA_CHANGE": "true", "INFERENCE_WORKERS": "1"}
        service = self._process.enter_context(
            self._place.inference(MODEL_NAME=model.name, MODEL_TRUST=model.trust, **settings)
        )
        service.answers("/health")
        return service

    @staticmethod
    def _decided(service: Service, model: Logged) -> str | None:
        """Return "served", why the version is not, or None as long as that is open."""
        assert service.is_running, service.log
        found = service.get("/version").json()["model"]
        if found and (found["name"], found["version"]) == (model.name, model.version):
            return "served"
        problem = found["problem"] if found else ", ".join(map(str, service.get("/ready").json().get("reasons", [])))
        return problem if problem and f"version {model.version} of" in problem else None

    def stop(self) -> None:
        self._process.close()


@pytest.fixture(scope="module")
def serving(place) -> Iterator[Serving]:
    serving = Serving(place)
    yield serving
    serving.stop()


@pytest.fixture(scope="module")
def exchanges(logged, mlflows, serving) -> Callable[[str], list[Exchange]]:
    """Return a function that sends all cases of a model to both sides, once."""
    numbers = {title: number for number, title in enumerate(logged)}

    @functools.cache
    def exchanges(title: str) -> list[Exchange]:
        model, theirs = logged[title], f"{mlflows.url}/{numbers[title]}"
        ours = serving.serve(model)
        return [Exchange(case, ask(theirs, case), ask(ours, case), model.tolerance) for case in cases(model)]

    return exchanges


# --- the cases -------------------------------------------------------------------------------------------------------

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
    bad = {
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
    """What is no row in `instances`, nor in `inputs`."""
    whole = records(model.names, model.rows)
    return {
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


def instances(model: Logged) -> Iterator[Case]:
    """What `instances` may look like."""
    whole = records(model.names, model.rows)
    found = _either(model)
    if len(model.columns) > 1:
        found["values"] = model.rows[0]
        found[f"a record without {model.last}"] = [whole[0], _without_last(whole[1]), whole[2]]
        first = model.names[0]
        halves = [{first: whole[0][first]}, {name: whole[0][name] for name in model.names if name != first}]
        found["two records that make one"] = halves
        found["an empty record beside a whole one"] = [whole[0], {}]
        found["one more column in one record"] = [whole[0], {**whole[1], "more": 1}]
    for title, content in found.items():
        yield Case(f"instances: {title}", written({"instances": content}))
    yield from _single_column("instances", model)


def inputs(model: Logged) -> Iterator[Case]:
    """What `inputs` may look like."""
    whole = records(model.names, model.rows)
    found = _either(model)
    if len(model.columns) > 1:
        found["values"] = model.rows[0]
        found[f"a record without {model.last}"] = [whole[0], _without_last(whole[1]), whole[2]]
        found["one value for all rows"] = by_column(model.names, model.rows) | {model.names[0]: model.rows[0][0]}
        found["one more column in one record"] = [whole[0], {**whole[1], "more": 1}]
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
    for raw in NUMBERS:
        data = [_replaced(rows[0], 0, RAW)]
        yield Case(f"{raw} in a tensor, dataframe_split", written({"dataframe_split": {"data": data}}, raw))
    for title, data in {"one value less": [row[:-1] for row in rows], "nothing": [], "null": None}.items():
        yield Case(f"tensor: dataframe_split, {title}", written({"dataframe_split": {"data": data}}))
    yield Case("tensor: dataframe_records, nothing", written({"dataframe_records": []}))
    yield Case(
        "tensor: dataframe_records, one value less", written({"dataframe_records": records(names[1:], _cut(rows))})
    )
    yield Case("tensor: CSV", as_csv(names, rows).encode(), CSV)
    yield Case("tensor: CSV, one column less", as_csv(names[1:], _cut(rows)).encode(), CSV)


# --- the proofs ------------------------------------------------------------------------------------------------------


def listed(exchange: Exchange) -> list[Difference]:
    """Return the differences in the list that are about a case; nothing excuses one that has to be answered."""
    title = exchange.case.title
    named = [known for known in DIFFERENCES if any(fnmatchcase(title, _literal(case)) for case in known.cases)]
    return [] if exchange.case.good else named


def explained(exchange: Exchange) -> list[Difference]:
    """Return the differences in the list that say what happened here."""
    return [known for known in listed(exchange) if (known.mlflow, known.ours) == exchange.outcomes]


def is_as_it_should_be(exchange: Exchange) -> bool:
    """Tell whether both sides do the same or differ as the list says; what is to be refused, is."""
    theirs, ours = exchange.outcomes
    refused = any((known.mlflow, known.ours) == (theirs, REFUSED) for known in listed(exchange))
    return ours == REFUSED if refused else exchange.agree or bool(explained(exchange))


def _literal(pattern: str) -> str:
    """Return a pattern in which only * has a meaning."""
    return pattern.replace("[", "[[]").replace("?", "[?]")


@pytest.mark.parametrize("title", TITLES)
def test_what_mlflow_answers_is_answered_with_the_same_predictions_and_what_it_refuses_is_refused(exchanges, title):
    found = exchanges(title)
    wrong = [exchange for exchange in found if not is_as_it_should_be(exchange)]
    assert not wrong, f"{len(wrong)} of {len(found)}\n" + "\n".join(map(str, wrong))


@pytest.mark.parametrize("title", TITLES)
def test_no_request_makes_the_service_fail_and_a_refusal_says_why_in_one_shape(exchanges, title):
    for exchange in exchanges(title):
        if exchange.ours.status != 200:
            assert exchange.ours.outcome == REFUSED, exchange
            assert set(json.loads(exchange.ours.text)) >= {"error_code", "message"}, exchange


@pytest.mark.parametrize("known", DIFFERENCES, ids=lambda known: known.what)
def test_a_difference_in_the_list_is_one(exchanges, known):
    assert any(known in explained(exchange) for title in TITLES for exchange in exchanges(title))


@pytest.mark.parametrize("title", [title for title in TITLES if title != "numpy array"])
def test_plain_lists_are_answered_as_records_are(exchanges, title):
    found = {exchange.case.title: exchange for exchange in exchanges(title)}
    records = found["instances: rows"]
    for lists in (found["instances: lists"], found["inputs: lists"]):
        assert same(records.theirs.predictions, lists.ours.predictions, records.tolerance), lists


@pytest.mark.parametrize("title", TITLES)
def test_a_value_means_the_same_in_each_json_format(exchanges, title):
    meant: dict[str, list[Exchange]] = {}
    for exchange in exchanges(title):
        value, _, form = exchange.case.title.rpartition(", ")
        if " in a" in value and form != CSV:
            meant.setdefault(value, []).append(exchange)
    for first, *others in meant.values():
        for other in others:
            assert (other.ours.status, other.ours.predictions) == (first.ours.status, first.ours.predictions), other


def test_models_of_the_trainers_are_answered_by_their_onnx_twins(exchanges, serving):
    for title in SIGNED:
        assert exchanges(title)
    assert {title: serving.engines[title] for title in SIGNED} == dict.fromkeys(SIGNED, "onnx")


def test_a_version_of_the_trainers_is_loaded_and_served_by_mlflow_with_the_answers_of_this_service(
    place, logged, mlflows, exchanges
):
    model = logged["signed iris"]
    loaded = place.notebook(f"""
import json, mlflow, pandas
rows = pandas.DataFrame({model.rows!r}, columns={model.names!r})
print(json.dumps(mlflow.pyfunc.load_model({model.uri!r}).predict(rows).tolist()))
""")
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", model.uri, "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with running(place, "serve.log", command, port, "/ping") as served:
        for exchange in exchanges(model.title):
            answer = ask(served.url, exchange.case)
            # Word for word where there are predictions; the words of a refusal have parts that come in any order.
            text = answer.text if answer.status == 200 else ""
            assert replace(answer, text=text) == replace(exchange.theirs, text=text and exchange.theirs.text), exchange
            if exchange.case.title == "dataframe_split: rows":
                assert answer.predictions == exchange.ours.predictions == loaded


def test_the_documentation_lists_every_difference_with_its_reason():
    page = (ROOT / "docs" / "serving.md").read_text()
    for known in DIFFERENCES:
        assert f"| {known.what} | {known.mlflow} | {known.ours} | {known.why} |" in page
