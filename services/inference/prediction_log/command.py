"""SQL over the prediction log, by DuckDB: `python -m inference.prediction_log.command query "select …"`."""

import argparse
import csv
import os
import sys
from collections.abc import Mapping

import duckdb
import pyarrow as pa
from contract.settings import Reader

from inference.errors import SettingsError, StoreUnusable
from inference.prediction_log.store import Store
from inference.prediction_log.views import opened

# Rows that are shown at most; --csv writes all.
MOST_SHOWN = 1000


def query(store: Store, model: str, sql: str, as_csv: bool) -> None:
    """Print what a query finds; raises duckdb.Error where it is none, StoreUnusable where there is nothing to ask."""
    with opened(store, model) as connection:
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
