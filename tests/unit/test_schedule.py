"""The schedule: when a training is due, what is missed, what has to wait, and what is told of it. No clock is waited for."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.error import HTTPError
from urllib.request import urlopen
from zoneinfo import ZoneInfo

import pytest
from prometheus_client.parser import text_string_to_metric_families
from trainer import training_lock
from trainer.cli.training import check_arguments, check_choice
from trainer.commands import schedule as command
from trainer.errors import SettingsError, TrackingError, TrainerError
from trainer.schedule import monitor, record, settings, training, web
from trainer.schedule.following import NOBODY, Did, Following
from trainer.schedule.monitor import Verdict
from trainer.schedule.record import FAILED, KEPT, PROMOTED, UNCHANGED, Outcome, Record, Training
from trainer.schedule.scheduler import LOOK_SECONDS, WAIT_SECONDS, Scheduler
from trainer.schedule.settings import Schedule
from trainer.settings import Settings

from tests.unit.compose_files import services_of

ROOT = Path(__file__).parents[2]
ZONE = ZoneInfo("Europe/Zurich")
HOUR, DAY = 3600.0, 24 * 3600.0
MADE = Outcome(PROMOTED, "nothing was in Production", "sales", "7", "run", 2)
NIGHTLY = Schedule(cron="17 3 * * *", time_zone="Europe/Zurich", on_drift=False)


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp()


@dataclass
class Place:
    """A clock that stands where it is put, and trainings that come to what is said."""

    schedule: Schedule = NIGHTLY
    time: float = at("2026-11-26 22:00")
    outcome: Outcome = MADE
    takes: float = 60.0
    obstacle: Exception | None = None
    verdict: Verdict = field(default_factory=lambda: Verdict(False))
    begun: list[str] = field(default_factory=list)
    kept: list[Record] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def scheduler(self, kept: Record | None = None) -> Scheduler:
        @contextmanager
        def turn() -> Iterator[list[int]]:
            if self.obstacle:
                raise self.obstacle
            yield []

        def train(_lock: list[int]) -> Outcome:
            self.begun.append(datetime.fromtimestamp(self.time, ZONE).isoformat(" ", "minutes"))
            self.time += self.takes
            return self.outcome

        made = Scheduler(
            schedule=self.schedule,
            record=kept or Record("", self.time),
            now=lambda: self.time,
            turn=turn,
            train=train,
            ask=lambda: self.verdict,
            keep=self.kept.append,
            tell=self.said.append,
        )
        made.begin()
        return made

    def until(self, scheduler: Scheduler, text: str) -> None:
        """Let the clock run to a time, with each look that falls before it."""
        while (pause := scheduler.look()) + self.time < at(text):
            self.time += pause
        self.time = at(text)


# --- by the clock --------------------------------------------------------------------------------------------------


def test_it_trains_at_each_time_of_the_schedule_in_its_zone_and_not_before() -> None:
    place = Place()
    place.until(place.scheduler(), "2026-11-29 03:16")
    assert place.begun == ["2026-11-27 03:17+01:00", "2026-11-28 03:17+01:00"]


def test_where_clocks_change_it_trains_once_that_night() -> None:
    for evening, noon in (("2027-03-27 22:00", "2027-03-28 12:00"), ("2027-10-30 22:00", "2027-10-31 12:00")):
        place = Place(replace(NIGHTLY, cron="30 2 * * *"), at(evening))
        place.until(place.scheduler(), noon)
        assert len(place.begun) == 1, place.begun


def test_times_that_were_missed_are_made_up_for_once_and_the_next_one_is_kept() -> None:
    place = Place()
    scheduler = place.scheduler(Record("", at("2026-11-20 12:00")))
    place.until(scheduler, "2026-11-27 12:00")
    assert place.begun == ["2026-11-26 22:00+01:00", "2026-11-27 03:17+01:00"]


def test_what_falls_due_while_a_training_runs_is_trained_once_after_it() -> None:
    place = Place(replace(NIGHTLY, cron="*/5 * * * *"), takes=17 * 60)
    place.until(place.scheduler(), "2026-11-26 22:40")
    assert [time[11:16] for time in place.begun] == ["22:05", "22:22", "22:39"]


def test_a_training_that_fails_is_told_and_the_next_one_still_happens() -> None:
    place = Place(outcome=Outcome(FAILED, "exit code 3: data/sales.csv does not exist"))
    scheduler = place.scheduler()
    place.until(scheduler, "2026-11-28 12:00")
    assert len(place.begun) == scheduler.record.count[FAILED] == 2
    assert "failed: exit code 3: data/sales.csv does not exist" in place.said
    assert scheduler.record.last_success is None


def test_a_training_that_the_service_did_not_outlive_has_failed_and_does_not_begin_again_at_once() -> None:
    place = Place()
    started = at("2026-11-26 21:58")
    scheduler = place.scheduler(Record("", started, running=Training("schedule", started)))
    scheduler.look()
    assert place.begun == []
    assert scheduler.record.last.outcome == Outcome(FAILED, "the service ended before it did")
    assert scheduler.record.running is None


@pytest.mark.parametrize("obstacle", [training_lock.Busy("another training is running"), TrackingError("no answer")])
def test_what_is_due_waits_for_its_turn_and_says_so_once(obstacle: Exception) -> None:
    place = Place(obstacle=obstacle)
    scheduler = place.scheduler()
    place.until(scheduler, "2026-11-27 03:30")
    assert place.begun == []
    assert scheduler.waiting == str(obstacle)
    assert place.said == [f"a training is due by schedule and waits: {obstacle}"]
    assert scheduler.next == at("2026-11-27 03:17")  # in the past: an alert can tell
    assert scheduler.look() == WAIT_SECONDS
    place.obstacle = None
    scheduler.look()
    assert place.begun == ["2026-11-27 03:30+01:00"]
    assert scheduler.waiting is None


def test_a_look_is_never_further_away_than_a_minute_nor_than_what_is_due() -> None:
    place = Place(time=at("2026-11-27 03:16:48"))
    assert place.scheduler().look() == 12
    place.schedule = replace(NIGHTLY, cron="never")
    assert place.scheduler().look() == LOOK_SECONDS


# --- on drift ------------------------------------------------------------------------------------------------------

ON_DRIFT = replace(NIGHTLY, cron="never", on_drift=True, min_hours=6.0)


def test_it_trains_on_drift_at_most_every_so_many_hours() -> None:
    place = Place(ON_DRIFT, verdict=Verdict(True, True, ("age",)))
    scheduler = place.scheduler()
    place.until(scheduler, "2026-11-27 11:00")
    assert place.begun == ["2026-11-26 22:00+01:00", "2026-11-27 04:01+01:00", "2026-11-27 10:02+01:00"]
    assert scheduler.record.last.trigger == "drift"


@pytest.mark.parametrize("verdict", [Verdict(False), Verdict(True, False), Verdict(True, None)])
def test_without_a_word_of_drift_it_does_not(verdict: Verdict) -> None:
    place = Place(ON_DRIFT, verdict=verdict)
    place.until(place.scheduler(), "2026-11-28 22:00")
    assert place.begun == []


def test_drift_does_not_put_off_what_is_due_by_the_clock() -> None:
    place = Place(replace(ON_DRIFT, cron="0 3 * * *"), verdict=Verdict(True, True))
    place.until(place.scheduler(), "2026-11-27 03:30")
    assert place.begun == ["2026-11-26 22:00+01:00", "2026-11-27 03:00+01:00"]


@contextmanager
def saying(content: str) -> Iterator[str]:
    class Monitor(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert "Authorization" not in self.headers
            self.send_response(200 if self.path == "/status" else 404)
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Monitor) as server:
        Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("content", "verdict"),
    [
        ('{"drift": true, "columns": ["age", "prediction"], "rows": 5120}', Verdict(True, True, ("age", "prediction"))),
        ('{"drift": false, "columns": []}', Verdict(True, False)),
        ('{"drift": null, "columns": null, "problem": "too few rows"}', Verdict(True, None)),
        ('{"drift": "yes"}', Verdict(False)),
        ("{}", Verdict(False)),
        ("[]", Verdict(False)),
        ("<html>", Verdict(False)),
    ],
)
def test_what_is_no_verdict_of_the_monitor_is_none(content: str, verdict: Verdict) -> None:
    with saying(content) as url:
        assert monitor.ask(url) == verdict


def test_without_a_monitor_there_is_no_verdict() -> None:
    assert monitor.ask("http://127.0.0.1:1") == Verdict(False)


# --- one at a time -------------------------------------------------------------------------------------------------

HOLDS = """
import sys, time
from pathlib import Path
from trainer import training_lock
with training_lock.{kind}(Path(sys.argv[1]){tell}):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(folder: Path, kind: str) -> Iterator["subprocess.Popen[str]"]:
    """Hold the lock in another process, until its input ends."""
    code = HOLDS.format(kind=kind, tell=", print" if kind == "beside_others" else "")
    command = [sys.executable, "-c", code, str(folder)]
    pipe, environ = subprocess.PIPE, os.environ | {"PYTHONPATH": "services"}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


@pytest.mark.parametrize("kind", ["alone", "beside_others"])
def test_a_scheduled_training_is_alone_until_the_other_one_ends_even_by_kill_9(tmp_path: Path, kind: str) -> None:
    with holder(tmp_path, kind) as other:
        with pytest.raises(training_lock.Busy, match="another training is running"), training_lock.alone(tmp_path):
            pass
        other.kill()
        other.wait()
        with training_lock.alone(tmp_path) as inherited:
            assert len(inherited) == 1


def test_the_child_keeps_the_lock_where_the_schedule_itself_is_killed(tmp_path: Path) -> None:
    with training_lock.alone(tmp_path) as inherited:
        child = subprocess.Popen(["sleep", "60"], pass_fds=inherited)
    try:
        with pytest.raises(training_lock.Busy), training_lock.alone(tmp_path):
            pass
    finally:
        child.kill()
        child.wait()
    with training_lock.alone(tmp_path):
        pass


def test_trainings_by_hand_run_beside_each_other_and_wait_for_a_scheduled_one(tmp_path: Path) -> None:
    said: list[str] = []
    with holder(tmp_path, "beside_others"), training_lock.beside_others(tmp_path, said.append):
        assert said == []
    with holder(tmp_path, "alone") as other:

        def tell(words: str) -> None:
            said.append(words)
            other.stdin.close()  # it ends, and it is our turn

        with training_lock.beside_others(tmp_path, tell):
            assert said == ["a scheduled training is running; waiting for its end"]


def test_a_folder_that_is_not_there_is_for_the_training_to_tell(tmp_path: Path) -> None:
    with training_lock.alone(tmp_path / "none") as inherited, training_lock.beside_others(tmp_path / "none", print):
        assert inherited == []


# --- what came of a training ---------------------------------------------------------------------------------------

RECORD = {"model_name": "sales", "version": "7", "run_id": "run", "attempts_on_this_data": 2, "promoted": True}


@pytest.mark.parametrize(
    ("code", "said", "last", "outcome"),
    [
        (0, json.dumps(RECORD | {"reason": MADE.reason}), "", MADE),
        (0, json.dumps(RECORD | {"promoted": False, "reason": MADE.reason}), "", replace(MADE, outcome=KEPT)),
        (
            0,
            '{"unchanged": true, "reason": "nothing new", "model_name": "sales", "run_id": "old"}',
            "",
            Outcome(UNCHANGED, "nothing new", "sales", None, "old"),
        ),
        (
            3,
            "",
            "trainer: data/sales.csv does not exist",
            Outcome(FAILED, "exit code 3: data/sales.csv does not exist"),
        ),
        (-9, "", "[2/5] fit", Outcome(FAILED, "SIGKILL ended it (out of memory?)")),
        (-11, json.dumps(RECORD), "", Outcome(FAILED, "SIGSEGV ended it")),
        (0, "no JSON", "done", Outcome(FAILED, "exit code 0: done")),
        (0, "[]", "done", Outcome(FAILED, "exit code 0: done")),
    ],
)
def test_what_came_of_a_training_is_told_by_its_end_and_its_record(
    code: int, said: str, last: str, outcome: Outcome
) -> None:
    assert training.outcome(code, said, last) == outcome


def test_a_training_is_started_with_the_arguments_and_the_lock_and_its_words_go_on_to_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\necho "$* $TRAINING_LOCK" >&2\necho "trainer: no such data" >&2\nexit 3\n')
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with training_lock.alone(tmp_path) as lock:
        found = training.train(["--data", "a b.csv"], lock)
    assert found == Outcome(FAILED, "exit code 3: no such data")
    assert capsys.readouterr().err.splitlines() == [
        "-m trainer train --if-new --json --data a b.csv held",
        "trainer: no such data",
    ]


# --- what is kept --------------------------------------------------------------------------------------------------

FULL = Record(
    "17 3 * * * Europe/Zurich",
    at("2026-11-26 03:17"),
    running=None,
    last=Training("schedule", at("2026-11-26 03:17"), at("2026-11-26 03:19"), MADE),
    last_success=at("2026-11-26 03:19"),
    count={"promoted": 1, "kept": 2, "unchanged": 3, "failed": 4},
)


@pytest.mark.parametrize("kept", [FULL, replace(FULL, running=Training("drift", 1.5)), Record("never UTC", 0.0)])
def test_what_is_kept_is_read_as_it_was_written(tmp_path: Path, kept: Record) -> None:
    path = tmp_path / "new" / "schedule.json"
    record.write(path, kept)
    assert record.read(path) == kept
    assert [file.name for file in path.parent.iterdir()] == ["schedule.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"running": 1, "last": null}', '{"schedule": "x"}'])
def test_a_file_that_is_none_of_ours_is_begun_anew(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "schedule.json"
    path.write_text(content)
    assert command._record(replace(NIGHTLY, file=path)).last is None
    assert f"{path} is begun anew" in capsys.readouterr().err


def test_with_another_schedule_nothing_of_it_has_been_missed_and_the_counts_stay(tmp_path: Path) -> None:
    path = tmp_path / "schedule.json"
    record.write(path, FULL)
    same = replace(NIGHTLY, file=path)
    assert command._record(same) == FULL
    moved = command._record(replace(same, time_zone="UTC"))
    assert moved.seen > FULL.seen
    assert replace(moved, seen=FULL.seen, schedule=FULL.schedule) == FULL


def test_a_place_that_cannot_be_written_ends_it_at_its_start_and_not_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    broken = replace(NIGHTLY, file=tmp_path / "file" / "schedule.json")
    with pytest.raises(SettingsError, match=r"SCHEDULE_FILE .* cannot be"):
        command.scheduler_of(Settings(), broken)
    command._keep(broken, FULL)
    assert "schedule: SCHEDULE_FILE" in capsys.readouterr().err


class Ended(Exception):
    """What a signal raises."""


def test_its_log_begins_with_the_settings_in_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(_: object) -> float:
        raise Ended

    monkeypatch.setattr(Scheduler, "look", look)
    schedule = replace(NIGHTLY, file=tmp_path / "schedule.json", port=0, arguments=("--data", "my sales.csv"))
    with pytest.raises(Ended):
        command.run(Settings(min_test_r2=0.5), schedule)
    settings = json.loads(capsys.readouterr().err.splitlines()[0].removeprefix("schedule: settings: "))
    assert settings["cron"] == NIGHTLY.cron
    assert settings["arguments"] == ["--data", "my sales.csv"]
    assert settings["min_test_r2"] == 0.5


# --- what it says of itself ----------------------------------------------------------------------------------------


def quiet() -> Following:
    """Return what follows a challenge where there is none."""
    carry_on = lambda: Did(0.0, NOBODY, "")  # noqa: E731
    return Following(seconds=300, find=lambda: None, ask=dict, carry_on=carry_on, tell=lambda words: None)


@pytest.fixture
def url() -> str:
    place = Place(replace(NIGHTLY, on_drift=True, port=0), verdict=Verdict(True, False))
    scheduler = place.scheduler(FULL)
    place.time = at("2026-11-26 22:00")
    scheduler.look()
    return f"http://127.0.0.1:{web.serve(scheduler, quiet())}"


def test_status_says_what_is_next_and_what_came_of_the_last(url: str) -> None:
    said = json.loads(urlopen(f"{url}/status").read())
    assert datetime.fromisoformat(said.pop("now"))
    assert said == {
        "schedule": "17 3 * * *",
        "time_zone": "Europe/Zurich",
        "arguments": [],
        "on_drift": True,
        "min_hours": 24.0,
        "next": "2026-11-27T03:17:00+01:00",
        "running": None,
        "waiting": None,
        "last": {
            "trigger": "schedule",
            "started": "2026-11-26T03:17:00+01:00",
            "ended": "2026-11-26T03:19:00+01:00",
            "outcome": "promoted",
            "reason": "nothing was in Production",
            "model_name": "sales",
            "version": "7",
            "run_id": "run",
            "attempts_on_this_data": 2,
        },
        "last_success": "2026-11-26T03:19:00+01:00",
        "count": {"promoted": 1, "kept": 2, "unchanged": 3, "failed": 4},
        "drift": {"answers": True, "drift": False, "columns": []},
        "challenge": {
            "version": None,
            "auto": False,
            "verdict": None,
            "last": None,
            "count": {"returned": 0, "promoted": 0, "ended": 0, "failed": 0},
            "problem": None,
        },
    }


def test_the_metrics_are_those_of_the_page_and_say_the_same(url: str) -> None:
    text = urlopen(f"{url}/metrics").read().decode()
    found = {one.name: one.value for family in text_string_to_metric_families(text) for one in family.samples}
    assert found == {
        "training_promoted_total": 1,
        "training_kept_total": 2,
        "training_unchanged_total": 3,
        "training_failed_total": 4,
        "training_last_success_timestamp_seconds": at("2026-11-26 03:19"),
        "training_last_failed": 0,
        "training_last_start_timestamp_seconds": at("2026-11-26 03:17"),
        "training_last_duration_seconds": 120,
        "training_next_timestamp_seconds": at("2026-11-27 03:17"),
        "training_running": 0,
        "training_attempts_on_data": 2,
        "training_monitor_up": 1,
        "challenge_returned_total": 0,
        "challenge_promoted_total": 0,
        "challenge_ended_total": 0,
        "challenge_failed_total": 0,
        "challenge_running": 0,
        "challenge_hindered": 0,
    }
    page = (ROOT / "docs/schedule.md").read_text()
    assert [name for name in found if f"`{name}`" not in page] == []


def test_what_else_is_asked_for_is_404(url: str) -> None:
    with pytest.raises(HTTPError, match="404"):
        urlopen(f"{url}/")


# --- settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("TRAIN_SCHEDULE", "61 3 * * *", "'61 3 * * *': Bad minute; expected minute, hour"),
        ("TRAIN_SCHEDULE", "0 0 30 2 *", "Bad day-of-month"),
        ("TRAIN_SCHEDULE", "* * * * * *", "Wrong number of fields"),
        ("TRAIN_SCHEDULE", "daily", "Wrong number of fields"),
        ("TRAIN_SCHEDULE", "", "TRAIN_SCHEDULE is empty"),
        ("TRAIN_TZ", "Europe/Zürich", "'Europe/Zürich'; expected a time zone"),
        ("TRAIN_TZ", "../etc/passwd", "expected a time zone"),
        ("TRAIN_TZ", "Europe", "expected a time zone"),
        ("TRAIN_ARGS", "--reason 'no end", "No closing quotation"),
        ("TRAIN_ON_DRIFT", "yes", "expected true or false"),
        ("TRAIN_MIN_HOURS", "0", "expected a number from 0.01 to 8760"),
        ("SCHEDULE_PORT", "x", "expected a whole number"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_its_value(name: str, value: str, words: str) -> None:
    with pytest.raises(SettingsError, match=name) as told:
        Schedule.from_env({name: value})
    assert words in str(told.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dato", "x.csv"], "No such option"),
        (["--folds", "1"], "1 is not in the range"),
        (["sales.csv"], "unexpected extra argument"),
        (["--data", "x.csv", "--dataset", "wine"], "two data sets"),
        (["--config", "experiments/none.yaml"], "cannot be read"),
        (["--help"], "expected options of a training"),
    ],
)
def test_options_that_train_would_not_take_are_told_before_the_first_training(arguments: list[str], words: str) -> None:
    with pytest.raises(SettingsError) as told:
        check_arguments(Settings(), arguments)
    assert words in str(told.value)


def test_a_check_that_cannot_be_made_blames_none_of_the_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho MemoryError >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(TrainerError, match=r"could not be checked.* ended with 1, and says MemoryError") as told:
        check_choice(["--dataset", "wine"])
    assert not isinstance(told.value, SettingsError)


def test_what_a_shell_would_make_of_the_options_is_what_train_gets() -> None:
    found = Schedule.from_env({"TRAIN_ARGS": "--data 'a b.csv' --target churned"})
    assert found.arguments == ("--data", "a b.csv", "--target", "churned")
    check_arguments(Settings(), list(found.arguments))


def test_the_container_is_given_what_the_settings_read_with_the_same_defaults() -> None:
    source = Path(settings.__file__).read_text()
    given = services_of("compose.yaml")
    own = {
        name: value
        for name, value in given["schedule"]["environment"].items()
        if name not in given["trainer"]["environment"]
    }
    assert set(re.findall(r'^    """([A-Z_]+):', source, re.M)) == set(own) | {"SCHEDULE_PORT"}
    set_by_people = {name: value.partition("-")[2][:-1] for name, value in own.items() if value.startswith("${")}
    assert Schedule.from_env(set_by_people) == Schedule()


def test_a_port_that_is_taken_is_told() -> None:
    with saying("") as url:
        taken = replace(NIGHTLY, port=int(url.rpartition(":")[2]))
        with pytest.raises(SettingsError, match=f"SCHEDULE_PORT {taken.port} cannot be listened on"):
            web.serve(Place(taken).scheduler(), quiet())


def test_a_signal_ends_the_training_with_the_schedule(tmp_path: Path) -> None:
    code = (
        "import signal, sys; from trainer import signals; from trainer.schedule import training\n"
        "signal.signal(signal.SIGTERM, signals.interrupt)\n"
        "sys.executable = sys.argv[1]\n"
        "training.train([], [])"
    )
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho $$ >&2\nexec sleep 60\n")
    program.chmod(0o755)
    command = [sys.executable, "-c", code, str(program)]
    environ = os.environ | {"PYTHONPATH": "services"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ) as process:
        assert process.stderr is not None
        child = int(process.stderr.readline())
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
