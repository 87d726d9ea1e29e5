"""What is kept of a model, as DuckDB sees it.

    predictions     what was asked and answered, row by row
    label_history   each label as it came
    labels          of these, the latest for each row of a request
    labelled        predictions with the label that came for them: of several with one id, the latest
    shadow          what a challenger answered to the rows that Production answered
    compared        what both answered, one below the other, with the labels that came
    label_counts    one row: how many came, again, for what is not there, and more than a day late

DuckDB would fetch an extension to read from S3 by itself, and there is no way out of the stack's networks; so pyarrow reads for it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import quote

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow import fs

from inference.errors import StoreUnusable
from inference.prediction_log.store import Store
from inference.prediction_log.table import conflicting

# What files have of their folders' names.
DATE, HOUR = pa.field("date", pa.string()), pa.field("hour", pa.string())
FOLDERS = {"predictions": pa.schema([DATE, HOUR]), "labels": pa.schema([DATE]), "shadow": pa.schema([DATE, HOUR])}
# How often it is asked before that is told which a file that was replaced meanwhile looks like.
ATTEMPTS = 5
REPLACED = (duckdb.InvalidInputException, duckdb.IOException, pa.ArrowException, OSError)
T = TypeVar("T")
# Where no label has come yet.
NO_LABELS = "select request_id, row, prediction as label, time, false as trusted, date from predictions where false"
# Where no challenger has been asked yet.
NO_SHADOW = (
    "select request_id, row, time, version, version as production_version, prediction, probabilities, milliseconds, "
    "milliseconds as production_milliseconds, date, hour from predictions where false"
)
VIEWS = """
create temporary view labels as
    from label_history qualify row_number() over (partition by request_id, row order by trusted desc, time desc) = 1;
create temporary view labelled as
    select predictions.*, labels.label, labels.time as labelled_at, labels.trusted
    from predictions join labels using (request_id, row)
    qualify row_number() over (partition by request_id, row order by predictions.time) = 1;
create temporary view label_counts as
    select count(*) as labels, count(*) filter (trusted) as trusted,
        (select count(*) from label_history) - count(*) as repeated,
        count(*) - (select count(*) from labelled) as unknown,
        (select count(*) from labelled where labelled_at - time > interval 1 day) as late
    from labels;
create temporary view compared as
    with answered as (
        select request_id, row, time, version, prediction, date, hour from predictions
        qualify row_number() over (partition by request_id, row order by time) = 1
    ), timed as (
        select request_id, row, time, max(production_milliseconds) as model_milliseconds from shadow group by all
    ), answers as (
        from answered left join timed using (request_id, row, time)
        union all by name
        select shadow.* exclude (production_version, probabilities, milliseconds, production_milliseconds),
            shadow.milliseconds as model_milliseconds
        from shadow join answered on shadow.request_id = answered.request_id and shadow.row = answered.row
            and shadow.time = answered.time and shadow.production_version = answered.version
    )
    select answers.*, labels.label, coalesce(labels.trusted, false) as trusted
    from answers left join labels using (request_id, row)
"""


def asked(store: Store, model: str, ask: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
    """Return what `ask` makes of the views of a model; raises as `opened`, and duckdb.Error.

    A file that grows is replaced by a longer one, perhaps between its footer and its rows: then all is asked again.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            with opened(store, model) as connection:
                return ask(connection)
        except REPLACED:
            continue
    with opened(store, model) as connection:
        return ask(connection)


@contextmanager
def opened(store: Store, model: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a connection that has the views of a model, and reaches nothing else.

    Raises StoreUnusable where no prediction is kept, or what is kept cannot be read.
    """
    if not (predictions := datasets(store, "predictions", model)):
        raise StoreUnusable(
            f"no prediction of {model!r} is kept in {store.told} yet; PREDICTION_LOG says whether any is"
        )
    with duckdb.connect(config={"enable_external_access": "false"}) as connection:
        connection.execute(f"create temporary view predictions as {union(connection, 'predictions', predictions)}")
        labels = datasets(store, "labels", model)
        sql = union(connection, "labels", labels) if labels else NO_LABELS
        if connection.table("predictions").select("prediction").types[0] == duckdb.sqltypes.VARCHAR:
            sql = f"select * replace (label::varchar as label) from ({sql})"  # noqa: S608 - it is made here
        connection.execute(f"create temporary view label_history as {sql}")
        shadow = datasets(store, "shadow", model)
        sql = union(connection, "shadow", shadow) if shadow else NO_SHADOW
        connection.execute(f"create temporary view shadow as {sql}")
        connection.execute(VIEWS)
        yield connection


def datasets(store: Store, kind: str, model: str) -> list[ds.Dataset]:
    """Return all files of a kind, a folder of the store, that are kept of a model, those in one that have the same columns of the same types.

    Raises StoreUnusable where it cannot be read.
    """
    root, folders = f"{store.root}/{kind}/model={quote(model, safe='')}", FOLDERS[kind]
    try:
        found = store.files.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True))
        paths = [each.path for each in found if each.path.endswith(".parquet") and each.base_name[0] != "."]
        if not paths:
            return []
        options = ds.FileSystemFactoryOptions(
            partitioning=ds.partitioning(folders, flavor="hive"), partition_base_dir=root
        )
        form = ds.ParquetFileFormat()
        every = ds.FileSystemDatasetFactory(store.files, paths, form, options).finish(folders)
        alike: dict[pa.Schema, list[ds.Fragment]] = {}
        for fragment in every.get_fragments():
            alike.setdefault(fragment.physical_schema, []).append(fragment)
        return [
            ds.FileSystemDataset(fragments, pa.schema([*schema, *folders]), form, store.files)
            for schema, fragments in alike.items()
        ]
    except (OSError, pa.ArrowException) as error:
        raise StoreUnusable(f"{store.told} cannot be read: {error}") from error


def union(connection: duckdb.DuckDBPyConnection, kind: str, parts: Sequence[ds.Dataset]) -> str:
    """Return SQL for the rows of all parts: null where one lacks a column, text where its types have nothing in common."""
    texts = conflicting(part.schema for part in parts)
    for number, part in enumerate(parts):
        connection.register(f"{kind}_{number}", part)

    def columns(part: ds.Dataset) -> str:
        names = ['"' + name.replace('"', '""') + '"' for name in texts if name in part.schema.names]
        return f"* replace ({', '.join(f'{name}::varchar as {name}' for name in names)})" if names else "*"

    return " union all by name ".join(f"select {columns(part)} from {kind}_{n}" for n, part in enumerate(parts))  # noqa: S608 - names are quoted
