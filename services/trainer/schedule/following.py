"""A challenge that goes on without a person: what its guard did is written down, and, with --auto, it is promoted or ended.

Whether there is one, and whether the prediction service has sent it away, is asked here, which is cheap. What then has to be done
is the command's, `challenge carry-on`, as a process of its own.
"""

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Thread
from typing import Any

from contract.errors import Refused
from contract.tracking.challenge import Challenge
from contract.tracking.rest import is_server

from trainer import child
from trainer.errors import TrackingError
from trainer.settings import Settings
from trainer.tracking import rest, served

RETURNED, PROMOTED, ENDED, OPEN, NOBODY = "returned", "promoted", "ended", "open", "nobody"
FAILED = "failed"
COUNTED = (RETURNED, PROMOTED, ENDED, FAILED)
# How often it is looked whether there is a challenger, and whether it was sent away; and how long after a command that failed.
LOOK_SECONDS, RETRY_SECONDS = 5.0, 60.0
# How long a command that is told to end may take, in which what belongs together is written.
END_SECONDS = 20.0


@dataclass(frozen=True)
class Found:
    """Who challenges Production, as the registry says."""

    version: str | None
    """None where the prediction service alone can say it: a database file is not read here"""
    is_auto: bool
    """whether somebody may have started it with --auto; the command looks closer"""


@dataclass(frozen=True)
class Did:
    """What the command did last, at a time in seconds since 1970."""

    time: float
    outcome: str
    reason: str
    version: str | None = None
    problem: str | None = None


@dataclass
class Following:
    """Looks at a challenge again and again, and has done what it calls for."""

    seconds: float
    """between two decisions of --auto"""
    find: Callable[[], Found | None]
    """the registry; raises TrackingError where it does not tell"""
    ask: Callable[[], dict[str, Any]]
    """the prediction service: what it says of its challenger, or the fault"""
    carry_on: Callable[[], Did]
    tell: Callable[[str], object]
    now: Callable[[], float] = time.time
    version: str | None = field(default=None, init=False)
    """who challenges Production, None where nobody does"""
    is_auto: bool = field(default=False, init=False)
    problem: str | None = field(default=None, init=False)
    """what is in the way, None where nothing is"""
    verdict: Did | None = field(default=None, init=False)
    """what was said when it was last decided about"""
    last: Did | None = field(default=None, init=False)
    """what last changed something, or failed"""
    count: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0), init=False)
    _decides_at: float = field(default=0.0, init=False)
    _tries_at: float = field(default=0.0, init=False)

    def look(self) -> None:
        """Look once, and have done what is to be done."""
        try:
            found = self.find()
        except TrackingError as error:
            self.obstacle(str(error))
            return
        said = {} if found is None else self.ask()
        version = None if found is None else found.version or said.get("version")
        self.is_auto = version is not None and found is not None and found.is_auto
        if version != self.version:
            self.version, self.verdict, self._decides_at = version, None, 0.0
        if version is None or "fault" in said:
            what = (
                f"the prediction service has sent version {version} away"
                if version
                else "a version challenges Production"
            )
            self.obstacle(f"whether {what} is not known: {said['fault']}" if "fault" in said else None)
            return
        is_away = bool(said.get("returned")) and said.get("version") == version
        now = self.now()
        if now >= self._tries_at and (is_away or (self.is_auto and now >= self._decides_at)):
            self._do()
        else:
            self.obstacle(self.verdict.problem if self.verdict else None)

    def _do(self) -> None:
        did = self.carry_on()
        now = self.now()
        self._decides_at = now + self.seconds
        self._tries_at = now + RETRY_SECONDS if did.outcome == FAILED else 0.0
        self.verdict = did
        if did.outcome in COUNTED:
            self.last = did
            self.count[did.outcome] += 1
            self.tell(f"challenge: {did.outcome}: version {did.version or self.version}: {did.reason}")
        if did.outcome in (RETURNED, PROMOTED, ENDED):
            self.version, self.is_auto = None, False
        self.obstacle(did.problem)

    def obstacle(self, words: str | None) -> None:
        """Note what is in the way, None for nothing."""
        if words != self.problem:  # once, and not at each look
            self.tell(f"challenge: {words}" if words else "challenge: nothing is in the way any more")
        self.problem = words


def found(settings: Settings) -> Found | None:
    """Return who challenges Production of the model, None where nobody does; raises TrackingError."""
    if not is_server(settings.tracking_uri):
        return Found(None, is_auto=True)
    if (answer := rest.challenger(settings.tracking_uri, settings.model_name)) is None:
        return None
    version, tag = answer
    try:
        return Found(version, Challenge.of(tag).auto is not None)
    except Refused:
        return Found(version, is_auto=False)


def did(ended: child.Ended, now: float) -> Did:
    """Return what a command did: by its exit code, what it said, and its last line."""
    try:
        if ended.code == 0:
            said = json.loads(ended.said)
            return Did(now, said["outcome"], said["reason"], said["version"], said["problem"])
    except (ValueError, KeyError, TypeError):
        pass  # it has said nothing that can be read
    words = f"exit code {ended.code}: {ended.last_line.removeprefix('trainer: ')}"
    return Did(now, FAILED, words, problem=words)


class Looker:
    """Looks in a thread of its own, beside trainings that take hours, until it is told to end."""

    def __init__(self, settings: Settings, seconds: float, tell: Callable[[str], object]) -> None:
        self._over = Event()
        self._process: subprocess.Popen[str] | None = None
        self.following = Following(
            seconds=seconds,
            find=partial(found, settings),
            ask=partial(served.challenger, settings.inference_url, settings.api_key_file, settings.model_name),
            carry_on=self._carry_on,
            tell=tell,
        )
        self._thread = Thread(target=self._look, name="challenge", daemon=True)

    def __enter__(self) -> Following:
        self._thread.start()
        return self.following

    def __exit__(self, *_: object) -> None:
        """End it, and a command that it runs: that writes to its end what belongs together."""
        self._over.set()
        if (process := self._process) is not None:
            process.terminate()
        self._thread.join(END_SECONDS)

    def _look(self) -> None:
        while not self._over.is_set():
            try:
                self.following.look()
            except Exception as error:  # whatever it is, the trainings go on, and the next look may be better
                self.following.obstacle(f"unexpected {type(error).__name__}: {error}")
            self._over.wait(min(LOOK_SECONDS, self.following.seconds))

    def _carry_on(self) -> Did:
        ended = child.run(["challenge", "carry-on", "--json"], begun=self._begun)
        self._process = None
        return did(ended, time.time())

    def _begun(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        if self._over.is_set():
            process.terminate()
