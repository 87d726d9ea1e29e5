"""The requests that take the most memory: each format at the size of the largest body, full of what costs the most per byte.

python worst_bodies.py WIDTH    read some for a model of so many columns whose values may be missing; print what each took
"""

import gzip
import json
import os
import resource
import sys
from collections.abc import Callable, Iterator, Sized
from typing import Any

import numpy as np

SIZE = 16 * 1024 * 1024
# One less than there may be in a body (inference.protocols.request_budget).
PARTS = 999_990
JSON, CSV = "application/json", "text/csv"
SCORING, NAMES, INFER = "/invocations", "/predict_names", "/v2/models/iris_logistic_regression/infer"

# Those of which a row takes more than it has in the body, where values may be missing.
LEFT_OUT = {
    "one value in each record",
    "empty records",
    "empty rows",
    "a list for one column",
    "CSV of commas",
    "a binary tensor of FP16",
}

Request = tuple[str, dict[str, str], bytes]
"""path, headers, body"""


def filled(start: str, unit: str, end: str, most: int = SIZE, separator: str = ",") -> bytes:
    """Return a body of at most 16 MB that repeats a unit as often as fits, up to `most` times."""
    count = min(most, (SIZE - len(start) - len(end)) // (len(unit) + len(separator)))
    return start.encode() + (unit + separator).encode() * (count - 1) + unit.encode() + end.encode()


def tensors(columns: list[str], unit: str) -> bytes:
    rows = (SIZE - 1000) // ((len(unit) + 1) * len(columns))
    head = f'{{"inputs":[{{"name":"rows","shape":[{rows},{len(columns)}],"datatype":"FP64","data":['
    return filled(head, unit, "]}]}", rows * len(columns))


def binary(columns: list[str], datatype: str, size: int) -> tuple[dict[str, str], bytes]:
    rows = (SIZE - 1000) // (size * len(columns))
    tail = bytes(rows * size * len(columns))
    tensor = {"name": "rows", "shape": [rows, len(columns)], "datatype": datatype}
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": len(tail)}}]}).encode()
    return {"Inference-Header-Content-Length": str(len(head))}, head + tail


def requests_for(columns: list[str]) -> Iterator[tuple[str, Request]]:
    """Yield each with its title; a model of these columns may answer it or refuse it."""
    json_type, names = {"Content-Type": JSON}, json.dumps(columns)
    zeros, floats = (f"[{','.join([cell] * len(columns))}]" for cell in ("0", "1e1"))
    first = f'{{"{columns[0]}":1}}'
    bodies = {
        "numbers alone": (SCORING, filled('{"instances":[', zeros, "]}")),
        "numbers alone, by name": (NAMES, filled('{"instances":[', zeros, "]}")),
        "lists": (SCORING, filled('{"inputs":[', floats, "]}")),
        "one value in each record": (SCORING, filled('{"dataframe_records":[', first, "]}", PARTS)),
        "empty records": (SCORING, filled(f'{{"instances":[{first},', "{}", "]}", PARTS)),
        "empty rows": (SCORING, filled(f'{{"dataframe_split":{{"columns":{names},"data":[', "[]", "]}}", PARTS)),
        "a list for one column": (SCORING, filled(f'{{"inputs":{{"{columns[0]}":[', "1e1", "]}}")),
        "other names": (SCORING, b'{"inputs":{' + b",".join(b'"%x":1' % i for i in range(SIZE // 11)) + b"}}"),
        "a tensor in JSON": (INFER, tensors(columns, "1e1")),
    }
    for title, (path, body) in bodies.items():
        yield title, (path, json_type, body)
        if title in ("numbers alone", "empty records"):
            yield f"{title}, compressed", (path, json_type | {"Content-Encoding": "gzip"}, gzip.compress(body))
    csv_type, header = {"Content-Type": CSV}, ",".join(columns) + "\n"
    for title, line in {"commas": ",", "zeros": ",".join(["0"] * len(columns)), "blank lines": ""}.items():
        yield f"CSV of {title}", (SCORING, csv_type, filled(header, line, "\n", separator="\n"))
    yield "CSV of one row", (SCORING, csv_type, filled(header + '"x",', "ab", "\n"))
    for datatype, size in (("UINT8", 1), ("FP16", 2), ("FP32", 4)):
        headers, body = binary(columns, datatype, size)
        yield f"a binary tensor of {datatype}", (INFER, headers, body)


# --- in a process of its own ---------------------------------------------------------------------------------------


def measured(read: Callable[[], object]) -> float:
    """Return by how many MB the most memory exceeds what there was before."""
    with open("/proc/self/statm") as file:
        before = int(file.read().split()[1]) * resource.getpagesize() / 1024
    read()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


class Zeros:
    """An estimator that answers nought."""

    name = "scikit-learn"
    classes = None

    def labels(self, rows: Sized) -> np.ndarray:
        return np.zeros(len(rows))


def infer(served: Any, body: bytes, head: dict[str, str]) -> None:
    """Read a request of the Open Inference Protocol, and write the answer to it."""
    from inference.protocols.open_inference import OpenInference

    protocol = OpenInference()
    question = protocol.decode(body, head, served)
    prediction = served.model.answer(question.rows, question.labels, question.probabilities)
    protocol.encode(prediction, question, served)


def main(width: int) -> None:
    """Print a line of JSON per request: its title, the status of what reading it comes to, and MB."""
    from contract.mlmodel.manifest import Description
    from contract.schema import Column
    from inference.errors import RequestError
    from inference.model.deployment import Deployment
    from inference.model.model import Model
    from inference.model.version import ModelVersion
    from inference.protocols.mlflow_scoring import rows_of

    columns = [f"c{j}" for j in range(width)]
    model = Description(tuple(Column(name, missing=True) for name in columns), True, "double", None, [], {})
    served = Deployment(Model(model, None, Zeros(), ""), ModelVersion("m", "1", "", 1, "", ""), {}, "")  # type: ignore[arg-type]

    for title, (path, headers, body) in requests_for(columns):
        if title not in LEFT_OUT:
            continue
        status = 200

        def read(path: Any = path, headers: Any = headers, body: Any = body) -> None:
            nonlocal status
            try:
                if path == INFER:
                    infer(served, body, {f"HTTP_{k.upper().replace('-', '_')}": v for k, v in headers.items()})
                else:
                    rows_of(body, headers["Content-Type"], model)
            except RequestError as error:
                status = error.status

        if not (child := os.fork()):  # what one leaves behind is not counted for the next
            taken = measured(read)
            print(json.dumps([title, status, taken]), flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0, title


if __name__ == "__main__":
    main(int(sys.argv[1]))
