"""A hash of each row that a version was fitted on, so that "unseen" can be checked."""

from pathlib import Path

import numpy as np
import pandas as pd
from contract.file_names import FITTED_ROWS

from trainer.data.table import Split

# Hashed along with each list of rows: where another pandas hashes otherwise, the list is known to be of no use.
PROBE = pd.DataFrame({"number": [0.5, np.nan], "text": ["a", "é"]})


def row_hashes(features: pd.DataFrame, target: pd.Series) -> np.ndarray:
    """Return a hash of each row, target included: shape (rows,), uint64."""
    frame = features.assign(**{str(target.name): target})
    hashes: np.ndarray = pd.util.hash_pandas_object(frame, index=False).to_numpy()
    return hashes


def write(rows: Split, folder: Path) -> None:
    """Write the hashes of the rows that were fitted on; the first two are those of PROBE."""
    hashes = np.unique(row_hashes(rows.train_features, rows.train_target))
    np.save(folder / FITTED_ROWS, np.concatenate([_probe(), hashes]))


def is_own(folder: Path) -> bool:
    """Tell whether a training has made the files of a signed version, and not `adopt`, which signs none of this name.

    What a training has made is the trainer's own, and may be loaded beside the key. What was adopted may not: that is
    asked in a sandbox alone (trainer.adoption).
    """
    return (folder / FITTED_ROWS).is_file()


def unseen(folder: Path, features: pd.DataFrame, target: pd.Series) -> np.ndarray | None:
    """Tell for each row whether a version was not fitted on it: shape (rows,), bool; None where that is not known."""
    if not is_own(folder):
        return None
    return outside(np.load(folder / FITTED_ROWS, allow_pickle=False), features, target)


def outside(hashes: np.ndarray, features: pd.DataFrame, target: pd.Series) -> np.ndarray | None:
    """Tell for each row whether it is none of those whose hashes these are: shape (rows,), bool; None where that is not known."""
    if not np.array_equal(hashes[:2], _probe()):
        return None
    return ~np.isin(row_hashes(features, target), hashes[2:])


def _probe() -> np.ndarray:
    hashes: np.ndarray = pd.util.hash_pandas_object(PROBE, index=False).to_numpy()
    return hashes
