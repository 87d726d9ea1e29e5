"""The phases of the guided tour: which of them what is seen shows to be done, and what is said of each."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from trainer.workshop.seen import Seen, Training


@dataclass(frozen=True)
class Phase:
    """One phase, and what of it is to be seen."""

    name: str
    is_done: bool
    told: str
    """which of the sentences in words.py tells what is seen"""
    facts: dict[str, Any] = field(default_factory=dict)
    """what the sentence names"""


def phases(seen: Seen) -> list[Phase]:
    """Return the phases in their order."""
    return [check(seen) for check in CHECKS]


def current(found: list[Phase]) -> Phase | None:
    """Return the phase that somebody is in: the first that is not done, None where all are."""
    return next((phase for phase in found if not phase.is_done), None)


def challenger(seen: Seen) -> str | None:
    """Return the newest version that passed the quality gate and is not in Production, None where there is none."""
    passed = [found.version for found in seen.trainings if found.stage in ("Staging", "Archived")]
    return next((version for version in reversed(passed) if version != seen.production), None)


def _explore(seen: Seen) -> Phase:
    told = "explored" if seen.explorations else "unexplored"
    return Phase("explore", bool(seen.explorations), told, {"count": seen.explorations})


def _environment(seen: Seen) -> Phase:
    if pair := equal_trainings(seen.trainings):
        return Phase("environment", True, "equal_trainings", {"first": pair[0].version, "second": pair[1].version})
    return Phase("environment", False, "none_equal", {"count": len(seen.trainings)})


def equal_trainings(trainings: tuple[Training, ...]) -> tuple[Training, Training] | None:
    """Return two versions of the same data, code and parameters whose figures are equal, None where there are none."""
    pairs = combinations(trainings, 2)
    return next(((a, b) for a, b in pairs if a.settings == b.settings and a.figures == b.figures), None)


def _train(seen: Seen) -> Phase:
    kinds = len({training.settings for training in seen.trainings})
    told = "compared" if kinds > 1 else "tracked" if kinds else "untracked"
    return Phase("train", kinds > 1, told, {"count": len(seen.trainings), "kinds": kinds})


def _registry(seen: Seen) -> Phase:
    if not seen.versions:
        return Phase("registry", False, "no_version")
    facts = {"newest": seen.versions[-1], "production": seen.production or "-"}
    by_hand = [move for move in seen.moves if move.by == "promote"]
    if by_hand:
        return Phase("registry", True, "promoted", facts | {"version": by_hand[-1].version})
    return Phase("registry", False, "registered", facts)


def _serve(seen: Seen) -> Phase:
    service = seen.service
    if service.fault is not None:
        return Phase("serve", False, "no_service", {"fault": service.fault})
    if service.served is None:
        return Phase("serve", False, "serves_nothing")
    if service.served != seen.production:
        return Phase("serve", False, "serves_other", {"served": service.served, "production": seen.production or "-"})
    told = "asked" if service.rows else "unasked"
    return Phase("serve", bool(service.rows), told, {"served": service.served, "rows": service.rows})


def _produce(seen: Seen) -> Phase:
    back = [move for move in seen.moves if move.by == "rollback"]
    if back:
        return Phase("produce", True, "rolled_back", {"before": back[-1].before, "version": back[-1].version})
    return Phase("produce", False, "not_rolled_back")


CHECKS: tuple[Callable[[Seen], Phase], ...] = (_explore, _environment, _train, _registry, _serve, _produce)
