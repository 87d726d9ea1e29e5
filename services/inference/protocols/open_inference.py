"""The Open Inference Protocol, version 2, over REST: tensors in, tensors out.

https://github.com/kserve/open-inference-protocol. A model of columns takes one tensor per column, of the shape (rows,) or
(rows, 1); where all are of one numeric type, one tensor of the shape (rows, columns) under any name does as well. Both ways,
JSON and the extension for binary data are spoken.
"""

import struct
from math import inf
from typing import Any, NamedTuple

import numpy as np
import orjson
from contract.display import quoted
from contract.schema import Column, name_of

from inference.errors import InvalidInput, RequestError, UnsupportedMediaType
from inference.model.deployment import Deployment
from inference.model.model import Model, Prediction
from inference.protocols import request_budget
from inference.protocols.mlflow_scoring import is_flat, parsed, values_of
from inference.protocols.protocol import Encoded, Question
from inference.protocols.request_budget import Budget
from inference.rows import Rows, from_cells, from_columns

NAME, EXTENSIONS = "MLflow Stack inference", ["binary_tensor_data"]
PREDICT, PROBABILITIES = "predict", "predict_proba"
DTYPES = {
    "BOOL": "?",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
# A web page needs a permission to send one of these to another origin. Some programs, such as tritonclient, send none; a page can
# send none either, unasked (the bytes of an ArrayBuffer or a Blob), but its browser says that it does.
TENSOR_TYPES = {"application/json", "application/octet-stream"}
OF_A_BROWSER = ("HTTP_ORIGIN", "HTTP_SEC_FETCH_SITE")
HEAD_LENGTH = "Inference-Header-Content-Length"
OUTPUT_DATATYPES = {"b": "BOOL", "i": "INT64", "u": "INT64", "f": "FP64"}
BINARY_SIZE = "binary_data_size"
# The protocol's own: a shape is of 64-bit integers.
MOST_DIMENSION = 2**63 - 1


class Tensor(NamedTuple):
    """An input: where it stands in the request, its shape, and its values, flat."""

    where: str
    shape: list[int]
    values: list[Any] | np.ndarray


def server_metadata(version: str) -> dict[str, Any]:
    """Return what the protocol tells of a server."""
    return {"name": NAME, "version": version, "extensions": EXTENSIONS}


def model_metadata(served: Deployment) -> dict[str, Any]:
    """Return names, datatypes and shapes of a model's tensors, from its signature."""
    model, columns = served.model, served.model.description.columns
    if model.description.is_named:
        inputs = [{"name": c.name, "datatype": c.datatype, "shape": [-1, 1]} for c in columns]
    else:
        row = (len(columns),) if model.description.shape is None else model.description.shape
        inputs = [{"name": "inputs", "datatype": columns[0].datatype, "shape": [-1, *row]}]
    outputs = [{"name": PREDICT, "datatype": _output_datatype(model), "shape": [-1, model.description.width]}]
    if (names := model.class_names) is not None:
        outputs.append({"name": PROBABILITIES, "datatype": "FP64", "shape": [-1, len(names)]})
    version = served.version
    return {
        "name": version.name,
        "versions": [version.version],
        "platform": f"mlflow_{model.engine.replace('-', '')}",
        "inputs": inputs,
        "outputs": outputs,
    }


def _output_datatype(model: Model) -> str:
    known = {"long": "INT64", "integer": "INT64", "double": "FP64", "float": "FP64", "boolean": "BOOL"}
    return known.get(model.description.output, "BYTES")


class OpenInference:
    """POST /v2/models/{name}[/versions/{version}]/infer."""

    def decode(
        self, body: bytes, environ: dict[str, Any], deployment: Deployment, is_waited_for: bool = False
    ) -> Question:
        _check_type(environ)
        model, budget = deployment.model, Budget(len(body), is_waited_for)
        try:
            form, rows = _read(body, environ.get("HTTP_INFERENCE_HEADER_CONTENT_LENGTH"), model, budget)
        except RequestError as error:
            raise error.alone() from None
        if len(rows) > 1:
            request_budget.check_answer(len(rows), len(model.classes or ()), _row_bytes(form.wanted, model), budget)
        names = [name for name, _ in form.wanted]
        return Question(rows, PREDICT in names, PROBABILITIES in names, form)

    def encode(self, prediction: Prediction, question: Question, deployment: Deployment) -> Encoded:
        form: _Form = question.form
        values = {PREDICT: prediction.labels, PROBABILITIES: prediction.probabilities}
        outputs = [_output(name, values[name], len(question.rows), is_binary) for name, is_binary in form.wanted]
        answer = {
            "model_name": deployment.version.name,
            "model_version": deployment.version.version,
            "outputs": [output for output, _ in outputs],
        }
        if form.request_id is not None:  # JSON can write what is no text
            answer["id"] = form.request_id.encode("utf-8", "backslashreplace").decode()
        head = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
        if tail := b"".join([content for _, content in outputs if content]):
            return Encoded(head + tail, [("Content-Type", "application/octet-stream"), (HEAD_LENGTH, str(len(head)))])
        return Encoded(head, [("Content-Type", "application/json")])


def _check_type(environ: dict[str, Any]) -> None:
    """Raise UnsupportedMediaType for what a page of another origin may send without a permission."""
    kind = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if kind in TENSOR_TYPES:
        return
    if kind or any(header in environ for header in OF_A_BROWSER):
        raise UnsupportedMediaType(
            "tensors come as Content-Type: application/json, as application/octet-stream, or from programs without one"
        )


class _Form(NamedTuple):
    """How a request wants its answer."""

    request_id: str | None
    wanted: list[tuple[str, bool]]
    """the names of the outputs, in their order, and whether each is to be binary"""


def _read(body: bytes, head_length: str | None, model: Model, budget: Budget) -> tuple[_Form, Rows]:
    """Return how a request wants its answer, and its rows."""
    head, tail = _split(body, head_length)
    request_budget.check_text(len(head), budget)
    request = parsed(head)
    if not isinstance(request, dict) or not isinstance(request.get("inputs"), list) or not request["inputs"]:
        raise InvalidInput("the body has no list 'inputs'; expected {'inputs': [{name, shape, datatype, data}, …]}")
    wanted = _wanted(request, model)
    rows = _rows(_tensors(request["inputs"], tail, model, budget), model, budget)
    return _Form(request["id"] if isinstance(request.get("id"), str) else None, wanted), rows


def _row_bytes(wanted: list[tuple[str, bool]], model: Model) -> int:
    """Return how many bytes of an answer a row takes at most."""
    found = 0
    for name, is_binary in wanted:
        number = 8 if is_binary else request_budget.NUMBER_BYTES
        found += (
            number * len(model.classes or ()) if name == PROBABILITIES else request_budget.label_bytes(model.classes)
        )
    return found


def _split(body: bytes, length: str | None) -> tuple[bytes, bytes]:
    """Return the JSON and the binary data after it."""
    if length is None:
        return body, b""
    if not length.isdecimal() or len(length) > 18 or int(length) > len(body):
        raise InvalidInput(f"{HEAD_LENGTH} is {length!r:.40}; the body has {len(body)} bytes")
    return body[: int(length)], body[int(length) :]


def _wanted(request: dict[str, Any], model: Model) -> list[tuple[str, bool]]:
    """Return the names of the outputs that are asked for, and whether each is to be binary."""
    outputs, is_binary = request.get("outputs"), _parameter(request, "binary_data_output", False)
    if outputs is None or outputs == []:
        return [(PREDICT, is_binary)]
    known = [PREDICT] if model.class_names is None else [PREDICT, PROBABILITIES]
    if not isinstance(outputs, list):
        raise InvalidInput(f"'outputs' is {name_of(outputs)}; expected a list of records", "outputs")
    found: list[str] = []
    for i, output in enumerate(outputs):
        if not isinstance(output, dict) or output.get("name") not in known:
            raise InvalidInput(f"outputs[{i}] names none of {', '.join(known)}", f"outputs[{i}]")
        if output["name"] in found:
            raise InvalidInput(f"outputs[{i}] is {output['name']!r} once more", f"outputs[{i}]")
        found.append(output["name"])
    return [(output["name"], _parameter(output, "binary_data", is_binary)) for output in outputs]


def _parameter(of: dict[str, Any], name: str, default: bool) -> bool:
    parameters = of.get("parameters")
    found = parameters.get(name, default) if isinstance(parameters, dict) else default
    if not isinstance(found, bool):
        raise InvalidInput(f"the parameter {name} is {name_of(found)}; expected true or false")
    return found


def _tensors(inputs: list[Any], tail: bytes, model: Model, budget: Budget) -> dict[str, Tensor]:
    """Return name → tensor of a request's inputs, whose binary data stands one after the other in `tail`."""
    request_budget.check_names(len(inputs), len(model.description.columns), "'inputs'")
    found: dict[str, Tensor] = {}
    position = 0
    for i, tensor in enumerate(inputs):
        where = f"inputs[{i}]"
        if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
            raise InvalidInput(f"{where} has no name; expected {{name, shape, datatype, data}}", where)
        if tensor["name"] in found:
            raise InvalidInput(f"{where} is {quoted(tensor['name'])} once more", where)
        shape, datatype = _shape(tensor, where, model), _datatype(tensor, where)
        parameters = tensor.get("parameters")
        if isinstance(parameters, dict) and BINARY_SIZE in parameters:
            size = _binary_size(parameters[BINARY_SIZE], len(tail) - position, where)
            if datatype == "BYTES":
                request_budget.check_text(len(tail), budget)
            values = _binary(tail, position, size, datatype, where)
            position += size
        else:
            values = _flat(_unfolded(tensor.get("data"), model, f"{where}.data"), shape, f"{where}.data")
            _check_datatype(values, datatype, f"{where}.data")
        count = shape[0] * shape[-1] if len(shape) == 2 else shape[0]
        if len(values) != count:
            raise InvalidInput(f"{where} has {len(values)} values; its shape {shape} has {count}", where)
        found[tensor["name"]] = Tensor(where, shape, values)
    if position < len(tail):
        raise InvalidInput(f"{len(tail) - position} bytes of binary data belong to no tensor")
    return found


def _shape(tensor: dict[str, Any], where: str, model: Model) -> list[int]:
    """Return a tensor's shape, [rows] or [rows, columns]; that of an array's rows is one list of values."""
    shape, row = tensor.get("shape"), model.description.shape
    if isinstance(shape, list) and shape and all(map(_is_dimension, shape)):
        if row is not None and shape[1:] == list(row):
            return [shape[0], len(model.description.columns)]
        if len(shape) <= 2:
            return shape
    expected = "[rows] or [rows, columns]" if row is None else f"[{', '.join(map(str, ('rows', *row)))}]"
    raise InvalidInput(f"{where}.shape is {quoted(shape)}; expected {expected}", f"{where}.shape")


def _is_dimension(number: Any) -> bool:
    return type(number) is int and 0 < number <= MOST_DIMENSION


def _datatype(tensor: dict[str, Any], where: str) -> str:
    datatype = tensor.get("datatype")
    if not isinstance(datatype, str) or (datatype not in DTYPES and datatype != "BYTES"):
        where = f"{where}.datatype"
        raise InvalidInput(f"{where} is {quoted(datatype)}; expected one of {', '.join([*DTYPES, 'BYTES'])}", where)
    return datatype


def _unfolded(data: Any, model: Model, where: str) -> Any:
    """Return data that is nested as an array's rows are as a list of rows; any other as it is."""
    shape = model.description.shape or ()
    is_nested = (
        isinstance(data, list) and data and isinstance(data[0], list) and not is_flat(data[0], model.description)
    )
    if len(shape) < 2 or not is_nested:
        return data
    return [values_of(row, shape, f"{where}[{i}]") for i, row in enumerate(data)]


def _flat(data: Any, shape: list[int], where: str) -> list[Any]:
    """Return the values of JSON data, which may be nested as its shape is, or flat."""
    if not isinstance(data, list):
        raise InvalidInput(f"{where} is {name_of(data)}; expected a list", where)
    if not data or not all(isinstance(row, list) for row in data):
        return data
    if len(shape) != 2 or len(data) != shape[0]:
        raise InvalidInput(
            f"{where} has {len(data)} lists; expected it to be flat, or nested as the shape {shape}", where
        )
    for i, row in enumerate(data):
        if len(row) != shape[1]:
            raise InvalidInput(f"{where}[{i}] has {len(row)} values; the shape {shape} has {shape[1]}", f"{where}[{i}]")
    return [value for row in data for value in row]


# What JSON has of each datatype; null is a missing value, which the columns accept or refuse.
_WHOLE, _NUMBERS = frozenset({int}), frozenset({int, float})
_JSON_TYPES = {
    "BOOL": frozenset({bool}),
    "BYTES": frozenset({str}),
    "FP16": _NUMBERS,
    "FP32": _NUMBERS,
    "FP64": _NUMBERS,
}

_EXPECTED = dict.fromkeys(("FP16", "FP32", "FP64"), "a number") | {"BOOL": "true or false", "BYTES": "text"}


def _check_datatype(values: list[Any], datatype: str, where: str) -> None:
    """Raise InvalidInput for the first value that is none of a datatype."""
    known = _JSON_TYPES.get(datatype, _WHOLE) | {type(None)}
    low, high = _range(datatype) if datatype not in _JSON_TYPES else (-inf, inf)
    if set(map(type, values)) <= known and (high == inf or all(v is None or low <= v <= high for v in values)):
        return
    for i, value in enumerate(values):
        if type(value) not in known or (value is not None and high != inf and not low <= value <= high):
            said = quoted(value) if type(value) in _NUMBERS else name_of(value)
            expected = _EXPECTED.get(datatype, f"a whole number from {low} to {high}")
            raise InvalidInput(f"{where}[{i}] is {said}; expected {expected}, as {datatype} is", f"{where}[{i}]")


def _range(datatype: str) -> tuple[int, int]:
    """Return the least and the largest number of a whole datatype."""
    info = np.iinfo(DTYPES[datatype])
    return int(info.min), int(info.max)


def _binary_size(size: Any, left: int, where: str) -> int:
    if type(size) is not int or not 0 <= size <= left:
        raise InvalidInput(f"{where}.parameters.{BINARY_SIZE} is {quoted(size)}; {left} bytes are left", where)
    return size


def _binary(tail: bytes, position: int, size: int, datatype: str, where: str) -> list[Any] | np.ndarray:
    """Return the values in `size` bytes of the binary data; numbers are not copied, and cannot be written to."""
    if datatype == "BYTES":
        return _texts(tail, position, position + size, where)
    dtype = np.dtype(DTYPES[datatype])
    if size % dtype.itemsize:
        raise InvalidInput(f"{where} has {size} bytes, which are no whole number of {datatype} values", where)
    return np.frombuffer(tail, dtype, size // dtype.itemsize, position)


def _texts(tail: bytes, position: int, end: int, where: str) -> list[Any]:
    """Return texts, each of which stands after its length in bytes, as a little-endian 32-bit number."""
    found = []
    while position < end:
        start = position + 4
        if start > end:
            raise InvalidInput(f"{where} ends in the length of a text", where)
        position = start + int.from_bytes(tail[position:start], "little")
        if position > end:
            raise InvalidInput(f"{where} ends in a text", where)
        try:
            found.append(tail[start:position].decode())
        except UnicodeDecodeError:
            raise InvalidInput(f"{where} has a text that is not UTF-8", where) from None
    return found


def _rows(tensors: dict[str, Tensor], model: Model, budget: Budget) -> Rows:
    columns = model.description.columns
    width = len(columns)
    if len(tensors) == 1:
        ((name, (where, shape, values)),) = tensors.items()
        # Some clients send one row as a vector. Under another name, where columns have names, it may be a column misspelt.
        if len(shape) == 1 and shape[0] == width > 1 and (not model.description.is_named or name == "inputs"):
            shape = [1, width]
        is_matrix = len(shape) == 2 and shape[1] == width
        if is_matrix and (width > 1 or not model.description.is_named or columns[0].name in tensors):
            request_budget.check_cells(shape[0], columns, budget)
            return _of_matrix(values, shape[0], columns, where)
    if not model.description.is_named:
        raise InvalidInput(f"'inputs' has {len(tensors)} tensors; expected one of the shape [rows, {width}]")
    return _by_column(tensors, columns, budget)


def _of_matrix(values: list[Any] | np.ndarray, count: int, columns: tuple[Column, ...], where: str) -> Rows:
    """Return the rows that stand in one tensor, one after the other."""
    width = len(columns)
    if isinstance(values, np.ndarray):
        cells = list(values.reshape(count, width).T)
        return from_columns(cells, columns, lambda i, j: f"{where}.data[{i * width + j}]", count)
    rows = (values[start : start + width] for start in range(0, len(values), width))
    return from_cells(rows, columns, lambda i, j: f"{where}.data[{i * width + j}]", count)


def _by_column(tensors: dict[str, Tensor], columns: tuple[Column, ...], budget: Budget) -> Rows:
    names = dict.fromkeys(column.name for column in columns)
    if lacking := [column.name for column in columns if column.name not in tensors and not column.missing]:
        raise InvalidInput(f"'inputs' lacks {', '.join(map(repr, lacking[:20]))}", "inputs")
    known = [tensor for name, tensor in tensors.items() if name in names]
    if not known:
        raise InvalidInput(f"'inputs' has none of {', '.join(map(repr, list(names)[:20]))}", "inputs")
    count = max(len(tensor.values) for tensor in known)
    for where, shape, values in known:
        if len(values) != count or (len(shape) == 2 and shape[1] != 1):
            raise InvalidInput(f"{where}.shape is {shape}; expected [{count}] or [{count}, 1]", f"{where}.shape")
    request_budget.check_cells(count, columns, budget)
    cells = [tensors[name].values if name in tensors else None for name in names]
    return from_columns(cells, columns, lambda i, j: f"{tensors[columns[j].name].where}.data[{i}]", count)


def _output(name: str, values: np.ndarray | None, count: int, is_binary: bool) -> tuple[dict[str, Any], bytes]:
    """Return an output tensor for `count` rows, and its values where they are to be binary."""
    assert values is not None  # noqa: S101 - they were asked for
    datatype = OUTPUT_DATATYPES.get(values.dtype.kind, "BYTES")
    shape = [count, int(values.size // count)]
    tensor = {"name": name, "shape": shape, "datatype": datatype}
    flat = values.ravel()
    if not is_binary:
        return {**tensor, "data": _plain(flat)}, b""
    if datatype == "BYTES":
        texts = [str(value).encode() for value in flat.tolist()]
        content = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    else:
        content = flat.astype(DTYPES[datatype]).tobytes()
    return {**tensor, "parameters": {BINARY_SIZE: len(content)}}, content


def _plain(values: np.ndarray) -> np.ndarray | list[Any]:
    """Return an array as what orjson writes: numbers as 64-bit ones or as they are, without a Python object for each."""
    if values.dtype.kind == "f":
        return values.astype(np.float64, copy=False)
    return values if values.dtype.kind in "iub" else values.tolist()
