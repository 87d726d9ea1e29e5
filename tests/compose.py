"""The stack as a person has it: a copy of the repository, `docker compose`, and HTTP. Imports nothing of the services."""

import functools
import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import requests

from tests import forked

ROOT = Path(__file__).resolve().parent.parent
LONG_RUNNING = ("postgres", "minio", "mlflow", "inference")
SAMPLES = [[5.1, 3.5, 1.4, 0.2], [7.0, 3.2, 4.7, 1.4], [6.3, 3.3, 6.0, 2.5]]
CLASSES = [0, 1, 2]
BODY = json.dumps({"instances": SAMPLES})
# A stack binds its ports half a minute after they were chosen: of those that systems give to clients, one may be taken by then.
BELOW_THOSE_OF_CLIENTS = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now, all different, and that no client is given meanwhile."""
    found: set[int] = set()
    while len(found) < count:
        with suppress(OSError), socket.create_server(("127.0.0.1", secrets.choice(BELOW_THOSE_OF_CLIENTS))) as probe:
            found.add(probe.getsockname()[1])
    return list(found)


@functools.cache
def _compose() -> tuple[str, ...]:
    """Return what runs docker compose: its program itself, as `docker` starts it twice, first to ask what it is, and is one more."""
    form = '{{range .ClientInfo.Plugins}}{{if eq .Name "compose"}}{{.Path}}{{end}}{{end}}'
    program = docker("info", "--format", form)
    return (program,) if os.access(program, os.X_OK) else ("docker", "compose")


def docker(*arguments: str) -> str:
    """Run docker, which must succeed; return what it says."""
    result = subprocess.run(["docker", *arguments], capture_output=True, text=True)
    assert result.returncode == 0, f"docker {' '.join(arguments)}: {result.stderr}"
    return result.stdout.strip()


@contextmanager
def built_meanwhile(name: str, dockerfile: str) -> Iterator[Callable[[], str]]:
    """Build an image while tests go on that do without it; yield what waits for it and returns its name. It is gone afterwards."""
    with TemporaryFile("w+") as file:
        file.write(dockerfile)
        file.seek(0)
        command = ["docker", "build", "--quiet", f"--tag={name}", "-"]
        build = subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def built() -> str:
        said, _ = build.communicate()
        assert build.returncode == 0, said
        return name

    try:
        with build:
            try:
                yield built
            finally:
                build.terminate()  # nobody needs it any more, where it still builds
    finally:
        subprocess.run(["docker", "image", "rm", "--force", name], capture_output=True)


def eventually(what: str, condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Return the condition's first true value; fail naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if value := condition():
                return value
            last = "the condition was false"
        except (requests.RequestException, AssertionError) as error:
            last = str(error)
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what} ({last})")
        time.sleep(0.25)


def all_the_time(condition: Callable[[], Any]) -> bool:
    """Tell whether a condition holds for two seconds: each worker looks for itself at who may ask, at least that often."""
    end = time.monotonic() + 2
    while time.monotonic() < end:  # one worker may answer many requests in a row
        if not condition():
            return False
        time.sleep(0.05)
    return True


class Stack:
    """One project of the compose file, under its own name and on its own ports, in a clone of its own."""

    def __init__(self, folder: Path, name: str, **settings: str) -> None:
        self.folder, self.name = folder, name
        mlflow, inference, console = free_ports(3)
        self.settings = {
            "MLFLOW_PORT": str(mlflow),
            "INFERENCE_PORT": str(inference),
            "MINIO_CONSOLE_PORT": str(console),
            **settings,
        }
        self.mlflow_url = f"http://localhost:{mlflow}"
        self.url = f"http://localhost:{inference}"
        self.console_url = f"http://localhost:{console}"
        self.account: tuple[str, str] | None = None
        """by whose login MLflow is asked, where it asks for one"""
        self.key: str | None = None
        """the API key that is shown where predictions ask for one"""
        self.first_start = ""
        """what scripts/start said, where it was this that started it"""
        self._clone()

    def _clone(self) -> None:
        """Copy what git knows of the working tree: what a person who clones it gets, but for jobs that look at their image."""
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        for file in subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0"):
            if file and (ROOT / file).is_file():
                (self.folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / file, self.folder / file)
        self.jobs_build(False)
        self.write_env()

    def jobs_build(self, are_so: bool) -> None:
        """Let each `compose run` of trainer and backup look whether its image is of the code that is there now, as it does for a person, or not.

        That takes a sixth of a second of a core and more, and a test run has a hundred of them.
        """
        policy = "      pull_policy: build\n"
        before, between, after = (ROOT / "compose.yaml").read_text().split(policy)
        assert before.endswith("dockerfile: services/trainer/Dockerfile, args: *build-arguments}\n")
        assert "dockerfile: services/backup/Dockerfile\n" in between[-200:]
        content = (policy if are_so else "").join((before, between, after))
        (self.folder / "compose.yaml").write_text(content)

    def write_env(self, **settings: str) -> None:
        """Write the settings into .env, as a person does."""
        self.settings |= settings
        (self.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in self.settings.items()))

    def environ(self) -> dict[str, str]:
        """Return the environment of a shell in which this stack is the one that is meant."""
        kept = {name: value for name, value in os.environ.items() if name not in self.settings}
        # Not by --project-name, with which `down` does not read the compose files, but only what is running.
        return kept | {"COMPOSE_PROJECT_NAME": self.name}

    def _command(self, *arguments: str) -> list[str]:
        """Return a command of docker compose; what looks at containers alone does not read the compose files, which take most of its time."""
        by_name = ("--project-name", self.name) if arguments[0] in ("exec", "logs", "ps") else ()
        return [*_compose(), *by_name, *arguments]

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start docker compose and do not wait for its end."""
        return subprocess.Popen(
            self._command(*arguments),
            cwd=self.folder,
            env=self.environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def compose(self, *arguments: str, check: bool = True, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        """Run docker compose; where it fails and must not, fail with its words and the containers' last lines."""
        result = subprocess.run(
            self._command(*arguments),
            cwd=self.folder,
            env=self.environ(),
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
        if check and result.returncode:
            raise AssertionError(
                f"docker compose {' '.join(arguments)} → {result.returncode}\n{result.stdout[-3000:]}\n"
                f"{result.stderr[-3000:]}\n{self.guilty_logs()}"
            )
        return result

    def script(self, name: str, *arguments: str) -> str:
        """Run one of the scripts, which must succeed; return what it says, also to those who look on."""
        command = [str(self.folder / "scripts" / name), *arguments]
        result = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
        )
        assert result.returncode == 0, (
            f"scripts/{name} → {result.returncode}\n{result.stdout[-6000:]}\n{self.guilty_logs()}"
        )
        return result.stdout

    def up(self, *options: str) -> None:
        self.compose("up", "--detach", "--wait", *options)

    def put_right(self, *services: str) -> None:
        """Bring services back to what compose file and .env say, and nothing else: no build, and none of the set-up's jobs that did this already.

        Not by `up --no-deps`, which some releases of Compose take for a change of what depends on others: they make MLflow and its
        stores anew, and so does the next `up`.
        """
        wanted = services or LONG_RUNNING
        self.compose("create", "--no-build", *wanted)
        made = self._of_services("--filter=status=created", "--format", '{{.Label "com.docker.compose.service"}}')
        if set(made) - set(wanted):  # a job that has other settings, and so is to be run
            return self.up("--no-build", *wanted)
        of_wanted = [f"--filter=label=com.docker.compose.service={service}" for service in wanted]
        docker("start", *(ids := [id for one in of_wanted for id in self._of_services("--quiet", one)]))
        form = "{{.State.Running}} {{if .State.Health}}{{.State.Health.Status}}{{end}}"
        eventually(
            f"{', '.join(wanted)} are up",
            lambda: {*docker("inspect", "--format", form, *ids).splitlines()} <= {"true", "true ", "true healthy"},
            180,
        )

    def _of_services(self, *arguments: str) -> list[str]:
        """Return what `docker ps` says of the services' containers, ended ones too, and not of those of `run`."""
        labels = (f"project={self.name}", "oneoff=False")
        filters = (f"--filter=label=com.docker.compose.{label}" for label in labels)
        return docker("ps", "--all", *filters, *arguments).split()

    def down(self, *options: str) -> None:
        self.compose("down", *options)

    def remove(self) -> None:
        """Remove all that the stack made: containers, volumes, networks and the images that it built."""
        self.compose("--profile", "*", "down", "--volumes", "--remove-orphans")
        # Those of overlays that are not in .env any more are left, and of networks an engine has room for thirty.
        for kind in ("volume", "network"):
            if left := docker(kind, "ls", "--quiet", f"--filter=label=com.docker.compose.project={self.name}").split():
                docker(kind, "rm", *left)
        built = ["docker", "image", "ls", "--quiet", f"{self.name}/*"]
        images = set(subprocess.run(built, capture_output=True, text=True, check=True).stdout.split())
        if images:
            subprocess.run(["docker", "image", "rm", "--force", *images], capture_output=True)

    def containers(self) -> dict[str, dict[str, Any]]:
        """Return what `docker inspect` says of each service's container, ended ones too (not those of `run`)."""
        ids = self._of_services("--quiet")
        found = json.loads(docker("inspect", *ids)) if ids else []
        return {c["Config"]["Labels"]["com.docker.compose.service"]: c for c in found}

    def logs(self, *services: str) -> str:
        return self.compose("logs", "--no-color", "--no-log-prefix", *services, check=False).stdout

    def lines(self, service: str) -> list[dict[str, Any]]:
        """Return a service's log of JSON lines; Compose may put control characters before each."""
        return [json.loads(line[line.index("{") :]) for line in self.logs(service).splitlines() if "{" in line]

    def changes(self) -> list[dict[str, Any]]:
        """Return what each replica of the prediction service said when all its workers had changed to a version, in order."""
        return sorted((line for line in self.lines("inference") if "window_ms" in line), key=lambda line: line["time"])

    def until_healthy(self, service: str, seconds: float = 60) -> None:
        def is_healthy() -> bool:
            return self.containers()[service]["State"].get("Health", {}).get("Status") == "healthy"

        eventually(f"{service} is healthy", is_healthy, seconds)

    def guilty_logs(self) -> str:
        """Return the last lines of each container that failed or is not healthy."""
        lines = []
        for service, container in self.containers().items():
            state = container["State"]
            if state["ExitCode"] or state.get("Health", {}).get("Status") not in (None, "healthy"):
                tail = self.compose("logs", "--no-color", "--tail=40", service, check=False).stdout
                lines.append(f"--- {service} ({state['Status']}, exit code {state['ExitCode']})\n{tail}")
        return "\n".join(lines)

    def predict(self, instances: list[list[float]] = SAMPLES) -> list[int]:
        body = {"instances": instances}
        answer = requests.post(f"{self.url}/invocations", json=body, headers=self._key_shown(), timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()["predictions"]

    def _key_shown(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def until_no_key_is_asked_for(self) -> None:
        """Wait until no worker asks for an API key any more."""
        eventually("no worker asks for a key", lambda: all_the_time(self.predict))

    def until_a_key_is_asked_for(self) -> None:
        """Wait until all workers ask for an API key, and so know those that there are."""

        def is_refused() -> bool:
            # A prediction that is refused would be counted, and shown.
            return requests.get(f"{self.url}/version", timeout=10).status_code == 401

        eventually("all workers ask for a key", lambda: all_the_time(is_refused))

    def served_version(self) -> str | None:
        model = requests.get(f"{self.url}/version", headers=self._key_shown(), timeout=10).json()["model"]
        return model and model["version"]

    def api(self, path: str, **query: Any) -> dict[str, Any]:
        """GET from MLflow's REST API as a client on the host does."""
        url = f"{self.mlflow_url}/api/2.0/mlflow/{path}"
        answer = requests.get(url, params=query, auth=self.account, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def versions(self) -> dict[str, dict[str, Any]]:
        found = self.api("model-versions/search", filter="name='iris_logistic_regression'").get("model_versions", [])
        return {v["version"]: v | {"tags": {t["key"]: t["value"] for t in v.get("tags", [])}} for v in found}

    def alias(self) -> str:
        query = {"name": "iris_logistic_regression", "alias": "Production"}
        return self.api("registered-models/alias", **query)["model_version"]["version"]

    def set_alias(self, version: str) -> None:
        answer = requests.post(
            f"{self.mlflow_url}/api/2.0/mlflow/registered-models/alias",
            json={"name": "iris_logistic_regression", "alias": "Production", "version": version},
            auth=self.account,
            timeout=10,
        )
        assert answer.status_code == 200, answer.text

    def doctor(self) -> list[dict[str, str]]:
        """Return the rows of scripts/doctor, with the patience that a busy machine takes."""
        command = ["scripts/doctor", "--patience", "10", "--json"]
        result = subprocess.run(
            command, cwd=self.folder, env=self.environ(), capture_output=True, text=True, timeout=120
        )
        rows: list[dict[str, str]] = json.loads(result.stdout)
        assert result.returncode == any(row["status"] == "FAIL" for row in rows)
        return rows

    def notebook(self, code: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run Python as a person's notebook on the host: plain mlflow, no credentials, nothing but the URL."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "AWS_"))}
        environ = kept | {"MLFLOW_TRACKING_URI": self.mlflow_url} | environ
        return forked.python("-c", code, imports=forked.NOTEBOOK, environ=environ, folder=self.folder)


@dataclass
class Load:
    """What clients saw."""

    answered: int = 0
    failures: list[str] = field(default_factory=list)
    slowest: float = 0


@contextmanager
def load_on(stack: Stack, clients: int = 6, pause: float = 0.02) -> Iterator[Load]:
    """Post rows from keep-alive clients, each on one connection and `pause` seconds after each answer."""
    load, lock, over = Load(), threading.Lock(), threading.Event()

    def ask(connection: http.client.HTTPConnection, path: str) -> None:
        started = time.monotonic()
        connection.request("POST", path, BODY, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        with lock:
            load.slowest = max(load.slowest, time.monotonic() - started)
            if answer.status == 200 and len(json.loads(content)["predictions"]) == len(SAMPLES):
                load.answered += 1
            else:
                load.failures.append(f"{answer.status} {content[:200]!r}")

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", int(stack.settings["INFERENCE_PORT"]), timeout=60)
        connection.connect()
        connection.auto_open = 0  # a connection that is closed is a failure
        try:
            while not over.is_set():
                for path in ("/invocations", "/predict_names"):
                    ask(connection, path)
                    over.wait(pause)
        except (OSError, http.client.HTTPException) as error:
            with lock:
                load.failures.append(repr(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        over.set()
        for thread in threads:
            thread.join()
