"""A skops file before anything in it is unpacked: its directory, and the header of each array.

What an array takes is known from its header, and whether that is what the file has from the directory: neither the sizes
that a stranger writes nor what is packed small and unpacks large costs more than reading them.
"""

import io
import re
from ast import literal_eval
from functools import lru_cache
from math import prod
from typing import Any, BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from numpy.lib import format as npy

from contract import limits
from contract.errors import Refused

SCHEMA = "schema.json"
MOST_DIRECTORY = 32 * limits.MB
MOST_ENTRIES = 200_000
# Of a vocabulary of 300,000 words; what skops makes of it takes ten times as much.
MOST_SCHEMA = 128 * limits.MB
# How much larger than packed. skops packs nothing unless it is told to; zeros pack a thousand times.
MOST_RATIO = 20
SMALL = 64 * limits.MB
_NAME = re.compile(r"schema\.json|[0-9a-f-]{1,40}\.(npy|npz|bin)")
_SPARSE = frozenset(
    f"{part}.npy"
    for part in ("data", "indices", "indptr", "row", "col", "coords", "offsets", "shape", "format", "_is_array")
)
_ENCRYPTED = 0x1
_END, _END_64, _LOCATOR_64 = b"PK\5\6", b"PK\6\6", b"PK\6\7"
_LONGEST_HEADER = 12_000
PLAIN_KINDS = frozenset("biufcSUmM")
_HEADER = re.compile(rb"\{'descr': (.+), 'fortran_order': (?:True|False), 'shape': \(([\d, ]{0,200})\), \} *\n")

Header = tuple[np.dtype, tuple[int, ...]]


def check_directory(file: BinaryIO) -> None:
    """Raise Refused where a zip file's directory is too large to be read; `file` is left at its start."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(size - 98, 0))
    tail = file.read().rjust(98, b"\0")
    file.seek(0)
    if tail[76:80] != _END or tail[96:98] != b"\0\0":
        raise ValueError("it is no zip file, or one with a comment")
    directory = int.from_bytes(tail[88:92], "little")
    if tail[56:60] == _LOCATOR_64 and tail[:4] == _END_64:
        directory = int.from_bytes(tail[40:48], "little")
    if directory > MOST_DIRECTORY:
        raise Refused(f"its model lists too many parts: {directory} bytes of names; expected at most {MOST_DIRECTORY}")


def check_entries(content: ZipFile, most: int, names: Any, packed: int) -> None:
    """Raise Refused where a zip file has other parts than those expected, or larger ones than its `packed` bytes can be."""
    entries = content.infolist()
    if len(entries) > most or len(content.NameToInfo) != len(entries):
        raise Refused(f"its model has {len(entries)} parts, or two of one name; expected at most {most}")
    for entry in entries:
        if not names(entry.filename):
            raise Refused(f"its model has a part {entry.filename!r:.60}, which skops does not write")
        if entry.flag_bits & _ENCRYPTED or entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            raise Refused(f"its model's part {entry.filename} is encrypted, or packed by an unusual method")
    total = sum(entry.file_size for entry in entries)
    if total > min(limits.MOST_BYTES, max(SMALL, MOST_RATIO * packed)):
        raise Refused(f"its model has {total} bytes packed into {packed}; expected at most {MOST_RATIO} times as many")


class Arrays:
    """The arrays in a skops file, known by their headers."""

    def __init__(self, content: ZipFile) -> None:
        packed = sum(entry.compress_size for entry in content.infolist())
        check_entries(content, MOST_ENTRIES, _NAME.fullmatch, packed)
        self._content = content
        self._headers: dict[str, Header] = {}
        # What sparse matrices unpack to, which is a zip file in the zip file.
        self._unpacked = 0

    def header(self, name: str) -> Header:
        """Return what numbers an array has and its shape, both as they are in the file; raise Refused."""
        if name not in self._headers:
            with self._content.open(self._entry(name)) as part:
                self._headers[name] = _header(part.read(_LONGEST_HEADER), self._entry(name))
        return self._headers[name]

    def check_sparse(self, name: str) -> None:
        """Raise Refused where a sparse matrix is more than its arrays, or larger than they say."""
        packed = self._content.read(self._entry(name))
        with ZipFile(io.BytesIO(packed)) as content:
            check_entries(content, len(_SPARSE), _SPARSE.__contains__, len(packed))
            for entry in content.infolist():
                with content.open(entry) as part:
                    _header(part.read(_LONGEST_HEADER), entry)
            self._unpacked += sum(entry.file_size for entry in content.infolist())
        if self._unpacked > limits.MOST_BYTES:
            raise Refused(f"its sparse matrices have more than {limits.MOST_BYTES} bytes")

    def check_bytes(self, name: str) -> None:
        """Raise Refused where there is no such part."""
        self._entry(name)

    def _entry(self, name: str) -> ZipInfo:
        try:
            return self._content.getinfo(name)
        except (KeyError, TypeError) as error:
            raise Refused(f"its model names a part {name!r:.60} that it does not have") from error


def _header(start: bytes, entry: ZipInfo) -> Header:
    """Read the header of an .npy file as np.save writes it, and hold it against the size of the file."""
    width = {b"\x93NUMPY\1\0": 2, b"\x93NUMPY\2\0": 4}.get(start[:8])
    found = None
    if width is not None:
        end = 8 + width + int.from_bytes(start[8 : 8 + width], "little")
        found = _HEADER.fullmatch(start[8 + width : end])
    if found is None:
        raise Refused(f"its model's part {entry.filename} is no array as NumPy writes it")
    dtype, shape = _dtype(found[1]), tuple(int(length) for length in found[2].replace(b",", b" ").split())
    # An item of no bytes costs nothing in the file and a place in a loop.
    if prod(shape) * max(dtype.itemsize, 1) != entry.file_size - end:
        raise Refused(f"its model's array {entry.filename} of shape {shape!s:.60} is not as large as it says")
    return dtype, shape


@lru_cache
def _dtype(description: bytes) -> np.dtype:
    try:
        dtype = npy.descr_to_dtype(literal_eval(description.decode("ascii")))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise Refused(f"its model has an array of {description!r:.60}; expected numbers or text") from error
    parts = [dtype] if dtype.names is None else [dtype[name] for name in dtype.names]
    if any(part.kind not in PLAIN_KINDS or part.shape for part in parts):
        raise Refused(f"its model has an array of {description!r:.60}; expected numbers or text")
    return dtype
