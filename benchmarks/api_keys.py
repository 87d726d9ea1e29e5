"""What API keys add to a request: the check that the service does before it looks at a prediction's body, in one process.

`python benchmarks/api_keys.py` prints a JSON list of (case, microseconds of the processor), each the best of many rounds less the
same rounds without the check: they take turns, so that what else the machine does meets all of them.
"""

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from inference.api_keys import key_file
from inference.api_keys.key_file import ApiKey
from inference.api_keys.keyring import Keyring
from inference.request.routing import scope_of

ROUNDS, CALLS = 150, 1000
# So many are in the file; the one that is sent is the last of them.
KEYS, KEY = 1000, "mlstack_of-this-benchmark"
REQUEST = {
    "REQUEST_METHOD": "POST",
    "PATH_INFO": "/invocations",
    "QUERY_STRING": "",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "CONTENT_TYPE": "application/json",
    "CONTENT_LENGTH": "37",
    "HTTP_HOST": "127.0.0.1:1235",
    "HTTP_AUTHORIZATION": f"Bearer {KEY}",
}


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keyrings = {
            "no key is asked for": Keyring(folder / "none", folder),
            f"a key is asked for, one of {KEYS:,}": _keyring(folder / "keys", None),
            "a key with a rate": _keyring(folder / "rated", key_file.MOST_RATE),
        }
        copy, *checks = best_of([partial(dict, REQUEST), *(partial(check, keyring) for keyring in keyrings.values())])
    print(json.dumps([(case, round(took - copy, 3)) for case, took in zip(keyrings, checks, strict=True)]))


def check(keyring: Keyring) -> None:
    """Do what the service does; the key is taken out of what describes the request, so each has a copy of its own."""
    environ: dict[str, Any] = dict(REQUEST)
    if keyring.is_on:
        keyring.identify(environ).allow(scope_of(environ["PATH_INFO"]))


def _keyring(folder: Path, rate: float | None) -> Keyring:
    folder.mkdir()
    sent = [*(f"another-{number}" for number in range(KEYS - 1)), KEY]
    known = [
        ApiKey(sha256(key.encode()).digest(), f"key-{number}", frozenset({key_file.PREDICT}), rate, "2026-01-01")
        for number, key in enumerate(sent)
    ]
    key_file.replace(folder / "keys", key_file.written(known))
    return Keyring(folder / "keys", folder)


def best_of(calls: Sequence[Callable[[], Any]]) -> list[float]:
    """Return the microseconds of each call."""
    found: list[list[float]] = [[] for _ in calls]
    for _ in range(ROUNDS):
        for call, times in zip(calls, found, strict=True):
            start = time.thread_time()
            for _ in range(CALLS):
                call()
            times.append((time.thread_time() - start) / CALLS)
    return [min(times) * 1e6 for times in found]


if __name__ == "__main__":
    main()
