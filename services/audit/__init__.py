"""The audit log: a line of JSON for each change of an alias, a model, an account, a key, a backup or a restore; it is only appended to.

A line has `time` (UTC), `who`, `what` (alias, signature, model, version, account, role, key, backup, restore), `of` (which one), `from` and `to` (null where
there is none), `by` (the command) and `why`. Python calls `note`, a shell `python -m audit note …` (audit/__main__.py); whoever
writes runs `begin` once, or sets AUDIT_FILE and AUDIT_WHO; a server that works for many says `at_work` for each.

In the stack AUDIT_FILE is a pipe, and the file is the `keeper`'s alone: so who writes can add lines, and neither change nor delete any.
"""

import errno
import json
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path

UNKNOWN = "unknown"
# What a pipe takes at once, and so never in the midst of another writer's line.
MOST_BYTES = 4000
MOST_TEXT = 200
WHY = {
    errno.ENXIO: "nobody reads the pipe; start the service that does: docker compose up --detach audit-log",
    errno.EAGAIN: "the pipe is full; who reads it says why: docker compose logs audit-log",
}

_settings: dict[str, str | None] = {}
_at_work: ContextVar[str | None] = ContextVar("at_work", default=None)


def begin(file: str | None, who: str) -> None:
    """Say where lines go from now on, None for nowhere: a file, or a pipe that somebody reads; and who is at work."""
    _settings.update(file=file, who=who)


@contextmanager
def at_work(who: str) -> Iterator[None]:
    """Say who is at work for what this thread notes in the block, whatever `begin` has said."""
    token = _at_work.set(who)
    try:
        yield
    finally:
        _at_work.reset(token)


def note(what: str, of: str, before: str | None, after: str | None, by: str, why: str = "") -> bool:
    """Append a line and return whether that succeeded; where not say so on stderr: what it tells of has happened by then."""
    file = _settings.get("file", os.environ.get("AUDIT_FILE"))
    if not file:
        return False
    who = _at_work.get() or _settings.get("who") or os.environ.get("AUDIT_WHO") or UNKNOWN
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "who": who,
        "what": what,
        "of": of,
        "from": before,
        "to": after,
    }
    content = _encoded(
        {key: value and value[:MOST_TEXT] for key, value in line.items()} | {"by": by[:MOST_TEXT], "why": why}
    )
    try:
        _append(file, content)
    except OSError as error:
        tell_lost(file, error, content)
        return False
    return True


def tell_lost(file: str, error: OSError, content: bytes) -> None:
    """Say on stderr which lines the log lacks."""
    why = WHY.get(error.errno or 0, error.strerror)
    lines = content.decode(errors="replace")
    print(f"audit: {file} cannot be written ({why}), so it lacks: {lines}", file=sys.stderr, end="", flush=True)


def _encoded(line: dict[str, str | None]) -> bytes:
    """Return a line as bytes; its reason is cut to what there is room for."""
    while len(content := json.dumps(line).encode() + b"\n") > MOST_BYTES:
        line["why"] = (line["why"] or "")[: len(line["why"] or "") // 2]
    return content


def _append(file: str, content: bytes) -> None:
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    # One call, so that two writers' lines stay whole. A pipe that nobody reads, or not fast enough, is an error and no wait.
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o600)
    try:
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            content = b"\n" + content  # if another has left the end of his line out, it ends here
        if os.write(descriptor, content) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(descriptor)
