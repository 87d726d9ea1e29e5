"""`make doctor`: the same of the way without Docker, `embedded/`, its database, files, keys and backups."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from stat import S_IMODE
from urllib.parse import urlsplit
from urllib.request import url2pathname

from contract.tracking.artifacts import Folder, Source

from doctor.host import backups
from doctor.patience import look_at_all
from doctor.records import FAIL, OK, Look, NotLookedAt, Row
from doctor.registry import experiments, runs, schema
from doctor.registry.commands import EMBEDDED
from doctor.registry.database import Database, sqlite
from doctor.registry.model import Model
from doctor.stack import growth, replicas, volumes

MAKE_ROOM = "make cleanup ARGS=--yes"


def look(folder: Path, repository: str, patience: float) -> list[Row]:
    """Return all rows of a folder; where there is none yet, the one that says how it comes to be."""
    if not (folder / "mlflow.db").is_file():
        return [Row("database", FAIL, f"there is nothing in {folder} yet", "make demo")]
    return look_at_all(_looks(folder, repository, patience), patience)


def _looks(folder: Path, repository: str, patience: float) -> dict[str, Look]:
    database = sqlite(folder / "mlflow.db")
    environ = os.environ
    name, alias = environ.get("MODEL_NAME", "iris_logistic_regression"), environ.get("MODEL_ALIAS", "Production")
    model = Model(database, name, alias, EMBEDDED)
    public = folder / "keys" / "signing-key.pub"
    key = public.read_bytes() if public.is_file() else None
    port = int(environ.get("INFERENCE_LISTEN_PORT", "1235"))
    return {
        "disk": partial(volumes.look_at_room, {str(folder): folder}, MAKE_ROOM),
        "keys": partial(keys, folder / "keys"),
        "schema": partial(schema.look, database, EMBEDDED),
        "experiments": partial(experiments.look, database, ("file:", "/", "."), EMBEDDED),
        "runs": partial(runs.look, database, EMBEDDED),
        "alias": model.look_at_alias,
        "files": partial(model.look_at_files, place, key, patience),
        "rollback": partial(model.look_at_way_back, place, patience),
        "served": partial(_served, model, port, patience * 0.8),
        "growth": partial(_growth, folder, database, patience / 3),
        "backup": lambda: backups.look(_backups(repository), "make backup"),
        "restore": lambda: backups.look_at_restore(_backups(repository), backups.DRILL_WITHOUT_DOCKER),
    }


def _backups(repository: str) -> backups.Known:
    if backups.is_elsewhere(repository):
        raise NotLookedAt(f"backups are in {repository}, and this doctor asks no other machine")
    return backups.of_folder(repository)


def place(location: str) -> Source:
    """Return the folder of a version's files; raise NotLookedAt for another place."""
    parts = urlsplit(location)
    if parts.scheme not in ("", "file") or parts.netloc:
        raise NotLookedAt(f"its files are at {location!r:.200}, which is no folder of this machine")
    return Folder(Path(url2pathname(parts.path)))


def keys(folder: Path) -> Iterator[Row]:
    """Yield a row for the private key and the backups' password, where others may read them."""
    private = [folder / name for name in ("signing-key.pem", "backup-password") if (folder / name).exists()]
    open_to_others = [path for path in private if S_IMODE(path.stat().st_mode) & 0o077]
    for path in open_to_others:
        says = f"{path} can be read by others: its mode is {S_IMODE(path.stat().st_mode):04o}"
        yield Row("keys", FAIL, says, f"chmod 600 {path}")
    if not open_to_others:
        yield Row("keys", OK, "readable to you alone")


def _growth(folder: Path, database: Database, seconds: float) -> Iterator[Row]:
    """Yield the row of when the disk is full; the database grows beside the files."""
    files, content = folder / "artifacts", folder / "mlflow.db"
    grown = [lambda: growth.of_database("mlflow.db", folder, database, content.stat().st_size)]
    if files.is_dir():
        grown.append(lambda: growth.of_files("artifacts", files, seconds))
    return growth.look(grown, MAKE_ROOM)


def _served(model: Model, port: int, seconds: float) -> Iterator[Row]:
    version = model.in_force()
    said = replicas.asked("127.0.0.1", port, seconds)
    return replicas.look_at_served(said, None if version is None else str(version.number))
