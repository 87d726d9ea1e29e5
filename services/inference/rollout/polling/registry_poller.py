"""Follows the alias for all workers of the service: looks, fetches, checks, and lets them change together.

One process of the service talks to the registry. At its start it lets what was served last be served first, from the cache.
A version that it finds behind the alias is fetched into the cache; a process of its own verifies its signature and manifest
and reads its metadata files; then all workers change to it, or none (two_phase.py). Where anything fails, what is served goes on, and
the reason is told once; what a process did not survive is left alone for longer.
"""

import logging
import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from contract.display import first_line, visible
from contract.mlmodel.manifest import Description
from contract.version_files import VersionFiles

from inference.errors import FetchFailed, ModelRefused, NoModel, ProcessEnded, RegistryUnreachable
from inference.ipc.messages import NOT_ASKED
from inference.model.version import ModelVersion
from inference.rollout import model_cache
from inference.rollout.background_call import LOOK_SECONDS, Repeated, within
from inference.rollout.backoff import Backoff, Failure
from inference.rollout.model_cache import LastKnownGood
from inference.rollout.polling.loss_check import Losses
from inference.rollout.registry import Registry
from inference.rollout.two_phase import Candidate, Rollout, Swap
from inference.telemetry.metrics import PollerMetrics

# After which a question that hangs is given up and asked anew: MLflow may have recovered, and its connection may not.
GIVE_UP_SECONDS = 3 * LOOK_SECONDS
MOST_PROBLEM = 1000
# Each look comes earlier or later by up to this share, so that replicas do not look all at once.
JITTER = 0.15

log = logging.getLogger("inference")


class Cache(model_cache.Notes, Protocol):
    """Where versions' files are kept."""

    def forget(self, version: ModelVersion) -> None: ...

    def forget_last(self) -> None: ...


class Store(Protocol):
    """What can be told of a version's files without fetching them."""

    def fingerprint(self, version: ModelVersion) -> str | None:
        """Return a text that changes with the files; None where nothing can be told."""

    def loss(self, version: ModelVersion, files: Collection[str]) -> str | None:
        """Say what is gone of it, or is about to be, after "version N"; None for nothing; raise FetchFailed where it cannot be told."""


class Trials(Protocol):
    """What is noted on disk of the version that is being tried."""

    def left_behind(self) -> tuple[ModelVersion, int] | None: ...

    def begin(self, version: ModelVersion) -> None: ...

    def end(self, survived: bool = True) -> None: ...


@dataclass(frozen=True)
class Sources:
    """Where versions come from, where they are kept, and who verifies them."""

    registry: Registry
    cache: Cache
    store: Store
    check: Callable[[Path, ModelVersion], tuple[VersionFiles, Description]]
    hold: Callable[[], None] = lambda: None
    """what notes, at each look, that the model in the cache is served"""

    def candidate(self, version: ModelVersion) -> Candidate:
        """Return a version, fetched and verified; raise FetchFailed or ModelRefused."""
        return Candidate(version, *self.check(self.cache.folder_of(version), version))

    def fresh_candidate(self, version: ModelVersion) -> Candidate:
        """Return the same; where the copy in the cache turns out to be unusable, fetch it once more."""
        folder = self.cache.folder_of(version)
        try:
            return Candidate(version, *self.check(folder, version))
        except ProcessEnded:
            raise
        except ModelRefused:
            self.cache.forget(version)
            return self.candidate(version)

    def metrics_of(self, version: ModelVersion) -> dict[str, float]:
        """Return what was measured of a version, nothing where that cannot be had: it is shown, and nothing hangs on it."""
        try:
            return within(LOOK_SECONDS, lambda: self.registry.metrics(version.run_id)) if version.run_id else {}
        except (RegistryUnreachable, TimeoutError) as error:
            log.warning("the metrics of version %s cannot be had: %s", version.version, error)
            return {}


class RegistryPoller:
    """Keeps what is served in step with the alias."""

    def __init__(
        self,
        sources: Sources,
        rollout: Rollout,
        trials: Trials,
        metrics: PollerMetrics,
        announce: Callable[[Swap], None],
    ) -> None:
        self.rollout = rollout
        self._sources, self._trials, self._metrics, self._announce = sources, trials, metrics, announce
        self._alias = Repeated(sources.registry.current, GIVE_UP_SECONDS)
        self._backoff, self._losses = Backoff(sources.store.fingerprint), Losses(sources.store.loss)
        self._last_known_good = LastKnownGood(sources.cache)
        self._problem: str | None = NOT_ASKED
        self._has_begun = self._has_served = False

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
        """Note that the service ends in good order: what is being tried has no part in that."""
        self._trials.end()

    def look(self) -> None:
        """Serve the version behind the alias, if it is another one and it can be served."""
        try:
            self._look()
        except Exception:  # whatever it is, it must neither end the thread nor what is being served
            log.exception("looking for the model failed")
            self._report("looking for the model failed; the log has the details")

    def _look(self) -> None:
        self._sources.hold()
        if not self._has_begun:
            self._begin()
        try:
            version = self._current()
        except RegistryUnreachable as error:
            self._out_of_reach(error)
            return
        except NoModel as error:
            self._backoff.clear()
            self._metrics.looked()
            self._without(error)
            return
        self._metrics.looked()
        served, failure = self.rollout.served, self._backoff.of(version)
        if served and served.version == version:
            self._stay_with(version)
        elif failure is None:
            self._turn_from(version)
            self._take_up(version, self._sources.fresh_candidate)
        elif self._backoff.is_due(failure):
            self._forget(version)  # it is to be tried as it is now, not as it was fetched
            self._take_up(version, self._sources.candidate)
        else:
            self._report(failure.problem)

    def _out_of_reach(self, error: RegistryUnreachable) -> None:
        """Go on while nobody knows what is behind the alias."""
        self._go_on_with_last(str(error))

    def _without(self, error: NoModel) -> None:
        """Go on where nothing is behind the alias."""
        self._go_on_with_last(error.any_more if self._has_served else str(error))

    def _turn_from(self, version: ModelVersion) -> None:
        """Make ready for another version, which is about to be tried for the first time: what is served goes on."""

    def _begin(self) -> None:
        """Serve what was served last before anybody is asked: what is behind the alias now may hang, or end the service."""
        self._has_begun = True
        self._serve_last()
        if self.rollout.served:
            self._report(self._problem)
        if ended := self._trials.left_behind():
            version, times = ended
            problem = f"the service ended while version {version.version} of {version.name} was being tried"
            # Once it may have been something else that ended it.
            spares, times = self.rollout.served is not None and times > 1, max(1, times - 1)
            self._backoff.note(Failure(version, problem, is_deadly=True, spares=spares, times=times))
            self._backoff.note_files()

    def _current(self) -> ModelVersion:
        """Return the version behind the alias; one that hangs is not asked at each look, and waited for no longer."""
        try:
            return self._alias.answer(LOOK_SECONDS)
        except TimeoutError:
            raise RegistryUnreachable(f"MLflow does not answer within {LOOK_SECONDS:.0f} s") from None

    def _go_on_with_last(self, problem: str) -> None:
        """Say why the alias is not followed; what was served last goes on, after a start as well."""
        if self.rollout.served is None:
            self._serve_last()
        self._report(problem)

    def _stay_with(self, version: ModelVersion) -> None:
        """Go on with the version that is served, and pass on what is said of it now."""
        if self._backoff.failure:
            self._forget(self._backoff.failure.version)
        self._backoff.clear()
        self.rollout.remind()
        served = self.rollout.served
        if served and (served.version.description, served.version.tags) != (version.description, version.tags):
            self.rollout.update(version=version, metrics=self._sources.metrics_of(version) or served.metrics)
            self._remember()
        elif self._last_known_good.is_due():
            self._remember()
        self._report(None)

    def _take_up(self, version: ModelVersion, candidate_of: Callable[[ModelVersion], Candidate]) -> None:
        """Try a version: fetch and verify it, and let all workers change to it."""
        self._trials.begin(version)
        survived = True
        try:
            self.rollout.begin(version)
            candidate = candidate_of(version)
            if not self.rollout.goes_on_as(candidate):
                self._change_to(candidate, self._sources.metrics_of(version))
        except FetchFailed as error:
            self._fail(version, str(error))
        except ModelRefused as error:
            survived = not isinstance(error, ProcessEnded)
            self._forget(version)
            self._metrics.refused(version)
            self._fail(version, f"version {version.version} of {version.name} is refused: {error}", not survived)
        except Exception as error:  # whatever it is, it must not be met again at each look
            log.exception("taking up version %s failed", version.version)
            self._forget(version)
            self._fail(
                version, f"version {version.version} cannot be taken up: {type(error).__name__}: {first_line(error)}"
            )
        else:
            self._backoff.clear()
            self._report(None)
            self._remember()
        finally:
            self._trials.end(survived)

    def _change_to(self, candidate: Candidate, metrics: dict[str, float]) -> None:
        swap = self.rollout.change_to(candidate, metrics)
        self._has_served = True
        self._metrics.swapped(candidate.version)
        self._announce(swap)

    def _forget(self, version: ModelVersion) -> None:
        """Let go of a version's files, unless they are what is served."""
        served = self.rollout.served
        if served is None or served.version != version:
            self._sources.cache.forget(version)

    def _fail(self, version: ModelVersion, problem: str, is_deadly: bool = False) -> None:
        is_first = self._backoff.of(version) is None
        self._backoff.note(Failure(version, problem, is_deadly, spares=self.rollout.served is not None))
        self._go_on_with_last(problem)
        if is_first:
            self._backoff.note_files()

    def _remember(self) -> None:
        """Note what is served for a start without the registry."""
        served = self.rollout.served
        if served and (folder := self._last_known_good.note(served.version, served.metrics)):
            self.rollout.update(folder=str(folder))

    def _serve_last(self) -> None:
        """Serve what was served last, from the cache, where that is worth a try."""
        if (last := self._last_known_good.found()) is None:
            return
        version, metrics = last
        self._has_served = True
        try:
            candidate = self._sources.candidate(version)
            # What it takes is what those who ask rely on, whether it can be served or not.
            self.rollout.expect(candidate.description)
            self._change_to(candidate, metrics)
        except (ModelRefused, FetchFailed) as error:
            log.warning("the copy of version %s in the cache cannot be used: %s", version.version, error)
            self._last_known_good.put_off()
        except Exception:  # whatever it is, it must neither keep the alias from being followed nor be met at each look
            log.exception("the copy of version %s in the cache cannot be used", version.version)
            self._last_known_good.put_off()

    def _report(self, problem: str | None) -> None:
        """Tell the workers what is wrong, and log it when it changes, not at each look."""
        served = self.rollout.served
        problem = problem and first_line(problem, MOST_PROBLEM)
        if served and (lost := self._losses.look(served)):
            lost = f"version {served.version.version} {lost}"
            problem = f"{problem}; {lost}" if problem else lost
        problem = problem and visible(problem, MOST_PROBLEM)
        if problem != self._problem and problem is not None:
            log.warning("%s; %s", problem, "serving goes on" if served else "waiting")
        self._problem = problem
        self._metrics.report(served.version if served else None, problem)
        self.rollout.report(problem)  # last: who reads of it in an answer may look at the metrics
