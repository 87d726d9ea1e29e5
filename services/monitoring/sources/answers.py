"""What was answered while a version challenges Production, and the labels that came: what a challenge is decided by."""

from datetime import UTC, datetime
from functools import partial

import duckdb
import pyarrow as pa
from inference.errors import StoreUnusable
from inference.prediction_log.command import as_csv
from inference.prediction_log.store import Store
from inference.prediction_log.views import answered, asked, compared
from monitoring.errors import NothingKept

# What is given at most, of which each client, or request of nobody known, has so many rows: one that sends much leaves room for all others.
MOST_ROWS, MOST_OF_UNIT, MOST_FAILURES = 200_000, 100, 1000
# Of about so many rows, those of requests drawn by their ids' hash, it is counted for which share a label came: to count all takes memory for each.
MOST_COUNTED = 500_000
# Of what the process may take. The rest is for the look, for what reads files, and for the answer as text.
MEMORY = "40%"
COLUMNS = "request_id, row, time, version, prediction, label, trusted, client, production_version, model_milliseconds"
# A label of nobody knows whom decides nothing. What has none, and on which nobody failed, is not even looked at closely: of a large log that
# is the most.
FOUND = f"""
create temporary table told as
    select request_id, row, arg_max(label, time) as label, true as trusted from label_history where trusted group by all;
create temporary table found as
    with named as (
        select request_id, row from told union select request_id, row from shadow where prediction is null
    ), asked as (
        from predictions semi join named using (request_id, row)
    ), shadowed as (
        from shadow semi join named using (request_id, row)
    )
    select {COLUMNS} from ({compared("asked", "shadowed", "told")})
    where time >= $since and (prediction is null or label is not null);
"""  # noqa: S608 - names from above
# How many clients, or requests of nobody known, a version answered, for which share of an answer a label came, and how much that varies.
# What a challenger said in shadow has Production's labels.
RATES = f"""
create temporary table rates as
    with drawn as (
        from predictions
        where hash(request_id) % (select 1 + count(*) // {MOST_COUNTED} from predictions where time >= $since) = 0
    ), answered as ({answered("drawn")}), shares as (
        select version, avg((told.label is not null)::int) as share from answered left join told using (request_id, row)
        where answered.time >= $since group by version, client, case when client is null then request_id end
    )
    select version, count(*) as units, round(avg(share), 6) as label_rate, round(var_pop(share), 6) as label_variance
    from shares group by version;
"""  # noqa: S608 - names and a number from above
# The first rows of each client, one after the other of all: those that both have answered by themselves, so that there are pairs.
GIVEN = f"""
with counted as (
    select *, count(*) over (partition by request_id, row) as versions from found
), placed as (
    select *, dense_rank() over (
        partition by client, case when client is null then request_id end, versions order by time, request_id, row
    ) as place from counted
), given as (
    (select {COLUMNS} from placed where prediction is null order by time limit {MOST_FAILURES})
    union all
    (select {COLUMNS} from placed where prediction is not null and place <= {MOST_OF_UNIT}
        order by place, time, request_id, row limit {MOST_ROWS})
)
select given.*, units, label_rate, label_variance, (select count(*) from found) - count(*) over () as left_out
from given left join rates using (version)
"""  # noqa: S608 - names and numbers from above


def since(store: Store, model: str, moment: datetime) -> str:
    """Return as CSV what both versions answered since a time: rows with a label of a known sender, and those on which one failed.

    Of more than MOST_ROWS rows, or MOST_OF_UNIT of one client, the first; `left_out` says how many are not there. Raises NothingKept
    where what is kept cannot be read, or takes more memory than there is.
    """
    try:
        return asked(store, model, partial(_found, {"since": moment}), (moment, datetime.now(UTC)))
    except duckdb.OutOfMemoryException as error:
        raise NothingKept(
            f"what was answered since {moment.isoformat()} takes more memory than {MEMORY} of what there is "
            f"(MONITOR_MEMORY): {str(error).partition(chr(10))[0]}"
        ) from error
    except (StoreUnusable, duckdb.Error, pa.ArrowException, OSError) as error:
        raise NothingKept(str(error)) from error


def _found(parameters: dict[str, datetime], connection: duckdb.DuckDBPyConnection) -> str:
    connection.execute("set memory_limit = $limit", {"limit": MEMORY})
    connection.execute("set threads = 1")  # each takes memory of its own, and nobody waits for it
    # How many rows files have DuckDB does not know, takes them for few, and would hold those, instead of the few that are looked for.
    connection.execute("set disabled_optimizers = 'join_order,build_side_probe_side'")
    for sql in (FOUND, RATES):
        connection.execute(sql, parameters)
    return as_csv(connection.sql(GIVEN))
