"""Folders of a version that was good once, changed at random: what a fuzzer hands to what verifies and loads it.

    python -m tests.integration.hostile_versions KEYS SEED COUNT GOOD…

runs in a process of its own, because the worst that a file can do is to end it. It prints how many were accepted and refused
as one line of JSON, the last one; each case is announced before it is tried, so that the last one announced is to blame.
"""

import copy
import io
import json
import random
import shutil
import sys
import zipfile
import zlib
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from contract import signature
from contract.errors import Refused
from contract.mlmodel import manifest
from contract.mlmodel.manifest import Description
from contract.version_files import VersionFiles
from inference.errors import ModelRefused, refusing
from inference.model.model import load
from inference.trust import Trust, Trusted

NAME, ID = "fuzzed", "m-fuzzed"
STRANGE: list[Any] = [
    None,
    True,
    -1,
    2**70,
    1e308,
    float("nan"),
    "",
    "../../etc/passwd",
    "/etc/passwd",
    ".git/x",
    "\x1b[2J",
    "a" * 3000,
    [],
    {},
    [[[[[[]]]]]],
    [0] * 3000,
    {"a": {"b": {"c": []}}},
    "sklearn.tree._tree.Tree",
    "builtins.eval",
    "os.system",
]


class Versions:
    """Makes changed copies of good versions' folders."""

    def __init__(self, good: list[Path], chance: random.Random) -> None:
        self._good, self._chance = good, chance

    def copy(self, folder: Path) -> None:
        shutil.copytree(self._chance.choice(self._good), folder)

    def change(self, folder: Path) -> str:
        """Change something in a folder, and say what."""
        act = self._chance.choice(
            [
                self._bytes,
                self._bytes,
                self._text,
                self._text,
                self._text,
                self._estimator,
                self._estimator,
                self._files,
            ]
        )
        return act(folder)

    def _any_file(self, folder: Path) -> Path:
        return self._chance.choice(
            [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
        )

    def _bytes(self, folder: Path) -> str:
        path = self._any_file(folder)
        path.write_bytes(self._garbled(path.read_bytes()))
        return f"bytes of {path.name}"

    def _garbled(self, content: bytes) -> bytes:
        for _ in range(self._chance.randint(1, 4)):
            at = self._chance.randrange(len(content) + 1)
            put = self._chance.randbytes(self._chance.choice([0, 1, 4, 100]))
            content = content[:at] + put + content[at + self._chance.choice([0, 1, 4, 5000]) :]
        return content

    def _text(self, folder: Path) -> str:
        metadata = [
            path
            for path in sorted(folder.iterdir())
            if (path.suffix in (".json", ".yaml") or path.name == "MLmodel")
            and path.is_file()
            and not path.is_symlink()
        ]
        if not metadata:  # an earlier change has left none
            return self._bytes(folder)
        path = self._chance.choice(metadata)
        is_json = path.suffix == ".json"
        try:
            content = json.loads(path.read_text()) if is_json else yaml.safe_load(path.read_text())
        except (ValueError, yaml.YAMLError):  # an earlier change has left no text
            return self._bytes(folder)
        for _ in range(self._chance.randint(1, 3)):
            content = self._replaced(content)
        path.write_text(json.dumps(content) if is_json else yaml.safe_dump(content))
        return f"a value of {path.name}"

    def _replaced(self, content: Any) -> Any:
        if not content or not isinstance(content, list | dict) or self._chance.random() < 0.1:
            return copy.deepcopy(self._chance.choice(STRANGE))
        key = self._chance.choice(list(content)) if isinstance(content, dict) else self._chance.randrange(len(content))
        act = self._chance.random()
        if key in ("inputs", "outputs") and isinstance(content[key], str) and act < 0.8:
            # A signature's columns are JSON in YAML.
            content[key] = json.dumps(self._replaced(_parsed(content[key])))
        elif act < 0.15:
            del content[key]
        elif act < 0.25 and isinstance(content, list):
            content.extend([content[key]] * self._chance.choice([1, 500]))
        else:
            content[key] = self._replaced(content[key])
        return content

    def _estimator(self, folder: Path) -> str:
        """Change what stands in the skops file: its schema, or one of its arrays."""
        path = folder / "model.skops"
        try:
            with zipfile.ZipFile(path) as archive:
                entries = {info.filename: archive.read(info) for info in archive.infolist()}
            name = self._chance.choice(sorted(entries))
            schema = json.loads(entries["schema.json"])
        except (zipfile.BadZipFile, OSError, zlib.error, LookupError, ValueError, NotImplementedError, RuntimeError):
            return self._bytes(folder)  # an earlier change has left no archive, or none of an estimator
        if name == "schema.json" and self._chance.random() < 0.9:
            for _ in range(self._chance.randint(1, 3)):
                schema = self._replaced(schema)
            entries[name] = json.dumps(schema).encode()
        else:
            head = 80 if name.endswith(".npy") and self._chance.random() < 0.8 else 0
            entries[name] = entries[name][:head] + self._garbled(entries[name][head:])
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for entry, data in entries.items():
                archive.writestr(entry, data)
        path.write_bytes(content.getvalue())
        return f"{name} of the estimator"

    def _files(self, folder: Path) -> str:
        path = self._any_file(folder)
        act = self._chance.choice(["delete", "rename", "add", "link", "empty", "folder", "double"])
        if act == "delete":
            path.unlink()
        elif act == "rename":
            path.rename(
                path.with_name(self._chance.choice(["x", ".hidden", "MLmodel", "model.onnx", "golden_samples.json"]))
            )
        elif act == "add":
            added = folder / self._chance.choice(
                [".git/config", ".gitignore", "extra", "data/x.onnx", "registered_model_meta"]
            )
            added.parent.mkdir(exist_ok=True)
            added.write_bytes(self._chance.randbytes(100))
        elif act == "link":
            path.unlink()
            path.symlink_to(self._chance.choice(["/etc/passwd", "/nowhere", "MLmodel", "/dev/zero"]))
        elif act == "empty":
            path.write_bytes(b"")
        elif act == "folder":
            path.unlink()
            path.mkdir()
        else:
            path.write_bytes(path.read_bytes() * 2)
        return f"{act} {path.name}"


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:  # an earlier change has left no JSON
        return text


def content_of(folder: Path) -> dict[str, bytes | str]:
    """Return all that there is in a folder, links as where they lead."""
    return {
        str(path.relative_to(folder)): f"-> {path.readlink()}" if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def try_unsigned(versions: Versions, folder: Path, keys: Path) -> str:
    """Change a signed version: where anything differs, the signature must not hold."""
    versions.copy(folder)
    before = content_of(folder)
    what = versions.change(folder)
    print("changed after signing:", what, flush=True)
    is_same = content_of(folder) == before
    try:
        signature.verify(folder, NAME, ID, keys / "signing-key.pub")
    except Refused:
        if is_same:
            raise AssertionError(f"refused though nothing differs: {what}") from None
        return "refused by its signature"
    if not is_same:
        raise AssertionError(f"accepted though it was changed after signing: {what}")
    return "not changed"


def try_signed(versions: Versions, folder: Path, keys: Path) -> str:
    """Sign a changed version, as if whoever holds the key had been deceived: it is served as it says, or refused."""
    versions.copy(folder)
    what = "; ".join(versions.change(folder) for _ in range(2))
    print("signed after a change:", what, flush=True)
    try:
        signature.sign(folder, NAME, ID, keys / "signing-key.pem")
        listed = signature.verify(folder, NAME, ID, keys / "signing-key.pub")
    except (Refused, OSError):
        return "not to be signed"
    try:
        files = VersionFiles(folder, listed)
        with refusing():
            known = Description.of_json(manifest.read(files).to_json())
        load(files, Trusted(Trust.SIGNED), known=known)
    except ModelRefused as error:
        reason = str(error)
    else:
        return "loaded"
    if len(reason) > 5000:
        raise AssertionError(f"a refusal of {len(reason)} characters: {what}")
    return "refused when it was loaded"


def main(keys: str, seed: str, count: str, *good: str) -> None:
    versions = Versions([Path(folder) for folder in good], random.Random(int(seed)))  # noqa: S311 - no secret
    seen: Counter[str] = Counter()
    for number in range(int(count)):
        with TemporaryDirectory() as parent:
            act = try_unsigned if number % 4 == 0 else try_signed
            seen[act(versions, Path(parent, "version"), Path(keys))] += 1
    print(json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
