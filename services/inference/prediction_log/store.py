"""Where the prediction log is kept: a bucket, or a folder."""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
from contract.settings import Reader
from pyarrow import fs

from inference.errors import SettingsError, StoreUnusable

DEFAULT = "embedded/predictions"
KEY_FILE = "the file that AWS_SHARED_CREDENTIALS_FILE names"
CONNECT_SECONDS, ANSWER_SECONDS = 3, 20


class Store:
    """A bucket whose user is the one of AWS_SHARED_CREDENTIALS_FILE, or a folder."""

    def __init__(self, files: fs.FileSystem, root: str, told: str) -> None:
        self.files, self.root, self.told = files, root, told

    def __str__(self) -> str:
        return self.told

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Store":
        """Return the store that PREDICTION_LOG_STORE names: s3://BUCKET at S3_ENDPOINT_URL, or a folder."""
        read = Reader(environ, SettingsError)
        where = read.text("PREDICTION_LOG_STORE", DEFAULT)
        if not where.startswith("s3://"):
            root = Path(where).absolute()
            return cls(fs.LocalFileSystem(), str(root), str(root))
        bucket = where.removeprefix("s3://").partition("/")[0]
        if "@" in bucket or ":" in bucket:  # no bucket has them in its name; what follows it may
            read.refuse_login("PREDICTION_LOG_STORE", where, KEY_FILE)
        endpoint = urlsplit(read.endpoint("S3_ENDPOINT_URL", KEY_FILE))
        files = fs.S3FileSystem(
            endpoint_override=endpoint.netloc,
            scheme=endpoint.scheme,
            region=read.text("S3_REGION", "us-east-1"),
            connect_timeout=CONNECT_SECONDS,
            request_timeout=ANSWER_SECONDS,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),
        )
        return cls(files, where.removeprefix("s3://").strip("/"), f"{where} at {endpoint.geturl()}")

    def put(self, path: str, content: pa.Buffer) -> None:
        """Put a file there, whole or not at all, in the place of one that is there; raise StoreUnusable where that fails."""
        target = f"{self.root}/{path}"
        try:
            if isinstance(self.files, fs.LocalFileSystem):
                _put(Path(target), content)
            else:
                with self.files.open_output_stream(target) as stream:
                    stream.write(content)
        except (OSError, pa.ArrowException) as error:
            raise StoreUnusable(f"{self.told} takes nothing: {error}") from error

    def forget(self, days: int, now: datetime | None = None) -> None:
        """Remove what is older than so many days from a folder, 0: never; in a bucket, a rule of its lifecycle does."""
        if not days or not isinstance(self.files, fs.LocalFileSystem):
            return
        last = (now or datetime.now(UTC)).date() - timedelta(days=days)
        for folder in Path(self.root).glob("*/model=*/date=*"):
            with suppress(ValueError):  # a name of somebody else's
                if date.fromisoformat(folder.name.removeprefix("date=")) < last:
                    shutil.rmtree(folder, ignore_errors=True)


def _put(target: Path, content: pa.Buffer) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    draft.replace(target)
