"""Shapley values of one row: what each of its values adds to an answer, beside rows that stand for all others (the background).

The model is asked for rows that have some values of the row and the others of a background row, and for nothing else, so any
model will do. What a coalition of columns is worth is the mean answer over the background (interventional SHAP). With few columns
all coalitions are asked; with more, columns join one by one in random orders, each order forwards and backwards (antithetic),
and the same orders each time. Either way the contributions add up to the row's answer less the mean one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import factorial
from typing import Literal

import numpy as np

# Rows of the training data that a version carries for it, and for how many columns it does.
BACKGROUND_ROWS, MOST_COLUMNS = 64, 200
EXACT_COLUMNS = 8
# How often a model is asked for one row where there is time for it: an ONNX engine needs some milliseconds for so many rows.
MOST_ASKED = 20_000
# Rows that are asked at a time.
PIECE = 2048
SEED = 42

Ask = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""from which values are the row's own, shape (asked, columns), and of which background row the others are, shape (asked,), to
the answers, shape (asked,)"""


@dataclass(frozen=True)
class Contributions:
    """What the columns add to one row's answer."""

    expected: float
    """the mean answer to the background"""
    value: float
    """the answer to the row"""
    of: np.ndarray
    """per column, shape (columns,); they add up to the value less the expected one"""
    method: Literal["exact", "permutation"]
    """whether all coalitions were asked, or some orders in which the columns join"""
    background: int
    """how many of the background's rows were used"""


def contributions(ask: Ask, columns: int, background: int, most: int = MOST_ASKED) -> Contributions:
    """Return the Shapley values of a row; the model is asked `most` times about, and for 2 * columns + 2 rows at least."""
    if columns <= EXACT_COLUMNS and (used := min(background, most // 2**columns)):
        return _exact(ask, columns, used)
    walk = 2 * max(columns - 1, 1)
    walks = max(1, (most - background - 1) // walk)
    used = min(background, walks)
    return _by_permutations(ask, columns, used, walks // used)


def _exact(ask: Ask, columns: int, background: int) -> Contributions:
    """Ask all coalitions, numbered by their bits, and weigh what a column adds to each that it is not in."""
    numbers = np.arange(2**columns)
    coalitions = (numbers[:, None] >> np.arange(columns)) % 2 == 1
    answers = _asked(ask, np.repeat(coalitions, background, axis=0), np.tile(np.arange(background), len(numbers)))
    worth = answers.reshape(len(numbers), background).mean(axis=1)
    size = coalitions.sum(axis=1)
    share = [factorial(k) * factorial(columns - k - 1) / factorial(columns) for k in range(columns)]
    found = np.empty(columns)
    for column in range(columns):
        without = numbers[~coalitions[:, column]]
        found[column] = np.dot(np.take(share, size[without]), worth[without + 2**column] - worth[without])
    return Contributions(float(worth[0]), float(worth[-1]), found, "exact", background)


def _by_permutations(ask: Ask, columns: int, background: int, rounds: int) -> Contributions:
    """Let the columns join one by one; each background row is begun from as often as any other, so that all adds up."""
    draws = np.random.default_rng(SEED)
    half = np.array([draws.permutation(columns) for _ in range(rounds * background)])
    orders = np.concatenate([half, half[:, ::-1]])
    rows = np.tile(np.arange(background), 2 * rounds)
    whole, none = np.ones((1, columns), dtype=bool), np.zeros((background, columns), dtype=bool)
    value, *starts = _asked(ask, np.concatenate([whole, none]), np.arange(-1, background).clip(0))
    # In the k-th step of an order those are there whose place in it is before k; the first and the last are asked already.
    own = np.argsort(orders, axis=1)[:, None, :] < np.arange(1, columns)[:, None]
    steps = _asked(ask, own.reshape(-1, columns), np.repeat(rows, columns - 1)).reshape(len(orders), columns - 1)
    added = np.diff(steps, axis=1, prepend=np.take(starts, rows)[:, None], append=value)
    found = np.bincount(orders.ravel(), added.ravel(), columns) / len(orders)
    return Contributions(float(np.mean(starts)), float(value), found, "permutation", background)


def _asked(ask: Ask, own: np.ndarray, positions: np.ndarray) -> np.ndarray:
    found = [ask(own[start:stop], positions[start:stop]) for start, stop in _pieces(len(own))]
    return np.concatenate(found).astype(np.float64) if found else np.empty(0)


def _pieces(count: int) -> Iterator[tuple[int, int]]:
    for start in range(0, count, PIECE):
        yield start, min(count, start + PIECE)
