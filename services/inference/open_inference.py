"""The Open Inference Protocol, version 2, over REST: tensors in, tensors out.

https://github.com/kserve/open-inference-protocol. A model of columns takes one tensor per column, of the shape (rows,) or
(rows, 1); where all are of one numeric type, one tensor of the shape (rows, columns) under any name does as well. Both ways,
JSON and the extension for binary data are spoken.
"""

import struct
from typing import Any

import numpy as np
import orjson

from inference.columns import Column
from inference.errors import InvalidInput
from inference.keeper import Served
from inference.model import Model
from inference.rows import Rows, from_cells, name_of
from inference.scoring import parsed

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
    "FP32": "<f4",
    "FP64": "<f8",
}
HEAD_LENGTH = "Inference-Header-Content-Length"
OUTPUT_DATATYPES = {"b": "BOOL", "i": "INT64", "u": "INT64", "f": "FP64"}
BINARY_SIZE = "binary_data_size"


def server_metadata(version: str) -> dict[str, Any]:
    return {"name": NAME, "version": version, "extensions": EXTENSIONS}


def model_metadata(served: Served) -> dict[str, Any]:
    """Return names, datatypes and shapes of a model's tensors, from its signature."""
    model, columns = served.model, served.model.description.columns
    if model.description.is_named:
        inputs = [{"name": c.name, "datatype": c.datatype, "shape": [-1, 1]} for c in columns]
    else:
        inputs = [{"name": "inputs", "datatype": columns[0].datatype, "shape": [-1, len(columns)]}]
    outputs = [{"name": PREDICT, "datatype": _output_datatype(model), "shape": [-1, 1]}]
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


def infer(served: Served, body: bytes, environ: dict[str, Any]) -> tuple[bytes, bytes, int]:
    """Return the answer's JSON, its binary data, and the number of rows; raise InvalidInput that points at what is wrong."""
    head, tail = _split(body, environ.get("HTTP_INFERENCE_HEADER_CONTENT_LENGTH"))
    request = parsed(head)
    if not isinstance(request, dict) or not isinstance(request.get("inputs"), list) or not request["inputs"]:
        raise InvalidInput("the body has no list 'inputs'; expected {'inputs': [{name, shape, datatype, data}, …]}")
    model = served.model
    wanted = _wanted(request, model)
    rows = _rows(_tensors(request["inputs"], tail), model)
    outputs = [_output(name, model, rows, is_binary) for name, is_binary in wanted]
    answer = {
        "model_name": served.version.name,
        "model_version": served.version.version,
        "outputs": [output for output, _ in outputs],
    }
    if isinstance(request.get("id"), str):
        answer["id"] = request["id"].encode("utf-8", "backslashreplace").decode()  # JSON can write what is no text
    return orjson.dumps(answer), b"".join(content for _, content in outputs), len(rows)


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
    for i, output in enumerate(outputs):
        if not isinstance(output, dict) or output.get("name") not in known:
            raise InvalidInput(f"outputs[{i}] names none of {', '.join(known)}", f"outputs[{i}]")
    return [(output["name"], _parameter(output, "binary_data", is_binary)) for output in outputs]


def _parameter(of: dict[str, Any], name: str, default: bool) -> bool:
    parameters = of.get("parameters")
    found = parameters.get(name, default) if isinstance(parameters, dict) else default
    if not isinstance(found, bool):
        raise InvalidInput(f"the parameter {name} is {name_of(found)}; expected true or false")
    return found


def _tensors(inputs: list[Any], tail: bytes) -> dict[str, tuple[str, list[int], list[Any] | np.ndarray]]:
    """Return name → where it stands in the request, shape and values, flat."""
    found: dict[str, tuple[str, list[int], list[Any] | np.ndarray]] = {}
    for i, tensor in enumerate(inputs):
        where = f"inputs[{i}]"
        if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
            raise InvalidInput(f"{where} has no name; expected {{name, shape, datatype, data}}", where)
        if tensor["name"] in found:
            raise InvalidInput(f"{where} is {tensor['name']!r} once more", where)
        shape, datatype = _shape(tensor, where), tensor.get("datatype")
        if not isinstance(datatype, str) or (datatype not in DTYPES and datatype != "BYTES"):
            raise InvalidInput(
                f"{where}.datatype is {datatype!r}; expected one of {', '.join([*DTYPES, 'BYTES'])}",
                f"{where}.datatype",
            )
        parameters = tensor.get("parameters")
        if isinstance(parameters, dict) and BINARY_SIZE in parameters:
            values, tail = _binary(parameters[BINARY_SIZE], datatype, tail, where)
        else:
            values = _flat(tensor.get("data"), f"{where}.data")
        count = int(np.prod(shape, dtype=object))
        if len(values) != count:
            raise InvalidInput(f"{where} has {len(values)} values; its shape {shape} has {count}", where)
        found[tensor["name"]] = where, shape, values
    if tail:
        raise InvalidInput(f"{len(tail)} bytes of binary data belong to no tensor")
    return found


def _shape(tensor: dict[str, Any], where: str) -> list[int]:
    shape = tensor.get("shape")
    if not isinstance(shape, list) or len(shape) not in (1, 2) or not all(type(n) is int and n > 0 for n in shape):
        raise InvalidInput(f"{where}.shape is {shape!r:.80}; expected [rows] or [rows, columns]", f"{where}.shape")
    return shape


def _flat(data: Any, where: str) -> list[Any]:
    """Return the values of JSON data, which may be nested as its shape is, or flat."""
    if not isinstance(data, list):
        raise InvalidInput(f"{where} is {name_of(data)}; expected a list", where)
    if data and all(isinstance(row, list) for row in data):
        return [value for row in data for value in row]
    return data


def _binary(size: Any, datatype: str, tail: bytes, where: str) -> tuple[list[Any] | np.ndarray, bytes]:
    if type(size) is not int or not 0 <= size <= len(tail):
        raise InvalidInput(f"{where}.parameters.{BINARY_SIZE} is {size!r:.40}; {len(tail)} bytes are left", where)
    content, rest = tail[:size], tail[size:]
    if datatype == "BYTES":
        return _texts(content, where), rest
    dtype = np.dtype(DTYPES[datatype])
    if size % dtype.itemsize:
        raise InvalidInput(f"{where} has {size} bytes, which are no whole number of {datatype} values", where)
    return np.frombuffer(content, dtype), rest


def _texts(content: bytes, where: str) -> list[Any]:
    """Return texts, each of which stands after its length in bytes, as a little-endian 32-bit number."""
    found, position = [], 0
    while position < len(content):
        if position + 4 > len(content):
            raise InvalidInput(f"{where} ends in the length of a text", where)
        (length,) = struct.unpack_from("<I", content, position)
        text = content[position + 4 : position + 4 + length]
        if len(text) < length:
            raise InvalidInput(f"{where} ends in a text", where)
        try:
            found.append(text.decode())
        except UnicodeDecodeError:
            raise InvalidInput(f"{where} has a text that is not UTF-8", where) from None
        position += 4 + length
    return found


def _rows(tensors: dict[str, tuple[str, list[int], list[Any] | np.ndarray]], model: Model) -> Rows:
    columns = model.description.columns
    if len(tensors) == 1:
        ((where, shape, values),) = tensors.values()
        is_matrix = len(shape) == 2 and shape[1] == len(columns)
        if is_matrix and (len(columns) > 1 or not model.description.is_named or columns[0].name in tensors):
            width = len(columns)
            cells = _plain(values)
            lists = [cells[i : i + width] for i in range(0, len(cells), width)]
            return from_cells(lists, columns, lambda i, j: f"{where}.data[{i * width + j}]")
    if not model.description.is_named:
        raise InvalidInput(f"'inputs' has {len(tensors)} tensors; expected one of the shape [rows, {len(columns)}]")
    return _by_column(tensors, columns)


def _by_column(tensors: dict[str, tuple[str, list[int], list[Any] | np.ndarray]], columns: tuple[Column, ...]) -> Rows:
    names = [column.name for column in columns]
    if lacking := [column.name for column in columns if column.name not in tensors and not column.missing]:
        raise InvalidInput(f"'inputs' lacks {', '.join(map(repr, lacking[:20]))}", "inputs")
    known = {name: tensor for name, tensor in tensors.items() if name in names}
    if not known:
        raise InvalidInput(f"'inputs' has none of {', '.join(map(repr, names[:20]))}", "inputs")
    count = max(len(values) for _, _, values in known.values())
    for where, shape, values in known.values():
        if len(values) != count or (len(shape) == 2 and shape[1] != 1):
            raise InvalidInput(f"{where}.shape is {shape}; expected [{count}] or [{count}, 1]", f"{where}.shape")
    cells = [_plain(tensors[name][2]) if name in tensors else [None] * count for name in names]
    return from_cells(list(zip(*cells, strict=True)), columns, lambda i, j: f"{tensors[names[j]][0]}.data[{i}]")


def _plain(values: list[Any] | np.ndarray) -> list[Any]:
    return values.tolist() if isinstance(values, np.ndarray) else values


def _output(name: str, model: Model, rows: Rows, is_binary: bool) -> tuple[dict[str, Any], bytes]:
    """Return an output tensor, and its values where they are to be binary."""
    values = model.probabilities(rows) if name == PROBABILITIES else model.predict(rows)
    datatype = OUTPUT_DATATYPES.get(values.dtype.kind, "BYTES")
    shape = [len(rows), int(values.size // len(rows))]
    tensor = {"name": name, "shape": shape, "datatype": datatype}
    if not is_binary:
        return {**tensor, "data": values.ravel().tolist()}, b""
    if datatype == "BYTES":
        texts = [str(value).encode() for value in values.ravel().tolist()]
        content = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    else:
        content = values.astype(DTYPES[datatype]).tobytes()
    return {**tensor, "parameters": {BINARY_SIZE: len(content)}}, content
