"""Where versions come from, where they are kept, and who verifies them."""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from contract.mlmodel.manifest import Description
from contract.version_files import VersionFiles

from inference.errors import ModelRefused, ProcessEnded, RegistryUnreachable
from inference.model.version import ModelVersion
from inference.rollout import model_cache
from inference.rollout.background_call import LOOK_SECONDS, within
from inference.rollout.registry import Registry
from inference.rollout.two_phase import Candidate

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
