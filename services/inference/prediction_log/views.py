"""What is kept of a model, as DuckDB sees it.

    predictions     what was asked and answered, row by row
    label_history   each label as it came
    labels          of these, the latest for each row of a request
    labelled        predictions with the label that came for them: of several with one id, the first, whose label is then not trusted
    shadow          what a challenger answered to the rows that Production answered
    compared        what both answered, one below the other, with the labels that came; of several with one id, none
    label_counts    one row: how many came, again, for what is not there, and more than a day late

Who asks for a time reads the hours that it has a part in, and labels from its first day on, which come as late as they may: what is
kept beyond that is neither listed nor opened, however much it is.

DuckDB would fetch an extension to read from S3 by itself, and there is no way out of the stack's networks; so pyarrow reads for it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
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
Time = tuple[datetime, datetime]
"""from the first moment to before the second"""
Names = tuple[str, str]
"""of the first folder and the last, beginning with the model's"""
# Later than any day: there is no last one on which a label may come.
NO_END = "date=~"
# How often it is asked before that is told which a file that was replaced meanwhile looks like.
ATTEMPTS = 5
REPLACED = (duckdb.InvalidInputException, duckdb.IOException, pa.ArrowException, OSError)
T = TypeVar("T")
# It reaches nothing else, and writes nowhere what clients sent: what does not fit the memory is an error.
CONFIG: dict[str, str | bool | int | float | list[str]] = {"enable_external_access": "false", "temp_directory": ""}
# What predictions have in common, for a time that has none.
NONE = pa.schema(
    [
        pa.field("request_id", pa.string()),
        pa.field("row", pa.int32()),
        pa.field("time", pa.timestamp("us", "UTC")),
        pa.field("version", pa.string()),
        pa.field("milliseconds", pa.float32()),
        pa.field("prediction", pa.string()),
        pa.field("probabilities", pa.list_(pa.float64())),
        pa.field("client", pa.string()),
        DATE,
        HOUR,
    ]
).empty_table()
# Where no label has come yet.
NO_LABELS = "select request_id, row, prediction as label, time, false as trusted, date from predictions where false"
# Where no challenger has been asked yet.
NO_SHADOW = (
    "select request_id, row, time, version, version as production_version, prediction, null::double[] as probabilities, "
    "null::float as milliseconds, null::float as production_milliseconds, date, hour from predictions where false"
)
VIEWS = """
create temporary view labels as
    from label_history qualify row_number() over (partition by request_id, row order by trusted desc, time desc) = 1;
create temporary view labelled as
    select predictions.*, labels.label, labels.time as labelled_at,
        labels.trusted and count(*) over (partition by request_id, row) = 1 as trusted
    from predictions join labels using (request_id, row)
    qualify row_number() over (partition by request_id, row order by predictions.time) = 1;
create temporary view label_counts as
    select count(*) as labels, count(*) filter (trusted) as trusted,
        (select count(*) from label_history) - count(*) as repeated,
        count(*) - (select count(*) from labelled) as unknown,
        (select count(*) from labelled where labelled_at - time > interval 1 day) as late
    from labels;
"""


def answered(predictions: str) -> str:
    """Return SQL for those rows of a relation of predictions whose id was used once, and whose client is known or nobody's."""
    return f"""
        select request_id, row, any_value(time) as time, any_value(version) as version,
            any_value(prediction) as prediction, any_value(client) as client,
            any_value(date) as date, any_value(hour) as hour
        from {predictions} group by request_id, row having count(*) = 1 and any_value(client) is distinct from ''
    """  # noqa: S608 - a name of ours


def compared(predictions: str, shadow: str, labels: str) -> str:
    """Return SQL for what both answered, of relations of these names: each row of them is looked at."""
    return f"""
        with answered as ({answered(predictions)}), timed as (
            select request_id, row, time, max(production_milliseconds) as model_milliseconds from {shadow} group by all
        ), answers as (
            from answered left join timed using (request_id, row, time)
            union all by name
            select beside.* exclude (probabilities, milliseconds, production_milliseconds),
                beside.milliseconds as model_milliseconds, answered.client
            from {shadow} as beside join answered on beside.request_id = answered.request_id
                and beside.row = answered.row and beside.time = answered.time
                and beside.production_version = answered.version
        )
        select answers.*, said.label, coalesce(said.trusted, false) as trusted
        from answers left join {labels} as said using (request_id, row)
    """  # noqa: S608 - names of ours


def asked(store: Store, model: str, ask: Callable[[duckdb.DuckDBPyConnection], T], time: Time | None = None) -> T:
    """Return what `ask` makes of the views of a model; raises as `opened`, and duckdb.Error.

    A file that grows is replaced by a longer one, perhaps between its footer and its rows: then all is asked again.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            with opened(store, model, time) as connection:
                return ask(connection)
        except REPLACED:
            continue
    with opened(store, model, time) as connection:
        return ask(connection)


@contextmanager
def opened(store: Store, model: str, time: Time | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a connection that has the views of a model, and reaches nothing else; None is all of its time.

    A time is to the hour: the views may have some predictions beyond its ends. Raises StoreUnusable where no prediction is kept, or what
    is kept cannot be read.
    """
    within = _names(time) if time else None
    if not (predictions := datasets(store, "predictions", model, within)):
        if within is None or not _has_any(store, model):
            raise StoreUnusable(
                f"no prediction of {model!r} is kept in {store.told} yet; PREDICTION_LOG says whether any is"
            )
        predictions = [ds.dataset(NONE)]
    with duckdb.connect(config=CONFIG) as connection:
        sql = union(connection, "predictions", predictions)
        if not any("client" in part.schema.names for part in predictions):  # all were kept by a release that had none
            sql = f"select *, null::varchar as client from ({sql})"  # noqa: S608 - it is made here
        connection.execute(f"create temporary view predictions as {sql}")
        labels = datasets(store, "labels", model, (within[0], NO_END) if within else None)
        sql = union(connection, "labels", labels) if labels else NO_LABELS
        if connection.table("predictions").select("prediction").types[0] == duckdb.sqltypes.VARCHAR:
            sql = f"select * replace (label::varchar as label) from ({sql})"  # noqa: S608 - it is made here
        connection.execute(f"create temporary view label_history as {sql}")
        shadow = datasets(store, "shadow", model, within)
        sql = union(connection, "shadow", shadow) if shadow else NO_SHADOW
        connection.execute(f"create temporary view shadow as {sql}")
        connection.execute(VIEWS)
        connection.execute(f"create temporary view compared as {compared('predictions', 'shadow', 'labels')}")
        yield connection


def _names(time: Time) -> Names:
    """Return the folders of the first and the last hour that a time has a part in."""
    first, last = (f"date={moment:%Y-%m-%d}/hour={moment:%H}" for moment in (each.astimezone(UTC) for each in time))
    return first, last


def datasets(store: Store, kind: str, model: str, within: Names | None) -> list[ds.Dataset]:
    """Return the files of a kind, a folder of the store, that are kept of a model, those in one that have the same columns of the same types.

    `within` are the names of the first and the last folder that is looked at, None for all. Raises StoreUnusable where it cannot be read.
    """
    root, folders = _root(store, kind, model), FOLDERS[kind]
    try:
        found = _listed(store.files, root, within) if within else _all(store.files, root)
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


def _root(store: Store, kind: str, model: str) -> str:
    return f"{store.root}/{kind}/model={quote(model, safe='')}"


def _has_any(store: Store, model: str) -> bool:
    selector = fs.FileSelector(_root(store, "predictions", model), allow_not_found=True)
    return bool(store.files.get_file_info(selector))


def _all(files: fs.FileSystem, folder: str) -> list[fs.FileInfo]:
    found: list[fs.FileInfo] = files.get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True))
    return found


def _listed(files: fs.FileSystem, folder: str, within: Names, parents: str = "") -> Iterator[fs.FileInfo]:
    """Yield what is in folders from the first to the last, whose names begin with `parents` here; a whole one is listed at once."""
    first, last = within
    for each in files.get_file_info(fs.FileSelector(folder, allow_not_found=True)):
        name = f"{parents}{each.base_name}"
        if each.type is not fs.FileType.Directory:
            yield each
        elif first[: len(name)] < name < last[: len(name)]:
            yield from _all(files, each.path)
        elif first[: len(name)] <= name <= last[: len(name)]:
            yield from _listed(files, each.path, within, f"{name}/")


def union(connection: duckdb.DuckDBPyConnection, kind: str, parts: Sequence[ds.Dataset]) -> str:
    """Return SQL for the rows of all parts: null where one lacks a column, text where its types have nothing in common."""
    texts = conflicting(part.schema for part in parts)
    for number, part in enumerate(parts):
        connection.register(f"{kind}_{number}", part)

    def columns(part: ds.Dataset) -> str:
        names = ['"' + name.replace('"', '""') + '"' for name in texts if name in part.schema.names]
        return f"* replace ({', '.join(f'{name}::varchar as {name}' for name in names)})" if names else "*"

    return " union all by name ".join(f"select {columns(part)} from {kind}_{n}" for n, part in enumerate(parts))  # noqa: S608 - names are quoted
