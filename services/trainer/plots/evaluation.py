"""Pictures of how a fitted model does, on Matplotlib's object interface; each is bounded in cost, however large the data."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from contract.reference import bins
from matplotlib.figure import Figure
from sklearn import metrics as measures
from sklearn.base import clone
from sklearn.calibration import calibration_curve
from sklearn.inspection import permutation_importance

from trainer.data.table import SEED, Split, Task
from trainer.fit import weights
from trainer.fit.contributions import Summary
from trainer.fit.evaluation import Evaluation
from trainer.fit.metric import Metric
from trainer.plots.style import DPI, PALETTE, confusion_picture, labels
from trainer.plots.subject import MOST_POINTS, MOST_ROWS, Subject

# Importance and the learning curve are left out where a single fit of the model already takes longer than this, in seconds.
PATIENCE = 2.0
MOST_CLASSES = 12
MOST_FEATURES = 20
MOST_WORDS = 60
LEARNING_SIZES = (0.2, 0.4, 0.6, 0.8, 1.0)


def evaluation_pictures(subject: Subject) -> Iterator[tuple[str, Figure]]:
    """Yield (file name, picture) of a fitted estimator on the held-out rows."""
    estimator, rows, evaluation, task = subject.estimator, subject.rows, subject.evaluation, subject.task
    if task is Task.CLASSIFICATION:
        names = labels(subject.class_names or evaluation.labels)
        yield "confusion_matrix.png", confusion_picture(evaluation.confusion, names)
        if evaluation.probabilities is not None:
            yield "curves.png", curves_picture(evaluation.truth, evaluation.probabilities, evaluation.labels, names)
    else:
        yield "residuals.png", residuals_picture(evaluation)
    if subject.fit_seconds * min(1.0, MOST_ROWS / subject.train_rows) < PATIENCE:
        yield "importance.png", importance_picture(estimator, rows, evaluation.metric)
        yield "learning_curve.png", learning_picture(estimator, rows, subject.train_rows, evaluation.metric)
    if evaluation.contributions is not None:
        yield "contributions.png", contributions_picture(evaluation.contributions)


def warm_up() -> None:
    """Draw once for nobody: the first picture takes half a second more than the next, for fonts and the like."""
    png(confusion_picture(np.eye(2, dtype=int), ["", ""]))


def png(figure: Figure) -> bytes:
    """Return a picture as a PNG file."""
    content = BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def curves_picture(truth: np.ndarray, probabilities: np.ndarray, labels: np.ndarray, names: list[str]) -> Figure:
    """Draw ROC, precision-recall and calibration curves, one line per class against all others.

    `truth` has shape (rows,), `probabilities` (rows, classes), `labels` and `names` (classes,).
    """
    figure = Figure(figsize=(13, 4.4), dpi=DPI, layout="constrained")
    roc, recall, calibration = figure.subplots(1, 3)
    if len(truth) > MOST_POINTS:
        picked = np.random.default_rng(SEED).choice(len(truth), MOST_POINTS, replace=False)
        truth, probabilities = truth[picked], probabilities[picked]
    shown = list(enumerate(labels))[:MOST_CLASSES]
    if len(labels) == 2:
        shown = shown[1:]  # the other class's curves say the same
    for (position, label), colour in zip(shown, sns.color_palette(PALETTE, len(shown)), strict=True):
        positive, likely = truth == label, probabilities[:, position]
        if positive.all() or not positive.any():
            continue  # no such class among these rows: there is no curve
        false, true, _ = measures.roc_curve(positive, likely)
        roc.plot(false, true, color=colour, label=f"{names[position]}: {measures.auc(false, true):.3f}")
        precision, found, _ = measures.precision_recall_curve(positive, likely)
        area = measures.average_precision_score(positive, likely)
        recall.plot(found, precision, color=colour, label=f"{names[position]}: {area:.3f}")
        happened, said = calibration_curve(positive, likely, n_bins=10)
        calibration.plot(said, happened, "o-", color=colour, label=names[position])
    for axes in (roc, calibration):
        axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    roc.set(title="ROC, with area", xlabel="false positive rate", ylabel="true positive rate")
    recall.set(
        title="Precision and recall, with average precision", xlabel="recall", ylabel="precision", ylim=(0, 1.05)
    )
    calibration.set(title="Calibration", xlabel="predicted probability", ylabel="share of the class")
    for axes in (roc, recall, calibration):
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="small", loc="best")
    figure.suptitle(f"{len(truth)} held-out rows, each class against all others")
    return figure


def residuals_picture(evaluation: Evaluation) -> Figure:
    """Draw predicted against true values, and how the residuals (true less predicted) are distributed."""
    figure = Figure(figsize=(10, 4.4), dpi=DPI, layout="constrained")
    against, spread = figure.subplots(1, 2)
    truth, predicted = evaluation.truth[:MOST_POINTS], evaluation.predicted[:MOST_POINTS]
    against.scatter(truth, predicted, s=12, alpha=0.6)
    ends = [min(truth.min(), predicted.min()), max(truth.max(), predicted.max())]
    against.plot(ends, ends, color="grey", linestyle=":")
    against.set(title="Predicted against true", xlabel="true value", ylabel="predicted value")
    residuals = np.asarray(truth - predicted, dtype=np.float64)
    sns.histplot(residuals, bins=bins.edges_of(residuals, 40).tolist(), ax=spread)
    spread.axvline(0, color="grey", linestyle=":")
    spread.set(title="Residuals", xlabel="true less predicted", ylabel="rows")
    figure.suptitle(f"{len(truth)} held-out rows")
    return figure


def importance_picture(estimator: Any, rows: Split, metric: Metric) -> Figure:
    """Draw how much the score falls when a feature's held-out values are shuffled."""
    features, target = rows.test_features.head(MOST_ROWS), rows.test_target.head(MOST_ROWS)
    weighed = rows.test_aside.of(slice(MOST_ROWS)).weights
    columns = list(features.columns)
    repeats = 5 if len(columns) <= 50 else 1
    found = permutation_importance(
        estimator, features, target, scoring=metric.gain, n_repeats=repeats, random_state=SEED, sample_weight=weighed
    )
    order = np.argsort(found.importances_mean)[::-1][:MOST_FEATURES]
    figure = Figure(figsize=(8, 1.2 + 0.32 * len(order)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.barh(labels(columns[i] for i in order), found.importances_mean[order], xerr=found.importances_std[order])
    axes.invert_yaxis()
    more = f", the first {len(order)} of {len(columns)} features" if len(order) < len(columns) else ""
    axes.set(
        title=f"Permutation importance on {len(features)} held-out rows{more}",
        xlabel=f"{'rise' if metric.less_is_better else 'fall'} of {metric.words} when the feature is shuffled",
    )
    return figure


def contributions_picture(summary: Summary) -> Figure:
    """Draw what the columns add to each explained row's answer, one point a row, the darker the larger its value."""
    names, draws = list(summary.means.index[:MOST_FEATURES]), np.random.default_rng(SEED)
    figure = Figure(figsize=(8, 1.4 + 0.32 * len(names)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for place, name in enumerate(names):
        values = summary.features[name]
        is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
        shade = values.rank(pct=True).fillna(0) if is_number else np.full(len(values), 0.5)
        heights = place + draws.uniform(-0.25, 0.25, len(values))
        added = summary.of[:, summary.features.columns.get_loc(name)]
        axes.scatter(added, heights, c=shade, cmap="viridis_r", vmin=0, vmax=1, s=14, alpha=0.8)
    axes.axvline(0, color="grey", linestyle=":")
    axes.set_yticks(range(len(names)), labels(names))
    axes.invert_yaxis()
    axes.set(
        title=f"What columns add in {len(summary.of)} held-out rows (Shapley values; darker: a larger number)",
        xlabel=labels([f"added to {summary.what}"], MOST_WORDS)[0],
    )
    return figure


def learning_picture(estimator: Any, rows: Split, train_rows: int, metric: Metric) -> Figure:
    """Draw the score on held-out and on fitted rows against the number of rows fitted on, `train_rows` at most."""
    features, target, weighed = rows.train
    sizes, held_out, fitted = [], [], []
    for share in LEARNING_SIZES:
        size = max(2, int(share * len(target)))
        part, labels = features.head(size), target.head(size)
        if metric.labels and labels.nunique() < (2 if metric.is_of_labels else len(metric.labels)):
            continue
        count = None if weighed is None else weighed[:size]
        try:
            model = weights.fit(clone(estimator), part, labels, count)
        except ValueError:  # it was fitted on all rows; folds of its own, as calibration has, want some of each class
            continue
        sizes.append(size)
        held_out.append(metric.of(model, *rows.test))
        fitted.append(metric.of(model, part, labels, count))
    figure = Figure(figsize=(6.5, 4.4), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.plot(sizes, fitted, "o--", label="rows fitted on")
    axes.plot(sizes, held_out, "o-", label="held-out rows")
    axes.set(
        title=f"Learning curve, up to {len(target)} of {train_rows} rows",
        xlabel="rows fitted on",
        ylabel=metric.words,
    )
    axes.legend()
    return figure


def _frame_of(results: list[tuple[str, list[float]]]) -> pd.DataFrame:
    """Return scores as rows of (algorithm, fold, score), for a picture."""
    names = labels(name for name, _ in results)
    return pd.DataFrame(
        [
            (name, fold, value)
            for name, (_, scores) in zip(names, results, strict=True)
            for fold, value in enumerate(scores)
        ],
        columns=["algorithm", "fold", "score"],
    )


def leaderboard_picture(results: list[tuple[str, list[float]]], words: str) -> Figure:
    """Draw each algorithm's score on each fold, the best algorithm on top."""
    figure = Figure(figsize=(8, 1.6 + 0.6 * len(results)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    frame = _frame_of(results)
    sns.boxplot(frame, x="score", y="algorithm", color="lightgrey", fliersize=0, ax=axes)
    sns.stripplot(frame, x="score", y="algorithm", hue="algorithm", palette=PALETTE, legend=False, ax=axes)
    axes.set(title="Cross-validation: one point per fold", xlabel=words, ylabel="")
    return figure
