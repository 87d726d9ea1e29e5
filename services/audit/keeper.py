"""Who alone has the audit log open: each line that comes through the pipe is appended to the file, until SIGTERM.

The others mount the pipe, read-only, and not the file. What cannot be written is tried again and nothing more is read: so the pipe
fills, and who has another line is told that it is not noted.
"""

import os
import select
import signal
import sys

import audit

# All that a pipe holds, were it made as large as the kernel lets anybody: so no line that is said at once is read in two.
MOST_BYTES = 2**20
PAUSE_SECONDS = 0.5


def keep(pipe: str, file: str) -> None:
    """Append what comes through the pipe. Return at SIGTERM, when the pipe is empty; what cannot be written by then is told on stderr."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGTERM, lambda *_: None)
    # Open for writing too: so the pipe has no end when a writer closes it.
    source = os.open(pipe, os.O_RDWR)
    lines, is_refused = b"", False
    while True:
        awaited = [woken] if lines else [source, woken]
        ready, _, _ = select.select(awaited, [], [], PAUSE_SECONDS if lines else None)
        if not lines:
            if source not in ready:
                return
            lines = _ended(os.read(source, MOST_BYTES))
        try:
            _append(file, lines)
        except OSError as error:
            if woken not in ready:
                _tell_refused(file, error, was_told=is_refused)
                is_refused = True
                continue
            audit.tell_lost(file, error, lines)
        lines, is_refused = b"", False


def _ended(said: bytes) -> bytes:
    """Return the lines of what was said, each with its end; who writes begins with one, in case that somebody has left his out."""
    return b"".join(line + b"\n" for line in said.split(b"\n") if line)


def _tell_refused(file: str, error: OSError, was_told: bool) -> None:
    if not was_told:
        said = f"audit: {file} cannot be written ({error.strerror}): nothing more is read until it can, which is tried again"
        print(said, file=sys.stderr, flush=True)


def _append(file: str, lines: bytes) -> None:
    """Append all of it, or nothing: what is tried again is then not there twice, and no line in part."""
    log = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(log).st_size
        try:
            if size and os.pread(log, 1, size - 1) != b"\n":
                lines = b"\n" + lines  # a keeper that was killed has left a line in part
            while lines:
                lines = lines[os.write(log, lines) :]
            os.fsync(log)
        except OSError:
            os.ftruncate(log, size)
            raise
    finally:
        os.close(log)
