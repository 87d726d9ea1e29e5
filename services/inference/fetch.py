"""Bring a version's files from where its registry says that they are into a folder.

Files behind MLflow's artifact proxy come over plain HTTP, which takes a fraction of a second; importing MLflow's client
takes several, so that is for what is kept elsewhere, and in a process of its own: `python -m inference.fetch URI FOLDER`.
"""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlparse
from urllib.request import url2pathname, urlopen

from inference.errors import FetchFailed
from inference.registry import ModelVersion
from inference.signature import SIGNATURE

FETCH_SECONDS = 600
# Of silence, while a file is on its way.
TIMEOUT_SECONDS = 30
# Of silence, while files are only compared: the next look at the alias waits for it.
OUTLINE_SECONDS = 3
# A signature has a line for each file.
MOST_SIGNATURE_BYTES = 1024 * 1024
AT_ONCE = 4
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def fetch(version: ModelVersion, location: str, tracking_uri: str, folder: Path) -> None:
    """Copy all files of a version into an empty folder; raise FetchFailed where one does not arrive whole, OSError where there is no room."""
    try:
        if location.startswith("mlflow-artifacts:") and tracking_uri.startswith(("http://", "https://")):
            _through_proxy(location, tracking_uri, folder)
        elif location.startswith("/"):
            shutil.copytree(location, folder, dirs_exist_ok=True)
        elif location.startswith("file:"):
            shutil.copytree(url2pathname(urlparse(location).path), folder, dirs_exist_ok=True)
        else:
            _through_mlflow(version, tracking_uri, folder)
    except (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError) as error:
        if getattr(error, "errno", None) in NO_ROOM or os.strerror(errno.ENOSPC) in str(error):
            raise  # it is the folder that fails, and not the way here
        raise FetchFailed(f"{version.uri} could not be fetched: {getattr(error, 'reason', error)}") from error
    if not any(folder.iterdir()):
        raise FetchFailed(f"{version.uri} could not be fetched: there is no file at {location}")


def outline(location: str, tracking_uri: str) -> str | None:
    """Return a text that changes with a version's files, as far as can be told without fetching them.

    In a folder: by their sizes and times. Behind the artifact proxy, which tells neither times nor digests: by their sizes
    and the signature over their contents. None elsewhere, and where they cannot be asked for.
    """
    try:
        if location.startswith("mlflow-artifacts:") and tracking_uri.startswith(("http://", "https://")):
            return _outline_behind_proxy(location, tracking_uri)
        if location.startswith("/"):
            return _outline_of_folder(Path(location))
        if location.startswith("file:"):
            return _outline_of_folder(Path(url2pathname(urlparse(location).path)))
    except (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError):
        return None  # whatever is in the way is told when they are fetched
    return None


def _outline_behind_proxy(location: str, tracking_uri: str) -> str:
    proxy, root = _behind_proxy(location, tracking_uri)
    found = sorted(_listed(proxy, root, PurePosixPath(), OUTLINE_SECONDS))
    signature = b""
    if any(str(path) == SIGNATURE for path, _ in found):
        with urlopen(_url_of(proxy, root, SIGNATURE), timeout=OUTLINE_SECONDS) as answer:
            signature = answer.read(MOST_SIGNATURE_BYTES)
    return f"{[(str(path), size) for path, size in found]} {hashlib.sha256(signature).hexdigest()}"


def _outline_of_folder(folder: Path) -> str:
    found = [(path, path.stat()) for path in sorted(folder.rglob("*"))]
    return str([(str(path.relative_to(folder)), known.st_size, known.st_mtime_ns) for path, known in found])


def _through_proxy(location: str, tracking_uri: str, folder: Path) -> None:
    proxy, root = _behind_proxy(location, tracking_uri)
    with ThreadPoolExecutor(AT_ONCE) as downloads:
        found = [path for path, _ in _listed(proxy, root, PurePosixPath(), TIMEOUT_SECONDS)]
        list(downloads.map(lambda path: _download(_url_of(proxy, root, path), folder / path), found))


def _behind_proxy(location: str, tracking_uri: str) -> tuple[str, str]:
    """Return the artifact proxy's address, and where a version's files are behind it."""
    return f"{tracking_uri.rstrip('/')}/api/2.0/mlflow-artifacts/artifacts", urlparse(location).path.strip("/")


def _url_of(proxy: str, root: str, path: PurePosixPath | str) -> str:
    return f"{proxy}/{quote(f'{root}/{path}')}"


def _listed(proxy: str, root: str, below: PurePosixPath, seconds: float) -> Iterator[tuple[PurePosixPath, int | None]]:
    """Yield the path of each file, relative to `root`, and its size, where the proxy says it."""
    with urlopen(f"{proxy}?path={quote(str(PurePosixPath(root, below)), safe='')}", timeout=seconds) as answer:
        files = json.load(answer).get("files", [])
    for file in files:
        name = PurePosixPath(file["path"]).name  # the name alone, as it decides where we write
        if name in ("", ".."):
            raise ValueError(f"{file['path']!r} is no name of a file")
        path = below / name
        if file.get("is_dir"):
            yield from _listed(proxy, root, path, seconds)
        else:
            yield path, file.get("file_size")


def _download(url: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with urlopen(url, timeout=TIMEOUT_SECONDS) as answer, open(path, "wb") as file:
        shutil.copyfileobj(answer, file)
        expected = answer.headers.get("Content-Length")
    if expected is not None and path.stat().st_size != int(expected):
        raise OSError(f"{path.name} ended after {path.stat().st_size} of {expected} bytes")


def _through_mlflow(version: ModelVersion, tracking_uri: str, folder: Path) -> None:
    command = [sys.executable, "-m", "inference.fetch", version.uri, str(folder)]
    environ = os.environ | {"MLFLOW_TRACKING_URI": tracking_uri}
    try:
        subprocess.run(command, env=environ, check=True, capture_output=True, text=True, timeout=FETCH_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise OSError(f"it did not arrive within {FETCH_SECONDS} seconds") from error
    except subprocess.CalledProcessError as error:
        raise OSError((error.stderr.strip().splitlines() or ["no reason given"])[-1]) from error


if __name__ == "__main__":
    import mlflow.artifacts

    mlflow.artifacts.download_artifacts(artifact_uri=sys.argv[1], dst_path=sys.argv[2])
