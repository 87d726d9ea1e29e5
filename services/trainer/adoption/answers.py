"""A version that nothing here may load, asked all rows of a table at once in a sandbox; its answers stand in for its estimator."""

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from contract import limits
from contract.errors import Refused
from contract.file_names import FITTED_ROWS
from mlflow.entities.model_registry import ModelVersion

from trainer.adoption import answering, sandbox
from trainer.adoption.answering import ASKED, CLAIMED
from trainer.artifact import golden_samples, version_files

MOST = sandbox.Limits(output=256 * limits.MB)


def claimed(version: ModelVersion, folder: Path) -> bool:
    """Put beside the signed files of a version what it says of the rows that it was fitted on; tell whether it says anything.

    That is a training's file which `adopt` signs none of: it is read in a sandbox, and counts as the word of whoever proposed it.
    """
    with TemporaryDirectory() as parent:
        file = version_files.unsigned_file(version, FITTED_ROWS, Path(parent))
        if file is not None:
            shutil.copy(file, folder / CLAIMED)
    return file is not None


class Answered:
    """What a version has answered to the rows of a table: as much of an estimator as figures are made of."""

    def __init__(self, index: pd.Index, labels: list[Any], classes: list[Any]) -> None:
        self._labels = pd.Series(labels, index=index)
        if classes:
            self.classes_ = np.asarray(classes)

    def predict(self, features: pd.DataFrame) -> np.ndarray:
        """Return labels or values, of shape (rows,), for rows of the table."""
        found: np.ndarray = self._labels.loc[features.index].to_numpy()
        return found


class AnsweredWithProbabilities(Answered):
    """The same of a version that says how likely each class is."""

    def __init__(self, index: pd.Index, labels: list[Any], classes: list[Any], likely: list[list[float]]) -> None:
        super().__init__(index, labels, classes)
        self._likely = pd.DataFrame(likely, index=index)

    def predict_proba(self, features: pd.DataFrame) -> np.ndarray:
        """Return probabilities, of shape (rows, classes), for rows of the table."""
        found: np.ndarray = self._likely.loc[features.index].to_numpy()
        return found


def asked(
    folder: Path, features: pd.DataFrame, trusted: frozenset[str], hidden: Sequence[Path]
) -> tuple[Answered, np.ndarray | None]:
    """Return a version's answers to all rows of a table, and what it says are the hashes of the rows it was fitted on.

    `trusted` are types that it may contain beside SIGNED_TYPES, `hidden` paths that the sandbox has to find closed. Raises
    Refused for whatever it answers that no estimator of scikit-learn's would.
    """
    (folder / ASKED).write_text(json.dumps(golden_samples.as_json(features), allow_nan=False))
    function = f"{answering.__name__}:answers"
    found = sandbox.run(function, folder, sorted(trusted), hidden=hidden, most=MOST)
    try:
        return _answered(found, features.index), _hashes(found["fitted"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Refused(f"its answers to the rows that it is judged on cannot be used: {error!s:.200}") from error


def _answered(found: Any, index: pd.Index) -> Answered:
    labels = [_label(value) for value in _list(found["predictions"], len(index))]
    classes = [_label(value) for value in _list(found["classes"], None)]
    if found["probabilities"] is None:
        return Answered(index, labels, classes)
    likely = [
        [_share(value) for value in _list(row, len(classes))] for row in _list(found["probabilities"], len(index))
    ]
    return AnsweredWithProbabilities(index, labels, classes, likely)


def _list(value: Any, length: int | None) -> list[Any]:
    if not isinstance(value, list) or length not in (None, len(value)):
        raise ValueError(f"expected a list of {'any length' if length is None else length}")
    return value


def _label(value: Any) -> Any:
    if not isinstance(value, str | bool | int) and not (isinstance(value, float) and math.isfinite(value)):
        raise ValueError(f"{type(value).__name__} in the place of a label or a finite number")
    return value


def _share(value: Any) -> float:
    if not isinstance(value, float | int) or not 0 <= value <= 1:
        raise ValueError(f"{value!r:.50} in the place of a probability")
    return float(value)


def _hashes(found: Any) -> np.ndarray | None:
    return None if found is None else np.array([int(value) for value in found], dtype=np.uint64)
