"""What is to be chosen from: one algorithm, several, or the hyper-parameters of each by a search; and the fit of what was."""

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from contract.display import visible
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline

from trainer.console import output
from trainer.console.figures import number
from trainer.console.output import Progress
from trainer.console.terminal import Console
from trainer.data.table import SEED, Split, Table, Task
from trainer.errors import SettingsError, TrainerError
from trainer.experiment import Plan
from trainer.fit import algorithms, cross_validation, decision, metric, weights
from trainer.fit.algorithms import Algorithm
from trainer.fit.baseline import baseline
from trainer.fit.cross_validation import CrossValidationResult, FoldedRows
from trainer.fit.evaluation import Evaluation, evaluate
from trainer.fit.metric import Metric


@dataclass(frozen=True)
class Choice:
    """Algorithms, and how to choose among them and their hyper-parameters."""

    algorithms: list[Algorithm]
    folds: int
    trials: int
    """of a search, for each algorithm; 0 searches nothing"""
    space: dict[str, Any] | None
    """what a search may try, None for the algorithm's own"""
    metric: Metric
    """what they are judged by"""
    ranked: bool = False
    """whether a single algorithm is cross-validated too"""

    @classmethod
    def of(cls, plan: Plan, table: Table) -> "Choice":
        """Return what a plan leaves to choose; raise SettingsError for an algorithm that cannot be made, or no metric."""
        found = _algorithms(plan, table.task)
        judged = metric.chosen(plan.metric, plan.positive, table)
        decision.check(plan.decision_threshold, judged)
        if plan.weight is not None:
            weights.check(plan.weight, found, judged)
        return cls(found, plan.folds, plan.search, dict(plan.space) if plan.space else None, judged)

    @property
    def name(self) -> str:
        """The algorithm's name where there is one; several are named together by the person who asks for them."""
        return "_or_".join(algorithm.name for algorithm in self.algorithms)

    @property
    def is_open(self) -> bool:
        """Whether there is anything to choose."""
        return self.ranked or len(self.algorithms) > 1 or self.trials > 0

    def words(self, rows: Split) -> str:
        """Say what is about to happen."""
        fitted, held = len(rows.train_features), len(rows.test_features)
        if not self.is_open:
            return f"fit on {fitted} rows, measure on the {held} held out"
        names = ", ".join(algorithm.name for algorithm in self.algorithms)
        searched = f", {self.trials} trials each" if self.trials else ""
        return f"choose on {fitted} rows in {self.folds} folds: {names}{searched}; measure on the {held} held out"


def check(plan: Plan) -> None:
    """Raise SettingsError for what no table can make right in a plan; to be asked before one is read, which may take long."""
    tasks = [Task(plan.task)] if plan.task else list(Task)
    metric.check(plan.metric, plan.thresholds, tasks)
    decision.check_written(plan.decision_threshold)
    refused: dict[str, Task] = {}
    for task in [
        task for task in tasks if all(task in algorithms.NAMED.get(name, tasks) for name in plan.algorithm)
    ] or tasks:
        try:
            _algorithms(plan, task)
        except SettingsError as error:
            refused.setdefault(str(error), task)
        else:
            return
    if len(refused) == 1:
        raise SettingsError(*refused)
    raise SettingsError("; ".join(f"for {task}: {words}" for words, task in refused.items()))


def _algorithms(plan: Plan, task: Task) -> list[Algorithm]:
    """Return the algorithms that a plan names, the usual one where it names none."""
    found = [algorithms.named(name, task, plan.params) for name in plan.algorithm]
    if plan.estimator:
        found.append(algorithms.imported(plan.estimator, {} if plan.algorithm else plan.params))
    if plan.pipeline is not None:
        found.append(algorithms.written(plan.pipeline))
    if not found:
        found.append(algorithms.named(algorithms.DEFAULTS[task], task, plan.params))
    if plan.class_weight is not None:
        found = [algorithms.weighted(algorithm, plan.class_weight) for algorithm in found]
    names = [algorithm.name for algorithm in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SettingsError(f"the algorithm {twice} is there {names.count(twice)} times; expected each once")
    return found


def prepared(algorithm: Algorithm, table: Table, rows: Split) -> BaseEstimator:
    """Return an algorithm behind the preparation that the rows to be fitted on need."""
    return algorithms.with_preparation(algorithm, table, rows.train_features)


def choose(choice: Choice, table: Table, rows: Split, console: Console) -> list[CrossValidationResult]:
    """Return the leaderboard, the best first, by cross-validation on the rows that may be fitted on alone.

    It is empty where there is nothing to choose.
    """
    if not choice.is_open:
        return []
    folded = cross_validation.folded(rows, table.task, choice.folds)
    results = []
    for algorithm in choice.algorithms:
        estimator, found = prepared(algorithm, table, rows), None
        if choice.trials and (choice.space or _has_space(algorithm)):
            found = _search(choice, algorithm, estimator, folded, console)
            estimator = with_parameters(estimator, found.parameters)
        elif choice.trials and len(choice.algorithms) == 1:
            raise SettingsError(
                f"--search knows nothing to try for {algorithm.name}; a YAML file can say it (--config), under `space`"
            )
        with Progress(console, algorithm.name, len(folded.folds)) as progress:
            result = cross_validation.cross_validate(algorithm.name, estimator, folded, choice.metric, progress.step)
        results.append(replace(result, found=found))
        output.notes(console, [_came_to(result, choice.metric)])
    return cross_validation.ranked(results, choice.metric.less_is_better)


def _came_to(result: CrossValidationResult, judged_by: Metric) -> str:
    score = f"{judged_by.words} {number(result.mean)} ± {number(result.spread)}"
    return f"{visible(result.name, 60)}: {score} in {result.seconds:.1f} s"


def on_folds(choice: Choice, table: Table, rows: Split) -> CrossValidationResult:
    """Return how the baseline does on the folds that the algorithms are compared on."""
    lowest = baseline(choice.metric, table, rows)
    folded = cross_validation.folded(rows, table.task, choice.folds)
    return cross_validation.cross_validate(f"baseline: {lowest.words}", lowest.estimator, folded, choice.metric)


@dataclass(frozen=True)
class Fitted:
    """The estimator that was chosen, fitted on all rows that may be fitted on."""

    algorithm: str
    estimator: Any
    evaluation: Evaluation
    seconds: float


def fit(name: str, estimator: BaseEstimator, table: Table, rows: Split, judged_by: Metric | None = None) -> Fitted:
    """Fit and measure an estimator, by accuracy or R² where nothing else is said; raise TrainerError where it cannot be fitted."""
    started = time.perf_counter()
    try:
        weights.fit(estimator, *rows.train)
    except Exception as error:  # an estimator may fail in any way
        raise TrainerError(f"{name} cannot be fitted on {table.path}: {type(error).__name__}: {error}") from error
    seconds = time.perf_counter() - started
    return Fitted(name, estimator, evaluate(estimator, rows, table.task, table.class_names, judged_by), seconds)


def with_parameters(estimator: BaseEstimator, parameters: dict[str, Any]) -> BaseEstimator:
    """Return a copy, not fitted, of an estimator whose last step has other hyper-parameters."""
    copy: BaseEstimator = clone(estimator)
    last = copy.steps[-1][1] if isinstance(copy, Pipeline) else copy
    last.set_params(**parameters)
    return copy


def _has_space(algorithm: Algorithm) -> bool:
    from trainer.fit.hyperparameter_search import SPACES

    return bool(SPACES.get(algorithm.name))


def _search(
    choice: Choice,
    algorithm: Algorithm,
    estimator: BaseEstimator,
    rows: FoldedRows,
    console: Console,
) -> Any:
    from trainer.fit import hyperparameter_search

    space = (
        hyperparameter_search.space_from(choice.space) if choice.space else hyperparameter_search.SPACES[algorithm.name]
    )
    with Progress(console, f"{algorithm.name}, search", choice.trials) as progress:
        return hyperparameter_search.search(
            partial(with_parameters, estimator),
            space,
            rows,
            choice.metric.of,
            hyperparameter_search.Effort(choice.trials, SEED, less_is_better=choice.metric.less_is_better),
            progress.show,
        )
