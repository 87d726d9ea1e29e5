"""What may be loaded from a version's files: nothing that runs code, and no types that nobody vouches for."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from contract.trust.trusted_types import VOUCH
from contract.version_files import VersionFiles
from inference.errors import ModelRefused
from inference.model import model
from inference.protocols.mlflow_scoring import from_payload
from inference.trust import Trust, Trusted
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

from tests.unit.version_files import COLUMNS, Files

pytestmark = pytest.mark.filterwarnings("ignore:X does not have valid feature names")

FRAME = pd.DataFrame([[1.0, 2.0], [1.5, 2.5], [8.0, 1.0], [9.0, 2.0]], columns=COLUMNS)
LABELS = [0, 0, 1, 1]
FOREST = RandomForestClassifier(n_estimators=3, random_state=0).fit(FRAME, LABELS)


def unheard_of(values: np.ndarray) -> np.ndarray:
    """A function that is nobody's but this file's: skops does not know it as harmless."""
    return values


UNHEARD_OF = f"{unheard_of.__module__}.{unheard_of.__qualname__}"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    files = Files(tmp_path)
    skops.io.dump(LogisticRegression().fit(FRAME, LABELS), files.folder / "model.skops")
    return files


@pytest.fixture
def odd(files: Files) -> Files:
    """A version with a type that is trusted by nobody."""
    estimator = make_pipeline(FunctionTransformer(unheard_of), LogisticRegression()).fit(FRAME, LABELS)
    skops.io.dump(estimator, files.folder / "model.skops")
    return files


@pytest.fixture
def forest(files: Files) -> Files:
    skops.io.dump(FOREST, files.folder / "model.skops")
    return files


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self._path,)


def predictions(files: Files, trusted: Trusted) -> list[Any]:
    loaded = model.load(VersionFiles.of(files.folder), trusted)
    return loaded.predict(from_payload({"instances": FRAME.to_numpy().tolist()}, loaded.description)).tolist()


def refusal(files: Files, trusted: Trusted) -> str:
    with pytest.raises(ModelRefused) as refused:
        model.load(VersionFiles.of(files.folder), trusted)
    return str(refused.value)


def children() -> set[str]:
    """Return the processes that this one has started and that still are there."""
    return {child for task in Path("/proc/self/task").iterdir() for child in (task / "children").read_text().split()}


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux lists a process's children")
@pytest.mark.parametrize("trust", Trust)
def test_a_model_that_asks_for_many_jobs_starts_no_processes(files: Files, trust: Any) -> None:
    union = FeatureUnion([("one", StandardScaler()), ("other", MinMaxScaler())])
    fitted = make_pipeline(union, LogisticRegression()).fit(FRAME, LABELS)
    union.n_jobs = 2
    skops.io.dump(fitted, files.folder / "model.skops")
    before = children()
    assert predictions(files, Trusted(trust)) == LABELS
    assert children() <= before


@pytest.mark.parametrize("trust", Trust)
def test_a_harmless_model_is_served_whatever_is_trusted(files: Files, trust: Trust) -> None:
    assert predictions(files, Trusted(trust)) == LABELS


@pytest.mark.parametrize("trust", [Trust.SIGNED, Trust.SKOPS])
@pytest.mark.parametrize("stored_as", ["cloudpickle", "pickle", None])
def test_a_model_that_runs_code_when_it_is_loaded_is_refused_unopened(
    files: Files, stored_as: str | None, trust: Trust, tmp_path: Path
) -> None:
    touched = tmp_path / "touched"
    (files.folder / "model.pkl").write_bytes(pickle.dumps(Bomb(touched)))
    flavor = {"pickled_model": "model.pkl", "serialization_format": stored_as}
    files.describe(lambda content: content["flavors"].update(sklearn=flavor))
    words = refusal(files, Trusted(trust))
    assert f"it is stored as {stored_as}, which runs code" in words
    assert "log it with serialization_format='skops'" in words
    assert not touched.exists()


def test_a_pickle_that_calls_itself_skops_is_refused_unopened(files: Files, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    (files.folder / "model.skops").write_bytes(pickle.dumps(Bomb(touched)))
    for trust in Trust:
        assert "its file model.skops cannot be loaded" in refusal(files, Trusted(trust))
    assert not touched.exists()


def test_a_pickle_is_loaded_where_pickles_are_trusted_and_the_log_warns_of_it(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    (files.folder / "model.pkl").write_bytes(pickle.dumps(FOREST))
    flavor = {"pickled_model": "model.pkl", "serialization_format": "pickle"}
    files.describe(lambda content: content["flavors"].update(sklearn=flavor))
    assert predictions(files, Trusted(Trust.PICKLE)) == LABELS
    assert "loading model.pkl runs whatever code is in it" in caplog.text


@pytest.mark.parametrize("trust", [Trust.SIGNED, Trust.SKOPS])
def test_a_type_that_is_not_trusted_is_refused_by_name_and_with_the_way_out(odd: Files, trust: Trust) -> None:
    words = refusal(odd, Trusted(trust))
    assert words == (
        f"it contains types that are not trusted: {UNHEARD_OF}; MODEL_TRUSTED_TYPES names more of them; {VOUCH}"
    )


@pytest.mark.parametrize("trust", [Trust.SIGNED, Trust.SKOPS])
def test_a_type_that_the_settings_name_is_trusted(odd: Files, trust: Trust) -> None:
    assert predictions(odd, Trusted(trust, frozenset({UNHEARD_OF}))) == LABELS


def test_where_pickles_are_trusted_every_type_is(odd: Files) -> None:
    assert predictions(odd, Trusted(Trust.PICKLE)) == LABELS


def test_a_forest_is_served_where_it_is_signed_and_refused_where_nobody_signed_it(forest: Files) -> None:
    assert predictions(forest, Trusted(Trust.SIGNED)) == LABELS
    assert "not trusted: sklearn.tree._tree.Tree" in refusal(forest, Trusted(Trust.SKOPS))
    assert predictions(forest, Trusted(Trust.PICKLE)) == LABELS


def test_more_types_are_trusted_beside_those_that_are_anyway() -> None:
    more = frozenset({"my.Type"})
    assert Trusted(Trust.SIGNED, more).types == Trusted(Trust.SIGNED).types | more
    assert Trusted(Trust.SKOPS).types < Trusted(Trust.SIGNED).types
