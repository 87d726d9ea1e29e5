"""What runs code of its own, which its owner has vouched for: asked in a child of the worker, where MLflow's pyfunc has it.

A child for each version that is loaded: two versions have modules of the same names, of which one interpreter has one. It
may also crash or hang, which ends the child, and neither the worker nor the version that is being served meanwhile.
"""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from fnmatch import fnmatchcase
from multiprocessing import Pipe
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from contract.mlmodel.manifest import Description, check_class_names
from contract.version_files import VersionFiles

from inference.errors import InvalidInput, ModelRefused, Overloaded
from inference.rows import Rows
from inference.trust import Trust, Trusted

SERVICES = Path(__file__).parents[3]
# To import what it needs and to load the model: less than workers have for a version (inference.rollout.two_phase).
LOAD_SECONDS = 100.0
# What of the environment is the child's: where programs and libraries are, and how they work. The address of MLflow may have a
# login in it, and nobody knows what else is there.
PASSED_ON = (
    *("PATH", "HOME", "TMPDIR", "LANG", "LC_*", "LD_LIBRARY_PATH"),
    *("*_NUM_THREADS", "OMP_*", "GOMP_*", "PYTHON*"),
)
# The workers share the cores; threads of one library would wait for each other.
ENVIRON = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}


class PyFunc:
    """A version that MLflow's pyfunc has loaded, in a child that is started anew where it has ended."""

    name = "pyfunc"

    def __init__(self, files: VersionFiles, model: Description, most_seconds: float) -> None:
        """Load a version; raise ModelRefused where it cannot be loaded."""
        self._model, self._most_seconds = model, most_seconds
        # Its own copy: what others put beside a version's files is not in it, and what they change is found out.
        self._folder = TemporaryDirectory(prefix="inference-model-")
        _copy(files, Path(self._folder.name))
        self._one_at_a_time = threading.Lock()
        self._child = self._started()
        self.classes: list[Any] | None = self._child.classes

    def labels(self, rows: Rows) -> np.ndarray:
        """Return labels or values of shape (rows,) or (rows, values); raise InvalidInput for rows that its code refuses."""
        return self._ask("predict", rows)

    def probabilities(self, rows: Rows) -> np.ndarray:
        """Return the probabilities of shape (rows, classes); raise InvalidInput likewise."""
        return self._ask("probabilities", rows)

    def with_fast_path(self, _rows: Rows) -> "PyFunc":
        """Return it as it is: nobody knows another way to the same answers."""
        return self

    def row_values(self, _rows: Rows) -> float | None:
        """Return how many values a row becomes, which is not known."""
        return None

    def _ask(self, method: str, rows: Rows) -> np.ndarray:
        gaps = [rows.has_gaps(j) for j in range(len(self._model.columns))]
        question = pickle.dumps((method, rows.by_column, gaps, rows.params))
        with self._one_at_a_time:
            if self._child.process.poll() is not None:
                self._finalize()
                self._child = self._started()
            head, body = self._child.answer(question, self._most_seconds, len(rows))
        if "refused" in head:
            raise InvalidInput(f"the model does not take these rows: {head['refused']}")
        if "failed" in head:
            raise RuntimeError(f"the model's code failed: {head['failed']}")
        if head["dtype"] == "object":
            values = np.empty(head["shape"], dtype=object)
            values[:] = json.loads(body)
            return values
        return np.frombuffer(body, dtype=head["dtype"]).reshape(head["shape"])

    def _started(self) -> "_Child":
        child = _Child(self._folder.name, self._model)
        self._finalize = weakref.finalize(self, child.end)
        return child


class _Child:
    """A process that has a model loaded (inference.model.engines.pyfunc_process), and the channel to it."""

    def __init__(self, folder: str, model: Description) -> None:
        """Start it and wait until it has the model; raise ModelRefused where it does not."""
        self._channel, theirs = Pipe()
        environ = {
            name: value for name, value in os.environ.items() if any(fnmatchcase(name, one) for one in PASSED_ON)
        }
        command = [sys.executable, "-P", "-W", "ignore", "-m", "inference.model.engines.pyfunc_process"]
        command += [str(theirs.fileno())]
        # Its standard input ends with this process, and so does it. What it prints goes with the errors; what its packages warn
        # of was for whoever has logged it. Its session is its own, so that what it starts ends with it.
        self.process = subprocess.Popen(
            command,
            env=ENVIRON | environ | {"PYTHONPATH": str(SERVICES)},
            stdin=subprocess.PIPE,
            stdout=2,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        try:
            head, _ = self._exchange(lambda: self._channel.send((folder, model.to_json())), LOAD_SECONDS)
        except TimeoutError as error:
            raise ModelRefused(f"it is not loaded within {LOAD_SECONDS:.0f} s") from error
        except (EOFError, OSError, ValueError) as error:
            raise ModelRefused(f"the process that loads it ended over it ({self.process.returncode})") from error
        if "failed" in head:
            self.end()
            raise ModelRefused(head["failed"])
        self.classes: list[Any] | None = head.get("classes")

    def answer(self, question: bytes, most_seconds: float, count: int) -> tuple[dict[str, Any], bytes]:
        """Return the answer to a question about so many rows; the process ends where it takes too long."""
        try:
            return self._exchange(lambda: self._channel.send_bytes(question), most_seconds)
        except TimeoutError:
            raise Overloaded(
                f"these {count} rows take longer than {most_seconds:g} s; send fewer rows at a time"
            ) from None
        except (EOFError, OSError, ValueError) as error:
            raise RuntimeError(f"the model's process ended over a request ({self.process.returncode})") from error

    def _exchange(self, send: Callable[[], None], seconds: float) -> tuple[dict[str, Any], bytes]:
        """Send, and return the head and the body that come back; the process ends over anything else.

        Raises TimeoutError, EOFError or OSError where the process is gone, ValueError for what is no answer.
        """
        until = time.monotonic() + seconds
        # Both ends may wait for each other in the middle of a message, too.
        watch = threading.Timer(min(seconds, threading.TIMEOUT_MAX), self._kill)
        watch.daemon = True
        watch.start()
        try:
            send()
            # The model's code runs there: what comes from it is no pickle.
            head, body = json.loads(self._channel.recv_bytes()), self._channel.recv_bytes()
            if not isinstance(head, dict):
                raise ValueError("its answer has no head")
            return head, body
        except BaseException as error:
            # What is left of an answer would be the next client's.
            self.end()
            if isinstance(error, EOFError | OSError) and time.monotonic() >= until:
                raise TimeoutError from error
            raise
        finally:
            watch.cancel()

    def end(self) -> None:
        """End the process, and what it has started; once, as others may have its number later."""
        if self._channel.closed:
            return
        self._kill()
        with suppress(BrokenPipeError), self.process:  # which waits for it, too
            pass
        self._channel.close()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def _copy(files: VersionFiles, folder: Path) -> None:
    """Copy a version's files as they were verified into a folder; raise Refused for one that was changed since."""
    for path in files.digests:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(files.read(path))


def load(files: VersionFiles, model: Description, trusted: Trusted, most_seconds: float) -> PyFunc:
    """Return what runs a version's code; raise ModelRefused where this service does not, or it cannot be loaded."""
    if trusted.trust is not Trust.SIGNED or not trusted.code:
        raise ModelRefused(
            f"its owner has vouched for code that runs when it is loaded ({model.flavor['loader_module']}), and this service "
            "runs none: `scripts/inference-any VERSION` builds the one that does, and says how it is started "
            "(ALLOW_CODE); another model than the default one is named with `--model-name NAME`"
        )
    found = PyFunc(files, model, most_seconds)
    check_class_names(model, found.classes or [])
    return found
