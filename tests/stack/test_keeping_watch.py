"""With compose.monitoring.yaml a real Prometheus watches the real services, and a real alert reaches people."""

import json
import re
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
import requests

from tests.backups import backup, shown_by
from tests.compose import CLASSES, ROOT, SAMPLES, Stack, docker, eventually, free_ports

PARTS = ("prometheus", "alertmanager", "postgres-exporter", "backup-figures")
# What there is to watch beside the stack, and tells of it.
OTHERS = ("shipper", "watch", "schedule")
VOLUMES = ["prometheus-secrets", "alertmanager-secrets", "postgres-exporter-secrets", "grafana-secrets"]
VOLUMES += ["prometheus-data", "alertmanager-data", "backup-figures"]
VOLUMES += ["prediction-spool", "predictions-secrets", "monitor-secrets", "monitor-login", "schedule"]
SETTINGS = {
    "COMPOSE_FILE": "compose.yaml:compose.predictions.yaml:compose.monitoring.yaml",
    "COMPOSE_PROFILES": "monitor,schedule",
    "PREDICTION_LOG": "1",
    "PREDICTION_LOG_SECONDS": "0.5",
    "MONITOR_SECONDS": "3",  # a look takes a second of a core
    "MONITOR_ROWS": "50",
    "MONITOR_LOG": "false",
    "TRAIN_ON_DRIFT": "false",  # until the last test
    "TRACE_SHARE": "1",
}
BOARDS = [json.loads(path.read_text()) for path in (ROOT / "monitoring/grafana/dashboards").glob("*.json")]


class Webhook(BaseHTTPRequestHandler):
    """Somebody's chat."""

    told: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        self.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


class MailServer(socketserver.StreamRequestHandler):
    """Somebody's mail server, as far as one mail at a time needs it."""

    mails: ClassVar[list[str]] = []

    def handle(self) -> None:
        self.wfile.write(b"220 mail\r\n")
        for line in self.rfile:
            word = line[:4].upper()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                self.mails.append("".join(iter(lambda: self.rfile.readline().decode(), ".\r\n")))
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")


@pytest.fixture(scope="module")
def people() -> Iterator[dict[str, str]]:
    """Who is told, at addresses that containers reach, as settings."""
    gateway = docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
    servers = [ThreadingHTTPServer((gateway, 0), Webhook), socketserver.ThreadingTCPServer((gateway, 0), MailServer)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    webhook, mail = (server.server_address[1] for server in servers)
    yield {
        "ALERT_WEBHOOK_URL": f"http://host.docker.internal:{webhook}/hook",
        "ALERT_EMAIL_TO": "ops@example.com",
        "ALERT_SMTP_SERVER": f"host.docker.internal:{mail}",
        "ALERT_SMTP_TLS": "false",
    }
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def prometheus(stack: Stack, people: dict[str, str]) -> Iterator[str]:
    """Prometheus's address beside the stack, whose clock of 15 seconds and patience of minutes are seconds here."""
    ports = dict(zip(("PROMETHEUS_PORT", "ALERTMANAGER_PORT"), map(str, free_ports(2)), strict=True))
    settings = SETTINGS | ports | people
    stack.write_env(**settings)
    folder = stack.folder / "monitoring"
    kept = {path: path.read_text() for path in (folder / "prometheus.yml", folder / "rules.yml")}
    for path, text in kept.items():
        path.write_text(re.sub(r"(_interval|for): \w+(}?)$", r"\1: 1s\2", text, flags=re.M))
    try:
        stack.compose("up", "--detach", "--wait", *PARTS, *OTHERS, "minio", "inference")
        yield f"http://localhost:{ports['PROMETHEUS_PORT']}/api/v1"
    finally:
        stack.compose("rm", "--stop", "--force", *PARTS, *OTHERS)
        for path, text in kept.items():
            path.write_text(text)
        for name in settings:
            del stack.settings[name]
        stack.write_env()
        stack.up("--no-build")
        docker("volume", "rm", *(f"{stack.name}_{name}" for name in VOLUMES))
        docker("network", "rm", f"{stack.name}_watching", f"{stack.name}_alerts")


def asked(prometheus: str, path: str, **query: str) -> Any:
    answer = requests.get(f"{prometheus}/{path}", params=query, timeout=10).json()
    assert answer["status"] == "success", answer
    return answer["data"]


def test_each_alert_fires_when_it_has_to_and_then_alone(stack: Stack, prometheus: str) -> None:
    mount = f"{ROOT / 'monitoring'}:/rules:ro"
    image = stack.containers()["prometheus"]["Config"]["Image"]
    for arguments in (("test", "rules", "/rules/rules_test.yml"), ("check", "rules", "/rules/rules.yml")):
        docker("run", "--rm", "--network", "none", "--volume", mount, "--entrypoint", "promtool", image, *arguments)


def test_prometheus_finds_all_that_it_watches_and_each_replica_by_its_own_address(
    stack: Stack, prometheus: str
) -> None:
    def up() -> set[str]:
        targets = asked(prometheus, "targets")["activeTargets"]
        return {target["labels"]["job"] for target in targets if target["health"] == "up"}

    jobs = {"inference", "watch", "schedule", "postgres", "minio", "prometheus", "alertmanager"}
    eventually("all are up", lambda: up() == jobs)
    (target,) = [t for t in asked(prometheus, "targets")["activeTargets"] if t["labels"]["job"] == "inference"]
    networks = stack.containers()["inference"]["NetworkSettings"]["Networks"]
    assert target["labels"]["instance"] == f"{networks[f'{stack.name}_tracking']['IPAddress']}:1235"


def live(stack: Stack) -> None:
    """Have the service asked, what it is asked labelled, and something refused, which is all that panels show."""
    for number in range(4):
        body, headers = {"instances": SAMPLES * 10}, {"X-Request-ID": f"watched-{number}"}
        requests.post(f"{stack.url}/predict_names", json=body, headers=headers, timeout=10).raise_for_status()
    labels = [{"request_id": "watched-0", "row": row, "label": label} for row, label in enumerate(CLASSES)]
    requests.post(f"{stack.url}/labels", json={"labels": labels}, timeout=10).raise_for_status()
    assert requests.post(f"{stack.url}/invocations", json={}, timeout=10).status_code == 400


def unanswered(prometheus: str) -> set[str]:
    """Return the titles of what has an expression that Prometheus has no series for."""
    found = set()
    for board in BOARDS:
        for shown in board["panels"]:
            expressions = [target["expr"].replace("$__rate_interval", "1m") for target in shown["targets"]]
            if not all(asked(prometheus, "query", query=expression)["result"] for expression in expressions):
                found.add(shown["title"])
    return found


def test_every_panel_and_every_rule_is_answered_by_a_real_prometheus(stack: Stack, prometheus: str) -> None:
    made = backup(stack)
    assert shown_by(made)[0], made.stderr

    def shown() -> bool:
        live(stack)
        assert unanswered(prometheus) == set()
        return True

    eventually("all panels show something", shown, seconds=120)
    rules = [rule for group in asked(prometheus, "rules")["groups"] for rule in group["rules"]]
    assert {rule["health"] for rule in rules} == {"ok"}
    expressions = [rule["query"] for rule in rules]
    expressions += [target["expr"] for board in BOARDS for shown in board["panels"] for target in shown["targets"]]
    expressions += [note["target"]["expr"] for board in BOARDS for note in board["annotations"]["list"]]
    # Of our own parts a unit test knows the names.
    of_exporters = {name for expression in expressions for name in re.findall(r"\b(?:pg|minio)_\w+", expression)}
    assert of_exporters <= set(asked(prometheus, "label/__name__/values"))
    for expression in expressions:
        asked(prometheus, "query", query=expression.replace("$__rate_interval", "1m"))
    # The alert on old backups is about the one that was made, and it is not old.
    (old,) = [rule for rule in rules if rule["name"] == "BackupTooOld"]
    assert old["state"] == "inactive"
    (age,) = asked(prometheus, "query", query=old["query"].partition(" > ")[0])["result"]
    assert 0 <= float(age["value"][1]) < 600


def test_a_request_that_is_traced_is_in_mlflow(stack: Stack, prometheus: str) -> None:
    headers = {"X-Request-ID": "traced"}
    requests.post(
        f"{stack.url}/invocations", json={"instances": SAMPLES}, headers=headers, timeout=10
    ).raise_for_status()
    traces = f"{stack.mlflow_url}/api/3.0/mlflow/traces"
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}
    newest = {"locations": [place], "order_by": ["timestamp_ms DESC"], "max_results": 1}

    def traced() -> dict[str, Any]:
        """Return the spans of the newest trace by their names, once it is the request's."""
        found = requests.post(f"{traces}/search", json=newest, timeout=10).json().get("traces")
        assert found, "there is none"
        whole = requests.get(f"{traces}/get", {"trace_id": found[0]["trace_id"]}, timeout=10).json()["trace"]
        assert "traced" in [one["value"].get("string_value") for one in whole["spans"][0]["attributes"]]
        return {span["name"]: span for span in whole["spans"]}

    assert set(eventually("its trace is there", traced)) == {
        "POST /invocations",
        "wait",
        "parse",
        "predict",
        "serialize",
    }


def told(alert: str, job: str) -> bool:
    """Tell whether the chat has heard that an alert fires."""
    heard = (one for message in Webhook.told for one in message["alerts"] if one["status"] == "firing")
    return any((one["labels"]["alertname"], one["labels"].get("job")) == (alert, job) for one in heard)


def test_alerts_reach_people_by_webhook_and_by_mail_that_of_a_real_drift_too(stack: Stack, prometheus: str) -> None:
    stack.compose("stop", "postgres-exporter")
    eventually("the chat is told", lambda: told("PartDown", "postgres"))
    mails = eventually("a mail comes", lambda: [mail for mail in MailServer.mails if "PartDown" in mail])
    assert "To: ops@example.com" in mails[0]
    live(stack)  # of three flowers, over and over
    eventually("the chat is told of the drift", lambda: told("FeatureDrift", "watch"), seconds=120)


def test_what_watches_cannot_change_anything_and_is_reached_from_this_machine_alone(
    stack: Stack, prometheus: str
) -> None:
    found = stack.containers()
    for part in PARTS:
        host = found[part]["HostConfig"]
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert host["Memory"] > 0
        addresses = {port["HostIp"] for ports in (host["PortBindings"] or {}).values() for port in ports}
        assert addresses <= {"127.0.0.1"}
    sql = "SELECT rolsuper, has_database_privilege('exporter', 'mlflow', 'CONNECT') FROM pg_roles WHERE rolname = 'exporter'"
    told = stack.compose("exec", "-T", "postgres", "psql", "-U", "postgres", "-Atc", sql).stdout.strip()
    assert told == "f|f"


def test_on_the_drift_that_the_monitor_sees_the_schedule_begins_a_training(stack: Stack, prometheus: str) -> None:
    """What comes of one is in tests/integration/test_monitoring.py."""
    stack.write_env(TRAIN_ON_DRIFT="true", TRAIN_ARGS="--no-promote", TRAIN_MIN_HOURS="0.01")
    try:
        # Of its volume it knows of a training of minutes ago (tests/stack/test_in_time.py).
        stack.put_right("schedule")
        eventually("it begins", lambda: "training, by drift" in stack.logs("schedule"))
    finally:
        del stack.settings["TRAIN_ARGS"], stack.settings["TRAIN_MIN_HOURS"]
