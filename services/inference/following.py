"""The follower with all that it needs, from the settings."""

import logging
from pathlib import Path

from inference import fetch, registry
from inference.cache import ModelCache
from inference.channel import Offer
from inference.errors import FetchFailed
from inference.follower import RegistryFollower
from inference.metrics import FollowerMetrics
from inference.registry import ModelVersion
from inference.settings import Settings
from inference.signature import check_signature
from inference.trust import Trust

log = logging.getLogger("inference")


def follower_of(settings: Settings) -> RegistryFollower:
    """Return a follower of the alias that the settings name."""
    found = registry.connect(settings.tracking_uri, settings.model_name, settings.model_alias)

    def bring(version: ModelVersion, folder: Path) -> None:
        fetch.fetch(version, found.location(version), settings.tracking_uri, folder)

    def outline(version: ModelVersion) -> str | None:
        try:
            return fetch.outline(found.location(version), settings.tracking_uri)
        except FetchFailed:
            return None

    def check(folder: Path, version: ModelVersion) -> None:
        if settings.trust is Trust.SIGNED:
            check_signature(folder, version, settings.verifying_key)

    def announce(offer: Offer, workers: int, window_ms: float) -> None:
        version = offer.version
        ui = f" MLflow UI: {settings.mlflow_public_url}." if settings.mlflow_public_url else ""
        log.info(
            "Ready: %s version %s is served. Predictions, and a page to try them: %s.%s",
            version.name,
            version.version,
            settings.public_url,
            ui,
            extra={"fields": {"version": version.version, "workers": workers, "window_ms": round(window_ms, 3)}},
        )

    cache = ModelCache(
        settings.cache_dir, settings.run_dir / "makeshift", settings.model_name, settings.model_alias, bring
    )
    return RegistryFollower(found, cache, check, outline, FollowerMetrics(), announce, settings.allow_schema_change)
