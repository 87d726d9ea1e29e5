"""Other machines are let in with a login or on purpose, and by HTTPS: names, certificates, redirects, limits, links."""

import json
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, Response, expect, sync_playwright

from tests.authority import Authority
from tests.backups import backup, shown_by
from tests.chromium import PROGRAM
from tests.compose import BODY, CLASSES, Stack, built_meanwhile, docker, eventually, free_ports
from tests.conftest import LEFT_OUT

SITES = ("mlflow", "models", "minio")
REFUSED = "BIND_ADDRESS is 0.0.0.0, where other machines reach this stack, and nothing asks them for a login"
APP = "https://app.test"
NOBODY = "No service has this name.\n"
FAILED = "TypeError: Failed to fetch"
ROOT = "/data/caddy/pki/authorities/local/root.crt"
FILES = "compose.yaml:compose.console.yaml:compose.edge.yaml"
# What Debian's pebble takes from a folder of the test's: an authority that speaks ACME and looks who answers under a name.
PEBBLE = {
    "listenAddress": "0.0.0.0:14000",
    "managementListenAddress": "0.0.0.0:15000",
    "httpPort": 8080,
    "tlsPort": 8443,
}


@dataclass
class Answer:
    """What curl was answered."""

    status: int
    version: str
    headers: dict[str, list[str]]
    body: str


@dataclass
class Edge:
    """A stack with HTTPS in front, under names that curl and Chromium are told the address of."""

    stack: Stack
    address: str
    """of this machine, where other machines reach it: here, containers of other networks"""
    port: str
    http_port: str

    def url(self, site: str, host: str = "factory.test") -> str:
        return f"https://{site}.{host}:{self.port}"

    def curl(self, url: str, *options: str, check: bool = True) -> Answer:
        """Ask, trusting the file `authority.pem` alone."""
        name, port = re.fullmatch(r"https?://([^/:]+):(\d+).*", url).groups()
        form = "\n%{http_code} %{http_version} %{header_json}"
        command = ["curl", "--silent", "--show-error", "--max-time", "20", "--write-out", form, "--cacert"]
        command += [
            str(self.stack.folder / "authority.pem"),
            "--resolve",
            f"{name}:{port}:{self.address}",
            *options,
            url,
        ]
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0 or not check, result.stderr
        body, status, version, headers = re.fullmatch(r"(.*)\n(\d+) (\S+) (\{.*\})\s*", result.stdout, re.S).groups()
        return Answer(int(status), version, json.loads(headers), body)

    def take_authority(self, pem: str) -> None:
        (self.stack.folder / "authority.pem").write_text(pem)


def _outside() -> str:
    return docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")


def _leave(stack: Stack, *names: str) -> None:
    for name in names:
        stack.settings.pop(name, None)
    stack.write_env()


# --- nobody opens it by accident ----------------------------------------------------------------------------------------


def test_without_a_login_nothing_answers_other_machines_and_what_did_before_is_stopped(stack: Stack) -> None:
    stack.write_env(BIND_ADDRESS="0.0.0.0")  # noqa: S104
    try:
        failed = stack.compose("up", "--detach", "--wait", "--no-build", check=False)
        assert failed.returncode != 0
        assert 'service "secrets" didn\'t complete successfully' in failed.stderr
        assert f"secrets: {REFUSED}; either add compose.login.yaml to COMPOSE_FILE, or" in stack.logs("secrets")
        # It waits for no set-up job, so Compose starts it: it looks by itself.
        eventually("inference refuses, too", lambda: f"inference: {REFUSED}" in stack.logs("inference"))
        assert stack.containers()["mlflow"]["State"]["Status"] != "running"
        for setting in ("MLFLOW_PORT", "INFERENCE_PORT"):
            for address in (_outside(), "127.0.0.1"):
                with pytest.raises(requests.ConnectionError):
                    requests.get(f"http://{address}:{stack.settings[setting]}/health", timeout=5)
        alone = stack.compose("run", "--rm", "--no-deps", "mlflow", check=False)
        assert alone.returncode == 1
        assert f"mlflow: {REFUSED}" in alone.stderr + alone.stdout
    finally:
        _leave(stack, "BIND_ADDRESS")  # the next test starts it


# --- HTTPS with an authority of its own ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pebble_image(stack: Stack) -> Iterator[Callable[[], str]]:
    """Debian's pebble, for the last of these tests."""
    base = os.environ.get("DEBIAN_IMAGE", "debian:trixie-slim")
    install = "apt-get update -qq && apt-get install -y -qq --no-install-recommends pebble"
    with built_meanwhile(f"{stack.name}-https-pebble", f"FROM {base}\nRUN {install}\n") as image:
        yield image


@pytest.fixture(scope="module")
def edge(stack: Stack, pebble_image: Callable[[], str]) -> Iterator[Edge]:
    https, http = map(str, free_ports(2))
    changed = {"COMPOSE_FILE": FILES, "PUBLIC_HOST": "factory.test,office.test", "HTTPS_PORT": https, "HTTP_PORT": http}
    changed |= {"TLS": "internal", "EDGE_SITES": ",".join(SITES), "EDGE_MAX_UPLOAD_MB": "1"}
    changed["INFERENCE_CORS_ORIGINS"] = APP
    stack.write_env(**changed, BIND_ADDRESS=_outside(), ALLOW_OPEN="true")
    edge = Edge(stack, _outside(), https, http)
    try:
        stack.up("--no-build")
        edge.take_authority(stack.compose("exec", "-T", "edge", "cat", ROOT).stdout)
        yield edge
    finally:
        _leave(stack, *changed, "BIND_ADDRESS", "ALLOW_OPEN")
        stack.up("--no-build", "--remove-orphans")
        docker("volume", "rm", f"{stack.name}_edge-data", f"{stack.name}_edge-secrets")
        docker("network", "rm", f"{stack.name}_edge")


@pytest.fixture
def settings(edge: Edge) -> Iterator[Any]:
    """A function that sets more settings, which are gone after the test."""
    before = dict(edge.stack.settings)
    yield edge.stack.write_env
    edge.stack.settings = before
    edge.stack.write_env()


def test_the_edge_alone_is_reached_from_elsewhere_and_it_needs_a_login_or_a_word_as_well(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_PORT", "INFERENCE_PORT", "MINIO_CONSOLE_PORT"):
        port = int(edge.stack.settings[name])
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((edge.address, port), timeout=5)
    for published in (edge.port, edge.http_port):
        socket.create_connection((edge.address, int(published)), timeout=5).close()
    monkeypatch.setenv("ALLOW_OPEN", "false")
    del edge.stack.settings["ALLOW_OPEN"]
    refused = edge.stack.compose("run", "--rm", "--no-deps", "secrets", check=False)
    edge.stack.settings["ALLOW_OPEN"] = "true"
    assert f"secrets: {REFUSED.replace('0.0.0.0', edge.address)}" in refused.stderr  # noqa: S104


def test_each_service_answers_under_each_of_its_names_by_http_2_with_headers_that_keep_browsers_safe(
    edge: Edge,
) -> None:
    for host in ("factory.test", "office.test"):
        for site, path in {"mlflow": "/version", "models": "/version", "minio": "/login"}.items():
            answer = edge.curl(edge.url(site, host) + path)
            assert (answer.status, answer.version) == (200, "2"), site
            assert answer.headers["x-content-type-options"] == ["nosniff"], site
            assert answer.headers["referrer-policy"] == ["strict-origin-when-cross-origin"], site
            assert not {"server", "strict-transport-security"} & set(answer.headers), site


def test_http_is_sent_to_https_on_the_port_of_the_outside_and_no_other_name_is_served(edge: Edge) -> None:
    sent = edge.curl(f"http://mlflow.factory.test:{edge.http_port}/a/b?c=d")
    assert (sent.status, sent.headers["location"]) == (308, [f"{edge.url('mlflow')}/a/b?c=d"])
    for url in (f"http://other.test:{edge.http_port}/", f"{edge.url('mlflow')}/version"):
        refused = edge.curl(url, "--header", "Host: other.test")
        assert (refused.status, refused.body) == (404, NOBODY)
    assert edge.curl(edge.url("mlflow", "other.test"), check=False).status == 0


def test_mlflow_takes_changes_from_its_own_page_under_the_public_name_and_from_no_other(edge: Edge) -> None:
    url = f"{edge.url('mlflow')}/ajax-api/2.0/mlflow/runs/search"
    send = ["--json", '{"experiment_ids": ["0"]}', "--header"]
    assert edge.curl(url, *send, f"Origin: {edge.url('mlflow')}").status == 200
    assert edge.curl(url, *send, f"Origin: {edge.url('models')}").status == 403
    # What is not by HTTPS may be anybody's on the way.
    for page in ("https://page.example", "http://mlflow.factory.test", f"http://mlflow.factory.test:{edge.http_port}"):
        assert edge.curl(url, *send, f"Origin: {page}").status == 403, page


def test_predictions_are_made_under_the_public_name_for_programs_and_its_own_page(edge: Edge) -> None:
    url, send = f"{edge.url('models')}/invocations", ["--json", BODY]
    assert json.loads(edge.curl(url, *send).body)["predictions"] == CLASSES
    assert edge.curl(url, *send, "--header", f"Origin: {edge.url('models')}").status == 200
    assert edge.curl(url, *send, "--header", "Origin: https://page.example").status == 403


def test_an_upload_over_the_limit_is_refused_when_it_says_so_and_cut_off_when_it_does_not(edge: Edge) -> None:
    large = edge.stack.folder / "large"
    large.write_bytes(bytes(1_500_000))
    url = f"{edge.url('mlflow')}/api/2.0/mlflow-artifacts/artifacts/0/https/large"
    send = ["--upload-file", str(large)]
    # As curl has to stop sending, it loses the text now and then.
    assert edge.curl(url, *send, check=False).status == 413
    asks_first = ["--http1.1", "--header", "Expect: 100-continue", "--expect100-timeout", "20"]
    assert edge.curl(url, *send, *asks_first).body == "An upload may have 1 MB here (EDGE_MAX_UPLOAD_MB).\n"
    cut_off = edge.curl(url, *send, "--http1.1", "--header", "Transfer-Encoding: chunked", check=False).status
    assert cut_off in (0, 100) or cut_off >= 400  # the first two: the connection was closed before the answer came
    large.write_bytes(bytes(900_000))
    assert edge.curl(url, *send).status == 200


def test_the_login_of_minios_console_is_kept_in_a_cookie_that_goes_over_https_alone(edge: Edge) -> None:
    password = edge.stack.compose("exec", "-T", "minio", "cat", "/run/secrets/root-password").stdout
    login = json.dumps({"accessKey": "admin", "secretKey": password})
    url = f"{edge.url('minio')}/api/v1/login"
    answer = edge.curl(url, "--json", login)
    assert answer.status == 204, answer.body
    (cookie,) = answer.headers["set-cookie"]
    assert cookie.endswith("; Secure")
    assert edge.curl(url, "--json", login.replace(password, "minioadmin")).status == 401
    # As the README says, on this machine: compose.console.yaml is among the files.
    local = f"{edge.stack.console_url}/api/v1/login"
    assert requests.post(local, json=json.loads(login), timeout=10).status_code == 204
    look = "for p in /proc/[0-9]*; do tr '\\0' '\\n' <$p/environ; done 2>/dev/null; true"
    environ = edge.stack.compose("exec", "-T", "minio", "bash", "-c", look).stdout.splitlines()
    assert f"MINIO_BROWSER_REDIRECT_URL={edge.url('minio')}" in environ


def test_a_notebook_that_trusts_the_authority_logs_a_run_with_a_file(edge: Edge) -> None:
    code = """
import os, socket
known, there = socket.getaddrinfo, os.environ["THERE"]
socket.getaddrinfo = lambda host, *rest, **more: known(there if host.endswith(".test") else host, *rest, **more)
import mlflow
with mlflow.start_run() as run:
    mlflow.log_text("by HTTPS", "note.txt")
print(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/note.txt"))
"""
    trust = {"MLFLOW_TRACKING_SERVER_CERT_PATH": str(edge.stack.folder / "authority.pem")}
    place = {"MLFLOW_TRACKING_URI": edge.url("mlflow"), "THERE": edge.address}
    result = edge.stack.notebook(code, **place, **trust)
    assert "by HTTPS" in result.stdout, result.stderr
    refused = edge.stack.notebook(code, **place, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    assert "CERTIFICATE_VERIFY_FAILED" in refused.stderr


def test_printed_links_are_the_public_ones(edge: Edge) -> None:
    ready = [line for line in edge.stack.logs("inference").splitlines() if "Ready:" in line][-1]
    assert edge.url("models") in ready
    assert edge.url("mlflow") in ready
    environ = edge.stack.compose("config", "--format", "json").stdout
    trainer = json.loads(environ)["services"]["bootstrap"]["environment"]["MLFLOW_PUBLIC_URL"]
    assert trainer.strip() == f"https://*.factory.test,office.test:{edge.port}"


def test_what_does_not_answer_behind_the_edge_is_named_by_the_doctor_and_mended_by_its_command(edge: Edge) -> None:
    edge.stack.compose("kill", "inference")
    rows = {row["name"]: row for row in edge.stack.doctor()}
    assert rows["edge"]["status"] == "FAIL"
    assert f"answers 502 to the name models.factory.test:{edge.port}" in rows["edge"]["says"]
    assert rows["edge"]["mend"] == "docker compose logs --tail 20 inference"
    assert (rows["certificate"]["status"], rows["certificate"]["mend"]) == ("ok", "")
    assert rows["containers"]["says"].startswith("inference is not running")
    assert rows["containers"]["mend"] == "docker compose up -d --wait"
    edge.stack.up("--no-build")
    assert json.loads(edge.curl(f"{edge.url('models')}/invocations", "--json", BODY).body)["predictions"] == CLASSES


# --- in Chromium --------------------------------------------------------------------------------------------------------


browsing = pytest.mark.skipif("browser" in LEFT_OUT, reason="there is no browser")
# As a page asks: JSON, for which its browser asks for permission first.
ASK = """async ([url, body]) => {
    const headers = {"Content-Type": "application/json"}, signal = AbortSignal.timeout(30000);
    try { return await (await fetch(url, {method: "POST", headers, body, signal})).text(); }
    catch (error) { return String(error); }
}"""


Launch = Callable[..., Browser]


@pytest.fixture(scope="module")
def launch(edge: Edge) -> Iterator[Launch]:
    """A function that starts a Chromium which is told the address of the names; what else it takes is Playwright's."""
    names = f"--host-resolver-rules=MAP *.test {edge.address}"
    with sync_playwright() as playwright:
        yield partial(playwright.chromium.launch, executable_path=PROGRAM, args=[names])


@pytest.fixture(scope="module")
def chromium(launch: Launch) -> Iterator[Browser]:
    browser = launch()
    yield browser
    browser.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page of somebody who has let pages of the internet reach this network, which Chromium asks."""
    context = chromium.new_context(ignore_https_errors=True, permissions=["local-network-access"])
    context.set_default_timeout(30_000)
    yield context.new_page()
    context.close()


@browsing
def test_who_comes_by_http_works_with_both_pages_by_https_and_http_2_and_is_led_to_public_names_alone(
    edge: Edge, page: Page
) -> None:
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))
    page.goto(f"http://models.factory.test:{edge.http_port}")
    assert page.url == f"{edge.url('models')}/"
    page.get_by_role("button", name="Iris virginica").click()
    expect(page.get_by_text("virginica", exact=True).first).to_be_visible()
    expect(page.locator("#by")).to_contain_text("of iris_logistic_regression answered")
    assert "localhost" not in page.content()
    with page.expect_navigation():
        page.get_by_role("link", name="This version in MLflow").click()
    assert page.url.startswith(f"{edge.url('mlflow')}/#/models/iris_logistic_regression")
    expect(page.get_by_text(f"Version {edge.stack.alias()}", exact=False).first).to_be_visible(timeout=30_000)
    assert not re.search(r"//(localhost|mlflow:)", page.content())
    (redirect,) = [answer for answer in answers if answer.url.startswith("http:")]
    assert redirect.status == 308
    answers.remove(redirect)
    assert {answer.url[: answer.url.index("/", 8)] for answer in answers} == {edge.url("models"), edge.url("mlflow")}
    assert {answer.headers["x-content-type-options"] for answer in answers} == {"nosniff"}
    spoken = "performance.getEntries().map(entry => entry.nextHopProtocol).filter(Boolean)"
    assert set(page.evaluate(spoken)) == {"h2"}


@browsing
def test_a_page_of_elsewhere_reads_predictions_where_the_setting_names_it_changes_nothing_in_mlflow_and_frames_nothing(
    edge: Edge, page: Page
) -> None:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    for origin, named in ((APP, True), ("https://page.test", False)):
        page.route(f"{origin}/", lambda route: route.fulfill(body="<iframe></iframe>", content_type="text/html"))
        page.goto(f"{origin}/")
        page.unroute_all()  # with it, Playwright would give permissions in the place of the service
        complaints.clear()
        said = page.evaluate(ASK, [f"{edge.url('models')}/invocations", BODY])
        assert said == (json.dumps({"predictions": CLASSES}, separators=(",", ":")) if named else FAILED), complaints
        search = f"{edge.url('mlflow')}/ajax-api/2.0/mlflow/runs/search"
        assert page.evaluate(ASK, [search, '{"experiment_ids": ["0"]}']) == FAILED
        refused = [line for line in complaints if "Response to preflight request doesn't pass" in line]
        assert len(refused) == (1 if named else 2), complaints
    for site in ("models", "mlflow"):
        with page.expect_console_message(lambda message: "frame" in message.text):
            page.evaluate(f"document.querySelector('iframe').src = '{edge.url(site)}/'")


@browsing
def test_who_logs_in_to_minios_console_stays_so_over_a_reload_until_the_sign_out(edge: Edge, page: Page) -> None:
    page.goto(edge.url("minio"))
    page.locator("#accessKey").fill("admin")
    password = edge.stack.compose("exec", "-T", "minio", "cat", "/run/secrets/root-password").stdout
    page.locator("#secretKey").fill(password)
    page.get_by_role("button", name="Login").click()
    expect(page.get_by_text("Object Browser").first).to_be_visible(timeout=30_000)
    (cookie,) = page.context.cookies()
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Lax")
    page.get_by_role("button", name="Acknowledge").click()  # of the licence
    page.reload()
    expect(page.get_by_text("Object Browser").first).to_be_visible(timeout=30_000)
    page.get_by_role("button", name="Sign Out").click()
    expect(page.locator("#accessKey")).to_be_visible(timeout=30_000)
    assert not page.context.cookies()


@browsing
def test_a_name_that_no_service_has_is_refused_with_words(edge: Edge, page: Page) -> None:
    page.goto(f"http://other.factory.test:{edge.http_port}")
    expect(page.get_by_text(NOBODY.strip())).to_be_visible()


# --- what is kept, and what it may do ----------------------------------------------------------------------------------


def test_the_authority_that_clients_trust_comes_back_from_a_backup(edge: Edge, settings: Any, tmp_path: Path) -> None:
    settings(BACKUP_REPOSITORY=str(tmp_path / "repository"))
    made = backup(edge.stack)
    identity, password = shown_by(made)
    assert made.returncode == 0, made.stderr
    (tmp_path / "clone" / "secrets").mkdir(parents=True)
    (tmp_path / "clone" / "secrets" / "backup").write_text(password)
    place = {"BACKUP_REPOSITORY": str(tmp_path / "repository"), "BACKUP_PASSWORD_FILE": "./secrets/backup"}
    other = Stack(tmp_path / "clone", f"{edge.stack.name}-authority", COMPOSE_FILE=FILES, **place)
    job = ("--progress", "quiet", "run", "--rm", "--no-deps", "-T")
    try:
        other.compose(*job, "restore", "volumes", identity)
        root = ROOT.replace("/data/", "/volumes/edge-data/", 1)
        restored = other.compose(*job, "--entrypoint", "cat", "restore", root).stdout
        assert restored == (edge.stack.folder / "authority.pem").read_text()
        other.down("--volumes")
        other.write_env(COMPOSE_FILE="compose.yaml")
        said = other.compose(*job, "restore", "volumes", identity).stdout
        assert said == "Not restored: edge-data, which no service of this stack has\n"
    finally:
        other.remove()


def test_the_edge_is_confined_as_all_containers_are(edge: Edge) -> None:
    container = edge.stack.containers()["edge"]
    host = container["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert {capability.removeprefix("CAP_") for capability in host["CapAdd"]} == {"NET_BIND_SERVICE"}
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert container["Config"]["User"] == "10009:10009"
    assert host["PidsLimit"] > 0
    assert host["Memory"] > 0
    listing = edge.stack.compose("exec", "-T", "edge", "sh", "-c", "cd /run/secrets && stat -c '%n %a %u' *").stdout
    assert {tuple(line.split()) for line in listing.splitlines()} == {
        ("sites.caddy", "400", "10009"), ("options.caddy", "400", "10009"),
    }  # fmt: skip


# --- with a certificate of one's own, and by ACME -----------------------------------------------------------------------


@pytest.fixture
def own(edge: Edge, settings: Any) -> Authority:
    """The authority of a certificate that the edge shows from now on, five days before its end."""
    authority = Authority.new()
    authority.issue(edge.stack.folder / "secrets", "*.factory.test", "*.office.test", life=timedelta(days=5, hours=1))
    settings(TLS="files", TLS_CERTIFICATE_FILE="./secrets/certificate.pem", TLS_KEY_FILE="./secrets/key.pem")
    edge.stack.compose("up", "--detach", "--wait", "--no-build", "edge")
    edge.stack.compose("restart", "edge")  # as the page says it of another one than that of before
    edge.take_authority(authority.pem)
    return authority


def test_a_certificate_of_ones_own_is_shown_and_before_its_end_the_doctor_says_so(edge: Edge, own: Authority) -> None:
    answer = eventually("the edge shows it", lambda: edge.curl(edge.url("models") + "/version"))
    assert answer.headers["strict-transport-security"] == ["max-age=31536000"]
    # It is for all names below, also for those that no service has.
    refused = edge.curl(edge.url("other"))
    assert (refused.status, refused.body) == (404, NOBODY)
    row = next(row for row in edge.stack.doctor() if row["name"] == "certificate")
    assert row["status"] == "warn"
    assert row["says"].endswith(" UTC, 5 days from now")
    assert row["mend"].startswith("the renewed certificate and key in their files, then ")


@browsing
def test_a_browser_that_trusts_it_keeps_to_https_by_itself(
    edge: Edge, own: Authority, launch: Launch, tmp_path: Path
) -> None:
    (tmp_path / "authority.pem").write_text(own.pem)
    (store := tmp_path / ".pki/nssdb").mkdir(parents=True)
    known = ["certutil", "-d", f"sql:{store}"]  # Debian's libnss3-tools
    subprocess.run([*known, "-N", "--empty-password"], check=True)
    subprocess.run([*known, "-A", "-t", "C,,", "-n", "factory", "-i", str(tmp_path / "authority.pem")], check=True)
    eventually("the edge shows it", lambda: edge.curl(edge.url("models") + "/version"))
    browser = launch(env={**os.environ, "HOME": str(tmp_path)})
    page, sent = browser.new_page(), list[tuple[int, str | None]]()
    assert page.goto(f"{edge.url('models')}/version").status == 200  # HSTS counts where no error was ignored
    page.on("response", lambda one: sent.append((one.status, one.headers.get("non-authoritative-reason"))))
    page.goto(f"{edge.url('models').replace('https:', 'http:')}/version")
    browser.close()
    assert sent == [(307, "HSTS"), (200, None)]  # the first by the browser itself: by HTTP nothing left this machine


def test_a_certificate_for_other_names_stops_the_set_up(edge: Edge, settings: Any) -> None:
    Authority.new().issue(edge.stack.folder / "secrets", "mlflow.other.test")
    settings(TLS="files", TLS_CERTIFICATE_FILE="./secrets/certificate.pem", TLS_KEY_FILE="./secrets/key.pem")
    refused = edge.stack.compose("run", "--rm", "--no-deps", "secrets", check=False)
    assert refused.returncode == 1
    assert "TLS_CERTIFICATE_FILE is for mlflow.other.test, not for mlflow.factory.test" in refused.stderr


def _fetched(url: str) -> str:
    return subprocess.run(["curl", "--silent", "--insecure", url], capture_output=True, text=True).stdout


@pytest.fixture
def pebble(edge: Edge, pebble_image: Callable[[], str]) -> Iterator[str]:
    """An authority that speaks ACME, Debian's pebble, in the edge's network; yields the root of its certificates, PEM."""
    name, folder = f"{edge.stack.name}-pebble", edge.stack.folder / "pebble"
    authority = Authority.new()
    authority.issue(folder, "pebble")
    (edge.stack.folder / "secrets").mkdir(exist_ok=True)
    (edge.stack.folder / "secrets" / "acme-root.pem").write_text(authority.pem)
    config = PEBBLE | {"certificate": "/pebble/certificate.pem", "privateKey": "/pebble/key.pem"}
    (folder / "config.json").write_text(json.dumps({"pebble": config}))
    options = ["--network", f"{edge.stack.name}_edge", "--network-alias", "pebble", "--volume", f"{folder}:/pebble:ro"]
    options += ["--env", "PEBBLE_VA_NOSLEEP=1", "--env", "PEBBLE_WFE_NONCEREJECT=0"]
    docker(
        "run",
        "--detach",
        "--name",
        name,
        *options,
        pebble_image(),
        "pebble",
        "-config",
        "/pebble/config.json",
    )
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    try:
        roots = f"https://{docker('inspect', name, '--format', form)}:15000/roots/0"
        # Caddy waits for a minute after an authority that does not answer yet.
        yield eventually("pebble listens", partial(_fetched, roots))
    finally:
        docker("rm", "--force", "--volumes", name)


def test_certificates_come_from_an_authority_that_looks_who_answers_under_the_names(
    edge: Edge, settings: Any, pebble: str
) -> None:
    names = [f"{site}.{host}" for site in SITES for host in ("factory.test", "office.test")]
    aliases = {"services": {"edge": {"networks": {"edge": {"aliases": names}}}}}
    (edge.stack.folder / "compose.aliases.yaml").write_text(json.dumps(aliases))
    settings(TLS="acme", ACME_CA="https://pebble:14000/dir", ACME_CA_ROOT_FILE="./secrets/acme-root.pem")
    settings(ACME_EMAIL="somebody@factory.test", COMPOSE_FILE=f"{FILES}:compose.aliases.yaml")
    edge.stack.compose("up", "--detach", "--wait", "--no-build", "edge")
    edge.take_authority(pebble)
    for name in names:
        address = f"https://{name}:{edge.port}/login"
        answer = eventually(f"a certificate for {name}", partial(edge.curl, address), seconds=150)
        assert answer.headers["strict-transport-security"] == ["max-age=31536000"], name
