"""Clients that ask the prediction service on a schedule whatever happens to it, and an observer of what it says meanwhile."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import requests

from tests.compose import BODY, CLASSES, Stack

CLIENTS = 6
RATE = 12
"""requests in a second, of each client"""
PATIENCE = 10
"""seconds that a client waits for an answer"""
LATE = 1
"""seconds after which an answer is late, counted from when the request was due: a wait for the one before counts"""
LOOK = 0.25
"""seconds between two looks at /ready"""


@dataclass
class Seen:
    """What clients and observer saw: requests with the right answer in time or late, a wrong one, none; and what /ready said when."""

    right: int = 0
    late: int = 0
    wrong: int = 0
    failed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    said: list[tuple[float, str]] = field(default_factory=list)


@contextmanager
def steady_load(stack: Stack, rate: float = RATE) -> Iterator[Seen]:
    """Ask and look until the block ends. Each client has one connection, and makes another where it is lost, which is a failure."""
    seen, lock, over = Seen(), threading.Lock(), threading.Event()
    port = int(stack.settings["INFERENCE_PORT"])
    starts = [number / CLIENTS / rate for number in range(CLIENTS)]
    threads = [threading.Thread(target=_client, args=(port, start, 1 / rate, seen, lock, over)) for start in starts]
    threads.append(threading.Thread(target=_observer, args=(port, seen, over)))
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _client(port: int, start: float, pause: float, seen: Seen, lock: threading.Lock, over: threading.Event) -> None:
    due = time.monotonic() + start
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        while not over.wait(max(0.0, due - time.monotonic())):
            try:
                is_right, reason = _ask(connection)
            except (OSError, ValueError, http.client.HTTPException) as error:  # no answer, or one that is no JSON
                connection.close()
                is_right, reason = False, _words(error)
            took = time.monotonic() - due
            with lock:
                if reason:
                    seen.failed += 1
                    seen.reasons[reason] = seen.reasons.get(reason, 0) + 1
                elif not is_right:
                    seen.wrong += 1
                else:
                    seen.right += 1
                    seen.late += took > LATE
            due += pause


def _ask(connection: http.client.HTTPConnection) -> tuple[bool, str]:
    """Return whether the prediction is the right one; and the reason, where there is no prediction."""
    connection.request("POST", "/invocations", BODY, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status == 200:
        return json.loads(content) == {"predictions": CLASSES}, ""
    return False, f"{answer.status} {json.loads(content)['error_code'] if content.startswith(b'{') else ''}".strip()


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"without an answer within {PATIENCE} s"
    if isinstance(error, ValueError):
        return "no JSON"
    return "refused" if isinstance(error, ConnectionRefusedError) else "connection lost"


def _observer(port: int, seen: Seen, over: threading.Event) -> None:
    began = time.monotonic()
    while not over.is_set():
        said = ready(port)
        if not seen.said or seen.said[-1][1] != said:
            seen.said.append((time.monotonic() - began, said))
        over.wait(LOOK)


def ready(port: int) -> str:
    """Return what /ready says, in a few words: ready; stale, and why; not ready, and why; or no answer."""
    try:
        answer = requests.get(f"http://127.0.0.1:{port}/ready", timeout=2)
        content = answer.json()
    except (requests.RequestException, ValueError):
        return "no answer"
    if not answer.ok:
        # The proxy in front of several replicas has a message instead.
        return f"not ready: {'; '.join(content.get('reasons') or [content.get('message', '')])}"
    model = content["model"]
    return f"stale: {model['problem']}" if model["stale"] else "ready"
