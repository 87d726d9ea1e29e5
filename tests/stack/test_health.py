"""The doctor on the stack: faults that are made are named, each in a line, and what the lines name mends them."""

import json
import random
import re
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
import requests

from tests.compose import Stack, docker, eventually
from tests.faults import near_its_limit_of_memory, out_of_memory, setting

MODEL = "iris_logistic_regression"
# The bucket forgets old versions, and MLflow's user may read all buckets and write none.
SPOIL_BUCKET = """
import json, sys; sys.path.insert(0, "/app")
from minio import Minio; from minio.versioningconfig import SUSPENDED, VersioningConfig
from minio.credentials.providers import StaticProvider; from minio.minioadmin import MinioAdmin
password = open("/run/secrets/root-password").read()
root = Minio(endpoint="minio:9000", access_key="admin", secret_key=password, secure=False)
root.set_bucket_versioning("mlflow", VersioningConfig(SUSPENDED))
reads = {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetObject"], "Resource": ["arn:aws:s3:::*"]}
open("/tmp/policy", "w").write(json.dumps({"Version": "2012-10-17", "Statement": [reads]}))
MinioAdmin(endpoint="minio:9000", credentials=StaticProvider("admin", password), secure=False).policy_add("mlflow", "/tmp/policy")
"""
# A secret that another user may read, one that anybody guesses, and one that is empty in one of its two places.
SPOIL_SECRETS = """
cd /volumes
for file in postgres/superuser-password database/superuser-password; do printf password1234 >$file; done
chown 12345 postgres/superuser-password
: >bucket/mlflow-secret-key
"""
# MLflow without the name that containers use, as a compose file of somebody's may have it.
NOT_INSIDE = "services: {mlflow: {environment: {MLFLOW_SERVER_ALLOWED_HOSTS: 'localhost:*,127.0.0.1:*'}}}"
# What the doctor's container has of the stack, with a clock that is 400 seconds behind, a disk with no room, no patience with a
# transaction that is open or a slot that nobody reads, and a copy of the database that takes a petabyte.
FAULTY_DOCTOR = """
services:
  doctor:
    entrypoint: [python, -c, "import runpy, doctor.stack.postgres as at; at.OLD_SECONDS = at.WARN_SLOT_BYTES = 0; at.SPARE_BYTES = 1e15; runpy.run_module('doctor', run_name='__main__')"]
    environment: {PYTHONPATH: /fault}
    volumes: ["./fault:/fault:ro,z", "full:/volumes/minio-data:ro"]
volumes:
  full: {external: true, name: FULL}
"""
SLOW_CLOCK = "import time; now = time.time; time.time = lambda: now() - 400"
OPEN_TRANSACTION = ("psql", "-U", "mlflow", "-c", "BEGIN", "-c", "SELECT pg_sleep(600)", "mlflow")
TRANSACTIONS = (
    "psql",
    "-U",
    "postgres",
    "-Atc",
    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'",
)
SLOT = "SELECT pg_create_physical_replication_slot('left', true)"
TAKE_ALL_CONNECTIONS = """
import os, psycopg2, time
address, held = open(os.environ["BACKEND_STORE_URI_FILE"]).read().replace("+psycopg2", ""), []
end = time.monotonic() + 600
while time.monotonic() < end:
    try: held.append(psycopg2.connect(address))
    except psycopg2.OperationalError: time.sleep(0.05)  # and what another one lets go of is taken, too
"""
# Three are left to the superuser, who asks.
CONNECTIONS = "SELECT count(*) > 97 FROM pg_stat_activity WHERE backend_type = 'client backend'"
UP = "docker compose up"
# What no `up` brings: the first backup is a person's to make, and the disk is this machine's.
NOT_THE_STACKS = {"backup", "backup check", "restore", "disk"}
Row = dict[str, str]


class Doctor:
    """`scripts/doctor`, as a person runs it."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def run(self, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        command = ["scripts/doctor", "--patience", "10", *arguments]
        folder, environ = self._stack.folder, self._stack.environ() | environ
        return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=120)

    def rows(self, **environ: str) -> list[Row]:
        result = self.run("--json", **environ)
        rows: list[Row] = json.loads(result.stdout)
        assert result.returncode == any(row["status"] == "FAIL" for row in rows)
        return rows

    def wrong(self) -> list[Row]:
        """Return the rows of all that is not well, as far as an `up` would mend it."""
        return [row for row in self.rows() if row["status"] != "ok" and row["name"] not in NOT_THE_STACKS]

    def is_content(self) -> bool:
        assert self.wrong() == []
        return True

    def mend(self, *rows: Row) -> None:
        """Do what lines name, as a person does: what they say of .env first, and then each of the commands."""
        commands = []
        for row in rows:
            setting, is_setting, rest = row["mend"].partition(" in .env, then ")
            if is_setting:
                name, _, value = setting.partition("=")
                self._stack.write_env(**{name: value})
            commands.append((rest if is_setting else row["mend"]).rpartition(": ")[2])
        with ThreadPoolExecutor() as pool:  # once each, and none waits for another
            list(pool.map(self._do, dict.fromkeys(commands)))

    def _do(self, command: str) -> None:
        words = shlex.split(command)
        assert words[:2] == ["docker", "compose"], command
        self._stack.compose(*words[2:])


def of(rows: list[Row], name: str, words: str) -> Row:
    """Return the row of that name with these words, which there must be."""
    return next((row for row in rows if row["name"] == name and words in row["says"]), None) or pytest.fail(
        f"no row of {name} says {words!r}: {rows}"
    )


@pytest.fixture(scope="module")
def doctor(stack: Stack) -> Doctor:
    return Doctor(stack)


@pytest.fixture
def settings(stack: Stack) -> Iterator[None]:
    """Afterwards the settings are those of before, and in force."""
    before = dict(stack.settings)
    yield
    stack.settings = before
    stack.write_env()
    stack.up("--no-build")


def post(stack: Stack, path: str, method: str = "POST", **body: Any) -> dict[str, Any]:
    answer = requests.request(method, f"{stack.mlflow_url}/api/2.0/mlflow/{path}", json=body, timeout=10)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def all_of(stack: Stack) -> dict[str, set[Any]]:
    """Return what the doctor could change: rows, objects with all their versions, containers, volumes, networks, the folder."""
    rows = stack.compose("exec", "-T", "postgres", "pg_dump", "-U", "postgres", "mlflow").stdout
    objects = stack.compose("exec", "-T", "minio", "sh", "-c", "find /data/mlflow -type f -exec cksum {} +").stdout
    made = {
        command[0]: set(
            docker(*command, "--filter", f"label=com.docker.compose.project={stack.name}", "--quiet").split()
        )
        for command in (("ps", "--all", "--no-trunc"), ("volume", "ls"), ("network", "ls"))
    }
    files = {(path, path.read_bytes()) for path in stack.folder.rglob("*") if path.is_file()}
    # Each dump has a key of its own for what psql may be told.
    rows = re.sub(r"(?m)^.(un)?restrict .*", "", rows)
    return {"rows": set(rows.splitlines()), "objects": set(objects.splitlines()), **made, "files": files}


def test_a_stack_that_is_well_is_told_so_and_is_left_as_it_was(stack: Stack, doctor: Doctor) -> None:
    before = all_of(stack)
    result = doctor.run()
    # On a busy machine its container may go on for a moment after it.
    eventually("its container is gone", lambda: stack.compose("ps", "--all", "--quiet", "doctor").stdout == "")
    after = all_of(stack)
    assert {name: after[name] ^ found for name, found in before.items() if after[name] != found} == {}
    assert result.returncode == 0, result.stdout + result.stderr
    assert doctor.is_content()
    for name in (
        "engine",
        "images",
        "ports",
        "containers",
        "schema",
        "secrets",
        "bucket",
        "artifacts",
        "files",
        "rollback",
        "served",
    ):
        assert f"\nok    {name} " in f"\n{result.stdout}", result.stdout


def test_an_engine_that_does_not_answer_is_named(doctor: Doctor) -> None:
    row = of(doctor.rows(DOCKER_HOST="unix:///nowhere/docker.sock"), "engine", "the Docker engine cannot be used")
    assert row["mend"] == "sudo systemctl start docker"


@pytest.fixture
def full_disk(stack: Stack) -> Iterator[str]:
    """A volume with no room, by its name."""
    name, image = f"{stack.name}_full", stack.containers()["postgres"]["Image"]
    docker("volume", "create", "--opt=type=tmpfs", "--opt=device=tmpfs", "--opt=o=size=1m", name)
    fill = (
        "--entrypoint=sh",
        image,
        "-c",
        "touch -d '10 days ago' /full/old; cat /dev/zero >/full/x; echo full; sleep 600",
    )
    docker("run", "--detach", f"--name={name}", f"--volume={name}:/full", "--user=0", "--init", *fill)
    eventually("it is full", lambda: docker("logs", name))
    yield name
    docker("rm", "--force", name)
    docker("volume", "rm", name)


def taken_port() -> socket.socket:
    """Return a server on a port where the next one is nobody's by chance: below those that the kernel gives to clients."""
    for port in random.sample(range(20_000, 30_000), 100):
        with suppress(OSError):
            return socket.create_server(("127.0.0.1", port))
    pytest.fail("no port is free")


def break_what_can_be(stack: Stack, port: int, full_disk: str) -> "subprocess.Popen[bytes]":
    """Make faults that do not hide each other; return what holds a transaction open."""
    (stack.folder / "fault").mkdir()
    (stack.folder / "fault" / "sitecustomize.py").write_text(SLOW_CLOCK)
    (stack.folder / "fault.yaml").write_text(FAULTY_DOCTOR.replace("FULL", full_disk))
    files = "compose.yaml:compose.console.yaml:fault.yaml"
    stack.write_env(PUBLIC_HOST="factory.test", COMPOSE_FILE=files, MINIO_CONSOLE_PORT=str(port))
    entry = ("run", "--rm", "--no-deps", "-T", "--entrypoint")
    stack.compose(*entry, "sh", "secrets", "-euc", SPOIL_SECRETS)
    stack.compose(*entry, "python", "bucket", "-c", SPOIL_BUCKET)
    post(stack, "experiments/create", name="lost", artifact_location="s3://elsewhere/lost")
    iris = stack.versions()[stack.alias()]["run_id"]
    experiment = stack.api("runs/get", run_id=iris)["run"]["info"]["experiment_id"]
    heartbeat = {"key": "trainer_heartbeat", "value": str(time.time() - 3600)}
    post(stack, "runs/create", experiment_id=experiment, run_name="killed", tags=[heartbeat])
    version = stack.alias()
    post(stack, "registered-models/alias", "DELETE", name=MODEL, alias="Production")
    post(stack, "registered-models/alias", name=MODEL, alias="production", version=version)
    stack.compose("exec", "-T", "postgres", "psql", "-U", "postgres", "-c", SLOT)
    stack.compose("stop", "inference")
    out_of_memory(stack, "mlflow")
    near_its_limit_of_memory(stack, "postgres")
    docker("tag", f"{stack.name}/trainer", f"{stack.name}/of-before")
    docker("image", "rm", "--force", "--no-prune", f"{stack.name}/trainer")
    stack.write_env(POSTGRES_IMAGE="postgres:16-trixie", SIGNING_KEY="a secret itself")
    holding = stack.start("exec", "-T", "postgres", *OPEN_TRANSACTION)
    eventually("it is open", lambda: stack.compose("exec", "-T", "postgres", *TRANSACTIONS).stdout == "1\n")
    return holding


OPEN, SLOT_IS_LEFT = "a transaction has been open for", "the replication slot 'left' holds"
GUESSED = "POSTGRES_PASSWORD (postgres/superuser-password) is a word that is tried first"
FAULTS = {
    ("settings", "SIGNING_KEY itself stands in .env"),
    ("settings", "are not in force"),
    ("images", "/trainer"),
    ("ports", "minio, is taken by another program"),
    ("containers", "inference is not running"),
    ("containers", "mlflow was ended by the kernel for memory, of which it has 2,048 MB"),
    ("memory", "postgres uses "),
    ("mlflow", "Invalid Host header"),
    ("inference", "nothing answers"),
    ("backup", "there is none in ./backups"),
    ("postgres data", "the data are of Postgres 17"),
    ("postgres", OPEN),
    ("postgres", SLOT_IS_LEFT),
    ("postgres", "its disk"),
    ("growth", "minio-data got 1.0 MB in 10 days: if that goes on, the 0.0 MB that are free are full in 0 days"),
    ("secrets", "postgres/superuser-password is of 12345:999"),
    ("secrets", "bucket/mlflow-secret-key is empty"),
    ("secrets", GUESSED),
    ("disk", "minio-data: 0.0 of 0.0 GB free"),
    ("bucket", "the store's clock differs by"),
    ("bucket", "does not keep old versions"),
    ("bucket", "MLflow's user 'mlflow' may read other buckets"),
    ("artifacts", "a byte does not go up through MLflow: 500"),
    ("experiments", "'lost' has its files at 's3://elsewhere/lost'"),
    ("runs", "'killed'"),
    ("alias", "it has 'production', and case counts"),
}


def test_each_fault_is_named_in_one_run_and_what_its_line_names_mends_it(
    stack: Stack, doctor: Doctor, settings: None, full_disk: str
) -> None:
    with taken_port() as taken:
        holding = break_what_can_be(stack, taken.getsockname()[1], full_disk)
        rows = doctor.rows()
        found = {fault: of(rows, *fault) for fault in FAULTS}
        subprocess.run(
            ["sh", "-euc", found["settings", "SIGNING_KEY itself stands in .env"]["mend"]], cwd=stack.folder, check=True
        )
        assert "SIGNING_KEY_FILE=./secrets/signing_key\n" in (stack.folder / ".env").read_text()
        # That is no key, and the clock and the disk are the doctor's alone.
        del stack.settings["SIGNING_KEY"]
        stack.write_env()
        (stack.folder / "fault.yaml").write_text("services: {}")
        named = {name: row for (name, _), row in found.items() if row["mend"].startswith("docker")}
        held = [found["postgres", words] for words in (OPEN, SLOT_IS_LEFT)]
        doctor.mend(named["secrets"], named["alias"], *held, of(rows, "experiments", "'lost'"))
        holding.wait(60)
        given, *commands = found["secrets", GUESSED]["mend"].split("; ")
        assert (given, commands[-1]) == ("POSTGRES_PASSWORD_FILE out of .env", "docker compose up -d --wait")
        for command in commands[:-1]:
            doctor.mend({"mend": command})
        # Of several that name an `up`, with what they say of .env, there is one.
        up = ("ports", "postgres data", "images", "mlflow", "inference", "containers", "memory")
        # (The image of another Postgres, which is not to be had everywhere, is not wanted any more then.)
        doctor.mend(
            *(row for row in rows if row["name"] in up and UP in row["mend"].partition("scripts/base-images")[0])
        )
        doctor.mend(named["bucket"], named["runs"])
    eventually("the stack is well", doctor.is_content, seconds=120)
    docker("image", "rm", "--force", "--no-prune", f"{stack.name}/of-before")
    # Which harms nobody, and no line names.
    post(stack, "registered-models/alias", "DELETE", name=MODEL, alias="production")


def test_an_mlflow_that_refuses_the_name_that_containers_use_is_named_and_mended(stack: Stack, doctor: Doctor) -> None:
    other = stack.folder / "inside.yaml"
    other.write_text(NOT_INSIDE)
    with setting(stack, COMPOSE_FILE="compose.yaml:inside.yaml"):
        stack.compose("up", "--detach", "--no-deps", "--no-build", "mlflow")
        eventually("MLflow answers outside", lambda: stack.versions())
        row = of(doctor.rows(), "mlflow inside", "http://mlflow:5000 answers 403: Invalid Host header")
        what, _, command = row["mend"].partition(", then ")
        assert what == "MLFLOW_SERVER_ALLOWED_HOSTS as compose.yaml has it, in any other compose file"
        other.write_text("services: {}")
        doctor.mend(row | {"mend": command})
    eventually("the stack is well", doctor.is_content, seconds=120)


def test_a_changed_file_a_store_that_hangs_and_no_connections_left_are_named_and_mended(
    stack: Stack, doctor: Doctor
) -> None:
    version = stack.versions()[stack.alias()]
    model = version["source"].removeprefix("models:/")
    experiment = stack.api(f"logged-models/{model}")["model"]["info"]["experiment_id"]
    folder = f"{stack.mlflow_url}/api/2.0/mlflow-artifacts/artifacts/{experiment}/models/{model}/artifacts"
    url = f"{folder}/requirements.txt"
    before = requests.get(url, timeout=10).content
    other = re.sub(rb"(?m)^(scikit-learn|skops)==\S+", rb"\1==0.1", before)
    assert requests.put(url, other, timeout=10).status_code == 200
    try:
        rows = doctor.wrong()
        changed = f"version {version['version']}: its file 'requirements.txt' is not as it was signed"
        of(rows, "packages", "made with scikit-learn 0.1, and ")
        of(rows, "packages", "; skops 0.1, and ")
        doctor.mend(of(rows, "files", changed))
    finally:
        assert requests.put(url, before, timeout=10).status_code == 200
    taking = stack.start("exec", "-T", "mlflow", "python", "-c", TAKE_ALL_CONNECTIONS)
    used = ("exec", "-T", "postgres", "psql", "-U", "postgres", "-Atc", CONNECTIONS)
    eventually("all connections are taken", lambda: stack.compose(*used).stdout == "t\n")
    # The kernel may not manage to freeze what is busy.
    eventually("minio is frozen", lambda: not stack.compose("pause", "minio", check=False).returncode)
    try:
        rows = doctor.wrong()
        of(rows, "bucket", "does not answer")
        full = of(rows, "postgres", "it does not let MLflow in")
        assert full["mend"] == "docker compose restart mlflow"
        doctor.mend(of(rows, "containers", "minio is paused"), full)
    finally:
        stack.compose("unpause", "minio", check=False)
        taking.kill()
        taking.wait()
    eventually("the stack is well", doctor.is_content, seconds=120)
