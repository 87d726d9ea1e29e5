"""A Postgres and an S3 from elsewhere take the place of the stack's own, which are then not started."""

import json
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from subprocess import CompletedProcess
from typing import Any

import pytest
import requests
from minio import Minio, S3Error
from minio.credentials import StaticProvider
from minio.minioadmin import MinioAdmin

from tests.backups import answer_of, backup, restore, shown_by
from tests.compose import CLASSES, ROOT, Stack, built_meanwhile, docker, eventually
from tests.faults import setting

PASSWORD = "external-password"


@pytest.fixture(scope="module")
def stores(stack: Stack) -> Iterator[Any]:
    """A second Postgres and a second MinIO, in no network of the project; published to containers of this host."""
    gateway = docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
    names = (f"{stack.name}-external-postgres", f"{stack.name}-external-s3")
    docker("run", "--detach", "--name", names[0], "--publish", f"{gateway}::5432",
            "--env", f"POSTGRES_PASSWORD={PASSWORD}", stack.containers()["postgres"]["Config"]["Image"])  # fmt: skip
    docker("run", "--detach", "--name", names[1], "--publish", f"{gateway}::9000", "--env", "MINIO_ROOT_USER=external",
            "--env", f"MINIO_ROOT_PASSWORD={PASSWORD}", f"{stack.name}/minio")  # fmt: skip
    ports = [docker("port", names[0], "5432").rsplit(":", 1)[1], docker("port", names[1], "9000").rsplit(":", 1)[1]]
    # By TCP, as what makes the database's files has a server of its own at the socket meanwhile.
    eventually("Postgres answers", lambda: docker("exec", names[0], "pg_isready", "--host=127.0.0.1"), 120)
    eventually("MinIO answers", lambda: requests.get(f"http://{gateway}:{ports[1]}/minio/health/ready", timeout=10).ok)
    yield names, ports
    docker("rm", "--force", "--volumes", *names)


SFTP = """
FROM {image}
USER 0:0
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends openssh-server && \
    mkdir -p /run/sshd /root/.ssh && ssh-keygen -q -t ed25519 -N "" -f /root/key && cp /root/key.pub /root/.ssh/authorized_keys
ENTRYPOINT ["/usr/sbin/sshd", "-D", "-e"]
"""


@pytest.fixture(scope="module")
def sshd(stack: Stack) -> Iterator[Callable[[], str]]:
    """Debian's OpenSSH server, for the last of these tests."""
    with built_meanwhile(f"{stack.name}-external-sftp", SFTP.format(image=f"{stack.name}/minio")) as image:
        yield image


@pytest.fixture(scope="module")
def external(stores: Any, sshd: Any, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    _, (postgres, s3) = stores
    other = Stack(
        tmp_path_factory.mktemp("external"),
        f"{stack.name}-external",
        COMPOSE_FILE="compose.yaml:compose.external-postgres.yaml:compose.external-s3.yaml",
        BACKEND_STORE_URI_FILE="./secrets/uri",
        S3_ENDPOINT_URL=f"http://host.docker.internal:{s3}",
        S3_BUCKET="my-models",
        S3_CREDENTIALS_FILE="./secrets/aws",
    )
    (other.folder / "secrets").mkdir()
    (other.folder / "secrets" / "uri").write_text(
        f"postgresql://postgres:{PASSWORD}@host.docker.internal:{postgres}/factory\n"
    )
    (other.folder / "secrets" / "aws").write_text(
        f"[default]\naws_access_key_id = external\naws_secret_access_key = {PASSWORD}\n"
    )
    try:
        other.up()
        yield other
    finally:
        other.remove()


def test_the_whole_way_works_on_external_stores(external: Any) -> None:
    assert external.predict() == CLASSES
    external.compose("run", "--rm", "trainer")
    assert sorted(external.versions()) == ["1", "2"]


def test_the_stacks_own_stores_are_not_started_and_names_are_asked_for_outside(external: Any) -> None:
    found = external.containers()
    assert not {"postgres", "minio"} & set(found)
    assert not found["mlflow"]["HostConfig"]["Dns"]


def test_runs_and_files_are_in_the_external_stores(external: Any, stores: Any) -> None:
    names, _ = stores
    runs = docker("exec", names[0], "psql", "-U", "postgres", "-Atc", "SELECT count(*) FROM runs", "factory")
    assert int(runs) >= 1
    assert "1" in docker("exec", names[1], "ls", "/data/my-models").split()


def test_the_credentials_are_not_shown(external: Any) -> None:
    shown = external.compose("config").stdout + external.logs()
    for container in external.containers().values():
        shown += str(container)
    assert PASSWORD not in shown


@pytest.fixture(scope="module")
def made(external: Stack) -> CompletedProcess[str]:
    return backup(external)


def test_a_backup_has_the_secrets_and_names_what_it_has_not(made: CompletedProcess[str]) -> None:
    assert made.returncode == 0, made.stderr
    assert "Not in this backup: the database, which is an external Postgres." in made.stdout
    assert "Not in this backup: the files of models and runs, which are in an external S3." in made.stdout


def test_a_restore_brings_back_what_a_backup_has_beside_external_stores_that_are_named_and_stay_as_they_are(
    external: Stack, made: CompletedProcess[str]
) -> None:
    _, password = shown_by(made)
    answer, versions = answer_of(external), external.versions()
    external.down("--volumes", "--timeout", "0")
    uri = external.folder / "secrets" / "uri"
    right = uri.read_text()

    def is_refused(words: str, files: str) -> None:
        with setting(external, COMPOSE_FILE=files):
            result = restore(external, password)
        assert (result.returncode, words in result.stderr) == (1, True), result.stderr
        assert len(result.stderr.splitlines()) == 1, result.stderr

    is_refused("is of a stack with an external Postgres, which has the database", "compose.yaml")
    is_refused("is of a stack with an external S3", "compose.yaml:compose.external-postgres.yaml")
    uri.write_text(right.replace("/factory", "/postgres"))
    is_refused("the external database is empty; restore its own backup first", external.settings["COMPOSE_FILE"])
    uri.write_text(right)
    result = restore(external, password)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Not restored: the database, which is an external Postgres. It stays as it is." in result.stdout
    assert (
        "Not restored: the files of models and runs, which are in the bucket my-models of an external S3."
        in result.stdout
    )
    assert (answer_of(external), external.versions()) == (answer, versions)
    assert "nothing to do" in external.logs("bootstrap")


def test_a_wrong_address_is_told_in_one_line(external: Any) -> None:
    uri = external.folder / "secrets" / "uri"
    right = uri.read_text()
    uri.write_text("mysql://somewhere/else\n")
    try:
        external.compose("run", "--rm", "--no-deps", "secrets")
        result = external.compose("run", "--rm", "--no-deps", "database", check=False)
    finally:
        uri.write_text(right)
        external.compose("run", "--rm", "--no-deps", "secrets")
    assert result.returncode == 1
    assert "BACKEND_STORE_URI_FILE must hold postgresql://USER:PASSWORD@HOST:5432/DATABASE" in result.stderr


def test_an_external_bucket_that_was_emptied_is_named_and_what_is_named_brings_a_model_back(
    external: Stack, stores: Any
) -> None:
    def files() -> dict[str, str]:
        return next(row for row in external.doctor() if row["name"] == "files")

    served, (_, s3) = external.alias(), stores[0]
    assert "files are as they were signed with the key in force" in files()["says"]
    docker("exec", s3, "sh", "-c", "rm -r /data/my-models/*")
    emptied = files()
    assert emptied["says"] == f"version {served}: its files are gone"
    words = shlex.split(emptied["mend"])
    assert words[:2] == ["docker", "compose"]
    external.compose(*words[2:])
    assert files()["status"] == "ok"
    assert int(external.alias()) > int(served)


(CHURN,) = re.findall(
    r"train its model\]\(\S+\) and name it:\n\n((?:    .*\n)+)", (ROOT / "docs" / "team.md").read_text()
)


def test_a_second_stack_serves_another_model_beside_the_first_as_the_page_for_teams_has_it(
    external: Stack, stack: Stack
) -> None:
    rows = [(age, calls, "yes" if age + 5 * calls > 70 else "no") for age in range(20, 70) for calls in (1, 3, 7, 9)]
    table = "".join(f"{age},{calls},{left}\n" for age, calls, left in rows)
    (external.folder / "data" / "churn.csv").write_text(f"age,calls,left\n{table}")
    for command in CHURN.splitlines():
        shell = ["bash", "-c", command.strip()]
        done = subprocess.run(shell, cwd=external.folder, env=external.environ(), capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}\n{external.guilty_logs()}"
    asked = {"instances": [{"age": 40, "calls": 9}, {"age": 30, "calls": 1}]}
    answer = requests.post(f"{external.url}/invocations", json=asked, timeout=10)
    assert answer.json() == {"predictions": ["yes", "no"]}
    assert (stack.predict(), stack.alias()) == (CLASSES, stack.served_version())
    assert external.api("registered-models/alias", name="churn_logistic_regression", alias="Production")


@dataclass
class Elsewhere:
    """Where backups are made, as settings; and what has their key delete nothing any more, if it is such a place."""

    settings: dict[str, str]
    refuses: Callable[[], object] = lambda: None
    """Assert that a wrong key is told."""
    keep: Callable[[], object] = lambda: None
    is_kept: Callable[[], object] = lambda: None
    """Assert that nothing was deleted but locks, nor can be."""


@pytest.fixture
def over_s3(external: Stack, stores: Any) -> Elsewhere:
    """A folder in a bucket that is still to be made."""
    (_, name), (_, s3) = stores
    server = f"{docker('port', name, '9000').rsplit(':', 1)[0]}:{s3}"
    place = f"s3:http://host.docker.internal:{s3}/backups/of/mine"

    def use_key_of(user: str) -> None:
        key = f"[default]\naws_access_key_id = {user}\naws_secret_access_key = {PASSWORD}\n"
        (external.folder / "secrets" / "backup-credentials").write_text(key)

    def refuses() -> None:
        use_key_of("nobody")
        refused = backup(external)
        assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1), refused.stderr
        assert f"{place} does not know the key in BACKUP_CREDENTIALS_FILE" in refused.stderr
        use_key_of("external")

    def keep() -> None:
        may = {"": ["s3:ListBucket", "s3:GetBucketLocation"], "/*": ["s3:GetObject", "s3:PutObject"]}
        may["/of/mine/locks/*"] = ["s3:DeleteObject"]
        rights = [{"Effect": "Allow", "Action": may[at], "Resource": f"arn:aws:s3:::backups{at}"} for at in may]
        (external.folder / "policy.json").write_text(json.dumps({"Version": "2012-10-17", "Statement": rights}))
        admin = MinioAdmin(endpoint=server, credentials=StaticProvider("external", PASSWORD), secure=False)
        admin.policy_add("keeper", str(external.folder / "policy.json"))
        admin.user_add("keeper", PASSWORD)
        admin.policy_set("keeper", "keeper")
        use_key_of("keeper")

    def is_kept() -> None:
        store = Minio(server, "keeper", PASSWORD, secure=False)
        assert not list(store.list_objects("backups", prefix="of/mine/locks/"))
        (snapshot, *_) = store.list_objects("backups", prefix="of/mine/snapshots/")
        with pytest.raises(S3Error, match="Access Denied"):
            store.remove_object("backups", snapshot.object_name)

    use_key_of("external")
    settings = {"BACKUP_REPOSITORY": place, "BACKUP_CREDENTIALS_FILE": "./secrets/backup-credentials"}
    return Elsewhere(settings, refuses, keep, is_kept)


@pytest.fixture
def over_sftp(external: Stack, stores: Any, sshd: Callable[[], str]) -> Iterator[Elsewhere]:
    """Another machine, which is Debian's OpenSSH server in a container."""
    (_, s3), _ = stores
    gateway, name = docker("port", s3, "9000").rsplit(":", 1)[0], f"{external.name}-sshd"
    docker("run", "--detach", f"--name={name}", f"--publish={gateway}::22", sshd())
    try:
        port = docker("port", name, "22").rsplit(":", 1)[1]
        secrets = external.folder / "secrets"
        (secrets / "key").write_text(f"{docker('exec', name, 'cat', '/root/key')}\n")
        host_key = docker("exec", name, "cat", "/etc/ssh/ssh_host_ed25519_key.pub")
        (secrets / "known").write_text(f"[host.docker.internal]:{port} {host_key}\n")
        place = f"sftp://root@host.docker.internal:{port}//srv/backups"
        files = {"BACKUP_CREDENTIALS_FILE": "./secrets/key", "BACKUP_KNOWN_HOSTS_FILE": "./secrets/known"}
        yield Elsewhere({"BACKUP_REPOSITORY": place, **files})
    finally:
        docker("rm", "--force", "--volumes", name)


@pytest.mark.parametrize(
    ("overlay", "elsewhere", "over"),
    [
        ("external-postgres", "the database", "over_s3"),
        ("external-s3", "the files of models and runs", "over_sftp"),
    ],
    ids=["postgres, backed up to an S3", "s3, backed up over SFTP"],
)
def test_with_one_external_store_the_other_one_is_backed_up_to_another_machine_and_comes_back(
    external: Stack, request: pytest.FixtureRequest, overlay: str, elsewhere: str, over: str
) -> None:
    remote: Elsewhere = request.getfixturevalue(over)
    place = remote.settings["BACKUP_REPOSITORY"]
    external.down("--volumes", "--timeout", "0")
    uri = external.folder / "secrets" / "uri"
    uri.write_text(uri.read_text().replace("/factory", "/one"))  # which nobody has used
    files = f"compose.yaml:compose.{overlay}.yaml:compose.remote-backup.yaml"
    with setting(external, COMPOSE_FILE=files, S3_BUCKET=f"beside-{overlay}", **remote.settings):
        external.up()
        answer, versions = answer_of(external), external.versions()
        remote.refuses()
        made = [backup(external)]
        remote.keep()
        made.append(backup(external, BACKUP_KEEP="all"))
        first, last = (shown_by(one)[0] for one in made)
        checked, listed = backup(external, "check"), backup(external, "list")
        external.down("--volumes", "--timeout", "0")
        result = restore(external, shown_by(made[0])[1])
        assert "are whole" in checked.stdout, checked.stderr
        # What the check has noted is none, and not the newest one, which came back.
        assert [line.split()[0] for line in listed.stdout.splitlines()] == ["BACKUP", first, last], listed.stderr
        said = [one.stderr for one in (*made, checked, result)]
        assert ([one.returncode for one in (*made, checked, result)], "".join(said)) == ([0] * 4, ""), said
        for one, words in ((made[0], "Not in this backup"), (result, "Not restored")):
            assert re.findall(rf"^{words}: (.*?), which", one.stdout, re.MULTILINE) == [elsewhere]
        assert f"is in {place}: " in made[0].stdout
        assert (answer_of(external), external.versions()) == (answer, versions)
        assert "nothing to do" in external.logs("bootstrap")
        told = {row["name"]: row["says"] for row in external.doctor()}
        assert [told[row] for row in ("backup", "backup check", "restore")] == [
            f"the newest whole one in {place} is 0 hours old",
            f"all of {place} was read 0 hours ago, and was whole",
            f"backup {last} came back 0 hours ago",
        ]
        remote.is_kept()
