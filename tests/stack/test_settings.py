"""Other names and other ports: allowed hosts and printed links follow. API keys: predictions ask for one."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import requests

from tests.compose import SAMPLES, Stack, eventually, free_ports


def test_allowed_hosts_and_links_follow_the_settings(stack: Stack) -> None:
    (port,) = free_ports(1)
    old = stack.settings["MLFLOW_PORT"]
    stack.write_env(PUBLIC_HOST="factory.test,office.test", MLFLOW_PORT=str(port))
    try:
        stack.up("--no-build")
        url = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search?max_results=1"
        for name in ("factory.test", "office.test"):
            assert requests.get(url, headers={"Host": f"{name}:{port}"}, timeout=10).status_code == 200
            answer = requests.get(f"{stack.url}/health", headers={"Host": name}, timeout=10)
            assert answer.status_code == 200
        assert requests.get(url, headers={"Host": "other.test"}, timeout=10).status_code == 403
        (ready,) = [line for line in stack.logs("inference").splitlines() if "Ready:" in line]
        assert f"http://factory.test:{port}" in ready
    finally:
        stack.write_env(PUBLIC_HOST="localhost", MLFLOW_PORT=old)
        stack.put_right()


def test_the_service_that_runs_code_of_models_differs_in_its_image_and_in_that_it_may(stack: Stack) -> None:
    def inference(*files: str) -> Any:
        options = [word for file in ("compose.yaml", *files) for word in ("--file", file)]
        found = json.loads(stack.compose(*options, "config", "--format", "json").stdout)
        return found["services"]["inference"]

    plain, other = inference(), inference("compose.any.yaml")
    assert other["build"].pop("target") == "any"
    assert other["build"].pop("additional_contexts") == {"model": str(stack.folder / "build" / "inference-any")}
    assert (other.pop("image"), plain.pop("image")) == (f"{stack.name}/inference-any", f"{stack.name}/inference")
    assert (other["environment"].pop("ALLOW_CODE"), plain["environment"].pop("ALLOW_CODE")) == ("true", "false")
    assert other == plain


@contextmanager
def _api_keys(stack: Stack) -> Iterator[Callable[..., str]]:
    """Yield what runs scripts/api-key and returns what it says; afterwards nothing asks for a key."""

    def script(*arguments: str) -> str:
        command = [str(stack.folder / "scripts" / "api-key"), *arguments]
        result = subprocess.run(command, env=stack.environ(), capture_output=True, text=True, timeout=300)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    try:
        yield script
    finally:
        script("off")
        stack.until_no_key_is_asked_for()


def test_from_the_first_api_key_on_predictions_ask_for_one_without_a_restart(stack: Stack) -> None:
    started = stack.containers()["inference"]["State"]["StartedAt"]

    def status(key: str | None = None) -> int:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        body = {"instances": SAMPLES}
        return requests.post(f"{stack.url}/invocations", json=body, headers=headers, timeout=10).status_code

    def all_are(wanted: int, key: str | None = None) -> bool:
        return {status(key) for _ in range(20)} == {wanted}

    def shown(key: str) -> str:
        return requests.get(f"{stack.url}/metrics", headers={"X-API-Key": key}, timeout=10).text

    with _api_keys(stack) as script:
        key, other = script("add", "shop"), script("add", "watcher", "--scopes", "metrics")
        eventually("a key is asked for", lambda: all_are(401))
        eventually("both keys are known", lambda: all_are(200, key) and all_are(403, other))
        # Each worker looks at the file for itself, and many answers in a row may be of one.
        eventually("another key is none", lambda: all_are(401, f"{key}x"))
        eventually(
            "the other key shows figures", lambda: 'inference_requests_total{endpoint="/invocations"' in shown(other)
        )
        assert requests.get(f"{stack.url}/ready", timeout=10).status_code == 200
        file = stack.compose("exec", "-T", "inference", "stat", "-c", "%u:%g %a", "/run/secrets/api-keys").stdout
        assert file.split() == ["10004:10004", "600"]
        # Of many requests in a second some have no line.
        eventually(
            "it is named",
            lambda: all_are(200, key) and "shop" in [line.get("key") for line in stack.lines("inference")],
        )
        script("revoke", "shop")
        eventually("it is revoked", lambda: all_are(401, key))
        assert key not in stack.logs("inference") + script("list")
    assert stack.containers()["inference"]["State"]["StartedAt"] == started
