"""A table to train on: typed feature columns and a target, read from a CSV or Parquet file and checked."""

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from contract import schema
from contract.missing import MISSING_WORDS
from contract.schema import LARGEST
from sklearn.model_selection import train_test_split

from trainer.data import csv_records, missing_words, reading
from trainer.data.holdout import Aside, Division, held_out, set_aside
from trainer.errors import DataError

UNDIVIDED = Division()
TEST_SIZE = 0.2
SEED = 42
MOST_COLUMNS = 2000
# A whole-number target with no more distinct values than this is taken for class numbers.
MOST_NUMBERED_CLASSES = 20
# A text column with more distinct values than this is free text or an id; one-hot columns for it would help nobody.
MOST_CATEGORIES = 1000
ID_NAMES = ("id", "index", "uuid", "guid", "key", "")


class Task(StrEnum):
    """What is to be predicted."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


class Kind(StrEnum):
    """What a column's values are, in the words of an MLflow signature."""

    NUMBER = "double"
    BOOLEAN = "boolean"
    TEXT = "string"


@dataclass(frozen=True)
class Column:
    """A feature and its input domain: numbers lie within ±LARGEST."""

    name: str
    kind: Kind
    missing: bool
    """whether missing values are accepted, which is where the file has some"""


@dataclass(frozen=True)
class Table:
    """The rows of one file."""

    path: Path
    name: str
    """of the data set: the file's, without its ending and a final _dataset"""
    sha256: str
    """of the file's bytes: what "the same data" means to the promotion rule"""
    task: Task
    columns: list[Column]
    features: pd.DataFrame
    """shape (rows, columns): float64, booleans (as objects where some are missing) and text; missing is NaN"""
    target: pd.Series
    """shape (rows,): labels as the file has them, or float64 for a regression"""
    class_names: list[str] | None
    """the name of class i, where the file names its class numbers; else a label is its own name"""
    remarks: list[str]
    """what a person should know about how the file was read"""
    aside: Aside = field(default_factory=Aside)
    """which rows belong together, and when they were, where that is said"""

    def origin(self) -> dict[str, Any]:
        """Return the file's name, its digest and its rows: what records of a training have of the data."""
        return {"file": self.path.name, "sha256": self.sha256, "rows": len(self.target)}

    @property
    def interface(self) -> list[schema.Column]:
        """The columns as a version's signature has them."""
        return [schema.column(column.name, column.kind, column.missing) for column in self.columns]

    def classes(self) -> pd.Series:
        """Return each row's class by its name: shape (rows,), text."""
        if self.class_names is None:
            return self.target.astype(str)
        return self.target.map(dict(enumerate(self.class_names)))


@dataclass(frozen=True)
class Split:
    """The rows that are fitted on, and the rows that are only measured on."""

    train_features: pd.DataFrame
    test_features: pd.DataFrame
    train_target: pd.Series
    test_target: pd.Series
    train_aside: Aside = field(default_factory=Aside)


def read(
    path: Path,
    target: str,
    task: Task | None = None,
    drop: tuple[str, ...] = (),
    keep: tuple[str, ...] = (),
    by: Division = UNDIVIDED,
) -> Table:
    """Read and check a file.

    `target` names the column to predict; a column TARGET_name beside it has the names of the class numbers 0, 1, …;
    every other column is a feature, but for those in `drop` and those that look like an id and are not in `keep`, and for
    the columns of `by`, by which the rows are divided.
    Raises DataError naming the column and row at fault.
    """
    frame, said = reading.read_frame(path, drop, text=(target, f"{target}_name"))
    _check_columns(frame, path, target, [*drop, *keep, *by.columns])
    frame, aside = set_aside(frame.drop(columns=list(drop)), by, path)
    task = task or (Task.CLASSIFICATION if f"{target}_name" in frame.columns else _task(frame[target]))
    labels, class_names = _target(frame, target, task, path)
    features = frame.drop(columns=[target] if class_names is None else [target, f"{target}_name"])
    features, more = missing_words.taken_for_missing(features, is_typed=path.suffix != ".csv")
    features, remarks = _worth_fitting_on(features, said | more, keep)
    if features.columns.empty:
        raise DataError(f"{path} has no feature column beside {target!r}" + "".join(f"; {text}" for text in remarks))
    typed = {str(name): _typed(column, path) for name, column in features.items()}
    features = pd.DataFrame(typed, index=frame.index)
    remarks += [f"column {name!r} has one value only, {features[name].iloc[0]}" for name in _constant(features)]
    return Table(
        path=path,
        name=path.stem.removesuffix("_dataset"),
        sha256=_sha256(path),
        task=task,
        columns=[Column(name, _kind(column), bool(column.isna().any())) for name, column in typed.items()],
        features=features,
        target=labels,
        class_names=class_names,
        remarks=[*remarks, *aside.remarks],
        aside=aside,
    )


def _worth_fitting_on(
    features: pd.DataFrame, words: dict[str, list[str]], keep: tuple[str, ...]
) -> tuple[pd.DataFrame, list[str]]:
    """Return the features without those that look like an id, and what there is to say of both."""
    remarks = [
        missing_words.remark(str(name), column, words[name]) for name, column in features.items() if name in words
    ]
    left_out = {name: why for name, column in features.items() if name not in keep and (why := _no_feature(column))}
    remarks += [f"column {name!r} is left out: {why}" for name, why in left_out.items()]
    return features.drop(columns=list(left_out)), remarks


def split(table: Table, seed: int = SEED) -> Split:
    """Hold out a fifth of the rows, each class in its share; the same rows each time."""
    if table.aside:
        fitted, held = held_out(table.aside, table.target, table.task is Task.CLASSIFICATION, seed)
        features, target = table.features, table.target
        return Split(
            features.iloc[fitted], features.iloc[held], target.iloc[fitted], target.iloc[held], table.aside.of(fitted)
        )
    classes = table.target if table.task is Task.CLASSIFICATION else None
    return Split(
        *train_test_split(table.features, table.target, test_size=TEST_SIZE, random_state=seed, stratify=classes)
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_columns(frame: pd.DataFrame, path: Path, target: str, others: list[str]) -> None:
    if frame.empty:
        raise DataError(f"{path} has no rows")
    for name in (target, *others):
        if name not in frame.columns:
            raise DataError(f"{path} has no column {name!r}; it has {', '.join(map(repr, frame.columns[:30]))}")
    if target in others:
        raise DataError(f"{target!r} is the target, and cannot be left out")
    if len(frame.columns) > MOST_COLUMNS:
        raise DataError(f"{path} has {len(frame.columns)} columns; expected at most {MOST_COLUMNS}")


# --- the target ----------------------------------------------------------------------------------------------------


def _task(target: pd.Series) -> Task:
    """Tell by the target: text, booleans and a few whole numbers are classes, other numbers are quantities."""
    if pd.api.types.is_bool_dtype(target) or not pd.api.types.is_numeric_dtype(target):
        if pd.api.types.is_bool_dtype(target) or not missing_words.numeric(target):
            return Task.CLASSIFICATION
        target = pd.to_numeric(target, errors="coerce")
    values = target.dropna().unique()
    is_whole = bool(np.all(np.mod(values[np.isfinite(values)], 1) == 0))
    return Task.CLASSIFICATION if is_whole and len(values) <= MOST_NUMBERED_CLASSES else Task.REGRESSION


def _target(frame: pd.DataFrame, target: str, task: Task, path: Path) -> tuple[pd.Series, list[str] | None]:
    """Return the target and, where a column TARGET_name is there, the names of its class numbers."""
    column = frame[target]
    if task is Task.REGRESSION:
        return _numbers(column, path, "a finite number"), None
    if f"{target}_name" in frame.columns:
        labels = _class_numbers(column, path)
        _check_classes(labels, path)
        return labels, _class_names(frame, target, f"{target}_name", path)
    labels = _labels(column, path)
    _check_classes(labels, path)
    return labels, None


def _labels(column: pd.Series, path: Path) -> pd.Series:
    _refuse(column.isna(), column, path, "a class")
    if pd.api.types.is_bool_dtype(column):
        return column.astype(bool)
    if pd.api.types.is_numeric_dtype(column) or missing_words.numeric(column):
        numbers = pd.to_numeric(column, errors="coerce")
        _refuse(~(numbers % 1 == 0), column, path, "a class, a whole number as in the other rows")
        return numbers.astype("int64")
    if missing_words.boolean(column):
        _refuse(column.isin(MISSING_WORDS), column, path, "true or false as in the other rows")
    labels = column.astype("str")
    for _, alike in labels.groupby(labels.str.strip().str.casefold()):
        if alike.nunique() > 1:
            found = ", ".join(f"{label!r} ({count} rows)" for label, count in alike.value_counts().items())
            raise DataError(
                f"{path}: column {column.name!r} has {found}; write one class in one way, letter for letter"
            )
    return labels


def _check_classes(labels: pd.Series, path: Path) -> None:
    counts = labels.value_counts()
    if len(counts) < 2:
        raise DataError(
            f"{path} has rows of one class only ({labels.name!r} is {counts.index[0]}); expected two or more"
        )
    if len(counts) > len(labels) / 2 and len(counts) > 2:
        raise DataError(
            f"{path}: column {labels.name!r} has {len(counts)} classes in {len(labels)} rows; is it an id? To predict a "
            "quantity say --task regression"
        )
    if counts.min() < 2:
        raise DataError(
            f"{path} has a single row of class {counts.idxmin()}; each class needs two or more, to train and to test on"
        )
    if len(labels) * TEST_SIZE < len(counts):
        raise DataError(f"{path} has {len(labels)} rows, too few to hold out a row of each of {len(counts)} classes")


def _class_numbers(column: pd.Series, path: Path) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce")
    _refuse(~(numbers >= 0) | (numbers % 1 != 0), column, path, "a class number 0, 1, 2, …")
    found = sorted(numbers.astype("int64").unique().tolist())
    if found[-1] != len(found) - 1 and len(found) > 1:
        raise DataError(f"{path}: the classes in {column.name!r} are {found}; expected 0 to {len(found) - 1}")
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


# --- features ------------------------------------------------------------------------------------------------------


def _no_feature(column: pd.Series) -> str | None:
    """Say why a column is no feature, None where it is one."""
    if column.isna().all():
        return "it has no values"
    name = str(column.name).casefold()
    is_named_so = name in ID_NAMES or name.endswith(("_id", " id")) or name.startswith("unnamed:")
    if len(column) <= 20 or pd.api.types.is_float_dtype(column) or not column.is_unique:
        return None
    if pd.api.types.is_integer_dtype(column) and (is_named_so or _counts_up(column)):
        return f"it numbers the rows (--keep {column.name!r} takes it as a feature)"
    if not (pd.api.types.is_numeric_dtype(column) or missing_words.numeric(column)):
        return f"each row has a text of its own, like an id (--keep {column.name!r} takes it as a feature)"
    return None


def _counts_up(column: pd.Series) -> bool:
    return bool(column.iloc[0] in (0, 1) and (column.diff().dropna() == 1).all())


def _typed(column: pd.Series, path: Path) -> pd.Series:
    """Return the column as float64, boolean or text; raise DataError naming the first value that does not fit."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if pd.api.types.is_float_dtype(column.dtype) or pd.api.types.is_integer_dtype(column.dtype):
        return _numbers(column, path, "a finite number", missing=True)
    present = column.dropna()
    if pd.api.types.is_bool_dtype(column.dtype) or (len(present) and present.map(type).isin([bool, np.bool_]).all()):
        return column.astype(bool) if len(present) == len(column) else column.astype(object).where(column.notna(), None)
    if pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_timedelta64_dtype(column):
        raise DataError(
            f"{path}: column {column.name!r} has dates; leave it out (--drop {column.name!r}) or write numbers instead"
        )
    if pd.api.types.is_numeric_dtype(column) or missing_words.numeric(column):
        return _numbers(column, path, "a finite number", missing=True)
    if not present.map(lambda value: isinstance(value, str)).all():
        kinds = ", ".join(sorted({type(value).__name__ for value in present.head(1000)}))
        raise DataError(f"{path}: column {column.name!r} has values of the types {kinds}; expected numbers or text")
    if present.nunique() > MOST_CATEGORIES:
        raise DataError(
            f"{path}: column {column.name!r} has {present.nunique()} different texts, more than {MOST_CATEGORIES}; "
            f"leave it out (--drop {column.name!r}) or write fewer categories"
        )
    return column.astype("str")


def _numbers(column: pd.Series, path: Path, expected: str, missing: bool = False) -> pd.Series:
    if pd.api.types.is_complex_dtype(column):
        raise DataError(f"{path}: column {column.name!r} has complex numbers; expected real ones")
    numbers = pd.to_numeric(column, errors="coerce").astype("float64")
    fits = numbers.abs() <= LARGEST
    _refuse(~(fits | column.isna()) if missing else ~fits, column, path, expected)
    return numbers


def _kind(column: pd.Series) -> Kind:
    if pd.api.types.is_string_dtype(column) and not pd.api.types.is_object_dtype(column):
        return Kind.TEXT
    return Kind.NUMBER if pd.api.types.is_float_dtype(column) else Kind.BOOLEAN


def _constant(features: pd.DataFrame) -> list[str]:
    return [str(name) for name, column in features.items() if (column == column.iloc[0]).all()]


def _refuse(wrong: pd.Series, column: pd.Series, path: Path, expected: str) -> None:
    """Raise DataError for the first row that is wrong, named by its line in the file."""
    if wrong.any():
        row = int(np.flatnonzero(wrong.to_numpy())[0])
        found = column.iloc[row]
        value = "empty" if pd.isna(found) else repr(found) if isinstance(found, str) else str(found)
        raise DataError(
            f"{path} {csv_records.place(path, row)}, column {column.name!r} is {value}; expected {expected}"
            f" ({int(wrong.sum())} such row{'s' if wrong.sum() > 1 else ''})"
        )
