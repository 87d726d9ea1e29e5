"""One line in the log for each version that is taken up, whatever the number of workers."""

import fcntl
import json
import logging
import shlex
from typing import Any

from inference.keeper import Served
from inference.settings import Settings

log = logging.getLogger("inference")


def announce(settings: Settings, served: Served) -> None:
    """Say which version is served and where to go, unless another worker of this start has just said so."""
    identity = f"{served.version.version}-{served.version.created_ms}"
    with open(settings.run_dir / "announced", "a+") as note:
        fcntl.flock(note, fcntl.LOCK_EX)
        note.seek(0)
        if note.read() == identity:
            return
        note.truncate(0)
        note.write(identity)
    log.info(
        "Ready: %s version %s is served.%s  Predictions: %s  Try: %s",
        served.version.name,
        served.version.version,
        f"  MLflow UI: {settings.mlflow_public_url}" if settings.mlflow_public_url else "",
        settings.public_url,
        _curl(settings.public_url, served.model.example),
    )


def _curl(url: str, example: list[Any]) -> str:
    body = json.dumps({"instances": [example]}, ensure_ascii=False)
    return f"curl {url}/invocations -H 'Content-Type: application/json' -d {shlex.quote(body)}"
