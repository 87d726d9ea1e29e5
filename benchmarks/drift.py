"""False alarms and misses of what is drift, over sizes of windows and shifts, beside other rules: writes drift.md and drift.png.

    PYTHONPATH=services .venv/bin/python benchmarks/drift.py [--evidently PYTHON] [--quick]

Evidently is asked where an environment of its own has it (it needs pandas below 3):

    uv venv build/evidently && VIRTUAL_ENV=build/evidently uv pip install 'evidently==0.7.23' 'pandas<3'
"""

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import numpy as np
from contract.reference import bins
from matplotlib import pyplot
from monitoring.statistics import drift

HERE = Path(__file__).parent
EVIDENTLY = HERE.parent / "build" / "evidently" / "bin" / "python"
COLUMNS, REFERENCE = 10, 2000
WINDOWS = (100, 300, 1000, 3000, 10_000)
SHIFTS, SHIFTS_OF_EVIDENTLY = (0.0, 0.1, 0.3, 0.5, 1.0), (0.0, 0.1, 0.5)
LOOKS, LOOKS_OF_EVIDENTLY = 60, 6
OURS, ONE, PSI, P, THEIRS = "the rule", "the rule, one window", "PSI above 0.1", "p below 0.05", "Evidently's default"
INTRODUCTION = """# What is drift and what is chance, measured

{date}, by `benchmarks/drift.py`. A look has rows of {columns} columns of normal numbers, of which the first is shifted by so many standard deviations,
beside a reference of {reference} rows. All rules see the same two windows of so many rows; those that know of one take both together. {looks} looks
of each kind{theirs}.

![False alarms, and what is found](drift.png)
"""


class Look:
    """A reference, and two windows: each of shape (rows, columns)."""

    def __init__(self, rng: np.random.Generator, window: int, shift: float) -> None:
        self.reference = rng.normal(size=(REFERENCE, COLUMNS))
        self.rows = rng.normal(size=(2 * window, COLUMNS))
        self.rows[:, 0] += shift
        self.window = window
        self._edges = [bins.deciles(column) for column in self.reference.T]

    def distances(self, rows: np.ndarray) -> list[drift.Distance]:
        """Return how far each column is from the reference, in the bins that `monitor` has for it: deciles, and what is beyond."""
        found = []
        for then, now, edges in zip(self.reference.T, rows.T, self._edges, strict=True):
            low, high = (now < then.min()).sum(), (now > then.max()).sum()
            inside = now[(now >= then.min()) & (now <= then.max())]
            counted = np.array([low, *bins.counts(inside, edges), high])
            found.append(drift.distance(np.array([0, *bins.counts(then, edges), 0]), counted))
        return found


def of_window(look: Look, rows: np.ndarray) -> set[int]:
    found = look.distances(rows)
    qs = drift.corrected([one.p for one in found])
    return {j for j, (one, q) in enumerate(zip(found, qs, strict=True)) if one.drifted(q)}


RULES: dict[str, Callable[[Look], set[int]]] = {
    OURS: lambda look: of_window(look, look.rows[: look.window]) & of_window(look, look.rows[look.window :]),
    ONE: lambda look: of_window(look, look.rows),
    PSI: lambda look: {j for j, one in enumerate(look.distances(look.rows)) if one.psi > drift.LEAST_PSI},
    P: lambda look: {j for j, one in enumerate(look.distances(look.rows)) if one.p < 0.05},
}


def shares(found: list[set[int]], shift: float) -> float:
    """Return the share of looks with an alarm where nothing has moved, else of those that found the column."""
    return float(np.mean([bool(columns) if shift == 0 else 0 in columns for columns in found]))


def measured(looks: int, evidently: Path | None) -> dict[str, dict[tuple[int, float], float]]:
    """Return rule → (window, shift) → the share of looks."""
    table: dict[str, dict[tuple[int, float], float]] = {name: {} for name in RULES}
    for_evidently = {}
    for window, shift in product(WINDOWS, SHIFTS):
        rng = np.random.default_rng([window, int(100 * shift)])
        drawn = [Look(rng, window, shift) for _ in range(looks)]
        for name, rule in RULES.items():
            table[name][window, shift] = shares([rule(look) for look in drawn], shift)
        if shift in SHIFTS_OF_EVIDENTLY:
            for_evidently[window, shift] = drawn[:LOOKS_OF_EVIDENTLY]
        print(window, shift, {name: found[window, shift] for name, found in table.items()}, flush=True)
    if evidently:
        said = by_evidently(evidently, list(for_evidently.values()))
        table[THEIRS] = {case: shares(found, case[1]) for case, found in zip(for_evidently, said, strict=True)}
    return table


def by_evidently(python: Path, cases: list[list[Look]]) -> list[list[set[int]]]:
    """Return which columns have drifted in each look of each case; one process for all, as its import takes longest."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{number}.npz") for number in range(len(cases))]
        for path, looks in zip(paths, cases, strict=True):
            np.savez(path, reference=[look.reference for look in looks], current=[look.rows for look in looks])
        command = [str(python), "-W", "ignore", str(HERE / "peers" / "drift_by_evidently.py"), *map(str, paths)]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [[set(columns) for columns in json.loads(line)] for line in said.splitlines() if line.startswith("[")]


def page(table: dict[str, dict[tuple[int, float], float]], looks: int, seconds: float) -> str:
    theirs = (
        f" ({LOOKS_OF_EVIDENTLY} of Evidently 0.7.23's: coarse)"
        if THEIRS in table
        else "; Evidently was not there to be asked"
    )
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    parts = [INTRODUCTION.format(date=date, columns=COLUMNS, reference=REFERENCE, looks=looks, theirs=theirs)]
    parts.append("## False alarms\n\nThe share of looks with an alarm although nothing has moved.\n")
    head = "| rows of each window | " + " | ".join(table) + " |\n|" + "---|" * (len(table) + 1)
    parts.append(
        "\n".join([head, *(_line(str(window), [found[window, 0.0] for found in table.values()]) for window in WINDOWS)])
    )
    for shift in SHIFTS[1:]:
        kept = {name: found for name, found in table.items() if (WINDOWS[0], shift) in found}
        head = "| rows of each window | " + " | ".join(kept) + " |\n|" + "---|" * (len(kept) + 1)
        lines = [_line(str(window), [found[window, shift] for found in kept.values()]) for window in WINDOWS]
        parts.append(
            f"\n## Found: one column of {COLUMNS}, shifted by {shift:g} standard deviations\n\n"
            + "\n".join([head, *lines])
        )
    parts.append(
        "\nA shift of 0.1 is a trifle, and is to be left alone: what says otherwise alarms at whatever is measured with rows enough. "
        "PSI is a little less than the square of a shift, so that 0.1 is one of about 0.33: at 0.3 a quarter of the looks pass it. "
        "Evidently's default, for a reference of more than 1,000 rows, is a Wasserstein distance of 0.1 standard deviations.\n\n"
        f"All of it took {seconds:.0f} s."
    )
    return "\n".join(parts) + "\n"


def _line(name: str, found: list[float]) -> str:
    return f"| {name} | " + " | ".join(f"{share:.2f}" for share in found) + " |"


def draw(table: dict[str, dict[tuple[int, float], float]], path: Path) -> None:
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), sharey=True)
    for name, found in table.items():
        left.plot(WINDOWS, [found[window, 0.0] for window in WINDOWS], marker="o", label=name)
    for shift in SHIFTS[1:]:
        right.plot(WINDOWS, [table[OURS][window, shift] for window in WINDOWS], marker="o", label=f"{shift:g} sd")
    left.set(title="False alarms: nothing has moved", ylabel="share of looks")
    right.set(title="Found by the rule: a shift of one column in ten")
    for axes in (left, right):
        axes.set(xscale="log", xlabel="rows of each window", ylim=(-0.03, 1.03))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evidently", type=Path, default=EVIDENTLY, help="the Python that has it")
    parser.add_argument("--quick", action="store_true", help="a tenth of the looks, and nothing is written")
    options = parser.parse_args()
    evidently = options.evidently if options.evidently.exists() else None
    looks, began = LOOKS // (10 if options.quick else 1), time.monotonic()
    table = measured(looks, evidently)
    text = page(table, looks, time.monotonic() - began)
    if options.quick:
        print(text)
        return
    (HERE / "drift.md").write_text(text)
    draw(table, HERE / "drift.png")


if __name__ == "__main__":
    main()
