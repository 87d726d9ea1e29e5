"""Champion and challenger by late labels: the interval holds however often one looks, and what it is made of is what came."""

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pytest
from trainer.errors import DataError
from trainer.promotion.live_comparison import (
    ALPHA,
    LEAST,
    Answer,
    answers_of,
    compared,
    disagreement,
    failures,
    half_width,
    rate_of,
    rows_of,
    times_of,
    unlike_labels,
)

NOW = datetime(2026, 1, 2, tzinfo=UTC)
HEAD = "request_id,row,time,version,prediction,label,trusted,client"
LINE = "a,0,2026-01-02 03:04:05.123+00,3,1,1,true,"


def read(lines: list[str], is_quantity: bool) -> list[Answer]:
    return answers_of(rows_of(lines), is_quantity)


def answers(version: str, scores: Iterator[float] | list[float], ids: str = "") -> list[Answer]:
    return [answer_of(f"{ids or version}-{n}", version, score) for n, score in enumerate(scores)]


def answer_of(request_id: str, version: str, score: float, client: str = "", row: str = "0") -> Answer:
    return Answer(request_id, row, client or request_id, NOW, version, score, True)


def test_who_looks_a_hundred_times_is_seldom_told_of_a_difference_that_is_none() -> None:
    random, wrong, rounds = np.random.default_rng(1), 0, 300
    looks = np.arange(100, 10_001, 100)
    widths = np.array([half_width(int(look), 2 * 0.9 * 0.1) for look in looks])
    for _ in range(rounds):
        ours, theirs = random.random((2, 10_000)) < 0.9
        gains = np.cumsum(ours.astype(float) - theirs) / np.arange(1, 10_001)
        wrong += bool((np.abs(gains[looks - 1]) > widths).any())
    assert wrong / rounds <= ALPHA


def test_a_difference_that_is_one_is_found() -> None:
    random = np.random.default_rng(2)
    theirs, ours = (random.random((4000,)) < share for share in (0.85, 0.92))
    found = compared(
        [*answers("3", theirs.astype(float).tolist()), *answers("4", ours.astype(float).tolist())], "3", "4"
    )
    assert (found.low > 0, found.paired, found.requests) == (True, False, 8000)
    assert found.low < 0.07 < found.high
    assert compared([*answers("3", [1.0] * 4000), *answers("4", [0.0] * 4000)], "3", "4").high < 0


def test_what_both_have_answered_needs_far_fewer() -> None:
    theirs, ours = [1.0] * 400 + [0.0] * 100, [1.0] * 450 + [0.0] * 50
    paired = compared([*answers("3", theirs, "r"), *answers("4", ours, "r")], "3", "4")
    apart = compared([*answers("3", theirs), *answers("4", ours)], "3", "4")
    assert (paired.paired, apart.paired) == (True, False)
    assert paired.gain == pytest.approx(apart.gain)
    assert paired.high - paired.low < 2 / 3 * (apart.high - apart.low)  # and of half as many requests


def test_rows_of_one_request_count_as_one() -> None:
    many = [answer_of("one", version, 1.0, row=str(row)) for version in "34" for row in range(1000)]
    assert compared(many, "3", "4") is None


@pytest.mark.fuzz
@pytest.mark.parametrize("paired", [False, True])
def test_clients_that_send_many_requests_alike_do_not_make_a_difference_of_none(paired: bool) -> None:
    random, rounds, wrong = np.random.default_rng(1), 20, 0
    for _ in range(rounds):
        who = random.permutation(np.repeat(np.arange(160), 25))
        version = np.where(random.random(160) < 0.5, "3", "4")[who]
        scores = (random.random((2, len(who))) < random.beta(2, 0.5, (2, 160))[:, who]).astype(float)
        found = [answer_of(f"r{n}", str(version[n]), scores[0, n], f"c{client}") for n, client in enumerate(who)]
        if paired:
            found = [
                answer_of(f"r{n}", each, scores[at, n], f"c{c}")
                for n, c in enumerate(who)
                for at, each in enumerate("34")
            ]
        looks = (compared(found[: look * len(found) // 3], "3", "4") for look in range(1, 4))
        wrong += any(one.low > 0 or one.high < 0 for one in looks if one)
    assert wrong / rounds <= ALPHA


def test_clients_and_requests_of_nobody_known_count_once_each() -> None:
    sent = [(f"r{n}", f"client {n % 40}" if n < 200 else "") for n in range(230)]
    found = compared([answer_of(name, each, 1.0, client) for name, client in sent for each in "34"], "3", "4")
    assert (found.units, found.requests, found.paired) == (70, 230, True)
    assert str(found).endswith("at every look, on 230 requests that both answered by 70 clients)")
    few = [answer_of(f"r{n}", each, 1.0, f"client {n % 40}") for n in range(2000) for each in "34"]
    assert compared(few, "3", "4") is None
    with_client = [HEAD, LINE + "5ca1ab1e", LINE.replace("a,", "b,") + "5ca1ab1e", LINE.replace("a,", "c,")]
    assert [one.unit for one in read(with_client, is_quantity=False)] == ["client 5ca1ab1e", "client 5ca1ab1e", "c"]


def lines_of(version: str, labelled: int, of: int, trusted: str = "true", client: str = "") -> list[str]:
    line = LINE.replace("3,1,1,true,", f"{version},1,{{}},{trusted},{client}")
    return [line.replace("a,", f"{version}-{n}{client},", 1).format(1 if n < labelled else "") for n in range(of)]


def test_labels_that_come_for_more_of_one_version_s_answers_allow_no_verdict() -> None:
    rows = rows_of([HEAD, *lines_of("3", 1000, 1000), *lines_of("4", 860, 1000)])
    words = unlike_labels(rows, "3", "4", only_trusted=True)
    assert words == (
        "no verdict: labels came for 86.0% of what version 4 answered and for 100.0% of what version 3 did, "
        "which is no chance (p < 0.001)"
    )
    alike = [HEAD, *lines_of("3", 500, 1000), *lines_of("4", 470, 1000)]
    assert unlike_labels(rows_of(alike), "3", "4", only_trusted=True) is None
    strangers = [HEAD, *lines_of("3", 500, 1000), *lines_of("4", 500, 1000, "false")]
    assert unlike_labels(rows_of(strangers), "3", "4", only_trusted=False) is None
    assert "for 0.0% of what version 4" in str(unlike_labels(rows_of(strangers), "3", "4", only_trusted=True))
    assert unlike_labels(rows_of([HEAD, LINE]), "3", "4", only_trusted=True) is None


def test_a_client_that_labels_nothing_is_one_client_however_much_it_asks() -> None:
    loud = [HEAD, *lines_of("3", 60, 60), *lines_of("4", 60, 60), *lines_of("4", 0, 5000, client="5ca1ab1e")]
    assert rate_of(rows_of(loud), "4", only_trusted=True).share == pytest.approx(60 / 61)
    assert unlike_labels(rows_of(loud), "3", "4", only_trusted=True) is None


def test_rates_that_are_told_beside_the_rows_are_taken_and_what_is_none_is_named() -> None:
    told = [
        f"{HEAD},units,label_rate,label_variance",
        f"{LINE},1000,1,0",
        f"{LINE.replace(',3,', ',4,')},1000,0.5,0.25",
    ]
    assert rate_of(rows_of(told), "4", only_trusted=True) == (1000, 0.5, 0.25)
    assert unlike_labels(rows_of(told), "3", "4", only_trusted=True) is not None
    with pytest.raises(DataError, match="label_variance of request 'a' are no numbers"):
        rate_of(rows_of([told[0], f"{LINE},1000,most,0"]), "3", only_trusted=True)


def test_too_few_say_nothing_and_chance_is_never_taken_for_certainty() -> None:
    assert compared([*answers("3", [1.0] * 500), *answers("4", [1.0] * (LEAST - 1))], "3", "4") is None
    alike = compared([*answers("3", [1.0] * LEAST), *answers("4", [1.0] * LEAST)], "3", "4")
    assert alike.low < -0.05 < 0.05 < alike.high


def test_answers_of_others_do_not_count() -> None:
    with_others = [*answers("3", [1.0] * 60), *answers("4", [1.0] * 60), *answers("2", [0.0] * 60)]
    assert compared(with_others, "3", "4").requests == 120


def test_classes_are_right_or_wrong_and_quantities_are_off_by_so_much() -> None:
    (right,) = read([HEAD, LINE], is_quantity=False)
    assert (right.score, right.trusted, right.version, right.time.year) == (1.0, True, "3", 2026)
    (off,) = read([HEAD, LINE.replace("3,1,1,true", "3,1.5,4,false")], is_quantity=True)
    assert (off.score, off.trusted) == (-2.5, False)
    assert read([HEAD, LINE.replace("3,1,1,true", "3,1,,")], is_quantity=False) == []
    failed = [HEAD, LINE.replace("3,1,1,true", "3,,1,true")]
    assert [one.score for one in read(failed, is_quantity=False)] == [0.0]
    assert read(failed, is_quantity=True) == []
    assert (failures(rows_of(failed), "3"), failures(rows_of(failed), "4")) == (1, 0)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["request_id,row"], "lack time, version"),
        ([], "lack request_id"),
        ([HEAD, LINE, LINE.replace("+00", "")], "line 3 .* has no zone"),
        ([HEAD, LINE.replace("2026", "soon")], "line 2"),
    ],
)
def test_what_is_no_labelled_prediction_is_told_by_its_line(lines: list[str], words: str) -> None:
    with pytest.raises(DataError, match=words):
        read(lines, is_quantity=False)


def test_a_quantity_that_is_none_is_told_by_its_line() -> None:
    with pytest.raises(DataError, match="line 2"):
        read([HEAD, LINE.replace("3,1,1,true", "3,nan,4,true")], is_quantity=True)


def test_without_labels_there_is_how_often_the_two_say_another_thing() -> None:
    lines = [HEAD] + [LINE.replace("a,", f"{n},") for n in range(100)]
    lines += [LINE.replace("a,", f"{n},").replace("3,1,1", f"4,{int(n >= 20)},") for n in range(100)]
    found = disagreement(rows_of(lines), "3", "4", is_quantity=False)
    assert (found.gain, found.requests, found.low < 0.2 < found.high) == (0.2, 100, True)
    assert disagreement(rows_of(lines), "3", "5", is_quantity=False) is None
    assert disagreement(rows_of(lines), "3", "4", is_quantity=True).gain == 0.2


def test_times_are_of_requests_that_both_were_asked_for_and_of_all_their_rows_once() -> None:
    lines = [f"{HEAD},model_milliseconds"]
    for number in range(100):
        for row in range(2):
            lines += [f"r{number},{row},2026-01-02 03:04:05+00,4,1,,false,,{number + 1}"]
            lines += [f"r{number},{row},2026-01-02 03:04:05+00,3,1,,false,,{2.0 if number % 10 == 0 else ''}"]
    found = times_of(rows_of(lines), "3", "4")
    assert found is not None
    assert (found.requests, found.champion, found.challenger[0]) == (10, (2.0, 2.0), 46.0)
    assert str(found).startswith("for a request's rows it takes 46.00 ms, 95 % at most 86.50, against 2.00 and 2.00")
    assert times_of(rows_of([HEAD, LINE]), "3", "4") is None
    with pytest.raises(DataError, match="of request 'a' is no number"):
        times_of(rows_of([f"{HEAD},model_milliseconds", f"{LINE},soon"]), "3", "4")
