"""What a training says in the terminal: its steps, progress where it takes long, and the result as a table."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Self

from contract.display import visible
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table as Grid

from trainer.console.figures import markdown, metric_words, number
from trainer.console.terminal import Console
from trainer.promotion_record import PromotionRecord

if TYPE_CHECKING:  # which imports scikit-learn, of which `models` and `history` have no use
    from trainer.data.table import Task

# How to have another quality gate.
WAY_OUT = (
    "The quality gate is yours to set: --threshold METRIC=VALUE, or `thresholds` in a file (--config), takes the place of the "
    "default; --metric names another figure."
)
# A model that finds less of the positive class than this is rarely what was wanted of it: it may know which rows are likelier, and
# still say the other class of all of them.
FEW = 0.5
HARDLY_FOUND = (
    "It finds {:.0%} of {}: --decision-threshold tuned lets it say so from another probability than 0.5 on, and --class-weight balanced "
    "lets the rows of both classes weigh as much together."
)
# MLflow's UI opens in the mode that it was left in: at first that of language models, where a training has nothing to show.
MODE = "?workflowType=machine_learning"
# Of an algorithm's names, hist_gradient_boosting.
LONGEST_NAME = 22
LONGEST_SCORE = len("123,456 ± 12,345")
# A log is to show that it goes on, and no more.
SECONDS_BETWEEN_LINES = 5.0


def steps(console: Console, total: int) -> Callable[[str], None]:
    """Return a function that prints "[1/5] …", counting up."""
    numbers = iter(range(1, total + 1))
    return lambda text: console.print(f"[{next(numbers)}/{total}] {text}", highlight=False, soft_wrap=True)


def notes(console: Console, texts: Iterable[str]) -> None:
    """Print what a person should know, under the step that it belongs to."""
    for text in texts:
        console.print(f"      {text}", highlight=False, soft_wrap=True)


class Progress:
    """A bar in a terminal; a line now and then where there is none."""

    def __init__(self, console: Console, name: str, total: int) -> None:
        self._console, self._name, self._total, self._done = console, visible(name, 60), total, 0
        self._told = time.monotonic()
        columns = (
            TextColumn("      {task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self._bar = None
        if console.is_terminal:
            # What others print meanwhile is for the streams to make visible, not for rich to take for its own.
            self._bar = Bar(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
            self._task = self._bar.add_task(self._name, total=self._total)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def step(self) -> None:
        """Count one more."""
        self.show(self._done + 1, self._total, None)

    def show(self, done: int, total: int, best: float | None) -> None:
        """Show how far it is, and the best score so far."""
        self._done = done
        words = self._name if best is None else f"{self._name}, best {best:.4f}"
        if self._bar:
            self._bar.update(self._task, completed=done, description=words)
        elif time.monotonic() - self._told > SECONDS_BETWEEN_LINES:
            self._told = time.monotonic()
            notes(self._console, [f"{words}: {done} of {total}"])


def leaderboard(results: list[Any], lowest: Any, words: str) -> Grid:
    """Return the algorithms, the best on top, and below them the baseline; `words` name the metric.

    In eighty columns a name is whole, on one line: the place is left to the order, and mean and spread share a column.
    """
    head, *rows = _board(results, lowest, words)
    narrow = (each.replace(" ", "\n") for each in head[4:])
    grid = Grid(head[1], f"{words}, mean ± spread of the folds", *narrow, title="Leaderboard", title_justify="left")
    grid.columns[0].overflow = "fold"  # parameters after the name, or one's own estimator: what is cut cannot be copied
    grid.columns[0].min_width = min(LONGEST_NAME, max(len(row[1].split()[0]) for row in rows))
    grid.columns[1].max_width = LONGEST_SCORE
    for row in rows:
        if row is rows[-1]:
            grid.add_section()
        grid.add_row(row[1], f"{row[2]} {row[3]}", *row[4:])
    return grid


def leaderboard_note(results: list[Any], lowest: Any, words: str) -> str:
    """Return the same as Markdown, as MLflow's page of a run shows it."""
    head, *rows = _board(results, lowest, words)
    lines = ["| " + " | ".join(map(markdown, row)) + " |" for row in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:], ""])


def _board(results: list[Any], lowest: Any, words: str) -> Iterator[list[str]]:
    """Yield the head of a leaderboard and its rows; fit and file are those of one fold."""
    yield ["", "algorithm", f"{words}, mean of the folds", "spread", "fit", "1,000 rows", "file", "ONNX"]
    for place, found in enumerate([*results, lowest], 1):
        name = found.name if found.found is None else f"{found.name} {_parameters(found.found.parameters)}"
        yield [
            "" if found is lowest else str(place),
            name,
            number(found.mean),
            f"± {number(found.spread)}",
            _seconds(found.fit_seconds),
            _seconds(found.predict_seconds),
            "" if found.file_bytes is None else _size(found.file_bytes),
            "" if found.has_onnx_engine is None else "yes" if found.has_onnx_engine else "no",
        ]


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value >= 1 else f"{value * 1000:.0f} ms" if value >= 0.01 else f"{value * 1000:.1f} ms"


def _size(count: int) -> str:
    return f"{count / 1024:.0f} KB" if count < 1024**2 else f"{count / 1024**2:.1f} MB"


def _parameters(parameters: dict[str, Any]) -> str:
    return ", ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in parameters.items()
    )


def show(console: Console, record: PromotionRecord, task: "Task") -> None:
    """Print the figures of one training and the decision; what finds more of a class that is hardly found; below the gate, its options."""
    console.print(result(record, task))
    is_fixed = record.positive is None or record.decision_threshold is not None or "test_log_loss" not in record.metrics
    if not is_fixed and (found := record.metrics["test_recall"]) < FEW:
        console.print(HARDLY_FOUND.format(found, record.positive), highlight=False, markup=False)
    if not record.meets_threshold:
        console.print(WAY_OUT, highlight=False)


def result(record: PromotionRecord, task: "Task") -> Grid:
    """Return the figures of one training and the decision."""
    grid = Grid(title=_title(record), title_justify="left", show_header=False)
    for rows in (_figures(record, task), _decision(record)):
        grid.add_section()
        for name, value in rows:
            grid.add_row(name, value)
    return grid


def note(record: PromotionRecord, task: "Task") -> str:
    """Return the same as Markdown, as MLflow's page of a run shows it."""
    rows = [*_figures(record, task), *_decision(record)]
    lines = [f"| {markdown(name)} | {markdown(value)} |" for name, value in rows]
    return "\n".join([f"**{markdown(_title(record))}**", "", "| figure | value |", "|---|---|", *lines])


def run_name(record: PromotionRecord) -> str:
    """Say in a few words what a run came to: logistic_regression 0.9667 v2."""
    return f"{record.algorithm} {number(record.metrics[f'test_{record.metric}'])} v{record.version}"


def about(record: PromotionRecord) -> str:
    """Say what a registered model is, for whoever finds it in MLflow."""
    return (
        f"Trained on {markdown(record.data['file'])} by `trainer train`, judged by {metric_words(record.metric)}. The version behind the "
        "alias Production is the one that is served; the description of each version says why it is or is not."
    )


def _title(record: PromotionRecord) -> str:
    return f"{record.model_name}, version {record.version}"


def _figures(record: PromotionRecord, task: "Task") -> Iterator[tuple[str, str]]:
    metrics = record.metrics
    if task == "regression":
        yield from _regression(metrics)
        return
    yield from _classification(metrics)
    if record.positive is not None:
        found = ", ".join(f"{name} {metrics[f'test_{name}']:.2%}" for name in ("precision", "recall"))
        yield f"of {record.positive}", f"{found}, F1 {metrics['test_f1']:.2%}"
    if record.decision_threshold is not None:
        yield "decision threshold", f"{record.positive} from a probability of {record.decision_threshold:.4f} on"


def _decision(record: PromotionRecord) -> Iterator[tuple[str, str]]:
    metrics, words = record.metrics, metric_words(record.metric)
    if record.metric not in ("accuracy", "r2"):
        yield f"judged by {words}", _with_interval(metrics, f"test_{record.metric}")
    yield "baseline", f"{words} {number(record.baseline['value'])} ({record.baseline['answer']})"
    verdict = "PROMOTED to Production" if record.promoted else "not promoted"
    yield "promotion", f"{verdict}: {record.reason}"
    if record.attempts_on_this_data > 1:
        yield "attempts", f"number {record.attempts_on_this_data} on this data"


def _classification(metrics: dict[str, float]) -> Iterator[tuple[str, str]]:
    low, high = metrics["test_accuracy_ci_low"], metrics["test_accuracy_ci_high"]
    yield "test accuracy", f"{metrics['test_accuracy']:.2%} (95 % interval: {low:.1%} to {high:.1%})"
    yield "train accuracy", f"{metrics['train_accuracy']:.2%}"
    yield "overfitting gap", f"{metrics['overfitting_gap']:.4f}"
    for word in ("precision", "recall"):
        yield word, f"{metrics[f'test_{word}_micro']:.2%} micro, {metrics[f'test_{word}_macro']:.2%} macro"
    yield "F1", f"{metrics['test_f1_macro']:.2%} macro"
    if "test_roc_auc" in metrics:
        yield "ROC AUC", f"{metrics['test_roc_auc']:.4f}"
    if "test_log_loss" in metrics:
        yield "log loss", f"{metrics['test_log_loss']:.4f}"


def _regression(metrics: dict[str, float]) -> Iterator[tuple[str, str]]:
    yield "test R²", number(metrics["test_r2"])
    yield "train R²", number(metrics["train_r2"])
    yield "overfitting gap", number(metrics["overfitting_gap"])
    yield "RMSE", _with_interval(metrics, "test_rmse")
    yield "MAE", number(metrics["test_mae"])


def _with_interval(metrics: dict[str, float], name: str) -> str:
    if f"{name}_ci_low" not in metrics:
        return number(metrics[name])
    low, high = (number(metrics[f"{name}_ci_{end}"]) for end in ("low", "high"))
    return f"{number(metrics[name])} (95 % interval: {low} to {high})"


def links(console: Console, public_url: str | None, record: PromotionRecord, experiment_id: str) -> None:
    """Print where the run and the version are in the MLflow UI; outside of a table a link stays whole."""
    if public_url:
        run = run_link(public_url, experiment_id, record.run_id)
        version = f"{public_url}/#/models/{record.model_name}/versions/{record.version}{MODE}"
        console.print(f"Run:     {run}", soft_wrap=True)
        console.print(f"Version: {version}", soft_wrap=True)


def run_link(public_url: str, experiment_id: str, run_id: str) -> str:
    """Return where a run is in the MLflow UI."""
    return f"{public_url}/#/experiments/{experiment_id}/runs/{run_id}{MODE}"


def origin(record: PromotionRecord) -> str:
    """Say on one line where a version comes from."""
    data = record.data
    parts = [
        f"Data: {data['file']}, {data['rows']} rows, SHA-256 {data['sha256'][:12]}",
        f"attempt {record.attempts_on_this_data} on it",
        f"rule: {record.rule}",
    ]
    if record.git_commit:
        parts.append(f"commit {record.git_commit[:12]}")
    return "; ".join(parts) + ". The whole record: promotion.json on the source run."
