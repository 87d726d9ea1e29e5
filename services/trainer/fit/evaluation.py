"""How a fitted estimator does: figures on rows that it has not seen, and on those that it was fitted on."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn import metrics as measures

from trainer.data.table import SEED, Split, Task

# What models are chosen and promoted by, greater is better.
SCORES = {Task.CLASSIFICATION: "accuracy", Task.REGRESSION: "r2"}
RESAMPLES = 1000
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

    @property
    def confusion(self) -> np.ndarray:
        """Counts of shape (classes, classes): row = true class, column = predicted class."""
        counts: np.ndarray = measures.confusion_matrix(self.truth, self.predicted, labels=self.labels)
        return counts


def score(task: Task, truth: Any, predicted: Any) -> float:
    """Return accuracy or R², what models are compared by."""
    if task is Task.CLASSIFICATION:
        return float(measures.accuracy_score(truth, predicted))
    return float(measures.r2_score(truth, predicted))


def evaluate(estimator: Any, rows: Split, task: Task, class_names: list[str] | None = None) -> Evaluation:
    """Measure on the held-out rows, and on the fitted ones to see how far the two are apart."""
    if task is Task.REGRESSION:
        return _regression(estimator, rows)
    return _classification(estimator, rows, class_names)


def _classification(estimator: Any, rows: Split, class_names: list[str] | None) -> Evaluation:
    truth, predicted = rows.test_target.to_numpy(), estimator.predict(rows.test_features)
    test = float(measures.accuracy_score(truth, predicted))
    train = float(measures.accuracy_score(rows.train_target, estimator.predict(rows.train_features)))
    figures = {"test_accuracy": test, "train_accuracy": train, "overfitting_gap": train - test}
    figures["test_balanced_accuracy"] = float(measures.balanced_accuracy_score(truth, predicted))
    for average in ("micro", "macro", "weighted"):
        options: dict[str, Any] = {"average": average, "zero_division": 0.0}
        figures[f"test_precision_{average}"] = float(measures.precision_score(truth, predicted, **options))
        figures[f"test_recall_{average}"] = float(measures.recall_score(truth, predicted, **options))
        figures[f"test_f1_{average}"] = float(measures.f1_score(truth, predicted, **options))
    labels = np.asarray(estimator.classes_)
    names = class_names or [str(label) for label in labels]
    if len(labels) <= MOST_CLASSES_ONE_BY_ONE:
        figures |= _per_class(truth, predicted, labels, names)
    probabilities = estimator.predict_proba(rows.test_features) if hasattr(estimator, "predict_proba") else None
    if probabilities is not None:
        figures |= _of_probabilities(truth, probabilities, labels)
    figures |= _intervals(measures.confusion_matrix(truth, predicted, labels=labels))
    return Evaluation(figures, truth, predicted, probabilities, labels)


def _per_class(truth: Any, predicted: Any, labels: np.ndarray, names: list[str]) -> dict[str, float]:
    found = measures.precision_recall_fscore_support(truth, predicted, labels=labels, zero_division=0.0)
    return {
        f"test_{figure}_of_{_metric_name(name)}": float(value)
        for figure, values in zip(("precision", "recall", "f1"), found, strict=False)
        for name, value in zip(names, values, strict=True)
    }


def _metric_name(name: str) -> str:
    """Return a class's name in the characters that MLflow takes in the name of a metric."""
    return "".join(letter if letter.isalnum() or letter in "_-. " else "_" for letter in name)[:60]


def _of_probabilities(truth: Any, probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    figures = {"test_log_loss": float(measures.log_loss(truth, probabilities, labels=labels))}
    if len(np.unique(truth)) == len(labels):  # else some curve has no positives, or no negatives
        if len(labels) == 2:
            figures["test_roc_auc"] = float(measures.roc_auc_score(truth == labels[1], probabilities[:, 1]))
        else:
            area = measures.roc_auc_score(truth, probabilities, labels=labels, multi_class="ovr", average="macro")
            figures["test_roc_auc"] = float(area)
    return figures


def _intervals(confusion: np.ndarray) -> dict[str, float]:
    """Return 95 % bootstrap intervals of accuracy and macro F1.

    Drawing rows with replacement is drawing the cells of the confusion matrix: the same distribution, at a cost that
    does not grow with the rows.
    """
    rows, classes = int(confusion.sum()), len(confusion)
    shares = confusion.ravel() / rows
    draws = np.random.default_rng(SEED).multinomial(
        rows, shares, size=min(RESAMPLES, max(100, 10_000_000 // classes**2))
    )
    cells = draws.reshape(-1, classes, classes)
    hits = cells.diagonal(axis1=1, axis2=2)
    sums = cells.sum(axis=1) + cells.sum(axis=2)
    f1 = np.divide(2 * hits, sums, out=np.zeros(hits.shape), where=sums > 0).mean(axis=1)
    return {**_interval("test_accuracy", hits.sum(axis=1) / rows), **_interval("test_f1_macro", f1)}


def _interval(name: str, draws: np.ndarray) -> dict[str, float]:
    low, high = np.percentile(draws, [2.5, 97.5])
    return {f"{name}_ci_low": float(low), f"{name}_ci_high": float(high)}


def _regression(estimator: Any, rows: Split) -> Evaluation:
    truth, predicted = rows.test_target.to_numpy(), np.asarray(estimator.predict(rows.test_features)).ravel()
    train = float(measures.r2_score(rows.train_target, estimator.predict(rows.train_features)))
    test = float(measures.r2_score(truth, predicted))
    errors = np.abs(truth - predicted)
    figures = {
        "test_r2": test,
        "train_r2": train,
        "overfitting_gap": train - test,
        "test_rmse": float(np.sqrt(np.mean(errors**2))),
        "test_mae": float(errors.mean()),
        "test_residual_mean": float((truth - predicted).mean()),
    }
    draws = np.random.default_rng(SEED)
    picks = [
        draws.integers(0, len(truth), len(truth)) for _ in range(max(100, min(RESAMPLES, MOST_DRAWS // len(truth))))
    ]
    figures |= _interval("test_rmse", np.array([np.sqrt(np.mean(errors[pick] ** 2)) for pick in picks]))
    return Evaluation(figures, truth, predicted, None, np.array([]))
