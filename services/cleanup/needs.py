"""What an alias, or the way back from it, needs: none of it is ever cleaned up, whoever has deleted it in MLflow."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from contract.tracking.alias_history import Move, earlier

from cleanup.records import Registry, Run, Version


@dataclass(frozen=True)
class Needs:
    """Versions that are needed, by name and number, with the reason; and what they consist of."""

    versions: Mapping[tuple[str, str], str]
    runs: Mapping[str, str]
    models: Mapping[str, str]
    locations: Mapping[str, str]

    def of_run(self, run: Run) -> str | None:
        """Say why a run is needed; with a run its children are, which show how it came about."""
        return self.runs.get(run.id) or self.runs.get(run.parent or "") or self.of_files(run.location)

    def of_model(self, model_id: str, location: str) -> str | None:
        """Say why a logged model is needed, None where it is not."""
        return self.models.get(model_id) or self.of_files(location)

    def of_files(self, location: str) -> str | None:
        """Say why files are needed: a version may have them in a run's folder, or in that of another model's version."""
        if not location:
            return None
        within = location.rstrip("/") + "/"
        return next((why for place, why in self.locations.items() if f"{place.rstrip('/')}/".startswith(within)), None)


def needs(registry: Registry, rollbacks: int) -> Needs:
    """Return what must stay: all that any alias points at, and of each model the last `rollbacks` versions of its history."""
    found: dict[tuple[str, str], str] = {}
    for name, moves in registry.moves.items():
        for number in _way_back(moves, rollbacks):
            found[name, number] = f"way back of {name}: version {number}"
    for name, aliases in registry.aliases.items():
        for alias, number in aliases.items():
            found[name, number] = f"{alias} of {name}: version {number}"
    parts = [(version, why) for version in registry.versions if (why := found.get((version.name, version.number)))]
    return parts_of(parts)


def parts_of(versions: Iterable[tuple[Version, str]]) -> Needs:
    """Return what versions consist of, each with the reason why that stays."""
    found = list(versions)
    return Needs(
        {(version.name, version.number): why for version, why in found},
        {version.run: why for version, why in found if version.run},
        {version.model: why for version, why in found if version.model},
        {place: why for version, why in found for place in version.locations},
    )


def _way_back(moves: Iterable[Move], rollbacks: int) -> Iterator[str]:
    """Yield the versions that `rollback` goes to, `rollbacks` of them, and those that as many last moves were between."""
    made = list(moves)
    yield from earlier(made)[:rollbacks]
    for move in made[-rollbacks:]:
        yield from (number for number in (move.before, move.version) if number is not None)


def was_ever_in_production(version: Version, registry: Registry) -> bool:
    """Tell whether a version is in a record of a move, or says so itself."""
    moves = registry.moves.get(version.name, ())
    return version.has_been_shown or any(version.number in (move.before, move.version) for move in moves)
