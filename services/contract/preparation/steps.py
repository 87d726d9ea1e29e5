"""What scikit-learn has no transformer for and a pipeline of the trainer's may need: steps that turn columns into numbers.

A version carries this file and dates.py with it (MLflow's `code`), so that other clients of MLflow load its pipeline too.
The prediction service and the trainer have their own, and run none that a version brings.
"""

from collections import Counter
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from contract.preparation.dates import DTYPE, moment_of

# What a year, a week or a day goes round in, for each part that does.
CYCLES = {"month": 12.0, "weekday": 7.0, "hour": 24.0}
# What is read of a text at most: as many words as a page or two have.
MOST_CHARACTERS = 5000
PARTS = ("days", "year", "month", "day", "weekday", "hour")


class DateParts(TransformerMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """Make numbers of dates: days since the first one, year, month, day, weekday (0 is Monday) and hour, of those that vary.

    With `cyclic`, for what adds up numbers and does not compare them, month, weekday and hour are there as points on a circle
    too. It takes columns of datetime64 of any unit, of datetimes, or of ISO texts; a missing date is NaN in all of its parts.
    """

    def __init__(self, cyclic: bool = False) -> None:
        self.cyclic = cyclic

    def fit(self, X: Any, y: Any = None) -> "DateParts":  # noqa: N803 - scikit-learn calls it so
        """Learn which parts vary, and the first date of each column."""
        found = _dates(X)
        self.n_features_in_ = found.shape[1]
        if hasattr(X, "columns"):
            self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        known = [column[~np.isnat(column)] for column in found.T]
        self.first_ = [float(column.min().astype(np.int64)) if len(column) else 0.0 for column in known]
        self.parts_ = [
            [name for name, values in _parts(column, first).items() if len(np.unique(values)) > 1] or ["days"]
            for column, first in zip(known, self.first_, strict=True)
        ]
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return an array of float64, shape (rows, parts of all columns)."""
        found = _dates(X)
        if found.shape[1] != self.n_features_in_:
            raise ValueError(f"there are {found.shape[1]} columns; expected {self.n_features_in_}")
        made: list[np.ndarray] = []
        for column, first, names in zip(found.T, self.first_, self.parts_, strict=True):
            parts = _parts(column, first)
            made += [parts[name] for name in names]
            made += [turn for name in names if self.cyclic and name in CYCLES for turn in _circle(parts[name], name)]
        return np.column_stack(made)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return COLUMN_PART for each number."""
        names = getattr(self, "feature_names_in_", [f"x{i}" for i in range(self.n_features_in_)])
        made: list[str] = []
        for column, parts in zip(names, self.parts_, strict=True):
            made += [f"{column}_{part}" for part in parts]
            circles = [part for part in parts if self.cyclic and part in CYCLES]
            made += [f"{column}_{part}_{axis}" for part in circles for axis in ("sin", "cos")]
        return np.asarray(made, dtype=object)


def _dates(columns: Any) -> np.ndarray:
    """Return columns as dates of DTYPE, shape (rows, columns)."""
    values = np.asarray(columns)
    if values.dtype.kind == "M":
        return values.astype(DTYPE)
    if values.dtype.kind not in "OU":
        raise ValueError(f"the columns are of {values.dtype}; expected dates")
    return np.array([moment_of(value) for value in values.ravel()], dtype=DTYPE).reshape(values.shape)


def _parts(column: np.ndarray, first: float) -> dict[str, np.ndarray]:
    """Return the numbers of dates of shape (rows,), each of float64 with NaN for a missing one."""
    missing = np.isnat(column)
    hours, days, months, years = (column.astype(f"datetime64[{unit}]") for unit in "hDMY")
    numbers = {
        "days": (column.astype(np.int64) - first) / 86_400_000_000,
        "year": years.astype(np.int64) + 1970,
        "month": (months - years).astype(np.int64) + 1,
        "day": (days - months).astype(np.int64) + 1,
        "weekday": (days.astype(np.int64) + 3) % 7,
        "hour": (hours - days).astype(np.int64),
    }
    return {name: np.where(missing, np.nan, numbers[name].astype(np.float64)) for name in PARTS}


def _circle(values: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    angle = 2 * np.pi * values / CYCLES[name]
    return np.sin(angle), np.cos(angle)


class Words(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Hand one column of text on to what counts words: as a list of texts, of which a missing one has none.

    Of each text so many characters are read at most, so that what a request costs is known.
    """

    def __init__(self, most_characters: int = MOST_CHARACTERS) -> None:
        self.most_characters = most_characters

    def fit(self, X: Any, y: Any = None) -> "Words":  # noqa: N803
        """Learn that there is one column."""
        self.n_features_in_ = np.asarray(X).shape[1]
        if self.n_features_in_ != 1:
            raise ValueError(f"there are {self.n_features_in_} columns; expected one")
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return an array of texts, shape (rows,)."""
        most = self.most_characters
        texts = np.asarray(X, dtype=object)[:, 0].tolist()
        found = np.empty(len(texts), dtype=object)
        found[:] = [text[:most] if isinstance(text, str) else "" for text in texts]
        return found


class Folded(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Write each of the texts that differ in case or blanks alone as the most frequent of them is written.

    One that is written in a new way, in a request, is one of them too; one that is another text stays as it is.
    """

    def fit(self, X: Any, y: Any = None) -> "Folded":  # noqa: N803
        """Learn how the texts of each column are written."""
        columns = np.asarray(X, dtype=object)
        self.n_features_in_ = columns.shape[1]
        self.spellings_ = [_spellings(column.tolist()) for column in columns.T]
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return an array of texts, shape (rows, columns); a missing one is NaN."""
        columns = np.asarray(X, dtype=object)
        if columns.shape[1] != self.n_features_in_:
            raise ValueError(f"there are {columns.shape[1]} columns; expected {self.n_features_in_}")
        found = np.empty(columns.shape, dtype=object)
        for j, known in enumerate(self.spellings_):
            texts = columns[:, j].tolist()
            written = {text: known.get(folded(text), text) for text in set(texts) if isinstance(text, str)}
            found[:, j] = [written.get(text, np.nan) for text in texts]
        return found

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the columns' names as they are."""
        return np.asarray(input_features, dtype=object)


def folded(text: str) -> str:
    """Return a text without what it may differ in."""
    return " ".join(text.split()).casefold()


def _spellings(texts: list[Any]) -> dict[str, str]:
    counts = Counter(text for text in texts if isinstance(text, str))
    return {folded(text): text for text, _ in sorted(counts.items(), key=lambda item: (item[1], item[0]))}
