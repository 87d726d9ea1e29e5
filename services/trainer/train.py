"""Phases 3 and 4 of the workshop: train, track, register, and decide on promotion."""

from collections.abc import Callable

from rich.console import Console
from rich.table import Table as Grid

from trainer import iris, moves, registry, runs, signing, tracking, training
from trainer.interruption import Held
from trainer.promotion import Contender, Decision, should_promote
from trainer.settings import Settings
from trainer.table import read, split
from trainer.tracking_server import SIGNED_BY
from trainer.training import Evaluation


def train(settings: Settings, console: Console) -> None:
    """Train on the CSV in the data folder; add a version to the registry; promote it where the rule says so."""
    signing.check_key(settings.signing_key)
    step = _steps(console, 5)
    step("read and check the data")
    table = read(settings.data_dir / iris.FILE_NAME, iris.TARGET, iris.CLASS_NAME)
    rows = split(table)

    step(f"fit on {len(rows.train_features)} rows, measure on the {len(rows.test_features)} held out")
    estimator = training.fit(rows.train_features, rows.train_target)
    evaluation = training.evaluate(estimator, rows)

    step(f"log the run to {settings.tracking_uri}")
    tracking.connect(settings.tracking_uri)
    for finding in runs.close_abandoned_runs():
        console.print(f"      {finding}", markup=False, highlight=False, soft_wrap=True)
    # Until the decision is carried out the run is RUNNING: whoever kills it in between leaves a trace to tidy up.
    with Held() as signals, runs.training_run() as run:
        with signals.let_through():
            tracking.log_parameters(estimator, table, rows)
            tracking.log_dataset(table)
            tracking.log_evaluation(evaluation, table.class_names)
            model = tracking.log_model(estimator, table, run, settings.model_name, settings.signing_key)

            step(f"register it as a version of {settings.model_name}")
            key_id = signing.key_id(settings.signing_key)
            tags = {"data_sha256": table.sha256, SIGNED_BY: key_id}
            version = registry.register(model, settings.model_name, tags).version

            step("decide on promotion")
            candidate = Contender(version, evaluation.metrics["test_accuracy"], table.sha256)
            incumbent = registry.incumbent(settings.model_name, key_id)
            decision = should_promote(candidate, incumbent, settings.min_test_accuracy)
        _carry_out(decision, settings.model_name, version)

    console.print(_summary(settings.model_name, evaluation, version, decision))
    if settings.public_url:
        # Outside of the table: a link stays whole however narrow the terminal is.
        run = f"{settings.public_url}/#/experiments/{model.experiment_id}/runs/{model.run_id}"
        console.print(f"Run:     {run}", soft_wrap=True)
        console.print(
            f"Version: {settings.public_url}/#/models/{settings.model_name}/versions/{version}", soft_wrap=True
        )


def _steps(console: Console, total: int) -> Callable[[str], None]:
    """Return a function that prints "[1/5] …", counting up."""
    numbers = iter(range(1, total + 1))
    return lambda text: console.print(f"[{next(numbers)}/{total}] {text}", markup=False, highlight=False)


def _carry_out(decision: Decision, name: str, version: str) -> None:
    """Move the alias first, it is what counts; then show what happened on the versions."""
    if decision.promote:
        moves.move(name, "train", version, decision.reason)
        stage, words = "Production", "Promoted"
    else:
        stage, words = ("Staging" if decision.meets_floor else "None"), "Not promoted"
    registry.describe(name, version, stage, f"{words}: {decision.reason}.")
    registry.show_stages(name)


def _summary(name: str, evaluation: Evaluation, version: str, decision: Decision) -> Grid:
    metrics = evaluation.metrics
    grid = Grid(title=f"{name}, version {version}", title_justify="left", show_header=False)
    grid.add_row("test accuracy", f"{metrics['test_accuracy']:.2%}")
    grid.add_row("train accuracy", f"{metrics['train_accuracy']:.2%}")
    grid.add_row("overfitting gap", f"{metrics['overfitting_gap']:.4f}")
    grid.add_row(
        "precision", f"{metrics['test_precision_micro']:.2%} micro, {metrics['test_precision_macro']:.2%} macro"
    )
    grid.add_row("recall", f"{metrics['test_recall_micro']:.2%} micro, {metrics['test_recall_macro']:.2%} macro")
    grid.add_row("F1", f"{metrics['test_f1_macro']:.2%} macro")
    grid.add_section()
    grid.add_row("promotion", f"{'PROMOTED to Production' if decision.promote else 'not promoted'}: {decision.reason}")
    return grid
