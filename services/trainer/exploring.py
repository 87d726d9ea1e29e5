"""Phase 1 of the workshop, look at the data first: report, pictures, and a run in MLflow that keeps them."""

import mlflow

from trainer import datasets, exploration, summary, tracking, tracking_server
from trainer.errors import TrackingError
from trainer.exploration import Findings
from trainer.plan import Plan
from trainer.settings import Settings
from trainer.table import Table, Task, read
from trainer.terminal import Console


def explore(settings: Settings, plan: Plan, console: Console) -> None:
    """Report on a data set, draw it into data/exploration/, and log both where MLflow answers."""
    if plan.data is None:
        console.print(datasets.write(settings.data_dir, plan.dataset or datasets.DEFAULT), soft_wrap=True)
    path = plan.path(settings.data_dir)
    table = read(path, plan.target, Task(plan.task) if plan.task else None, plan.drop, plan.keep)
    folder = settings.data_dir / "exploration"
    findings = exploration.explore(table, folder if table.name == datasets.DEFAULT else folder / table.name, console)
    try:
        if tracking_server.is_server(settings.tracking_uri):
            tracking_server.check_reachable(settings.tracking_uri)
        run_id, experiment_id = _log(settings.tracking_uri, table, findings)
    except TrackingError as error:  # the data can be looked at without a stack
        summary.notes(console, [f"not logged to MLflow: {error}"])
        return
    if settings.public_url:
        console.print(f"Run: {settings.public_url}/#/experiments/{experiment_id}/runs/{run_id}", soft_wrap=True)


def _log(tracking_uri: str, table: Table, findings: Findings) -> tuple[str, str]:
    experiment_id = tracking.connect(tracking_uri, tracking.experiment_of(table.name))
    with tracking.mlflow_errors(), mlflow.start_run(run_name=f"explore {table.name}") as run:
        mlflow.set_tags({"data_sha256": table.sha256, "kind": "exploration"})
        tracking.log_dataset(table)
        mlflow.log_dict(findings.summary, "exploration/summary.json")
        for path in findings.files:
            mlflow.log_artifact(str(path), "exploration")
    return run.info.run_id, experiment_id
