"""A version's answers to all rows of a table that it is judged on. Runs in a sandbox."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from contract import documents
from contract.errors import Refused
from contract.file_names import FITTED_ROWS
from contract.mlmodel import manifest
from contract.schema import Column, Kind
from contract.trust.trusted_types import SIGNED_TYPES
from contract.version_files import VersionFiles

from trainer.artifact import golden_samples, version_checks

# Beside a version's own files, in its folder: what it is asked, and the rows that it says it was fitted on.
ASKED, CLAIMED = "asked.json", f"claimed-{FITTED_ROWS}"


def answers(folder: Path, trusted: Sequence[str] = ()) -> dict[str, Any]:
    """Return what the version in a folder answers to the rows that are asked there; raise Refused where it cannot."""
    files = VersionFiles.of(folder, without=(ASKED, CLAIMED))
    description = manifest.read(files)
    rows = documents.parsed_json((folder / ASKED).read_bytes(), ASKED)
    with joblib.parallel_config("threading"):  # a sandbox starts no processes
        estimator = version_checks.estimator_of(files, description, SIGNED_TYPES.union(trusted))
        try:
            features = golden_samples.from_json(_whole(rows, description.columns), description.columns)
            given = features if description.is_named else features.to_numpy()
            labels = np.asarray(estimator.predict(given)).ravel().tolist()
            likely = estimator.predict_proba(given).tolist() if hasattr(estimator, "predict_proba") else None
        except Exception as error:  # an estimator may fail in any way
            raise Refused(
                f"it does not predict the rows that it is judged on: {type(error).__name__}: {error!s:.500}"
            ) from error
    classes = np.asarray(getattr(estimator, "classes_", [])).tolist()
    return {"predictions": labels, "probabilities": likely, "classes": classes, "fitted": _fitted(folder)}


def _whole(rows: list[list[Any]], columns: Sequence[Column]) -> list[list[Any]]:
    """Return rows of a table, in which all numbers are of one kind, with whole ones where a version has whole numbers."""
    whole = [column.kind is Kind.INTEGER for column in columns]
    return [
        [int(value) if is_whole and isinstance(value, float) and value.is_integer() else value
         for value, is_whole in zip(row, whole, strict=True)]
        for row in rows
    ]  # fmt: skip


def _fitted(folder: Path) -> list[int] | None:
    path = folder / CLAIMED
    return np.load(path, allow_pickle=False).tolist() if path.is_file() else None
