"""A version's files, brought from where MLflow keeps them into a folder: listed first, held to limits, then fetched.

Of a signed version only what its signature lists is fetched, and nothing is read before the signature holds.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from contract import limits
from contract.display import quoted
from contract.file_names import IDENTITY, SIGNATURE
from contract.tracking import artifacts
from contract.tracking.artifacts import Source
from contract.tracking.bounded_http import UNREADABLE
from contract.tracking.rest import ABSENT, SIGNED_BY, logged_model_id
from contract.version_files import digest_of
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from trainer import memory
from trainer.artifact import signing
from trainer.errors import TrackingError, VersionError, refusals
from trainer.tracking import version_store
from trainer.tracking.answers import mlflow_errors


def model_id_of(version: ModelVersion) -> str:
    """Return the id of the logged model that a version points at; raise VersionError where it points elsewhere."""
    model_id = logged_model_id(version.source)
    if model_id is None:
        raise VersionError(
            f"version {version.version} points at {quoted(version.source)}; log the model with MLflow 3 and register it"
        )
    return model_id


@contextmanager
def unsigned(place: Source) -> Iterator[Path]:
    """Yield a folder with a copy of all files at a version's place, whoever wrote them, until the block ends.

    Raises VersionError where there is none, or more than there may be; and for what the block finds to be Refused.
    """
    with TemporaryDirectory() as parent, refusals():
        sizes = _sizes(place)
        _fetch(place, sizes, sizes, Path(parent))
        yield Path(parent)


def unsigned_file(version: ModelVersion, path: str, folder: Path) -> Path | None:
    """Copy one of a version's files into a folder, whoever wrote it; return where it is, None where there is none of that name."""
    with refusals():
        sizes = version_store.listing(place := place_of(version))
        if path not in sizes:
            return None
        _fetch(place, sizes, [path], folder)
    return folder / path


@contextmanager
def signed(version: ModelVersion, model_name: str, key: Path) -> Iterator[Path]:
    """Yield a folder with the files that a version's signature lists, verified, until the block ends.

    Raises VersionError where it is not signed with this key's pair, whole, as this very version; and for what the block
    finds to be Refused.
    """
    with TemporaryDirectory() as parent, refusals():
        folder, place = Path(parent), place_of(version)
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
    """Say what a version lacks so that nobody can serve it any more (trainer.tracking.version_store)."""
    return version_store.lost(str(version.source), lambda: place_of(version), version.tags.get(SIGNED_BY), key_id)


def lost_by_files(version: ModelVersion, key: Path) -> str | None:
    """Say the same by a version's files and their signature alone: its tags, which anybody can write, say nothing here.

    One that has never been signed has lost nothing, and neither has one whose files were changed: both can be mended. `key`
    is the private key that this stack signs with. Raises TrackingError where it cannot be told.
    """
    if logged_model_id(version.source) is None:
        return None
    try:
        with refusals():
            sizes = version_store.listing(place := place_of(version))
    except VersionError as error:
        return f"its files ({error})"
    if not sizes:
        return "its files"
    if SIGNATURE not in sizes:
        return "its signature" if IDENTITY in sizes else None
    with TemporaryDirectory() as parent:
        try:
            with refusals():
                _fetch(place, sizes, [SIGNATURE], Path(parent))
        except VersionError as error:  # it is there, and this machine has no room, say
            raise TrackingError(str(error)) from error
        try:
            listed = signing.listed(Path(parent), key)
        except VersionError as error:
            return f"its signature ({error})"
    missing = sorted(set(listed) - set(sizes))
    return f"its file {missing[0]}" if missing else None


def place_of(version: ModelVersion) -> Source:
    """Return where a version's files are, as MLflow says now; raise VersionError where nothing of it is read."""
    model_id = model_id_of(version)
    with mlflow_errors():
        try:
            location = MlflowClient().get_logged_model(model_id).artifact_location
        except MlflowException as error:
            if error.error_code in ABSENT:
                raise version_store.no_model(model_id) from error
            raise
    return version_store.place_at(location, mlflow.get_tracking_uri())


def check_unchanged(place: Source, sha256: Mapping[str, str]) -> None:
    """Raise VersionError where one of a place's files has another content by now than this SHA-256."""
    with TemporaryDirectory() as parent, refusals():
        sizes = _sizes(place)
        for path, digest in sha256.items():
            if path in sizes:
                _fetch(place, sizes, [path], Path(parent))
            if path not in sizes or digest_of(found := Path(parent, path)) != digest:
                raise VersionError(f"its file {path} was changed while it was examined, so it is not signed")
            found.unlink()


def upload(files: Iterable[Path], place: Source) -> None:
    """Put files at a place, one after the other, each in the place of what is there under its name."""
    with mlflow_errors():
        repository = get_artifact_repository(place.location, mlflow.get_tracking_uri())
        for path in files:
            repository.log_artifact(str(path))


def _sizes(place: Source) -> dict[str, int | None]:
    """Return path → bytes of each file at a place, all of them within the limits; raise VersionError where there is none."""
    if not (sizes := version_store.listing(place)):
        raise VersionError("its files are gone from the artifact store")
    return sizes


def _fetch(place: Source, sizes: dict[str, int | None], paths: Iterable[str], folder: Path) -> None:
    """Copy files into a folder, none of them longer than it was listed with, or than it may be; all within the memory's share.

    A container's temporary files are memory, and a model that is loaded takes some more.
    """
    until, paths, most = artifacts.until_of(sizes), list(paths), memory.most_files()
    _check_room(sum(sizes[path] or 0 for path in paths), most)
    for path in paths:
        others = sum(sizes[other] or 0 for other in paths if other != path)
        check = partial(_check_copy, folder / path, others, most)
        try:
            version_store.patiently(partial(artifacts.copy, place, path, sizes[path], folder, until, check))
        except UNREADABLE as error:
            if getattr(error, "errno", None) in version_store.NO_ROOM:
                raise VersionError(
                    f"this machine has no room for its file {path} in {folder.parent} ({error!s:.300}); TMPDIR names "
                    "another folder, and TRAINER_MEMORY is what a container has"
                ) from error
            if getattr(error, "code", None) == 404:
                raise VersionError(f"its file {path} is not there any more") from error
            raise TrackingError(
                f"{version_store.name_of(place)} does not give the file {path}: {error!s:.300}"
            ) from error
        if sizes[path] is None:
            sizes[path] = (folder / path).stat().st_size
            limits.check_listing(sizes)


def _check_copy(file: Path, others: int, most: int) -> None:
    """Refuse a file of a size that was not listed as soon as there is more of it than there is room for, beside the others."""
    _check_room(others + file.stat().st_size, most)


def _check_room(size: int, most: int) -> None:
    if size > most:
        raise VersionError(
            f"its files have {size / limits.MB:.0f} MB or more, and there is room for {most / limits.MB:.0f} MB, a quarter of the memory "
            "that is left; TRAINER_MEMORY is what a container has"
        )
