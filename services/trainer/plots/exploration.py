"""Pictures of a table before anything is fitted, bounded in size however wide or long it is."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd
import seaborn as sns
from contract.reference import bins
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from trainer.data.columns.column_kinds import Encoding, encoding
from trainer.data.table import SEED, Column, Kind, Table, Task
from trainer.plots.style import DPI, PALETTE, labels

MOST_ROWS = 20_000
MOST_ROWS_IN_PAIRS = 1_000
MOST_PANELS = 24
MOST_CORRELATED = 40
MOST_PAIRED = 6
MOST_CLASSES = 10
TOP_CATEGORIES = 10
SHORT = 14
# Matplotlib has the years 1 to 9999, and draws a little more than there are.
FIRST_DRAWN, LAST_DRAWN = pd.Timestamp("0500-01-01"), pd.Timestamp("9000-01-01")


def exploration_pictures(table: Table) -> Iterator[tuple[str, Figure]]:
    """Yield (file name, picture)."""
    table = _labelled(table)
    features = table.features
    names = _classes(table) if table.task is Task.CLASSIFICATION else None
    if len(features) > MOST_ROWS:
        features = features.sample(MOST_ROWS, random_state=SEED)
        names = None if names is None else names.loc[features.index]
    target = table.target.loc[features.index]
    # More colours than this nobody tells apart.
    hue = names if names is not None and names.nunique() <= MOST_CLASSES else None
    numbers = [column.name for column in table.columns if column.kind is Kind.NUMBER]
    yield "target.png", _target(target, names)
    if drawn := [column for column in table.columns if not _is_prose(column, features)]:
        yield "distributions.png", _distributions(features, drawn, hue)
    if numbers and hue is not None:
        yield "boxplots.png", _boxplots(features[numbers], hue)
    if 2 <= len(numbers) <= MOST_PAIRED:
        yield "pairs.png", _pairs(features[numbers], hue)
    related = features[numbers].assign(**{str(target.name): target}) if names is None else features[numbers]
    if len(related.columns) >= 2:
        yield "correlations.png", _correlations(related)
    if features.isna().any().any():
        yield "missing.png", _missing(features)


def _classes(table: Table) -> pd.Series:
    """Return each row's class as a picture can show it, the classes in one order, and so in one colour, in all of them."""
    names = table.classes()
    order = list(dict.fromkeys(table.class_names or [str(label) for label in sorted(table.target.unique())]))
    shown = labels(order)
    return (
        names.map(dict(zip(order, shown, strict=True)))
        .astype(pd.CategoricalDtype(shown))
        .cat.remove_unused_categories()
    )


def _labelled(table: Table) -> Table:
    """Return the table under names that a picture can show."""
    shown = labels(column.name for column in table.columns)
    (target,) = labels([table.target.name])
    return replace(
        table,
        columns=[replace(column, name=name) for column, name in zip(table.columns, shown, strict=True)],
        features=table.features.set_axis(shown, axis=1),
        # A feature may be called as the target is.
        target=table.target.rename(target if target not in shown else f"{target} "),
    )


def _grid(panels: int) -> tuple[Figure, list[Any]]:
    columns = 2 if panels <= 6 else 4
    rows = -(-panels // columns)
    figure = Figure(figsize=(5.2 * columns if columns == 2 else 15, 3.4 * rows), dpi=DPI, layout="constrained")
    found = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in found[panels:]:
        unused.set_axis_off()
    return figure, found[:panels]


def _bound(what: str, shown: int, of: int, rows: int) -> str:
    more = f", the first {shown} of {of} features" if shown < of else ""
    return f"{what}{more}{f', {rows:,} rows drawn at random' if rows == MOST_ROWS else ''}"


def _target(target: pd.Series, names: pd.Series | None) -> Figure:
    figure = Figure(figsize=(7, 4), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    if names is None:
        sns.histplot(target, bins=bins.edges_of(target.to_numpy("float64"), 40).tolist(), ax=axes)
        axes.set(title=f"How {target.name} is distributed", xlabel=str(target.name), ylabel="rows")
    else:
        counts = names.value_counts(sort=False).head(40)
        colours = sns.color_palette(PALETTE, len(counts)) if len(counts) <= MOST_CLASSES else None
        axes.barh(labels(counts.index, SHORT), counts.to_numpy(), color=colours)
        axes.invert_yaxis()
        axes.set(title="Rows of each class", xlabel="rows")
    return figure


def _is_prose(column: Column, features: pd.DataFrame) -> bool:
    """Tell whether a column is free text: each row has another one, so there is nothing to count."""
    return column.kind is Kind.TEXT and encoding(features[column.name]) is Encoding.PROSE


def _distributions(features: pd.DataFrame, columns: list[Column], hue: pd.Series | None) -> Figure:
    shown = columns[:MOST_PANELS]
    figure, panels = _grid(len(shown))
    for panel, column in zip(panels, shown, strict=True):
        values = features[column.name]
        if column.kind in (Kind.NUMBER, Kind.DATE):
            values, edges = _drawable(values)
            sns.histplot(
                x=values, hue=hue, bins=edges, element="step", palette=PALETTE if hue is not None else None,
                legend=panel is panels[0], ax=panel,
            )  # fmt: skip
        else:
            _bars(values, hue, panel, legend=panel is panels[0])
        panel.set(xlabel=column.name, ylabel="rows")
    by_class = ", by class" if hue is not None else ""
    title = f"How each feature is distributed{by_class}"
    figure.suptitle(_bound(title, len(shown), len(columns), len(features)))
    return figure


def _drawable(values: pd.Series) -> tuple[pd.Series, int | list[float]]:
    """Return numbers or dates as Matplotlib draws them, and into what they are parted; of days near its calendar's ends, the years."""
    if pd.api.types.is_datetime64_any_dtype(values):
        if values.min() >= FIRST_DRAWN and values.max() <= LAST_DRAWN:
            return values, 20
        values = values.dt.year + values.dt.day_of_year / 366
    there = values.dropna().to_numpy("float64")
    return values, bins.edges_of(there, 20).tolist() if len(there) else 20


def _bars(values: pd.Series, hue: pd.Series | None, panel, legend: bool) -> None:  # type: ignore[no-untyped-def]
    top = values.value_counts().head(TOP_CATEGORIES).index
    order = labels(top, SHORT)
    kept = values[values.isin(top)].map(dict(zip(top, order, strict=True)))
    colours = None if hue is None else hue.loc[kept.index]
    palette = None if hue is None else PALETTE
    sns.countplot(x=kept, order=order, hue=colours, palette=palette, legend=legend and hue is not None, ax=panel)
    if len(order) > 3:
        panel.tick_params(axis="x", rotation=45)


def _boxplots(numbers: pd.DataFrame, names: pd.Series) -> Figure:
    shown = list(numbers.columns[:MOST_PANELS])
    figure, panels = _grid(len(shown))
    ticks = names.cat.rename_categories(labels(names.cat.categories, SHORT))
    for panel, column in zip(panels, shown, strict=True):
        sns.boxplot(x=ticks, y=numbers[column], hue=names, palette=PALETTE, legend=False, ax=panel)
        panel.set(xlabel="")
        if names.nunique() > 4:
            panel.tick_params(axis="x", rotation=45)
    title = "Median, quartiles and outliers of each feature, by class"
    figure.suptitle(_bound(title, len(shown), len(numbers.columns), len(numbers)))
    return figure


def _pairs(numbers: pd.DataFrame, hue: pd.Series | None) -> Figure:
    drawn = numbers.sample(min(MOST_ROWS_IN_PAIRS, len(numbers)), random_state=SEED)
    names = None if hue is None else hue.loc[drawn.index]
    colours = {"hue": names, "palette": PALETTE, "legend": False} if names is not None else {}
    count = drawn.shape[1]
    figure = Figure(figsize=(max(6.5, 2.6 * count), max(5.5, 2.5 * count)), dpi=DPI, layout="constrained")
    panels = figure.subplots(count, count, squeeze=False)
    for row, vertical in enumerate(drawn):
        for column, horizontal in enumerate(drawn):
            panel = panels[row][column]
            if row == column:
                sns.kdeplot(x=drawn[horizontal], fill=True, warn_singular=False, ax=panel, **colours)
            else:
                sns.scatterplot(x=drawn[horizontal], y=drawn[vertical], s=14, ax=panel, **colours)
            panel.set(xlabel=horizontal if row == count - 1 else "", ylabel=vertical if column == 0 else "")
    if names is None:
        figure.suptitle("Each feature against each other")
        return figure
    figure.suptitle("Each feature against each other: which ones tell the classes apart")
    classes = list(names.cat.categories)
    marks = [
        Line2D([], [], color=colour, marker="o", linestyle="") for colour in sns.color_palette(PALETTE, len(classes))
    ]
    figure.legend(marks, classes, loc="outside lower center", ncols=len(classes))
    return figure


def _correlations(numbers: pd.DataFrame) -> Figure:
    shown = numbers.iloc[:, -MOST_CORRELATED:] if len(numbers.columns) > MOST_CORRELATED else numbers
    count = len(shown.columns)
    side = max(5.5, 0.42 * count + 2)
    figure = Figure(figsize=(side + 1, side), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    few = count <= 15
    sns.heatmap(shown.corr(), annot=few, fmt=".2f", cmap="vlag", vmin=-1, vmax=1, square=True, ax=axes)
    more = f", {count} of {len(numbers.columns)} columns" if count < len(numbers.columns) else ""
    axes.set_title(f"Pearson correlation{more}")
    return figure


def _missing(features: pd.DataFrame) -> Figure:
    shares = features.isna().mean().sort_values(ascending=False)
    shares = shares[shares > 0].head(MOST_CORRELATED)
    figure = Figure(figsize=(8, 1.4 + 0.32 * len(shares)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.barh([str(name) for name in shares.index], 100 * shares.to_numpy())
    axes.invert_yaxis()
    axes.set(title="Missing values", xlabel="% of the rows", xlim=(0, 100))
    return figure
