"""What reads data: train, compare, explore, bootstrap and schedule."""

import json
import os
import shlex
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import click

from trainer import experiment, training_lock
from trainer.artifact import signing
from trainer.cli.group import trainer
from trainer.cli.imports import importing
from trainer.cli.options import CHOICE_OPTIONS, DATA_OPTIONS, FORM_OPTIONS, GATE_OPTIONS, options, plan
from trainer.console import terminal
from trainer.console.terminal import Console
from trainer.errors import SettingsError, TrainerError, Unchanged, VersionError
from trainer.plots.worker import Drawing
from trainer.promotion_record import PromotionRecord
from trainer.settings import Settings
from trainer.tracking import rest


@trainer.command(
    epilog="""\b
Examples:
  trainer train
  trainer train --dataset wine --algorithm random_forest
  trainer train --data churn.csv --target left --drop customer_id
  trainer train --dataset wine --algorithm logistic_regression --algorithm random_forest --model-name wine
  trainer train --dataset breast_cancer --search 30
  trainer train --estimator sklearn.svm.SVC --param C=2 --model-name iris_svc
  trainer train --config experiments/wine_leaderboard.yaml"""
)
@options(DATA_OPTIONS, FORM_OPTIONS, CHOICE_OPTIONS, GATE_OPTIONS)
@click.option(
    "--if-new",
    is_flag=True,
    help="Only where no run has trained this model on the same data with the same options; else say which has.",
)
@click.option("--json", "as_json", is_flag=True, help="The promotion record as JSON on stdout; all else on stderr.")
@click.pass_context
def train(context: click.Context, /, as_json: bool, **options: Any) -> None:
    """Train, track, register a new version, and promote it where the rule says so.

    A version is promoted when nothing is in Production, when what is there cannot be served any more, or when it does
    better than the champion, by more than chance explains, on rows that neither was fitted on; and in any case only where
    it passes the quality gate: better than a baseline that looks at no feature, unless --threshold, a file's `thresholds`,
    MIN_TEST_ACCURACY or MIN_TEST_R2 say otherwise.
    """
    wanted = plan(context, options)
    rest.check_reachable(context.obj.tracking_uri)
    try:
        found: PromotionRecord | Unchanged = _train(context.obj, wanted, Console(stderr=as_json))
    except Unchanged as unchanged:
        click.echo(terminal.one_line(str(unchanged)), err=as_json)
        found = unchanged
    if as_json:
        click.echo(json.dumps(found.as_dict(), allow_nan=False))


@trainer.command(
    epilog="""\b
Example:
  trainer compare --dataset wine --algorithm logistic_regression --algorithm random_forest"""
)
@options(DATA_OPTIONS, FORM_OPTIONS, CHOICE_OPTIONS)
@click.option("--json", "as_json", is_flag=True, help="The leaderboard as JSON on stdout; all else on stderr.")
@click.pass_context
def compare(context: click.Context, /, as_json: bool, **options: Any) -> None:
    """Cross-validate algorithms on the same folds, show the leaderboard and log it; nothing is registered.

    Without --algorithm, all that are for the task. The held-out rows of `train` are not looked at. Where MLflow answers,
    the comparison is a run there, with a child for each algorithm.
    """
    # No model is made, so none has to be named.
    wanted = plan(context, {**options, "model_name": "compared"})
    with importing():
        import skops.io  # noqa: F401 - before MLflow, as in a training

        from trainer.commands.compare import compare as run

    board = run(context.obj, wanted, Console(stderr=as_json))
    if as_json:
        click.echo(json.dumps(board, allow_nan=False))


@trainer.command()
@options(DATA_OPTIONS, FORM_OPTIONS)
@click.pass_context
def explore(context: click.Context, /, **options: Any) -> None:
    """Report on a data set and draw it: data/iris_dataset.csv, or another one, into data/exploration/.

    Where MLflow answers, the report is logged there too, beside the data set's digest.
    """
    with importing():
        from trainer.commands.explore import explore as run

    run(context.obj, plan(context, options), Console())


@trainer.command()
@click.pass_obj
def bootstrap(settings: Settings) -> None:
    """Train the first model, only where nothing ever was in Production.

    Where the version there has lost what it needs to be served, go back to the last one that has it all, and train where
    there is none. What cannot be reached is not lost: then nothing is done.
    """
    signing.check_key(settings.signing_key)
    name, key_id = settings.model_name, signing.key_id(settings.signing_key)
    current = rest.production(settings.tracking_uri, name, key_id)
    if current and not current.lost:
        click.echo(f"version {current.version} of {name} is in Production: nothing to do")
        return
    if current and current.lost:
        click.echo(f"version {current.version} of {name}, in Production, has lost {current.lost}")
        if _recover(settings, current.lost):
            return
        click.echo(f"no version of {name} that was in Production before can be served: training a new one")
    elif last := rest.last_in_production(settings.tracking_uri, name):
        raise VersionError(
            f"nothing is in Production of {name}, where version {last} was: the alias was taken away, or its version "
            f"deleted. `rollback` or `promote {last}` puts one there, `train` makes a new one"
        )
    record = _train(settings, experiment.Plan(model_name=name), Console())
    if not record.promoted:
        # Else `up` would wait for predictions that nothing can give.
        raise VersionError(f"nothing is in Production of {name}: {record.reason}")


def _recover(settings: Settings, lost: str) -> bool:
    with importing():
        from trainer.commands.production import recover

    return recover(settings, lost, Console())


@trainer.command()
@click.pass_obj
def schedule(settings: Settings) -> None:
    """Train by the clock (TRAIN_SCHEDULE, TRAIN_TZ) and on drift, with the options TRAIN_ARGS, until a signal ends it.

    It carries a challenge on, too: `challenge carry-on`. Never two trainings at once; what was missed is made up for once; what has been trained before is not trained again. What came of it
    is under /status and /metrics (docs/schedule.md).
    """
    from trainer.commands.schedule import run
    from trainer.schedule.settings import Schedule

    wanted = Schedule.from_env(os.environ)
    check_arguments(settings, list(wanted.arguments))
    check_choice(list(wanted.arguments))
    signing.check_key(settings.key)
    run(settings, wanted)


def check_arguments(settings: Settings, arguments: list[str]) -> None:
    """Raise SettingsError where `train` would not take them."""
    try:
        plan_of_arguments(settings, list(arguments))
    except click.ClickException as error:
        raise SettingsError(f"TRAIN_ARGS is {shlex.join(arguments)!r}: {error.format_message()}") from error
    except click.exceptions.Exit:
        raise SettingsError(f"TRAIN_ARGS is {shlex.join(arguments)!r}; expected options of a training") from None


def check_choice(arguments: list[str]) -> None:
    """Raise SettingsError where TRAIN_ARGS name a metric, an algorithm, a parameter or a threshold that is none; TrainerError where it cannot be told.

    In a process of its own: who waits for the next training has no use for scikit-learn, which takes 100 MB.
    """
    command = [sys.executable, "-m", "trainer.cli.check", *arguments]
    ended = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")
    words = (ended.stderr.strip().splitlines() or ["nothing"])[-1]
    if ended.returncode == SettingsError.exit_code:
        raise SettingsError(f"TRAIN_ARGS is {shlex.join(arguments)!r}: {words}")
    if ended.returncode:  # out of memory, or whatever else is no fault of the options
        raise TrainerError(
            f"TRAIN_ARGS could not be checked: the process that does it ended with {ended.returncode}, and says {words}"
        )


def plan_of_arguments(settings: Settings, arguments: list[str]) -> experiment.Plan:
    """Return what `train` makes of its arguments; raise ClickException or SettingsError where it would not take them."""
    with train.make_context("train", arguments, obj=settings) as context:
        return plan(context, {name: value for name, value in context.params.items() if name != "as_json"})


def _train(settings: Settings, wanted: experiment.Plan, console: Console) -> PromotionRecord:
    # Imported where it is needed: MLflow and scikit-learn take seconds, and `bootstrap` mostly has nothing to do.
    with _lock(settings):
        with importing():
            # Before MLflow: for each of its types it looks through every module that is there.
            import skops.io  # noqa: F401
        with Drawing() as drawing:
            with importing():
                from trainer.commands.train import train as run

            return run(settings, wanted, console, drawing)


def _lock(settings: Settings) -> AbstractContextManager[None]:
    """Hold the lock of a training, unless whoever has started this one does."""
    tell = partial(click.echo, err=True)
    return nullcontext() if settings.has_lock else training_lock.beside_others(settings.data_dir, tell)
