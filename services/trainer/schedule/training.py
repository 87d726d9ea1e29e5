"""A training as a child of the schedule: what it says goes on to the log, and what came of it is told by its record."""

import json
import signal
from collections.abc import Sequence
from typing import Any

from trainer import child
from trainer.schedule.record import FAILED, KEPT, PROMOTED, UNCHANGED, Outcome

LOCK = "TRAINING_LOCK"


def train(arguments: Sequence[str], lock: Sequence[int]) -> Outcome:
    """Run `train` to its end, in which the descriptors `lock` keep others from training."""
    environ = {LOCK: "held"} if lock else {}
    ended = child.run(["train", "--if-new", "--json", *arguments], lock, environ)
    return outcome(ended.code, ended.said, ended.last_line)


def outcome(code: int, record: str, last_line: str) -> Outcome:
    """Return what came of a training: its exit code, its promotion record, and the last line that it said."""
    if code < 0:
        killed = signal.Signals(-code).name
        return Outcome(FAILED, f"{killed} ended it" + (" (out of memory?)" if -code == signal.SIGKILL else ""))
    try:
        found = json.loads(record)
        if code == 0:
            return _told(found)
    except (ValueError, KeyError, TypeError, AttributeError):
        pass  # it has said nothing that can be read
    return Outcome(FAILED, f"exit code {code}: {last_line.removeprefix('trainer: ')}")


def _told(found: dict[str, Any]) -> Outcome:
    if found.get("unchanged"):
        return Outcome(UNCHANGED, found["reason"], model_name=found["model_name"], run_id=found["run_id"])
    return Outcome(
        PROMOTED if found["promoted"] else KEPT,
        found["reason"],
        model_name=found["model_name"],
        version=found["version"],
        run_id=found["run_id"],
        attempts_on_this_data=found["attempts_on_this_data"],
    )
