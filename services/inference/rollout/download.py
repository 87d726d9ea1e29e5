"""Bring a version's files from where its registry says that they are into a folder.

What neither MLflow's artifact proxy nor a folder has is fetched by MLflow's client, whose import takes seconds, in a process of
its own: `python -m inference.rollout.download URI FOLDER`. Of a signed version, only what its signature lists is fetched.
"""

import errno
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlparse
from urllib.request import url2pathname

from contract import limits, signature
from contract.display import first_line, quoted, without_login
from contract.errors import Refused
from contract.file_names import SIGNATURE
from contract.process.imports import quick_imports
from contract.tracking import artifacts
from contract.tracking.artifacts import Folder, Proxy, Source
from contract.tracking.bounded_http import UNREADABLE
from contract.tracking.rest import is_server

from inference.errors import FetchFailed, VersionLost, refusing
from inference.model.version import ModelVersion
from inference.verification.signature import without_signature

# For a listing.
TIMEOUT_SECONDS = 30
# While files are only compared.
FINGERPRINT_SECONDS = 3
# How often it is asked whether a version that is on its way is still wanted.
WANTED_SECONDS = 5.0
AT_ONCE = 4
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
GONE = "are gone from the artifact store"

Listed = Callable[[Path], Collection[str]]
"""reads which files a signature lists, from the path of its own; raises ModelRefused"""


class Patience:
    """How long files may be on their way: as long as they are wanted, which is asked now and then."""

    def __init__(self, is_wanted: Callable[[], bool]) -> None:
        self._is_wanted, self._due = is_wanted, time.monotonic() + WANTED_SECONDS

    def check(self) -> None:
        """Raise OSError where it is over."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + WANTED_SECONDS
            if not self._is_wanted():
                raise OSError("the alias has moved meanwhile")


@refusing()
def fetch(  # noqa: PLR0913 - where from, where to, and three bounds on what is taken
    version: ModelVersion,
    location: str,
    tracking_uri: str,
    folder: Path,
    listed: Listed | None = None,
    is_wanted: Callable[[], bool] = lambda: True,
    most: int | None = None,
) -> None:
    """Copy a version's files into an empty folder: those that its signature lists, or all where `listed` is None.

    Raises FetchFailed where one does not arrive whole or they have more than `most` bytes, ModelRefused where there are too many, too large ones or no signature,
    and OSError where there is no room.
    """
    try:
        source = _source(location, tracking_uri)
        if source is None:
            _check_fits(version, {location: None}, most)
            _through_mlflow(version, tracking_uri, folder)
            source = Folder(folder)
            kept = _wanted(version, source, location, folder, listed)
            _remove_others(folder, kept)
        else:
            wanted = _wanted(version, source, location, folder, listed)
            _check_fits(version, wanted, most)
            _bring(source, wanted, folder, is_wanted)
    except UNREADABLE as error:
        if getattr(error, "errno", None) in NO_ROOM or os.strerror(errno.ENOSPC) in str(error):
            raise  # it is the folder that fails, and not the way here
        reason = first_line(getattr(error, "reason", error))
        raise FetchFailed(f"{version.uri} could not be fetched: {reason}") from error


def fingerprint(location: str, tracking_uri: str) -> str | None:
    """Return a text that changes with a version's files, as far as can be told without fetching them.

    In a folder: by their sizes and times. Behind the artifact proxy, which tells neither times nor digests: by their sizes
    and the signature over their contents. None elsewhere, and where they cannot be asked for.
    """
    try:
        source = _source(location, tracking_uri)
        return _fingerprint(source) if source else None
    except (*UNREADABLE, Refused, FetchFailed):
        return None  # whatever is in the way is told when they are fetched


def _fingerprint(source: Source) -> str:
    sizes = source.sizes(FINGERPRINT_SECONDS)
    if isinstance(source, Folder):
        found = [(path, (source.path / path).stat()) for path in sizes]
        return str([(path, known.st_size, known.st_mtime_ns) for path, known in found])
    content = b""
    if SIGNATURE in sizes:
        until = time.monotonic() + FINGERPRINT_SECONDS
        content = b"".join(source.pieces(SIGNATURE, limits.limit_of(SIGNATURE), until))
    return f"{sorted(sizes.items())} {hashlib.sha256(content).hexdigest()}"


def loss(location: str, tracking_uri: str, files: Collection[str]) -> str | None:
    """Say which of a version's files are no longer where they were fetched from; None where all are.

    Raises FetchFailed where that cannot be told.
    """
    if (source := _source(location, tracking_uri)) is None:
        raise FetchFailed(f"what is at {quoted(location)} cannot be told without fetching it")
    try:
        missing = sorted(set(files) - set(source.sizes(FINGERPRINT_SECONDS)))
    except HTTPError as error:
        if error.code != 404:
            raise FetchFailed(f"the artifact store answers {error.code}") from error
        missing = sorted(files)
    except (*UNREADABLE, Refused) as error:
        raise FetchFailed(f"the artifact store does not say what it has: {first_line(error)}") from error
    return _lost(missing, len(files)) if missing else None


def _lost(missing: Collection[str], of: int) -> str:
    if len(missing) == of:
        return f"its files {GONE}"
    if list(missing) == [SIGNATURE]:
        return f"it has lost {SIGNATURE}"
    return f"its files {quoted(list(missing))} {GONE}"


def _source(location: str, tracking_uri: str) -> Source | None:
    """Return where files are, None where MLflow's own client has to be asked; raise FetchFailed for what is not taken."""
    if is_server(tracking_uri):
        if (proxy := Proxy.at(location, tracking_uri)) is not None:
            return proxy
        # Whoever reaches the server chooses it: a folder of this machine, a host, a bucket.
        raise FetchFailed(
            f"its files are at {quoted(location)}; of an MLflow server, only those behind its artifact proxy "
            "(mlflow-artifacts:) are fetched: start it with --serve-artifacts"
        )
    if location.startswith("mlflow-artifacts:"):
        raise FetchFailed(
            "its files are behind the artifact proxy of an MLflow server, and MLFLOW_TRACKING_URI is "
            f"{without_login(tracking_uri)}, which is none; set it to the server's address"
        )
    if location.startswith("/"):
        return Folder(Path(location))
    if location.startswith("file:"):
        return Folder(Path(url2pathname(urlparse(location).path)))
    return None


def _wanted(
    version: ModelVersion, source: Source, location: str, folder: Path, listed: Listed | None
) -> Mapping[str, int | None]:
    """Return path → size of the files to be fetched, of which a signature is in the folder already."""
    sizes = source.sizes(TIMEOUT_SECONDS)
    limits.check_listing(sizes)
    if not sizes:
        reason = f"its files {GONE}" if version.signed_by else f"there is no file at {location}"
        raise VersionLost(f"{version.uri} could not be fetched: {reason}")
    if listed is None:
        return sizes
    if SIGNATURE not in sizes:
        raise without_signature(version)
    artifacts.copy(source, SIGNATURE, sizes[SIGNATURE], folder, time.monotonic() + TIMEOUT_SECONDS)
    wanted = listed(folder / SIGNATURE)
    if missing := sorted(set(wanted) - set(sizes)):
        raise VersionLost(f"{version.uri} could not be fetched: {_lost(missing, len(wanted))}")
    return {path: sizes[path] for path in wanted}


def _check_fits(version: ModelVersion, sizes: Mapping[str, int | None], most: int | None) -> None:
    """Raise FetchFailed where files may have more bytes than there is room for."""
    total = sum(limits.limit_of(path) if size is None else size for path, size in sizes.items())
    if most is not None and total > most:
        raise FetchFailed(
            f"there is no room for {version.uri}: its files may have {total / limits.MB:.0f} MB, and of what finds no room in "
            f"the model cache, at most {most // limits.MB} MB are kept elsewhere"
        )


def _bring(source: Source, sizes: Mapping[str, int | None], folder: Path, is_wanted: Callable[[], bool]) -> None:
    until, patience = artifacts.until_of(sizes), Patience(is_wanted)
    with ThreadPoolExecutor(AT_ONCE) as copies:
        list(copies.map(lambda path: _copy(source, path, sizes[path], folder, until, patience), sizes))


def _copy(source: Source, path: str, size: int | None, folder: Path, until: float, patience: Patience) -> None:
    if (folder / path).exists():
        return
    try:
        artifacts.copy(source, path, size, folder, until, patience.check)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    except OSError as error:
        if isinstance(error, HTTPError) or error.errno is not None:
            raise
        raise OSError(f"{path}: {error}") from error


def _remove_others(folder: Path, kept: Collection[str]) -> None:
    for path in signature.files_in(folder):
        if path not in kept and path != SIGNATURE:
            (folder / path).unlink()


def _through_mlflow(version: ModelVersion, tracking_uri: str, folder: Path) -> None:
    command = [sys.executable, "-m", "inference.rollout.download", version.uri, str(folder)]
    environ = os.environ | {"MLFLOW_TRACKING_URI": tracking_uri}
    try:
        subprocess.run(
            command, env=environ, check=True, capture_output=True, text=True, timeout=artifacts.FETCH_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(f"it did not arrive within {artifacts.FETCH_SECONDS} seconds") from error
    except subprocess.CalledProcessError as error:
        raise OSError(fault_in(error.stderr)) from error


def fault_in(stderr: str) -> str:
    """Return what a Python program said that failed: the first line of its error, and not the last of its advice."""
    lines = stderr.strip().splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    said = lines[starts[-1] + 1 :] if starts else lines[-1:]
    return first_line("\n".join(line for line in said if line[:1].strip())) or "no reason given"


if __name__ == "__main__":
    with quick_imports():
        import mlflow.artifacts

    mlflow.artifacts.download_artifacts(artifact_uri=sys.argv[1], dst_path=sys.argv[2])
