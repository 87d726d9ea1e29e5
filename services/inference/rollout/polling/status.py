"""What is wrong with what an alias has: told to the workers, in metrics and, when it changes, in the log."""

import logging
from typing import Protocol

from contract.display import first_line, visible

from inference.ipc.messages import NOT_ASKED
from inference.rollout.polling.loss_check import Losses
from inference.rollout.two_phase import Rollout
from inference.telemetry.metrics import PollerMetrics

MOST_PROBLEM = 1000

log = logging.getLogger("inference")


class Status(Protocol):
    """Who tells how things are after a look."""

    problem: str | None
    """what was told last, None for nothing"""

    def tell(self, problem: str | None) -> None: ...


class ServedStatus:
    """Tells how what is served is, and what is lost of its files."""

    def __init__(self, rollout: Rollout, metrics: PollerMetrics, losses: Losses) -> None:
        self._rollout, self._metrics, self._losses = rollout, metrics, losses
        self.problem: str | None = NOT_ASKED

    def tell(self, problem: str | None) -> None:
        """Tell how things are; `problem` is why what is served is not what is behind the alias."""
        served = self._rollout.served
        problem = problem and first_line(problem, MOST_PROBLEM)
        if served and (lost := self._losses.look(served)):
            lost = f"version {served.version.version} {lost}"
            problem = f"{problem}; {lost}" if problem else lost
        problem = problem and visible(problem, MOST_PROBLEM)
        if problem != self.problem and problem is not None:
            log.warning("%s; %s", problem, "serving goes on" if served else "waiting")
        self.problem = problem
        self._metrics.report(served.version if served else None, problem)
        self._rollout.report(problem)  # last: who reads of it in an answer may look at the metrics
