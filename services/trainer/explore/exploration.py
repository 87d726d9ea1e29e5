"""Phase 1 of the workshop, look at the data first: a report in the terminal, pictures, and all of it as one HTML file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from trainer.console.terminal import Console
from trainer.data import leakage
from trainer.data.builtin_datasets import as_on_host
from trainer.data.table import Column, Look, Table, Task
from trainer.errors import DataError
from trainer.explore.console_report import class_counts, columns_grid, distribution_grids, head_grid, target_grid
from trainer.explore.html_report import report


@dataclass(frozen=True)
class Findings:
    """What an exploration came to."""

    files: list[Path]
    hints: list[str]
    summary: dict[str, Any]
    """shape, columns, target and hints, as plain values"""


def explore(table: Table, folder: Path, console: Console, look: Look | None = None) -> Findings:
    """Report on a table, and write its pictures and report.html into the folder.

    `look` has what is in the file beside the table, and what is wrong with it.
    """
    left_out = look.left_out if look else pd.DataFrame()
    hints = [f"`train` refuses this: {fault}" for fault in (look.faults if look else [])]
    hints += leakage.hints(table)
    rows, width = table.features.shape
    named = 2 if table.class_names else 1
    target = "the target and its name" if table.class_names else f"the target {table.target.name!r}"
    console.print(f"Shape {(rows, width + named)}: {rows} rows; {width} features, {target}\n", highlight=False)
    grids = [head_grid(table, left_out), columns_grid(table, left_out), target_grid(table), *distribution_grids(table)]
    for grid in grids:
        console.print(grid)
    _print_hints(console, [*table.remarks, *hints])
    return Findings(_write(table, hints, folder, console, left_out), hints, _summary(table, hints))


def _print_hints(console: Console, hints: list[str]) -> None:
    if hints:
        console.print("Hints", style="italic")
    for hint in hints:
        console.print(f"- {hint}", highlight=False, soft_wrap=True)


def _summary(table: Table, hints: list[str]) -> dict[str, Any]:
    return {
        "file": table.path.name,
        "sha256": table.sha256,
        "shape": list(table.features.shape),
        "task": str(table.task),
        "target": str(table.target.name),
        "columns": {column.name: _described(column, table.features[column.name]) for column in table.columns},
        "classes": class_counts(table) if table.task is Task.CLASSIFICATION else None,
        "hints": [*table.remarks, *hints],
    }


def _described(column: Column, values: pd.Series) -> dict[str, Any]:
    return {"type": str(column.kind), "missing": int(values.isna().sum()), "distinct": int(values.nunique())}


def _write(table: Table, hints: list[str], folder: Path, console: Console, left_out: pd.DataFrame) -> list[Path]:
    from trainer.plots.exploration import exploration_pictures

    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, picture in exploration_pictures(table):
            picture.savefig(folder / name)
            written.append(folder / name)
            console.print(f"{as_on_host(folder / name)} drawn", soft_wrap=True)
        path = folder / "report.html"
        path.write_text(report(table, [*table.remarks, *hints], written, left_out), encoding="utf-8")
        console.print(f"{as_on_host(path)} written: all of it in one file; open it in a browser", soft_wrap=True)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be written: {error.strerror}; give this user the right to write there"
        ) from error
    return [*written, path]
