"""Where the time of one prediction goes, step by step, in one process without a network.

`python benchmarks/steps.py CACHE_FOLDER` loads the version that is in a service's cache, and prints a JSON list of
(step, microseconds), each the best of several rounds: others on the machine only ever add to it.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["PROMETHEUS_MULTIPROC_DIR"] = os.environ["INFERENCE_RUN_DIR"] = tempfile.mkdtemp()

import orjson
from gunicorn.config import Config
from gunicorn.http import get_parser, wsgi
from inference import scoring
from inference.files import VersionFiles
from inference.gate import Gate, Turn
from inference.keeper import ModelKeeper, Served
from inference.log import RequestLog
from inference.model import load
from inference.registry import ModelVersion
from inference.service import Service
from inference.settings import Settings
from inference.trust import Trust, Trusted
from inference.worker import _keep_values

BODY = b'{"instances": [[5.1, 3.5, 1.4, 0.2]]}'
HEAD = b"POST /invocations HTTP/1.1\r\nHost: 127.0.0.1:1235\r\nContent-Type: application/json\r\n"
REQUEST = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
CLIENT, SERVER = ("127.0.0.1", 50000), ("127.0.0.1", 1235)
ROUNDS, CALLS = 15, 2000


class Client:
    """A client's socket that has the same request again and again."""

    def recv(self, _size: int) -> bytes:
        return REQUEST

    def sendall(self, _content: bytes) -> None: ...


class Body:
    def read(self, _size: int) -> bytes:
        return BODY


def main(cache: str) -> None:
    (contents,) = {path.parent for path in Path(cache).rglob("MLmodel")}
    model = load(VersionFiles.of(contents), Trusted(Trust.SIGNED))
    keeper = ModelKeeper(lambda _: model)
    keeper.served = Served(model, ModelVersion("iris_logistic_regression", "1", "", 1, "", ""), {}, "")
    turn = Turn()
    gate = Gate(turn, 3600, 1 << 24, lambda function, *arguments: function(*arguments))
    service = Service(Settings(), keeper, gate, RequestLog(10, os.open(os.devnull, os.O_WRONLY)), lambda *_: [])
    config = Config()
    for name, value in (("forwarded_allow_ips", "*"), ("secure_scheme_headers", {}), ("forwarder_headers", "")):
        config.set(name, value)
    _keep_values(config)
    print(json.dumps(steps(service, model, config)))


def steps(service: Service, model: Any, config: Config) -> list[tuple[str, float]]:
    client = Client()
    parser = get_parser(config, client, CLIENT)
    request = next(parser)

    def read() -> None:
        next(parser)
        parser.mesg.body.reader.read(len(BODY))

    def environ() -> dict:
        return wsgi.create(request, client, CLIENT, SERVER, config)[1]

    known = environ()
    rows = scoring.rows_of(BODY, "application/json", model.description)
    labels = model.predict(rows)
    parse = best(read)
    describe = best(environ)
    to_rows = best(lambda: scoring.rows_of(BODY, "application/json", model.description))
    predict = best(lambda: model.predict(rows))
    write = best(lambda: orjson.dumps({"predictions": labels}, option=orjson.OPT_SERIALIZE_NUMPY))
    whole = best(lambda: service.answer(dict(known, **{"wsgi.input": Body()})))
    return [
        ("HTTP: from bytes to a request (gunicorn)", parse),
        ("the request as WSGI describes it (gunicorn)", describe),
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
