"""What of the guided tour is to be seen in MLflow and at the prediction service; nothing is written."""

import json
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import mlflow
import requests
from contract.tracking.alias_history import Move
from mlflow import MlflowClient
from mlflow.entities import Run
from urllib3.exceptions import HTTPError

from trainer.data import builtin_datasets
from trainer.settings import Settings
from trainer.tracking import alias_moves, registry, run_lifecycle
from trainer.tracking.answers import RUNS, VERSIONS, every, mlflow_errors

# A tour has a dozen; in an experiment with thousands the newest tell as much.
MOST_RUNS, MOST_VERSIONS = 200, 1000
SECONDS, MOST_BYTES = 5.0, 4 * 2**20
# Figures that two trainings of the same have in common; how long they took they have not.
JUDGED = ("test_", "train_")


@dataclass(frozen=True)
class Training:
    """A version, what decided it, and what it came to."""

    version: str
    stage: str
    settings: frozenset[tuple[str, str]]
    """parameters and the digests of data and code"""
    figures: dict[str, float]


@dataclass(frozen=True)
class Service:
    """What the prediction service says of itself."""

    served: str | None = None
    """the version, None where it serves none"""
    rows: int = 0
    """how many it has predicted since it started"""
    fault: str | None = None
    """why it says nothing, None where it answers"""


@dataclass(frozen=True)
class Seen:
    """All of it, at one moment."""

    explorations: int = 0
    trainings: tuple[Training, ...] = ()
    """of versions whose runs are there, the oldest first"""
    versions: tuple[str, ...] = ()
    """numbers, the oldest first"""
    production: str | None = None
    moves: tuple[Move, ...] = ()
    service: Service = Service()


def look(settings: Settings) -> Seen:
    """Return what is to be seen; raise TrackingError where MLflow does not tell."""
    file = settings.tracking_uri.removeprefix("sqlite:///")
    if file != settings.tracking_uri and not Path(file).exists():
        return Seen(service=_service(settings.inference_url))  # MLflow would make the file
    mlflow.set_tracking_uri(settings.tracking_uri)
    with mlflow_errors():
        runs = list(_runs())
        versions = _versions(settings.model_name)
    by_id = {run.info.run_id: run for run in runs}
    return Seen(
        sum(run.data.tags.get("kind") == "exploration" for run in runs),
        tuple(_training(found, by_id[found.run_id]) for found in versions if found.run_id in by_id),
        tuple(str(found.version) for found in versions),
        registry.production(settings.model_name),
        tuple(_moves(settings.model_name) if versions else ()),
        _service(settings.inference_url),
    )


def _runs() -> list[Run]:
    client = MlflowClient()
    experiment = client.get_experiment_by_name(run_lifecycle.experiment_of(builtin_datasets.DEFAULT))
    if experiment is None:
        return []
    found = every(client.search_runs, RUNS, experiment_ids=[experiment.experiment_id])  # the newest first
    return list(islice(found, MOST_RUNS))


def _versions(name: str) -> list[Any]:
    found = every(MlflowClient().search_model_versions, VERSIONS, filter_string=f"name = '{name}'")
    return sorted(islice(found, MOST_VERSIONS), key=lambda version: int(version.version))


def _moves(name: str) -> list[Move]:
    return alias_moves.history(alias_moves.read(name))


def _training(version: Any, run: Run) -> Training:
    digests = {key: run.data.tags.get(key, "") for key in ("data_sha256", "code_sha256")}
    figures = {name: value for name, value in run.data.metrics.items() if name.startswith(JUDGED)}
    stage = version.tags.get(registry.STAGE, "None")
    return Training(str(version.version), stage, frozenset((run.data.params | digests).items()), figures)


def _service(url: str) -> Service:
    """Ask the service which version it serves, and how much it was asked; what is no answer is told, and nothing raised."""
    try:
        model = json.loads(asked(f"{url}/version"))["model"]
        text = asked(f"{url}/metrics").decode()
        served = None if model is None else str(model["version"])
    except requests.HTTPError as error:
        return Service(fault=str(error.response.status_code))
    except (requests.RequestException, HTTPError):
        return Service(fault=url)
    except (ValueError, KeyError, TypeError):
        return Service(fault=f"{url}/version")
    return Service(served, sum(int(float(n)) for n in re.findall(r"^inference_rows_total\{.*\} (\S+)$", text, re.M)))


def asked(url: str) -> bytes:
    """Return the beginning of an answer. The login that MLflow's clients have is none of this service's business."""
    with requests.get(url, timeout=SECONDS, stream=True) as answer:
        answer.raise_for_status()
        content: bytes = answer.raw.read(MOST_BYTES, decode_content=True)
        return content
