"""The model registry: versions, the Production alias, and the workshop's stage words as a tag.

The alias alone decides what is served. The tag `stage` only shows it (None, Staging, Production, Archived), and is
put right whenever the trainer has looked, also after somebody moved the alias by hand.
"""

import re
import sys
from contextlib import suppress
from itertools import islice
from typing import Any

import mlflow
from contract.display import visible
from contract.tracking.rest import ABSENT
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from trainer.errors import AnswerTooLong, VersionError
from trainer.tracking.answers import VERSIONS, every, mlflow_errors
from trainer.tracking.rest import MODELS, PRODUCTION

STAGE = "stage"
# What MLflow's database takes, and as much of it as is ours.
MOST_CHARACTERS, MOST_DESCRIPTION = 5000, 4000
LEAST_DESCRIPTION = 100
# How the paragraphs of ours begin that a version's description has on top.
REVIEW = r"Review of \d{4}-\d\d-\d\d \d\d:\d\d UTC, asked for by "
BY_HAND = "Put into Production by hand: the alias was moved."
DECISION = rf"((Not p|P)romoted|Promoted by hand|Rolled back to|Gone back to at a start): |(Promoted; i|I)ts training was stopped |{BY_HAND}"
# As many as a list of models has; each costs three questions.
MOST_MODELS = 1000
# The figures that a list of models has room for.
SHOWN = ("test_accuracy", "test_f1_macro", "test_r2", "test_rmse")


def register(model_id: str, name: str, tags: dict[str, str]) -> ModelVersion:
    """Add a version; the model's files are all there already, so no version is ever without them."""
    with mlflow_errors():
        return mlflow.register_model(f"models:/{model_id}", name, tags=tags)


def recorded(version: ModelVersion) -> tuple[dict[str, float], dict[str, str]]:
    """Return the metrics and tags of the run that a version came from, none where there is no such run any more.

    Anybody can write metrics; one that is NaN or infinite says nothing, and is none. MLflow's database has the largest
    float in the place of an infinite one. A run with so many that they are not read has none.
    """
    run = _run(version)
    return ({}, {}) if run is None else _recorded(run)


def _recorded(run: Run) -> tuple[dict[str, float], dict[str, str]]:
    return {name: value for name, value in run.data.metrics.items() if abs(value) < sys.float_info.max}, run.data.tags


def _run(version: ModelVersion) -> Run | None:
    """Return the run that a version came from, None where there is none any more, or one with more in it than is read."""
    with suppress(AnswerTooLong), mlflow_errors():
        try:
            return MlflowClient().get_run(version.run_id) if version.run_id else None
        except MlflowException as error:
            if error.error_code in ABSENT:
                return None
            raise
    return None


def in_production(name: str) -> ModelVersion | None:
    """Return the version in Production, None where none is."""
    with mlflow_errors():
        return _production(name)


def production(name: str) -> str | None:
    """Return the number of the version in Production, None where none is."""
    version = in_production(name)
    return None if version is None else str(version.version)


def newest(name: str) -> ModelVersion | None:
    """Return the version that was registered last and has its files, None where there is none."""
    with mlflow_errors():
        found = MlflowClient().search_model_versions(
            f"name = '{name}'", max_results=1, order_by=["version_number DESC"]
        )
    return found[0] if found else None


def models() -> tuple[list[dict[str, Any]], bool]:
    """Return the registered models, the first MOST_MODELS by name, and whether these are all.

    Each has its number of versions, the one in Production, its figures, and its data's name and digest. The number is None where MLflow has no
    way to ask for it.
    """
    with mlflow_errors():
        client = MlflowClient()
        names = [model.name for model in islice(every(client.search_registered_models, MODELS), MOST_MODELS + 1)]
        return [_shown(client, name) for name in names[:MOST_MODELS]], len(names) <= MOST_MODELS


def _shown(client: MlflowClient, name: str) -> dict[str, Any]:
    version = _production(name)
    run = None if version is None else _run(version)
    metrics, tags = ({}, {}) if run is None else _recorded(run)
    return {
        "name": name,
        "versions": _count(client, name),
        "production": None if version is None else str(version.version),
        "figures": {figure: metrics[figure] for figure in SHOWN if figure in metrics},
        "data": None if run is None else _data_set(run),
        "data_sha256": tags.get("data_sha256"),
    }


def _data_set(run: Run) -> str | None:
    """Return the name of the data set that a run was given, None where it was given none or several."""
    names = {given.dataset.name for given in run.inputs.dataset_inputs}
    return names.pop() if len(names) == 1 else None


def _count(client: MlflowClient, name: str) -> int | None:
    """Return how many versions a model has; None for a name with both kinds of quotation marks, which no filter takes."""
    if "'" in name and '"' in name:
        return None
    mark = '"' if "'" in name else "'"
    return sum(1 for _ in every(client.search_model_versions, VERSIONS, filter_string=f"name = {mark}{name}{mark}"))


def model_version(name: str, version: str) -> ModelVersion:
    """Return a version; raise VersionError where there is none."""
    with mlflow_errors():
        try:
            return MlflowClient().get_model_version(name, version)
        except MlflowException as error:
            if error.error_code in ABSENT:
                raise VersionError(f"there is no version {version!r} of {name}: {error.message}") from error
            raise


def versions_of(source: str) -> list[ModelVersion]:
    """Return all versions, of whatever registered model, that point at one logged model: models:/MODEL_ID."""
    with mlflow_errors():
        return list(every(MlflowClient().search_model_versions, VERSIONS, filter_string=f"source_path = '{source}'"))


def move_to_production(name: str, version: str) -> None:
    """Point the alias at a version: from here on it is the one that is served."""
    with mlflow_errors():
        MlflowClient().set_registered_model_alias(name, PRODUCTION, version)


def describe(name: str, version: str, stage: str | None, reason: str) -> None:
    """Show a decision on the version: its stage, None where that is not for this trainer to write, and, in words, why.

    The words come on top of its description, in the place of an earlier decision; what people have written there stays.
    """
    with mlflow_errors():
        client = MlflowClient()
        if stage is not None:
            client.set_model_version_tag(name, version, STAGE, stage)
        before = client.get_model_version(name, version).description
        client.update_model_version(name, version, on_top(reason, before, rf"{REVIEW}|{DECISION}"))


def on_top(words: str, description: str | None, ours: str) -> str:
    """Return a description with `words` on top, in the place of paragraphs there that begin as the pattern `ours` says.

    All else in it stays, whole: where it leaves no room, the description is as it was.
    """
    theirs = description or ""
    while re.match(ours, theirs):
        theirs = theirs.partition("\n\n")[2]
    room = MOST_CHARACTERS - len(f"\n\n{theirs}")
    if room < LEAST_DESCRIPTION:
        return description or ""
    cut = visible(words, keep="\n", most=min(room, MOST_DESCRIPTION))[:room]
    return f"{cut}\n\n{theirs}".strip()


def describe_interrupted(version: ModelVersion) -> str:
    """Describe a version whose training was stopped before it could describe it; return how far it came, in words."""
    current = _production(version.name)
    if current is not None and current.version == version.version:
        describe(version.name, version.version, PRODUCTION, "Promoted; its training was stopped before it said why.")
        return "had been promoted to Production already; it stays there"
    describe(version.name, version.version, "None", "Its training was stopped before the decision.")
    return "was never decided on; it stays out of Production"


def show_stages(name: str) -> None:
    """Make the stage tags say what the alias says: the version behind it is in Production, no other is.

    Where somebody has written more into a version than is read, they stay as they are: they are only for display.
    """
    with suppress(AnswerTooLong), mlflow_errors():
        client, current = MlflowClient(), _production(name)
        for version in every(client.search_model_versions, VERSIONS, filter_string=f"name = '{name}'"):
            is_current = current is not None and version.version == current.version
            says_current = version.tags.get(STAGE) == PRODUCTION
            if is_current and not says_current:
                client.set_model_version_tag(name, version.version, STAGE, PRODUCTION)
                shown = on_top(BY_HAND, version.description, rf"{REVIEW}|{DECISION}")
                client.update_model_version(name, version.version, shown)
            if says_current and not is_current:
                client.set_model_version_tag(name, version.version, STAGE, "Archived")


def _production(name: str) -> ModelVersion | None:
    try:
        return MlflowClient().get_model_version_by_alias(name, PRODUCTION)
    except MlflowException as error:
        if error.error_code in ABSENT:
            return None
        raise
