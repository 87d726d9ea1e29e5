"""What was answered while a version challenges Production, with the labels that came: asked of the monitor, which reads the log."""

from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote

from contract.tracking import signed_request
from contract.tracking.bounded_http import UNREADABLE, content_of

from trainer.errors import DataError

# The monitor looks for it in the bucket, and gives so many rows at most.
SECONDS, MOST_BYTES = 120.0, 64 * 2**20


def since(url: str, model: str, moment: str, key: Path) -> list[str]:
    """Return the lines of CSV by which a challenge of a model is decided, from a time on (ISO 8601); `key` signs the question.

    Raises DataError where the monitor at `url` gives none, with its words.
    """
    target = f"/compared?model={quote(model, safe='')}&since={quote(moment, safe='')}"
    try:
        found = content_of(f"{url}{target}", MOST_BYTES, SECONDS, signed_request.authorization(target, key))
        return found.decode().splitlines()
    except HTTPError as error:
        words = error.read().decode(errors="replace").strip()[:300]
        raise DataError(f"the monitor at {url} answers {error.code} {words}") from error
    except UNREADABLE as error:
        raise DataError(
            f"the monitor at {url} does not answer ({error!s:.200}); with PREDICTION_LOG above 0 it is the profile "
            "`monitor` (MONITOR_URL says where)"
        ) from error
