"""The doctor's rows, each by what Docker, Postgres, S3 and the service say: what is wrong is named, with what mends it."""

import ast
import json
import os
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.message import Message
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import psycopg2
import pytest
from contract.errors import Refused
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from doctor import report
from doctor.host import backups, containers, engine, images, memory, names, packages, ports, settings
from doctor.host import command as on_host
from doctor.host.containers import Asked
from doctor.host.docker import HASH, SERVICE, Failed, Stack
from doctor.host.ports import Port
from doctor.patience import exit_code, look_at_all
from doctor.records import FAIL, OK, WARN, NotLookedAt, Row
from doctor.registry import model, schema
from doctor.registry.commands import EMBEDDED, STACK
from doctor.registry.database import Database
from doctor.stack import access, command, growth, postgres, replicas, store, tracking, volumes
from setup.secret_files import DERIVED, OWNERS, SECRETS, Owner

from tests.unit.compose_files import NAMES, services_of

STARTED = "2026-01-01T15:00:00.123456789Z"
UP = "docker compose up -d --wait"


def container(service: str, restart_count: int = 0, digest: str = "now", **state: Any) -> dict[str, Any]:
    """Return what `docker inspect` says, as far as it is read."""
    told = {"Status": "running", "Running": True, "ExitCode": 0, "OOMKilled": False, "StartedAt": STARTED}
    return {
        "Id": f"id-of-{service}",
        "RestartCount": restart_count,
        "State": told | state,
        "HostConfig": {"Memory": 300 * 1024**2},
        "Config": {"Labels": {SERVICE: service, HASH: digest}},
        "NetworkSettings": {"Ports": {}},
    }


def stack(*found: dict[str, Any], hashes: dict[str, str] | None = None, **services: dict[str, Any]) -> Stack:
    return Stack({"name": "test", "services": services}, found, hashes or {})


def only(rows: Iterator[Row] | Sequence[Row]) -> Row:
    (row,) = rows
    return row


# --- how it looks, and what it says ---------------------------------------------------------------------------------


def test_a_look_that_hangs_is_a_line_of_its_own_and_keeps_no_other_waiting() -> None:
    over = threading.Event()

    def hangs() -> list[Row]:
        over.wait()
        return []

    started = time.monotonic()
    rows = look_at_all({"one": hangs, "two": hangs, "three": lambda: [Row("three", OK, "fine")]}, 0.2)
    assert time.monotonic() - started < 2
    over.set()
    assert [(row.name, row.status) for row in rows] == [("one", WARN), ("two", WARN), ("three", OK)]
    assert rows[0].says == "not looked at: it did not answer within 0.2 s; --patience SECONDS waits longer"


def test_what_could_not_be_looked_at_says_why_and_is_never_ok() -> None:
    def blocked() -> list[Row]:
        raise NotLookedAt("MLflow does not answer")

    def broken() -> list[Row]:
        raise ZeroDivisionError("division by zero")

    rows = look_at_all({"one": blocked, "two": broken}, 5)
    assert rows == [
        Row("one", WARN, "not looked at: MLflow does not answer"),
        Row("two", WARN, "not looked at: ZeroDivisionError: division by zero"),
    ]
    assert exit_code(rows) == 0
    assert exit_code([*rows, Row("three", FAIL, "")]) == 1


def test_a_line_has_status_name_cause_and_command_and_what_a_terminal_would_obey_is_shown() -> None:
    rows = [Row("disk", OK, "room"), Row("alias", FAIL, "it has '\x1b[2J'", "docker compose run --rm trainer")]
    assert report.text(rows).splitlines() == [
        "ok    disk   room",
        "FAIL  alias  it has '\\x1b[2J'  ->  docker compose run --rm trainer",
        "1 ok, 0 warn, 1 FAIL",
    ]
    assert report.of_json(report.as_json(rows)) == rows
    assert json.loads(report.as_json(rows))[0] == {"name": "disk", "status": "ok", "says": "room", "mend": ""}


def test_every_line_of_what_is_wrong_names_what_mends_it() -> None:
    """But for what was not looked at, of which another line has the cause."""
    folder = Path(report.__file__).parent
    calls = [node for file in folder.rglob("*.py") for node in ast.walk(ast.parse(file.read_text()))]
    made = [call for call in calls if isinstance(call, ast.Call) and ast.unparse(call.func) == "Row"]
    wrong = [ast.unparse(call) for call in made if len(call.args) == 3 and ast.unparse(call.args[1]) != "OK"]
    assert len(made) > 50
    assert [text for text in wrong if "not looked at" not in text] == []


# --- the host's half ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hangs", "row"),
    [
        ("info", ("engine", FAIL, "the Docker engine cannot be used: `docker info` did not answer within 0.4 s")),
        ("compose", ("settings", FAIL, "Compose cannot read them: `docker compose` did not answer within 0.4 s")),
    ],
)
def test_docker_itself_is_waited_for_no_longer_than_the_patience_says(
    tmp_path: Path, hangs: str, row: tuple[str, str, str]
) -> None:
    """It would hang for ten minutes; how long it takes is not measured."""
    docker = tmp_path / "docker"
    docker.write_text(
        f'#!/bin/sh\ncase "$*" in *config*|info*) [ "$1" != {hangs} ] || exec sleep 600;; esac\necho 26.1\n'
    )
    docker.chmod(0o755)
    result = subprocess.run(
        [sys.executable, Path(report.__file__).parents[2] / "scripts" / "doctor", "--json", "--patience", "0.4"],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    found = [(told["name"], told["status"], told["says"]) for told in json.loads(result.stdout)]
    assert (result.returncode, row in found) == (1, True), found


def docker_info(compose: str | None = "2.26.1-4", buildx: bool = True, **told: Any) -> dict[str, Any]:
    """Return what `docker info` says, as far as it is read."""
    plugins = {"compose": compose, "buildx": "0.13.1+ds1" if buildx else None}
    found = [{"Name": name, "Version": version} for name, version in plugins.items() if version]
    server = {"ServerVersion": "26.1.5+dfsg1", "Architecture": "x86_64", "CgroupVersion": "2"}
    return {**server, "MemoryLimit": True, "PidsLimit": True, "ClientInfo": {"Plugins": found}, **told}


@pytest.mark.parametrize(
    ("told", "status", "says"),
    [
        ({}, OK, "Docker Engine 26.1.5+dfsg1, Compose 2.26.1-4, buildx 0.13.1, amd64, cgroup v2"),
        ({"ServerVersion": "29.0.1", "compose": "v2.40.3", "Architecture": "aarch64"}, OK, "Compose 2.40.3, buildx"),
        ({"ServerVersion": "20.10.24"}, FAIL, "Docker Engine is 20.10.24; 25.0 is the oldest"),
        ({"compose": "v2.9.0"}, FAIL, "Compose is v2.9.0; 2.24 is the oldest"),
        ({"compose": None}, FAIL, "docker compose cannot be used"),
        ({"buildx": False}, FAIL, "there is no plugin buildx"),
        ({"Architecture": "riscv64"}, WARN, "its architecture is riscv64"),
        ({"MemoryLimit": False, "PidsLimit": False, "CgroupVersion": "1"}, WARN, "no limit of memory and processes (cgroup v1)"),
    ],
)  # fmt: skip
def test_an_engine_that_is_too_old_cannot_build_or_keeps_no_limit_is_told(
    told: dict[str, Any], status: str, says: str
) -> None:
    row = only(engine.judged(docker_info(**told)))
    assert (row.status, says in row.says) == (status, True), row


def test_a_secret_in_env_a_file_that_is_not_there_and_settings_not_in_force_are_told(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("x")
    mounts = [
        {"source": str(tmp_path / "there"), "target": "/given/SIGNING_KEY"},
        {"source": str(tmp_path / "gone"), "target": "/given/MINIO_ROOT_PASSWORD"},
    ]
    secrets = {"environment": {"POSTGRES_PASSWORD": "set", "SIGNING_KEY": ""}, "volumes": mounts}
    rows = list(settings.look(stack(container("mlflow", digest="before"), hashes={"mlflow": "now"}, secrets=secrets)))
    assert [row.status for row in rows] == [FAIL, FAIL, WARN]
    assert "POSTGRES_PASSWORD_FILE=./secrets/postgres_password" in rows[0].mend
    assert f"MINIO_ROOT_PASSWORD_FILE names {tmp_path / 'gone'}" in rows[1].says
    assert "mlflow" in rows[2].says
    assert rows[2].mend == UP
    assert only(settings.look(stack(container("mlflow"), hashes={"mlflow": "now"}))).status == OK


def test_a_given_secret_that_others_may_read_is_told_and_chmod_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("key.pem", "certificate.pem", "not-given"):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o644)
    monkeypatch.setattr(settings, "NOT_GIVEN", tmp_path / "not-given")
    monkeypatch.setattr(Path, "parents", [tmp_path])  # those of a test's folder are closed to others
    files = {"SIGNING_KEY": "key.pem", "TLS_CERTIFICATE": "certificate.pem", "BACKUP_PASSWORD": "not-given"}
    mounts = [{"source": str(tmp_path / file), "target": f"/given/{name}"} for name, file in files.items()]
    found = stack(secrets={"volumes": mounts})
    tmp_path.chmod(0o755)
    row = only(settings.look(found))
    assert row.status == WARN
    assert f"SIGNING_KEY_FILE names {tmp_path / 'key.pem'}, which others on this machine may read" in row.says
    tmp_path.chmod(0o700)
    assert only(settings.look(found)).status == OK
    tmp_path.chmod(0o755)
    subprocess.run(row.mend.split(), check=True)
    assert only(settings.look(found)).status == OK


@pytest.mark.parametrize("before", ["SIGNING_KEY=a secret", "A=1\nSIGNING_KEY=a/secret|&\nB=2"])
def test_a_secret_that_stands_in_env_is_moved_into_a_file_by_the_command_that_its_line_names(
    tmp_path: Path, before: str
) -> None:
    (tmp_path / ".env").write_text(f"{before}\n")
    given = {"environment": {"SIGNING_KEY": "set"}}
    row = only(settings.look(stack(secrets=given), tmp_path / ".env"))
    subprocess.run(["sh", "-euc", row.mend], cwd=tmp_path, check=True)
    file, secret = tmp_path / "secrets" / "signing_key", before.partition("SIGNING_KEY=")[2].splitlines()[0]
    assert file.read_text() == f"{secret}\n"
    assert file.stat().st_mode & 0o077 == 0
    now = before.replace(f"SIGNING_KEY={secret}", "SIGNING_KEY_FILE=./secrets/signing_key")
    assert (tmp_path / ".env").read_text() == f"{now}\n"


@pytest.mark.parametrize(
    "env",
    ["", 'SIGNING_KEY="-----BEGIN\nEND-----"\n', "SIGNING_KEY='it is'\n", "SIGNING_KEY=a # b\n", "SIGNING_KEY=a$B\n"],
)
def test_a_secret_of_several_lines_or_of_the_shell_is_told_what_to_do_with(tmp_path: Path, env: str) -> None:
    (tmp_path / ".env").write_text(env)
    row = only(settings.look(stack(secrets={"environment": {"SIGNING_KEY": "set"}}), tmp_path / ".env"))
    assert (
        row.mend
        == "write it into ./secrets/signing_key, unset SIGNING_KEY, and in .env SIGNING_KEY_FILE=./secrets/signing_key"
    )


def listening(service: str, port: int, address: str = "127.0.0.1") -> dict[str, Any]:
    return {"ports": [{"host_ip": address, "published": str(port), "target": 5000}]}


def test_a_port_that_another_program_has_is_told_with_a_free_one_and_ours_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        row = only(ports.look(stack(mlflow=listening("mlflow", port))))
        ours = container("mlflow")
        ours["NetworkSettings"]["Ports"] = {
            "5000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}],
            "81/tcp": None,
        }
        assert only(ports.look(stack(ours, mlflow=listening("mlflow", port)))).status == OK
    assert row.status == FAIL
    assert f"127.0.0.1:{port}, for mlflow, is taken" in row.says
    setting, _, number = row.mend.split()[0].partition("=")
    assert setting == "MLFLOW_PORT"
    assert not ports.is_taken(Port("mlflow", "127.0.0.1", int(number)))


@pytest.mark.parametrize(("public", "status"), [("localhost", WARN), ("models.example.com", OK)])
def test_a_port_that_other_machines_reach_is_a_warning_unless_a_name_for_them_is_set(public: str, status: str) -> None:
    inference = {"environment": {"INFERENCE_PUBLIC_URL": f"http://{public}:1235"}}
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    row = only(ports.look(stack(mlflow=listening("mlflow", port, "0.0.0.0"), inference=inference)))  # noqa: S104
    assert row.status == status
    assert "BIND_ADDRESS=127.0.0.1" in row.mend or status == OK


def test_each_name_that_other_machines_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    urls = dict.fromkeys(("mlflow", "inference"), "https://*.ml.lan")
    services = {name: found | listening(name, port, "127.1.2.3") for name, found in addressed(**urls).items()}
    services["edge"] = listening("edge", port, "0.0.0.0")  # noqa: S104
    assert only(ports.look(stack(**services))).says.endswith(
        "reached by other machines too, as mlflow.ml.lan, models.ml.lan"
    )


SAYS_LITTLE = Asked(lambda _: "its words", lambda _: False)
# Ahead of now by as much as the tests may take until they come here.
LATELY = time.strftime("%Y-%m-%dT%H:%M:%S.5Z", time.gmtime(time.time() + 3600))


@pytest.mark.parametrize(
    ("state", "says", "mend"),
    [
        ({}, None, ""),
        (
            {"Status": "restarting", "Running": True, "restart_count": 7},
            "starts again and again (7 times): its words",
            UP,
        ),
        ({"StartedAt": LATELY, "restart_count": 3}, "starts again and again (3 times): its words", UP),
        ({"restart_count": 3}, None, ""),
        (
            {"OOMKilled": True},
            "was ended by the kernel for memory, of which it has 300 MB",
            f"MLFLOW_MEMORY=600m in .env, then {UP}",
        ),
        ({"Status": "exited", "Running": False, "ExitCode": 137}, "is not running (exited, exit code 137)", UP),
        ({"Status": "paused"}, "is paused", "docker compose unpause mlflow"),
        ({"Health": {"Status": "healthy"}}, None, ""),
        ({"Health": {"Status": "starting"}}, "is starting", "logs"),
        ({"Health": {"Status": "unhealthy", "Log": [{"Output": "403 to Host mlflow:5000"}]}}, "403 to Host", "logs"),
    ],
)
def test_a_container_that_is_not_well_is_told(state: dict[str, Any], says: str | None, mend: str) -> None:
    row = containers.running("mlflow", container("mlflow", **state), SAYS_LITTLE)
    if says is None:
        assert row is None
    else:
        assert says in row.says
        assert mend in row.mend


def test_a_container_that_the_kernel_ends_again_and_again_is_told_though_it_has_forgotten_it() -> None:
    again = container("mlflow", Status="restarting", restart_count=7)
    row = containers.running("mlflow", again, Asked(lambda _: "its words", lambda found: found == "id-of-mlflow"))
    assert "was ended by the kernel for memory" in row.says


def test_where_a_container_has_no_limit_it_is_the_machine_that_has_no_memory_left() -> None:
    unlimited = container("proxy", OOMKilled=True) | {"HostConfig": {"Memory": 0}}
    assert "this machine's is used up" in containers.running("proxy", unlimited, SAYS_LITTLE).says


def test_a_job_that_failed_is_told_with_its_last_words_and_one_that_waits_for_it_too() -> None:
    def job(status: str, code: int) -> Row | None:
        ended = container("bootstrap", Status=status, Running=status == "running", ExitCode=code)
        return containers.job("bootstrap", ended, Asked(lambda _: "trainer: MLflow refuses", lambda _: False))

    assert job("exited", 0) is None
    assert job("running", 0) is None
    assert "the job bootstrap failed with exit code 4: trainer: MLflow refuses" in job("exited", 4).says
    assert "what it waits for has failed" in job("created", 0).says


class Docker:
    """Answers what a test gives for a command, all of it or its first word, and refuses everything else."""

    def __init__(self, **said: str) -> None:
        self._said = said

    def __call__(self, *arguments: str, seconds: float) -> str:
        said = self._said.get("_".join(arguments), self._said.get(arguments[0]))
        if said is not None:
            return said
        raise Failed(f"Error: no such {' '.join(arguments[:1])}: {arguments[-1]}")


def test_a_container_near_its_limit_of_memory_is_told_with_both_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    found = stack(container("mlflow"), container("inference"), mlflow={}, inference={})

    def used(mlflow: str) -> list[Row]:
        told = [{"ID": "id-of-mlflow", "MemPerc": mlflow}, {"ID": "id-of-inference", "MemPerc": "12.50%"}]
        monkeypatch.setattr(memory, "docker", Docker(stats="\n".join(map(json.dumps, told))))
        return list(memory.look(found, 1))

    row = only(used("94.00%"))
    assert (row.status, row.mend) == (WARN, f"MLFLOW_MEMORY=600m in .env, then {UP}")
    assert "mlflow uses 282 of its 300 MB (94%)" in row.says
    assert only(used("40.00%")) == Row("memory", OK, "mlflow uses 120 of its 300 MB (40%), the others less of theirs")
    assert "inference uses" in only(used("--")).says  # it has ended meanwhile


BUILT = {"image": "test/mlflow", "build": {"args": {"PYTHON_IMAGE": "python:3", "PIP_INDEX_URL": "x"}}}


@pytest.mark.parametrize(
    ("here", "row"),
    [
        (
            {"image_inspect_test/mlflow": '[{"Config": {"Labels": null}}]', "image_inspect_postgres:17": images.STAND_IN},
            Row("images", OK, "all 2 are on this machine; postgres:17 is a stand-in"),
        ),
        (
            {"image_inspect_postgres:17": images.STAND_IN, "image_inspect_python:3": images.STAND_IN},
            Row("images", FAIL, "not built yet: test/mlflow", UP),
        ),
        (
            {"image_inspect_postgres:17": images.STAND_IN, "manifest_inspect_python:3": "{}"},
            Row("images", FAIL, "not built yet: test/mlflow; of their base images python:3 can be pulled", UP),
        ),
        (
            {"image_inspect_postgres:17": images.STAND_IN},
            Row("images", FAIL, "not built yet: test/mlflow; of their base images python:3 cannot be pulled "
                "(python:3: Error: no such manifest: python:3), and `scripts/base-images` makes a stand-in",
                f"scripts/base-images; {UP}"),
        ),
        (
            {"image_inspect_test/mlflow": '[{"Config": {"Labels": {}}}]', "manifest_inspect_postgres:17": "{}"},
            Row("images", FAIL, "not on this machine: postgres:17, which can be pulled", UP),
        ),
    ],
)  # fmt: skip
def test_images_that_are_missing_are_told_with_what_brings_them(
    here: dict[str, str], row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = json.dumps([{"Config": {"Labels": {images.LABEL: images.STAND_IN}}}])
    said = {words: stand_in if answer == images.STAND_IN else answer for words, answer in here.items()}
    monkeypatch.setattr(images, "docker", Docker(**said))
    assert only(images.look(stack(mlflow=BUILT, postgres={"image": "postgres:17"}), 1)) == row


def test_a_service_that_has_no_container_is_told_and_a_stack_that_is_well_is_one_line() -> None:
    services = {"mlflow": {}, "secrets": {"restart": "no"}}
    done = container("secrets", Status="exited", Running=False)
    assert "the stack is down, or was never up" in only(containers.look(stack(**services), 1)).says
    row = only(containers.look(stack(done, **services), 1))
    assert (row.says, row.mend) == ("mlflow is not there", UP)
    row = only(containers.look(stack(done, container("mlflow"), **services), 1))
    assert row == Row("containers", OK, "mlflow run and are healthy; the jobs are done")


def test_a_container_that_is_off_a_network_is_told_with_what_puts_it_back() -> None:
    config = {
        "name": "test",
        "services": {"inference": {"networks": {"tracking": None, "serving": None}}},
        "networks": {"tracking": {"name": "test_tracking"}, "serving": {"name": "test_serving"}},
    }
    found = container("inference") | {"Name": "/test-inference-2"}
    found["NetworkSettings"]["Networks"] = {"test_serving": {}}
    row = only(containers.look(Stack(config, (found,), {"inference": "now"}), 1))
    assert (row.status, row.mend) == (
        FAIL,
        "docker network connect --alias inference test_tracking test-inference-2",
    )
    assert "test-inference-2 is not in the network tracking" in row.says
    # What was made with other settings is told as such.
    other = Stack(config, (found,), {"inference": "after a change"})
    assert only(containers.look(other, 1)).status == OK


class Refusing(BaseHTTPRequestHandler):
    """Answers to localhost alone, as MLflow does."""

    def do_GET(self) -> None:
        known = self.headers["Host"].startswith("localhost")
        content = b"{}" if known else b"Invalid Host header - possible DNS rebinding attack detected"
        self.send_response(200 if known else 403)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def refusing() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


class Edge(Refusing):
    """Answers to mlflow.localhost alone, as Caddy does where the prediction service is gone."""

    def do_GET(self) -> None:
        self.send_response(200 if self.headers["Host"].startswith("mlflow.localhost") else 502)
        self.send_header("Content-Length", "0")
        self.end_headers()


class Keyed(Refusing):
    """Asks for an API key, as the prediction service does."""

    version: str | None = None

    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("Content-Length", "0")
        if self.version:
            self.send_header("X-Model-Version", self.version)
        self.end_headers()


@pytest.fixture
def refusing_keys() -> Iterator[Callable[[str | None], int]]:
    """Start a service with API keys on, which serves that version, or none; return its port."""
    with ExitStack() as ended:

        def start(version: str | None) -> int:
            server = ended.enter_context(HTTPServer(("127.0.0.1", 0), type("Serving", (Keyed,), {"version": version})))
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            ended.callback(thread.join)
            ended.callback(server.shutdown)
            return int(server.server_address[1])

        yield start


def looked_up(found: Stack) -> Row:
    """Return the row of the one service that people address."""
    (port,) = names.addressed(found)
    return only(names.look(found, port, 5))


def test_a_name_that_is_refused_is_told_with_the_setting_that_lets_it_in(refusing: int) -> None:
    row = looked_up(stack(mlflow=listening("mlflow", refusing)))
    assert row.status == FAIL
    assert f"answers 403 to the name 127.0.0.1:{refusing}: Invalid Host header" in row.says
    assert row.mend == f"PUBLIC_HOST=127.0.0.1 in .env, then {UP}"


class Open(Refusing):
    """Answers whoever asks."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.mark.parametrize(("address", "status"), [("127.0.0.1", OK), ("0.0.0.0", WARN)])  # noqa: S104
def test_predictions_that_other_machines_reach_without_a_key_are_told(address: str, status: str) -> None:
    with HTTPServer(("127.0.0.1", 0), Open) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        found = looked_up(stack(inference=listening("inference", server.server_address[1], address)))
        server.shutdown()
        thread.join()
    assert found.status == status
    assert ("predictions need no API key" in found.says, found.mend == "scripts/api-key add NAME") == (
        (status == WARN,) * 2
    )


def test_predictions_that_ask_for_a_key_may_be_reached(refusing_keys: Callable[[str | None], int]) -> None:
    port = refusing_keys("3")
    assert looked_up(stack(inference=listening("inference", port, "0.0.0.0"))).status == OK  # noqa: S104


def test_a_service_that_does_not_listen_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    row = looked_up(stack(inference=listening("inference", port)))
    assert row.status == FAIL
    assert f"nothing answers at 127.0.0.1:{port}" in row.says


def addressed(**urls: str) -> dict[str, dict[str, Any]]:
    """Return the services of a stack that is published, as the compose files tell them their addresses."""
    return {
        "mlflow": listening("mlflow", 5000) | {"environment": {"MLFLOW_PUBLIC_URL": urls["mlflow"]}},
        "inference": listening("inference", 1235) | {"environment": {"INFERENCE_PUBLIC_URL": urls["inference"]}},
    }


def test_each_name_of_public_host_and_public_url_is_asked_for_by_itself() -> None:
    url = "https://*.ml.lan http://a.lan, b.lan:5000"
    found = stack(**addressed(mlflow=url, inference=" http://a.lan,b.lan:1235"))
    asked = names.names(Port("mlflow", "127.0.0.1", 5000), found, "mlflow")
    assert asked == ["localhost:5000", "127.0.0.1:5000", "mlflow.ml.lan", "a.lan:5000", "b.lan:5000"]
    asked = names.names(Port("proxy", "127.0.0.1", 1235), found, "inference")
    assert asked == ["localhost:1235", "127.0.0.1:1235", "a.lan:1235", "b.lan:1235"]


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[int]:
    """The port of a server of HTTPS, of which no client knows the certificate, that answers to mlflow.localhost alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([]), datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    pem = tmp_path / "edge.pem"
    pem.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + builder.sign(key, SHA256()).public_bytes(Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with HTTPServer(("127.0.0.1", 0), Edge) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_the_edge_is_asked_by_https_under_each_name_that_it_serves(edge: int) -> None:
    def looked(sites: str) -> Row:
        environment = {"EDGE_URL": f" https://*.localhost:{edge}", "EDGE_SITES": sites}
        ports_of_it = [
            {"host_ip": "127.0.0.1", "published": str(edge), "target": 8443},
            {"host_ip": "127.0.0.1", "published": "1", "target": 8080},
        ]
        return looked_up(stack(edge={"environment": environment, "ports": ports_of_it}))

    assert looked("mlflow,minio") == Row("edge", OK, f"answers as mlflow.localhost:{edge}")
    row = looked("mlflow,models")
    assert (row.status, row.mend) == (FAIL, "docker compose logs --tail 20 inference")
    assert f"answers 502 to the name models.localhost:{edge}" in row.says


def test_the_two_ports_of_the_edge_have_a_setting_each() -> None:
    service = {"ports": [{"published": "443", "target": 8443}, {"published": "80", "target": 8080}]}
    assert [port.setting for port in ports.published({"edge": service})] == ["HTTPS_PORT", "HTTP_PORT"]


def test_what_a_profile_has_is_looked_at_where_somebody_has_started_it() -> None:
    services: dict[str, Any] = {
        "mlflow": {},
        "reviewer": {"profiles": ["reviewer"]},
        "backup-schedule": {"profiles": ["backup"]},
    }
    found = stack(container("mlflow"), **services)
    assert (list(found.services), found.up) == (["mlflow"], UP)
    ended = container("reviewer", Status="exited", Running=False, ExitCode=1)
    row = only(containers.look(stack(container("mlflow"), ended, **services), 1))
    assert "reviewer is not running" in row.says
    assert row.mend == "docker compose --profile reviewer up -d --wait"
    killed = containers.running("reviewer", container("reviewer", OOMKilled=True), SAYS_LITTLE)
    assert killed is not None
    assert "TRAINER_MEMORY" in killed.mend


def test_more_memory_is_asked_for_by_the_setting_that_the_service_has() -> None:
    seen = set()
    for file in NAMES:
        services = services_of(file).items()
        for name, limit in ((name, one["mem_limit"]) for name, one in services if "mem_limit" in one):
            setting = containers.more_memory(name, 64, UP).partition("=")[0]
            assert limit.startswith(f"${{{setting}:-" if setting else "64m"), name
            seen.add((name, bool(setting)))
    assert {("mlflow", True), ("bootstrap", True), ("audit-log", False), ("backup-figures", False)} <= seen
    killed = containers.running("audit-log", container("audit-log", OOMKilled=True), SAYS_LITTLE)
    assert killed is not None
    assert (killed.status, killed.mend) == (FAIL, "")


def test_with_a_login_an_open_port_is_not_said_to_ask_for_none() -> None:
    def said(login: str) -> str:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        mlflow = listening("mlflow", port, "0.0.0.0") | {"environment": {"LOGIN": login}}  # noqa: S104
        return only(ports.look(stack(mlflow=mlflow))).says

    assert "nothing asks them for a login" in said("")
    assert "MLflow alone asks for a login" in said("on")


@pytest.mark.parametrize(
    ("hours", "scheduled", "status"),
    [(1, False, OK), (24 * 6, False, OK), (24 * 8, False, WARN), (25, True, OK), (27, True, FAIL), (None, False, WARN)],
)
def test_a_backup_is_as_old_as_its_newest_snapshot(
    tmp_path: Path, hours: int | None, scheduled: bool, status: str
) -> None:
    if hours is not None:
        (tmp_path / "snapshots").mkdir()
        (tmp_path / "config").write_text("")
        for age in (hours, 24 * 100):
            (tmp_path / "snapshots" / f"{age}").write_text("")
            os.utime(tmp_path / "snapshots" / f"{age}", (time.time() - age * 3600,) * 2)
    row = only(backups.look(backups.of_folder(str(tmp_path)), "make backup", scheduled))
    assert row.status == status
    assert row.mend.startswith("make backup") == (status != OK)


@pytest.mark.parametrize(("whole", "says"), [(True, "is 8 days old"), (False, "no whole one")])
def test_a_backup_that_lacks_files_of_a_model_in_use_is_not_the_newest(tmp_path: Path, whole: bool, says: str) -> None:
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "config").write_text("")
    for name, days in (("aa11", 0), ("bb22", 1), *([("cc33", 8)] if whole else [])):
        (tmp_path / "snapshots" / f"{name}0123").write_text("")
        os.utime(tmp_path / "snapshots" / f"{name}0123", (time.time() - days * 86_400,) * 2)
    (tmp_path / backups.LIST_OF_INCOMPLETE).write_text("bb22\naa110123\n")
    row = only(backups.look(backups.of_folder(str(tmp_path)), "make backup"))
    assert (row.status, says in row.says) == (WARN, True)


@pytest.mark.parametrize(
    ("began", "check", "restore", "expected"),
    [
        (0, None, None, [(OK, "nobody has read all of them yet, and they began 0 hours ago"), (OK, "was ever brought back")]),
        (36, None, None, [(WARN, "nobody has read all of them yet"), (OK, "was ever brought back, and they began 36 days")]),
        (201, None, None, [(WARN, "began 201 days ago; it should be every 35 days"), (WARN, "was ever brought back")]),
        (300, (3, "whole"), (100, "0123abcd45"), [(OK, "was whole"), (OK, "backup 0123abcd came back 100 days ago")]),
        (300, (36, "whole"), (201, "latest"), [(WARN, "read 36 days ago"), (WARN, "backup latest came back 201 days ago")]),
        (300, (0, "damaged"), None, [(FAIL, "0 hours ago, found them damaged"), (WARN, "was ever brought back")]),
    ],
)  # fmt: skip
def test_a_check_and_a_restore_that_were_long_ago_or_never_are_told(
    tmp_path: Path,
    began: int,
    check: tuple[int, str] | None,
    restore: tuple[int, str] | None,
    expected: list[tuple[str, str]],
) -> None:
    def looked() -> list[Row]:
        known = backups.of_folder(str(tmp_path))
        return [*backups.look_at_check(known), *backups.look_at_restore(known, "drill")]

    assert looked() == []
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "config").write_text("")
    os.utime(tmp_path / "config", (time.time() - began * 86_400,) * 2)
    for name, noted in ((backups.LAST_CHECK, check), (backups.LAST_RESTORE, restore)):
        if noted:
            then = datetime.now(UTC) - timedelta(days=noted[0])
            (tmp_path / name).write_text(f"{then.isoformat(timespec='seconds')} {noted[1]}\n")
    for row, (status, says) in zip(looked(), expected, strict=True):
        assert (row.status, says in row.says) == (status, True), row
    (tmp_path / backups.LAST_CHECK).write_text("yesterday\n")
    with pytest.raises(NotLookedAt, match=r"last-check in .* cannot be read"):
        looked()


def test_a_drill_takes_no_port_of_the_stack_and_removes_nothing_that_it_has_not_brought(tmp_path: Path) -> None:
    folder = tmp_path / "clone"
    (folder / "scripts").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    for name in (folder / "scripts" / "restore", tmp_path / "bin" / "docker"):
        name.write_text(f'#!/bin/sh\necho "{name.name} $COMPOSE_PROJECT_NAME $COMPOSE_FILE $*"; exit ${{REFUSED:-0}}\n')
        name.chmod(0o755)

    def printed(services: dict[str, Any], **environ: str) -> list[str]:
        path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
        command = ["sh", "-c", backups.drill(services)]
        environ |= {"PATH": path, "COMPOSE_FILE": "compose.yaml:compose.edge.yaml"}
        return subprocess.run(command, cwd=folder, env=environ, stdout=subprocess.PIPE, text=True).stdout.splitlines()

    assert printed({}) == [
        "restore drill compose.yaml ",
        "docker drill compose.yaml compose --profile * down --volumes",
    ]
    assert printed({}, REFUSED="1") == ["restore drill compose.yaml "]
    external = "compose.yaml:compose.external-postgres.yaml:compose.external-s3.yaml"
    assert printed({"postgres": {"scale": 0}, "minio": {"scale": 0}})[0] == f"restore drill {external} "


ELSEWHERE = "s3:https://store.example/backups"


def told(*snapshots: tuple[float, str, str], began: float | None = 300) -> str:
    """Return what `backup told` prints of snapshots: how many days ago, whose, and their tags; `began` in days too."""

    def when(days: float) -> str:
        # As restic has it: to the nanosecond.
        return (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.123456789Z")

    found = [{"time": when(days), "hostname": host, "tags": tags.split()} for days, host, tags in snapshots]
    return json.dumps({"began": when(began) if began else None, "snapshots": found})


WHOLE, LACKING = "mlflow-stack postgres-17", "mlflow-stack-incomplete postgres-17"
CHECKED, CAME_BACK = "mlflow-stack-last-check whole", "mlflow-stack-last-restore 0123abcd"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("null", [(WARN, f"there is none in {ELSEWHERE}")]),
        (
            told(began=36),
            [(WARN, "there is none in"), (WARN, "nobody has read all of them yet, and they began 36 days ago"), (OK, "36 days ago")],
        ),
        (
            told((1, "test", LACKING), (0, "other", WHOLE), (0, "test", CHECKED), (1, "test", CAME_BACK), began=None),
            [(WARN, "there is no whole one in"), (OK, "was read 0 hours ago"), (OK, "backup 0123abcd came back 24 hours ago")],
        ),
        (
            # A drill is another project, and what it has tried is the same repository.
            told((300, "test", WHOLE), (8, "test", WHOLE), (3, "test", CHECKED), (250, "drill", CAME_BACK), began=None),
            [(WARN, "is 8 days old"), (OK, "was read 3 days ago, and was whole"), (WARN, "came back 250 days ago")],
        ),
        (
            # An older note that was not let go.
            told((0.05, "test", WHOLE), (1, "test", "mlflow-stack-last-check damaged"), (4, "test", CHECKED)),
            [(OK, f"in {ELSEWHERE} is 1 hours old"), (FAIL, "found them damaged"), (WARN, "ever brought back, and they began 300 days")],
        ),
    ],
    ids=["no repository", "an empty one", "of another stack, and one that lacks files", "old ones", "damaged"],
)  # fmt: skip
def test_of_backups_on_another_machine_all_is_told_by_their_snapshots(
    said: str, expected: list[tuple[str, str]]
) -> None:
    rows = list(backups.look_elsewhere(lambda: backups.told(ELSEWHERE, "test", said), "make backup", "drill", False))
    assert [row.name for row in rows] == ["backup", "backup check", "restore"][: len(expected)]
    for row, (status, says) in zip(rows, expected, strict=True):
        assert (row.status, says in row.says) == (status, True), row


def test_what_another_image_says_of_backups_elsewhere_is_not_taken_for_anything() -> None:
    for said in ("backup: there is no command 'told'", "{}", '{"began": "yesterday", "snapshots": []}'):
        with pytest.raises(NotLookedAt, match="is another one's"):
            backups.told(ELSEWHERE, "test", said)


def test_another_machine_is_not_asked_where_that_would_start_or_build_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    services: dict[str, Any] = {
        "backup": {"environment": {"BACKUP_REPOSITORY": ELSEWHERE}},
        "backup-look": {"image": "it"},
    }

    def said(*found: dict[str, Any]) -> str:
        look = on_host._of_backups(stack(*found, **services), 1)
        return only(look_at_all(look, 5)).says

    assert said() == "not looked at: the stack is down, or was never up"
    monkeypatch.setattr(images, "found", lambda *_: {})
    assert "is not built; docker compose run --rm backup list builds it" in said(container("mlflow"))


def test_the_page_for_teams_has_the_drill_that_the_doctor_names() -> None:
    assert f"    {backups.drill({})}\n" in (Path(__file__).parents[2] / "docs" / "team.md").read_text()


def test_the_drill_of_backups_elsewhere_has_the_overlay_that_reaches_them() -> None:
    assert "COMPOSE_FILE=compose.yaml:compose.remote-backup.yaml " in backups.drill({}, "sftp:me@nas:/backups")


# --- the container's half -------------------------------------------------------------------------------------------


def test_data_of_another_postgres_are_told_with_the_image_that_starts_on_them(tmp_path: Path) -> None:
    (tmp_path / "postgres-data").mkdir()
    assert list(volumes.look_at_postgres(tmp_path, "postgres:17-trixie")) == []  # an external one has none here
    (tmp_path / "postgres-data" / "PG_VERSION").write_text("17\n")
    assert only(volumes.look_at_postgres(tmp_path, "postgres:17-trixie")).status == OK
    row = only(volumes.look_at_postgres(tmp_path, "mirror.example:5000/postgres:18.1-trixie"))
    assert (row.status, row.mend) == (FAIL, f"POSTGRES_IMAGE=mirror.example:5000/postgres:17-trixie in .env, then {UP}")
    with pytest.raises(NotLookedAt, match="its name does not say"):
        list(volumes.look_at_postgres(tmp_path, "our/postgres"))


@pytest.fixture
def secret_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All files of secrets, of whoever runs the tests."""
    own = {name: Owner(os.getuid(), os.getgid(), owner.mode) for name, owner in volumes.MOUNTED.items()}
    monkeypatch.setattr(volumes, "MOUNTED", own)
    values = {file: secret.make() for secret in SECRETS for file in secret.files}
    for file in [*values, *DERIVED, "mlflow/backend-store-uri", "database/backend-store-uri"]:
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(values.get(file, "x"))
        path.chmod(own[path.parent.name].mode | 0o200)
    return tmp_path


def test_a_secret_that_others_may_read_and_one_that_is_missing_are_told(secret_files: Path) -> None:
    assert only(volumes.look_at_secrets(secret_files)).status == OK
    (secret_files / "mlflow" / "pgpass").chmod(0o644)
    (secret_files / "minio" / "root-password").unlink()
    missing, readable = volumes.look_at_secrets(secret_files)
    assert missing.says == "minio/root-password is not there"
    assert "mlflow/pgpass is of" in readable.says
    assert "with mode 0644; expected" in readable.says
    assert {missing.mend, readable.mend} == {"docker compose run --rm secrets"}


ANOTHER = "docker compose down; docker compose run --rm --no-deps --entrypoint=rm secrets -f "


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("short-one-1", "is shorter than 12 characters"),
        ("aaabbbcccddd", "has fewer than 5 different characters"),
        *((value, "is a word that is tried first") for value in ("password1234", "mysecretpassword", "Minio-Admin-2026", "P@ssw0rd1234")),
        *((value, None) for value in ("correct horse battery", "a-password-of-my-own", "938475620193", "uK3-passing-hill")),
    ],
)  # fmt: skip
def test_a_password_that_somebody_guesses_is_told_and_not_shown(
    secret_files: Path, value: str, says: str | None
) -> None:
    files = [secret_files / name / "root-password" for name in ("minio", "bucket")]
    for file in files:
        file.write_text(f"{value}\n")
    for is_open, status in ((False, WARN), (True, FAIL)):
        row = only(volumes.look_at_secrets(secret_files, is_open))
        assert (row.status, value in f"{row}") == (status if says else OK, False)
        assert says is None or row.says.startswith(f"MINIO_ROOT_PASSWORD (minio/root-password) {says}")
        assert says is None or row.mend == (
            f"MINIO_ROOT_PASSWORD_FILE out of .env; {ANOTHER}/volumes/minio/root-password /volumes/bucket/root-password; {UP}"
        )


def test_the_passwords_of_the_login_and_of_grafana_are_looked_at_where_there_are_any(secret_files: Path) -> None:
    (secret_files / "grafana").mkdir()
    for file, value in (("mlflow/admin-password", "mlflow-admin-1"), ("grafana/admin-password", "grafana")):
        (secret_files / file).write_text(value)
        (secret_files / file).chmod(0o400)
    of_login, of_grafana = volumes.look_at_secrets(secret_files)
    assert of_login.says.startswith("MLFLOW_ADMIN_PASSWORD (mlflow/admin-password) is a word")
    assert of_grafana.says == "GRAFANA_ADMIN_PASSWORD (grafana/admin-password) is shorter than 12 characters"
    # That one cannot be given.
    assert of_login.mend == f"MLFLOW_ADMIN_PASSWORD_FILE out of .env; {ANOTHER}/volumes/mlflow/admin-password; {UP}"
    assert of_grafana.mend == f"{ANOTHER}/volumes/grafana/admin-password; {UP}"


def test_an_empty_secret_and_a_key_that_is_none_are_told_with_what_brings_them_back(secret_files: Path) -> None:
    def rows() -> dict[str, tuple[str, str]]:
        return {row.says: (row.status, row.mend) for row in volumes.look_at_secrets(secret_files)}

    (secret_files / "mlflow" / "pgpass").write_text("")
    (secret_files / "bucket" / "root-password").write_text("")
    (secret_files / "trainer" / "signing-key.pem").write_text("password1234")
    key = "SIGNING_KEY_FILE=FILE in .env, with the key of before, which backups have, then docker compose run --rm secrets"
    found = {
        "mlflow/pgpass is empty": (FAIL, "docker compose run --rm secrets"),
        "bucket/root-password is empty": (FAIL, "docker compose run --rm secrets"),  # from MinIO's own
        "SIGNING_KEY (trainer/signing-key.pem) is no key that models can be signed with": (FAIL, key),
    }
    assert rows() == found
    (secret_files / "minio" / "root-password").write_text("\n")
    (secret_files / "backup" / "repository-password").write_text("")
    again = rows()
    assert again["minio/root-password is empty"] == again["bucket/root-password is empty"]
    assert ANOTHER in again["minio/root-password is empty"][1]
    assert again["backup/repository-password is empty"][1].startswith(
        "BACKUP_PASSWORD_FILE out of .env; BACKUP_REPOSITORY="
    )


GB = 10**9 // 4096


def disk(free: float, total: float, free_inodes: int = 900, inodes: int = 1000) -> os.statvfs_result:
    return os.statvfs_result(
        (4096, 4096, int(total * GB), int(free * GB), int(free * GB), inodes, free_inodes, free_inodes, 0, 255)
    )


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (disk(60, 100), OK),
        (disk(60, 100, free_inodes=0, inodes=0), OK),  # a file system that makes inodes as it needs them
        (disk(0.3, 100), FAIL),
        (disk(9, 1000), FAIL),
        (disk(4, 100), WARN),
        (disk(60, 100, free_inodes=5), FAIL),
        (disk(60, 100, free_inodes=30), WARN),
        (disk(0.05, 0.09), OK),  # a small one that is half empty
    ],
)
def test_a_disk_is_judged_by_its_room_and_by_its_inodes(found: os.statvfs_result, status: str) -> None:
    row = volumes.room("minio-data", found, "docker image prune")
    assert row.status == status
    assert bool(row.mend) == (status != OK)


def test_what_makes_room_is_by_what_is_on_the_disk() -> None:
    every = {volumes.DOCKER, "postgres-data", volumes.BUCKET}
    assert volumes.makes_room(every) == "; ".join([volumes.OF_DOCKER, volumes.OF_MLFLOW, volumes.OF_BUCKET])
    assert volumes.makes_room({"postgres-data"}) == volumes.OF_MLFLOW  # images are on another one
    assert volumes.makes_room({volumes.DOCKER}) == volumes.OF_DOCKER


def test_secrets_are_read_and_root_of_an_external_store_is_nobody(tmp_path: Path) -> None:
    contents = {
        "mlflow/backend-store-uri": "postgresql+psycopg2://mlflow@postgres:5432/mlflow",
        "mlflow/aws-credentials": "[default]\naws_access_key_id = mlflow\naws_secret_access_key = a%b\n",
        "minio/root-password": "r",
    }
    for file, content in contents.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(content)
    found = access.read({"MINIO_ROOT_USER": "admin"}, tmp_path)
    assert found.s3_key == ("mlflow", "a%b")
    assert found.s3_root == ("admin", "r")
    assert found.verifying_key is None
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "aws-credentials").write_text("[default]")
    assert access.read({"MINIO_ROOT_USER": "admin"}, tmp_path).s3_root is None


@pytest.mark.parametrize(("used", "status"), [(10, OK), (80, WARN), (95, FAIL)])
def test_connections_that_run_out_are_told_before_they_have(used: int, status: str) -> None:
    assert postgres.connections(used, 97).status == status


class Cursor:
    """One of a server whose oldest transaction and whose slots are these."""

    def __init__(self, oldest: list[tuple[Any, ...]], slots: list[tuple[Any, ...]]) -> None:
        said: dict[str, list[tuple[Any, ...]]] = {
            postgres.CONNECTIONS: [(3, 97)],
            postgres.SIZE: [(11_000_000,)],
            postgres.SLOTS: slots,
        }
        self._said, self._oldest, self._rows = said, oldest, list[tuple[Any, ...]]()

    def execute(self, statement: str, values: Sequence[Any]) -> None:
        self._rows = self._said.get(statement, self._oldest)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self._rows

    def cursor(self) -> "Cursor":
        return self

    def close(self) -> None:
        """Nothing is open."""


def said_of(oldest: list[tuple[Any, ...]], slots: list[tuple[Any, ...]]) -> list[Row]:
    """Return what is said of such a server beside its connections and its size."""
    database = Database(lambda: Cursor(oldest, slots), (psycopg2.Error,), "%s")
    used, size, *rows = postgres.look(database, None, "room")
    assert (used.status, used.says) == (OK, "3 of 97 connections are used")
    assert (size.status, size.says) == (OK, "the database has 11 MB")
    return rows


@pytest.mark.parametrize(("seconds", "is_told"), [(None, False), (300, False), (1500, True)])
def test_a_transaction_that_is_open_for_long_is_told_with_what_ends_it(seconds: int | None, is_told: bool) -> None:
    rows = said_of([] if seconds is None else [(77, seconds, "idle in transaction")], [])
    assert [row.status for row in rows] == [WARN] * is_told
    if is_told:
        assert (
            rows[0].says == "a transaction has been open for 25 minutes (idle in transaction), and may hold others up"
        )
        assert rows[0].mend.endswith('psql -U postgres -c "SELECT pg_terminate_backend(77)"')


def test_a_slot_that_holds_the_log_is_told_with_what_it_holds_and_what_drops_it() -> None:
    rows = said_of([], [("archive", True, 1_200_000_000), ("left", False, 6_000_000_000), ("new", False, 1000)])
    assert [row.status for row in rows] == [WARN, FAIL]
    assert "'archive' holds 1,200 MB of the write-ahead log, over 1,000: who reads it is slower" in rows[0].says
    assert "'left' holds 6,000 MB" in rows[1].says
    assert "nobody reads it" in rows[1].says
    assert rows[1].mend.endswith("""-c "SELECT pg_drop_replication_slot('left')\"""")


@pytest.mark.parametrize(("free", "status"), [(None, OK), (10e9, OK), (1.1e9, WARN)])
def test_a_database_that_a_migration_could_not_copy_is_told_with_both_sizes(free: int | None, status: str) -> None:
    row = postgres.room(1_000_000_000, free, "docker compose run --rm cleanup --yes")
    assert (row.status, bool(row.mend)) == (status, status != OK)
    assert ("the database has 1,000 MB, its disk 1,100 MB free" in row.says) == (status != OK)


def written(folder: Path, name: str, size: int, days: float) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"x" * size)
    os.utime(folder / name, (time.time() - days * 86_400,) * 2)


def test_what_the_bucket_has_got_lately_is_told_by_the_dates_of_its_files(tmp_path: Path) -> None:
    written(tmp_path, "old", 8192, 100)
    written(tmp_path, "mlflow/new", 16_384, 10)
    written(tmp_path, ".minio.sys/notes", 4096, 0)
    grown = growth.of_files("minio-data", tmp_path, 10)
    assert (grown.size, grown.days) == (16_384, growth.MOST_DAYS)
    with pytest.raises(NotLookedAt, match=r"minio-data has more files than are counted in -1\.0 s"):
        growth.of_files("minio-data", tmp_path, -1)


def test_a_bucket_with_too_many_files_to_count_costs_the_database_no_forecast(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    files = partial(growth.of_files, "minio-data", tmp_path, -1)
    rows = list(growth.look([files, lambda: growth.Growth(volumes.DATABASE, tmp_path, 1e6, 30)]))
    assert (rows[0].name, rows[0].status) == ("growth", WARN)
    assert rows[0].says.startswith("not looked at: minio-data has more files than are counted")
    assert rows[1].says.startswith("postgres-data got 1.0 MB in 30 days: if that goes on")
    assert len(rows) == 2


def test_the_database_has_grown_as_the_number_of_its_runs_has(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "mlflow.db")
    database.execute("CREATE TABLE runs (start_time BIGINT)")
    days = [(round((time.time() - age * 86_400) * 1000),) for age in (20, 10, 1, 1)]
    found = Database(lambda: sqlite3.connect(tmp_path / "mlflow.db"), (sqlite3.Error,), "?")
    with database:
        assert growth.of_database("postgres-data", tmp_path, found, 1000).size == 0  # there are none yet
        database.executemany("INSERT INTO runs VALUES (?)", days)
    young = growth.of_database("postgres-data", tmp_path, found, 1000)
    assert (young.size, round(young.days)) == (1000, 20)
    with database:
        database.execute("INSERT INTO runs SELECT start_time - 8640000000 FROM runs")
    database.close()
    assert growth.of_database("postgres-data", tmp_path, found, 1000).size == 500


@pytest.mark.parametrize(
    ("free", "days", "status", "says"),
    [
        (1e9, 6, OK, "too young for a forecast, which takes 7 days"),
        (1e12, 10, OK, "minio-data got 100.0 MB in 10 days: if that goes on, the 1,000.0 GB that are free are full in more than ten"),
        (1e9, 10, OK, "the 1.0 GB that are free are full in 100 days"),
        (250e6, 10, WARN, "the 250.0 MB that are free are full in 25 days"),
        (20e6, 10, FAIL, "full in 2 days"),
    ],
)  # fmt: skip
def test_when_a_disk_will_be_full_is_told_by_what_it_has_got_lately(
    free: float, days: float, status: str, says: str
) -> None:
    row = growth.judged([growth.Growth(volumes.BUCKET, Path(), 100e6, days)], free, "cleanup")
    assert (row.status, says in row.says) == (status, True), row
    assert row.mend == ("" if status == OK else "cleanup")


@pytest.mark.parametrize(
    ("refusal", "mend"),
    [
        ('FATAL:  password authentication failed for user "mlflow"', "docker compose run --rm database"),
        ("FATAL:  sorry, too many clients already", "docker compose restart mlflow"),
        ("FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute", "restart mlflow"),
        ("Connection refused", UP),
    ],
)
def test_a_server_that_lets_nobody_in_is_told_with_what_mends_that_cause(refusal: str, mend: str) -> None:
    def connect() -> None:
        raise psycopg2.OperationalError(f"connection to server failed: {refusal}")

    row = only(postgres.look(Database(connect, (psycopg2.Error,), "%s"), None, "room"))
    assert refusal in row.says
    assert row.mend.endswith(mend)


@pytest.mark.parametrize(
    ("code", "says", "mend"),
    [
        ("NoSuchBucket", "the bucket 'mlflow' is not there", "docker compose run --rm bucket"),
        ("SignatureDoesNotMatch", "MLflow may not read the bucket 'mlflow'", "docker compose run --rm bucket"),
        ("RequestTimeTooSkewed", "the clocks of this machine and of the store", store.CLOCK),
    ],
)
def test_what_the_store_refuses_is_told_by_its_cause(code: str, says: str, mend: str) -> None:
    row = store.refused("mlflow", code, "words")
    assert (row.status, row.mend) == (FAIL, mend)
    assert says in row.says


@pytest.mark.parametrize(("seconds", "status"), [(59.0, None), (-90.0, WARN), (400.0, FAIL)])
def test_clocks_that_differ_are_told_before_the_store_refuses(seconds: float, status: str | None) -> None:
    row = store.skewed(seconds)
    assert (row and row.status) == status


def serving(version: str, problem: str | None = None) -> dict[str, Any]:
    return {"model": {"version": version, "problem": problem}, "scikit-learn": "1.9.1"}


@pytest.mark.parametrize(
    ("said", "expected", "status", "says"),
    [
        ([serving("2"), serving("2")], "2", OK, "version 2, by all 2 replicas"),
        ([serving("2")], None, OK, "version 2"),
        ([serving("1")], "2", WARN, "version 1, and 2 is behind the alias"),
        ([serving("1"), serving("2")], "2", FAIL, "replicas serve different versions: 1, 2"),
        ([serving("10"), serving("9")], "10", FAIL, "replicas serve different versions: 9, 10"),
        ([serving("1", "no answer"), serving("2")], "2", FAIL, "replicas serve different versions: 1, 2; no answer"),
        ([serving("1", "version 2 is refused: it is not signed")], "2", FAIL, "version 2 is refused: it is not signed"),
        (
            [serving("1"), {"model": None, "reasons": ["no version yet"]}],
            "1",
            FAIL,
            "1 of 2 replicas serve nothing: no version yet",
        ),
    ],
)
def test_replicas_are_held_against_the_alias_and_against_each_other(
    said: list[dict[str, Any]], expected: str | None, status: str, says: str
) -> None:
    row = only(replicas.look_at_served({str(number): answer for number, answer in enumerate(said)}, expected))
    assert row.status == status
    assert says in row.says


@pytest.fixture
def serve(request: pytest.FixtureRequest) -> Callable[..., int]:
    """Return a function that starts a server which gives one answer, and says at which port."""

    def start(address: str, status: int, content: str, port: int = 0) -> int:
        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/xml")  # as an S3's is
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content.encode())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = HTTPServer((address, port), Answers)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        request.addfinalizer(server.server_close)
        request.addfinalizer(server.shutdown)
        return server.server_port

    return start


S3_LIST = "<ListBucketResult><Name>mlflow</Name><IsTruncated>false</IsTruncated>{}</ListBucketResult>"
S3_FILE = "<Contents><Key>{}</Key><Size>{}</Size></Contents>"


def test_a_versions_files_are_read_from_the_bucket_and_what_the_store_refuses_is_told(
    serve: Callable[..., int],
) -> None:
    def files(status: int, content: str) -> store.Files:
        found = store.Store(f"http://127.0.0.1:{serve('127.0.0.1', status, content)}", "us-east-1", "mlflow", 5)
        return command.place(found, ("mlflow", "secret"), "http://mlflow:5000", "mlflow-artifacts:/1/m/artifacts")

    listed = "".join(S3_FILE.format(f"1/m/artifacts/{path}", 3) for path in ("model.sig", "data/x.csv"))
    assert files(200, S3_LIST.format(listed)).sizes(5) == {"model.sig": 3, "data/x.csv": 3}
    with pytest.raises(Refused, match="its files are gone"):
        model.compared(files(200, S3_LIST.format("")), b"", 5)
    assert b"".join(files(200, "abc").pieces("x", 3, 0)) == b"abc"
    with pytest.raises(Refused, match="its file x goes on"):
        list(files(200, "abcd").pieces("x", 3, 0))
    refusal = "<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>"
    with pytest.raises(OSError, match="the store says AccessDenied: Access Denied"):
        files(403, refusal).sizes(5)
    nowhere = store.Store("http://127.0.0.1:1", "us-east-1", "mlflow", 1)
    with pytest.raises(OSError, match="the store does not answer"):
        store.Files(nowhere, ("mlflow", "secret"), "1").sizes(1)


@pytest.mark.parametrize(
    ("key", "location", "why"),
    [
        (("mlflow", "secret"), "s3://elsewhere/1", "which is not MLflow's own store"),
        (None, "mlflow-artifacts:/1", "the secret with MLflow's S3 key is not there"),
    ],
)
def test_files_that_are_not_in_the_bucket_are_not_looked_at(
    key: tuple[str, str] | None, location: str, why: str
) -> None:
    with pytest.raises(NotLookedAt, match=why):
        command.place(store.Store("http://minio:9000", "us-east-1", "mlflow", 1), key, "http://mlflow:5000", location)


def test_one_replica_of_several_that_hangs_is_told_and_keeps_the_others_not_waiting(
    serve: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = serve("127.0.0.1", 200, json.dumps(serving("1")))
    with socket.create_server(("127.0.0.2", port)):  # takes connections, and answers none
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{last}", port)) for last in (1, 2)]
        resolve = socket.getaddrinfo
        monkeypatch.setattr(
            socket, "getaddrinfo", lambda host, *a, **b: found if host == "inference" else resolve(host, *a, **b)
        )
        row = only(replicas.look_at_served(replicas.asked("inference", port, 0.5), "1"))
    assert (row.status, row.mend) == (FAIL, "scripts/roll")
    assert f"1 of 2 replicas serve nothing: http://127.0.0.2:{port}/version does not answer: timed out" in row.says


def test_replicas_that_disagree_are_found_under_their_one_name_and_told_with_what_starts_each_anew(
    serve: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = ("127.0.0.1", "127.0.0.2")
    port = serve(addresses[0], 200, json.dumps(serving("1")))
    serve(addresses[1], 200, json.dumps(serving("2")), port)
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]
    resolve = socket.getaddrinfo
    names = {"inference": found}
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *a, **b: names.get(host) or resolve(host, *a, **b))
    row = only(replicas.look_at_served(replicas.asked("inference", port, 5), "2"))
    assert row == Row("served", FAIL, "replicas serve different versions: 1, 2", "scripts/roll")


@pytest.mark.parametrize(
    ("status", "content", "found", "says", "mend"),
    [
        (200, "{}", OK, "answers trainer and prediction service at http://", ""),
        (401, "", OK, "and asks for a login", ""),
        (403, "Invalid Host header", FAIL, "answers 403: Invalid Host header", tracking.HOSTS),
        (500, "oh", FAIL, "answers 500: oh", tracking.RESTART),
    ],
)
def test_mlflow_is_asked_as_trainer_and_prediction_service_ask_it(
    serve: Callable[..., int], status: int, content: str, found: str, says: str, mend: str
) -> None:
    mlflow = tracking.Mlflow(f"http://127.0.0.1:{serve('127.0.0.1', status, content)}", 5)
    row = only(tracking.look_at_name(mlflow))
    assert (row.name, row.status, row.mend) == ("mlflow inside", found, mend)
    assert says in row.says


@pytest.mark.parametrize("version", ["3", None])
def test_with_api_keys_the_version_that_is_served_is_told_by_the_head_of_the_refusal(
    version: str | None, refusing_keys: Callable[[str | None], int]
) -> None:
    port = refusing_keys(version)
    if version is None:
        with pytest.raises(NotLookedAt, match="answers 401 with API keys on"):
            replicas.asked("127.0.0.1", port, 5)
        return
    said = replicas.asked("127.0.0.1", port, 5)
    assert only(replicas.look_at_served(said, "3")) == Row("served", OK, "version 3")
    assert only(replicas.look_at_served(said, "4")).status == WARN
    in_force = {("scikit-learn", answer.get("scikit-learn")) for answer in said.values()} | {("mlflow", "3.17.2")}
    assert replicas.compared({"scikit-learn": "1.8.0"}, in_force).says.endswith("in force: mlflow 3.17.2")


def test_files_behind_a_login_are_not_looked_at_and_the_login_is_named() -> None:
    refused = HTTPError("http://mlflow:5000", 401, "UNAUTHORIZED", Message(), None)
    assert str(model.unread("the files", refused)) == "MLflow asks for a login, so the files cannot be read from here"
    assert str(model.unread("the files", OSError("timed out"))) == "the files cannot be read: timed out"


def test_the_doctor_becomes_a_user_that_owns_no_secret() -> None:
    assert access.USER not in {owner.uid for owner in OWNERS.values()} | {owner.gid for owner in OWNERS.values()}


LISTED = """\
/opt/venv/lib/python3.13/site-packages/mlflow_skinny-3.17.2.dist-info
/opt/venv/lib/python3.13/site-packages/scikit_learn-1.9.1.dist-info
/opt/venv/lib/python3.13/site-packages/skops-0.16.0.dist-info
/opt/venv/lib/python3.13/site-packages/onnxruntime-1.32.0.dist-info
"""


def test_images_that_load_models_with_different_packages_are_told() -> None:
    trainer = packages.installed(LISTED)
    assert trainer["scikit-learn"] == "1.9.1"
    assert packages.compared(trainer, trainer).says.endswith("skops 0.16.0, onnxruntime 1.32.0")
    older = packages.installed(LISTED.replace("skops-0.16.0", "skops-0.14.0").replace("onnxruntime-1.32", "x-1"))
    row = packages.compared(trainer, older)
    assert (row.status, row.mend) == (WARN, UP)
    assert row.says == "trainer and prediction service differ: skops 0.16.0 and 0.14.0, onnxruntime 1.32.0 and None"


@pytest.mark.parametrize(("target", "status"), [("any", OK), (None, WARN)])
def test_packages_are_of_images_and_those_of_vouched_code_are_its_own(
    target: str | None, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    services: dict[str, Any] = {"inference": {"build": {"target": target}}, "trainer": {"image": "test/trainer"}}
    monkeypatch.setattr(packages, "docker", Docker(run=LISTED, exec=LISTED.replace("1.9.1", "1.8.0")))
    row = only(packages.look(stack(container("inference"), **services), 1))
    assert (row.status, "scikit-learn 1.9.1 and 1.8.0" in row.says) == (status, status == WARN)
    with pytest.raises(NotLookedAt, match="does not run"):
        list(packages.look(stack(inference={}, trainer={"image": "test/trainer"}), 1))


def test_a_version_that_was_made_with_other_packages_is_told() -> None:
    pins = replicas.pinned("mlflow-skinny==3.17.2\nscikit-learn==1.8.0\nskops==0.16\n")
    row = replicas.compared(pins, {("mlflow", "3.17.2"), ("scikit-learn", "1.9.1")})
    assert row.status == WARN
    assert row.says == "the version behind the alias was made with scikit-learn 1.8.0, and 1.9.1 is in force"
    assert replicas.compared(pins, {("mlflow", "3.17.2"), ("scikit-learn", "1.8.0")}).status == OK


@pytest.mark.parametrize(
    ("noted", "status", "says", "mend"),
    [
        ([schema.MLFLOW.revisions[-1]], OK, "the newest", ""),
        ([schema.MLFLOW.revisions[0]], FAIL, "is older than this checkout's MLflow", UP),
        (["fffffffffff0"], FAIL, "a newer MLflow has written it", "docker compose run --rm database back"),
        ([], FAIL, "no revision", "scripts/restore"),
        (schema.MLFLOW.revisions[-2:], FAIL, "2 revisions", "scripts/restore"),
    ],
)
def test_a_schema_is_told_by_what_it_is_older_newer_or_broken(
    noted: list[str], status: str, says: str, mend: str
) -> None:
    row = schema.judged(noted, STACK)
    assert row.status == status
    assert says in row.says
    assert mend in row.mend
    assert "docker" not in schema.judged(noted, EMBEDDED).mend


def test_accounts_that_a_newer_mlflow_has_migrated_have_the_way_back_that_the_database_has() -> None:
    assert schema.judged([schema.ACCOUNTS.revisions[-1]], STACK, schema.ACCOUNTS).name == "accounts"
    row = schema.judged(["fffffffffff0"], STACK, schema.ACCOUNTS)
    assert (row.name, row.status) == ("accounts", FAIL)
    assert row.mend.endswith("without what came since: docker compose run --rm database back")
