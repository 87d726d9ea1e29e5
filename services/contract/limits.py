"""How large a version may be, and each of its files: known from a listing, and refused before anything is read.

The limits are for what is parsed. They are far above what the trainer writes: two thousand columns make an MLmodel of
300 KB. The model itself is bounded by the total alone.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from contract import file_names
from contract.errors import Refused

KB, MB, GB = 1024, 1024**2, 1024**3

MOST_FILES = 500
MOST_BYTES = 4 * GB
MOST_PATH = 400
# As long as a name in a folder may be on the filesystems of Linux and macOS.
MOST_NAME_BYTES = 255
# File → its limit. All of them are text that is parsed; everything else is bounded by MOST_BYTES.
PARSED = {
    file_names.SIGNATURE: 1 * MB,
    file_names.MLMODEL: 2 * MB,
    file_names.IDENTITY: 4 * KB,
    file_names.ONNX_RECORD: 1 * MB,
    file_names.GOLDEN: 16 * MB,
    file_names.SCHEMA: 8 * MB,
    file_names.PROFILE: 64 * MB,
    file_names.FIGURES: 1 * MB,
    file_names.MODEL_CARD: 256 * KB,
    file_names.BACKGROUND: 16 * MB,
}
# An input example, under whatever name the MLmodel gives it.
EXAMPLE_BYTES = 16 * MB


def check_listing(sizes: Mapping[str, int | None]) -> None:
    """Raise Refused where a version has too many files, or too large ones; `sizes` is path → bytes, None where unknown."""
    if len(sizes) > MOST_FILES:
        raise Refused(f"it has {len(sizes)} files; expected at most {MOST_FILES}")
    for path, size in sizes.items():
        check_path(path)
        if size is not None:
            check_size(path, size)
        if folder := next((parent for parent in _folders(path) if parent in sizes), None):
            raise Refused(f"{folder!r:.100} is a file of it and a folder of others")
    if (total := sum(size or 0 for size in sizes.values())) > MOST_BYTES:
        raise Refused(f"its files have {total / GB:.1f} GB; expected at most {MOST_BYTES // GB}")


def _folders(path: str) -> Iterator[str]:
    return (path[: match.start()] for match in re.finditer("/", path))


def check_size(path: str, size: int) -> None:
    """Raise Refused where a file is larger than what is parsed under its name."""
    if size > limit_of(path):
        raise Refused(f"its file {path!r:.100} has {size} bytes; expected at most {limit_of(path)}")


def limit_of(path: str) -> int:
    """Return how many bytes a file may have."""
    return PARSED.get(path, MOST_BYTES)


def check_path(path: str) -> None:
    """Raise Refused unless a path is relative, stays below the version's folder, and is written in one way only."""
    parts = path.split("/")
    plain = path.isprintable() and "\\" not in path and len(path) <= MOST_PATH
    if not plain or any(part in ("", ".", "..") for part in parts) or PurePosixPath(path).is_absolute():
        raise Refused(f"{path!r:.100} is no path of a version's file")
    if any(len(part.encode()) > MOST_NAME_BYTES for part in parts):
        raise Refused(f"{path!r:.100} has a name of more than {MOST_NAME_BYTES} bytes")
