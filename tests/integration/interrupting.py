"""Trains again and again, each time interrupted a step later: `python interrupting.py SIGNAL[,SIGNAL] [EVERY]`.

A step ends where an answer of MLflow's has come in and the trainer does not know it yet: that is where an interruption
can lose the most. Unless EVERY is given, some answers are none: of the uploads of a model's files, which follow each other, those
between the first and the last, as nothing changes but how many files are there, and their order is the file system's; and, where
the signal is SIGKILL, answers to a GET, as a trainer that is no more leaves what it left an answer before.
Several signals take turns. Each training is a process of its own with a model name of its own (`interrupted_SIGNAL_STEP`),
forked off one that has imported everything, which draws nothing where it is a test's (imports_of_the_trainer.py). What comes of
the data alone, the fitted model above all, is then what the first training has computed, unless EVERY is given: no step lies within,
and each would compute the same. Prints one JSON object per training, and ends with the first that was not interrupted because it has
fewer steps.
"""

import itertools
import json
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import requests
import trainer.__main__ as command_line
from contract import signature
from trainer.cli.imports import importing

with importing():  # so that no child has to
    import onnxruntime  # noqa: F401
    import skl2onnx  # noqa: F401
    import skops.io  # noqa: F401
    import trainer.commands.train
    import trainer.tracking.run_lifecycle
    from mlflow.utils.requirements_utils import _check_requirement_satisfied
    from trainer.artifact import onnx_export
    from trainer.fit import importance

    signature.library()
    _check_requirement_satisfied("pandas")  # looks through all packages, the first time

# No trainer here is alive beside another: nothing to wait for before a run is taken for abandoned.
trainer.tracking.run_lifecycle.GIVEN_UP_SECONDS = 0


NOTHING = pickle.dumps((0, {}))
# What a training computes of the data alone, whatever MLflow answers: where its callers look it up.
OF_THE_DATA = (
    (trainer.commands.train, "read"),
    (trainer.commands.train, "split"),
    (trainer.commands.train, "_choose_and_fit"),
    (importance, "importances"),
    (onnx_export, "make"),
)


def note_computed(computed: dict[str, Any]) -> None:
    """Have what is computed of the data noted by the name of its function."""
    for module, name in OF_THE_DATA:
        setattr(module, name, partial(_noted, computed, name, getattr(module, name)))


def _noted(computed: dict[str, Any], name: str, compute: Callable[..., Any], *given: Any, **options: Any) -> Any:
    computed[name] = compute(*given, **options)
    return computed[name]


def take_computed(computed: dict[str, Any]) -> None:
    """Have it computed no more: each training is a process of its own, and changes its own copy."""
    for module, name in OF_THE_DATA:
        setattr(module, name, lambda *_, found=computed[name], **__: found)


def main() -> None:
    numbers = [signal.Signals[name] for name in sys.argv[1].split(",")]
    within = sys.argv[2:] == ["EVERY"]
    _, uploads, computed = in_a_child("not_interrupted", numbers[0], 0, 0)
    if not within:
        take_computed(computed)
    for step in itertools.count(1):
        number = numbers[step % len(numbers)]
        name = f"interrupted_{number.name}_{step}"
        code, *_ = in_a_child(name, number, step, 0 if within else uploads)
        said = Path(f"{name}.log").read_text()
        print(json.dumps({"name": name, "step": step, "signal": number.name, "code": code, "said": said}))
        if code == 0:
            return


def in_a_child(name: str, number: signal.Signals, step: int, last_upload: int) -> tuple[int, int, dict[str, Any]]:
    """Train in a child; return its exit code.

    Where it has come to its end, how many of a model's files it has uploaded and what it has computed of the data come with it.
    """
    sys.stdout.flush()
    noted = os.memfd_create(name)
    child = os.fork()
    if child == 0:
        train(name, number, step, last_upload, noted)
    _, status = os.waitpid(child, 0)
    with os.fdopen(noted, "rb") as file:
        file.seek(0)
        uploads, computed = pickle.loads(file.read() or NOTHING)  # noqa: S301 - from a process of our own
    return os.waitstatus_to_exitcode(status), uploads, computed


def train(name: str, number: signal.Signals, step: int, last_upload: int, noted: int) -> None:
    """Be the trainer, and send oneself the signal when the main thread's answer number `step` has come in.

    Uploads of a model's files after the first and before number `last_upload` do not count, nor, where that is not 0, what a kill does
    not tell from the answer before. Notes how many uploads there were, and what was computed of the data.
    """
    log = os.open(f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    send, answers, uploads = requests.Session.send, 0, 0
    computed: dict[str, Any] = {}
    if step == 0:
        note_computed(computed)

    def send_and_interrupt(session: Any, request: Any, **settings: Any) -> Any:
        nonlocal answers, uploads
        answer = send(session, request, **settings)
        if threading.current_thread() is threading.main_thread():
            is_upload = request.method == "PUT" and "/models/" in request.url
            uploads += is_upload
            changed_nothing = request.method == "GET" and number == signal.SIGKILL and last_upload
            if changed_nothing or (is_upload and 1 < uploads < last_upload):
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
    os.write(noted, pickle.dumps((uploads, computed)))
    os._exit(code)


main()
