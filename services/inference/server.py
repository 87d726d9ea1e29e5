"""How gunicorn runs, and the app with what each worker needs: `python -m inference.server`, which `python -m inference` starts."""

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from contract.mlmodel.manifest import Description
from contract.process.imports import quick_imports
from contract.version_files import VersionFiles
from gunicorn.app.base import Application
from prometheus_client import multiprocess

from inference.challenger.guard import Limits
from inference.ipc.messages import place_of
from inference.memory_limit import Memory, Watch
from inference.request.admission import LARGE_PATIENCE, AdmissionControl
from inference.rollout.active_model import ActiveModel, Deployments
from inference.settings import Settings
from inference.telemetry.log import LOGGING, RequestLog

T = TypeVar("T")

_memory = Watch(Memory.of_container())


class Gunicorn(Application):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn with what each of its workers serves; whoever debugs a worker overrules what is said here by GUNICORN_CMD_ARGS."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def init(self, *_: Any) -> dict[str, Any]:
        return {
            "bind": self._settings.address,
            "workers": self._settings.workers,
            "worker_class": "inference.http.gunicorn_worker.ServingWorker",
            "worker_connections": self._settings.connections,
            # Longer than a worker's first look, which comes before its first sign of life.
            "timeout": 60,
            "graceful_timeout": 25,
            # Nothing here depends on what a proxy says of its client, so nobody is asked whether it may say so.
            "forwarded_allow_ips": "*",
            "secure_scheme_headers": {},
            "forwarder_headers": "",
            # It wants a writable home, and nothing here uses it.
            "control_socket_disable": True,
            "logconfig_dict": LOGGING,
            "post_fork": post_fork,
            "child_exit": child_exit,
        }

    def load(self) -> Any:
        return app(self._settings)


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


def app(settings: Settings) -> Any:
    """Return the service of one worker, which has been told what to serve."""
    # Here and not above: gunicorn's own process needs none of it.
    with quick_imports():
        from inference.http.application import Service
        from inference.ipc.client import ControlClient
        from inference.model.model import Model, load
        from inference.prediction_log.recorder import PredictionLog
        from inference.request.allowed_hosts import own_addresses
        from inference.web.flask_app import create_app

    settings = replace(settings, allowed_hosts=settings.allowed_hosts | own_addresses())
    # A thread that loads a model makes requests wait this long at most, and not 5 ms each time.
    sys.setswitchinterval(0.0001)
    most_seconds = LARGE_PATIENCE * settings.queue_seconds

    def loaded(files: VersionFiles, description: Description) -> Model:
        return load(files, settings.trusted, most_seconds, description)

    name, limits = settings.model_name, Limits(settings.challenger_max_disagreement)
    deployments = Deployments([ActiveModel(name, loaded, ActiveModel(place_of(name), loaded), limits)])
    deployments.follow(ControlClient(settings.channel), _end, FIRST_LOOK_SECONDS)
    admission = AdmissionControl(settings.queue_seconds, settings.max_body_bytes, _aside())
    kept = PredictionLog.of(settings)
    flask, request_log = create_app(settings, deployments, kept), RequestLog(settings.log_rate)
    service = Service(settings, deployments, admission, request_log, flask, (kept,) if kept else ())
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


if __name__ == "__main__":
    with open(int(sys.argv[1]), "rb") as handed:
        found = Settings.taken_over(handed.read())
    Gunicorn(found).run()
