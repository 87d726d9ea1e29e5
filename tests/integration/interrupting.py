"""Trains again and again, each time interrupted STRIDE steps later: `python interrupting.py SIGNAL STRIDE`.

A step ends where an answer of MLflow's has come in and the trainer does not know it yet: that is where an interruption
can lose the most. Each training is a process of its own with a model name of its own (`interrupted_SIGNAL_STEP`), forked
off one that has imported everything. Prints one JSON object per training, and ends with the first that was not
interrupted because it has fewer steps.
"""

import itertools
import json
import os
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import requests
import trainer.__main__ as command_line

command_line._prepare_mlflow()
import onnxruntime  # noqa: E402, F401
import skl2onnx  # noqa: E402, F401
import trainer.commands.train  # noqa: E402 - so that no child has to
import trainer.tracking.run_lifecycle  # noqa: E402
from model_signing import signing, verifying  # noqa: E402, F401
from trainer.plots.style import confusion_picture  # noqa: E402

confusion_picture(np.eye(2, dtype=int), ["a", "b"]).canvas.draw()

# No trainer here is alive beside another: nothing to wait for before a run is taken for abandoned.
trainer.tracking.run_lifecycle.GIVEN_UP_SECONDS = 0


def main() -> None:
    number, stride = signal.Signals[sys.argv[1]], int(sys.argv[2])
    for step in itertools.count(1, stride):
        name = f"interrupted_{number.name}_{step}"
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            train(name, number, step)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        print(json.dumps({"name": name, "step": step, "code": code, "said": Path(f"{name}.log").read_text()}))
        if code == 0:
            return


def train(name: str, number: signal.Signals, step: int) -> None:
    """Be the trainer, and send oneself the signal when the main thread's answer number `step` has come in."""
    log = os.open(f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    send, answers = requests.Session.send, 0

    def send_and_interrupt(*arguments, **settings):
        nonlocal answers
        answer = send(*arguments, **settings)
        if threading.current_thread() is threading.main_thread():
            answers += 1
            if answers == step:
                os.kill(os.getpid(), number)
        return answer

    requests.Session.send = send_and_interrupt
    os.environ["MODEL_NAME"] = name
    sys.argv = ["trainer", "train"]
    code = 0
    try:
        command_line.main()
    except SystemExit as stop:
        code = stop.code or 0
    sys.stdout.flush()
    os._exit(code)


main()
