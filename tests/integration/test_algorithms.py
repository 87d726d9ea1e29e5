"""What may be trained: algorithms by name, scikit-learn's by import path, pipelines step by step, and what is put before them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from trainer.artifact import onnx_export
from trainer.data import builtin_datasets
from trainer.data.table import Table, Task, read, split
from trainer.errors import SettingsError
from trainer.fit import algorithms

from tests.unit.tables import people, written


def prepared(table: Any, name: str = "logistic_regression") -> Any:
    return algorithms.with_preparation(algorithms.named(name, table.task, {}), table, split(table).train_features)


@pytest.fixture
def bundled(tmp_path: Path) -> Callable[..., Any]:
    def table(name: str) -> Any:
        builtin_datasets.write(tmp_path, name)
        return read(builtin_datasets.path_of(tmp_path, name), "target")

    return table


def test_iris_needs_no_preparation_and_is_trained_as_in_the_workshop(bundled: Callable[..., Any]) -> None:
    estimator = prepared(bundled("iris"))
    assert isinstance(estimator, LogisticRegression)
    assert {name: estimator.get_params()[name] for name in ("solver", "max_iter", "C")} == {
        "solver": "lbfgs",
        "max_iter": 1000,
        "C": 1.0,
    }


def test_columns_of_very_different_spread_are_scaled_where_that_matters(bundled: Callable[..., Any]) -> None:
    assert [name for name, _ in prepared(bundled("wine")).steps] == ["standardscaler", "estimator"]
    assert not isinstance(prepared(bundled("wine"), "random_forest"), Pipeline)


def test_a_mixed_table_is_prepared_inside_of_the_pipeline(tmp_path: Path) -> None:
    table = written(tmp_path, people())
    rows = split(table)
    estimator = prepared(table).fit(rows.train_features, rows.train_target)
    assert estimator.score(rows.test_features, rows.test_target) > 0.6
    unknown = rows.test_features.head(1).assign(city="Atlantis")
    assert estimator.predict(unknown).tolist() in (["yes"], ["no"])


def with_gaps(folder: Path) -> Table:
    frame = people()[["age", "income", "stays"]]
    frame.loc[::9, "age"] = None
    return written(folder, frame)


def test_missing_numbers_are_left_to_an_estimator_that_takes_them(tmp_path: Path) -> None:
    assert isinstance(prepared(with_gaps(tmp_path), "hist_gradient_boosting"), HistGradientBoostingClassifier)


@pytest.mark.parametrize(
    "path", ["ensemble.RandomForestClassifier", "ensemble.BaggingClassifier", "tree.DecisionTreeClassifier"]
)
def test_plain_trees_get_medians_for_missing_numbers_and_so_keep_their_onnx_engine(path: str, tmp_path: Path) -> None:
    table = with_gaps(tmp_path)
    rows = split(table)
    estimator = algorithms.with_preparation(algorithms.imported(f"sklearn.{path}", {}), table, rows.train_features)
    estimator.fit(rows.train_features, rows.train_target)
    made = onnx_export.make(estimator, table.columns, rows.train_features, table.task)
    assert made.record["kept"], made.record["reason"]


def test_an_estimator_is_made_of_its_import_path_and_plain_values() -> None:
    algorithm = algorithms.imported("sklearn.svm.SVC", {"C": 2, "kernel": "rbf"})
    assert (algorithm.name, algorithm.estimator.C, algorithm.estimator.random_state) == ("svc", 2, 42)


def test_a_pipeline_is_made_step_by_step_estimators_in_estimators_too() -> None:
    steps = [
        "sklearn.preprocessing.StandardScaler",
        {
            "sklearn.ensemble.BaggingClassifier": {
                "estimator": {"sklearn.tree.DecisionTreeClassifier": {"max_depth": 3}}
            }
        },
    ]
    algorithm = algorithms.written(steps)
    assert algorithm.name == "bagging_classifier"
    assert algorithm.estimator.steps[-1][1].estimator.max_depth == 3


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: algorithms.named("random_forset", Task.CLASSIFICATION, {}), "did you mean 'random_forest'?"),
        (
            lambda: algorithms.named("logistic_regression", Task.REGRESSION, {}),
            "is for classification, and this is regression",
        ),
        (lambda: algorithms.named("random_forest", Task.CLASSIFICATION, {"trees": 3}), "has no parameter 'trees'"),
        (lambda: algorithms.named("random_forest", Task.CLASSIFICATION, {"max_dept": 3}), "did you mean 'max_depth'?"),
        (lambda: algorithms.imported("os.system", {}), "os.system is not of sklearn"),
        (lambda: algorithms.imported("sklearn.svm.SVX", {}), "there is no sklearn.svm.SVX"),
        (lambda: algorithms.imported("sklearn.nowhere.SVC", {}), "there is no sklearn.nowhere.SVC"),
        (lambda: algorithms.imported("sklearn.base.clone", {}), "sklearn.base.clone is no estimator"),
        (lambda: algorithms.imported("sklearn.preprocessing.StandardScaler", {}), "does not predict"),
        (lambda: algorithms.written([]), "expected a list of import paths"),
        (lambda: algorithms.written("sklearn.svm.SVC"), "expected a list of import paths"),  # type: ignore[arg-type]
        (lambda: algorithms.written(["os.system"]), "pipeline has the step 'os.system'"),
        (lambda: algorithms.written([3]), "pipeline has the step 3"),
        (lambda: algorithms.written(["sklearn.preprocessing.StandardScaler"]), "does not predict"),
    ],
)
def test_what_cannot_be_made_is_refused_with_the_way_out(call: Callable[..., Any], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        call()
    assert said in str(refused.value)
