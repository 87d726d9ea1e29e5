"""What the watch leaves behind of a review that was killed: nothing."""

import sys
from pathlib import Path

import pytest
from trainer.commands import reviewer

# A review that leaves a file and is killed, as by the kernel when memory is used up.
KILLED = "import os, signal, tempfile; tempfile.mkdtemp(); os.kill(os.getpid(), signal.SIGKILL)"


def test_the_temporary_files_of_a_review_that_is_killed_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\n{KILLED}\n")
    program.chmod(0o755)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    reviewer._review("flowers")
    assert list(temporary.iterdir()) == []
