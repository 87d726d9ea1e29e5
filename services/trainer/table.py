"""A table to train on: features, integer target and class names, read from a CSV file."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from trainer.errors import DataError

TEST_SIZE = 0.2
SEED = 42


@dataclass(frozen=True)
class Table:
    """The rows of one file."""

    path: Path
    sha256: str
    """of the file's bytes: what "the same data" means to the promotion rule"""
    features: pd.DataFrame
    """shape (rows, features), float64"""
    target: pd.Series
    """shape (rows,), int64; class i is called class_names[i]"""
    class_names: list[str]


@dataclass(frozen=True)
class Split:
    """The rows that are fitted on, and the rows that are only measured on."""

    train_features: pd.DataFrame
    test_features: pd.DataFrame
    train_target: pd.Series
    test_target: pd.Series


def read(path: Path, target: str, class_name: str) -> Table:
    """Read and check a CSV file.

    `target` names the column of class numbers, `class_name` the column of their names; every other column is a
    feature. Raises DataError naming the column and row at fault.
    """
    try:
        content = path.read_bytes()
        frame = pd.read_csv(path)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; `explore` writes it") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no CSV table: {str(error).strip()}") from error
    if frame.empty:
        raise DataError(f"{path} has no rows")
    for column in (target, class_name):
        if column not in frame.columns:
            raise DataError(f"{path} has no column {column!r}; it has {', '.join(map(repr, frame.columns))}")
    features = frame.drop(columns=[target, class_name])
    if features.columns.empty:
        raise DataError(f"{path} has no feature column beside {target!r} and {class_name!r}")
    return Table(
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        features=features.apply(lambda column: _finite_numbers(column, path)),
        target=_class_numbers(frame[target], path),
        class_names=_class_names(frame, target, class_name, path),
    )


def split(table: Table) -> Split:
    """Hold out a fifth of the rows, each class in its share; the same rows each time."""
    return Split(
        *train_test_split(table.features, table.target, test_size=TEST_SIZE, random_state=SEED, stratify=table.target)
    )


def _finite_numbers(column: pd.Series, path: Path) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce").astype("float64")
    _refuse(~numbers.map(np.isfinite), column, path, "a finite number")
    return numbers


def _class_numbers(column: pd.Series, path: Path) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce")
    _refuse(~(numbers >= 0) | (numbers % 1 != 0), column, path, "a class number 0, 1, 2, …")
    counts = numbers.value_counts()
    if len(counts) < 2:
        raise DataError(
            f"{path} has rows of one class only ({column.name!r} is {counts.index[0]}); expected two or more"
        )
    if counts.min() < 2:
        raise DataError(
            f"{path} has a single row of class {counts.idxmin()}; each class needs two or more, to train and to test on"
        )
    if counts.index.max() != len(counts) - 1:
        raise DataError(
            f"{path}: the classes in {column.name!r} are {sorted(counts.index)}; expected 0 to {len(counts) - 1}"
        )
    if len(numbers) * TEST_SIZE < len(counts):
        raise DataError(f"{path} has {len(numbers)} rows, too few to hold out a row of each of {len(counts)} classes")
    return numbers.astype("int64")


def _class_names(frame: pd.DataFrame, target: str, class_name: str, path: Path) -> list[str]:
    _refuse(frame[class_name].isna(), frame[class_name], path, "a class name")
    pairs = frame[[target, class_name]].drop_duplicates().sort_values(target)
    if pairs[target].duplicated().any() or pairs[class_name].duplicated().any():
        raise DataError(
            f"{path}: {target!r} and {class_name!r} do not go together one to one: "
            + ", ".join(f"{number} is {name}" for number, name in pairs.itertuples(index=False))
        )
    return [str(name) for name in pairs[class_name]]


def _refuse(wrong: pd.Series, column: pd.Series, path: Path, expected: str) -> None:
    """Raise DataError for the first row that is wrong, named as a text editor counts its lines."""
    if wrong.any():
        row = int(np.flatnonzero(wrong.to_numpy())[0])
        found = column.iloc[row]
        value = "empty" if pd.isna(found) else repr(found) if isinstance(found, str) else str(found)
        raise DataError(
            f"{path} line {row + 2}, column {column.name!r} is {value}; expected {expected}"
            f" ({int(wrong.sum())} such row{'s' if wrong.sum() > 1 else ''})"
        )
