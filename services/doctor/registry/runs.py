"""Runs that nobody works on any more: those of a trainer that was killed, and those that a notebook left open."""

import time
from collections.abc import Iterator

from contract.display import quoted

from doctor.records import OK, WARN, Row
from doctor.registry.commands import Commands
from doctor.registry.database import Database

QUERY = (
    "SELECT r.run_uuid, r.name, r.start_time, h.value FROM runs r "
    "LEFT JOIN tags h ON h.run_uuid = r.run_uuid AND h.key = ? "
    "WHERE r.status = ? AND r.lifecycle_stage = ? ORDER BY r.start_time"
)
HEARTBEAT = "trainer_heartbeat"
# The trainer's own patience, with room for clocks that differ; and a day for a notebook's run, which has no heartbeat.
SILENT_SECONDS, OPEN_SECONDS = 60, 86_400
MOST = 3


def look(database: Database, commands: Commands) -> Iterator[Row]:
    """Yield a row for runs without a sign of life, one for runs that are open for long."""
    now = time.time()
    running = database.rows(QUERY, HEARTBEAT, "RUNNING", "active")
    silent = [row for row in running if row[3] is not None and now - _seconds(row[3]) > SILENT_SECONDS]
    left = [row for row in running if row[3] is None and now - (row[2] or 0) / 1000 > OPEN_SECONDS]
    if silent:
        says = f"RUNNING, and their training shows no life any more: {_names(silent)}; the next training closes them"
        yield Row("runs", WARN, says, commands.train)
    if left:
        mend = "in a notebook: mlflow.MlflowClient().set_terminated(RUN_ID)"
        yield Row("runs", WARN, f"RUNNING for more than a day: {_names(left)}", mend)
    if not silent and not left:
        yield Row("runs", OK, f"{len(running)} running, none that was left behind")


def _seconds(beat: str) -> float:
    """Return when a heartbeat was; anybody can write one, and what is no time is long ago."""
    try:
        return float(beat)
    except ValueError:
        return 0.0


def _names(rows: list[tuple[str, str, int, str]]) -> str:
    shown = ", ".join(f"{quoted(name)} ({run})" for run, name, *_ in rows[:MOST])
    return shown if len(rows) <= MOST else f"{shown} and {len(rows) - MOST} more"
