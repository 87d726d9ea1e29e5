"""SQL over the prediction log, by DuckDB: `python -m inference.prediction_log.command query "select …"`.

DuckDB would fetch an extension to read from S3 by itself, and there is no way out of the stack's networks; so pyarrow reads for it.
"""

import argparse
import csv
import os
import sys
from collections.abc import Mapping, Sequence
from urllib.parse import quote

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from contract.settings import Reader
from pyarrow import fs

from inference.errors import SettingsError, StoreUnusable
from inference.prediction_log.store import Store
from inference.prediction_log.table import conflicting

# Rows that are shown at most; --csv writes all.
MOST_SHOWN = 1000
# What files have of their folders' names.
FOLDERS = pa.schema([("date", pa.string()), ("hour", pa.string())])


def predictions(store: Store, model: str) -> list[ds.Dataset]:
    """Return all that is kept of a model's predictions, those in one that have the same columns of the same types.

    Raises StoreUnusable where it cannot be read.
    """
    root = f"{store.root}/predictions/model={quote(model, safe='')}"
    try:
        found = store.files.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True))
        paths = [each.path for each in found if each.path.endswith(".parquet") and each.base_name[0] != "."]
        if not paths:
            return []
        options = ds.FileSystemFactoryOptions(
            partitioning=ds.partitioning(FOLDERS, flavor="hive"), partition_base_dir=root
        )
        kind = ds.ParquetFileFormat()
        every = ds.FileSystemDatasetFactory(store.files, paths, kind, options).finish(FOLDERS)
        alike: dict[pa.Schema, list[ds.Fragment]] = {}
        for fragment in every.get_fragments():
            alike.setdefault(fragment.physical_schema, []).append(fragment)
        return [
            ds.FileSystemDataset(fragments, pa.schema([*schema, *FOLDERS]), kind, store.files)
            for schema, fragments in alike.items()
        ]
    except (OSError, pa.ArrowException) as error:
        raise StoreUnusable(f"{store.told} cannot be read: {error}") from error


def view(parts: Sequence[ds.Dataset]) -> str:
    """Return SQL for the rows of all parts, p0, p1, …: null where one lacks a column, text where its types have nothing in common."""
    texts = conflicting(part.schema for part in parts)

    def columns(part: ds.Dataset) -> str:
        names = ['"' + name.replace('"', '""') + '"' for name in texts if name in part.schema.names]
        return f"* replace ({', '.join(f'{name}::varchar as {name}' for name in names)})" if names else "*"

    return " union all by name ".join(f"select {columns(part)} from p{n}" for n, part in enumerate(parts))  # noqa: S608 - names are quoted


def query(store: Store, model: str, sql: str, as_csv: bool) -> None:
    """Print what a query finds; raises duckdb.Error where it is none, StoreUnusable where there is nothing to ask."""
    if not (parts := predictions(store, model)):
        raise StoreUnusable(
            f"no prediction of {model!r} is kept in {store.told} yet; PREDICTION_LOG says whether any is"
        )
    with duckdb.connect(config={"enable_external_access": "false"}) as connection:
        for number, part in enumerate(parts):
            connection.register(f"p{number}", part)
        connection.execute(f"create temporary view predictions as {view(parts)}")
        answer = connection.sql(sql)
        if answer is None:
            return
        if as_csv:
            writer = csv.writer(sys.stdout)
            writer.writerow(answer.columns)
            writer.writerows(answer.project("columns(*)::varchar").fetchall())
        else:
            answer.show(max_rows=MOST_SHOWN)


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Run a command; return its exit code: 2 for what cannot be asked, 3 where there is nothing to ask, 0."""
    options = _options(arguments)
    try:
        model = Reader(environ, SettingsError).text("MODEL_NAME", "iris_logistic_regression")
        query(Store.of(environ), model, options.sql, options.csv)
    except (SettingsError, duckdb.Error, pa.ArrowException) as error:
        print(f"monitor: {error}", file=sys.stderr)
        return 2
    except StoreUnusable as error:
        print(f"monitor: {error}", file=sys.stderr)
        return 3
    return 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("monitor", description="What is kept of predictions (docs/prediction-log.md)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    asked = commands.add_parser("query", help="ask it in SQL")
    asked.add_argument("sql", help='"select … from predictions …"')
    asked.add_argument("--csv", action="store_true", help=f"all rows as CSV; a table of {MOST_SHOWN} otherwise")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
