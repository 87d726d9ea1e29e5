"""What the schedule says of itself over HTTP: /status as JSON, /metrics for Prometheus."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server
from zoneinfo import ZoneInfo

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.registry import Collector

from trainer.errors import SettingsError
from trainer.schedule.following import Did, Following
from trainer.schedule.record import Training
from trainer.schedule.scheduler import Scheduler

Answer = Callable[..., Any]


class Metrics(Collector):
    """The record's figures as Prometheus has them."""

    def __init__(self, scheduler: Scheduler, following: Following) -> None:
        self._scheduler, self._following = scheduler, following

    def collect(self) -> Iterator[Metric]:
        """Yield each metric, made of what is kept now."""
        record, schedule = self._scheduler.record, self._scheduler.schedule
        for outcome, count in record.count.items():
            yield CounterMetricFamily(f"training_{outcome}", f"Trainings whose outcome was: {outcome}.", count)
        for outcome, count in self._following.count.items():
            yield CounterMetricFamily(
                f"challenge_{outcome}", f"Challenges that were carried on, and: {outcome}.", count
            )
        last, made = record.last, record.last and record.last.outcome
        gauges = {
            "training_last_success_timestamp_seconds": (
                record.last_success or 0,
                "When a training last came to its end.",
            ),
            "training_last_failed": (bool(made and made.outcome == "failed"), "Whether the last training failed."),
            "training_last_start_timestamp_seconds": (last.started if last else 0, "When the last training began."),
            "training_last_duration_seconds": (_seconds(last), "How long the last training took."),
            "training_running": (record.running is not None, "Whether a training runs."),
            "training_attempts_on_data": (
                (made and made.attempts_on_this_data) or 0,
                "How many trainings the held-out rows of the last version have judged.",
            ),
        }
        gauges["challenge_running"] = self._following.version is not None, "Whether a version challenges Production."
        gauges["challenge_hindered"] = self._following.problem is not None, "Whether something is in its way."
        if (due := self._scheduler.next) is not None:
            gauges["training_next_timestamp_seconds"] = due, "When the next training by the clock is due."
        if schedule.on_drift:
            gauges["training_monitor_up"] = self._scheduler.verdict.answers, "Whether the monitor answers."
        for name, (value, about) in gauges.items():
            yield GaugeMetricFamily(name, about, float(value))


def _seconds(training: Training | None) -> float:
    return (training.ended or 0) - training.started if training else 0


def _did(did: Did | None) -> dict[str, Any] | None:
    if did is None:
        return None
    time = datetime.fromtimestamp(did.time, UTC).isoformat(timespec="seconds")
    return {"time": time, "outcome": did.outcome, "reason": did.reason, "version": did.version}


def _challenge(following: Following) -> dict[str, Any]:
    """Return what /status says of who challenges Production."""
    return {
        "version": following.version,
        "auto": following.is_auto,
        "verdict": _did(following.verdict),
        "last": _did(following.last),
        "count": following.count,
        "problem": following.problem,
    }


def status(scheduler: Scheduler, following: Following) -> dict[str, Any]:
    """Return what /status says."""
    schedule, record = scheduler.schedule, scheduler.record
    zone = ZoneInfo(schedule.time_zone)

    def time(moment: float | None) -> str | None:
        return None if moment is None else datetime.fromtimestamp(moment, zone).isoformat(timespec="seconds")

    def told(training: Training | None) -> dict[str, Any] | None:
        if training is None:
            return None
        times = {name: time(moment) for name in ("started", "ended") if (moment := getattr(training, name)) is not None}
        known = asdict(training.outcome) if training.outcome else {}
        return {"trigger": training.trigger, **times, **{name: one for name, one in known.items() if one is not None}}

    return {
        "schedule": schedule.cron,
        "time_zone": schedule.time_zone,
        "arguments": list(schedule.arguments),
        "on_drift": schedule.on_drift,
        "min_hours": schedule.min_hours,
        "next": time(scheduler.next),
        "running": told(record.running),
        "waiting": scheduler.waiting,
        "last": told(record.last),
        "last_success": time(record.last_success),
        "count": record.count,
        "drift": asdict(scheduler.verdict) if schedule.on_drift else None,
        "challenge": _challenge(following),
        "now": datetime.now(UTC).isoformat(timespec="seconds"),
    }


class _Quiet(WSGIRequestHandler):
    timeout = 10  # of a client that says nothing

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of each request."""


def serve(scheduler: Scheduler, following: Following) -> int:
    """Answer from now on, in a thread; return the port. Raises SettingsError where it is taken."""
    registry = CollectorRegistry()
    registry.register(Metrics(scheduler, following))
    metrics = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start: Answer) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/metrics":
            found: Iterable[bytes] = metrics(environ, start)
            return found
        known = environ["PATH_INFO"] == "/status"
        content = status(scheduler, following) if known else {"error": "there are /status and /metrics"}
        start("200 OK" if known else "404 Not Found", [("Content-Type", "application/json")])
        return [json.dumps(content, indent=1).encode() + b"\n"]

    schedule = scheduler.schedule
    try:
        server = make_server(schedule.host, schedule.port, answer, ThreadingWSGIServer, _Quiet)
    except OSError as error:
        raise SettingsError(f"SCHEDULE_PORT {schedule.port} cannot be listened on: {error.strerror}") from error
    Thread(target=server.serve_forever, name="status", daemon=True).start()
    return server.server_port
