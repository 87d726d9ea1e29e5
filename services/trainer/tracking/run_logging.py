"""What a training run leaves in MLflow: parameters, metrics, data set, picture and model."""

import sqlite3
import warnings
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import mlflow.data
import pandas as pd
from contract.display import quoted, visible
from contract.tracking.artifacts import Proxy
from contract.tracking.rest import is_server
from mlflow import MlflowClient
from mlflow.entities import Experiment, RunTag
from mlflow.types.schema import ColSpec, DataType, Schema
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from trainer.console import output
from trainer.data.table import SEED, TEST_SIZE, Split, Table, Task
from trainer.errors import TrackingError
from trainer.fit.algorithms import HYPERPARAMETERS, defaults_of
from trainer.fit.cross_validation import CrossValidationResult
from trainer.fit.decision import threshold_of, without_threshold
from trainer.tracking.answers import mlflow_errors

# Parameters that say something even where they are as scikit-learn has them.
TELLING = frozenset(name for known in HYPERPARAMETERS.values() for name in known)
MOST_PARAMETER_TEXT = 500
# The tag that MLflow shows as the description of a run or an experiment.
NOTE = "mlflow.note.content"


def connect(tracking_uri: str, experiment_name: str) -> str:
    """Choose the server or file that everything is logged to, and the experiment, made where it is missing.

    Returns the experiment's id.
    """
    if tracking_uri.startswith("sqlite:///"):
        _check_file(Path(tracking_uri.removeprefix("sqlite:///")))
    mlflow.set_tracking_uri(tracking_uri)
    with mlflow_errors():
        client = MlflowClient()
        experiment = client.get_experiment_by_name(experiment_name)
        if experiment is None:
            client.create_experiment(experiment_name, artifact_location=_artifacts_beside(tracking_uri))
        else:
            _check_location(experiment, tracking_uri)
            if experiment.lifecycle_stage == "deleted":
                client.restore_experiment(experiment.experiment_id)
        chosen = mlflow.set_experiment(experiment_name)
    _check_location(chosen, tracking_uri)
    return str(chosen.experiment_id)


def _check_location(experiment: Experiment, tracking_uri: str) -> None:
    """Raise TrackingError where a server's experiment has its files elsewhere: somebody made it so, to be written to."""
    location = experiment.artifact_location
    if is_server(tracking_uri) and Proxy.at(location, tracking_uri) is None:
        raise TrackingError(
            f"the experiment {experiment.name!r} keeps its files at {quoted(location)}; expected mlflow-artifacts:/PATH, "
            "on the server itself. Rename it, and the trainer makes one of its own"
        )


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
    """Return the folder beside a SQLite file, where its artifacts are kept; a server knows its own place."""
    if not tracking_uri.startswith("sqlite:///"):
        return None
    return (Path(tracking_uri.removeprefix("sqlite:///")).parent / "artifacts").resolve().as_uri()


def describe_experiment(experiment_id: str, about: str) -> None:
    """Describe an experiment, where nobody has done so yet."""
    with mlflow_errors():
        client = MlflowClient()
        if NOTE not in client.get_experiment(experiment_id).tags:
            words = (
                f"{about}. Each run is one training, named by its algorithm, what it is judged by on held-out rows, and its version; "
                "its children are the algorithms that it chose from. `trainer` made it."
            )
            client.set_experiment_tag(experiment_id, NOTE, visible(words, 2000))


def describe_run(run_id: str, name: str, note: str) -> None:
    """Give a run a name and a description, Markdown, that say what it came to."""
    tags = {MLFLOW_RUN_NAME: visible(name, 200), NOTE: note}
    MlflowClient().log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def log_parameters(estimator: BaseEstimator, table: Table, rows: Split) -> None:
    """Log what decides the result: the estimator's parameters that are not its defaults, the split, the data and the library."""
    found = {
        **_parameters(estimator),
        "test_size": TEST_SIZE,
        "random_seed": SEED,
        "stratified": table.task is Task.CLASSIFICATION and table.aside.time is None,
        "train_rows": len(rows.train_features),
        "test_rows": len(rows.test_features),
        "scikit_learn": version("scikit-learn"),
    }
    found |= division(table)
    if (threshold := threshold_of(estimator)) is not None:
        found["decision_threshold"] = threshold
    estimator = without_threshold(estimator)
    if isinstance(estimator, Pipeline):
        found["preparation"] = ", ".join(type(step).__name__ for _, step in estimator.steps[:-1])
    mlflow.log_params({name: str(value)[:MOST_PARAMETER_TEXT] for name, value in found.items()})


def division(table: Table) -> dict[str, Any]:
    """Return what the plan says of how rows are divided, and what they count."""
    found: dict[str, Any] = {"divided": table.aside.words} if table.aside.divides else {}
    return found if table.aside.weight is None else found | {"weight": table.aside.weight.name}


def _parameters(estimator: BaseEstimator) -> dict[str, Any]:
    estimator = without_threshold(estimator)
    last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    default = defaults_of(type(last))
    given = {
        name: value
        for name, value in last.get_params(deep=False).items()
        if name != "random_state" and (name in TELLING or not (value is default[name] or value == default[name]))
    }
    return {"algorithm": type(last).__name__, **given}


def log_dataset(table: Table) -> None:
    """Log the data set with its schema, size and digest as the run's training input."""
    frame = table.features.assign(**{str(table.target.name): table.target})
    with warnings.catch_warnings():
        # MLflow hints that integers cannot be missing (class numbers never are), and that a path is a path in two ways.
        warnings.simplefilter("ignore", UserWarning)
        dataset = mlflow.data.from_pandas(
            frame, source=str(table.path), targets=str(table.target.name), name=table.path.stem
        )
        # MLflow would look at each cell for itself: 17 seconds for a million rows of 20 columns.
        dataset.schema = Schema([*column_specs(table), ColSpec(target_type(table), str(table.target.name))])
        mlflow.log_input(dataset, context="training")


def column_specs(table: Table) -> list[ColSpec]:
    """Return the features' names and types as MLflow has them, and whether a value may be missing."""
    return [ColSpec(DataType[column.kind], column.name, required=not column.missing) for column in table.columns]


def target_type(table: Table) -> DataType:
    """Return the type of the target, and so of a prediction."""
    if table.task is Task.REGRESSION:
        return DataType.double
    if pd.api.types.is_bool_dtype(table.target):
        return DataType.boolean
    return DataType.long if pd.api.types.is_integer_dtype(table.target) else DataType.string


def log_pictures(pictures: dict[str, bytes]) -> None:
    """Log each picture under its file name."""
    with TemporaryDirectory() as folder, mlflow_errors():
        for name, content in pictures.items():
            Path(folder, name).write_bytes(content)
        mlflow.log_artifacts(folder)


def log_leaderboard(results: list[CrossValidationResult], lowest: CrossValidationResult, words: str) -> None:
    """Log each algorithm as a child run with its folds and what it costs, and all of them as one table and one picture.

    `lowest` is the baseline, and `words` name the metric that they are judged by.
    """
    from trainer.plots.evaluation import leaderboard_picture

    for place, result in enumerate(results, 1):
        with mlflow.start_run(run_name=result.name, nested=True):
            mlflow.log_params(
                {name: str(value)[:MOST_PARAMETER_TEXT] for name, value in _parameters(result.estimator).items()}
            )
            mlflow.log_metrics({"cv_mean": result.mean, "cv_std": result.spread, "cv_place": float(place)})
            mlflow.log_metrics({name: float(value) for name, value in costs(result).items() if value is not None})
            for fold, value in enumerate(result.scores):
                mlflow.log_metric("cv_fold", value, step=fold)
            if result.found is not None:
                log_search(result.found)
    board = pd.DataFrame(
        {"place": place, "algorithm": found.name, "mean": found.mean, "spread": found.spread, "seconds": found.seconds}
        | costs(found)
        for place, found in enumerate(results, 1)
    )
    mlflow.log_table(board, "leaderboard.json")
    mlflow.log_text(board.to_csv(index=False), "leaderboard.csv")
    mlflow.log_text(output.leaderboard_note(results, lowest, words), "leaderboard.md")
    mlflow.log_metrics({"cv_mean": results[0].mean, "cv_std": results[0].spread})
    picture = leaderboard_picture([(found.name, found.scores) for found in results], words)
    mlflow.log_figure(picture, "leaderboard.png")


def costs(result: CrossValidationResult) -> dict[str, float | None]:
    """Return what an algorithm takes in time and room, and whether ONNX serves it, by names for metrics; None: not known."""
    return {
        "fit_seconds": result.fit_seconds,
        "predict_seconds_per_1000_rows": result.predict_seconds,
        "file_bytes": result.file_bytes,
        "has_onnx_engine": result.has_onnx_engine,
    }


def log_search(found: Any) -> None:
    """Log what a search tried, and its pictures."""
    from trainer.plots.search import history_picture, importance_picture

    mlflow.log_text(found.trials.to_csv(index=False), "search_trials.csv")
    mlflow.log_figure(history_picture(found.study), "search_history.png")
    mlflow.log_figure(importance_picture(found.study), "search_importance.png")
