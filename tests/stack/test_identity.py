"""A server for a team, as docs/team.md sets it up: HTTPS, a login, API keys, the reviewer, backups on a schedule.

People have roles, and the services go on by accounts of their own. With compose.sso.yaml people sign on by an identity provider, in
Chromium, behind HTTPS and without it.
"""

import base64
import json
import re
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
from tests.chromium import PROGRAM
from tests.compose import BODY, CLASSES, ROOT, SAMPLES, Stack, docker, eventually, free_ports
from tests.conftest import LEFT_OUT
from tests.mlflow_ui import open_ui
from tests.pictures import a_page

# The page's two blocks: what goes into .env, and the commands after it.
ENVIRONMENT, COMMANDS = re.findall(
    r"(?:^    .*\n)+", (ROOT / "docs" / "team.md").read_text().split("## Who may do")[0], re.M
)
PAGE = dict(line.strip().split("=", 1) for line in ENVIRONMENT.splitlines())
OVERLAYS = PAGE["COMPOSE_FILE"]
WITH_LOG = f"{OVERLAYS}:compose.predictions.yaml"
WITHOUT_EDGE = "compose.yaml:compose.login.yaml:compose.sso.yaml:compose.provider.yaml"
WITH_SIGN_ON = f"{WITHOUT_EDGE}:compose.edge.yaml"
# Those of the overlays, which the container of the secrets job holds until the next `up` without them.
VOLUMES = (
    "trainer-login",
    "inference-login",
    "monitor-login",
    "monitor-secrets",
    "predictions-secrets",
    "prediction-spool",
    "edge-secrets",
    "edge-data",
)
# A revision of the accounts that nobody knows, as a newer MLflow leaves one; done twice, nothing has happened.
REVERSE_REVISION = "UPDATE alembic_version_auth SET version_num = reverse(version_num)"
NAME = "iris_logistic_regression"
# Who the identity provider knows.
PEOPLE = {
    "ines": {"email": "Ines@Example.com", "email_verified": True, "groups": ["office"]},
    "otto": {"email": "otto@example.com", "email_verified": True, "groups": ["office", "ml-team"]},
    "eve": {"email": "eve@elsewhere.test", "email_verified": True, "groups": ["ml-team"]},
    "admin": {"email": "admin", "email_verified": True, "groups": ["ml-team"]},
}


# Who it is that asks: as MLflow's own pages ask, and as programs do.
ME = "/ajax-api/2.0/mlflow/users/current"
PROGRAMS = "/api/2.0/mlflow/users/current"
# A file of experiments/ that says what is judged on what.
JUDGED = f"model_name: {NAME}\nrule: not-worse\naccept_leak: true\n"
# Plain MLflow on another machine, as a notebook has it. The model is as good as the one in Production, so the rule has to let it in.
NOTEBOOK = """
import os, socket
known, there = socket.getaddrinfo, os.environ["THERE"]
socket.getaddrinfo = lambda host, *rest, **more: known(there if host.endswith(".lan") else host, *rest, **more)
import mlflow, pandas as pd
from sklearn.linear_model import LogisticRegression
frame = pd.read_csv("data/iris_dataset.csv")
X, y = frame.iloc[:, :4], frame["target"]
mlflow.set_experiment("in review")
with mlflow.start_run():
    logged = mlflow.sklearn.log_model(LogisticRegression(max_iter=1000).fit(X, y), name="mine", input_example=X.head(2),
        serialization_format="skops", pip_requirements=["scikit-learn"],
        metadata={"class_names": ["setosa", "versicolor", "virginica"]})
version, client = mlflow.register_model(logged.model_uri, "iris_logistic_regression").version, mlflow.MlflowClient()
client.set_registered_model_alias("iris_logistic_regression", "candidate", version)
print("version", version)
"""


@dataclass
class Login:
    """The page's stack, and who has an account."""

    stack: Stack
    passwords: dict[str, str]
    said: dict[str, str]
    """what the page's commands said"""
    compiled: "subprocess.Popen[bytes]"
    """the build of what compose.sso.yaml starts"""

    def alias(self, who: str, alias: str, version: str) -> int:
        body = {"name": NAME, "alias": alias, "version": version}
        url = f"{self.stack.mlflow_url}/api/2.0/mlflow/registered-models/alias"
        return requests.post(url, json=body, auth=(who, self.passwords[who]), timeout=10).status_code

    @property
    def address(self) -> str:
        """Where other machines reach it: here, containers of other networks."""
        return self.stack.settings["BIND_ADDRESS"]

    def url(self, site: str) -> str:
        return f"https://{site}.{self.stack.settings['PUBLIC_HOST']}:{self.stack.settings['HTTPS_PORT']}"

    def by_https(self, site: str, path: str, *options: str) -> int:
        """Ask as a program on another machine does, which trusts the page's file alone; return the status."""
        name = self.url(site).removeprefix("https://")
        command = ["curl", "--silent", "--show-error", "--max-time", "20", "--output", "/dev/null"]
        command += ["--write-out", "%{http_code}", "--cacert", str(self.stack.folder / "mlflow-stack.crt")]
        command += ["--resolve", f"{name}:{self.address}", *options, f"{self.url(site)}{path}"]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    def audited(self) -> list[dict[str, Any]]:
        said = self.stack.compose("exec", "-T", "audit-log", "cat", "/log/audit.jsonl").stdout
        return [json.loads(line) for line in said.splitlines()]

    def versions(self) -> list[str]:
        url = f"{self.stack.mlflow_url}/api/2.0/mlflow/model-versions/search"
        found = requests.get(url, auth=("anna", self.passwords["anna"]), timeout=10).json()["model_versions"]
        return [version["version"] for version in found]


def accounts(stack: Stack, *command: str) -> str:
    return stack.compose("--progress", "quiet", "run", "--rm", "--no-deps", "-T", "accounts", *command).stdout


def shown(said: str) -> str:
    """Return the password that a command shows."""
    return said.split("\n\n")[1].strip()


def aliases(stack: Stack) -> set[str]:
    return {alias["alias"] for alias in stack.api("registered-models/get", name=NAME)["registered_model"]["aliases"]}


def outside() -> str:
    return docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")


def run_the_page(stack: Stack) -> dict[str, str]:
    """Run the page's commands in their order, but for the build of images that are there; return what each has said."""
    said = {}
    for command in (line.split("  #")[0].strip() for line in COMMANDS.splitlines()):
        if command != "docker compose build":
            shell = ["bash", "-c", command]
            done = subprocess.run(
                shell, cwd=stack.folder, env=stack.environ(), capture_output=True, text=True, timeout=300
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}\n{stack.guilty_logs()}"
            said[command] = done.stdout
    return said


@pytest.fixture(scope="module")
def login(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Login]:
    """The stack of all tests, which becomes the page's, and what it was again."""
    https, http = map(str, free_ports(2))
    repository = str(tmp_path_factory.mktemp("backups"))
    changed = PAGE | {
        "BIND_ADDRESS": outside(),
        "HTTPS_PORT": https,
        "HTTP_PORT": http,
        "BACKUP_REPOSITORY": repository,
    }
    stack.write_env(**changed, REVIEW_POLL_SECONDS="0.5")
    (stack.folder / "experiments" / "in_review.yaml").write_text(JUDGED)
    files = [word for file in (*OVERLAYS.split(":"), "compose.sso.yaml") for word in ("--file", file)]
    compiled = stack.start(*files, "build", "sso")  # which takes a while, for a test further down
    try:
        said = run_the_page(stack)
        stack.key = said["scripts/api-key add shop"].strip()
        passwords = {
            "admin": shown(said["docker compose run --rm accounts password admin"]),
            "anna": shown(said["docker compose run --rm accounts add anna --role scientist"]),
            "paul": shown(accounts(stack, "add", "paul", "--role", "promoter")),
        }
        stack.account = ("admin", passwords["admin"])
        yield Login(stack, passwords, said, compiled)
    finally:
        compiled.wait()
        stack.script("api-key", "off")
        stack.compose("rm", "--stop", "--force", "edge", "reviewer", "backup-schedule")
        stack.account = stack.key = None
        # And not one file as COMPOSE_FILE: then Compose would read no compose.override.yaml.
        for name in (*changed, "REVIEW_POLL_SECONDS"):
            del stack.settings[name]
        stack.write_env()
        (stack.folder / "experiments" / "in_review.yaml").unlink()
        stack.up("--no-build")
        docker("volume", "rm", "--force", *(f"{stack.name}_{name}" for name in VOLUMES))
        docker("network", "rm", f"{stack.name}_edge")


def test_mlflow_asks_who_comes_and_is_well_all_the_same(login: Login) -> None:
    url = f"{login.stack.mlflow_url}/api/2.0/mlflow/experiments/search"
    for who, status in ((None, 401), (("admin", "wrong"), 401), (("anna", login.passwords["anna"]), 200)):
        assert requests.get(url, params={"max_results": 1}, auth=who, timeout=10).status_code == status
    assert login.stack.containers()["mlflow"]["State"]["Health"]["Status"] == "healthy"
    assert "anna                      scientist" in accounts(login.stack, "list")


def test_other_machines_reach_mlflow_with_a_login_and_predictions_with_a_key_by_https_alone(login: Login) -> None:
    who, key = f"anna:{login.passwords['anna']}", f"Authorization: Bearer {login.stack.key}"
    assert [login.by_https("mlflow", PROGRAMS, *more) for more in ((), ("--user", who))] == [401, 200]
    ask = ("--json", BODY)
    assert [login.by_https("models", "/invocations", *ask, *more) for more in ((), ("--header", key))] == [401, 200]
    for port in ("MLFLOW_PORT", "INFERENCE_PORT"):
        assert _listens("127.0.0.1", int(login.stack.settings[port]))
        assert not _listens(login.address, int(login.stack.settings[port]))
    running = {name for name, found in login.stack.containers().items() if found["State"]["Status"] == "running"}
    assert {"edge", "reviewer", "backup-schedule", "audit-log"} < running


@dataclass(frozen=True)
class Reviewed:
    """The version of a notebook when its review is over, and the one that was in Production until then."""

    version: str
    before: str


@pytest.fixture(scope="module")
def reviewed(login: Login) -> Reviewed:
    stack, before = login.stack, login.stack.alias()
    place = {"MLFLOW_TRACKING_URI": login.url("mlflow"), "THERE": login.address}
    trust = {"MLFLOW_TRACKING_SERVER_CERT_PATH": str(stack.folder / "mlflow-stack.crt")}
    who = {"MLFLOW_TRACKING_USERNAME": "anna", "MLFLOW_TRACKING_PASSWORD": login.passwords["anna"]}
    logged = stack.notebook(NOTEBOOK, **place, **trust, **who)
    assert logged.returncode == 0, logged.stderr
    eventually("it is no candidate any more", lambda: "candidate" not in aliases(stack), 120)
    return Reviewed(logged.stdout.split()[-1], before)


def test_a_candidate_of_a_scientists_notebook_is_signed_promoted_served_and_noted(
    login: Login, reviewed: Reviewed
) -> None:
    stack, version = login.stack, reviewed.version
    tags = stack.versions()[version]["tags"]
    assert tags["review"] == "promoted", tags
    assert aliases(stack) == {"Production"}
    eventually("it is served", lambda: stack.served_version() == version)
    assert stack.predict() == CLASSES
    noted = login.audited()
    (asked,) = (line for line in noted if line["of"] == f"{NAME}@candidate" and line["to"] == version)
    assert (asked["who"], asked["by"]) == ("anna", "MLflow")
    moved = next(line for line in noted if line["of"] == f"{NAME}@Production" and line["to"] == version)
    assert (moved["who"], moved["by"], moved["from"]) == ("reviewer", "reviewer", reviewed.before)
    assert {("shop", "api-key add"), ("anna", "accounts add")} < {(line["of"], line["by"]) for line in noted}


def test_what_a_scientist_makes_a_candidate_by_clicking_in_mlflows_ui_has_its_verdict_there(
    login: Login, reviewed: Reviewed
) -> None:
    stack, version = login.stack, reviewed.before
    who = base64.b64encode(f"anna:{login.passwords['anna']}".encode()).decode()
    with a_page() as page:
        page.set_extra_http_headers({"Authorization": f"Basic {who}"})
        open_ui(page, f"{stack.mlflow_url}/#/models/{NAME}/versions/{version}", "Aliases")
        aliases_shown = page.get_by_test_id("descriptions-item").filter(has_text="Aliases")
        aliases_shown.get_by_role("button", name="Add", exact=True).click()
        dialog = page.get_by_role("dialog", name=f"Add/Edit alias for model version {version}")
        dialog.get_by_role("combobox").click()
        page.keyboard.type("Candidate")  # which the UI makes lower case
        page.keyboard.press("Enter")
        dialog.get_by_role("button", name="Save aliases").click()
        expect(aliases_shown).to_contain_text("candidate", timeout=30_000)
        eventually("it is no candidate any more", lambda: "candidate" not in aliases(stack), 120)
        page.reload()
        # The version in Production is a notebook's, of which nobody knows the rows that it was fitted on.
        verdict = f"not promoted: version {reviewed.version} in Production cannot be measured on the same rows: "
        expect(page.locator("p", has_text="Review of")).to_contain_text(verdict, timeout=30_000)
        expect(page.get_by_role("row", name="review not promoted")).to_be_visible()
        expect(aliases_shown).not_to_contain_text("candidate")
    (asked,) = (line for line in login.audited() if line["of"] == f"{NAME}@candidate" and line["to"] == version)
    assert (asked["who"], asked["by"]) == ("anna", "MLflow")


def test_the_reviewer_is_confined_publishes_nothing_and_can_neither_read_nor_change_the_audit_log(login: Login) -> None:
    stack, reviewer = login.stack, login.stack.containers()["reviewer"]
    host = reviewer["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["Memory"] > 0
    assert not host["PortBindings"]
    assert set(reviewer["NetworkSettings"]["Networks"]) == {f"{stack.name}_tracking"}
    assert f"{stack.name}_audit" not in {mount.get("Name") for mount in reviewer["Mounts"]}
    # By the user that the entrypoint becomes.
    user = stack.compose("exec", "-T", "reviewer", "stat", "-c", "%u:%g", "/data").stdout.strip()
    for command in ("rm -f /audit/lines", "mv /audit/lines /tmp", ": >>/audit/audit.jsonl", "touch /data/mine"):
        tried = stack.compose("exec", "-T", "--user", user, "reviewer", "sh", "-c", command, check=False)
        assert tried.returncode != 0, command


def test_a_training_logs_in_and_a_promoter_puts_its_version_into_production_which_a_scientist_may_not(
    login: Login,
) -> None:
    before = login.stack.served_version()
    login.stack.compose("run", "--rm", "trainer", "train")
    newest = max(login.versions(), key=int)
    other = newest if newest != before else str(before)
    assert login.alias("anna", "Production", other) == 403
    assert login.alias("paul", "Production", other) == 200
    eventually("the prediction service follows", lambda: login.stack.served_version() == other)
    assert login.stack.predict()
    noted = {"who": "paul", "of": f"{NAME}@Production", "to": other, "by": "MLflow"}
    eventually("it is noted", lambda: noted.items() <= login.audited()[-1].items())


def test_with_the_prediction_log_a_report_is_logged_by_an_account_of_its_own(login: Login) -> None:
    stack = login.stack
    # what it keeps, tests further down look at, too
    log = {"PREDICTION_LOG": "1", "PREDICTION_LOG_SECONDS": "0.5", "PREDICTION_LOG_OMIT": "petal width (cm)"}
    stack.write_env(COMPOSE_FILE=WITH_LOG, **log)
    try:
        stack.compose("up", "--detach", "--wait", "shipper")
        stack.put_right("inference")
        for _ in range(2):
            assert len(stack.predict(SAMPLES * 20)) == 60

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
        stack.write_env(COMPOSE_FILE=OVERLAYS)
        stack.put_right("inference")


def test_the_doctor_has_no_account_and_says_what_it_does_not_look_at_for_that(login: Login) -> None:
    psql = ("exec", "-T", "postgres", "psql", "-U", "postgres", "-q", "mlflow_auth", "-c")
    login.stack.compose(*psql, REVERSE_REVISION)
    rows = {row["name"]: row for row in login.stack.doctor()}
    login.stack.compose(*psql, REVERSE_REVISION)
    assert rows["accounts"]["says"].endswith("is unknown to this checkout: a newer MLflow has written it")
    assert rows["accounts"]["mend"].endswith("docker compose run --rm database back")
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
    assert "This password opens the backups." in login.said["docker compose run --rm backup"]
    ask = "RESTIC_PASSWORD_FILE=/volumes/backup-secrets/repository-password restic -r /repository --cache-dir /tmp/c ls latest"
    listed = stack.compose("run", "--rm", "-T", "--entrypoint", "sh", "backup", "-c", ask).stdout
    assert {"/scratch/mlflow.sql", "/scratch/mlflow_auth.sql"} <= set(listed.splitlines())


def test_a_restore_is_tried_beside_the_stack_as_the_page_says_and_leaves_nothing(login: Login) -> None:
    (line,) = re.findall(r"^    (COMPOSE_PROJECT_NAME=drill .*)$", (ROOT / "docs" / "team.md").read_text(), re.M)
    name, (mlflow, inference) = f"{login.stack.name}-drill", free_ports(2)
    for word, other in (("=drill ", f"={name} "), ("=5001 ", f"={mlflow} "), ("=1236 ", f"={inference} ")):
        line = line.replace(word, other)
    (password,) = re.findall(r"^ {4}(\S{32})\r?$", login.said["docker compose run --rm backup"], re.M)
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=login.stack.folder,
        env=login.stack.environ(),
        input=password + "\n",
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Restored. MLflow and the prediction service are where they were" in done.stdout
    for kind in ("container", "volume", "network"):
        assert docker(kind, "ls", "--quiet", "--filter", f"label=com.docker.compose.project={name}") == "", kind
    images = docker(
        "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", f"{name}/*"
    ).split()  # which stay, as the page says
    docker("image", "rm", *images)
    row = next(row for row in login.stack.doctor() if row["name"] == "restore")
    assert (row["status"], "came back" in row["says"]) == ("ok", True), row


def test_accounts_that_an_update_migrates_are_copied_before_and_there_is_a_way_back(login: Login) -> None:
    stack = login.stack

    def job(*command: str) -> str:
        return stack.compose("run", "--rm", "--no-deps", "-T", *command).stdout

    def sql(statement: str) -> str:
        command = ("exec", "-T", "postgres", "psql", "-U", "postgres", "-Atq", "mlflow_auth", "-c", statement)
        return stack.compose(*command).stdout.strip()

    *_, before, newest = (stack.folder / "services/setup/mlflow-auth-revisions.txt").read_text().split()
    stack.compose("stop", "mlflow")
    try:
        sql(f"UPDATE alembic_version_auth SET version_num = '{before}'")  # noqa: S608 - a revision of ours
        assert f"database mlflow_auth is going to be migrated from {before} to {newest}" in job("database")
        sql("UPDATE alembic_version_auth SET version_num = 'fffffffffff0'; DELETE FROM user_role_assignments")
        assert "what came after it is put aside (mlflow_auth_after_migration)" in job("database", "back")
        assert sql("SELECT version_num FROM alembic_version_auth") == before
        job("migrate")
        assert sql("SELECT version_num FROM alembic_version_auth") == newest
    finally:
        stack.put_right("mlflow")
    assert login.alias("paul", "Production", stack.alias()) == 200
    assert login.alias("anna", "Production", stack.alias()) == 403


# --- single sign-on ---------------------------------------------------------------------------------------------------


@dataclass
class SignOn:
    """The stack with an identity provider, and a browser in which nobody has signed on."""

    login: Login
    browser: Browser

    @property
    def https(self) -> str:
        """Where MLflow is by the edge."""
        return self.login.url("mlflow")

    @property
    def http(self) -> str:
        return f"http://localhost:{self.login.stack.settings['SSO_PORT']}"

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
def signing_on(stack: Stack, address: str) -> Iterator[None]:
    """Have people sign on, by HTTPS."""
    (sso,) = map(str, free_ports(1))
    with identity_provider(stack, address) as provider:
        changed = {**provider, "OIDC_EMAIL_DOMAINS": "example.com", "OIDC_ROLES": "ml-team=scientist", "SSO_PORT": sso}
        stack.write_env(**changed, COMPOSE_FILE=WITH_SIGN_ON)
        try:
            stack.compose("run", "--rm", "--no-deps", "secrets")
            # None of the set-up's jobs is left behind by it, which would hold on to the volumes that are removed below.
            stack.compose("up", "--detach", "--wait", "--no-deps", "--no-build", "mlflow", "sso", "edge")
            yield
        finally:
            stack.write_env(COMPOSE_FILE=WITH_SIGN_ON)
            stack.compose("rm", "--stop", "--force", "sso")
            for name in changed:
                del stack.settings[name]
            stack.write_env(COMPOSE_FILE=OVERLAYS)  # MLflow is made anew as it was when `login` ends, which is next
            docker("volume", "rm", f"{stack.name}_sso-secrets")
            docker("network", "rm", f"{stack.name}_identity")


@pytest.fixture(scope="module")
def sign_on(login: Login) -> Iterator[SignOn]:
    assert login.compiled.wait() == 0
    address = login.address
    names = f"--host-resolver-rules=MAP *.test {address}, MAP *.lan {address}"
    with signing_on(login.stack, address), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=[names])
        yield SignOn(login, browser)
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
    page.reload()
    assert asked(page, ME)[1]["user"]["username"] == "ines@example.com"
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
        sign_on.login.by_https("mlflow", ME, "--user", f"anna:{sign_on.login.passwords['anna']}") == 401
    )  # a page's way, not a program's
    assert sign_on.login.by_https("mlflow", PROGRAMS, "--user", f"anna:{sign_on.login.passwords['anna']}") == 200
    assert sign_on.login.by_https("mlflow", PROGRAMS) == 401
    (line,) = eventually(
        "it is noted", lambda: [line for line in sign_on.login.audited() if line["of"] == "otto@example.com"]
    )
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
    stack.write_env(COMPOSE_FILE=WITHOUT_EDGE)
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
