"""What a model's data looks like: inferred at the first training, kept with the version, checked at the next.

The names, types and missing values of the columns are a version's interface, so they stay as they are under one model's
name. The ranges are there to notice what changed in the world, or in the file: a unit, a decimal point, another source.
"""

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pandera
from contract.file_names import SCHEMA
from pandera.errors import SchemaErrors

from trainer.data.table import Column, Kind, Table, Task
from trainer.errors import DataError

# A column's title says what it is: a Kind, or this. pandera's own type names for text follow the machine's packages.
TARGET = "target"
# A category has to be among few to be worth a word when another one turns up.
MOST_CATEGORIES_KEPT = 100
SHOWN = 5


def infer(table: Table) -> pandera.DataFrameSchema:
    """Return the schema of a table: its columns and target, and the bounds that later data should keep."""
    columns = {column.name: _feature(column, table.features[column.name]) for column in table.columns}
    return pandera.DataFrameSchema(columns | {_target_name(table): _target(table)}, strict=True, name=table.name)


def write(schema: pandera.DataFrameSchema, folder: Path) -> None:
    """Write the schema into a model's folder."""
    (folder / SCHEMA).write_text(str(schema.to_yaml()))


def read(folder: Path) -> pandera.DataFrameSchema | None:
    """Return the schema in a model's folder, None where it has none, like a version that was logged by hand."""
    path = folder / SCHEMA
    return pandera.DataFrameSchema.from_yaml(path) if path.exists() else None


def conform(table: Table, schema: pandera.DataFrameSchema, model_name: str, new_ranges: bool) -> Table:
    """Return the table as the schema has it: its order of columns, and missing values accepted where it does.

    Raises DataError that names each column that vanished, came, or changed its type, and each value out of bounds;
    with `new_ranges` the bounds are left aside.
    """
    known = {name: column for name, column in schema.columns.items() if column.title != TARGET}
    faults = _interface_faults(table, schema, known)
    if faults:
        raise DataError(
            f"{table.path} does not fit {model_name}, whose versions have another schema: {'; '.join(faults)}. "
            "To train a model of its own, name it: --model-name NAME"
        )
    found = {column.name: column for column in table.columns}
    columns = [dataclasses.replace(found[name], missing=bool(column.nullable)) for name, column in known.items()]
    conformed = dataclasses.replace(table, columns=columns, features=table.features[list(known)])
    remarks = _check_values(conformed, schema, new_ranges)
    return dataclasses.replace(conformed, remarks=[*table.remarks, *remarks])


def _target_name(table: Table) -> str:
    return str(table.target.name)


def _feature(column: Column, values: pd.Series) -> pandera.Column:
    checks: list[pandera.Check] = []
    if column.kind is Kind.NUMBER:
        low, high = float(values.min()), float(values.max())
        slack = (high - low) or abs(high) or 1.0
        checks.append(pandera.Check.in_range(low - slack, high + slack))
    elif column.kind is Kind.TEXT and values.nunique() <= MOST_CATEGORIES_KEPT:
        checks.append(pandera.Check.isin(sorted(values.dropna().unique()), raise_warning=True))
    return pandera.Column(
        "float64" if column.kind is Kind.NUMBER else None, checks, nullable=column.missing, title=str(column.kind)
    )


def _target(table: Table) -> pandera.Column:
    checks = []
    if table.task is Task.CLASSIFICATION:
        checks.append(pandera.Check.isin(_labels(table)))
    return pandera.Column(None, checks, title=TARGET)


def _labels(table: Table) -> list[Any]:
    return [_plain(label) for label in sorted(table.target.unique())]


def _classes(column: pandera.Column) -> list[Any] | None:
    """Return the classes of a target column, None for a regression's."""
    checks = [check for check in column.checks if check.name == "isin"]
    return list(checks[0].statistics["allowed_values"]) if checks else None


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _interface_faults(table: Table, schema: pandera.DataFrameSchema, known: dict[str, pandera.Column]) -> list[str]:
    found = {column.name: column for column in table.columns}
    faults = [f"column {name!r} has vanished" for name in known if name not in found]
    faults += [f"column {name!r} is new" for name in found if name not in known]
    for name, column in found.items():
        if name in known and column.kind != known[name].title:
            faults.append(f"column {name!r} is {column.kind}, and was {known[name].title}")
        elif name in known and column.missing and not known[name].nullable:
            count = int(table.features[name].isna().sum())
            faults.append(f"column {name!r} has {count} missing values, and had none")
    return _shortened(faults) + _target_faults(table, schema)


def _target_faults(table: Table, schema: pandera.DataFrameSchema) -> list[str]:
    name, column = next((name, column) for name, column in schema.columns.items() if column.title == TARGET)
    classes = _classes(column)
    if name != _target_name(table):
        return [f"the target is {_target_name(table)!r}, and was {name!r}"]
    if (classes is None) != (table.task is Task.REGRESSION):
        return [f"the task is {table.task}, and was {'regression' if classes is None else 'classification'}"]
    if classes is not None and (now := _labels(table)) != classes:
        return [f"the classes of {name!r} are {_shortened(now)}, and were {_shortened(classes)}"]
    return []


def _check_values(table: Table, schema: pandera.DataFrameSchema, new_ranges: bool) -> list[str]:
    """Raise DataError for values out of bounds, unless they are accepted; return what is worth a remark."""
    frame = table.features.assign(**{_target_name(table): table.target})
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            schema.validate(frame, lazy=True)
    except SchemaErrors as error:
        faults = _out_of_bounds(table, error.failure_cases)
        if not new_ranges:
            raise DataError(
                f"{table.path} has values far out of the range that this model was trained on: {'; '.join(faults)}. "
                "If the data is right, say --new-ranges"
            ) from error
        return [f"accepted as a new range: {fault}" for fault in faults]
    return [_new_categories(str(warning.message)) for warning in caught if "isin" in str(warning.message)]


def _out_of_bounds(table: Table, cases: pd.DataFrame) -> list[str]:
    faults = []
    for (name, check), group in cases.groupby(["column", "check"], sort=False):
        first = group.iloc[0]
        bounds = str(check).removeprefix("in_range(").removesuffix(")").replace(", ", " to ")
        faults.append(
            f"column {name!r} is {first['failure_case']} in row {int(first['index']) + 1} "
            f"({len(group)} such row{'s' if len(group) > 1 else ''}), expected {bounds}"
        )
    return _shortened(faults)


def _shortened(items: list[Any]) -> list[Any]:
    return items if len(items) <= SHOWN else [*items[:SHOWN], f"and {len(items) - SHOWN} more"]


def _new_categories(warning: str) -> str:
    """Say in our words what pandera says: Column 'x' failed element-wise validator …: isin([…]) failure cases: a, b."""
    head, _, values = warning.strip().splitlines()[0].partition(" failure cases: ")
    return f"column {head.split(chr(39))[1]!r} has categories that this model has not seen before: {values}"
