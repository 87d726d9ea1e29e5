"""Draws a training's pictures in a process of its own, on another core, while the training goes on.

Importing what draws takes as long as drawing, so the process is started first of all, and imports while the trainer does.
It reads one Subject from its standard input, writes the pictures to its standard output, and ends; it ends too when the
trainer is gone, however that came about: the pipes are closed then.
"""

import gc
import os
import pickle
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self, cast

from contract.process.imports import quick_imports

from trainer.console import terminal
from trainer.errors import TrainerError
from trainer.plots.subject import MOST_POINTS, MOST_ROWS, Subject

if TYPE_CHECKING:  # the trainer starts the process before it imports what takes seconds
    from trainer.data.table import Split, Task
    from trainer.fit.evaluation import Evaluation


class Drawing:
    """The process, from its start to its end."""

    def __enter__(self) -> Self:
        services = str(Path(__file__).resolve().parents[2])
        environ = os.environ | {"PYTHONPATH": os.pathsep.join([services, os.environ.get("PYTHONPATH", "")])}
        # What it multiplies is small, and threads of BLAS that wait for it spin: on two cores an eighth of what it takes.
        environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "trainer.plots.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environ,
            # A Ctrl-C is the trainer's to answer.
            process_group=0,
        )
        self._to, self._from = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._from.close()
        with suppress(BrokenPipeError):  # what it has not read is for nobody any more
            self._to.close()
        self._process.wait()

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
            with self._to:
                pickle.dump(subject, self._to, pickle.HIGHEST_PROTOCOL)
        except BrokenPipeError as error:
            raise self._failure() from error

    def pictures(self) -> dict[str, bytes]:
        """Return PNG files by their names, once they are drawn."""
        try:
            found: dict[str, bytes] = pickle.load(self._from)  # noqa: S301 - from a process of our own
        except (EOFError, pickle.UnpicklingError) as error:
            raise self._failure() from error
        return found

    def _failure(self) -> TrainerError:
        return TrainerError(
            f"the pictures could not be drawn: their process ended with {self._process.wait()}; what it said is above"
        )


def main() -> None:
    """Draw what the standard input tells of; write the pictures to the standard output."""
    terminal.protect()
    # An estimator that is told to be verbose prints to the standard output.
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with quick_imports():
        from trainer.plots.evaluation import evaluation_pictures, png, warm_up

        warm_up()
    try:
        subject = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the trainer
    except EOFError:  # the trainer ended before there was anything to draw
        return
    drawn = {name: png(figure) for name, figure in evaluation_pictures(subject)}
    if (explained := subject.evaluation.contributions) is not None:
        drawn["contributions.csv"] = explained.means.to_csv(header=["mean"], index_label="column").encode()
    try:
        with answer:
            pickle.dump(drawn, answer, pickle.HIGHEST_PROTOCOL)
    except BrokenPipeError:  # the trainer ended meanwhile, and has said why
        os._exit(1)
    gc.freeze()  # or Python would look for garbage among all that is imported


if __name__ == "__main__":
    main()
