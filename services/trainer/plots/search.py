"""Pictures of a search: how it went, and which hyper-parameters mattered."""

import numpy as np
import optuna
from matplotlib.figure import Figure
from optuna.trial import TrialState

from trainer.data.table import SEED
from trainer.plots.style import DPI, labels


def history_picture(study: optuna.Study) -> Figure:
    """Draw each trial's score and the best one so far; a pruned trial stands where it was given up."""
    figure = Figure(figsize=(8, 4), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    pruned = study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
    numbers, values = [trial.number for trial in complete], [float(trial.value or 0.0) for trial in complete]
    axes.plot(numbers, values, "o", label="trial")
    if pruned:
        given_up = [trial.intermediate_values[max(trial.intermediate_values)] for trial in pruned]
        axes.plot([trial.number for trial in pruned], given_up, "x", color="grey", label="given up early")
    best = np.minimum if study.direction is optuna.study.StudyDirection.MINIMIZE else np.maximum
    axes.step(numbers, best.accumulate(values), where="post", label="best so far")
    axes.set(title="The search", xlabel="trial", ylabel="score, mean of the folds")
    axes.legend(loc="best")
    return figure


def importance_picture(study: optuna.Study) -> Figure:
    """Draw how much of the scores' differences each hyper-parameter explains."""
    found = _importances(study)
    figure = Figure(figsize=(7, 1.4 + 0.4 * max(len(found), 1)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.barh(labels(found), list(found.values()))
    axes.invert_yaxis()
    axes.set(title="Which hyper-parameters mattered", xlabel="share of the scores' variance", xlim=(0, 1))
    return figure


def _importances(study: optuna.Study) -> dict[str, float]:
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len({trial.value for trial in complete}) < 2:
        return {name: 0.0 for trial in complete[:1] for name in trial.params}  # all the same: nothing mattered
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=SEED)
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
