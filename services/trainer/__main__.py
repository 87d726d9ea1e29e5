"""The trainer's command line: `python -m trainer [train|explore|adopt|promote|rollback|history|bootstrap]`."""

import os
import signal
import sys

import click
from rich.console import Console

from trainer import interruption, signing, tracking_server
from trainer.errors import TrainerError
from trainer.settings import Settings

# MLflow reads these when it is imported. Its own link names the server as containers see it; ours are for people.
# Its default retries would hide a dead server for four minutes.
MLFLOW_DEFAULTS = {
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    # The image has no git, and MLflow's many lines about that help nobody.
    "GIT_PYTHON_REFRESH": "quiet",
}


@click.group(invoke_without_command=True)
@click.option("--traceback", is_flag=True, help="Where it fails, show the whole Python traceback too.")
@click.pass_context
def trainer(context: click.Context, traceback: bool) -> None:
    """Explore the iris data, train a model on it, and put it into the registry. Without a command: train."""
    context.obj = Settings.from_env(os.environ)
    if context.invoked_subcommand is None:
        context.invoke(train)


@trainer.command()
@click.pass_obj
def train(settings: Settings) -> None:
    """Train, track, register a new version, and promote it where the rule says so.

    A version is promoted when nothing is in Production, when what is there cannot be served any more, or when its test
    accuracy is higher than the incumbent's; and in any case only from MIN_TEST_ACCURACY on.
    """
    _check_server(settings)
    _train(settings)


@trainer.command()
@click.pass_obj
def explore(settings: Settings) -> None:
    """Write data/iris_dataset.csv, report on it, and draw pictures into data/exploration/."""
    from trainer.exploration import explore as run

    run(settings.data_dir, Console())


@trainer.command()
@click.argument("version")
@click.pass_obj
def adopt(settings: Settings, version: str) -> None:
    """Check a VERSION that was logged by hand, and sign it, so that it may be served."""
    _check_server(settings)
    _prepare_mlflow()
    from trainer.adoption import adopt as run

    run(settings, version, Console())


REASON = click.option("--reason", default="no reason given", help="Why, for the history.")


@trainer.command()
@click.argument("version")
@REASON
@click.pass_obj
def promote(settings: Settings, version: str, reason: str) -> None:
    """Put a VERSION into Production by hand, after checking its files, its signature and that it predicts."""
    _check_server(settings)
    _prepare_mlflow()
    from trainer.production import promote as run

    run(settings, version, reason, Console())


@trainer.command()
@REASON
@click.pass_obj
def rollback(settings: Settings, reason: str) -> None:
    """Go back to the version that was in Production before, of those that may still be served."""
    _check_server(settings)
    _prepare_mlflow()
    from trainer.production import rollback as run

    run(settings, reason, Console())


@trainer.command()
@click.option("--json", "as_json", is_flag=True, help="For machines: one JSON list and nothing else.")
@click.pass_obj
def history(settings: Settings, as_json: bool) -> None:
    """Show every move of Production: when, by which command or by others, from which version to which, and why."""
    _check_server(settings)
    _prepare_mlflow()
    from trainer.production import show_history as run

    run(settings, as_json, Console())


@trainer.command()
@click.pass_obj
def bootstrap(settings: Settings) -> None:
    """Train the first model, only where nothing is in Production yet (or what is cannot be served any more)."""
    signing.check_key(settings.signing_key)
    key_id = signing.key_id(settings.signing_key)
    current = tracking_server.production(settings.tracking_uri, settings.model_name, key_id)
    if current and not current.lost:
        click.echo(f"version {current.version} of {settings.model_name} is in Production: nothing to do")
        return
    if current:
        click.echo(f"version {current.version} of {settings.model_name}, in Production, has lost {current.lost}")
    _train(settings)


def _check_server(settings: Settings) -> None:
    if tracking_server.is_server(settings.tracking_uri):
        tracking_server.check_reachable(settings.tracking_uri)


def _prepare_mlflow() -> None:
    for name, value in MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)


def _train(settings: Settings) -> None:
    # Imported where it is needed: MLflow and scikit-learn take seconds, and `bootstrap` mostly has nothing to do.
    _prepare_mlflow()
    from trainer.train import train as run

    run(settings, Console())


def main() -> None:
    for number in interruption.SIGNALS:
        signal.signal(number, interruption.interrupt)
    try:
        trainer(prog_name="trainer")
    except interruption.Interrupted as stop:
        click.echo(f"trainer: {stop}", err=True)
        sys.exit(stop.exit_code)
    except Exception as error:
        if "--traceback" in sys.argv:
            raise
        known = isinstance(error, TrainerError)
        words = str(error) if known else f"unexpected {type(error).__name__}: {error} (trainer --traceback shows where)"
        click.echo(f"trainer: {words}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
