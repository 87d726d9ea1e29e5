"""What is trained: the algorithms that have a name here, and any other of scikit-learn by its import path."""

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import pandas as pd
from contract.preparation.steps import DateParts, Folded, Words
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import BaseEnsemble
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder
from sklearn.tree import BaseDecisionTree
from sklearn.utils import get_tags

from trainer.data.columns.column_kinds import Encoding, encoding
from trainer.data.table import SEED, Column, Kind, Table, Task
from trainer.errors import SettingsError

NAMED = {
    "logistic_regression": {Task.CLASSIFICATION: "sklearn.linear_model.LogisticRegression"},
    "linear_regression": {Task.REGRESSION: "sklearn.linear_model.LinearRegression"},
    "random_forest": {
        Task.CLASSIFICATION: "sklearn.ensemble.RandomForestClassifier",
        Task.REGRESSION: "sklearn.ensemble.RandomForestRegressor",
    },
    "hist_gradient_boosting": {
        Task.CLASSIFICATION: "sklearn.ensemble.HistGradientBoostingClassifier",
        Task.REGRESSION: "sklearn.ensemble.HistGradientBoostingRegressor",
    },
    "xgboost": {Task.CLASSIFICATION: "xgboost.XGBClassifier", Task.REGRESSION: "xgboost.XGBRegressor"},
    "lightgbm": {Task.CLASSIFICATION: "lightgbm.LGBMClassifier", Task.REGRESSION: "lightgbm.LGBMRegressor"},
}
DEFAULTS = {Task.CLASSIFICATION: "logistic_regression", Task.REGRESSION: "linear_regression"}
HYPERPARAMETERS: dict[str, dict[str, Any]] = {"logistic_regression": {"solver": "lbfgs", "max_iter": 1000, "C": 1.0}}
# What an import path may begin with. Nothing is evaluated: a path names a class, and its parameters are plain values.
PACKAGES = ("sklearn.",)
# What else may be, and what stands for it: the same estimator, as a pipeline of the trainer's needs it.
BOOSTED = {
    f"{library}.{name}": f"contract.boosting.{library}_estimators.{name}"
    for library, names in {
        "xgboost": ("XGBClassifier", "XGBRegressor"),
        "lightgbm": ("LGBMClassifier", "LGBMRegressor"),
    }.items()
    for name in names
}
# Trees compare, they do not measure: these do not care how large a column's numbers are.
SCALE_FREE = ("sklearn.tree", "sklearn.ensemble", "sklearn.dummy", "sklearn.naive_bayes", "contract.boosting")
# They take missing values as well, but skl2onnx writes down for none of their splits which way those go: a forest that was
# fitted on them has no ONNX engine, and predicts several times slower.
PLAIN_TREES = (BaseDecisionTree, BaseEnsemble)
# Columns whose spreads are further apart than this are brought to one scale.
SPREAD = 10.0
# How many numbers the words of a free text become: for what adds up a number for each word, and for what cannot.
HASHES, COMPONENTS = 2**14, 30


Part = tuple[str, Any, list[str]]
"""of a ColumnTransformer"""


@dataclass(frozen=True)
class Algorithm:
    """An estimator with its hyper-parameters, not fitted, under the name that people give it."""

    name: str
    estimator: BaseEstimator
    is_whole: bool = False
    """whether it is a pipeline that somebody wrote, to which nothing is added that it could do itself"""

    def with_parameters(self, parameters: Mapping[str, Any]) -> "Algorithm":
        """Return the same algorithm with other hyper-parameters."""
        from sklearn.base import clone

        return Algorithm(self.name, clone(self.estimator).set_params(**parameters), self.is_whole)


def named(name: str, task: Task, parameters: Mapping[str, Any]) -> Algorithm:
    """Return an algorithm by its name; raise SettingsError where there is none for this task."""
    if name not in NAMED:
        raise SettingsError(f"--algorithm is {name!r}; expected one of {', '.join(NAMED)}{_nearest(name, NAMED)}")
    if task not in NAMED[name]:
        able = ", ".join(other for other, tasks in NAMED.items() if task in tasks)
        raise SettingsError(
            f"--algorithm {name} is for {next(iter(NAMED[name]))}, and this is {task}; there are {able}"
        )
    return Algorithm(name, _construct(NAMED[name][task], {**HYPERPARAMETERS.get(name, {}), **parameters}))


def all_for(task: Task) -> tuple[str, ...]:
    """Return the names of the algorithms for a task whose libraries are here."""
    return tuple(name for name, tasks in NAMED.items() if task in tasks and _is_here(tasks[task]))


def _is_here(path: str) -> bool:
    try:
        importlib.import_module(BOOSTED.get(path, path).rpartition(".")[0])
    except (ImportError, OSError):
        return False
    return True


def imported(path: str, parameters: Mapping[str, Any]) -> Algorithm:
    """Return an estimator by its import path, such as sklearn.svm.SVC or xgboost.XGBClassifier."""
    estimator = _construct(path, parameters)
    if not (hasattr(estimator, "fit") and hasattr(type(estimator), "predict")):
        raise SettingsError(f"--estimator {path} does not predict; expected a classifier or a regressor")
    return Algorithm(_snake_case(path), estimator)


def written(steps: list[Any]) -> Algorithm:
    """Return a whole pipeline: each step is an import path, or {import path: parameters}."""
    if not isinstance(steps, list) or not steps:
        raise SettingsError(f"pipeline is {steps!r}; expected a list of import paths or of {{path: parameters}}")
    parts = [_value({step: {}} if isinstance(step, str) else step) for step in steps]
    if wrong := next((step for step, part in zip(steps, parts, strict=True) if not hasattr(part, "fit")), None):
        raise SettingsError(f"pipeline has the step {wrong!r}; expected an import path such as sklearn.svm.SVC")
    if not hasattr(type(parts[-1]), "predict"):
        raise SettingsError(f"the last step of pipeline, {type(parts[-1]).__name__}, does not predict")
    return Algorithm(_snake_case(type(parts[-1]).__name__), make_pipeline(*parts), is_whole=True)


def weighted(algorithm: Algorithm, weight: str) -> Algorithm:
    """Return an algorithm that gives each class a weight; raise SettingsError where it has no way to."""
    last = algorithm.estimator.steps[-1][0] + "__" if isinstance(algorithm.estimator, Pipeline) else ""
    if f"{last}class_weight" not in algorithm.estimator.get_params():
        raise SettingsError(f"--class-weight {weight}: {algorithm.name} has no weights of classes; leave it out")
    return algorithm.with_parameters({f"{last}class_weight": weight})


def _construct(path: str, parameters: Mapping[str, Any]) -> BaseEstimator:
    if not _may_be_named(path):
        raise SettingsError(f"{path} is not of sklearn, and none of {', '.join(BOOSTED)}: only these may be named")
    module, _, name = BOOSTED.get(path, path).rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, OSError) as error:
        if path in BOOSTED:
            raise SettingsError(f"{path} cannot be loaded here: {error}") from error
        raise SettingsError(f"there is no {path}; expected an import path such as sklearn.svm.SVC") from None
    if not (inspect.isclass(found) and issubclass(found, BaseEstimator)) or inspect.isabstract(found):
        raise SettingsError(f"{path} is no estimator; expected the class of one, such as sklearn.svm.SVC")
    known = defaults_of(found)
    for parameter in parameters:
        if parameter not in known:
            raise SettingsError(
                f"{path} has no parameter {parameter!r}; it has {', '.join(known)}{_nearest(parameter, known)}"
            )
    values = {key: _value(value) for key, value in parameters.items()}
    if "random_state" in known and "random_state" not in values:
        values["random_state"] = SEED
    try:
        return found(**values)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{path} cannot be made from {dict(parameters)}: {error}") from error


def _may_be_named(path: str) -> bool:
    return path.startswith(PACKAGES) or path in BOOSTED


def defaults_of(kind: type[BaseEstimator]) -> dict[str, Any]:
    """Return the parameters of an estimator's class with their defaults, inspect.Parameter.empty where there is none."""
    found = inspect.signature(kind).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in found):  # they are those of a class above
        return dict(kind().get_params(deep=False))
    return {parameter.name: parameter.default for parameter in found}


def _value(value: Any) -> Any:
    """Return a parameter's value; {import path: parameters} is an estimator of its own, inside of another."""
    if isinstance(value, dict) and len(value) == 1 and _may_be_named(str(next(iter(value)))):
        path, parameters = next(iter(value.items()))
        return _construct(path, parameters or {})
    return value


def _nearest(name: str, known: Any) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _snake_case(path: str) -> str:
    name = path.rpartition(".")[2]
    words = "".join(
        f"_{letter.lower()}" if letter.isupper() and (i == 0 or not name[i - 1].isupper()) else letter.lower()
        for i, letter in enumerate(name)
    )
    return words.strip("_")


def with_preparation(algorithm: Algorithm, table: Table, features: Any) -> BaseEstimator:
    """Return the estimator behind the preparation that the table's columns need, as one pipeline; nothing is fitted.

    Missing numbers become the median, dates their parts and the days since the first one, text becomes one column per category (a missing one is a category of its own, one
    that was never seen is none) or, with more categories than that makes sense for, what the target is on average where
    it stands, free text the words in it, texts that differ in case or blanks alone are one where the
    table says so, and columns of very different spread are brought to one scale where that matters.
    `features` are the rows to be fitted on, which alone may decide. Where nothing is needed, it is the estimator itself.
    """
    estimator = algorithm.estimator
    texts = [column for column in table.columns if column.kind is Kind.TEXT]
    moments = [column.name for column in table.columns if column.kind is Kind.DATE]
    numbers = [column.name for column in table.columns if column.kind in (Kind.NUMBER, Kind.BOOLEAN)]
    is_scaled = not type(estimator).__module__.startswith(SCALE_FREE)
    others = texts or moments
    steps: list[Any] = []
    if not algorithm.is_whole:
        missing = any(column.missing for column in table.columns if column.kind is not Kind.TEXT)
        if missing and not _takes_missing(estimator):
            steps.append(SimpleImputer(strategy="median", keep_empty_features=True))
        if is_scaled and (others or _is_uneven(features[numbers])):
            steps.append(StandardScaler())
    if others:
        parts = _encoded(texts, features, table.task, is_scaled and _takes_sparse(algorithm))
        if moments:
            parts.insert(0, ("dates", make_pipeline(DateParts(cyclic=is_scaled), *steps), moments))
        if numbers:
            parts.insert(0, ("numbers", make_pipeline(*steps) if steps else "passthrough", numbers))
        steps = [ColumnTransformer(parts, verbose_feature_names_out=False)]
    if not steps:
        return estimator
    last = estimator.steps if isinstance(estimator, Pipeline) else [("estimator", estimator)]
    return Pipeline([*make_pipeline(*steps).steps, *last])


def _encoded(columns: list[Column], texts: pd.DataFrame, task: Task, is_sparse: bool) -> list[Part]:
    """Return what makes numbers of columns of text; `is_sparse` says that they may be many."""
    found: dict[tuple[Encoding, bool], list[str]] = {}
    for column in columns:
        found.setdefault((encoding(texts[column.name]), column.folded), []).append(column.name)
    parts: list[Part] = []
    for (kind, is_folded), names in found.items():
        if kind is Encoding.PROSE:
            parts += [(f"free text {i}", _words(is_sparse), [name]) for i, name in enumerate(names, 1)]
            continue
        step = _categories() if kind is Encoding.CATEGORIES else _many_categories(task)
        name = f"{kind}, folded" if is_folded else str(kind)
        parts.append((name, make_pipeline(Folded(), step) if is_folded else step, names))
    return parts


def _categories() -> OneHotEncoder:
    return OneHotEncoder(handle_unknown="ignore", sparse_output=False)


def _many_categories(task: Task) -> TargetEncoder:
    # What a row's own category goes with is learnt from other rows: else it would be the row's own target.
    folds = KFold(5, shuffle=True, random_state=SEED)
    return TargetEncoder(target_type="continuous" if task is Task.REGRESSION else "auto", cv=folds)


def _words(is_sparse: bool) -> Pipeline:
    """Return what makes numbers of free text: how often each word is there, weighed by how rare it is, or what they sum up to."""
    # Hashed, a vocabulary takes no room and cannot be empty in a fold.
    count = HashingVectorizer(n_features=HASHES, alternate_sign=False)
    summary = [] if is_sparse else [TruncatedSVD(COMPONENTS, random_state=SEED)]
    return make_pipeline(Words(), count, TfidfTransformer(sublinear_tf=True), *summary)


def _takes_sparse(algorithm: Algorithm) -> bool:
    return not algorithm.is_whole and bool(get_tags(algorithm.estimator).input_tags.sparse)


def _takes_missing(estimator: BaseEstimator) -> bool:
    """Tell whether the estimator is given missing values as they are: it takes them, and loses nothing by it."""
    return bool(get_tags(estimator).input_tags.allow_nan) and not isinstance(estimator, PLAIN_TREES)


def _is_uneven(numbers: Any) -> bool:
    spreads = numbers.astype("float64").std()
    spreads = spreads[spreads > 0]
    return bool(len(spreads) and spreads.max() > SPREAD * spreads.min())
