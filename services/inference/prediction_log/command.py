"""SQL over the prediction log, by DuckDB, and labels for it: `python -m inference.prediction_log.command query "select …"`."""

import argparse
import csv
import io
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa
from contract.settings import Reader

from inference.errors import LabelsUnusable, SettingsError, StoreUnusable
from inference.prediction_log import label_files
from inference.prediction_log.store import Store
from inference.prediction_log.views import asked

# Rows that are shown at most; --csv writes all.
MOST_SHOWN = 1000


def query(store: Store, model: str, sql: str, wants_csv: bool) -> None:
    """Print what a query finds; raises duckdb.Error where it is none, StoreUnusable where there is nothing to ask."""
    asked(store, model, partial(_print, sql, wants_csv))


def _print(sql: str, wants_csv: bool, connection: duckdb.DuckDBPyConnection) -> None:
    """Print what a query finds, all of which is there before the first line is: it may have to be asked again."""
    answer = connection.sql(sql)
    if answer is None:
        return
    if wants_csv:
        sys.stdout.write(as_csv(answer))
    else:
        answer.show(max_rows=MOST_SHOWN)


def as_csv(answer: duckdb.DuckDBPyRelation) -> str:
    """Return all rows of an answer as CSV, with the names of the columns above them."""
    rows, text = answer.project("columns(*)::varchar").fetchall(), io.StringIO()
    writer = csv.writer(text)
    writer.writerow(answer.columns)
    writer.writerows(rows)
    return text.getvalue()


def send(environ: Mapping[str, str], file: str) -> None:
    """Send a file of labels to the prediction service; raise LabelsUnusable, or SettingsError."""
    url = Reader(environ, SettingsError).text("INFERENCE_URL", "http://127.0.0.1:1235")
    sender = label_files.Sender(url, environ.get("API_KEY"))
    try:
        labels = label_files.read(sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes())
        taken = sender.send(labels)
    except OSError as error:
        raise LabelsUnusable(f"{file} cannot be read: {error.strerror}") from error
    except LabelsUnusable as error:
        raise LabelsUnusable(f"{file}: {error}") from None
    print(
        f"{taken['accepted']} labels are taken, {taken['trusted']} of them with an API key; "
        f"{taken['repeated']} more were of rows that had one already"
    )


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Run a command; return its exit code: 2 for what cannot be asked, 3 where there is nothing to ask, or labels are refused; 0."""
    options = parser().parse_args(arguments)
    try:
        options.run(options, environ)
    except (SettingsError, duckdb.Error, pa.ArrowException) as error:
        print(f"monitor: {error}", file=sys.stderr)
        return 2
    except (StoreUnusable, LabelsUnusable) as error:
        print(f"monitor: {error}", file=sys.stderr)
        return 3
    return 0


def _query(options: argparse.Namespace, environ: Mapping[str, str]) -> None:
    model = Reader(environ, SettingsError).text("MODEL_NAME", "iris_logistic_regression")
    query(Store.of(environ), model, options.sql, options.csv)


def _labels(options: argparse.Namespace, environ: Mapping[str, str]) -> None:
    if options.file == "status":
        options.sql = "from label_counts"
        _query(options, environ)
    else:
        send(environ, options.file)


def parser() -> argparse.ArgumentParser:
    """Return what reads the options."""
    whole = argparse.ArgumentParser("monitor", description="What is kept of predictions (docs/prediction-log.md)")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace, Mapping[str, str]], None], told: str
    ) -> argparse.ArgumentParser:
        found = commands.add_parser(name, help=told)
        found.set_defaults(run=run)
        return found

    asked = command("query", _query, "ask it in SQL")
    asked.add_argument("sql", help='"select … from predictions …"')
    sent = command("labels", _labels, "send labels to the prediction service, or count those that came")
    sent.add_argument(
        "file",
        help="CSV, Parquet or JSON lines with request_id, row and label; -: standard input; status: how many came",
    )
    for each in (asked, sent):
        each.add_argument("--csv", action="store_true", help=f"all rows as CSV; a table of {MOST_SHOWN} otherwise")
    return whole


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
