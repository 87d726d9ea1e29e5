"""Ask a server on a fixed schedule, and count each latency from the time at which the request was due.

`python benchmarks/paced.py PORT PATH BODY_FILE RATE SECONDS CONNECTIONS` prints one JSON object, with each request's due time
(of time.monotonic), latency, and the version that answered it in `each`. A server that stalls
is asked late, and the wait counts: a closed loop, such as wrk's, would leave those requests out. It is a process of its
own, so that nothing else delays it.
"""

import ctypes
import gc
import json
import os
import select
import socket
import statistics
import sys
import time
from collections import deque
from pathlib import Path

# After the last request was due, how long its answer may take.
PATIENCE_SECONDS = 10
END_OF_HEAD, VERSION = b"\r\n\r\n", b"\r\nX-Model-Version: "
# Of Linux's prctl: by how many nanoseconds the kernel may let this process sleep too long. It is 50,000 by default.
PR_SET_TIMERSLACK = 29


def main(port: str, path: str, body_file: str, rate: str, seconds: str, connections: str) -> None:
    request = post(int(port), path, Path(body_file).read_bytes())
    gc.disable()
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1)
    has_priority = take_priority()
    each, lateness = ask(int(port), request, float(rate), float(seconds), int(connections))
    took = [latency * 1000 for _, latency, _ in each]
    print(
        json.dumps(
            {
                "requests": len(took),
                "p50_ms": statistics.median(took),
                "p99_ms": percentile(took, 99),
                "max_ms": max(took),
                # Of the generator itself: how late it sent what was due when a connection was free.
                "late_p99_ms": percentile(lateness, 99) * 1000,
                "has_priority": has_priority,
                "each": [(round(due, 5), round(latency * 1000, 4), version.decode()) for due, latency, version in each],
            }
        )
    )


def take_priority() -> bool:
    """Come before all others on the machine, and tell whether that is allowed.

    So a wait is the server's, and not that of who measures it.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:  # not root, or in a sandbox
        return False
    return True


def post(port: int, path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def ask(
    port: int, request: bytes, rate: float, seconds: float, count: int
) -> tuple[list[tuple[float, float, bytes]], list[float]]:
    """Return when each request was due, its latency and the version that answered, and how late each was sent that did not have to wait for a connection."""
    idle, due_of = deque(connect(port, count)), {}
    total, sent = int(rate * seconds), 0
    latencies: list[tuple[float, float, bytes]] = []
    lateness: list[float] = []
    start, is_behind = time.monotonic(), False
    while len(latencies) < total:
        now = time.monotonic() - start
        while idle and sent < total and sent / rate <= now:
            connection = idle.popleft()
            due_of[connection] = sent / rate
            connection.sendall(request)
            if not is_behind:
                lateness.append(now - sent / rate)
            sent += 1
        is_behind = not idle
        patience = seconds + PATIENCE_SECONDS - now
        pause = sent / rate - now if idle and sent < total else patience
        readable = select.select(due_of, [], [], max(0.0, pause))[0]
        if not readable and pause == patience:
            sys.exit(f"{total - len(latencies)} of {total} requests were not answered")
        for connection in readable:
            version = read_answer(connection)
            due = start + due_of.pop(connection)
            latencies.append((due, time.monotonic() - due, version))
            idle.append(connection)
    return latencies, lateness


def connect(port: int, count: int) -> list[socket.socket]:
    connections = [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) for _ in range(count)]
    for connection in connections:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connections


def read_answer(connection: socket.socket) -> bytes:
    """Read one answer to its end, and return which version it names, if any; end the program where it is not a 200, or the server has hung up."""
    answer = connection.recv(65536)
    while not is_whole(answer):
        more = connection.recv(65536)
        if not more:
            sys.exit(f"the server hung up after {answer[:200]!r}")
        answer += more
    if not answer.startswith(b"HTTP/1.1 200"):
        sys.exit(f"not a 200: {answer[:200]!r}")
    return answer.partition(VERSION)[2].split(b"\r\n")[0]


def is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(END_OF_HEAD)
    if not end:
        return False
    length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
    return len(body) >= int(length)


if __name__ == "__main__":
    main(*sys.argv[1:])
