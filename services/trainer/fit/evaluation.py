"""How a fitted estimator does: figures on rows that it has not seen, and on those that it was fitted on."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn import metrics as measures

from trainer.data.table import SEED, Split, Task
from trainer.fit.contributions import Summary
from trainer.fit.metric import DEFAULTS, Metric

RESAMPLES = 1000
# Of a figure that scikit-learn computes anew for each draw, a millisecond and more each.
COSTLY_RESAMPLES = 200
# A bootstrap of a regression draws rows, so its cost is bounded by drawing less often from many.
MOST_DRAWS = 20_000_000
MOST_CLASSES_ONE_BY_ONE = 20


@dataclass(frozen=True)
class Evaluation:
    """Figures of one fitted estimator, and what the pictures are drawn from."""

    metrics: dict[str, float]
    """test_… and train_…; shares from 0 to 1, log loss in nats, RMSE and MAE in the target's unit"""
    truth: np.ndarray
    """shape (test rows,)"""
    predicted: np.ndarray
    """shape (test rows,)"""
    probabilities: np.ndarray | None
    """shape (test rows, classes), None for a regression and where the estimator has none"""
    labels: np.ndarray
    """shape (classes,), empty for a regression"""
    metric: Metric
    """what it is judged by: test_…, train_… and the interval of it are among the metrics"""
    weights: np.ndarray | None = None
    """what each test row counts, of shape (test rows,); None where all count alike"""
    contributions: Summary | None = None
    """what columns add to the answers, None where that was not looked at"""

    @property
    def confusion(self) -> np.ndarray:
        """Counts of rows, of shape (classes, classes): row = true class, column = predicted class."""
        counts: np.ndarray = measures.confusion_matrix(self.truth, self.predicted, labels=self.labels)
        return counts

    @property
    def weighted(self) -> np.ndarray:
        """The same, where each row counts as much as its weight."""
        options = {"labels": self.labels, "sample_weight": self.weights}
        sums: np.ndarray = measures.confusion_matrix(self.truth, self.predicted, **options)
        return sums


def evaluate(
    estimator: Any, rows: Split, task: Task, class_names: list[str] | None = None, metric: Metric | None = None
) -> Evaluation:
    """Measure on the held-out rows, and on the fitted ones to see how far the two are apart.

    `metric` is what it is judged by, None for accuracy or R².
    """
    if metric is None:
        metric = Metric(DEFAULTS[task], task, tuple(getattr(estimator, "classes_", ())))
    figures = (
        _regression(estimator, rows, metric)
        if task is Task.REGRESSION
        else _classification(estimator, rows, class_names, metric)
    )
    figures.metrics.update(_judged(estimator, rows, figures))
    return figures


def _judged(estimator: Any, rows: Split, found: Evaluation) -> dict[str, float]:
    """Return the figures of the metric that are not there yet."""
    metric, name = found.metric, f"test_{found.metric.name}"
    figures = {}
    if name not in found.metrics or f"{name}_ci_low" not in found.metrics:
        truth, response = metric.encoded(found.truth), metric.response(estimator, rows.test_features)
        figures = {name: metric.value(truth, response, found.weights)}
        figures |= interval(metric, truth, response, found.weights)
    if f"train_{metric.name}" not in found.metrics:
        figures[f"train_{metric.name}"] = metric.of(estimator, *rows.train)
    return figures


def resamples(rows: int, count: int) -> list[np.ndarray]:
    """Return draws with replacement of so many rows, each of shape (rows,); fewer draws of many rows."""
    draws = np.random.default_rng(SEED)
    return [draws.integers(0, rows, rows) for _ in range(max(100, min(count, MOST_DRAWS // rows)))]


def of_draw(weights: np.ndarray | None, pick: np.ndarray) -> np.ndarray | None:
    """Return what the rows of a draw count."""
    return None if weights is None else weights[pick]


def gains(
    metric: Metric, truth: np.ndarray, response: np.ndarray, other: np.ndarray, weights: np.ndarray | None = None
) -> list[float]:
    """Return what a response is better by than another one to the same rows, in each of the draws of a bootstrap."""
    return [
        metric.better(*(metric.value(truth[pick], one[pick], of_draw(weights, pick)) for one in (response, other)))
        for pick in resamples(len(truth), COSTLY_RESAMPLES)
    ]


def gain(
    metric: Metric, truth: np.ndarray, response: np.ndarray, other: np.ndarray, weights: np.ndarray | None = None
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of what a response is better by than another one to the same rows; NaN for none."""
    drawn = np.array(gains(metric, truth, response, other, weights))
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (np.nan, np.nan)
    return float(low), float(high)


def interval(
    metric: Metric, truth: np.ndarray, response: np.ndarray, weights: np.ndarray | None = None
) -> dict[str, float]:
    """Return the 95 % bootstrap interval of a metric; `truth` is encoded as it takes it."""
    values = [
        metric.value(truth[pick], response[pick], of_draw(weights, pick))
        for pick in resamples(len(truth), COSTLY_RESAMPLES)
    ]
    return _interval(f"test_{metric.name}", np.array(values))


def _classification(estimator: Any, rows: Split, class_names: list[str] | None, metric: Metric) -> Evaluation:
    truth, predicted, weighed = rows.test_target.to_numpy(), estimator.predict(rows.test_features), rows.test[2]
    test = float(measures.accuracy_score(truth, predicted, sample_weight=weighed))
    fitted = estimator.predict(rows.train_features)
    train = float(measures.accuracy_score(rows.train_target, fitted, sample_weight=rows.train[2]))
    figures = {"test_accuracy": test, "train_accuracy": train, "overfitting_gap": train - test}
    figures["test_balanced_accuracy"] = float(measures.balanced_accuracy_score(truth, predicted, sample_weight=weighed))
    for average in ("micro", "macro", "weighted"):
        options: dict[str, Any] = {"average": average, "zero_division": 0.0, "sample_weight": weighed}
        figures[f"test_precision_{average}"] = float(measures.precision_score(truth, predicted, **options))
        figures[f"test_recall_{average}"] = float(measures.recall_score(truth, predicted, **options))
        figures[f"test_f1_{average}"] = float(measures.f1_score(truth, predicted, **options))
    labels = np.asarray(estimator.classes_)
    names = class_names or [str(label) for label in labels]
    if len(labels) <= MOST_CLASSES_ONE_BY_ONE:
        figures |= _per_class(truth, predicted, labels, names, weighed)
    probabilities = estimator.predict_proba(rows.test_features) if hasattr(estimator, "predict_proba") else None
    if probabilities is not None:
        figures |= _of_probabilities(truth, probabilities, labels, weighed)
    found = Evaluation(figures, truth, predicted, probabilities, labels, metric, weighed)
    if metric.positive is not None:
        figures |= _of_the_positive(found)
    figures |= _intervals(_drawn(found))
    return found


def _per_class(
    truth: Any, predicted: Any, labels: np.ndarray, names: list[str], weights: np.ndarray | None
) -> dict[str, float]:
    options: dict[str, Any] = {"labels": labels, "zero_division": 0.0, "sample_weight": weights}
    found = measures.precision_recall_fscore_support(truth, predicted, **options)
    return {
        f"test_{figure}_of_{_metric_name(name)}": float(value)
        for figure, values in zip(("precision", "recall", "f1"), found, strict=False)
        for name, value in zip(names, values, strict=True)
    }


def _of_the_positive(evaluation: Evaluation) -> dict[str, float]:
    """Return what there is to say of the positive class of two."""
    metric, probabilities, weights = evaluation.metric, evaluation.probabilities, evaluation.weights
    is_so, said = evaluation.truth == metric.positive, evaluation.predicted == metric.positive
    options: dict[str, Any] = {"average": "binary", "zero_division": 0.0, "sample_weight": weights}
    found = measures.precision_recall_fscore_support(is_so, said, **options)
    figures = dict(zip(("test_precision", "test_recall", "test_f1"), map(float, found[:3]), strict=True))
    if probabilities is not None and is_so.any():
        likely = probabilities[:, metric.labels.index(metric.positive)]
        figures["test_average_precision"] = float(
            measures.average_precision_score(is_so, likely, sample_weight=weights)
        )
    return figures


def _metric_name(name: str) -> str:
    """Return a class's name in the characters that MLflow takes in the name of a metric."""
    return "".join(letter if letter.isalnum() or letter in "_-. " else "_" for letter in name)[:60]


def _of_probabilities(
    truth: Any, probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray | None
) -> dict[str, float]:
    loss = measures.log_loss(truth, probabilities, labels=labels, sample_weight=weights)
    figures, weighed = {"test_log_loss": float(loss)}, {"sample_weight": weights}
    if len(np.unique(truth)) == len(labels):  # else some curve has no positives, or no negatives
        if len(labels) == 2:
            figures["test_roc_auc"] = float(measures.roc_auc_score(truth == labels[1], probabilities[:, 1], **weighed))
        else:
            area = measures.roc_auc_score(
                truth, probabilities, labels=labels, multi_class="ovr", average="macro", **weighed
            )
            figures["test_roc_auc"] = float(area)
    return figures


def _drawn(evaluation: Evaluation) -> np.ndarray:
    """Return the confusions of draws of the test rows with replacement, of shape (draws, classes, classes).

    Drawing rows that count alike is drawing the cells of the confusion matrix: the same distribution, at a cost that does not
    grow with the rows. Where no row is wrong, each draw would be without an error too, however few rows there are: there it is as
    if one more had been wrong, which gives nearly the exact interval of such a share.
    """
    classes, weights = len(evaluation.labels), evaluation.weights
    count = min(RESAMPLES, max(100, 10_000_000 // classes**2))
    if weights is None:
        counts = evaluation.confusion
        rows = int(counts.sum())
        if classes > 1 and counts.trace() == rows:
            counts = counts + (1 - np.eye(classes)) / (classes * (classes - 1))
        drawn = np.random.default_rng(SEED).multinomial(rows, counts.ravel() / counts.sum(), size=count)
    else:
        truth, predicted = (np.searchsorted(evaluation.labels, of) for of in (evaluation.truth, evaluation.predicted))
        cells = truth * classes + predicted
        drawn = np.array([np.bincount(cells[pick], weights[pick], classes**2) for pick in resamples(len(cells), count)])
    return drawn.reshape(-1, classes, classes)


def _intervals(cells: np.ndarray) -> dict[str, float]:
    """Return 95 % bootstrap intervals of accuracy, balanced accuracy and macro F1 from drawn confusions."""
    hits = cells.diagonal(axis1=1, axis2=2)
    sums = cells.sum(axis=1) + cells.sum(axis=2)
    f1 = np.divide(2 * hits, sums, out=np.zeros(hits.shape), where=sums > 0).mean(axis=1)
    with np.errstate(invalid="ignore"):  # of a draw whose rows count nothing
        right = hits.sum(axis=1) / cells.sum(axis=(1, 2))
    return {
        **_interval("test_accuracy", right),
        **_interval("test_balanced_accuracy", _recalls(hits, cells.sum(axis=2))),
        **_interval("test_f1_macro", f1),
    }


def _recalls(hits: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """Return the mean recall of the classes that are there, for each draw; both of shape (draws, classes).

    It is NaN for a draw of one class: whoever says that class always would be right.
    """
    recalls = np.divide(hits, truths, out=np.zeros(hits.shape), where=truths > 0)
    there = (truths > 0).sum(axis=1)
    found: np.ndarray = np.where(there > 1, recalls.sum(axis=1) / there, np.nan)
    return found


def _interval(name: str, draws: np.ndarray) -> dict[str, float]:
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return {}
    low, high = np.percentile(draws, [2.5, 97.5])
    return {f"{name}_ci_low": float(low), f"{name}_ci_high": float(high)}


def _regression(estimator: Any, rows: Split, metric: Metric) -> Evaluation:
    truth, predicted = rows.test_target.to_numpy(), np.asarray(estimator.predict(rows.test_features)).ravel()
    fitted, weighed = estimator.predict(rows.train_features), rows.test[2]
    train = float(measures.r2_score(rows.train_target, fitted, sample_weight=rows.train[2]))
    test = float(measures.r2_score(truth, predicted, sample_weight=weighed))
    errors = np.abs(truth - predicted)
    figures = {
        "test_r2": test,
        "train_r2": train,
        "overfitting_gap": train - test,
        "test_rmse": float(np.sqrt(np.average(errors**2, weights=weighed))),
        "test_mae": float(np.average(errors, weights=weighed)),
        "test_residual_mean": float(np.average(truth - predicted, weights=weighed)),
    }
    figures |= _error_intervals(truth, errors, weighed)
    return Evaluation(figures, truth, predicted, None, np.array([]), metric, weighed)


def _error_intervals(truth: np.ndarray, errors: np.ndarray, weights: np.ndarray | None) -> dict[str, float]:
    """Return 95 % bootstrap intervals of R², RMSE and MAE; `errors` are without sign, of shape (rows,)."""
    drawn = []
    for pick in resamples(len(truth), RESAMPLES):
        drawn.append(_errors_of(truth[pick], errors[pick], of_draw(weights, pick)))
    names = ("test_r2", "test_rmse", "test_mae")
    return {
        key: value
        for name, draws in zip(names, np.array(drawn).T, strict=True)
        for key, value in _interval(name, draws).items()
    }


def _errors_of(truth: np.ndarray, errors: np.ndarray, weights: np.ndarray | None) -> tuple[float, float, float]:
    """Return R², RMSE and MAE of rows, all NaN where they count nothing."""
    if weights is not None and not weights.any():
        return np.nan, np.nan, np.nan
    squares, middle = np.average(errors**2, weights=weights), np.average(truth, weights=weights)
    spread = np.average((truth - middle) ** 2, weights=weights)
    r2 = 1 - squares / spread if spread else np.nan
    return float(r2), float(np.sqrt(squares)), float(np.average(errors, weights=weights))
