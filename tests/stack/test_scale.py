"""Several replicas behind one port: they come, go, die and are replaced, and no request is lost."""

import csv
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import requests

from tests.compose import BODY, CLASSES, SAMPLES, Load, Stack, docker, eventually, free_ports, load_on
from tests.faults import setting

MEGABYTE = 1024 * 1024
CODE = "services/inference/__init__.py"


@pytest.fixture(scope="module")
def scaled(stack: Stack) -> Iterator[Stack]:
    """The stack with its replicas, which get other code and another version in tests."""
    code = stack.folder / CODE
    kept, production = code.read_text(), stack.alias()
    with setting(stack, COMPOSE_FILE="compose.yaml:compose.scale.yaml"):
        stack.up("--no-build")
        yield stack
    code.write_text(kept)
    stack.set_alias(production)
    stack.up("--build", "--remove-orphans")


# --- looking at it -------------------------------------------------------------------------------------------------


def _replicas(stack: Stack) -> dict[str, dict[str, Any]]:
    """Return what `docker inspect` says of each replica that runs, by id."""
    ids = stack.compose("ps", "--quiet", "inference").stdout.split()
    return {c["Id"]: c for c in json.loads(docker("inspect", *ids))} if ids else {}


def _scale(stack: Stack, count: int) -> None:
    stack.compose("up", "--detach", "--wait", "--no-build", "--scale", f"inference={count}")


def _statistics(stack: Stack) -> dict[tuple[str, str], dict[str, str]]:
    """Return what the proxy has counted, by backend and server."""
    ask = 'exec 3<>/dev/tcp/127.0.0.1/9999 && echo "show stat" >&3 && cat <&3'
    out = stack.compose("exec", "-T", "proxy", "bash", "-c", ask).stdout
    return {(row["# pxname"], row["svname"]): row for row in csv.DictReader(out.strip().splitlines())}


def _servers(stack: Stack, backend: str = "replicas") -> list[dict[str, str]]:
    """Return what the proxy has counted of each replica that it sends requests to."""
    found = _statistics(stack).items()
    return [row for (name, server), row in found if name == backend and server != "BACKEND" and row["status"] == "UP"]


def _sent_again(stack: Stack) -> int:
    """Return how many requests the proxy has sent once more so far, to the same replica or to another."""
    counted = _statistics(stack)["replicas", "BACKEND"]
    return int(counted["wretr"]) + int(counted["wredis"])


def _all_are_reached(stack: Stack, count: int = 3) -> None:
    eventually(f"the proxy reaches {count} replicas", lambda: len(_servers(stack)) == count)


def _proves_that_nothing_was_lost(load: Load, at_least: int, capsys: pytest.CaptureFixture[str], again: int) -> None:
    with capsys.disabled():
        print(
            f"\n  {load.answered} answered, {len(load.failures)} failed, {again} sent again, "
            f"the slowest after {load.slowest:.2f} s"
        )
    assert load.failures == []
    assert load.answered >= at_least


# --- as it stands --------------------------------------------------------------------------------------------------


def test_the_proxy_alone_publishes_a_port(scaled: Stack) -> None:
    replicas = _replicas(scaled)
    assert len(replicas) == 3
    for replica in replicas.values():
        assert not any(replica["NetworkSettings"]["Ports"].values())
    published = scaled.containers()["proxy"]["NetworkSettings"]["Ports"]
    assert published == {"1235/tcp": [{"HostIp": "127.0.0.1", "HostPort": scaled.settings["INFERENCE_PORT"]}]}


def test_the_proxy_is_confined_as_the_others_are(scaled: Stack) -> None:
    host = scaled.containers()["proxy"]["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["Init"]
    assert (host["CapDrop"], host["CapAdd"]) == (["ALL"], None)
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["PidsLimit"] > 0
    assert host["Memory"] > 0
    assert host["LogConfig"]["Config"]["max-size"]
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert scaled.compose("exec", "-T", "proxy", "id", "-u").stdout.strip() not in ("", "0")


def test_replicas_that_all_start_at_once_have_two_minutes_until_a_plain_up_fails_with_the_proxy(scaled: Stack) -> None:
    check = scaled.containers()["proxy"]["Config"]["Healthcheck"]
    assert check["Interval"] * check["Retries"] >= 120 * 10**9


def test_the_proxy_reaches_the_replicas_and_not_mlflow(scaled: Stack) -> None:
    def reached(container: dict[str, Any], port: int) -> bool:
        addresses = [network["IPAddress"] for network in container["NetworkSettings"]["Networks"].values()]
        probes = [
            f"timeout 3 bash -c '</dev/tcp/{address}/{port}' 2>/dev/null && echo reached &" for address in addresses
        ]
        return "reached" in scaled.compose("exec", "-T", "proxy", "bash", "-c", f"{''.join(probes)} wait").stdout

    assert reached(scaled.containers()["inference"], 1235)
    assert not reached(scaled.containers()["mlflow"], 5000)


def test_predictions_come_from_all_three(scaled: Stack) -> None:
    _all_are_reached(scaled)
    before = {row["svname"]: int(row["hrsp_2xx"]) for row in _servers(scaled)}
    for _ in range(30):
        assert scaled.predict() == CLASSES
    shares = {row["svname"]: int(row["hrsp_2xx"]) - before[row["svname"]] for row in _servers(scaled)}
    assert sum(shares.values()) == 30
    assert min(shares.values()) >= 5, shares


@contextmanager
def _prometheus(stack: Stack) -> Iterator[Callable[..., Any]]:
    """Have Prometheus beside the replicas, whose clock of 15 seconds is one of a second; yield what asks it."""
    (port,) = free_ports(1)
    alone = stack.settings["COMPOSE_FILE"]
    stack.write_env(COMPOSE_FILE=f"{alone}:compose.monitoring.yaml", PROMETHEUS_PORT=str(port))
    folder = stack.folder / "monitoring"
    kept = {path: path.read_text() for path in (folder / "prometheus.yml", folder / "rules.yml")}
    for path, text in kept.items():
        path.write_text(re.sub(r"(_interval|for): \w+(}?)$", r"\1: 1s\2", text, flags=re.M))

    def ask(path: str, **query: str) -> Any:
        answer = requests.get(f"http://localhost:{port}/api/v1/{path}", params=query, timeout=10).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    try:
        stack.compose("up", "--detach", "--wait", "--no-build", "prometheus")
        yield ask
    finally:
        stack.compose("rm", "--stop", "--force", "prometheus", "secrets")  # which has its volumes
        for path, text in kept.items():
            path.write_text(text)
        del stack.settings["PROMETHEUS_PORT"]
        stack.write_env(COMPOSE_FILE=alone)
        secrets = ("prometheus", "alertmanager", "postgres-exporter", "grafana")
        docker("volume", "rm", f"{stack.name}_prometheus-data", *(f"{stack.name}_{name}-secrets" for name in secrets))
        docker("network", "rm", f"{stack.name}_watching")
        stack.compose("up", "--detach", "--no-deps", "--no-build", "secrets")


def test_prometheus_asks_each_replica_and_shows_and_tells_of_all_of_them(scaled: Stack) -> None:
    replicas = _replicas(scaled)
    networks = {name: found["NetworkSettings"]["Networks"] for name, found in replicas.items()}
    addresses = {name: f"{found[f'{scaled.name}_tracking']['IPAddress']}:1235" for name, found in networks.items()}
    boards = (scaled.folder / "monitoring/grafana/dashboards").glob("*.json")
    panels = [panel for board in boards for panel in json.loads(board.read_text())["panels"]]
    shown = [target["expr"].replace("$__rate_interval", "1m") for panel in panels for target in panel["targets"]]
    with _prometheus(scaled) as ask:

        def rows(query: str = "inference_rows_total") -> dict[str, float]:
            found = ask("query", query=query)["result"]
            return {one["metric"].get("instance", ""): float(one["value"][1]) for one in found}

        eventually("it asks all", lambda: rows("up{job='inference'}") == dict.fromkeys(addresses.values(), 1.0))
        before = eventually("all have predicted", lambda: len(found := rows()) == 3 and found)
        for _ in range(30):
            assert scaled.predict() == CLASSES
        total = sum(before.values()) + 30 * len(CLASSES)
        eventually("it has counted all", lambda: rows("sum(inference_rows_total)") == {"": total})
        assert all(now > before[instance] for instance, now in rows().items())
        for expression in (one for one in shown if "inference" in one):
            found = ask("query", query=expression)["result"]
            assert not any("instance" in one["metric"] for one in found), expression
        # One that hangs is told of by its own address.
        hangs = next(iter(replicas))
        eventually("it is frozen", lambda: docker("pause", hangs))  # the kernel may not manage to freeze what is busy
        try:
            firing = 'ALERTS{alertname="InferenceDown",alertstate="firing"}'
            eventually("it is told of", lambda: rows(firing).keys() == {addresses[hangs]})
            # Of the others one may have been too slow for a second, in which it has to answer.
            eventually("the others are up", lambda: rows('sum(up{job="inference"})') == {"": 2.0})
        finally:
            docker("unpause", hangs)
    _all_are_reached(scaled)


@pytest.mark.parametrize(("megabytes", "status"), [(1, 200), (15.9, 200), (17, 413)])
def test_a_large_request_passes_up_to_the_limit_of_the_service(scaled: Stack, megabytes: float, status: int) -> None:
    body = BODY[:-1] + " " * int(megabytes * MEGABYTE) + "}"
    answer = requests.post(f"{scaled.url}/invocations", body, headers={"Content-Type": "application/json"}, timeout=60)
    assert answer.status_code == status
    assert answer.json().get("predictions") == (CLASSES if status == 200 else None)


@pytest.mark.parametrize(("clients", "promised"), [(300, 1000), (40, MEGABYTE)], ids=["small", "large"])
def test_slow_clients_do_not_keep_others_waiting(scaled: Stack, clients: Any, promised: Any) -> None:
    head = (
        f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {promised}\r\n\r\n"
    )
    with ExitStack() as stack:
        for _ in range(clients):
            address = ("127.0.0.1", int(scaled.settings["INFERENCE_PORT"]))
            stack.enter_context(socket.create_connection(address, timeout=10)).sendall((head + "{").encode())
        started = time.monotonic()
        for _ in range(20):
            assert scaled.predict() == CLASSES
        assert time.monotonic() - started < 10


def test_a_moved_alias_reaches_every_worker_of_every_replica_and_no_request_fails(
    scaled: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    _all_are_reached(scaled)
    current = scaled.alias()
    scaled.compose("run", "--rm", "trainer", "train", "--no-promote")
    other = max(scaled.versions(), key=int)
    again = _sent_again(scaled)
    with load_on(scaled) as load:
        for version in (other, current, other, current):
            before = len(scaled.changes())
            scaled.set_alias(version)
            eventually("three replicas have changed", lambda before=before: len(scaled.changes()) >= before + 3)  # type: ignore[misc]
            changes = scaled.changes()[before:]
            assert [(change["version"], change["workers"]) for change in changes] == [(version, 2)] * 3
            # Each on a connection of its own, of which the proxy spreads them over all replicas and their workers.
            answers = [requests.get(f"{scaled.url}/version", timeout=10) for _ in range(24)]
            assert {answer.headers["X-Model-Version"] for answer in answers} == {version}
    _proves_that_nothing_was_lost(load, at_least=100, capsys=capsys, again=_sent_again(scaled) - again)


# --- coming and going ----------------------------------------------------------------------------------------------


def _leave_one_behind(stack: Stack) -> tuple[str, str]:
    """Have Production move while one of three replicas looks for that no more often than once an hour; return from and to which version."""
    docker("rm", "--force", next(iter(_replicas(stack))))
    with setting(stack, MODEL_POLL_SECONDS="3600"):
        stack.compose("up", "--detach", "--wait", "--no-deps", "--no-build", "--no-recreate", "inference")
    _all_are_reached(stack)
    if (before := stack.alias()) == max(stack.versions(), key=int):
        stack.compose("run", "--rm", "trainer", "train", "--no-promote")
    changes, after = len(stack.changes()), max(stack.versions(), key=int)
    stack.set_alias(after)
    eventually("two replicas have changed", lambda: len(stack.changes()) >= changes + 2)
    return before, after


def _served(stack: Stack) -> tuple[str, str, str]:
    """Return what the doctor says of the versions that replicas serve."""
    (row,) = [row for row in stack.doctor() if row["name"] == "served"]
    return row["status"], row["says"], row["mend"]


def test_a_rolling_re_creation_loses_no_request_and_brings_new_code_and_settings_and_has_replicas_agree_again(
    scaled: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = ", ".join(sorted(_leave_one_behind(scaled), key=int))
    assert _served(scaled) == ("FAIL", f"replicas serve different versions: {numbers}", "scripts/roll")
    before, again = _replicas(scaled), _sent_again(scaled)
    code = scaled.folder / CODE
    code.write_text(f"{code.read_text()}\nROLLED = True\n")
    scaled.write_env(MODEL_POLL_SECONDS="0.7")
    with load_on(scaled) as load:
        result = _roll(scaled)
    assert result.returncode == 0, result.stdout + result.stderr
    with capsys.disabled():
        print("\n" + result.stdout)
    after = _replicas(scaled)
    assert len(after) == 3
    assert not set(after) & set(before)
    for name, replica in after.items():
        assert "MODEL_POLL_SECONDS=0.7" in replica["Config"]["Env"]
        assert "ROLLED = True" in docker("exec", name, "cat", "/app/inference/__init__.py")
    _proves_that_nothing_was_lost(load, at_least=1000, capsys=capsys, again=_sent_again(scaled) - again)
    scaled.compose("kill", "proxy")
    rows = {row["name"]: row for row in scaled.doctor()}
    assert rows["served"]["says"] == f"version {scaled.alias()}, by all 3 replicas"
    assert "nothing answers at 127.0.0.1:" in rows["proxy"]["says"]
    assert rows["containers"]["says"].startswith("proxy is not running")
    assert {rows[name]["mend"] for name in ("proxy", "containers")} == {"docker compose up -d --wait"}
    # A plain `up` finds nothing else to do.
    scaled.up()
    assert set(_replicas(scaled)) == set(after)
    assert scaled.predict() == CLASSES


def test_a_replica_that_is_off_the_network_of_mlflow_is_named_and_put_back_by_the_command_that_is_named(
    scaled: Stack,
) -> None:
    replica, network = next(iter(_replicas(scaled))), f"{scaled.name}_tracking"
    docker("network", "disconnect", network, replica)
    try:
        (row,) = [row for row in scaled.doctor() if row["name"] == "containers"]
        assert row["says"].endswith("is not in the network tracking, so others do not reach it there")
        subprocess.run(row["mend"].split(), check=True, capture_output=True)
        agreed = ("ok", f"version {scaled.alias()}, by all 3 replicas", "")
        eventually("it serves what the others do", lambda: _served(scaled) == agreed)
    finally:
        if network not in json.loads(docker("inspect", replica))[0]["NetworkSettings"]["Networks"]:
            docker("network", "connect", "--alias", "inference", network, replica)


def _roll(stack: Stack) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name not in stack.settings}
    environ["COMPOSE_PROJECT_NAME"] = stack.name
    return subprocess.run(["scripts/roll"], cwd=stack.folder, env=environ, capture_output=True, text=True, timeout=600)


def test_a_killed_replica_loses_no_request(scaled: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    _all_are_reached(scaled)
    again = _sent_again(scaled)
    with load_on(scaled, pause=0) as load:
        eventually("the load is on", lambda: load.answered > 200)
        docker("kill", next(iter(_replicas(scaled))))
        answered = load.answered
        eventually("it goes on", lambda: load.answered > answered + 1000)
    _proves_that_nothing_was_lost(load, at_least=1200, capsys=capsys, again=_sent_again(scaled) - again)
    scaled.put_right("inference")
    _all_are_reached(scaled)


@pytest.mark.parametrize("end", ["dies", "hangs"])
def test_requests_that_a_replica_had_when_it_stopped_answering_are_answered_by_another(
    scaled: Stack, capsys: pytest.CaptureFixture[str], end: str
) -> None:
    _all_are_reached(scaled)
    again, replica = _sent_again(scaled), next(iter(_replicas(scaled)))
    with load_on(scaled) as load:
        # Stopped where it stands, it takes requests and answers none.
        docker("exec", replica, "sh", "-c", "kill -STOP -1")
        eventually("it has requests", lambda: any(int(row["scur"]) >= 1 for row in _servers(scaled)), seconds=10)
        if end == "dies":
            docker("kill", replica)
        _all_are_reached(scaled, 2)
        answered = load.answered
        eventually("the load goes on", lambda: load.answered > answered + 200)
    if end == "hangs":
        docker("kill", replica)
    assert _sent_again(scaled) > again
    _proves_that_nothing_was_lost(load, at_least=200, capsys=capsys, again=_sent_again(scaled) - again)
    scaled.put_right("inference")
    _all_are_reached(scaled)


def test_fewer_replicas_and_more_again_lose_no_request(scaled: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    _all_are_reached(scaled)
    again = _sent_again(scaled)
    with load_on(scaled) as load:
        _scale(scaled, 1)
        assert len(_replicas(scaled)) == 1
        _scale(scaled, 3)
        _all_are_reached(scaled)
    _proves_that_nothing_was_lost(load, at_least=500, capsys=capsys, again=_sent_again(scaled) - again)


def test_a_new_replica_that_does_not_become_ready_changes_nothing(scaled: Stack) -> None:
    before = _replicas(scaled)
    scaled.write_env(MODEL_TRUST="sgined")
    try:
        result = _roll(scaled)
    finally:
        scaled.write_env(MODEL_TRUST="signed")
    assert result.returncode == 1
    assert "MODEL_TRUST" in result.stderr
    assert "the replicas that were there go on" in result.stderr
    assert set(_replicas(scaled)) == set(before)
    assert scaled.predict() == CLASSES


def test_without_any_replica_the_proxy_says_so_and_it_serves_when_they_are_back(scaled: Stack) -> None:
    scaled.compose("up", "--detach", "--no-build", "--scale", "inference=0")
    answer = requests.post(f"{scaled.url}/invocations", BODY, headers={"Content-Type": "application/json"}, timeout=60)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert answer.json()["error_code"] == "TEMPORARILY_UNAVAILABLE"
    assert answer.json()["message"]
    scaled.put_right("inference")
    eventually("predictions work", lambda: scaled.predict() == CLASSES)
    _all_are_reached(scaled)


def test_what_replicas_without_a_model_say_reaches_the_client(scaled: Stack) -> None:
    alias, version = {"name": "iris_logistic_regression", "alias": "Production"}, scaled.alias()
    assert requests.delete(f"{scaled.mlflow_url}/api/2.0/mlflow/registered-models/alias", json=alias, timeout=10).ok
    try:
        # As long as the cache that they share has a version, they go on with it.
        scaled.compose("exec", "-T", "inference", "find", "/cache", "-mindepth", "1", "-delete")
        scaled.compose("restart", "--no-deps", "inference")
        eventually(
            "the reason is told",
            lambda: (
                "has the alias 'Production' yet"
                in str(requests.get(f"{scaled.url}/ready", timeout=10).json().get("reasons"))
            ),
        )
        # The proxy hangs up on who is asking a replica at the moment at which it finds it unfit.
        refused = eventually(
            "so is a prediction",
            lambda: [requests.post(f"{scaled.url}/invocations", json={"instances": SAMPLES}, timeout=10)],
        )[0]
        assert (refused.status_code, bool(refused.headers["Retry-After"])) == (503, True)
        assert "has the alias 'Production' yet" in refused.json()["message"]
    finally:
        scaled.set_alias(version)
    eventually("predictions work", lambda: scaled.predict() == CLASSES)
    _all_are_reached(scaled)


def test_the_proxy_ends_by_itself_within_its_grace_period(scaled: Stack) -> None:
    scaled.compose("stop", "proxy")
    state = scaled.containers()["proxy"]["State"]
    scaled.put_right("proxy")
    assert state["ExitCode"] == 0
    assert scaled.predict() == CLASSES
