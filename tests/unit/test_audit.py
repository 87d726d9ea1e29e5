"""The audit log: what a line has in it, that lines are only added, and that they stay lines whatever is in them."""

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import audit
import pytest
from audit import keeper
from audit.__main__ import main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    audit.begin(str(tmp_path / "log" / "audit.jsonl"), "alice")
    yield tmp_path / "log" / "audit.jsonl"
    audit._settings.clear()


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_a_line_says_who_did_what_to_which_and_when(log: Path) -> None:
    audit.note("alias", "churn@Production", "6", "7", "promote", "the labels were corrected")
    audit.note("key", "shop", None, "predict", "api-key")
    first, second = lines(log)
    assert first.pop("time").endswith("+00:00")
    assert first == {
        **{"who": "alice", "what": "alias", "of": "churn@Production", "from": "6", "to": "7", "by": "promote"},
        "why": "the labels were corrected",
    }
    assert second["from"] is None


def test_a_server_that_works_for_many_says_for_whom_each_line_is(log: Path) -> None:
    with audit.at_work("bob"):
        audit.note("alias", "churn@Production", "6", "7", "MLflow")
    audit.note("alias", "churn@Production", "7", "6", "MLflow")
    assert [line["who"] for line in lines(log)] == ["bob", "alice"]


def test_a_line_stays_one_line_and_goes_into_a_pipe_whole_whatever_it_says(log: Path) -> None:
    audit.note("alias", "x\n{}" * 1000, None, "é" * 9000, "train", '"\n\u2028{"who": "root"}' * 5000)
    assert len(log.read_bytes()) <= 4096
    (line,) = lines(log)
    assert line["who"] == "alice"
    assert line["why"]


@contextmanager
def kept(folder: Path) -> Iterator[tuple[Path, "subprocess.Popen[str]"]]:
    """Start the keeper of an audit log with its pipe `lines`; yield the pipe and the keeper."""
    pipe, log = folder / "lines", folder / "audit.jsonl"
    os.mkfifo(pipe)
    environ = {**os.environ, "AUDIT_FILE": str(pipe), "AUDIT_LOG": str(log), "PYTHONPATH": str(ROOT / "services")}
    command = [sys.executable, "-m", "audit", "keep"]
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as keeper:
        try:
            # Opened when somebody reads, and not before: so there is nothing to wait for any more.
            os.close(os.open(pipe, os.O_WRONLY))
            yield pipe, keeper
        finally:
            keeper.terminate()


def test_lines_that_are_said_into_the_pipe_are_in_the_file_all_of_them_when_its_keeper_ends(tmp_path: Path) -> None:
    with kept(tmp_path) as (pipe, keeper):
        for number in range(500):
            audit.begin(str(pipe), "bob")
            while not audit.note("alias", "churn@Production", None, str(number), "train", "why " * 200):
                pass  # it is full, which is told and not waited for
        audit._settings.clear()
        keeper.terminate()
        assert keeper.wait() == 0
    assert [line["to"] for line in lines(tmp_path / "audit.jsonl")] == [str(number) for number in range(500)]


def said_by(keeper: "subprocess.Popen[str]") -> str:
    """End a keeper; return what it has said that was not read yet."""
    audit._settings.clear()
    keeper.terminate()
    assert keeper.wait(timeout=10) == 0
    return keeper.stderr.read() if keeper.stderr else ""


def test_what_the_keeper_cannot_write_until_it_ends_it_tells(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").mkdir()
    with kept(tmp_path) as (pipe, keeper):
        audit.begin(str(pipe), "bob")
        assert audit.note("alias", "churn@Production", None, "1", "train")
        assert keeper.stderr
        assert keeper.stderr.readline() == (
            f"audit: {tmp_path}/audit.jsonl cannot be written (Is a directory): nothing more is read until it can, which is "
            "tried again\n"
        )
        assert audit.note("alias", "churn@Production", None, "2", "train")  # the pipe has it
        said = said_by(keeper)
    assert said.count("audit.jsonl cannot be written (Is a directory), so it lacks: {") == 2
    assert ('"to": "1"' in said, '"to": "2"' in said) == (True, True)


def test_what_the_keeper_cannot_write_it_writes_when_it_can_and_says_no_to_what_is_too_much(
    tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "audit.jsonl").mkdir()
    with kept(tmp_path) as (pipe, keeper):
        audit.begin(str(pipe), "bob")
        noted = 0
        assert audit.note("alias", "churn@Production", None, "0", "train")
        assert keeper.stderr
        keeper.stderr.readline()
        while audit.note("alias", "churn@Production", None, str(noted + 1), "train", "why " * 200):
            noted += 1
        assert 10 < noted < 200
        assert "lines cannot be written (the pipe is full; who reads it says why: docker" in capsys.readouterr().err
        (tmp_path / "audit.jsonl").rmdir()
        while not (tmp_path / "audit.jsonl").exists():
            time.sleep(0.01)
        said = said_by(keeper)
    assert said == ""
    assert [line["to"] for line in lines(tmp_path / "audit.jsonl")] == [str(number) for number in range(noted + 1)]


def test_of_what_does_not_fit_on_the_disk_nothing_is_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, write = tmp_path / "audit.jsonl", os.write
    log.write_text("{}\n{")  # a keeper that was killed has left it so

    def full(descriptor: int, content: bytes) -> int:
        if (room := 10 - log.stat().st_size) <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, content[:room])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        keeper._append(str(log), b'{"of": 1}\n{"of": 2}\n')
    assert log.read_text() == "{}\n{"
    audit.begin(str(log), "bob")
    assert not audit.note("alias", "churn@Production", None, "1", "train")
    audit._settings.clear()
    monkeypatch.undo()
    log.write_text("{}\n{")
    keeper._append(str(log), b'{"of": 1}\n{"of": 2}\n')
    assert log.read_text() == '{}\n{\n{"of": 1}\n{"of": 2}\n'


def test_what_another_has_not_ended_takes_no_line_with_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lines")
    # So that both are in the pipe before anybody reads.
    pipe = os.open(tmp_path / "lines", os.O_RDWR)
    os.write(pipe, b'{"who": "mallory", "why": "')
    audit.begin(str(tmp_path / "lines"), "bob")
    assert audit.note("alias", "churn@Production", None, "1", "train")
    audit._settings.clear()
    fragment, line, rest = keeper._ended(os.read(pipe, keeper.MOST_BYTES)).split(b"\n")
    os.close(pipe)
    assert (fragment, json.loads(line)["who"], rest) == (b'{"who": "mallory", "why": "', "bob", b"")


def test_whatever_is_in_the_log_is_shown_and_does_nothing_to_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("AUDIT_LOG", str(tmp_path / "audit.jsonl"))
    line = '{"who": "jos\u00e9\u00a0\u2028"}'
    (tmp_path / "audit.jsonl").write_bytes(b"\xff\x1b[2J\x07\n\n" + line.encode() + b"\n")
    assert main([]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert sorted(shown) == sorted(["\ufffd\\u001b[2J\\u0007", '{"who": "jos\u00e9\\u00a0\\u2028"}'])
    assert any(one.startswith("{") and json.loads(one) == json.loads(line) for one in shown)


def test_a_pipe_that_nobody_reads_is_told_with_the_way_out_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    os.mkfifo(tmp_path / "lines")
    monkeypatch.setenv("AUDIT_FILE", str(tmp_path / "lines"))
    assert main(["note", "account", "bob", "-", "scientist", "accounts"]) == 1
    said = capsys.readouterr().err
    assert "lines cannot be written (nobody reads the pipe; start the service that does: docker compose" in said
    assert '"to": "scientist"' in said


def test_what_cannot_be_written_is_told_and_does_not_stop_what_was_done(tmp_path: Path, capsys: Any) -> None:
    audit.begin(str(tmp_path), "bob")
    audit.note("alias", "churn@Production", None, "1", "train")
    audit._settings.clear()
    said = capsys.readouterr().err
    assert said.startswith(f"audit: {tmp_path} cannot be written (Is a directory), so it lacks: ")
    assert '"to": "1"' in said


def test_without_a_log_nothing_is_noted(capsys: Any) -> None:
    audit.note("alias", "churn@Production", None, "1", "train")
    assert capsys.readouterr() == ("", "")


def test_a_shell_appends_lines_and_shows_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    for setting in ("AUDIT_FILE", "AUDIT_LOG"):
        monkeypatch.setenv(setting, str(tmp_path / "audit.jsonl"))
    monkeypatch.setenv("AUDIT_WHO", "carol")
    assert main([]) == 0
    assert capsys.readouterr().out == ""
    assert main(["note", "account", "bob", "-", "scientist", "accounts", "he is new"]) == 0
    assert main(["note", "account", "bob", "scientist", "-", "accounts"]) == 0
    assert main([]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["who"], first["from"], first["to"], first["why"]) == ("carol", None, "scientist", "he is new")
    assert (second["from"], second["to"]) == ("scientist", None)


def test_what_is_kept_in_several_files_is_shown_by_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("AUDIT_LOG", str(tmp_path / "audit.jsonl"))
    times = {"audit.jsonl": (1, 3), "mlflow.jsonl": (2, 3, 4)}
    for name, seconds in times.items():
        lines = [{"time": f"2026-11-26T19:00:0{second}+00:00", "who": name} for second in seconds]
        (tmp_path / name).write_text("".join(f"{json.dumps(line)}\n" for line in lines).rstrip())
    assert main([]) == 0
    shown = map(json.loads, capsys.readouterr().out.splitlines())
    assert [(line["time"][18], line["who"]) for line in shown] == [
        *(
            ("1", "audit.jsonl"),
            ("2", "mlflow.jsonl"),
            ("3", "audit.jsonl"),
            ("3", "mlflow.jsonl"),
            ("4", "mlflow.jsonl"),
        )
    ]


def test_a_line_of_the_backups_stands_where_its_time_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("AUDIT_LOG", str(tmp_path / "audit.jsonl"))
    times = [f"2026-11-26T19:00:0{second}+00:00" for second in (1, 2, 3)]
    spaces = [(", ", ": "), (",", ":"), (", ", ": ")]  # as Python and as jq write it
    found = [json.dumps({"time": time, "who": "a"}, separators=way) for time, way in zip(times, spaces, strict=True)]
    (tmp_path / "audit.jsonl").write_text("".join(f"{line}\n" for line in found))
    assert main([]) == 0
    assert capsys.readouterr().out.splitlines() == found


@pytest.mark.parametrize("arguments", [["note"], ["note", "account"], ["forget"]])
def test_another_command_is_told_which_there_are(arguments: list[str], capsys: Any) -> None:
    assert main(arguments) == 2
    assert "docker compose run --rm audit note WHAT OF FROM TO BY [WHY]" in capsys.readouterr().err
