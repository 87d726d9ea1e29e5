"""The rule by which a version becomes the one in Production.

A challenger that reaches the threshold is promoted when there is no champion, when the champion cannot be served any more, or
when it wins the comparison: both predict the held-out rows that neither was fitted on, and their scores by the metric are
compared by the rule. The threshold is the baseline unless somebody says otherwise. By the default rule a challenger must be better
by more than chance explains: a change must be worth something. Where too few such rows remain, the scores that were recorded
when each was trained are compared instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite, nan
from typing import TypeGuard

import numpy as np

from trainer.console.figures import metric_words, number
from trainer.fit.evaluation import gains
from trainer.fit.metric import Metric, better, is_loss

# With fewer rows than this a comparison on unseen rows would be a game of dice.
LEAST_ROWS = 20
SIGNIFICANCE = 0.05
# How the words end that say why two cannot be measured on the same rows.
RECORDED = "; recorded scores compared"
WAY_OUT = "; --rule better promotes it all the same"


class Rule(StrEnum):
    """When a challenger wins its comparison."""

    SIGNIFICANT = "significant"
    """better, and by more than chance explains: a paired test on the same rows gives p < 0.05; where recorded scores are
    compared, the challenger's 95 % interval lies beyond the champion's score"""
    BETTER = "better"
    """its score is higher than the champion's by more than the margin"""
    NOT_WORSE = "not-worse"
    """its score is not lower than the champion's by more than the margin"""
    PAIRED = "paired"
    """better, and a paired test on the same rows gives p < 0.05; `compared` says which"""


@dataclass(frozen=True)
class Contender:
    """A model version and what the rule looks at."""

    version: str
    score: float | None
    """the metric as recorded on its run, None where its run does not say, such as for one logged by hand; one that is
    NaN or infinite counts as none"""
    data_sha256: str | None
    lost: str | None = None
    """what it lacks so that nobody can serve it any more, None where it lacks nothing"""
    bound: float | None = None
    """the worse end of the 95 % interval of its score, None where that is not known"""


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
    """what the scores are, by its name: accuracy, r2, roc_auc"""
    thresholds: Mapping[str, float]
    """the least value of each metric, the greatest for losses and errors"""
    baseline: float | None = None
    """the metric of answers that look at no feature, which the challenger has to be better than; None for no such threshold"""
    gain: tuple[float, float] = (nan, nan)
    """the 95 % interval of what the challenger is better by than the baseline, on the same rows"""
    rule: Rule = Rule.BETTER
    margin: float = 0.0
    promote: bool = True
    """False leaves Production alone, whatever the comparison would say"""
    forced: str | None = None
    """why a challenger is promoted whatever its figures are, None where the rule decides"""
    only_measured: bool = False
    """whether a champion is displaced only by what was measured on the same rows with it; what is recorded anybody can write"""
    leaks: tuple[str, ...] = ()
    """what makes its figures worthless, and was not accepted: a sentence each"""


@dataclass(frozen=True)
class Decision:
    """What the rule says, and why, in words for a person."""

    promote: bool
    meets_threshold: bool
    reason: str


@dataclass(frozen=True)
class Proposal(Decision):
    """That a version passes the quality gate, and a review with the signing key decides: it alone can verify the champion."""


def compared(
    metric: Metric,
    truth: np.ndarray,
    challenger: np.ndarray,
    champion: np.ndarray,
    weights: np.ndarray | None = None,
) -> Comparison:
    """Score both responses to the same rows, and test whether the difference may be chance.

    All are as the metric takes them, of shape (rows,); responses of many classes' probabilities (rows, classes). Where rows
    count differently, the test is a bootstrap: those of ranks and counts have no weights.
    """
    scores = metric.value(truth, challenger, weights), metric.value(truth, champion, weights)
    if weights is None and (p_value := _exact(metric, truth, challenger, champion)) is not None:
        return Comparison(len(truth), *scores, p_value)
    drawn = gains(metric, truth, challenger, champion, weights)
    return Comparison(len(truth), *scores, (1 + sum(not gain > 0 for gain in drawn)) / (1 + len(drawn)))


def _exact(metric: Metric, truth: np.ndarray, challenger: np.ndarray, champion: np.ndarray) -> float | None:
    """Return how likely a gain as large as this is where there is none, by McNemar's test or Wilcoxon's; None for other metrics."""
    from scipy import stats

    if metric.name == "accuracy":
        right, wrong = (challenger == truth) & (champion != truth), (challenger != truth) & (champion == truth)
        differ = int(right.sum() + wrong.sum())
        return float(stats.binomtest(int(right.sum()), differ, alternative="greater").pvalue) if differ else 1.0
    if not metric.labels:
        gains = np.abs(champion - truth) - np.abs(challenger - truth)
        return float(stats.wilcoxon(gains, alternative="greater").pvalue) if np.any(gains) else 1.0
    return None


def below_threshold(metrics: Mapping[str, float], thresholds: Mapping[str, float]) -> str | None:
    """Say which metric misses its threshold, None where all reach theirs."""
    for name, least in thresholds.items():
        if name not in metrics:
            return f"it has no {metric_words(name)}, for which there is a threshold"
        value = metrics[name]
        if _is_ceiling(name) and not value <= least:
            return f"its {metric_words(name)} {number(value)} is above the limit of {number(least)}"
        if not _is_ceiling(name) and not value >= least:
            return f"its {metric_words(name)} {number(value)} is below the threshold of {number(least)}"
    return None


def _is_ceiling(name: str) -> bool:
    return name == "overfitting_gap" or is_loss(name.partition("_")[2])


def bound(metrics: Mapping[str, float], metric: str) -> float | None:
    """Return the worse end of the interval of a metric on the held-out rows, None where there is none."""
    return metrics.get(f"test_{metric}_ci_{'high' if is_loss(metric) else 'low'}")


def no_better_than_baseline(metrics: Mapping[str, float], gate: QualityGate) -> str | None:
    """Say that chance may explain what a model is better by than answers that look at no feature; None where it does not."""
    if gate.baseline is None:
        return None
    name, (low, high) = f"test_{gate.metric}", gate.gain
    if name not in metrics:
        return f"it has no {metric_words(name)}, which the baseline is compared with"
    if low > 0:
        return None
    return (
        f"its {metric_words(name)} {number(metrics[name])} is no better than the baseline's {number(gate.baseline)}, which looks at no "
        f"feature, by more than chance explains (95 % interval of the gain: {number(low)} to {number(high)})"
    )


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
    fault = below_threshold(metrics, gate.thresholds) or no_better_than_baseline(metrics, gate)
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
        return Decision(False, False, f"its run has no {metric_words('test_' + gate.metric)}")
    own = f"{metric_words('test_' + gate.metric)} {number(challenger.score)}"
    reaches = _reaches(gate)
    if champion is None:
        return Decision(True, True, f"nothing was in Production, and its {own} {reaches}")
    return _against(challenger, champion, comparison, gate, f"{own} {reaches}")


def would_win(comparison: Comparison | OtherSchema | str | None, version: str, gate: QualityGate) -> str | None:
    """Say why the challenger of a comparison would displace a version; None where it would not, or it was not measured."""
    if not isinstance(comparison, Comparison) or not (
        _is_score(comparison.challenger) and _is_score(comparison.champion)
    ):
        return None
    made = _judged(comparison.challenger, comparison.champion, comparison, f"version {version} in Production", gate)
    return made.reason if made.promote else None


def _against(
    challenger: Contender,
    champion: Contender,
    comparison: Comparison | OtherSchema | str | None,
    gate: QualityGate,
    own: str,
) -> Decision:
    """Decide on a challenger that passes the gate, as `own` says in words, where there is a champion."""
    rival = f"version {champion.version} in Production"
    is_measured = (
        isinstance(comparison, Comparison) and _is_score(comparison.challenger) and _is_score(comparison.champion)
    )
    if gate.only_measured and not is_measured:
        return _left_to_a_person(challenger, champion, comparison, rival)
    if champion.lost:
        return Decision(True, True, f"{rival} has lost {champion.lost}, and the {own}")
    if isinstance(comparison, Comparison) and is_measured:
        return _judged(comparison.challenger, comparison.champion, comparison, rival, gate)
    return _by_recorded_scores(challenger, champion, comparison, rival, gate)


def _left_to_a_person(
    challenger: Contender, champion: Contender, comparison: Comparison | OtherSchema | str | None, rival: str
) -> Decision:
    why = f"it has lost {champion.lost}" if champion.lost else _why_not_measured(comparison)
    words = f"{rival} cannot be measured on the same rows: {why}; `promote {challenger.version}` replaces it, by a person's decision"
    return Decision(False, True, words)


def _why_not_measured(comparison: Comparison | OtherSchema | str | None) -> str | None:
    if isinstance(comparison, Comparison):
        return f"on {comparison.rows} rows that neither was fitted on one of the two has no finite score"
    return comparison.removesuffix(RECORDED) if isinstance(comparison, str) else None


def _reaches(gate: QualityGate) -> str:
    return (
        "reaches the threshold" if gate.baseline is None else f"is better than the baseline's {number(gate.baseline)}"
    )


def _is_score(value: float | None) -> TypeGuard[float]:
    return value is not None and isfinite(value)


def _by_recorded_scores(
    challenger: Contender,
    champion: Contender,
    comparison: Comparison | OtherSchema | str | None,
    rival: str,
    gate: QualityGate,
) -> Decision:
    why = comparison if isinstance(comparison, str) else _why_not_measured(comparison)
    if gate.rule is Rule.PAIRED:
        return Decision(False, True, f"a paired test with {rival} is not possible: {why}")
    if not _is_score(champion.score) or not _is_score(challenger.score):
        return Decision(
            False,
            True,
            f"{rival} has no {metric_words('test_' + gate.metric)} to compare with; `promote {challenger.version}` replaces it",
        )
    elsewhere = "" if challenger.data_sha256 == champion.data_sha256 else ", measured on other data"
    decision = _judged(challenger.score, champion.score, None, f"{rival}{elsewhere}", gate, f" ({why})" if why else "")
    if gate.rule is Rule.SIGNIFICANT and decision.promote:
        worst = challenger.bound
        if worst is None or not better(gate.metric, worst, champion.score) > gate.margin:
            return Decision(False, True, f"{decision.reason}: within its 95 % interval, so it may be chance{WAY_OUT}")
    return decision


def _judged(
    challenger: float, champion: float, comparison: Comparison | None, rival: str, gate: QualityGate, note: str = ""
) -> Decision:
    where = "" if comparison is None else f" on {comparison.rows} rows that neither was fitted on"
    name = metric_words(f"test_{gate.metric}")
    figures = f"{name} {number(challenger)} against {number(champion)} of {rival}{where}{note}"
    if gate.margin:
        figures += f", with a margin of {gate.margin:g}"
    word = "higher" if challenger > champion else "equal" if challenger == champion else "lower"
    gain = better(gate.metric, challenger, champion)
    if gate.rule is Rule.NOT_WORSE:
        return Decision(gain >= -gate.margin, True, f"{word} {figures}; the rule is {gate.rule}")
    if gate.rule is Rule.PAIRED and comparison is not None:
        wins = gain > gate.margin and comparison.p_value < SIGNIFICANCE
        return Decision(wins, True, f"{word} {figures}; paired test: p = {comparison.p_value:.3g}")
    if gain > gate.margin:
        if gate.rule is Rule.SIGNIFICANT and comparison is not None:
            return _unless_chance(f"{word} {figures}", comparison.p_value)
        return Decision(True, True, f"{word} {figures}")
    tail = ": an equal model does not displace the champion" if gain == 0 else ""
    return Decision(False, True, f"{word} {figures}{tail}")


def _unless_chance(figures: str, p_value: float) -> Decision:
    if p_value < SIGNIFICANCE:
        return Decision(True, True, f"{figures}; paired test: p = {p_value:.3g}")
    return Decision(False, True, f"{figures}: within noise (paired test: p = {p_value:.3g}){WAY_OUT}")
