"""The trainer's command line, each time in a child of this process, which has imported everything: seconds less each.

Takes commands as lines of JSON, `{"arguments": …, "environ": …, "folder": …, "stdout": FILE, "stderr": FILE}`, and answers each
with a line that has its exit code.
"""

import json
import os
import sys
import tempfile
import traceback
from typing import Any

import trainer.__main__ as command_line

os.environ |= command_line.THREADS
with command_line.importing():  # so that no child has to
    import onnxruntime  # noqa: F401
    import skl2onnx  # noqa: F401
    import skops.io  # noqa: F401
    import trainer.commands.production
    import trainer.commands.review
    import trainer.commands.train  # noqa: F401
    from mlflow.utils.requirements_utils import _check_requirement_satisfied
    from model_signing import signing, verifying  # noqa: F401

    _check_requirement_satisfied("pandas")  # looks through all packages, the first time


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os._exit(run(json.loads(line)))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def run(asked: dict[str, Any]) -> int:
    """Be the command that is asked for; return its exit code."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(asked["stdout"], os.O_WRONLY | os.O_CREAT), 1)
    os.dup2(os.open(asked["stderr"], os.O_WRONLY | os.O_CREAT), 2)
    os.environ.clear()
    os.environ.update(asked["environ"])
    os.chdir(asked["folder"])
    tempfile.tempdir = None  # that of the new environment
    sys.argv = ["trainer", *asked["arguments"]]
    code: Any = 0
    try:
        command_line.main()
    except SystemExit as stop:
        code = stop.code or 0
    except Exception:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return int(code)


main()
