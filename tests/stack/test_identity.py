"""With compose.login.yaml MLflow asks for a login: people have roles, and the services go on by accounts of their own.

With compose.sso.yaml people sign on by an identity provider, in Chromium, behind HTTPS and without it.
"""

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.authority import Authority
from tests.browser.conftest import OFFLINE
from tests.compose import ROOT, SAMPLES, Stack, docker, eventually, free_ports
from tests.conftest import BROWSERS, LEFT_OUT

OVERLAY = "compose.yaml:compose.login.yaml"
WITH_LOG = f"{OVERLAY}:compose.predictions.yaml"
WITH_SIGN_ON = f"{OVERLAY}:compose.sso.yaml:compose.provider.yaml"
# Those of both overlays, which the container of the secrets job holds until the next `up` without them.
VOLUMES = (
    "trainer-login",
    "inference-login",
    "monitor-login",
    "monitor-secrets",
    "predictions-secrets",
    "prediction-spool",
)
NAME = "iris_logistic_regression"
# Who the identity provider knows.
PEOPLE = {
    "ines": {"email": "Ines@Example.com", "email_verified": True, "groups": ["office"]},
    "otto": {"email": "otto@example.com", "email_verified": True, "groups": ["office", "ml-team"]},
    "eve": {"email": "eve@elsewhere.test", "email_verified": True, "groups": ["ml-team"]},
    "admin": {"email": "admin", "email_verified": True, "groups": ["ml-team"]},
}


@dataclass
class Login:
    """The stack with a login, and who has an account."""

    stack: Stack
    passwords: dict[str, str]
    compiled: "subprocess.Popen[bytes]"
    """the build of what compose.sso.yaml starts"""

    def alias(self, who: str, alias: str, version: str) -> int:
        body = {"name": NAME, "alias": alias, "version": version}
        url = f"{self.stack.mlflow_url}/api/2.0/mlflow/registered-models/alias"
        return requests.post(url, json=body, auth=(who, self.passwords[who]), timeout=10).status_code

    def versions(self) -> list[str]:
        url = f"{self.stack.mlflow_url}/api/2.0/mlflow/model-versions/search"
        found = requests.get(url, auth=("anna", self.passwords["anna"]), timeout=10).json()["model_versions"]
        return [version["version"] for version in found]


def accounts(stack: Stack, *command: str) -> str:
    return stack.compose("--progress", "quiet", "run", "--rm", "--no-deps", "-T", "accounts", *command).stdout


def shown(said: str) -> str:
    """Return the password that a command shows."""
    return said.split("\n\n")[1].strip()


@pytest.fixture(scope="module")
def login(stack: Stack) -> Iterator[Login]:
    """The stack of all tests, which gets a login and loses it again."""
    stack.write_env(COMPOSE_FILE=OVERLAY)
    files = [word for file in (*OVERLAY.split(":"), "compose.sso.yaml") for word in ("--file", file)]
    compiled = stack.start(*files, "build", "sso")  # which takes a while, for a test further down
    try:
        stack.up("--no-build")
        passwords = {"admin": shown(accounts(stack, "password", "admin"))}
        for name, role in (("anna", "scientist"), ("paul", "promoter")):
            passwords[name] = shown(accounts(stack, "add", name, "--role", role))
        yield Login(stack, passwords, compiled)
    finally:
        compiled.wait()
        del stack.settings["COMPOSE_FILE"]  # and not the one file: then Compose would read no compose.override.yaml
        stack.write_env()
        stack.up("--no-build")
        docker("volume", "rm", "--force", *(f"{stack.name}_{name}" for name in VOLUMES))


def test_mlflow_asks_who_comes_and_is_well_all_the_same(login: Login) -> None:
    url = f"{login.stack.mlflow_url}/api/2.0/mlflow/experiments/search"
    for who, status in ((None, 401), (("admin", "wrong"), 401), (("anna", login.passwords["anna"]), 200)):
        assert requests.get(url, params={"max_results": 1}, auth=who, timeout=10).status_code == status
    assert login.stack.containers()["mlflow"]["State"]["Health"]["Status"] == "healthy"
    assert "anna                      scientist" in accounts(login.stack, "list")


def test_a_training_logs_in_and_a_promoter_puts_its_version_into_production_which_a_scientist_may_not(
    login: Login,
) -> None:
    before = login.stack.served_version()
    login.stack.compose("run", "--rm", "trainer", "train")
    newest = max(login.versions(), key=int)
    other = newest if newest != before else str(before)
    assert login.alias("anna", "candidate", other) == 200
    assert login.alias("anna", "Production", other) == 403
    assert login.alias("paul", "Production", other) == 200
    eventually("the prediction service follows", lambda: login.stack.served_version() == other)
    assert login.stack.predict()
    lines = map(json.loads, login.stack.compose("run", "--rm", "--no-deps", "-T", "audit").stdout.splitlines())
    moves = [(line["who"], line["of"], line["to"]) for line in lines if line["by"] == "MLflow"]
    assert moves == [("anna", f"{NAME}@candidate", other), ("paul", f"{NAME}@Production", other)]


def test_with_the_prediction_log_a_report_is_logged_by_an_account_of_its_own(login: Login) -> None:
    stack = login.stack
    # what it keeps, tests further down look at, too
    log = {"PREDICTION_LOG": "1", "PREDICTION_LOG_SECONDS": "0.5", "PREDICTION_LOG_OMIT": "petal width (cm)"}
    stack.write_env(COMPOSE_FILE=WITH_LOG, **log)
    try:
        stack.compose("up", "--detach", "--wait", "shipper")
        stack.put_right("inference")
        for _ in range(2):
            body = {"instances": SAMPLES * 20}
            requests.post(f"{stack.url}/predict_names", json=body, timeout=10).raise_for_status()

        def report() -> str:
            return stack.compose("run", "--rm", "-T", "monitor", "report", "--rows", "50", check=False).stderr

        run_id = eventually("it is logged", lambda: report().partition("in MLflow: run ")[2].split()[:1])[0]
        url = f"{stack.mlflow_url}/api/2.0/mlflow/runs/get"
        run = requests.get(url, {"run_id": run_id}, auth=("anna", login.passwords["anna"]), timeout=10).json()["run"]
        assert run["info"]["status"] == "FINISHED"
    finally:
        stack.compose("rm", "--stop", "--force", "shipper")
        for name in log:
            del stack.settings[name]
        stack.write_env(COMPOSE_FILE=OVERLAY)
        stack.put_right("inference")


def test_the_doctor_has_no_account_and_says_what_it_does_not_look_at_for_that(login: Login) -> None:
    rows = {row["name"]: row for row in login.stack.doctor()}
    left_out = {name for name, row in rows.items() if row["says"].startswith("not looked at: MLflow asks for a login")}
    assert left_out == {"artifacts", "packages"}
    assert {rows[name]["status"] for name in ("mlflow", "mlflow inside", "files", "rollback", "served")} == {"ok"}


def test_no_password_is_in_an_environment_or_on_a_command_line(login: Login) -> None:
    names = ("admin", "trainer", "inference", "monitor")
    files = " ".join(f"/run/secrets/{name}-password" for name in names)
    found = login.stack.compose("exec", "-T", "mlflow", "sh", "-c", f"for f in {files}; do cat $f; echo; done").stdout
    admin, *services = found.split()
    assert admin == login.passwords["admin"]
    said = login.stack.compose("config").stdout + login.stack.logs() + str(login.stack.containers())
    assert not [password for password in (admin, *services, *login.passwords.values()) if password in said]


def test_clean_up_and_backup_go_on_and_a_backup_has_the_accounts(login: Login) -> None:
    stack = login.stack
    assert stack.compose("run", "--rm", "-T", "cleanup").returncode == 0
    assert stack.compose("run", "--rm", "-T", "backup").returncode == 0
    ask = "RESTIC_PASSWORD_FILE=/volumes/backup-secrets/repository-password restic -r /repository --cache-dir /tmp/c ls latest"
    listed = stack.compose("run", "--rm", "-T", "--entrypoint", "sh", "backup", "-c", ask).stdout
    assert {"/scratch/mlflow.sql", "/scratch/mlflow_auth.sql"} <= set(listed.splitlines())


# --- single sign-on ---------------------------------------------------------------------------------------------------


@dataclass
class SignOn:
    """The stack with an identity provider, and a browser in which nobody has signed on."""

    login: Login
    browser: Browser
    https: str
    """where MLflow is by the edge"""

    @property
    def http(self) -> str:
        return f"http://localhost:{self.login.stack.settings['SSO_PORT']}"

    def program(self, path: str, *options: str) -> int:
        """Ask as a program does, by the edge; return the status."""
        name = self.https.removeprefix("https://")
        command = [
            "curl",
            "--silent",
            "--insecure",
            "--max-time",
            "20",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code}",
        ]
        command += ["--resolve", f"{name}:{self.login.stack.settings['BIND_ADDRESS']}", *options, f"{self.https}{path}"]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    def page(self) -> Page:
        page = self.browser.new_context(ignore_https_errors=True).new_page()
        page.set_default_timeout(30_000)
        return page


def _listens(address: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


@contextmanager
def identity_provider(stack: Stack, address: str) -> Iterator[dict[str, str]]:
    """Start one that containers and the browser reach; yield the settings that tell of it."""
    folder, (port,) = stack.folder / "provider", free_ports(1)
    authority = Authority.new()
    authority.issue(folder, "provider.test")
    (folder / "people.json").write_text(json.dumps(PEOPLE))
    (folder / "authority.pem").write_text(authority.pem)
    (folder / "client-secret").write_text("known to the provider and the proxy")
    hosts = {"services": {"sso": {"extra_hosts": [f"provider.test:{address}"]}}}
    (stack.folder / "compose.provider.yaml").write_text(json.dumps(hosts))
    command = [sys.executable, str(ROOT / "tests/identity_provider.py"), address, str(port), str(folder)]
    with open(folder / "log", "w") as log:
        provider = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        eventually("the provider listens", lambda: _listens(address, port))
        files = {"OIDC_CLIENT_SECRET_FILE": "./provider/client-secret", "OIDC_CA_FILE": "./provider/authority.pem"}
        yield {"OIDC_ISSUER": f"https://provider.test:{port}", "OIDC_CLIENT_ID": "mlflow", **files}
    finally:
        provider.terminate()
        provider.wait()


@contextmanager
def signing_on(stack: Stack, address: str) -> Iterator[str]:
    """Have people sign on, by HTTPS; yield where."""
    https, http, sso = map(str, free_ports(3))
    with identity_provider(stack, address) as provider:
        changed = {**provider, "OIDC_EMAIL_DOMAINS": "example.com", "OIDC_ROLES": "ml-team=scientist", "SSO_PORT": sso}
        changed |= {"PUBLIC_HOST": "factory.test", "HTTPS_PORT": https, "HTTP_PORT": http, "BIND_ADDRESS": address}
        stack.write_env(**changed, COMPOSE_FILE=f"{WITH_SIGN_ON}:compose.edge.yaml")
        try:
            stack.compose("run", "--rm", "--no-deps", "secrets")
            stack.put_right("mlflow", "sso", "edge")
            yield f"https://mlflow.factory.test:{https}"
        finally:
            stack.write_env(COMPOSE_FILE=f"{WITH_SIGN_ON}:compose.edge.yaml")
            stack.compose("rm", "--stop", "--force", "sso", "edge")
            for name in changed:
                del stack.settings[name]
            stack.write_env(COMPOSE_FILE=OVERLAY)
            stack.put_right("mlflow")
            docker("volume", "rm", *(f"{stack.name}_{name}" for name in ("sso-secrets", "edge-secrets", "edge-data")))
            docker("network", "rm", f"{stack.name}_identity", f"{stack.name}_edge")


@pytest.fixture(scope="module")
def sign_on(login: Login) -> Iterator[SignOn]:
    assert login.compiled.wait() == 0
    address = docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
    executable = next(path for name in BROWSERS if (path := shutil.which(name)))
    options = [*OFFLINE, f"--host-resolver-rules=MAP *.test {address}"]
    with signing_on(login.stack, address) as https, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=options)
        yield SignOn(login, browser, https)
        browser.close()


def signs_on(page: Page, url: str, who: str) -> None:
    """Go to MLflow and sign on at the provider, as somebody whom it knows."""
    page.goto(url)
    page.get_by_role("button", name="Sign in with provider.test").click()
    page.locator("input[name=sub]").fill(who)
    page.get_by_role("button", name="Authorize").click()
    page.wait_for_url(re.compile(re.escape(re.match(r"\w+://[^/]+", url)[0] + "/")))


def asked(page: Page, path: str, method: str = "GET", **fields: Any) -> tuple[int, Any]:
    """Ask MLflow as its own pages do; return status and answer."""
    ask = """async ([path, method, fields]) => {
        const headers = {"Content-Type": "application/json", ...fields.headers};
        const signal = AbortSignal.timeout(30000);
        const body = method === "GET" ? undefined : JSON.stringify(fields.body);
        const answer = await fetch(path, {method, headers, body, signal});
        return [answer.status, await answer.text()];
    }"""
    status, text = page.evaluate(ask, [path, method, fields])
    return status, json.loads(text) if text.startswith("{") else text


ME = "/ajax-api/2.0/mlflow/users/current"
ALIAS = "/ajax-api/2.0/mlflow/registered-models/alias"
browsing = pytest.mark.skipif("browser" in LEFT_OUT, reason="there is no browser")


@browsing
def test_who_signs_on_sees_mlflow_as_themselves_moves_no_alias_and_is_gone_after_the_sign_out(sign_on: SignOn) -> None:
    page, before = sign_on.page(), sign_on.login.stack.served_version()
    signs_on(page, f"{sign_on.https}/#/models", "ines")
    expect(page.get_by_text(NAME).first).to_be_visible()
    assert page.url.startswith(f"{sign_on.https}/#/models")  # which no server sees
    status, me = asked(page, ME)
    assert (status, me["user"]["username"], me["user"]["is_admin"]) == (200, "ines@example.com", False)
    status, refused = asked(page, ALIAS, "POST", body={"name": NAME, "alias": "Production", "version": "1"})
    assert (status, refused["message"].split(";")[0]) == (403, "a viewer may not do this")
    cookies = [cookie for cookie in page.context.cookies() if cookie["name"].startswith("__Host-mlflow")]
    assert cookies
    assert {(cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) for cookie in cookies} == {(True, True, "Lax")}
    page.goto(f"{sign_on.https}/oauth2/sign_out")
    expect(page.get_by_role("button", name="Sign in with provider.test")).to_be_visible()
    assert asked(page, ME)[0] == 401
    assert sign_on.login.stack.served_version() == before


@browsing
def test_a_group_of_the_provider_makes_a_scientist_and_programs_log_in_by_password_at_the_same_address(
    sign_on: SignOn,
) -> None:
    page = sign_on.page()
    signs_on(page, sign_on.https, "otto")
    status, made = asked(page, "/ajax-api/2.0/mlflow/runs/create", "POST", body={"experiment_id": "0"})
    assert (status, made["run"]["info"]["status"]) == (200, "RUNNING")
    assert asked(page, ALIAS, "POST", body={"name": NAME, "alias": "Production", "version": "1"})[0] == 403
    assert (
        sign_on.program(ME, "--user", f"anna:{sign_on.login.passwords['anna']}") == 401
    )  # a page's way, not a program's
    assert sign_on.program(ME.replace("/ajax-", "/"), "--user", f"anna:{sign_on.login.passwords['anna']}") == 200
    assert sign_on.program(ME.replace("/ajax-", "/")) == 401
    audit = sign_on.login.stack.compose("run", "--rm", "--no-deps", "-T", "audit").stdout
    lines = [json.loads(line) for line in audit.splitlines()]
    (line,) = (line for line in lines if line["of"] == "otto@example.com")
    assert (line["who"], line["to"], line["why"]) == ("identity provider", "scientist", "in the group ml-team")


@browsing
def test_who_is_not_of_the_domain_is_not_let_in(sign_on: SignOn) -> None:
    for who in ("eve", "admin"):
        page = sign_on.page()
        signs_on(page, sign_on.https, who)
        expect(page.get_by_text("Forbidden").first).to_be_visible()
        assert asked(page, ME)[0] == 401


FORGED = {"X-Sign-On-Secret": "a guess", "X-Sign-On-Name": "admin", "X-Sign-On-Groups": "ml-team"}


@browsing
def test_headers_that_a_client_writes_make_nobody_of_it_at_mlflows_port_at_the_proxys_and_at_the_edge(
    sign_on: SignOn,
) -> None:
    stack = sign_on.login.stack
    for headers in (FORGED, FORGED | {"X-Sign-On-Name": "otto@example.com"}, {"X_Sign_On_Name": "otto@example.com"}):
        for path in (ME, ME.replace("/ajax-", "/"), ALIAS, "/get-artifact"):
            assert requests.get(f"{stack.mlflow_url}{path}", headers=headers, timeout=10).status_code == 401
            answer = requests.get(f"{sign_on.http}{path}", headers=headers, timeout=10)
            assert answer.status_code in (401, 403)
            assert "run_id" not in answer.text
    page = sign_on.page()
    signs_on(page, sign_on.https, "ines")
    for name in ("X-Sign-On-Name", "X_Sign_On_Name"):
        assert asked(page, ME, headers=FORGED | {name: "otto@example.com"})[1]["user"]["username"] == "ines@example.com"


@browsing
def test_without_the_edge_people_sign_on_at_a_port_of_this_machine(sign_on: SignOn) -> None:
    stack, page = sign_on.login.stack, sign_on.page()
    stack.write_env(COMPOSE_FILE=WITH_SIGN_ON)
    stack.compose("run", "--rm", "--no-deps", "secrets")
    stack.compose("up", "--detach", "--wait", "--no-deps", "--no-build", "--force-recreate", "sso")
    signs_on(page, sign_on.http, "otto")
    page.wait_for_url(f"{sign_on.http}/**")
    assert asked(page, ME)[1]["user"]["username"] == "otto@example.com"
    (session,) = (cookie for cookie in page.context.cookies() if cookie["name"] == "mlflow")
    assert (session["httpOnly"], session["sameSite"]) == (True, "Lax")
    exposed = stack.containers()["sso"]["HostConfig"]
    assert [one["HostIp"] for one in exposed["PortBindings"]["4180/tcp"]] == ["127.0.0.1"]
    assert (exposed["ReadonlyRootfs"], exposed["CapDrop"]) == (True, ["ALL"])
