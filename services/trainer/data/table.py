"""A table to train on: typed feature columns and a target, read from a CSV or Parquet file and checked."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from contract import schema
from contract.missing import MISSING_WORDS, stands_for_none
from contract.schema import LARGEST
from sklearn.model_selection import train_test_split

from trainer.data import reading, totals
from trainer.data.columns import column_kinds, dates, missing_words
from trainer.data.columns.column_kinds import Verdict
from trainer.data.columns.wishes import Kind, Wishes
from trainer.data.files import number_style
from trainer.data.files.content import stem
from trainer.data.files.form import Form
from trainer.data.files.rows import FRACTION, Rows
from trainer.data.holdout import Aside, check_weights, held_out, set_aside
from trainer.errors import DataError

__all__ = ["Column", "Kind", "Look", "Split", "Table", "Task", "look_at", "read", "split"]

TEST_SIZE = 0.2
# Of so many rows two are held out, without which nothing is said of a quantity.
FEWEST = 6
SEED = 42
# A whole-number target with no more distinct values than this is taken for class numbers.
MOST_NUMBERED_CLASSES = 20
# From so many on it is said that they may be quantities.
MAY_BE_QUANTITIES = 5
# Of what is wrong with a file, how much is said at once.
MOST_FAULTS = 20
# Where the names are not in the first line, so many rows are looked at for them.
MOST_ABOVE = 30
NUMBER = re.compile(r"[-+]?[0-9.,]*[0-9][0-9.,]*")


Place = Callable[[int], str]
"""from a row to where it stands in the file"""


class FaultyRow(DataError):
    """A value at fault; where its row stands, who read the file knows."""

    def __init__(self, row: int, words: str) -> None:
        super().__init__(words)
        self.row = row


class Task(StrEnum):
    """What is to be predicted."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


@dataclass(frozen=True)
class Column:
    """A feature and its input domain: numbers lie within ±LARGEST."""

    name: str
    kind: Kind
    missing: bool
    """whether missing values are accepted, which is where the file has some"""
    folded: bool = False
    """whether texts that differ in case or blanks alone are one"""


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
    """shape (rows, columns): float64, booleans (as objects where some are missing), text and datetime64[us]; missing is NaN"""
    target: pd.Series
    """shape (rows,): labels as the file has them, or float64 for a regression"""
    class_names: list[str] | None
    """the name of class i, where the file names its class numbers; else a label is its own name"""
    remarks: list[str]
    """what a person should know about how the file was read"""
    aside: Aside = field(default_factory=Aside)
    """which rows belong together, when they were, and what they count, where that is said"""

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
class Look:
    """A table, and what is wrong with its file."""

    table: Table
    """the columns that are features, and the target"""
    faults: list[str]
    """why the file cannot be trained on, a sentence for each column"""
    left_out: pd.DataFrame
    """the columns that are no features, as they were read: shape (rows, columns)"""


@dataclass(frozen=True)
class Split:
    """The rows that are fitted on, and the rows that are only measured on."""

    train_features: pd.DataFrame
    test_features: pd.DataFrame
    train_target: pd.Series
    test_target: pd.Series
    train_aside: Aside = field(default_factory=Aside)
    test_aside: Aside = field(default_factory=Aside)

    @property
    def train(self) -> tuple[pd.DataFrame, pd.Series, np.ndarray | None]:
        """The rows that are fitted on, their target, and what each counts, where they do not count alike."""
        return self.train_features, self.train_target, self.train_aside.weights

    @property
    def test(self) -> tuple[pd.DataFrame, pd.Series, np.ndarray | None]:
        """The same of the held-out rows."""
        return self.test_features, self.test_target, self.test_aside.weights


def read(
    path: Path,
    target: str,
    task: Task | None = None,
    drop: tuple[str, ...] = (),
    keep: tuple[str, ...] = (),
    form: Form | None = None,
) -> Table:
    """Read and check a file.

    `target` names the column to predict; a column TARGET_name beside it has the names of the class numbers 0, 1, …;
    every other column is a feature, but for those in `drop`, those that look like an id and are not in `keep`, and those by
    which the form divides or weights the rows. Raises DataError naming each column at fault, and the first of its rows.
    """
    look = look_at(path, target, task, drop, keep, form)
    if look.faults:
        more = [f"and {len(look.faults) - MOST_FAULTS} more"] if len(look.faults) > MOST_FAULTS else []
        raise DataError("; ".join([*look.faults[:MOST_FAULTS], *more]))
    table = look.table
    if table.features.columns.empty:
        raise DataError(
            f"{path} has no feature column beside {target!r}" + "".join(f"; {text}" for text in table.remarks)
        )
    return table


def look_at(
    path: Path,
    target: str,
    task: Task | None = None,
    drop: tuple[str, ...] = (),
    keep: tuple[str, ...] = (),
    form: Form | None = None,
) -> Look:
    """Read a file as `read` does, and say what `read` would refuse.

    A target at fault is there as far as it can be understood. Raises DataError where there is no table at all.
    """
    quantity = target if task is Task.REGRESSION else None
    form = replace(form or Form(), drop=drop, words=(target, f"{target}_name"), quantity=quantity)
    with ThreadPoolExecutor(1) as beside:  # the digest takes a tenth of the time, and another core has it
        return _look_at(path, beside.submit(reading.sha256, path), target, task, keep, form)


def _look_at(
    path: Path, digest: Future[str], target: str, task: Task | None, keep: tuple[str, ...], form: Form
) -> Look:
    rows, wishes, drop = reading.read(path, form), form.wishes, form.drop
    _check_columns(rows, path, target, [*drop, *keep, *wishes.names, *form.aside])
    frame, aside = set_aside(rows.frame.drop(columns=list(drop)) if drop else rows.frame, form, path, rows.place)
    frame, skipped, way_out = _labelled(frame, target, form.skip_unlabelled, path)
    labels, understood, class_names, faults = _understood(frame, target, task, path, rows.place)
    # Of a target that could not be read it is said already.
    faults = [] if target in rows.at_fault else [fault + way_out for fault in faults]
    sums, called_sums = totals.found(frame, target, rows.place)
    features = frame.drop(columns=[target] if class_names is None else [target, f"{target}_name"])
    features = _with_codes(_of_rows(features, labels), wishes)
    found = _told(features, wishes, keep, rows.is_typed)
    # Of columns that could not be read there is nothing else to say.
    others = {name: verdict for name, verdict in found.items() if name not in rows.at_fault}
    columns = {name: verdict.values for name, verdict in found.items() if verdict.values is not None}
    typed = pd.DataFrame(columns, index=features.index, copy=False)
    table = Table(
        path=path,
        name=stem(path).removesuffix("_dataset"),
        sha256=digest.result(),
        task=understood,
        columns=[_column(values, found[name]) for name, values in columns.items()],
        features=typed,
        target=labels,
        class_names=class_names,
        remarks=[
            *rows.remarks,
            *_remarks(typed, others, rows.words),
            *_of_target(labels, understood, task is None and class_names is None, not faults),
            *called_sums,
            *skipped,
            *aside.remarks,
        ],
        aside=aside.of(labels.index.to_numpy()),
    )
    left_out = features[[name for name in features.columns if str(name) not in columns]]
    of_file = [f"{path} {fault}" for fault in (*rows.faults, *sums)]
    return Look(table, [*of_file, *faults, *_faults(features, others, path, rows.place)], left_out)


def _told(features: pd.DataFrame, wishes: Wishes, keep: tuple[str, ...], is_typed: bool) -> dict[str, Verdict]:
    """Return what each column is, under its name."""
    columns = ((str(name), column) for name, column in features.items())
    return {name: column_kinds.tell(column, wishes.of(name), name in keep, is_typed) for name, column in columns}


def _of_target(labels: pd.Series, task: Task, is_guess: bool, is_read: bool) -> Iterator[str]:
    """Yield what there is to say of a target: of a task that was told by it, and of classes where nothing is wrong with them."""
    if is_guess:
        yield from _numbered(labels)
        yield from _written_numbers(labels)
    if is_read and task is Task.CLASSIFICATION:
        yield from _no_class(labels)


def _numbered(labels: pd.Series) -> Iterator[str]:
    """Yield that whole numbers are taken for classes, where there are so many that they may be quantities."""
    if pd.api.types.is_integer_dtype(labels) and (count := labels.nunique()) >= MAY_BE_QUANTITIES:
        yield f"the target {str(labels.name)!r} has {count} different whole numbers, taken for classes; --task regression predicts a quantity"


def _written_numbers(labels: pd.Series) -> Iterator[str]:
    """Yield that numbers with a unit are taken for classes, of which two may well be some."""
    if not isinstance(labels.dtype, pd.StringDtype) or not 2 < (count := labels.nunique()) <= MOST_NUMBERED_CLASSES:
        return
    written = number_style.told(pd.Series(labels.unique()), Form())
    if written and written.digits and not written.is_plain:
        yield (
            f"the target {str(labels.name)!r} has {count} different numbers such as {labels.iloc[0]!r}, taken for classes; --task regression "
            "predicts a quantity"
        )


def _no_class(labels: pd.Series) -> Iterator[str]:
    """Yield that the name of a class may stand for one that is not known."""
    for label, count in labels.value_counts().items():
        if isinstance(label, str) and stands_for_none(label) and label.strip() and label.casefold() != "none":
            yield (
                f"the target {str(labels.name)!r} has {label!r} as a class ({count} rows); where it stands for none, leave these fields "
                "empty: --skip-unlabelled leaves out such rows"
            )


def _unlabelled(target: pd.Series) -> pd.Series:
    """Tell which rows have no label: nothing, or, beside numbers or true and false, a word for it. Shape (rows,), bool."""
    empty = _blank(target)
    if pd.api.types.is_string_dtype(target) and (missing_words.numeric(target) or missing_words.boolean(target)):
        return empty | target.map(stands_for_none, na_action="ignore").fillna(True).astype(bool)
    return empty


def _blank(target: pd.Series) -> pd.Series:
    """Tell which rows of a target have nothing in them, or nothing but blanks. Shape (rows,), bool."""
    if not pd.api.types.is_string_dtype(target):
        return target.isna()
    blanks = [text for text in target.dropna().unique() if isinstance(text, str) and not text.strip()]
    return target.isna() | target.isin(blanks) if blanks else target.isna()


def _labelled(frame: pd.DataFrame, target: str, skip: bool, path: Path) -> tuple[pd.DataFrame, list[str], str]:
    """Return the rows that have a label, where the others are to be skipped; what to say of that; and the way out of a fault."""
    unlabelled = _unlabelled(frame[target])
    count = int(unlabelled.sum())
    if not skip or not count:
        return frame, [], f"; --skip-unlabelled leaves out the {count} rows without a value in it" if count else ""
    if count == len(frame):
        raise DataError(
            f"{path}: no row has a value in column {target!r}, so --skip-unlabelled leaves nothing to train on"
        )
    labelled = frame[~unlabelled]
    # Truth values beside missing ones are objects to pandas, and numbers to those who ask for no more.
    labelled = labelled.assign(**{target: labelled[target].infer_objects()})
    return (
        labelled,
        [f"{count} of {len(frame)} rows have no value in {target!r} and are left out (--skip-unlabelled)"],
        "",
    )


def _of_rows(features: pd.DataFrame, labels: pd.Series) -> pd.DataFrame:
    """Return the rows that have a label, without a copy where all have one: that would cost as much as reading them."""
    return features if len(labels) == len(features) else features.loc[labels.index]


def _column(values: pd.Series, verdict: Verdict) -> Column:
    return Column(str(values.name), verdict.kind or Kind.TEXT, bool(values.isna().any()), verdict.folded)


def _remarks(typed: pd.DataFrame, found: dict[str, Verdict], said: dict[str, list[str]]) -> Iterator[str]:
    """Yield what there is to say of the columns; `said` are the words that pandas has taken for missing values."""
    for name, words in said.items():
        if name in typed:
            yield missing_words.remark(name, typed[name], words)
    for verdict in found.values():
        yield from verdict.remarks
    for name in _constant(typed):
        yield f"column {name!r} has one value only, {typed[name].iloc[0]}"


def _with_codes(features: pd.DataFrame, wishes: Wishes) -> pd.DataFrame:
    """Return the features with numbers as text where their name says that they are codes."""
    names = [
        str(name)
        for name, column in features.items()
        if column_kinds.is_code_name(str(name)) and column_kinds.may_be_codes(column) and str(name) not in wishes.number
    ]
    return features.assign(**{name: column_kinds.as_text(features[name]) for name in names}) if names else features


def _faults(features: pd.DataFrame, found: dict[str, Verdict], path: Path, place: Place) -> Iterator[str]:
    for name, verdict in found.items():
        if verdict.wrong is not None:
            row, words = _said(verdict.wrong, features[name], str(verdict.fault))
            yield f"{path} {place(row)}, {words}"
        elif verdict.fault is not None:
            yield f"{path}: {verdict.fault}"


def split(table: Table, seed: int = SEED) -> Split:
    """Hold out a fifth of the rows, each class in its share; the same rows each time."""
    features, target, aside = table.features, table.target, table.aside
    is_class = table.task is Task.CLASSIFICATION
    if aside.divides:
        fitted, held = held_out(aside, target, is_class, seed)
    else:
        rows, classes = np.arange(len(target)), target if is_class else None
        fitted, held = train_test_split(rows, test_size=TEST_SIZE, random_state=seed, stratify=classes)
    found = Split(
        features.iloc[fitted],
        features.iloc[held],
        target.iloc[fitted],
        target.iloc[held],
        aside.of(fitted),
        aside.of(held),
    )
    if aside.weight is not None:
        for weights, what in ((found.train[2], "to fit on"), (found.test[2], "that are held out")):
            check_weights(weights, f"{table.path}: all rows {what}", str(aside.weight.name))
    return found


def _check_columns(rows: Rows, path: Path, target: str, others: list[str]) -> None:
    frame = rows.frame
    if frame.empty:
        raise DataError(f"{path} has no rows")
    if lacking := [repr(name) for name in dict.fromkeys((target, *others)) if name not in frame.columns]:
        raise DataError(
            f"{path} has no column {', '.join(lacking[:30])}; it has {', '.join(map(repr, frame.columns[:30]))}"
            f"{_further_down(rows, target) or _no_names(frame)}"
        )
    if target in others:
        raise DataError(f"{target!r} is the target; --drop, --keep, --text, --number and --date are for features")


def _no_names(frame: pd.DataFrame) -> str:
    """Say what may be in place of names: values, as where the first line is a row, or whole lines in quotes."""
    names = [str(name) for name in frame.columns]
    if len(names) == 1 and re.search("[,;\t|]", names[0]):
        return "; are whole lines in quotes? Take these quotes away"
    if any(map(FRACTION.fullmatch, names)) or len(names) == sum(NUMBER.fullmatch(name) is not None for name in names):
        return "; are these values? Write a line with names above them"
    return ""


def _further_down(rows: Rows, target: str) -> str:
    """Say where the names of the columns are, if they are not in the first line, as where a title stands above them."""
    for row, values in enumerate(rows.frame.head(MOST_ABOVE).astype("str").fillna("").to_numpy()):
        # A title without a separator in it leaves the names in one field.
        fields = [field.strip(' "') for value in values if value for field in re.split("[,;\t|]", value)]
        if target in fields and len(fields) > 1 and not any(map(NUMBER.fullmatch, fields)):
            place = rows.place(row)
            number = place.rpartition(" ")[2]
            is_told = rows.has_names_above and number.isdigit()
            way = f" (--skip-lines {int(number) - 1} leaves out what is above)" if is_told else ""
            return f"; {place} has {target!r} as a value: are the names there?{way}"
    return ""


# --- the target ----------------------------------------------------------------------------------------------------


def _understood(
    frame: pd.DataFrame, target: str, task: Task | None, path: Path, place: Place
) -> tuple[pd.Series, Task, list[str] | None, list[str]]:
    """Return the target, the task, the names of its class numbers where it has some, and what is wrong with it.

    Where something is, the rows are left out of which nothing can be said.
    """
    task = task or (Task.CLASSIFICATION if f"{target}_name" in frame.columns else _task(frame[target]))
    try:
        labels, class_names = _target(frame, target, task, path)
        return labels, task, class_names, []
    except DataError as error:
        faults = [f"{path} {place(error.row)}, {error}" if isinstance(error, FaultyRow) else str(error)]
    if task is Task.REGRESSION or missing_words.numeric(frame[target].astype("str")):
        numbers = pd.to_numeric(frame[target], errors="coerce").astype("float64")
        numbers = numbers[numbers.abs() <= LARGEST]
        if len(numbers):
            return numbers, Task.REGRESSION, None, faults
    return frame[target].astype("str").fillna("(empty)"), Task.CLASSIFICATION, None, faults


def _task(target: pd.Series) -> Task:
    """Tell by the target: text, booleans and a few whole numbers are classes, other numbers are quantities."""
    if pd.api.types.is_bool_dtype(target) or not pd.api.types.is_numeric_dtype(target):
        if pd.api.types.is_bool_dtype(target) or not missing_words.numeric(target) or _are_codes(target):
            return Task.CLASSIFICATION
        target = pd.to_numeric(target, errors="coerce")
    values = target.dropna().unique()
    is_whole = bool(np.all(np.mod(values[np.isfinite(values)], 1) == 0))
    return Task.CLASSIFICATION if is_whole and len(values) <= MOST_NUMBERED_CLASSES else Task.REGRESSION


def _are_codes(target: pd.Series) -> bool:
    """Tell whether a target's digits are codes, of which some begin with 0, and a number would lose it."""
    return bool(target.astype("str").str.fullmatch(r"\s*0\d+\s*").any())


def _target(frame: pd.DataFrame, target: str, task: Task, path: Path) -> tuple[pd.Series, list[str] | None]:
    """Return the target and, where a column TARGET_name is there, the names of its class numbers."""
    column = frame[target]
    if task is Task.REGRESSION:
        numbers = _numbers(column, path, "a finite number")
        if len(numbers) < FEWEST:
            raise DataError(
                f"{path} has {len(numbers)} rows, too few to hold out two of them; expected {FEWEST} or more"
            )
        if numbers.nunique() < 2:
            raise DataError(
                f"{path}: column {target!r} is {numbers.iloc[0]:g} in all rows; there is nothing to predict"
            )
        return numbers, None
    if f"{target}_name" in frame.columns:
        labels = _class_numbers(column, path)
        _check_classes(labels, path)
        return labels, _class_names(frame, target, f"{target}_name", path)
    labels = _labels(column, path)
    _check_classes(labels, path)
    return labels, None


def _labels(column: pd.Series, path: Path) -> pd.Series:
    _refuse(_blank(column), column, path, "a class")
    if pd.api.types.is_bool_dtype(column):
        return column.astype(bool)
    if pd.api.types.is_numeric_dtype(column) or (missing_words.numeric(column) and not _are_codes(column)):
        numbers = pd.to_numeric(column, errors="coerce")
        _refuse(~(numbers % 1 == 0), column, path, "a class, a whole number as in the other rows")
        return numbers.astype("int64")
    if missing_words.boolean(column):
        _refuse(column.isin(MISSING_WORDS), column, path, "true or false as in the other rows")
    labels = column.astype("str")
    ways: defaultdict[str, list[str]] = defaultdict(list)
    for label in labels.unique():
        ways[label.strip().casefold()].append(label)
    for _, alike in sorted(ways.items()):
        if len(alike) > 1:
            counts = labels[labels.isin(alike)].value_counts()
            found = ", ".join(f"{label!r} ({count} rows)" for label, count in counts.items())
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
    if len(counts) > len(labels) / 2 and len(counts) > 2 and dates.look_like_dates(counts.index.astype("str")):
        raise DataError(
            f"{path}: column {labels.name!r} has dates, such as {counts.index[0]}, which are neither classes nor quantities; to predict "
            "when something will be, write the days until then"
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


# --- what is wrong --------------------------------------------------------------------------------------------------


def _numbers(column: pd.Series, path: Path, expected: str) -> pd.Series:
    if pd.api.types.is_complex_dtype(column):
        raise DataError(f"{path}: column {column.name!r} has complex numbers; expected real ones")
    numbers = pd.to_numeric(column, errors="coerce").astype("float64")
    _refuse(~(numbers.abs() <= LARGEST), column, path, expected)
    return numbers


def _constant(features: pd.DataFrame) -> list[str]:
    # Of most columns the first rows tell that they are not.
    varies = {name: (column.head(100) != column.iloc[0]).any() for name, column in features.items()}
    return [str(name) for name, some in varies.items() if not some and (features[name] == features[name].iloc[0]).all()]


def _refuse(wrong: pd.Series, column: pd.Series, path: Path, expected: str) -> None:
    """Raise DataError for the first row that is wrong, named by its line in the file."""
    if wrong.any():
        raise FaultyRow(*_said(wrong, column, f"expected {expected}"))


def _said(wrong: pd.Series, column: pd.Series, expected: str) -> tuple[int, str]:
    row = int(np.flatnonzero(wrong.to_numpy())[0])
    found = column.iloc[row]
    value = "empty" if pd.isna(found) else repr(found) if isinstance(found, str) else str(found)
    such = f" ({int(wrong.sum())} such row{'s' if wrong.sum() > 1 else ''})"
    first, _, rest = expected.partition("; ")
    words = f"column {column.name!r} is {value}; {first}{such}" + (f": {rest}" if rest else "")
    return int(column.index[row]), words
