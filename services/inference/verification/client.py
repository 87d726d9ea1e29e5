"""The process that looks through versions' files (inference.verification.verifier), as those see it who ask it."""

import json
import os
import select
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from contract.mlmodel.manifest import Description
from contract.version_files import VersionFiles

from inference.errors import ModelRefused, ProcessEnded
from inference.model.version import ModelVersion

MB = 1024**2
# Beyond what its own programs take. A table of two thousand columns takes 5 MB of it.
MEMORY_BYTES = 256 * MB
# For a version's metadata files, and for its files, which are read twice.
SECONDS, BYTES_PER_SECOND = 30.0, 20 * MB
# After which without a question it ends, and its memory, as much as a worker's, is given back; the next question starts another one.
IDLE_SECONDS = 600.0
# A description, and 500 files of 400 characters each.
MOST_ANSWER_BYTES = 16 * MB


def _answer_in(line: bytes | None, number: int) -> dict[str, Any] | None:
    """Return the answer to a question; None where it is none, as after it all others would be of other questions."""
    with suppress(ValueError, RecursionError):
        answer = json.loads(line or b"")
        if isinstance(answer, dict) and answer.get("id") == number and ("files" in answer or "refused" in answer):
            return answer
    return None


class Verifier:
    """Starts the process when there is something to ask, and again where it has ended; ends it when there is not."""

    def __init__(
        self,
        public_key: Path | None,
        memory: int = MEMORY_BYTES,
        seconds: float = SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._public_key, self._memory, self._seconds = public_key, memory, seconds
        self._idle_seconds = idle_seconds
        self._rest: threading.Timer | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._is_over = False
        self._questions = 0
        self._one_at_a_time = threading.Lock()

    def listed(self, signature: Path) -> dict[str, str]:
        """Return path → SHA-256 of what a signature lists, signed with the key's pair; raise ModelRefused."""
        files: dict[str, str] = self._ask({"list": str(signature.absolute())}, self._seconds)["files"]
        return files

    def check(self, folder: Path, version: ModelVersion) -> tuple[VersionFiles, Description]:
        """Return a version's files, verified, and what they say of the model, without examples; raise ModelRefused."""
        size = sum(path.lstat().st_size for path in folder.rglob("*"))
        answer = self._ask(
            {"check": str(folder.absolute()), "version": asdict(version)}, self._seconds + size / BYTES_PER_SECOND
        )
        return VersionFiles(folder, answer["files"]), Description.of_json(answer["description"])

    def check_text(self, content: bytes, signature: str) -> None:
        """Raise ModelRefused unless a signature over some bytes holds."""
        self._ask({"text": content.hex(), "signature": signature}, self._seconds)

    def start(self) -> None:
        """Start the process, so that the first question does not wait for it."""
        with self._one_at_a_time:
            self._running()

    def end(self) -> None:
        """End the process; there are no questions after this."""
        self._is_over = True
        if (process := self._process) is not None:
            process.kill()  # so that whoever asks it now has done
            with self._one_at_a_time:
                _ended(process)

    def _ask(self, question: dict[str, Any], seconds: float) -> dict[str, Any]:
        with self._one_at_a_time:
            process = self._running()
            self._questions += 1
            numbered = json.dumps({"id": self._questions, **question}).encode() + b"\n"
            answer = _answer_in(self._line_of(process, numbered, seconds), self._questions)
            if answer is None:
                code, self._process = _ended(process), None
                if self._is_over:
                    raise ModelRefused("the service is at its end")
                raise ProcessEnded(
                    f"the process that verifies it ended over it ({code}): it may take {seconds:.0f} s and "
                    f"{self._memory // MB} MB for that"
                )
        if "refused" in answer:
            raise ModelRefused(answer["refused"])
        return answer

    def _line_of(self, process: subprocess.Popen[bytes], question: bytes, seconds: float) -> bytes | None:
        """Return the line that answers a question; None where none comes."""
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        until, found = time.monotonic() + seconds, bytearray()
        with suppress(OSError):
            process.stdin.write(question)
            process.stdin.flush()
            while len(found) < MOST_ANSWER_BYTES:
                left = until - time.monotonic()
                if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                    return None
                if not (piece := os.read(process.stdout.fileno(), 1 << 16)):
                    return None
                found += piece
                if found.endswith(b"\n"):
                    return bytes(found)
        return None

    def _end_when_idle(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
        rest = self._rest = threading.Timer(self._idle_seconds, lambda: self._end_if(rest))
        rest.daemon = True
        rest.start()

    def _end_if(self, rest: threading.Timer) -> None:
        """End the process unless there was a question since this was decided."""
        with self._one_at_a_time:
            if self._rest is rest and self._process is not None:
                _ended(self._process)
                self._process = None

    def _running(self) -> subprocess.Popen[bytes]:
        self._end_when_idle()
        if self._process is None or self._process.poll() is not None:
            if self._is_over:
                raise ModelRefused("the service is at its end")
            if self._process is not None:
                _ended(self._process)
            # Nothing of this process's environment: there may be passwords in it, and nothing there is needed.
            environ = {"PYTHONPATH": str(Path(__file__).parents[2]), "MALLOC_ARENA_MAX": "1", "LC_ALL": "C.UTF-8"}
            command = [sys.executable, "-P", "-m", "inference.verification.verifier", str(self._memory)]
            command += [str(self._public_key.resolve())] if self._public_key else []
            self._process = subprocess.Popen(
                command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/"
            )
        return self._process


def _ended(process: subprocess.Popen[bytes]) -> int:
    """End a process, close its pipes, and return its exit code."""
    process.kill()
    with suppress(BrokenPipeError), process:  # which waits for it, too
        pass
    return process.returncode
