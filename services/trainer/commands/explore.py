"""Phase 1 of the workshop, look at the data first: report, pictures, and a run in MLflow that keeps them."""

import mlflow

from trainer.console import output
from trainer.console.terminal import Console
from trainer.data import builtin_datasets
from trainer.data.table import Table, Task, look_at
from trainer.errors import TrackingError
from trainer.experiment import Plan
from trainer.explore import exploration
from trainer.explore.exploration import Findings
from trainer.settings import Settings
from trainer.tracking import rest, run_lifecycle, run_logging
from trainer.tracking.answers import mlflow_errors


def explore(settings: Settings, plan: Plan, console: Console) -> None:
    """Report on a data set, draw it into data/exploration/, and log both where MLflow answers."""
    if plan.data is None:
        console.print(
            builtin_datasets.write(settings.data_dir, plan.dataset or builtin_datasets.DEFAULT), soft_wrap=True
        )
    path = plan.path(settings.data_dir)
    look = look_at(path, plan.target, Task(plan.task) if plan.task else None, plan.drop, plan.keep, plan.form())
    table, folder = look.table, settings.data_dir / "exploration"
    findings = exploration.explore(
        table, folder if table.name == builtin_datasets.DEFAULT else folder / table.name, console, look
    )
    try:
        rest.check_reachable(settings.tracking_uri)
        run_id, experiment_id = _log(settings.tracking_uri, table, findings)
    except TrackingError as error:  # the data can be looked at without a stack
        output.notes(console, [f"not logged to MLflow: {error}"])
        return
    if settings.public_url:
        console.print(f"Run: {output.run_link(settings.public_url, experiment_id, run_id)}", soft_wrap=True)


def _log(tracking_uri: str, table: Table, findings: Findings) -> tuple[str, str]:
    experiment_id = run_logging.connect(tracking_uri, run_lifecycle.experiment_of(table.name))
    with mlflow_errors(), mlflow.start_run(run_name=f"explore {table.name}") as run:
        mlflow.set_tags({"data_sha256": table.sha256, "kind": "exploration"})
        run_logging.log_dataset(table)
        mlflow.log_dict(findings.summary, "exploration/summary.json")
        for path in findings.files:
            mlflow.log_artifact(str(path), "exploration")
    return run.info.run_id, experiment_id
