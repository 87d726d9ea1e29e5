"""Follows the alias for all workers of the service: looks, fetches, checks, and lets them change together.

One process of the service talks to the registry. A version that it finds behind the alias is fetched into the cache, its
signature and manifest are verified, and its input is compared with that of the version being served; then every worker
loads it aside, tries its golden rows and says so; and only when all of them have, all are told to change. Where anything
fails, what is served goes on, and the reason is told once.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from inference import contract
from inference.channel import Deliver, Offer, State
from inference.contract import Description
from inference.errors import FetchFailed, ModelRefused, NoModel, RegistryUnreachable
from inference.metrics import FollowerMetrics
from inference.registry import ModelVersion, Registry

# Within which all workers have to load a version.
LOAD_SECONDS = 120
SWAP_SECONDS = 10
# The registry may be far away or gone at a start: after that long the version that was served last is taken up first.
FIRST_LOOK_SECONDS = 1.0
# A version that was refused, or did not arrive, is tried again after these, longer each time.
FIRST_RETRY_SECONDS = 5.0
LAST_RETRY_SECONDS = 300.0
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


class Audience(Protocol):
    """Who serves what is found."""

    def ask(self, what: str, offer: Offer, seconds: float) -> list[dict[str, Any]]: ...

    def remind(self, offer: Offer) -> int: ...

    def tell(self, message: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class Failure:
    """A version that could not be taken up, why, and when it is tried again."""

    version: ModelVersion
    problem: str
    pause: float
    due: float
    outline: str | None = None
    """what its files looked like from outside, where that is known: when it changes, they are worth another look"""

    def is_about(self, version: ModelVersion) -> bool:
        return self.version == version


class RegistryFollower:
    """Keeps what is served in step with the alias."""

    def __init__(
        self,
        registry: Registry,
        cache: Cache,
        check: Callable[[Path, ModelVersion], None],
        outline: Callable[[ModelVersion], str | None],
        metrics: FollowerMetrics,
        announce: Callable[[Offer, int, float], None],
        allow_schema_change: bool,
    ) -> None:
        self._registry, self._cache, self._check, self._metrics = registry, cache, check, metrics
        self._announce, self._allow_schema_change = announce, allow_schema_change
        self._outline = outline
        self.audience: Audience | None = None
        self._served: Offer | None = None
        self._description: Description | None = None
        self._state = State("the registry has not been asked yet")
        self._failure: Failure | None = None
        # When the version that was served last is worth another try: a copy that cannot be used is not tried at each look.
        self._last_due = float("-inf")
        self._remind_due = float("-inf")
        self._outline_due = float("-inf")
        self._offers = 0
        self._has_looked = False
        # Held while the workers change, and while one that joins is told what to serve: it misses no change between.
        self._changing = threading.Lock()

    def follow(self, poll_seconds: float, pause: Callable[[float], object] = time.sleep) -> None:
        """Look again and again, for ever."""
        while True:
            self.look()
            pause(poll_seconds * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - no secret

    def greet(self, deliver: Deliver) -> None:
        """Tell a worker that joins what to serve, from a copy that is looked through once more, and what there is to say."""
        with self._changing:
            greeting = [{"state": self._state.as_dict()}] if self._has_looked else []
            if self._served:
                try:
                    folder, _ = self._checked(self._served.version)
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
        try:
            version = self._registry.current() if self._has_looked else self._first_current()
        except RegistryUnreachable as error:
            if self._served is None:
                self._serve_last()
            self._report(str(error))
            return
        except NoModel as error:
            self._failure = None
            self._metrics.looked()
            self._report(str(error))
            return
        self._metrics.looked()
        if self._served and self._served.version == version:
            self._failure = None
            self._remind()
            self._describe(version)
        elif self._failure is None or not self._failure.is_about(version):
            self._change_to(version, self._checked_again)
        elif time.monotonic() >= self._failure.due or self._has_changed(self._failure):
            self._cache.forget(version)  # it is to be tried as it is now, not as it was fetched
            self._change_to(version, self._checked)
        else:
            self._report(self._failure.problem)

    def _has_changed(self, failure: Failure) -> bool:
        """Tell whether a version's files look otherwise than when it failed."""
        if time.monotonic() < self._outline_due:
            return False
        outline = self._outline_of(failure.version)
        if outline is None or outline == failure.outline:
            return False
        # Noted before they are fetched, so that a change in the middle of it is one more change.
        self._failure = replace(failure, outline=outline)
        return True

    def _outline_of(self, version: ModelVersion) -> str | None:
        if (outline := self._outline(version)) is None:
            self._outline_due = time.monotonic() + OUTLINE_PAUSE_SECONDS
        return outline

    def _remind(self) -> None:
        """Let workers that could not change with the others try again, now and then."""
        if self._served and self.audience and time.monotonic() >= self._remind_due:
            with self._changing:
                behind = self.audience.remind(self._served)
            self._remind_due = time.monotonic() + (FIRST_RETRY_SECONDS if behind else 0.0)

    def _first_current(self) -> ModelVersion:
        """Look for the first time; a registry that does not answer at once must not keep the cache from being used."""
        if last := self._cache.last_served():
            self._description = self._description_of(last[0])
        looks = ThreadPoolExecutor(1)
        try:
            return looks.submit(self._registry.current).result(FIRST_LOOK_SECONDS if last else None)
        except TimeoutError:
            raise RegistryUnreachable(f"MLflow does not answer within {FIRST_LOOK_SECONDS:.0f} s") from None
        finally:
            looks.shutdown(wait=False)

    def _description_of(self, version: ModelVersion) -> Description | None:
        try:
            return contract.read(self._cache.folder_of(version))
        except (FetchFailed, ModelRefused):
            return None

    def _describe(self, version: ModelVersion) -> None:
        """Pass on what has changed about the version that is served: its description, tags and metrics."""
        served = self._served
        if served is not None and (
            served.version.description != version.description or served.version.tags != version.tags
        ):
            self._served = replace(served, version=version, metrics=self._metrics_of(version) or served.metrics)
            self._remember()
        self._report(None)

    def _change_to(self, version: ModelVersion, checked: Callable[[ModelVersion], tuple[Path, Description]]) -> None:
        try:
            folder, description = checked(version)
            self._offer(version, folder, description, self._metrics_of(version))
        except FetchFailed as error:
            self._fail(version, str(error))
        except ModelRefused as error:
            self._metrics.refused(version)
            self._fail(version, f"version {version.version} of {version.name} is refused: {error}")
        except Exception as error:  # whatever it is, it must not be met again at each look
            log.exception("taking up version %s failed", version.version)
            self._fail(version, f"version {version.version} cannot be taken up: {type(error).__name__}: {error}")
        else:
            self._failure = None
            self._report(None)
            self._remember()

    def _fail(self, version: ModelVersion, problem: str) -> None:
        again = self._failure is not None and self._failure.is_about(version)
        pause = min(2 * self._failure.pause, LAST_RETRY_SECONDS) if again and self._failure else FIRST_RETRY_SECONDS
        outline = self._failure.outline if again and self._failure else None
        self._failure = Failure(version, problem, pause, time.monotonic() + pause, outline)
        if self._served is None:
            self._serve_last()
        self._report(problem)
        if not again:
            self._failure = replace(self._failure, outline=self._outline_of(version))

    def _checked_again(self, version: ModelVersion) -> tuple[Path, Description]:
        """Return a version's files, checked; where the copy in the cache turns out to be unusable, fetch it once more."""
        try:
            return self._checked(version)
        except ModelRefused:
            self._cache.forget(version)
            return self._checked(version)

    def _checked(self, version: ModelVersion) -> tuple[Path, Description]:
        folder = self._cache.folder_of(version)
        self._check(folder, version)
        return folder, contract.read(folder)

    def _offer(self, version: ModelVersion, folder: Path, description: Description, metrics: dict[str, float]) -> None:
        """Let all workers load a version, and then change to it together; raise ModelRefused where one cannot."""
        known = self._description
        if known and not self._allow_schema_change and (change := contract.breaking_change(known, description)):
            raise ModelRefused(
                f"{change}; that would break requests that are right today, and ALLOW_SCHEMA_CHANGE=true lets it in"
            )
        self._offers += 1
        since = datetime.now(UTC).isoformat(timespec="seconds")
        offer = Offer(self._offers, str(folder), version, metrics, since)
        audience = self.audience
        assert audience is not None, "somebody has to serve what is found"  # noqa: S101
        answers = audience.ask("load", offer, LOAD_SECONDS)
        if refusals := [answer["reason"] for answer in answers if "refused" in answer]:
            audience.tell({"drop": offer.id})
            raise ModelRefused(refusals[0])
        if not answers:
            raise FetchFailed(f"no worker is there to load {version.uri}")
        with self._changing:
            answers = audience.ask("serve", offer, SWAP_SECONDS)
            self._served, self._description = offer, description
        self._metrics.swapped(version)
        times = [answer["at"] for answer in answers if "at" in answer]
        self._announce(offer, len(times), (max(times) - min(times)) / 1e6 if times else 0.0)

    def _metrics_of(self, version: ModelVersion) -> dict[str, float]:
        try:
            return self._registry.metrics(version.run_id) if version.run_id else {}
        except RegistryUnreachable as error:  # they are shown, and nothing hangs on them
            log.warning("the metrics of version %s cannot be had: %s", version.version, error)
            return {}

    def _remember(self) -> None:
        if self._served is None:
            return
        try:
            self._cache.remember(self._served.version, self._served.metrics)
        except FetchFailed as error:  # a full disk must not keep a rollback from being served
            log.warning(
                "a start without the registry would not serve version %s: %s", self._served.version.version, error
            )

    def _serve_last(self) -> None:
        if time.monotonic() < self._last_due or (last := self._cache.last_served()) is None:
            return
        version, metrics = last
        try:
            folder, description = self._checked(version)
            self._offer(version, folder, description, metrics)
        except (ModelRefused, FetchFailed) as error:
            log.warning("the copy of version %s in the cache cannot be used: %s", version.version, error)
            self._last_due = time.monotonic() + LAST_RETRY_SECONDS

    def _report(self, problem: str | None) -> None:
        """Tell the workers what is wrong, and log it when it changes, not at each look."""
        if problem != self._state.problem and problem is not None:
            log.warning("%s; %s", problem, "serving goes on" if self._served else "waiting")
        served = self._served
        state = State(problem, served.version, served.metrics) if served else State(problem)
        with self._changing:
            if state.as_dict() != self._state.as_dict():  # versions are equal whatever is said of them
                self._state = state
                if self.audience:
                    self.audience.tell({"state": state.as_dict()})
        self._metrics.report(served.version if served else None, problem)
