"""A real `mlflow server` that asks for a login, prepared as the stack prepares it, and clients of it."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
from setup.secret_files import LOGIN

from tests.integration.places import Place, running_server

APIS = ("api", "ajax-api")
MODEL = "iris"
PEOPLE = ("viewer", "scientist", "promoter", "admin")
OF_THE_STACK = ("admin", "trainer", "inference", "monitor", "healthcheck")
# Several commands in one process: each would import MLflow, which takes longer than all that it does.
COMMANDS = """
import json, sys
from pathlib import Path
from click.testing import CliRunner
from accounts import __main__ as command
command.SECRETS = Path(sys.argv[1])
results = [CliRunner().invoke(command.accounts, arguments) for arguments in json.loads(sys.argv[2])]
print(json.dumps([[found.output, str(found.exception or "")] for found in results]))
"""


class Client:
    """Somebody who asks MLflow."""

    def __init__(self, url: str, name: str, password: str) -> None:
        self.url, self.name, self.password = url, name, password

    def raw(self, method: str, path: str, **options: Any) -> requests.Response:
        login = (self.name, self.password) if self.name else None
        return requests.request(method, f"{self.url}/{path}", auth=login, timeout=30, **options)

    def ask(self, method: str, path: str, api: str = "api", number: str = "2.0", /, **fields: Any) -> requests.Response:
        body = {"params": fields} if method == "GET" else {"json": fields}
        return self.raw(method, f"{api}/{number}/mlflow/{path}", **body)


class World:
    """The server with what an admin has made on it: an experiment, a run with a file, and a model with two versions."""

    def __init__(self, place: Place, url: str, passwords: dict[str, str]) -> None:
        self.place, self.url = place, url
        self.clients = {name: Client(url, name, password) for name, password in passwords.items()}
        self.admin = self.clients["admin"]
        self.experiment = self.made("experiments/create", name="shared")["experiment_id"]
        self.run = self.made("runs/create", experiment_id=self.experiment)["run"]["info"]["run_id"]
        self.files = f"{self.experiment}/{self.run}/artifacts"
        self.upload("file.txt", "as the admin wrote it")
        self.made("registered-models/create", name=MODEL)
        for _ in range(2):
            self.version()
        self.made("registered-models/alias", name=MODEL, alias="Production", version="1")

    def made(self, path: str, **fields: Any) -> Any:
        answer = self.admin.ask("POST", path, **fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def upload(self, name: str, content: str) -> None:
        path = f"api/2.0/mlflow-artifacts/artifacts/{self.files}/{name}"
        assert self.admin.raw("PUT", path, data=content.encode()).status_code == 200

    def version(self) -> str:
        source = f"mlflow-artifacts:/{self.files}"
        found = self.made("model-versions/create", name=MODEL, source=source, run_id=self.run)
        return str(found["model_version"]["version"])

    def in_production(self) -> str:
        answer = self.admin.ask("GET", "registered-models/alias", name=MODEL, alias="Production")
        return str(answer.json()["model_version"]["version"])

    def audited(self) -> list[dict[str, Any]]:
        """Return the lines of the audit log that the server has written."""
        return [json.loads(line) for line in (self.place.folder / "mlflow.jsonl").read_text().splitlines()]

    def content(self) -> str:
        return self.admin.raw("GET", f"api/2.0/mlflow-artifacts/artifacts/{self.files}/file.txt").text


def commands(place: Place, *lines: str, **settings: Any) -> list[tuple[str, str]]:
    """Run commands of `accounts`; return what each said, and the error that it ended with."""
    asked = json.dumps([line.split() for line in lines])
    result = place.forked("-c", COMMANDS, str(place.folder / "secrets"), asked, **_config(place), **settings)
    assert result.returncode == 0, result.stderr
    return [(said, error) for said, error in json.loads(result.stdout.splitlines()[-1])]


def _config(place: Place) -> dict[str, Any]:
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(place.folder / "login.ini"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "a key for forms",
    }


def shown(said: str) -> str:
    """Return the password that a command shows."""
    return said.split("\n\n")[1].strip()


def new_place(folder: Path) -> Place:
    """Return a place with the stack's own passwords and the configuration that the secrets job writes."""
    place = Place(folder / "accounts")
    secrets = place.folder / "secrets"
    secrets.mkdir()
    for name in OF_THE_STACK:
        (secrets / f"{name}-password").write_text(f"the password of {name}")
    (place.folder / "login.ini").write_text(LOGIN.format(database=f"sqlite:///{place.folder}/accounts.db"))
    return place


@contextlib.contextmanager
def running_world(folder: Path, **settings: str) -> Iterator[World]:
    """Yield a server with an account for each role of people and those of the stack; it ends with the block."""
    place = new_place(folder)
    people = [name for name in PEOPLE if name != "admin"]
    _, *made = commands(place, "prepare", *(f"add {name} --role {name}" for name in people))
    passwords = {name: shown(said) for name, (said, _) in zip(people, made, strict=True)}
    passwords |= {name: f"the password of {name}" for name in OF_THE_STACK}
    settings = {"AUDIT_FILE": str(place.folder / "mlflow.jsonl")} | settings
    with running_server(folder, "--app-name", "basic-auth", **_config(place), **settings) as (_, server):
        yield World(place, server.url, passwords)
