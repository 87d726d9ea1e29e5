"""The served versions' files on disk: enough to start again with everything else gone.

    MODEL/contents/DIGEST/      the files of a version, under what they are; never changed once they are there
    MODEL/versions/ID.json      which content a version has
    MODEL/ALIAS.json            the version that was served last, and what is known about it

A content is there whole or not at all, and is looked through before each use: one that was cut or changed since is thrown
away and fetched again. Where the disk is full or read-only, contents go to a folder that ends with the service.
"""

import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from urllib.parse import quote

from inference.errors import FetchFailed
from inference.registry import ModelVersion

log = logging.getLogger("inference")

# The content being served, and the one before it for a rollback without a download.
CONTENTS_KEPT = 2
# How the name of a folder begins while its files are on their way.
PARTIAL = "partial-"


class ModelCache:
    """A folder per content, which replicas may share; `fetch` fills an empty folder with a version's files."""

    def __init__(
        self,
        folder: Path,
        makeshift: Path,
        model_name: str,
        alias: str,
        fetch: Callable[[ModelVersion, Path], None],
    ) -> None:
        self._folders = [root / quote(model_name, safe="") for root in (folder, makeshift)]
        self._last = self._folders[0] / f"{quote(alias, safe='')}.json"
        self._fetch = fetch

    def folder_of(self, version: ModelVersion) -> Path:
        """Return the folder of a version's files, fetched where they are missing or damaged; raise FetchFailed."""
        for folder in self._folders:
            if content := self._whole(folder, version):
                return content
        try:
            return self._filled(self._folders[0], version)
        except OSError as error:
            log.warning(
                "the model cache %s cannot be used: %s; version %s is kept until the service ends, and no longer",
                self._folders[0],
                error.strerror or error,
                version.version,
            )
        try:
            return self._filled(self._folders[1], version)
        except OSError as error:
            raise FetchFailed(f"there is no room for {version.uri}: {error.strerror or error}") from error

    def forget(self, version: ModelVersion) -> None:
        """Let go of what is known of a version's files, so that they are fetched again."""
        for folder in self._folders:
            with suppress(OSError):
                _note_of(folder, version).unlink()

    def remember(self, version: ModelVersion, metrics: dict[str, float]) -> None:
        """Note the version that is served, for a start without the registry, and let go of the oldest contents.

        Raises FetchFailed where that cannot be written: what is being served is not touched by it.
        """
        try:
            with _locked(self._folders[0]):
                _write(self._last, {"version": version.as_dict(), "metrics": metrics})
        except OSError as error:
            raise FetchFailed(f"the model cache {self._folders[0]} cannot be used: {error.strerror}") from error
        finally:
            for folder in self._folders:
                with suppress(OSError):
                    self._let_go(folder, version)

    def last_served(self) -> tuple[ModelVersion, dict[str, float]] | None:
        """Return the version that was served last and its metrics; None where its note or its files are not there."""
        try:
            note = json.loads(self._last.read_text())
            version, metrics = ModelVersion(**note["version"]), dict(note["metrics"])
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return (version, metrics) if self._whole(self._folders[0], version) else None

    def _whole(self, folder: Path, version: ModelVersion) -> Path | None:
        """Return the folder of a version's files where they are just as they came."""
        if (noted := _digest_in(_note_of(folder, version))) is None:
            return None
        try:
            content = folder / "contents" / noted
            if digest_of(content) == noted:
                return content
            log.warning("the copy of version %s in the cache is damaged; it is fetched again", version.version)
            shutil.rmtree(content, ignore_errors=True)
        except OSError:
            return None
        return None

    def _filled(self, folder: Path, version: ModelVersion) -> Path:
        (folder / "contents").mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            if content := self._whole(folder, version):  # another replica has fetched it meanwhile
                return content
            for leftover in (folder / "contents").glob(f"{PARTIAL}*"):
                shutil.rmtree(leftover, ignore_errors=True)
            partial = Path(mkdtemp(prefix=PARTIAL, dir=folder / "contents"))
            try:
                return self._fill(folder, partial, version)
            finally:
                shutil.rmtree(partial, ignore_errors=True)

    def _fill(self, folder: Path, partial: Path, version: ModelVersion) -> Path:
        self._fetch(version, partial)
        digest = digest_of(partial)
        content = folder / "contents" / digest
        if not content.is_dir() or digest_of(content) != digest:
            shutil.rmtree(content, ignore_errors=True)
            partial.replace(content)
        _write(_note_of(folder, version), {"digest": digest})
        return content

    def _let_go(self, folder: Path, served: ModelVersion) -> None:
        with _locked(folder):
            notes = {note: _digest_in(note) for note in (folder / "versions").glob("*.json")}
            current = notes.get(_note_of(folder, served))
            if current:
                os.utime(folder / "contents" / current)
            contents = [path for path in (folder / "contents").iterdir() if not path.name.startswith(PARTIAL)]
            kept = {path.name for path in sorted(contents, key=lambda path: path.stat().st_mtime)[-CONTENTS_KEPT:]}
            for path in contents:
                if path.name not in kept:
                    shutil.rmtree(path, ignore_errors=True)
            for note, digest in notes.items():
                if digest not in kept:
                    note.unlink()


def digest_of(folder: Path) -> str:
    """Return the SHA-256 over the path and the content of each file below a folder; raise OSError."""
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with open(path, "rb") as file:
            whole.update(f"{path.relative_to(folder)}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not there")
    return whole.hexdigest()


def _note_of(folder: Path, version: ModelVersion) -> Path:
    # Signed again or adopted, it may have other files.
    identity = f"{version.version}-{version.created_ms}-{version.signed_by}"
    return folder / "versions" / f"{quote(identity, safe='')}.json"


def _digest_in(note: Path) -> str | None:
    """Return which content a version has, None where its note is not there or damaged."""
    try:
        return str(json.loads(note.read_text())["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".draft-{os.getpid()}")
    draft.write_text(json.dumps(content))
    draft.replace(path)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one replica at a time change the folder: the others wait, and find what it fetched."""
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
