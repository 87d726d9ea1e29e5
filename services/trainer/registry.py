"""The model registry: versions, the Production alias, and the workshop's stage words as a tag.

The alias alone decides what is served. The tag `stage` only shows it (None, Staging, Production, Archived), and is
put right whenever the trainer has looked, also after somebody moved the alias by hand.
"""

import mlflow
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from trainer.errors import VersionError
from trainer.promotion import Contender
from trainer.tracking import LoggedModel, mlflow_errors
from trainer.tracking_server import ABSENT, PRODUCTION, SIGNED_BY, logged_model_id, what_is_lost

STAGE = "stage"


def register(model: LoggedModel, name: str, tags: dict[str, str]) -> ModelVersion:
    """Add a version; the model's files are all there already, so no version is ever without them."""
    with mlflow_errors():
        return mlflow.register_model(f"models:/{model.model_id}", name, tags={STAGE: "None", **tags})


def incumbent(name: str, key_id: str) -> Contender | None:
    """Return what is in Production, None where nothing is; `key_id` names the key that this stack signs with."""
    with mlflow_errors():
        version = _production(name)
        if version is None:
            return None
        client = MlflowClient()
        metrics, tags = {}, {}
        if version.run_id:
            data = client.get_run(version.run_id).data
            metrics, tags = data.metrics, data.tags
        model_id = logged_model_id(version.source)
        has_files = model_id is None or bool(client.list_logged_model_artifacts(model_id))
        lost = what_is_lost(has_files, version.tags.get(SIGNED_BY), key_id)
        return Contender(version.version, metrics.get("test_accuracy"), tags.get("data_sha256"), lost)


def production(name: str) -> str | None:
    """Return the number of the version in Production, None where none is."""
    with mlflow_errors():
        version = _production(name)
    return None if version is None else str(version.version)


def model_version(name: str, version: str) -> ModelVersion:
    """Return a version; raise VersionError where there is none."""
    with mlflow_errors():
        try:
            return MlflowClient().get_model_version(name, version)
        except MlflowException as error:
            if error.error_code in ABSENT:
                raise VersionError(f"there is no version {version!r} of {name}: {error.message}") from error
            raise


def move_to_production(name: str, version: str) -> None:
    """Point the alias at a version: from here on it is the one that is served."""
    with mlflow_errors():
        MlflowClient().set_registered_model_alias(name, PRODUCTION, version)


def describe(name: str, version: str, stage: str, reason: str) -> None:
    """Show a decision on the version: its stage and, in words, why."""
    with mlflow_errors():
        client = MlflowClient()
        client.set_model_version_tag(name, version, STAGE, stage)
        client.update_model_version(name, version, description=reason)


def describe_interrupted(version: ModelVersion) -> str:
    """Describe a version whose training was stopped before it could describe it; return how far it came, in words."""
    current = _production(version.name)
    if current is not None and current.version == version.version:
        describe(version.name, version.version, PRODUCTION, "Promoted; its training was stopped before it said why.")
        return "had been promoted to Production already; it stays there"
    describe(version.name, version.version, "None", "Its training was stopped before the decision.")
    return "was never decided on; it stays out of Production"


def show_stages(name: str) -> None:
    """Make the stage tags say what the alias says: the version behind it is in Production, no other is."""
    with mlflow_errors():
        client, current = MlflowClient(), _production(name)
        for version in client.search_model_versions(f"name = '{name}'"):
            is_current = current is not None and version.version == current.version
            says_current = version.tags.get(STAGE) == PRODUCTION
            if is_current and not says_current:
                client.set_model_version_tag(name, version.version, STAGE, PRODUCTION)
                client.update_model_version(name, version.version, "Put into Production by hand: the alias was moved.")
            if says_current and not is_current:
                client.set_model_version_tag(name, version.version, STAGE, "Archived")


def _production(name: str) -> ModelVersion | None:
    try:
        return MlflowClient().get_model_version_by_alias(name, PRODUCTION)
    except MlflowException as error:
        if error.error_code in ABSENT:
            return None
        raise
