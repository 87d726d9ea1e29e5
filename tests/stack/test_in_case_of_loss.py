"""A backup of the stack that is up, made while it works, and brought back as a second stack; and what goes wrong on the way."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.backups import FIXTURES, answer_of, backup, begin, digests, frozen, registry, restore, shown_by
from tests.compose import Stack, docker, eventually
from tests.faults import setting

# Takes MLflow's database back to an older revision, with what MLflow has for it.
DOWNGRADE = """
import os, sys
from alembic import command
from mlflow.store.db.utils import _get_alembic_config
command.downgrade(_get_alembic_config(os.environ["MLFLOW_BACKEND_STORE_URI"]), sys.argv[1])
"""


def statuses(stack: Stack) -> list[str]:
    experiment = stack.api("experiments/get-by-name", experiment_name="MLflow Workshop - Iris Classification")[
        "experiment"
    ]
    query = {"experiment_ids": [experiment["experiment_id"]], "max_results": 1000}
    found = requests.post(f"{stack.mlflow_url}/api/2.0/mlflow/runs/search", json=query, timeout=10).json()
    return [run["info"]["status"] for run in found.get("runs", [])]


def history(stack: Stack) -> str:
    said = stack.compose("run", "--rm", "trainer", "history").stdout
    return "\n".join(line for line in said.splitlines() if not line.startswith("#"))  # those are the image's


class Made:
    """A backup, with what the stack was when it was made."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack, self.folder = stack, folder
        stack.compose("run", "--rm", "trainer", "train")
        self.answer, self.alias, self.versions = answer_of(stack), stack.alias(), stack.versions()
        self.history = history(stack)
        self.digests = digests(stack, folder / "before")
        name = f"{stack.name}-meanwhile"
        training = stack.start("run", "--rm", "--name", name, "trainer", "train")
        eventually("a third training has begun", lambda: "RUNNING" in statuses(stack), 120)
        docker("update", "--cpus=0.02", name)  # so that it is still at work when the backup ends
        self.result = backup(stack, BACKUP_REPOSITORY=str(folder / "repository"))
        self.met = training.poll() is None and "RUNNING" in statuses(stack)
        docker("update", "--cpus=1", name)
        training.communicate(timeout=300)
        assert training.returncode == 0
        self.id, self.password = shown_by(self.result)

    @property
    def repository(self) -> Path:
        return self.folder / "repository"


@pytest.fixture(scope="module")
def made(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(stack, tmp_path_factory.mktemp("backup"))


UNREACHED = {
    "s3:http://host.docker.internal:9/backups": "connection refused",
    "s3:http://nowhere.invalid/backups": "no such host",
}


@pytest.fixture(scope="module")
def unreached(made: Made) -> "dict[str, subprocess.Popen[str]]":
    """Backups to places that do not answer, which are tried for half a minute, while other tests go on."""
    folder = made.stack.folder
    (folder / "credentials").write_text("[default]\naws_access_key_id = mine\naws_secret_access_key = a-secret\n")
    # Of two that are made at once one would be refused.
    beside = {"services": {"backup": {"volumes": [{"type": "tmpfs", "target": "/scratch"}]}}}
    (folder / "beside.yaml").write_text(json.dumps(beside))
    files = "COMPOSE_FILE=compose.yaml:compose.remote-backup.yaml:beside.yaml"
    command = ("docker", "compose", "--progress", "quiet", "run", "--rm", "-T", "backup")
    settings = (files, "BACKUP_CREDENTIALS_FILE=./credentials")
    return {place: begin(made.stack, "env", *settings, f"BACKUP_REPOSITORY={place}", *command) for place in UNREACHED}


@pytest.fixture(scope="module")
def restored(made: Made, unreached: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Another stack, on a machine that has nothing but the repository and the password."""
    other = Stack(
        tmp_path_factory.mktemp("restored"), f"{made.stack.name}-restored", BACKUP_REPOSITORY=str(made.repository)
    )
    try:
        result = restore(other, made.password, made.id)
        assert result.returncode == 0, result.stdout + result.stderr
        yield other
    finally:
        other.remove()


def test_a_backup_says_where_it_is_and_shows_its_password_once(made: Made) -> None:
    assert made.result.returncode == 0, made.result.stderr
    assert made.met, "the third training was over before the backup was"
    said = rf"^Backup {made.id} of {made.stack.name} is in {made.repository}: \d+ files, .* new, "
    assert re.search(said, made.result.stdout, re.MULTILINE)
    assert made.password
    assert made.password not in backup(made.stack).stdout


def test_a_restored_stack_answers_byte_for_byte_and_has_the_same_versions_history_and_files(
    made: Made, restored: Stack, tmp_path: Path
) -> None:
    assert answer_of(restored) == made.answer
    assert restored.alias() == made.alias
    assert restored.versions() == made.versions  # and nothing of the third one, which was not registered yet
    assert history(restored) == made.history
    assert digests(restored, tmp_path) == made.digests
    assert "nothing to do" in restored.logs("bootstrap")
    said = restored.compose("run", "--rm", "--no-deps", "-T", "audit").stdout
    first, *_, last = map(json.loads, said.splitlines())
    assert (first["what"], last["what"], last["of"], last["from"]) == ("alias", "restore", restored.name, made.id)


def test_a_restored_stack_goes_on_as_the_first_one_would(made: Made, restored: Stack) -> None:
    restored.compose("run", "--rm", "trainer", "promote", max(made.versions, key=int))
    assert statuses(restored).count("RUNNING") == 1
    assert "was left behind" in restored.compose("run", "--rm", "trainer", "train").stdout
    assert "RUNNING" not in statuses(restored)
    assert max(map(int, restored.versions())) > max(map(int, made.versions))
    assert made.password not in backup(restored).stdout  # it knows it


def test_a_bucket_that_was_emptied_beside_its_database_is_named_and_lets_no_whole_backup_go(
    made: Made, restored: Stack
) -> None:
    for snapshot in (made.repository / "snapshots").iterdir():
        os.utime(snapshot, (time.time() - 8 * 86_400,) * 2)
    os.utime(made.repository / "config", (time.time() - 40 * 86_400,) * 2)  # when the backups began
    before, served = backup(restored, "list").stdout.splitlines(), restored.alias()
    back = next(number for number in restored.versions() if number != served)
    restored.compose("exec", "-T", "minio", "sh", "-c", "mkdir /data/aside && mv /data/mlflow/* /data/aside")
    try:
        rows = {row["name"]: row for row in restored.doctor()}
        lacking = backup(restored, BACKUP_KEEP="1h")
        again = backup(restored)
        listed = backup(restored, "list").stdout.splitlines()
    finally:
        restored.compose("exec", "-T", "minio", "sh", "-c", "mv /data/aside/* /data/mlflow && rmdir /data/aside")
        del restored.settings["BACKUP_KEEP"]
        restored.write_env()
    assert f"version {served}: its files are gone" in rows["files"]["says"]
    assert rows["files"]["mend"] == "docker compose up -d --wait"
    assert "lost all files; there is no version to go back to" in rows["rollback"]["says"]
    # What these name is done below: one more backup, and a check. That a backup came back, the restore has noted.
    assert (rows["backup"]["status"], "is 8 days old" in rows["backup"]["says"]) == ("warn", True), rows["backup"]
    assert rows["backup"]["mend"] == "docker compose run --rm backup"
    assert (rows["backup check"]["status"], rows["backup check"]["mend"]) == (
        "warn",
        "docker compose run --rm backup check",
    )
    assert rows["restore"]["says"] == f"backup {made.id} came back 0 hours ago"
    assert (lacking.returncode, again.returncode) == (1, 1)
    assert "this backup lacks the files of version " in lacking.stderr
    assert f"version {served} of iris_logistic_regression" in lacking.stderr
    assert len(lacking.stderr.splitlines()) == 1, lacking.stderr
    assert f"version {back} of iris_logistic_regression" in lacking.stdout
    # The whole ones are there still, and of those that lack something BACKUP_KEEP leaves the newest.
    assert set(before) < set(listed)
    assert [line.split()[0] for line in listed if line.endswith("lacks files of a model in use")] == [
        shown_by(again)[0]
    ]


def sql(stack: Stack, statement: str) -> str:
    command = ("exec", "-T", "postgres", "psql", "-U", "postgres", "-Atq", "mlflow", "-c", statement)
    return stack.compose(*command).stdout.strip()


def known_of(stack: Stack) -> tuple[bytes, dict[str, Any], dict[str, Any]]:
    model = stack.api("registered-models/get", name="iris_logistic_regression")["registered_model"]
    return answer_of(stack), model, stack.versions()


class Older:
    """The second stack as an older MLflow has left it, its server stopped; and a backup of it."""

    def __init__(self, stack: Stack) -> None:
        self.stack, self.known = stack, known_of(stack)
        self.newest, self.schema_of_newest = sql(stack, "SELECT version_num FROM alembic_version"), self.schema()
        stack.compose("stop", "mlflow")
        revisions = (stack.folder / "services" / "setup" / "mlflow-revisions.txt").read_text().split()
        self.revision, self.between = revisions[-3:-1]
        stack.compose("run", "--rm", "--no-deps", "-T", "migrate", "python", "-c", DOWNGRADE, self.revision)
        self.schema_of_revision = self.schema()
        made = backup(stack)
        assert made.returncode == 0, made.stderr
        self.id, _ = shown_by(made)

    def schema(self) -> str:
        return sql(self.stack, "SELECT table_name, column_name, data_type FROM information_schema.columns "
                               "WHERE table_schema = 'public' ORDER BY 1, 2")  # fmt: skip


@pytest.fixture(scope="module")
def older(restored: Stack) -> Older:
    return Older(restored)


def test_a_restore_that_is_interrupted_takes_away_again_what_it_has_brought(
    made: Made, restored: Stack, older: Older
) -> None:
    ours = f"--filter=label=com.docker.compose.project={restored.name}"
    restored.down("--volumes", "--timeout", "0")
    for step, code in (("Files", 130), ("Database", 143)):
        run = begin(restored, "scripts/restore", older.id)
        print(made.password, file=run.stdin, flush=True)
        assert any(f"  {step}" in line for line in iter(run.stdout.readline, "")), run.communicate()
        if step == "Files":
            container, process = frozen(restored, "restore", "--verify")
            os.killpg(run.pid, signal.SIGINT)  # as Ctrl-C does
            subprocess.run(
                ["docker", "exec", container, "kill", "-CONT", process], capture_output=True
            )  # or it is gone
        else:
            run.terminate()
        said, complained = run.communicate(timeout=60)
        assert (run.returncode, len(complained.splitlines()) <= 1) == (code, True), said + complained
        assert "It did not come to its end: taking away again what it has brought" in said
        assert (docker("ps", "--all", "--quiet", ours), docker("volume", "ls", "--quiet", ours)) == ("", "")


def test_a_backup_of_an_older_schema_is_restored_after_those_and_upgraded(
    made: Made, restored: Stack, older: Older
) -> None:
    result = restore(restored, made.password, older.id)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"is going to be migrated from {older.revision} to {older.newest}" in restored.logs("database")
    assert f"from {older.revision} to {older.newest}" in restored.logs("migrate")
    assert older.schema() == older.schema_of_newest != older.schema_of_revision
    assert known_of(restored) == older.known
    assert "nothing to do" in restored.logs("bootstrap")


def test_a_database_that_is_migrated_was_copied_before_and_there_is_a_way_back(restored: Stack, older: Older) -> None:
    def database(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return restored.compose("run", "--rm", "--no-deps", "-T", "database", *arguments, check=False)

    def note(revision: str) -> None:
        sql(restored, f"UPDATE alembic_version SET version_num = '{revision}'")  # noqa: S608 - a revision of ours

    restored.compose("stop", "mlflow")
    aliases = sql(restored, "SELECT count(*) FROM registered_model_aliases")
    note(older.between)  # as when it was ended in between
    assert f"the copy from before the migration from {older.revision} to {older.newest} is there" in database().stdout
    sql(restored, "DELETE FROM registered_model_aliases")
    note("fffffffffff0")
    assert "are whole" in backup(restored, "check").stdout
    rows = {row["name"]: row for row in restored.doctor()}
    assert "a newer MLflow has written it" in rows["schema"]["says"]
    assert rows["schema"]["mend"].endswith("docker compose run --rm database back")
    assert (rows["backup"]["status"], rows["backup check"]["status"]) == ("ok", "ok")
    assert "the database is as it was before the migration" in database("back").stdout
    assert sql(restored, "SELECT version_num FROM alembic_version") == older.revision
    assert older.schema() == older.schema_of_revision
    assert sql(restored, "SELECT count(*) FROM registered_model_aliases") == aliases != "0"
    sql(restored, "SET ROLE mlflow; CREATE TABLE of_the_next_migration (id integer)")
    assert sql(restored, "SELECT has_database_privilege('public', 'mlflow', 'CONNECT')") == "f"
    assert "there is no copy of the database from before a migration" in database("back").stderr
    for _ in range(2):  # nothing has been migrated between the two, so the first copy may be old
        assert f"is going to be migrated from {older.revision} to {older.newest}" in database().stdout


@pytest.mark.parametrize("release", sorted(FIXTURES.glob("release-*")), ids=lambda release: release.name)
def test_a_backup_of_each_release_is_restored_and_upgraded_by_the_code_of_today(
    restored: Stack, release: Path, tmp_path: Path
) -> None:
    restored.down("--volumes", "--timeout", "0")  # a machine with nothing but the images
    repository = shutil.copytree(release / "repository", tmp_path / "repository")  # a restore is noted in it
    restored.write_env(BACKUP_REPOSITORY=str(repository))
    result = restore(restored, (release / "password").read_text().strip())
    assert result.returncode == 0, result.stdout + result.stderr
    answer = json.loads(answer_of(restored, (release / "question.json").read_text()))
    before = json.loads((release / "answer.json").read_text())
    assert answer["predictions"] == before["predictions"]
    # Another processor, or a newer ONNX Runtime, may round the last digit otherwise.
    for row, row_before in zip(answer["probabilities"], before["probabilities"], strict=True):
        assert row == pytest.approx(row_before, rel=1e-9)
    assert registry(restored, tmp_path) == json.loads((release / "registry.json").read_text())
    assert "nothing to do" in restored.logs("bootstrap")
    # Which reads the history, and verifies the files of the version that it goes back to.
    restored.compose("run", "--rm", "trainer", "rollback")
    eventually("version 1 is served", lambda: restored.served_version() == "1")


@pytest.fixture(scope="module")
def next_postgres(restored: Stack) -> str:
    """The image of the next major: pulled, or built of Debian's packages, where it is not here yet."""
    environ = restored.environ() | {"POSTGRES_IMAGE": "postgres:18-trixie"}
    made = subprocess.run(["scripts/base-images"], cwd=restored.folder, env=environ, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    return environ["POSTGRES_IMAGE"]


def test_the_database_moves_to_the_next_postgres_and_the_old_one_is_there_still(
    restored: Stack, next_postgres: str
) -> None:
    def found() -> tuple[str, tuple[bytes, dict[str, Any], dict[str, Any]]]:
        version = ("exec", "-T", "postgres", "psql", "-U", "postgres", "-Atc", "SHOW server_version")
        return restored.compose(*version).stdout.split(".")[0], known_of(restored)

    before = known_of(restored)
    with setting(restored, POSTGRES_IMAGE=next_postgres):
        refused = restored.compose("up", "--detach", "--wait", "--no-build", check=False)
        said = restored.logs("postgres-version")
    assert refused.returncode == 1
    assert 'service "postgres-version" didn\'t complete successfully: exit 1' in refused.stderr
    assert "the data are of Postgres 17, POSTGRES_IMAGE is 18: scripts/upgrade-postgres moves them" in said
    assert restored.predict()
    restored.up("--no-build")  # without the line, as it says: the data are as they were
    assert found() == ("17", before)
    said = restored.script("upgrade-postgres", next_postgres)
    assert "Done: the data are of Postgres 18" in said
    assert found() == ("18", before)
    restored.set_alias("2")
    restored.write_env()  # the way back, as it says: without the two lines that it has written
    restored.up("--no-build")
    assert found() == ("17", before)
    docker("volume", "rm", f"{restored.name}_postgres-data-18")


@pytest.mark.parametrize("place", UNREACHED)
def test_a_place_that_does_not_answer_is_told_in_one_line(
    unreached: "dict[str, subprocess.Popen[str]]", place: str
) -> None:
    said, complained = unreached[place].communicate(timeout=90)
    assert (unreached[place].returncode, said, len(complained.splitlines())) == (1, "", 1), complained
    assert complained.startswith(f"backup: {place}: ")
    assert UNREACHED[place] in complained


def test_a_restore_writes_over_nothing(made: Made) -> None:
    result = restore(made.stack, made.password)
    assert result.returncode == 1
    assert "there is data in this stack already" in result.stderr
    assert "docker compose down --volumes" in result.stderr
    assert made.stack.predict()


@pytest.mark.parametrize(
    ("argument", "kind", "code"), [("--no-owner", "INT", 130), ("--json", "TERM", 143)], ids=["pg_dump", "restic"]
)
def test_a_backup_that_is_interrupted_is_told_in_one_line_and_is_none_and_the_next_one_is_whole(
    made: Made, argument: str, kind: str, code: int
) -> None:
    before = backup(made.stack, "list").stdout
    psql = ("docker", "compose", "exec", "-T", "postgres", "psql", "-U", "postgres", "-q", "mlflow")
    with begin(made.stack, *psql) as lock:
        if argument == "--no-owner":  # a dump that has to wait is there to be interrupted
            print("BEGIN; LOCK TABLE alembic_version; \\echo locked", file=lock.stdin, flush=True)
            assert lock.stdout.readline() == "locked\n"
        run = begin(made.stack, "docker", "compose", "--progress", "quiet", "run", "--rm", "-T", "backup")
        container, process = frozen(made.stack, "backup", argument)
        docker("kill", f"--signal={kind}", container)
        docker("exec", container, "kill", "-CONT", process)
        said, complained = run.communicate(timeout=60)
    assert (run.returncode, said) == (code, "")
    assert complained == "backup: interrupted; no backup was made, unless a line above names it\n"
    assert backup(made.stack, "list").stdout == before
    again = backup(made.stack)
    assert (again.returncode, again.stderr) == (0, "")
    assert shown_by(again)[0] in backup(made.stack, "list").stdout


@pytest.fixture(scope="module")
def empty(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that has nothing, and knows where the backup is."""
    empty = Stack(tmp_path_factory.mktemp("empty"), f"{made.stack.name}-empty", BACKUP_REPOSITORY=str(made.repository))
    try:
        yield empty
    finally:
        empty.remove()


EXTERNAL_S3 = {
    "COMPOSE_FILE": "compose.yaml:compose.external-s3.yaml",
    "S3_ENDPOINT_URL": "http://nowhere.test",
    "S3_BUCKET": "my-models",
    "S3_CREDENTIALS_FILE": "./services/setup/not-given",
}


@pytest.mark.parametrize(
    ("password", "snapshot", "words", "settings"),
    [
        ("wrong", "latest", "the password does not open", {}),
        (None, "0123abcd", "there is no backup '0123abcd'", {}),
        (None, "latest", "here they are in an external S3, to which a restore writes nothing", EXTERNAL_S3),
    ],
)
def test_a_restore_that_cannot_be_leaves_nothing(
    made: Made, empty: Stack, password: str | None, snapshot: str, words: str, settings: dict[str, str]
) -> None:
    with setting(empty, **settings):
        result = restore(empty, password or made.password, snapshot)
    assert (result.returncode, words in result.stderr) == (1, True), result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_list_has_each_backup_and_a_damaged_byte_is_found(made: Made) -> None:
    listed = backup(made.stack, "list").stdout
    assert made.id in listed
    assert "are whole" in backup(made.stack, "check").stdout
    pack = max((made.repository / "data").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size)
    whole = pack.read_bytes()
    pack.chmod(0o600)
    pack.write_bytes(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:])
    damaged = backup(made.stack, "check")
    pack.write_bytes(whole)
    assert damaged.returncode == 1
    assert "are damaged" in damaged.stderr
    assert (made.repository / "last-check").read_text().endswith(" damaged\n")


def test_a_full_disk_is_told_in_one_line_and_nothing_is_half_done(made: Made) -> None:
    small = {"type": "tmpfs", "target": "/repository", "tmpfs": {"size": 200_000}}
    (made.stack.folder / "small.yaml").write_text(json.dumps({"services": {"backup": {"volumes": [small]}}}))
    files = ("-f", "compose.yaml", "-f", "small.yaml")
    result = made.stack.compose(*files, "--progress", "quiet", "run", "--rm", "-T", "backup", check=False)
    assert (result.returncode, len(result.stderr.splitlines())) == (1, 1), result.stderr
    assert "is full: no space left on device" in result.stderr
