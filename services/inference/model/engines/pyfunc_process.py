"""Runs the code of one version and answers for it: `python -m inference.model.engines.pyfunc_process CHANNEL`.

It is told over the channel, a file descriptor, which folder to load, and is then asked for rows until nobody asks any more.
An answer is a head in JSON, and a body: an array's bytes, or its values in JSON.
"""

import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from contract.display import first_line
from contract.mlmodel.manifest import Description
from contract.process.imports import quick_imports
from contract.vouched.pyfunc import PyFunc

from inference.model.engines.frame import rows_for

OURS = ("contract", "inference")


def main(channel: "Connection[Any, Any]") -> None:
    """Load a model and answer; return when whoever asks is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    folder, description = channel.recv()
    model = Description.of_json(description)
    _step_aside()
    try:
        with quick_imports():
            import mlflow.pyfunc  # noqa: F401

        loaded = PyFunc(Path(folder))
    except (Exception, SystemExit) as error:
        _send(channel, {"failed": _why_not_loaded(error)})
        return
    _send(channel, {"classes": loaded.classes})
    while True:
        method, by_column, gaps, params = channel.recv()
        rows = rows_for(model, by_column, gaps.__getitem__)
        ask = partial(loaded.predict, params=params) if method == "predict" else loaded.probabilities
        _send(channel, *_answer(ask, rows))


def _end_with_parent() -> None:
    """End this process, whatever it does, when the one that has started it is gone."""
    while os.read(0, 1):
        pass
    _end()


def _end() -> None:
    """End this process, and what the model has started: it leads a session of its own."""
    os.killpg(0, signal.SIGKILL)


def _step_aside() -> None:
    """Let a model have modules that are called like ours."""
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        del sys.modules[name]
    sys.path = [path for path in sys.path if path != str(Path(__file__).parents[3])]


def _why_not_loaded(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError):
        return (
            f"its packages are not here: {first_line(error)}; `scripts/inference-any VERSION` builds the image that has them, "
            "with `--model-name NAME` for another model than the default one (without Docker, install them into .venv)"
        )
    return f"it cannot be loaded: {type(error).__name__}: {first_line(error)}"


def _answer(method: Callable[[Any], np.ndarray], rows: Any) -> tuple[dict[str, Any], bytes]:
    """Return a model's answer; what it refuses itself, such as a category that it does not know, is the request's fault."""
    from mlflow.exceptions import MlflowException

    try:
        found = method(rows)
    except (ValueError, TypeError, MlflowException) as error:
        return {"refused": first_line(error) or type(error).__name__}, b""
    except (Exception, SystemExit):
        return {"failed": traceback.format_exc()}, b""
    head = {"dtype": found.dtype.str if found.dtype != object else "object", "shape": found.shape}
    return head, json.dumps(found.tolist()).encode() if found.dtype == object else found.tobytes()


def _send(channel: "Connection[Any, Any]", head: dict[str, Any], body: bytes = b"") -> None:
    channel.send_bytes(json.dumps(head).encode())
    channel.send_bytes(body)


if __name__ == "__main__":
    with suppress(EOFError, OSError):
        main(Connection(int(sys.argv[1])))
    _end()  # threads and processes of the model's own do not keep it
