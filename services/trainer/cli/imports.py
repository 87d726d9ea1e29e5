"""What has to be set before MLflow and scikit-learn are imported, which takes seconds."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from contract.process.imports import quick_imports

from trainer.signals import Held

# MLflow reads these when it is imported. Its own link names the server as containers see it; ours are for people.
# Its default retries would hide a dead server for four minutes.
MLFLOW_DEFAULTS = {
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    # A version's files are small and many: the bar would be the longest line of the log.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # The image has no git, and MLflow's many lines about that help nobody.
    "GIT_PYTHON_REFRESH": "quiet",
}

# OpenMP reads these when it is loaded, with scikit-learn. By default its threads wait for each other by spinning: on cores that
# others use too, histogram boosting then takes thirty times as long.
THREADS = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}


@contextmanager
def importing() -> Iterator[None]:
    """Import MLflow with its settings; a signal that comes meanwhile takes effect at the end.

    Python's import locks are weak references. An exception that is raised in one of their callbacks, a signal's too, is swallowed, and
    the signal would be lost.
    """
    for name, value in MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)
    with Held(), quick_imports():
        yield
