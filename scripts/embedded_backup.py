"""Backup and restore of the way without Docker: `embedded/`, its database and files and keys, by restic.

What compose.yaml's services `backup` and `restore` do for the stack. Addresses of files in the database name the folder that
they are in, so a restore in another folder changes them.
"""

import json
import os
import re
import secrets
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

TAG = "mlflow-stack-embedded"
# Of one that lacks files of a model in use: not what `latest` restores, and no whole one goes for it.
INCOMPLETE = "mlflow-stack-embedded-incomplete"
# In a folder of backups, for services/doctor: the ids of those, and when one came back last. Once there is a whole one, they go
# after so many days.
LIST_OF_INCOMPLETE, LAST_RESTORE = "incomplete-snapshots", "last-restore"
INCOMPLETE_DAYS = 30
KEEP = ("--keep-last=1", "--keep-hourly=24", "--keep-daily=7", "--keep-weekly=5", "--keep-monthly=12")
# What restic says where there is no repository, and where the password is not its own; codes for these are newer.
NO_REPOSITORY, WRONG_PASSWORD = "Is there a repository at", "wrong password"
# What ssh says, which knows the cause: restic itself knows no more of an SFTP than that it ended ("EOF").
SSH = re.compile(r"^subprocess ssh: (.+)$", re.MULTILINE)
# What it says after each try of the same thing, which it goes on with for a quarter of an hour.
TRIES_AGAIN = re.compile(r"^(.*) returned error, retrying", re.MULTILINE)
PATIENCE_SECONDS = 30
DATABASE, WHERE = "mlflow.db", "where.json"
# What the folder with the copy of the database is called, and more.
COPY = ".backup-"
# Beside the database: what restores are made of.
KEPT = ("artifacts", "keys", "audit.jsonl")
IN_USE = (
    "SELECT DISTINCT name, version, coalesce(storage_location, source) FROM registered_model_aliases "
    "JOIN model_versions USING (name, version) ORDER BY name, version"
)


def backup(folder: Path, repository: str, password_file: Path | None) -> None:
    """Make one snapshot of the folder in the repository, which is made where there is none; print what came of it.

    Raises SystemExit with one line where none could be made.
    """
    import audit  # of services/, which a checkout has

    if not (folder / DATABASE).exists():
        raise SystemExit(
            f"backup: there is nothing to back up in {folder} yet; `make demo` or `make train` makes something"
        )
    password_file = password_file or _own_password(folder)
    is_new = _make_repository(repository, password_file)
    if is_new and password_file.is_relative_to(folder):
        print(
            "This password opens the backups. It is on this machine alone, and is not shown again: keep it elsewhere.\n"
        )
        print(f"    {password_file.read_text().strip()}\n")
    lost = _lost(folder)
    host = f"--host={socket.gethostname()}:{folder.resolve()}"
    series = (f"--tag={INCOMPLETE if lost else TAG}", host)
    with _copy(folder) as copy:
        paths = [path for path in (*KEPT, copy.name) if (folder / path).exists()]
        said = _restic(repository, password_file, "backup", "--json", *series, *paths, folder=folder)
    summary = json.loads(said.splitlines()[-1])
    print(
        f"Backup {summary['snapshot_id'][:8]} of {folder} is in {repository}: {summary['total_files_processed']:,} files, "
        f"{summary['total_bytes_processed'] / 1e6:,.1f} MB, {summary.get('data_added_packed', summary['data_added']) / 1e6:,.1f} MB new"
    )
    _restic(repository, password_file, "forget", "--quiet", *series, "--group-by=host", *KEEP, "--prune")
    audit.note("backup", repository, None, summary["snapshot_id"][:8], "backup")
    if lost:
        if (place := Path(repository)).is_dir():
            with (place / LIST_OF_INCOMPLETE).open("a") as list_of_incomplete:
                list_of_incomplete.write(f"{summary['snapshot_id']}\n")
        raise SystemExit(
            f"backup: this backup lacks the files of {', '.join(lost)}, which are not there; it is kept, no whole one goes for it, "
            "and `make restore` takes it by its id alone; `make doctor` names what to do"
        )
    _let_incomplete_go(repository, password_file, host)


def _let_incomplete_go(repository: str, password_file: Path, host: str) -> None:
    """Let go of old snapshots that lack files, of which KEEP would keep the last one for ever."""
    snapshots = json.loads(_restic(repository, password_file, "snapshots", "--json", f"--tag={INCOMPLETE}", host))
    before = (datetime.now(UTC) - timedelta(days=INCOMPLETE_DAYS)).date().isoformat()
    if old := [snapshot["id"] for snapshot in snapshots or [] if snapshot["time"] < before]:
        _restic(repository, password_file, "forget", "--quiet", "--prune", *old)


def restore(folder: Path, repository: str, password_file: Path | None, snapshot: str = "latest") -> None:
    """Bring a snapshot back as the folder, whole or not at all.

    Raises SystemExit with one line where the folder has data already, or the snapshot cannot be had.
    """
    import audit

    if any((folder / name).exists() for name in (DATABASE, "artifacts")):
        raise SystemExit(
            f"restore: there is data in {folder} already, and nothing is written over it; move it away first"
        )
    if password_file is None:
        raise SystemExit(
            "restore: BACKUP_PASSWORD_FILE=FILE names the file with the password that the first backup showed"
        )
    _look(repository, password_file)
    new = folder.with_name(f"{folder.name}.restoring")
    shutil.rmtree(new, ignore_errors=True)  # of a restore that was interrupted
    _restic(repository, password_file, "restore", "--quiet", f"--tag={TAG}", f"--target={new}", "--verify", snapshot)
    copy = _only_copy(new, snapshot)
    _readdress(copy / DATABASE, Path(json.loads((copy / WHERE).read_text())["folder"]), folder.resolve())
    (copy / DATABASE).rename(new / DATABASE)
    shutil.rmtree(copy)
    if folder.exists():  # keys that a first command has made, and no data
        folder.rename(_free(folder.with_name(f"{folder.name}.before-restore")))
    new.rename(folder)
    audit.note("restore", str(folder), snapshot, None, "restore")
    if (place := Path(repository)).is_dir() and os.access(place, os.W_OK):
        (place / LAST_RESTORE).write_text(f"{datetime.now(UTC).isoformat(timespec='seconds')} {snapshot}\n")
    print(f"Restored into {folder}. `make serve` and `make ui` go on with it")


def _lost(folder: Path) -> list[str]:
    """Return the versions that an alias points at and whose files are all gone."""
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        found = database.execute(IN_USE).fetchall()
    places = {f"version {version} of {name}": urlsplit(location) for name, version, location in found}
    return [
        version
        for version, place in places.items()
        if place.scheme in ("", "file") and not any(Path(url2pathname(place.path)).rglob("*"))
    ]


def _own_password(folder: Path) -> Path:
    """Return the file with the password that was made at the first backup."""
    path = folder / "keys" / "backup-password"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(24))
    return path


@contextmanager
def _copy(folder: Path) -> Iterator[Path]:
    """Give a folder with a copy of the database as it is at one moment, whoever writes to it."""
    copy = Path(tempfile.mkdtemp(dir=folder, prefix=COPY))
    try:
        with closing(sqlite3.connect(folder / DATABASE)) as source, closing(sqlite3.connect(copy / DATABASE)) as target:
            source.backup(target)
        (copy / WHERE).write_text(json.dumps({"folder": str(folder.resolve())}))
        yield copy
    finally:
        shutil.rmtree(copy)


def _only_copy(new: Path, snapshot: str) -> Path:
    """Return the folder with the database; raise SystemExit where the snapshot is of something else."""
    copies = list(new.glob(f"{COPY}*/{WHERE}"))
    if len(copies) != 1:
        shutil.rmtree(new)
        raise SystemExit(f"restore: the backup {snapshot} is none that `make backup` has made")
    return copies[0].parent


def _free(path: Path) -> Path:
    """Return the path, or one like it that is not there."""
    return next(found for number in count() if not (found := path.with_name(f"{path.name}{number or ''}")).exists())


def _readdress(database: Path, old: Path, new: Path) -> None:
    from embedded import ADDRESSES

    with closing(sqlite3.connect(database)) as connection, connection:
        for table, column in ADDRESSES:  # names of our own, so that a query may be made of them
            for before, after in ((old.as_uri(), new.as_uri()), (str(old), str(new))):
                change = f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?"  # noqa: S608
                connection.execute(change, (after, len(before) + 1, len(before) + 1, f"{before}/"))


def _make_repository(repository: str, password_file: Path) -> bool:
    """Make the repository where there is none; return whether it is new."""
    try:
        _look(repository, password_file)
    except _NoRepository:
        _restic(repository, password_file, "init")
        return True
    _run(repository, password_file, "unlock")  # what a killed backup left; a lock of one that works stays
    return False


class _NoRepository(SystemExit):
    """There is no repository, or a restic of some age cannot tell that from one that is out of reach."""


def _look(repository: str, password_file: Path) -> None:
    """Raise SystemExit with one line where the repository cannot be used."""
    code, _, complained = _run(repository, password_file, "cat", "config", "--no-lock", is_short=True)
    if code:
        reason = _reason(repository, password_file, complained)
        raise _NoRepository(reason) if NO_REPOSITORY in complained else SystemExit(reason)


def _restic(repository: str, password_file: Path, *arguments: str, folder: Path | None = None) -> str:
    """Run restic, and return what it prints; raise SystemExit with one line where it fails."""
    code, printed, complained = _run(repository, password_file, *arguments, folder=folder)
    if code:
        raise SystemExit(_reason(repository, password_file, complained))
    return printed


def _reason(repository: str, password_file: Path, complained: str) -> str:
    if WRONG_PASSWORD in complained:
        return f"the password in {password_file} does not open {repository}"
    if said := SSH.findall(complained):
        login = f"`{_login(repository)}` has to log in without a question"
        return f"{repository}: {said[-1].strip()}; {login}, or BACKUP_REPOSITORY names another place"
    lines = [line for line in complained.splitlines() if line.strip()] or ["restic ended without a word"]
    fatal = [line for line in lines if line.startswith("Fatal: ")] or lines
    return f"{repository}: {fatal[-1].removeprefix('Fatal: ')}"


def _login(repository: str) -> str:
    """Return what a person types to log in where a repository is: sftp:USER@HOST:/FOLDER, or sftp://USER@HOST:PORT//FOLDER."""
    if found := re.match(r"sftp://([^/:]+)(?::(\d+))?", repository):
        return f"ssh -p {found[2]} {found[1]}" if found[2] else f"ssh {found[1]}"
    return f"ssh {repository.removeprefix('sftp:').partition(':')[0]}"


def _run(
    repository: str, password_file: Path, *arguments: str, folder: Path | None = None, is_short: bool = False
) -> tuple[int, str, str]:
    """Run restic; return its exit code, what it printed and what it complained of.

    It is ended where the place does not answer: when it has tried one thing for PATIENCE_SECONDS, and where it is short, at all.
    """
    if shutil.which("restic") is None:
        raise SystemExit(
            "backups are made by restic, which is not here: apt-get install restic, or brew install restic"
        )
    environ = os.environ | {"RESTIC_REPOSITORY": repository, "RESTIC_PASSWORD_FILE": str(password_file.resolve())}
    with tempfile.TemporaryDirectory() as said:
        printed, complained = Path(said, "printed"), Path(said, "complained")
        with (
            printed.open("w") as out,
            complained.open("w") as err,
            subprocess.Popen(["restic", *arguments], env=environ, cwd=folder, stdout=out, stderr=err) as process,
        ):
            answered = _answered(process, complained, is_short)
            if not answered:
                process.kill()
        words = complained.read_text()
        return process.returncode, printed.read_text(), words if answered else _silence(words)


def _answered(process: "subprocess.Popen[bytes]", complained: Path, is_short: bool) -> bool:
    """Wait for restic's end; return False as soon as it is in vain."""
    began = time.monotonic()
    tried: dict[str, tuple[int, float]] = {}  # what it has tried → how many times when that was first seen, and when
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.1)
            return True
        now = time.monotonic()
        if is_short and now - began > PATIENCE_SECONDS:
            return False
        for what, times in Counter(TRIES_AGAIN.findall(complained.read_text())).items():
            seen, since = tried.setdefault(what, (times, now))
            if times > seen and now - since > PATIENCE_SECONDS:
                return False


def _silence(complained: str) -> str:
    """Return the line that says that it was in vain, with restic's last words on the cause where it has any."""
    lines = [line for line in complained.splitlines() if line.strip()] or ["there is no answer"]
    return f"given up after {PATIENCE_SECONDS} seconds: {lines[-1].rpartition(': ')[2]}"
