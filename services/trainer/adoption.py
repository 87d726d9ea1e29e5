"""Sign a version that somebody logged by hand, after checking that it can be served."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import pandas as pd
import skops.io
import yaml
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from rich.console import Console

from trainer import signing
from trainer.errors import AdoptionError
from trainer.settings import Settings
from trainer.tracking import mlflow_errors
from trainer.tracking_server import SIGNED_BY, logged_model_id

# The column types of a signature that inference serves (docs/model-contract.md).
NUMERIC = {"double", "float", "long", "integer"}


def adopt(settings: Settings, version: str, console: Console) -> None:
    """Check a version of the registered model and sign it; raise AdoptionError saying what it lacks."""
    signing.check_key(settings.signing_key)
    mlflow.set_tracking_uri(settings.tracking_uri)
    found = _version(settings.model_name, version)
    model_id = logged_model_id(found.source)
    if model_id is None:
        raise AdoptionError(f"version {version} points at {found.source}; log the model with MLflow 3 and register it")
    with TemporaryDirectory() as parent:
        with mlflow_errors():
            folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=found.source, dst_path=parent))
        _check_identity(folder, settings.model_name)
        _check_servable(folder)
        signing.sign(folder, settings.model_name, model_id, settings.signing_key)
        with mlflow_errors():
            client = MlflowClient()
            for name in (signing.IDENTITY, signing.SIGNATURE):
                client.log_model_artifact(model_id, str(folder / name))
            client.set_model_version_tag(settings.model_name, version, SIGNED_BY, signing.key_id(settings.signing_key))
    console.print(
        f"Version {version} of {settings.model_name} is checked and signed; it may be served.", soft_wrap=True
    )


def _version(name: str, version: str) -> ModelVersion:
    try:
        return MlflowClient().get_model_version(name, version)
    except MlflowException as error:
        raise AdoptionError(f"there is no version {version!r} of {name}: {error.message}") from error


def _check_identity(folder: Path, name: str) -> None:
    """Refuse files that are signed for another registered model: signing them anew would take them away from it."""
    identity = folder / signing.IDENTITY
    if identity.exists() and (signed_for := json.loads(identity.read_text()).get("model_name")) != name:
        raise AdoptionError(f"its files are signed for {signed_for}; log the model once more to register it as {name}")


def _check_servable(folder: Path) -> None:
    """Load the model without running code from its files, and let it predict its own input example."""
    try:
        description = yaml.safe_load((folder / "MLmodel").read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise AdoptionError(f"it has no readable MLmodel file: {error}") from error
    flavor = description.get("flavors", {}).get("sklearn")
    if flavor is None:
        raise AdoptionError("it is no scikit-learn model; inference serves the sklearn flavor")
    if flavor.get("serialization_format") != "skops":
        raise AdoptionError(
            f"it is stored as {flavor.get('serialization_format')}, which runs code when it is loaded; "
            "log it with serialization_format='skops'"
        )
    path = folder / flavor["pickled_model"]
    example = _example(folder, description)
    try:
        if unknown := skops.io.get_untrusted_types(file=path):
            raise AdoptionError(f"it contains types that are not trusted: {', '.join(unknown)}")
        skops.io.load(path).predict(example)
    except AdoptionError:
        raise
    except Exception as error:  # a damaged file and an estimator may fail in any way
        raise AdoptionError(f"it does not predict its own input example: {type(error).__name__}: {error}") from error


def _example(folder: Path, description: dict) -> pd.DataFrame:
    try:
        inputs = json.loads(description["signature"]["inputs"])
        columns = [column["name"] for column in inputs]
        types = {column["type"] for column in inputs}
        example = json.loads((folder / description["saved_input_example_info"]["artifact_path"]).read_text())
        rows = pd.DataFrame(example["data"], columns=columns)
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise AdoptionError(
            "it has no signature with named columns and no input example with them; "
            "log it with input_example=DATA_FRAME"
        ) from error
    if not types <= NUMERIC:
        raise AdoptionError(f"its columns have the types {', '.join(sorted(types))}; inference serves numeric ones")
    return rows
