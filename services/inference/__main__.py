"""The prediction service: `python -m inference`.

This process follows the registry for all workers. gunicorn, which is its child, answers the requests.
"""

import logging.config
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile, mkdtemp
from types import FrameType

from contract.publishing import guard
from contract.settings import told
from contract.tracking.challenge import ALIAS

from inference import memory_limit
from inference.api_keys.keyring import Keyring
from inference.errors import SettingsError
from inference.settings import Settings

log = logging.getLogger("inference")
# How much this process gives way to those that answer.
NICENESS = 10
# Requests are what runs side by side: OpenMP, and BLAS which reads this too, start no team of threads for one of them. Where
# somebody wants a team, its threads sleep while they wait: on busy cores those that spin made a request take seconds.
THREADS = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
# What ends the service.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
# How often the API keys are looked at.
KEYS_SECONDS = 1.0
# How long the first look waits for the workers, so that they all try the first version together.
WORKERS_SECONDS = 15


def main() -> int:
    """Serve until gunicorn ends; return its exit code, or end with a line that says which setting cannot be used."""
    try:
        guard.check(os.environ, SettingsError)
        settings = Settings.from_env(os.environ)
        memory_limit.check(memory_limit.Memory.of_container(), settings.workers)
    except SettingsError as error:
        sys.exit(f"inference: {error}")
    _check_port(settings)
    run_dir = Path(mkdtemp(prefix="inference-"))
    try:
        return _serve(replace(settings, run_dir=run_dir))
    finally:
        shutil.rmtree(run_dir, ignore_errors=True)


def _check_port(settings: Settings) -> None:
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as error:
        sys.exit(
            f"inference: cannot listen on {settings.address}: {error.strerror}; "
            "INFERENCE_LISTEN_PORT chooses another port"
        )


def _prepare_environment(run_dir: Path) -> None:
    """Set what libraries of the workers read when they start."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(run_dir)
    # What a large request took goes back to the system when it ends. glibc raises this by itself to what was freed last, and
    # then keeps the pieces: with six large requests at once a worker took a fifth more.
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(1024 * 1024))
    for name, value in THREADS.items():
        os.environ.setdefault(name, value)


def _pass_signals_on(gunicorn: "subprocess.Popen[bytes]") -> None:
    def pass_on(number: int, _frame: FrameType | None) -> None:
        gunicorn.send_signal(number)

    for number in SIGNALS:
        signal.signal(number, pass_on)


@contextmanager
def _for_main_thread_alone() -> Iterator[None]:
    """Let no thread that is started here, nor any of theirs, take a signal that ends the service.

    The kernel may choose any thread that does, and Python would act on it in the main thread, which sleeps until gunicorn ends.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _gunicorn(settings: Settings) -> "subprocess.Popen[bytes]":
    """Start gunicorn, which reads the settings from a file that has no name: there may be a login in them."""
    with TemporaryFile() as file:
        file.write(settings.handed_on())
        file.seek(0)
        descriptor = file.fileno()
        command = [sys.executable, "-m", "inference.server", str(descriptor)]
        return subprocess.Popen(command, pass_fds=[descriptor])


def _tell_of_keys(keys: Keyring) -> None:
    """Log, once for all workers, whether API keys are asked for, and each change of that."""
    is_news = keys.is_on
    while True:
        if is_news:
            log.log(logging.ERROR if keys.problem else logging.INFO, keys.told())
        time.sleep(KEYS_SECONDS)
        is_news = keys.look()


def _start(*targets: Callable[[], None]) -> None:
    for target in targets:
        threading.Thread(target=target, name="poller", daemon=True).start()


def _serve(settings: Settings) -> int:
    """Run gunicorn and the pollers until gunicorn ends; return its exit code."""
    _prepare_environment(settings.run_dir)
    from inference.ipc.server import WorkerGroup
    from inference.shadow.keeper import Keeper
    from inference.telemetry.log import LOGGING
    from inference.verification.key import KeyWatch
    from inference.wiring import challenger_poller_of, poller_of, verifier_of

    logging.config.dictConfig(LOGGING)
    log.info("Settings", extra={"fields": {"settings": told(settings)}})
    # The challenger's is started when there is something to verify: nobody waits for what it takes.
    verifier, verifier_of_challenger = verifier_of(settings), verifier_of(settings)
    workers = WorkerGroup(settings.channel)
    poller = poller_of(settings, verifier, workers)
    challenger = challenger_poller_of(settings, verifier_of_challenger, workers, poller.rollout)
    workers.on_return = challenger.returned
    shadow = Keeper(settings, poller.rollout, challenger.rollout)
    gunicorn = _gunicorn(settings)
    key = KeyWatch(settings.verifying_key, gunicorn.terminate)
    _pass_signals_on(gunicorn)
    os.nice(NICENESS)  # what is fetched and verified does not take the processor from those who answer

    def follow() -> None:
        workers.wait_for(settings.workers, WORKERS_SECONDS)
        workers.wait_for(1, threading.TIMEOUT_MAX)
        poller.follow(settings.poll_seconds, key.pause)

    keys = Keyring(settings.api_keys_file, settings.cache_dir)
    follow_challenger = partial(challenger.follow_after, poller.rollout, settings.poll_seconds)
    with _for_main_thread_alone():
        workers.accept_workers(poller.rollout.catch_up, challenger.rollout.catch_up)
        verifier.start()
        _start(follow, partial(_tell_of_keys, keys), *([follow_challenger] if settings.model_alias != ALIAS else []))
        shadow.start()
    try:
        return gunicorn.wait()
    finally:
        for each in (shadow, poller, challenger, verifier, verifier_of_challenger):
            each.end()


if __name__ == "__main__":
    sys.exit(main())
