"""Fit a peer on the rows of a Parquet file, and answer those of another one: `automl.py TOOL TRAIN TEST TARGET TASK SECONDS`.

TOOL is flaml, which gets that many seconds, or skrub, whose default pipeline takes what it takes. Prints JSON: the answers to
the test rows (of two classes the probability of the last one, by its order), and the seconds.
"""

import json
import sys
import time
import warnings
from typing import Any

import pandas as pd


def main(tool: str, train: str, test: str, target: str, task: str, seconds: str) -> None:
    """Fit, answer, print."""
    warnings.simplefilter("ignore")
    rows, asked = pd.read_parquet(train), pd.read_parquet(test).drop(columns=target)
    features, labels = rows.drop(columns=target), rows[target]
    if tool == "flaml":  # it knows categories by their type, and not pandas 3's text
        for name in features.select_dtypes(["object", "string"]):
            features[name] = features[name].astype("category")
            asked[name] = asked[name].astype(features[name].dtype)
    began = time.perf_counter()
    model = {"flaml": _flaml, "skrub": _skrub}[tool](features, labels, task, float(seconds))
    took = time.perf_counter() - began
    found = model.predict_proba(asked)[:, -1] if task == "binary" else model.predict(asked)
    print(json.dumps({"seconds": took, "answers": pd.Series(found).tolist()}))


def _flaml(features: pd.DataFrame, labels: pd.Series, task: str, seconds: float) -> Any:
    from flaml import AutoML

    model = AutoML()
    kind = "regression" if task == "regression" else "classification"
    model.fit(features, labels, task=kind, time_budget=seconds, seed=42, verbose=0, n_jobs=2)
    return model


def _skrub(features: pd.DataFrame, labels: pd.Series, task: str, seconds: float) -> Any:
    from skrub import tabular_pipeline

    return tabular_pipeline("regressor" if task == "regression" else "classifier").fit(features, labels)


if __name__ == "__main__":
    main(*sys.argv[1:])
