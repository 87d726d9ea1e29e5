"""Where a version's files are kept, and what of them is still there: told by a listing, without importing MLflow."""

import errno
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlparse
from urllib.request import url2pathname

from contract import limits
from contract.display import quoted
from contract.file_names import SIGNATURE
from contract.tracking.artifacts import Folder, Proxy, Source
from contract.tracking.bounded_http import UNREADABLE
from contract.tracking.rest import is_server, logged_model_id

from trainer.errors import TrackingError, VersionError, refusals

T = TypeVar("T")
# For a listing.
TIMEOUT_SECONDS = 60
# Seconds until a server that failed is asked again.
PAUSES = (1, 2)
# How this machine says so; no server's answer has these numbers.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def place_at(location: str, tracking_uri: str) -> Source:
    """Return where an artifact location is; raise VersionError for one that is not read or written here.

    Whoever reaches MLflow chooses the location of an experiment, and so of its models. Behind a server it has to be one
    that the server itself keeps: a path would be one of this machine's, another scheme somebody else's store.
    """
    if is_server(tracking_uri):
        if (proxy := Proxy.at(location, tracking_uri)) is None:
            raise VersionError(
                f"its files are at {quoted(location)}; expected mlflow-artifacts:/PATH, on the server itself"
            )
        return proxy
    if location.startswith("/"):
        return Folder(Path(location))
    if (path := _local_path(location)) is not None:
        return Folder(path)
    raise VersionError(
        f"its files are at {quoted(location)}, which a database alone cannot give; "
        "start its tracking server and name it in MLFLOW_TRACKING_URI"
    )


def _local_path(location: str) -> Path | None:
    """Return the path in a file: location, None for one of another scheme or machine."""
    try:
        found = urlparse(location)
    except ValueError:
        return None
    return Path(url2pathname(found.path)) if found.scheme == "file" and not found.netloc else None


def no_model(model_id: str) -> VersionError:
    """Return the error that says that MLflow has no such logged model."""
    return VersionError(f"its model {quoted(model_id)} is not there any more")


def listing(place: Source) -> dict[str, int | None]:
    """Return path → bytes of each file at a place, None where that is not said.

    Raises Refused for more files, or larger ones, than a version may have, and TrackingError where they are not listed.
    """
    try:
        sizes = patiently(partial(place.sizes, TIMEOUT_SECONDS))
    except UNREADABLE as error:
        raise TrackingError(f"{name_of(place)} does not list the files: {error!s:.300}") from error
    limits.check_listing(sizes)
    return sizes


def name_of(place: Source) -> str:
    """Return what a place belongs to, for a person."""
    return f"MLflow at {place.api.partition('/api/')[0]}" if isinstance(place, Proxy) else "MLflow"


def lost(source: str, place: Callable[[], Source], signed_by: str | None, key_id: str) -> str | None:
    """Say what a version lacks so that nobody can serve it any more, None where it lacks nothing.

    `source` is what it points at, and `place` finds where its files are, or raises VersionError where nothing of it is
    read: then they are lost, as they are where they are gone. `key_id` names the key that this stack signs with. Raises
    TrackingError where it cannot be told: what is hard to reach is not lost.
    """
    files = None
    if logged_model_id(source) is not None:
        try:
            with refusals():
                files = listing(place())
        except VersionError as error:
            return f"its files ({error})"
    return what_is_lost(files, signed_by, key_id)


def what_is_lost(files: Collection[str] | None, signed_by: str | None, key_id: str) -> str | None:
    """Say what a version has lost: its files, its signature or the key it is signed with; None where it has all it had.

    `files` are the names in its folder, None where that cannot be asked. A version that was never signed has lost
    nothing: it waits to be adopted.
    """
    if files is not None and not files:
        return "its files"
    if files is not None and signed_by is not None and SIGNATURE not in files:
        return "its signature"
    return "the key that it is signed with" if signed_by not in (None, key_id) else None


def patiently(ask: Callable[[], T], pauses: tuple[float, ...] | None = None) -> T:
    """Return what is answered; a server that is busy or away for a moment is asked again."""
    pauses = PAUSES if pauses is None else pauses
    try:
        return ask()
    except OSError as error:
        if not pauses or getattr(error, "code", 500) < 500 or getattr(error, "errno", None) in NO_ROOM:
            raise
    time.sleep(pauses[0])
    return patiently(ask, pauses[1:])
