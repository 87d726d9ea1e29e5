"""What a version would have answered to rows of the prediction log: nobody waits for it, and nobody is answered by it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from contract import manifest
from contract.schema import Column, Kind
from contract.trust import SIGNED_TYPES
from contract.version_files import VersionFiles

from trainer.artifact import fitted_rows, golden_samples, version_checks
from trainer.errors import DataError
from trainer.promotion.live_comparison import Row

# What the prediction log calls a column of the model's.
PREFIX = "input_"


def answered(folder: Path, version: str, trusted: frozenset[str], rows: Sequence[Row]) -> list[Row]:
    """Return rows of the log as a version would have answered them; its files are verified. None where the log has not all its columns.

    None of one that was adopted, either: it is not loaded beside the key. Raises DataError for a row that the log cannot have.
    """
    if not fitted_rows.is_own(folder):
        return []
    files = VersionFiles.of(folder)
    description = manifest.read(files)
    names = [f"{PREFIX}{column.name}" for column in description.columns]
    if not rows or not set(names) <= set(rows[0]):
        return []
    try:
        cells = [
            [_value(row[name], column) for name, column in zip(names, description.columns, strict=True)] for row in rows
        ]
        frame = golden_samples.from_json(cells, description.columns)
    except (ValueError, TypeError) as error:
        raise DataError(f"a row of the log cannot be asked about: {error}") from error
    estimator = version_checks.estimator_of(files, description, SIGNED_TYPES | trusted)
    found = np.asarray(estimator.predict(frame if description.is_named else frame.to_numpy())).tolist()
    return [{**row, "version": version, "prediction": _text(one)} for row, one in zip(rows, found, strict=True)]


def _value(text: str, column: Column) -> Any:
    """Return what CSV has as the JSON value of a request; empty is missing, or an empty text where a model takes no missing one."""
    if text == "" and (column.missing or column.kind is not Kind.TEXT):
        return None
    if column.kind is Kind.NUMBER:
        return float(text)
    if column.kind is Kind.INTEGER:
        return int(text) if text.lstrip("-").isdigit() else int(float(text))
    if column.kind is Kind.BOOLEAN:
        return text.lower() == "true"
    return text.replace(" ", "T", 1) if column.kind is Kind.DATE else text


def _text(value: Any) -> str:
    """Return a prediction as CSV of the log has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
