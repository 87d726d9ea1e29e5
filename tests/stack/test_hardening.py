"""Safe by default: what containers may not do, who sees a secret, and who reaches whom."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.compose import LONG_RUNNING, Stack, docker

SECRET_FILES = {
    "postgres": {"superuser-password"},
    "minio": {"root-password"},
    "mlflow": {"aws-credentials", "backend-store-uri", "database-password", "pgpass", "s3-secret-key"},
    "inference": {"signing-key.pub"},
}
CAPABILITIES_BACK = {"secrets": {"CHOWN", "DAC_OVERRIDE"}, "bootstrap": {"SETUID", "SETGID", "SETPCAP", "KILL"}}


def _secret_values(stack: Any) -> dict[str, str]:
    """Return every generated secret: VOLUME/FILE → value."""
    skip = "postgres-data/*|postgres-socket/*|audit/*|audit-pipe/*|*.pub|*.id|*/backend-store-uri"
    show = f'cd /volumes && for f in */*; do case $f in {skip}) ;; *) echo "== $f"; cat $f; echo;; esac; done'
    out = stack.compose("run", "--rm", "--no-deps", "--entrypoint", "sh", "secrets", "-c", show).stdout
    found = re.findall(r"^== (\S+/\S+)\n(.*?)(?=^== |\Z)", out, re.M | re.S)
    assert len(found) >= 9, out
    values = {}
    for name, content in found:
        # what is secret in a formatted file is its last word; of a key, a line in the middle
        lines = content.strip().splitlines()
        secret = lines[1] if "PRIVATE KEY" in content else re.split(r"[\s:=]+", content.strip())[-1]
        assert len(secret) >= 32, name
        values[name] = secret
    return values


def test_every_container_is_confined(stack: Stack) -> None:
    for name, container in stack.containers().items():
        host = container["HostConfig"]
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        added = {capability.removeprefix("CAP_") for capability in host["CapAdd"] or []}
        assert added == CAPABILITIES_BACK.get(name, set()), name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert host["Init"], name
        assert host["PidsLimit"] > 0, name
        assert host["LogConfig"]["Config"]["max-size"], name


def test_long_running_containers_have_limits_and_come_back(stack: Stack) -> None:
    for name in (*LONG_RUNNING, "audit-log"):
        container = stack.containers()[name]
        assert container["HostConfig"]["Memory"] > 0, name
        assert container["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped", name
        assert container["Config"]["StopTimeout"] >= 10, name


def test_no_image_that_is_built_here_has_a_program_with_another_users_rights(stack: Stack) -> None:
    stack.compose("build", "backup")  # which `up` does not need
    images = docker("image", "ls", "--format", "{{.Repository}}", f"{stack.name}/*").split()
    assert {image.removeprefix(f"{stack.name}/") for image in images} == {
        "backup", "inference", "minio", "mlflow", "setup", "trainer",
    }  # fmt: skip
    search = ["--entrypoint", "find", "--user", "0:0"]
    for image in images:
        assert docker("run", "--rm", *search, image, "/", "-xdev", "-type", "f", "-perm", "/6000") == "", image


@pytest.mark.parametrize("service", [*LONG_RUNNING, "audit-log"])
def test_a_stopped_service_ends_by_itself_within_its_grace_period(stack: Stack, service: Any) -> None:
    stack.compose("stop", service)
    state = stack.containers()[service]["State"]
    stack.put_right(service)
    assert state["ExitCode"] != 137, "it was killed"
    assert not state["OOMKilled"]


def test_no_secret_is_seen_where_it_does_not_belong(stack: Stack) -> None:
    values = _secret_values(stack)
    images = docker("image", "ls", "--quiet", f"{stack.name}/*").split()
    assert images
    places = {
        "docker inspect": json.dumps(stack.containers()),
        "logs": stack.logs(),
        "compose config": stack.compose("config").stdout,
        "image layers": "".join(docker("history", "--no-trunc", image) for image in images),
    }
    for service in LONG_RUNNING:
        read = (
            "for p in /proc/[0-9]*; do tr '\\0' '\\n' < $p/environ; tr '\\0' ' ' < $p/cmdline; done 2>/dev/null; true"
        )
        places[f"processes of {service}"] = stack.compose("exec", "-T", service, "sh", "-c", read).stdout
        assert "PATH=" in places[f"processes of {service}"]
    for name, secret in values.items():
        for place, text in places.items():
            assert secret not in text, f"{name} is in {place}"


TAMPER = """
cd /
for file in /log/audit.jsonl /volumes/audit/audit.jsonl /audit/lines; do
    [ -e "$file" ] || continue
    echo "tried $file"
    rm -f "$file" && echo "removed $file"
    mv "$file" "$file.old" && echo "moved $file"
    touch "$(dirname "$file")/another.jsonl" && echo "made a file beside $file"
    case $file in *.jsonl)
        (: >>"$file") && echo "opened $file"
        (: >"$file") && echo "emptied $file" ;;
    esac
done 2>/dev/null
true
"""


def test_who_writes_the_audit_log_can_add_lines_and_neither_change_nor_delete_any(stack: Stack) -> None:
    job, show = ("--progress", "quiet", "run", "--rm", "--no-deps", "-T"), ("audit",)
    before = stack.compose(*job, *show).stdout
    assert "iris_logistic_regression@Production" in before
    for service, user, sees in (
        ("api-key", "10004:10004", {"/audit/lines"}),
        ("audit", "10010:10010", {"/log/audit.jsonl", "/audit/lines"}),
        ("backup", "0:0", {"/volumes/audit/audit.jsonl", "/audit/lines"}),  # root, whom no rights of a file stop
        ("trainer", "0:0", {"/audit/lines"}),
    ):
        said = stack.compose(*job, "--user", user, "--entrypoint", "sh", service, "-c", TAMPER).stdout
        assert set(said.splitlines()) == {f"tried {file}" for file in sees}, service
    stack.compose(*job, *show, "note", "account", "bob", "-", "scientist", "accounts")
    after = stack.compose(*job, *show).stdout
    assert after.startswith(before)
    (added,) = map(json.loads, after.removeprefix(before).splitlines())
    assert (added["of"], added["to"]) == ("bob", "scientist")


@pytest.mark.parametrize("service", LONG_RUNNING)
def test_a_container_has_its_own_secrets_only_and_nobody_else_there_may_read_them(stack: Stack, service: Any) -> None:
    listing = stack.compose("exec", "-T", service, "sh", "-c", "cd /run/secrets && stat -c '%n %a' *").stdout
    files = dict(line.split() for line in listing.splitlines())
    assert set(files) == SECRET_FILES[service]
    assert set(files.values()) == {"400"}


def test_a_secret_given_as_a_value_stops_the_set_up_with_the_way_to_do_it(stack: Stack) -> None:
    password = "this-must-not-be-shown"
    stack.write_env(MINIO_ROOT_PASSWORD=password)
    try:
        result = stack.compose("run", "--rm", "secrets", check=False)
        inspected = json.dumps(stack.compose("config").stdout)
    finally:
        del stack.settings["MINIO_ROOT_PASSWORD"]
        stack.write_env()
    assert result.returncode == 1
    assert "MINIO_ROOT_PASSWORD_FILE=./secrets/minio_root_password" in result.stderr
    assert password not in result.stdout + result.stderr + inspected


def test_a_secret_given_as_a_file_is_the_one_in_force(stack: Stack) -> None:
    (stack.folder / "secrets").mkdir(exist_ok=True)
    (stack.folder / "secrets" / "password").write_text("a-password-of-my-own\n")
    stack.down()
    stack.write_env(MLFLOW_DATABASE_PASSWORD_FILE="./secrets/password")
    stack.up("--no-build")
    query = "import psycopg2; psycopg2.connect(host='postgres', user='mlflow', password='a-password-of-my-own'); print('in')"
    try:
        assert stack.compose("exec", "-T", "mlflow", "python", "-c", query).stdout.strip() == "in"
    finally:
        del stack.settings["MLFLOW_DATABASE_PASSWORD_FILE"]
        stack.write_env()
        stack.up("--no-build")


# --- networks ------------------------------------------------------------------------------------------------------

PROBE = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor
def reach(target):
    try:
        socket.create_connection(target.rsplit(":", 1), timeout=4).close()
        return "reached"
    except OSError as error:
        return type(error).__name__
with ThreadPoolExecutor(len(sys.argv)) as pool:  # what does not answer is waited for once
    print(*pool.map(reach, sys.argv[1:]))
"""


def _addresses(stack: Any) -> dict[str, list[str]]:
    found = stack.containers()
    return {
        name: [n["IPAddress"] for n in found[name]["NetworkSettings"]["Networks"].values()] for name in LONG_RUNNING
    }


@pytest.fixture(scope="module")
def outside(stack: Stack) -> Iterator[Any]:
    """An address outside of the stack that an ordinary container reaches: a listener in another network."""
    name = f"{stack.name}-outside"
    docker("run", "--detach", "--name", name, "--entrypoint", "python", _ordinary(stack), "-m", "http.server", "8000")
    yield docker("inspect", name, "--format", "{{.NetworkSettings.IPAddress}}")
    docker("rm", "--force", "--volumes", name)


def _ordinary(stack: Any) -> str:
    """An image with Python in it, to run without any of the stack's confinement."""
    return f"{stack.name}/setup"


def _probe(stack: Any, service: str, *targets: str) -> list[str]:
    if service == "trainer":
        result = stack.compose("run", "--rm", "--no-deps", "--entrypoint", "python", "trainer", "-c", PROBE, *targets)
    else:
        result = stack.compose("exec", "-T", service, "python", "-c", PROBE, *targets)
    return result.stdout.splitlines()[-1].split()


@pytest.mark.parametrize("service", ["trainer", "inference"])
def test_clients_reach_mlflow_and_neither_the_stores_nor_the_outside(stack: Stack, outside: Any, service: str) -> None:
    address = _addresses(stack)
    forbidden = ["postgres:5432", "minio:9000", f"{outside}:8000"]
    forbidden += [f"{ip}:5432" for ip in address["postgres"]] + [f"{ip}:9000" for ip in address["minio"]]
    answers = _probe(stack, service, "mlflow:5000", *forbidden)
    assert answers[0] == "reached"
    assert "reached" not in answers[1:], dict(zip(forbidden, answers[1:], strict=True))


def test_what_has_no_way_out_asks_nobody_there_for_the_name_of_a_container_that_is_gone(stack: Stack) -> None:
    found = stack.containers()
    for service in ("mlflow", "bootstrap", "inference"):
        assert found[service]["HostConfig"]["Dns"] == ["127.0.0.1"], service


def test_mlflow_reaches_its_two_stores_and_not_the_outside(stack: Stack, outside: Any) -> None:
    assert _probe(stack, "mlflow", "postgres:5432", "minio:9000") == ["reached", "reached"]
    assert _probe(stack, "mlflow", f"{outside}:8000") != ["reached"]


def test_the_same_probe_from_an_ordinary_container_reaches_what_it_should(stack: Stack, outside: Any) -> None:
    """The positive control: the probe sees what can be seen, so that it means something when it sees nothing."""

    def from_network(network: str, *targets: str) -> list[str]:
        options = ["--rm", "--network", network, "--entrypoint", "python"]
        return docker("run", *options, _ordinary(stack), "-c", PROBE, *targets).split()

    assert from_network("bridge", f"{outside}:8000") == ["reached"]
    assert from_network(f"{stack.name}_database", "postgres:5432") == ["reached"]
    assert from_network(f"{stack.name}_storage", "minio:9000") == ["reached"]


def test_mlflow_lets_in_the_pages_of_this_machine_and_refuses_changes_by_all_others(stack: Stack) -> None:
    """What docs/architecture.md says of it, under What is not protected."""

    def status(origin: str) -> int:
        url = f"{stack.mlflow_url}/api/2.0/mlflow/runs/search"
        return requests.post(url, json={"experiment_ids": ["0"]}, headers={"Origin": origin}, timeout=10).status_code

    assert status(stack.mlflow_url) == 200
    assert status("http://localhost:8888") == 200
    assert status("http://127.0.0.1:1") == 200
    assert status("https://page.example") == 403
    assert status("http://localhost.page.example") == 403
