"""Up again, down, restarted, updated, and with volumes lost: the stack copes."""

import re
from typing import Any

import pytest

from tests.compose import CLASSES, LONG_RUNNING, Stack, docker, eventually, load_on


def _starts(stack: Any) -> dict[str, Any]:
    containers = stack.containers()
    return {name: (containers[name]["Id"], containers[name]["State"]["StartedAt"]) for name in LONG_RUNNING}


def _secrets(stack: Any) -> list[str]:
    """Return a digest of each secret, in order."""
    digests = "cd /volumes && sha256sum */*password* */signing-key.pem */*-key"
    lines = stack.compose(
        "run", "--rm", "--no-deps", "--entrypoint", "sh", "secrets", "-c", digests
    ).stdout.splitlines()
    return [line for line in lines if re.fullmatch(r"[0-9a-f]{64}  \S+", line)]


def test_a_second_up_changes_nothing_and_fails_no_request(stack: Stack) -> None:
    before, versions = _starts(stack), stack.versions()
    with load_on(stack) as load:
        stack.up()
    assert load.failures == []
    assert load.answered > 0
    assert _starts(stack) == before
    assert stack.versions() == versions
    assert "nothing to do" in stack.logs("bootstrap")


def test_an_up_that_changes_mlflow_leaves_the_prediction_service_alone_and_fails_no_request(stack: Stack) -> None:
    before = _starts(stack)
    stack.write_env(MLFLOW_MEMORY="2100m")
    with load_on(stack) as load:
        stack.up("--no-build")
    assert load.failures == []
    assert load.answered > 0
    after = _starts(stack)
    assert after["mlflow"] != before["mlflow"]
    assert after["inference"] == before["inference"]


def test_the_prediction_service_is_updated_alone_and_a_later_up_finds_nothing_to_do(stack: Stack) -> None:
    before = _starts(stack)
    stack.write_env(INFERENCE_LOG_RATE="9")
    stack.compose("up", "--detach", "--wait", "--no-build", "inference")
    after = _starts(stack)
    assert {name for name in LONG_RUNNING if after[name] != before[name]} == {"inference"}
    stack.up("--no-build")
    assert _starts(stack) == after


def test_down_and_up_keeps_runs_models_and_secrets_and_trains_nothing(stack: Stack) -> None:
    versions, secrets = stack.versions(), _secrets(stack)
    assert len(secrets) >= 9
    stack.down()
    stack.up("--no-build")
    assert stack.versions() == versions
    assert _secrets(stack) == secrets
    assert stack.predict() == CLASSES


@pytest.mark.parametrize("service", LONG_RUNNING)
def test_any_service_can_be_restarted(stack: Stack, service: Any) -> None:
    stack.compose("restart", service)
    eventually("predictions work", lambda: stack.predict() == CLASSES)
    eventually("MLflow answers", lambda: stack.alias())
    stack.until_healthy(service)
    result = stack.notebook(
        "import mlflow; mlflow.set_experiment('x'); mlflow.start_run(); mlflow.log_text('a', 'a.txt')"
    )
    assert result.returncode == 0, result.stderr


def test_after_an_update_a_plain_up_runs_the_new_code(stack: Stack) -> None:
    source = stack.folder / "services" / "inference" / "protocols" / "open_inference.py"
    before = _starts(stack)
    source.write_text(source.read_text().replace("MLflow Stack inference", "MLflow Stack inference, updated"))
    stack.up()
    after = _starts(stack)
    assert {name for name in LONG_RUNNING if after[name] != before[name]} == {"inference"}
    assert (
        stack.compose(
            "exec", "-T", "inference", "grep", "-c", "inference, updated", "/app/inference/protocols/open_inference.py"
        ).stdout.strip()
        == "1"
    )


@pytest.mark.parametrize(
    "lost",
    [
        [f"{name}-secrets" for name in ("postgres", "database", "minio", "bucket", "mlflow", "trainer", "inference")],
        ["trainer-secrets"],
        ["mlflow-secrets", "postgres-socket", "mlflow-scratch"],
        ["postgres-data"],
        ["minio-data", "model-cache"],
        ["postgres-data", "bucket-secrets", "minio-secrets"],
    ],
    ids=lambda lost: "+".join(lost),
)
def test_the_set_up_copes_with_lost_volumes(stack: Stack, lost: Any) -> None:
    stack.down()
    for volume in lost:
        docker("volume", "rm", f"{stack.name}_{volume}")
    stack.up("--no-build")
    assert stack.predict() == CLASSES
    assert stack.alias() in stack.versions()
    result = stack.notebook(
        "import mlflow; mlflow.set_experiment('x'); mlflow.start_run(); mlflow.log_text('a', 'a.txt')"
    )
    assert result.returncode == 0, result.stderr


def test_down_with_volumes_starts_afresh_also_after_run_without_rm(stack: Stack) -> None:
    stack.compose("run", "trainer", "models")
    secrets = _secrets(stack)
    stack.down("--volumes")
    stack.up("--no-build")
    assert sorted(stack.versions()) == ["1"]
    assert not set(_secrets(stack)) & set(secrets)
    assert stack.predict() == CLASSES
