"""What makes a model look better than it is: hints, each with the columns it is about and what to do."""

import numpy as np
import pandas as pd

from trainer.data.table import Kind, Split, Table, Task

# Of the rows, how many a feature has to tell the class of to be suspected of being the target in disguise.
TELLS_ALL = 0.999
CORRELATED = 0.9999
SAME_AS_TARGET = 0.999
MOST_ROWS = 50_000
MOST_PAIRS = 200
FEW_VALUES = 50
# Of the held-out rows, how many have to be copies of rows that were fitted on to be more than chance.
COPIED = 0.1
# How many of the different rows one column has to tell apart for equal rows to be copies, and no coincidence.
TELLS_APART = 0.5


def hints(table: Table) -> list[str]:
    """Return one sentence for each thing that a person should look at before trusting a score."""
    features, target = table.features.head(MOST_ROWS), table.target.head(MOST_ROWS)
    found = [*_duplicates(features, target), *_targets(table, features, target), *_twins(table, features)]
    return found


def leaks(table: Table, rows: Split) -> list[str]:
    """Return one sentence for each thing that makes the score of this split worthless, by what a hint is given for too."""
    features, target = rows.train_features.head(MOST_ROWS), rows.train_target.head(MOST_ROWS)
    return [*_targets(table, features, target), *_copies(rows)]


def _copies(rows: Split) -> list[str]:
    """Look for held-out rows that are copies of fitted ones. In a table of few categories equal rows are none."""
    held_out = _with_target(rows.test_features, rows.test_target).head(MOST_ROWS)
    distinct = held_out.nunique(dropna=False)
    key = str(distinct.idxmax())
    if distinct[key] < TELLS_APART * len(held_out.drop_duplicates()):
        return []
    fitted = _with_target(rows.train_features, rows.train_target)
    # Few of a million rows have a value of that column in common with a held-out one: only these are hashed.
    fitted = fitted[fitted[key].isin(held_out[key])]
    count = int(_hashes(held_out).isin(_hashes(fitted)).sum())
    if count < COPIED * len(held_out):
        return []
    return [
        f"{count} of {len(held_out)} held-out rows are copies of rows that are fitted on, so the figures say what the model "
        "remembers; have each row in the file once"
    ]


def _with_target(features: pd.DataFrame, target: pd.Series) -> pd.DataFrame:
    return features.assign(**{"\0target": target})


def _hashes(frame: pd.DataFrame) -> pd.Series:
    hashes: pd.Series = pd.util.hash_pandas_object(frame, index=False)
    return hashes


def _duplicates(features: pd.DataFrame, target: pd.Series) -> list[str]:
    found = []
    frame = _with_target(features, target)
    twice = frame.duplicated(keep=False)
    if count := int(frame.duplicated().sum()):
        first = ", ".join(str(row + 1) for row in frame.index[twice][:4])
        found.append(
            f"{count} row{'s are' if count > 1 else ' is'} there twice (rows {first}{', …' if twice.sum() > 4 else ''}): the same "
            "row may be fitted on and measured on"
        )
    contradicting = int((features.duplicated(keep=False) & ~twice).sum())
    if contradicting:
        found.append(
            f"{contradicting} rows have the features of another row and another target: no model can tell them apart"
        )
    return found


def _targets(table: Table, features: pd.DataFrame, target: pd.Series) -> list[str]:
    classes = pd.factorize(target)[0] if table.task is Task.CLASSIFICATION else None
    return [
        f"feature {column.name!r} is the target, or tells it for all rows; is it known before the prediction is needed? "
        f"Else leave it out: --drop {column.name!r}"
        for column in table.columns
        if (
            _is_quantity(features[column.name], target)
            if classes is None
            else _tells_class(features[column.name], classes)
        )
    ]


def _is_quantity(values: pd.Series, target: pd.Series) -> bool:
    is_number = pd.api.types.is_float_dtype(values) and values.nunique() > 1
    return bool(is_number and abs(values.corr(target)) > SAME_AS_TARGET)


def _tells_class(values: pd.Series, classes: np.ndarray) -> bool:
    """Tell whether each value goes with one class; `classes` are numbers of shape (rows,)."""
    if not 2 <= values.nunique() <= min(FEW_VALUES, len(values) / 4):
        return False  # a value for (nearly) each row tells its class by being unique
    numbers, distinct = pd.factorize(values, use_na_sentinel=False)
    width = int(classes.max()) + 1
    counts = np.bincount(numbers * width + classes, minlength=len(distinct) * width)
    return bool(counts.reshape(-1, width).max(axis=1).sum() >= TELLS_ALL * len(classes))


def _twins(table: Table, features: pd.DataFrame) -> list[str]:
    numbers = [column.name for column in table.columns if column.kind is Kind.NUMBER][:MOST_PAIRS]
    correlations = features[numbers].corr().abs().to_numpy()
    pairs = [
        (one, other)
        for i, one in enumerate(numbers)
        for j, other in enumerate(numbers[:i])
        if correlations[i, j] > CORRELATED
    ]
    return [f"features {other!r} and {one!r} say the same: one of them is enough" for one, other in pairs[:5]]
