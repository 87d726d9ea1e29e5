"""What a person finds after the first `docker compose up`."""

import re

import pytest
import requests

from tests.compose import CLASSES, LONG_RUNNING, ROOT, SAMPLES, Stack


def test_up_wait_returns_when_predictions_work(stack: Stack) -> None:
    assert stack.predict() == CLASSES


def test_every_long_running_service_is_healthy_and_every_job_has_succeeded(stack: Stack) -> None:
    containers = stack.containers()
    states = {
        name: (c["State"]["Status"], c["State"].get("Health", {}).get("Status")) for name, c in containers.items()
    }
    assert {name: states[name] for name in LONG_RUNNING} == dict.fromkeys(LONG_RUNNING, ("running", "healthy"))
    assert states["audit-log"] == ("running", None)
    jobs = set(states) - {*LONG_RUNNING, "audit-log"}
    assert jobs == {"secrets", "postgres-version", "database", "bucket", "migrate", "bootstrap"}
    assert {name: containers[name]["State"]["ExitCode"] for name in jobs} == dict.fromkeys(jobs, 0)


def test_the_last_line_says_where_to_go(stack: Stack) -> None:
    last = [line["message"] for line in stack.lines("inference") if line["message"] != "request"][-1]
    assert last.startswith("Ready: iris_logistic_regression version 1 is served.")
    assert stack.mlflow_url in last
    assert stack.url in last


def test_the_start_script_ends_with_where_to_go(stack: Stack) -> None:
    last = stack.first_start.splitlines()[-5:]
    assert any(line.endswith(stack.url) for line in last)
    assert any(f"{stack.mlflow_url}/#/experiments" in line for line in last)


def test_nothing_is_said_after_the_line_that_says_where_to_go_but_by_the_job_that_made_the_model(stack: Stack) -> None:
    services = [service for service in stack.containers() if service != "bootstrap"]
    lines = stack.compose("logs", "--no-color", "--timestamps", *services).stdout.strip().splitlines()
    # What these tests ask; and what Postgres says of itself from its sixth minute on, where others have run before.
    left_out = ('"message":"request"', "LOG:  checkpoint ")
    lines = [line for line in lines if not any(words in line for words in left_out)]
    stamp = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
    said = {line: found.group() for line in lines if (found := stamp.search(line))}
    ready = next(when for line, when in said.items() if "Ready:" in line)
    assert [line for line, when in said.items() if when > ready] == []


def test_production_is_version_1_with_the_figures_of_the_workshop(stack: Stack) -> None:
    version = stack.versions()["1"]
    assert stack.alias() == "1"
    assert version["tags"]["stage"] == "Production"
    run = stack.api("runs/get", run_id=version["run_id"])["run"]
    assert run["info"]["status"] == "FINISHED"
    metrics = {metric["key"]: round(metric["value"], 4) for metric in run["data"]["metrics"]}
    assert metrics["test_accuracy"] == 0.9667
    assert metrics["train_accuracy"] == 0.975
    assert metrics["overfitting_gap"] == 0.0083
    assert metrics["test_f1_macro"] == 0.9666


@pytest.mark.parametrize("path", ["/", "/health", "/ready", "/version"])
def test_information_is_json(stack: Stack, path: str) -> None:
    answer = requests.get(stack.url + path, timeout=10)
    assert answer.status_code == 200
    assert answer.json()


def test_the_example_client_is_content(stack: Stack) -> None:
    command = ["python3", ROOT / "examples" / "predict_test.py", stack.url]
    result = stack.notebook(
        f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, {str(command[1])!r}, {stack.url!r}]).returncode)"
    )
    assert result.returncode == 0, result.stdout + result.stderr
    for name in ("setosa", "versicolor", "virginica"):
        assert name in result.stdout


def test_probabilities_are_named_and_sum_to_one(stack: Stack) -> None:
    answer = requests.post(f"{stack.url}/predict_names", json={"instances": SAMPLES}, timeout=10).json()
    assert answer["predictions"] == ["setosa", "versicolor", "virginica"]
    for shares in answer["probabilities"]:
        assert list(shares) == ["setosa", "versicolor", "virginica"]
        assert abs(sum(shares.values()) - 1) < 1e-9


def test_everything_published_is_published_to_this_machine_alone(stack: Stack) -> None:
    published = {
        (name, port): {binding["HostIp"] for binding in bindings}
        for name, container in stack.containers().items()
        for port, bindings in container["NetworkSettings"]["Ports"].items()
        if bindings
    }
    assert set(published) == {("mlflow", "5000/tcp"), ("inference", "1235/tcp")}
    assert set().union(*published.values()) == {"127.0.0.1"}


def test_trainer_and_inference_share_no_network_with_the_stores(stack: Stack) -> None:
    networks = {name: set(c["NetworkSettings"]["Networks"]) for name, c in stack.containers().items()}
    stores = networks["postgres"] | networks["minio"]
    assert not (networks["inference"] | networks["bootstrap"]) & stores
    assert networks["mlflow"] & networks["postgres"]
    assert networks["mlflow"] & networks["minio"]


def test_the_prediction_service_starts_without_waiting_for_any_other(stack: Stack) -> None:
    started = {name: container["State"]["StartedAt"] for name, container in stack.containers().items()}
    assert started["inference"] < started["mlflow"]
    assert started["inference"] < started["bootstrap"]


def test_postgres_checks_its_pages_and_mlflow_is_no_superuser(stack: Stack) -> None:
    query = "SHOW data_checksums; SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = 'mlflow'"
    result = stack.compose("exec", "-T", "postgres", "psql", "-U", "postgres", "-At", "-c", query)
    assert result.stdout.split() == ["on", "f|f|f"]


def test_mlflows_s3_user_is_bound_to_its_versioned_bucket(stack: Stack) -> None:
    code = """
import boto3, botocore, os
s3 = boto3.client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"])
print(s3.list_objects_v2(Bucket="mlflow")["KeyCount"] > 0)
for denied in (s3.list_buckets, lambda: s3.create_bucket(Bucket="another")):
    try:
        print([b["Name"] for b in denied()["Buckets"]])
    except botocore.exceptions.ClientError as error:
        print(error.response["Error"]["Code"])
"""
    seen, *others = stack.compose("exec", "-T", "mlflow", "python", "-c", code).stdout.splitlines()
    assert seen == "True"
    # MinIO lists to a user only what it may see.
    assert others == ["['mlflow']", "AccessDenied"]


def test_containers_run_as_their_own_unprivileged_users(stack: Stack) -> None:
    for service in LONG_RUNNING:
        uid = stack.compose("exec", "-T", service, "id", "-u").stdout.strip()
        assert uid != "0", service


def test_images_carry_only_what_runs(stack: Stack) -> None:
    probe = "import importlib.util as u; print([n for n in ('trainer', 'matplotlib', 'pip', 'uv', 'psycopg2', 'boto3') if u.find_spec(n)])"
    assert stack.compose("exec", "-T", "inference", "python", "-c", probe).stdout.strip() == "[]"
    for service in ("inference", "mlflow", "minio"):
        tools = stack.compose("exec", "-T", service, "sh", "-c", "command -v gcc cc go uv", check=False).stdout.strip()
        assert not tools, service
