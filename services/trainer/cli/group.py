"""The command `trainer`, to which all others belong, and the options that several of them have."""

import os
from collections.abc import Mapping
from dataclasses import replace

import audit
import click

from trainer.settings import Settings

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
    context.obj = replace(settings, who=_who(settings, os.environ))
    audit.begin(context.obj.audit_file, context.obj.who)
    if context.invoked_subcommand is None:
        context.invoke(trainer.commands["train"])


def _who(settings: Settings, environ: Mapping[str, str]) -> str:
    """Return who is at work: as is said, else as MLflow's client logs in, else as this system knows."""
    if settings.who != Settings.who:
        return settings.who
    known = (environ.get(name) for name in ("MLFLOW_TRACKING_USERNAME", "USER"))
    return next(filter(None, known), settings.who)


MODEL_NAME = click.option("--model-name", metavar="NAME", help="The registered model; by default MODEL_NAME.")
REASON = click.option("--reason", default="no reason given", help="Why, for the history.")


def named(settings: Settings, model_name: str | None) -> Settings:
    """Return the settings for the model that --model-name names."""
    return replace(settings, model_name=model_name) if model_name else settings
