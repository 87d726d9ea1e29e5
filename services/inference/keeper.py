"""Keeps the model that is served: follows the alias, and goes on with what it has when anything fails."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from inference.cache import ModelCache
from inference.errors import FetchFailed, ModelRefused, NoModel, RegistryUnreachable
from inference.model import Model
from inference.registry import ModelVersion, Registry

# A worker takes requests after its first look, so that the one beside it, which fetches the model for both, is not
# ready before it; a look that takes longer goes on while the worker says that it is not ready.
FIRST_LOOK_SECONDS = 20

log = logging.getLogger("inference")


@dataclass(frozen=True)
class Served:
    """A model, the version it is, and since when it answers."""

    model: Model
    version: ModelVersion
    since: datetime = field(default_factory=lambda: datetime.now(UTC))


class ModelKeeper:
    """Holds the model of one worker. `served` is replaced whole, so each request sees one version."""

    def __init__(
        self,
        registry: Registry,
        cache: ModelCache,
        load: Callable[[Path, ModelVersion], Model],
        announce: Callable[[Served], None],
    ) -> None:
        self.served: Served | None = None
        self.problem: str | None = "the registry has not been asked yet"
        """why the version behind the alias is not what is served, None where it is"""
        self._registry, self._cache, self._load, self._announce = registry, cache, load, announce
        self._refused: tuple[ModelVersion, str] | None = None

    def follow(self, poll_seconds: float) -> None:
        """Look now, and then again and again in the background."""
        looked = threading.Event()

        def look_forever() -> None:
            while True:
                self.look()
                looked.set()
                pause.wait(poll_seconds)

        pause = threading.Event()
        threading.Thread(target=look_forever, name="model-keeper", daemon=True).start()
        looked.wait(FIRST_LOOK_SECONDS)

    def look(self) -> None:
        """Serve the version behind the alias, if it is another one and it can be served."""
        try:
            self._look()
        except Exception:  # whatever it is, it must neither end the thread nor what is being served
            log.exception("looking for the model failed")
            self._report("looking for the model failed; the log has the details")

    def _look(self) -> None:
        try:
            version = self._registry.current()
        except RegistryUnreachable as error:
            if self.served is None:
                self._serve_last()
            self._report(str(error))
            return
        except NoModel as error:
            self._refused = None
            self._report(str(error))
            return
        if self.served and self.served.version == version:
            self._refused = None
            self._report(None)
        elif self._refused and self._refused[0] == version:
            self._report(self._refused[1])
        else:
            self._change_to(version)

    def _change_to(self, version: ModelVersion) -> None:
        self._refused = None
        try:
            model = self._load_whole(version)
        except FetchFailed as error:
            self._report(str(error))
        except ModelRefused as error:
            self._refused = version, f"version {version.version} of {version.name} is refused: {error}"
            self._report(self._refused[1])
        else:
            self._serve(model, version)
            self._report(None)
            self._remember(version)

    def _load_whole(self, version: ModelVersion) -> Model:
        """Load a version; where the copy in the cache turns out to be unusable, fetch it once more."""
        try:
            return self._load_copy(version)
        except ModelRefused:
            self._cache.forget(version)
            return self._load_copy(version)

    def _load_copy(self, version: ModelVersion) -> Model:
        with self._cache.reading(version) as folder:
            return self._load(folder, version)

    def _remember(self, version: ModelVersion) -> None:
        try:
            self._cache.remember(version)
        except FetchFailed as error:  # a full disk must not keep a rollback from being served
            log.warning("a start without the registry would not serve version %s: %s", version.version, error)

    def _serve_last(self) -> None:
        version = self._cache.last_served()
        if version is None:
            return
        try:
            self._serve(self._load_copy(version), version)
        except (ModelRefused, FetchFailed) as error:
            log.warning("the copy of version %s in the cache cannot be used: %s", version.version, error)

    def _serve(self, model: Model, version: ModelVersion) -> None:
        self.served = Served(model, version)
        self._announce(self.served)

    def _report(self, problem: str | None) -> None:
        """Remember what is wrong, and log it when it changes, not at each look."""
        if problem != self.problem and problem is not None:
            log.warning("%s; %s", problem, "serving goes on" if self.served else "waiting")
        self.problem = problem
