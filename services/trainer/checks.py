"""What must hold of a version's files before they are signed, or put into Production by hand."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import pandas as pd
import skops.io
import yaml
from mlflow.entities.model_registry import ModelVersion

from trainer import signing
from trainer.errors import VersionError
from trainer.tracking import mlflow_errors
from trainer.tracking_server import logged_model_id

# The column types of a signature that inference serves (docs/model-contract.md).
NUMERIC = {"double", "float", "long", "integer"}


def model_id_of(version: ModelVersion) -> str:
    """Return the id of the logged model that a version points at; raise VersionError where it points elsewhere."""
    model_id = logged_model_id(version.source)
    if model_id is None:
        raise VersionError(
            f"version {version.version} points at {version.source}; log the model with MLflow 3 and register it"
        )
    return model_id


@contextmanager
def files_of(version: ModelVersion) -> Iterator[Path]:
    """Yield a folder with a copy of the version's files, there until the block ends."""
    with TemporaryDirectory() as parent:
        with mlflow_errors():
            folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=version.source, dst_path=parent))
        yield folder


def check_identity(folder: Path, name: str) -> None:
    """Refuse files that are signed for another registered model: signing them anew would take them away from it."""
    identity = folder / signing.IDENTITY
    if identity.exists() and (signed_for := json.loads(identity.read_text()).get("model_name")) != name:
        raise VersionError(f"its files are signed for {signed_for}; log the model once more to register it as {name}")


def check_servable(folder: Path) -> None:
    """Load the model without running code from its files, and let it predict its own input example."""
    try:
        description = yaml.safe_load((folder / "MLmodel").read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise VersionError(f"it has no readable MLmodel file: {error}") from error
    flavor = description.get("flavors", {}).get("sklearn")
    if flavor is None:
        raise VersionError("it is no scikit-learn model; inference serves the sklearn flavor")
    if flavor.get("serialization_format") != "skops":
        raise VersionError(
            f"it is stored as {flavor.get('serialization_format')}, which runs code when it is loaded; "
            "log it with serialization_format='skops'"
        )
    path = folder / flavor["pickled_model"]
    example = _example(folder, description)
    try:
        if unknown := skops.io.get_untrusted_types(file=path):
            raise VersionError(f"it contains types that are not trusted: {', '.join(unknown)}")
        skops.io.load(path).predict(example)
    except VersionError:
        raise
    except Exception as error:  # a damaged file and an estimator may fail in any way
        raise VersionError(f"it does not predict its own input example: {type(error).__name__}: {error}") from error


def _example(folder: Path, description: dict) -> pd.DataFrame:
    try:
        inputs = json.loads(description["signature"]["inputs"])
        columns = [column["name"] for column in inputs]
        types = {column["type"] for column in inputs}
        example = json.loads((folder / description["saved_input_example_info"]["artifact_path"]).read_text())
        rows = pd.DataFrame(example["data"], columns=columns)
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise VersionError(
            "it has no signature with named columns and no input example with them; "
            "log it with input_example=DATA_FRAME"
        ) from error
    if not types <= NUMERIC:
        raise VersionError(f"its columns have the types {', '.join(sorted(types))}; inference serves numeric ones")
    return rows
