"""XGBoost's and LightGBM's models: trained on any table, served by ONNX and by their own library alike, and adopted from nobody."""

import functools
import importlib
import io
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import mlflow.models
import numpy as np
import pandas as pd
import pytest
import xgboost
from contract.boosting.lightgbm_estimators import LGBMClassifier, LGBMRegressor
from contract.boosting.xgboost_estimators import XGBClassifier, XGBRegressor
from contract.errors import Refused
from contract.trust.skops_file import load_skops
from contract.trust.trusted_types import SIGNED_TYPES
from contract.version_files import VersionFiles
from inference.errors import ModelRefused
from inference.model import model
from inference.model.engines import sklearn as own_library
from inference.rows import from_cells
from inference.trust import Trust, Trusted
from trainer.adoption.examination import examined
from trainer.artifact import logged_model, onnx_export, version_checks
from trainer.data import builtin_datasets
from trainer.data.table import SEED, Split, Table, Task, read, split
from trainer.errors import SettingsError
from trainer.fit import algorithms, decision
from trainer.fit.hyperparameter_search import SPACES
from trainer.fit.metric import Metric
from trainer.fit.model_selection import with_parameters
from trainer.tracking.run_logging import _parameters

from tests.unit import hostile_models as hostile
from tests.unit.tables import customers, people, written
from tests.unit.version_files import Files

pytestmark = pytest.mark.unhurried

NAMES = ("xgboost", "lightgbm")
CLASSIFIERS = (XGBClassifier, LGBMClassifier)
REGRESSORS = (XGBRegressor, LGBMRegressor)
DRAWS = np.random.default_rng(3)
X = pd.DataFrame(DRAWS.normal(size=(300, 3)), columns=["a[b]", "c<d", '"e": {f}'])
BANDS = np.digitize(X.iloc[:, 0], [-0.5, 0.5])
SIGNED = Trusted(Trust.SIGNED)


def fitted(name: str, table: Table, **parameters: Any) -> tuple[Any, Split]:
    rows = split(table)
    algorithm = algorithms.named(name, table.task, parameters)
    estimator = algorithms.with_preparation(algorithm, table, rows.train_features)
    return estimator.fit(rows.train_features, rows.train_target), rows


Version = Callable[[str, str], VersionFiles]


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """Return what gives the files of a version by algorithm and target, saved and not signed."""

    @functools.cache
    def made(name: str, target: str) -> VersionFiles:
        folder = tmp_path_factory.mktemp(name)
        table = written(folder, people() if target == "stays" else customers(), target)
        estimator, rows = fitted(name, table)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow's own, of the pandas to come
            logged_model._save(estimator, table, folder / "model", mlflow.models.Model())
            logged_model._write_metadata(estimator, table, rows, folder / "model")
        return VersionFiles.of(folder / "model")

    return made


@pytest.mark.parametrize("kind", CLASSIFIERS)
@pytest.mark.parametrize("labels", [["high", "low", "middle"], [3, 5, 9], [False, True]])
def test_classes_keep_the_labels_that_they_have_in_the_table(kind: Any, labels: list[Any]) -> None:
    target = pd.Series(np.array(labels)[BANDS % len(labels)])
    model = kind(n_estimators=20).fit(X, target)
    assert model.classes_.tolist() == labels
    assert (model.predict(X) == target).mean() > 0.95
    likely = model.predict_proba(X)
    assert likely.shape == (len(X), len(labels))
    assert np.array_equal(model.classes_[likely.argmax(axis=1)], model.predict(X))


@pytest.mark.parametrize("kind", [*CLASSIFIERS, *REGRESSORS])
def test_gaps_switches_and_names_of_any_kind_are_taken_without_a_word(
    kind: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = X.assign(switch=pd.Series([True, None, False] * 100, dtype=object))
    rows.iloc[::7, 1] = np.nan
    model = kind(n_estimators=20).fit(rows, BANDS)
    assert np.array_equal(model.predict(rows), model.predict(np.asarray(rows)))
    assert len(model.predict(rows.tail(1))) == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", NAMES)
def test_the_same_rows_give_the_same_model(name: str, tmp_path: Path) -> None:
    table = written(tmp_path, people())
    one, other = (fitted(name, table, subsample=0.7)[0] for _ in range(2))
    assert one.steps[-1][1].random_state == SEED
    assert joblib.hash(one) == joblib.hash(other)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_class_weights_weigh_the_rows_of_each_class(kind: Any) -> None:
    target = np.where(X.iloc[:, 0] + DRAWS.normal(size=len(X)) > 1.5, "yes", "no")
    algorithm = algorithms.weighted(algorithms.Algorithm("boosted", kind(n_estimators=20)), "balanced")
    weighed = algorithm.estimator.fit(X, target)
    by_row = np.where(target == "yes", (target == "no").sum(), (target == "yes").sum()) * len(X)
    by_hand = kind(n_estimators=20).fit(X, target, by_row / ((target == "no").sum() * (target == "yes").sum() * 2))
    assert np.allclose(weighed.predict_proba(X), by_hand.predict_proba(X), atol=1e-5)
    assert (weighed.predict(X) == "yes").sum() > (kind(n_estimators=20).fit(X, target).predict(X) == "yes").sum()


@pytest.mark.parametrize("name", NAMES)
def test_calibrated_and_decided_by_a_threshold_it_may_be_loaded(name: str, tmp_path: Path) -> None:
    table = written(tmp_path, people()[["age", "income", "stays"]])
    rows = split(table)
    by = Metric("f1", table.task, ("no", "yes"), "yes")
    estimator = algorithms.named(name, table.task, {"n_estimators": 10}).estimator
    decided = decision.decided(decision.calibrated(estimator, by, 3), "0.3", by, rows, 3)
    decided.fit(rows.train_features, rows.train_target)
    loaded = load_skops(hostile.dumped(decided), SIGNED_TYPES)
    assert np.array_equal(loaded.predict(rows.test_features), decided.predict(rows.test_features))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("data_set", ["people", "diabetes", "wine"])
def test_it_has_an_onnx_engine_of_the_same_answers(name: str, data_set: str, tmp_path: Path) -> None:
    if data_set == "people":
        table = written(tmp_path, people())
    else:
        builtin_datasets.write(tmp_path, data_set)
        table = read(builtin_datasets.path_of(tmp_path, data_set), "target")
    estimator, rows = fitted(name, table)
    made = onnx_export.make(estimator, table.columns, rows.train_features, table.task)
    assert made.record["kept"], made.record["reason"]
    assert made.content is not None
    found, likely = onnx_export.run(made.content, table.columns, rows.test_features, made.record["input"])
    if table.task is Task.CLASSIFICATION:
        assert found.tolist() == estimator.predict(rows.test_features).tolist()
        assert np.abs(likely - estimator.predict_proba(rows.test_features)).max() <= made.record["tolerance"]
    else:
        assert np.allclose(found, estimator.predict(rows.test_features), rtol=1e-5)


def test_within_another_estimator_xgboost_is_asked_in_float32_too(tmp_path: Path) -> None:
    table = written(tmp_path, people()[["age", "income", "stays"]].dropna())
    rows = split(table)
    calibrated = decision.calibrated(
        algorithms.named("xgboost", table.task, {"n_estimators": 10}).estimator,
        Metric("accuracy", table.task, ("no", "yes"), "yes"),
        3,
    ).fit(rows.train_features, rows.train_target)
    record = onnx_export.make(calibrated, table.columns, rows.train_features, table.task).record
    assert (record["kept"], record["input"]) == (True, "float32"), record


def test_thresholds_of_lightgbm_are_not_rounded(tmp_path: Path) -> None:
    # Numbers that float32 does not tell apart: rounded, rows would be on the wrong side of a split.
    number = np.repeat(2**25 + np.arange(60), 6) + 0.5
    frame = pd.DataFrame({"number": number, "target": np.where(number // 1 % 2, "odd", "even")})
    table = written(tmp_path, frame, "target")
    estimator, rows = fitted("lightgbm", table, min_child_samples=1)
    made = onnx_export.make(estimator, table.columns, rows.train_features, table.task)
    assert (made.record["kept"], made.record["input"]) == (True, "float64")
    assert estimator.score(rows.train_features, rows.train_target) > 0.95


@pytest.mark.parametrize("name", NAMES)
def test_a_version_is_answered_alike_by_its_onnx_engine_and_by_its_own_library(name: str, version: Version) -> None:
    files = version(name, "stays")
    loaded = model.load(files, SIGNED)
    assert loaded.engine == "onnx"
    golden = json.loads(files.read("golden_samples.json"))
    rows = from_cells(golden["instances"], loaded.description.columns, lambda i, j: f"instances[{i}][{j}]")
    pipeline = own_library.load(files, loaded.description, SIGNED)
    other = replace(loaded, onnx_engine=None, pipeline=pipeline.with_fast_path(rows))
    assert other.pipeline.fast_path is not None
    assert other.predict(rows).tolist() == loaded.predict(rows).tolist() == golden["predictions"]
    assert np.abs(other.probabilities(rows) - loaded.probabilities(rows)).max() < 1e-5
    assert other.probabilities(rows).dtype == loaded.probabilities(rows).dtype


def test_dates_and_free_text_are_prepared_for_it_and_its_own_library_answers(version: Version) -> None:
    loaded = model.load(version("xgboost", "Churn"), SIGNED)
    assert (loaded.engine, loaded.reason) == (
        "scikit-learn", "no ONNX engine: ONNX has no operator for DateParts, Words",
    )  # fmt: skip
    # As many threads as a worker is: its booster says so itself.
    config = json.loads(loaded.pipeline.estimator.steps[-1][1].get_booster().save_config())
    assert config["learner"]["generic_param"]["nthread"] == "1"


def test_lightgbm_predicts_in_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    one: Any = LGBMClassifier(n_estimators=2).fit(X, BANDS)
    predict = one.booster_.predict

    def told(rows: Any, **more: Any) -> Any:
        asked.append(more["num_threads"])
        return predict(rows, **more)

    monkeypatch.setattr(one.booster_, "predict", told)
    one.predict(X)
    one.predict_proba(X)
    assert asked == [1, 1]


def test_a_version_says_which_library_it_needs_and_brings_the_estimator(version: Version) -> None:
    files = version("lightgbm", "stays")
    assert "lightgbm==" in files.read("requirements.txt").decode()
    assert "xgboost" not in files.read("requirements.txt").decode()
    assert (files.folder / "code" / "contract" / "boosting" / "lightgbm_estimators.py").exists()


def test_it_is_tried_before_a_promotion_by_hand_and_asked_as_a_champion(version: Version) -> None:
    for name in NAMES:
        folder = version(name, "stays").folder
        version_checks.check_servable(folder, frozenset())
        assert version_checks.load(folder, frozenset()).classes_.tolist() == ["no", "yes"]


def test_what_nobody_has_signed_may_not_contain_it(version: Version) -> None:
    with pytest.raises(ModelRefused, match="it contains types that are not trusted"):
        model.load(version("xgboost", "stays"), Trusted(Trust.SKOPS))


def strangers(folder: Path, content: bytes) -> Path:
    files = Files(folder)
    (folder / "model.skops").write_bytes(content)
    return files.folder


def with_a_booster_of_garbage() -> bytes:
    content = hostile.dumped(xgboost.XGBClassifier(n_estimators=2).fit(np.asarray(X), BANDS > 0))
    with io.BytesIO(content) as file:
        (booster,) = (name for name in hostile.ZipFile(file).namelist() if name.endswith(".bin"))
    return hostile.edited(content, parts={booster: b"{L" + b"\xff" * 1000})


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(
            lambda: hostile.dumped(xgboost.XGBClassifier(n_estimators=2).fit(X.to_numpy(), BANDS)), id="honest"
        ),
        pytest.param(lambda: hostile.dumped(LGBMClassifier(n_estimators=2).fit(X, BANDS)), id="the trainer's own"),
        pytest.param(with_a_booster_of_garbage, id="hostile"),
    ],
)
def test_of_a_stranger_none_is_adopted_and_the_way_out_is_named(content: Any, tmp_path: Path) -> None:
    with pytest.raises(
        Refused, match=r"types that are not trusted: .*\.Booster.*`adopt VERSION --allow-code` signs it as it is"
    ):
        examined(strangers(tmp_path, content()))


def test_their_estimators_may_be_named_by_their_import_path_and_nothing_else_of_theirs() -> None:
    path = "xgboost.XGBRegressor"
    assert isinstance(algorithms.imported(path, {"max_depth": 3}).estimator, XGBRegressor)
    steps = ["sklearn.preprocessing.StandardScaler", {"lightgbm.LGBMClassifier": {"num_leaves": 7}}]
    assert algorithms.written(steps).estimator.steps[-1][1].num_leaves == 7
    for other in ("xgboost.XGBRFClassifier", "xgboost.sklearn.XGBClassifier", "lightgbm.dask.DaskLGBMClassifier"):
        with pytest.raises(
            SettingsError, match=r"is not of sklearn, and none of xgboost\.XGBClassifier, .*: only these"
        ):
            algorithms.imported(other, {})


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_that_it_does_not_have_is_named_and_not_left_out(name: str) -> None:
    with pytest.raises(SettingsError, match=r"has no parameter 'max_dept'.*did you mean 'max_depth'"):
        algorithms.named(name, Task.REGRESSION, {"max_dept": 3})
    with pytest.raises(ValueError, match="has no parameter max_dept"):
        with_parameters(algorithms.named(name, Task.REGRESSION, {}).estimator, {"max_dept": 3})


@pytest.mark.parametrize("name", SPACES)
def test_what_is_searched_are_parameters_of_the_algorithm(name: str) -> None:
    for task in algorithms.NAMED[name]:
        assert {*SPACES[name]} <= {*algorithms.named(name, task, {}).estimator.get_params()}


def test_they_are_compared_with_all_others() -> None:
    assert {*NAMES} < {*algorithms.all_for(Task.CLASSIFICATION)}
    assert {*NAMES} < {*algorithms.all_for(Task.REGRESSION)}


def test_a_library_that_cannot_be_loaded_is_left_out_of_a_comparison_and_named_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_libgomp(name: str) -> Any:
        raise OSError("libgomp.so.1: cannot open shared object file")

    monkeypatch.setattr(importlib, "import_module", no_libgomp)
    assert algorithms.all_for(Task.CLASSIFICATION) == ()
    with pytest.raises(SettingsError, match=r"lightgbm\.LGBMClassifier cannot be loaded here: libgomp\.so\.1"):
        algorithms.named("lightgbm", Task.CLASSIFICATION, {})


def test_parameters_that_are_not_their_defaults_are_told() -> None:
    assert _parameters(XGBRegressor(max_depth=3)) == {"algorithm": "XGBRegressor", "max_depth": 3}
    assert _parameters(LGBMClassifier(num_leaves=7)) == {"algorithm": "LGBMClassifier", "num_leaves": 7}
