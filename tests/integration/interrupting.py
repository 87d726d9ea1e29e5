"""Trains again and again, each time interrupted a step later: `python interrupting.py SIGNAL[,SIGNAL] [EVERY]`.

A step ends where an answer of MLflow's has come in and the trainer does not know it yet: that is where an interruption
can lose the most. Of the uploads of a model's files, which follow each other, only the first and the last are steps, unless
EVERY is given: between them nothing changes but how many files are there, and their order is the file system's.
Several signals take turns. Each training is a process of its own with a model name of its own (`interrupted_SIGNAL_STEP`),
forked off one that has imported everything. Its pictures are there at once, unless EVERY is given: the process that draws
them imports for longer than such a training takes, and no step waits for it. Prints one JSON object per training, and ends
with the first that was not interrupted because it has fewer steps.
"""

import itertools
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any, Self

import requests
import trainer.__main__ as command_line
from trainer.cli import training
from trainer.cli.imports import importing
from trainer.plots.worker import Drawing

with importing():  # so that no child has to
    import onnxruntime  # noqa: F401
    import skl2onnx  # noqa: F401
    import skops.io  # noqa: F401
    import trainer.commands.train
    import trainer.tracking.run_lifecycle
    from mlflow.utils.requirements_utils import _check_requirement_satisfied
    from model_signing import signing, verifying  # noqa: F401

    _check_requirement_satisfied("pandas")  # looks through all packages, the first time

# No trainer here is alive beside another: nothing to wait for before a run is taken for abandoned.
trainer.tracking.run_lifecycle.GIVEN_UP_SECONDS = 0


class Drawn(Drawing):
    """The pictures of a training, drawn already."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Leave nothing: there is no process."""

    def begin(self, *subject: object) -> None:
        """Draw nothing."""

    def pictures(self) -> dict[str, bytes]:
        names = ("confusion_matrix", "curves", "importance", "learning_curve")
        return {f"{name}.png": b"\x89PNG" for name in names}


def main() -> None:
    numbers = [signal.Signals[name] for name in sys.argv[1].split(",")]
    within = sys.argv[2:] == ["EVERY"]
    if not within:
        training.Drawing = Drawn  # type: ignore[attr-defined, misc, unused-ignore]
    _, uploads = in_a_child("not_interrupted", numbers[0], 0, 0)
    for step in itertools.count(1):
        number = numbers[step % len(numbers)]
        name = f"interrupted_{number.name}_{step}"
        code, _ = in_a_child(name, number, step, 0 if within else uploads)
        said = Path(f"{name}.log").read_text()
        print(json.dumps({"name": name, "step": step, "signal": number.name, "code": code, "said": said}))
        if code == 0:
            return


def in_a_child(name: str, number: signal.Signals, step: int, last_upload: int) -> tuple[int, int]:
    """Train in a child; return its exit code, and how many of a model's files it has uploaded where it came to its end."""
    sys.stdout.flush()
    counted = os.memfd_create(name)
    child = os.fork()
    if child == 0:
        train(name, number, step, last_upload, counted)
    _, status = os.waitpid(child, 0)
    uploads = int(os.pread(counted, 20, 0) or 0)
    os.close(counted)
    return os.waitstatus_to_exitcode(status), uploads


def train(name: str, number: signal.Signals, step: int, last_upload: int, counted: int) -> None:
    """Be the trainer, and send oneself the signal when the main thread's answer number `step` has come in.

    Uploads of a model's files after the first and before number `last_upload` do not count. Writes how many there were.
    """
    log = os.open(f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    send, answers, uploads = requests.Session.send, 0, 0

    def send_and_interrupt(session: Any, request: Any, **settings: Any) -> Any:
        nonlocal answers, uploads
        answer = send(session, request, **settings)
        if threading.current_thread() is threading.main_thread():
            is_upload = request.method == "PUT" and "/models/" in request.url
            uploads += is_upload
            if is_upload and 1 < uploads < last_upload:
                return answer
            answers += 1
            if answers == step:
                os.kill(os.getpid(), number)
        return answer

    requests.Session.send = send_and_interrupt  # type: ignore[assignment]
    os.environ["MODEL_NAME"] = name
    sys.argv = ["trainer", "train"]
    code = 0
    try:
        command_line.main()
    except SystemExit as stop:
        code = stop.code or 0  # type: ignore[assignment]
    sys.stdout.flush()
    os.pwrite(counted, str(uploads).encode(), 0)
    os._exit(code)


main()
