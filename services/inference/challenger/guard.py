"""What watches over a challenger that answers requests: beyond a limit Production answers them all again, at once.

What the challenger cannot answer Production answers, so no request fails over it. What it can, Production is asked as well, now
and then, aside from the answer: the same rows, at the same moment, so that whatever differs is the two versions' doing.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from inference.challenger.likeness import Likeness
from inference.errors import Overloaded
from inference.model.deployment import Deployment
from inference.model.model import Model, Prediction
from inference.rows import Rows
from inference.telemetry.metrics import COMPARED

# Before so many requests were compared only what fails ends it; after as many more, each tenth one is.
LEAST, ALL, ONE_IN = 50, 200, 10
# Of one request: it must not take as long again.
MOST_ROWS = 100
# Of two that answer the same rows, one is slow: it takes more than twice as long, and this many seconds more.
SLOW_FACTOR, SLOW_SECONDS = 2.0, 0.02
# A busy machine stalls the one as well as the other. By how much likelier what was seen has to be where it is the challenger's doing.
EVIDENCE = 1000.0

log = logging.getLogger("inference")


class Limits(NamedTuple):
    """Up to which shares a challenger goes on: of rows, and for what is slow of requests."""

    unlike: float = 0.3
    """answers other than Production's"""
    unknown: float = 0.05
    """rows with a text that it never saw in training, where Production did"""
    slow: float = 0.05
    """answers that are slow, less those for which Production was"""


class Guard:
    """Watches in one worker; `end` has Production answer everybody from now on, and is told why, once."""

    def __init__(
        self,
        champion: Deployment,
        challenger: Deployment,
        end: Callable[[str], None],
        limits: Limits | None = None,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.champion = champion
        self._challenger, self._end, self._limits, self._now = challenger, end, limits or Limits(), now
        self._likeness = Likeness(champion.model)
        self._requests = self._compared = self._rows = self._unlike = self._unknown = 0
        self._slow = self._fast = 0  # requests for which the challenger, or Production, was slow
        self._has_ended = False

    def failed(self, error: Exception) -> None:
        """Note that the challenger has not answered what Production has: of what it was asked nothing is told."""
        if isinstance(error, Overloaded):  # it takes longer, and that is judged as such
            self._requests += 1
            self._compared += 1
            self._slow += 1
            self._count("slow")
            if self._compared >= LEAST and (reason := next(self._beyond(), None)):
                self._finish(reason)
            return
        self._count("failed")
        self._finish(f"it fails where version {self._version} answers ({type(error).__name__})")

    def compare(self, rows: Rows, prediction: Prediction, seconds: float) -> None:
        """Ask Production for the same rows, now and then; the challenger took so many seconds to predict. Never raises."""
        self._requests += 1
        if self._requests > ALL and self._requests % ONE_IN:
            return
        try:
            self._compare(rows, prediction, seconds)
        except Exception:  # what it looks at has been answered: it is no reason not to hand it over
            log.exception("an answer of the challenger could not be compared")

    def _compare(self, rows: Rows, prediction: Prediction, seconds: float) -> None:
        model = self.champion.model
        holds_up = model.runs_code and not self._challenger.model.runs_code  # code is asked where nobody waits
        if len(rows) > MOST_ROWS or holds_up or model.takes_long(rows):
            return
        began = self._now()
        wanted = prediction.labels is not None, prediction.probabilities is not None
        theirs = model.answer(rows, *wanted)
        their_seconds = self._now() - began
        is_unlike = self._likeness.unlike(_labels(self._challenger.model, prediction), _labels(model, theirs))
        is_unknown = _unknown(self._challenger.model, rows) & ~_unknown(model, rows)
        self._compared += 1
        self._rows += len(rows)
        self._unlike += (unlike := int(is_unlike.sum()))
        self._unknown += (unknown := int(is_unknown.sum()))
        self._slow += (slow := int(_is_slow(seconds, their_seconds)))
        self._fast += int(_is_slow(their_seconds, seconds))
        for result, count in (("alike", len(rows) - unlike), ("unlike", unlike), ("unknown", unknown), ("slow", slow)):
            self._count(result, count)
        if self._compared >= LEAST and (reason := next(self._beyond(), None)):
            self._finish(reason)

    def _beyond(self) -> Iterator[str]:
        limits, version = self._limits, self._version
        rows = max(self._rows, 1)
        if (share := self._unlike / rows) > limits.unlike:
            yield f"{share:.0%} of its answers differ from those of version {version} (limit: {limits.unlike:.0%})"
        if (share := self._unknown / rows) > limits.unknown:
            yield f"{share:.0%} of the rows have a text that version {version} knows and it does not (limit: {limits.unknown:.0%})"
        share = (self._slow - self._fast) / self._compared
        if share > limits.slow and is_no_chance(self._slow, self._fast):
            yield f"{share:.0%} of its answers take far longer than those of version {version} (limit: {limits.slow:.0%})"

    @property
    def _version(self) -> str:
        return self.champion.version.version

    def _finish(self, reason: str) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._end(reason)

    def _count(self, result: str, count: int = 1) -> None:
        if count:
            COMPARED.labels(*self._challenger.labels, result).inc(count)


def _is_slow(seconds: float, others: float) -> bool:
    return seconds > SLOW_FACTOR * others + SLOW_SECONDS


def is_no_chance(slow: int, fast: int) -> bool:
    """Tell whether one of two is the slower one more often than where a coin decides which of them the machine stalls.

    That is a sequential test, as it is asked after each request: how likely these throws are with a coin of any bias, each as likely, over how
    likely they are with a fair one. With a fair coin that ratio is ever above EVIDENCE in one case of EVIDENCE at most (Ville's inequality).
    """
    throws = slow + fast
    ratio = throws * math.log(2) + math.lgamma(slow + 1) + math.lgamma(fast + 1) - math.lgamma(throws + 2)
    return slow > fast and ratio > math.log(EVIDENCE)


def _labels(model: Model, prediction: Prediction) -> np.ndarray:
    """Return what is predicted of each row, also where probabilities alone were asked for."""
    if prediction.labels is not None:
        return prediction.labels
    assert prediction.probabilities is not None  # noqa: S101 - the one or the other was asked for
    found: np.ndarray = np.asarray(model.classes)[prediction.probabilities.argmax(axis=1)]
    return found


def _unknown(model: Model, rows: Rows) -> np.ndarray:
    """Return which rows have a text that a version's training data had not, in a column of few texts."""
    found = np.zeros(len(rows), bool)
    for column, values in zip(model.description.columns, rows.by_column, strict=True):
        if known := model.description.categories.get(column.name):
            found |= [value is not None and value not in known for value in values.tolist()]
    return found
