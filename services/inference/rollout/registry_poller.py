"""Follows the alias for all workers of the service: looks, fetches, checks, and lets them change together.

One process of the service talks to the registry. At its start it lets what was served last be served first, from the cache.
A version that it finds behind the alias is fetched into the cache; a process of its own verifies its signature and manifest
and reads its papers; its input is compared with that of the version being served; then every worker loads it aside, tries
its golden rows and says so; and only when all of them have, all are told to change. Where anything fails, what is served goes
on, and the reason is told once; what a process did not survive is left alone for longer.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from contract import manifest
from contract.display import visible
from contract.manifest import Description
from contract.version_files import VersionFiles

from inference.errors import FetchFailed, ModelRefused, NoModel, ProcessEnded, RegistryUnreachable
from inference.ipc.channel import Deliver, Offer, State
from inference.model.version import ModelVersion
from inference.rollout.background_call import aside, within
from inference.rollout.backoff import FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS, Failure, failure_of
from inference.rollout.loss_check import Losses
from inference.rollout.registry import Registry
from inference.telemetry.metrics import FollowerMetrics

# Within which all workers have to load a version.
LOAD_SECONDS = 120
SWAP_SECONDS = 10
# How long a look waits for the registry, names that are resolved slowly included.
LOOK_SECONDS = 4.0
# After which a question that hangs is given up and asked anew: MLflow may have recovered, and its connection may not.
GIVE_UP_SECONDS = 3 * LOOK_SECONDS
# How often it is tried to bring what had no room into the cache.
SETTLE_SECONDS = 60.0
MOST_PROBLEM = 1000
NOT_ASKED = "the registry has not been asked yet"
# How long nobody is asked for what a refused version's files look like, once there was no answer: it may be a store that
# hangs, and the questions would pile up in front of it.
OUTLINE_PAUSE_SECONDS = 30.0
# Each look comes earlier or later by up to this share, so that replicas do not look all at once.
JITTER = 0.15

log = logging.getLogger("inference")


class Cache(Protocol):
    def folder_of(self, version: ModelVersion) -> Path: ...

    def forget(self, version: ModelVersion) -> None: ...

    def remember(self, version: ModelVersion, metrics: dict[str, float]) -> None: ...

    def last_served(self) -> tuple[ModelVersion, dict[str, float]] | None: ...


class Store(Protocol):
    """What can be told of a version's files without fetching them."""

    def outline(self, version: ModelVersion) -> str | None:
        """Return a text that changes with the files; None where nothing can be told."""

    def loss(self, version: ModelVersion, files: Collection[str]) -> str | None:
        """Say what is gone of them, None for nothing; raise FetchFailed where that cannot be told."""


class Trials(Protocol):
    """What is noted on disk of the version that is being tried."""

    def left_behind(self) -> tuple[ModelVersion, int] | None: ...

    def begin(self, version: ModelVersion) -> None: ...

    def end(self, survived: bool = True) -> None: ...


class Audience(Protocol):
    """Who serves what is found."""

    def ask(self, what: str, offer: Offer, seconds: float) -> list[dict[str, Any]]: ...

    def remind(self, offer: Offer) -> int: ...

    def tell(self, message: dict[str, Any]) -> None: ...


class RegistryFollower:
    """Keeps what is served in step with the alias."""

    def __init__(
        self,
        registry: Registry,
        cache: Cache,
        check: Callable[[Path, ModelVersion], tuple[VersionFiles, Description]],
        store: Store,
        trials: Trials,
        metrics: FollowerMetrics,
        announce: Callable[[Offer, int, float], None],
        allow_schema_change: bool,
    ) -> None:
        self._registry, self._cache, self._check, self._metrics = registry, cache, check, metrics
        self._announce, self._allow_schema_change = announce, allow_schema_change
        self._store, self._trials, self._losses = store, trials, Losses(store.loss)
        self.audience: Audience | None = None
        self._served: Offer | None = None
        self._description: Description | None = None
        self._state = State(NOT_ASKED)
        self._problem: str | None = NOT_ASKED
        self._failure: Failure | None = None
        # When the version that was served last is worth another try: a copy that cannot be used is not tried at each look.
        self._last_due = float("-inf")
        self._remind_due = float("-inf")
        self._outline_due = float("-inf")
        # When it is tried again to bring what is served into the cache; None where it is there.
        self._settle_due: float | None = None
        self._unsettled: str | None = None
        self._offers = 0
        self._asked: Future[ModelVersion] | None = None
        self._asked_at = float("-inf")
        self._has_begun = self._has_looked = self._has_served = False
        # Held while the workers change, and while one that joins is told what to serve: it misses no change between.
        self._changing = threading.Lock()

    def follow(self, poll_seconds: float, pause: Callable[[float], object] = time.sleep) -> None:
        """Look again and again, for ever."""
        while True:
            self.look()
            pause(poll_seconds * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - no secret

    def end(self) -> None:
        """Note that the service ends in good order: what is being tried has no part in that."""
        self._trials.end()

    def greet(self, deliver: Deliver) -> None:
        """Tell a worker that joins what to serve, from a copy that is whole, and what there is to say.

        It loads nothing but what was verified: the offer has the digest of each file.
        """
        with self._changing:
            is_known = self._has_looked or self._served is not None
            greeting = [{"state" if is_known else "note": self._state.as_dict()}]
            if self._served:
                try:
                    folder = self._cache.folder_of(self._served.version)
                    self._served = replace(self._served, folder=str(folder))
                    greeting = [{"serve": self._served.as_dict()}, *greeting]
                except (FetchFailed, ModelRefused) as error:
                    log.warning("a worker that has just started cannot serve: %s", error)
                    state = replace(self._state, problem=f"a worker that has just started cannot serve: {error}")
                    greeting = [{"state": state.as_dict()}]
            deliver(greeting)

    def look(self) -> None:
        """Serve the version behind the alias, if it is another one and it can be served."""
        try:
            self._look()
        except Exception:  # whatever it is, it must neither end the thread nor what is being served
            log.exception("looking for the model failed")
            self._report("looking for the model failed; the log has the details")
        self._has_looked = True

    def _look(self) -> None:
        if not self._has_begun:
            self._begin()
        try:
            version = self._current()
        except RegistryUnreachable as error:
            self._go_on_with_last(str(error))
            return
        except NoModel as error:
            self._failure = None
            self._metrics.looked()
            self._go_on_with_last(error.any_more if self._has_served else str(error))
            return
        self._metrics.looked()
        if self._served and self._served.version == version:
            if self._failure:
                self._forget(self._failure.version)
            self._failure = None
            self._remind()
            self._describe(version)
        elif self._failure is None or not self._failure.is_about(version):
            self._change_to(version, self._checked_again)
        elif time.monotonic() >= self._failure.due or self._has_changed(self._failure):
            self._forget(version)  # it is to be tried as it is now, not as it was fetched
            self._change_to(version, self._checked)
        else:
            self._report(self._failure.problem)

    def _begin(self) -> None:
        """Serve what was served last before anybody is asked: what is behind the alias now may hang, or end the service."""
        self._has_begun = True
        self._serve_last()
        if self._served:
            self._report(self._problem)
        if ended := self._trials.left_behind():
            version, times = ended
            problem = f"the service ended while version {version.version} of {version.name} was being tried"
            # Once it may have been something else that ended it.
            spares, times = self._served is not None and times > 1, max(1, times - 1)
            failure = failure_of(version, problem, None, is_deadly=True, spares=spares, times=times)
            self._failure = replace(failure, outline=self._outline_of(version))

    def _go_on_with_last(self, problem: str) -> None:
        """Say why the alias is not followed; what was served last goes on, after a start as well."""
        if self._served is None:
            self._serve_last()
        self._report(problem)

    def _current(self) -> ModelVersion:
        """Return the version behind the alias; one that hangs is not asked at each look, and waited for no longer."""
        if self._asked is None or self._asked.done() or time.monotonic() - self._asked_at >= GIVE_UP_SECONDS:
            self._asked, self._asked_at = aside(self._registry.current), time.monotonic()
        try:
            return self._asked.result(LOOK_SECONDS)
        except TimeoutError:
            raise RegistryUnreachable(f"MLflow does not answer within {LOOK_SECONDS:.0f} s") from None

    def _has_changed(self, failure: Failure) -> bool:
        """Tell whether a version's files look otherwise than when it failed."""
        if time.monotonic() < self._outline_due:
            return False
        outline = self._outline_of(failure.version)
        if outline is None or outline == failure.outline:
            return False
        # Noted before they are fetched, so that a change in the middle of it is one more change.
        self._failure = replace(failure, outline=outline)
        return failure.outline is not None or not failure.is_deadly

    def _outline_of(self, version: ModelVersion) -> str | None:
        try:
            outline = within(LOOK_SECONDS, lambda: self._store.outline(version))
        except TimeoutError:
            outline = None
        if outline is None:
            self._outline_due = time.monotonic() + OUTLINE_PAUSE_SECONDS
        return outline

    def _remind(self) -> None:
        """Let workers that could not change with the others try again, now and then."""
        if self._served and self.audience and time.monotonic() >= self._remind_due:
            with self._changing:
                behind = self.audience.remind(self._served)
            self._remind_due = time.monotonic() + (FIRST_RETRY_SECONDS if behind else 0.0)

    def _describe(self, version: ModelVersion) -> None:
        """Pass on what has changed about the version that is served: its description, tags and metrics."""
        served = self._served
        if served is not None and (
            served.version.description != version.description or served.version.tags != version.tags
        ):
            self._served = replace(served, version=version, metrics=self._metrics_of(version) or served.metrics)
            self._remember()
        elif self._settle_due is not None and time.monotonic() >= self._settle_due:
            self._remember()
        self._report(None)

    def _change_to(
        self, version: ModelVersion, checked: Callable[[ModelVersion], tuple[VersionFiles, Description]]
    ) -> None:
        self._trials.begin(version)
        survived = True
        try:
            self._say(f"version {version.version} of {version.name} is being fetched and checked")
            files, description = checked(version)
            if not self._goes_on_as(version, files):
                self._offer(version, files, description, self._metrics_of(version))
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
            self._fail(version, f"version {version.version} cannot be taken up: {type(error).__name__}: {error}")
        else:
            self._failure = None
            self._report(None)
            self._remember()
        finally:
            self._trials.end(survived)

    def _forget(self, version: ModelVersion) -> None:
        """Let go of a version's files, unless they are what is served."""
        if self._served is None or self._served.version != version:
            self._cache.forget(version)

    def _goes_on_as(self, version: ModelVersion, files: VersionFiles) -> bool:
        """Tell whether a version is the one that is served, with the same files, and is only said to be signed otherwise.

        Else whoever writes that tag would make all workers load at each look what they have.
        """
        served = self._served
        if served is None or replace(served.version, signed_by=version.signed_by) != version:
            return False
        if served.files != dict(files.digests):
            return False
        with self._changing:
            self._served = replace(served, version=version, folder=str(files.folder))
        return True

    def _fail(self, version: ModelVersion, problem: str, is_deadly: bool = False) -> None:
        again = self._failure is not None and self._failure.is_about(version)
        self._failure = failure_of(version, problem, self._failure, is_deadly, spares=self._served is not None)
        if self._served is None:
            self._serve_last()
        self._report(problem)
        if not again:
            self._failure = replace(self._failure, outline=self._outline_of(version))

    def _checked_again(self, version: ModelVersion) -> tuple[VersionFiles, Description]:
        """Return a version's files, checked; where the copy in the cache turns out to be unusable, fetch it once more."""
        folder = self._cache.folder_of(version)
        try:
            return self._check(folder, version)
        except ProcessEnded:
            raise
        except ModelRefused:
            self._cache.forget(version)
            return self._checked(version)

    def _checked(self, version: ModelVersion) -> tuple[VersionFiles, Description]:
        return self._check(self._cache.folder_of(version), version)

    def _offer(
        self, version: ModelVersion, files: VersionFiles, description: Description, metrics: dict[str, float]
    ) -> None:
        """Let all workers load a version, and then change to it together; raise ModelRefused where one cannot."""
        known = self._description
        if known and not self._allow_schema_change and (change := manifest.breaking_change(known, description)):
            raise ModelRefused(
                f"{change}; that would break requests that are right today, and ALLOW_SCHEMA_CHANGE=true lets it in"
            )
        self._offers += 1
        since = datetime.now(UTC).isoformat(timespec="seconds")
        offer = Offer(self._offers, str(files.folder), version, metrics, since, dict(files.digests))
        audience = self.audience
        assert audience is not None, "somebody has to serve what is found"  # noqa: S101
        answers = audience.ask("load", offer, LOAD_SECONDS)
        if refusals := [answer for answer in answers if "refused" in answer]:
            audience.tell({"drop": offer.id})
            died = [answer for answer in refusals if answer.get("ended")]
            raise ProcessEnded(died[0]["reason"]) if died else ModelRefused(refusals[0]["reason"])
        if not answers:
            raise FetchFailed(f"no worker is there to load {version.uri}")
        with self._changing:
            answers = audience.ask("serve", offer, SWAP_SECONDS)
            self._served, self._description, self._has_served = offer, description, True
        self._metrics.swapped(version)
        times = [answer["at"] for answer in answers if "at" in answer]
        self._announce(offer, len(times), (max(times) - min(times)) / 1e6 if times else 0.0)

    def _metrics_of(self, version: ModelVersion) -> dict[str, float]:
        try:
            return within(LOOK_SECONDS, lambda: self._registry.metrics(version.run_id)) if version.run_id else {}
        except (RegistryUnreachable, TimeoutError) as error:  # they are shown, and nothing hangs on them
            log.warning("the metrics of version %s cannot be had: %s", version.version, error)
            return {}

    def _remember(self) -> None:
        """Note in the cache what is served; where it has no room there, say what a start would serve in its place, once."""
        served = self._served
        if served is None:
            return
        try:
            self._cache.remember(served.version, served.metrics)
        except FetchFailed as error:  # a full disk must not keep a rollback from being served
            self._settle_due = time.monotonic() + SETTLE_SECONDS
            if (unsettled := f"{served.version.version}: {error}") != self._unsettled:
                last = self._cache.last_served()
                others = f"version {last[0].version}" if last else "nothing"
                log.warning(
                    "a start without the registry would serve %s, and not version %s: %s",
                    others,
                    served.version.version,
                    error,
                )
                self._unsettled = unsettled
            return
        if self._settle_due is not None:  # its files have moved
            folder = str(self._cache.folder_of(served.version))
            with self._changing:
                self._served = replace(served, folder=folder)
        self._settle_due = self._unsettled = None

    def _serve_last(self) -> None:
        if time.monotonic() < self._last_due or (last := self._cache.last_served()) is None:
            return
        version, metrics = last
        self._has_served = True
        try:
            files, description = self._checked(version)
            # What it takes is what those who ask rely on, whether it can be served or not.
            self._description = self._description or description
            self._offer(version, files, description, metrics)
        except (ModelRefused, FetchFailed) as error:
            log.warning("the copy of version %s in the cache cannot be used: %s", version.version, error)
            self._last_due = time.monotonic() + LAST_RETRY_SECONDS
        except Exception:  # whatever it is, it must neither keep the alias from being followed nor be met at each look
            log.exception("the copy of version %s in the cache cannot be used", version.version)
            self._last_due = time.monotonic() + LAST_RETRY_SECONDS

    def _say(self, what: str) -> None:
        """Tell the workers what is going on, as long as they have nothing to serve."""
        if self._served is not None:
            return
        with self._changing:
            self._state = State(what)
            if self.audience:
                self.audience.tell({"note": self._state.as_dict()})

    def _report(self, problem: str | None) -> None:
        """Tell the workers what is wrong, and log it when it changes, not at each look."""
        served = self._served
        if served and (lost := self._losses.look(served)):
            lost = f"version {served.version.version} is served from the cache alone: {lost}"
            problem = f"{problem}; {lost}" if problem else lost
        problem = problem and visible(problem, MOST_PROBLEM)
        if problem != self._problem and problem is not None:
            log.warning("%s; %s", problem, "serving goes on" if self._served else "waiting")
        self._problem = problem
        state = State(problem, served.version, served.metrics) if served else State(problem)
        with self._changing:
            if state.as_dict() != self._state.as_dict():  # versions are equal whatever is said of them
                self._state = state
                if self.audience:
                    self.audience.tell({"state": state.as_dict()})
        self._metrics.report(served.version if served else None, problem)
