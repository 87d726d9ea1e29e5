"""What must hold of a version's files before they are signed, or put into Production by hand.

Each function raises Refused. None needs MLflow: a sandbox that checks a stranger's files has the less to import.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contract import documents
from contract.mlmodel import inputs, manifest
from contract.mlmodel.manifest import Description
from contract.schema import Column
from contract.trust.skops_file import load_skops
from contract.trust.trusted_types import SIGNED_TYPES
from contract.version_files import VersionFiles

from trainer.artifact import golden_samples


def check_servable(folder: Path, trusted: frozenset[str]) -> None:
    """Load the model without running code from its files, and let it answer its golden samples or its input example.

    `trusted` are types that it may contain beside SIGNED_TYPES: the setting MODEL_TRUSTED_TYPES.
    """
    files = VersionFiles.of(folder)
    description = manifest.read(files)
    golden_samples.check(estimator_of(files, description, SIGNED_TYPES | trusted), files, description)


def estimator_of(files: VersionFiles, description: Description, types: frozenset[str]) -> Any:
    """Return the estimator among a version's files, without running code from them.

    `types` are those that it may contain beside what skops knows as harmless.
    """
    content = files.read(manifest.estimator_file(files, description.flavor))
    estimator = load_skops(content, types)
    manifest.check_estimator(description, estimator)
    return estimator


def load(folder: Path, trusted: frozenset[str]) -> Any:
    """Return the estimator in a version's folder, without running code from it."""
    files = VersionFiles.of(folder)
    return estimator_of(files, manifest.read(files), SIGNED_TYPES | trusted)


def interface_of(folder: Path) -> Sequence[Column]:
    """Return the columns that a version takes, by its signature."""
    return inputs.columns_of(documents.read_mlmodel(folder))[0]
