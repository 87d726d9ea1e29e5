"""The served versions' files on disk: enough to start again with everything else gone.

    MODEL/contents/DIGEST/      the files of a version, under what they are; never changed once they are there
    MODEL/versions/ID.json      which content a version has
    MODEL/ALIAS.json            the version that was served last, and what is known about it

A content is there whole or not at all, and its checksum is verified before each use: one that was cut or changed since is thrown
away and fetched again. A version on its way keeps waiting those who want the same one, and nobody else: files arrive, and are
hashed, beside the rest, which is locked only for as long as it takes to put them in their place. Where the disk is full or
read-only, contents that are not too large go to a folder that ends with the service; they move in when there is room again. The
note of the last version is written when its files are there, and not before.
"""

import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import IO, Annotated, Protocol, TypeVar
from urllib.parse import quote

import msgspec
from contract import limits, signature, version_files
from contract.documents import regular
from contract.errors import Refused

from inference.errors import FetchFailed
from inference.model.version import ModelVersion
from inference.rollout.backoff import LAST_RETRY_SECONDS

log = logging.getLogger("inference")

T = TypeVar("T")

# The content being served, and the one before it for a rollback without a download.
CONTENTS_KEPT = 2
# Of their notes: each time that a version is said to be signed otherwise, there is one more of the same content.
NOTES_KEPT = 20
MOST_NOTE_BYTES = 1024**2
# What a note that is missing, or none, may raise.
NO_NOTE = (OSError, ValueError, RecursionError)
# What a content that moves in leaves of the disk.
ROOM_LEFT_BYTES = 1024**2
# Where the cache fails so (the last: a file is in its place), contents go to the fallback. Anything else about it is a fault, and somebody has to look at it.
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}
# The fallback is in memory in the container, which the workers need; there may be two contents in it at a time.
MOST_FALLBACK_BYTES = 256 * limits.MB
# How long whoever changes the folder may keep the others waiting: one that holds the lock for ever must stop nobody.
LOCK_SECONDS, LOCK_PAUSE_SECONDS = 5.0, 0.05
# How often it is tried to bring what had no room into the cache.
SETTLE_SECONDS = 60.0
# How the name of a folder begins while its files are on their way; what follows is the slot of their version.
PARTIAL = "partial-"
# What is locked while the folder is changed, and while versions of a slot are on their way: a file for each version would stay for ever.
LOCK, FETCH_LOCK = ".lock", ".fetch-"
SLOT_DIGITS = 2
# What the name of a note has in it until it is written.
DRAFT = ".draft-"
# How a content, and a note of a version, are called.
DIGEST = r"\A[0-9a-f]{64}\Z"


class _Content(msgspec.Struct):
    """Which content a version has."""

    digest: Annotated[str, msgspec.Meta(pattern=DIGEST)]


class _LastServed(_Content):
    """What is known about the version that an alias had last."""

    version: ModelVersion
    metrics: dict[str, float]


class ModelCache:
    """A folder per content, which replicas may share.

    `fetch` fills an empty folder with a version's files, of so many bytes at most (None: of as many as a version may have).
    """

    def __init__(
        self,
        folder: Path,
        fallback: Path,
        model_name: str,
        alias: str,
        fetch: Callable[[ModelVersion, Path, int | None], None],
    ) -> None:
        self._folders = [root / quote(model_name, safe="") for root in (folder, fallback)]
        self._last = self._folders[0] / f"{quote(alias, safe='')}.json"
        self._fetch = fetch
        self._served: ModelVersion | None = None

    def folder_of(self, version: ModelVersion) -> Path:
        """Return the folder of a version's files, fetched where they are missing or damaged; raise FetchFailed."""
        for folder in self._folders:
            if content := self._whole(folder, version):
                return content
        durable, fallback = self._folders
        try:
            return self._filled(durable, version, None)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise FetchFailed(f"the model cache {durable} cannot be used: {error.strerror or error}") from error
            log.warning(
                "the model cache %s cannot be used: %s; version %s is kept until the service ends, and no longer",
                durable,
                error.strerror or error,
                version.version,
            )
        try:
            self._let_go_of_fallback(self._served)
            return self._filled(fallback, version, MOST_FALLBACK_BYTES)
        except OSError as error:
            raise FetchFailed(f"there is no room for {version.uri}: {error.strerror or error}") from error

    def forget(self, version: ModelVersion) -> None:
        """Let go of a version's files, so that they are fetched again; those that another version has as well are kept."""
        for folder in self._folders:
            with suppress(OSError), _locked(folder):
                _note_of(folder, version).unlink(missing_ok=True)
                _sweep(folder, _noted_in(folder))

    def remember(self, version: ModelVersion, metrics: dict[str, float]) -> None:
        """Note the version that is served, for a start without the registry, and let go of the oldest contents.

        Raises FetchFailed where its files are not in the cache and cannot be moved there, or the note cannot be written: the
        note of the version before it is left as it is.
        """
        durable, self._served = self._folders[0], version
        try:
            durable.mkdir(parents=True, exist_ok=True)
            try:
                self._settle(version)
                with _locked(durable):
                    write_note(self._last, _LastServed(_digest_of_kept(durable, version), version, metrics))
            finally:
                with suppress(OSError), _locked(durable):
                    _let_go(durable, version, CONTENTS_KEPT)
        except OSError as error:
            raise FetchFailed(f"the model cache {durable} cannot be used: {error.strerror or error}") from error
        finally:
            self._let_go_of_fallback(version)

    def forget_last(self) -> None:
        """Have a start without the registry serve nothing; the files go when others need their room."""
        with suppress(OSError):
            self._last.unlink()

    def last_served(self) -> tuple[ModelVersion, dict[str, float]] | None:
        """Return the version that was served last and its metrics; None where its note or its files are not there."""
        try:
            last = read_note(self._last, _LastServed)
        except NO_NOTE:
            return None
        return (last.version, last.metrics) if self._whole(self._folders[0], last.version) else None

    def _settle(self, version: ModelVersion) -> None:
        """Move a version's content into the cache where it had to stay elsewhere; raise OSError."""
        durable, fallback = self._folders
        with suppress(FileNotFoundError):
            _digest_of_kept(durable, version)
            return
        if (content := self._whole(fallback, version)) is None:
            raise FileNotFoundError(f"the files of version {version.version} are not in it")
        _check_room(durable, content)
        (durable / "contents").mkdir(exist_ok=True)
        with _arriving(durable, version) as partial:
            shutil.copytree(content, partial, dirs_exist_ok=True)
            _keep(durable, partial, version)
        with _locked(fallback):
            _note_of(fallback, version).unlink(missing_ok=True)
            _sweep(fallback, _noted_in(fallback))

    def _whole(self, folder: Path, version: ModelVersion) -> Path | None:
        """Return the folder of a version's files where they are just as they came."""
        if (noted := _digest_in(_note_of(folder, version))) is None:
            return None
        content = folder / "contents" / noted
        if _has(content, noted):
            return content
        if content.exists():
            log.warning("the copy of version %s in the cache is damaged; it is fetched again", version.version)
            shutil.rmtree(content, ignore_errors=True)
        return None

    def _let_go_of_fallback(self, served: ModelVersion | None) -> None:
        """Keep nothing there but what is served, where it is from there: it is memory."""
        fallback = self._folders[1]
        with suppress(OSError), _locked(fallback):
            _let_go(fallback, served, 0)

    def _filled(self, folder: Path, version: ModelVersion, most: int | None) -> Path:
        (folder / "contents").mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            _clear_leftovers(folder)
        with _arriving(folder, version) as partial:
            if content := self._whole(folder, version):  # another replica has fetched it meanwhile
                return content
            self._fetch(version, partial, most)
            return _keep(folder, partial, version)


class Notes(Protocol):
    """What the cache keeps for a start without the registry."""

    def folder_of(self, version: ModelVersion) -> Path: ...

    def remember(self, version: ModelVersion, metrics: dict[str, float]) -> None: ...

    def last_served(self) -> tuple[ModelVersion, dict[str, float]] | None: ...


class LastKnownGood:
    """The version that a start without the registry serves: noted as soon as there is room, used as often as makes sense."""

    def __init__(self, cache: Notes) -> None:
        self._cache = cache
        # When it is worth another try: a copy that cannot be used is not tried at each look.
        self._retry_due = float("-inf")
        # When it is tried again to bring what is served into the cache; None where it is there.
        self._settle_due: float | None = None
        self._told: str | None = None

    def found(self) -> tuple[ModelVersion, dict[str, float]] | None:
        """Return it and its metrics; None where there is none, or where it is not time for it."""
        return self._cache.last_served() if time.monotonic() >= self._retry_due else None

    def put_off(self) -> None:
        """Leave it alone for a while: it cannot be used as it is."""
        self._retry_due = time.monotonic() + LAST_RETRY_SECONDS

    def is_due(self) -> bool:
        """Tell whether what is served should be noted once more, as there was no room for it."""
        return self._settle_due is not None and time.monotonic() >= self._settle_due

    def note(self, version: ModelVersion, metrics: dict[str, float]) -> Path | None:
        """Note what is served; return the folder of its files where they had no room in the cache before, and have moved.

        Where there is no room still, that is no error, for a full disk must not keep a rollback from being served. What a
        start would serve in its place is said once.
        """
        try:
            self._cache.remember(version, metrics)
        except FetchFailed as error:
            self._settle_due = time.monotonic() + SETTLE_SECONDS
            self._tell(version, error)
            return None
        has_moved = self._settle_due is not None
        folder = self._cache.folder_of(version) if has_moved else None
        self._settle_due = self._told = None
        return folder

    def _tell(self, version: ModelVersion, error: FetchFailed) -> None:
        if (told := f"{version.version}: {error}") == self._told:
            return
        last = self._cache.last_served()
        others = f"version {last[0].version}" if last else "nothing"
        log.warning(
            "a start without the registry would serve %s, and not version %s: %s", others, version.version, error
        )
        self._told = told


def _let_go(folder: Path, served: ModelVersion | None, most: int) -> None:
    """Keep what is served, what an alias had last, and of all others the latest, so that there are `most`; raise OSError."""
    notes = {note: _digest_in(note) for note in (folder / "versions").glob("*.json")}
    note_of_served = _note_of(folder, served) if served else None
    current = notes.get(note_of_served) if note_of_served else None
    if current:
        os.utime(folder / "contents" / current)
    latest = sorted(_contents_in(folder), key=lambda path: path.stat().st_mtime, reverse=True)
    kept = {path.name for path in latest[:most]} | ({current} if current else set())
    kept |= {digest for note in folder.glob("*.json") if (digest := _digest_in(note))}
    _sweep(folder, kept)
    # An earlier release gave notes other names.
    ours = [note for note, digest in notes.items() if digest in kept and re.match(DIGEST, note.stem)]
    spared = {note_of_served, *sorted(ours, key=lambda note: note.stat().st_mtime_ns)[-NOTES_KEPT:]}
    drafts = [*folder.glob(f"*{DRAFT}*"), *(folder / "versions").glob(f"*{DRAFT}*")]
    for path in [*(note for note in notes if note not in spared), *drafts]:
        path.unlink()


def _contents_in(folder: Path) -> list[Path]:
    return [path for path in (folder / "contents").iterdir() if not path.name.startswith(PARTIAL)]


def _noted_in(folder: Path) -> set[str]:
    """Return the digests that any note names: of a version, or of what an alias had last."""
    notes = [*(folder / "versions").glob("*.json"), *folder.glob("*.json")]
    return {digest for note in notes if (digest := _digest_in(note))}


def _sweep(folder: Path, kept: set[str]) -> None:
    for path in _contents_in(folder):
        if path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _arriving(folder: Path, version: ModelVersion) -> Iterator[Path]:
    """Give out a folder for a version's files while nobody else fetches it; what is still there afterwards is thrown away."""
    slot = _note_of(folder, version).stem[:SLOT_DIGITS]
    with _locked(folder, f"{FETCH_LOCK}{slot}"):
        partial = Path(mkdtemp(prefix=f"{PARTIAL}{slot}-", dir=folder / "contents"))
        try:
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _clear_leftovers(folder: Path) -> None:
    """Throw away what killed fetches left behind: files on their way whose slot nobody has locked."""
    for partial in (folder / "contents").glob(f"{PARTIAL}*"):
        slot = partial.name.removeprefix(PARTIAL)[:SLOT_DIGITS]
        with suppress(OSError), _locked(folder, f"{FETCH_LOCK}{slot}", seconds=0):
            shutil.rmtree(partial, ignore_errors=True)


def _keep(folder: Path, partial: Path, version: ModelVersion) -> Path:
    """Make what has arrived a version's content; raise OSError."""
    digest = digest_of(partial)
    content = folder / "contents" / digest
    is_there = _has(content, digest)
    with _locked(folder):
        if not (is_there and content.is_dir()):
            shutil.rmtree(content, ignore_errors=True)
            partial.replace(content)
        try:
            write_note(_note_of(folder, version), _Content(digest))
        except OSError:
            _sweep(folder, _noted_in(folder))  # nobody would ever find it
            raise
    return content


def _has(content: Path, digest: str) -> bool:
    try:
        return digest_of(content) == digest
    except OSError:
        return False


def _check_room(folder: Path, content: Path) -> None:
    """Raise OSError where a content would fill the disk."""
    size = sum(path.stat().st_size for path in content.rglob("*") if path.is_file())
    if shutil.disk_usage(folder).free < size + ROOM_LEFT_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def digest_of(folder: Path) -> str:
    """Return the SHA-256 over the path and the content of each file below a folder; raise OSError.

    A folder with links in it, or with more than a version may have, is no content: others may write here.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not there")
    whole = hashlib.sha256()
    try:
        paths = signature.files_in(folder)
        limits.check_listing({path: (folder / path).stat().st_size for path in paths})
    except Refused as error:
        raise OSError(errno.EINVAL, str(error)) from error
    for path in paths:
        whole.update(f"{path}\0{version_files.digest_of(folder / path)}\n".encode())
    return whole.hexdigest()


def _note_of(folder: Path, version: ModelVersion) -> Path:
    # All that makes it another version: signed again or adopted, it may have other files. Others decide how long that is.
    identity = [version.version, version.run_id, version.created_ms, version.model_id, version.signed_by]
    return folder / "versions" / f"{hashlib.sha256(json.dumps(identity).encode()).hexdigest()}.json"


def _digest_of_kept(folder: Path, version: ModelVersion) -> str:
    """Return which content a version has; raise FileNotFoundError where that is not in the folder."""
    digest = _digest_in(_note_of(folder, version))
    if digest is None or not (folder / "contents" / digest).is_dir():
        raise FileNotFoundError(f"the files of version {version.version} are not in it")
    return digest


def _digest_in(note: Path) -> str | None:
    """Return which content a version has, None where its note is not there or damaged."""
    try:
        return read_note(note, _Content).digest
    except NO_NOTE:
        return None


def read_note(path: Path, kind: type[T]) -> T:
    """Return what a note says, which others may have written, and all of whose types are right; raise one of NO_NOTE."""
    with open(path, "rb", opener=regular) as note:
        content = note.read(MOST_NOTE_BYTES + 1)
    if len(content) > MOST_NOTE_BYTES:
        raise ValueError(f"{path} has more than {MOST_NOTE_BYTES} bytes")
    return msgspec.convert(json.loads(content), kind)


def written(note: msgspec.Struct) -> str:
    """Return a note as JSON that `read_note` reads; unlike msgspec's own, with the metrics that are NaN."""
    return json.dumps(msgspec.to_builtins(note))


def write_note(path: Path, note: msgspec.Struct) -> None:
    """Write a note, whole or not at all; raise OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f"{DRAFT}{secrets.token_hex(8)}")  # a name that nobody can have taken
    try:
        with open(draft, "x", opener=regular) as file:
            file.write(written(note))
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


@contextmanager
def _locked(folder: Path, name: str = LOCK, seconds: float | None = None) -> Iterator[None]:
    """Let one replica at a time change the folder, or fetch: the others wait, LOCK_SECONDS if nothing else is said; raise OSError."""
    with open(folder / name, "w", opener=regular) as lock:
        _take(lock, LOCK_SECONDS if seconds is None else seconds)
        yield


def _take(lock: IO[str], seconds: float) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= until:
                why = "; it may be fetching a large version" if Path(lock.name).name.startswith(FETCH_LOCK) else ""
                held = f"another process has kept its lock {lock.name} for {seconds:.0f} s{why}"
                raise OSError(errno.EAGAIN, held) from error
        time.sleep(LOCK_PAUSE_SECONDS)
