"""The rule by which a version becomes the one in Production.

A candidate whose test accuracy reaches the floor is promoted when there is no incumbent, when the incumbent cannot be
served any more, or when its test accuracy is higher than the incumbent's. An equal candidate does not displace an incumbent:
a change must be worth something.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Contender:
    """A model version and what the rule looks at."""

    version: str
    test_accuracy: float | None
    """None where its run does not say, such as for a version that was logged by hand"""
    data_sha256: str | None
    lost: str | None = None
    """what it lacks so that nobody can serve it any more, None where it lacks nothing"""


@dataclass(frozen=True)
class Decision:
    """What the rule says, and why, in words for a person."""

    promote: bool
    meets_floor: bool
    reason: str


def should_promote(candidate: Contender, incumbent: Contender | None, floor: float) -> Decision:
    """Decide whether the candidate takes the incumbent's place; `floor` is the least test accuracy, 0 to 1."""
    accuracy = candidate.test_accuracy
    if accuracy is None:
        return Decision(False, False, "its run has no test accuracy")
    if accuracy < floor:
        return Decision(False, False, f"its test accuracy {accuracy:.4f} is below the floor of {floor:.4f}")
    if incumbent is None:
        return Decision(
            True, True, f"nothing was in Production, and its test accuracy {accuracy:.4f} reaches the floor"
        )
    rival = f"version {incumbent.version} in Production"
    if incumbent.lost:
        return Decision(
            True, True, f"{rival} has lost {incumbent.lost}, and the test accuracy {accuracy:.4f} reaches the floor"
        )
    if incumbent.test_accuracy is None:
        return Decision(
            False, True, f"{rival} has no test accuracy to compare with; move the alias by hand to replace it"
        )
    elsewhere = "" if candidate.data_sha256 == incumbent.data_sha256 else ", measured on other data"
    figures = f"test accuracy {accuracy:.4f} against {incumbent.test_accuracy:.4f} of {rival}{elsewhere}"
    if accuracy > incumbent.test_accuracy:
        return Decision(True, True, f"higher {figures}")
    if accuracy == incumbent.test_accuracy:
        return Decision(False, True, f"equal {figures}: an equal model does not displace the incumbent")
    return Decision(False, True, f"lower {figures}")
