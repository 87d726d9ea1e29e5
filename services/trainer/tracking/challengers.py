"""The alias `challenger`: who challenges Production, with which share of the requests, and how that began and ended.

The service follows the alias and holds itself to the tag of its version (contract.tracking.challenge). Records are kept as those of
Production's moves are: from whom to whom requests went, by what, and why.
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import audit
from contract import signature
from contract.display import visible
from contract.errors import Refused
from contract.tracking import alias_history as histories
from contract.tracking.alias_history import Move
from contract.tracking.challenge import ALIAS, OVER, RECORD, TAG, Challenge
from contract.tracking.rest import ABSENT, logged_model_id
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from trainer.errors import AnswerTooLong, VersionError
from trainer.tracking import registry
from trainer.tracking.answers import mlflow_errors

MOST_REASON = 2000
# What ends a challenge once for all: the service has sent it away.
GUARD = "guard"


@dataclass(frozen=True)
class Challenger:
    """The version behind the alias, and what its tag says."""

    version: ModelVersion
    challenge: Challenge | None
    """None where it answers nobody"""

    @property
    def number(self) -> str:
        return str(self.version.version)


def challenger(name: str) -> Challenger | None:
    """Return who challenges what is in Production, None where nobody does."""
    with mlflow_errors():
        try:
            version = MlflowClient().get_model_version_by_alias(name, ALIAS)
        except MlflowException as error:
            if error.error_code in ABSENT:
                return None
            raise
    try:
        return Challenger(version, Challenge.of(version.tags.get(TAG, OVER)))
    except Refused:
        return Challenger(version, None)


def challenge(percent: float, days: float, auto: float | None, before: Challenge | None) -> Challenge:
    """Return a challenge from now on; one that goes on with another share keeps its key, and so its clients."""
    now = datetime.now(UTC)
    key, since = (before.key, before.since) if before else (secrets.token_hex(8), now.isoformat(timespec="seconds"))
    return Challenge(percent, key, since, (now + timedelta(days=days)).isoformat(timespec="seconds"), auto=auto)


def begin(name: str, version: ModelVersion, asked: Challenge, key: Path, reason: str) -> Move:
    """Give a version the alias and its share, signed; record it.

    The tag goes first: a version with the alias and without it would answer nobody, and the other way round another one's would count.
    """
    number = str(version.version)
    content = asked.signed_bytes(name, number, logged_model_id(version.source) or "")
    with mlflow_errors():
        client = MlflowClient()
        client.set_model_version_tag(name, number, TAG, asked.with_signature(signature.sign_text(content, key)).text)
        client.set_registered_model_alias(name, ALIAS, number)
    return _recorded(name, "challenge", registry.production(name), number, reason)


def end(name: str, of: Challenger, by: str, reason: str) -> Move:
    """Take a challenger's share and the alias away from it, and record that."""
    with mlflow_errors():
        client = MlflowClient()
        # Nobody but an admin may take a tag away where MLflow asks for a login.
        client.set_model_version_tag(name, of.number, TAG, OVER)
        if (now := challenger(name)) and now.number == of.number:
            client.delete_registered_model_alias(name, ALIAS)
    return _recorded(name, by, of.number, registry.production(name) or of.number, reason)


def _recorded(name: str, by: str, before: str | None, after: str, reason: str) -> Move:
    reason = visible(reason, keep="\n", most=MOST_REASON)[:MOST_REASON]
    made = Move(histories.stamp(), by, before, after, reason, histories.stamp())
    with mlflow_errors():
        MlflowClient().set_registered_model_tag(name, histories.key_of(made, RECORD), histories.record(made))
    started = by == "challenge"
    audit.note("alias", f"{name}@{ALIAS}", None if started else before, after if started else None, by, reason)
    return made


def records(name: str) -> list[Move]:
    """Return how challenges of a registered model began and ended, the oldest first; none where too much is there to be read."""
    try:
        return _records(name)
    except AnswerTooLong:
        return []


def _records(name: str) -> list[Move]:
    with mlflow_errors():
        tags = MlflowClient().get_registered_model(name).tags
    return list(histories.parsed(tags, RECORD)[0].values())


def sent_away(name: str, version: str) -> str | None:
    """Return why the service has sent a version away, None where it has not; raise VersionError where too much is there to tell."""
    try:
        found = _records(name)
    except AnswerTooLong as error:
        raise VersionError(
            f"whether version {version} of {name} was sent away before cannot be told, so it challenges nobody: {error}"
        ) from error
    return next((made.reason for made in found if made.by == GUARD and made.before == version), None)
