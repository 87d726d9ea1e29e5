"""A file's bytes: unpacked within limits where it is packed, and told by what they begin with rather than by its name."""

import codecs
import gzip
import io
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from trainer import memory
from trainer.errors import DataError

CHUNK = 1024 * 1024
# Of the files in a zip file, how many are named.
SHOWN = 10


class SupportsRead(Protocol):
    """What bytes can be read from."""

    def read(self, size: int, /) -> bytes: ...


class Kind(StrEnum):
    """What a file is."""

    CSV = "CSV"
    LINES = "JSON lines"
    PARQUET = "Parquet"
    FEATHER = "Feather"
    SHEET = "Excel"
    GZIP = "gzip"
    ZIP = "zip"


ENDINGS = {
    ".csv": Kind.CSV, ".tsv": Kind.CSV, ".txt": Kind.CSV, ".jsonl": Kind.LINES, ".ndjson": Kind.LINES,
    ".parquet": Kind.PARQUET, ".pq": Kind.PARQUET, ".feather": Kind.FEATHER, ".arrow": Kind.FEATHER,
    ".xlsx": Kind.SHEET, ".gz": Kind.GZIP, ".zip": Kind.ZIP,
}  # fmt: skip
BEGINNINGS = {
    b"PAR1\x15": Kind.PARQUET, b"ARROW1\0\0": Kind.FEATHER, b"\x1f\x8b\x08": Kind.GZIP, b"PK\x03\x04": Kind.ZIP,
}  # fmt: skip
OLD_EXCEL = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# What is no table, whatever its name is, and what to do about it.
OTHERS = {
    b"%PDF": "is a PDF; export the table in it as CSV",
    b"\x89PNG": "is a picture (PNG)", b"\xff\xd8\xff": "is a picture (JPEG)", b"GIF8": "is a picture (GIF)",
    b"<!doctype html": "is a web page (HTML); was a login page saved in place of the file?",
    b"<html": "is a web page (HTML); was a login page saved in place of the file?",
    b"<table": "is a table in HTML; open it in a spreadsheet and save it as .xlsx or CSV", b"<?xml": "is XML; export it as CSV",
    b"sqlite format 3": "is an SQLite database; export a table of it as CSV",
    b"version https://git-lfs": "is what Git LFS keeps in place of the file; fetch the file itself: git lfs pull",
    b"bzh": "is packed with bzip2; unpack it, or pack it with gzip or zip", b"\xfd7zxz": "is packed with xz; unpack it, or pack it with gzip or zip",
    b"7z\xbc\xaf": "is packed with 7-Zip; unpack it, or pack it with zip", b"rar!": "is packed with RAR; unpack it, or pack it with zip",
    b"\x28\xb5\x2f\xfd": "is packed with Zstandard; unpack it, or pack it with gzip or zip",
}  # fmt: skip
# So much of a file is looked at for what it begins with.
HEAD = 512
JSON_OBJECT, JSON_LIST = re.compile(rb"\s*\{\s*\""), re.compile(rb"\s*\[\s*\{")
PACKED = (Kind.GZIP, Kind.ZIP)
# What a folder and Excel's own files have beside data.
HIDDEN = (".", "_", "~")
# What zipfile says of an archive that is damaged, locked, or packed in a way of its own.
BROKEN = (
    zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, ValueError, KeyError, EOFError, zlib.error, struct.error, lzma.LZMAError,
)  # fmt: skip


@dataclass(frozen=True)
class Content:
    """What is in a file."""

    path: Path
    """as a person named it"""
    kind: Kind
    size: int
    """bytes, unpacked"""
    data: bytes | None = None
    """what was unpacked; None where the file is read as it is"""
    remarks: tuple[str, ...] = ()

    def open(self) -> IO[bytes]:
        """Open it to be read from its beginning."""
        return self.path.open("rb") if self.data is None else io.BytesIO(self.data)


def content(path: Path, member: str | None = None) -> Content:
    """Look into a file, and unpack it where it is packed; raise DataError where nothing can read such a one.

    `member` is the one that is meant of several files in a zip file.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    kind = _kind(path, PurePosixPath(path.name), head)
    if kind is Kind.ZIP and _is_sheet(path):
        kind = Kind.SHEET
    if kind not in PACKED:
        said = () if ENDINGS.get(path.suffix.casefold()) is kind else (f"{kind} by what is in it",)
        return Content(path, kind, path.stat().st_size, None, said)
    name, data = _gunzipped(path) if kind is Kind.GZIP else _unzipped(path, member)
    inner = _kind(path, name, data[:HEAD], is_packed=True)
    if inner in (*PACKED, Kind.SHEET):
        raise DataError(f"{path} has a packed file in it ({name}); unpack it once")
    return Content(path, inner, len(data), data, (f"{name} unpacked from {kind}",))


def stem(path: Path) -> str:
    """Return a file's name without its endings: of sales.csv.gz it is sales."""
    name = path.name
    while (ending := PurePosixPath(name).suffix) and ending.casefold() in ENDINGS:
        name = name.removesuffix(ending)
    return name if name != path.name else path.stem


def _kind(path: Path, name: PurePosixPath, head: bytes, is_packed: bool = False) -> Kind:
    """Tell what a file is: by what it begins with, else by its ending; text without one is CSV where it was packed."""
    if head.startswith(OLD_EXCEL):
        raise DataError(
            f"{path} is an Excel file of the old kind, or one with a password; save it as .xlsx without one"
        )
    start = head.removeprefix(codecs.BOM_UTF8).lstrip().lower()
    if other := next((said for beginning, said in OTHERS.items() if start.startswith(beginning.lower())), None):
        raise DataError(f"{path} {other}")
    if found := next((kind for start, kind in BEGINNINGS.items() if head.startswith(start)), None):
        return found
    ending = name.suffix.casefold()
    found = ENDINGS.get(ending)
    if (found is None and ending == ".json") or found in (Kind.CSV, Kind.LINES):
        if JSON_LIST.match(head) is not None:
            raise DataError(
                f"{path} is a list of JSON; write an object of it in each line, without commas between them, as .jsonl"
            )
        if JSON_OBJECT.match(head) is not None:
            return Kind.LINES
    if found:
        return found
    if not ending and is_packed:
        return Kind.CSV
    raise DataError(
        f"{path} ends in {ending or 'nothing'}; expected one of {', '.join(ENDINGS)}, or a folder of Parquet"
    )


def _gunzipped(path: Path) -> tuple[PurePosixPath, bytes]:
    name = PurePosixPath(path.name.removesuffix(path.suffix) if path.suffix.casefold() == ".gz" else path.name)
    try:
        with gzip.open(path) as file:
            return name, _bounded(path, file)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is no whole gzip file: {error}") from error


def _unzipped(path: Path, member: str | None) -> tuple[PurePosixPath, bytes]:
    with archive(path) as found:
        name = _member(path, [name for name in found.namelist() if not name.endswith("/") and _is_data(name)], member)
        with found.open(name) as file:
            return PurePosixPath(PurePosixPath(name).name), _bounded(path, file)


def _member(path: Path, files: list[str], name: str | None) -> str:
    """Return which file in a zip file is meant; raise DataError where several may be."""
    shown = ", ".join([*map(repr, files[:SHOWN]), *(["…"] if len(files) > SHOWN else [])])
    if name is not None and name not in files:
        raise DataError(f"{path} has no file {name!r} in it; it has {shown or 'none'}")
    if name is None and len(files) != 1:
        way_out = f" ({shown}); say which: --member {files[0]!r}" if files else "; expected one"
        raise DataError(f"{path} has {len(files)} files in it{way_out}")
    return name or files[0]


@contextmanager
def archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip file; what is wrong with it is a DataError, while it is used too."""
    try:
        with zipfile.ZipFile(path) as found:
            yield found
    except BROKEN as error:
        raise DataError(f"{path} is no whole zip file, or none that can be unpacked here: {error}") from error


def _is_data(name: str) -> bool:
    return not any(part.startswith(HIDDEN) for part in PurePosixPath(name).parts)


def _is_sheet(path: Path) -> bool:
    with archive(path) as found:
        names = found.namelist()
    if {"mimetype", "content.xml"} <= set(names):
        raise DataError(f"{path} is of OpenDocument; save it as .xlsx or CSV")
    return "[Content_Types].xml" in names


def pieces(path: Path, file: SupportsRead, most: int) -> Iterator[bytes]:
    """Yield what is unpacked, in pieces; raise DataError beyond so many bytes."""
    size = 0
    while piece := file.read(CHUNK):
        size += len(piece)
        if size > most:
            raise DataError(
                f"{path} has more than {most / 1e6:.0f} MB in it, unpacked, for which there is no memory (TRAINER_MEMORY in .env "
                "is the container's limit)"
            )
        yield piece


def _bounded(path: Path, file: SupportsRead) -> bytes:
    return b"".join(pieces(path, file, memory.most_unpacked()))
