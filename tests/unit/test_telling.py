"""What a training tells people, in the terminal and in MLflow: figures that are read at a glance, names that are harmless."""

import json
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner
from mlflow.exceptions import MlflowException
from rich.console import Console
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from trainer.__main__ import trainer
from trainer.console import output
from trainer.console.figures import markdown, metric_words, number
from trainer.data.table import Task
from trainer.errors import TrackingError
from trainer.fit.cross_validation import CrossValidationResult
from trainer.promotion_record import PromotionRecord
from trainer.tracking import run_logging
from trainer.tracking.answers import mlflow_errors

METRICS = {
    "test_accuracy": 0.7583, "test_accuracy_ci_low": 0.72, "test_accuracy_ci_high": 0.79, "train_accuracy": 0.76,
    "overfitting_gap": 0.0017, "test_precision_micro": 0.7583, "test_precision_macro": 0.69,
    "test_recall_micro": 0.7583, "test_recall_macro": 0.6, "test_f1_macro": 0.6061, "test_precision": 0.6232,
    "test_recall": 0.2739, "test_f1": 0.3805, "test_roc_auc": 0.745,
}  # fmt: skip
PRICES = {
    "test_r2": 0.81, "train_r2": 0.83, "overfitting_gap": 0.02, "test_rmse": 15_234.2, "test_rmse_ci_low": 13_830.4,
    "test_rmse_ci_high": 16_600.0, "test_mae": 11_020.7,
}  # fmt: skip
RECORD = PromotionRecord(
    model_name="churn", version="2", run_id="r", model_id="m", model_sha256="0" * 64, algorithm="logistic_regression",
    data={"file": "churn.csv", "sha256": "0" * 64, "rows": 3000}, attempts_on_this_data=3, leaks=[], accept_leak=False,
    metric="roc_auc", baseline={"answer": "always No", "value": 0.5, "is_threshold": True}, positive="Yes",
    decision_threshold=0.31, thresholds={}, rule="significant", margin=0.0, rounds=[], promoted=False, meets_threshold=False,
    reason="its test roc auc is not beyond", metrics=METRICS, onnx_engine={}, git_commit=None, code_sha256="0" * 64, image=None,
)  # fmt: skip


def shown(record: PromotionRecord, task: Task, width: int = 80) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(output.result(record, task))
    return capture.get()


def test_the_result_shows_the_baseline_and_the_positive_class_beside_the_figures() -> None:
    text = shown(RECORD, Task.CLASSIFICATION)
    assert "of Yes" in text
    assert "precision 62.32%, recall 27.39%, F1 38.05%" in text
    assert "judged by ROC AUC" in text
    assert "ROC AUC 0.5000 (always No)" in text
    assert "Yes from a probability of 0.3100 on" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("changes", "recall", "is_told"),
    [({}, 0.27, True), ({}, 0.6, False), ({"decision_threshold": 0.3}, 0.27, False), ({"positive": None}, 0.27, False)],
)
def test_a_model_that_finds_few_of_the_positive_class_is_shown_with_what_finds_more(
    changes: dict[str, Any], recall: float, is_told: bool
) -> None:
    metrics = {**METRICS, "test_recall": recall, "test_log_loss": 0.5}
    console = Console(width=200)
    with console.capture() as capture:
        record = replace(RECORD, **{"decision_threshold": None, "metrics": metrics, **changes})
        output.show(console, record, Task.CLASSIFICATION)  # type: ignore[arg-type]
    assert ("It finds 27% of Yes: --decision-threshold tuned" in capture.get()) is is_told


def test_large_figures_are_written_for_people() -> None:
    text = shown(replace(RECORD, metric="rmse", metrics=PRICES, positive=None), Task.REGRESSION)
    assert "15,234 (95 % interval: 13,830 to 16,600)" in text
    assert "11,021" in text
    assert "e+0" not in text


@pytest.mark.parametrize(
    ("value", "expected"),
    [(15234.2, "15,234"), (0.96667, "0.9667"), (-12000.0, "-12,000"), (2026.0, "2026"), (999.5, "999.5000")],
)
def test_a_number_has_its_thousands_in_groups_and_four_decimals_below(value: float, expected: str) -> None:
    assert number(value) == expected


def test_metrics_are_named_in_words() -> None:
    assert list(map(metric_words, ("test_r2", "roc_auc", "f1_macro"))) == ["test R²", "ROC AUC", "F1 macro"]


def test_a_run_is_named_by_what_it_is_judged_by() -> None:
    assert output.run_name(replace(RECORD, metrics=METRICS)) == "logistic_regression 0.7450 v2"


def test_a_note_of_a_run_is_a_table_whatever_its_classes_are_called() -> None:
    note = output.note(replace(RECORD, positive="a|b\n<img src=x>"), Task.CLASSIFICATION)
    assert all(line.startswith("|") and line.endswith("|") for line in note.splitlines()[2:])
    assert "<img" not in note
    assert markdown("a|b") == "a\\|b"


def test_links_open_the_mode_that_shows_trainings() -> None:
    console = Console(width=200)
    with console.capture() as capture:
        output.links(console, "http://localhost:5000", RECORD, "1")  # type: ignore[arg-type]
    run, version = capture.get().splitlines()
    assert run.endswith("http://localhost:5000/#/experiments/1/runs/r?workflowType=machine_learning")
    assert version.endswith("http://localhost:5000/#/models/churn/versions/2?workflowType=machine_learning")


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (LogisticRegression(max_iter=1000, random_state=42), {"solver": "lbfgs", "max_iter": 1000, "C": 1.0}),
        (make_pipeline(StandardScaler(), LogisticRegression(C=2)), {"solver": "lbfgs", "max_iter": 100, "C": 2}),
        (FixedThresholdClassifier(HistGradientBoostingClassifier(max_depth=3)), {"max_depth": 3, "max_iter": 100}),
    ],
)
def test_parameters_are_those_that_are_not_defaults_and_the_telling_ones(
    estimator: Any, expected: dict[str, Any]
) -> None:
    found = run_logging._parameters(estimator)
    assert found.pop("algorithm") in ("LogisticRegression", "HistGradientBoostingClassifier")
    assert found == expected
    json.dumps(found)


@pytest.mark.parametrize("command", [None, *trainer.commands])
def test_the_help_is_whole_in_eighty_columns(command: str | None) -> None:
    shown = CliRunner(env={"COLUMNS": "80"}).invoke(trainer, [*([command] if command else []), "--help"])
    assert shown.exit_code == 0
    assert "..." not in shown.output.replace("[ARGS]...", "")
    examples = shown.output.partition("Example")[2]
    assert all(len(line) <= 80 for line in shown.output.removesuffix(examples).splitlines())


def test_names_of_algorithms_on_the_leaderboard_are_whole_in_a_narrow_terminal() -> None:
    board = [
        CrossValidationResult(
            name,
            LogisticRegression(),
            [0.7, 0.8],
            32.2,
            fit_seconds=6.3,
            predict_seconds=0.18,
            file_bytes=4_800_000,
            has_onnx_engine=True,
        )
        for name in ("hist_gradient_boosting", "always No")
    ]
    console = Console(width=80)
    with console.capture() as capture:
        console.print(output.leaderboard(board[:1], board[1], "ROC AUC"))
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= 80
    (row,) = (line for line in lines if "0.7500" in line and "hist" in line)
    assert [cell.strip() for cell in row.split("│")[1:4]] == ["hist_gradient_boosting", "0.7500 ± 0.0500", "6.3 s"]
    assert all(line.endswith(("┓", "┃", "┩", "│", "┤", "┘")) for line in lines[1:])  # nor is anything cut off


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            "API request to http://mlflow:5000/x failed with exception Max retries exceeded (Failed to resolve 'mlflow')",
            "does not answer",
        ),
        ("Max retries exceeded with url: /x (Caused by ResponseError('too many 503 error responses'))", "refuses"),
        ("Model name cannot be empty", "refuses"),
    ],
)
def test_an_mlflow_that_is_not_there_is_not_said_to_refuse(message: str, said: str) -> None:
    with pytest.raises(TrackingError, match=f"^MLflow {said}"), mlflow_errors():
        raise MlflowException(message)
