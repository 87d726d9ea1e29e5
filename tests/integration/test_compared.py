"""What a challenge is decided by, as the monitor gives it to the holder of the signing key, and to nobody else."""

import csv
import http.client
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from contract.tracking import signed_request
from inference.prediction_log.store import Store
from monitoring import watch
from monitoring.settings import Settings
from monitoring.sources import answers
from monitoring.watch import Compared, Watch
from setup.signing_key import new_private_key, public_key_of
from trainer.errors import DataError
from trainer.promotion.live_comparison import COLUMNS, left_out, rate_of, rows_of
from trainer.tracking import answered

from tests.unit.monitored import NOON, Log

pytestmark = [pytest.mark.unhurried, pytest.mark.usefixtures("one_engine")]

SINCE = (NOON - timedelta(days=2)).isoformat()


@dataclass
class Monitor:
    """A monitor at work, the key that questions are signed with, and the log that it reads."""

    port: int
    key: Path
    log: Log
    compared: Compared

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, target: str, header: str | None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", target, headers={"Authorization": header} if header else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[Monitor]:
    key, public = tmp_path / "key.pem", tmp_path / "key.pub"
    key.write_text(new_private_key())
    public.write_text(public_key_of(key.read_text()))
    log = Log(tmp_path / "kept")
    never: Any = None
    looking = Watch(Settings.from_env({}), never, never)
    compared = Compared(log.store, "churn", public, turn_seconds=0.2)
    with watch.serving(looking, compared, ("127.0.0.1", 0)) as server:
        yield Monitor(server.server_port, key, log, compared)
        server.shutdown()


def test_the_holder_of_the_key_gets_the_rows_that_have_a_label_of_a_known_sender(monitor: Monitor) -> None:
    monitor.log.keep(200)
    monitor.log.label(60, right=lambda at: at % 2 == 0)
    lines = answered.since(monitor.url, "churn", SINCE, monitor.key)
    rows = rows_of(lines)
    assert (len(rows), {row["trusted"] for row in rows}) == (60, {"true"})
    assert sum(row["prediction"] == row["label"] for row in rows) == 30
    assert "input_age" not in lines[0]
    assert answered.since(monitor.url, "churn", NOON.isoformat(), monitor.key) == [lines[0]]


def test_of_more_rows_the_first_are_given(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monitor.log.keep(200)
    monitor.log.label(60, right=lambda at: True)
    every = rows_of(answered.since(monitor.url, "churn", SINCE, monitor.key))
    monkeypatch.setattr(answers, "GIVEN", answers.GIVEN.replace(f"limit {answers.MOST_ROWS}", "limit 7"))
    assert (len(every), left_out(every)) == (60, 0)
    given = rows_of(answered.since(monitor.url, "churn", SINCE, monitor.key))
    assert [row["request_id"] for row in given] == [row["request_id"] for row in every[:7]]
    assert left_out(given) == 53


def test_a_client_that_sends_most_of_all_rows_leaves_room_for_the_others(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor.log.keep(200, client=["a"] * 150 + [None] * 50)
    monitor.log.label(200, right=lambda at: True)

    def given() -> dict[str, int]:
        rows = rows_of(answered.since(monitor.url, "churn", SINCE, monitor.key))
        assert len(rows) + left_out(rows) == 200
        return Counter(row["client"] for row in rows)

    assert given() == {"a": answers.MOST_OF_UNIT, "": 50}
    monkeypatch.setattr(answers, "GIVEN", answers.GIVEN.replace(f"limit {answers.MOST_ROWS}", "limit 60"))
    assert given() == {"a": 10, "": 50}


def test_what_takes_more_memory_than_there_is_is_told_with_the_setting(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor.log.keep(20_000)
    monitor.log.label(20_000, right=lambda at: True)
    monkeypatch.setattr(answers, "MEMORY", "1MB")
    with pytest.raises(DataError, match=r"answers 503 .* takes more memory than 1MB of .*\(MONITOR_MEMORY\)"):
        answered.since(monitor.url, "churn", SINCE, monitor.key)


def test_a_question_does_not_wait_for_ever_for_the_one_before_it(monitor: Monitor) -> None:
    monitor.log.keep(10)
    with monitor.compared._turn, pytest.raises(DataError, match=r"answers 503 .* takes longer than 0.2 s; ask again"):
        answered.since(monitor.url, "churn", SINCE, monitor.key)
    assert len(answered.since(monitor.url, "churn", SINCE, monitor.key)) == 1


def test_another_model_s_rows_are_nobody_s_answer(monitor: Monitor) -> None:
    monitor.log.keep(10)
    with pytest.raises(DataError, match=r"answers 404 .*model is 'wine'; this monitor reads what is kept of 'churn'"):
        answered.since(monitor.url, "wine", SINCE, monitor.key)
    target = f"/compared?since={quote(SINCE)}"
    code, words = monitor.ask(target, signed_request.authorization(target, monitor.key))
    assert (code, "model is none; " in words) == (404, True)


def test_beside_each_row_is_for_how_many_of_its_version_s_answers_a_label_came(monitor: Monitor) -> None:
    monitor.log.keep(200, client=["a"] * 100 + [None] * 100)
    monitor.log.label(60, right=lambda at: True)
    rows = rows_of(answered.since(monitor.url, "churn", SINCE, monitor.key))
    # Of 101 clients, or requests of nobody known, one has a label for 60 of its 100.
    found = rate_of(rows, "7", only_trusted=True)
    assert found is not None
    variance = 0.36 / 101 - (0.6 / 101) ** 2
    assert (found.units, round(found.share, 4), round(found.variance, 4)) == (101, 0.0059, round(variance, 4))


def test_nobody_else_gets_any_and_a_time_that_is_none_is_refused(monitor: Monitor) -> None:
    monitor.log.keep(200)
    target = f"/compared?since={quote(SINCE)}"
    code, words = monitor.ask(target, None)
    assert (code, json.loads(words)["error"][:45]) == (403, "the request does not count: it is not signed;")
    assert monitor.ask(target, signed_request.authorization("/compared?since=2020-01-01", monitor.key))[0] == 403
    for wrong in ("/compared", "/compared?since=yesterday", "/compared?since=2026-11-27"):
        code, words = monitor.ask(wrong, signed_request.authorization(wrong, monitor.key))
        assert (code, "expected ISO 8601 with a zone" in words) == (400, True), wrong


def test_what_gives_none_is_told_with_its_words(monitor: Monitor, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"answers 503 .*no prediction of 'churn' is kept"):
        answered.since(monitor.url, "churn", SINCE, monitor.key)
    with pytest.raises(DataError, match=r"the monitor at http://127.0.0.1:1 does not answer .*MONITOR_URL"):
        answered.since("http://127.0.0.1:1", "churn", SINCE, monitor.key)


def test_the_columns_are_those_that_the_comparison_reads(tmp_path: Path) -> None:
    log = Log(tmp_path / "kept")
    log.keep(10)
    (head,) = csv.reader(
        answers.since(Store.of({"PREDICTION_LOG_STORE": str(tmp_path / "kept")}), "churn", NOON).splitlines()
    )
    assert set(COLUMNS) < set(head)


def test_of_a_large_log_memory_is_taken_for_what_has_labels_alone(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor.log.keep(150_000)
    monitor.log.label(600, right=lambda at: True)
    monkeypatch.setattr(answers, "MEMORY", "25MB")
    every = (NOON - timedelta(days=150)).isoformat()
    with pytest.raises(DataError, match="takes more memory than 25MB"):  # to count all of it for the share of labels
        answered.since(monitor.url, "churn", every, monitor.key)
    monkeypatch.setattr(answers, "RATES", answers.RATES.replace(str(answers.MOST_COUNTED), "5000"))
    rows = rows_of(answered.since(monitor.url, "churn", every, monitor.key))
    found = rate_of(rows, "7", only_trusted=True)
    assert found is not None
    assert (len(rows), 3_000 < found.units < 7_000) == (600, True)
    assert abs(found.share - 600 / 150_000) < 4 * (found.variance / found.units) ** 0.5
