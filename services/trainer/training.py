"""Fit the estimator and measure it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_score, recall_score

from trainer.table import Split

HYPERPARAMETERS = {"solver": "lbfgs", "max_iter": 1000, "C": 1.0}


@dataclass(frozen=True)
class Evaluation:
    """How a fitted estimator does."""

    metrics: dict[str, float]
    """fractions from 0 to 1; the gap is train accuracy less test accuracy"""
    confusion: np.ndarray
    """shape (classes, classes), counts of test rows: row = true class, column = predicted class"""


def fit(features: pd.DataFrame, target: pd.Series) -> LogisticRegression:
    """Return a logistic regression fitted on features of shape (rows, features) and target of shape (rows,)."""
    return LogisticRegression(**HYPERPARAMETERS).fit(features, target)


def evaluate(estimator: ClassifierMixin, rows: Split) -> Evaluation:
    """Measure on the held-out rows, and on the fitted ones to see how far the two are apart."""
    truth, predicted = rows.test_target, estimator.predict(rows.test_features)
    test = float(accuracy_score(truth, predicted))
    train = float(accuracy_score(rows.train_target, estimator.predict(rows.train_features)))
    metrics = {"test_accuracy": test, "train_accuracy": train, "overfitting_gap": train - test}
    for average in ("micro", "macro"):
        options = {"average": average, "zero_division": 0.0}
        metrics[f"test_precision_{average}"] = float(precision_score(truth, predicted, **options))
        metrics[f"test_recall_{average}"] = float(recall_score(truth, predicted, **options))
    metrics["test_f1_macro"] = float(f1_score(truth, predicted, average="macro", zero_division=0.0))
    return Evaluation(metrics, confusion_matrix(truth, predicted, labels=estimator.classes_))
