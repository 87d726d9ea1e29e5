"""What a backup says where it cannot be made (restic's cause and the setting that mends it, in one line), and to the doctor."""

import subprocess
from pathlib import Path

import pytest
from doctor.host import backups

COMMON = Path(__file__).parents[2] / "services" / "backup" / "common.sh"
PLACE = "sftp:me@nas:/backups"
EOF = f"Fatal: unable to open repository at {PLACE}: unable to start the sftp session, error: EOF"


@pytest.mark.parametrize(
    ("code", "log", "words"),
    [
        (1, f"subprocess ssh: ssh: connect to host nas port 22: Connection refused\n{EOF}", "Connection refused"),
        (
            1,
            f"subprocess ssh: Host key verification failed.\n{EOF}",
            f"{PLACE}: Host key verification failed; BACKUP_KNOWN_HOSTS_FILE has to have its key, as ssh-keyscan prints it",
        ),
        (
            1,
            f"subprocess ssh: me@nas: Permission denied (publickey).\n{EOF}",
            f"{PLACE}: me@nas: Permission denied (publickey); the key in BACKUP_CREDENTIALS_FILE has to log in there",
        ),
        (12, "Fatal: wrong password or no key found", "give the one of its first backup: BACKUP_PASSWORD_FILE=./FILE"),
        (1, "write /repository/x: no space left on device", f"{PLACE} is full: no space left on device"),
        (
            143,
            "Stat(<config/0>) returned error, retrying after 1s: The Access Key Id you provided does not exist in our records.",
            f"{PLACE} does not know the key in BACKUP_CREDENTIALS_FILE, or its secret part is another",
        ),
        (
            143,
            "Stat(<config/0>) returned error, retrying after 1s: The request signature we calculated does not match the "
            "signature you provided. Check your key and signing method.",
            f"{PLACE} does not know the key in BACKUP_CREDENTIALS_FILE, or its secret part is another",
        ),
    ],
)
def test_each_cause_is_one_line_with_the_setting_that_mends_it(tmp_path: Path, code: int, log: str, words: str) -> None:
    (tmp_path / "log").write_text(f"{log}\n")
    script = f'. "{COMMON}"; RESTIC_REPOSITORY={PLACE}; reason {code} "{tmp_path}/log"'
    run = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True)
    (line,) = run.stdout.splitlines()
    assert PLACE in line
    assert words in line
    assert "EOF" not in line


def test_both_ways_to_make_a_backup_note_for_the_doctor_where_it_looks() -> None:
    script = f'. "{COMMON}"; echo $TAG $INCOMPLETE $LIST_OF_INCOMPLETE $LAST_CHECK $LAST_RESTORE'
    run = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True)
    embedded = (COMMON.parents[2] / "scripts" / "embedded_backup.py").read_text()
    known = [backups.TAG, backups.INCOMPLETE, backups.LIST_OF_INCOMPLETE, backups.LAST_CHECK, backups.LAST_RESTORE]
    assert run.stdout.split() == known
    assert f'= "{backups.LIST_OF_INCOMPLETE}", "{backups.LAST_RESTORE}"' in embedded
    assert f'note_time "$LAST_CHECK" {backups.DAMAGED}' in (COMMON.parent / "backup").read_text()


@pytest.mark.parametrize("can_give_away", [True, False])
def test_a_folder_where_no_file_can_be_given_to_its_owner_is_told_and_costs_no_backup(
    tmp_path: Path, can_give_away: bool
) -> None:
    functions = (
        r"""eval "$(sed -n -e '/^note_time()/,/^}/p' -e '/^hand_over()/,/^}/p' "$1" | sed "s|/repository|$2|g")" """
    )
    chown = "true" if can_give_away else "echo 'chown: changing ownership: Operation not permitted' >&2; false"
    script = f'. "{COMMON}"; {functions}; RESTIC_REPOSITORY=$2; chown() {{ {chown}; }}; hand_over "$2"; note_time check whole'
    command = ["bash", "-euc", script, "backup", str(COMMON.parent / "backup"), str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (tmp_path / "check").read_text().endswith(" whole\n")
    said = [
        line.endswith("says that it is: chown: changing ownership: Operation not permitted")
        for line in run.stderr.splitlines()
    ]
    assert said == [True] * (0 if can_give_away else 2)
