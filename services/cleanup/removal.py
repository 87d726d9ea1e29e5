"""Removal: files first and rows after them, so that one that was stopped is gone on with by the next."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from contract.display import quoted
from contract.process.imports import quick_imports
from sqlalchemy import Engine

from cleanup import database
from cleanup.choice import still_needed
from cleanup.errors import CleanupError
from cleanup.files import Place
from cleanup.needs import Needs, needs
from cleanup.records import Item, Run

# In this order: what points at something goes before it.
ORDER = ("version", "model", "run", "experiment")


def remove(engine: Engine, items: list[tuple[Item, Place | None]], rollbacks: int) -> Iterator[tuple[Item, str | None]]:
    """Remove items, with the places of their files; yield each with None, or with what needs it by now, so that it stays.

    An alias may move meanwhile: it is looked for before each item. Raises CleanupError where one cannot be removed.
    """
    runs = database.tracking(engine).runs
    aliases = _Aliases(engine, rollbacks)
    rows = _Rows(str(engine.url.render_as_string(hide_password=False)))
    ordered = sorted(items, key=lambda found: ORDER.index(found[0].kind))
    for item, _ in ordered:
        if item.kind != "version":
            database.mark(engine, item)
    for item, place in ordered:
        if (needed := _needed(engine, item, runs, aliases)) is not None:
            if item.kind != "version":
                database.restore(engine, item)
        else:
            if place is not None:
                place.remove()
            rows.remove(item)
        yield item, needed


def _needed(engine: Engine, item: Item, runs: Mapping[str, Run], aliases: "_Aliases") -> str | None:
    if item.kind == "experiment":  # the last to go: what is in it now has been found needed
        return "a run or model of it that stays" if database.has_something_left(engine, item) else None
    return still_needed(item, runs.get(item.id) if item.kind == "run" else None, aliases.need())


class _Aliases:
    """What the aliases need by now; versions and histories are read anew where one has moved."""

    def __init__(self, engine: Engine, rollbacks: int) -> None:
        self._engine, self._rollbacks = engine, rollbacks
        self._positions: frozenset[tuple[Any, ...]] | None = None

    def need(self) -> Needs:
        if (positions := database.positions(self._engine)) != self._positions:
            self._positions = (
                positions  # as they were before the registry is read: a later move is seen by the next look
            )
            self._needs = needs(database.registry(self._engine), self._rollbacks)
        return self._needs


class _Rows:
    """What `mlflow gc` does to the database, for chosen rows alone; MLflow is imported when there is something to do.

    The command itself takes all deleted experiments where none is named, and all deleted models.
    """

    def __init__(self, uri: str) -> None:
        with quick_imports():
            from mlflow.exceptions import MlflowException
            from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as ModelRegistry
            from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore

        self._error: type[Exception] = MlflowException
        try:
            tracking, registry = TrackingStore(uri, "mlflow-artifacts:/"), ModelRegistry(uri)
        except MlflowException as error:
            raise CleanupError(f"MLflow cannot use its database: {error}") from error
        self._remove: dict[str, Callable[[Item], Any]] = {
            "version": lambda item: registry.delete_model_version(item.name, item.id),
            "model": lambda item: tracking._hard_delete_logged_model(item.id),
            "run": lambda item: tracking._hard_delete_run(item.id),
            "experiment": lambda item: tracking._hard_delete_experiment(item.id),
        }

    def remove(self, item: Item) -> None:
        """Remove a row and what belongs to it; one that is gone already is none."""
        try:
            self._remove[item.kind](item)
        except self._error as error:
            if getattr(error, "error_code", None) != "RESOURCE_DOES_NOT_EXIST":
                raise CleanupError(f"MLflow does not remove the {item.kind} {quoted(item.id)}: {error}") from error
