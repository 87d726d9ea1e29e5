"""What shows or moves Production: models, promote, challenge, rollback, history and workshop."""

import os
from typing import Any

import click

from trainer.cli.group import MODEL_NAME, REASON, named, trainer
from trainer.cli.imports import importing
from trainer.console.terminal import Console
from trainer.errors import SettingsError
from trainer.settings import Settings
from trainer.tracking import rest


@trainer.command()
@click.option("--json", "as_json", is_flag=True, help="For machines: one JSON list and nothing else.")
@click.pass_obj
def models(settings: Settings, as_json: bool) -> None:
    """Show every registered model: its versions, the one in Production, and its figures."""
    rest.check_reachable(settings.tracking_uri)
    with importing():
        from trainer.commands.production import show_models as run

    run(settings, as_json, Console())


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

    run(named(settings, model_name), version, reason, Console())


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
    settings = named(settings, options.pop("model_name"))
    with importing():
        from trainer.commands import challenge as run

    if what == "carry-on":
        with importing():
            from trainer.commands.carry_on import carry_on

        carry_on(settings, options["as_json"], Console(stderr=options["as_json"]))
    elif what == "status":
        if options["auto"] and options["logged"] is None:
            raise SettingsError("--auto decides by labels: --logged FILE has them")
        asked = run.Asked(options["as_json"], options["logged"], options["auto"], options["margin"])
        run.status(settings, asked, Console(stderr=options["as_json"]))
    elif what == "stop":
        run.stop(settings, options["reason"], Console())
    else:
        run.check_percent(options["percent"])
        auto = (options["margin"] or 0.0) if options["auto"] else None
        run.start(settings, what, run.Wanted(options["percent"], options["days"], auto), Console())


@trainer.command()
@REASON
@MODEL_NAME
@click.pass_obj
def rollback(settings: Settings, reason: str, model_name: str | None) -> None:
    """Go back to the version that was in Production before, of those that may still be served."""
    rest.check_reachable(settings.tracking_uri)
    with importing():
        from trainer.commands.production import rollback as run

    run(named(settings, model_name), reason, Console())


@trainer.command()
@click.option("--json", "as_json", is_flag=True, help="For machines: one JSON list and nothing else.")
@MODEL_NAME
@click.pass_obj
def history(settings: Settings, as_json: bool, model_name: str | None) -> None:
    """Show every move of Production: when, by which command or by others, from which version to which, and why; and reviews."""
    rest.check_reachable(settings.tracking_uri)
    with importing():
        from trainer.commands.production import show_history as run

    run(named(settings, model_name), as_json, Console())


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
