"""Lines of JSON on standard output: what happens to the service, and one line per request as long as there are not too many."""

import json
import logging
import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import orjson
from contract.display import visible

from inference.token_bucket import TokenBucket


class JsonFormatter(logging.Formatter):
    """A log record as a line of JSON, control characters made visible; `extra={"fields": {…}}` adds to it."""

    def format(self, record: logging.LogRecord) -> str:
        content = {"time": _now(record.created), "level": record.levelname.lower(), "message": record.getMessage()}
        content |= getattr(record, "fields", {})
        if record.exc_info:
            content["exception"] = self.formatException(record.exc_info)
        return json.dumps(_visible(content), ensure_ascii=False)


def _visible(value: Any) -> Any:
    """Return content as it may be shown on a terminal; JSON itself writes line breaks and tabs visibly."""
    if isinstance(value, str):
        return visible(value, None, "\n\t")
    if isinstance(value, dict):
        return {name: _visible(each) for name, each in value.items()}
    return [_visible(each) for each in value] if isinstance(value, list | tuple) else value


LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": JsonFormatter}},
    "handlers": {"stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "json"}},
    "root": {"level": "WARNING", "handlers": ["stdout"]},
    "loggers": {
        "inference": {"level": "INFO"},
        "gunicorn.error": {"level": "WARNING", "propagate": True},
        "gunicorn.access": {"level": "WARNING", "propagate": True},
    },
}


def _now(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class RequestLog:
    """One line per request, up to `rate` of them per second; those beyond are counted in the next line that is written."""

    def __init__(self, rate: float, descriptor: int = 1) -> None:
        self._bucket, self._descriptor, self._skipped = TokenBucket(rate, time.monotonic), descriptor, 0

    def wants(self) -> bool:
        """Tell whether the next request gets a line; where not, it is counted."""
        if self._bucket.take():
            return True
        self._skipped += 1
        return False

    def write(self, fields: dict[str, Any]) -> None:
        line = {"time": _now(time.time()), "level": "info", "message": "request", **fields}
        if self._skipped:
            line["requests_not_logged"], self._skipped = self._skipped, 0
        with suppress(OSError):  # a full disk, or nobody who reads it, is no reason to fail the request
            os.write(self._descriptor, orjson.dumps(_visible(line)) + b"\n")
