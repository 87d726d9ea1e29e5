"""The rule by which a version becomes the one in Production."""

from dataclasses import replace
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import r2_score
from trainer.data.table import Task
from trainer.fit.metric import Metric
from trainer.promotion.policy import (
    Comparison,
    Contender,
    Decision,
    OtherSchema,
    QualityGate,
    Rule,
    below_threshold,
    compared,
    should_promote,
)

THRESHOLD = 0.9
ACCURACY, R2 = Metric("accuracy", Task.CLASSIFICATION, (0, 1)), Metric("r2", Task.REGRESSION)


def decide(
    accuracy: float | None,
    champion: Contender | None = None,
    comparison: Comparison | OtherSchema | str | None = None,
    threshold: float = THRESHOLD,
    **gate: Any,
) -> Decision:
    metrics = {} if accuracy is None else {"test_accuracy": accuracy}
    thresholds = {"test_accuracy": threshold}
    return should_promote(
        metrics, Contender("2", accuracy, "digest"), champion, comparison, QualityGate("accuracy", thresholds, **gate)
    )


def champion(accuracy: float | None, data_sha256: str | None = "digest") -> Contender:
    return Contender("1", accuracy, data_sha256)


def test_the_first_version_that_reaches_the_threshold_is_promoted() -> None:
    decision = decide(0.95)
    assert (decision.promote, decision.meets_threshold) == (True, True)
    assert decision.reason == "nothing was in Production, and its test accuracy 0.9500 reaches the threshold"


def test_the_threshold_itself_is_enough() -> None:
    assert decide(THRESHOLD).promote


@pytest.mark.parametrize("rival", [None, champion(0.1), champion(None)])
def test_below_the_threshold_nothing_is_promoted_whoever_is_in_production(rival: Contender | None) -> None:
    decision = decide(0.8999, rival)
    assert (decision.promote, decision.meets_threshold) == (False, False)
    assert decision.reason == "its test accuracy 0.8999 is below the threshold of 0.9000"


def test_a_threshold_of_zero_keeps_nothing_out() -> None:
    assert decide(0.0, threshold=0.0).promote


def test_a_version_without_the_metric_of_a_threshold_is_not_promoted() -> None:
    decision = decide(None)
    assert (decision.promote, decision.meets_threshold) == (False, False)
    assert "no test accuracy" in decision.reason


def test_errors_have_a_ceiling_for_a_threshold() -> None:
    assert below_threshold({"test_rmse": 3.5}, {"test_rmse": 3.5}) is None
    assert (
        below_threshold({"test_rmse": 4.0}, {"test_rmse": 3.5}) == "its test RMSE 4.0000 is above the limit of 3.5000"
    )
    assert below_threshold({"test_rmse": float("nan")}, {"test_rmse": 3.5}) is not None


def test_a_threshold_is_named_as_people_write_its_metric() -> None:
    assert below_threshold({"test_r2": 0.1}, {"test_r2": 0.5}) == "its test R² 0.1000 is below the threshold of 0.5000"
    assert below_threshold({}, {"test_r2": 0.5}) == "it has no test R², for which there is a threshold"


def test_a_challenger_without_a_score_is_not_promoted_where_there_is_no_threshold_either() -> None:
    decision = should_promote({}, Contender("2", None, "digest"), None, None, QualityGate("accuracy", {}))
    assert decision == Decision(False, False, "its run has no test accuracy")


# --- on rows that neither was fitted on ----------------------------------------------------------------------------


def test_a_better_version_displaces_the_champion() -> None:
    decision = decide(0.96, champion(0.99), Comparison(30, 0.96, 0.95, 0.5))
    assert (decision.promote, decision.meets_threshold) == (True, True)
    assert decision.reason == (
        "higher test accuracy 0.9600 against 0.9500 of version 1 in Production on 30 rows that neither was fitted on"
    )


def test_an_equal_version_does_not_displace_the_champion() -> None:
    decision = decide(0.95, champion(0.9), Comparison(30, 0.95, 0.95, 1.0))
    assert (decision.promote, decision.meets_threshold) == (False, True)
    assert decision.reason == (
        "equal test accuracy 0.9500 against 0.9500 of version 1 in Production on 30 rows that neither was fitted on"
        ": an equal model does not displace the champion"
    )


def test_a_worse_version_does_not_displace_the_champion() -> None:
    decision = decide(0.94, champion(0.9), Comparison(30, 0.94, 0.95, 1.0))
    assert (decision.promote, decision.meets_threshold) == (False, True)
    assert decision.reason.startswith("lower test accuracy 0.9400 against 0.9500 of version 1 in Production")


def test_a_margin_has_to_be_exceeded() -> None:
    comparison = Comparison(30, 0.96, 0.95, 0.5)
    assert decide(0.96, champion(0.9), comparison, margin=0.005).promote
    decision = decide(0.96, champion(0.9), comparison, margin=0.02)
    assert not decision.promote
    assert decision.reason == (
        "higher test accuracy 0.9600 against 0.9500 of version 1 in Production on 30 rows that neither was fitted on"
        ", with a margin of 0.02"
    )
    assert not decide(1.0, champion(0.75), Comparison(30, 1.0, 0.75, 0.5), margin=0.25).promote


def test_not_worse_is_enough_where_that_is_the_rule() -> None:
    rule: dict[str, Any] = {"rule": Rule.NOT_WORSE}
    assert decide(0.95, champion(0.95), Comparison(30, 0.95, 0.95, 1.0), **rule).promote
    assert not decide(0.94, champion(0.95), Comparison(30, 0.94, 0.95, 1.0), **rule).promote
    assert decide(0.94, champion(0.95), Comparison(30, 0.94, 0.95, 1.0), margin=0.02, **rule).promote
    at_the_margin = decide(0.95, champion(1.0), Comparison(30, 0.75, 1.0, 1.0), margin=0.25, **rule)
    assert (at_the_margin.promote, at_the_margin.meets_threshold) == (True, True)
    assert at_the_margin.reason.endswith(", with a margin of 0.25; the rule is not-worse")


def test_a_paired_test_asks_whether_the_difference_may_be_chance() -> None:
    rule: dict[str, Any] = {"rule": Rule.PAIRED}
    wins = decide(0.99, champion(0.9), Comparison(300, 0.99, 0.95, 0.001), **rule)
    assert (wins.promote, wins.meets_threshold) == (True, True)
    decision = decide(0.99, champion(0.9), Comparison(300, 0.99, 0.98, 0.3), **rule)
    assert not decision.promote
    assert "paired test: p = 0.3" in decision.reason
    assert not decide(0.99, champion(0.9), Comparison(300, 0.99, 0.95, 0.05), **rule).promote
    assert not decide(1.0, champion(0.75), Comparison(300, 1.0, 0.75, 0.001), margin=0.25, **rule).promote


SIGNIFICANT: dict[str, Any] = {"rule": Rule.SIGNIFICANT}


def test_a_gain_that_chance_explains_does_not_displace_the_champion_and_is_said_to_be_noise() -> None:
    wins = decide(0.99, champion(0.9), Comparison(600, 0.99, 0.95, 0.001), **SIGNIFICANT)
    assert wins.promote
    assert wins.reason.endswith("; paired test: p = 0.001")
    decision = decide(0.95, champion(0.9), Comparison(600, 0.95, 0.9467, 0.4), **SIGNIFICANT)
    assert (decision.promote, decision.meets_threshold) == (False, True)
    assert decision.reason.endswith(": within noise (paired test: p = 0.4); --rule better promotes it all the same")
    equal = decide(0.95, champion(0.95), Comparison(30, 0.95, 0.95, 1.0), **SIGNIFICANT)
    assert equal.reason.endswith(": an equal model does not displace the champion")


@pytest.mark.parametrize(("bound", "wins"), [(0.91, True), (0.9, False), (None, False)])
def test_a_recorded_score_is_beaten_by_the_whole_interval_of_another(bound: float | None, wins: bool) -> None:
    challenger = Contender("2", 0.95, "digest", bound=bound)
    gate = QualityGate("accuracy", {}, rule=Rule.SIGNIFICANT)
    decision = should_promote({}, challenger, champion(0.9), None, gate)
    assert decision.promote is wins
    assert decision.reason.startswith("higher test accuracy 0.9500 against 0.9000 of version 1 in Production")
    assert ("it may be chance" in decision.reason) is not wins


def test_of_an_error_the_lower_one_is_better() -> None:
    rival = Contender("1", 20.0, "digest")
    for gate, wins in (
        (QualityGate("rmse", {}, rule=Rule.BETTER), True),
        (QualityGate("r2", {}, rule=Rule.BETTER), False),
    ):
        assert should_promote({}, Contender("2", 15.0, "digest"), rival, None, gate).promote is wins
    decision = should_promote({}, Contender("2", 15_234.0, "digest"), None, None, QualityGate("rmse", {}))
    assert "its test RMSE 15,234 reaches" in decision.reason


def test_what_is_no_better_than_the_baseline_is_below_the_threshold() -> None:
    gate, metrics = QualityGate("accuracy", {}, baseline=0.74, gain=(-0.01, 0.04)), {"test_accuracy": 0.7583}
    decision = should_promote(metrics, Contender("2", 0.7583, "digest"), None, None, gate)
    assert (decision.promote, decision.meets_threshold) == (False, False)
    assert decision.reason == (
        "its test accuracy 0.7583 is no better than the baseline's 0.7400, which looks at no feature, by more than chance "
        "explains (95 % interval of the gain: -0.0100 to 0.0400)"
    )
    better = should_promote(metrics, Contender("2", 0.7583, None), None, None, replace(gate, gain=(0.01, 0.03)))
    assert better.reason == (
        "nothing was in Production, and its test accuracy 0.7583 is better than the baseline's 0.7400"
    )
    assert not should_promote(metrics, Contender("2", 0.76, None), None, None, replace(gate, gain=(nan, nan))).promote


def test_a_paired_test_that_is_not_possible_promotes_nothing_and_says_why() -> None:
    decision = decide(0.99, champion(0.9), "its rows are not known", rule=Rule.PAIRED)
    words = "a paired test with version 1 in Production is not possible: its rows are not known"
    assert decision == Decision(False, True, words)


def test_the_paired_test_of_classes_is_mcnemars() -> None:
    truth = np.zeros(40, int)
    challenger, rival = truth.copy(), truth.copy()
    rival[:10] = 1  # ten rows that only the challenger gets right
    found = compared(ACCURACY, truth, challenger, rival)
    assert (found.rows, found.challenger, found.champion) == (40, 1.0, 0.75)
    assert found.p_value == pytest.approx(0.5**10)
    assert compared(ACCURACY, truth, challenger, challenger).p_value == 1.0
    challenger[10:14] = 1  # four that only the rival gets right
    assert compared(ACCURACY, truth, challenger, rival).p_value == pytest.approx(1471 / 2**14)


def test_the_paired_test_of_quantities_sees_smaller_errors() -> None:
    truth = np.linspace(0, 10, 50)
    noise = np.random.default_rng(0).normal(size=50)
    found = compared(R2, truth, truth + 0.1 * noise, truth + noise)
    assert found.challenger == pytest.approx(r2_score(truth, truth + 0.1 * noise))
    assert found.champion == pytest.approx(r2_score(truth, truth + noise))
    assert found.p_value < 1e-6
    assert compared(R2, truth, truth + noise, truth + 0.1 * noise).p_value > 0.99
    assert compared(R2, truth, truth + noise, truth + noise).p_value == 1.0


# --- where they cannot be tried on the same rows -------------------------------------------------------------------


@pytest.mark.parametrize(("accuracy", "wins"), [(0.94, False), (0.95, False), (0.96, True)])
def test_recorded_scores_are_compared_and_the_reason_is_said(accuracy: float, wins: bool) -> None:
    decision = decide(accuracy, champion(0.95), "only 3 held-out rows are new to version 1; recorded scores compared")
    assert decision.promote is wins
    assert "(only 3 held-out rows are new to version 1; recorded scores compared)" in decision.reason


def test_figures_of_the_same_data_are_compared_without_a_remark() -> None:
    reason = "higher test accuracy 0.9600 against 0.9500 of version 1 in Production"
    assert decide(0.96, champion(0.95)) == Decision(True, True, reason)


@pytest.mark.parametrize("accuracy", [0.94, 0.95, 0.96])
def test_figures_from_other_data_are_said_to_be_so(accuracy: float) -> None:
    assert "of version 1 in Production, measured on other data" in decide(accuracy, champion(0.95, "other")).reason


def test_a_champion_without_a_score_stays_until_a_person_promotes_another() -> None:
    decision = decide(0.99, champion(None))
    assert (decision.promote, decision.meets_threshold) == (False, True)
    assert "version 1 in Production has no test accuracy" in decision.reason
    assert "`promote 2` replaces it" in decision.reason


@pytest.mark.parametrize("score", [nan, inf, -inf])
def test_a_score_that_is_no_finite_number_is_none_for_whoever_has_it(score: Any) -> None:
    assert decide(0.99, champion(score)) == decide(0.99, champion(None))
    assert not decide(score, champion(0.5)).promote
    measured = decide(0.99, champion(0.5), Comparison(30, 0.99, score, 0.5))
    assert measured.promote
    assert "against 0.5000 of version 1 in Production (on 30 rows" in measured.reason
    assert "has no finite score" in decide(0.99, champion(0.5), Comparison(30, score, 0.9, nan)).reason


@pytest.mark.parametrize("accuracy", [None, 0.95, 0.99])
def test_a_champion_that_cannot_be_served_any_more_is_displaced_whatever_its_accuracy(accuracy: float | None) -> None:
    decision = decide(0.92, Contender("1", accuracy, "digest", lost="its files"))
    assert (decision.promote, decision.meets_threshold) == (True, True)
    assert decision.reason == (
        "version 1 in Production has lost its files, and the test accuracy 0.9200 reaches the threshold"
    )


LOST = Contender("1", 0.5, "digest", lost="its signature")
NOT_MEASURED: list[tuple[Contender, Comparison | str | None, str]] = [
    (champion(0.5), "version 1 could not be tried: it is not signed; recorded scores compared", "it is not signed"),
    (champion(None), "which rows version 1 was fitted on is not known; recorded scores compared", "is not known"),
    (champion(0.5), Comparison(30, 0.99, nan, 0.5), "one of the two has no finite score"),
    (LOST, None, "it has lost its signature"),
]


@pytest.mark.parametrize(("rival", "comparison", "why"), NOT_MEASURED)
def test_where_only_what_is_measured_counts_a_person_decides_on_what_was_not(
    rival: Contender, comparison: Comparison | str | None, why: str
) -> None:
    decision = decide(0.99, rival, comparison, only_measured=True)
    assert (decision.promote, decision.meets_threshold) == (False, True)
    assert decision.reason.startswith("version 1 in Production cannot be measured on the same rows: ")
    assert decision.reason.endswith(f"{why}; `promote 2` replaces it, by a person's decision")
    assert "recorded" not in decision.reason


def test_where_only_what_is_measured_counts_the_better_of_two_that_were_is_promoted_and_so_is_a_first_one() -> None:
    assert decide(0.99, champion(None), Comparison(30, 0.99, 0.9, 0.01), only_measured=True).promote
    assert not decide(0.99, champion(None), Comparison(30, 0.9, 0.99, 0.5), only_measured=True).promote
    assert decide(0.99, only_measured=True).promote


# --- by a person's will --------------------------------------------------------------------------------------------


def test_without_promotion_production_stays_whatever_the_figures_are() -> None:
    decision = decide(0.99, promote=False)
    assert (decision.promote, decision.meets_threshold) == (False, True)
    assert decision.reason == "it was trained with --no-promote"
    below = decide(0.5, promote=False)
    assert below == Decision(False, False, "its test accuracy 0.5000 is below the threshold of 0.9000")


def test_a_forced_version_is_promoted_below_the_threshold_and_the_reason_is_kept() -> None:
    decision = decide(0.1, champion(0.99), Comparison(30, 0.1, 0.99, 1.0), forced="the old one is unlawful")
    assert (decision.promote, decision.meets_threshold) == (True, False)
    assert decision.reason == "forced: the old one is unlawful"


@pytest.mark.parametrize("gate", [{}, {"forced": "I want it"}, {"rule": Rule.NOT_WORSE}])
def test_a_champion_with_another_schema_is_never_displaced_not_even_by_force(gate: dict[Any, Any]) -> None:
    decision = decide(0.99, champion(0.5), OtherSchema(), **gate)
    assert (decision.promote, decision.meets_threshold) == (False, True)
    assert decision.reason == ("version 1 in Production has another schema; name a model of its own: --model-name NAME")
    assert not decide(0.1, champion(0.5), OtherSchema(), **gate).meets_threshold


LEAK = "feature 'code' is the target, or tells it for all rows; leave it out: --drop 'code'"


@pytest.mark.parametrize("rival", [None, champion(0.5)])
@pytest.mark.parametrize("forced", [None, "because"])
def test_a_challenger_with_a_leak_that_nobody_accepted_is_not_promoted_not_even_by_force(
    rival: Contender | None, forced: str | None
) -> None:
    decision = decide(1.0, rival, leaks=(LEAK,), forced=forced)
    assert (decision.promote, decision.meets_threshold) == (False, True)
    assert decision.reason == f"{LEAK} (--accept-leak promotes it nevertheless)"
    assert not decide(0.1, rival, leaks=(LEAK,), forced=forced).meets_threshold


def test_of_many_leaks_the_first_three_are_named() -> None:
    assert "c; d" not in decide(1.0, leaks=("a", "b", "c", "d")).reason
    assert decide(1.0, leaks=("a", "b", "c", "d")).reason.startswith("a; b; c (")
