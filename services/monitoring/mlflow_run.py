"""A report in MLflow: a run of the experiment "MODEL monitoring", whose input is the version's logged model."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from contract.display import without_login
from contract.process.imports import import_once
from contract.tracking.artifacts import Proxy
from contract.tracking.rest import Absent, Server, Unanswered, as_mlflow_has_it, is_server
from inference.model.version import ModelVersion
from monitoring.errors import NoAnswer

TIMEOUT_SECONDS, MOST_ANSWER_BYTES = 20, 1024**2


@dataclass(frozen=True)
class Report:
    """What a run has."""

    version: ModelVersion
    name: str
    files: Mapping[str, bytes]
    metrics: Mapping[str, float]
    drifted: bool

    @property
    def experiment(self) -> str:
        return f"{self.version.name} monitoring"

    @property
    def tags(self) -> dict[str, str]:
        return {
            "model_name": self.version.name,
            "model_version": self.version.version,
            "drift": str(self.drifted).lower(),
            "mlflow.source.name": "monitor report",
        }


def log(tracking_uri: str, report: Report) -> str:
    """Put a report into MLflow; return the run's id. Raises NoAnswer where MLflow takes it not, or not whole."""
    if not is_server(tracking_uri):
        return _by_client(tracking_uri, report)
    try:
        return _by_rest(tracking_uri, report)
    except (Absent, Unanswered) as error:
        raise NoAnswer(
            f"MLflow at {tracking_uri} does not take it: {getattr(error, 'status', None) or ''} {error}"
        ) from error


def _by_rest(tracking_uri: str, report: Report) -> str:
    server = Server(tracking_uri, TIMEOUT_SECONDS, MOST_ANSWER_BYTES)
    with as_mlflow_has_it():
        run = server.post(
            "runs/create",
            experiment_id=_experiment(server, report.experiment),
            run_name=report.name,
            start_time=_now(),
            tags=_pairs(report.tags),
        )["run"]["info"]
        run_id, status = str(run["run_id"]), "FAILED"
        try:
            _fill(server, run_id, Proxy.at(str(run["artifact_uri"]), tracking_uri), report)
            status = "FINISHED"
        finally:
            server.post("runs/update", run_id=run_id, status=status, end_time=_now())
    return run_id


def _fill(server: Server, run_id: str, place: Proxy | None, report: Report) -> None:
    if place is None:
        raise Unanswered(
            f"the experiment {report.experiment!r} keeps its files elsewhere than behind MLflow's artifact proxy"
        )
    if report.version.model_id:
        server.post("runs/log-inputs", run_id=run_id, models=[{"model_id": report.version.model_id}])
    metrics = [{"key": key, "value": value, "timestamp": _now(), "step": 0} for key, value in report.metrics.items()]
    server.post("runs/log-batch", run_id=run_id, metrics=metrics)
    for name, content in report.files.items():
        server.put(f"{place.api}/{quote(f'{place.root}/{name}')}", content)


def _experiment(server: Server, name: str) -> str:
    try:
        return str(server.get("experiments/get-by-name", experiment_name=name)["experiment"]["experiment_id"])
    except Absent:
        return str(server.post("experiments/create", name=name)["experiment_id"])


def _pairs(found: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in found.items()]


def _now() -> int:
    return int(time.time() * 1000)


def _by_client(tracking_uri: str, report: Report) -> str:
    """Put a report into a registry that is a file: by MLflow itself, which whoever trains there has."""
    try:
        import_once("mlflow")
        from mlflow import MlflowClient
        from mlflow.entities import LoggedModelInput
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise NoAnswer(
            f"there is no server at {without_login(tracking_uri)}, and MLflow is not here to write into a file"
        ) from error
    client: Any = MlflowClient(tracking_uri)
    try:
        experiment = client.get_experiment_by_name(report.experiment)
        beside = (Path(tracking_uri.removeprefix("sqlite:///")).parent / "artifacts").resolve().as_uri()
        number = experiment.experiment_id if experiment else client.create_experiment(report.experiment, beside)
        run_id = str(client.create_run(number, run_name=report.name, tags=report.tags).info.run_id)
        if report.version.model_id:
            client.log_inputs(run_id, models=[LoggedModelInput(report.version.model_id)])
        for key, value in report.metrics.items():
            client.log_metric(run_id, key, value)
        for name, content in report.files.items():
            client.log_text(run_id, content.decode(), name)
        client.set_terminated(run_id)
    except MlflowException as error:
        raise NoAnswer(f"MLflow does not take it: {error}") from error
    return run_id
