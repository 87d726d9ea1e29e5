"""Hypothesis makes tables: each becomes a version whose golden samples the service reproduces, or is refused in words."""

import json
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow.models
import numpy as np
import pandas as pd
import pytest
from contract.version_files import VersionFiles
from hypothesis import HealthCheck, event, example, given
from hypothesis import strategies as some
from inference.model import model
from inference.trust import Trust, Trusted
from trainer.artifact import logged_model
from trainer.data.table import Task, read, split
from trainer.errors import TrainerError
from trainer.fit import algorithms
from trainer.fit.model_selection import fit

from tests.fuzzing import fuzz
from tests.unit.serving import client_of, served_as

pytestmark = pytest.mark.unhurried

NAMES = some.text(
    some.characters(codec="utf-8", exclude_characters=',"\r\n;\t', exclude_categories=("Cc", "Cs")),
    min_size=1,
    max_size=8,
)
NUMBERS = some.floats(-1e6, 1e6, width=32)
CELLS = {
    "numbers": NUMBERS,
    "whole numbers": some.integers(-5, 5),
    "gaps": some.one_of(NUMBERS, some.none()),
    "booleans": some.booleans(),
    "booleans with gaps": some.one_of(some.booleans(), some.none()),
    "text": some.sampled_from(["red", "green", "blue sky", "déjà"]),
    "text with gaps": some.sampled_from(["red", "green", None]),
    "words such as NA": some.sampled_from(["NA", "None", "nan", "red", None]),
    "dates": some.dates().map(str),
    "dates with gaps": some.one_of(some.datetimes().map(str), some.none()),
    "numbers with placeholders": some.one_of(NUMBERS.map(str), some.sampled_from(["?", "unknown", " "])),
    "codes": some.sampled_from(["01", "7", "12a", "31"]),
    "spellings": some.sampled_from(["red", "Red ", "RED", "dark  blue", "Dark blue", None]),
    "one value": some.just(7.0),
    "nothing": some.none(),
}
TARGETS = {
    "text": some.sampled_from(["yes", "no"]),
    "numbers of classes": some.sampled_from([1, 2, 5]),
    "booleans": some.booleans(),
    "quantities": some.floats(-100, 100, width=32),
}


@some.composite
def tables(draw: Any) -> pd.DataFrame:
    rows = draw(some.integers(12, 40))
    kinds = draw(some.lists(some.sampled_from(sorted(CELLS)), min_size=1, max_size=4))
    names = draw(some.lists(NAMES, min_size=len(kinds), max_size=len(kinds), unique=True))
    columns = {
        name: draw(some.lists(CELLS[kind], min_size=rows, max_size=rows))
        for name, kind in zip(names, kinds, strict=True)
    }
    target = draw(some.lists(TARGETS[draw(some.sampled_from(sorted(TARGETS)))], min_size=rows, max_size=rows))
    return pd.DataFrame(columns).assign(**{"the target": target})


def seen_before() -> pd.DataFrame:
    """Return a table whose ONNX engine computes in float32, and predicts a value near zero as the difference of large ones."""
    is_new = "N0N11NNNNNNN0110N1N1NNNN10N0N0"
    visits = [1, 0, 0, 0, 0, 1, -3, 1, 0, 0, 1, 3, 1, -3, 3, 0, 1, 0, 1, 0, 2, 0, 1, 0, -2, 1, 1, 0, 0, 1]
    target = {
        1: 98,
        2: -75.6,
        10: 5.1,
        11: 98,
        12: 5.25,
        13: -79.12,
        16: 10,
        19: 5.25,
        21: 75.89,
        24: -33.09,
        26: -58.1,
    }
    return pd.DataFrame(
        {
            "is new": [{"N": None, "0": False, "1": True}[word] for word in is_new],
            "visits": visits,
            "the target": [float(target.get(row, 0)) for row in range(len(visits))],
        }
    )


@fuzz(20, suppress_health_check=list(HealthCheck))
@example(frame=seen_before(), name="linear_regression", is_parquet=False)
@given(frame=tables(), name=some.sampled_from(sorted(algorithms.NAMED)), is_parquet=some.booleans())
def test_a_table_becomes_a_version_that_the_service_answers_as_the_trainer_does_or_is_refused(
    frame: Any, name: Any, is_parquet: Any
) -> None:
    with TemporaryDirectory() as parent, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(parent, "table.parquet" if is_parquet else "table.csv")
        try:
            frame.to_parquet(path) if is_parquet else frame.to_csv(path, index=False)
            table = read(path, "the target")
            rows = split(table)
            algorithm = algorithms.named(
                name if table.task in algorithms.NAMED[name] else algorithms.DEFAULTS[table.task], table.task, {}
            )
            estimator = algorithms.with_preparation(algorithm, table, rows.train_features)
            fit(name, estimator, table, rows)
        except TrainerError as refused:
            event(f"refused: {type(refused).__name__}")
            return
        event(f"trained: {table.task}")
        folder = Path(parent, "model")
        logged_model._save(estimator, table, folder, mlflow.models.Model())
        logged_model._write_metadata(estimator, table, rows, folder)
        # Whether the signature holds is found out before: here it is taken for granted, so that the ONNX engine is used too.
        loaded = model.load(VersionFiles.of(folder), Trusted(Trust.SIGNED))
        golden = json.loads((folder / "golden_samples.json").read_text())
        answer = client_of(served_as(loaded)).post("/invocations", json={"instances": golden["instances"]})
        assert answer.status_code == 200, answer.text
        expected = golden["predictions"]
        if table.task is Task.REGRESSION:
            assert np.allclose(answer.json["predictions"], expected, rtol=1e-4, atol=1e-4)
        else:
            assert answer.json["predictions"] == expected
