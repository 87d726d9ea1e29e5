"""What must hold of a version's files before they are signed, or put into Production by hand."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import pandas as pd
import yaml
from contract.errors import Refused
from contract.trust import TRUSTED_TYPES, load_skops
from mlflow.entities.model_registry import ModelVersion

from trainer import papers, signing
from trainer.errors import VersionError
from trainer.table import Column, Kind
from trainer.tracking import mlflow_errors
from trainer.tracking_server import logged_model_id

# The column types of a signature that inference serves, and what they are here.
KINDS = {
    "double": Kind.NUMBER,
    "float": Kind.NUMBER,
    "long": Kind.NUMBER,
    "integer": Kind.NUMBER,
    "boolean": Kind.BOOLEAN,
    "string": Kind.TEXT,
}


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


def check_servable(folder: Path) -> tuple[Any, list[Column], pd.DataFrame]:
    """Load the model without running code from its files; let it predict its input example and its golden rows.

    Returns the estimator, its columns and the rows of its input example.
    """
    description = _description(folder)
    columns = columns_of(description)
    example = _example(folder, description, columns)
    estimator = _load(folder, description)
    try:
        estimator.predict(example)
    except Exception as error:  # an estimator may fail in any way
        raise VersionError(f"it does not predict its own input example: {type(error).__name__}: {error}") from error
    papers.check_golden(estimator, folder, columns)
    return estimator, columns, example


def load(folder: Path) -> Any:
    """Return the estimator in a version's folder; raise VersionError where it cannot be loaded without running code."""
    return _load(folder, _description(folder))


def interface_of(folder: Path) -> list[Column]:
    """Return the columns that a version takes, by its signature."""
    return columns_of(_description(folder))


def _description(folder: Path) -> dict[str, Any]:
    try:
        description = yaml.safe_load((folder / "MLmodel").read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise VersionError(f"it has no readable MLmodel file: {error}") from error
    if not isinstance(description, dict):
        raise VersionError("its MLmodel file is empty or no YAML mapping")
    return description


def _load(folder: Path, description: dict[str, Any]) -> Any:
    flavor = description.get("flavors", {}).get("sklearn")
    if flavor is None:
        raise VersionError("it is no scikit-learn model; inference serves the sklearn flavor")
    if flavor.get("serialization_format") != "skops":
        raise VersionError(
            f"it is stored as {flavor.get('serialization_format')}, which runs code when it is loaded; "
            "log it with serialization_format='skops'"
        )
    path = folder / flavor["pickled_model"]
    try:
        return load_skops(path, TRUSTED_TYPES)
    except Refused as error:
        raise VersionError(str(error)) from error


def columns_of(description: dict[str, Any]) -> list[Column]:
    """Return the columns of a signature; raise VersionError where it has none that inference serves."""
    try:
        inputs = json.loads(description["signature"]["inputs"])
        found = [(column["name"], column["type"], column.get("required", True)) for column in inputs]
    except (KeyError, TypeError, ValueError) as error:
        raise VersionError(
            "it has no signature with named columns and no input example with them; "
            "log it with input_example=DATA_FRAME"
        ) from error
    if others := sorted({str(kind) for _, kind, _ in found} - KINDS.keys()):
        raise VersionError(f"its columns have the types {', '.join(others)}; inference serves {', '.join(KINDS)}")
    return [Column(name, KINDS[kind], not required) for name, kind, required in found]


def _example(folder: Path, description: dict[str, Any], columns: list[Column]) -> pd.DataFrame:
    try:
        example = json.loads((folder / description["saved_input_example_info"]["artifact_path"]).read_text())
        return papers.from_json(example["data"], columns)
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise VersionError(
            "it has no signature with named columns and no input example with them; "
            "log it with input_example=DATA_FRAME"
        ) from error
