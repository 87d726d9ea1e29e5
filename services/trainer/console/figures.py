"""Figures and the names of metrics, as people write them."""

from typing import Any

from contract.display import visible

UPPER = {"r2": "R²", "rmse": "RMSE", "mae": "MAE", "roc": "ROC", "auc": "AUC", "f1": "F1"}


def number(value: float) -> str:
    """Return a figure with its thousands in groups, and no more digits than say something: 15,200 and 0.9667."""
    return grouped(value) if abs(value) >= 1000 else f"{value:.4f}"


def grouped(value: float) -> str:
    """Return a number without decimals, its thousands in groups from five digits on: 15,200, and 2026, which may be a year."""
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.0f}"


def metric_words(name: str) -> str:
    """Return a metric's name in words: ROC AUC, balanced accuracy."""
    return " ".join(UPPER.get(word, word) for word in name.split("_"))


def markdown(text: Any, most: int = 1000) -> str:
    """Return a text as a cell of a Markdown table has it: on one line, and neither HTML nor markup nor the end of the cell."""
    shown = visible(str(text), most).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{letter}" if letter in "\\|`*_[]#" else letter for letter in shown)
