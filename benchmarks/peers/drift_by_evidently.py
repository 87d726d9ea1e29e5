"""Which columns Evidently's default says have drifted, of rows in files: run by the Python of an environment that has it.

    python drift_by_evidently.py FILE.npz …

A file has `reference` and `current`, both of shape (looks, rows, columns). It prints a line of JSON for each file: a list of column numbers for each look.
"""

import json
import sys
from typing import Any

import numpy as np
import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset


def drifted(reference: np.ndarray, current: np.ndarray) -> list[int]:
    names = [str(j) for j in range(reference.shape[1])]
    then, now = (pd.DataFrame(rows, columns=names) for rows in (reference, current))
    found = Report([DataDriftPreset()]).run(now, then).dict()["metrics"]
    return [int(one["config"]["column"]) for one in found if "column" in one["config"] and is_drift(one)]


def is_drift(metric: dict[str, Any]) -> bool:
    """By its own method: of a test, p below its threshold; of a distance, one of at least that."""
    method, threshold = metric["config"]["method"], metric["config"]["threshold"]
    return bool(metric["value"] < threshold if "p_value" in method else metric["value"] >= threshold)


if __name__ == "__main__":
    for path in sys.argv[1:]:
        with np.load(path) as file:
            print(json.dumps([drifted(*pair) for pair in zip(file["reference"], file["current"], strict=True)]))
