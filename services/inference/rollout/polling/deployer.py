"""Deploys a version: it is fetched and verified, and all workers change to it, or none."""

import logging
from collections.abc import Callable
from typing import Protocol

from contract.display import first_line

from inference.errors import FetchFailed, ModelRefused, ProcessEnded
from inference.model.version import ModelVersion
from inference.rollout.backoff import Failure
from inference.rollout.model_cache import LastKnownGood
from inference.rollout.polling.sources import Sources
from inference.rollout.two_phase import Candidate, Rollout, Swap
from inference.telemetry.metrics import PollerMetrics

log = logging.getLogger("inference")


class Trials(Protocol):
    """What is noted on disk of the version that is being tried."""

    def left_behind(self) -> tuple[ModelVersion, int] | None: ...

    def begin(self, version: ModelVersion) -> None: ...

    def end(self, survived: bool = True) -> None: ...


class Deployer:
    """Has a version served, from its source or from the cache; what fails is told in a record, and what is served goes on."""

    def __init__(
        self,
        sources: Sources,
        rollout: Rollout,
        trials: Trials,
        metrics: PollerMetrics,
        announce: Callable[[Swap], None],
    ) -> None:
        self._sources, self._rollout, self._trials, self._metrics = sources, rollout, trials, metrics
        self._announce, self._last_known_good = announce, LastKnownGood(sources.cache)
        self.has_served = False

    def left_behind(self) -> Failure | None:
        """Return which version the service ended over when it ran before."""
        if (ended := self._trials.left_behind()) is None:
            return None
        version, times = ended
        problem = f"the service ended while version {version.version} of {version.name} was being tried"
        # Once it may have been something else that ended it.
        spares, times = self._rollout.served is not None and times > 1, max(1, times - 1)
        return Failure(version, problem, is_deadly=True, spares=spares, times=times)

    def end(self) -> None:
        """Note that the service ends in good order: what is being tried has no part in that."""
        self._trials.end()

    def deploy(self, version: ModelVersion) -> Failure | None:
        """Have a version served that has not been tried yet; return what kept it from being served."""
        return self._deploy(version, self._sources.fresh_candidate)

    def deploy_again(self, version: ModelVersion) -> Failure | None:
        """Try a version that has failed once more, as it is now and not as it was fetched; return what kept it from being served."""
        self.forget(version)
        return self._deploy(version, self._sources.candidate)

    def _deploy(self, version: ModelVersion, candidate_of: Callable[[ModelVersion], Candidate]) -> Failure | None:
        self._trials.begin(version)
        failure = None
        try:
            self._rollout.begin(version)
            candidate = candidate_of(version)
            if not self._rollout.goes_on_as(candidate):
                self._change_to(candidate, self._sources.metrics_of(version))
        except FetchFailed as error:
            failure = self._failure(version, str(error))
        except ModelRefused as error:
            problem = f"version {version.version} of {version.name} is refused: {error}"
            failure = self._failure(version, problem, isinstance(error, ProcessEnded))
            self.forget(version)
            self._metrics.refused(version)
        except Exception as error:  # whatever it is, it must not be met again at each look
            log.exception("taking up version %s failed", version.version)
            problem = f"version {version.version} cannot be taken up: {type(error).__name__}: {first_line(error)}"
            failure = self._failure(version, problem)
            self.forget(version)
        finally:
            self._trials.end(survived=failure is None or not failure.is_deadly)
        return failure

    def _failure(self, version: ModelVersion, problem: str, is_deadly: bool = False) -> Failure:
        return Failure(version, problem, is_deadly, spares=self._rollout.served is not None)

    def _change_to(self, candidate: Candidate, metrics: dict[str, float]) -> None:
        swap = self._rollout.change_to(candidate, metrics)
        self.has_served = True
        self._metrics.swapped(swap.version)
        self._announce(swap)

    def forget(self, version: ModelVersion) -> None:
        """Let go of a version's files, unless they are what is served."""
        served = self._rollout.served
        if served is None or served.version != version:
            self._sources.cache.forget(version)

    def refresh(self, version: ModelVersion) -> None:
        """Pass on what is said now of the version that is served."""
        served = self._rollout.served
        if served and (served.version.description, served.version.tags) != (version.description, version.tags):
            self._rollout.update(version=version, metrics=self._sources.metrics_of(version) or served.metrics)
            self.remember()
        elif self._last_known_good.is_due():
            self.remember()

    def remember(self) -> None:
        """Note what is served for a start without the registry."""
        served = self._rollout.served
        if served and (folder := self._last_known_good.note(served.version, served.metrics)):
            self._rollout.update(folder=str(folder))

    def forget_last_known_good(self) -> None:
        """Have no version that a start without the registry would serve."""
        self._sources.cache.forget_last()

    def restore(self) -> None:
        """Have the last known good version served, from the cache, where nothing is served and that is worth a try."""
        if self._rollout.served or (last := self._last_known_good.found()) is None:
            return
        version, metrics = last
        self.has_served = True
        try:
            candidate = self._sources.candidate(version)
            # What it takes is what those who ask rely on, whether it can be served or not.
            self._rollout.expect(candidate.description)
            self._change_to(candidate, metrics)
        except (ModelRefused, FetchFailed) as error:
            log.warning("the copy of version %s in the cache cannot be used: %s", version.version, error)
            self._last_known_good.put_off()
        except Exception:  # whatever it is, it must neither keep the alias from being followed nor be met at each look
            log.exception("the copy of version %s in the cache cannot be used", version.version)
            self._last_known_good.put_off()
