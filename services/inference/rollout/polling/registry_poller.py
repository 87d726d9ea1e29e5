"""Follows the alias for all workers of the service: looks, deploys what is behind it, and tells how things are.

One process of the service talks to the registry. At its start it serves the last known good version, from the cache.
A version that it finds behind the alias is fetched into the cache; a process of its own verifies its signature and manifest
and reads its metadata files; then all workers change to it, or none (two_phase.py). Where anything fails, what is served goes on, and
the reason is told once; what a process did not survive is left alone for longer.
"""

import logging
import random
import time
from collections.abc import Callable

from inference.errors import NoModel, RegistryUnreachable
from inference.model.version import ModelVersion
from inference.rollout.background_call import LOOK_SECONDS, Repeated
from inference.rollout.backoff import Backoff, Failure
from inference.rollout.polling.deployer import Deployer
from inference.rollout.polling.sources import Sources
from inference.rollout.polling.status import Status
from inference.rollout.two_phase import Rollout
from inference.telemetry.metrics import PollerMetrics

# After which a question that hangs is given up and asked anew: MLflow may have recovered, and its connection may not.
GIVE_UP_SECONDS = 3 * LOOK_SECONDS
# Each look comes earlier or later by up to this share, so that replicas do not look all at once.
JITTER = 0.15

log = logging.getLogger("inference")


class RegistryPoller:
    """Keeps what is served in step with the alias."""

    def __init__(
        self, sources: Sources, rollout: Rollout, deployer: Deployer, status: Status, metrics: PollerMetrics
    ) -> None:
        self.rollout = rollout
        self._sources, self._deployer, self._status, self._metrics = sources, deployer, status, metrics
        self._alias = Repeated(sources.registry.current, GIVE_UP_SECONDS)
        self._backoff = Backoff(sources.store.fingerprint)
        self._has_begun = False

    def follow(self, poll_seconds: float, pause: Callable[[float], object] = time.sleep) -> None:
        """Look again and again, for ever."""
        while True:
            self.look()
            pause(poll_seconds * self.pace * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - no secret

    @property
    def pace(self) -> float:
        """How many times as long as it is told to it waits between two looks."""
        return 1.0

    def end(self) -> None:
        """Note that the service ends in good order."""
        self._deployer.end()

    def look(self) -> None:
        """Serve the version behind the alias, if it is another one and it can be served."""
        try:
            self._look()
        except Exception:  # whatever it is, it must neither end the thread nor what is being served
            log.exception("looking for the model failed")
            self._status.tell("looking for the model failed; the log has the details")

    def _look(self) -> None:
        self._sources.hold()
        if not self._has_begun:
            self._begin()
        found = self._behind_the_alias()
        if isinstance(found, RegistryUnreachable):
            self._on_unreachable(found)
            return
        self._metrics.looked()
        if isinstance(found, NoModel):
            self._backoff.clear()
            self._on_no_version(found)
        else:
            self._reconcile(found)

    def _begin(self) -> None:
        """Serve the last known good version before anybody is asked: what is behind the alias now may hang, or end the service."""
        self._has_begun = True
        self._deployer.restore()
        if self.rollout.served:
            self._status.tell(self._status.problem)
        if failure := self._deployer.left_behind():
            self._backoff.note(failure)
            self._backoff.note_files()

    def _behind_the_alias(self) -> ModelVersion | NoModel | RegistryUnreachable:
        """Return the version behind the alias, or why there is none; what hangs is not asked at each look, and waited for no longer."""
        try:
            return self._alias.answer(LOOK_SECONDS)
        except (NoModel, RegistryUnreachable) as error:
            return error
        except TimeoutError:
            return RegistryUnreachable(f"MLflow does not answer within {LOOK_SECONDS:.0f} s")

    def _reconcile(self, version: ModelVersion) -> None:
        """Have the version behind the alias served, unless it has just failed."""
        served, failure = self.rollout.served, self._backoff.of(version)
        if served and served.version == version:
            self._keep_served(version)
        elif failure is None:
            self._before_deploy(version)
            self._note(self._deployer.deploy(version))
        elif self._backoff.is_due(failure):
            self._note(self._deployer.deploy_again(version))
        else:
            self._status.tell(failure.problem)

    def _keep_served(self, version: ModelVersion) -> None:
        """Go on with the version that is served, and pass on what is said of it now."""
        if self._backoff.failure:
            self._deployer.forget(self._backoff.failure.version)
        self._backoff.clear()
        self.rollout.remind()
        self._deployer.refresh(version)
        self._status.tell(None)

    def _note(self, failure: Failure | None) -> None:
        """Note what became of a version that was to be served."""
        if failure is None:
            self._backoff.clear()
            self._status.tell(None)
            self._deployer.remember()
            return
        is_first = self._backoff.of(failure.version) is None
        self._backoff.note(failure)
        self._restore_last_known_good(failure.problem)
        if is_first:
            self._backoff.note_files()

    def _restore_last_known_good(self, problem: str) -> None:
        """Say why the alias is not followed; the last known good version goes on, after a start as well."""
        self._deployer.restore()
        self._status.tell(problem)

    def _on_unreachable(self, error: RegistryUnreachable) -> None:
        """Go on while nobody knows what is behind the alias."""
        self._restore_last_known_good(str(error))

    def _on_no_version(self, error: NoModel) -> None:
        """Go on where nothing is behind the alias."""
        self._restore_last_known_good(error.any_more if self._deployer.has_served else str(error))

    def _before_deploy(self, version: ModelVersion) -> None:
        """Make ready for another version, which is about to be tried for the first time: what is served goes on."""
