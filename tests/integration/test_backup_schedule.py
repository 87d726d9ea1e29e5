"""When the next backup is made and which old ones stay, as the two settings say; and what is said of one that says neither."""

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.unhurried
FOLDER = Path(__file__).parents[2] / "services" / "backup"
# Its functions, without the last line, which runs them.
SOURCE = f". <(sed -e 's#/usr/local/lib/backup-common.sh#{FOLDER}/common.sh#' -e '/^whole /d' '{FOLDER}/backup')"
# The clock, and nothing else of `date`.
CLOCK = """date() { if [ "$1" = +%s ]; then command date --utc --date="$NOW" +%s; else command date "${@/today/${NOW% *}}"; fi; }"""


def run(script: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    environ = {"PATH": "/usr/bin:/bin", "NOW": "2026-11-27 02:00:00", **settings}
    command = ["bash", "-euc", f"{SOURCE}; {CLOCK}; {script}"]
    return subprocess.run(command, capture_output=True, text=True, env=environ)


@pytest.mark.parametrize(
    ("wish", "now", "seconds"),
    [
        ("02:30", "2026-11-27 02:00:00", 1800),
        ("02:30", "2026-11-27 02:29:59", 1),
        ("02:30", "2026-11-27 02:30:00", 86400),
        ("02:30", "2026-12-31 23:00:00", 12600),
        ("00:00", "2026-11-27 02:00:00", 79200),
        ("23:59", "2026-11-27 02:00:00", 79140),
        ("6h", "2026-11-27 02:00:00", 21600),
        ("30m", "2026-11-27 02:00:00", 1800),
        ("", "2026-11-27 02:00:00", 1800),
    ],
)
def test_the_next_backup_is_at_the_next_such_time_or_after_the_interval(wish: str, now: str, seconds: int) -> None:
    found = run("seconds_to_next", BACKUP_SCHEDULE=wish, NOW=now)
    assert (found.stdout, found.stderr) == (f"{seconds}\n", "")


@pytest.mark.parametrize("wish", ["24:00", "2:30", "02:60", "0h", "6", "1d", "daily", "02:30 6h"])
def test_a_schedule_that_is_neither_ends_the_service_in_one_line(wish: str) -> None:
    ended = run("schedule", BACKUP_SCHEDULE=wish)
    assert (ended.returncode, ended.stdout) == (1, "")
    words = f"BACKUP_SCHEDULE={wish} is neither a time of day such as 02:30 (UTC) nor an interval such as 6h or 30m"
    assert ended.stderr == f"bash: {words}\n"


@pytest.mark.parametrize(
    ("keep", "options"),
    [
        ("24h 7d 5w 12m", "--keep-hourly 24 --keep-daily 7 --keep-weekly 5 --keep-monthly 12"),
        ("", "--keep-hourly 24 --keep-daily 7 --keep-weekly 5 --keep-monthly 12"),
        ("2y", "--keep-yearly 2"),
        ("3d  1h", "--keep-daily 3 --keep-hourly 1"),
        ("all", ""),
    ],
)
def test_each_word_of_what_is_kept_is_an_option_of_restic(keep: str, options: str) -> None:
    found = run('read_keep; echo "${KEPT[*]}"', BACKUP_KEEP=keep)
    assert (found.stdout, found.stderr) == (f"{options}\n", "")


def test_a_blank_is_no_word_for_all() -> None:
    ended = run("read_keep; echo made", BACKUP_KEEP=" ")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "bash: BACKUP_KEEP is blank; expected something like 24h 7d 5w 12m, or all\n"


@pytest.mark.parametrize(("keep", "word"), [("7d 5x", "5x"), ("d", "d"), ("24", "24"), ("-1d", "-1d"), ("7D", "7D")])
def test_a_word_that_is_none_is_named_before_anything_is_made(keep: str, word: str) -> None:
    ended = run("read_keep; echo made", BACKUP_KEEP=keep)
    assert (ended.returncode, ended.stdout) == (1, "")
    words = (
        f"BACKUP_KEEP={keep}: '{word}' is no number with h, d, w, m or y; expected something like 24h 7d 5w 12m, or all"
    )
    assert ended.stderr == f"bash: {words}\n"
