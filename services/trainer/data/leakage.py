"""What makes a model look better than it is: hints, each with the columns it is about and what to do."""

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.special import betainc, betaln
from scipy.stats import hypergeom
from sklearn.tree import DecisionTreeClassifier

from trainer.data.table import Kind, Split, Table, Task

# Of each class's rows, in the mean, how many a feature has to tell to be suspected of being the target in disguise.
TELLS_ALL = 0.999
CORRELATED = 0.9999
SAME_AS_TARGET = 0.999
# In how many tables of which no column says anything one of them may pass for a leak. Where a class has two rows, some number of
# any ten has them side by side; so what tells all is believed only where chance would hardly do it: see _chances.
BY_CHANCE = 0.01
MOST_ROWS = 50_000
MOST_PAIRS = 200
FEW_VALUES = 50
# Of the rows, how many have to have one value for a feature to be nearly constant.
ONE_VALUE = 0.99
MOST_TOLD = 5
# On these days of a year programs begin or end to count: 1900-01-01, 1970-01-01, 9999-12-31.
FILLER_DAYS = frozenset({"01-01", "12-30", "12-31"})
# A number of nines that stands for a missing value: -999, 9999, 99999.0.
NINES = re.compile(r"-?9{2,}|-9")
# In so many stretches for each class a number that is the target in disguise falls: 0 and above it, say, or missing and there.
STRETCHES = 2
# Rows by which most numbers show at once that they are none such: along these, their classes change more often than a few mistakes do.
FIRST_LOOK = 2000
CHANGES = 0.02
# Of the held-out rows, how many have to be copies of rows that were fitted on to be more than chance.
COPIED = 0.1
# How many of the different rows one column has to tell apart for equal rows to be copies, and no coincidence.
TELLS_APART = 0.5


def hints(table: Table) -> list[str]:
    """Return one sentence for each thing that a person should look at before trusting a score."""
    features, target = table.features.head(MOST_ROWS), table.target.head(MOST_ROWS)
    duplicates, targets = _duplicates(features, target), _targets(table, features, target)
    return [*duplicates, *targets, *_of_features(table, features)]


def leaks(table: Table, rows: Split, counted: tuple[int, int] | None = None) -> list[str]:
    """Return one sentence for each thing that makes the score of this split worthless, by what a hint is given for too.

    `counted` is what `copies` has found, where that was asked before.
    """
    features, target = rows.train_features.head(MOST_ROWS), rows.train_target.head(MOST_ROWS)
    return [*_targets(table, features, target), *_copies(*(counted or copies(rows)))]


def notes(table: Table, counted: tuple[int, int]) -> list[str]:
    """Return one sentence for each thing that makes a model a little worse, or look a little better.

    `counted` is what `copies` has found.
    """
    count, held_out = counted
    said = (
        [] if _copies(count, held_out) or not count else [f"{_words(count, held_out)}; have each row in the file once"]
    )
    return [*said, *_of_features(table, table.features.head(MOST_ROWS))]


def _of_features(table: Table, features: pd.DataFrame) -> Iterator[str]:
    """Yield what is told of features whatever the target is."""
    yield from _nearly_constant(features)
    yield from _equal_columns(table, features)
    yield from _fillers(features)
    yield from _filler_days(features)


def _copies(count: int, held_out: int) -> list[str]:
    if not count or count < COPIED * held_out:
        return []
    return [f"{_words(count, held_out)}, so the figures say what the model remembers; have each row in the file once"]


def _words(count: int, held_out: int) -> str:
    copies = "is a copy of a row that is" if count == 1 else "are copies of rows that are"
    return f"{count} of {held_out} held-out rows {copies} fitted on"


def copies(rows: Split) -> tuple[int, int]:
    """Return how many held-out rows are copies of fitted ones, and how many were looked at.

    In a table of few categories equal rows are no copies.
    """
    held_out = _with_target(rows.test_features, rows.test_target).head(MOST_ROWS)
    distinct = held_out.nunique(dropna=False)
    key = str(distinct.idxmax())
    if distinct[key] < TELLS_APART * len(held_out.drop_duplicates()):
        return 0, len(held_out)
    fitted = _with_target(rows.train_features, rows.train_target)
    # Few of a million rows have a value of that column in common with a held-out one: only these are hashed.
    fitted = fitted[fitted[key].isin(held_out[key])]
    return int(_hashes(held_out).isin(_hashes(fitted)).sum()), len(held_out)


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
    if classes is not None and not classes.any():
        return []  # the first rows of a file that is sorted by its classes
    chance = BY_CHANCE / max(1, len(table.columns))  # each column has one (Bonferroni)
    return [
        f"feature {column.name!r} is the target, or tells it for all rows; is it known before the prediction is needed? "
        f"Else leave it out: --drop {column.name!r}"
        for column in table.columns
        if (
            _is_quantity(features[column.name], target, chance)
            if classes is None
            else _tells_class(features[column.name], classes, chance)
        )
    ]


def _is_quantity(values: pd.Series, target: pd.Series, chance: float) -> bool:
    """Tell whether numbers are the target in another unit, or its logarithm, say, which orders the rows in the same way.

    It is not told by so few rows that `chance`, or more, is the likelihood of it between numbers that have nothing to do with each other.
    """
    there = values[values.notna()]
    # Of the coefficient r of independent numbers, 1 - r² has a beta distribution; it is looked at in two ways.
    if len(there) < 3 or there.nunique() < 2 or not pd.api.types.is_float_dtype(values):
        return False
    if 2 * betainc(len(there) / 2 - 1, 0.5, 1 - SAME_AS_TARGET**2) >= chance:
        return False
    pairs = ((values, target), (values.rank(), target.rank()))
    return any(abs(one.corr(other)) > SAME_AS_TARGET for one, other in pairs)


def _tells_class(values: pd.Series, classes: np.ndarray, chance: float) -> bool:
    """Tell whether each value goes with one class, or each stretch of a number or a date, or that there is one.

    `classes` are numbers of shape (rows,); `chance` is how likely it may at most be for a column that has nothing to do with them.
    """
    numbers, distinct = pd.factorize(values, use_na_sentinel=False)
    if 2 <= len(distinct) <= min(FEW_VALUES, len(values) / 4):
        return _tell_by_groups(numbers, classes, chance)
    # A value for (nearly) each row tells its class by being unique; but not where it lies, or that it is there.
    if pd.api.types.is_datetime64_any_dtype(values):
        values = values.astype("int64").where(values.notna()).astype("float64")
    if not pd.api.types.is_float_dtype(values):
        return bool(values.isna().any()) and _tell_by_groups(values.isna().to_numpy().astype(int), classes, chance)
    return _may_lie_apart(values.to_numpy(), classes) and _lies_apart(values.to_numpy(), classes, chance)


def _tell_by_groups(groups: np.ndarray, classes: np.ndarray, chance: float) -> bool:
    """Tell whether each group has one class, and that is no chance; both are numbers of shape (rows,)."""
    if not _tell(groups, classes):
        return False
    likeliest = _counts(groups, classes).argmax(axis=1)
    parts = np.bincount(likeliest, minlength=int(classes.max()) + 1)
    # A class may have any `parts` of the groups.
    return _chances(likeliest[groups], classes, parts, _log_ways(len(likeliest), parts)) < chance


def _may_lie_apart(values: np.ndarray, classes: np.ndarray) -> bool:
    """Tell by some rows, which takes no time, whether classes hardly change along the numbers, as they do along most."""
    some = slice(None, None, max(1, len(values) // FIRST_LOOK))
    along = classes[some][np.argsort(values[some])]
    return bool(np.count_nonzero(np.diff(along)) <= STRETCHES * (classes.max() + 1) + CHANGES * len(along))


def _lies_apart(values: np.ndarray, classes: np.ndarray, chance: float) -> bool:
    """Tell whether numbers of one class lie in a stretch of their own, and that is no chance.

    Both are of shape (rows,), and NaN is a stretch, too.
    """
    leaves = STRETCHES * max(2, int(classes.max()) + 1)
    tree = DecisionTreeClassifier(max_leaf_nodes=leaves, class_weight="balanced", random_state=0)
    column = values.reshape(-1, 1)
    groups = tree.fit(column, classes).apply(column)
    if not _tell(groups, classes):
        return False
    said = _counts(groups, classes).argmax(axis=1)[groups]
    along = said[np.argsort(values)]  # which has NaN last
    parts = np.bincount(along[np.diff(along, prepend=-1) != 0], minlength=int(classes.max()) + 1)
    # A class may have any `parts` stretches of the different numbers, of which each has a beginning and an end.
    distinct = len(pd.unique(values))
    return _chances(said, classes, parts, _log_ways(distinct + 1, 2 * parts)) < chance


def _tell(groups: np.ndarray, classes: np.ndarray) -> bool:
    """Tell whether each group has rows of one class alone; both are numbers of shape (rows,). A rare class counts as a frequent one."""
    counts = _counts(groups, classes)
    # The rows of a class that are where it is the likeliest one, of those that it has.
    told = counts * (counts == counts.max(axis=1, keepdims=True))
    return bool((told.sum(axis=0) / counts.sum(axis=0)).mean() >= TELLS_ALL)


def _counts(groups: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return how many rows of each class each group has, of shape (groups, classes)."""
    width = int(classes.max()) + 1
    counts: np.ndarray = np.bincount(groups * width + classes, minlength=(int(groups.max()) + 1) * width)
    return counts.reshape(-1, width)


def _chances(said: np.ndarray, classes: np.ndarray, parts: np.ndarray, log_ways: np.ndarray) -> float:
    """Return at most how likely a column that has nothing to do with the classes tells one of them as well as this one.

    Rows in which a column says a class, taken beforehand, have as many of the class's rows by chance as a draw without putting
    back: all of them in one of n! / (class! (n - class)!) orderings. The rows were not taken beforehand, but because they fit: so
    it counts as often as there were `log_ways` to take that many parts, twice for each part, as there might have been another number
    of them (½ + ¼ + … = 1), and once for each class. `said` is of shape (rows,), `parts` and `log_ways` of shape (classes,).
    """
    width = len(parts)
    rows, taken = np.bincount(classes, minlength=width), np.bincount(said, minlength=width)
    right = np.bincount(classes[said == classes], minlength=width)
    by_draw = hypergeom.logsf(right - 1, len(classes), taken, rows)
    return float(np.exp(min(0.0, (by_draw + log_ways + parts * np.log(2)).min() + np.log(width))))


def _log_ways(count: int, taken: np.ndarray) -> np.ndarray:
    """Return the logarithms of how many ways there are to take some of `count`."""
    ways: np.ndarray = -betaln(count - taken + 1, taken + 1) - np.log(count + 1)
    return ways


def _nearly_constant(features: pd.DataFrame) -> list[str]:
    """Say which columns have one value in nearly all rows; what has one in all the table itself tells (Table.remarks)."""
    found = []
    for name, values in features.items():
        counts = values.value_counts(dropna=False)
        if len(counts) > 1 and counts.iloc[0] >= ONE_VALUE * len(values):
            value = counts.index[0]
            shown = f"{value:.15g}" if isinstance(value, float) else value  # whole numbers are floats here, too
            found.append(f"feature {name!r} is {shown} in all but {len(values) - counts.iloc[0]} of {len(values)} rows")
    more = f", and so are {len(found) - MOST_TOLD} more" if len(found) > MOST_TOLD else ""
    return [*found[: MOST_TOLD - 1], *(f"{said}{more}" for said in found[MOST_TOLD - 1 : MOST_TOLD])]


def _equal_columns(table: Table, features: pd.DataFrame) -> list[str]:
    numbers = [column.name for column in table.columns if column.kind is Kind.NUMBER][:MOST_PAIRS]
    correlations = features[numbers].corr().abs().to_numpy()
    pairs = [
        (one, other)
        for i, one in enumerate(numbers)
        for j, other in enumerate(numbers[:i])
        if correlations[i, j] > CORRELATED
    ]
    return [f"features {other!r} and {one!r} say the same: one of them is enough" for one, other in pairs[:5]]


def _filler_days(features: pd.DataFrame) -> Iterator[str]:
    """Yield which days that programs write for none, far from all others, may stand for missing dates."""
    for name, values in features.select_dtypes("datetime64").items():
        for filler in (values.min(), values.max()):
            is_filler = values == filler
            others = values[~is_filler & values.notna()]
            if is_filler.sum() < 2 or others.nunique() < 2 or f"{filler:%m-%d}" not in FILLER_DAYS:
                continue
            low, high = others.min(), others.max()
            if max(low - filler, filler - high) > high - low:
                yield (
                    f"feature {name!r} is {filler:%Y-%m-%d} in {is_filler.sum()} rows, and from {low:%Y-%m-%d} to {high:%Y-%m-%d} in all "
                    "others; if that stands for a missing date, leave those fields empty"
                )


def _fillers(features: pd.DataFrame) -> Iterator[str]:
    """Yield which numbers of nines, far from all others, may stand for missing values."""
    for name, values in features.select_dtypes("float64").items():
        for filler in (values.min(), values.max()):
            is_filler = values == filler
            others = values[~is_filler & values.notna()]
            if is_filler.sum() < 2 or others.nunique() < 2 or NINES.fullmatch(f"{filler:.15g}") is None:
                continue
            low, high = others.min(), others.max()
            if max(low - filler, filler - high) > high - low:
                yield (
                    f"feature {name!r} is {filler:.15g} in {is_filler.sum()} rows, and from {low:.6g} to {high:.6g} in all others; if "
                    "that stands for a missing value, leave those fields empty"
                )
