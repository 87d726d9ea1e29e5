"""Has a challenger asked for what was logged as long as there is one: by a process of its own, which is started again where it ends.

Neither those who answer requests nor what ships the log wait for it. Of several services with one spool, one at a time asks.
"""

import logging
import os
import select
import subprocess
import sys
import threading
import time
from contextlib import suppress
from tempfile import TemporaryFile

import msgspec

from inference.ipc.messages import DeploymentSpec
from inference.prediction_log import spool
from inference.prediction_log.segment import SUFFIX
from inference.rollout.challenger.eligibility import RETURNED
from inference.rollout.two_phase import Rollout
from inference.settings import Settings
from inference.shadow import state as states
from inference.shadow.task import REFUSED, Task

LOCK = "shadow.lock"
COMMAND = [sys.executable, "-m", "inference.shadow.process"]
# How long it may give no sign of life, while it loads both versions and while it asks.
LOAD_SECONDS, SILENT_SECONDS = 120.0, 30.0
# What it is given to hand on what was answered.
END_SECONDS = 5.0
# The pause before it is started again, twice as long each time that it ends soon, up to the last.
FIRST_PAUSE, LAST_PAUSE, SOON_SECONDS = 1.0, 60.0, 60.0
LOOK_SECONDS = 1.0
# Segments that are held while there is nobody to ask.
MOST_HELD = 32

log = logging.getLogger("inference")


class Keeper:
    """Keeps the process that asks the challenger of one model."""

    def __init__(self, settings: Settings, champion: Rollout, challenger: Rollout) -> None:
        self._settings, self._champion, self._challenger = settings, champion, challenger
        self._folder = states.folder_in(settings.prediction_log_dir)
        self._process: subprocess.Popen[bytes] | None = None
        self._asked: tuple[object, ...] = ()
        self._lock: int | None = None
        self._began = self._heard = self._due = 0.0
        self._pause, self._is_clear = FIRST_PAUSE, False
        self._over, self._thread = threading.Event(), threading.Thread(target=self.follow, name="shadow", daemon=True)

    def start(self) -> None:
        """Look again and again from now on, in a thread, where there is a log to ask for."""
        if self._settings.prediction_log:
            self._thread.start()

    def follow(self) -> None:
        """Look again and again, until told to end."""
        while not self._over.is_set():
            try:
                self.look()
            except Exception:  # whatever it is, requests are answered, and the log is shipped
                log.exception("asking the challenger for what was logged failed")
                self._over.wait(LAST_PAUSE)
        self._stop()

    def end(self) -> None:
        """Ask no more; what was answered is handed on."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(LOOK_SECONDS + 2 * END_SECONDS)

    def look(self) -> None:
        """See to it that who is to be asked is asked; takes a second."""
        champion, challenger = self._champion.served, self._challenger.served
        is_wanted = champion is not None and challenger is not None and _may(champion, challenger)
        asked = (champion.id, champion.folder, challenger.id, challenger.folder) if champion and challenger else ()
        if self._process is not None and (not is_wanted or asked != self._asked):
            self._stop()
        if not is_wanted:
            self._let_go(challenger)
        elif self._process is not None and challenger:
            self._listen(challenger)
            return
        elif self._has_lock() and champion and challenger:
            self._hold(challenger)
            if time.monotonic() >= self._due:
                self._begin(champion, challenger)
                self._asked = asked
        self._over.wait(LOOK_SECONDS)

    def _hold(self, challenger: DeploymentSpec) -> None:
        """See to it that what is logged meanwhile is there for the process that asks, once it has started, or goes on."""
        state = states.begun(self._folder, challenger.version, challenger.since)
        if len(list(self._folder.glob(f"*{SUFFIX}"))) < MOST_HELD:
            states.take_in(self._settings.prediction_log_dir, state.places)

    def _stop(self) -> None:
        if (process := self._process) is not None:
            process.terminate()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            with process:
                pass
            self._process = None

    def _begin(self, champion: DeploymentSpec, challenger: DeploymentSpec) -> None:
        assert self._lock is not None  # noqa: S101 - who has no lock asks nobody
        task = Task(self._settings.handed_on(), champion, challenger)
        with TemporaryFile() as file:
            file.write(msgspec.msgpack.encode(task))
            file.seek(0)
            command = [*COMMAND, str(file.fileno())]
            # It holds the lock as well: where this process is killed, no other asks before that one has ended.
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[file.fileno(), self._lock]
            )
        self._began, self._heard, self._is_clear = time.monotonic(), 0.0, False

    def _listen(self, challenger: DeploymentSpec) -> None:
        """Wait a second for a sign of life; where there is none any more, or for too long, note that, and have it started again."""
        assert self._process is not None  # noqa: S101
        assert self._process.stdout is not None  # noqa: S101
        stream, now = self._process.stdout, time.monotonic()
        if select.select([stream], [], [], LOOK_SECONDS)[0]:
            if os.read(stream.fileno(), 1 << 16):
                self._heard = now
                self._over.wait(LOOK_SECONDS)
                return
            self._ended("the process that asks it ended over it")
        elif now - (self._heard or self._began) > (SILENT_SECONDS if self._heard else LOAD_SECONDS):
            self._ended(f"it does not answer within {SILENT_SECONDS if self._heard else LOAD_SECONDS:.0f} s")
        else:
            self._hold(challenger)

    def _ended(self, problem: str) -> None:
        """End the process where it has not ended, note why nothing is asked, and when it is tried again."""
        assert self._process is not None  # noqa: S101
        self._process.kill()
        with self._process:
            pass
        code, now = self._process.returncode, time.monotonic()
        self._pause = min(LAST_PAUSE, self._pause * 2) if now - self._began < SOON_SECONDS else FIRST_PAUSE
        self._due, self._process = now + self._pause, None
        challenger = self._challenger.served
        if challenger and (state := states.read(self._folder, challenger.version)):
            state.problem = problem = state.problem if code == REFUSED else problem
            if state.tried is not None:
                state.tried.is_fatal = True
            states.write(self._folder, state)
        log.error(
            "the challenger is not asked for what is logged: %s; it is tried again in %.0f s", problem, self._pause
        )

    def _has_lock(self) -> bool:
        if self._lock is None:
            with suppress(OSError):  # of a spool that is not there the log of predictions tells
                self._lock = spool.lock(self._folder, LOCK)
        return self._lock is not None

    def _let_go(self, challenger: DeploymentSpec | None) -> None:
        """Keep nothing back for a challenger that is none any more; before the registry was asked nobody knows that."""
        self._pause, self._due = FIRST_PAUSE, 0.0
        is_none = challenger is not None or self._challenger.is_reported
        if is_none and not self._is_clear and self._folder.is_dir() and self._has_lock():
            states.clear(self._folder)
            self._is_clear = True
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _may(champion: DeploymentSpec, challenger: DeploymentSpec) -> bool:
    """Tell whether one is to be asked: one that was sent away is not, nor what is in Production itself."""
    return RETURNED not in challenger.version.tags and challenger.version.version != champion.version.version
