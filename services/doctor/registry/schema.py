"""Whether MLflow's schema in the database, and that of its accounts, is the one of this checkout's MLflow."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from doctor.records import FAIL, OK, Row
from doctor.registry.commands import Commands
from doctor.registry.database import Database

SETUP = Path(__file__).parents[2] / "setup"


@dataclass(frozen=True)
class Schema:
    """What Alembic has the revision of."""

    name: str
    table: str
    """where the revision is noted"""
    revisions: Sequence[str]
    """oldest first; a test holds them against MLflow's own"""


MLFLOW = Schema("schema", "alembic_version", (SETUP / "mlflow-revisions.txt").read_text().split())
ACCOUNTS = Schema("accounts", "alembic_version_auth", (SETUP / "mlflow-auth-revisions.txt").read_text().split())


def look(database: Database, commands: Commands, schema: Schema = MLFLOW) -> Iterator[Row]:
    """Yield the row of the revision that is noted in the database."""
    noted = database.rows(f"SELECT version_num FROM {schema.table}")  # noqa: S608 - a table of Alembic's
    yield judged([str(row[0]) for row in noted], commands, schema)


def judged(noted: Sequence[str], commands: Commands, schema: Schema = MLFLOW) -> Row:
    """Return the row of revisions that are noted, of which there should be one."""
    restore = "scripts/restore, of a backup from before" if "docker" in commands.start else commands.back
    if len(noted) != 1:
        what = f"{len(noted)} revisions ({', '.join(sorted(noted))})" if noted else "no revision"
        says = f"the database is broken: {what} in its table {schema.table}, where one is expected"
        return Row(schema.name, FAIL, says, restore)
    (revision,) = noted
    if revision == schema.revisions[-1]:
        return Row(schema.name, OK, f"revision {revision}, the newest of this checkout's MLflow")
    if revision in schema.revisions:
        says = f"revision {revision} is older than this checkout's MLflow, which takes {schema.revisions[-1]}"
        return Row(schema.name, FAIL, says, commands.start)
    says = f"revision {revision} is unknown to this checkout: a newer MLflow has written it"
    return Row(schema.name, FAIL, says, f"git checkout the newer release; or, without what came since: {commands.back}")
