"""Rows of files that know their types: Parquet, a folder of it, and Feather, read by Arrow."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import compute, feather, parquet, types

from trainer import memory
from trainer.data.files.content import HIDDEN, Content, Kind
from trainer.data.files.form import Form
from trainer.data.files.rows import Rows, checked_names, numbered
from trainer.errors import DataError

# Under this name pandas writes an index without a name, mostly row numbers, which are of no column.
UNNAMED_INDEX = re.compile(r"__index_level_\d+__")
# What Arrow's files begin with that were written as a stream.
STREAM = b"\xff\xff\xff\xff"
CODE = re.compile(r"0\d+")
# What Arrow unpacks takes about so many times its size as a frame.
COPIES = 1.5


# What Arrow says of bytes that are none of its formats.
BROKEN = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError)


def read_parquet(content: Content, form: Form) -> Rows:
    """Return the rows of a Parquet file: the columns that are in it, whatever pandas noted of them when it wrote it."""
    with _whole(content.path, content.kind):
        _check_memory(content.path, [parquet.read_metadata(_source(content))])
        with parquet.ParquetFile(_source(content)) as file:
            return of(content.path, file.read(), form)


def read_folder(path: Path, form: Form) -> Rows:
    """Return the rows of the Parquet files in a folder, in the order of their names; folders NAME=VALUE are columns."""
    from pyarrow import dataset

    files = parts(path)
    if not files:
        raise DataError(f"{path} is a folder without Parquet files (*.parquet)")
    with _whole(path, "folder of Parquet"):
        metadata = [_metadata(file) for file in files]
        _check_memory(path, metadata)
        schemas = [found.schema.to_arrow_schema() for found in metadata]
        for file, schema in zip(files, schemas, strict=True):
            if other := set(schemas[0].names) ^ set(schema.names):
                raise DataError(
                    f"{path}: {files[0].name} and {file.name} differ in the column {min(other)!r}; expected the same ones"
                )
        _check_types(path, files, schemas)
        schema = pa.unify_schemas(schemas, promote_options="permissive")
        given = {"format": "parquet", "partition_base_dir": str(path)}
        found = dataset.dataset([str(file) for file in files], partitioning="hive", **given).schema
        named = pa.schema([_with_zeros(field, path, files) for field in found if field.name not in schema.names])
        whole = dataset.dataset(
            [str(file) for file in files],
            schema=pa.schema([*schema, *named]),
            partitioning=dataset.partitioning(named, flavor="hive"),
            **given,
        )
        table = whole.to_table()
        rows = of(path, table, form)
    return replace(rows, remarks=[f"{len(files)} Parquet file{'s' * (len(files) > 1)}", *rows.remarks])


def _metadata(file: Path) -> parquet.FileMetaData:
    with _whole(file, Kind.PARQUET):
        return parquet.read_metadata(file)


def _check_types(path: Path, files: list[Path], schemas: list[pa.Schema]) -> None:
    """Refuse files of which a column is text in one and numbers in another."""
    for file, schema in zip(files, schemas, strict=True):
        for field in schema:
            first = schemas[0].field(field.name)
            try:
                pa.unify_schemas([pa.schema([first]), pa.schema([field])], promote_options="permissive")
            except pa.ArrowException:
                raise DataError(
                    f"{path}: column {field.name!r} is {first.type} in {files[0].name} and {field.type} in {file.name}; expected one type"
                ) from None


def _with_zeros(field: pa.Field, path: Path, files: list[Path]) -> pa.Field:
    """Return the column of folders NAME=VALUE as text where a value begins with 0, as a postcode does."""
    start = f"{field.name}="
    values = [
        part.removeprefix(start) for file in files for part in file.relative_to(path).parts if part.startswith(start)
    ]
    has_codes = any(CODE.fullmatch(value) for value in values)
    return pa.field(field.name, pa.string()) if has_codes else field


def parts(folder: Path) -> list[Path]:
    """Return the Parquet files in a folder and those below it, sorted by name."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return [
        folder / path
        for path in sorted(found)
        if path.suffix.casefold() in (".parquet", ".pq") and not any(part.startswith(HIDDEN) for part in path.parts)
    ]


def read_feather(content: Content, form: Form) -> Rows:
    """Return the rows of a Feather file."""
    with _whole(content.path, content.kind):
        memory.check(content.path, content.size, memory.COPIES * COPIES * content.size)
        with content.open() as file:
            is_stream = file.read(len(STREAM)) == STREAM
        table = pa.ipc.open_stream(_source(content)).read_all() if is_stream else feather.read_table(_source(content))
        return of(content.path, table, form)


@contextmanager
def _whole(path: Path, kind: str) -> Iterator[None]:
    """Say of a file that Arrow cannot read that it is none of its kind, or half of one."""
    try:
        yield
    except BROKEN as error:
        raise DataError(f"{path} is no whole {kind} file: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """Return what Arrow says, without the lines after the first."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def _source(content: Content) -> Any:
    return content.path if content.data is None else pa.BufferReader(content.data)


def _check_memory(path: Path, files: list[parquet.FileMetaData]) -> None:
    """Refuse Parquet files whose rows have no room."""
    size = sum(_size(file) for file in files)
    memory.check(path, size, memory.COPIES * COPIES * size)


def _size(file: parquet.FileMetaData) -> int:
    """Return how many bytes a file's rows take, unpacked; a number that is there a million times takes few in the file."""
    groups = (file.row_group(number) for number in range(file.num_row_groups))
    return max(sum(int(group.total_byte_size) for group in groups), 8 * int(file.num_rows) * int(file.num_columns))


def _nested(schema: pa.Schema, form: Form) -> dict[str, str]:
    """Say, under its name, of columns of lists, structs and maps, and of pandas' own types, that there is no number and no category in them."""
    faults = {}
    for field in schema:
        stored = getattr(field.type, "storage_type", field.type)
        # Unless pandas has told Arrow of its types, they are in the field's metadata.
        noted = (field.metadata or {}).get(b"ARROW:extension:name", b"").decode()
        extension = getattr(field.type, "extension_name", noted)
        if field.name.strip() not in form.drop and (types.is_nested(stored) or extension.startswith("pandas.")):
            kind = extension if extension.startswith("pandas.") else f"{stored!s:.100}"
            faults[field.name.strip()] = (
                f"column {field.name!r} has values of the type {kind}; expected numbers, true and false, or text (--drop {field.name!r} "
                "leaves it out)"
            )
    return faults


def of(path: Path, table: pa.Table, form: Form) -> Rows:
    """Return an Arrow table's rows, with types that pandas has a column for."""
    table.validate(full=True)
    table = _with_range(table)
    table, kept = _with_index(table)
    columns, said = checked_names(path, table.column_names, form.drop)
    said += [f"an index without a name called {', '.join(map(repr, kept))}"] if kept else []
    arrays = [
        pa.nulls(len(table)) if types.is_nested(column.type) else _plain(column) for column in table.columns
    ]  # of nested ones nothing is kept
    keys = [str(number) for number in range(len(columns))]
    frame = pa.table(arrays, names=keys).to_pandas(ignore_metadata=True, date_as_object=False)
    if not columns:
        frame = pd.DataFrame(index=range(len(table)))
    nested = _nested(table.schema, form)
    return Rows(
        frame.set_axis(columns, axis=1),
        numbered,
        faults=[*nested.values()],
        at_fault=frozenset(nested),
        remarks=said,
    )


def _with_index(table: pa.Table) -> tuple[pa.Table, list[str]]:
    """Return the table with an index that has no name as a column, as pandas calls it; without one that is row numbers."""
    unnamed = [name for name in table.column_names if UNNAMED_INDEX.fullmatch(name)]
    table = table.drop_columns([name for name in unnamed if types.is_integer(table.schema.field(name).type)])
    kept = [name for name in unnamed if name in table.column_names]
    called = {name: "index" if len(unnamed) == 1 else f"level_{name.strip('_').rpartition('_')[2]}" for name in kept}
    called = {name: new for name, new in called.items() if new not in table.column_names}
    return table.rename_columns([called.get(name, name) for name in table.column_names]), list(called.values())


def _with_range(table: pa.Table) -> pa.Table:
    """Return the table with its index as a column where that counts up and has a name: then pandas writes no more of it."""
    noted = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}")).get("index_columns", [])
    for index in noted:
        if (
            isinstance(index, dict)
            and index.get("kind") == "range"
            and index.get("name") not in (None, *table.column_names)
        ):
            numbers = range(index["start"], index["stop"], index["step"])
            if len(numbers) == len(table):
                table = table.append_column(str(index["name"]), pa.array(numbers, pa.int64()))
    return table


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column in the type that pandas has for what it means."""
    if isinstance(column.type, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    if types.is_run_end_encoded(column.type):
        column = pa.chunked_array([compute.run_end_decode(chunk) for chunk in column.chunks], column.type.value_type)
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if types.is_decimal(column.type) or types.is_float16(column.type):
        return column.cast(pa.float64(), safe=False)
    if types.is_date(column.type):
        return column.cast(pa.timestamp("s" if types.is_date32(column.type) else "ms"))
    return column.cast(pa.large_string()) if types.is_string_view(column.type) else column
