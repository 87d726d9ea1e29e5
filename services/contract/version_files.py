"""A version's files: those that were looked through and no others, each read once, within its limit, and as what it was then.

Others may write to the cache: what is parsed is parsed from bytes whose digest is that of the verified manifest.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract import documents, limits, signature
from contract.errors import Refused
from contract.file_names import MLMODEL


@dataclass(frozen=True)
class VersionFiles:
    """A folder, and which files of it are a version's."""

    folder: Path
    digests: Mapping[str, str]
    """path → SHA-256 of its content; what is not in it is not read"""

    @classmethod
    def of(cls, folder: Path, without: Collection[str] = ()) -> "VersionFiles":
        """Return a folder's files as they are now; raise Refused where they are too many, or too large.

        Those in `without` are not read: to whoever reads the version, they are not there.
        """
        paths = [path for path in signature.files_in(folder) if path not in without]
        limits.check_listing({path: (folder / path).stat().st_size for path in paths})
        return cls(folder, {path: digest_of(folder / path) for path in paths})

    def __contains__(self, path: object) -> bool:
        return path in self.digests

    def named(self, path: Any) -> str:
        """Return the path of a file that a paper names; raise Refused unless it is one of the version's own."""
        return signature.own_file(path, self.digests)

    def read(self, path: Any, most: int | None = None) -> bytes:
        """Return a file's content, of at most `most` bytes (None: by its name); raise Refused."""
        content = documents.read_bytes(self.folder, self.named(path), most)
        if hashlib.sha256(content).hexdigest() != self.digests[path]:
            raise Refused(f"its file {path} was changed after it was verified")
        return content

    def json(self, path: Any, most: int | None = None) -> Any:
        """Return a JSON file's value; raise Refused."""
        content = self.read(path, most)
        return documents.parsed_json(content, path)

    def mlmodel(self) -> dict[str, Any]:
        """Return what the MLmodel file says; raise Refused where it is no readable mapping."""
        if MLMODEL not in self:
            raise Refused("it has no readable MLmodel file: there is none")
        content = self.read(MLMODEL)
        return documents.parsed_mlmodel(content)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file's content; raise OSError."""
    with open(path, "rb", opener=documents.regular) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
