"""What the schedule can be told, read from the environment once."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from contract.settings import Reader
from cronsim import CronSim, CronSimError

from trainer.errors import SettingsError

NEVER = "never"
FIELDS = 5


@dataclass(frozen=True)
class Schedule:
    """When to train and on what; .env.example lists the same variables with the reasons."""

    cron: str = "17 3 * * 1"
    """TRAIN_SCHEDULE: when to train, as cron has it; never: on drift alone."""
    time_zone: str = "UTC"
    """TRAIN_TZ: the time zone that the schedule is meant in."""
    arguments: tuple[str, ...] = ()
    """TRAIN_ARGS: the options of `train`, as a shell has them."""
    on_drift: bool = True
    """TRAIN_ON_DRIFT: whether to train when the monitor says that there is drift."""
    min_hours: float = 24.0
    """TRAIN_MIN_HOURS: how long after the last training there is none on drift, from 0.01 to 8760."""
    challenge_seconds: float = 300.0
    """CHALLENGE_SECONDS: how often a challenge that was started with --auto is decided about, from 1 to 86400."""
    file: Path = Path("embedded/schedule.json")
    """SCHEDULE_FILE: where it is kept what came of the trainings."""
    host: str = "127.0.0.1"
    """SCHEDULE_HOST: the address on which it says so."""
    port: int = 9110
    """SCHEDULE_PORT: the port of it; 0 is a free one."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Schedule":
        """Read the settings; raise SettingsError naming the variable, its value and what is expected."""
        read = Reader(environ, SettingsError)
        return cls(
            cron=_cron(read.text("TRAIN_SCHEDULE", cls.cron)),
            time_zone=_zone(read.text("TRAIN_TZ", cls.time_zone)),
            arguments=_words(environ.get("TRAIN_ARGS", "")),
            on_drift=read.choice("TRAIN_ON_DRIFT", "true", "true", "false") == "true",
            min_hours=read.number("TRAIN_MIN_HOURS", cls.min_hours, 0.01, 8760),
            challenge_seconds=read.number("CHALLENGE_SECONDS", cls.challenge_seconds, 1, 86_400),
            file=Path(read.text("SCHEDULE_FILE", str(cls.file))),
            host=read.text("SCHEDULE_HOST", cls.host),
            port=read.number("SCHEDULE_PORT", cls.port, 0, 65535),
        )

    def after(self, moment: float) -> float | None:
        """Return the first time of the schedule after a moment (both in seconds since 1970), None for never."""
        return None if self.cron == NEVER else _after(self.cron, self.time_zone, moment)


@lru_cache(8)  # a time that is a year away takes a tenth of a second
def _after(cron: str, time_zone: str, moment: float) -> float:
    return next(CronSim(cron, datetime.fromtimestamp(moment, ZoneInfo(time_zone)))).timestamp()


def _cron(text: str) -> str:
    if text == NEVER:
        return text
    try:
        if len(text.split()) != FIELDS:  # cronsim takes six, too, with seconds
            raise CronSimError("Wrong number of fields")
        next(CronSim(text, datetime.now(UTC)))
    except (CronSimError, StopIteration) as error:
        raise SettingsError(
            f"TRAIN_SCHEDULE is {text!r}: {error}; expected minute, hour, day, month and weekday, such as '17 3 * * 1', or never"
        ) from None
    return text


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SettingsError(f"TRAIN_TZ is {text!r}; expected a time zone, such as Europe/Zurich or UTC") from None
    return text


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise SettingsError(f"TRAIN_ARGS is {text!r}: {error}; expected options of `train`") from None
