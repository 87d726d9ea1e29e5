"""What a training run leaves in MLflow: parameters, metrics, data set, picture and model."""

import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import mlflow.data
import mlflow.sklearn
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Run
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import ColSpec, DataType, Schema
from requests import RequestException
from sklearn.base import ClassifierMixin

from trainer.errors import TrackingError
from trainer.pictures import confusion_picture
from trainer.signing import sign
from trainer.table import SEED, TEST_SIZE, Split, Table
from trainer.training import Evaluation

EXPERIMENT = "MLflow Workshop - Iris Classification"
MODEL_ARTIFACT = "iris_classifier"
INPUT_EXAMPLE_ROWS = 3
SERVED_WITH = ("mlflow-skinny", "scikit-learn", "skops", "pandas")


@dataclass(frozen=True)
class LoggedModel:
    """A model that MLflow holds with all its files."""

    run_id: str
    experiment_id: str
    model_id: str


@contextmanager
def mlflow_errors() -> Iterator[None]:
    """Turn what MLflow raises into one TrackingError."""
    try:
        yield
    except MlflowException as error:
        # Where the server fails, and not the request, the client knows only that it gave up.
        hint = "; its log says why (`docker compose logs mlflow`)" if "error responses" in error.message else ""
        raise TrackingError(f"MLflow refuses: {error.message}{hint}") from error
    except RequestException as error:  # artifacts are sent without MLflow's own wrapping
        raise TrackingError(f"MLflow does not take or give the files: {error}") from error


def connect(tracking_uri: str) -> None:
    """Choose the server or file that everything is logged to, and the experiment, made where it is missing."""
    if tracking_uri.startswith("sqlite:///"):
        _check_file(Path(tracking_uri.removeprefix("sqlite:///")))
    mlflow.set_tracking_uri(tracking_uri)
    with mlflow_errors():
        client = MlflowClient()
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            client.create_experiment(EXPERIMENT, artifact_location=_artifacts_beside(tracking_uri))
        elif experiment.lifecycle_stage == "deleted":
            client.restore_experiment(experiment.experiment_id)
        mlflow.set_experiment(EXPERIMENT)


def _check_file(path: Path) -> None:
    """Raise TrackingError where SQLite cannot open the file: MLflow finds that out by minutes of retries."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sqlite3.connect(path).close()
    except (OSError, sqlite3.Error) as error:
        raise TrackingError(
            f"{path} cannot be opened or made ({error}); MLFLOW_TRACKING_URI says where the database is"
        ) from error


def _artifacts_beside(tracking_uri: str) -> str | None:
    """A SQLite file keeps its artifacts in the folder beside it; a server knows its own place."""
    if not tracking_uri.startswith("sqlite:///"):
        return None
    return (Path(tracking_uri.removeprefix("sqlite:///")).parent / "artifacts").resolve().as_uri()


def log_parameters(estimator: ClassifierMixin, table: Table, rows: Split) -> None:
    """Log what decides the result: the estimator's parameters, the split, the data and the library."""
    mlflow.log_params(
        {
            "algorithm": type(estimator).__name__,
            **{name: value for name, value in estimator.get_params().items() if value is not None},
            "test_size": TEST_SIZE,
            "random_seed": SEED,
            "stratified": True,
            "train_rows": len(rows.train_features),
            "test_rows": len(rows.test_features),
            "scikit_learn": version("scikit-learn"),
        }
    )
    mlflow.set_tag("data_sha256", table.sha256)


def log_dataset(table: Table) -> None:
    """Log the data set with its schema, size and digest as the run's training input."""
    frame = table.features.assign(target=table.target)
    with warnings.catch_warnings():
        # MLflow hints that integers cannot be missing (class numbers never are), and that a path is a path in two ways.
        warnings.simplefilter("ignore", UserWarning)
        dataset = mlflow.data.from_pandas(frame, source=str(table.path), targets="target", name=table.path.stem)
        mlflow.log_input(dataset, context="training")


def log_evaluation(evaluation: Evaluation, class_names: list[str]) -> None:
    """Log the metrics and the confusion matrix as a picture."""
    mlflow.log_metrics(evaluation.metrics)
    mlflow.log_figure(confusion_picture(evaluation.confusion, class_names), "confusion_matrix.png")


def log_model(estimator: ClassifierMixin, table: Table, run: Run, registered_name: str, key: Path) -> LoggedModel:
    """Log the model with all that serving needs (docs/model-contract.md), signed for one registered model.

    It is signed here, before it leaves, and not as it comes back from a server that others can write to.
    """
    logged = mlflow.initialize_logged_model(name=MODEL_ARTIFACT, source_run_id=run.info.run_id)
    client = MlflowClient()
    with TemporaryDirectory() as parent:
        folder = Path(parent, "model")
        mlflow.sklearn.save_model(
            estimator,
            str(folder),
            mlflow_model=Model(
                artifact_path=logged.artifact_location, run_id=run.info.run_id, model_id=logged.model_id
            ),
            serialization_format="skops",
            signature=_signature(table),
            input_example=table.features.head(INPUT_EXAMPLE_ROWS),
            # What MLflow would infer by loading the model once more in a process of its own.
            pip_requirements=[f"{name}=={version(name)}" for name in SERVED_WITH],
            metadata={"class_names": table.class_names},
        )
        sign(folder, registered_name, logged.model_id, key)
        client.log_model_artifacts(logged.model_id, str(folder))
    client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    client.log_outputs(run.info.run_id, [LoggedModelOutput(logged.model_id, step=0)])
    return LoggedModel(run.info.run_id, run.info.experiment_id, logged.model_id)


def _signature(table: Table) -> ModelSignature:
    columns = [ColSpec(DataType.double, name) for name in table.features.columns]
    return ModelSignature(inputs=Schema(columns), outputs=Schema([ColSpec(DataType.long)]))
