"""The report on a table in the terminal: its rows, columns, target and distributions, as grids."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from contract.preparation.dates import iso
from contract.reference import bins
from rich.table import Table as Grid

from trainer.console.figures import grouped
from trainer.data.columns.column_kinds import Encoding, encoding
from trainer.data.table import Column, Kind, Table, Task
from trainer.fit import metric

BARS = " ▁▂▃▄▅▆▇█"
BINS = 12
# A terminal has room for this much; the pictures and the HTML report show more.
MOST_FEATURES_BY_CLASS = 12
MOST_CLASSES_BY_FEATURE = 10
MOST_COLUMNS = 40
TOP_CATEGORIES = 5
HEAD, MOST_HEAD_COLUMNS = 5, 7
MOST_OF_A_TEXT = 24
# How many texts are looked at for how long they are.
MOST_TEXTS = 10_000


def head_grid(table: Table, left_out: pd.DataFrame) -> Grid:
    """Return the first rows, as they were understood."""
    columns = [(column.name, table.features[column.name]) for column in table.columns]
    columns += [(str(name), values) for name, values in left_out.items()]
    columns.append((str(table.target.name), table.target))
    if table.class_names:
        columns.append((f"{table.target.name}_name", table.classes()))
    hidden = len(columns) - MOST_HEAD_COLUMNS
    # The target is the last of them, and is shown in any case.
    shown = columns if hidden <= 0 else [*columns[: MOST_HEAD_COLUMNS - 1], columns[-1]]
    told = f" ({hidden} of {len(columns)} columns are not shown)" if hidden > 0 else ""
    grid = _grid((name for name, _ in shown), f"First rows{told}")
    for position in range(min(HEAD, len(table.target))):
        grid.add_row(*(_cell(values.iloc[position]) for _, values in shown))
    return grid


def _cell(value: Any) -> str:
    if isinstance(value, pd.Timestamp):
        return iso(value)
    if not pd.api.types.is_list_like(value) and pd.isna(value):
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if len(text) <= MOST_OF_A_TEXT else f"{text[:MOST_OF_A_TEXT]}…"


def columns_grid(table: Table, left_out: pd.DataFrame) -> Grid:
    """Return the columns with what `train` takes them for, missing and distinct values."""
    grid = Grid("column", "taken for", "missing", "distinct", title="Columns", title_justify="left")
    shown = [(column.name, table.features[column.name], taken_for(table, column)) for column in table.columns]
    shown.append((str(table.target.name), table.target, "target"))
    if table.class_names:
        shown.append((f"{table.target.name}_name", table.classes(), "names of the classes"))
    shown += [(str(name), values, "left out") for name, values in left_out.items()]
    for name, values, taken in shown[:MOST_COLUMNS]:
        grid.add_row(name, taken, str(values.isna().sum()), _distinct(values))
    if len(shown) > MOST_COLUMNS:
        grid.add_row(f"… {len(shown) - MOST_COLUMNS} more, see report.html")
    return grid


def taken_for(table: Table, column: Column) -> str:
    """Say what `train` makes of a feature."""
    if column.kind is Kind.TEXT:
        return str(encoding(table.features[column.name]))
    return {Kind.NUMBER: "numbers", Kind.BOOLEAN: "true or false", Kind.DATE: "dates"}[column.kind]


def _distinct(values: pd.Series) -> str:
    try:
        return str(values.nunique())
    except TypeError:  # of lists and other things that nothing counts
        return "-"


def target_grid(table: Table) -> Grid:
    """Return the classes with their rows, or how a quantity is distributed."""
    if table.task is Task.REGRESSION:
        grid = Grid(
            "mean",
            "std",
            "min",
            "median",
            "max",
            "min → max",
            title=f"Target {table.target.name}",
            title_justify="left",
        )
        grid.add_row(*_figures(table.target), _bars(_counts_of(table.target)))
        return grid
    grid = Grid("class", "rows", "share", title="Classes", title_justify="left")
    counts_by_name = class_counts(table)
    for name, count in list(counts_by_name.items())[:MOST_COLUMNS]:
        grid.add_row(name, str(count), f"{count / len(table.target):.1%}")
    return grid


def class_counts(table: Table) -> dict[str, int]:
    """Return how many rows are of each class, by its name."""
    names = table.classes()
    # In the order of the labels, which for class numbers is not that of their names.
    order = dict(zip(table.target, names, strict=True))
    counts = names.value_counts()
    return {str(order[label]): int(counts[order[label]]) for label in sorted(order)}


def distribution_grids(table: Table) -> list[Grid]:
    """Return the distribution of each feature, by class where there is room for it."""
    numbers = [column for column in table.columns if column.kind is Kind.NUMBER]
    others = [column for column in table.columns if column.kind is not Kind.NUMBER]
    grids = []
    if numbers:
        by_class = (
            table.task is Task.CLASSIFICATION
            and len(numbers) <= MOST_FEATURES_BY_CLASS
            and table.target.nunique() <= MOST_CLASSES_BY_FEATURE
        )
        grids.append(_numbers_by_class(table, numbers) if by_class else _numbers(table, numbers))
    if others:
        grids.append(_categories(table, others))
    return grids


def _grid(heads: Iterable[str], title: str) -> Grid:
    """Return a grid that shows names and bars whole, also where there is little room."""
    grid = Grid(*heads, title=title, title_justify="left")
    grid.columns[0].overflow = "fold"
    for column in grid.columns:
        column.no_wrap = column.header == "min → max"
    return grid


def _numbers_by_class(table: Table, columns: list[Column]) -> Grid:
    title = "Distribution of each feature in each class"
    heads = ("feature", "class", "mean", "std", "min", "median", "max", "min → max")
    grid = _grid(heads, title)
    names = table.classes()
    for column in columns:
        values = table.features[column.name]
        edges = np.linspace(values.min(), values.max(), BINS + 1)
        for position, class_name in enumerate(class_counts(table)):
            part = values[names == class_name]
            counts = np.histogram(part.dropna(), edges)[0]
            grid.add_row(column.name if position == 0 else "", class_name, *_figures(part), _bars(counts))
        grid.add_section()
    return grid


def _numbers(table: Table, columns: list[Column]) -> Grid:
    heads = ["feature", "mean", "std", "min", "median", "max", "min → max"]
    if table.task is Task.REGRESSION:
        heads.append("correlation with the target")
    grid = _grid(heads, "Distribution of each feature")
    for column in columns[:MOST_COLUMNS]:
        values = table.features[column.name]
        cells = [column.name, *_figures(values), _bars(_counts_of(values))]
        if table.task is Task.REGRESSION:
            cells.append(f"{values.corr(table.target):.2f}" if values.nunique() > 1 else "-")
        grid.add_row(*cells)
    if len(columns) > MOST_COLUMNS:
        grid.add_row(f"… {len(columns) - MOST_COLUMNS} more, see report.html")
    return grid


def _categories(table: Table, columns: list[Column]) -> Grid:
    told, of_the_target = _target_among(table)
    head = f"most frequent values{f', with {told}' if told else ''}"
    grid = Grid("feature", head, title="Categories and dates", title_justify="left")
    for column in columns[:MOST_COLUMNS]:
        values = table.features[column.name]
        if column.kind is Kind.DATE:
            grid.add_row(column.name, f"from {iso(values.min())} to {iso(values.max())}")
            continue
        if column.kind is Kind.TEXT and encoding(values) is Encoding.PROSE:
            words = np.mean([len(text.split()) for text in values.dropna().head(MOST_TEXTS)])
            grid.add_row(column.name, f"free text of {words:.0f} words on average")
            continue
        shares = values.value_counts(normalize=True).head(TOP_CATEGORIES)
        cells = (f"{value} {share:.1%}{of_the_target(values == value)}" for value, share in shares.items())
        grid.add_row(column.name, ", ".join(cells))
    return grid


def _target_among(table: Table) -> tuple[str, Callable[[pd.Series], str]]:
    """Return what is told of the target among some rows, and what tells it: of two classes the positive one's share, of a quantity the mean."""
    name = str(table.target.name)
    if table.task is Task.REGRESSION:
        return f"the mean of {name}", lambda rows: f" ({_figures(table.target[rows.fillna(False)])[0]})"
    judged = metric.chosen(None, None, table)
    if judged.positive is None:
        return "", lambda rows: ""
    is_positive = table.target == judged.positive
    told = f"how many of them are {metric.class_name(judged, table)}"
    return told, lambda rows: f" ({is_positive[rows.fillna(False)].mean():.0%})"


def _figures(values: pd.Series) -> list[str]:
    found = [values.mean(), values.std(), values.min(), values.median(), values.max()]
    return [
        f"{figure:.2f}" if abs(figure) < 1e3 else grouped(figure) if abs(figure) < 1e9 else f"{figure:.3g}"
        for figure in found
    ]


def _counts_of(values: pd.Series) -> np.ndarray:
    """Return how many numbers are in each of BINS bins."""
    there = values.dropna().to_numpy("float64")
    if not there.size:  # --number of a column in which nothing is one
        return np.zeros(BINS, dtype=int)
    counts: np.ndarray = np.histogram(there, bins.edges_of(there, BINS))[0]
    return counts


def _bars(counts: np.ndarray) -> str:
    """Draw counts as one character each; any count above zero is seen."""
    heights = np.ceil(counts / max(counts.max(), 1) * (len(BARS) - 1)).astype(int)
    return "".join(BARS[height] for height in heights)
