"""What came of the trainings, kept in a file that outlives the service."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from trainer.errors import SettingsError

PROMOTED, KEPT, UNCHANGED, FAILED = OUTCOMES = ("promoted", "kept", "unchanged", "failed")


@dataclass(frozen=True)
class Outcome:
    """What came of one training."""

    outcome: str
    """one of OUTCOMES"""
    reason: str
    model_name: str | None = None
    """None, like all that follows, where no version was made"""
    version: str | None = None
    run_id: str | None = None
    attempts_on_this_data: int | None = None


@dataclass(frozen=True)
class Training:
    """A training that runs, or has ended; times are in seconds since 1970."""

    trigger: str
    started: float
    ended: float | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True)
class Record:
    """All that is kept."""

    schedule: str
    """of which it is, with its time zone"""
    seen: float
    """until when the schedule has been seen to, in seconds since 1970"""
    running: Training | None = None
    last: Training | None = None
    last_success: float | None = None
    count: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))


def read(path: Path) -> Record | None:
    """Return what is kept, None where there is nothing yet. Raises ValueError for a file that is none of ours."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"SCHEDULE_FILE {path} cannot be read: {error.strerror}") from error
    try:
        running, last = _training(content.pop("running")), _training(content.pop("last"))
        found = Record(**content, running=running, last=last)
        if not (isinstance(found.schedule, str) and set(found.count) == set(OUTCOMES)):
            raise TypeError
        return Record(**vars(found) | {"seen": float(found.seen)})
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError("it is no record of trainings") from error


def _training(content: dict[str, object] | None) -> Training | None:
    if content is None:
        return None
    outcome = content.pop("outcome")
    return Training(**content, outcome=None if outcome is None else Outcome(**outcome))  # type: ignore[arg-type]


def write(path: Path, record: Record) -> None:
    """Write the file whole, or leave the one that is there. Raises SettingsError."""
    new = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with new.open("w") as file:
            json.dump(asdict(record), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise SettingsError(f"SCHEDULE_FILE {path} cannot be written: {error.strerror}") from error
