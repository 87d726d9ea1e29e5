"""The tests themselves: what they share lies in modules that are no tests, and nothing that they write is committed."""

import re
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
# What is committed and is no text, each on purpose.
BINARY = {".png"}


def test_no_test_module_is_imported() -> None:
    modules = {path.stem for path in TESTS.rglob("test_*.py")}
    for path in TESTS.rglob("*.py"):
        imported = re.findall(r"^\s*(?:from|import) .*\b(test_\w+)", path.read_text(), re.M)
        assert not modules.intersection(imported), f"{path.name} imports {imported}"


def test_what_is_committed_is_text_or_meant_to_be_there() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=TESTS.parent, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is no clone: git lists no files")
    for name in filter(None, listed.stdout.split("\0")):
        path = TESTS.parent / name
        if path.suffix not in BINARY and path.is_file() and "fixtures/release-" not in name:
            assert b"\0" not in path.read_bytes(), f"{name} is no text: did a process leave it?"
