"""What gunicorn loads in each worker: the app, with a keeper that has had its first look at the registry."""

import logging
import os
import sys
from functools import partial

from inference import model, registry
from inference.announcement import announce
from inference.app import create_app
from inference.cache import ModelCache
from inference.keeper import ModelKeeper
from inference.settings import Settings

logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")

settings = Settings.from_env(os.environ)
keeper = ModelKeeper(
    registry.connect(settings.tracking_uri, settings.model_name, settings.model_alias),
    ModelCache(settings.cache_dir, settings.tracking_uri, settings.model_name, settings.model_alias),
    partial(model.load, trust=settings.trust, public_key=settings.verifying_key),
    partial(announce, settings),
)
app = create_app(settings, keeper)
keeper.follow(settings.poll_seconds)
