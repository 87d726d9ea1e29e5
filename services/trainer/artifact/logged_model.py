"""Put a fitted model and all its metadata files into MLflow as one signed logged model (docs/model-contract.md)."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import joblib
import mlflow
import mlflow.sklearn
from contract import documents
from contract.file_names import BACKGROUND, FIGURES, GOLDEN, MODEL_CARD, ONNX_MODEL, ONNX_RECORD, PROFILE
from contract.trust.trusted_types import SIGNED_TYPES
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Run
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import ColSpec, Schema
from mlflow.utils import requirements_utils

from trainer.artifact import environment, fitted_rows, golden_samples, onnx_export, reference_profile
from trainer.artifact.signing import sign
from trainer.data import schema
from trainer.data.table import Split, Table, Task
from trainer.errors import TrainerError
from trainer.fit.decision import threshold_of
from trainer.fit.evaluation import Evaluation
from trainer.fit.model_selection import Fitted
from trainer.tracking import run_logging

INPUT_EXAMPLE_ROWS = 3


@dataclass(frozen=True)
class LoggedModel:
    """A model that MLflow holds with all its files."""

    run_id: str
    experiment_id: str
    model_id: str
    onnx_engine: dict[str, Any]
    """what was measured of its ONNX engine, and whether it has one"""
    sha256: str
    """of what was learnt: the same data, options and seed give the same one"""


@dataclass(frozen=True)
class Signing:
    """For which registered model a version is signed, by which private key (None: it is not), and the card that goes with it."""

    model_name: str
    key: Path | None
    card: str
    """Markdown"""


def log_model(fitted: Fitted, table: Table, rows: Split, run: Run, signing: Signing) -> LoggedModel:
    """Log the model with all that serving needs, signed for one registered model.

    It is signed here, before it leaves, and not as it comes back from a server that others can write to. Its algorithm
    and metrics are signed with it: those in MLflow can be changed by whoever reaches it.
    """
    estimator = fitted.estimator
    logged = mlflow.initialize_logged_model(name=_artifact_name(table), source_run_id=run.info.run_id)
    client = MlflowClient()
    with TemporaryDirectory() as parent:
        folder = Path(parent, "model")
        origin = Model(artifact_path=logged.artifact_location, run_id=run.info.run_id, model_id=logged.model_id)
        _save(estimator, table, folder, origin)
        made = _write_metadata(estimator, table, rows, folder, fitted.evaluation)
        documents.write_json(folder / FIGURES, _figures(fitted, table, run))
        (folder / MODEL_CARD).write_text(signing.card, encoding="utf-8")
        if signing.key is not None:
            sign(folder, signing.model_name, logged.model_id, signing.key)
        client.log_model_artifacts(logged.model_id, str(folder))
    client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    client.log_outputs(run.info.run_id, [LoggedModelOutput(logged.model_id, step=0)])
    return LoggedModel(run.info.run_id, run.info.experiment_id, logged.model_id, made.record, _sha256(estimator, made))


def _figures(fitted: Fitted, table: Table, run: Run) -> dict[str, Any]:
    return {
        "algorithm": fitted.algorithm,
        "metrics": {name: value for name, value in fitted.evaluation.metrics.items() if isfinite(value)},
        "run_id": run.info.run_id,
        "data": table.origin(),
    }


def _artifact_name(table: Table) -> str:
    kind = "classifier" if table.task is Task.CLASSIFICATION else "regressor"
    return f"{''.join(letter if letter.isalnum() else '_' for letter in table.name)}_{kind}"


def _save(estimator: Any, table: Table, folder: Path, origin: Model) -> None:
    try:
        with _pins_are_packages():
            mlflow.sklearn.save_model(
                estimator,
                str(folder),
                mlflow_model=origin,
                serialization_format="skops",
                skops_trusted_types=sorted(SIGNED_TYPES),
                signature=ModelSignature(
                    inputs=Schema(run_logging.column_specs(table)),
                    outputs=Schema([ColSpec(run_logging.target_type(table))]),
                ),
                input_example=table.features.head(INPUT_EXAMPLE_ROWS),
                # What MLflow would infer by loading the model once more in a process of its own.
                pip_requirements=environment.pins(estimator),
                code_paths=environment.code(estimator, folder.parent / "code"),
                metadata=_metadata(estimator, table),
            )
    except MlflowException as error:
        if "trusted" not in error.message and "skops" not in error.message:
            raise
        raise TrainerError(
            f"{type(estimator).__name__} cannot be served: it contains a type that is not trusted ({error.message})"
        ) from error


@contextmanager
def _pins_are_packages() -> Iterator[None]:
    """Let MLflow take each pin for the name of a package, which it is.

    It would read the lists of files of all packages to know which module is whose, for a sixth of a training's time.
    """
    before = requirements_utils._MODULES_TO_PACKAGES
    requirements_utils._MODULES_TO_PACKAGES = before or {}
    try:
        yield
    finally:
        requirements_utils._MODULES_TO_PACKAGES = before


def _metadata(estimator: Any, table: Table) -> dict[str, Any] | None:
    """Return what has no place elsewhere: names of its classes, the targets of its example's rows, and its threshold."""
    known = table.classes() if table.task is Task.CLASSIFICATION else table.target.astype(float)
    found = {
        "class_names": table.class_names,
        "example_targets": known.head(INPUT_EXAMPLE_ROWS).tolist(),
        "decision_threshold": threshold_of(estimator),
    }
    return {name: value for name, value in found.items() if value} or None


def _write_metadata(
    estimator: Any, table: Table, rows: Split, folder: Path, evaluation: Evaluation | None = None
) -> onnx_export.OnnxExport:
    schema.write(schema.infer(table), folder)
    documents.write_json(folder / GOLDEN, golden_samples.golden(estimator, rows.train_features))
    documents.write_json(folder / PROFILE, reference_profile.profile(table, rows, evaluation))
    if (stands_for_all := reference_profile.background(rows.train_features)) is not None:
        documents.write_json(folder / BACKGROUND, stands_for_all)
    fitted_rows.write(rows, folder)
    made = onnx_export.make(estimator, table.columns, rows.train_features, table.task)
    if made.content is not None:
        (folder / ONNX_MODEL).write_bytes(made.content)
    documents.write_json(folder / ONNX_RECORD, made.record)
    return made


def _sha256(estimator: Any, made: onnx_export.OnnxExport) -> str:
    """Return a digest of what was learnt; not of the skops file, which differs from dump to dump."""
    if made.content is not None:
        return hashlib.sha256(made.content).hexdigest()
    return hashlib.sha256(joblib.hash(estimator, hash_name="sha1").encode()).hexdigest()
