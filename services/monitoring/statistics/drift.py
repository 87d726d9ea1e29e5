"""How far two sets of rows are apart, of which both are counted over the same bins, and how far chance alone puts them.

A column has drifted where its windows are unlikely by chance and far enough from the reference to matter (docs/monitoring.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

# A chi-square test is right where this many rows are expected in each bin.
LEAST_EXPECTED = 5.0
# Of PSI by chance: one look in a thousand gives more.
CHANCE = 0.001
# The rule.
MOST_Q, LEAST_PSI = 0.01, 0.1
# What is added to a bin's rows for PSI, which has a logarithm of none.
SMOOTHING = 0.5
# Of two quantile functions that are compared.
POINTS = 200


@dataclass(frozen=True)
class Distance:
    """How far a window is from the reference."""

    psi: float
    chance: float
    """what PSI is by chance alone, in one of a thousand looks"""
    js: float
    """Jensen-Shannon distance, from 0 to 1"""
    p: float
    """of a chi-square test over the bins, of Fisher's where there are two"""

    def drifted(self, q: float) -> bool:
        """Tell whether it is unlikely by chance and large enough to matter; `q` is p, corrected for how many are looked at."""
        return q < MOST_Q and self.psi > max(LEAST_PSI, self.chance)


def distance(reference: np.ndarray, window: np.ndarray) -> Distance:
    """Return how far counts over the same bins are apart, both of shape (bins,); where there are no rows, they are not."""
    r, c = pooled(reference, window)
    n, m = c.sum(), r.sum()
    if not n or not m or len(r) < 2:
        return Distance(0.0, 0.0, 0.0, 1.0)
    p, q = ((x + SMOOTHING) / (x.sum() + SMOOTHING * len(x)) for x in (r, c))
    middle = (r / m + c / n) / 2
    js = (special.rel_entr(r / m, middle).sum() + special.rel_entr(c / n, middle).sum()) / 2 / np.log(2)
    return Distance(
        psi=float(((q - p) * np.log(q / p)).sum()),
        chance=float((1 / n + 1 / m) * special.chdtri(len(r) - 1, CHANCE)),
        js=float(np.sqrt(max(0.0, js))),
        p=_p(np.vstack([r, c])),
    )


def _p(table: np.ndarray) -> float:
    """Return how likely chance alone makes two rows so unlike; of two bins exactly, since one may have hardly any rows."""
    test = stats.fisher_exact if table.shape[1] == 2 else stats.chi2_contingency
    return float(test(table).pvalue)


def pooled(reference: np.ndarray, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both counts without empty bins, and with the rarest in one, so that in each enough rows are expected for a test.

    At least two are left of two or more.
    """
    some = (reference + window) > 0
    r, c = reference[some].astype(float), window[some].astype(float)
    total = r.sum() + c.sum()
    expected = (r + c) * min(r.sum(), c.sum()) / total if total else np.zeros(len(r))
    if len(r) < 2 or expected.min() >= LEAST_EXPECTED:
        return r, c
    order = np.argsort(expected, kind="stable")
    enough = int(np.searchsorted(np.cumsum(expected[order]), LEAST_EXPECTED)) + 1
    rare = min(max(enough, int((expected < LEAST_EXPECTED).sum())), len(r) - 1)
    r, c = (np.append(x[order[rare:]], x[order[:rare]].sum()) for x in (r, c))
    return r, c


def corrected(ps: Sequence[float]) -> list[float]:
    """Return Benjamini-Hochberg's q of each p."""
    return [float(q) for q in stats.false_discovery_control(ps)] if ps else []


def wasserstein(shares: np.ndarray, quantiles: np.ndarray, values: np.ndarray) -> float:
    """Return how far values are from a distribution of which quantiles are known, in the values' unit.

    `shares` rise from 0 to 1 and `quantiles` are theirs; between them the distribution is taken for even. `values` is not empty.
    """
    at = (np.arange(POINTS) + 0.5) / POINTS
    return float(np.abs(np.interp(at, shares, quantiles) - np.quantile(values, at)).mean())


def smallest_shift(chance: float) -> float:
    """Return the shift of a normal distribution, in standard deviations, whose PSI is just told: PSI is about its square."""
    return float(np.sqrt(max(LEAST_PSI, chance)))


def middle(times: np.ndarray) -> int:
    """Return where to cut rows into two windows of about as many, `times` rising: rows of one moment stay together."""
    half = times[len(times) // 2] if len(times) else 0
    before, after = (int(np.searchsorted(times, half, side)) for side in ("left", "right"))
    return min((before, after), key=lambda cut: abs(cut - len(times) / 2))
