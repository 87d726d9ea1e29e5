"""The process that asks a challenger for what was logged: `python -m inference.shadow.process`, which inference.shadow.keeper starts.

It is handed what is to be asked in a file that has no name, writes a byte for each sign of life to its standard output, and ends with its
standard input: with the service, that is. Told to end, it hands on what was answered.
"""

import logging.config
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
from contract.mlmodel.manifest import Description
from contract.version_files import VersionFiles

from inference.errors import ModelRefused
from inference.ipc.messages import DeploymentSpec
from inference.model.model import Model, load
from inference.settings import Settings
from inference.shadow import state as states
from inference.shadow.asking import Pair
from inference.shadow.task import REFUSED, Task
from inference.shadow.work import Spool, Work
from inference.telemetry.log import LOGGING

# How much more it gives way than the process that it is a child of.
NICENESS = 9
# Between two looks.
PAUSE_SECONDS = 1.0
# For the rows of one request, where they can be asked for in parts.
MOST_SECONDS = 5.0

log = logging.getLogger("inference")


def main(task: Task) -> int:
    """Ask until told to end; return the exit code, another than 0 where the challenger cannot be loaded."""
    settings, sign, ended = Settings.taken_over(task.settings), _signs(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The thread that has started this process takes none.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    _give_way()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    folder = states.folder_in(settings.prediction_log_dir)
    state = states.begun(folder, task.challenger.version, task.challenger.since)
    try:
        pair = _pair(settings, task)
    except ModelRefused as error:
        state.problem = f"it cannot be loaded to be asked: {error}"
        states.write(folder, state)
        return REFUSED
    work = Work(Spool(settings.prediction_log_dir, settings.prediction_log_spool_bytes), state, pair, sign)
    told = ""
    while not ended.wait(PAUSE_SECONDS):
        try:
            work.look()
            told = ""
        except OSError as error:  # a disk that is full or fails: the next look may be better
            if str(error) != told:
                log.error("the challenger cannot be asked for what is logged: %s", error)
            told = str(error)
        sign()
    work.hand_on()
    return 0


def _pair(settings: Settings, task: Task) -> Pair:
    name, version = task.challenger.version.name, task.challenger.version.version
    try:
        champion: Model | None = _loaded(settings, task.champion)
    except ModelRefused as error:
        log.warning("what version %s takes is not measured: %s", task.champion.version.version, error)
        champion = None
    return Pair(name, _loaded(settings, task.challenger), version, champion, task.champion.version.version)


def _loaded(settings: Settings, spec: DeploymentSpec) -> Model:
    """Return a version as a worker loads it: what was verified, and nothing else."""
    files = VersionFiles(Path(spec.folder), spec.files)
    return load(files, settings.trusted, MOST_SECONDS, Description.of_json(spec.description))


def _signs() -> Callable[[], None]:
    """Return what gives a sign of life; what a library prints goes with the errors, and is none."""
    signs = os.dup(1)
    os.set_blocking(signs, False)
    os.dup2(2, 1)

    def sign() -> None:
        with suppress(OSError):
            os.write(signs, b".")

    return sign


def _give_way() -> None:
    """Let those who answer requests go first, in time and in memory."""
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):  # where the container has no memory left, it is this process that ends
        Path("/proc/self/oom_score_adj").write_text("1000")


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    logging.config.dictConfig(LOGGING)
    with open(int(sys.argv[1]), "rb") as handed:
        found = msgspec.msgpack.decode(handed.read(), type=Task)
    sys.exit(main(found))
