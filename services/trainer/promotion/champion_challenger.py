"""The challenge for Production: a challenger against the champion, and again against whoever comes in between.

MLflow has no compare-and-swap, so two trainers at once may both move the alias. Each looks where it is just before it moves it, and
again after it has left its record of the move: of two, the one that moves it first sees the other there, or is seen by it, and is
compared again with it. The one that loses makes way. One that was held up between its look and its move may have moved over another
that had looked for the last time by then: that one's record is there. Records are tags, which others may write, so what only a record
says is believed as far as both are measured on the same rows: the one that was there wins there, or nothing is done.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from contract.schema import Column, breaking_change
from mlflow.entities.model_registry import ModelVersion

from trainer.artifact import fitted_rows, version_checks, version_files
from trainer.data.table import Split, Table
from trainer.errors import TrackingError, VersionError
from trainer.fit.metric import Metric
from trainer.promotion.policy import (
    LEAST_ROWS,
    RECORDED,
    Comparison,
    Contender,
    Decision,
    OtherSchema,
    QualityGate,
    compared,
    should_promote,
    would_win,
)
from trainer.tracking import alias_moves, registry

# More trainers than this do not move the alias while one of them decides.
MOST_ROUNDS = 20


@dataclass
class Challenge:
    """A challenger on its way to Production."""

    name: str
    challenger: Contender
    estimator: Any
    metrics: dict[str, float]
    table: Table
    rows: Split
    gate: QualityGate
    metric: Metric
    """what both are compared by"""
    signing_key: Path
    trusted: frozenset[str]
    """types that a champion may contain beside SIGNED_TYPES"""
    interface: Sequence[Column] | None = None
    """the columns that the challenger takes, None for those of the table"""
    by: str = "train"
    """what moves the alias, for the history"""
    asked: str = ""
    """who asked for it, in words that follow the reason in the history"""
    ask: Callable[[ModelVersion, Path, pd.DataFrame], tuple[Any, np.ndarray] | None] | None = None
    """how a champion that may not be loaded here answers rows: what stands in for its estimator, and the hashes of the rows that it
    says it was fitted on; None where that is not known"""
    before_move: Callable[[], None] | None = None
    """what the challenger still needs once it has won, before the alias moves to it"""
    rounds: list[dict[str, Any]] = field(default_factory=list)
    """what was decided against whom, in order: for the promotion record"""
    remarks: list[str] = field(default_factory=list)
    """which records of moves could not be read, for a person"""
    _known: frozenset[str] = frozenset()
    """the records of moves that were there when it was decided"""
    _met: set[str | None] = field(default_factory=set)

    def decide(self) -> Decision:
        """Compare with the version that is in Production now; nothing is moved."""
        records = alias_moves.read(self.name)
        self.remarks, self._known = records.remarks, frozenset(records.moves)
        return self._against(registry.in_production(self.name))

    def carry_out(self, decision: Decision) -> Decision:
        """Move the alias where the challenger has won, and compare again with any other that moved it meanwhile.

        Returns the decision that holds in the end.
        """
        version = self.challenger.version
        for _ in range(MOST_ROUNDS):
            if not decision.promote:
                break
            rival = self._moved(decision)
            if rival is None:
                return self._against_recorded(decision)
            try:
                met = registry.model_version(self.name, rival)
            except VersionError:  # deleted since: nobody to compare with
                self._met.add(rival)
                continue
            decision = self._against(met)
            if not decision.promote and registry.production(self.name) == version:
                alias_moves.move(self.name, self.by, rival, f"version {version} makes way: {decision.reason}")
        return decision

    def _moved(self, decision: Decision) -> str | None:
        """Move the alias where it is at a version that was met; return one that was not, which it was at before or is at now."""
        version = self.challenger.version
        others = self._met | {version}
        if (current := registry.production(self.name)) in others and current != version:
            if self.before_move is not None:
                self.before_move()
            made = alias_moves.move(self.name, self.by, version, f"{decision.reason}{self.asked}")
            if made.before not in others:
                return made.before
            current = registry.production(self.name)
        return None if current in others else current

    def _against_recorded(self, decision: Decision) -> Decision:
        """Make way for a version that was moved over unseen, where it would win against the challenger; return what holds then.

        The other one may have seen the challenger as well, and been compared with it: the question is the same, and so the answer.
        """
        if self.gate.forced is not None:
            return decision
        moves = [made for key, made in alias_moves.read(self.name).moves.items() if key not in self._known]
        left = {made.before for made in moves}  # by somebody who had seen it
        for rival in [
            made.version for made in moves if made.version not in self._met | left | {self.challenger.version}
        ]:
            self._met.add(rival)
            try:
                comparison = self._compare(registry.model_version(self.name, str(rival)), True)
            except VersionError:
                continue
            if (words := would_win(comparison, self.challenger.version, self.gate)) is not None:
                lost = Decision(
                    False, decision.meets_threshold, f"version {rival}, put there at the same time, wins: {words}"
                )
                self._note(None, comparison, lost)
                if registry.production(self.name) == self.challenger.version:
                    alias_moves.move(
                        self.name, self.by, str(rival), f"version {self.challenger.version} makes way: {lost.reason}"
                    )
                return lost
        return decision

    def _against(self, version: ModelVersion | None) -> Decision:
        self._met.add(None if version is None else str(version.version))
        champion, comparison = None, None
        if version is not None:
            champion = contender(version, self.gate.metric, self.signing_key)
            comparison = None if champion.lost else self._compare(version)
        decision = should_promote(self.metrics, self.challenger, champion, comparison, self.gate)
        self._note(champion, comparison, decision)
        return decision

    def _note(
        self, champion: Contender | None, comparison: Comparison | OtherSchema | str | None, decision: Decision
    ) -> None:
        self.rounds.append(
            {
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "champion": None if champion is None else asdict(champion),
                "comparison": _told(comparison),
                "decision": asdict(decision),
            }
        )

    def _champion(self, version: ModelVersion, folder: Path) -> tuple[Any, np.ndarray | None]:
        """Return which of the held-out rows a champion was not fitted on, None where that is not known; and who answers for it.

        That is nobody yet where it may be loaded. One that was adopted may not: here is the key.
        """
        rows = self.rows.test_features, self.rows.test_target
        if fitted_rows.is_own(folder) or self.ask is None or (asked := self.ask(version, folder, rows[0])) is None:
            return None, fitted_rows.unseen(folder, *rows)
        return asked[0], fitted_rows.outside(asked[1], *rows)

    def _compare(self, version: ModelVersion, turned: bool = False) -> Comparison | OtherSchema | str:
        """Let challenger and champion predict the rows that neither was fitted on; else say why that cannot be.

        `turned` is as if the champion were the one that challenges.
        """
        try:
            with version_files.signed(version, self.name, self.signing_key) as folder:
                if breaking_change(version_checks.interface_of(folder), self.interface or self.table.interface):
                    return OtherSchema()
                champion, new = self._champion(version, folder)
                if new is None:
                    return f"which rows version {version.version} was fitted on is not known{RECORDED}"
                if new.sum() < LEAST_ROWS:
                    return f"only {new.sum()} held-out rows are new to version {version.version}{RECORDED}"
                champion = champion or version_checks.load(folder, self.trusted)
            features, truth = self.rows.test_features[new], self.metric.encoded(self.rows.test_target[new])
            both = (champion, self.estimator) if turned else (self.estimator, champion)
            ours, theirs = (self.metric.response(one, features) for one in both)
            weights = self.rows.test_aside.weights
            return compared(self.metric, truth, ours, theirs, None if weights is None else weights[new])
        except (VersionError, TrackingError) as error:
            return f"version {version.version} could not be tried: {error}{RECORDED}"
        except Exception as error:  # an estimator of another time may fail in any way, and answer what has no score
            return f"version {version.version} does not predict: {type(error).__name__}: {error}{RECORDED}"


def contender(version: ModelVersion, metric: str, key: Path) -> Contender:
    """Return what the rule looks at of a version; `key` is the one that this stack signs with."""
    metrics, tags = registry.recorded(version)
    score = metrics.get(f"test_{metric}")
    try:
        lost = version_files.lost_by_files(version, key)
    except TrackingError:  # what is hard to reach is not lost, and why it cannot be tried the comparison says
        lost = None
    return Contender(str(version.version), score, tags.get("data_sha256"), lost)


def _told(comparison: Comparison | OtherSchema | str | None) -> dict[str, Any] | str | None:
    if isinstance(comparison, Comparison):
        return asdict(comparison)
    return "another schema" if isinstance(comparison, OtherSchema) else comparison
