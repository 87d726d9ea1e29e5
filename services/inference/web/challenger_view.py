"""What is said of the challenger: in JSON, and in a sentence for the page."""

from typing import Any

from contract.errors import Refused
from contract.tracking.challenge import TAG, Challenge
from msgspec import to_builtins

from inference.ipc.messages import NOT_ASKED
from inference.model.version import ModelVersion
from inference.rollout.active_model import ActiveModel
from inference.rollout.challenger.eligibility import PROBLEM, RETURNED
from inference.settings import Settings
from inference.shadow import state as shadow


def challenger_content(settings: Settings, active: ActiveModel) -> dict[str, Any] | None:
    """Return what is said of a model's challenger, None where it has none, and nothing is wrong with that."""
    if (other := active.challenger) is None:
        return None
    if (served := other.served) is None:
        problem = other.state.problem
        return {"version": None, "problem": problem} if problem not in (None, NOT_ASKED) else None
    told = other.state.version
    tags = told.tags if told is not None and told == served.version else {}
    returned = active.returned or tags.get(RETURNED)
    is_split = active.split is not None
    return {
        "version": served.version.version,
        "since": served.since,
        "engine": {"name": served.model.engine, "reason": served.model.reason},
        # Split: it answers a share of the requests. Shadow: it answers nobody.
        "mode": "split" if is_split else "shadow",
        "percent": _percent(tags) if is_split else 0.0,
        "returned": returned,
        "problem": other.state.problem or tags.get(PROBLEM) or active.split_problem or None,
        "shadow": _shadow_content(settings, served.version),
    }


def _shadow_content(settings: Settings, version: ModelVersion) -> dict[str, Any]:
    """Return how many rows of the prediction log it was asked for, and what came of that."""
    if not settings.prediction_log:
        return {"problem": "PREDICTION_LOG is 0: there are no logged rows that it could be asked for"}
    if (state := shadow.read(shadow.folder_in(settings.prediction_log_dir), version)) is None:
        return {"problem": "it has not been asked for logged rows yet"}
    return {**to_builtins(state.figures), "problem": state.problem or None}


def _percent(tags: dict[str, str]) -> float:
    try:
        return Challenge.of(tags[TAG]).percent
    except (KeyError, Refused):
        return 0.0


def in_words(content: dict[str, Any] | None) -> str | None:
    """Return what the page says of it, None where there is nothing to say."""
    if content is None or content["version"] is None:
        return None
    version = f"Version {content['version']}, the challenger,"
    if content["returned"]:
        return f"{version} answers nobody any more: {content['returned']}."
    if content["mode"] == "split":
        return f"{version} answers {content['percent']:g} of 100 requests; each answer says which version gave it."
    return f"{version} answers nobody yet{_shadow_in_words(content['shadow'])}."


def _shadow_in_words(shadow: dict[str, Any]) -> str:
    if not (asked := sum(shadow.get(result, 0) for result in ("alike", "unlike", "failed"))):
        return ""
    fails = f", and fails on {shadow['failed']:,}" if shadow["failed"] else ""
    return (
        f": of {asked:,} rows that Production answered, it says another thing of {shadow['unlike'] / asked:.1%}{fails}"
    )
