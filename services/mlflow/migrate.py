"""Bring MLflow's database to the schema of the MLflow installed here: `mlflow db upgrade`, run only when it is needed.

MLflow takes seconds to import, and Compose runs finished one-shots again at every `up`. So whether there is anything
to do is found out without it: the newest migration is read from MLflow's files, the database's from its own table.
"""

import re
import subprocess
import sys
from collections.abc import Collection
from importlib.metadata import version
from importlib.util import find_spec
from os import environ
from pathlib import Path

import psycopg2

# What MLflow makes before it runs the first migration: all that is there when somebody ended it in between.
FIRST_TABLES = {"experiments", "runs", "tags", "metrics", "params"}
# `mlflow db`, without the commands beside it, whose imports take most of the time; and without looking for garbage in modules.
UPGRADE = "import gc; gc.disable(); from mlflow.db import commands; commands(prog_name='mlflow db')"


def migrations_of_mlflow() -> Path:
    """Return the folder of the migrations of the MLflow installed here."""
    found = find_spec("mlflow")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("migrate: MLflow is not installed")
    return Path(found.submodule_search_locations[0], "store", "db_migrations", "versions")


def revisions(migrations: Path) -> dict[str, str | None]:
    """Return revision → the one that it builds on, of all migrations in an Alembic folder."""
    found: dict[str, str | None] = {}
    for path in migrations.glob("*.py"):
        text = path.read_text()
        if revision := re.search(r'^revision\b.*?= *"(\w+)"', text, re.M):
            parent = re.search(r'^down_revision\b.*?= *"(\w+)"', text, re.M)
            found[revision[1]] = parent[1] if parent else None
    return found


def newest_revision(migrations: Path) -> str:
    """Return the one revision in an Alembic folder that no other revision builds on."""
    found = revisions(migrations)
    heads = found.keys() - set(found.values())
    if len(heads) != 1:
        raise SystemExit(f"migrate: {migrations} has {len(heads)} newest migrations ({sorted(heads)}), not one")
    return heads.pop()


def read(url: str) -> tuple[set[str], list[str]]:
    """Return the names of a database's tables, and the revisions that Alembic has noted in it."""
    try:
        connection = psycopg2.connect(url.replace("+psycopg2", "", 1), connect_timeout=10)
    except psycopg2.OperationalError as error:
        raise SystemExit(f"migrate: the database does not let MLflow in: {str(error).strip()}") from error
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
            tables = {row[0] for row in cursor.fetchall()}
            if "alembic_version" not in tables:
                return tables, []
            cursor.execute("SELECT version_num FROM alembic_version")
            return tables, [row[0] for row in cursor.fetchall()]
    finally:
        connection.close()


def revision_in_force(tables: set[str], noted: list[str], known: Collection[str]) -> str | None:
    """Return the revision that a database is at, None for one that MLflow has not used yet.

    Ends the job where the database is newer than the MLflow installed here, another program's, or broken: `known` are the
    revisions of this MLflow, from all of which it can be brought to the newest.
    """
    others = {table for table in tables if not table.startswith("alembic_")}
    if len(noted) == 1 and noted[0] in known:
        return noted[0]
    if not noted and others <= FIRST_TABLES:
        return None
    if "experiments" not in others:
        shown = ", ".join(sorted(others)[:5]) or "none but Alembic's"
        raise SystemExit(
            f"migrate: the database is another program's (its tables: {shown}); give MLflow an empty one of its own"
        )
    if len(noted) == 1:
        raise SystemExit(
            f"migrate: the database is newer than this MLflow, {version('mlflow')}, which does not know its revision "
            f"{noted[0]}; go back to the newer checkout, or restore a backup from before the database was migrated"
        )
    what = "no revision" if not noted else f"{len(noted)} revisions ({', '.join(sorted(noted))})"
    raise SystemExit(
        f"migrate: the database is broken: it has MLflow's tables, and {what} in its table alembic_version, where one is "
        "expected; restore a backup, or write the right one into it"
    )


def main() -> None:
    """Bring the database to the newest of MLflow's migrations, and say what was found."""
    url = environ["MLFLOW_BACKEND_STORE_URI"]
    migrations = migrations_of_mlflow()
    newest = newest_revision(migrations)
    current = revision_in_force(*read(url), revisions(migrations))
    if current == newest:
        print(f"migrate: the database schema is at {newest}")
        return
    print(f"migrate: from {current or 'an empty database'} to {newest} …", flush=True)
    upgrade = subprocess.run([sys.executable, "-c", UPGRADE, "upgrade", url], capture_output=True, text=True)
    if upgrade.returncode:
        sys.stderr.write(upgrade.stdout + upgrade.stderr)
        raise SystemExit(
            f"migrate: `mlflow db upgrade` failed with exit code {upgrade.returncode}, its words are above"
        )
    print("migrate: done")


if __name__ == "__main__":
    main()
