"""Runs of Python that start at once, each forked off a process that has imported already what takes seconds (forking.py).

They are processes of their own, with their own environment, folder and end. What those of one parent have in common is the
seed of Python's hashes: of two trainings that must come to the same, one is a process that was started in full.
"""

import atexit
import functools
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
NOTEBOOK = HERE / "imports_of_a_notebook.py"


@functools.cache
def _parent(imports: Path, path: str) -> "subprocess.Popen[bytes]":
    """Start what runs are forked off; it ends with its input, and so with the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "AWS_"))}
    command = [sys.executable, str(HERE / "forking.py"), str(imports)]
    environ = kept | {"PYTHONPATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"}
    parent = subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, bufsize=0)
    atexit.register(parent.communicate)
    return parent


def python(
    *arguments: str, imports: Path, environ: Mapping[str, str], folder: Path
) -> "subprocess.CompletedProcess[str]":
    """Run `python` with -c CODE or -m MODULE … in a child of what has run the file `imports`, on the PYTHONPATH of `environ`."""
    parent = _parent(imports, environ.get("PYTHONPATH", ""))
    with TemporaryDirectory() as directory:
        stdout, stderr, code = (Path(directory, name) for name in ("stdout", "stderr", "code"))
        os.mkfifo(code)
        said = {"stdout": str(stdout), "stderr": str(stderr), "code": str(code)}
        asked = {"arguments": arguments, "environ": dict(environ), "folder": str(folder)} | said
        parent.stdin.write(json.dumps(asked).encode() + b"\n")
        ended = int(code.read_text())
        return subprocess.CompletedProcess(arguments, ended, stdout.read_text(), stderr.read_text())
