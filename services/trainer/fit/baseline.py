"""What a model has to beat first: the best of the answers that look at no feature, judged by the same metric."""

from dataclasses import dataclass
from typing import Any

import pandas as pd
from sklearn.dummy import DummyClassifier, DummyRegressor

from trainer.data.table import Split, Table, Task
from trainer.errors import SettingsError
from trainer.fit import weights
from trainer.fit.metric import Metric, class_name


@dataclass(frozen=True)
class Baseline:
    """An estimator that gives one answer, whatever it is asked."""

    words: str
    """what it answers: "always No", "the median" """
    estimator: Any
    """fitted on the rows that may be fitted on"""


def baseline(metric: Metric, table: Table, rows: Split) -> Baseline:
    """Return the best of the baselines, chosen on the rows that may be fitted on.

    Raises SettingsError for a metric that cannot be computed for this target.
    """
    try:
        found = []
        for said, estimator in _challengers(metric, table):
            weights.fit(estimator, *rows.train)
            found.append((metric.gain(estimator, *rows.train), said, estimator))
        _, said, estimator = max(found, key=lambda one: one[0])
        return Baseline(said, estimator)
    except ValueError as error:
        raise SettingsError(
            f"--metric {metric.name} cannot be computed for {str(table.target.name)!r}: {error}"
        ) from error


def _challengers(metric: Metric, table: Table) -> list[tuple[str, Any]]:
    if table.task is Task.REGRESSION:
        return [
            ("always the mean", DummyRegressor(strategy="mean")),
            ("always the median", DummyRegressor(strategy="median")),
        ]
    most = _most(table)
    found: list[tuple[str, Any]] = [(f"always {most}", DummyClassifier(strategy="prior"))]
    if metric.positive is not None and class_name(metric, table) != most:
        never_no = DummyClassifier(strategy="constant", constant=metric.positive)
        found.append((f"always {class_name(metric, table)}", never_no))
    return found


def _most(table: Table) -> str:
    """Return the name of the class that most rows are of, as much as they count."""
    if (weighed := table.aside.weights) is None:
        return str(table.classes().value_counts().index[0])
    names = table.classes()
    return str(pd.Series(weighed, index=names.index).groupby(names).sum().idxmax())
