"""The audit log: what a line has in it, that lines are only added, and that they stay lines whatever is in them."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import audit
import pytest
from audit.__main__ import main
from setup import secret_files


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


def test_a_line_goes_to_a_descriptor_that_is_open_already(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    audit.begin(str(writing), "bob")
    audit.note("alias", "churn@Production", None, "1", "train")
    audit._settings.clear()
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert json.loads(pipe.read())["who"] == "bob"


def test_a_number_that_is_no_pipe_is_not_written_into(tmp_path: Path, capsys: Any) -> None:
    with open(tmp_path / "another", "wb") as other:
        audit.begin(str(other.fileno()), "bob")
        audit.note("alias", "churn@Production", None, "1", "train")
        audit._settings.clear()
    assert (tmp_path / "another").read_bytes() == b""
    assert "cannot be written (it is no pipe)" in capsys.readouterr().err


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
    monkeypatch.setenv("AUDIT_FILE", str(tmp_path / "audit.jsonl"))
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
    monkeypatch.setenv("AUDIT_FILE", str(tmp_path / "audit.jsonl"))
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
    monkeypatch.setenv("AUDIT_FILE", str(tmp_path / "audit.jsonl"))
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


def test_the_set_up_makes_the_log_for_a_user_of_its_own_and_never_makes_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners: list[tuple[int, int]] = []
    monkeypatch.setattr("os.chown", lambda path, user, group: owners.append((user, group)))
    path = tmp_path / "audit.jsonl"
    secret_files._begin_audit(path, 10010)
    assert (stat.S_IMODE(path.stat().st_mode), owners) == (0o620, [(10010, 10010)])
    path.write_text("a line\n")
    secret_files._begin_audit(path, 10010)
    assert path.read_text() == "a line\n"
