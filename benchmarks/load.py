"""Load on a server of this machine, and what the server needs under it: rates, latencies, memory."""

import contextlib
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACED = Path(__file__).resolve().parent / "paced.py"
MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60000.0}


@dataclass(frozen=True)
class Load:
    """What a server did under load; a server that answered nobody has the rate 0 and an endless p99."""

    rate: float
    """answers in a second"""
    p50: float
    """milliseconds"""
    p99: float
    """milliseconds"""
    spread: float = 0.0
    """of the rates in several rounds: from the lowest to the highest, as a part of the median"""

    @classmethod
    def median(cls, rounds: list["Load"]) -> "Load":
        rate, p50, p99 = (statistics.median(getattr(load, name) for load in rounds) for name in ("rate", "p50", "p99"))
        rates = [load.rate for load in rounds]
        return cls(rate, p50, p99, (max(rates) - min(rates)) / rate if rate else 0.0)


def closed(url: str, body: str, connections: int, seconds: float, may_stall: bool = False) -> Load:
    """Load a server as wrk does: each connection asks again when it has its answer.

    Raises AssertionError where an answer was no success, or a connection failed; `may_stall` lets answers stay away.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(
            f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\nwrk.body = [==[{body}]==]\n'
        )
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--latency", "-s", script.name, url]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    failed = re.search(r"Socket errors: (.*)", text)
    if "Non-2xx" in text or (failed and not may_stall):
        raise AssertionError(f"{url}\n{text}")
    rate = float(_found(r"Requests/sec:\s+([\d.]+)", text)[1])
    return Load(rate, _percentile(text, 50), _percentile(text, 99)) if rate else Load(0, float("inf"), float("inf"))


def _found(pattern: str, text: str) -> re.Match[str]:
    if (found := re.search(pattern, text, re.M)) is None:
        raise AssertionError(f"nothing is as {pattern} in:\n{text}")
    return found


def _percentile(text: str, percent: int) -> float:
    number, unit = _found(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s|m)$", text).groups()
    return float(number) * MILLISECONDS[unit]


def paced(port: int, path: str, body: str, rate: float, connections: int, seconds: float) -> dict[str, Any]:
    """Ask on a fixed schedule; return what paced.py says."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(body)
        file.flush()
        command = [sys.executable, str(PACED), str(port), path, file.name, str(rate), str(seconds), str(connections)]
        result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise AssertionError(result.stderr)
    return json.loads(result.stdout)


def lost(seconds: float) -> float:
    """Keep every core busy with nothing else, and return the part of their time that others took all the same.

    Gaps of less than a tenth of a millisecond are not counted: those are the kernel's own.
    """
    code = (
        "import os, sys, time; os.sched_setaffinity(0, {int(sys.argv[1])}); gaps, last = 0.0, time.monotonic()\n"
        "end = last + float(sys.argv[2])\n"
        "while last < end:\n"
        "    now = time.monotonic(); gaps += now - last if now - last > 1e-4 else 0; last = now\n"
        "print(gaps)"
    )
    cores = sorted(os.sched_getaffinity(0))
    commands = [[sys.executable, "-c", code, str(core), str(seconds)] for core in cores]
    busy = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    return sum(float(process.communicate()[0]) for process in busy) / (seconds * len(cores))


class SlowClients:
    """Clients that each send a byte a second of a valid request, and come back where the server hangs up on them.

    Half of them do so from its first byte on, half from the first byte of its body.
    """

    def __init__(self, port: int, request: bytes, count: int) -> None:
        self.hung_up = 0
        self._port = port
        head = request.index(b"\r\n\r\n") + 4
        self._request, self._starts = request, [0 if number % 2 else head for number in range(count)]
        self._clients = [self._come(start) for start in self._starts]
        self._sent = list(self._starts)
        self._end = threading.Event()

    def _come(self, start: int) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self._port), timeout=10)
        client.sendall(self._request[:start])
        return client

    def send(self) -> None:
        """Give each client its turn within a second, again and again."""
        begin = time.monotonic()
        for turn in range(1_000_000):
            number = turn % len(self._clients)
            if self._end.wait(max(0.0, begin + turn / len(self._clients) - time.monotonic())):
                return
            self._send_byte(number)

    def _send_byte(self, number: int) -> None:
        if self._sent[number] >= len(self._request):
            self._sent[number] = 0  # it has sent its request: the same connection, the next one
        try:
            self._clients[number].sendall(self._request[self._sent[number] :][:1])
            self._sent[number] += 1
        except OSError:
            self.hung_up += 1
            self._clients[number].close()
            self._clients[number], self._sent[number] = self._come(self._starts[number]), self._starts[number]

    @contextlib.contextmanager
    def beside(self) -> Iterator[None]:
        """Let them send while the block runs."""
        thread = threading.Thread(target=self.send, daemon=True)
        thread.start()
        try:
            yield
            if not thread.is_alive():
                raise AssertionError("the slow clients gave up: the server takes no more connections")
        finally:
            self._end.set()
            thread.join()
            for client in self._clients:
                client.close()


def pss_mb(pid: int) -> float:
    """Return a process's memory; what it shares counts in parts. 0 where it has just ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return int(_found(r"^Pss:\s+(\d+)", text)[1]) / 1024
