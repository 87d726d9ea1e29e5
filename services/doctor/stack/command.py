"""The doctor's container: reads what only root reads, becomes nobody, and looks at stores, MLflow, model and replicas."""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from contract.publishing import guard
from contract.tracking.artifacts import Proxy
from setup.stores import accounts_database

from doctor.patience import look_at_all
from doctor.records import FAIL, Look, NotLookedAt, Row
from doctor.registry import experiments, runs, schema
from doctor.registry.commands import STACK
from doctor.registry.database import Database, Unusable, postgres
from doctor.registry.model import Model
from doctor.stack import access, certificates, growth, replicas, store, tracking, volumes
from doctor.stack import postgres as server

ACCOUNTS = "SELECT 1 FROM pg_database WHERE datname = current_database() || '_auth'"
OWN_POSTGRES = "@postgres:5432/"
UP = "docker compose up -d --wait"


def look(environ: Mapping[str, str], patience: float) -> list[Row]:
    """Return all rows; what is in volumes is looked at first, as root."""
    with ThreadPoolExecutor() as pool:
        bucket = pool.submit(growth.of_files, volumes.BUCKET, access.VOLUMES / volumes.BUCKET, patience / 3)
        rows = look_at_all(_of_volumes(environ, access.VOLUMES), patience)
    secrets = access.read(environ)
    access.become_nobody()
    looks = _of_services(environ, secrets, patience)
    looks["growth"] = partial(_growth, bucket, _database(secrets, patience * 0.6) if _is_own(secrets) else None)
    return rows + look_at_all(looks, patience)


def _of_volumes(environ: Mapping[str, str], folder: Path) -> dict[str, Look]:
    places = {
        volumes.DOCKER: Path("/"),
        volumes.DATABASE: folder / volumes.DATABASE,
        volumes.BUCKET: folder / volumes.BUCKET,
    }
    return {
        "postgres data": partial(volumes.look_at_postgres, folder, environ["POSTGRES_IMAGE"]),
        "secrets": partial(volumes.look_at_secrets, folder, guard.is_open(environ)),
        "disk": partial(volumes.look_at_room, places),
    }


def _of_services(environ: Mapping[str, str], secrets: access.Secrets, patience: float) -> dict[str, Look]:
    # What waits for an answer gives up before it is given up.
    seconds = patience * 0.6
    database = _database(secrets, seconds)
    mlflow = tracking.Mlflow(environ["MLFLOW_TRACKING_URI"], seconds)
    bucket = store.Store(environ["S3_ENDPOINT_URL"], environ["S3_REGION"], environ["S3_BUCKET"], seconds)
    found: dict[str, Look] = {
        "bucket": partial(_bucket, bucket, secrets),
        "mlflow inside": partial(tracking.look_at_name, mlflow),
        "artifacts": partial(tracking.look_at_artifacts, mlflow, bucket, secrets.s3_root),
    }
    if "EDGE_SITES" in environ:  # compose.edge.yaml
        found["certificate"] = partial(certificates.look, environ, seconds)
    if database is None:
        return found | {"postgres": _no_address}
    prefixes = ("mlflow-artifacts:", f"s3://{bucket.bucket}/") if secrets.s3_root is None else ("mlflow-artifacts:",)
    model = Model(database, environ["MODEL_NAME"], environ["MODEL_ALIAS"], STACK)
    files = partial(place, bucket, secrets.s3_key, mlflow.address)
    return found | {
        "postgres": partial(_server, database, secrets),
        "schema": partial(schema.look, database, STACK),
        "accounts": partial(_accounts, database, secrets, seconds),
        "experiments": partial(experiments.look, database, prefixes, STACK),
        "runs": partial(runs.look, database, STACK),
        "alias": model.look_at_alias,
        "files": partial(model.look_at_files, files, secrets.verifying_key, seconds),
        "rollback": partial(model.look_at_way_back, files, seconds),
        "served": partial(_served, model, seconds),
        "packages": partial(_packages, model, mlflow, files, seconds),
    }


def _database(secrets: access.Secrets, seconds: float) -> Database | None:
    return None if (uri := secrets.backend_store_uri) is None else _at(uri, secrets, seconds)


def _at(uri: str, secrets: access.Secrets, seconds: float) -> Database:
    own = secrets.database_password if _is_own(secrets) else None
    return postgres(uri.replace("+psycopg2", "", 1), own, seconds)


def _accounts(database: Database, secrets: access.Secrets, seconds: float) -> Iterator[Row]:
    """Yield the row of the accounts' schema, none where there was never a login."""
    if database.rows(ACCOUNTS):
        uri = accounts_database(str(secrets.backend_store_uri))
        yield from schema.look(_at(uri, secrets, seconds), STACK, schema.ACCOUNTS)


def _is_own(secrets: access.Secrets) -> bool:
    """Tell whether the database is in the stack's own Postgres."""
    return OWN_POSTGRES in (secrets.backend_store_uri or "")


def _server(database: Database, secrets: access.Secrets) -> Iterator[Row]:
    free = None
    if _is_own(secrets):
        disk = os.statvfs(access.VOLUMES / volumes.DATABASE)
        free = disk.f_bavail * disk.f_frsize
    return server.look(database, free, volumes.makes_room({volumes.DATABASE}))


def _growth(bucket: Future[growth.Growth], database: Database | None) -> Iterator[Row]:
    return growth.look([bucket.result] if database is None else [bucket.result, partial(_of_database, database)])


def _of_database(database: Database) -> growth.Growth:
    ((size,),) = database.rows(server.SIZE)
    return growth.of_database(volumes.DATABASE, access.VOLUMES / volumes.DATABASE, database, size)


def _no_address() -> Iterator[Row]:
    yield Row("postgres", FAIL, "the secret with the database's address is not there", UP)


def _bucket(bucket: store.Store, secrets: access.Secrets) -> Iterator[Row]:
    if secrets.s3_key is None:
        return iter([Row("bucket", FAIL, "the secret with MLflow's S3 key is not there", UP)])
    return store.look(bucket, secrets.s3_key, secrets.s3_root)


def place(bucket: store.Store, key: tuple[str, str] | None, mlflow: str, location: str) -> store.Files:
    """Return where the bucket has a version's files; `mlflow` is its address. Raises NotLookedAt for another place."""
    if key is None:
        raise NotLookedAt("the secret with MLflow's S3 key is not there")
    if (proxy := Proxy.at(location, mlflow)) is None:
        raise NotLookedAt(f"its files are at {location!r:.200}, which is not MLflow's own store")
    return store.Files(bucket, key, proxy.root)


def _served(model: Model, seconds: float) -> Iterator[Row]:
    try:
        version = model.in_force()
    except Unusable:
        version = None  # the database's own row says so
    return replicas.look_at_served(
        replicas.asked("inference", 1235, seconds), None if version is None else str(version.number)
    )


def _packages(
    model: Model, mlflow: tracking.Mlflow, files: Callable[[str], store.Files], seconds: float
) -> Iterator[Row]:
    if (version := model.in_force()) is None:
        raise NotLookedAt("there is no version behind the alias")
    said = replicas.asked("inference", 1235, seconds)
    return replicas.look_at_packages(mlflow, files(version.location), said)
