"""Every picture that the trainer draws, on Matplotlib's object interface: no display, no global state."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

DPI = 110
# Colours that people with the common colour blindnesses tell apart.
PALETTE = "colorblind"


def confusion_picture(counts: np.ndarray, class_names: list[str]) -> Figure:
    """Draw counts of shape (classes, classes), row = true class, column = predicted class."""
    side = max(4.5, 0.6 * len(class_names) + 2.5)
    figure = Figure(figsize=(side, side * 0.85), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    sns.heatmap(
        counts,
        annot=True,
        fmt="d",
        cmap="Blues",
        cbar=False,
        square=True,
        linewidths=1,
        xticklabels=class_names,
        yticklabels=class_names,
        ax=axes,
    )
    axes.set(title=f"Confusion matrix, {counts.sum()} held-out rows", xlabel="predicted class", ylabel="true class")
    return figure


def exploration_pictures(features: pd.DataFrame, class_names: pd.Series) -> Iterator[tuple[str, Figure]]:
    """Yield (file name, picture) for features of shape (rows, features) and a class name per row."""
    yield "distributions.png", _distributions(features, class_names)
    yield "boxplots.png", _boxplots(features, class_names)
    yield "pairs.png", _pairs(features, class_names)
    yield "correlations.png", _correlations(features)


def _grid(panels: int) -> tuple[Figure, list]:
    columns = 2
    rows = -(-panels // columns)
    figure = Figure(figsize=(10, 3.6 * rows), dpi=DPI, layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _distributions(features: pd.DataFrame, class_names: pd.Series) -> Figure:
    figure, panels = _grid(features.shape[1])
    for panel, column in zip(panels, features, strict=False):
        sns.histplot(
            x=features[column],
            hue=class_names,
            bins=20,
            element="step",
            palette=PALETTE,
            legend=panel is panels[0],
            ax=panel,
        )
        panel.set(ylabel="rows")
    figure.suptitle("How each feature is distributed, by class")
    return figure


def _boxplots(features: pd.DataFrame, class_names: pd.Series) -> Figure:
    figure, panels = _grid(features.shape[1])
    for panel, column in zip(panels, features, strict=False):
        sns.boxplot(x=class_names, y=features[column], hue=class_names, palette=PALETTE, legend=False, ax=panel)
        panel.set(xlabel="")
    figure.suptitle("Median, quartiles and outliers of each feature, by class")
    return figure


def _pairs(features: pd.DataFrame, class_names: pd.Series) -> Figure:
    count = features.shape[1]
    figure = Figure(figsize=(2.6 * count, 2.5 * count), dpi=DPI, layout="constrained")
    panels = figure.subplots(count, count, squeeze=False)
    for row, vertical in enumerate(features):
        for column, horizontal in enumerate(features):
            panel = panels[row][column]
            if row == column:
                sns.kdeplot(x=features[horizontal], hue=class_names, fill=True, palette=PALETTE, legend=False, ax=panel)
            else:
                sns.scatterplot(
                    x=features[horizontal],
                    y=features[vertical],
                    hue=class_names,
                    palette=PALETTE,
                    s=14,
                    legend=False,
                    ax=panel,
                )
            panel.set(xlabel=horizontal if row == count - 1 else "", ylabel=vertical if column == 0 else "")
    figure.suptitle("Each feature against each other: which ones tell the classes apart")
    names = class_names.unique()
    colours = sns.color_palette(PALETTE, len(names))
    marks = [Line2D([], [], color=colour, marker="o", linestyle="") for colour in colours]
    figure.legend(marks, list(names), loc="outside lower center", ncols=len(names))
    return figure


def _correlations(features: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(6.5, 5.5), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    sns.heatmap(features.corr(), annot=True, fmt=".2f", cmap="vlag", vmin=-1, vmax=1, square=True, ax=axes)
    axes.set_title("Pearson correlation of the features")
    return figure
