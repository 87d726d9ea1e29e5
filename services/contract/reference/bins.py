"""The bins of a number's values, which the training counts its rows in, and who looks for drift counts later rows in."""

import numpy as np

BINS = 10


def deciles(values: np.ndarray) -> np.ndarray:
    """Return the inner edges of bins with about as many values in each, rising: shape (at most BINS - 1,).

    `values` has shape (rows,) and no NaN. Where one value is so frequent that it is several deciles, there are fewer.
    """
    shares = np.arange(1, BINS) / BINS
    return np.unique(np.quantile(values, shares, method="higher")) if len(values) else np.empty(0)


def edges_of(values: np.ndarray, parts: int) -> np.ndarray:
    """Return the edges of so many bins of the same width: shape (parts + 1,), rising.

    `values` has shape (rows,), at least one row, and no NaN. Where they are one, or differ by less than doubles can be parted in,
    the bins reach beyond them.
    """
    low, high = float(values.min()), float(values.max())
    least = parts * float(np.spacing(max(abs(low), abs(high))))
    beyond = max(0.5, 2 * least) if high - low <= least else 0.0
    return np.linspace(low - beyond, high + beyond, parts + 1)


def counts(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return how many values are in each bin: an edge belongs to the bin above it; shape (edges + 1,)."""
    found: np.ndarray = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    return found
