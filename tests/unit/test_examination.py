"""What is found out about a version that nobody has signed: what its metadata files may say, and what is made of them."""

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
import skops.io
import yaml
from contract.errors import Refused
from contract.version_files import digest_of
from sklearn.linear_model import LogisticRegression
from trainer.adoption import examination
from trainer.adoption.examination import examined
from trainer.adoption.findings import Findings

from tests.unit.version_files import COLUMNS, Files, set_inputs, tensor

ROWS = [[8.0, 1.0], [1.0, 2.0], [7.0, 1.5], [0.5, 3.0]]


@pytest.fixture(scope="module")
def estimator() -> LogisticRegression:
    return LogisticRegression().fit(pd.DataFrame(ROWS, columns=COLUMNS), [1, 0, 1, 0])


@pytest.fixture
def files(tmp_path: Path, estimator: LogisticRegression) -> Files:
    skops.io.dump(estimator, tmp_path / "model.skops")
    return Files(tmp_path)


def mlmodel(files: Files) -> dict[str, Any]:
    """Return the MLmodel that is signed in the place of a version's own."""
    answer = json.loads(json.dumps(examined(files.folder)[0]))
    return examination.rewritten(Findings.of(answer, ["model.skops", "input_example.json"]))


def test_what_is_found_is_where_its_parts_are_their_digests_and_what_it_answers(files: Files) -> None:
    found = json.loads(json.dumps(examined(files.folder)[0]))
    assert (found["estimator"], found["example"]) == ("model.skops", "input_example.json")
    assert found["sha256"] == {name: digest_of(files.folder / name) for name in ("model.skops", "input_example.json")}
    assert found["golden"]["instances"] == [[8.0, 1.0], [1.0, 2.0]]
    assert found["golden"]["predictions"] == [1, 0]
    described = mlmodel(files)
    assert described["signature"] == {**files.content["signature"], "params": None}
    assert described["metadata"] == {"class_names": ["short", "long"]}


def test_nothing_of_an_mlmodel_that_runs_or_installs_something_is_kept(files: Files) -> None:
    def hostile(content: Any) -> None:
        content["flavors"]["python_function"] = {"loader_module": "evil", "code": "code", "env": "https://evil.example"}
        content["flavors"]["sklearn"] |= {
            "code": "code",
            "skops_trusted_types": ["os.system"],
            "sklearn_version": "9" * 99,
        }
        content["flavors"]["spark"] = {"model_data": "x"}
        content |= {"resources": {"x": "y"}, "auth_policy": {}, "run_id": "r-1", "artifact_path": ["no", "text"]}
        content["metadata"] |= {"when": datetime.date(2026, 1, 1), "more": ["of evil"]}
        inputs = json.loads(content["signature"]["inputs"])
        content["signature"] |= {"inputs": json.dumps([one | {"more": "evil"} for one in inputs]), "params": "[evil]"}

    found = mlmodel(files.describe(hostile))
    assert found["flavors"].keys() == {"python_function", "sklearn"}
    assert found["flavors"]["python_function"]["loader_module"] == "mlflow.sklearn"
    assert found["flavors"]["sklearn"]["code"] is None
    assert found["run_id"] == "r-1"
    assert found["metadata"] == {"class_names": ["short", "long"]}
    written = yaml.safe_dump(found)
    for word in ("evil", "os.system", "spark", "resources", "auth_policy", "artifact_path: [", "9" * 21):
        assert word not in written


FLAVORS = {
    "no mapping": (["sklearn"], r"its flavors are \['sklearn'\]; expected a mapping"),
    "much of it": ([["x" * 100 for _ in range(10)] for _ in range(100)], "its flavors are"),
    "none": ({}, "its flavors are none; expected sklearn"),
    "a flavor that is no mapping": (
        {"sklearn": "skops"},
        "its flavors are {'sklearn': 'skops'}; expected a mapping of mappings",
    ),
    "another format": ({"sklearn": {"serialization_format": "cloudpickle"}}, "stored as cloudpickle, which runs code"),
    "no format": ({"sklearn": {}}, "it is stored as None, which runs code"),
    "a format to be obeyed": (
        {"sklearn": {"serialization_format": "\x1b[2J\nVersion 1 is signed"}},
        r"stored as '\\x1b",
    ),
    "no file": ({"sklearn": {"serialization_format": "skops"}}, "its file None is not one of its own"),
}


@pytest.mark.parametrize(("flavors", "words"), FLAVORS.values(), ids=FLAVORS)
def test_flavors_that_cannot_be_served_are_told_in_bounded_words(
    files: Files, flavors: dict[Any, Any] | list[Any], words: str
) -> None:
    with pytest.raises(Refused, match=words) as refused:
        examined(files.describe(lambda content: content.update(flavors=flavors)).folder)
    assert len(str(refused.value)) < 500
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("path", ["../signing-key.pem", "/etc/passwd", "nothing.skops", ["model.skops"], ""])
def test_a_file_that_is_named_is_one_of_the_versions_own(files: Files, path: list[str] | str) -> None:
    files.describe(lambda content: content["flavors"]["sklearn"].update(pickled_model=path))
    with pytest.raises(Refused, match="is not one of its own"):
        examined(files.folder)
    files.describe(lambda content: content["flavors"]["sklearn"].update(pickled_model="model.skops"))
    files.describe(lambda content: content["saved_input_example_info"].update(artifact_path=path))
    with pytest.raises(Refused, match="is not one of its own"):
        examined(files.folder)


COLUMNS_OF = {
    "no names": ([{"type": "double"}, {"type": "double"}], "no signature with named columns"),
    "the same twice": ([{"name": "a", "type": "double"}] * 2, "two of its columns have the same name"),
    "names that are numbers": (
        [{"name": 1, "type": "double"}, {"name": 2, "type": "double"}],
        "no signature with named columns",
    ),
    "another type": ([{"name": "a", "type": "binary"}, {"name": "b", "type": "double"}], "have the types binary;"),
    "a type that is none": ([{"name": "a", "type": {"x": 1}}], "have the types {'x': 1};"),
    "no columns at all": ([], "no signature with named columns"),
}


@pytest.mark.parametrize(("columns", "words"), COLUMNS_OF.values(), ids=COLUMNS_OF)
def test_columns_that_cannot_be_served_are_told(files: Files, columns: list[Any], words: str) -> None:
    with pytest.raises(Refused, match=words):
        examined(files.describe(set_inputs(*columns)).folder)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["short"], "its class_names do not name its class"),
        ("short", "its class_names are 'short'; expected a list of texts"),
        ([["short"] for _ in range(1000)], "expected a list of texts"),
        ([1, 2], r"its class_names are \[1, 2\]"),
    ],
)
def test_class_names_that_name_no_classes_are_told_in_bounded_words(
    files: Files, names: list[Any] | str, words: str
) -> None:
    with pytest.raises(Refused, match=words) as refused:
        examined(files.describe(lambda content: content["metadata"].update(class_names=names)).folder)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("example", "words"),
    [
        ([[1.0]], "its input example has no rows of 2 numbers"),
        ({"data": [[1.0]]}, "its input example has no rows of 2 numbers"),
        ({"data": [["a", "b"]]}, "its input example cannot be used: 'length' in row 0 is text; expected a number"),
        ({"data": []}, "its input example has no rows of 2 numbers"),
        ({"data": [[None, 1.0]]}, "its input example cannot be used: 'length' in row 0 is null; expected a number"),
        ({"data": [[1.0, float("inf")]]}, "its input example cannot be used: 'width' in row 0 is not a finite number"),
    ],
)
def test_an_input_example_that_is_none_is_told(
    files: Files, example: dict[Any, Any] | list[list[float]], words: str
) -> None:
    files.example(example)
    # The prediction service, which other tests import, tells scikit-learn in this process not to look.
    with sklearn.config_context(assume_finite=False), pytest.raises(Refused, match=words):
        examined(files.folder)


@pytest.mark.filterwarnings("ignore:X has feature names")
def test_a_model_that_refuses_its_own_input_example_is_told(files: Files) -> None:
    wider = LogisticRegression().fit(np.ones((4, 3)), [1, 0, 1, 0])
    skops.io.dump(wider, files.folder / "model.skops")
    with pytest.raises(Refused, match="it does not predict its own input example: ValueError"):
        examined(files.folder)


def test_a_version_that_was_logged_without_an_example_is_told_to_have_one(files: Files) -> None:
    files.describe(lambda content: content.pop("saved_input_example_info"))
    with pytest.raises(Refused, match=r"it has no input example; log it with input_example=ROWS"):
        examined(files.folder)


def test_a_version_that_was_logged_with_an_array_is_examined_and_rewritten_as_one(files: Files) -> None:
    skops.io.dump(LogisticRegression().fit(np.array(ROWS), [1, 0, 1, 0]), files.folder / "model.skops")
    files.example({"inputs": ROWS})
    found = mlmodel(files.describe(set_inputs(tensor())))
    assert json.loads(found["signature"]["inputs"]) == [tensor(shape=[-1, 2])]
    assert found["saved_input_example_info"]["type"] == "ndarray"


def test_whole_numbers_are_whole_when_an_estimator_is_tried(files: Files) -> None:
    """One that compares words tells 1 from 1.0: so it is asked as the prediction service asks it."""
    described = [{"type": "long", "name": name} for name in COLUMNS]
    files.example({"data": [[8, 1], [1, 2]]})
    found, _ = examined(files.describe(set_inputs(*described)).folder)
    assert found["golden"]["instances"] == [[8, 1], [1, 2]]
    assert {type(value) for row in found["golden"]["instances"] for value in row} == {int}
    files.example({"data": [[8.5, 1]]})
    with pytest.raises(Refused, match=r"'length' in row 0 is 8\.5; expected a whole number"):
        examined(files.folder)


def test_an_input_example_that_is_too_large_is_not_read(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("contract.limits.EXAMPLE_BYTES", 10)
    with pytest.raises(Refused, match=r"its file input_example\.json has more than 10 bytes"):
        examined(files.folder)


def test_a_damaged_model_is_told(files: Files) -> None:
    (files.folder / "model.skops").write_bytes(b"PK\x03\x04")
    with pytest.raises(Refused, match=r"its file model\.skops cannot be loaded"):
        examined(files.folder)


def test_golden_samples_that_came_with_it_do_not_count(files: Files) -> None:
    (files.folder / "golden_samples.json").write_text(
        json.dumps({"instances": [[0, 0]], "predictions": [7], "tolerance": 9})
    )
    assert examined(files.folder)[0]["golden"]["predictions"] == [1, 0]


def test_a_small_file_that_is_a_large_value_is_refused_in_bounded_words(files: Files) -> None:
    lists = "".join(f"- &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))
    path = files.folder / "MLmodel"
    path.write_text("bomb:\n- &a0 [x,x,x,x,x,x,x,x,x,x]\n" + lists + path.read_text().replace("- short", "- *a8"))
    with pytest.raises(Refused, match=r"has no readable MLmodel file: .* it has aliases") as refused:
        examined(files.folder)
    assert len(str(refused.value)) < 500
