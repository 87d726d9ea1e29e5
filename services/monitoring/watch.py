"""`monitor watch`: looks again and again, and tells what it saw: /metrics, /status, /report and /health (docs/monitoring.md).

/compared is for whoever holds the key that versions are signed with: what a challenge is decided by.
"""

import argparse
import json
import logging
import logging.config
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from contract.errors import Refused
from contract.tracking import signed_request
from inference.errors import SettingsError
from inference.prediction_log.store import Store
from inference.telemetry.log import LOGGING
from monitoring import command
from monitoring.errors import MonitoringError, TooFewRows
from monitoring.exposition import Figures
from monitoring.looking.look import Look
from monitoring.page import html_report
from monitoring.settings import Settings
from monitoring.sources import answers
from monitoring.verdict import status

PORT = 9105
NOT_YET: dict[str, Any] = {
    "drift": False,
    "columns": [],
    "window": None,
    "rows": 0,
    "missing_rows": None,
    "model": None,
    "version": None,
    "looked": None,
    "problem": "there was no look yet",
    "accuracy": None,
    "labelled_rows": 0,
    "estimated_accuracy": None,
}
# How old a look may be, in intervals and beyond them in seconds, before /health says that there are none any more.
MOST_INTERVALS, PATIENCE_SECONDS = 3, 600

log = logging.getLogger("inference")


class Watch:
    """What was seen last."""

    def __init__(self, settings: Settings, look: Callable[[], Look], record: Callable[[Look, str], object]) -> None:
        self._settings, self._look, self._record = settings, look, record
        self._tried = time.monotonic()
        self._logged: str | None = None
        """the version whose drift is in MLflow already, as long as it lasts"""
        self.status, self.page, self.figures = dict(NOT_YET, model=settings.service.model_name), "", Figures()

    def once(self) -> None:
        """Look; where that comes to nothing, say why, and leave what the last look has found."""
        try:
            self._take(self._look())
        except TooFewRows as error:
            self._nothing(error, "too_few", error.rows, error.missing)
        except Exception as error:  # whatever it is, the next look may be better
            self._nothing(error, "failed", None, None)
        self._tried = time.monotonic()

    def _take(self, look: Look) -> None:
        now, page = datetime.now(UTC), html_report.report(look)
        self.status, self.page = status(look, now), page
        self.figures.take(look, now)
        log.info(
            "%s: %s", look.version.uri, f"drift in {', '.join(look.drifted)!r:.500}" if look.drifted else "no drift"
        )
        if not look.drifted:
            self._logged = None
        elif self._settings.log and self._logged != look.version.version:
            self._log(look, page)

    def _log(self, look: Look, page: str) -> None:
        """Put the look at which drift began into MLflow, or, where that does not answer, a later one."""
        try:
            self._record(look, page)
            self._logged = look.version.version
        except MonitoringError as error:
            log.error("the report is not logged: %s", error)

    def _nothing(self, error: Exception, result: str, rows: int | None, missing: int | None) -> None:
        said = str(error) if isinstance(error, MonitoringError) else type(error).__name__
        if said != self.status["problem"]:
            log.warning("there is no verdict: %s", said)
        version = getattr(error, "version", None)
        if version not in (None, self.status["version"]):  # what another version's rows were says nothing of this one's
            self.status, self.page = dict(NOT_YET, model=self.status["model"], version=version), ""
            self.figures.forget()
        rows = self.status["rows"] if rows is None else rows
        self.status = self.status | {"problem": said, "rows": rows, "missing_rows": missing}
        self.figures.nothing(result, rows, missing)

    @property
    def is_alive(self) -> bool:
        return time.monotonic() - self._tried < MOST_INTERVALS * self._settings.seconds + PATIENCE_SECONDS


def parser() -> argparse.ArgumentParser:
    """Return what reads the options."""
    whole = argparse.ArgumentParser("monitor watch", description="Look again and again (docs/monitoring.md)")
    whole.add_argument("--port", type=int, default=PORT, help="to listen on; %(default)s otherwise")
    whole.add_argument("--host", default="0.0.0.0", help="to listen at; all addresses otherwise")  # noqa: S104 - of its container
    return whole


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Look until told to end; return the exit code."""
    options = parser().parse_args(arguments)
    try:
        settings, store = Settings.from_env(environ), Store.of(environ)
    except (MonitoringError, SettingsError) as error:
        print(f"monitor: {error}", file=sys.stderr)
        return 2
    logging.config.dictConfig(LOGGING)
    log.info("Settings", extra={"fields": {"settings": settings.told() | {"store": store.told}}})
    asked = argparse.Namespace(last=None, begin=None, to=None, version=None, by=None, rows=None)
    watch = Watch(
        settings,
        lambda: command.looked(settings, store, asked),
        lambda look, page: command.log(settings, look, page, datetime.now(UTC)),
    )
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    compared = Compared(store, settings.service.model_name, settings.verifying_key)
    with serving(watch, compared, (options.host, options.port)) as server:
        log.info(
            "%s is looked at every %g s; figures are at port %d",
            settings.service.model_name,
            settings.seconds,
            server.server_port,
        )
        watch.once()
        while not ended.wait(settings.seconds):
            watch.once()
        server.shutdown()
    return 0


@dataclass(frozen=True)
class Compared:
    """Tells whoever holds the signing key what was answered while a version challenges Production."""

    store: Store
    model: str
    public_key: Path
    """that signatures are verified with"""
    _turn: threading.Lock = field(default_factory=threading.Lock)
    """one question at a time: each may take memory"""
    turn_seconds: float = 30.0
    """how long a question waits for the one before it: whoever asks does not wait for ever either"""

    def answer(self, target: str, authorization: str | None) -> tuple[int, str, bytes]:
        """Return status, content type and content of GET /compared?model=NAME&since=TIME, as CSV."""
        asked = parse_qs(urlsplit(target).query)
        try:
            signed_request.check(target, authorization, self.public_key)
            moment = datetime.fromisoformat(asked["since"][0])
            if moment.tzinfo is None:
                raise ValueError("it has no zone")
        except (Refused, OSError) as error:
            return _error(403, f"the request does not count: {error}")
        except (KeyError, ValueError) as error:
            return _error(400, f"since is no time ({error}); expected ISO 8601 with a zone")
        if asked.get("model") != [self.model]:
            whose = " and ".join(map(repr, asked.get("model", ()))) or "none"
            return _error(404, f"model is {whose}; this monitor reads what is kept of {self.model!r} (MODEL_NAME)")
        if not self._turn.acquire(timeout=self.turn_seconds):
            return _error(503, f"the question before this one takes longer than {self.turn_seconds:g} s; ask again")
        try:
            found = answers.since(self.store, self.model, moment)
        except MonitoringError as error:
            return _error(503, str(error))
        finally:
            self._turn.release()
        return 200, "text/csv; charset=utf-8", found.encode()


def serving(watch: Watch, compared: Compared, address: tuple[str, int]) -> ThreadingHTTPServer:
    """Return a server that tells what was seen, at work in a thread of its own; `address` is host and port."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/compared":
                code, kind, content = compared.answer(self.path, self.headers.get("Authorization"))
            else:
                code, kind, content = _answer(watch, path)
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Leave out what would be a line for each look of Prometheus's."""

    server = ThreadingHTTPServer(address, Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def _answer(watch: Watch, path: str) -> tuple[int, str, bytes]:
    """Return status, content type and content of what is at a path."""
    if path == "/metrics":
        return 200, "text/plain; version=0.0.4; charset=utf-8", watch.figures.exposition()
    if path == "/status":
        return 200, "application/json", json.dumps(watch.status).encode() + b"\n"
    if path == "/health":
        return (
            (200 if watch.is_alive else 503),
            "application/json",
            json.dumps({"looks": watch.is_alive}).encode() + b"\n",
        )
    if path == "/report" and watch.page:
        return 200, "text/html; charset=utf-8", watch.page.encode()
    words = "there are /metrics, /status, /report, /health and /compared"
    return _error(404, "there was no look yet" if path == "/report" else words)


def _error(code: int, words: str) -> tuple[int, str, bytes]:
    return code, "application/json", json.dumps({"error": words}).encode() + b"\n"
