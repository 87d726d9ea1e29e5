"""The trainer's command line: `python -m trainer COMMAND`, by default train."""

import gc
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import audit
import click
from contract.process.imports import quick_imports

from trainer import experiment, signals, training_lock
from trainer.artifact import signing
from trainer.console import terminal
from trainer.console.terminal import Console
from trainer.data import builtin_datasets
from trainer.errors import SettingsError, TrainerError, Unchanged, VersionError
from trainer.plots.worker import Drawing
from trainer.promotion_record import PromotionRecord
from trainer.settings import Settings
from trainer.tracking import rest

# MLflow reads these when it is imported. Its own link names the server as containers see it; ours are for people.
# Its default retries would hide a dead server for four minutes.
MLFLOW_DEFAULTS = {
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    # A version's files are small and many: the bar would be the longest line of the log.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # The image has no git, and MLflow's many lines about that help nobody.
    "GIT_PYTHON_REFRESH": "quiet",
}

# OpenMP reads these when it is loaded, with scikit-learn. By default its threads wait for each other by spinning: on cores that
# others use too, histogram boosting then takes thirty times as long.
THREADS = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}

Callback = Callable[..., Any]
Decorator = Callable[[Callback], Callback]

EXIT_CODES = """\b
Exit codes:
  0  done, promoted or not
  2  an option or a setting is wrong
  3  the data is missing or unusable
  4  MLflow cannot be reached or refuses
  5  a version is not there, or not fit for what is asked
  1  anything else; 130 and 143: stopped"""


@click.group(invoke_without_command=True, epilog=EXIT_CODES, context_settings={"max_content_width": 110})
@click.option("--traceback", is_flag=True, help="Where it fails, show the whole Python traceback too.")
@click.pass_context
def trainer(context: click.Context, traceback: bool) -> None:
    """Explore data, train models on it, and put them into the registry. Without a command: train."""
    settings = Settings.from_env(os.environ)
    context.obj = replace(settings, who=_who(settings))
    audit.begin(context.obj.audit_file, context.obj.who)
    if context.invoked_subcommand is None:
        context.invoke(train)


def _who(settings: Settings) -> str:
    """Return who is at work: as is said, else as MLflow's client logs in, else as this system knows."""
    if settings.who != Settings.who:
        return settings.who
    known = (os.environ.get(name) for name in ("MLFLOW_TRACKING_USERNAME", "USER"))
    return next(filter(None, known), settings.who)


def _read_config(context: click.Context, _parameter: click.Parameter, path: str | None) -> str | None:
    """Take a file's keys as the options' defaults: click checks them like options, and options win over them."""
    if path is not None:
        options = {
            option.name
            for option in context.command.params
            if option.name not in (None, "config", "param", "threshold")
        }
        content = experiment.read(Path(path), {str(name) for name in options})
        context.meta["nested"] = {key: content.pop(key) for key in experiment.NESTED if key in content}
        for name in ("algorithm", "drop", "keep", "text", "number", "date"):
            if isinstance(content.get(name), str):
                content[name] = [content[name]]
        context.default_map = content
    return path


DATA_OPTIONS = [
    click.option(
        "--config",
        is_eager=True,
        expose_value=False,
        callback=_read_config,
        metavar="FILE.yaml",
        help="An experiment under version control: these options as keys, dashes as underscores, and params, pipeline, space "
        "and thresholds, as in experiments/.",
    ),
    click.option(
        "--data",
        metavar="FILE",
        help="A file in data/ (CSV, Excel, Parquet, …), or a folder of Parquet; the default is the iris data set.",
    ),
    click.option(
        "--dataset", type=click.Choice(builtin_datasets.NAMES), help="A data set that comes with scikit-learn."
    ),
    click.option(
        "--target", metavar="COLUMN", default=builtin_datasets.TARGET, show_default=True, help="What to predict."
    ),
    click.option(
        "--task",
        type=click.Choice(["classification", "regression"]),
        help="By default told by the target: text, booleans and at most 20 whole numbers are classes.",
    ),
    click.option("--drop", metavar="COLUMN", multiple=True, help="A column to leave out; may be given several times."),
    click.option("--keep", metavar="COLUMN", multiple=True, help="A column to take although it looks like an id."),
    click.option("--skip-unlabelled", is_flag=True, help="Leave out the rows without a value in the target."),
]
# Each overrides what the file tells.
FORM_OPTIONS = [
    click.option(
        "--separator", metavar="MARK", help="Of CSV: comma, semicolon, tab, pipe, blanks or another character."
    ),
    click.option("--decimal", metavar="MARK", help="In numbers: point or comma."),
    click.option("--thousands", metavar="MARK", help="In numbers: comma, point, blank, apostrophe or none."),
    click.option("--encoding", metavar="NAME", help="Of text: utf-8, cp1252, utf-16, …"),
    click.option("--comment", metavar="MARK", help="What a line begins with that is no row, such as #; or none."),
    click.option(
        "--skip-lines", type=click.IntRange(0), default=0, metavar="N", help="Lines above the names of the columns."
    ),
    click.option("--sheet", metavar="NAME", help="Of an Excel file with several."),
    click.option("--member", metavar="NAME", help="Of a zip file with several files."),
    click.option("--text", metavar="COLUMN", multiple=True, help="A column of text, whatever it looks like."),
    click.option(
        "--number",
        metavar="COLUMN",
        multiple=True,
        help="A column to take as numbers; values that are not numbers count as missing.",
    ),
    click.option(
        "--date",
        metavar="COLUMN",
        multiple=True,
        help="A column to take as dates; COLUMN=day-first or COLUMN=month-first says how they are written, COLUMN=until-2054 which is "
        "the last year of those with two digits, COLUMN=day-first,until-2054 both.",
    ),
]
CHOICE_OPTIONS = [
    click.option(
        "--algorithm",
        metavar="NAME",
        multiple=True,
        help="logistic_regression (the default), linear_regression (for quantities), random_forest, "
        "hist_gradient_boosting, xgboost or lightgbm; several compete on the same folds.",
    ),
    click.option("--estimator", metavar="PATH", help="Any other estimator of scikit-learn's, such as sklearn.svm.SVC."),
    click.option("--param", metavar="NAME=VALUE", multiple=True, help="One of its parameters, such as C=2."),
    click.option(
        "--search", type=click.IntRange(0), default=0, metavar="N", help="Search hyper-parameters in N trials (Optuna)."
    ),
    click.option(
        "--group", metavar="COLUMN", help="Rows with the same value here are fitted on together, or measured on."
    ),
    click.option(
        "--time",
        metavar="COLUMN",
        help="When each row was: the newest fifth is measured on, and folds go forward in time.",
    ),
    click.option(
        "--weight",
        metavar="COLUMN",
        help="How much each row counts, a number from 0: in the fit, in the choice among algorithms and in all figures.",
    ),
    click.option(
        "--metric",
        metavar="NAME",
        help="What models are chosen, compared and promoted by: accuracy, balanced_accuracy, f1, f1_macro, roc_auc, "
        "average_precision, log_loss, r2, rmse, mae or any other scorer of scikit-learn's. By default what fits the target.",
    ),
    click.option(
        "--positive",
        metavar="CLASS",
        help="Of two classes the one that is looked for; by default a rare one, else the second in order.",
    ),
    click.option(
        "--class-weight",
        type=click.Choice(["balanced"]),
        help="Let the rows of each class weigh as much together as those of any other, in the fit.",
    ),
    click.option(
        "--calibrate", is_flag=True, help="Let probabilities be as frequent as they say, by folds of the training rows."
    ),
    click.option(
        "--decision-threshold",
        metavar="tuned|NUMBER",
        help="Of two classes, from which probability on the positive one is said: tuned on the folds by the metric, or a "
        "number between 0 and 1; by default 0.5.",
    ),
    click.option("--folds", type=click.IntRange(2, 50), default=5, show_default=True, help="Of the cross-validation."),
]
GATE_OPTIONS = [
    click.option(
        "--model-name",
        metavar="NAME",
        help="The registered model; by default <data set>_<algorithm>, or MODEL_NAME where that is set.",
    ),
    click.option(
        "--threshold",
        metavar="METRIC=VALUE",
        multiple=True,
        help="What a version must reach to be promoted, such as roc_auc=0.7; in place of the default, which is to be better "
        "than a baseline that looks at no feature.",
    ),
    click.option(
        "--rule",
        type=click.Choice(["significant", "better", "not-worse", "paired"]),
        default="significant",
        show_default=True,
        help="When the challenger wins against the version in Production; by default when it is better by more than chance "
        "explains.",
    ),
    click.option("--margin", type=click.FloatRange(0), default=0.0, show_default=True, help="By how much."),
    click.option("--promote/--no-promote", default=True, help="Whether Production may move at all."),
    click.option("--force", is_flag=True, help="Promote whatever the figures are; needs --reason."),
    click.option("--reason", help="Why, for the history."),
    click.option("--new-ranges", is_flag=True, help="Accept values far out of the range of earlier data."),
    click.option("--accept-leak", is_flag=True, help="Let a model be promoted that knows its target by a leak."),
]


def _options(*groups: Sequence[Decorator]) -> Decorator:
    def add(command: Callback) -> Callback:
        for option in reversed([option for group in groups for option in group]):
            command = option(command)
        return command

    return add


def _plan(context: click.Context, options: dict[str, Any]) -> experiment.Plan:
    nested = dict(context.meta.get("nested", {}))
    params = {**nested.pop("params", {}), **experiment.parameters(options.pop("param", ()))}
    thresholds = experiment.thresholds(options.pop("threshold", ())) or nested.pop("thresholds", {})
    return experiment.Plan(**options, **nested | {"thresholds": thresholds}, params=params)


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
@_options(DATA_OPTIONS, FORM_OPTIONS, CHOICE_OPTIONS, GATE_OPTIONS)
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
    wanted = _plan(context, options)
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
@_options(DATA_OPTIONS, FORM_OPTIONS, CHOICE_OPTIONS)
@click.option("--json", "as_json", is_flag=True, help="The leaderboard as JSON on stdout; all else on stderr.")
@click.pass_context
def compare(context: click.Context, /, as_json: bool, **options: Any) -> None:
    """Cross-validate algorithms on the same folds, show the leaderboard and log it; nothing is registered.

    Without --algorithm, all that are for the task. The held-out rows of `train` are not looked at. Where MLflow answers,
    the comparison is a run there, with a child for each algorithm.
    """
    # No model is made, so none has to be named.
    wanted = _plan(context, {**options, "model_name": "compared"})
    with importing():
        import skops.io  # noqa: F401 - before MLflow, as in a training

        from trainer.commands.compare import compare as run

    board = run(context.obj, wanted, Console(stderr=as_json))
    if as_json:
        click.echo(json.dumps(board, allow_nan=False))


@trainer.command()
@_options(DATA_OPTIONS, FORM_OPTIONS)
@click.pass_context
def explore(context: click.Context, /, **options: Any) -> None:
    """Report on a data set and draw it: data/iris_dataset.csv, or another one, into data/exploration/.

    Where MLflow answers, the report is logged there too, beside the data set's digest.
    """
    with importing():
        from trainer.commands.explore import explore as run

    run(context.obj, _plan(context, options), Console())


@trainer.command()
@click.option("--json", "as_json", is_flag=True, help="For machines: one JSON list and nothing else.")
@click.pass_obj
def models(settings: Settings, as_json: bool) -> None:
    """Show every registered model: its versions, the one in Production, and its figures."""
    rest.check_reachable(settings.tracking_uri)
    with importing():
        from trainer.commands.production import show_models as run

    run(settings, as_json, Console())


MODEL_NAME = click.option("--model-name", metavar="NAME", help="The registered model; by default MODEL_NAME.")


def _named(settings: Settings, model_name: str | None) -> Settings:
    return replace(settings, model_name=model_name) if model_name else settings


@trainer.command()
@click.argument("version")
@click.option(
    "--unconfined", is_flag=True, help="Without a sandbox, where the system has none: for a version of one's own."
)
@click.option(
    "--allow-code",
    is_flag=True,
    help="Show what it is, and sign it as it is, with the code that runs when it is loaded: you vouch for that.",
)
@MODEL_NAME
@click.pass_obj
def adopt(settings: Settings, version: str, unconfined: bool, allow_code: bool, model_name: str | None) -> None:
    """Check a VERSION that was logged by hand, in a sandbox, and sign it, so that it can be served.

    That is for estimators of scikit-learn in the skops format. Any other flavor of MLflow (xgboost, onnx, python_function, …)
    runs code when it is loaded, and is signed with --allow-code alone; the image inference-any then serves it.
    """
    rest.check_reachable(settings.tracking_uri)
    with importing():
        from trainer.adoption.adopt import adopt as run

    run(_named(settings, model_name), version, Console(), confined=not unconfined, allow_code=allow_code)


@trainer.command()
@click.argument("version", required=False)
@MODEL_NAME
@click.pass_obj
def review(settings: Settings, version: str | None, model_name: str | None) -> None:
    """Review a VERSION, by default the one with the alias `candidate`: check, sign, compare with Production, promote it if it wins.

    What came of it is on the version: in its description and its tags, and in `history`. Data and policy are those of the
    file in experiments/ that names the model (`model_name: NAME`), else those that `bootstrap` trains by.
    """
    rest.check_reachable(settings.tracking_uri)
    with importing():
        import skops.io  # noqa: F401 - before MLflow, as in a training

        from trainer.commands.review import REFUSED
        from trainer.commands.review import review as run

    named = _named(settings, model_name)
    made = run(named, version, lambda: _plan_of(settings, named.model_name), Console())
    if made is not None and made.outcome == REFUSED:
        raise VersionError(f"version {made.version} of {named.model_name} is refused: {made.reason}")


@trainer.command()
@click.pass_obj
def reviewer(settings: Settings) -> None:
    """Review whatever version of whatever registered model has the alias `candidate`, until it is stopped."""
    from trainer.commands.reviewer import watch

    signing.check_key(settings.signing_key)
    watch(settings)


def _plan_of(settings: Settings, name: str) -> experiment.Plan:
    """Return what is said of a registered model's data and policy; raise SettingsError where nothing is."""
    if (path := experiment.file_of(name)) is None:
        if name == settings.model_name:
            return experiment.Plan(model_name=name)
        raise SettingsError(
            f"nothing says on which data {name} is judged; a file in experiments/ with `model_name: {name}` and the options of "
            "its training does"
        )
    try:
        return _plan_of_arguments(settings, ["--config", str(path)])
    except click.ClickException as error:
        raise SettingsError(f"{path}: {error.format_message()}") from error


def _plan_of_arguments(settings: Settings, arguments: list[str]) -> experiment.Plan:
    """Return what `train` makes of its arguments; raise ClickException or SettingsError where it would not take them."""
    with train.make_context("train", arguments, obj=settings) as context:
        return _plan(context, {name: value for name, value in context.params.items() if name != "as_json"})


@trainer.command()
@click.argument("version")
@MODEL_NAME
@click.pass_obj
def requirements(settings: Settings, version: str, model_name: str | None) -> None:
    """Print the packages that a VERSION asks for which `adopt --allow-code` has signed: for scripts/inference-any."""
    rest.check_reachable(settings.tracking_uri)
    with importing():
        from trainer.commands.requirements import show as run

    run(_named(settings, model_name), version)


REASON = click.option("--reason", default="no reason given", help="Why, for the history.")


@trainer.command()
@click.argument("version")
@REASON
@MODEL_NAME
@click.pass_obj
def promote(settings: Settings, version: str, reason: str, model_name: str | None) -> None:
    """Put a VERSION into Production by hand, after checking its files, its signature and that it predicts."""
    rest.check_reachable(settings.tracking_uri)
    with importing():
        from trainer.commands.production import promote as run

    run(_named(settings, model_name), version, reason, Console())


@trainer.command(
    epilog="""\b
Examples:
  trainer challenge 4                  shadow: it answers nobody
  trainer challenge 4 --percent 10
  trainer challenge 4 --percent 10 --auto --margin 0.01
  trainer challenge status
  trainer challenge status --logged answers.csv --auto --margin 0.01
  trainer challenge stop --reason "the campaign is over\""""
)
@click.argument("what", metavar="VERSION|status|stop|carry-on")
@click.option(
    "--percent", type=float, default=0.0, show_default=True, help="How many of 100 requests it answers, up to 50."
)
@click.option(
    "--days", type=click.FloatRange(0.01, 365), default=14.0, show_default=True, help="When it is over by itself."
)
@click.option("--json", "as_json", is_flag=True, help="Of status and carry-on, for machines.")
@click.option(
    "--logged",
    type=click.File(),
    metavar="FILE",
    help='Of status: answers, and labels where they have come, as `monitor query --csv "from compared"` writes them; - is the standard input.',
)
@click.option(
    "--auto",
    is_flag=True,
    help="Promote it or end it, where the interval, a failure or its time says so. Of status: now. Of VERSION: until it has "
    "come to that, which the service `schedule` sees to.",
)
@click.option(
    "--margin",
    type=click.FloatRange(0, max=1e300),
    help="Of --auto: by how much it has to be better; of status by default as the challenge was started with, else 0.",
)
@REASON
@MODEL_NAME
@click.pass_obj
def challenge(settings: Settings, /, what: str, **options: Any) -> None:
    """Let a VERSION challenge the one in Production with a share of the requests; show how it stands; stop it.

    It is checked as for `promote`, and has to take and answer what Production does. Which requests are its own follows from
    X-Split-Key or else the request's id. Beyond a limit the service sends it away by itself, at once and for good. `carry-on` is
    what the service `schedule` does again and again: it writes that down, and does what --auto asks for.
    """
    rest.check_reachable(settings.tracking_uri)
    named = _named(settings, options.pop("model_name"))
    with importing():
        from trainer.commands import challenge as run

    if what == "carry-on":
        with importing():
            from trainer.commands.carry_on import carry_on

        carry_on(named, options["as_json"], Console(stderr=options["as_json"]))
    elif what == "status":
        if options["auto"] and options["logged"] is None:
            raise SettingsError("--auto decides by labels: --logged FILE has them")
        asked = run.Asked(options["as_json"], options["logged"], options["auto"], options["margin"])
        run.status(named, asked, Console(stderr=options["as_json"]))
    elif what == "stop":
        run.stop(named, options["reason"], Console())
    else:
        run.check_percent(options["percent"])
        auto = (options["margin"] or 0.0) if options["auto"] else None
        run.start(named, what, run.Wanted(options["percent"], options["days"], auto), Console())


@trainer.command()
@REASON
@MODEL_NAME
@click.pass_obj
def rollback(settings: Settings, reason: str, model_name: str | None) -> None:
    """Go back to the version that was in Production before, of those that may still be served."""
    rest.check_reachable(settings.tracking_uri)
    with importing():
        from trainer.commands.production import rollback as run

    run(_named(settings, model_name), reason, Console())


@trainer.command()
@click.option("--json", "as_json", is_flag=True, help="For machines: one JSON list and nothing else.")
@MODEL_NAME
@click.pass_obj
def history(settings: Settings, as_json: bool, model_name: str | None) -> None:
    """Show every move of Production: when, by which command or by others, from which version to which, and why; and reviews."""
    rest.check_reachable(settings.tracking_uri)
    with importing():
        from trainer.commands.production import show_history as run

    run(_named(settings, model_name), as_json, Console())


@trainer.command()
@click.option(
    "--language", type=click.Choice(["en", "es"]), help="English or Spanish; by default what LANG says, else English."
)
@click.pass_obj
def workshop(settings: Settings, language: str | None) -> None:
    """Show which phase of the guided tour you are in, by what MLflow and the prediction service have, and the next step.

    It changes nothing. The tour itself is in docs/workshop/.
    """
    rest.check_reachable(settings.tracking_uri)
    with importing():
        from trainer.commands.workshop import workshop as run
        from trainer.workshop.words import language_of

    run(settings, language or language_of(os.environ), Console())


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
    _check_arguments(settings, list(wanted.arguments))
    signing.check_key(settings.key)
    run(settings, wanted)


def _check_arguments(settings: Settings, arguments: list[str]) -> None:
    """Raise SettingsError where `train` would not take them."""
    try:
        _plan_of_arguments(settings, list(arguments))
    except click.ClickException as error:
        raise SettingsError(f"TRAIN_ARGS is {shlex.join(arguments)!r}: {error.format_message()}") from error
    except click.exceptions.Exit:
        raise SettingsError(f"TRAIN_ARGS is {shlex.join(arguments)!r}; expected options of a training") from None


@contextmanager
def importing() -> Iterator[None]:
    """Import MLflow with its settings."""
    for name, value in MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)
    with quick_imports():
        yield


def _train(settings: Settings, wanted: experiment.Plan, console: Console) -> PromotionRecord:
    # Imported where it is needed: MLflow and scikit-learn take seconds, and `bootstrap` mostly has nothing to do.
    with _lock(settings), Drawing() as drawing:
        with importing():
            # Before MLflow: for each of its types it looks through every module that is there.
            import skops.io  # noqa: F401

            from trainer.commands.train import train as run

        return run(settings, wanted, console, drawing)


def _lock(settings: Settings) -> AbstractContextManager[None]:
    """Hold the lock of a training, unless whoever has started this one does."""
    tell = partial(click.echo, err=True)
    return nullcontext() if settings.has_lock else training_lock.beside_others(settings.data_dir, tell)


for _command in trainer.commands.values():
    # Click would cut the first sentence off after 45 characters, and say nothing of the rest.
    _command.short_help = (_command.help or "").partition("\n\n")[0]


def main() -> None:
    """Run a command; an error is one line, and its exit code says of which kind it is."""
    terminal.protect()
    for variable, value in THREADS.items():
        os.environ.setdefault(variable, value)
    for number in signals.SIGNALS:
        signal.signal(number, signals.interrupt)
    # As it was typed: the package's command, or the container's.
    name = "mlflow-stack" if Path(sys.argv[0]).stem == "mlflow-stack" else "trainer"
    # Wherever it stands, before the command or after it.
    arguments = [argument for argument in sys.argv[1:] if argument != "--traceback"]
    try:
        trainer(arguments, prog_name=name)
    except signals.Interrupted as stop:
        click.echo(f"{name}: {stop}", err=True)
        sys.exit(stop.exit_code)
    except Exception as error:
        if "--traceback" in sys.argv:
            raise
        known = isinstance(error, TrainerError)
        words = str(error) if known else f"unexpected {type(error).__name__}: {error} ({name} --traceback shows where)"
        click.echo(terminal.one_line(f"{name}: {words}"), err=True)
        sys.exit(error.exit_code if isinstance(error, TrainerError) else 1)
    finally:
        # At its end Python looks for garbage among all that MLflow has imported: a second that nobody needs.
        gc.freeze()


if __name__ == "__main__":
    main()
