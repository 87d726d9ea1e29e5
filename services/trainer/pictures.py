"""What all pictures share, and the one of a confusion: Matplotlib's object interface, no display, no global state."""

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

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
