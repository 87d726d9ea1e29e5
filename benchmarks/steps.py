"""Where the time of one prediction goes, step by step, in one process without a network.

`python benchmarks/steps.py CACHE_FOLDER` loads the version that is in a service's cache, and prints a JSON list of
(step, microseconds), each the best of several rounds: others on the machine only ever add to it.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp()

import orjson
from contract.version_files import VersionFiles
from inference.http.application import Service
from inference.http.request_parser import Request, RequestReader
from inference.model.deployment import Deployment
from inference.model.model import load
from inference.model.version import ModelVersion
from inference.protocols import mlflow_scoring
from inference.request.admission import AdmissionControl
from inference.rollout.active_model import ActiveModel, Deployments
from inference.settings import Settings
from inference.telemetry.log import RequestLog
from inference.trust import Trust, Trusted

BODY = b'{"instances": [[5.1, 3.5, 1.4, 0.2]]}'
HEAD = b"POST /invocations HTTP/1.1\r\nHost: 127.0.0.1:1235\r\nContent-Type: application/json\r\n"
REQUEST = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
ROUNDS, CALLS = 15, 2000


class Receiver:
    """Keeps the last request."""

    def head_came(self, request: Request) -> None:
        self.request = request

    def body_came(self, request: Request, piece: bytes) -> None:
        request.content = piece

    def request_came(self, request: Request) -> None: ...


def main(cache: str) -> None:
    (contents,) = {path.parent for path in Path(cache).rglob("MLmodel")}
    model = load(VersionFiles.of(contents), Trusted(Trust.SIGNED))
    active = ActiveModel("iris_logistic_regression", lambda *_: model)
    active.served = Deployment(model, ModelVersion(active.name, "1", "", 1, "", ""), {}, "")
    admission = AdmissionControl(3600, 1 << 24, asyncio.to_thread)  # type: ignore[arg-type]  # nothing runs aside here
    log = RequestLog(10, os.open(os.devnull, os.O_WRONLY))
    service = Service(Settings(), Deployments([active]), admission, log, lambda *_: [])
    print(json.dumps(steps(service, model)))


def steps(service: Service, model: Any) -> list[tuple[str, float]]:
    receiver = Receiver()
    reader, sent = RequestReader(receiver, "127.0.0.1"), memoryview(REQUEST)
    reader.feed(sent)
    known = receiver.request.environ

    def answer() -> None:
        context = service.begin(dict(known))
        context.body = BODY
        service.answer(context)

    rows = mlflow_scoring.rows_of(BODY, "application/json", model.description)
    labels = model.predict(rows)
    parse = best(lambda: reader.feed(sent))
    to_rows = best(lambda: mlflow_scoring.rows_of(BODY, "application/json", model.description))
    predict = best(lambda: model.predict(rows))
    write = best(lambda: orjson.dumps({"predictions": labels}, option=orjson.OPT_SERIALIZE_NUMPY))
    whole = best(answer)
    return [
        ("HTTP: from bytes to a request as WSGI describes it (httptools)", parse),
        ("from JSON text to a matrix, checked (simdjson, NumPy)", to_rows),
        ("the prediction (onnxruntime)", predict),
        ("from labels to JSON text (orjson)", write),
        ("request id, limits, headers, metrics, log", whole - to_rows - predict - write),
    ]


def best(call: Callable[[], Any]) -> float:
    """Return a call's microseconds."""
    found = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(CALLS):
            call()
        found.append((time.perf_counter() - start) / CALLS)
    return min(found) * 1e6


if __name__ == "__main__":
    main(sys.argv[1])
