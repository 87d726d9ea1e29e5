"""The tests themselves: what they share lies in modules that are no tests, and nothing that they write is committed."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
# What is committed and is no text, each on purpose.
BINARY = {".png"}


def imported(source: str) -> Iterator[str]:
    """Yield each part of each name that is imported anywhere in a module: of `from tests.unit import a`, tests, unit and a."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            for name in [*names, (node.module or "") if isinstance(node, ast.ImportFrom) else ""]:
                yield from name.split(".")


@pytest.mark.parametrize(
    "source",
    [
        "from tests.unit.test_x import y",
        "from tests.unit import test_x",
        "from tests.unit import (\n    serving,\n    test_x as y,\n)",
        "from . import test_x",
        "import tests.unit.test_x as y",
        "def function():\n    if True: from tests.unit import test_x",
    ],
)
def test_an_import_is_found_however_it_is_written(source: str) -> None:
    assert "test_x" in imported(source)
    assert "test_x" not in imported(source.replace("test_x", "x") + "\ntext = 'from tests.unit import test_x'")


def test_no_test_module_is_imported() -> None:
    modules = {path.stem for path in TESTS.rglob("test_*.py")}
    for path in TESTS.rglob("*.py"):
        found = modules.intersection(imported(path.read_text()))
        assert not found, f"{path.name} imports {found}"


def test_what_is_committed_is_text_or_meant_to_be_there() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=TESTS.parent, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is no clone: git lists no files")
    for name in filter(None, listed.stdout.split("\0")):
        path = TESTS.parent / name
        if path.suffix not in BINARY and path.is_file() and "fixtures/release-" not in name:
            assert b"\0" not in path.read_bytes(), f"{name} is no text: did a process leave it?"
