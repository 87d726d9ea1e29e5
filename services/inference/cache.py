"""The served versions' files on disk: enough to start again with everything else gone."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from inference.errors import FetchFailed
from inference.registry import ModelVersion

FETCH_SECONDS = 600
# The version being served, and the one before it for a rollback without a download.
VERSIONS_KEPT = 2
# How the name of a folder begins while its files are on their way.
PARTIAL = "partial-"


class ModelCache:
    """A folder per version, shared by the workers of a container; a version is there whole or not at all."""

    def __init__(self, folder: Path, tracking_uri: str, model_name: str, alias: str) -> None:
        self._folder = folder / model_name
        self._last = self._folder / f"{alias}.json"
        self._tracking_uri = tracking_uri

    def folder_of(self, version: ModelVersion) -> Path:
        """Return the folder of a version's files, fetched where they are missing; raise FetchFailed."""
        folder = self._path(version)
        with self._locked():
            if not folder.is_dir():
                self._fetch(version, folder)
        return folder

    @contextmanager
    def reading(self, version: ModelVersion) -> Iterator[Path]:
        """Yield the folder of a version's files; no other worker changes it until the block ends."""
        folder = self.folder_of(version)
        with self._lock(fcntl.LOCK_SH):
            if not folder.is_dir():
                raise FetchFailed(f"version {version.version} was deleted from the cache just now; looking again")
            yield folder

    def forget(self, version: ModelVersion) -> None:
        """Delete a version's files, so that they are fetched again."""
        with self._locked():
            shutil.rmtree(self._path(version), ignore_errors=True)

    def remember(self, version: ModelVersion) -> None:
        """Note the version that is served, for a start without the registry, and let go of the oldest ones."""
        with self._locked():
            draft = self._last.with_suffix(".draft")
            draft.write_text(json.dumps(version.as_dict()))
            draft.replace(self._last)
            os.utime(self._path(version))
            whole = (path for path in self._folder.iterdir() if path.is_dir() and not path.match(f"{PARTIAL}*"))
            folders = sorted(whole, key=_last_served)
            for folder in folders[:-VERSIONS_KEPT]:
                shutil.rmtree(folder, ignore_errors=True)

    def last_served(self) -> ModelVersion | None:
        """Return the version that was served last, None where its note or its files are not there."""
        try:
            version = ModelVersion(**json.loads(self._last.read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return version if self._path(version).is_dir() else None

    def _path(self, version: ModelVersion) -> Path:
        return self._folder / f"{version.version}-{version.created_ms}"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one worker at a time change the folder: the others wait, and find what it fetched."""
        try:
            with self._lock(fcntl.LOCK_EX):
                yield
        except OSError as error:
            raise FetchFailed(f"the model cache {self._folder} cannot be used: {error.strerror}") from error

    @contextmanager
    def _lock(self, kind: int) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with open(self._folder / ".lock", "w") as lock:
            fcntl.flock(lock, kind)
            yield

    def _fetch(self, version: ModelVersion, folder: Path) -> None:
        for leftover in self._folder.glob(f"{PARTIAL}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        partial = Path(mkdtemp(prefix=PARTIAL, dir=self._folder))
        command = [sys.executable, "-m", "inference.fetch", version.uri, str(partial)]
        environ = os.environ | {"MLFLOW_TRACKING_URI": self._tracking_uri}
        try:
            subprocess.run(command, env=environ, check=True, capture_output=True, text=True, timeout=FETCH_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise FetchFailed(f"{version.uri} did not arrive within {FETCH_SECONDS} seconds") from error
        except subprocess.CalledProcessError as error:
            last_line = (error.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise FetchFailed(f"{version.uri} could not be fetched: {last_line}") from error
        partial.replace(folder)


def _last_served(folder: Path) -> float:
    return folder.stat().st_mtime
