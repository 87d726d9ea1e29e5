"""Draws a training's pictures in a process of its own, on another core, while the training goes on.

The process is forked off the trainer once that has imported scikit-learn, which both need, and before it has computed anything:
OpenMP does not outlive a fork. It imports the rest of what draws while the trainer imports MLflow. On macOS, whose own libraries do
not outlive a fork either, it is started anew, and imports all.
It reads one Subject from a pipe, writes the pictures to it, and ends; it ends too when the trainer is gone, however that came about:
the pipe is closed then.
"""

import atexit
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from contract.process.imports import quick_imports

from trainer import signals
from trainer.console import terminal
from trainer.errors import TrainerError
from trainer.plots.subject import MOST_POINTS, MOST_ROWS, Subject

if TYPE_CHECKING:  # the command line imports this at its start
    from trainer.data.table import Split, Task
    from trainer.fit.evaluation import Evaluation

if sys.platform == "darwin":
    CONTEXT = multiprocessing.get_context("spawn")
else:
    CONTEXT = multiprocessing.get_context("fork")
# A trainer has fewer files open when it forks. The process closes them, so that the lock on the data folder ends with the trainer;
# multiprocessing's sentinel is among them, so nobody can wait for the process for a time.
MOST_FILES = 256
BEGIN = b"a subject follows"


class Drawing:
    """The process, from its start to its end."""

    def __enter__(self) -> Self:
        self._pipe, theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=_be_the_process, args=(theirs, self._pipe))
        try:
            with signals.Held():  # what is half started could not be ended
                self._process.start()
                theirs.close()
        except signals.Interrupted:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        if self._process.pid is not None:
            self._process.kill()
            self._process.join()
        self._pipe.close()

    def begin(
        self,
        estimator: Any,
        rows: "Split",
        evaluation: "Evaluation",
        task: "Task",
        class_names: list[str] | None,
        fit_seconds: float,
    ) -> None:
        """Let it draw how an estimator does that took `fit_seconds` to fit; it does so while the caller goes on."""
        drawn_from = type(rows)(
            rows.train_features.head(MOST_ROWS),
            rows.test_features.head(MOST_POINTS),
            rows.train_target.head(MOST_ROWS),
            rows.test_target.head(MOST_POINTS),
            rows.train_aside.of(slice(MOST_ROWS)),
            rows.test_aside.of(slice(MOST_POINTS)),
        )
        subject = Subject(estimator, drawn_from, len(rows.train_target), evaluation, task, class_names, fit_seconds)
        try:
            self._pipe.send_bytes(BEGIN)
            # Piece by piece: a model may be large, and would be in memory once more.
            with open(self._pipe.fileno(), "wb", closefd=False) as file:
                pickle.dump(subject, file, pickle.HIGHEST_PROTOCOL)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise self._failure() from error

    def pictures(self) -> dict[str, bytes]:
        """Return PNG files by their names, once they are drawn."""
        try:
            found: dict[str, bytes] = self._pipe.recv()
        except (EOFError, OSError) as error:  # the latter in the middle of them
            raise self._failure() from error
        return found

    def _failure(self) -> TrainerError:
        self._process.join()
        return TrainerError(
            f"the pictures could not be drawn: their process ended with {self._process.exitcode}; what it said is above"
        )


def _be_the_process(pipe: Connection, of_the_trainer: Connection) -> None:
    """Draw what comes through the pipe, and send the pictures back."""
    code = 1
    try:
        of_the_trainer.close()
        _stand_alone(pipe.fileno())
        _draw(pipe)
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        # Not as multiprocessing does it, which waits for joblib's processes before it tells them to end.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        os._exit(code)


def _draw(pipe: Connection) -> None:
    with quick_imports():
        from trainer.plots.evaluation import evaluation_pictures, png, warm_up

        warm_up()
    try:
        pipe.recv_bytes()
    except (EOFError, OSError):  # the trainer ended before there was anything to draw
        return
    with open(pipe.fileno(), "rb", closefd=False) as file:
        subject: Subject = pickle.load(file)  # noqa: S301 - from the trainer
    drawn = {name: png(figure) for name, figure in evaluation_pictures(subject)}
    if (explained := subject.evaluation.contributions) is not None:
        drawn["contributions.csv"] = explained.means.to_csv(header=["mean"], index_label="column").encode()
    with suppress(BrokenPipeError, ConnectionResetError):  # the trainer ended meanwhile, and has said why
        pipe.send(drawn)


def _stand_alone(pipe: int) -> None:
    """Have nothing in common with the trainer but a pipe, standard error and what is imported."""
    os.setpgid(0, 0)  # a Ctrl-C is the trainer's to answer
    for number in signals.SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    if pipe:  # with standard input closed, whatever was opened first has its number
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.closerange(3, pipe)
    os.closerange(pipe + 1, MOST_FILES)
    os.dup2(2, 1)  # an estimator that is told to be verbose prints
    sys.stdout = sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115 - to the end
    terminal.protect()
    # What it multiplies is small, and threads of BLAS that wait for it spin.
    if "numpy" not in sys.modules:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    elif "OPENBLAS_NUM_THREADS" not in os.environ:
        from threadpoolctl import threadpool_limits

        threadpool_limits(1, "blas")
