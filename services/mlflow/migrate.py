"""Bring MLflow's database to the schema of the MLflow installed here: `mlflow db upgrade`, run only when it is needed.

MLflow takes seconds to import, and Compose runs finished one-shots again at every `up`. So whether there is anything
to do is found out without it: the newest migration is read from MLflow's files, the database's from its own table.
"""

import re
import subprocess
import sys
from importlib.util import find_spec
from os import environ
from pathlib import Path

import psycopg2


def newest_revision(migrations: Path) -> str:
    """Return the one revision in an Alembic folder that no other revision builds on."""
    texts = [path.read_text() for path in migrations.glob("*.py")]
    revisions = {match for text in texts for match in re.findall(r'^revision\b.*?= *"(\w+)"', text, re.M)}
    parents = {match for text in texts for match in re.findall(r'^down_revision\b.*?= *"(\w+)"', text, re.M)}
    heads = revisions - parents
    if len(heads) != 1:
        raise SystemExit(f"migrate: {migrations} has {len(heads)} newest migrations ({sorted(heads)}), not one")
    return heads.pop()


def revision_in_force(url: str) -> str | None:
    """Return the database's revision, None for a database that MLflow has not used yet."""
    try:
        connection = psycopg2.connect(url.replace("+psycopg2", "", 1), connect_timeout=10)
    except psycopg2.OperationalError as error:
        raise SystemExit(f"migrate: the database does not let MLflow in: {str(error).strip()}") from error
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass('alembic_version') IS NOT NULL")
            if not cursor.fetchone()[0]:
                return None
            cursor.execute("SELECT version_num FROM alembic_version")
            row = cursor.fetchone()
            return row[0] if row else None
    finally:
        connection.close()


def main() -> None:
    url = environ["MLFLOW_BACKEND_STORE_URI"]
    package = find_spec("mlflow").submodule_search_locations[0]
    newest = newest_revision(Path(package, "store", "db_migrations", "versions"))
    current = revision_in_force(url)
    if current == newest:
        print(f"migrate: the database schema is at {newest}")
        return
    print(f"migrate: from {current or 'an empty database'} to {newest} …", flush=True)
    upgrade = subprocess.run(["mlflow", "db", "upgrade", url], capture_output=True, text=True)
    if upgrade.returncode:
        sys.stderr.write(upgrade.stdout + upgrade.stderr)
        raise SystemExit(
            f"migrate: `mlflow db upgrade` failed with exit code {upgrade.returncode}, its words are above"
        )
    print("migrate: done")


if __name__ == "__main__":
    main()
