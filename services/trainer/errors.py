"""What can go wrong in the trainer, and the exit code that says so.

TrainerError            1   anything that is none of these
├── Unchanged           0   there is nothing new to train on
├── SettingsError       2   an option or an environment variable is unusable
├── DataError           3   the training data is missing or unusable
├── TrackingError       4   MLflow cannot be reached or refuses
│   └── AnswerTooLong   4   MLflow's answer is longer than what is read of one
└── VersionError        5   a version is not there, or not fit for what is asked
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from contract.errors import Refused


class TrainerError(Exception):
    """The job cannot go on; the message names the thing, the value and the way out."""

    exit_code = 1


class Unchanged(TrainerError):
    """A run has trained this model on this data with these options before, and nothing else was asked for."""

    exit_code = 0

    def __init__(self, model_name: str, run_id: str, words: str) -> None:
        super().__init__(words)
        self.model_name, self.run_id = model_name, run_id

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"unchanged": True, "reason": str(self), "model_name": self.model_name, "run_id": self.run_id}


class SettingsError(TrainerError):
    """An option or an environment variable is missing, empty or out of range."""

    exit_code = 2


class DataError(TrainerError):
    """The training data is missing or cannot be trained on."""

    exit_code = 3


class TrackingError(TrainerError):
    """MLflow cannot be reached, or refuses."""

    exit_code = 4


class AnswerTooLong(TrackingError):
    """MLflow's answer is longer than what is read of one: somebody has written that much into it."""


class VersionError(TrainerError):
    """A version is not there, or not what may be signed, or put into Production."""

    exit_code = 5


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what the contract refuses of a version's files into a VersionError."""
    try:
        yield
    except Refused as error:
        raise VersionError(str(error)) from error
