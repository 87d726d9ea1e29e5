"""What was seen of the faults, as a page in Markdown."""

import datetime
import os
import platform
import subprocess
from dataclasses import dataclass

from run import ROOT

from tests.compose import docker
from tests.steady import CLIENTS, LATE, RATE, Seen


@dataclass(frozen=True)
class Row:
    """What one fault did: what clients and observer saw, the seconds until all was whole again, if it was, and what went wrong besides."""

    fault: str
    seen: Seen
    seconds: float
    recovery: float | None
    trouble: str
    """why the fault could not be injected, or what the stack did not do as it should; empty where all was well"""


def page(rows: list[Row], load: float) -> str:
    """Return the page; `load` is what the machine's load average was before there was a stack."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    right, wrong, failed, late = (sum(getattr(r.seen, n) for r in rows) for n in ("right", "wrong", "failed", "late"))
    return (
        "# Reliability\n\nThis page shows what clients notice of faults in the stack. Made by `make chaos`, in one run.\n\n"
        f"{datetime.date.today()}, commit {commit}, {os.cpu_count()} cores, {platform.machine()}, Docker "
        f"{docker('version', '--format', '{{.Server.Version}}')}. Load average of a minute: {load:.1f} before there was a "
        f"stack, {os.getloadavg()[0]:.1f} at the end, its own included. {CLIENTS} clients ask {CLIENTS * RATE} times a second together, "
        "each on a connection of its own that it makes anew where it is lost, whatever happens. *Failed* is each request without a "
        f"prediction, *wrong* a prediction that is not the right one, *late* a right one that took more than {LATE} s from when it was "
        "due, the wait for the request before included. *Whole again* counts from when the fault was over (for a kill: from then on), "
        "until `/ready` says ready and not stale, the alias can be read and the artifacts be listed. Once each: counts are exact, "
        "times depend on the machine.\n\n"
        f"**{right:,} right predictions, {wrong:,} wrong, {failed:,} failed requests, {late:,} late.**\n\n"
        "| fault | right | wrong | failed | late | whole again, s | what `/ready` said meanwhile |\n|---|---|---|---|---|---|---|\n"
        + "\n".join(map(line, rows))
        + "\n"
    )


def line(row: Row) -> str:
    seen, reasons = row.seen, ", ".join(f"{n} {reason}" for reason, n in row.seen.reasons.items())
    failed = f"{seen.failed}: {reasons}" if reasons else "0"
    recovery = "never" if row.recovery is None else f"{row.recovery:.1f}"
    fault = f"{row.fault}. **Not as it should be:** {cell(row.trouble)}" if row.trouble else row.fault
    return f"| {fault} | {seen.right} | {seen.wrong} | {failed} | {seen.late} | {recovery} | {told(row)} |"


def told(row: Row) -> str:
    """Return what /ready said besides ready, and for how long together."""
    spans: dict[str, float] = {}
    ends = [at for at, _ in row.seen.said[1:]] + [row.seconds]
    for (at, said), end in zip(row.seen.said, ends, strict=True):
        if said != "ready":
            spans[said] = spans.get(said, 0.0) + end - at
    return "; ".join(f"{span:.1f} s {cell(said)}" for said, span in spans.items()) or "ready"


def cell(text: str) -> str:
    """Return a text as it may stand in a table: the beginning of its first line."""
    return text.partition("\n")[0].replace("|", "/")[:500]
