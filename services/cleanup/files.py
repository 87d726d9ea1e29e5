"""The files of a run or a logged model, in MLflow's bucket or in a folder: how large they are, and without them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from botocore.exceptions import BotoCoreError, ClientError
from contract.display import first_line, quoted

from cleanup.errors import CleanupError, Elsewhere

PROXIED = "mlflow-artifacts"
# How many objects one request of S3's deletes.
MOST_AT_ONCE = 1000


class Place(Protocol):
    """Where files are."""

    def size(self) -> int:
        """Return the bytes of all files together."""

    def remove(self) -> None:
        """Remove all files; none is an error."""


@dataclass(frozen=True)
class Folder:
    """A folder of this machine's."""

    path: Path

    def size(self) -> int:
        with _errors(str(self.path)):
            return sum(file.lstat().st_size for file in self.path.rglob("*") if not file.is_dir())

    def remove(self) -> None:
        with _errors(str(self.path)):
            if self.path.exists():
                shutil.rmtree(self.path)
            with suppress(OSError):  # the folder that is named by the id, unless there is more in it
                self.path.parent.rmdir()


@dataclass(frozen=True)
class Objects:
    """The objects of a bucket whose keys begin so."""

    client: Any
    bucket: str
    prefix: str

    def _pages(self) -> Iterator[list[dict[str, Any]]]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
        yield from (page.get("Contents", []) for page in pages)

    def size(self) -> int:
        with _errors(self.bucket):
            return sum(found["Size"] for page in self._pages() for found in page)

    def remove(self) -> None:
        with _errors(self.bucket):
            for page in self._pages():
                for start in range(0, len(page), MOST_AT_ONCE):
                    keys = [{"Key": found["Key"]} for found in page[start : start + MOST_AT_ONCE]]
                    said = self.client.delete_objects(Bucket=self.bucket, Delete={"Objects": keys, "Quiet": True})
                    for refused in said.get("Errors", [])[:1]:
                        raise CleanupError(f"{self.bucket} keeps {quoted(refused['Key'])}: {refused.get('Message')}")


class Stores:
    """Where MLflow's addresses lead: `destination` is what the server has behind its artifact proxy, a bucket is at `endpoint`."""

    def __init__(self, destination: str | None, endpoint: str | None) -> None:
        self._destination, self._endpoint = destination, endpoint
        self._s3: Any = None

    @property
    def keeps_old_versions(self) -> bool:
        """Tell whether what is removed stays for a while: the bucket's set-up turns its versioning on."""
        return _is_bucket(self._destination)

    def place(self, location: str, of: str) -> Place:
        """Return where the files of the run or logged model `of` are; raise Elsewhere for a place that is no store of ours.

        Whoever reaches MLflow chooses the location of an experiment: what is removed lies in a folder named by the id.
        """
        parts = urlsplit(location)
        path = PurePosixPath(unquote(parts.path))
        if path.parent.name != of or ".." in path.parts or parts.query or parts.fragment:
            raise Elsewhere(f"its files are at {quoted(location)}, which is no folder of its own")
        if parts.scheme == PROXIED and self._destination:
            return self._behind_the_proxy(self._destination, path.relative_to("/"))
        if parts.scheme in ("", "file") and not parts.netloc and not _is_bucket(self._destination):
            return Folder(Path(url2pathname(parts.path)))
        if parts.scheme == "s3" and location.startswith(f"{self._destination}/"):
            return self._objects(location)
        raise Elsewhere(f"its files are at {quoted(location)}, which is not cleaned up here")

    def out_of_reach(self, location: str, of: str) -> str | None:
        """Say why files are not removed here, None where they are."""
        try:
            self.place(location, of)
        except Elsewhere as error:
            return str(error)
        return None

    def _behind_the_proxy(self, destination: str, path: PurePosixPath) -> Place:
        if _is_bucket(destination):
            return self._objects(f"{destination.rstrip('/')}/{path}")
        return Folder(Path(url2pathname(urlsplit(destination).path)) / path)

    def _objects(self, address: str) -> Objects:
        parts = urlsplit(address)
        return Objects(self._client(), parts.netloc, f"{parts.path.strip('/')}/")

    def _client(self) -> Any:
        if self._s3 is None:
            import boto3
            from botocore.config import Config

            self._s3 = boto3.client(
                "s3",
                endpoint_url=self._endpoint,
                config=Config(connect_timeout=5, read_timeout=60, retries={"max_attempts": 2}),
            )
        return self._s3


def _is_bucket(destination: str | None) -> bool:
    return destination is not None and destination.startswith("s3:")


@contextmanager
def _errors(where: str) -> Iterator[None]:
    """Turn what a store refuses into a CleanupError."""
    try:
        yield
    except (OSError, BotoCoreError, ClientError) as error:
        raise CleanupError(f"the artifact store {where} refuses: {first_line(error)}") from error
