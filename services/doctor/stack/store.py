"""The bucket: there, versioned, open to MLflow and closed to it elsewhere, and a version's files in it; nothing is written."""

import email.utils
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import urllib3
from contract import limits
from contract.display import first_line
from contract.errors import Refused
from minio import Minio
from minio.error import MinioException, S3Error
from urllib3.exceptions import HTTPError

from doctor.records import FAIL, OK, WARN, Row

# Docker Desktop's own machine has a clock of its own, which a start sets.
CLOCK = "sudo timedatectl set-ntp true, here and where the store runs; with Docker Desktop: restart it"
UP, SET_UP = "docker compose up -d --wait", "docker compose run --rm bucket"
# A bucket that nobody has: to whoever may list it, it is missing, and to all others it is forbidden.
NOBODYS = "doctor-nobodys-bucket"
# S3 refuses requests whose time differs by a quarter of an hour.
FAIL_SKEW_SECONDS, WARN_SKEW_SECONDS = 300, 60


@dataclass(frozen=True)
class Store:
    """An S3 store, as one user of it."""

    endpoint: str
    region: str
    bucket: str
    seconds: float

    def client(self, key: tuple[str, str]) -> Any:
        """Return a client that gives up in time."""
        parts = urlsplit(self.endpoint)
        return Minio(
            endpoint=parts.netloc,
            access_key=key[0],
            secret_key=key[1],
            secure=parts.scheme == "https",
            region=self.region,
            http_client=urllib3.PoolManager(timeout=self.seconds, retries=False),
        )


@dataclass(frozen=True)
class Files:
    """A folder in the bucket, read past MLflow: so a login does not keep the doctor from it, and a hanging MLflow neither."""

    store: Store
    key: tuple[str, str]
    root: str

    def sizes(self, seconds: float) -> dict[str, int | None]:
        """Return path → bytes; the store's own patience counts."""
        prefix = f"{self.root}/"
        with _answering():
            found = self.store.client(self.key).list_objects(self.store.bucket, prefix=prefix, recursive=True)
            files = {file.object_name.removeprefix(prefix): file.size for file in islice(found, limits.MOST_FILES + 1)}
        if len(files) > limits.MOST_FILES:
            raise Refused(f"it has more than {limits.MOST_FILES} files")
        return files

    def pieces(self, path: str, most: int, until: float) -> Iterator[bytes]:
        """Yield a file's content; `most` bytes of it at most."""
        client = self.store.client(self.key)
        with _answering(), closing(client.get_object(self.store.bucket, f"{self.root}/{path}")) as answer:
            for piece in answer.stream(limits.MB):
                if (most := most - len(piece)) < 0:
                    raise Refused(f"its file {path} goes on after what it may have")
                yield piece


@contextmanager
def _answering() -> Iterator[None]:
    """Turn what the store's client raises into OSError, with its words."""
    try:
        yield
    except S3Error as error:
        raise OSError(f"the store says {error.code}: {first_line(error.message or '')}") from error
    except (MinioException, HTTPError) as error:
        raise OSError(f"the store does not answer: {first_line(error)}") from error


def look(store: Store, key: tuple[str, str], root: tuple[str, str] | None) -> Iterator[Row]:
    """Yield the rows of the bucket; `root` is none of an external S3, whose own user has to tell what it can."""
    try:
        _first(store, key, store.bucket)
        if (skew := _skew(store)) is not None:
            yield skew
        yield from _versioned(store, root or key)
        yield from _bound(store, key)
    except S3Error as error:
        yield refused(store.bucket, error.code, error.message or "")
    except HTTPError as error:
        yield Row("bucket", FAIL, f"the store at {store.endpoint} does not answer: {first_line(error)}", UP)


def _first(store: Store, key: tuple[str, str], bucket: str) -> None:
    next(iter(store.client(key).list_objects(bucket)), None)


def refused(bucket: str, code: str | None, message: str) -> Row:
    """Return the row of what the store says to MLflow's user."""
    if code == "RequestTimeTooSkewed":
        return Row("bucket", FAIL, "the clocks of this machine and of the store differ too much", CLOCK)
    if code == "NoSuchBucket":
        return Row("bucket", FAIL, f"the bucket {bucket!r} is not there", SET_UP)
    return Row("bucket", FAIL, f"MLflow may not read the bucket {bucket!r}: {code}: {first_line(message)}", SET_UP)


def _versioned(store: Store, key: tuple[str, str]) -> Iterator[Row]:
    try:
        status = store.client(key).get_bucket_versioning(store.bucket).status
    except S3Error as error:
        says = f"whether it keeps old versions of its objects is not told: {error.code}"
        yield Row("bucket", WARN, says, "let the S3 user of MLflow's do s3:GetBucketVersioning")
        return
    if status == "Enabled":
        yield Row("bucket", OK, f"{store.bucket!r} is open to MLflow, and keeps old versions of its objects")
    else:
        says = f"{store.bucket!r} does not keep old versions of its objects: what is overwritten or deleted is lost"
        yield Row("bucket", FAIL, says, SET_UP)


def _bound(store: Store, key: tuple[str, str]) -> Iterator[Row]:
    """Yield a warning where MLflow's user may look into a bucket that is not MLflow's."""
    try:
        _first(store, key, NOBODYS)
    except S3Error as error:
        if error.code != "NoSuchBucket":
            return
    says = f"MLflow's user {key[0]!r} may read other buckets than {store.bucket!r}"
    yield Row("bucket", WARN, says, f"leave that user the policy `{key[0]}` alone: MinIO's console, Identity, Users")


def _skew(store: Store) -> Row | None:
    """Return a row where the store's clock is another one."""
    answer = urllib3.PoolManager(timeout=store.seconds, retries=False).request("GET", store.endpoint, redirect=False)
    date = email.utils.parsedate_to_datetime(answer.headers["Date"]) if "Date" in answer.headers else None
    return None if date is None else skewed(time.time() - date.timestamp())


def skewed(seconds: float) -> Row | None:
    """Return the row of a difference between two clocks, None where it does no harm."""
    if abs(seconds) < WARN_SKEW_SECONDS:
        return None
    status = FAIL if abs(seconds) >= FAIL_SKEW_SECONDS else WARN
    says = f"the store's clock differs by {abs(seconds):.0f} seconds from this machine's"
    return Row("bucket", status, says, CLOCK)
