"""A backup of the stack that is up, made while it works, and brought back as a second stack; and what goes wrong on the way."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.backups import FIXTURES, answer_of, backup, digests, registry, restore, shown_by
from tests.compose import Stack, docker, eventually


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
        training = stack.start("run", "--rm", "trainer", "train")
        self.result = backup(stack, BACKUP_REPOSITORY=str(folder / "repository"))
        training.communicate(timeout=300)
        assert training.returncode == 0
        self.id, self.password = shown_by(self.result)

    @property
    def repository(self) -> Path:
        return self.folder / "repository"


@pytest.fixture(scope="module")
def made(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(stack, tmp_path_factory.mktemp("backup"))


@pytest.fixture(scope="module")
def restored(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Another stack, on a machine that has nothing but the repository and the password."""
    other = Stack(
        tmp_path_factory.mktemp("restored"), f"{made.stack.name}-restored", BACKUP_REPOSITORY=str(made.repository)
    )
    try:
        result = restore(other, made.password)
        assert result.returncode == 0, result.stdout + result.stderr
        yield other
    finally:
        other.remove()


def test_a_backup_says_where_it_is_and_shows_its_password_once(made: Made) -> None:
    assert made.result.returncode == 0, made.result.stderr
    said = rf"^Backup {made.id} of {made.stack.name} is in {made.repository}: \d+ files, .* new, "
    assert re.search(said, made.result.stdout, re.MULTILINE)
    assert made.password
    assert made.password not in backup(made.stack).stdout


def test_a_restored_stack_answers_byte_for_byte_and_has_the_same_versions_history_and_files(
    made: Made, restored: Stack, tmp_path: Path
) -> None:
    assert answer_of(restored) == made.answer
    assert restored.alias() == made.alias
    assert made.versions.items() <= restored.versions().items()
    assert history(restored) == made.history
    assert digests(restored, tmp_path).startswith(made.digests)
    assert "nothing to do" in restored.logs("bootstrap")


def test_a_restored_stack_goes_on_as_the_first_one_would(made: Made, restored: Stack) -> None:
    restored.compose("run", "--rm", "trainer", "promote", max(made.versions, key=int))
    restored.compose("run", "--rm", "trainer", "train")
    assert max(map(int, restored.versions())) > max(map(int, made.versions))
    assert made.password not in backup(restored).stdout  # it knows it


def test_a_bucket_that_was_emptied_beside_its_database_is_named_and_lets_no_whole_backup_go(restored: Stack) -> None:
    before, served = backup(restored, "list").stdout.splitlines(), restored.alias()
    back = next(number for number in restored.versions() if number != served)
    restored.compose("exec", "-T", "minio", "sh", "-c", "mkdir /data/aside && mv /data/mlflow/* /data/aside")
    try:
        rows = {row["name"]: row for row in restored.doctor()}
        made = backup(restored, BACKUP_KEEP="1h")
        again = backup(restored)
        listed = backup(restored, "list").stdout.splitlines()
    finally:
        restored.compose("exec", "-T", "minio", "sh", "-c", "mv /data/aside/* /data/mlflow && rmdir /data/aside")
        del restored.settings["BACKUP_KEEP"]
        restored.write_env()
    assert f"version {served}: its files are gone" in rows["files"]["says"]
    assert rows["files"]["mend"] == "docker compose up -d --wait"
    assert "lost all files; there is no version to go back to" in rows["rollback"]["says"]
    assert (made.returncode, again.returncode) == (1, 1)
    assert f"this backup lacks the files of version {served} of iris_logistic_regression" in made.stderr
    assert len(made.stderr.splitlines()) == 1, made.stderr
    assert f"version {back} of iris_logistic_regression" in made.stdout
    # The whole ones are there still, and of those that lack something BACKUP_KEEP leaves the newest.
    assert set(before) < set(listed)
    assert [line.split()[0] for line in listed if line.endswith("lacks files of a model in use")] == [
        shown_by(again)[0]
    ]


def test_a_database_that_is_about_to_be_migrated_is_copied_and_there_is_a_way_back(restored: Stack) -> None:
    def sql(statement: str) -> str:
        command = ("exec", "-T", "postgres", "psql", "-U", "postgres", "-Atq", "mlflow", "-c", statement)
        return restored.compose(*command).stdout.strip()

    def database(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return restored.compose("run", "--rm", "--no-deps", "-T", "database", *arguments, check=False)

    newest, aliases = (
        sql("SELECT version_num FROM alembic_version"),
        sql("SELECT count(*) FROM registered_model_aliases"),
    )
    assert "there is no copy of the database from before a migration" in database("back").stderr
    restored.compose("stop", "mlflow")
    oldest, older = (restored.folder / "services" / "setup" / "mlflow-revisions.txt").read_text().split()[-3:-1]
    sql(f"UPDATE alembic_version SET version_num = '{oldest}'")  # noqa: S608 - a revision of ours
    for _ in range(2):  # nothing has been migrated between the two, so the first copy may be old
        assert f"is going to be migrated from {oldest} to {newest}" in database().stdout
    sql(f"UPDATE alembic_version SET version_num = '{older}'")  # noqa: S608 - as a migration does that is ended in between
    sql("DELETE FROM registered_model_aliases")
    assert f"the copy from before the migration from {oldest} to {newest} is there" in database().stdout
    sql("UPDATE alembic_version SET version_num = 'fffffffffff0'")
    rows = {row["name"]: row for row in restored.doctor()}
    assert "a newer MLflow has written it" in rows["schema"]["says"]
    assert rows["schema"]["mend"].endswith("docker compose run --rm database back")
    assert rows["backup"]["status"] == "ok"
    assert "the database is as it was before the migration" in database("back").stdout
    assert sql("SELECT version_num FROM alembic_version") == oldest
    assert sql("SELECT count(*) FROM registered_model_aliases") == aliases != "0"
    sql("SET ROLE mlflow; CREATE TABLE of_the_next_migration (id integer)")
    assert sql("SELECT has_database_privilege('public', 'mlflow', 'CONNECT')") == "f"


@pytest.mark.parametrize("release", sorted(FIXTURES.glob("release-*")), ids=lambda release: release.name)
def test_a_backup_of_each_release_is_restored_and_upgraded_by_the_code_of_today(
    restored: Stack, release: Path, tmp_path: Path
) -> None:
    restored.down("--volumes", "--timeout", "0")  # a machine with nothing but the images
    restored.write_env(BACKUP_REPOSITORY=str(release / "repository"))
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
    def found() -> tuple[str, bytes, dict[str, Any], dict[str, Any]]:
        version = ("exec", "-T", "postgres", "psql", "-U", "postgres", "-Atc", "SHOW server_version")
        model = restored.api("registered-models/get", name="iris_logistic_regression")["registered_model"]
        return restored.compose(*version).stdout.split(".")[0], answer_of(restored), model, restored.versions()

    _, *before = found()
    said = restored.script("upgrade-postgres", next_postgres)
    assert "Done: the data are of Postgres 18" in said
    assert found() == ("18", *before)
    restored.set_alias("2")
    restored.write_env()  # the way back, as it says: without the two lines that it has written
    restored.up()
    assert found() == ("17", *before)
    docker("volume", "rm", f"{restored.name}_postgres-data-18")


def test_a_restore_writes_over_nothing(made: Made) -> None:
    result = restore(made.stack, made.password)
    assert result.returncode == 1
    assert "there is data in this stack already" in result.stderr
    assert "docker compose down --volumes" in result.stderr
    assert made.stack.predict()


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
    made: Made, tmp_path: Path, password: str | None, snapshot: str, words: str, settings: dict[str, str]
) -> None:
    other = Stack(tmp_path, f"{made.stack.name}-empty", BACKUP_REPOSITORY=str(made.repository), **settings)
    try:
        result = restore(other, password or made.password, snapshot)
        assert (result.returncode, words in result.stderr) == (1, True), result.stderr
        assert len(result.stderr.splitlines()) == 1
    finally:
        other.remove()


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


def test_a_full_disk_is_told_in_one_line_and_nothing_is_half_done(made: Made) -> None:
    small = {"type": "tmpfs", "target": "/repository", "tmpfs": {"size": 200_000}}
    (made.stack.folder / "small.yaml").write_text(json.dumps({"services": {"backup": {"volumes": [small]}}}))
    files = ("-f", "compose.yaml", "-f", "small.yaml")
    result = made.stack.compose(*files, "--progress", "quiet", "run", "--rm", "-T", "backup", check=False)
    assert (result.returncode, len(result.stderr.splitlines())) == (1, 1), result.stderr
    assert "is full: no space left on device" in result.stderr
