"""What rows take a model, in time and memory: who is answered aside for that, and in parts, so that there is an end to it.

Most models answer thousands of rows in a few milliseconds. A forest takes fifty microseconds for each, a support vector
machine or a Gaussian process up to milliseconds: a body that is small by its bytes can then take seconds. And a text of a few
bytes becomes hundreds of numbers where each category has a column of its own.
"""

import math
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from inference.errors import InvalidInput, Overloaded
from inference.rows import Rows

# What takes longer than this is answered aside: everybody else would wait for it.
LONG_SECONDS = 0.02
# How long the parts take that are answered without a look at the time, and how many rows one has at least.
PART_SECONDS, LEAST_PART = 0.25, 64
# How many values a part's rows become: 32 MB, of which an estimator makes some copies.
PART_VALUES = 4 * 1024 * 1024
# What a text becomes where that is not known: the categories that the trainer encodes at most.
VALUES_PER_TEXT = 1000
# A row's time is what so many of them take beside one, the least of so many tries: anything may come in between. Where a few
# take long already, these are enough.
FEW_ROWS, MEASURED_ROWS, TRIES = 30, 300, 3

Ask = Callable[[Rows], np.ndarray]


class TakesLong(Exception):
    """A request is to be answered aside: it takes long."""


def row_seconds(ask: Callable[[Rows], Any], rows: Rows, now: Callable[[], float] = time.perf_counter) -> float:
    """Return what one more row takes a model, asked for some like these; 0 where it does not answer them so."""
    began = now()
    try:
        one = _least(TRIES, ask, rows.repeated(1), now)
        count, many = FEW_ROWS, _least(1, ask, rows.repeated(FEW_ROWS), now)
        if many < LONG_SECONDS:
            count, many = MEASURED_ROWS, _least(TRIES, ask, rows.repeated(MEASURED_ROWS), now)
    except InvalidInput:
        return 0.0
    except Overloaded:  # a few of them take longer than any request may
        return (now() - began) / FEW_ROWS
    return max(0.0, (many - one) / (count - 1))


def _least(tries: int, ask: Callable[[Rows], Any], rows: Rows, now: Callable[[], float]) -> float:
    found = math.inf
    for _ in range(tries):
        began = now()
        ask(rows)
        found = min(found, now() - began)
    return found


def part_rows(seconds: float, values: float) -> int:
    """Return how many rows are answered at a time, where one takes so many seconds and becomes so many values."""
    by_time = PART_SECONDS / seconds if seconds else PART_VALUES
    return max(LEAST_PART, int(min(by_time, PART_VALUES / max(values, 1))))


def in_parts(
    ask: Ask, rows: Rows, most_rows: int, most_seconds: float, now: Callable[[], float] = time.perf_counter
) -> np.ndarray:
    """Return what a model answers, asked for so many rows at a time; raise Overloaded where all take longer than they may.

    The answer is that to all rows at once, for a model that answers each row by itself.
    """
    count = math.ceil(len(rows) / most_rows)
    edges = [len(rows) * i // count for i in range(count + 1)]
    until, found = now() + most_seconds, []
    for start, stop in pairwise(edges):
        if now() > until:
            raise Overloaded(f"these {len(rows)} rows take longer than {most_seconds:g} s; send fewer rows at a time")
        found.append(ask(rows.part(start, stop)))
    return np.concatenate(found)
