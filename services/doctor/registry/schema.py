"""Whether MLflow's schema in the database is the one of this checkout's MLflow."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from doctor.records import FAIL, OK, Row
from doctor.registry.commands import Commands
from doctor.registry.database import Database

# Oldest first; a test holds it against MLflow's own.
REVISIONS = (Path(__file__).parents[2] / "setup" / "mlflow-revisions.txt").read_text().split()
QUERY = "SELECT version_num FROM alembic_version"


def look(database: Database, commands: Commands) -> Iterator[Row]:
    """Yield the row of the revision that is noted in the database."""
    yield judged([str(row[0]) for row in database.rows(QUERY)], commands)


def judged(noted: Sequence[str], commands: Commands) -> Row:
    """Return the row of revisions that are noted, of which there should be one."""
    if len(noted) != 1:
        what = f"{len(noted)} revisions ({', '.join(sorted(noted))})" if noted else "no revision"
        says = f"the database is broken: {what} in its table alembic_version, where one is expected"
        return Row(
            "schema", FAIL, says, "restore a backup: scripts/restore" if "docker" in commands.start else commands.back
        )
    (revision,) = noted
    if revision == REVISIONS[-1]:
        return Row("schema", OK, f"revision {revision}, the newest of this checkout's MLflow")
    if revision in REVISIONS:
        says = f"revision {revision} is older than this checkout's MLflow, which takes {REVISIONS[-1]}"
        return Row("schema", FAIL, says, commands.start)
    says = f"revision {revision} is unknown to this checkout: a newer MLflow has written it"
    return Row("schema", FAIL, says, f"git checkout the newer release; or, without what came since: {commands.back}")
