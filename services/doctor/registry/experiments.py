"""Where experiments have their files: one whose place no client reaches takes runs and loses their files."""

from collections.abc import Iterator, Sequence

from contract.display import quoted

from doctor.records import OK, WARN, Row
from doctor.registry.commands import Commands
from doctor.registry.database import Database

QUERY = (
    "SELECT experiment_id, name, artifact_location FROM experiments WHERE lifecycle_stage = ? ORDER BY experiment_id"
)
MOST = 5


def look(database: Database, prefixes: Sequence[str], commands: Commands) -> Iterator[Row]:
    """Yield a row for each experiment that has its files elsewhere than below one of the prefixes."""
    found = database.rows(QUERY, "active")
    foreign = [row for row in found if not str(row[2]).startswith(tuple(prefixes))]
    for number, name, location in foreign[:MOST]:
        says = f"{quoted(name)} has its files at {quoted(location)}, where clients of this MLflow do not reach them"
        mend = f"log to another experiment, and delete this one: {commands.delete_experiment.format(number)}"
        yield Row("experiments", WARN, says, mend)
    if not foreign:
        yield Row("experiments", OK, f"{len(found)}, all with their files in the stack's own store")
