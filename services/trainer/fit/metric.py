"""The figure that models are judged by: any of scikit-learn's scorers by its name, whether more of it is better or less.

Choice, search, threshold and the comparison with the champion all ask the same Metric. It looks at an estimator's answers
once (`response`), so that intervals and paired tests can draw from them as often as they like (`value`).
"""

import inspect
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from math import nan
from typing import Any

import numpy as np
import pandas as pd
from sklearn import config_context
from sklearn.metrics import get_scorer, get_scorer_names, make_scorer

from trainer.console.figures import metric_words
from trainer.data.table import Table, Task
from trainer.errors import SettingsError

# Names that people use for scorers whose own is longer.
SHORT = {"rmse": "root_mean_squared_error", "mae": "mean_absolute_error"}
DEFAULTS = {Task.CLASSIFICATION: "accuracy", Task.REGRESSION: "r2"}
IMBALANCED = "balanced_accuracy"
# Where a class has more than so many times the rows of another, accuracy is a figure of the larger one alone.
MOST_APART = 2.0
MODULES = {
    Task.CLASSIFICATION: ("_classification", "_ranking", "_scorer"),
    Task.REGRESSION: ("_regression",),
}
# What a training measures beside the metrics that have a name: the interval of one, and the figures of a class.
OF_ONE = re.compile(r"(?:test|train)_(?P<name>.+?)(?:_ci_(?:low|high))?")
OF_CLASS = re.compile(r"test_(precision|recall|f1)_of_.+|test_residual_mean|overfitting_gap|baseline_.+")


@dataclass(frozen=True)
class Metric:
    """A figure of how well an estimator does: a share from 0 to 1, or in the unit of the target."""

    name: str
    """as people give it: roc_auc, log_loss, rmse"""
    task: Task
    labels: tuple[Any, ...] = ()
    """the classes in order, empty for a regression"""
    positive: Any = None
    """the label whose rows are looked for, None unless there are two"""

    @property
    def words(self) -> str:
        """Its name for people."""
        return metric_words(self.name)

    @property
    def less_is_better(self) -> bool:
        """Whether it is an error, or a loss."""
        return is_loss(self.name)

    @property
    def is_of_labels(self) -> bool:
        """Whether it looks at labels or values, and not at how likely they are."""
        return bool(self._scorer._response_method == "predict")

    @property
    def _scorer(self) -> Any:
        return _scorer(self.name, len(self.labels) > 2)

    def better(self, value: float, other: float) -> float:
        """Return by how much a value is better than another one; negative where it is worse."""
        return better(self.name, value, other)

    def response(self, estimator: Any, features: pd.DataFrame) -> np.ndarray:
        """Return what the figure is made of: an estimator's values, labels or probabilities.

        Shape (rows,), of more than two classes' probabilities (rows, classes). Of two classes it is 1 for the positive one and
        0 for the other, or how likely that is. Raises SettingsError where the estimator has none.
        """
        method = self._method(estimator)
        found = np.asarray(getattr(estimator, method)(features))
        if method == "predict":
            return found.ravel() if self.positive is None else self.encoded(found.ravel())
        if self.positive is None:
            return found
        position = int(np.flatnonzero(np.asarray(estimator.classes_) == self.positive)[0])
        if found.ndim == 1:  # a decision function is that of the second class
            return found if position == 1 else -found
        likely: np.ndarray = found[:, position]
        return likely

    def encoded(self, labels: Any) -> np.ndarray:
        """Return labels, or a regression's values, as the figure takes them: of two classes 1 is the positive one."""
        found = np.asarray(labels)
        return found if self.positive is None else (found == self.positive).astype(int)

    def _method(self, estimator: Any) -> str:
        wanted = self._scorer._response_method
        for method in (wanted,) if isinstance(wanted, str) else wanted:
            if hasattr(estimator, method):
                return str(method)
        raise SettingsError(
            f"the metric {self.name} needs {' or '.join([wanted] if isinstance(wanted, str) else wanted)}, which "
            f"{class_of(estimator)} does not have; --metric names another one"
        )

    @property
    def takes_weights(self) -> bool:
        """Whether rows can count differently in it; where each two of more classes are compared, they cannot."""
        is_of_pairs = len(self.labels) > 2 and self._scorer._kwargs.get("multi_class") == "ovo"
        return not is_of_pairs and "sample_weight" in _parameters(self._scorer._score_func)

    def value(self, truth: np.ndarray, response: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
        """Return the figure of a response to rows whose encoded target is `truth`; both and `sample_weight` of shape (rows,).

        It is NaN where there is none, as where all rows are of one class. Raises ValueError for what it cannot be made of.
        """
        scorer = self._scorer
        options = dict(scorer._kwargs)
        if sample_weight is not None:
            if not sample_weight.any():
                return nan
            options["sample_weight"] = sample_weight
        if not self.is_of_labels and "labels" in _parameters(scorer._score_func):
            # A fold, or a resample, may have no row of some class.
            options["labels"] = list(self.labels) if self.positive is None else [0, 1]
        with warnings.catch_warnings(), config_context(skip_parameter_validation=True):
            warnings.simplefilter("ignore")  # of figures that are not defined, and of classes that nobody predicted
            return float(scorer._score_func(truth, response, **options))

    def of(self, estimator: Any, features: pd.DataFrame, target: Any, sample_weight: np.ndarray | None = None) -> float:
        """Return the figure of a fitted estimator on rows with their target, and what they count, of shape (rows,)."""
        return self.value(self.encoded(target), self.response(estimator, features), sample_weight)

    def scorer(self) -> Any:
        """Return what scikit-learn takes for its own scorer; of a figure of labels alone."""
        return make_scorer(self._of_labels, greater_is_better=not self.less_is_better)

    def _of_labels(self, truth: Any, predicted: Any, sample_weight: np.ndarray | None = None) -> float:
        return self.value(self.encoded(truth), self.encoded(predicted), sample_weight)

    def gain(
        self, estimator: Any, features: pd.DataFrame, target: Any, sample_weight: np.ndarray | None = None
    ) -> float:
        """Return the figure with the sign by which more of it is better, as scikit-learn's own scorers do."""
        return self.better(self.of(estimator, features, target, sample_weight), 0.0)


def class_of(estimator: Any) -> str:
    """Return the name of an estimator's class as people have asked for it: of a pipeline's last step, and not Pipeline."""
    while hasattr(estimator, "steps"):
        estimator = estimator.steps[-1][1]
    return type(estimator).__name__


@cache
def _scorer(name: str, of_many: bool) -> Any:
    """Return scikit-learn's scorer of a name; raise KeyError where there is none."""
    name = SHORT.get(name, name)
    if name == "roc_auc" and of_many:
        name = "roc_auc_ovr"
    known = get_scorer_names()
    return get_scorer(next(found for found in (name, f"neg_{name}") if found in known))


@cache
def _parameters(function: Any) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


@cache
def is_loss(name: str) -> bool:
    """Tell whether less of a metric is better, by its name, which may be none of scikit-learn's."""
    name = SHORT.get(name, name)
    return name not in get_scorer_names() and f"neg_{name}" in get_scorer_names()


def better(name: str, value: float, other: float) -> float:
    """Return by how much a value of a metric is better than another one; negative where it is worse."""
    return other - value if is_loss(name) else value - other


@cache  # scikit-learn copies each as it is asked
def names(task: Task) -> tuple[str, ...]:
    """Return the metrics that there are for a task, in alphabetical order."""
    found = []
    for name in get_scorer_names():
        module = get_scorer(name)._score_func.__module__.rpartition(".")[2]
        if module in MODULES[task] and not name.endswith("_samples"):
            found.append(name.removeprefix("neg_"))
    return tuple(sorted([*found, *(SHORT if task is Task.REGRESSION else ())]))


def default(table: Table) -> str:
    """Return the name of the metric that fits a target: accuracy, but where one class has most of the rows; R²."""
    if table.task is Task.CLASSIFICATION:
        counts = table.target.value_counts()
        if counts.max() > MOST_APART * counts.min():
            return IMBALANCED
    return DEFAULTS[table.task]


def chosen(name: str | None, positive: str | None, table: Table) -> Metric:
    """Return the metric of a name, or the one that fits the table; raise SettingsError where there is none such."""
    labels = tuple(np.unique(table.target).tolist()) if table.task is Task.CLASSIFICATION else ()
    name = name or default(table)
    check(name, {}, [table.task])
    name = name.removeprefix("neg_")
    if len(labels) > 2 and _scorer(name, True)._kwargs.get("average") == "binary":
        raise SettingsError(
            f"--metric {name} looks for one of two classes, and {str(table.target.name)!r} has {len(labels)}; "
            f"there is {name}_macro"
        )
    return Metric(name, table.task, labels, _positive(positive, labels, table))


def check(name: str | None, thresholds: Mapping[str, float], tasks: Sequence[Task]) -> None:
    """Raise SettingsError for a metric, or a threshold of one, that there is for none of some tasks, whatever the table is."""
    known = sorted({one for task in tasks for one in names(task)})
    if name and (name := name.removeprefix("neg_")) not in known:
        what = f" for a {tasks[0]}" if len(tasks) == 1 else ""
        raise SettingsError(f"--metric is {name!r}, which is none{what}; {_hint(name, known, known)}")
    for figure in thresholds:
        one = OF_ONE.fullmatch(figure)
        if not (OF_CLASS.fullmatch(figure) or (one and one["name"] in known)):
            raise _not_measured(figure, known, known)


def check_thresholds(thresholds: Mapping[str, float], measured: Mapping[str, float], task: Task) -> None:
    """Raise SettingsError for a threshold of what no training measures; a figure that these rows do not have is another thing."""
    known = {*measured, *(f"{rows}_{name}" for rows in ("test", "train") for name in names(task))}
    for name in thresholds:
        if name not in known:
            raise _not_measured(name, [one.removeprefix("test_") for one in sorted(known)], names(task))


def _not_measured(name: str, known: list[str], shown: Sequence[str]) -> SettingsError:
    asked = name.removeprefix("test_")
    return SettingsError(f"--threshold is for {asked!r}, which is not measured; {_hint(asked, known, shown)}")


def _hint(name: str, known: list[str], shown: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(shown)}"


def _positive(wanted: str | None, labels: tuple[Any, ...], table: Table) -> Any:
    """Return the label that is looked for: the one that is asked for, the rare one, else the second in order."""
    if len(labels) != 2:
        if wanted is not None:
            raise SettingsError(
                f"--positive {wanted} is for a target of two classes; {str(table.target.name)!r} has {len(labels) or 'none'}"
            )
        return None
    shown = [str(label) for label in labels]
    if wanted is not None:
        for known in (shown, table.class_names or []):
            if wanted in known:
                return labels[known.index(wanted)]
        raise SettingsError(f"--positive is {wanted!r}; expected a class: {' or '.join(table.class_names or shown)}")
    counts = table.target.value_counts()
    is_rare = isinstance(labels[0], str) and counts[labels[0]] * MOST_APART < counts[labels[1]]
    return labels[0] if is_rare else labels[1]


def remarks(metric: Metric, asked: str | None, table: Table) -> list[str]:
    """Say by what is judged where accuracy is not, and why; and which class is looked for."""
    if table.task is Task.REGRESSION:
        return []
    counts = table.classes().value_counts()
    said = []
    if asked is None and metric.name == IMBALANCED:
        said.append(
            f"the classes are imbalanced ({counts.index[0]}: {counts.iloc[0] / counts.sum():.1%} of the rows), so models are judged "
            f"by {metric.words} and not by accuracy; --metric names another figure"
        )
    if metric.positive is not None:
        said.append(f"the positive class is {class_name(metric, table)} (--positive names the other)")
    return said


def class_name(metric: Metric, table: Table) -> str:
    """Return the name of the positive class."""
    if table.class_names is None:
        return str(metric.positive)
    return table.class_names[metric.labels.index(metric.positive)]
