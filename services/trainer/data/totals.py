"""Rows that sum up other rows: a spreadsheet's last line, which is none to learn from."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

WORDS = frozenset(
    {
        *("total", "totals", "grand total", "sum", "subtotal", "sub-total", "sub total"),
        *("summe", "gesamt", "gesamtsumme", "zwischensumme", "insgesamt", "suma", "total general", "somme", "totale", "totaal"),
    }
)  # fmt: skip
# A table ends with its total, or with a line or two below it.
LAST = 3
# Of a row that is a total, how many there are.
FEW = 0.2


def found(frame: pd.DataFrame, target: str, place: Callable[[int], str]) -> tuple[list[str], list[str]]:
    """Return what is wrong where rows are the sums of others, and what to say where they are only called so."""
    faults, remarks = [], []
    for name, column in _of_text(frame):
        if name == target or not _are_totals(column.tail(LAST)).any():
            continue
        rows = np.flatnonzero(_are_totals(column))
        if len(rows) > max(1, FEW * len(frame)):
            continue
        said = f"{place(int(frame.index[rows[-1]]))} has {column.iloc[rows[-1]]!r} in column {name!r}"
        if summed := next((other for other, values in _of_numbers(frame) if _are_sums(values, rows)), None):
            such = f" ({len(rows)} such rows)" if len(rows) > 1 else ""
            faults.append(
                f"{said} and sums up column {summed!r}: it is no row to learn from{such}; take it out of the file"
            )
        else:
            remarks.append(f"{said}: if it sums up other rows, take it out of the file")
    return faults, remarks


def _of_text(frame: pd.DataFrame) -> Iterator[tuple[str, pd.Series]]:
    yield from ((str(name), column) for name, column in frame.items() if isinstance(column.dtype, pd.StringDtype))


def _of_numbers(frame: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    for name, column in frame.items():
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            yield str(name), column.to_numpy("float64", na_value=np.nan)


def _are_totals(column: pd.Series) -> np.ndarray:
    texts = column.tolist()  # of the few that are looked at in most tables, in a tenth of pandas' time
    words = [isinstance(text, str) and text.strip().rstrip(":").casefold() in WORDS for text in texts]
    return np.array(words, dtype=bool)


def _are_sums(values: np.ndarray, rows: np.ndarray) -> bool:
    """Tell whether the value in each of some rows is the sum of those above it, from the one before on.

    Of zeros and ones alone nothing is told: a rare one looks like a sum.
    """
    if np.isin(values[~np.isnan(values)], (0, 1)).all():
        return False
    starts = [0, *(rows[:-1] + 1)]
    parts = [values[start:row] for start, row in zip(starts, rows, strict=True)]
    if not all(len(part) > 1 and np.nansum(np.abs(part)) > 0 for part in parts):
        return False
    # Of several, the last one may be of all of them.
    others = np.delete(values[: rows[-1]], rows[:-1])
    sums = np.array([*map(np.nansum, parts[:-1]), np.nan])
    last = [np.nansum(parts[-1]), np.nansum(others)]
    is_last = any(np.isclose(values[rows[-1]], whole, rtol=1e-6) for whole in last)
    return is_last and bool(np.isclose(values[rows[:-1]], sums[:-1], rtol=1e-6).all())
