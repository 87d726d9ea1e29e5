"""The tests themselves: what they share lies in modules that are no tests."""

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]


def _imported(path: Path) -> Iterator[str]:
    """Yield the last word of each module that a file imports, and each name that it takes from one."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield from [str(node.module).rpartition(".")[2], *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            yield from (alias.name.rpartition(".")[2] for alias in node.names)


def test_no_test_module_is_imported():
    modules = {path.stem for path in TESTS.rglob("test_*.py")}
    assert {path.name: found for path in TESTS.rglob("*.py") if (found := modules.intersection(_imported(path)))} == {}
