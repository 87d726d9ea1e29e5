"""Requests that were right once, changed at random: what a fuzzer sends to the running service.

The same seed gives the same requests. Some are changed as JSON, some as bytes, some in the lines of HTTP around them.
"""

import copy
import gzip
import json
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.integration.places import MODEL, SAMPLES

JSON, CSV, BINARY = "application/json", "text/csv", "application/octet-stream"
COLUMNS = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
RECORDS = [dict(zip(COLUMNS, row, strict=True)) for row in SAMPLES]
INFER = f"/v2/models/{MODEL}/infer"
TENSOR = {"name": "rows", "shape": [3, 4], "datatype": "FP64", "data": [value for row in SAMPLES for value in row]}
GOOD: list[tuple[str, Any]] = [
    ("/invocations", {"instances": SAMPLES}),
    ("/invocations", {"instances": RECORDS}),
    ("/predict_names", {"inputs": {name: [row[i] for row in SAMPLES] for i, name in enumerate(COLUMNS)}}),
    ("/predict_names", {"dataframe_split": {"columns": COLUMNS, "data": SAMPLES, "index": [0, 1, 2]}}),
    ("/invocations", {"dataframe_records": RECORDS}),
    (INFER, {"id": "1", "inputs": [TENSOR], "outputs": [{"name": "predict"}, {"name": "predict_proba"}]}),
    (
        INFER,
        {
            "inputs": [
                {"name": name, "shape": [3, 1], "datatype": "FP64", "data": [row[i] for row in SAMPLES]}
                for i, name in enumerate(COLUMNS)
            ]
        },
    ),
]
CSV_BODY = "\n".join([",".join(COLUMNS), *(",".join(map(str, row)) for row in SAMPLES), ""])
PATHS = [
    "/",
    "/ready",
    "/version",
    "/metrics",
    "/openapi.json",
    "/v2",
    f"/v2/models/{MODEL}",
    "/nothing",
    "/page/page.js",
]
# What stands in the place of a value: of another type, too large, too deep, or no text.
STRANGE: list[Callable[[random.Random], Any]] = [
    lambda r: None,
    lambda r: r.random() < 0.5,
    lambda r: r.choice([0, -1, 2**31, 2**53 + 1, 2**63, -(2**64), 10**400, 10**3999]),
    lambda r: r.choice([float("nan"), float("inf"), 1e308, -0.0, 5e-324, 3.5e38]),
    lambda r: r.choice(
        ["", "NA", "null", "\ud800", "\x00", "\x1b[2J", "é" * 50, "a" * 5000, "1e3", "../..", "__class__"]
    ),
    lambda r: [],
    lambda r: {},
    lambda r: [[]] * r.randint(1, 2000),
    lambda r: [{}] * r.randint(1, 2000),
    lambda r: _nested(r.randint(2, 3000)),
    lambda r: {f"c{i}": i for i in range(r.randint(1, 3000))},
    lambda r: [r.random()] * r.randint(1, 5000),
    lambda r: "9" * r.randint(4000, 6000),
]
# Values in a request: what is repeated again and again has no end that a client has the memory for.
MOST_PARTS = 300_000
LINES = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b": ",
    b" ",
    b"\x00",
    b"\xff\xfe",
    b"0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n",
]
HEADS = [
    b"Content-Length: 5\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    b"Host: elsewhere.example\r\n",
    b"Origin: http://elsewhere.example\r\n",
    b"X-Request-ID: \x80\x9b\r\n",
    b"Inference-Header-Content-Length: 7\r\n",
    b"X-Long: " + b"y" * 9000 + b"\r\n",
    b" folded: yes\r\n",
    b"Host : localhost\r\n",
]


@dataclass(frozen=True)
class Sent:
    """What is sent over one connection, and whether the client stops sending after it."""

    content: bytes
    is_whole: bool
    """whether it is one proper request, which has one answer"""


def requests(seed: int, count: int) -> Iterator[Sent]:
    """Yield so many requests."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    for _ in range(count):
        make = chance.choices(
            [_as_json, _as_csv, _as_binary, _as_look, _as_bytes, _as_compressed], [40, 15, 15, 5, 20, 5]
        )
        yield make[0](chance)


def _nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


def request(path: str, body: bytes, content_type: str, more: bytes = b"", method: str = "POST") -> bytes:
    """Return a proper request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + more + b"\r\n" + body


def _as_json(chance: random.Random) -> Sent:
    path, content = chance.choice(GOOD)
    hostile = _hostile(chance, content)
    while _parts_of(hostile) > MOST_PARTS:
        hostile = _hostile(chance, content)
    return Sent(request(path, dumped(hostile), JSON), True)


def _hostile(chance: random.Random, content: Any) -> Any:
    content = copy.deepcopy(content)
    for _ in range(chance.randint(1, 3)):
        content = _changed(chance, content)
    return content


def dumped(content: Any) -> bytes:
    """Return JSON as a hostile client writes it: NaN, half surrogates, numbers beyond Python's own limit."""
    try:
        return json.dumps(content).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return b'{"instances": [[' + b"9" * 5000 + b"]]}"


def _parts_of(value: Any) -> int:
    """Return how many values there are in a value, itself included, and up to MOST_PARTS or a little more; a long one counts as many."""
    count, left = 0, [value]
    while left and count <= MOST_PARTS:
        one = left.pop()
        count += 1 + (
            len(one) // 50 if isinstance(one, str) else one.bit_length() // 200 if isinstance(one, int) else 0
        )
        left.extend(one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
    return count


def _changed(chance: random.Random, content: Any) -> Any:
    """Return a value with one of its parts replaced, repeated or taken away."""
    if not content or not isinstance(content, list | dict) or chance.random() < 0.15:
        return chance.choice(STRANGE)(chance)
    key = chance.choice(list(content)) if isinstance(content, dict) else chance.randrange(len(content))
    act = chance.random()
    if act < 0.15:
        del content[key]
    elif act < 0.3 and isinstance(content, list):
        content.extend([content[key]] * chance.choice([1, 10, 1000, 8000]))
    elif act < 0.4 and isinstance(content, dict):
        content[chance.choice(["name", "columns", "instances", "\ud800", "data", ""])] = content[key]
    else:
        content[key] = _changed(chance, content[key])
    return content


def _as_csv(chance: random.Random) -> Sent:
    text = CSV_BODY.encode()
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(text) + 1)
        put = chance.choice([b",", b"\n", b'"', b"\r", b"\x00", b"\xff", b",\n" * 500, b"NA", b"1e999", b"a," * 3000])
        text = text[:at] + put + text[at + chance.choice([0, 0, 1, 20]) :]
    return Sent(request(chance.choice(["/invocations", "/predict_names"]), text, CSV), True)


def _as_binary(chance: random.Random) -> Sent:
    datatype, code = chance.choice(
        [("FP64", "d"), ("FP32", "f"), ("UINT8", "B"), ("INT64", "q"), ("BYTES", "d"), ("FP16", "e")]
    )
    values = [chance.choice([0, 1, 5, 7]) for _ in range(12)]
    tail = struct.pack(f"<12{code}", *values)
    if chance.random() < 0.5:
        tail = chance.randbytes(len(tail))
    shape = chance.choice([[3, 4], [4, 3], [12], [-1, 4], [0], [2**62, 4], [10**3999, 10**3999], [[3], 4]])
    size = chance.choice([len(tail), len(tail), len(tail) + 1, -1, 2**62, 0, True, 1.5])
    outputs = [{"name": "predict", "parameters": {"binary_data": chance.random() < 0.5}}] * chance.choice(
        [1, 1, 2, 500]
    )
    tensor = {"name": "rows", "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [tensor], "outputs": outputs}).encode()
    length = chance.choice([len(head), len(head), len(head), len(head) - 1, 0, -1, 10**20])
    more = f"Inference-Header-Content-Length: {length}\r\n".encode()
    return Sent(request(INFER, head + tail, BINARY, more), True)


def _as_compressed(chance: random.Random) -> Sent:
    """Return a request whose body is compressed: right, to something large, damaged, or otherwise than its head says."""
    path, content = chance.choice(GOOD)
    body = json.dumps(content).encode() + b" " * chance.choice([0] * 12 + [300_000] * 3 + [17 * 2**20])
    codings: list[tuple[str, Callable[[bytes, int], bytes]]] = [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", gzip.compress),
    ]
    coding, compress = chance.choice(codings)
    packed = bytearray(compress(body, 1) * chance.choice([1, 1, 1, 500 if len(body) < 10**6 else 1]))
    for _ in range(chance.choice([0, 0, 1, 5])):
        packed[chance.randrange(len(packed))] = chance.randrange(256)
    packed = packed[: chance.choice([len(packed), len(packed), chance.randrange(len(packed))])]
    return Sent(request(path, bytes(packed), JSON, f"Content-Encoding: {coding}\r\n".encode()), True)


def _as_look(chance: random.Random) -> Sent:
    method = chance.choice(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
    return Sent(request(chance.choice(PATHS), b"", JSON, method=method), True)


def _as_bytes(chance: random.Random) -> Sent:
    """Return what may be no HTTP: a right request with its lines and bytes changed, or its body in strange chunks."""
    path, content = chance.choice(GOOD)
    body = json.dumps(content).encode()
    whole = request(path, body, JSON, chance.choice([b"", b"", chance.choice(HEADS)]))
    if chance.random() < 0.4:
        whole = whole.replace(f"Content-Length: {len(body)}".encode(), b"Transfer-Encoding: chunked", 1)
        whole = whole[: len(whole) - len(body)] + _in_chunks(chance, body)
    for _ in range(chance.randint(0, 3)):
        at = chance.randrange(len(whole) + 1)
        put = chance.choice([b"", chance.randbytes(chance.randint(1, 8)), chance.choice(LINES)])
        whole = whole[:at] + put + whole[at + chance.choice([0, 1, 1, 10]) :]
    return Sent(whole, False)


def _in_chunks(chance: random.Random, body: bytes) -> bytes:
    found, at = b"", 0
    extension = chance.choice([b"", b"", b";a=b", b";" + b"x" * 20_000, b" ", b"\n"])
    while at < len(body):
        size = chance.choice([1, 1, 7, 100])
        found += b"%x%s\r\n%s\r\n" % (len(body[at : at + size]), extension, body[at : at + size])
        at += size
    return found + chance.choice(
        [b"0\r\n\r\n", b"0\r\nA: b\r\n\r\n", b"0\r\n" + b"A: b\r\n" * 3000 + b"\r\n", b"", b"0\r\n"]
    )
