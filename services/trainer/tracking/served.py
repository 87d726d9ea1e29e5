"""What the prediction service says of its challenger, asked without importing MLflow."""

import json
import os
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from contract.tracking.bounded_http import UNREADABLE, content_of

SECONDS, MOST_BYTES = 5.0, 4 * 2**20
OTHER = "other"


def challenger(url: str, key_file: Path | None, model: str) -> dict[str, Any]:
    """Return what GET `url`/version says of a model's challenger, {"fault": …} where it says nothing of it.

    Where it serves another model, OTHER is that one's name: versions of two models have the same numbers.

    The file has a key of the scope predict, for where the service asks for one; API_KEY in the environment goes before it. It is read each
    time: it may be written while somebody looks again and again.
    """
    try:
        # From the environment here, and not with the settings: those are logged (the reviewer's), and a key is never one of them.
        key = os.environ.get("API_KEY") or _content(key_file)
    except (OSError, UnicodeDecodeError) as error:
        return {"fault": f"API_KEY_FILE {key_file} cannot be read: {error}"}
    try:
        said = json.loads(content_of(f"{url}/version", MOST_BYTES, SECONDS, f"Bearer {key}" if key else None))
        found, serves = said.get("challenger"), (said.get("model") or {}).get("name")
    except HTTPError as error:
        way = (
            ": it asks for an API key, and neither API_KEY nor API_KEY_FILE (of the stack TRAINER_API_KEY_FILE) has one that it takes"
            if error.code in (401, 403)
            else ""
        )
        return {"fault": f"{url} answers {error.code}{way}"}
    except UNREADABLE:
        return {"fault": f"{url} does not answer"}
    if serves != model and (serves or found):
        return {"fault": f"{url} serves {serves!r}, and not {model!r}; INFERENCE_URL says who does", OTHER: serves}
    return found if isinstance(found, dict) else {}


def _content(file: Path | None) -> str:
    try:
        return file.read_text().strip() if file else ""
    except FileNotFoundError:
        return ""
