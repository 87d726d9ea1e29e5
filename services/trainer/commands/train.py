"""Phases 3 and 4 of the workshop: train, track, register, and decide on promotion."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import nan
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from contract.display import without_login
from contract.tracking.rest import is_server
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from trainer.adoption import answers
from trainer.artifact import logged_model, model_card, signing, version_checks, version_files
from trainer.artifact.logged_model import LoggedModel, Signing
from trainer.artifact.model_card import Circumstances
from trainer.artifact.provenance import Provenance, provenance
from trainer.commands import leaderboard
from trainer.console import output
from trainer.console.terminal import Console
from trainer.data import builtin_datasets, leakage, schema
from trainer.data.table import Split, Table, Task, read, split
from trainer.errors import DataError, TrackingError, Unchanged, VersionError
from trainer.experiment import Plan
from trainer.fit import contributions, decision, metric, model_selection
from trainer.fit.baseline import Baseline, baseline
from trainer.fit.cross_validation import CrossValidationResult
from trainer.fit.evaluation import gain
from trainer.fit.model_selection import Choice, Fitted, choose, fit, prepared
from trainer.plots.worker import Drawing
from trainer.promotion.champion_challenger import Challenge
from trainer.promotion.policy import Contender, Decision, Proposal, QualityGate, Rule, bound, should_promote
from trainer.promotion_record import PromotionRecord
from trainer.settings import Settings
from trainer.signals import Held
from trainer.tracking import alias_moves, candidates, registry, rest, run_lifecycle, run_logging
from trainer.tracking.answers import mlflow_errors

# Why a version is not promoted from a machine that has no key.
PROPOSED = (
    "there is no signing key here; it has the alias candidate now, and the reviewer of the server checks and signs it, "
    "and promotes it where it wins"
)

Board = tuple[list[CrossValidationResult], CrossValidationResult]
"""the algorithms, the best first, and the baseline"""


@dataclass(frozen=True)
class Job:
    """What is asked for, the data that it is about, and under which names the result is kept."""

    settings: Settings
    plan: Plan
    name: str
    """of the registered model"""
    experiment_id: str
    """empty where no run is logged"""
    table: Table
    rows: Split
    leaks: list[str]
    choice: Choice
    baseline: Baseline
    origin: Provenance


def train(settings: Settings, plan: Plan, console: Console, drawing: Drawing) -> PromotionRecord:
    """Train, register and promote as the plan says, with pictures by `drawing`; without a key, propose. Raises Unchanged if so wanted."""
    signing.check_key(settings.key)
    step = output.steps(console, 5)
    step("read and check the data")
    job = _checked_new(prepare_job(settings, plan, console))

    step(job.choice.words(job.rows))
    board, fitted = _choose_and_fit(job, console)
    drawing.begin(fitted.estimator, job.rows, fitted.evaluation, job.table.task, job.table.class_names, fitted.seconds)

    step(f"log the run to {without_login(settings.tracking_uri)}")
    output.notes(console, run_lifecycle.close_abandoned_runs(job.experiment_id) if settings.has_key else [])
    # Until the decision is carried out the run is RUNNING: whoever kills it in between leaves a trace to tidy up.
    with Held() as signals, run_lifecycle.training_run(job.choice.name) as run:
        with signals.let_through(at_once=is_server(settings.tracking_uri)) as end_if_told:
            tags = _log(job, fitted, board)
            model = logged_model.log_model(fitted, job.table, job.rows, run, _signing(job, fitted))
            end_if_told()
            run_logging.log_pictures(drawing.pictures())
            end_if_told()

            step(f"register it as a version of {job.name}")
            tags |= {"algorithm": fitted.algorithm, **_tags_of_the_key(settings)}
            challenge = challenge_of(job, fitted, str(registry.register(model.model_id, job.name, tags).version))

            step("decide on promotion")
            made = challenge.decide() if settings.has_key else _verdict(challenge)
            output.notes(console, challenge.remarks)
            attempts = run_lifecycle.attempts(job.experiment_id, job.table.sha256, job.name)
        made = challenge.carry_out(made)
        record = _record(job, fitted, model, challenge, made, attempts)
        record = replace(record, leaderboard=leaderboard.told(*board, job.choice) if board else [])
        _show(record, job.table.task, settings.has_key)
        if isinstance(made, Proposal):  # last: what its review comes to is written over what is shown by now
            candidates.propose(job.name, record.version, settings.who)

    output.show(console, record, job.table.task)
    output.links(console, settings.public_url, record, model.experiment_id)
    return record


def prepare_job(settings: Settings, plan: Plan, console: Console, logs_run: bool = True) -> Job:
    """Read and check the data that a plan names, hold it against the versions of the model, and divide its rows.

    Where no run will be logged, no experiment is opened or needed: others may rename or delete it.
    """
    model_selection.check(plan)
    path = plan.path(settings.data_dir)
    table = read(path, plan.target, Task(plan.task) if plan.task else None, plan.drop, plan.keep, plan.form())
    choice = Choice.of(plan, table)
    name = plan.registered_name(settings, table.name, choice.name)
    experiment_id = _experiment(settings, table) if logs_run else ""
    table = _conform(table, name, plan.new_ranges, settings.key)
    output.notes(console, table.remarks)
    rows = split(table)
    copies = leakage.copies(rows)
    leaks = leakage.leaks(table, rows, copies)
    output.notes(console, [*leaks, *leakage.notes(table, copies), *metric.remarks(choice.metric, plan.metric, table)])
    lowest = baseline(choice.metric, table, rows)
    return Job(settings, plan, name, experiment_id, table, rows, leaks, choice, lowest, provenance(settings.image))


def _checked_new(job: Job) -> Job:
    """Return the job; raise Unchanged where that is asked for, and a run that has ended well trained the model on the same data, options and code."""
    if job.plan.if_new and (run := run_lifecycle.finished(job.experiment_id, _tags_of_what_decides(job))):
        raise Unchanged(
            job.name,
            run.info.run_id,
            f"{job.table.path.name} is what run {run.info.run_name} of {job.name} was trained on, with the same options: nothing new",
        )
    return job


def _tags_of_what_decides(job: Job) -> dict[str, str]:
    """Return the tags by which two trainings are the same: each has been given what the other one was."""
    options = replace(job.plan, thresholds=dict(_thresholds(job))).sha256()
    known = {"data_sha256": job.table.sha256, "model_name": job.name, "options_sha256": options}
    return known | {"code_sha256": job.origin.code_sha256}


def _experiment(settings: Settings, table: Table) -> str:
    experiment_id = run_logging.connect(settings.tracking_uri, run_lifecycle.experiment_of(table.name))
    run_logging.describe_experiment(experiment_id, f"{table.task} of {table.target.name!r} in {table.path.name}")
    return experiment_id


def _conform(table: Table, name: str, new_ranges: bool, key: Path | None) -> Table:
    """Hold the table against the schema of the model's version in Production, else of its newest one; without a key, of none."""
    version = registry.in_production(name) or registry.newest(name)
    if version is None or key is None:
        return table
    try:
        with version_files.signed(version, name, key) as folder:
            columns, known = version_checks.interface_of(folder), schema.read(folder)
    except (VersionError, TrackingError) as error:
        if isinstance(error, TrackingError):
            rest.check_reachable(mlflow.get_tracking_uri())  # where nothing answers, nothing is trained
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


def _choose_and_fit(job: Job, console: Console) -> tuple[Board | None, Fitted]:
    """Return the leaderboard, None where there is nothing to choose, and what is on top of it, fitted."""
    results, judged_by, board = choose(job.choice, job.table, job.rows, console), job.choice.metric, None
    if results:
        board = leaderboard.shown(results, job.choice, job.table, job.rows, console)
        name, estimator = results[0].name, results[0].estimator
    else:
        name, estimator = job.choice.name, prepared(job.choice.algorithms[0], job.table, job.rows)
    if job.plan.calibrate:
        estimator = decision.calibrated(estimator, judged_by, job.plan.folds)
    if job.plan.decision_threshold:
        estimator = decision.decided(estimator, job.plan.decision_threshold, judged_by, job.rows, job.plan.folds)
    fitted = fit(name, estimator, job.table, job.rows, judged_by)
    positive = None if judged_by.positive is None else metric.class_name(judged_by, job.table)
    explained = contributions.summary(fitted.estimator, job.rows, judged_by, positive)
    fitted = replace(fitted, evaluation=replace(fitted.evaluation, contributions=explained))
    fitted.evaluation.metrics[baseline_of(job)] = judged_by.of(job.baseline.estimator, *job.rows.test)
    metric.check_thresholds(_thresholds(job), fitted.evaluation.metrics, job.table.task)
    return board, fitted


def baseline_of(job: Job) -> str:
    """Return under which name the baseline's figure is among the metrics."""
    return f"baseline_{job.choice.metric.name}"


def _signing(job: Job, fitted: Fitted) -> Signing:
    known = Circumstances(job.name, job.baseline.words, _thresholds(job), job.leaks, job.origin)
    return Signing(job.name, job.settings.key, model_card.text(fitted, job.table, job.rows, known))


def _log(job: Job, fitted: Fitted, board: Board | None) -> dict[str, str]:
    """Log all but the model and the pictures; return the run's tags."""
    tags = {"data_sha256": job.table.sha256, "model_name": job.name, **job.origin.known()}
    with mlflow_errors():
        commit = {"mlflow.source.git.commit": job.origin.git_commit} if job.origin.git_commit else {}
        mlflow.set_tags(tags | _tags_of_what_decides(job) | commit)
        run_logging.log_parameters(fitted.estimator, job.table, job.rows)
        run_logging.log_dataset(job.table)
        mlflow.log_metrics(fitted.evaluation.metrics)
        if board is not None:
            run_logging.log_leaderboard(*board, job.choice.metric.words)
    return tags


def challenge_of(job: Job, fitted: Fitted, version: str) -> Challenge:
    """Return a version's challenge by the plan's policy, with nothing decided."""
    metrics, settings, name = fitted.evaluation.metrics, job.settings, job.choice.metric.name
    return Challenge(
        name=job.name,
        challenger=Contender(version, metrics[f"test_{name}"], job.table.sha256, bound=bound(metrics, name)),
        estimator=fitted.estimator,
        metrics=metrics,
        table=job.table,
        rows=job.rows,
        gate=_gate(job, fitted),
        metric=job.choice.metric,
        signing_key=settings.signing_key,
        trusted=settings.trusted_types,
        asked=settings.by_whom,
        ask=partial(_asked, settings),
    )


def _asked(
    settings: Settings, version: ModelVersion, folder: Path, rows: pd.DataFrame
) -> tuple[Any, np.ndarray] | None:
    """Have a champion that a training elsewhere has made answer rows in a sandbox; None where it does not say which it knows."""
    if not answers.claimed(version, folder):
        return None
    hidden = [settings.signing_key, settings.data_dir]
    estimator, hashes = answers.asked(folder, rows, settings.trusted_types, hidden)
    return None if hashes is None else (estimator, hashes)


def _verdict(challenge: Challenge) -> Decision:
    """Say whether a version passes the quality gate: without the key, no champion can be verified and compared with."""
    made = should_promote(challenge.metrics, challenge.challenger, None, None, challenge.gate)
    return Proposal(False, made.meets_threshold, PROPOSED) if made.promote else made


def _gate(job: Job, fitted: Fitted) -> QualityGate:
    plan, thresholds, lowest = job.plan, _thresholds(job), fitted.evaluation.metrics[baseline_of(job)]
    return QualityGate(
        metric=job.choice.metric.name,
        thresholds=thresholds,
        baseline=None if thresholds else lowest,
        gain=(nan, nan) if thresholds else _gain(job, fitted),
        rule=Rule(plan.rule),
        margin=plan.margin,
        promote=plan.promote,
        forced=plan.reason if plan.force else None,
        leaks=() if plan.accept_leak else tuple(job.leaks),
    )


def _gain(job: Job, fitted: Fitted) -> tuple[float, float]:
    """Return the 95 % interval of what the model is better by than the baseline on the held-out rows."""
    judged_by, rows = job.choice.metric, job.rows
    ours, lowest = (judged_by.response(one, rows.test_features) for one in (fitted.estimator, job.baseline.estimator))
    return gain(judged_by, judged_by.encoded(rows.test_target), ours, lowest, rows.test_aside.weights)


def _thresholds(job: Job) -> Mapping[str, float]:
    """Return the thresholds that somebody has said, or that come with the data set; empty where the baseline is one."""
    settings, is_class = job.settings, job.table.task is Task.CLASSIFICATION
    if job.plan.thresholds:
        return job.plan.thresholds
    value = settings.min_test_accuracy if is_class else settings.min_test_r2
    if value is not None:
        return {"test_accuracy" if is_class else "test_r2": value}
    return builtin_datasets.THRESHOLDS if is_class and job.table.name == builtin_datasets.DEFAULT else {}


def _record(
    job: Job, fitted: Fitted, model: LoggedModel, challenge: Challenge, made: Decision, attempts: int
) -> PromotionRecord:
    gate = challenge.gate
    return PromotionRecord(
        model_name=job.name,
        version=challenge.challenger.version,
        run_id=model.run_id,
        model_id=model.model_id,
        model_sha256=model.sha256,
        algorithm=fitted.algorithm,
        data=job.table.origin(),
        attempts_on_this_data=attempts,
        leaks=job.leaks,
        accept_leak=job.plan.accept_leak,
        metric=gate.metric,
        baseline={
            "answer": job.baseline.words,
            "value": fitted.evaluation.metrics[baseline_of(job)],
            "is_threshold": gate.baseline is not None,
        },
        positive=None if job.choice.metric.positive is None else metric.class_name(job.choice.metric, job.table),
        decision_threshold=decision.threshold_of(fitted.estimator),
        thresholds=dict(gate.thresholds),
        rule=str(gate.rule),
        margin=gate.margin,
        rounds=challenge.rounds,
        promoted=made.promote,
        meets_threshold=made.meets_threshold,
        reason=made.reason,
        metrics=fitted.evaluation.metrics,
        onnx_engine=model.onnx_engine,
        git_commit=job.origin.git_commit,
        code_sha256=job.origin.code_sha256,
        image=job.origin.image,
    )


def _tags_of_the_key(settings: Settings) -> dict[str, str]:
    """Return the tags of a new version that are for who has the key, none without it."""
    return {registry.STAGE: "None", **signing.tags(settings.key)} if settings.has_key else {}


def _show(record: PromotionRecord, task: Task, has_key: bool) -> None:
    """Show what was decided: the record on the run, and in a few words on the version.

    Stages are for who has the key: where MLflow asks for a login, nobody else may write what the stack says of a version.
    """
    stage = "Production" if record.promoted else "Staging" if record.meets_threshold else "None"
    words = "Promoted" if record.promoted else "Not promoted"
    with mlflow_errors():
        client = MlflowClient()
        content = json.dumps(record.as_dict(), indent=1, allow_nan=False) + "\n"
        client.log_text(record.run_id, content, "promotion.json")
        run_logging.describe_run(record.run_id, output.run_name(record), output.note(record, task))
        if record.version == "1":
            client.update_registered_model(record.model_name, f"{output.about(record)}\n\n{alias_moves.HEADING}")
        for key in ("rule", "attempts_on_this_data"):
            client.set_model_version_tag(record.model_name, record.version, key, str(getattr(record, key)))
    reason = f"{words}: {record.reason}.\n\n{output.origin(record)}"
    registry.describe(record.model_name, record.version, stage if has_key else None, reason)
    if has_key:
        registry.show_stages(record.model_name)
    alias_moves.show(record.model_name)
