"""The rule by which a version becomes the one in Production."""

import pytest
from trainer.promotion import Contender, Decision, should_promote

FLOOR = 0.9


def decide(accuracy: float | None, incumbent: Contender | None = None, floor: float = FLOOR) -> Decision:
    return should_promote(Contender("2", accuracy, "digest"), incumbent, floor)


def incumbent(accuracy: float | None, data_sha256: str | None = "digest") -> Contender:
    return Contender("1", accuracy, data_sha256)


def test_the_first_version_that_reaches_the_floor_is_promoted():
    decision = decide(0.95)
    assert (decision.promote, decision.meets_floor) == (True, True)
    assert decision.reason == "nothing was in Production, and its test accuracy 0.9500 reaches the floor"


def test_the_floor_itself_is_enough():
    assert decide(FLOOR).promote


@pytest.mark.parametrize("rival", [None, incumbent(0.1), incumbent(None)])
def test_below_the_floor_nothing_is_promoted_whoever_is_in_production(rival):
    decision = decide(0.8999, rival)
    assert (decision.promote, decision.meets_floor) == (False, False)
    assert decision.reason == "its test accuracy 0.8999 is below the floor of 0.9000"


def test_a_floor_of_zero_keeps_nothing_out():
    assert decide(0.0, floor=0.0).promote


def test_a_version_without_a_test_accuracy_is_not_promoted():
    decision = decide(None)
    assert (decision.promote, decision.meets_floor) == (False, False)
    assert "no test accuracy" in decision.reason


def test_a_better_version_displaces_the_incumbent():
    decision = decide(0.96, incumbent(0.95))
    assert (decision.promote, decision.meets_floor) == (True, True)
    assert decision.reason == "higher test accuracy 0.9600 against 0.9500 of version 1 in Production"


def test_an_equal_version_does_not_displace_the_incumbent():
    decision = decide(0.95, incumbent(0.95))
    assert (decision.promote, decision.meets_floor) == (False, True)
    assert "equal test accuracy 0.9500 against 0.9500 of version 1 in Production" in decision.reason
    assert "an equal model does not displace the incumbent" in decision.reason


def test_a_worse_version_does_not_displace_the_incumbent():
    decision = decide(0.94, incumbent(0.95))
    assert (decision.promote, decision.meets_floor) == (False, True)
    assert decision.reason == "lower test accuracy 0.9400 against 0.9500 of version 1 in Production"


@pytest.mark.parametrize("accuracy", [0.94, 0.95, 0.96])
def test_figures_from_other_data_are_said_to_be_so(accuracy):
    assert "of version 1 in Production, measured on other data" in decide(accuracy, incumbent(0.95, "other")).reason


def test_an_incumbent_without_a_test_accuracy_stays_until_a_person_moves_the_alias():
    decision = decide(0.99, incumbent(None))
    assert (decision.promote, decision.meets_floor) == (False, True)
    assert "version 1 in Production has no test accuracy" in decision.reason
    assert "move the alias by hand" in decision.reason


@pytest.mark.parametrize("accuracy", [None, 0.95, 0.99])
def test_an_incumbent_that_cannot_be_served_any_more_is_displaced_whatever_its_accuracy(accuracy):
    decision = decide(0.92, Contender("1", accuracy, "digest", lost="its files"))
    assert (decision.promote, decision.meets_floor) == (True, True)
    assert "version 1 in Production has lost its files" in decision.reason
