"""A version's files, brought from where MLflow keeps them into a folder: listed first, held to limits, then fetched.

Of a signed version only what its signature lists is fetched, and nothing is read before the signature holds.
"""

import errno
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar
from urllib.request import url2pathname

import mlflow
from contract import limits
from contract.display import quoted
from contract.file_names import SIGNATURE
from contract.tracking import artifacts
from contract.tracking.artifacts import Folder, Proxy, Source
from contract.tracking.bounded_http import UNREADABLE
from contract.tracking.rest import ABSENT, SIGNED_BY, is_server, logged_model_id
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from trainer.artifact import signing
from trainer.errors import TrackingError, VersionError, refusals
from trainer.tracking.rest import is_kept_by_server, parsed_location, what_is_lost
from trainer.tracking.run_logging import mlflow_errors

T = TypeVar("T")
# For a listing.
TIMEOUT_SECONDS = 60
# Seconds until a server that failed is asked again.
PAUSES = (1, 2)
# How this machine says so; no server's answer has these numbers.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
            raise VersionError(_not_signed(version))
        _fetch(place, sizes, [SIGNATURE], folder)
        listed = signing.listed(folder, key)
        if missing := sorted(set(listed) - set(sizes)):
            raise VersionError(f"its signature does not hold: {', '.join(missing[:5])} is signed, and is not there")
        _fetch(place, sizes, listed, folder)
        signing.verify(folder, model_name, model_id_of(version), key)
        yield folder


def _not_signed(version: ModelVersion) -> str:
    """Say that a version has no signature, or that it has lost the one that it once had."""
    if (signed_by := version.tags.get(SIGNED_BY)) is None:
        return "it is not signed; `adopt` checks and signs a version"
    return (
        f"its signature is gone: it was signed with the key {quoted(signed_by)}, and its file {SIGNATURE} is not in "
        f"the artifact store any more; bring it back, or `adopt {version.version}` checks and signs the version anew"
    )


def lost(version: ModelVersion, key_id: str) -> str | None:
    """Say what a version lacks so that nobody can serve it any more, None where it lacks nothing.

    Files that are gone, or where nothing of a version is read, are lost. `key_id` names the key that this stack signs with.
    Raises TrackingError where it cannot be told.
    """
    files = None
    if logged_model_id(version.source) is not None:
        try:
            with refusals():
                files = set(_listing(_place(version)))
        except VersionError as error:
            return f"its files ({error})"
    return what_is_lost(files, version.tags.get(SIGNED_BY), key_id)


def _place(version: ModelVersion) -> Source:
    model_id = model_id_of(version)
    with mlflow_errors():
        try:
            location = MlflowClient().get_logged_model(model_id).artifact_location
        except MlflowException as error:
            if error.error_code in ABSENT:
                raise VersionError(f"its model {quoted(model_id)} is not there any more") from error
            raise
    return place_of(location, mlflow.get_tracking_uri())


def place_of(location: str, tracking_uri: str) -> Source:
    """Return where an artifact location is; raise VersionError for one that is not read or written here.

    Whoever reaches MLflow chooses the location of an experiment, and so of its models. Behind a server it has to be one
    that the server itself keeps: a path would be one of this machine's, another scheme somebody else's store.
    """
    found = parsed_location(location)
    if is_server(tracking_uri):
        if not is_kept_by_server(location):
            raise VersionError(
                f"its files are at {quoted(location)}; expected mlflow-artifacts:/PATH, on the server itself"
            )
        return Proxy.at(location, tracking_uri)
    if found.scheme == "file" and not found.netloc:
        return Folder(Path(url2pathname(found.path)))
    if location.startswith("/"):
        return Folder(Path(location))
    raise VersionError(
        f"its files are at {quoted(location)}, which a database alone cannot give; "
        "start its tracking server and name it in MLFLOW_TRACKING_URI"
    )


def _sizes(place: Source) -> dict[str, int | None]:
    """Return path → bytes of each file at a place, all of them within the limits; raise VersionError where there is none."""
    if not (sizes := _listing(place)):
        raise VersionError("its files are gone from the artifact store")
    return sizes


def _listing(place: Source) -> dict[str, int | None]:
    try:
        sizes = _patiently(partial(place.sizes, TIMEOUT_SECONDS))
    except UNREADABLE as error:
        raise TrackingError(f"MLflow does not list the files: {error!s:.300}") from error
    limits.check_listing(sizes)
    return sizes


def _fetch(place: Source, sizes: dict[str, int | None], paths: Iterable[str], folder: Path) -> None:
    """Copy files into a folder, none of them longer than it was listed with, or than it may be."""
    until = artifacts.until_of(sizes)
    for path in paths:
        try:
            _patiently(partial(artifacts.copy, place, path, sizes[path], folder, until))
        except UNREADABLE as error:
            if getattr(error, "errno", None) in NO_ROOM:
                raise VersionError(
                    f"this machine has no room for its file {path} in {folder.parent} ({error!s:.300}); TMPDIR names "
                    "another folder, and TRAINER_MEMORY is what a container has"
                ) from error
            if getattr(error, "code", None) == 404:
                raise VersionError(f"its file {path} is not there any more") from error
            raise TrackingError(f"MLflow does not give the file {path}: {error!s:.300}") from error
        if sizes[path] is None:
            sizes[path] = (folder / path).stat().st_size
            limits.check_listing(sizes)


def _patiently(ask: Callable[[], T], pauses: tuple[float, ...] | None = None) -> T:
    """Return what is answered; a server that is busy or away for a moment is asked again."""
    pauses = PAUSES if pauses is None else pauses
    try:
        return ask()
    except OSError as error:
        if not pauses or getattr(error, "code", 500) < 500 or getattr(error, "errno", None) in NO_ROOM:
            raise
    time.sleep(pauses[0])
    return _patiently(ask, pauses[1:])
