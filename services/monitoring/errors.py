"""What can be in the way of a look, and the exit code that says so.

MonitoringError
├── WrongOption     2   an option, a setting or a column's name
├── TooFewRows      3   there are not rows enough for a verdict
├── NothingKept     3   no prediction is kept, or what is kept cannot be read
├── NoAnswer        4   MLflow does not answer, or refuses
└── NoReference     5   there is no such version, its files are refused, or it has no profile
"""


class MonitoringError(Exception):
    """There is no verdict; the message names the thing, the value and the way out."""

    exit_code = 1
    version: str | None = None
    """the version that was looked at, None where it is not known"""


class WrongOption(MonitoringError):
    """An option or a setting cannot be used."""

    exit_code = 2


class TooFewRows(MonitoringError):
    """There are not rows enough in each of two windows."""

    exit_code = 3

    def __init__(self, words: str, rows: int, missing: int) -> None:
        super().__init__(words)
        self.rows, self.missing = rows, missing


class NothingKept(MonitoringError):
    """No prediction is kept, or what is kept cannot be read."""

    exit_code = 3


class NoAnswer(MonitoringError):
    """MLflow does not answer, or refuses."""

    exit_code = 4


class NoReference(MonitoringError):
    """There is nothing to compare with: no such version, or none that has a profile and can be trusted."""

    exit_code = 5
