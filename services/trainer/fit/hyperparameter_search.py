"""Search hyper-parameters with Optuna: cross-validated, pruned, on all cores, and the same whatever their number.

Trials are asked for in batches of a fixed size and told in their order, so what the sampler and the pruner know of at
each step depends on the seed alone, and not on which process was quicker. The work that is spread over processes is one
fold of one trial.
"""

import os
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import optuna
import pandas as pd
from joblib import Parallel, delayed, parallel_config
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial, TrialState
from sklearn.base import BaseEstimator

from trainer.errors import SettingsError, TrainerError
from trainer.fit import weights
from trainer.fit.cross_validation import FoldedRows

BATCH = 4
# The first trials are run to their end: the pruner compares with them.
STARTUP_TRIALS = 5
REASON = "reason"

SPACES: dict[str, dict[str, BaseDistribution]] = {
    "logistic_regression": {"C": FloatDistribution(1e-3, 1e3, log=True)},
    "random_forest": {
        "n_estimators": IntDistribution(50, 400, step=50),
        "max_depth": CategoricalDistribution([None, 3, 5, 8, 12, 20]),
        "min_samples_leaf": IntDistribution(1, 20, log=True),
        "max_features": CategoricalDistribution(["sqrt", 0.3, 0.6, 1.0]),
    },
    "hist_gradient_boosting": {
        "learning_rate": FloatDistribution(0.01, 0.5, log=True),
        "max_iter": IntDistribution(50, 300, step=50),
        "max_leaf_nodes": IntDistribution(8, 128, log=True),
        "min_samples_leaf": IntDistribution(5, 50),
        "l2_regularization": FloatDistribution(1e-8, 10.0, log=True),
    },
    "xgboost": {
        "learning_rate": FloatDistribution(0.01, 0.5, log=True),
        "n_estimators": IntDistribution(50, 300, step=50),
        "max_depth": IntDistribution(2, 10),
        "min_child_weight": FloatDistribution(1.0, 20.0, log=True),
        "subsample": FloatDistribution(0.5, 1.0),
    },
    "lightgbm": {
        "learning_rate": FloatDistribution(0.01, 0.5, log=True),
        "n_estimators": IntDistribution(50, 300, step=50),
        "num_leaves": IntDistribution(8, 128, log=True),
        "min_child_samples": IntDistribution(5, 50),
        "reg_lambda": FloatDistribution(1e-8, 10.0, log=True),
    },
}

Build = Callable[[dict[str, Any]], BaseEstimator]
Score = Callable[[BaseEstimator, pd.DataFrame, pd.Series, np.ndarray | None], float]


@dataclass(frozen=True)
class Effort:
    """How much is tried, and what first."""

    trials: int
    seed: int
    processes: int | None = None
    """None for one on each core"""
    fixed: tuple[dict[str, Any], ...] = ()
    """parameters that are tried before any others"""
    less_is_better: bool = False


@dataclass(frozen=True)
class Found:
    """What a search came to."""

    parameters: dict[str, Any]
    """of the best trial"""
    value: float
    """its mean score over the folds"""
    trials: pd.DataFrame
    """one row per trial: number, state, value, seconds, each parameter, and the reason where it failed"""
    study: optuna.Study


def space_from(content: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """Read a space from YAML: {C: {low: 0.01, high: 100, log: true}, kernel: [rbf, linear], degree: {low: 2, high: 5}}.

    Bounds that are both whole numbers make a whole number. Raises SettingsError naming the parameter and what is expected.
    """
    return {name: _distribution(name, value) for name, value in content.items()}


def _distribution(name: str, value: Any) -> BaseDistribution:
    expected = "a list of choices, or {low: …, high: …} with log: true where it is searched by orders of magnitude"
    if isinstance(value, list) and value and all(isinstance(item, str | int | float | None) for item in value):
        return CategoricalDistribution(value)
    if not isinstance(value, dict) or not {"low", "high"} <= value.keys() <= {"low", "high", "log", "step"}:
        raise SettingsError(f"space: {name} is {value!r}; expected {expected}")
    is_whole = all(type(value[key]) is int for key in ("low", "high"))
    kind = IntDistribution if is_whole else FloatDistribution
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return kind(**value)
    except (TypeError, ValueError) as error:
        raise SettingsError(
            f"space: {name} is {value!r}, which cannot be searched ({error}); expected {expected}"
        ) from error


def search(
    build: Build,
    space: Mapping[str, BaseDistribution],
    rows: FoldedRows,
    score: Score,
    effort: Effort,
    progress: Callable[[int, int, float | None], None] = lambda done, total, best: None,
) -> Found:
    """Return the best parameters that were tried; `build` makes an estimator of parameters.

    Raises TrainerError where every trial fails.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = _study(effort)
    for parameters in effort.fixed:
        study.enqueue_trial(parameters)
    work = partial(_fold_score, build, score, rows)
    cores = effort.processes or len(os.sched_getaffinity(0))
    # One thread in each process: more would only be in each other's way.
    with parallel_config(backend="loky", inner_max_num_threads=1), Parallel(n_jobs=cores) as pool:
        done = 0
        while done < effort.trials:
            batch = [study.ask(dict(space)) for _ in range(min(BATCH, effort.trials - done))]
            _run_batch(study, batch, work, len(rows.folds), pool)
            for _ in batch:
                done += 1
                progress(done, effort.trials, _best(study))
    return _found(study)


def _study(effort: Effort) -> optuna.Study:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is experimental in Optuna
        sampler = optuna.samplers.TPESampler(seed=effort.seed, constant_liar=True)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=1)
    return optuna.create_study(
        direction="minimize" if effort.less_is_better else "maximize", sampler=sampler, pruner=pruner
    )


def _run_batch(study: optuna.Study, batch: list[Trial], work: Callable[..., Any], folds: int, pool: Parallel) -> None:
    """Run a batch fold by fold; a trial that fails or is pruned drops out of it."""
    scores: dict[int, list[float]] = {trial.number: [] for trial in batch}
    states = {trial.number: TrialState.COMPLETE for trial in batch}
    started = time.perf_counter()
    alive = list(batch)
    for fold in range(folds):
        answers = pool(delayed(work)(trial.params, fold) for trial in alive)
        remaining = []
        for trial, (value, reason) in zip(alive, answers, strict=True):
            if reason is not None:
                trial.set_user_attr(REASON, reason)
                states[trial.number] = TrialState.FAIL
                continue
            scores[trial.number].append(value)
            trial.report(float(np.mean(scores[trial.number])), fold)
            if fold < folds - 1 and trial.should_prune():
                states[trial.number] = TrialState.PRUNED
                continue
            remaining.append(trial)
        alive = remaining
    for trial in batch:
        trial.set_user_attr("seconds", (time.perf_counter() - started) / len(batch))
        values = float(np.mean(scores[trial.number])) if states[trial.number] is TrialState.COMPLETE else None
        study.tell(trial, values, states[trial.number])


def _fold_score(
    build: Build, score: Score, rows: FoldedRows, parameters: dict[str, Any], fold: int
) -> tuple[float, str | None]:
    """Return the score on one fold, or why there is none; runs in another process."""
    fitted, measured = rows.folds[fold]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model: Any = build(parameters)
            weights.fit(model, *rows.part(fitted))
            return score(model, *rows.part(measured)), None
    except Exception as error:  # an estimator may fail in any way, and the search goes on
        return 0.0, f"{type(error).__name__}: {error}"


def _best(study: optuna.Study) -> float | None:
    values = [trial.value for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))]
    best = min if study.direction is optuna.study.StudyDirection.MINIMIZE else max
    return best((value for value in values if value is not None), default=None)


def _found(study: optuna.Study) -> Found:
    trials = study.get_trials(deepcopy=False)
    if _best(study) is None:
        reasons = [trial.user_attrs.get(REASON) for trial in trials]
        raise TrainerError(f"none of the {len(trials)} trials could be fitted; the first said: {reasons[0]}")
    frame = pd.DataFrame(
        [
            {
                "number": trial.number,
                "state": trial.state.name,
                "value": trial.value,
                "seconds": trial.user_attrs.get("seconds"),
                **trial.params,
                REASON: trial.user_attrs.get(REASON),
            }
            for trial in trials
        ]
    )
    return Found(study.best_params, study.best_value, frame, study)
