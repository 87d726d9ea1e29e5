"""How gunicorn is to run: its settings, and the app with what each worker needs (`gunicorn -c python:inference.server`)."""

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from prometheus_client import multiprocess

from inference.http.admission import LARGE_PATIENCE, AdmissionControl
from inference.memory_limit import Memory, Watch
from inference.rollout.active_model import ActiveModel
from inference.settings import Settings
from inference.telemetry.log import LOGGING, RequestLog

T = TypeVar("T")

_settings = Settings.from_env(os.environ)

bind = f"{_settings.host}:{_settings.port}"
workers = _settings.workers
worker_class = "inference.http.gunicorn_worker.ServingWorker"
worker_connections = _settings.connections
# Longer than a worker's first look, which comes before its first sign of life.
timeout = 60
graceful_timeout = 25
# Nothing here depends on what a proxy says of its client, so nobody is asked whether it may say so.
forwarded_allow_ips = "*"
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""
# It wants a writable home, and nothing here uses it.
control_socket_disable = True
logconfig_dict = LOGGING
wsgi_app = "inference.server:app()"


_memory = Watch(Memory.of_container())


def post_fork(server: Any, worker: Any) -> None:
    """Log what a library warns of in a worker: it may quote a model's file, and is a line of JSON as all else is."""
    logging.captureWarnings(True)


def child_exit(server: Any, worker: Any) -> None:
    """Let the gauges of a worker that is gone count no more; where the kernel ended it for memory, say so."""
    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
    if news := _memory.news():
        server.log.error(news)


# A worker takes requests after it has been told what to serve, so that of two workers none answers 503 while the other
# answers already; where that takes longer, it says so itself that it is not ready.
FIRST_LOOK_SECONDS = 20


def app() -> Any:
    """Return the service of one worker, whose active model has been told what to serve."""
    # Here and not above: gunicorn's own process reads this file as well, and needs none of it.
    from inference.http.application import Service
    from inference.ipc.client import ControlClient
    from inference.model.model import load
    from inference.web.flask_app import create_app

    # A thread that loads a model makes requests wait this long at most, and not 5 ms each time.
    sys.setswitchinterval(0.0001)
    most_seconds = LARGE_PATIENCE * _settings.queue_seconds
    active = ActiveModel(lambda files, description: load(files, _settings.trusted, most_seconds, description))
    active.follow(ControlClient(_settings.channel), _end, FIRST_LOOK_SECONDS)
    admission = AdmissionControl(_settings.queue_seconds, _settings.max_body_bytes, _aside())
    service = Service(_settings, active, admission, RequestLog(_settings.log_rate), create_app(_settings, active))
    # What is there now stays, so that no search for garbage, of up to 20 ms, goes through it while requests wait.
    gc.collect()
    gc.freeze()
    return service


def _aside() -> Callable[..., Awaitable[Any]]:
    """Return a way to run functions in a thread of their own, while the loop goes on."""
    thread = ThreadPoolExecutor(1, "aside")

    def run(function: Callable[..., T], *arguments: Any) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(thread, function, *arguments)

    return run


def _end() -> None:
    """End the whole service: the process that it was started as is gone."""
    os.kill(os.getppid(), signal.SIGTERM)
