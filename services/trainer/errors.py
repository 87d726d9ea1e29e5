"""What can go wrong in the trainer.

TrainerError                exit code 1, one line
├── SettingsError           an environment variable is unusable
├── DataError               the training data is missing or unusable
├── TrackingError           MLflow cannot be reached or refuses
└── VersionError            a version is not there, or not fit for what is asked
"""


class TrainerError(Exception):
    """The job cannot go on; the message names the thing, the value and the way out."""


class SettingsError(TrainerError):
    """An environment variable is missing, empty or out of range."""


class DataError(TrainerError):
    """The training data is missing or cannot be trained on."""


class TrackingError(TrainerError):
    """MLflow cannot be reached, or refuses."""


class VersionError(TrainerError):
    """A version is not there, or not what may be signed, or put into Production."""
