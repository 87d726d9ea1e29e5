"""A command of the trainer as a process of its own: what ends it, or takes its memory, is not the end of whoever started it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any


@contextmanager
def started(
    arguments: Sequence[str], inherited: Sequence[int] = (), environ: Mapping[str, str] | None = None, **streams: Any
) -> Iterator["subprocess.Popen[str]"]:
    """Start `trainer ARGUMENTS`, and wait for its end when the block is over; a signal is for both.

    Its temporary files are removed here: a command that is killed leaves them, and in a container they are memory.
    """
    with (
        TemporaryDirectory(prefix="trainer-", ignore_cleanup_errors=True) as folder,
        subprocess.Popen(
            [sys.executable, "-m", "trainer", *arguments],
            pass_fds=inherited,
            env={**os.environ, **(environ or {}), "TMPDIR": folder},
            text=True,
            **streams,
        ) as process,
    ):
        try:
            yield process
            process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    said: str
    """its standard output"""
    last_line: str
    """of its standard error, which has gone on to ours"""


def run(
    arguments: Sequence[str],
    inherited: Sequence[int] = (),
    environ: Mapping[str, str] | None = None,
    begun: Callable[["subprocess.Popen[str]"], object] = lambda process: None,
) -> Ended:
    """Run a command that answers for machines to its end; `begun` is told of its process."""
    with TemporaryFile("w+") as record:
        with started(arguments, inherited, environ, stdout=record, stderr=subprocess.PIPE, errors="replace") as process:
            begun(process)
            last = ""
            for line in process.stderr or ():
                sys.stderr.write(line)
                last = line.strip() or last
        record.seek(0)
        return Ended(process.returncode, record.read(), last)
