"""Put a version into Production by hand, go back to an earlier one, and show how it got there."""

import json
from contextlib import suppress
from dataclasses import asdict

import click
import mlflow
from contract.display import visible
from contract.tracking.alias_history import Move, earlier
from rich.table import Table as Grid

from trainer.artifact import signing, version_files
from trainer.console import output
from trainer.console.figures import metric_words, number
from trainer.console.terminal import Console
from trainer.errors import AnswerTooLong, TrackingError, VersionError
from trainer.settings import Settings
from trainer.signals import Held
from trainer.tracking import alias_moves, candidates, challengers, registry, rest
from trainer.tracking.alias_moves import Records
from trainer.tracking.candidates import Review

# How a command is told of on the version.
WORDS = {
    "promote": "Promoted by hand",
    "auto": "Promoted by its challenge",
    "rollback": "Rolled back to",
    "bootstrap": "Gone back to at a start",
}
# What is read of one reason, in a table; `--json` has the whole.
MOST_REASON = 500
# Of a model's name on one line of a table.
MOST_NAME = 40


def promote(settings: Settings, version: str, reason: str, console: Console) -> None:
    """Put a version into Production; raise VersionError where it is there already or may not be served."""
    connect(settings)
    if registry.production(settings.model_name) == version:
        raise VersionError(f"version {version} of {settings.model_name} is in Production already")
    check(settings, version)
    move(settings, "promote", version, reason, console)


def rollback(settings: Settings, reason: str, console: Console) -> None:
    """Go back to the version before the one in Production, of those that may still be served."""
    connect(settings)
    name = settings.model_name
    for version in earlier(_history(name, console)):
        try:
            check(settings, version)
        except (VersionError, TrackingError) as error:
            if isinstance(error, TrackingError):
                rest.check_reachable(settings.tracking_uri)  # where nothing answers, nothing is passed over
            console.print(f"Version {version} is passed over: {error}", soft_wrap=True)
            continue
        move(settings, "rollback", version, reason, console)
        return
    raise VersionError(f"{name} has no earlier version in Production to go back to; `history` shows what there was")


def recover(settings: Settings, lost: str, console: Console) -> bool:
    """Go back to the last version of the history that can be served, where the one in Production has lost what it needs.

    Returns whether there is one, which may be the one in Production itself. Raises TrackingError where that cannot be told: what is hard to reach is not lost.
    """
    connect(settings)
    name, current = settings.model_name, registry.production(settings.model_name)
    if current is not None and _why_not(settings, current) is None:
        console.print(f"Version {current} of {name} can be served, whatever its tags say: it stays in Production.")
        return True
    for version in earlier(_history(name, console)):
        if (fault := _why_not(settings, version)) is not None:
            console.print(f"Version {version} is passed over: {fault}", soft_wrap=True)
            continue
        move(settings, "bootstrap", version, f"version {current} has lost {lost}", console)
        return True
    return False


def _why_not(settings: Settings, version: str) -> str | None:
    """Say why a version cannot be served, None where it can: its files and its signature decide.

    Its tags, which anybody can write, give words for it alone.
    """
    try:
        check(settings, version)
    except VersionError as error:
        try:
            found = registry.model_version(settings.model_name, version)
        except VersionError:
            return str(error)
        lost = version_files.lost(found, signing.key_id(settings.signing_key))
        return f"it has lost {lost}" if lost else str(error)
    return None


def show_history(settings: Settings, as_json: bool, console: Console) -> None:
    """Print every move of the alias, the oldest first, and what is wrong with the version that it is at."""
    mlflow.set_tracking_uri(settings.tracking_uri)
    name = settings.model_name
    records = alias_moves.read(name)
    found = alias_moves.history(records)
    if as_json:
        click.echo(json.dumps([asdict(made) for made in found]))
    else:
        console.print(grid_of(name, found))
        if told := challengers.records(name):
            console.print(grid_of(name, told, "Challengers"))
        with suppress(AnswerTooLong):  # as where they are shown in MLflow: only for display
            if judged := candidates.reviews(name):
                console.print(_reviews(name, judged))
    # On stderr, where it does not get into what machines read.
    output.notes(Console(stderr=True), [*records.remarks, *_what_is_wrong(settings, records)])


def _what_is_wrong(settings: Settings, records: Records) -> list[str]:
    """Say what the version in Production has lost: nothing else tells it while the service has it in its cache."""
    if records.now is None:
        return []
    try:
        version = registry.model_version(settings.model_name, records.now)
        lost = version_files.lost(version, signing.key_id(settings.signing_key))
    except (VersionError, TrackingError, OSError) as error:
        return [f"whether version {records.now} has all it needs cannot be told: {error}"]
    way_out = "`rollback` goes back to one that has not, `train` makes a new one"
    return [f"version {records.now}, in Production, has lost {lost}; {way_out}"] if lost else []


def _history(name: str, console: Console) -> list[Move]:
    records = alias_moves.read(name)
    output.notes(console, records.remarks)
    return alias_moves.history(records)


def show_models(settings: Settings, as_json: bool, console: Console) -> None:
    """Print every registered model with its version in Production."""
    mlflow.set_tracking_uri(settings.tracking_uri)
    found, are_all = registry.models()
    if not are_all:  # on stderr, as the remarks of `history`
        output.notes(Console(stderr=True), [f"there are more: these are the first {len(found)} by name"])
    if as_json:
        click.echo(json.dumps(found))
        return
    if not found:
        console.print("No model is registered yet: `train` registers the first version of one.")
        return
    grid = Grid(
        "model", "versions", "Production", "figures", "trained on", title="Registered models", title_justify="left"
    )
    # A name is there to be copied: it is whole, and on one line where there is room; the figures take what is left.
    grid.columns[0].overflow = "fold"
    grid.columns[0].no_wrap = all(len(model["name"]) <= MOST_NAME for model in found)
    grid.columns[-1].no_wrap = True
    for model in found:
        figures = "\n".join(
            f"{metric_words(name.removeprefix('test_'))} {number(value)}" for name, value in model["figures"].items()
        )
        data = "\n".join(
            part for part in (visible(model["data"] or "", 24), (model["data_sha256"] or "-")[:12]) if part
        )
        versions = "?" if model["versions"] is None else str(model["versions"])
        grid.add_row(model["name"], versions, model["production"] or "-", figures or "-", data)
    console.print(grid)


def connect(settings: Settings) -> None:
    """Make ready to move an alias; raise SettingsError where the key that signs cannot be read."""
    signing.check_key(settings.signing_key)
    mlflow.set_tracking_uri(settings.tracking_uri)


def check(settings: Settings, version: str) -> None:
    """Raise VersionError unless the version has its files, is signed, and answers as the service will ask it."""
    # Here and not above: what shows the registry need not wait for scikit-learn and ONNX.
    from trainer.adoption import adopt
    from trainer.artifact import fitted_rows, version_checks

    found = registry.model_version(settings.model_name, version)
    with version_files.signed(found, settings.model_name, settings.signing_key) as folder:
        if fitted_rows.is_own(folder):  # here is the key
            version_checks.check_servable(folder, settings.trusted_types)
        else:
            adopt.check_adopted(folder, settings)


def move(settings: Settings, by: str, version: str, reason: str, console: Console) -> None:
    """Put a version that was checked into Production, record it, and show it on the versions."""
    name = settings.model_name
    with Held():  # the move, its record and what the versions show of it belong together
        made = alias_moves.move(name, by, version, f"{reason}{settings.by_whom}")
        registry.describe(name, version, "Production", f"{WORDS[by]}: {reason}.")
        registry.show_stages(name)
        alias_moves.show(name)
        if (now := challengers.challenger(name)) and now.number == version:
            challengers.end(name, now, by, f"it is in Production: {reason}")
    console.print(
        f"Version {version} of {name} is in Production; before it was {made.before or 'none'}.", soft_wrap=True
    )


def _reviews(name: str, found: list[Review]) -> Grid:
    grid = Grid(
        "time (UTC)", "version", "asked by", "outcome", "reason", title=f"Reviews of {name}", title_justify="left"
    )
    for made in found:
        time = made.time[:19].replace("T", " ")
        grid.add_row(time, made.version, made.asked_by, made.outcome, made.reason[:MOST_REASON])
    return grid


def grid_of(name: str, found: list[Move], what: str = "Production") -> Grid:
    """Return records of moves as a table."""
    grid = Grid("time (UTC)", "by", "from", "to", "reason", title=f"{what} of {name}", title_justify="left")
    for made in found:
        grid.add_row(
            (made.time or "?")[:19].replace("T", " "),
            made.by,
            made.before or "-",
            made.version or "-",
            made.reason[:MOST_REASON],
        )
    return grid
