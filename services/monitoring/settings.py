"""What the environment says of monitoring, beside the settings of the prediction service, whose model it looks at."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from contract.settings import Reader, told
from inference.errors import SettingsError
from inference.settings import Settings as Service
from monitoring.errors import WrongOption

UNITS = {"m": "minutes", "h": "hours", "d": "days"}
LONGEST = timedelta(days=3650)
# Of the prediction service's settings, what says which model it is and how far its files are trusted.
OF_THE_MODEL = ("tracking_uri", "model_name", "model_alias", "trust", "trusted_types", "allow_code", "verifying_key")


@dataclass(frozen=True)
class Settings:
    """Where the model's files are, whose they are, and how it is looked at."""

    service: Service
    """of the prediction service: where MLflow is, the model's name and alias, and how far its files are trusted"""
    seconds: float = 300.0
    """MONITOR_SECONDS: how often `watch` looks, from 1 to 86400."""
    last: timedelta = timedelta(hours=24)
    """MONITOR_LAST: the time that it looks back over, such as 90m, 24h or 7d."""
    rows: int = 200
    """MONITOR_ROWS: the least rows of each of the two windows, from 50 to 100000."""
    log: bool = True
    """MONITOR_LOG: whether reports go into MLflow."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the settings; raise WrongOption naming the variable, its value and what is expected."""
        read = Reader(environ, WrongOption)
        try:
            service = Service.from_env(environ)
        except SettingsError as error:
            raise WrongOption(str(error)) from error
        return cls(
            service=service,
            seconds=read.number("MONITOR_SECONDS", cls.seconds, 1, 86_400),
            last=time_of("MONITOR_LAST", read.text("MONITOR_LAST", "24h")),
            rows=read.number("MONITOR_ROWS", cls.rows, 50, 100_000),
            log=read.choice("MONITOR_LOG", "true", "true", "false") == "true",
        )

    def told(self) -> dict[str, Any]:
        """Return the settings in force, for the log: of the prediction service's those that are about its model."""
        of_service = told(self.service)
        own = {name: value for name, value in told(self).items() if name != "service"}
        return {name: of_service[name] for name in OF_THE_MODEL} | own

    @property
    def verifying_key(self) -> Path:
        return self.service.verifying_key


def time_of(name: str, text: str) -> timedelta:
    """Return how long a text such as 24h is; raise WrongOption naming what it was given as."""
    found = re.fullmatch(r"(\d{1,6})([mhd])", text)
    length = timedelta(**{UNITS[found[2]]: int(found[1])}) if found else timedelta()
    if not timedelta() < length <= LONGEST:
        raise WrongOption(f"{name} is {text!r}; expected a number and m, h or d, such as 90m, 24h or 7d")
    return length
