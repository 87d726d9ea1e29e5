"""The ONNX engine of a stranger's model: exported and proven as the trainer's own are. Runs in a sandbox.

Rows that it was trained on are not known. So it is proven on its input example and on rows that are made of it: in its range,
beyond it, and up to twice as large as its largest numbers and beyond that, with all that stands out.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from typing import Any

import pandas as pd
from contract.mlmodel.manifest import Description
from contract.proof import rows as proof
from contract.schema import Kind
from sklearn.base import is_regressor

from trainer.adoption.onnx_graph import MOST_ONNX_BYTES
from trainer.artifact import golden_samples, onnx_export
from trainer.artifact.onnx_export import OnnxExport
from trainer.data import table

# Of one kind of rows: with very many columns they take long to make, so there are fewer of them.
MOST_ROWS, MOST_VALUES = 1_000, 200_000
MOST_MIDDLES = 100
WIDER = 2.0
# What the trainer's own columns are called; whole numbers are numbers to ONNX.
KINDS = {
    Kind.NUMBER: table.Kind.NUMBER,
    Kind.INTEGER: table.Kind.NUMBER,
    Kind.BOOLEAN: table.Kind.BOOLEAN,
    Kind.TEXT: table.Kind.TEXT,
}


def exported(estimator: Any, description: Description, example: Sequence[proof.Row]) -> OnnxExport:
    """Return the ONNX engine of a model, proven on rows made of its input example; it has none where there is no proof."""
    if description.takes_dates:
        return none("ONNX has no dates")
    subject = onnx_export.Subject(
        estimator,
        [table.Column(column.name, KINDS[column.kind], column.missing) for column in description.columns],
        table.Task.REGRESSION if is_regressor(estimator) else table.Task.CLASSIFICATION,
        description.is_named,
        any(column.datatype == "FP32" for column in description.columns),
    )
    found = onnx_export.proven(subject, partial(_rows, description, example))
    if found.content is not None and len(found.content) > MOST_ONNX_BYTES:
        return none(f"it would have {len(found.content)} bytes; expected at most {MOST_ONNX_BYTES}")
    return found


def none(reason: str) -> OnnxExport:
    """Return that there is no ONNX engine, and why."""
    return OnnxExport(None, {"kept": False, "reason": reason})


def _rows(description: Description, example: Sequence[proof.Row], limit: float) -> pd.DataFrame:
    """Return the rows of the proof as the prediction service gives them to an estimator, with numbers up to `limit` in size."""
    columns, most = description.columns, max(1, MOST_VALUES // len(description.columns))
    seen = [[value for value in cells if value is not None] for cells in zip(*example[:most], strict=True)]
    known = [proof.Known(column, values, limit) for column, values in zip(columns, seen, strict=True)]
    count = min(MOST_ROWS, most)
    kinds = proof.kinds(known, example[: MOST_MIDDLES + 1], count)
    wider = proof.kinds([_wider(each) for each in known], example[: MOST_MIDDLES + 1], count)
    made = chain(example[:most], *(islice(kind, most) for kind in chain(kinds, wider)))
    return golden_samples.from_json([_within(row, known) for row in made], columns)


def _wider(known: proof.Known) -> proof.Known:
    """Return a column of numbers as one that was seen with larger ones, of both signs: an example shows few of them."""
    if not known.is_number:
        return known
    reach = WIDER * max((abs(float(value)) for value in known.seen), default=0.0) or 1.0
    return replace(known, seen=[known.number(-reach), known.number(reach)])


def _within(row: proof.Row, known: Sequence[proof.Known]) -> list[Any]:
    return [
        each.number(value) if each.is_number and value is not None else value
        for each, value in zip(known, row, strict=True)
    ]
