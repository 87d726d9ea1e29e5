"""A version's files where MLflow keeps them: listed first, and none of them copied beyond what it may have.

Whoever reaches MLflow's port decides what is there. Files behind MLflow's artifact proxy come over plain HTTP, which takes a
fraction of a second; importing MLflow's client takes several.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlparse

from contract import limits, signature
from contract.errors import Refused
from contract.tracking.bounded_http import TooLong, content_of, pieces
from contract.tracking.credentials import authorization

# For files together; and so much longer for each byte that was listed.
FETCH_SECONDS, BYTES_PER_SECOND = 600, 1024**2
# Of silence, while a file is on its way.
SILENCE_SECONDS = 30
# Of one folder's listing, and of the folders that a version may have.
MOST_LISTING_BYTES, MOST_FOLDERS = limits.MB, 100
PIECE_BYTES = limits.MB


@dataclass(frozen=True)
class Proxy:
    """A folder behind MLflow's artifact proxy."""

    api: str
    """the address of the proxy"""
    root: str

    @classmethod
    def at(cls, location: str, tracking_uri: str) -> "Proxy | None":
        """Return where mlflow-artifacts:/PATH is, behind the proxy of this server; None for a location that is not there.

        A host may be named, where it is this server's own: any other client of MLflow's would ask the one that is named. So
        would it read what is written in more than one way, such as %2e for a point, in another way.
        """
        root = _own_path(location, urlparse(tracking_uri).netloc.rpartition("@")[2])
        return None if root is None else cls(f"{tracking_uri.rstrip('/')}/api/2.0/mlflow-artifacts/artifacts", root)

    @property
    def location(self) -> str:
        return f"mlflow-artifacts:/{self.root}"

    def sizes(self, seconds: float) -> dict[str, int | None]:
        """Return path → bytes of each file, None where that is not said; raise one of UNREADABLE, or Refused."""
        found: dict[str, int | None] = {}
        folders, until = [""], time.monotonic() + seconds
        for folder in folders:
            for file in self._listing(folder, max(0.1, until - time.monotonic())):
                path = f"{folder}{file['path'].rpartition('/')[2]}"  # the name alone, as it decides where we write
                limits.check_path(path)
                if file.get("is_dir"):
                    folders.append(f"{path}/")
                else:
                    found[path] = _size_of(file)
            if len(found) > limits.MOST_FILES or len(folders) > MOST_FOLDERS:
                raise Refused(f"it has more than {limits.MOST_FILES} files, or more than {MOST_FOLDERS} folders")
        return found

    def _listing(self, folder: str, seconds: float) -> list[dict[str, Any]]:
        url = f"{self.api}?path={quote(f'{self.root}/{folder}'.rstrip('/'), safe='')}"
        try:
            content = content_of(url, MOST_LISTING_BYTES, seconds, authorization())
        except TooLong as error:
            raise Refused(f"the list of its files has more than {MOST_LISTING_BYTES} bytes") from error
        files: list[dict[str, Any]] = json.loads(content).get("files", [])
        return files

    def pieces(self, path: str, most: int, until: float) -> Iterator[bytes]:
        """Yield a file's content of at most `most` bytes, until that time (time.monotonic); raise one of UNREADABLE."""
        url = f"{self.api}/{quote(f'{self.root}/{path}')}"
        return pieces(url, most, SILENCE_SECONDS, until, authorization())


def _own_path(location: str, host: str) -> str | None:
    """Return the path in an artifact location, None where it is no plain one below the root of that host's own store."""
    try:
        found = urlparse(location)
    except ValueError:  # such as a host that is half an address
        return None
    path = found.path.strip("/")
    is_plain = location.isprintable() and not set(location) & set("?#\\") and unquote(path) == path
    is_below = not {"", ".", ".."} & set(path.split("/"))
    is_there = found.scheme == "mlflow-artifacts" and found.netloc in ("", host)
    return path if is_there and is_plain and is_below else None


def _size_of(file: Mapping[str, Any]) -> int | None:
    if (size := file.get("file_size")) is None:
        return None
    if int(size) < 0:
        raise ValueError(f"{size} is no size of a file")
    return int(size)


@dataclass(frozen=True)
class Folder:
    """A folder of this machine, without links; its methods are those of Proxy."""

    path: Path

    @property
    def location(self) -> str:
        return self.path.absolute().as_uri()

    def sizes(self, seconds: float) -> dict[str, int | None]:
        return {path: (self.path / path).stat().st_size for path in signature.files_in(self.path)}

    def pieces(self, path: str, most: int, until: float) -> Iterator[bytes]:
        left = most
        with os.fdopen(os.open(self.path / path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            while piece := file.read(PIECE_BYTES):
                left -= len(piece)
                if left < 0:
                    raise TooLong(f"it goes on after {most} bytes")
                yield piece


Source = Proxy | Folder


def until_of(sizes: Mapping[str, int | None]) -> float:
    """Return the time (time.monotonic) by which these files have to be here."""
    return time.monotonic() + FETCH_SECONDS + sum(size or 0 for size in sizes.values()) / BYTES_PER_SECOND


def copy(
    source: Source, path: str, size: int | None, folder: Path, until: float, check: Callable[[], object] = lambda: None
) -> None:
    """Copy a file of as many bytes as it was listed with into a folder, and `check` now and then whether to go on.

    Raises Refused for one of an unknown size that is larger than it may be, and one of UNREADABLE.
    """
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(target, "wb") as file:
            for piece in source.pieces(path, limits.limit_of(path) if size is None else size, until):
                file.write(piece)
                check()
    except TooLong as error:
        if size is None:
            raise Refused(f"its file {path} has more than {limits.limit_of(path)} bytes") from error
        raise
    if size is not None and (found := target.stat().st_size) != size:
        raise ValueError(f"it has {found} bytes, and was listed with {size}")
