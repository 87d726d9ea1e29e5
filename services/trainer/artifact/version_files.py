"""A version's files, brought from where MLflow keeps them into a folder: listed first, held to limits, then fetched.

Of a signed version only what its signature lists is fetched, and nothing is read before the signature holds.
"""

import errno
import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO
from urllib.parse import quote, urlparse
from urllib.request import url2pathname, urlopen

import mlflow
from contract import limits, signature
from contract.display import quoted
from contract.errors import Refused
from contract.file_names import SIGNATURE
from contract.tracking.rest import ABSENT, is_server, logged_model_id
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from trainer.artifact import signing
from trainer.errors import TrackingError, VersionError, refusals
from trainer.tracking.rest import is_kept_by_server
from trainer.tracking.run_logging import mlflow_errors

# Of silence, while a file or a listing is on its way.
TIMEOUT_SECONDS = 60
# As long as a listing of MOST_FILES files with the longest names.
MOST_LISTING_BYTES = limits.MB
# Seconds until a server that failed is asked again.
PAUSES = (1, 2)
# What a server that answers in its own way, or not at all, leads to.
UNEXPECTED = (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError, RecursionError)
# How this machine says so; no server's answer has these numbers.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NOT_SIGNED = "it is not signed; `adopt` checks and signs a version"


def model_id_of(version: ModelVersion) -> str:
    """Return the id of the logged model that a version points at; raise VersionError where it points elsewhere."""
    model_id = logged_model_id(version.source)
    if model_id is None:
        raise VersionError(
            f"version {version.version} points at {quoted(version.source)}; log the model with MLflow 3 and register it"
        )
    return model_id


@contextmanager
def unsigned(version: ModelVersion) -> Iterator[Path]:
    """Yield a folder with a copy of all of a version's files, whoever wrote them, until the block ends.

    Raises VersionError where there is none, or more than there may be; and for what the block finds to be Refused.
    """
    with TemporaryDirectory() as parent, refusals():
        place = _place(version)
        sizes = _sizes(place)
        _fetch(place, sizes, sizes, Path(parent))
        yield Path(parent)


@contextmanager
def signed(version: ModelVersion, model_name: str, key: Path) -> Iterator[Path]:
    """Yield a folder with the files that a version's signature lists, verified, until the block ends.

    Raises VersionError where it is not signed with this key's pair, whole, as this very version; and for what the block
    finds to be Refused.
    """
    with TemporaryDirectory() as parent, refusals():
        folder, place = Path(parent), _place(version)
        sizes = _sizes(place)
        if SIGNATURE not in sizes:
            raise VersionError(NOT_SIGNED)
        _fetch(place, sizes, [SIGNATURE], folder)
        listed = signing.listed(folder, key)
        if missing := sorted(set(listed) - set(sizes)):
            raise VersionError(f"its signature does not hold: {', '.join(missing[:5])} is signed, and is not there")
        _fetch(place, sizes, listed, folder)
        signing.verify(folder, model_name, model_id_of(version), key)
        yield folder


def _place(version: ModelVersion) -> "Place":
    model_id = model_id_of(version)
    with mlflow_errors():
        try:
            location = MlflowClient().get_logged_model(model_id).artifact_location
        except MlflowException as error:
            if error.error_code in ABSENT:
                raise VersionError(f"its model {quoted(model_id)} is not there any more") from error
            raise
    return place_of(location, mlflow.get_tracking_uri())


@dataclass(frozen=True)
class Place:
    """Where a version's files are."""

    proxy: str | None
    """the address of the server's artifact proxy; None where they are in a folder of this machine"""
    root: str
    """a path, behind the proxy or on this machine"""

    def open(self, path: str) -> IO[bytes]:
        """Open one of the files to read it."""
        if self.proxy is None:
            return Path(self.root, path).open("rb")
        return _answer(f"{self.proxy}/{quote(f'{self.root}/{path}')}")

    def sizes(self) -> dict[str, int | None]:
        """Return path → bytes of each of the files."""
        if self.proxy is None:
            return {path: Path(self.root, path).stat().st_size for path in signature.files_in(Path(self.root))}
        return dict(self._listed(self.proxy))

    def _listed(self, proxy: str) -> Iterator[tuple[str, int | None]]:
        folders, count = [""], 0
        while folders:
            folder = folders.pop()
            with _answer(f"{proxy}?path={quote(f'{self.root}/{folder}'.rstrip('/'), safe='')}") as answer:
                content = answer.read(MOST_LISTING_BYTES + 1)
            if len(content) > MOST_LISTING_BYTES:
                raise Refused(f"the list of its files has more than {MOST_LISTING_BYTES} bytes")
            for file in json.loads(content).get("files", []):
                path = f"{folder}{file['path'].rpartition('/')[2]}"  # the name alone decides where we write
                limits.check_path(path)
                count += 1
                if count > limits.MOST_FILES:
                    raise Refused(f"it has more than {limits.MOST_FILES} files")
                if file.get("is_dir"):
                    folders.append(f"{path}/")
                else:
                    size = file.get("file_size")
                    yield path, None if size is None else int(size)


def place_of(location: str, tracking_uri: str) -> Place:
    """Return where an artifact location is; raise VersionError for one that is not read or written here.

    Whoever reaches MLflow chooses the location of an experiment, and so of its models. Behind a server it has to be one
    that the server itself keeps: a path would be one of this machine's, another scheme somebody else's store.
    """
    found = urlparse(location)
    if is_server(tracking_uri):
        if not is_kept_by_server(location):
            raise VersionError(
                f"its files are at {quoted(location)}; expected mlflow-artifacts:/PATH, on the server itself"
            )
        return Place(f"{tracking_uri.rstrip('/')}/api/2.0/mlflow-artifacts/artifacts", found.path.strip("/"))
    if found.scheme == "file" and not found.netloc:
        return Place(None, url2pathname(found.path))
    if location.startswith("/"):
        return Place(None, location)
    raise VersionError(
        f"its files are at {quoted(location)}, which a database alone cannot give; "
        "start its tracking server and name it in MLFLOW_TRACKING_URI"
    )


def _sizes(place: Place) -> dict[str, int | None]:
    """Return path → bytes of each file at a place, all of them within the limits."""
    try:
        sizes = place.sizes()
    except UNEXPECTED as error:
        raise TrackingError(f"MLflow does not list the files: {error!s:.300}") from error
    if not sizes:
        raise VersionError("its files are gone from the artifact store")
    limits.check_listing(sizes)
    return sizes


def _fetch(place: Place, sizes: dict[str, int | None], paths: Iterable[str], folder: Path) -> None:
    """Copy files into a folder, none of them longer than it was listed with, or than it may be."""
    left = limits.MOST_BYTES
    for path in paths:
        target = folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with place.open(path) as source, target.open("wb") as file:
                left -= _copy(source, file, path, min(left, limits.limit_of(path)))
                if sizes[path] not in (None, file.tell()):
                    raise ValueError(f"it has {file.tell()} bytes, and was listed with {sizes[path]}")
        except UNEXPECTED as error:
            if getattr(error, "errno", None) in NO_ROOM:
                raise VersionError(
                    f"this machine has no room for its file {path} in {folder.parent} ({error!s:.300}); TMPDIR names "
                    "another folder, and TRAINER_MEMORY is what a container has"
                ) from error
            if getattr(error, "code", None) == 404:
                raise VersionError(f"its file {path} is not there any more") from error
            raise TrackingError(f"MLflow does not give the file {path}: {error!s:.300}") from error


def _copy(source: IO[bytes], file: IO[bytes], path: str, most: int) -> int:
    """Copy a file of at most so many bytes, and return how many it has."""
    count = 0
    while chunk := source.read(limits.MB):
        count += len(chunk)
        if count > most:
            raise Refused(f"its file {path} has more than {most} bytes")
        file.write(chunk)
    return count


def _answer(url: str, pauses: tuple[float, ...] | None = None) -> IO[bytes]:
    """Return a server's answer; one that is busy or away for a moment is asked again."""
    pauses = PAUSES if pauses is None else pauses
    try:
        answer: IO[bytes] = urlopen(url, timeout=TIMEOUT_SECONDS)
        return answer
    except OSError as error:
        if not pauses or getattr(error, "code", 500) < 500:
            raise
    time.sleep(pauses[0])
    return _answer(url, pauses[1:])
