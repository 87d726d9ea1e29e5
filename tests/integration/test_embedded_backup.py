"""Backup and restore without Docker: a registry that comes back in another folder, and what is refused."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Training
from tests.integration.places import ROOT, Place

pytestmark = [
    pytest.mark.unhurried,
    pytest.mark.skipif(
        shutil.which("restic") is None and os.environ.get("REQUIRE_STACK") != "1", reason="restic is not here"
    ),
]


@pytest.fixture(scope="module", autouse=True)
def scripts() -> Iterator[None]:
    sys.path.insert(0, str(ROOT / "scripts"))
    yield
    sys.path.remove(str(ROOT / "scripts"))


class Made:
    """A backup of a registry with two versions."""

    def __init__(self, place: Place, folder: Path) -> None:
        from embedded_backup import backup

        self.place, self.repository, self.password = place, str(folder / "backups"), folder / "password"
        self.password.write_text("a password of one's own")
        said = StringIO()
        with redirect_stdout(said):
            backup(place.folder, self.repository, self.password)
        self.id = said.getvalue().split()[1]

    def restore(self, folder: Path, password: Path | None = None, snapshot: str = "latest") -> None:
        from embedded_backup import restore

        restore(folder, self.repository, password or self.password, snapshot)

    def restic(self, folder: Path, *arguments: str) -> str:
        host = f"--host={socket.gethostname()}:{folder.resolve()}"
        command = ["restic", "--repo", self.repository, "--password-file", str(self.password), *arguments, host]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def made(second: Training, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(second.place, tmp_path_factory.mktemp("backup"))


def test_a_registry_comes_back_in_another_folder_with_its_versions_and_goes_on(made: Made, tmp_path: Path) -> None:
    from embedded_backup import LAST_RESTORE

    folder = tmp_path / "elsewhere"
    made.restore(folder)
    assert (Path(made.repository) / LAST_RESTORE).read_text().endswith(" latest\n")  # which the doctor reads
    before = made.place.registry()
    place = Place(tmp_path, f"sqlite:///{folder / 'mlflow.db'}")
    assert place.registry() == before
    assert str(made.place.folder).encode() not in (folder / "mlflow.db").read_bytes()
    promoted = place.command("promote", "2")
    assert promoted.returncode == 0, promoted.stderr
    assert place.registry()["alias"] == "2"
    assert made.place.registry() == before


def test_each_backup_and_each_restore_is_a_line_of_the_audit_log_which_is_in_the_backup(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import audit
    from embedded_backup import backup, restore

    monkeypatch.setattr(audit, "_settings", {})  # what another test of this process has begun
    made.restore(tmp_path / "here")
    log, other = tmp_path / "here" / "audit.jsonl", tmp_path / "other"
    monkeypatch.setenv("AUDIT_FILE", str(log))
    monkeypatch.setenv("AUDIT_WHO", "anna")
    for _ in range(2):
        backup(tmp_path / "here", str(tmp_path / "backups"), made.password)
    monkeypatch.setenv("AUDIT_FILE", str(other / "audit.jsonl"))
    made.restore(other)
    (line,) = map(json.loads, (other / "audit.jsonl").read_text().splitlines())
    told = ("who", "what", "of", "from", "to", "by")
    assert [line[key] for key in told] == ["anna", "restore", str(other), "latest", None, "restore"]
    shutil.rmtree(other)
    restore(other, str(tmp_path / "backups"), made.password)
    lines = [json.loads(line) for line in (other / "audit.jsonl").read_text().splitlines()]
    assert [line["what"] for line in lines] == ["backup", "restore"]  # the second backup has the line of the first
    noted = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["who"], line["what"], line["of"], len(line["to"])) for line in noted] == [
        ("anna", "backup", str(tmp_path / "backups"), 8)
    ] * 2


def test_a_restore_writes_over_nothing(made: Made) -> None:
    with pytest.raises(SystemExit, match=r"there is data in .* already, and nothing is written over it"):
        made.restore(made.place.folder)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda made, other: made.restore(other, _written(other.with_name("wrong"), "wrong")), "does not open"),
        (lambda made, other: made.restore(other, snapshot="0123abcd"), "0123abcd"),
    ],
    ids=["password", "snapshot"],
)
def test_a_restore_that_cannot_be_leaves_nothing(
    made: Made, tmp_path: Path, fault: Callable[[Made, Path], Any], words: str
) -> None:
    other = tmp_path / "other"
    with pytest.raises(SystemExit, match=words) as ended:
        fault(made, other)
    assert "\n" not in str(ended.value)
    assert not other.exists()


def test_the_first_backup_shows_the_password_that_it_has_made_and_no_other_one_does(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from embedded_backup import backup

    made.restore(tmp_path / "here")
    backup(tmp_path / "here", str(tmp_path / "backups"), None)
    password = (tmp_path / "here" / "keys" / "backup-password").read_text()
    assert f"    {password}\n" in capsys.readouterr().out
    backup(tmp_path / "here", str(tmp_path / "backups"), None)
    assert password not in capsys.readouterr().out


def test_a_folder_that_has_lost_its_database_alone_is_not_taken_for_an_empty_one(made: Made, tmp_path: Path) -> None:
    (tmp_path / "artifacts").mkdir()
    with pytest.raises(SystemExit, match="there is data in"):
        made.restore(tmp_path)
    assert (tmp_path / "artifacts").exists()


def test_keys_that_were_there_before_a_restore_are_put_aside(made: Made, tmp_path: Path) -> None:
    folder = tmp_path / "embedded"
    (folder / "keys").mkdir(parents=True)
    (folder / "keys" / "signing-key.pem").write_text("of this folder")
    made.restore(folder)
    assert (tmp_path / "embedded.before-restore" / "keys" / "signing-key.pem").read_text() == "of this folder"


def test_two_folders_let_go_of_their_own_backups_alone(made: Made, tmp_path: Path) -> None:
    from embedded_backup import backup

    made.restore(tmp_path / "second")
    backup(tmp_path / "second", made.repository, made.password)
    first = made.id
    made.restore(tmp_path / "again", snapshot=first)
    assert (tmp_path / "again" / "mlflow.db").exists()


def test_a_backup_that_lacks_a_model_in_use_says_so_and_is_not_the_one_that_a_restore_takes(
    made: Made, tmp_path: Path
) -> None:
    from embedded_backup import INCOMPLETE, LIST_OF_INCOMPLETE, backup

    emptied = tmp_path / "emptied"
    made.restore(emptied)
    backup(emptied, made.repository, made.password)
    (emptied / "artifacts").rename(tmp_path / "aside")
    with pytest.raises(
        SystemExit, match=r"lacks the files of version \d of iris_logistic_regression, which are not there"
    ):
        backup(emptied, made.repository, made.password)
    made.restore(tmp_path / "again")
    assert any((tmp_path / "again" / "artifacts").rglob("model.sig"))
    (new,) = (Path(made.repository) / LIST_OF_INCOMPLETE).read_text().split()
    assert len(list(Path(made.repository, "snapshots").glob(f"{new}*"))) == 1  # which the doctor knows by it
    (tmp_path / "aside").rename(emptied / "artifacts")
    old = made.restic(emptied, "backup", f"--tag={INCOMPLETE}", "--time=2026-01-01 00:00:00", "mlflow.db")
    assert "snapshot" in old
    backup(emptied, made.repository, made.password)
    left = json.loads(made.restic(emptied, "snapshots", "--json", f"--tag={INCOMPLETE}"))
    assert [snapshot["id"][: len(new)] for snapshot in left] == [new]  # one of some age goes for a whole one


def test_there_is_no_backup_of_nothing(tmp_path: Path) -> None:
    from embedded_backup import backup

    with pytest.raises(SystemExit, match="there is nothing to back up"):
        backup(tmp_path, str(tmp_path / "backups"), None)


@pytest.fixture
def dead(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A place that takes connections and answers nothing; waited for in a second, not in thirty."""
    import embedded_backup

    monkeypatch.setattr(embedded_backup, "PATIENCE_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"rest:http://127.0.0.1:{server.getsockname()[1]}/"


def test_a_place_that_does_not_answer_is_given_up_and_named(made: Made, tmp_path: Path, dead: str) -> None:
    from embedded_backup import backup, restore

    with pytest.raises(SystemExit) as backup_ended:
        backup(made.place.folder, dead, made.password)
    with pytest.raises(SystemExit) as restore_ended:
        restore(tmp_path / "other", dead, made.password)
    assert (
        str(backup_ended.value) == str(restore_ended.value) == f"{dead}: given up after 1 seconds: there is no answer"
    )
    assert not (tmp_path / "other").exists()


def test_a_place_that_fails_while_it_is_written_is_not_tried_for_a_quarter_of_an_hour(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import embedded_backup

    make_repository = embedded_backup._make_repository

    def opened(repository: str, password_file: Path) -> bool:
        """Be short of patience from here on: that a busy machine takes more than a second to open it is no failure."""
        is_new = make_repository(repository, password_file)
        monkeypatch.setattr(embedded_backup, "PATIENCE_SECONDS", 1)
        return is_new

    monkeypatch.setattr(embedded_backup, "_make_repository", opened)
    place = tmp_path / "backups"
    shutil.copytree(made.repository, place)
    shutil.rmtree(place / "data")
    (place / "data").write_text("where folders were")
    with pytest.raises(SystemExit, match=rf"^{place}: given up after 1 seconds: not a directory$"):
        embedded_backup.backup(made.place.folder, str(place), made.password)


@pytest.mark.parametrize(
    ("place", "login", "said"),
    [
        ("sftp:me@nas:/backups", "ssh me@nas", "ssh: Could not resolve hostname nas: Name or service not known"),
        ("sftp://me@nas:2222//backups", "ssh -p 2222 me@nas", "Host key verification failed."),
    ],
)
def test_an_sftp_that_is_not_reached_is_told_in_the_words_of_ssh_with_the_way_out(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, login: str, said: str
) -> None:
    from embedded_backup import backup

    _written(
        tmp_path / "ssh", f"#!/bin/sh\necho 'Warning: not so important' >&2\necho '{said}' >&2\nsleep 1\nexit 255\n"
    ).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SystemExit) as ended:
        backup(made.place.folder, place, made.password)
    way_out = f"`{login}` has to log in without a question, or BACKUP_REPOSITORY names another place"
    assert str(ended.value) == f"{place}: {said}; {way_out}"


def _written(path: Path, content: str) -> Path:
    path.write_text(content)
    return path
