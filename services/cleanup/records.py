"""What MLflow's database has, as far as it decides what is garbage; times are in milliseconds since 1970."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contract.tracking.alias_history import Move


@dataclass(frozen=True)
class Run:
    """A run; `ended_ms` is when it ended, or else when it began."""

    id: str
    name: str
    experiment: str
    location: str
    status: str
    ended_ms: int
    deleted_ms: int | None = None
    """when somebody deleted it, None where it is not deleted"""
    parent: str | None = None
    is_unfinished_training: bool = False
    """whether a trainer began it and has not brought it to a good end: it still has its heartbeat"""


@dataclass(frozen=True)
class Model:
    """A logged model."""

    id: str
    name: str
    experiment: str
    location: str
    run: str | None
    changed_ms: int
    deleted: bool = False
    """then `changed_ms` is when"""


@dataclass(frozen=True)
class Experiment:
    """An experiment."""

    id: str
    name: str
    changed_ms: int
    deleted: bool = False


@dataclass(frozen=True)
class Version:
    """A version of a registered model that has not been deleted."""

    name: str
    number: str
    created_ms: int
    run: str | None
    model: str | None
    """the logged model that it points at, None where it names its files otherwise"""
    locations: tuple[str, ...]
    """where its files are, as MLflow has it"""
    has_been_shown: bool = False
    """whether the trainer has called it in Production, or archived"""


@dataclass(frozen=True)
class Registry:
    """What is registered, and where the aliases are and were."""

    versions: Sequence[Version]
    aliases: Mapping[str, Mapping[str, str]]
    """registered model → alias → version"""
    moves: Mapping[str, Sequence[Move]]
    """registered model → all moves of Production, the oldest first"""


@dataclass(frozen=True)
class Tracking:
    """What was tracked, by id."""

    runs: Mapping[str, Run]
    models: Mapping[str, Model]
    experiments: Mapping[str, Experiment]


@dataclass(frozen=True)
class Item:
    """Something that may go, and why."""

    kind: str
    """run, model, version or experiment"""
    id: str
    name: str
    since_ms: int
    why: str
    location: str | None = None
    """where its files are, None for what has none of its own"""
