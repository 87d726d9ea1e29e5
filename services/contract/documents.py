"""The text files of a version, written, and read within limits: JSON, and YAML without aliases."""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import yaml

from contract import limits
from contract.errors import Refused
from contract.file_names import MLMODEL

# The one in C is ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Deeper than any file of ours; each level is one of C's recursion.
MOST_LEVELS = 50


def regular(path: str, flags: int) -> int:
    """Open a regular file, as the `opener` of open(); raise OSError for a link, and for what keeps its reader waiting."""
    handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no regular file", path)
    return handle


def read_bytes(folder: Path, name: str, most: int | None = None) -> bytes:
    """Return a file of a version; raise Refused where it is missing or larger than it may be."""
    most = limits.limit_of(name) if most is None else most
    try:
        with open(folder / name, "rb", opener=regular) as file:
            # Room for all of what is asked for is taken at once.
            content = file.read(min(most, os.fstat(file.fileno()).st_size) + 1)
    except OSError as error:
        raise Refused(f"its file {name} cannot be read: {error.strerror}") from error
    if len(content) > most:
        raise Refused(f"its file {name} has more than {most} bytes")
    return content


def read_json(folder: Path, name: str, most: int | None = None) -> Any:
    """Return a JSON file's value; raise Refused."""
    return parsed_json(read_bytes(folder, name, most), name)


def parsed_json(content: bytes, name: str) -> Any:
    """Return the value of JSON text; raise Refused where it is none, or nested too deep."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Refused(f"its file {name} is not JSON: {type(error).__name__}: {error!s:.200}") from error


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file that people may want to read, too; raise ValueError for a number that JSON has no word for."""
    path.write_text(json.dumps(content, allow_nan=False, indent=1) + "\n")


def check_levels(value: Any, name: str) -> None:
    """Raise Refused where a JSON value is nested deeper than MOST_LEVELS levels."""
    level = [value]
    for _ in range(MOST_LEVELS + 1):
        parts = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [part for one in parts for part in one]
        if not level:
            return
    raise Refused(f"its file {name} is nested deeper than {MOST_LEVELS} levels")


def parsed_yaml(content: bytes, name: str) -> Any:
    """Return the value of YAML text; raise Refused where it is none, has aliases, or is nested too deep."""
    try:
        _check_events(content)
        return yaml.load(content, _LOADER)  # noqa: S506 - both are safe ones
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise Refused(f"its file {name} is not YAML: {type(error).__name__}: {error!s:.200}") from error


def _check_events(content: bytes) -> None:
    """Raise YAMLError for aliases, which make a small file a large value, and for what is nested too deep to be built."""
    level = 0
    for event in yaml.parse(content, _LOADER):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("it has aliases, which are not read here")
        if isinstance(event, yaml.CollectionStartEvent):
            level += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            level -= 1
        if level > MOST_LEVELS:
            raise yaml.YAMLError(f"it is nested deeper than {MOST_LEVELS} levels")


def read_mlmodel(folder: Path) -> dict[str, Any]:
    """Return what a version's MLmodel file says; raise Refused where it is no readable mapping."""
    try:
        text = read_bytes(folder, MLMODEL)
    except Refused as error:
        raise Refused(f"it has no readable MLmodel file: {error}") from error
    return parsed_mlmodel(text)


def parsed_mlmodel(text: bytes) -> dict[str, Any]:
    """Return what the text of an MLmodel file says; raise Refused where it is no readable mapping."""
    try:
        content = parsed_yaml(text, MLMODEL)
    except Refused as error:
        raise Refused(f"it has no readable MLmodel file: {error}") from error
    if not isinstance(content, dict):
        raise Refused("its MLmodel file is empty or no YAML mapping")
    return content
