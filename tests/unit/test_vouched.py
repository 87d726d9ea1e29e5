"""What MLflow's pyfunc may answer, and what is shown of a version whose owner is to vouch for its code."""

import gzip
import io
import json
import pickle
import re
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from contract.errors import Refused
from contract.golden import Answers, difference
from contract.mlmodel import manifest
from contract.mlmodel.manifest import Description
from contract.version_files import VersionFiles
from contract.vouched.pyfunc import PyFunc, Unusable, answers
from inference.errors import ModelRefused
from inference.model.engines import pyfunc
from inference.model.model import Model
from inference.rows import Rows, from_cells
from inference.trust import Trust, Trusted
from trainer.adoption import code_examination, vouched
from trainer.commands import requirements as commands
from trainer.errors import VersionError

from tests.unit.version_files import Files, set_inputs, tensor

TABLE = pd.DataFrame({"label": ["a", "b"], "score": [0.5, 0.25]})


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A version that a module of its own loads."""
    return Files(tmp_path).describe(
        lambda content: content.update(flavors={"python_function": {"loader_module": "own"}})
    )


# --- answers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (np.array([1, 2]), [1, 2]),
        (np.array([[1.5], [2.5]]), [1.5, 2.5]),
        (np.array([[1, 2], [3, 4]], dtype=np.int32), [[1, 2], [3, 4]]),
        (np.array([0.5, 0.25], dtype=np.float32), [0.5, 0.25]),
        (pd.Series(["a", None], dtype="str"), ["a", None]),
        (pd.Series([True, False]), [True, False]),
        (pd.Series(["2026-01-02", "NaT"], dtype="datetime64[us]"), ["2026-01-02T00:00:00.000000", None]),
        (TABLE, [["a", 0.5], ["b", 0.25]]),
        (TABLE[["score"]], [0.5, 0.25]),
        (["a", "b"], ["a", "b"]),
        ([1, "b"], [1, "b"]),
        ([[1, 2.5], [3, 4.5]], [[1.0, 2.5], [3.0, 4.5]]),
        (TABLE.to_dict("records"), [["a", 0.5], ["b", 0.25]]),
        ({"label": np.array([1, 0]), "likely": np.array([[0.1, 0.9], [0.8, 0.2]])}, [[1, 0.1, 0.9], [0, 0.8, 0.2]]),
        (
            {"label": np.array([1, 0]), "likely": [{0: 0.5, 1: 0.5}, {0: 0.75, 1: 0.25}]},
            [[1, 0.5, 0.5], [0, 0.75, 0.25]],
        ),
    ],
)
def test_whatever_a_pyfunc_answers_with_is_one_value_or_one_list_per_row(found: Any, expected: list[Any]) -> None:
    assert answers(found, 2).tolist() == expected


@pytest.mark.parametrize("found", [np.float32(3), 3.0, np.zeros((2, 2, 2)), np.zeros(3), [[1], [2, 3]], "ab", None, {}])
def test_what_is_not_one_answer_per_row_is_an_error(found: Any) -> None:
    with pytest.raises(Unusable, match=r"rows with the shape|inhomogeneous|answers with nothing"):
        answers(found, 2)


@pytest.mark.parametrize("found", [[{"a": 1}, {"b": 1}], [object(), object()], np.array([1j, 2j])])
def test_an_answer_that_json_has_no_word_for_is_an_error(found: Any) -> None:
    with pytest.raises(Unusable, match=r"not all the same keys|is a object|of the type complex128"):
        answers(found, 2)


@pytest.mark.parametrize("found", [[[0.5, 0.5]], [0.5, 0.5], [[1.0], [1.0]], [["a", "b"]] * 2, [[1.0], [0.5, 0.5]]])
def test_probabilities_of_another_shape_than_rows_and_classes_are_an_error(
    files: Files, found: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Classifier:
        classes_ = np.array(["a", "b"])

        def predict_proba(self, rows: Any) -> Any:
            return found

        predict = predict_proba

        def get_raw_model(self) -> Any:
            return self

    monkeypatch.setitem(sys.modules, "own", SimpleNamespace(_load_pyfunc=lambda _path: Classifier()))
    with pytest.raises(Unusable, match="its probabilities"):
        PyFunc(files.folder).probabilities(TABLE)


def test_texts_and_numbers_side_by_side_are_compared_as_they_are() -> None:
    truth = Answers.of({"predictions": [["a", 0.5], ["b", 0.25]]})
    assert difference(Answers(answers(TABLE, 2), None), truth, 1e-4).fault(1e-4) is None
    other = TABLE.assign(label=["a", "c"])
    assert difference(Answers(answers(other, 2), None), truth, 1e-4).fault(1e-4) == "labels differ in 1 rows"


class CenteredModel:
    """A model whose answers depend on all rows that it is asked for at once."""

    name, classes = "pyfunc", None

    def labels(self, rows: Rows) -> np.ndarray:
        lengths = np.asarray(rows.by_column[0], dtype=np.float64)
        return lengths - lengths.mean()


def test_a_model_of_code_is_asked_for_all_rows_at_once_however_long_they_take(files: Files) -> None:
    description = manifest.read_vouched(VersionFiles.of(files.folder))
    slow = Model(description, None, CenteredModel(), "", row_seconds=(0.0, 1.0))  # type: ignore[arg-type]
    rows = from_cells([[float(i), 1.0] for i in range(1000)], description.columns, lambda i, j: "")
    assert slow.predict(rows).tolist() == [i - 499.5 for i in range(1000)]


# --- what a version says --------------------------------------------------------------------------------------------


def test_a_version_counts_as_vouched_for_where_its_verified_signature_says_so_alone(files: Files) -> None:
    (files.folder / "identity.json").write_text(json.dumps({"model_name": "m", "model_id": "m-1", "runs_code": True}))
    found = VersionFiles.of(files.folder)
    assert manifest.read(found, is_signed=True).runs_code
    with pytest.raises(Refused, match="its flavors are python_function; expected sklearn"):
        manifest.read(found)
    (files.folder / "identity.json").write_text(json.dumps({"model_name": "m", "model_id": "m-1"}))
    with pytest.raises(Refused, match="its flavors are python_function; expected sklearn"):
        manifest.read(VersionFiles.of(files.folder), is_signed=True)


@pytest.mark.parametrize(
    "trusted", [Trusted(Trust.SIGNED), *(Trusted(one, code=True) for one in (Trust.SKOPS, Trust.PICKLE))]
)
def test_a_service_that_is_not_told_to_runs_no_code(files: Files, trusted: Trusted) -> None:
    found = VersionFiles.of(files.folder)
    with pytest.raises(ModelRefused, match=r"vouched for code .*\(own\).*`scripts/inference-any VERSION` builds"):
        pyfunc.load(found, manifest.read_vouched(found), trusted, 1.0)


@pytest.mark.parametrize("flavors", [None, [], {}, {"python_function": {}}, {"python_function": {"loader_module": 3}}])
def test_a_version_that_mlflow_could_not_load_is_refused(files: Files, flavors: Any) -> None:
    files.describe(lambda content: content.update(flavors=flavors))
    with pytest.raises(Refused, match="no flavor python_function with a loader_module"):
        code_examination.described(files.folder)


def test_a_version_of_an_array_is_described_as_one(files: Files) -> None:
    files.describe(set_inputs(tensor())).example([[8.0, 1.0]])
    assert "Takes an array of 2 columns" in code_examination.described(files.folder)


OBJECT = {"type": "object", "properties": {"kind": {"type": "string", "required": False}, "size": {"type": "double"}}}


@pytest.mark.parametrize(
    ("inputs", "example", "rows", "said"),
    [
        ([{"type": "string"}], ["ab", "c"], [["ab"], ["c"]], "1 column: 0 (string)"),
        ([OBJECT], [{"size": 1.0}], [[None, 1.0]], "2 columns: kind (string), size (double)"),
        ([tensor(shape=[-1, 1, 2])], [[[8.0, 1.0]]], [[8.0, 1.0]], "an array of the shape (rows, 1, 2)"),
        ([tensor(shape=[-1])], [8.0, 1.0], [[8.0], [1.0]], "an array of the shape (rows)"),
    ],
    ids=["texts", "records", "an array of matrices", "an array of numbers"],
)
def test_what_a_pyfunc_takes_is_told_by_its_signature_whatever_a_row_is(
    files: Files, inputs: Any, example: Any, rows: Any, said: str
) -> None:
    files.describe(set_inputs(*inputs)).example(example)
    assert f"Takes {said}" in code_examination.described(files.folder)
    found = manifest.read_vouched(VersionFiles.of(files.folder))
    assert (found.examples, Description.of_json(found.to_json()).shape) == (rows, found.shape)


def test_the_params_of_a_signature_are_told_and_may_stand_beside_the_example(files: Files) -> None:
    files.describe(lambda content: content["signature"].update(params='[{"name": "factor", "type": "double"}]'))
    files.example({"inputs": {"columns": ["length", "width"], "data": [[8.0, 1.0]]}, "params": {"factor": 2.0}})
    assert "Takes 2 columns: length (double), width (double); params: factor" in code_examination.described(
        files.folder
    )
    found = manifest.read_vouched(VersionFiles.of(files.folder))
    assert (found.examples, Description.of_json(found.to_json()).params) == ([[8.0, 1.0]], ("factor",))


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ([{"type": "array", "items": {"type": "string"}}], "takes no rows of plain values"),
        ([OBJECT | {"properties": {"a": OBJECT}}], "takes no rows of plain values"),
        ([OBJECT | {"properties": ["a"]}], "takes no rows of plain values"),
        ([tensor() | {"name": "a"}, tensor() | {"name": "b"}], "takes no rows of plain values"),
        ([tensor(shape=[-1, -1, 3])], "(rows, …), all but the number of rows fixed,"),
        ([tensor(shape=[-1, 300, 300])], "it has 90000 columns; expected at most 20000"),
        ([tensor(["float64"], [-1, 2, 2])], "its input is a tensor of"),
        ([{"type": "tensor", "tensor-spec": None}], "it has no signature with named columns"),
    ],
    ids=["lists", "nested", "no properties", "two arrays", "open", "large", "no type", "no spec"],
)
def test_what_has_no_rows_of_plain_values_is_refused_with_what_is_expected(
    files: Files, inputs: Any, said: str
) -> None:
    files.describe(set_inputs(*inputs))
    with pytest.raises(Refused, match=re.escape(said)):
        code_examination.described(files.folder)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_what_a_pickle_would_import_is_named_without_importing_it(files: Files, protocol: int) -> None:
    content = pickle.dumps([OrderedDict, Path("x"), OrderedDict], protocol)
    (files.folder / "model.pkl").write_bytes(content)
    with zipfile.ZipFile(files.folder / "weights.pt", "w") as archive:
        archive.writestr("weights/data.pkl", content)
    (files.folder / "cut.pkl").write_bytes(content[:-5] + b"\xff")
    said = code_examination.described(files.folder)
    for path in ("model.pkl", "weights.pt"):
        (line,) = [line for line in said if line.startswith(f"Pickled in {path}: ")]
        assert line.endswith(": collections.OrderedDict, pathlib.PosixPath")
    (line,) = [line for line in said if line.startswith("Pickled in cut.pkl: ")]
    assert line.endswith("… (it cannot be read to its end)")


def test_a_pickle_of_which_nothing_can_be_told_is_named(files: Files) -> None:
    (files.folder / "model.joblib").write_bytes(gzip.compress(pickle.dumps(OrderedDict)))
    (files.folder / "old.pkl").write_bytes(pickle.dumps(OrderedDict, 0))
    said = code_examination.described(files.folder)
    for path in ("model.joblib", "old.pkl"):
        assert f"Pickled in {path}: cannot be told" in said


def test_that_not_all_pickles_were_looked_at_is_said(files: Files) -> None:
    for number in range(21):
        (files.folder / f"{number}.pkl").write_bytes(pickle.dumps(number))
    said = code_examination.described(files.folder)
    assert len([line for line in said if line.startswith("Pickled in ")]) == 20
    assert "More than 20 of its files have pickles: the others were not looked at" in said


def test_all_that_python_would_import_is_named_as_code_wherever_it_is(files: Files) -> None:
    for path in ("model.py", "lib/rules.txt", "lib/more.json", "wheels/own-1.0-py3-none-any.whl", "code/a.yaml"):
        (files.folder / path).parent.mkdir(exist_ok=True)
        (files.folder / path).write_text("")
    files.describe(lambda content: content["flavors"]["python_function"].update(code="lib/"))
    code = "code/a.yaml, lib/more.json, lib/rules.txt, model.py, wheels/own-1.0-py3-none-any.whl"
    (said,) = [line for line in code_examination.described(files.folder) if line.startswith("Its own code: ")]
    assert sorted(said.removeprefix("Its own code: ").split(", ")) == code.split(", ")


@pytest.mark.parametrize("key", ["code", "data", "model_code_path"])
@pytest.mark.parametrize("path", ["/usr/include", "..", "lib/../../other", "nowhere", ".", 3, ["lib"]])
def test_code_and_data_beside_the_signed_files_are_refused(files: Files, key: str, path: Any) -> None:
    (files.folder / "lib").mkdir()
    (files.folder / "lib" / "model.py").write_text("")
    files.describe(lambda content: content["flavors"]["python_function"].update({key: path}))
    with pytest.raises(Refused, match=f"the {key} that its python_function names is .*, which is none of its files"):
        manifest.read_vouched(VersionFiles.of(files.folder))


@pytest.mark.parametrize(
    ("key", "path"), [("code", "lib"), ("data", "lib/model.py"), ("model_code_path", "/home/who/logged/it/model.py")]
)
def test_code_and_data_among_the_signed_files_are_taken(files: Files, key: str, path: str) -> None:
    (files.folder / "lib").mkdir()
    for name in ("model.py", "lib/model.py"):
        (files.folder / name).write_text("")
    files.describe(lambda content: content["flavors"]["python_function"].update({key: path}))
    assert manifest.read_vouched(VersionFiles.of(files.folder)).runs_code


@pytest.mark.parametrize("answer", [None, "text", [3], ["x"] * 1000])
def test_an_answer_that_is_no_list_of_lines_is_refused(tmp_path: Path, answer: Any) -> None:
    with pytest.raises(Refused, match="no answer that can be used"):
        vouched.prepare(tmp_path, lambda _function: answer, lambda _line: None)


def test_what_a_version_says_of_itself_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    said = io.StringIO()
    answers = {"described": ["its \x1b[2Jname"], "golden": {"instances": "\x1b[2J"}}
    vouched.prepare(tmp_path, lambda function: answers[function.partition(":")[2]], said.write)  # type: ignore[arg-type]
    assert "\x1b" not in said.getvalue()
    assert "its \\x1b[2Jname" in said.getvalue()
    assert "It has no golden samples" in said.getvalue()


def test_what_counts_as_the_word_of_a_training_is_left_out(files: Files) -> None:
    claims = ["figures.json", "fitted_rows.npy", "golden_samples.json", "onnx_engine.json", "schema.yaml"]
    for name in [*claims, "model.onnx", "identity.json"]:
        (files.folder / name).write_text("{}")
    golden = {"instances": [[8.0, 1.0]], "predictions": [1]}
    answers = {"described": [], "golden": golden}
    sha256, made, left_out = vouched.prepare(
        files.folder, lambda one: answers[one.partition(":")[2]], lambda _line: None
    )
    assert sha256.keys() == {"MLmodel", "input_example.json", "model.onnx"}
    assert (made, left_out) == (["golden_samples.json"], [name for name in claims if name != "golden_samples.json"])
    assert json.loads((files.folder / "golden_samples.json").read_text()) == {**golden, "tolerance": 1e-4}


def test_a_version_that_cannot_be_asked_here_has_no_golden_samples_and_it_is_said_why(files: Files) -> None:
    (files.folder / "golden_samples.json").write_text("{}")
    said: list[str] = []

    def ask(function: str) -> list[str]:
        if function.endswith(":golden"):
            raise Refused("ModuleNotFoundError: No module named 'xgboost'")
        return []

    _, made, left_out = vouched.prepare(files.folder, ask, said.append)
    assert (made, left_out) == ([], ["golden_samples.json"])
    assert not (files.folder / "golden_samples.json").exists()
    assert "it could not be asked here (ModuleNotFoundError: No module named 'xgboost')" in said[0]


@pytest.mark.parametrize(
    ("key", "lacking"), [("signature", "no signature"), ("saved_input_example_info", "no input example")]
)
def test_a_version_without_a_signature_or_an_example_cannot_be_vouched_for(
    files: Files, key: str, lacking: str
) -> None:
    files.describe(lambda content: content.pop(key))
    with pytest.raises(Refused, match=f"it has {lacking}"):
        code_examination.described(files.folder)


def test_packages_are_told_without_comments_and_blank_lines(files: Files) -> None:
    (files.folder / "requirements.txt").write_text("# of a notebook\nmlflow==3.17.2\n\npandas>=2  # a table\n")
    assert code_examination.requirements(VersionFiles.of(files.folder)) == ["mlflow==3.17.2", "pandas>=2"]


@pytest.mark.parametrize(
    ("line", "package"),
    [
        ("pandas>=2", "pandas>=2"),
        ("own==1 --hash=sha256:" + "0" * 64, "own==1"),
        ("own @ file:///" + "a" * 1000, "own @ file:///" + "a" * 1000),
    ],
)
def test_a_package_is_told_whole_and_without_options_of_pip(line: str, package: str) -> None:
    assert commands._package(line) == package


def test_a_package_that_a_terminal_would_obey_is_refused() -> None:
    with pytest.raises(VersionError, match=r"its requirements have a line that is none: own\\x1b\[2J"):
        commands._package("own\x1b[2J")
