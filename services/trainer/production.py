"""Put a version into Production by hand, go back to an earlier one, and show how it got there."""

import json
from dataclasses import asdict

import mlflow
from rich.console import Console
from rich.table import Table as Grid

from trainer import checks, moves, registry, signing, version_files
from trainer.errors import VersionError
from trainer.interruption import Held
from trainer.moves import Move
from trainer.settings import Settings

# How a command is told of on the version.
WORDS = {"promote": "Promoted by hand", "rollback": "Rolled back to"}


def promote(settings: Settings, version: str, reason: str, console: Console) -> None:
    """Put a version into Production; raise VersionError where it is there already or may not be served."""
    _connect(settings)
    if registry.production(settings.model_name) == version:
        raise VersionError(f"version {version} of {settings.model_name} is in Production already")
    _check(settings, version)
    _move(settings, "promote", version, reason, console)


def rollback(settings: Settings, reason: str, console: Console) -> None:
    """Go back to the version before the one in Production, of those that may still be served."""
    _connect(settings)
    name = settings.model_name
    for version in moves.earlier(moves.history(name)):
        try:
            _check(settings, version)
        except VersionError as error:
            console.print(f"Version {version} is passed over: {error}", markup=False, soft_wrap=True)
            continue
        _move(settings, "rollback", version, reason, console)
        return
    raise VersionError(f"{name} has no earlier version in Production to go back to; `history` shows what there was")


def show_history(settings: Settings, as_json: bool, console: Console) -> None:
    """Print every move of the alias, the oldest first."""
    mlflow.set_tracking_uri(settings.tracking_uri)
    found = moves.history(settings.model_name)
    if as_json:
        console.print(json.dumps([asdict(made) for made in found]), markup=False, highlight=False, soft_wrap=True)
        return
    console.print(_grid(settings.model_name, found))


def show_models(settings: Settings, as_json: bool, console: Console) -> None:
    """Print every registered model with its version in Production."""
    mlflow.set_tracking_uri(settings.tracking_uri)
    found = registry.models()
    if as_json:
        console.print(json.dumps(found), markup=False, highlight=False, soft_wrap=True)
        return
    grid = Grid(
        "model", "versions", "Production", "figures", "trained on", title="Registered models", title_justify="left"
    )
    for model in found:
        figures = ", ".join(f"{name} {value:.4f}" for name, value in model["figures"].items())
        data = (model["data_sha256"] or "-")[:12]
        grid.add_row(model["name"], str(model["versions"]), model["production"] or "-", figures or "-", data)
    console.print(grid)


def _connect(settings: Settings) -> None:
    signing.check_key(settings.signing_key)
    mlflow.set_tracking_uri(settings.tracking_uri)


def _check(settings: Settings, version: str) -> None:
    """Raise VersionError unless the version has its files, is signed, and predicts its own input example."""
    found = registry.model_version(settings.model_name, version)
    with version_files.signed(found, settings.model_name, settings.signing_key) as folder:
        checks.check_servable(folder, settings.trusted_types)


def _move(settings: Settings, by: str, version: str, reason: str, console: Console) -> None:
    name = settings.model_name
    with Held():  # the move, its record and what the versions show of it belong together
        made = moves.move(name, by, version, reason)
        registry.describe(name, version, "Production", f"{WORDS[by]}: {reason}.")
        registry.show_stages(name)
    console.print(
        f"Version {version} of {name} is in Production; before it was {made.before or 'none'}.", soft_wrap=True
    )


def _grid(name: str, found: list[Move]) -> Grid:
    grid = Grid("time (UTC)", "by", "from", "to", "reason", title=f"Production of {name}", title_justify="left")
    for made in found:
        grid.add_row(
            (made.time or "?")[:19].replace("T", " "), made.by, made.before or "-", made.version or "-", made.reason
        )
    return grid
