"""Our own processes on SQLite with the real MLflow, and scripts with stand-ins for what reaches the outside. What is expensive runs once and is looked at by many tests."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

# Read when MLflow is imported, which the tests do as well.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

from tests.integration.places import Place, write_permuted_iris


@dataclass(frozen=True)
class Training:
    """A training that ended, and what the registry said afterwards."""

    place: Place
    result: CompletedProcess[str]
    registry: dict[str, Any]
    left: list[Path]
    """what it left in the folder that it was started in"""


@pytest.fixture(scope="session")
def train() -> Callable[..., Training]:
    """Return a function that trains in a place, as `python -m trainer train` does, and must succeed."""
    return lambda place, **settings: _trained(place, place.command("train", **settings))


def _trained(place: Place, result: "CompletedProcess[str]") -> Training:
    assert result.returncode == 0, result.stderr
    return Training(place, result, place.registry(), list(place.work.iterdir()))


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """The first training into an empty registry, in a process that was started in full."""
    place = Place(tmp_path_factory.mktemp("embedded"))
    return _trained(place, place.trainer("train"))


@pytest.fixture(scope="session")
def second(first: Training, train: Callable[..., Training]) -> Training:
    """The same training again: two versions that are equal, the first one in Production."""
    return train(first.place)


@pytest.fixture(scope="session")
def third(second: Training, train: Callable[..., Training], tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A registry with three versions: 1 in Production, 2 that answers the same, and 3 that never does. It is to be copied."""
    place = second.place.copy(tmp_path_factory.mktemp("third") / "place")
    write_permuted_iris(place.folder / "permuted")
    train(place, DATA_DIR=str(place.folder / "permuted"))
    return place
