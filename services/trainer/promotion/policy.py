"""The rule by which a version becomes the one in Production.

A challenger that reaches the threshold is promoted when there is no champion, when the champion cannot be served any more, or
when it wins the comparison: both predict the held-out rows that neither was fitted on, and their scores (accuracy or R²)
are compared by the rule. By the default rule an equal challenger does not displace a champion: a change must be worth
something. Where too few such rows remain, the scores that were recorded when each was trained are compared instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import TypeGuard

import numpy as np

from trainer.data.table import Task

# With fewer rows than this a comparison on unseen rows would be a game of dice.
LEAST_ROWS = 20
SIGNIFICANCE = 0.05
# Metrics whose threshold is an upper limit.
LESS_IS_BETTER = ("test_log_loss", "test_rmse", "test_mae", "overfitting_gap")


class Rule(StrEnum):
    """When a challenger wins its comparison."""

    BETTER = "better"
    """its score is higher than the champion's by more than the margin"""
    NOT_WORSE = "not-worse"
    """its score is not lower than the champion's by more than the margin"""
    PAIRED = "paired"
    """better, and a paired test on the same rows gives p < 0.05: McNemar's for classes, Wilcoxon's for quantities"""


@dataclass(frozen=True)
class Contender:
    """A model version and what the rule looks at."""

    version: str
    score: float | None
    """accuracy or R² as recorded on its run, None where its run does not say, such as for one logged by hand; one that is
    NaN or infinite counts as none"""
    data_sha256: str | None
    lost: str | None = None
    """what it lacks so that nobody can serve it any more, None where it lacks nothing"""


@dataclass(frozen=True)
class Comparison:
    """Challenger and champion, measured on the same rows."""

    rows: int
    challenger: float
    champion: float
    p_value: float


@dataclass(frozen=True)
class OtherSchema:
    """Why there is no comparison: challenger and champion do not answer the same requests."""


@dataclass(frozen=True)
class QualityGate:
    """What a challenger has to pass."""

    metric: str
    """what the scores are, in words: accuracy or R²"""
    thresholds: Mapping[str, float]
    """the least value of each metric, the greatest for those in LESS_IS_BETTER"""
    rule: Rule = Rule.BETTER
    margin: float = 0.0
    promote: bool = True
    """False leaves Production alone, whatever the comparison would say"""
    forced: str | None = None
    """why a challenger is promoted whatever its figures are, None where the rule decides"""
    leaks: tuple[str, ...] = ()
    """what makes its figures worthless, and was not accepted: a sentence each"""


@dataclass(frozen=True)
class Decision:
    """What the rule says, and why, in words for a person."""

    promote: bool
    meets_threshold: bool
    reason: str


def compared(task: Task, truth: np.ndarray, challenger: np.ndarray, champion: np.ndarray) -> Comparison:
    """Score both predictions of the same rows, and test whether the difference may be chance; all of shape (rows,)."""
    from scipy import stats

    from trainer.fit.evaluation import score

    if task is Task.CLASSIFICATION:
        right, wrong = (challenger == truth) & (champion != truth), (challenger != truth) & (champion == truth)
        differ = int(right.sum() + wrong.sum())
        p_value = stats.binomtest(int(right.sum()), differ, alternative="greater").pvalue if differ else 1.0
    else:
        gains = np.abs(champion - truth) - np.abs(challenger - truth)
        p_value = stats.wilcoxon(gains, alternative="greater").pvalue if np.any(gains) else 1.0
    return Comparison(len(truth), score(task, truth, challenger), score(task, truth, champion), float(p_value))


def below_threshold(metrics: Mapping[str, float], thresholds: Mapping[str, float]) -> str | None:
    """Say which metric misses its threshold, None where all reach theirs."""
    for name, least in thresholds.items():
        if name not in metrics:
            return f"it has no {_words(name)}, for which there is a threshold"
        value = metrics[name]
        if name in LESS_IS_BETTER and not value <= least:
            return f"its {_words(name)} {value:.4f} is above the limit of {least:.4f}"
        if name not in LESS_IS_BETTER and not value >= least:
            return f"its {_words(name)} {value:.4f} is below the threshold of {least:.4f}"
    return None


def should_promote(
    metrics: Mapping[str, float],
    challenger: Contender,
    champion: Contender | None,
    comparison: Comparison | OtherSchema | str | None,
    gate: QualityGate,
) -> Decision:
    """Decide whether the challenger takes the champion's place.

    `metrics` are the challenger's; `comparison` is both on the same rows, or the words why there is none.
    """
    fault = below_threshold(metrics, gate.thresholds)
    if isinstance(comparison, OtherSchema) and champion is not None:
        # Whoever asks the served model would be refused from one moment to the next: not even by force.
        words = (
            f"version {champion.version} in Production has another schema; name a model of its own: --model-name NAME"
        )
        return Decision(False, fault is None, words)
    if gate.leaks:
        # Its figures say nothing, so there is nothing to force: it is accepted by its name, or not at all.
        return Decision(False, fault is None, f"{'; '.join(gate.leaks[:3])} (--accept-leak promotes it nevertheless)")
    if gate.forced is not None:
        return Decision(True, fault is None, f"forced: {gate.forced}")
    if not gate.promote:
        return Decision(False, fault is None, fault or "it was trained with --no-promote")
    if fault:
        return Decision(False, False, fault)
    if not _is_score(challenger.score):
        return Decision(False, False, f"its run has no test {gate.metric}")
    own = f"test {gate.metric} {challenger.score:.4f}"
    if champion is None:
        return Decision(True, True, f"nothing was in Production, and its {own} reaches the threshold")
    rival = f"version {champion.version} in Production"
    if champion.lost:
        return Decision(True, True, f"{rival} has lost {champion.lost}, and the {own} reaches the threshold")
    if isinstance(comparison, Comparison) and _is_score(comparison.challenger) and _is_score(comparison.champion):
        return _judged(comparison.challenger, comparison.champion, comparison, rival, gate)
    return _by_recorded_scores(challenger, champion, comparison, rival, gate)


def _is_score(value: float | None) -> TypeGuard[float]:
    return value is not None and isfinite(value)


def _by_recorded_scores(
    challenger: Contender,
    champion: Contender,
    comparison: Comparison | OtherSchema | str | None,
    rival: str,
    gate: QualityGate,
) -> Decision:
    why = comparison if isinstance(comparison, str) else None
    if isinstance(comparison, Comparison):
        why = f"on {comparison.rows} rows that neither was fitted on one of the two has no finite score"
    if gate.rule is Rule.PAIRED:
        return Decision(False, True, f"a paired test with {rival} is not possible: {why}")
    if not _is_score(champion.score) or not _is_score(challenger.score):
        return Decision(
            False,
            True,
            f"{rival} has no test {gate.metric} to compare with; `promote {challenger.version}` replaces it",
        )
    elsewhere = "" if challenger.data_sha256 == champion.data_sha256 else ", measured on other data"
    return _judged(challenger.score, champion.score, None, f"{rival}{elsewhere}", gate, f" ({why})" if why else "")


def _judged(
    challenger: float, champion: float, comparison: Comparison | None, rival: str, gate: QualityGate, note: str = ""
) -> Decision:
    where = "" if comparison is None else f" on {comparison.rows} rows that neither was fitted on"
    figures = f"test {gate.metric} {challenger:.4f} against {champion:.4f} of {rival}{where}{note}"
    if gate.margin:
        figures += f", with a margin of {gate.margin:g}"
    difference = challenger - champion
    word = "higher" if difference > 0 else "equal" if difference == 0 else "lower"
    if gate.rule is Rule.NOT_WORSE:
        return Decision(difference >= -gate.margin, True, f"{word} {figures}; the rule is {gate.rule}")
    if gate.rule is Rule.PAIRED and comparison is not None:
        wins = difference > gate.margin and comparison.p_value < SIGNIFICANCE
        return Decision(wins, True, f"{word} {figures}; paired test: p = {comparison.p_value:.3g}")
    if difference > gate.margin:
        return Decision(True, True, f"{word} {figures}")
    tail = ": an equal model does not displace the champion" if difference == 0 else ""
    return Decision(False, True, f"{word} {figures}{tail}")


def _words(metric: str) -> str:
    return metric.replace("_", " ").replace("r2", "R²")
