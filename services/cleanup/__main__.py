"""Alias-safe clean-up of MLflow's garbage: `python -m cleanup [--older-than 30d] [--yes]`.

In the stack: `docker compose run --rm cleanup`; without Docker: `make cleanup`.
"""

import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta

import click

from cleanup import database, report
from cleanup.choice import Rules, choose
from cleanup.errors import CleanupError
from cleanup.files import Stores
from cleanup.records import Item
from cleanup.removal import remove
from cleanup.settings import Settings

UNITS = {"w": "weeks", "d": "days", "h": "hours", "min": "minutes", "s": "seconds"}
MONTH_DAYS = 30
MOST_AGE = timedelta(days=36_500)


class Age(click.ParamType[int]):
    """A span of time: 30d, 12h, 2w."""

    name = "age"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return it in milliseconds."""
        found = re.fullmatch(r"([1-9]\d{0,6})([a-z]+)", value.strip())
        if found and found[2] == "m":
            count = int(found[1])
            self.fail(f"{value.strip()} may be minutes or months; say {count}min or {count * MONTH_DAYS}d", param, ctx)
        span = timedelta(**{UNITS[found[2]]: int(found[1])}) if found and found[2] in UNITS else None
        if span is None or span > MOST_AGE:
            self.fail(
                f"{value!r} is no age; expected a whole number from 1 and a unit, such as 30d, 12h or 2w", param, ctx
            )
        return round(span.total_seconds() * 1000)


@click.command(context_settings={"max_content_width": 110})
@click.option(
    "--older-than", type=Age(), default="30d", show_default=True, metavar="AGE", help="What goes, as 30d, 12h or 2w."
)
@click.option("--yes", is_flag=True, help="Do it; without, nothing is changed and all is shown.")
@click.option(
    "--keep-versions",
    envvar="KEEP_VERSIONS",
    type=click.IntRange(0),
    metavar="N",
    help="Versions that were never in Production: those beyond the newest N of each model are garbage too. By default, none.",
)
@click.option(
    "--keep-rollbacks",
    envvar="KEEP_ROLLBACKS",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    metavar="N",
    help="Of each model, the last N versions in Production that `rollback` can go back to stay.",
)
def cleanup(older_than: int, yes: bool, keep_versions: int | None, keep_rollbacks: int) -> None:
    """Remove what nobody needs any more, with its files; without --yes it is only shown.

    That is: what was deleted in MLflow (runs, logged models, experiments), and what trainings that were stopped have left.
    What an alias points at, what `rollback` goes back to and what a running training has stays; where somebody has deleted it in
    MLflow, it is restored.
    """
    settings = Settings.from_env(os.environ)
    stores = Stores(settings.destination, settings.s3_endpoint_url)
    engine = database.connect(settings.database_uri)
    rules = Rules(older_than, keep_rollbacks, keep_versions)
    now_ms = round(time.time() * 1000)
    choice = choose(database.tracking(engine), database.registry(engine), rules, now_ms, stores.out_of_reach)
    places = {item: stores.place(item.location, item.id) for item in choice.goes if item.location is not None}
    sizes = {item: place.size() for item, place in places.items()}
    for line in report.plan(choice, sizes, now_ms, yes):
        click.echo(line)
    click.echo(report.CACHE)
    if not (choice.goes or choice.restored):
        return
    days = settings.keep_deleted_days
    if not yes:
        if choice.goes:
            click.echo(report.beforehand(stores.keeps_old_versions, days))
        click.echo(f"Nothing is changed yet. To do it: {_command(sys.argv[1:], settings.is_in_stack)}")
        return
    for item in choice.restored:
        database.restore(engine, item)
    if choice.goes:
        gone = list(_removed(remove(engine, [(item, places.get(item)) for item in choice.goes], keep_rollbacks)))
        click.echo(report.done(gone, sizes, stores.keeps_old_versions, days))


def _removed(found: Iterator[tuple[Item, str | None]]) -> Iterator[Item]:
    """Yield what has been removed; say what has not."""
    try:
        for item, needed in found:
            if needed is None:
                yield item
            else:
                click.echo(f"The {item.kind} {item.id} stays: by now it is needed by {needed}.")
    except CleanupError as error:
        raise CleanupError(f"{error}; what was removed before is gone, and another clean-up goes on") from error


def _command(given: Sequence[str], is_in_stack: bool) -> str:
    """Return what a person types for the same, done."""
    arguments = " ".join([*given, "--yes"])
    return f"docker compose run --rm cleanup {arguments}" if is_in_stack else f'make cleanup ARGS="{arguments}"'


def main() -> None:
    """Run the command; an error is one line."""
    try:
        cleanup(prog_name="cleanup")
    except CleanupError as error:
        click.echo(f"cleanup: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
