"""Phases 3 and 4 of the workshop: train, track, register, and decide on promotion."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from contract.tracking.rest import SIGNED_BY
from mlflow import MlflowClient
from sklearn.base import BaseEstimator

from trainer.artifact import logged_model, provenance, signing, version_checks, version_files
from trainer.console import output
from trainer.console.terminal import Console
from trainer.data import leakage, schema
from trainer.data.table import Split, Table, Task, read, split
from trainer.errors import DataError, TrainerError, VersionError
from trainer.experiment import Plan
from trainer.fit.evaluation import SCORES, Evaluation, evaluate
from trainer.fit.model_selection import Choice, choose, prepared
from trainer.plots.worker import Drawing
from trainer.promotion.champion_challenger import Contest
from trainer.promotion.policy import Contender, Decision, Gate, Rule
from trainer.settings import Settings
from trainer.signals import Held
from trainer.tracking import registry, run_lifecycle, run_logging


@dataclass(frozen=True)
class Fitted:
    """The estimator that was chosen, fitted on all rows that may be fitted on."""

    algorithm: str
    estimator: Any
    evaluation: Evaluation
    seconds: float


def train(settings: Settings, plan: Plan, console: Console, drawing: Drawing) -> dict[str, Any]:
    """Train as the plan says; add a version to the registry; promote it where the rule says so.

    `drawing` makes the pictures. Returns what it came to, as the promotion record has it.
    """
    signing.check_key(settings.signing_key)
    step = output.steps(console, 5)
    step("read and check the data")
    path = plan.path(settings.data_dir)
    table = read(path, plan.target, Task(plan.task) if plan.task else None, plan.drop, plan.keep)
    choice = Choice.of(plan, table.task)
    name = plan.registered_name(settings, table.name, choice.name)
    experiment_id = run_logging.connect(settings.tracking_uri, run_logging.experiment_of(table.name))
    table = _conform(table, name, plan.new_ranges, settings.signing_key)
    output.notes(console, table.remarks)
    rows = split(table)
    leaks = leakage.leaks(table, rows)
    output.notes(console, leaks)

    step(choice.words(rows))
    standings = choose(choice, table, rows, console)
    if standings:
        console.print(output.leaderboard(standings, table.task))
        algorithm, estimator = standings[0].name, standings[0].estimator
    else:
        algorithm, estimator = choice.name, prepared(choice.algorithms[0], table, rows)
    fitted = _fit(algorithm, estimator, table, rows)
    drawing.begin(fitted.estimator, rows, fitted.evaluation, table.task, table.class_names, fitted.seconds)

    step(f"log the run to {settings.tracking_uri}")
    output.notes(console, run_lifecycle.close_abandoned_runs(experiment_id))
    # Until the decision is carried out the run is RUNNING: whoever kills it in between leaves a trace to tidy up.
    with Held() as signals, run_lifecycle.training_run() as run:
        with signals.let_through():
            origin = provenance.provenance(settings.image)
            tags = {
                "data_sha256": table.sha256,
                "model_name": name,
                **{key: text for key, text in origin.items() if text},
            }
            _log(fitted, standings, table, rows, tags)
            figures = {"algorithm": fitted.algorithm, "metrics": fitted.evaluation.metrics}
            model = logged_model.log_model(fitted.estimator, table, rows, run, name, settings.signing_key, figures)
            run_logging.log_pictures(drawing.pictures())

            step(f"register it as a version of {name}")
            tags |= {SIGNED_BY: signing.key_id(settings.signing_key), "algorithm": fitted.algorithm}
            version = registry.register(model.model_id, name, tags).version

            step("decide on promotion")
            metrics = fitted.evaluation.metrics
            candidate = Contender(str(version), metrics[f"test_{SCORES[table.task]}"], table.sha256)
            gate = _gate(plan, settings, table.task, leaks)
            contest = Contest(
                name,
                candidate,
                fitted.estimator,
                metrics,
                table,
                rows,
                gate,
                settings.signing_key,
                settings.trusted_types,
            )
            decision = contest.decide()
            output.notes(console, contest.remarks)
            attempts = run_lifecycle.attempts(experiment_id, table.sha256, name)
        decision = contest.carry_out(decision)
        record = {
            "model_name": name,
            "version": str(version),
            "run_id": model.run_id,
            "model_id": model.model_id,
            "model_sha256": model.sha256,
            "algorithm": fitted.algorithm,
            "data": {"file": table.path.name, "sha256": table.sha256, "rows": len(table.target)},
            "attempts_on_this_data": attempts,
            "leaks": leaks,
            "accept_leak": plan.accept_leak,
            "metric": SCORES[table.task],
            "floors": dict(gate.floors),
            "rule": str(gate.rule),
            "margin": gate.margin,
            "rounds": contest.rounds,
            "promoted": decision.promote,
            "meets_floor": decision.meets_floor,
            "reason": decision.reason,
            "metrics": metrics,
            "twin": model.twin,
            **origin,
        }
        _show(record, decision)

    console.print(output.result(record, table.task))
    output.links(console, settings.public_url, record, model.experiment_id)
    return record


def _conform(table: Table, name: str, new_ranges: bool, key: Path) -> Table:
    """Hold the table against the schema of the model's version in Production, else of its newest one."""
    version = registry.in_production(name) or registry.newest(name)
    if version is None:
        return table
    try:
        with version_files.signed(version, name, key) as folder:
            columns, known = version_checks.interface_of(folder), schema.read(folder)
    except VersionError as error:
        # What nobody has signed says nothing, and a version without its files has no interface left to keep.
        table.remarks.append(
            f"version {version.version} of {name} could not be read, so its schema is not known: {error}"
        )
        return table
    if known is not None:
        return schema.conform(table, known, name, new_ranges)
    if [column.name for column in columns] != [column.name for column in table.columns]:
        raise DataError(
            f"{table.path} does not fit {name}, whose version {version.version} has the columns "
            f"{', '.join(repr(column.name) for column in columns)}. To train a model of its own, name it: --model-name NAME"
        )
    return table


def _fit(name: str, estimator: BaseEstimator, table: Table, rows: Split) -> Fitted:
    started = time.perf_counter()
    try:
        estimator.fit(rows.train_features, rows.train_target)
    except Exception as error:  # an estimator may fail in any way
        raise TrainerError(f"{name} cannot be fitted on {table.path}: {type(error).__name__}: {error}") from error
    seconds = time.perf_counter() - started
    return Fitted(name, estimator, evaluate(estimator, rows, table.task, table.class_names), seconds)


def _log(fitted: Fitted, standings: list[Any], table: Table, rows: Split, tags: dict[str, str]) -> None:
    with run_logging.mlflow_errors():
        mlflow.set_tags(tags)
        if commit := tags.get("git_commit"):
            mlflow.set_tag("mlflow.source.git.commit", commit)
        run_logging.log_parameters(fitted.estimator, table, rows)
        run_logging.log_dataset(table)
        mlflow.log_metrics(fitted.evaluation.metrics)
        if standings:
            run_logging.log_leaderboard(standings, table.task)


def _gate(plan: Plan, settings: Settings, task: Task, leaks: list[str]) -> Gate:
    floors = (
        {"test_accuracy": settings.min_test_accuracy}
        if task is Task.CLASSIFICATION
        else {"test_r2": settings.min_test_r2}
    )
    return Gate(
        metric=SCORES[task],
        floors={**floors, **plan.floors},
        rule=Rule(plan.rule),
        margin=plan.margin,
        promote=plan.promote,
        forced=plan.reason if plan.force else None,
        leaks=() if plan.accept_leak else tuple(leaks),
    )


def _show(record: dict[str, Any], decision: Decision) -> None:
    """Show what was decided: the record on the run, and in a few words on the version."""
    name, version = record["model_name"], record["version"]
    stage = "Production" if decision.promote else "Staging" if decision.meets_floor else "None"
    words = "Promoted" if decision.promote else "Not promoted"
    with run_logging.mlflow_errors():
        client = MlflowClient()
        client.log_text(record["run_id"], json.dumps(record, indent=1, allow_nan=False) + "\n", "promotion.json")
        for key in ("rule", "attempts_on_this_data"):
            client.set_model_version_tag(name, version, key, str(record[key]))
    registry.describe(name, version, stage, f"{words}: {decision.reason}.\n\n{output.origin(record)}")
    registry.show_stages(name)
