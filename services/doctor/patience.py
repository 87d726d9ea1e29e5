"""All looks at once, each within the same time: what hangs is a line, and costs the others nothing."""

import time
from collections.abc import Mapping
from threading import Thread

from doctor.records import FAIL, WARN, Look, NotLookedAt, Row


class _Looking(Thread):
    """One look, in a thread that nobody waits for at the end."""

    def __init__(self, name: str, look: Look) -> None:
        super().__init__(daemon=True)
        self._what, self._look = name, look
        self.rows: list[Row] | None = None

    def run(self) -> None:
        try:
            self.rows = list(self._look())
        except NotLookedAt as error:
            self.rows = [Row(self._what, WARN, f"not looked at: {error}")]
        except Exception as error:
            # Nothing that one row has not foreseen may cost the others.
            self.rows = [Row(self._what, WARN, f"not looked at: {type(error).__name__}: {error!s:.300}")]


def look_at_all(looks: Mapping[str, Look], seconds: float) -> list[Row]:
    """Return the rows of all looks in their order; one that takes longer than `seconds` is a warning."""
    threads = [_Looking(name, look) for name, look in looks.items()]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    found = []
    for name, thread in zip(looks, threads, strict=True):
        thread.join(max(0.0, deadline - time.monotonic()))
        late = Row(
            name, WARN, f"not looked at: it did not answer within {seconds:g} s; --patience SECONDS waits longer"
        )
        found += [late] if thread.rows is None else thread.rows
    return found


def exit_code(rows: list[Row]) -> int:
    """Return 1 where anything failed; a warning is none."""
    return int(any(row.status == FAIL for row in rows))
