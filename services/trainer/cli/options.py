"""The options of an experiment: of its data, its file, its algorithms and its quality gate; each is a key of its YAML file, too."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from trainer import experiment
from trainer.data import builtin_datasets

Callback = Callable[..., Any]

Decorator = Callable[[Callback], Callback]


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


def options(*groups: Sequence[Decorator]) -> Decorator:
    """Return what gives a command all options of some groups, in their order."""

    def add(command: Callback) -> Callback:
        for option in reversed([option for group in groups for option in group]):
            command = option(command)
        return command

    return add


def plan(context: click.Context, options: dict[str, Any]) -> experiment.Plan:
    """Return what a command's options and its YAML file ask for; raise SettingsError where they do not go together."""
    nested = dict(context.meta.get("nested", {}))
    params = {**nested.pop("params", {}), **experiment.parameters(options.pop("param", ()))}
    thresholds = experiment.thresholds(options.pop("threshold", ())) or nested.pop("thresholds", {})
    return experiment.Plan(**options, **nested | {"thresholds": thresholds}, params=params)
