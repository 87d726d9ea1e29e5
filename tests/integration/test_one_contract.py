"""One contract: the trainer's check of a version and the prediction service's loading of it come to the same verdict."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
import skops.io
import yaml
from contract import documents
from contract.errors import Refused
from contract.file_names import GOLDEN, MLMODEL, ONNX_MODEL, ONNX_RECORD
from contract.version_files import VersionFiles
from inference.errors import ModelRefused
from inference.model import model
from inference.trust import Trust, Trusted
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from trainer.adoption import examination, onnx_graph
from trainer.adoption.findings import Findings
from trainer.artifact import onnx_export, version_checks
from trainer.data.table import Column, Kind, Task

from tests.unit.version_files import COLUMNS, Files, set_inputs, tensor

ROWS = [[8.0, 1.0], [1.0, 2.0], [7.0, 1.5], [0.5, 3.0]]
LABELS = [1, 0, 1, 0]
Change = Callable[[Files], object]
pytestmark = pytest.mark.filterwarnings("ignore:X does not have valid feature names")


def told(**content: Any) -> Change:
    """Say something else in MLmodel."""
    return lambda files: files.describe(lambda known: known.update(content))


def columns(*described: Any) -> Change:
    return lambda files: files.describe(set_inputs(*described))


def typed(kind: Any, **more: Any) -> Change:
    return columns(*({"type": kind, "name": name, **more} for name in COLUMNS))


def flavor(**content: Any) -> Change:
    return lambda files: files.describe(lambda known: known["flavors"]["sklearn"].update(content))


def example(content: Any) -> Change:
    return lambda files: files.example(content)


def written(name: str, content: Any) -> Change:
    text = content if isinstance(content, str) else json.dumps(content)
    return lambda files: (files.folder / name).write_text(text)


def golden(**content: Any) -> Change:
    return written(GOLDEN, {"instances": ROWS[:2], "predictions": LABELS[:2], "tolerance": 1e-6} | content)


def holding(estimator: Any, rows: Any = None) -> Change:
    """Put another estimator there, fitted on these rows."""
    fitted = estimator.fit(pd.DataFrame(ROWS, columns=COLUMNS) if rows is None else rows, LABELS)
    return lambda files: skops.io.dump(fitted, files.folder / "model.skops")


def both(*changes: Change) -> Change:
    return lambda files: [change(files) for change in changes]


def dropped(name: str) -> Change:
    return lambda files: files.describe(lambda known: known.pop(name))


def gone(name: str) -> Change:
    return lambda files: (files.folder / name).unlink()


def onnx(files: Files) -> None:
    """Give it an ONNX model that answers all that the estimator does, as the trainer makes it."""
    rows = pd.DataFrame(ROWS, columns=COLUMNS)
    numbers = [Column(name, Kind.NUMBER, False) for name in COLUMNS]
    made = onnx_export.make(LogisticRegression().fit(rows, LABELS), numbers, rows, Task.CLASSIFICATION)
    assert made.content is not None
    (files.folder / "model.onnx").write_bytes(made.content)
    (files.folder / "onnx_engine.json").write_text(json.dumps(made.record))


def link(files: Files) -> None:
    (files.folder / "more").symlink_to("/etc/hostname")


WHOLE = pd.DataFrame(ROWS, columns=COLUMNS).astype("int64")
WORDS = pd.DataFrame({"length": ["a", "b", "a", "b"], "width": ["x", "x", "y", "y"]})

SERVED: dict[str, Change] = {
    "as the trainer leaves it": both(),
    "with golden samples": golden(probabilities=[[0.0, 1.0], [1.0, 0.0]], tolerance=1.0),
    "golden samples without answers": written(GOLDEN, {"instances": ROWS}),
    "golden samples within their tolerance": golden(
        predictions=LABELS[:2], probabilities=[[0.1, 0.9]] * 2, tolerance=0.99
    ),
    "without class names": dropped("metadata"),
    "another flavor beside it": lambda files: files.describe(lambda known: known["flavors"].update(spark=3)),
    "whole numbers": both(typed("long"), example({"data": [[8, 1], [1, 2]]}), holding(LogisticRegression(), WHOLE)),
    "short whole numbers": both(typed("integer"), example({"data": [[8, 1]]})),
    "whole numbers that may be missing": both(
        typed("long", required=False),
        holding(make_pipeline(OneHotEncoder(), LogisticRegression()), WHOLE),
        example({"data": [[8, 1], [1, 2]]}),
    ),
    "whole numbers written with a point": both(typed("long"), example({"data": [[8.0, 1.0]]})),
    "floats": both(typed("float"), example({"data": [[8.0, 1.5]]})),
    "booleans": both(typed("boolean"), example({"data": [[True, False]]})),
    "text": both(
        typed("string"),
        holding(make_pipeline(OneHotEncoder(), LogisticRegression()), WORDS),
        example({"data": [["a", "x"]]}),
    ),
    "an array": both(columns(tensor()), holding(LogisticRegression(), np.array(ROWS)), example({"inputs": ROWS})),
    "an array as MLflow 3 writes it": both(
        columns(tensor()), holding(LogisticRegression(), np.array(ROWS)), example(ROWS)
    ),
    "an array without its rows": both(columns(tensor()), example({"inputs": []})),
    "an array of whole numbers": both(columns(tensor("int64")), example({"inputs": [[8, 1]]})),
    "trees, whose parts are trusted": holding(DecisionTreeClassifier()),
    "a regression": both(dropped("metadata"), holding(LinearRegression())),
    "no example": dropped("saved_input_example_info"),
    "an example that is a list": example(ROWS),
    "an example that is no JSON": lambda files: (files.folder / "input_example.json").write_text("{"),
    "an example of other rows": example({"data": [[1.0], [8.0, 1.0]]}),
    "a file that nobody names": written("notes.txt", "more"),
    "an ONNX engine that answers alone": onnx,
    "no ONNX engine, and why": written("onnx_engine.json", {"kept": False, "reason": "labels differ"}),
}
REFUSED: dict[str, Change] = {
    "nothing": lambda files: shutil.rmtree(files.folder) or files.folder.mkdir(),
    "no MLmodel": lambda files: (files.folder / MLMODEL).unlink(),
    "an empty MLmodel": lambda files: (files.folder / MLMODEL).write_text(""),
    "an MLmodel that is a list": lambda files: (files.folder / MLMODEL).write_text("- a"),
    "an MLmodel with aliases": lambda files: (files.folder / MLMODEL).write_text("a: &a [x]\nb: *a"),
    "an MLmodel that is too large": lambda files: (files.folder / MLMODEL).write_text("a" * (2 * 1024**2 + 1)),
    "no flavors": dropped("flavors"),
    "flavors that are a list": told(flavors=["sklearn"]),
    "another flavor": told(flavors={"pytorch": {}}),
    "a flavor that is no mapping": told(flavors={"sklearn": "model.skops"}),
    "no pickled_model": told(flavors={"sklearn": {"serialization_format": "skops"}}),
    "a pickled_model that is a list": flavor(pickled_model=["model.skops"]),
    "a file outside of the folder": flavor(pickled_model="../model.skops"),
    "a file of the machine": flavor(pickled_model="/etc/hostname"),
    "a file that is not there": flavor(pickled_model="other.skops"),
    "an estimator by cloudpickle": flavor(serialization_format="cloudpickle"),
    "no format": told(flavors={"sklearn": {"pickled_model": "model.skops"}}),
    "an example outside of the folder": told(saved_input_example_info={"artifact_path": "../example.json"}),
    "an example that is not there": told(saved_input_example_info={"artifact_path": "other.json"}),
    "a link": link,
    "no signature": dropped("signature"),
    "a signature that is text": told(signature="double"),
    "inputs that are no JSON": told(signature={"inputs": "["}),
    "no columns": columns(),
    "columns without names": columns({"type": "double"}, {"type": "double"}),
    "two columns of one name": columns(*[{"type": "double", "name": "length"}] * 2),
    "a column of another type": typed("binary"),
    "a type that is a list": typed(["double"]),
    "more columns than there may be": columns(*({"type": "double", "name": str(i)} for i in range(20_001))),
    "an array of text": columns(tensor("str")),
    "an array of three dimensions": columns(tensor(shape=(-1, 2, 2))),
    "class names that are numbers": told(metadata={"class_names": [0, 1]}),
    "too few class names": told(metadata={"class_names": ["short"]}),
    "labels that are no numbers, and class names": lambda files: skops.io.dump(
        LogisticRegression().fit(pd.DataFrame(ROWS, columns=COLUMNS), ["a", "b", "a", "b"]),
        files.folder / "model.skops",
    ),
    "an example out of its domain": example({"data": [["long", 1.0]]}),
    "an example with a gap": example({"data": [[None, 1.0]]}),
    "an example that is not finite": example({"data": [[float("inf"), 1.0]]}),
    "halves in whole numbers": both(typed("long"), example({"data": [[8.5, 1]]})),
    "a whole number that is too large": both(typed("integer"), example({"data": [[2**31, 1]]})),
    "an estimator of other columns": columns(
        {"type": "double", "name": "length"}, {"type": "double", "name": "height"}
    ),
    "golden samples that are no JSON": written(GOLDEN, "{"),
    "golden samples that are a list": written(GOLDEN, []),
    "golden samples without a tolerance": written(GOLDEN, {"instances": ROWS[:1], "predictions": [1]}),
    "no golden samples": golden(instances=[]),
    "golden samples that are too short": golden(instances=[[1.0], [2.0]]),
    "golden samples out of their domain": golden(instances=[[8.0, "a"], [1.0, 2.0]]),
    "other labels than the golden ones": golden(predictions=[0, 1]),
    "fewer answers than golden samples": golden(predictions=[1]),
    "other probabilities than the golden ones": golden(probabilities=[[0.5, 0.5]] * 2),
    "golden probabilities of another shape": golden(probabilities=[1.0, 0.0]),
    "a damaged estimator": lambda files: (files.folder / "model.skops").write_bytes(b"PK\x03\x04"),
    "an empty estimator": lambda files: (files.folder / "model.skops").write_bytes(b""),
    "an estimator that predicts nothing": holding(StandardScaler()),
    "an estimator with a type that is not trusted": holding(
        make_pipeline(
            FunctionTransformer(np.abs, inverse_func=sklearn.clone, check_inverse=False), LogisticRegression()
        )
    ),
    "an estimator fitted on the columns in another order": columns(
        *({"type": "double", "name": name} for name in reversed(COLUMNS))
    ),
    "figures that are none": written("figures.json", {"metrics": {"test_accuracy": "high"}}),
    "no estimator": gone("model.skops"),
    "an ONNX engine that would answer alone, and no estimator": both(onnx, gone("model.skops")),
    "a record of an ONNX engine without its model": both(onnx, gone("model.onnx")),
    "a record of an ONNX engine that is none": written("onnx_engine.json", []),
}
# What adopting does not look at, as it signs none of it; and the example, which it makes golden samples of.
UNPROVEN = ("golden", "figures", "ONNX engine", "without its rows", "no example", "example that is no JSON")


@pytest.fixture
def files(tmp_path: Path) -> Files:
    made = Files(tmp_path)
    holding(LogisticRegression())(made)
    return made


def by_trainer(folder: Path) -> str | None:
    try:
        version_checks.check_servable(folder, frozenset())
    except Refused as error:
        return str(error)
    return None


def by_service(folder: Path) -> str | None:
    try:
        model.load(VersionFiles.of(folder), Trusted(Trust.SIGNED))
    except (ModelRefused, Refused) as error:
        return str(error)
    return None


@pytest.mark.parametrize("change", SERVED.values(), ids=SERVED)
def test_what_the_trainer_lets_pass_is_served(files: Files, change: Any) -> None:
    change(files)
    assert (by_trainer(files.folder), by_service(files.folder)) == (None, None)


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_what_is_not_served_the_trainer_refuses_in_the_same_words(files: Files, change: Any) -> None:
    change(files)
    reasons = by_trainer(files.folder), by_service(files.folder)
    assert None not in reasons
    assert len({str(reason).partition(":")[0] for reason in reasons}) == 1


@pytest.mark.parametrize(
    ("change", "is_served"),
    [
        pytest.param(change, cases is SERVED, id=name)
        for cases in (SERVED, REFUSED)
        for name, change in cases.items()
        if not any(word in name for word in UNPROVEN)
    ],
)
def test_what_is_served_can_be_adopted_and_what_is_adopted_is_served(
    files: Files, change: Any, is_served: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    change(files)
    try:
        said, onnx = examination.examined(files.folder)
        answer = json.loads(json.dumps(said))
    except Refused:
        assert not is_served
        return
    found = Findings.of(answer, VersionFiles.of(files.folder).digests)
    adopted = tmp_path_factory.mktemp("adopted")
    for path in (found.estimator, found.example):
        shutil.copy(files.folder / path, adopted / path)
    (adopted / MLMODEL).write_text(yaml.safe_dump(examination.rewritten(found)))
    documents.write_json(adopted / GOLDEN, found.golden)
    documents.write_json(adopted / ONNX_RECORD, found.onnx)
    if found.onnx["kept"]:
        (adopted / ONNX_MODEL).write_bytes(onnx)
        onnx_graph.check(adopted)
    assert is_served
    assert by_service(adopted) is None
