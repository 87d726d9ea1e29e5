"""What looks at versions of others: adopt, requirements, review and reviewer."""

import click

from trainer import experiment
from trainer.artifact import signing
from trainer.cli.group import MODEL_NAME, named, trainer
from trainer.cli.imports import importing
from trainer.cli.training import plan_of_arguments
from trainer.console.terminal import Console
from trainer.errors import SettingsError, VersionError
from trainer.settings import Settings
from trainer.tracking import rest


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

    run(named(settings, model_name), version, Console(), confined=not unconfined, allow_code=allow_code)


@trainer.command()
@click.argument("version")
@MODEL_NAME
@click.pass_obj
def requirements(settings: Settings, version: str, model_name: str | None) -> None:
    """Print the packages that a VERSION asks for which `adopt --allow-code` has signed: for scripts/inference-any."""
    rest.check_reachable(settings.tracking_uri)
    with importing():
        from trainer.commands.requirements import show as run

    run(named(settings, model_name), version)


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

    its = named(settings, model_name)  # the stack's own model is judged without a file
    made = run(its, version, lambda: _plan_of(settings, its.model_name), Console())
    if made is not None and made.outcome == REFUSED:
        raise VersionError(f"version {made.version} of {its.model_name} is refused: {made.reason}")


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
        return plan_of_arguments(settings, ["--config", str(path)])
    except click.ClickException as error:
        raise SettingsError(f"{path}: {error.format_message()}") from error
