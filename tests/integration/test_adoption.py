"""`adopt`: what it signs, what it leaves out, and what a stranger's version cannot do by it."""

import io
import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import skops.io
from contract import signature
from contract.signature import entries
from contract.version_files import VersionFiles
from inference.model import model as serving
from inference.trust import Trust, Trusted
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.tree import DecisionTreeClassifier
from trainer.adoption import sandbox
from trainer.adoption.adopt import adopt
from trainer.adoption.sandbox import Ended
from trainer.artifact import signing, version_checks, version_files
from trainer.commands import production, train
from trainer.console.terminal import Console
from trainer.data.table import read, split
from trainer.errors import DataError, TrainerError, VersionError
from trainer.fit.metric import chosen
from trainer.promotion.champion_challenger import Challenge
from trainer.promotion.policy import Contender, QualityGate
from trainer.settings import Settings

from tests.integration.places import DATA, MODEL, Place, keys
from tests.unit.version_files import COLUMNS, Files, set_inputs, tensor

pytestmark = pytest.mark.unhurried

SIGNED = {
    *("MLmodel", "model.skops", "input_example.json", "golden_samples.json", "identity.json"),
    *("model.onnx", "onnx_engine.json"),
    *("requirements.txt", "python_env.yaml", "conda.yaml"),
}
ROWS = pd.DataFrame([[8.0, 1.0], [1.0, 2.0], [7.0, 1.5], [0.5, 3.0]], columns=COLUMNS)


@dataclass
class Registry:
    """A registry into which a stranger logs files, and the command that is to adopt them."""

    place: Place
    experiment: str
    said: str = ""

    def log(self, folder: Path, name: str = MODEL) -> str:
        """Put files into the registry as a new version; return its number."""
        client = self.place.client
        model = client.create_logged_model(self.experiment, name="strangers")
        shutil.copytree(folder, self.store(model.model_id), dirs_exist_ok=True)
        client.finalize_logged_model(model.model_id, "READY")
        return str(client.create_model_version(name, f"models:/{model.model_id}").version)

    def store(self, model_id: str) -> Path:
        location = self.place.client.get_logged_model(model_id).artifact_location
        return Path(location.removeprefix("file://"))

    def files(self, version: str) -> Path:
        """Return where a version's files are."""
        return self.store(self.version(version).source.removeprefix("models:/"))

    def version(self, version: str) -> Any:
        return self.place.client.get_model_version(MODEL, version)

    def adopt(
        self, version: str, confined: bool = True, data: Path = DATA, trusted: frozenset[str] = frozenset()
    ) -> None:
        console = Console(file=io.StringIO(), width=1000)
        settings = Settings(
            self.place.tracking_uri, signing_key=Path(keys()["SIGNING_KEY_FILE"]), data_dir=data, trusted_types=trusted
        )
        try:
            adopt(settings, version, console, confined)
        finally:
            self.said = console.file.getvalue()  # type: ignore[attr-defined, unused-ignore]

    def promote(self, version: str) -> None:
        settings = Settings(self.place.tracking_uri, signing_key=Path(keys()["SIGNING_KEY_FILE"]), data_dir=DATA)
        production.promote(settings, version, "", Console(file=io.StringIO()))

    def assert_nothing_was_signed(self, version: str) -> None:
        assert not (self.files(version) / "model.sig").exists()
        assert not (self.files(version) / "identity.json").exists()
        assert "signed_by" not in self.version(version).tags


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """An empty registry of a database and a folder; what this process asks MLflow is put right again afterwards."""
    place = Place(tmp_path_factory.mktemp("strangers"))
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(place.tracking_uri)
    experiment = place.client.create_experiment("theirs", artifact_location=(place.folder / "artifacts").as_uri())
    place.client.create_registered_model(MODEL)
    yield Registry(place, experiment)
    mlflow.set_tracking_uri(before)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """An honest version of two columns, for a test to change before it is logged."""
    folder = tmp_path / "version"
    folder.mkdir()
    skops.io.dump(LogisticRegression().fit(ROWS, [1, 0, 1, 0]), folder / "model.skops")
    return Files(folder)


def test_types_that_the_settings_name_are_trusted_when_a_version_is_adopted(registry: Any, files: Files) -> None:
    path = files.folder / "model.skops"
    skops.io.dump(GaussianProcessClassifier().fit(ROWS, [1, 0, 1, 0]), path)
    version = registry.log(files.folder)
    with pytest.raises(
        VersionError, match=r"it contains types that are not trusted: .* MODEL_TRUSTED_TYPES names more"
    ):
        registry.adopt(version)
    registry.adopt(version, trusted=frozenset(skops.io.get_untrusted_types(file=path)))
    assert f"Version {version} of {MODEL} is checked and signed" in registry.said


def test_a_model_that_was_logged_with_an_array_is_adopted(registry: Any, files: Files) -> None:
    skops.io.dump(LogisticRegression().fit(ROWS.to_numpy(), [1, 0, 1, 0]), files.folder / "model.skops")
    files.example(ROWS.to_numpy().tolist())
    version = registry.log(files.describe(set_inputs(tensor())).folder)
    registry.adopt(version)
    model = mlflow.pyfunc.load_model(f"models:/{MODEL}/{version}")
    assert model.predict(model.input_example).tolist() == [1, 0, 1, 0]


# --- what is signed -------------------------------------------------------------------------------------------------

# A stranger's, each of which the service, the next training, or an MLflow client would believe.
FOREIGN = {
    "schema.yaml": b"schema_type: dataframe",
    "profile.json": b"{}",
    "background.json": b'{"instances": [[9, 9]]}',
    "fitted_rows.npy": b"\x93NUMPY",
    "figures.json": b'{"metrics": {"test_accuracy": 1.0}}',
    "code/evil.py": b"import os",
    ".git/model.skops": b"another model",
}
REPLACED = {
    "model.onnx": b"another model, an evil one",
    "onnx_engine.json": b'{"kept": true, "reason": "evil", "classes": [0, 1], "input": "float64", "limit": 1e99}',
    "golden_samples.json": b'{"instances": [[0, 0]], "predictions": [7], "tolerance": 9}',
    "requirements.txt": b"evil==1.0\n",
    "conda.yaml": b"dependencies: [evil]",
    "python_env.yaml": b"dependencies: [evil]",
}


@pytest.fixture(scope="module")
def adopted(registry: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A version with all that is not to be believed, adopted; and the words that were said of it."""
    folder = tmp_path_factory.mktemp("adopted")
    skops.io.dump(LogisticRegression().fit(ROWS, [1, 0, 1, 0]), folder / "model.skops")
    files = Files(folder)

    def run_code(content: Any) -> None:
        content["flavors"]["python_function"] = {"loader_module": "evil", "code": "code"}
        content["flavors"]["sklearn"]["code"] = "code"

    files.describe(run_code)
    for name, content in {**FOREIGN, **REPLACED}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    version = registry.log(folder)
    registry.adopt(version)
    return version, registry.said


def test_what_was_checked_or_made_is_signed_and_nothing_else(registry: Any, adopted: Any) -> None:
    version, _ = adopted
    assert set(entries((registry.files(version) / "model.sig").read_bytes())) == SIGNED
    with version_files.signed(registry.version(version), MODEL, Path(keys()["SIGNING_KEY_FILE"])) as folder:
        assert set(signature.files_in(folder)) == SIGNED | {"model.sig"}
        for name in SIGNED:
            assert b"evil" not in (folder / name).read_bytes(), name
        golden = json.loads((folder / "golden_samples.json").read_text())
        record = json.loads((folder / "onnx_engine.json").read_text())
        served = serving.load(VersionFiles.of(folder), Trusted(Trust.SIGNED))
    assert record["kept"]
    assert record["rows"] > 1000
    assert (served.engine, served.pipeline) == ("onnx", None)
    assert (golden["instances"], golden["predictions"]) == ([[8.0, 1.0], [1.0, 2.0]], [1, 0])
    assert registry.version(version).tags["signed_by"]


def test_what_is_left_out_is_named(adopted: Any) -> None:
    version, said = adopted
    assert f"Version {version} of {MODEL} is checked and signed; it can be served now." in said
    assert re.search(r"made of its input example, and an ONNX engine answers for it: proven on \d+ rows\.", said)
    assert "It has none of what its training data would be needed for: figures" in said
    (left_out,) = [line for line in said.splitlines() if line.startswith("Not signed")]
    assert left_out.removeprefix("Not signed, so not read by anything here: ").removesuffix(".").split(", ") == sorted(
        FOREIGN
    )


def test_what_was_left_out_may_change_and_what_was_signed_may_not(registry: Any, adopted: Any, tmp_path: Path) -> None:
    version, _ = adopted
    key = Path(keys()["SIGNING_KEY_FILE"])
    (registry.files(version) / "figures.json").write_text("changed")
    with version_files.signed(registry.version(version), MODEL, key):
        pass
    for name in sorted(SIGNED):
        path = registry.files(version) / name
        kept = path.read_bytes()
        path.write_bytes(kept + b" ")
        with pytest.raises(VersionError, match="signature does not hold"):
            version_files.signed(registry.version(version), MODEL, key).__enter__()
        path.write_bytes(kept)


def test_plain_mlflow_loads_an_adopted_version(registry: Any, adopted: Any) -> None:
    version, _ = adopted
    model = mlflow.pyfunc.load_model(f"models:/{MODEL}/{version}")
    assert model.predict(model.input_example).tolist() == [1, 0]
    assert model.metadata.metadata == {"class_names": ["short", "long"]}
    pins = (registry.files(version) / "requirements.txt").read_text().splitlines()
    assert {line.split("==")[0] for line in pins} == {"mlflow-skinny", "scikit-learn", "skops", "pandas"}


def test_it_can_be_adopted_once_more_as_for_a_new_key(registry: Any, adopted: Any) -> None:
    version, _ = adopted
    (registry.files(version) / "model.sig").write_text("signed with a key that was lost")
    registry.adopt(version)
    with version_files.signed(registry.version(version), MODEL, Path(keys()["SIGNING_KEY_FILE"])) as folder:
        assert set(signature.files_in(folder)) == SIGNED | {"model.sig"}


def test_a_model_that_does_not_convert_is_adopted_and_answered_by_scikit_learn(
    registry: Registry, files: Files
) -> None:
    skops.io.dump(HistGradientBoostingClassifier().fit(ROWS, [1, 0, 1, 0]), files.folder / "model.skops")
    version = registry.log(files.folder)
    registry.adopt(version)
    assert "scikit-learn answers for it: no ONNX engine: float32: " in registry.said
    assert "model.onnx" not in entries((registry.files(version) / "model.sig").read_bytes())
    assert not json.loads((registry.files(version) / "onnx_engine.json").read_text())["kept"]


@pytest.mark.parametrize("ends", ["trainer.adoption.examination:examined", "trainer.adoption.onnx_graph:check"])
def test_a_version_whose_onnx_engine_cannot_be_made_or_is_not_let_in_is_adopted_without(
    registry: Registry, files: Files, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    version, run, asked = registry.log(files.folder), sandbox.run, []

    def ended(function: str, *arguments: Any, **options: Any) -> Any:
        asked.append(function)
        if asked.count(ends) == 1 and function == ends:
            raise Ended("the check ended with signal 11 (SIGSEGV)")
        return run(function, *arguments, **options)

    monkeypatch.setattr(sandbox, "run", ended)
    registry.adopt(version)
    assert "no ONNX engine: " in registry.said
    assert "the check ended with signal 11 (SIGSEGV)" in registry.said
    assert set(entries((registry.files(version) / "model.sig").read_bytes())) == SIGNED - {"model.onnx"}


# --- what a stranger cannot do --------------------------------------------------------------------------------------


def reading_files() -> Pipeline:
    """Return a model that answers with what stands in the file that a row names."""
    reader = CountVectorizer(
        input="filename", token_pattern=r"(?s)(.)", vocabulary=sorted(set("-BEGIN PRIVATE KEY")), lowercase=False
    )
    model = make_pipeline(ColumnTransformer([("file", reader, "path")]), LinearRegression())
    reader.input = "content"
    model.fit(pd.DataFrame({"path": ["BEGIN", "KEY"]}), [0.0, 1.0])
    for part in (model[0].transformers[0][1], model[0].transformers_[0][1]):
        part.input = "filename"
    return model


def test_a_model_that_reads_a_file_does_not_get_at_the_key(registry: Any, files: Files) -> None:
    key = Path(keys()["SIGNING_KEY_FILE"])
    model = reading_files()
    assert model.predict(pd.DataFrame({"path": [str(key)]})).shape == (1,)  # here, where nothing holds it
    skops.io.dump(model, files.folder / "model.skops")
    files.describe(set_inputs({"name": "path", "type": "string"})).describe(lambda content: content.pop("metadata"))
    files.example({"columns": ["path"], "data": [[str(key)]]})
    version = registry.log(files.folder)
    with pytest.raises(VersionError) as refused:
        registry.adopt(version)
    assert refused.value.exit_code == 5
    registry.assert_nothing_was_signed(version)
    assert not (registry.files(version) / "golden_samples.json").exists()


def test_a_model_that_ends_the_process_is_refused(registry: Any, files: Files) -> None:
    tree = DecisionTreeClassifier().fit(ROWS, [1, 0, 1, 0])
    state = tree.tree_.__getstate__()
    state["nodes"] = np.array(state["nodes"])
    state["nodes"]["left_child"][0] = state["nodes"]["right_child"][0] = 2**40
    tree.tree_.__setstate__(state)
    skops.io.dump(tree, files.folder / "model.skops")
    version = registry.log(files.folder)
    with pytest.raises(VersionError) as refused:
        registry.adopt(version)
    assert refused.value.exit_code == 5
    registry.assert_nothing_was_signed(version)


def test_files_that_are_signed_for_another_model_are_not_taken_away_from_it(registry: Any, files: Files) -> None:
    (files.folder / "identity.json").write_text(json.dumps({"model_name": "\x1b[2Jtrees", "model_id": "m-1"}))
    version = registry.log(files.folder)
    with pytest.raises(VersionError, match=r"its files are signed for \\x1b\[2Jtrees; log the model once more"):
        registry.adopt(version)


@pytest.mark.parametrize("name", ["golden_samples.json", "identity.json", "model.sig"])
def test_a_version_with_a_folder_in_the_place_of_a_file_that_is_made_is_refused(
    registry: Any, files: Files, name: str
) -> None:
    (files.folder / name).mkdir()
    (files.folder / name / "x").write_text("x")
    version = registry.log(files.folder)
    with pytest.raises(VersionError, match=f"its folder {name} has the name of a file that is written anew"):
        registry.adopt(version)
    assert "signed_by" not in registry.version(version).tags


def test_an_adopted_version_is_tried_before_production_where_it_reaches_no_key(
    registry: Any, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    def beside_the_key(*_arguments: Any) -> None:
        raise AssertionError

    version = registry.log(files.folder)
    registry.adopt(version)
    monkeypatch.setattr(version_checks, "check_servable", beside_the_key)
    registry.promote(version)
    assert str(registry.place.client.get_model_version_by_alias(MODEL, "Production").version) == version


def test_an_adopted_version_that_does_not_answer_as_it_did_is_not_promoted(registry: Any, files: Files) -> None:
    version, key = registry.log(files.folder), Path(keys()["SIGNING_KEY_FILE"])
    registry.adopt(version)
    folder = registry.files(version)
    golden = json.loads((folder / "golden_samples.json").read_text())
    (folder / "golden_samples.json").write_text(
        json.dumps({**golden, "predictions": [7 for _ in golden["predictions"]]})
    )
    for name in set(signature.files_in(folder)) - SIGNED:
        (folder / name).unlink()
    signing.sign(folder, MODEL, registry.version(version).source.removeprefix("models:/"), key)
    with pytest.raises(VersionError, match="it does not reproduce its golden samples"):
        registry.promote(version)


def test_what_was_checked_is_signed_where_it_was_checked(registry: Registry, files: Files, monkeypatch: Any) -> None:
    """Whoever changes where a version's files are, while they are checked, would have another folder take the signature."""
    version, decoy = registry.log(files.folder), files.folder.parent / "decoy"
    checked, model_id = registry.files(version), registry.version(version).source.removeprefix("models:/")
    shutil.copytree(checked, decoy)
    run = sandbox.run

    def meanwhile(*arguments: Any, **options: Any) -> Any:
        with closing(sqlite3.connect(registry.place.database)) as database, database:
            moved = "UPDATE logged_models SET artifact_location = ? WHERE model_id = ?"
            assert database.execute(moved, (decoy.as_uri(), model_id)).rowcount == 1
        return run(*arguments, **options)

    monkeypatch.setattr(sandbox, "run", meanwhile)
    registry.adopt(version, confined=False)  # one process less
    assert (checked / "model.sig").exists()
    assert not (decoy / "model.sig").exists()
    assert not (decoy / "identity.json").exists()


# --- where there is no sandbox --------------------------------------------------------------------------------------


def test_where_the_check_cannot_be_confined_nothing_is_signed_unless_it_is_asked_for(
    registry: Any, files: Files
) -> None:
    version = registry.log(files.folder)
    open_to_all = Path(pd.__file__).parent  # among the packages, which a check has to read
    with pytest.raises(
        TrainerError, match=rf"which this system does not have .*`adopt {version} --unconfined`"
    ) as refused:
        registry.adopt(version, data=open_to_all)
    assert refused.value.exit_code == 1
    registry.assert_nothing_was_signed(version)
    registry.adopt(version, confined=False, data=open_to_all)
    assert "It was checked without a sandbox" in registry.said
    assert (registry.files(version) / "model.sig").exists()


# --- what the next training believes of it --------------------------------------------------------------------------


@pytest.fixture
def flowers(registry: Any) -> Iterator[Any]:
    """A registered model of which nothing is known, and the iris table to be held against it."""
    registry.place.client.create_registered_model("flowers")
    yield read(DATA / "iris_dataset.csv", "target", None, (), ())
    registry.place.client.delete_registered_model("flowers")


def conform(table: Any) -> Any:
    return train._conform(table, "flowers", False, Path(keys()["SIGNING_KEY_FILE"]))


def test_what_nobody_has_signed_is_not_read_by_the_next_training(registry: Any, files: Files, flowers: Any) -> None:
    (files.folder / "schema.yaml").write_text("schema_type: dataframe\ncolumns: {other: {title: double}}\n")
    version = registry.log(files.folder, "flowers")
    known = conform(flowers)
    assert known.columns == flowers.columns
    assert (
        f"version {version} of flowers could not be read, so its schema is not known: it is not signed"
        in known.remarks[-1]
    )


def test_a_signed_version_of_other_columns_refuses_the_next_training(registry: Any, files: Files, flowers: Any) -> None:
    version = registry.log(files.folder, "flowers")
    model_id = registry.place.client.get_model_version("flowers", version).source.removeprefix("models:/")
    signing.sign(registry.store(model_id), "flowers", model_id, Path(keys()["SIGNING_KEY_FILE"]))
    with pytest.raises(DataError, match=f"whose version {version} has the columns 'length', 'width'"):
        conform(flowers)


def test_an_adopted_champion_is_compared_by_its_scores_and_not_loaded_beside_the_key(
    registry: Registry, adopted: tuple[str, str], tmp_path: Path, monkeypatch: Any
) -> None:
    (version, _), loaded = adopted, []
    registry.place.move_alias(version)
    monkeypatch.setattr(version_checks, "load_skops", lambda *arguments: loaded.append(arguments))
    path = tmp_path / "rows.csv"
    path.write_text("length,width,label\n" + "".join(f"{i}.5,{i % 7}.5,{i % 2}\n" for i in range(100)))
    table = read(path, "label", None, (), ())
    rows = split(table)
    challenge = Challenge(
        name=MODEL,
        challenger=Contender("99", 0.99, table.sha256),
        estimator=LogisticRegression().fit(rows.train_features, rows.train_target),
        metrics={"test_accuracy": 0.99},
        table=table,
        rows=rows,
        gate=QualityGate("accuracy", {}),
        metric=chosen(None, None, table),
        signing_key=Path(keys()["SIGNING_KEY_FILE"]),
        trusted=frozenset(),
    )
    assert not challenge.decide().promote
    (decided,) = challenge.rounds
    known = f"which rows version {version} was fitted on is not known; recorded scores compared"
    assert (decided["champion"]["version"], decided["comparison"]) == (version, known)
    assert loaded == []
