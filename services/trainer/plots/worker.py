"""Draws a training's pictures in a process of its own, on another core, while the training goes on.

The process is forked off the trainer once that has imported scikit-learn, which both need, and imports the rest of what draws while
the trainer imports MLflow. On macOS it is started anew, and imports all: Apple's own libraries do not outlive a fork.
It reads one Subject from a pipe, writes the pictures to it, and ends; it ends too when the trainer is gone, however that came about:
the pipe is closed then.
"""

import multiprocessing
import os
import pickle
import signal
import sys
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

if TYPE_CHECKING:  # the trainer starts the process before it imports what takes seconds
    from trainer.data.table import Split, Task
    from trainer.fit.evaluation import Evaluation

if sys.platform == "darwin":
    CONTEXT = multiprocessing.get_context("spawn")
else:
    CONTEXT = multiprocessing.get_context("fork")
# Files that a trainer may have open when it forks: the lock on its data folder is to end with it alone.
MOST_FILES = 256


class Drawing:
    """The process, from its start to its end."""

    def __enter__(self) -> Self:
        self._pipe, theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=_be_the_process, args=(theirs,))
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
        self._process.kill()
        self._pipe.close()
        self._process.join()

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
            # Piece by piece: a model may be large, and would be in memory once more.
            with open(self._pipe.fileno(), "wb", closefd=False) as file:
                pickle.dump(subject, file, pickle.HIGHEST_PROTOCOL)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise self._failure() from error

    def pictures(self) -> dict[str, bytes]:
        """Return PNG files by their names, once they are drawn."""
        try:
            found: dict[str, bytes] = self._pipe.recv()
        except (EOFError, ConnectionResetError) as error:
            raise self._failure() from error
        return found

    def _failure(self) -> TrainerError:
        self._process.join()
        return TrainerError(
            f"the pictures could not be drawn: their process ended with {self._process.exitcode}; what it said is above"
        )


def _be_the_process(pipe: Connection) -> None:
    """Draw what comes through the pipe, and send the pictures back; end at once, whatever threads an estimator has left."""
    code = 1
    try:
        _stand_alone(pipe.fileno())
        _draw(pipe)
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)


def _draw(pipe: Connection) -> None:
    with quick_imports():
        from trainer.plots.evaluation import evaluation_pictures, png, warm_up

        warm_up()
    try:
        with open(pipe.fileno(), "rb", closefd=False) as file:
            subject: Subject = pickle.load(file)  # noqa: S301 - from the trainer
    except (EOFError, pickle.UnpicklingError, ConnectionResetError):
        return  # the trainer ended before all was there to draw
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
    os.closerange(3, pipe)
    os.closerange(pipe + 1, MOST_FILES)
    os.dup2(2, 1)  # an estimator that is told to be verbose prints
    sys.stdout = sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115 - to the end
    terminal.protect()
    # What it multiplies is small, and threads of BLAS that wait for it spin: on two cores an eighth of what it takes.
    if "OPENBLAS_NUM_THREADS" not in os.environ:
        from threadpoolctl import threadpool_limits

        threadpool_limits(1, "blas")
