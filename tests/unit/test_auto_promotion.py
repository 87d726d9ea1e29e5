"""What `challenge status --auto` makes of the log: a challenger that fails where Production answers is never promoted."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from contract.mlmodel.manifest import Description
from trainer.commands import challenge
from trainer.commands.challenge import Asked
from trainer.tracking import challengers, registry
from trainer.tracking.challengers import Challenger

CLASSES = Description((), True, "long", ("no", "yes"), [], {})
HEAD = "request_id,row,time,version,prediction,label,trusted,client,production_version"
Judge = Callable[[list[str]], tuple[list[str], str]]


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Judge:
    """Return what is done about challenger 4 of version 3, and why, by lines of the log."""
    done = list[str]()
    monkeypatch.setattr(registry, "in_production", lambda name: SimpleNamespace(version="3"))
    monkeypatch.setattr(challenge, "_signed", lambda settings, version: CLASSES)
    monkeypatch.setattr(challenge, "_unfit", lambda settings, now: None)
    monkeypatch.setattr(registry, "production", lambda name: "3")
    monkeypatch.setattr(challengers, "challenger", lambda name: now)
    monkeypatch.setattr(challenge, "move", lambda *of: done.append(f"promoted {of[2]}"))
    monkeypatch.setattr(challengers, "end", lambda *of: done.append(f"ended by {of[2]}"))
    now: Any = Challenger(SimpleNamespace(version="4"), None)
    settings: Any = SimpleNamespace(model_name="iris")

    def judge(lines: list[str]) -> tuple[list[str], str]:
        _, words = challenge.judged(settings, now, Asked(logged=[HEAD, *lines], auto=True), None, None)  # type: ignore[arg-type]
        return done, words

    return judge


def answer(request_id: str, version: str, prediction: int | str, label: int | str, beside: str = "") -> str:
    return f"{request_id},0,2026-11-27 03:00:00+00:00,{version},{prediction},{label},true,,{beside}"


def answers(failing: bool) -> list[str]:
    """Return what both said to two thousand requests: the challenger is better, but for the hard ones, on which it may fail."""
    random, lines = np.random.default_rng(0), list[str]()
    for number in range(2000):
        label, is_hard = int(random.random() < 0.5), random.random() < 0.1
        theirs, ours = (label if random.random() < share else 1 - label for share in (0.8, 0.97))
        lines.append(answer(f"r{number}", "3", theirs, label))
        lines.append(answer(f"r{number}", "4", "" if failing and is_hard else ours, label, "3"))
    return lines


def test_one_that_is_better_is_promoted_and_one_that_fails_besides_is_ended(judged: Judge) -> None:
    done, words = judged(answers(failing=False))
    assert (done, words[:9]) == (["promoted 4"], "Promoted:")
    done, words = judged(answers(failing=True))
    assert done == ["promoted 4", "ended by auto"]
    assert words.startswith("Ended: once is enough: accuracy: 0.8")
    assert words.endswith("; it failed on 189 of the rows that Production answered")


def test_one_failure_is_enough_before_a_label_has_come(judged: Judge) -> None:
    done, words = judged([answer("r1", "4", "", 1, "3")])
    assert (done, words) == (
        ["ended by auto"],
        "Ended: once is enough: too few labels: 1 answers that count have one; it failed on 1 of the rows that Production answered",
    )


@pytest.mark.parametrize(
    ("production", "challenger", "words"),
    [
        ("5", "4", "Goes on: version 5 is in Production by now, and it was measured beside version 3; accuracy: "),
        ("4", None, "Goes on: version 4 is in Production by now, and it was measured beside version 3; accuracy: "),
        ("3", None, "Goes on: somebody has ended the challenge meanwhile, or changed it; accuracy: "),
        ("3", "6", "Goes on: somebody has ended the challenge meanwhile, or changed it; accuracy: "),
    ],
)
@pytest.mark.parametrize("failing", [False, True])
def test_what_was_measured_decides_nothing_of_what_came_in_its_place_meanwhile(
    judged: Judge, monkeypatch: pytest.MonkeyPatch, production: str, challenger: str | None, words: str, failing: bool
) -> None:
    after: Any = challenger and Challenger(SimpleNamespace(version=challenger), None)
    monkeypatch.setattr(registry, "production", lambda name: production)
    monkeypatch.setattr(challengers, "challenger", lambda name: after)
    done, said = judged(answers(failing))
    assert (done, said[: len(words)]) == ([], words)


UNNAMED = replace(CLASSES, class_names=None)


@pytest.mark.parametrize(
    ("described", "is_quantity"),
    [
        (CLASSES, False),
        (replace(UNNAMED, output="string"), False),
        (replace(UNNAMED, output="boolean"), False),
        (replace(UNNAMED, has_probabilities=True), False),
        (replace(UNNAMED, output="double"), True),
        (replace(UNNAMED, output="float"), True),
        (replace(UNNAMED, figures={"metrics": {"test_accuracy": 0.9}}), False),
        (replace(UNNAMED, figures={"metrics": {"test_r2": 0.9}}), True),
        (UNNAMED, None),
        (replace(UNNAMED, output=""), None),
        (replace(UNNAMED, output="double", width=2), None),
    ],
)
def test_whether_a_quantity_is_predicted_is_what_the_signed_files_say(
    described: Description, is_quantity: bool | None
) -> None:
    assert challenge.predicts_quantity(described) is is_quantity


def test_of_a_quantity_that_was_logged_by_hand_errors_are_compared_and_of_what_is_neither_nothing(
    judged: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = answers(failing=False)
    monkeypatch.setattr(challenge, "_signed", lambda settings, version: replace(UNNAMED, output="double"))
    assert judged(lines)[1].startswith("Promoted: mean absolute error, negative: -0.0")
    monkeypatch.setattr(challenge, "_signed", lambda settings, version: UNNAMED)
    done, words = judged(lines)
    assert (done, words) == (
        ["promoted 4"],
        "Goes on: no verdict: the signed files of version 3 do not say whether it predicts classes or a quantity; "
        "log its classes' names (metadata={'class_names': […]}), or of a quantity a signature whose output is a double",
    )


def test_labels_that_come_for_what_is_right_alone_promote_nobody(judged: Judge) -> None:
    random, lines = np.random.default_rng(0), list[str]()
    for number in range(2000):  # both are right in four of five cases
        is_right = random.random() < 0.8
        lines.append(answer(f"a{number}", "3", int(random.random() < 0.8), 1))
        comes = is_right or random.random() < 0.3
        lines.append(answer(f"b{number}", "4", int(is_right), 1 if comes else ""))
    done, words = judged(lines)
    assert done == []
    assert words.startswith("Goes on: no verdict: labels came for 84.7% of what version 4 answered and for 100.0% of")


def test_what_it_answered_beside_an_earlier_version_is_no_comparison_with_this_one(judged: Judge) -> None:
    random = np.random.default_rng(0)
    easy = [answer(f"a{n}", "2", 1, 1) for n in range(400)]
    easy += [answer(f"a{n}", "4", int(random.random() < 0.97), 1, "2") for n in range(400)]
    hard = [answer(f"b{n}", "3", int(random.random() < 0.75), 1) for n in range(400)]
    done, words = judged([*easy, *hard])
    assert (done, words) == ([], "Goes on: too few labels: 800 answers that count have one")
