"""Follows the alias `challenger` as the one of Production is followed, and lets go of what is behind it no more."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from contract.display import first_line, visible
from contract.mlmodel import manifest
from contract.mlmodel.manifest import Description
from contract.tracking.challenge import TAG, Challenge

from inference.errors import ModelRefused, NoModel, RegistryUnreachable
from inference.ipc.messages import NOT_ASKED, Returned, State, Stop, place_of
from inference.model.version import ModelVersion
from inference.rollout.challenger.eligibility import RETURNED, Eligibility
from inference.rollout.polling.deployer import Deployer
from inference.rollout.polling.registry_poller import RegistryPoller
from inference.rollout.polling.sources import Sources
from inference.rollout.polling.status import MOST_PROBLEM
from inference.rollout.two_phase import Candidate, Rollout, Swap, Workers
from inference.telemetry.metrics import ChallengerMetrics

# Where there is none, it is looked for so much more seldom than Production.
SELDOM = 5
# How often it is looked whether it is known what is in Production.
FIRST_SECONDS = 0.1

log = logging.getLogger("inference")


class ChallengerRollout(Rollout):
    """What all workers have as the challenger of one model: it has to take what Production takes."""

    def __init__(
        self,
        champion: Rollout,
        workers: Workers,
        folder_of: Callable[[ModelVersion], Path],
        eligibility: Eligibility,
    ) -> None:
        super().__init__(place_of(champion.deployment), workers, folder_of)
        self._champion, self._eligibility = champion, eligibility

    def _check_compatible(self, description: Description) -> None:
        served = self._champion.expected
        if served is not None and (change := manifest.breaking_change(served, description)):
            raise ModelRefused(f"{change}; that would break requests that Production answers")

    def change_to(self, candidate: Candidate, metrics: dict[str, float]) -> Swap:
        return super().change_to(replace(candidate, version=self._eligibility.still(candidate.version)), metrics)

    def update(self, **changes: Any) -> None:
        """Change what is known of the version that is served; one that has been sent away since it was looked up stays away."""
        if "version" in changes:
            changes["version"] = self._eligibility.still(changes["version"])
        super().update(**changes)

    def send_away(self, returned: Returned) -> bool:
        """Have a version answer nobody any more: in all workers, in all replicas with the same cache, and after a start.

        Returns whether it is the one that they have.
        """
        self._eligibility.returns.add(returned.version, returned.reason)
        served = self.served  # in a variable: the poller's thread may end it
        if served is None or served.version != returned.version:
            return False
        self.update(version=served.version)
        return True

    def stop(self) -> None:
        """Have no challenger any more."""
        with self._changing:
            self.served, self._state = None, State(None)
            self._workers.tell(Stop(self.deployment))


class ChallengerStatus:
    """Tells how the challenger is; what is wrong with it is no fault of the service's."""

    def __init__(self, rollout: Rollout, metrics: ChallengerMetrics) -> None:
        self._rollout, self._metrics = rollout, metrics
        self.problem: str | None = NOT_ASKED

    def tell(self, problem: str | None) -> None:
        """Tell how things are; `problem` is why the version behind the alias is no challenger."""
        problem = problem and visible(first_line(problem, MOST_PROBLEM), MOST_PROBLEM)
        if problem != self.problem and problem is not None:
            log.warning("no challenger: %s; Production answers", problem)
        self.problem = problem
        version = self._rollout.served.version if self._rollout.served else None
        tags = version.tags if version else {}
        percent = Challenge.of(tags[TAG]).percent if TAG in tags else 0.0
        self._metrics.report(version, problem, percent, RETURNED in tags)
        self._rollout.report(problem)  # last: who reads of it in an answer may look at the metrics


class ChallengerPoller(RegistryPoller):
    """Keeps what all workers have as the challenger in step with its alias."""

    def __init__(
        self, sources: Sources, rollout: ChallengerRollout, deployer: Deployer, metrics: ChallengerMetrics
    ) -> None:
        super().__init__(sources, rollout, deployer, ChallengerStatus(rollout, metrics), metrics)
        self._challengers = rollout

    def follow_after(self, champion: Rollout, poll_seconds: float) -> None:
        """Look again and again, for ever, once it is known what is in Production."""
        while not champion.is_reported:
            time.sleep(FIRST_SECONDS)
        self.follow(poll_seconds)

    @property
    def pace(self) -> float:
        return 1.0 if self.rollout.served or self._backoff.failure else SELDOM

    def returned(self, message: Returned) -> None:
        """Send away whom a worker has sent away."""
        if self._challengers.send_away(message):
            self._status.tell(None)

    def _on_no_version(self, error: NoModel) -> None:
        if self.rollout.served:
            log.info("nobody has the alias of the challenger any more")
        self._remove()
        self._status.tell(None)

    def _on_unreachable(self, error: RegistryUnreachable) -> None:
        """Go on with the last one; that MLflow does not answer is told of Production already."""
        if self.rollout.served is None:
            self._deployer.restore()
            self._status.tell(None)

    def _before_deploy(self, version: ModelVersion) -> None:
        """Let go of the one before it, whatever becomes of the next."""
        self._remove()

    def _remove(self) -> None:
        self._deployer.forget_last_known_good()
        if self.rollout.served:
            self._challengers.stop()
