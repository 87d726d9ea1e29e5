"""What was answered while a version challenges Production, and the labels that came: what a challenge is decided by."""

from datetime import UTC, datetime
from functools import partial

import duckdb
import pyarrow as pa
from inference.errors import StoreUnusable
from inference.prediction_log.command import as_csv
from inference.prediction_log.store import Store
from inference.prediction_log.views import asked
from monitoring.errors import NothingKept

# Of more, the first: an interval holds for what it has seen until then, and so many say enough. Once is enough of failures.
MOST_ROWS, MOST_FAILURES = 200_000, 1000
COLUMNS = "request_id, row, time, version, prediction, label, trusted, client, production_version, model_milliseconds"
# A label of nobody knows whom decides nothing. Beside each row: how many clients, or requests of nobody known, its version answered,
# for which share of an answer a label came, and how much that varies. What a challenger said in shadow has Production's labels.
SQL = f"""
with found as materialized (select {COLUMNS} from compared where time >= $since),
shares as (
    select version, avg((label is not null and trusted)::int) as share from found where production_version is null
    group by version, client, case when client is null then request_id end
), rates as (
    select version, count(*) as units, round(avg(share), 6) as label_rate, round(var_pop(share), 6) as label_variance
    from shares group by version
)
from (
    (from found where prediction is null order by time limit {MOST_FAILURES})
    union all
    (from found where prediction is not null and label is not null and trusted
        order by time, request_id, row limit {MOST_ROWS})
) left join rates using (version)
"""  # noqa: S608 - names and numbers from above


def since(store: Store, model: str, moment: datetime) -> str:
    """Return as CSV what both versions answered since a time: rows with a label of a known sender, and those on which one failed.

    Raises NothingKept where what is kept cannot be read.
    """
    try:
        return asked(store, model, partial(_found, {"since": moment}), (moment, datetime.now(UTC)))
    except (StoreUnusable, duckdb.Error, pa.ArrowException, OSError) as error:
        raise NothingKept(str(error)) from error


def _found(parameters: dict[str, datetime], connection: duckdb.DuckDBPyConnection) -> str:
    return as_csv(connection.sql(SQL, params=parameters))
