"""The poller with all that it needs, from the settings."""

import logging
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from contract.file_names import SIGNATURE
from contract.tracking.challenge import ALIAS

from inference.errors import FetchFailed, NoModel, RegistryUnreachable, VersionLost
from inference.model.version import ModelVersion
from inference.rollout import download, registry
from inference.rollout.background_call import LOOK_SECONDS, within
from inference.rollout.challenger.eligibility import ChallengerRegistry, Eligibility, Returns
from inference.rollout.challenger.poller import ChallengerPoller, ChallengerRollout
from inference.rollout.model_cache import ModelCache
from inference.rollout.other_models import OtherModels
from inference.rollout.polling.deployer import Deployer
from inference.rollout.polling.loss_check import Losses
from inference.rollout.polling.registry_poller import RegistryPoller
from inference.rollout.polling.sources import Sources
from inference.rollout.polling.status import ServedStatus
from inference.rollout.polling.trials import Trials
from inference.rollout.registry import Registry
from inference.rollout.two_phase import Rollout, Swap, Workers
from inference.settings import Settings
from inference.telemetry.metrics import ChallengerMetrics, PollerMetrics
from inference.trust import Trust
from inference.verification.client import Verifier

log = logging.getLogger("inference")


def verifier_of(settings: Settings) -> Verifier:
    """Return what asks the process that verifies versions, where the settings ask for signatures."""
    return Verifier(settings.verifying_key if settings.trust is Trust.SIGNED else None)


def poller_of(settings: Settings, verifier: Verifier, workers: Workers) -> RegistryPoller:
    """Return what keeps the workers in step with the alias that the settings name."""
    found = registry.connect(settings.tracking_uri, settings.model_name, settings.model_alias)

    others = OtherModels(settings.cache_dir, settings.model_name)

    def announce(swap: Swap) -> None:
        version = swap.version
        ui = f" MLflow UI: {settings.mlflow_public_url}." if settings.mlflow_public_url else ""
        log.info(
            "Ready: %s version %s is served. Predictions, and a page to try them: %s.%s",
            version.name,
            version.version,
            settings.public_url,
            ui,
            extra={
                "fields": {"version": version.version, "workers": swap.workers, "window_ms": round(swap.window_ms, 3)}
            },
        )
        others.let_go()

    sources = replace(_sources_of(settings, found, verifier, settings.model_alias), hold=others.hold)
    rollout = Rollout(settings.model_name, workers, sources.cache.folder_of, settings.allow_schema_change)
    trials, metrics = Trials(settings.cache_dir, settings.model_name, settings.model_alias), PollerMetrics()
    deployer = Deployer(sources, rollout, trials, metrics, announce)
    return RegistryPoller(
        sources, rollout, deployer, ServedStatus(rollout, metrics, Losses(sources.store.loss)), metrics
    )


def challenger_poller_of(
    settings: Settings, verifier: Verifier, workers: Workers, champion: Rollout
) -> ChallengerPoller:
    """Return what keeps the workers in step with the alias `challenger`.

    It has a verifier of its own: nobody waits for what a challenger takes to be looked through.
    """
    returns = Returns(settings.cache_dir, settings.model_name)
    eligibility = Eligibility(verifier.check_text if settings.trust is Trust.SIGNED else None, returns)
    found = ChallengerRegistry(registry.connect(settings.tracking_uri, settings.model_name, ALIAS), eligibility)
    sources = _sources_of(settings, found, verifier, ALIAS)

    def announce(swap: Swap) -> None:
        words = "The challenger of %s is version %s from now on; `trainer challenge` says how many requests it answers"
        log.info(words, swap.version.name, swap.version.version)

    rollout = ChallengerRollout(champion, workers, sources.cache.folder_of, eligibility)
    trials, metrics = Trials(settings.cache_dir, settings.model_name, ALIAS), ChallengerMetrics()
    return ChallengerPoller(sources, rollout, Deployer(sources, rollout, trials, metrics, announce), metrics)


def _sources_of(settings: Settings, found: Registry, verifier: Verifier, alias: str) -> Sources:
    is_signed = settings.trust is Trust.SIGNED

    def bring(version: ModelVersion, folder: Path, most: int | None) -> None:
        listed = verifier.listed if is_signed else None
        location = _location_of(found, version)
        download.fetch(
            version, location, settings.tracking_uri, folder, listed, lambda: is_behind_the_alias(found, version), most
        )

    fallback = settings.run_dir / ("fallback" if alias == settings.model_alias else f"fallback-{alias}")
    cache = ModelCache(settings.cache_dir, fallback, settings.model_name, alias, bring)
    return Sources(found, cache, Store(found, settings.tracking_uri, is_signed), verifier.check)


def is_behind_the_alias(found: Registry, version: ModelVersion) -> bool:
    """Tell whether a version is still wanted; where the registry does not say, it is."""
    try:
        return within(LOOK_SECONDS, found.current) == version
    except NoModel:
        return False
    except (RegistryUnreachable, TimeoutError):
        return True


def _location_of(found: Registry, version: ModelVersion) -> str:
    try:
        return within(LOOK_SECONDS, lambda: found.location(version))
    except TimeoutError:
        raise FetchFailed(
            f"{version.uri} could not be found: MLflow does not answer within {LOOK_SECONDS:.0f} s"
        ) from None


class Store:
    """Where versions' files come from, asked how they look without fetching them."""

    def __init__(self, found: Registry, tracking_uri: str, is_signed: bool) -> None:
        self._registry, self._tracking_uri, self._is_signed = found, tracking_uri, is_signed

    def fingerprint(self, version: ModelVersion) -> str | None:
        try:
            return download.fingerprint(self._registry.location(version), self._tracking_uri)
        except FetchFailed:
            return None

    def loss(self, version: ModelVersion, files: Collection[str]) -> str | None:
        lost = self._lost(version, files)
        if lost is not None:
            return f"is served from the cache alone: {lost}"
        try:
            deleted = self._registry.deleted(version)
        except RegistryUnreachable as error:
            raise FetchFailed(f"what is deleted of {version.uri} could not be found: {error}") from error
        return deleted and f"is served, and {deleted}; `cleanup --yes` restores it"

    def _lost(self, version: ModelVersion, files: Collection[str]) -> str | None:
        try:
            location = self._registry.location(version)
        except VersionLost as error:
            return str(error)
        signature = [SIGNATURE] if self._is_signed else []
        return download.loss(location, self._tracking_uri, [*files, *signature])
