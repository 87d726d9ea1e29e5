"""The leaderboard of a comparison: how the algorithms do, what each costs, and the run in MLflow that keeps it."""

import time
from dataclasses import replace
from typing import Any

import mlflow
import numpy as np
import skops.io

from trainer.artifact import onnx_export
from trainer.console import output
from trainer.console.figures import number
from trainer.console.terminal import Console
from trainer.data.table import Split, Table
from trainer.errors import TrackingError
from trainer.fit.cross_validation import CrossValidationResult
from trainer.fit.model_selection import Choice, on_folds
from trainer.promotion_record import finite
from trainer.settings import Settings
from trainer.signals import Held
from trainer.tracking import rest, run_lifecycle, run_logging

ASKED = 1000


def shown(
    results: list[CrossValidationResult], choice: Choice, table: Table, rows: Split, console: Console
) -> tuple[list[CrossValidationResult], CrossValidationResult]:
    """Print the leaderboard, and return it with what each model would be as a version, and the baseline."""
    *found, lowest = [_asked(each, choice, rows) for each in (*results, on_folds(choice, table, rows))]
    found = [_as_file(each, table, rows) for each in found]
    console.print(output.leaderboard(found, lowest, choice.metric.words))
    return found, lowest


def _asked(result: CrossValidationResult, choice: Choice, rows: Split) -> CrossValidationResult:
    """Return a result with what its model takes for ASKED rows: to predict the few of a fold tells nothing of that."""
    positions = np.resize(np.arange(len(rows.train_features)), ASKED)
    features, began = rows.train_features.iloc[positions], time.perf_counter()
    choice.metric.response(result.model, features)
    return replace(result, predict_seconds=time.perf_counter() - began)


def _as_file(result: CrossValidationResult, table: Table, rows: Split) -> CrossValidationResult:
    """Return a result with the size of its model's file, and whether ONNX serves it."""
    try:
        count = len(skops.io.dumps(result.model))
    except Exception:  # an estimator may have what cannot be written; a training of it says so
        return result
    made = onnx_export.make(result.model, table.columns, rows.train_features, table.task)
    return replace(result, file_bytes=count, has_onnx_engine=made.content is not None)


def told(results: list[CrossValidationResult], lowest: CrossValidationResult, choice: Choice) -> list[dict[str, Any]]:
    """Return the leaderboard as JSON has it, the best first and the baseline, which has no place, last."""
    return [
        {
            "place": None if found is lowest else place,
            "algorithm": found.name,
            "metric": choice.metric.name,
            "mean": finite(found.mean),
            "spread": finite(found.spread),
            "folds": finite(found.scores),
            "seconds": found.seconds,
            **run_logging.costs(found),
            "parameters": found.found.parameters if found.found else {},
        }
        for place, found in enumerate([*results, lowest], 1)
    ]


def log(
    settings: Settings,
    results: list[CrossValidationResult],
    lowest: CrossValidationResult,
    choice: Choice,
    table: Table,
    console: Console,
) -> None:
    """Log a comparison as a run with a child for each algorithm, where MLflow answers; print where it is."""
    try:
        rest.check_reachable(settings.tracking_uri)
        experiment_id = run_logging.connect(settings.tracking_uri, run_lifecycle.experiment_of(table.name))
        run_id = _logged(results, lowest, choice, table)
    except TrackingError as error:  # algorithms can be compared without a stack
        output.notes(console, [f"not logged to MLflow: {error}"])
        return
    if settings.public_url:
        console.print(f"Run: {output.run_link(settings.public_url, experiment_id, run_id)}", soft_wrap=True)


def _logged(results: list[CrossValidationResult], lowest: CrossValidationResult, choice: Choice, table: Table) -> str:
    words = choice.metric.words
    with Held(), run_lifecycle.training_run(f"compare {table.name}") as run:
        mlflow.set_tags({"data_sha256": table.sha256, "kind": "comparison"})
        params: dict[str, Any] = {"metric": choice.metric.name, "folds": choice.folds, "trials": choice.trials}
        mlflow.log_params(params | run_logging.division(table))
        run_logging.log_dataset(table)
        run_logging.log_leaderboard(results, lowest, words)
        name = f"compare: {results[0].name} {number(results[0].mean)}"
        run_logging.describe_run(run.info.run_id, name, output.leaderboard_note(results, lowest, words))
    return str(run.info.run_id)
