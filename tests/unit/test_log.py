"""Lines of JSON: what happens to the service, and one line per request as long as there are not too many."""

import json
import logging
import logging.config
import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from inference.telemetry import log as logs
from inference.telemetry.log import LOGGING, JsonFormatter, RequestLog


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("inference", logging.WARNING, __file__, 1, message, arguments, None)
    vars(made).update(extra)
    return made


def test_a_record_is_a_line_of_json_with_its_time_in_utc() -> None:
    line = JsonFormatter().format(record("version %s is\nserved", 7, created=1767323045.6789))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2026-01-02T03:04:05.678Z",
        "level": "warning",
        "message": "version 7 is\nserved",
    }


def test_more_fields_stand_beside_the_message() -> None:
    assert json.loads(JsonFormatter().format(record("Ready", fields={"version": "7"})))["version"] == "7"


def test_what_a_terminal_would_obey_is_visible_wherever_it_stands() -> None:
    csi = "\x9b2J"
    try:
        raise ZeroDivisionError(csi)
    except ZeroDivisionError:
        made = record("it is %s", csi, exc_info=sys.exc_info(), fields={"reasons": [{csi: csi}], "name": "\u202egrün"})
    line = json.loads(JsonFormatter().format(made))
    assert line["message"] == r"it is \x9b2J"
    assert line["exception"].endswith(r"ZeroDivisionError: \x9b2J")
    assert line["reasons"][0][csi] == r"\x9b2J"
    assert line["name"] == r"\u202egrün"


def test_a_traceback_is_part_of_its_line() -> None:
    try:
        raise ZeroDivisionError("a bug")
    except ZeroDivisionError:
        line = JsonFormatter().format(record("it failed", exc_info=sys.exc_info()))
    assert "\n" not in line
    assert "ZeroDivisionError: a bug" in json.loads(line)["exception"]


def test_the_service_says_what_happens_and_its_server_only_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    for name in LOGGING["loggers"]:
        monkeypatch.setattr(logging.getLogger(name), "level", logging.getLogger(name).level)
    logging.config.dictConfig(LOGGING)
    logging.getLogger("inference").info("a version is served")
    logging.getLogger("gunicorn.error").info("a worker boots")
    logging.getLogger("gunicorn.error").warning("a worker died")
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["message"] for line in lines] == ["a version is served", "a worker died"]


# --- requests ------------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1767323045.6789


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(logs, "time", SimpleNamespace(monotonic=clock.monotonic, time=clock.time))
    return clock


class Pipe:
    """Where lines are written to."""

    def __init__(self) -> None:
        self._read, self.write = os.pipe()

    def lines(self) -> list[dict[str, Any]]:
        os.close(self.write)
        with os.fdopen(self._read) as stream:
            return [json.loads(line) for line in stream]


def wanted(log: RequestLog, requests: int) -> int:
    return sum(log.wants() for _ in range(requests))


def test_a_request_is_a_line(clock: Clock) -> None:
    pipe = Pipe()
    RequestLog(10, pipe.write).write({"path": "/grün", "status": 200})
    assert pipe.lines() == [
        {"time": "2026-01-02T03:04:05.678Z", "level": "info", "message": "request", "path": "/grün", "status": 200}
    ]


def test_so_many_requests_a_second_get_a_line(clock: Clock) -> None:
    log = RequestLog(10)
    assert wanted(log, 1000) == 10
    clock.now += 0.5
    assert wanted(log, 1000) == 5


def test_no_more_than_a_seconds_worth_is_saved_up_for_a_burst(clock: Clock) -> None:
    log = RequestLog(10)
    clock.now += 3600
    assert wanted(log, 1000) == 10


def test_less_than_one_a_second_can_be_asked_for(clock: Clock) -> None:
    log = RequestLog(0.5)
    clock.now += 3600
    assert wanted(log, 1000) == 1
    clock.now += 1
    assert wanted(log, 1000) == 0
    clock.now += 1
    assert wanted(log, 1000) == 1


def test_none_can_be_asked_for(clock: Clock) -> None:
    log = RequestLog(0)
    clock.now += 3600
    assert wanted(log, 1000) == 0


def test_those_that_got_no_line_are_counted_in_the_next_one(clock: Clock) -> None:
    pipe = Pipe()
    log = RequestLog(1, pipe.write)
    for _ in range(3):
        if log.wants():
            log.write({})
    clock.now += 1
    for _ in range(2):
        if log.wants():
            log.write({})
    clock.now += 1
    assert log.wants()
    log.write({})
    assert [line.get("requests_not_logged") for line in pipe.lines()] == [None, 2, 1]


def test_a_log_that_cannot_be_written_fails_no_request(clock: Clock) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        RequestLog(10, write).write({"status": 200})
        with pytest.raises(BrokenPipeError):
            os.write(write, b"nobody reads it")
    finally:
        os.close(write)
