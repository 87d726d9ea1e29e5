"""Who alone has the audit log open: each line that comes through the pipe is appended to the file, until SIGTERM.

The others mount the pipe, read-only, and not the file.
"""

import os
import select
import signal

import audit

# All that a pipe holds.
MOST_BYTES = 65536


def keep(pipe: str, file: str) -> None:
    """Append what comes through the pipe; what cannot be written is told on stderr. Return at SIGTERM, when the pipe is empty."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGTERM, lambda *_: None)
    # Open for writing too: so the pipe has no end when a writer closes it.
    source = os.open(pipe, os.O_RDWR)
    while True:
        ready, _, _ = select.select([source, woken], [], [])
        if source not in ready:
            return
        lines = os.read(source, MOST_BYTES)
        try:
            _append(file, lines)
        except OSError as error:
            audit.tell_lost(file, error, lines)


def _append(file: str, lines: bytes) -> None:
    with open(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "wb") as log:
        log.write(lines)
        log.flush()
        os.fsync(log.fileno())
