"""A served model is signed: what is not, or was changed or copied, is refused, and what is served stays."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.compose import CLASSES, Stack, eventually
from tests.faults import setting
from tests.snippets import SNIPPETS

NAME = "iris_logistic_regression"

LOG_BY_HAND = """
import sys, mlflow, pandas as pd
from sklearn.linear_model import LogisticRegression
frame = pd.read_csv("data/iris_dataset.csv")
X, y = frame.iloc[:, :4], frame["target"]
mlflow.set_experiment("by hand")
with mlflow.start_run():
    logged = mlflow.sklearn.log_model(LogisticRegression(max_iter=1000).fit(X, y), name="mine", input_example=X.head(2),
        serialization_format=sys.argv[1], pip_requirements=["scikit-learn"],
        metadata={"class_names": ["setosa", "versicolor", "virginica"]})
print("version", mlflow.register_model(logged.model_uri, "iris_logistic_regression").version)
"""

# Code that asks for a package which no image has.
RULE = """
import mlflow
class Rule(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        from more_itertools import ilen
        return [ilen(value for value in row if value > 2.5) - 1 for row in model_input.to_numpy()]
mlflow.models.set_model(Rule())
"""
LOG_A_RULE = """
import mlflow, pandas as pd
from mlflow.models import infer_signature
X = pd.read_csv("data/iris_dataset.csv").iloc[:, :4]
mlflow.set_experiment("by hand")
with mlflow.start_run():
    logged = mlflow.pyfunc.log_model(name="rule", python_model="rule.py", pip_requirements=["mlflow-skinny", "more-itertools"],
        input_example=X.head(3), signature=infer_signature(X, X.iloc[:, 0].astype(int)),
        metadata={"class_names": ["setosa", "versicolor", "virginica"]})
print("version", mlflow.register_model(logged.model_uri, "iris_logistic_regression").version)
"""


def _log_by_hand(stack: Any, form: str = "skops", code: Any = LOG_BY_HAND) -> str:
    result = stack.notebook(code.replace("sys.argv[1]", repr(form)))
    assert result.returncode == 0, result.stderr
    return result.stdout.split("version")[-1].strip()


def _model_id(stack: Any, version: str) -> str:
    return stack.versions()[version]["source"].removeprefix("models:/")


def _artifacts(stack: Any, version: str) -> str:
    root = stack.api(f"logged-models/{_model_id(stack, version)}")["model"]["info"]["artifact_uri"]
    return f"{stack.mlflow_url}/api/2.0/mlflow-artifacts/artifacts/{root.removeprefix('mlflow-artifacts:/')}"


def _problem(stack: Any) -> Any:
    answer = requests.get(f"{stack.url}/ready", timeout=10)
    assert answer.status_code == 200
    return answer.json()["model"]["problem"]


def _settled(stack: Any, version: str) -> bool:
    """Tell whether every worker serves the version and has no problem: all that answer a dozen requests in a row."""
    models = [requests.get(f"{stack.url}/ready", timeout=10).json().get("model") for _ in range(12)]
    return all(model and (model["version"], model["problem"]) == (version, None) for model in models)


@pytest.fixture
def serving(stack: Stack) -> Iterator[str]:
    """A version that is served before the test, and again after it."""
    if "trained" not in vars(stack):
        stack.compose("run", "--rm", "trainer")
        stack.trained = max(stack.versions(), key=int)  # type: ignore[attr-defined]
    stack.set_alias("1")
    eventually("version 1 is served", lambda: _settled(stack, "1"))
    yield "1"
    stack.set_alias("1")
    eventually("version 1 is served again", lambda: _settled(stack, "1"))


def _refused(stack: Any, version: str, *words: str) -> None:
    """Move the alias to a version and see it refused, in words, on /ready and in the log, while serving goes on."""
    stack.set_alias(version)
    problem = eventually(
        "a reason is given", lambda: (said := _problem(stack)) and f"version {version} of" in said and said
    )
    for word in words:
        assert word in problem, problem
    assert stack.served_version() == "1"
    assert stack.predict() == CLASSES
    assert json.dumps(problem, ensure_ascii=False)[1:-1] in stack.logs("inference")


def test_a_version_logged_by_hand_is_refused_until_it_is_adopted(stack: Stack, serving: Any) -> None:
    version = _log_by_hand(stack)
    _refused(stack, version, "it is not signed", f"docker compose run trainer adopt {version}")
    adopted = stack.compose("run", "--rm", "trainer", "adopt", version)
    assert "Not signed, so not read by anything here: serving_input_example.json." in adopted.stdout
    eventually("the adopted version is served", lambda: stack.served_version() == version)
    assert stack.predict() == CLASSES
    assert requests.post(f"{stack.url}/predict_names", json={"instances": [[5.1, 3.5, 1.4, 0.2]]}, timeout=10).ok


def test_what_the_snippets_of_the_page_log_is_adopted_and_served(stack: Stack, serving: Any) -> None:
    for snippet in SNIPPETS:
        logged = stack.notebook(snippet.code(stack.mlflow_url))
        assert logged.returncode == 0, logged.stderr
        named = stack.api("registered-models/alias", name=snippet.model, alias="Production")
        version = str(named["model_version"]["version"])
        named_so = ("--model-name", snippet.model, *snippet.options)
        adopted = stack.compose("run", "--rm", "trainer", "adopt", version, *named_so)
        done = "signed as it is" if snippet.options else "checked and signed"
        assert f"Version {version} of {snippet.model} is {done}" in adopted.stdout
        # A class of a notebook's own may be of another Python than the container's, where it cannot be asked.
        assert snippet.model != "iris_xgboost" or "It has golden samples: its answers to" in adopted.stdout
        if snippet.model != NAME:  # it is another model that this stack serves
            continue
        eventually(f"{snippet.heading} is served", lambda version=version: stack.served_version() == version)  # type: ignore[misc]
        answer = requests.post(f"{stack.url}/invocations", json={"instances": snippet.rows}, timeout=10)
        assert answer.json() == {"predictions": snippet.answers}


def test_code_that_was_vouched_for_is_served_by_an_image_with_its_packages(stack: Stack, serving: Any) -> None:
    (stack.folder / "rule.py").write_text(RULE)
    version = _log_by_hand(stack, code=LOG_A_RULE)
    stack.compose("run", "--rm", "trainer", "adopt", version, "--allow-code")
    said = stack.script("inference-any", version)
    assert "\n    more-itertools\n" in said
    try:
        with setting(stack, COMPOSE_FILE="compose.yaml:compose.any.yaml", ALLOW_SCHEMA_CHANGE="true"):
            stack.put_right("inference")
            stack.set_alias(version)
            eventually("the code is served", lambda: _settled(stack, version))
            assert stack.predict() == [1, 2, 2]
            stack.set_alias("1")
            eventually("so is what runs no code", lambda: _settled(stack, "1"))
            assert stack.predict() == CLASSES
    finally:
        stack.put_right("inference")


def test_one_changed_byte_is_refused(stack: Stack, serving: Any) -> None:
    url = f"{_artifacts(stack, stack.trained)}/model.skops"  # type: ignore[attr-defined]
    content = bytearray(requests.get(url, timeout=10).content)
    content[len(content) // 2] ^= 1
    assert requests.put(url, data=bytes(content), timeout=10).ok
    _refused(stack, stack.trained, "signature does not hold", "model.skops")  # type: ignore[attr-defined]


def test_a_changed_file_is_refused_until_it_is_mended_and_one_that_is_not_signed_is_not_fetched(
    stack: Stack, serving: Any
) -> None:
    stack.compose("run", "--rm", "trainer")
    version = max(stack.versions(), key=int)
    url = _artifacts(stack, version)
    content = requests.get(f"{url}/onnx_engine.json", timeout=10).content
    assert requests.put(f"{url}/onnx_engine.json", data=content + b"\n", timeout=10).ok
    for name in ("extra.py", ".git/model.skops"):
        assert requests.put(f"{url}/{name}", data=b"print()", timeout=10).ok
    _refused(stack, version, "signature does not hold", "onnx_engine.json")
    # Mended where it lies, it is taken up, without a move of the alias.
    assert requests.put(f"{url}/onnx_engine.json", data=content, timeout=10).ok
    eventually("the mended version is served", lambda: _settled(stack, version))
    fetched = stack.compose("exec", "-T", "inference", "find", "/cache").stdout
    assert "onnx_engine.json" in fetched
    assert "extra.py" not in fetched
    assert ".git" not in fetched


def test_signed_files_copied_under_another_model_are_refused(stack: Stack, serving: Any) -> None:
    version = _log_by_hand(stack)
    source, target = _artifacts(stack, "1"), _artifacts(stack, version)
    files = stack.api(f"logged-models/{_model_id(stack, '1')}/artifacts/directories")["files"]
    assert {"model.sig", "identity.json", "MLmodel"} <= {file["path"] for file in files}
    for file in files:
        content = requests.get(f"{source}/{file['path']}", timeout=10).content
        assert requests.put(f"{target}/{file['path']}", data=content, timeout=10).ok
    _refused(stack, version, "it is signed as", _model_id(stack, "1"))


def test_what_cannot_be_adopted_is_told(stack: Stack, serving: Any) -> None:
    pickled = _log_by_hand(stack, "cloudpickle")
    result = stack.compose("run", "--rm", "trainer", "adopt", pickled, check=False)
    assert result.returncode == 5
    assert "serialization_format='skops'" in result.stderr
    absent = stack.compose("run", "--rm", "trainer", "adopt", "999", check=False)
    assert absent.returncode == 5
    assert "there is no version '999'" in absent.stderr


def test_a_pickle_that_would_run_a_command_does_not_run_it(stack: Stack, serving: Any) -> None:
    code = """
import os, mlflow, pandas as pd
from sklearn.linear_model import LogisticRegression
class Trap(LogisticRegression):
    def __reduce__(self):
        return (os.system, ("touch /tmp/trapped",))
frame = pd.read_csv("data/iris_dataset.csv")
X = frame.iloc[:, :4]
mlflow.set_experiment("by hand")
folder = os.path.join(os.getcwd(), "trap")
mlflow.sklearn.save_model(LogisticRegression(max_iter=1000).fit(X, frame["target"]), folder, input_example=X.head(2),
    serialization_format="cloudpickle", pip_requirements=["scikit-learn"],
    metadata={"class_names": ["setosa", "versicolor", "virginica"]})
import pickle
open(os.path.join(folder, "model.pkl"), "wb").write(pickle.dumps(Trap()))
model = mlflow.initialize_logged_model(name="trap")
mlflow.MlflowClient().log_model_artifacts(model.model_id, folder)
mlflow.finalize_logged_model(model.model_id, "READY")
print("version", mlflow.register_model(f"models:/{model.model_id}", "iris_logistic_regression").version)
"""
    version = _log_by_hand(stack, code=code)
    _refused(stack, version, "not signed")
    trapped = "test -e /tmp/trapped"
    assert stack.compose("exec", "-T", "inference", "sh", "-c", trapped, check=False).returncode == 1
    # The trap is a real one: where the setting lets anything in, the command runs, and the log says what was done.
    stack.write_env(MODEL_TRUST="pickle")
    try:
        stack.compose("up", "--detach", "--no-deps", "--no-build", "inference")
        eventually(
            "the pickle has run",
            lambda: stack.compose("exec", "-T", "inference", "sh", "-c", trapped, check=False).returncode == 0,
        )
        assert "MODEL_TRUST is pickle: loading model.pkl runs whatever code is in it" in stack.logs("inference")
    finally:
        stack.set_alias("1")
        del stack.settings["MODEL_TRUST"]
        stack.write_env()
        stack.put_right("inference")


def test_trust_in_skops_serves_unsigned_versions_but_no_unknown_types(stack: Stack, serving: Any) -> None:
    plain = _log_by_hand(stack)
    odd = (
        LOG_BY_HAND.replace(
            "serialization_format=sys.argv[1]", "serialization_format='skops', skops_trusted_types=TYPES"
        )
        .replace("LogisticRegression(max_iter=1000).fit(X, y)", "KNeighborsClassifier().fit(X, y)")
        .replace(
            "from sklearn.linear_model import LogisticRegression",
            "from sklearn.neighbors import KNeighborsClassifier\nTYPES = ['sklearn.metrics._dist_metrics.EuclideanDistance64', 'sklearn.neighbors._kd_tree.KDTree']",
        )
    )
    unknown = _log_by_hand(stack, code=odd)
    stack.write_env(MODEL_TRUST="skops")
    try:
        stack.set_alias(plain)
        stack.put_right("inference")
        eventually("the unsigned version is served", lambda: stack.served_version() == plain)
        stack.set_alias(unknown)
        eventually(
            "the unknown type is refused", lambda: "types that are not trusted: sklearn." in (_problem(stack) or "")
        )
        assert stack.served_version() == plain
    finally:
        stack.set_alias("1")
        del stack.settings["MODEL_TRUST"]
        stack.write_env()
        stack.put_right("inference")
