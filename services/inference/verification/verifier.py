"""Looks through a version's files before anybody else does, in a process of its own: `python -m inference.verification.verifier`.

Whoever reaches MLflow's port decides what is in these files. Here they are read within limits of memory, time and files, and
without anything that is secret; where this process ends over them, the version is refused, and the service goes on.

It is asked over its standard input and answers on its standard output, in lines of JSON; an answer has the "id" of its question:
    {"list": FILE}                      → {"files": {path: SHA-256}}     what a signature lists, which is verified
    {"check": FOLDER, "version": {…}}   → {"files": {path: SHA-256}, "description": JSON}   verified, and readable
    {"text": HEX, "signature": BASE64}  → {"files": {}}                  a signature over some bytes, which holds
    … any of them                       → {"refused": reason}
"""

import json
import os
import resource
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from contract import signature
from contract.display import visible
from contract.mlmodel import manifest
from contract.process.imports import quick_imports
from contract.version_files import VersionFiles

from inference.errors import ModelRefused, refusing
from inference.model.version import ModelVersion
from inference.verification.signature import check_signature

# What is open beside pipes: a file and a folder at a time, for some threads.
OPEN_FILES = 64


def main(memory: int, public_key: Path | None) -> None:
    """Answer until nobody asks any more; `memory` is bytes beyond those of the programs themselves."""
    if public_key is not None:  # before the first version waits for it
        with quick_imports():
            signature.library()
    # What a library prints goes with the errors, and is no answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _confine(memory)
    for line in sys.stdin.buffer:
        question = json.loads(line)
        answers.write(json.dumps({"id": question["id"], **_answer(question, public_key)}) + "\n")
        answers.flush()


def _confine(memory: int) -> None:
    """Let this process take no more than it needs for files of the size that versions have."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asks ends it
    threading.stack_size(1 << 20)
    with suppress(
        OSError
    ):  # where the container has no memory left, it is this process that ends, and none that answers
        Path("/proc/self/oom_score_adj").write_text("1000")
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0, resource.RLIMIT_NOFILE: OPEN_FILES}
    statm = Path("/proc/self/statm")
    if statm.exists():  # where it does not, the limit is not kept either
        limits[resource.RLIMIT_AS] = int(statm.read_text().split()[0]) * resource.getpagesize() + memory
    for what, most in limits.items():
        resource.setrlimit(what, (most, most))


def _answer(question: dict[str, Any], public_key: Path | None) -> dict[str, Any]:
    try:
        if "list" in question:
            return {"files": _listed(Path(question["list"]), public_key)}
        if "text" in question:
            return {"files": _check_text(bytes.fromhex(question["text"]), question["signature"], public_key)}
        return _checked(Path(question["check"]), ModelVersion(**question["version"]), public_key)
    except ModelRefused as error:
        return {"refused": visible(str(error), 1000)}
    except MemoryError:
        os._exit(1)
    except Exception as error:  # a hostile file can fail in any way
        return {"refused": visible(f"it cannot be verified: {type(error).__name__}: {error}", 1000)}


def _listed(path: Path, public_key: Path | None) -> dict[str, str]:
    assert public_key is not None, "only signed versions have a list"  # noqa: S101
    with refusing():
        return signature.listed(path, public_key)


def _check_text(content: bytes, text: str, public_key: Path | None) -> dict[str, str]:
    assert public_key is not None, "without a key nothing is signed"  # noqa: S101
    with refusing():
        signature.verify_text(content, text, public_key)
    return {}


def _checked(folder: Path, version: ModelVersion, public_key: Path | None) -> dict[str, Any]:
    with refusing():
        if public_key is None:
            files = VersionFiles.of(folder)
        else:
            files = VersionFiles(folder, check_signature(folder, version, public_key))
        return {
            "files": dict(files.digests),
            "description": manifest.read(files, is_signed=public_key is not None).to_json(),
        }


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
