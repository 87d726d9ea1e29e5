"""With compose.login.yaml MLflow asks for a login: people have roles, and the services go on by accounts of their own."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import requests

from tests.compose import Stack, docker, eventually

OVERLAY = "compose.yaml:compose.login.yaml"
NAME = "iris_logistic_regression"


@dataclass
class Login:
    """The stack with a login, and who has an account."""

    stack: Stack
    passwords: dict[str, str]

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
    try:
        stack.up()
        passwords = {"admin": shown(accounts(stack, "password", "admin"))}
        for name, role in (("anna", "scientist"), ("paul", "promoter")):
            passwords[name] = shown(accounts(stack, "add", name, "--role", role))
        yield Login(stack, passwords)
    finally:
        del stack.settings["COMPOSE_FILE"]  # and not the one file: then Compose would read no compose.override.yaml
        stack.write_env()
        stack.up()
        docker("volume", "rm", f"{stack.name}_trainer-login", f"{stack.name}_inference-login")


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


def test_no_password_is_in_an_environment_or_on_a_command_line(login: Login) -> None:
    files = "/run/secrets/admin-password /run/secrets/trainer-password /run/secrets/inference-password"
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
