"""What makes a model look better than it is: hints, each with the columns it is about and what to do."""

import pandas as pd

from trainer.table import Kind, Table, Task

# Of the rows, how many a feature has to tell the class of to be suspected of being the target in disguise.
TELLS_ALL = 0.999
CORRELATED = 0.9999
SAME_AS_TARGET = 0.999
MOST_ROWS = 50_000
MOST_PAIRS = 200
FEW_VALUES = 50


def hints(table: Table) -> list[str]:
    """Return one sentence for each thing that a person should look at before trusting a score."""
    features, target = table.features.head(MOST_ROWS), table.target.head(MOST_ROWS)
    found = [*_duplicates(features, target), *_targets(table, features, target), *_twins(table, features)]
    return found


def _duplicates(features: pd.DataFrame, target: pd.Series) -> list[str]:
    found = []
    frame = features.assign(**{"\0target": target})
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
    return [
        f"feature {column.name!r} is the target, or tells it for all rows; is it known before the prediction is needed? "
        f"Else leave it out: --drop {column.name!r}"
        for column in table.columns
        if _is_target(features[column.name], target, table.task)
    ]


def _is_target(values: pd.Series, target: pd.Series, task: Task) -> bool:
    if task is Task.REGRESSION:
        is_number = pd.api.types.is_float_dtype(values) and values.nunique() > 1
        return bool(is_number and abs(values.corr(target)) > SAME_AS_TARGET)
    if not 2 <= values.nunique() <= min(FEW_VALUES, len(values) / 4):
        return False  # a value for (nearly) each row tells its class by being unique
    majority = target.groupby(values, dropna=False, observed=True).agg(lambda part: part.value_counts().iloc[0])
    return bool(majority.sum() >= TELLS_ALL * len(target))


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
