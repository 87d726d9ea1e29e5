"""Python that starts at once: each run is a child of this process, which has imported what takes seconds.

`python forking.py FILE` runs a file that imports, then takes runs as lines of JSON, `{"arguments": …, "environ": …,
"folder": …, "stdout": FILE, "stderr": FILE, "code": FIFO}`, which may go on side by side. Arguments are those of `python`: -c CODE, or
-m MODULE and its own. Its exit code is written to the FIFO.
"""

import atexit
import gc
import json
import os
import runpy
import signal
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any


def main() -> None:
    gc.disable()
    runpy.run_path(sys.argv[1])
    gc.freeze()  # or each child would look through all of it for garbage, and so copy it
    gc.enable()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that nobody has to wait for those that wait
    for line in sys.stdin:
        if os.fork() == 0:
            return run(json.loads(line))


def run(asked: dict[str, Any]) -> None:
    """Do in a child what is asked for, and tell how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        return become(asked)
    _, status = os.waitpid(child, 0)
    Path(asked["code"]).write_text(str(os.waitstatus_to_exitcode(status)))
    os._exit(0)


def become(asked: dict[str, Any]) -> None:
    """Be the run that is asked for."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(asked["stdout"], os.O_WRONLY | os.O_CREAT), 1)
    os.dup2(os.open(asked["stderr"], os.O_WRONLY | os.O_CREAT), 2)
    os.environ.clear()
    os.environ.update(asked["environ"])
    os.chdir(asked["folder"])
    tempfile.tempdir = None  # that of the new environment
    sys.path[0] = ""  # this file's own folder
    end(code_of(*asked["arguments"]))


def code_of(option: str, what: str, *arguments: str) -> int:
    """Run a module or a text as Python does; return the exit code that it comes to."""
    sys.argv = [option, *arguments]
    try:
        if option == "-m":
            sys.modules.pop(f"{what}.__main__", None)  # of which runpy would warn
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            sys.modules["__main__"] = ModuleType("__main__")
            exec(what, vars(sys.modules["__main__"]))  # noqa: S102 - a test's code
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def end(code: int) -> None:
    """End as Python does, but for what libraries do of their own then: ONNX Runtime waits for a thread that no child has."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


main()
