"""Rows as models have them that are no ONNX engines: a DataFrame with the columns' names and types, or an array."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from contract.mlmodel.manifest import Description
from contract.preparation.dates import moments
from contract.schema import Column, Kind


def rows_for(
    model: Description, by_column: Sequence[np.ndarray], has_gaps: Callable[[int], bool]
) -> np.ndarray | pd.DataFrame:
    """Return rows, one array of shape (rows,) per column, as a model takes them; `has_gaps` tells it of a column of numbers.

    A part of some rows has the types of all of them, whether or not the gap is in it.
    """
    if not model.is_named:  # all of one type, and none is missing: a frame of an image's values would take a second
        dtype = model.columns[0].dtype()
        return np.array([values.astype(dtype, copy=False) for values in by_column]).T
    cells = zip(model.columns, by_column, strict=True)
    return pd.DataFrame({column.name: _typed(column, values, has_gaps, j) for j, (column, values) in enumerate(cells)})


def _typed(
    column: Column, values: np.ndarray, has_gaps: Callable[[int], bool], j: int
) -> np.ndarray | pd.api.extensions.ExtensionArray:
    """Return a column as the trainer had it; a boolean one with missing values is one of objects.

    It is no Series, which would be made to be taken apart: a frame of them takes three times as long.
    """
    if column.kind is Kind.TEXT:
        return pd.array(values, dtype="str")
    if column.kind is Kind.DATE:
        return moments(values)
    if column.kind is Kind.NUMBER:
        return values.astype(column.dtype(), copy=False)
    dtype = column.dtype(is_gappy := has_gaps(j))
    if column.kind is Kind.INTEGER or not is_gappy:
        return values.astype(dtype)
    typed = np.full(len(values), None)
    is_there = ~np.isnan(values)
    typed[is_there] = values[is_there].astype(bool)
    return typed
