"""What goes, what stays and why: a function of the records alone."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field, replace

from contract.display import visible

from cleanup.needs import Needs, needs, parts_of, was_ever_in_production
from cleanup.records import Item, Model, Registry, Run, Tracking, Version

# MLflow makes it again by itself.
DEFAULT_EXPERIMENT = "0"
DELETED = "deleted in MLflow"

# Why something is garbage, and since when.
Why = tuple[str, int]


@dataclass(frozen=True)
class Rules:
    """What a person has set."""

    older_than_ms: int
    rollbacks: int = 10
    """of each registered model, how many of the versions that were in Production are kept for the way back"""
    keep_versions: int | None = None
    """of each registered model, how many of those that were never in Production are kept; None for all"""


@dataclass
class Choice:
    """What is to be done."""

    before_ms: int
    """since when, at the latest, something has to be garbage to go"""
    out_of_reach: Callable[[str, str], str | None]
    """says why files at a location, of an id, cannot be removed"""
    goes: list[Item] = field(default_factory=list)
    stays: list[Item] = field(default_factory=list)
    """what would go, were it not for what `why` says"""
    restored: list[Item] = field(default_factory=list)
    """what somebody has deleted, and is needed"""

    def decide(self, item: Item, needed: str | None, is_deleted: bool) -> bool:
        """Tell whether a piece of garbage goes: what is needed, too young or out of reach stays."""
        if needed:
            kept = self.restored if is_deleted else self.stays
            kept.append(replace(item, why=f"needed by {needed}"))
        elif item.since_ms > self.before_ms:
            self.stays.append(replace(item, why=f"too young; {item.why}"))
        elif item.location is not None and (fault := self.out_of_reach(item.location, item.id)):
            self.stays.append(replace(item, why=fault))
        else:
            self.goes.append(item)
            return True
        return False


def choose(
    tracking: Tracking,
    registry: Registry,
    rules: Rules,
    now_ms: int,
    out_of_reach: Callable[[str, str], str | None] = lambda location, of: None,
) -> Choice:
    """Return what goes, what stays although it is garbage, and what has to be restored.

    Garbage is what somebody has deleted in MLflow; what a training that was stopped has left, where no version came of it;
    and, where a number of versions to keep is set, those beyond it with their runs and models. What an alias needs, or the
    way back from it, is none; nor is a running training's.
    """
    choice = Choice(now_ms - rules.older_than_ms, out_of_reach)
    found = needs(registry, rules.rollbacks)
    gone: set[Version] = set()
    for version, words in _surplus(tracking, registry, rules):
        item = Item("version", version.number, version.name, version.created_ms, words)
        if choice.decide(item, found.versions.get((version.name, version.number)), False):
            gone.add(version)
    garbage = _Garbage(tracking, registry, gone)
    for model in tracking.models.values():
        if why := garbage.model(model):
            item = Item("model", model.id, model.name, why[1], why[0], model.location)
            choice.decide(item, found.of_model(model.id, model.location), model.deleted)
    for run in tracking.runs.values():
        if why := garbage.run(run):
            item = Item("run", run.id, run.name, why[1], why[0], run.location or None)
            choice.decide(item, found.of_run(run), run.deleted_ms is not None)
    _choose_experiments(choice, tracking, found)
    return choice


def _surplus(tracking: Tracking, registry: Registry, rules: Rules) -> Iterator[tuple[Version, str]]:
    """Yield the versions that were never in Production and are too many, with the reason."""
    if rules.keep_versions is None:
        return
    of_model: defaultdict[str, list[Version]] = defaultdict(list)
    for version in registry.versions:
        if not was_ever_in_production(version, registry):
            of_model[version.name].append(version)
    words = f"not one of the newest {rules.keep_versions} that were never in Production"
    for found in of_model.values():
        found.sort(key=lambda version: int(version.number), reverse=True)
        yield from (
            (one, words) for one in found[rules.keep_versions :] if not _is_running(tracking.runs.get(one.run or ""))
        )


def _is_running(run: Run | None) -> bool:
    return run is not None and run.status == "RUNNING" and run.deleted_ms is None


class _Garbage:
    """Which runs and logged models are garbage, why and since when."""

    def __init__(self, tracking: Tracking, registry: Registry, gone: Set[Version]) -> None:
        self._runs = tracking.runs
        # What the versions that stay consist of; one may have its files in the folder of another's model.
        self._used = parts_of([(version, _named(version)) for version in registry.versions if version not in gone])
        self._runs_of_gone = {version.run: _with(version) for version in gone}
        self._models_of_gone = {version.model: _with(version) for version in gone}

    def run(self, run: Run) -> Why | None:
        if run.deleted_ms is not None:
            return DELETED + _loss(self._used.of_files(run.location)), run.deleted_ms
        began = self._runs.get(run.parent or "", run)
        if run.status == "RUNNING" or self._used.of_run(run):
            return None
        if found := self._runs_of_gone.get(run.id) or self._runs_of_gone.get(began.id):
            return found
        was_stopped = began.status in ("FAILED", "KILLED") and began.is_unfinished_training
        return ("its training was stopped", began.ended_ms) if was_stopped else None

    def model(self, model: Model) -> Why | None:
        used = self._used.of_model(model.id, model.location)
        if model.deleted:
            return DELETED + _loss(used), model.changed_ms
        if used:
            return None
        if found := self._models_of_gone.get(model.id):
            return found
        run = self._runs.get(model.run or "")
        why = self.run(run) if run else None
        return (f"of run {visible(run.name, 40)}: {why[0]}", why[1]) if run and why else None


def _named(version: Version) -> str:
    return f"version {version.number} of {visible(version.name, 60)}"


def _loss(used: str | None) -> str:
    return f"; {used} loses its files" if used else ""


def _with(version: Version) -> Why:
    return f"of {_named(version)}", version.created_ms


def _choose_experiments(choice: Choice, tracking: Tracking, found: Needs) -> None:
    """Choose the deleted experiments that nothing is left in; one that something needed is in is restored."""
    gone = {(item.kind, item.id) for item in choice.goes}
    left: defaultdict[str, set[str | None]] = defaultdict(set)
    for run in tracking.runs.values():
        if ("run", run.id) not in gone:
            left[run.experiment].add(found.of_run(run))
    for model in tracking.models.values():
        if ("model", model.id) not in gone:
            left[model.experiment].add(found.of_model(model.id, model.location))
    for experiment in tracking.experiments.values():
        if not experiment.deleted or experiment.id == DEFAULT_EXPERIMENT:
            continue
        item = Item("experiment", experiment.id, experiment.name, experiment.changed_ms, DELETED)
        needed = next(filter(None, left[experiment.id]), None)
        if left[experiment.id] and not needed:
            choice.stays.append(replace(item, why="runs or models of it stay"))
        else:
            choice.decide(item, needed, True)


def still_needed(item: Item, run: Run | None, found: Needs) -> str | None:
    """Say what needs a version, model or run by now: an alias may have moved since it was chosen. `run` is the item where it is one."""
    if run is not None:
        return found.of_run(run)
    if item.kind == "model":
        return found.of_model(item.id, item.location or "")
    return found.versions.get((item.name, item.id))
