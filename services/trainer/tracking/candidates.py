"""The alias `candidate`: whoever gives it to a version asks for a review; and what the review has come to, on the version.

It is in lower case, as MLflow's own UI writes every alias. The answer is in tags of the version, for `history`, and on top of
its description, for people who look at it in MLflow.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import audit
from contract.display import visible
from contract.tracking import alias_history
from contract.tracking.rest import ABSENT
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from trainer.errors import TrackingError
from trainer.tracking import registry
from trainer.tracking.answers import VERSIONS, every, mlflow_errors
from trainer.tracking.rest import CANDIDATE

# Tags of a version. ASKED_BY is written by whoever asks, or by a server that knows who it is; anybody else can write it, too.
ASKED_BY, OUTCOME, REASON, TIME, BEGUN = "asked_by", "review", "review_reason", "review_time", "reviews_begun"
# Tags of the registered model: how many versions each table's held-out rows have judged in reviews, by the digest of its file.
COUNT = "reviews."
# What BEGUN is between reviews: nobody but an admin may take a tag of a version away where MLflow asks for a login.
NONE_BEGUN = "0"
UNKNOWN = "unknown"
MOST_NAME, MOST_REASON = 100, 2000


@dataclass(frozen=True)
class Review:
    """What a review has come to."""

    version: str
    time: str
    asked_by: str
    outcome: str
    """promoted, not promoted, refused, withdrawn, or nothing to do"""
    reason: str

    @classmethod
    def of(cls, version: ModelVersion) -> Self:
        """Return the last review of a version that has had one, as its tags tell; anybody can write them."""
        tags = {name: visible(version.tags.get(name, "?"), MOST_REASON) for name in (TIME, ASKED_BY, OUTCOME, REASON)}
        return cls(str(version.version), tags[TIME], asked_by(version), tags[OUTCOME], tags[REASON])


def asked_by(version: ModelVersion) -> str:
    """Return who asked for a review, as the version's tag says."""
    return visible(version.tags.get(ASKED_BY) or UNKNOWN, MOST_NAME)


def candidate(name: str) -> str | None:
    """Return the version of a registered model that is a candidate, None where none is."""
    with mlflow_errors():
        try:
            return str(MlflowClient().get_model_version_by_alias(name, CANDIDATE).version)
        except MlflowException as error:
            if error.error_code in ABSENT:
                return None
            raise


def propose(name: str, version: str, who: str) -> None:
    """Ask for a review of a version."""
    with mlflow_errors():
        client = MlflowClient()
        client.set_model_version_tag(name, version, ASKED_BY, visible(who, MOST_NAME))
        client.set_registered_model_alias(name, CANDIDATE, version)
    audit.note("alias", f"{name}@{CANDIDATE}", None, version, "train")


def begin(version: ModelVersion) -> int:
    """Note on a version that a review of it has begun; return how many have, since one last came to its end."""
    begun = _one_more(version.tags.get(BEGUN), 3)
    with mlflow_errors():
        MlflowClient().set_model_version_tag(version.name, version.version, BEGUN, str(begun))
    return begun


def count(name: str, data_sha256: str) -> int:
    """Note that held-out rows have judged one more version of a registered model in a review; return how many that are."""
    with mlflow_errors():
        client = MlflowClient()
        found = _one_more(client.get_registered_model(name).tags.get(COUNT + data_sha256), 9)
        client.set_registered_model_tag(name, COUNT + data_sha256, str(found))
    return found


def _one_more(told: str | None, digits: int) -> int:
    """Return the number after one that a tag tells; 1 after what is none."""
    return int(told) + 1 if told and told.isascii() and told.isdigit() and len(told) <= digits else 1


def forget(version: ModelVersion) -> None:
    """Take back that a review has begun: what stopped it was none of the version's doing."""
    with suppress(TrackingError), mlflow_errors():
        MlflowClient().set_model_version_tag(version.name, version.version, BEGUN, NONE_BEGUN)


def end(name: str, review: Review, stage: str | None) -> None:
    """Write what a review has come to on its version, and take the alias away from it.

    `stage` is the stage word that is shown on it, None where that stays as it is.

    The alias goes last: a review that is stopped before is held once more. One that is at another version by then stays.
    """
    with mlflow_errors():
        client = MlflowClient()
        version = client.get_model_version(name, review.version)
        tags = {OUTCOME: review.outcome, REASON: review.reason, TIME: review.time, ASKED_BY: review.asked_by}
        tags |= {} if stage is None else {registry.STAGE: stage}
        tags |= {BEGUN: NONE_BEGUN} if BEGUN in version.tags else {}
        for tag, value in tags.items():
            client.set_model_version_tag(name, review.version, tag, visible(value, MOST_REASON)[:MOST_REASON])
        client.update_model_version(name, review.version, description=_described(review, version.description or ""))
    if candidate(name) == review.version:
        with mlflow_errors():
            client.delete_registered_model_alias(name, CANDIDATE)
        audit.note(
            "alias",
            f"{name}@{CANDIDATE}",
            review.version,
            None,
            "reviewer",
            f"{review.outcome}: {review.reason} (asked by {review.asked_by!r}, by the tag)",
        )


def _described(review: Review, before: str) -> str:
    """Return a description with the review on top, in the place of an earlier one; what others have written stays."""
    words = f"Review of {review.time[:16].replace('T', ' ')} UTC, asked for by {review.asked_by}: {review.outcome}: {review.reason}."
    return registry.on_top(words, before, registry.REVIEW)


def reviews(name: str) -> list[Review]:
    """Return the last review of each version of a registered model that has had one, the oldest first."""
    with mlflow_errors():
        found = every(MlflowClient().search_model_versions, VERSIONS, filter_string=f"name = '{name}'")
        return sorted((Review.of(version) for version in found if OUTCOME in version.tags), key=lambda one: one.time)


def now() -> str:
    """Return the time as a review has it."""
    return alias_history.stamp()
