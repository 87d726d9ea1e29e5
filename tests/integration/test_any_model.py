"""Versions of any flavor: what `adopt --allow-code` shows and signs, and how the prediction service runs their code."""

import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import skl2onnx
from contract.signature import entries
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import Schema, TensorSpec
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from trainer.adoption.adopt import adopt
from trainer.artifact import signing
from trainer.commands import production
from trainer.commands.requirements import show
from trainer.console.terminal import Console
from trainer.errors import VersionError
from trainer.settings import Settings

from tests.integration.places import DATA, MODEL, Place, Service, eventually, has_ended, keys

KEY = Path(keys()["SIGNING_KEY_FILE"])
COLUMNS = ["length", "width"]
ROWS = pd.DataFrame([[8.0, 1.0], [1.0, 2.0], [7.0, 1.5], [0.5, 3.0]], columns=COLUMNS)
PINNED = [f"mlflow-skinny=={mlflow.__version__}", "--pre", "pandas  # a table"]
# A model's own code. What it does with a word is for tests of what a service makes of that.
RULES = """
import os, subprocess, sys, time

FACTOR = {factor}

def score(length, words):
    for word in words.dropna():
        if word == "refuse":
            raise ValueError("no such word: refuse")
        if word == "fail":
            raise KeyError("the rule of this word")
        if word == "crash":
            os._exit(7)
        if word == "hang":
            time.sleep(60)
        if word == "environ":
            raise ValueError(" ".join(sorted(os.environ)))
        if word == "start":
            raise ValueError(f"pid {{subprocess.Popen(['sleep', '600']).pid}}.")
        if word == "fewer":
            return length[1:]
        if word == "garbage":
            os.write(int(sys.argv[1]), bytes([0, 0, 0, 2]) + b"{{]")
    import late
    return (length * FACTOR).where(words.notna(), late.MISSING)
"""
# Loaded by its path, as MLflow's models from code are: no class of this test is in a pickle.
MODEL_CODE = """
import mlflow
from mlflow.models import set_model

class Rules(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        import rules
        return rules.score(model_input["length"], model_input["word"])

set_model(Rules())
"""

# As MLflow's documentation writes one: rows are what its type hint says.
HINTED_CODE = """
import mlflow
import pydantic
from mlflow.models import set_model

class Row(pydantic.BaseModel):
    size: float
    kind: str | None = None

class Sizes(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: list[Row], params=None) -> list[float]:
        return [-1.0 if row.kind is None else row.size * params["factor"] for row in model_input]

set_model(Sizes())
"""
MATRICES_CODE = """
import mlflow
from mlflow.models import set_model

class Products(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return (model_input @ [1.0, 10.0]).prod(axis=1)

set_model(Products())
"""


@dataclass
class Registry:
    """A registry, and versions that were logged by hand, by what they are."""

    place: Place
    work: Path
    experiment: str
    versions: dict[str, str] = field(default_factory=dict)
    said: str = ""

    def log_rules(self, name: str, factor: float) -> str:
        """Log a python_function with two modules of its own, whose names all versions of it share."""
        folder = self.work / name
        folder.mkdir()
        paths = {"rules.py": RULES.format(factor=factor), "late.py": f"MISSING = {-factor}\n", "model.py": MODEL_CODE}
        for path, text in paths.items():
            (folder / path).write_text(text)
        example = pd.DataFrame({"length": [8.0, 1.0], "word": ["a", None]})
        signature = infer_signature(example, pd.Series([1.0]))
        return self.register(
            name,
            mlflow.pyfunc.save_model,
            python_model=str(folder / "model.py"),
            code_paths=[str(folder / "rules.py"), str(folder / "late.py")],
            signature=signature,
            input_example=example,
            pip_requirements=PINNED,
        )

    def log_code(self, name: str, code: str, example: Any) -> str:
        """Log a python_function from code, with the signature that MLflow makes of its type hints and its example."""
        (path := self.work / f"{name}.py").write_text(code)
        return self.register(
            name, mlflow.pyfunc.save_model, python_model=str(path), input_example=example, pip_requirements=PINNED
        )

    def register(self, name: str, save: Any, *model: Any, **options: Any) -> str:
        """Have a flavor save a model and register it as a version; return its number."""
        client = self.place.client
        logged = client.create_logged_model(self.experiment, name=name)
        folder = Path(client.get_logged_model(logged.model_id).artifact_location.removeprefix("file://"))
        save(*model, path=str(folder), **options)
        client.finalize_logged_model(logged.model_id, "READY")
        self.versions[name] = str(client.create_model_version(MODEL, f"models:/{logged.model_id}").version)
        return self.versions[name]

    def files(self, version: str) -> Path:
        model_id = self.place.client.get_model_version(MODEL, version).source.removeprefix("models:/")
        return Path(self.place.client.get_logged_model(model_id).artifact_location.removeprefix("file://"))

    def adopt(self, version: str, allow_code: bool = True) -> str:
        """Adopt a version; return what was said."""
        console = Console(file=io.StringIO(), width=1000)
        adopt(self.settings, version, console, allow_code=allow_code)
        self.said = console.file.getvalue()  # type: ignore[attr-defined, unused-ignore]
        return self.said

    @property
    def settings(self) -> Settings:
        return Settings(self.place.tracking_uri, signing_key=KEY, data_dir=DATA)

    def truth(self, version: str, rows: Any) -> Any:
        """Return what plain MLflow answers, in a process of its own."""
        code = (
            "import json, sys, numpy, pandas, mlflow.pyfunc\n"
            f"model = mlflow.pyfunc.load_model({str(self.files(version))!r}, suppress_warnings=True)\n"
            f"print(json.dumps(numpy.asarray(model.predict({rows})).tolist()))"
        )
        return self.place.notebook(code)


def save_sklearn(model: Any, path: str, **options: Any) -> None:
    mlflow.sklearn.save_model(model, path, serialization_format="cloudpickle", **options)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """An empty registry of a database and a folder; what this process asks MLflow is put right again afterwards."""
    place = Place(tmp_path_factory.mktemp("any"))
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(place.tracking_uri)
    place.client.create_registered_model(MODEL)
    experiment = place.client.create_experiment("theirs", artifact_location=(place.folder / "artifacts").as_uri())
    yield Registry(place, tmp_path_factory.mktemp("logged"), experiment)
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def rules(registry: Registry) -> tuple[str, str]:
    """A python_function with code of its own, adopted; and what was said of it."""
    version = registry.log_rules("rules", factor=2.0)
    return version, registry.adopt(version)


@pytest.fixture(scope="module")
def onnx(registry: Registry) -> str:
    """A version of the onnx flavor, adopted: an array of 32-bit floats, a label and two probabilities."""
    estimator = LogisticRegression().fit(ROWS.to_numpy(np.float32), [1, 0, 1, 0])
    model = skl2onnx.to_onnx(estimator, ROWS.to_numpy(np.float32), options={"zipmap": False})
    inputs = Schema([TensorSpec(np.dtype(np.float32), (-1, 2))])
    version = registry.register(
        "onnx",
        mlflow.onnx.save_model,
        model,
        signature=ModelSignature(inputs),
        input_example=ROWS.to_numpy(np.float32),
        pip_requirements=["onnx", "onnxruntime"],
    )
    registry.adopt(version)
    return version


@pytest.fixture(scope="module")
def pickled(registry: Registry) -> str:
    """A pickled estimator of scikit-learn, with names of its classes; not adopted."""
    estimator = LogisticRegression().fit(ROWS, [1, 0, 1, 0])
    return registry.register(
        "pickled",
        save_sklearn,
        estimator,
        signature=infer_signature(ROWS, np.array([1])),
        input_example=ROWS,
        metadata={"class_names": ["short", "long"]},
        pip_requirements=["scikit-learn"],
    )


@pytest.fixture(scope="module")
def service(registry: Registry, rules: tuple[str, str]) -> Iterator[Service]:
    """The prediction service as it is where code may be run."""
    registry.place.move_alias(rules[0])
    settings = {"ALLOW_CODE": "true", "ALLOW_SCHEMA_CHANGE": "true", "INFERENCE_WORKERS": "1"}
    settings |= {"INFERENCE_QUEUE_SECONDS": "0.2", "A_SECRET": "of this test's"}
    with registry.place.inference(**settings) as running:
        running.answers("/ready")
        yield running


@pytest.fixture
def serving_rules(registry: Registry, rules: tuple[str, str], service: Service) -> Service:
    registry.place.move_alias(rules[0])
    service.serves(rules[0])
    return service


def asked(service: Service, *rows: list[Any]) -> Any:
    answer = service.post("/invocations", {"instances": list(rows)})
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


# --- what is signed -------------------------------------------------------------------------------------------------


def test_without_the_option_the_refusal_names_it(registry: Registry, pickled: str) -> None:
    version = registry.log_rules("unsigned", factor=1.0)
    for refused, reason in ((version, "its flavors are python_function"), (pickled, "it is stored as cloudpickle")):
        with pytest.raises(VersionError, match=f"^{reason}.*`adopt VERSION --allow-code` signs it as it is"):
            registry.adopt(refused, allow_code=False)
        assert not (registry.files(refused) / "model.sig").exists()


def test_its_owner_is_shown_what_it_is(rules: tuple[str, str], registry: Registry, pickled: str) -> None:
    version, said = rules
    assert "Loaded by the module mlflow.pyfunc.loaders.code_model; its flavors: python_function\n" in said
    assert "Its own code: code/late.py, code/rules.py, model.py\n" in said
    assert f"Requirements: {PINNED[0]}, {PINNED[1]}, pandas\n" in said
    assert "Takes 2 columns: length (double), word (string)\n" in said
    assert "Answers with one value for each row, of the type double\n" in said
    assert "It has golden samples: its answers to 2 rows of its input example\n" in said
    assert f"Version {version} of {MODEL} is signed as it is, with its code, for which you vouch. " in said
    assert "It has no ONNX engine, as its own code answers. It has none of what its training data would be" in said
    said = registry.adopt(pickled)
    assert "Pickled in model.pkl: " in said
    assert "sklearn.linear_model._logistic.LogisticRegression" in said


def test_all_its_files_are_signed_and_that_their_code_may_be_run(registry: Registry, rules: tuple[str, str]) -> None:
    folder = registry.files(rules[0])
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert entries((folder / "model.sig").read_bytes()).keys() == there - {"model.sig"}
    assert {"code/rules.py", "code/late.py", "golden_samples.json", "MLmodel"} <= there
    assert json.loads((folder / "identity.json").read_text())["runs_code"] is True
    assert json.loads((folder / "golden_samples.json").read_text())["predictions"] == [16.0, -2.0]


def test_a_version_that_was_vouched_for_is_promoted_and_tells_its_packages(
    registry: Registry, rules: tuple[str, str], capsys: Any
) -> None:
    production.promote(registry.settings, rules[0], "", Console(file=io.StringIO()))
    assert str(registry.place.client.get_model_version_by_alias(MODEL, "Production").version) == rules[0]
    show(registry.settings, rules[0])
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == (f"{PINNED[0]}\npandas\n", f"left out: {PINNED[1]}\n")


# --- how it is served -----------------------------------------------------------------------------------------------


def test_it_answers_as_plain_mlflow_does(serving_rules: Service, registry: Registry, rules: tuple[str, str]) -> None:
    rows = "pandas.DataFrame({'length': [8.0, 1.5, 3.0], 'word': ['a', None, 'b']})"
    assert asked(serving_rules, [8.0, "a"], [1.5, None], [3.0, "b"]) == registry.truth(rules[0], rows)
    many = asked(serving_rules, *([float(i), "a"] for i in range(1000)))
    assert many == [2.0 * i for i in range(1000)]


def test_all_that_tells_of_a_model_tells_of_it(serving_rules: Service, rules: tuple[str, str]) -> None:
    model = serving_rules.get("/version").json()["model"]
    assert model["engine"]["name"] == "pyfunc"
    assert model["engine"]["reason"] == "its owner vouched for its code, loaded by mlflow.pyfunc.loaders.code_model"
    assert serving_rules.get(f"/v2/models/{MODEL}").json()["platform"] == "mlflow_pyfunc"
    inputs = [
        {"name": "length", "datatype": "FP64", "shape": [1, 1], "data": [4.0]},
        {"name": "word", "datatype": "BYTES", "shape": [1, 1], "data": ["a"]},
    ]
    answer = serving_rules.post(f"/v2/models/{MODEL}/infer", {"inputs": inputs}).json()
    assert answer["outputs"][0]["data"] == [8.0]
    for path in ("/", "/health", "/openapi.json", "/metrics"):
        assert serving_rules.get(path).status_code == 200, path


def test_what_the_schema_and_the_model_refuse_is_the_requests_fault(serving_rules: Service) -> None:
    for row, said in (
        ([1.0], "expected 2: length, word"),
        (["x", "a"], "expected a number"),
        ([1.0, "refuse"], "no such word: refuse"),
    ):
        answer = serving_rules.post("/invocations", {"instances": [row]})
        assert answer.status_code == 400, answer.text
        assert said in answer.json()["message"]
    answer = serving_rules.post("/predict_names", {"instances": [[1.0, "a"]]})
    assert (answer.status_code, "no class probabilities" in answer.text) == (400, True)


def test_what_its_code_fails_over_is_in_the_log_and_the_next_is_answered(serving_rules: Service) -> None:
    for word, logged in (
        ("fail", "the rule of this word"),
        ("fewer", "it answers 1 rows with the shape (0,)"),
        ("garbage", "the model's process ended over a request (-9)"),
        ("crash", "the model's process ended over a request (7)"),
    ):
        answer = serving_rules.post("/invocations", {"instances": [[1.0, word]]})
        assert (answer.status_code, answer.json()["error_code"]) == (500, "INTERNAL_ERROR")
        assert logged in serving_rules.log
        assert asked(serving_rules, [3.0, "a"]) == [6.0]


def test_a_request_that_its_code_hangs_over_is_given_up_and_keeps_nobody_waiting(serving_rules: Service) -> None:
    answer = serving_rules.post("/invocations", {"instances": [[1.0, "hang"]]})
    assert answer.status_code == 503
    assert "take longer than 2 s" in answer.json()["message"]
    assert asked(serving_rules, [3.0, "a"]) == [6.0]


def test_its_code_is_given_no_more_of_the_environment_than_it_needs(serving_rules: Service) -> None:
    said = serving_rules.post("/invocations", {"instances": [[1.0, "environ"]]}).json()["message"]
    assert {"HOME", "OMP_NUM_THREADS", "PATH"} <= set(said.split())
    assert not {"A_SECRET", "MLFLOW_TRACKING_URI"} & set(said.split())


def test_what_its_code_has_started_ends_with_it(serving_rules: Service) -> None:
    said = serving_rules.post("/invocations", {"instances": [[1.0, "start"]]}).json()["message"]
    started = int(said.rpartition("pid ")[2].rstrip("."))
    os.kill(started, 0)
    assert serving_rules.post("/invocations", {"instances": [[1.0, "crash"]]}).status_code == 500
    eventually("it has ended", lambda: has_ended(started))


def test_another_version_has_its_own_modules_whatever_they_are_called(
    serving_rules: Service, registry: Registry
) -> None:
    version = registry.log_rules("thrice", factor=3.0)
    registry.adopt(version)
    registry.place.move_alias(version)
    serving_rules.serves(version)
    assert asked(serving_rules, [8.0, "a"], [1.0, None]) == [24.0, -3.0]


def test_a_model_of_the_onnx_flavor_is_served_with_its_outputs_side_by_side(
    service: Service, registry: Registry, onnx: str
) -> None:
    registry.place.move_alias(onnx)
    service.serves(onnx)
    (label, *likely), _ = asked(service, [8.0, 1.0], [1.0, 2.0])
    (output,) = service.get(f"/v2/models/{MODEL}").json()["outputs"]
    assert (output["datatype"], output["shape"]) == ("FP64", [-1, 3])
    assert label == 1
    assert likely == pytest.approx([1 - likely[1], likely[1]], abs=1e-6)
    assert likely[1] > 0.5


def test_a_model_of_the_onnx_flavor_with_a_column_for_each_input_is_asked_by_their_names(
    service: Service, registry: Registry
) -> None:
    table = pd.DataFrame({"size": [1.0, 2.0, 8.0, 9.0], "kind": ["a", "b", "a", "b"]})
    encoded = ColumnTransformer([("kind", OneHotEncoder(), ["kind"])], remainder="passthrough")
    pipeline = make_pipeline(encoded, LogisticRegression()).fit(table, ["short", "short", "long", "long"])
    columns = [("size", FloatTensorType([None, 1])), ("kind", StringTensorType([None, 1]))]
    version = registry.register(
        "onnx of columns",
        mlflow.onnx.save_model,
        skl2onnx.to_onnx(pipeline, initial_types=columns),
        signature=infer_signature(table),
        input_example=table,
        pip_requirements=["onnx", "onnxruntime"],
    )
    assert "It has golden samples: its answers to 4 rows" in registry.adopt(version)
    registry.place.move_alias(version)
    service.serves(version)
    answered = asked(service, [8.0, "a"], [1.0, "b"])
    assert [row[0] for row in answered] == ["long", "short"]
    assert answered[0][1:] == pytest.approx(pipeline.predict_proba(table.iloc[2:3])[0], abs=1e-5)


def test_a_pickled_estimator_has_its_probabilities(service: Service, registry: Registry, pickled: str) -> None:
    registry.adopt(pickled)
    golden = json.loads((registry.files(pickled) / "golden_samples.json").read_text())
    assert np.shape(golden["probabilities"]) == (4, 2)
    registry.place.move_alias(pickled)
    service.serves(pickled)
    answer = service.post("/predict_names", {"instances": ROWS.to_numpy().tolist()}).json()
    assert answer["predictions"] == ["long", "short", "long", "short"]
    assert answer["probabilities"][0]["long"] > 0.5


def test_a_model_with_type_hints_gets_its_records_and_the_params_of_a_request(
    service: Service, registry: Registry
) -> None:
    version = registry.log_code("hinted", HINTED_CODE, ([{"size": 1.0, "kind": "a"}], {"factor": 2.0}))
    said = registry.adopt(version)
    assert "Takes 2 columns: kind (string), size (double); params: factor\n" in said
    assert "It has golden samples: its answers to 1 row of" in said
    registry.place.move_alias(version)
    service.serves(version)
    body: dict[str, Any] = {"instances": [{"size": 3.0, "kind": "b"}, {"size": 3.0}]}
    assert service.post("/invocations", body).json() == {"predictions": [6.0, -1.0]}
    assert service.post("/invocations", {**body, "params": {"factor": 5}}).json() == {"predictions": [15.0, -1.0]}
    refused = service.post("/invocations", {**body, "params": {"factor": "much"}})
    assert (refused.status_code, "factor" in refused.json()["message"]) == (400, True)


def test_a_model_of_an_array_gets_it_in_its_shape(service: Service, registry: Registry) -> None:
    matrices = np.arange(12.0).reshape(3, 2, 2)
    version = registry.log_code("matrices", MATRICES_CODE, matrices)
    assert "Takes an array of the shape (rows, 2, 2)\n" in registry.adopt(version)
    registry.place.move_alias(version)
    service.serves(version)
    expected = registry.truth(version, f"numpy.array({matrices.tolist()})")
    assert asked(service, *matrices.tolist()) == asked(service, *matrices.reshape(3, 4).tolist()) == expected
    metadata = service.get(f"/v2/models/{MODEL}").json()
    assert (metadata["inputs"][0]["shape"], metadata["outputs"][0]["datatype"]) == ([-1, 2, 2], "FP64")


# --- what is not served ---------------------------------------------------------------------------------------------


def refusal(service: Service, version: str) -> str:
    """Return why a version is refused."""

    def said() -> str:
        content = service.get("/version").json()
        problem = (content["model"] or {}).get("problem") or content.get("problem") or ""
        problem = problem or " ".join(service.get("/ready").json().get("reasons", []))
        return problem if f"version {version} " in problem and "refused" in problem else ""

    return str(eventually(f"version {version} is refused", said))


def test_a_service_that_runs_no_code_refuses_it_and_names_the_way(registry: Registry, rules: tuple[str, str]) -> None:
    registry.place.move_alias(rules[0])
    with registry.place.inference(MODEL_CACHE_DIR=str(registry.work / "cache-without")) as service:
        said = refusal(service, rules[0])
    assert "its owner has vouched for code that runs when it is loaded (mlflow.pyfunc.loaders.code_model)" in said
    assert "`scripts/inference-any VERSION`" in said


def test_pickles_of_scikit_learn_are_all_that_model_trust_pickle_lets_run(
    registry: Registry, rules: tuple[str, str]
) -> None:
    registry.place.move_alias(rules[0])
    settings = {"MODEL_TRUST": "pickle", "ALLOW_CODE": "true", "MODEL_CACHE_DIR": str(registry.work / "cache-pickle")}
    with registry.place.inference(**settings) as service:
        assert "its flavors are python_function; expected sklearn" in refusal(service, rules[0])


def test_a_signature_that_vouches_for_no_code_lets_none_run(service: Service, registry: Registry) -> None:
    version = registry.log_rules("signed", factor=1.0)
    folder = registry.files(version)
    signing.sign(folder, MODEL, registry.place.client.get_model_version(MODEL, version).source[8:], KEY)
    registry.place.client.set_model_version_tag(MODEL, version, "runs_code", "true")
    registry.place.move_alias(version)
    assert "its flavors are python_function; expected sklearn" in refusal(service, version)


def test_a_file_that_was_changed_is_refused_and_one_that_was_added_is_not_read(
    service: Service, registry: Registry
) -> None:
    changed, added = (registry.log_rules(name, factor=5.0) for name in ("changed", "added"))
    for version in (changed, added):
        registry.adopt(version)
    code = registry.files(changed) / "code" / "rules.py"
    code.write_bytes(code.read_bytes().replace(b"5.0", b"6.0"))
    # It would come first: a package in the place of a module.
    package = registry.files(added) / "code" / "rules"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit")
    registry.place.move_alias(changed)
    assert "its signature does not hold" in refusal(service, changed)
    registry.place.move_alias(added)
    service.serves(added)
    assert asked(service, [8.0, "a"]) == [40.0]
