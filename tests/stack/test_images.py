"""What was taken out of the images is missed by none of their programs (services/packages/slim.sh, services/*/excluded.txt)."""

import json

import pytest

from tests.compose import Stack, docker

# Imports the rooms and modules that are named, loads each library of the packages, and says what of it fails.
LOOK = """
import ctypes, importlib, json, pathlib, pkgutil, sys
rooms, others = json.loads(sys.argv[1])
failures = []
for name in (*rooms, *others):
    try:
        found = importlib.import_module(name)
        inside = pkgutil.walk_packages(found.__path__, name + ".") if name in rooms else ()
        for module in inside:
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    except Exception as error:
        failures.append(f"{name}: {error!r}")
for library in sorted(pathlib.Path("/opt/venv/lib").rglob("*.so*")):
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        failures.append(f"{library}: {error}")
print(json.dumps(failures))
"""
SERVING = (
    "api_keys",
    "handlers",
    "http",
    "ipc",
    "model",
    "protocols",
    "request",
    "rollout",
    "telemetry",
    "verification",
    "web",
)
# Of each image the rooms of our code, and of the packages what is first imported as it works.
IMPORTED = {
    "mlflow": (
        ["cleanup", "accounts", "audit"],
        ["mlflow.server.handlers", "mlflow.server.fastapi_app", "mlflow.server.auth", "mlflow.store.db.utils",
         "mlflow.store.artifact.s3_artifact_repo", "mlflow.cli", "migrate", "published", "s3_through_server"],
    ),
    "setup": (["setup", "doctor", "audit"], ["psycopg2", "minio.minioadmin"]),
    "trainer": (
        ["trainer", "contract", "audit"],
        ["mlflow.sklearn", "mlflow.xgboost", "mlflow.lightgbm", "skops.io", "onnxmltools.convert.xgboost.convert",
         "onnxmltools.convert.lightgbm.convert", "skl2onnx", "onnxruntime", "pandera.pandas", "python_calamine",
         "pyarrow.parquet", "pyarrow.dataset", "pyarrow.orc", "pyarrow.feather", "optuna.samplers", "seaborn",
         "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "model_signing.signing", "sklearn.datasets"],
    ),
    "inference": (
        [*(f"inference.{room}" for room in SERVING), "contract", "audit"],
        ["inference.server", "mlflow.pyfunc", "mlflow.sklearn", "mlflow.xgboost", "mlflow.lightgbm", "skops.io", "onnxruntime",
         "model_signing.verifying"],
    ),
    "predictions": (
        ["monitoring"],
        ["inference.prediction_log.shipper", "inference.prediction_log.command", "duckdb", "pyarrow.parquet", "pyarrow.fs"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("image", IMPORTED)
def test_an_image_has_whatever_its_programs_import(stack: Stack, image: str) -> None:
    if image == "predictions":  # which `up` does not need
        stack.compose("--file", "compose.yaml", "--file", "compose.predictions.yaml", "build", "shipper")
    command = ["--entrypoint", "python", f"{stack.name}/{image}", "-W", "ignore", "-c", LOOK]
    said = docker("run", "--rm", "--env", "MLFLOW_FLASK_SERVER_SECRET_KEY=x", *command, json.dumps(IMPORTED[image]))
    assert json.loads(said.splitlines()[-1]) == []


def test_mlflow_reaches_what_an_artifact_store_on_aws_takes(stack: Stack) -> None:
    code = 'import boto3; print([boto3.client(name, "eu-west-1").meta.service_model.service_name for name in ("s3", "sts", "sso")])'
    said = docker("run", "--rm", "--entrypoint", "python", f"{stack.name}/mlflow", "-c", code)
    assert said == "['s3', 'sts', 'sso']"


@pytest.mark.parametrize("image", ["setup", "mlflow", "trainer", "inference", "minio"])
def test_an_image_names_the_one_that_it_is_built_on(stack: Stack, image: str) -> None:
    label = '{{index .Config.Labels "org.opencontainers.image.base.name"}}'
    base = docker("image", "inspect", "--format", label, f"{stack.name}/{image}")
    layers = [
        json.loads(docker("image", "inspect", "--format", "{{json .RootFS.Layers}}", name))
        for name in (base, f"{stack.name}/{image}")
    ]
    assert layers[1][: len(layers[0])] == layers[0] != layers[1]
