"""What all pictures share, and the one of a confusion: Matplotlib's object interface, no display, no global state."""

from collections.abc import Iterable

import matplotlib
import numpy as np
import seaborn as sns
from contract.display import visible
from matplotlib.figure import Figure

# A name with two dollar signs is a name, no formula.
matplotlib.rcParams["text.parse_math"] = False
DPI = 110
# Longer names leave a picture no room for what it shows.
MOST_LABEL = 30
# Colours that people with the common colour blindnesses tell apart.
PALETTE = "colorblind"


def labels(texts: Iterable[object], most: int = MOST_LABEL) -> list[str]:
    """Return what a picture calls each of these names: visible, at most `most` characters, and no two the same."""
    found: dict[str, None] = {}
    numbers: dict[str, int] = {}
    for text in texts:
        label = short = _shortened(visible(str(text), most), most)
        while label in found:
            numbers[short] = numbers.get(short, 1) + 1
            label = f"{_shortened(short, most - len(str(numbers[short])))}{numbers[short]}"
        found[label] = None
    return list(found)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def confusion_picture(counts: np.ndarray, class_names: list[str]) -> Figure:
    """Draw counts of shape (classes, classes), row = true class, column = predicted class."""
    side = max(4.5, 0.6 * len(class_names) + 2.5)
    figure = Figure(figsize=(side, side * 0.85), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    names = labels(class_names)
    sns.heatmap(
        counts,
        annot=True,
        fmt="d",
        cmap="Blues",
        cbar=False,
        square=True,
        linewidths=1,
        xticklabels=names,
        yticklabels=names,
        ax=axes,
    )
    axes.set(title=f"Confusion matrix, {counts.sum()} held-out rows", xlabel="predicted class", ylabel="true class")
    return figure
